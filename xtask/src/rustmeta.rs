// SPDX-License-Identifier: GPL-2.0
//! A kernel tree modules in Rust can be built against.
//!
//! Debian's headers hold no Rust metadata. Preparing Debian's own sources with Debian's own configuration and compiler
//! makes the same metadata again; that it is the same is checked against the symbols the distributed kernel exports,
//! because the kernel itself would not notice (it is built without MODVERSIONS).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::apt::version::Kernel;
use crate::cache::{self, Lock};
use crate::chroot::Chroot;
use crate::cmd::Cmd;
use crate::host;
use crate::paths::Paths;
use crate::progress::{Progress, Step};
use crate::roots::Root;
use crate::symbols;

/// Changed when trees are prepared in another way, so that old ones are not used any more.
const RECIPE: &str = "1";

/// What a kernel is built with, and so its modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tools {
    /// What Debian builds its kernels with.
    Gcc,
    /// clang, of the version that Debian's rustc is built on.
    Llvm,
}

impl Tools {
    /// How `make` is told.
    fn argument(self) -> &'static str {
        match self {
            Self::Gcc => "CC=x86_64-linux-gnu-gcc-14",
            Self::Llvm => "LLVM=-19",
        }
    }
}

/// Where the tree for `kernel` is kept.
#[must_use]
pub fn dir(paths: &Paths, kernel: &Kernel) -> PathBuf {
    let key = cache::key(&[RECIPE, &kernel.version, &Root::Build.key()]);
    paths.cache.join(format!("kdir/{}-{key}", kernel.kver))
}

/// `make` in the tree `tree`, to be given more binds and arguments.
#[must_use]
pub fn make(root: &Chroot, kernel: &Kernel, tools: Tools) -> Cmd {
    root.cmd("make")
        .args(["-C", "/linux"])
        .arg(format!("-j{}", host::jobs()))
        .arg(tools.argument())
        .arg(format!("KERNELRELEASE={}", kernel.kver))
}

/// Prepares the tree unless it is there: `source` gives the untouched sources, `image` is where the image and the
/// headers' configuration are.
///
/// # Errors
///
/// When preparing fails or the result does not fit the distributed kernel.
pub fn ensure(
    lock: &Lock,
    paths: &Paths,
    kernel: &Kernel,
    root: &Chroot,
    source: &Path,
    headers: &Path,
    progress: &Progress,
) -> Result<PathBuf> {
    let dir = dir(paths, kernel);
    if !dir.exists() {
        progress.step(
            &format!("Rebuild the Rust metadata of kernel {}", kernel.kver),
            |step| {
                cache::once(lock, &dir, |making| {
                    fs::rename(source, making)
                        .with_context(|| format!("cannot move {} to {}", source.display(), making.display()))?;
                    prepare(paths, kernel, root, making, headers, step)
                })
            },
        )?;
    }
    Ok(dir)
}

fn prepare(paths: &Paths, kernel: &Kernel, root: &Chroot, tree: &Path, headers: &Path, step: &Step) -> Result<()> {
    let copy = |name: &str| {
        fs::copy(headers.join(name), tree.join(name))
            .with_context(|| format!("cannot copy {name} of kernel {}", kernel.kver))
    };
    copy(".config")?;
    make(&root.clone().bind(tree, "/linux"), kernel, Tools::Gcc)
        .args(["prepare", "modules_prepare"])
        .limit(Duration::from_secs(20 * 60))
        .log(&paths.log(&format!("rustmeta-{}", kernel.kver)))
        .run(step)
        .with_context(|| {
            format!(
                "the sources of kernel {} cannot be prepared for building modules",
                kernel.kver
            )
        })?;
    copy("Module.symvers")?;
    verify(kernel, tree)
}

/// Checks that every Rust symbol of the rebuilt metadata is exported by the distributed kernel.
fn verify(kernel: &Kernel, tree: &Path) -> Result<()> {
    let read = |name: &str| {
        let file = tree.join(name);
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let symvers = read("Module.symvers")?;
    let exported = symbols::exported(&symvers);
    let mut rebuilt = Vec::new();
    for name in ["core", "bindings", "kernel"] {
        rebuilt.extend(symbols::export_list(&read(&format!(
            "rust/exports_{name}_generated.h"
        ))?));
    }
    symbols::same_rust(&rebuilt, &exported).with_context(|| {
        format!(
            "the Rust metadata rebuilt for kernel {} is not that of the distributed kernel; modules would not load. \
             Debian may have changed its compiler: try `cargo xtask setup --refresh` or another --kernel",
            kernel.kver
        )
    })
}
