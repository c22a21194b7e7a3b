// SPDX-License-Identifier: GPL-2.0
//! A kernel that watches itself, built from Debian's sources: locks, memory, contexts, failures on demand.
//!
//! Its configuration is `xtask/kernels/debug.config` on top of the kernel's own `tinyconfig`. It is built by clang,
//! because the kernel's Rust code is only instrumented for KASAN by it, in a tree of its own, for configuring one for
//! Debian's kernel and for this one would spoil it for the other. Modules are built against the same tree.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::apt::version::Kernel;
use crate::cache::{self, Lock};
use crate::chroot::Chroot;
use crate::cmd::Cmd;
use crate::kconfig;
use crate::paths::Paths;
use crate::progress::{Progress, Step};
use crate::roots::Root;
use crate::rustmeta::{make, Tools};

/// Changed when the kernel is built in another way, so that old ones are not used any more.
const RECIPE: &str = "1";

/// What the kernel must have.
const FRAGMENT: &str = include_str!("../kernels/debug.config");

/// How long the build may take: ten minutes to half an hour on two free processors.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// The debug kernel made from the sources of `kernel`.
#[must_use]
pub fn kernel(kernel: &Kernel) -> Kernel {
    Kernel {
        kver: format!("{}-debug", kernel.kver.trim_end_matches("-amd64")),
        ..kernel.clone()
    }
}

/// Where the debug kernel `kernel` is kept: `vmlinux`, `lib/modules`, `headers` as for Debian's kernels, and `tree`.
#[must_use]
pub fn dir(paths: &Paths, kernel: &Kernel) -> PathBuf {
    let key = cache::key(&[RECIPE, &kernel.version, FRAGMENT, &Root::Build.key()]);
    paths.cache.join(format!("kernels/{}-{key}", kernel.kver))
}

/// The tree in which it was built, for building modules.
#[must_use]
pub fn tree(paths: &Paths, kernel: &Kernel) -> PathBuf {
    dir(paths, kernel).join("tree")
}

/// Where it is built. This outlives an interruption: the next build goes on where the last one was.
fn unfinished(paths: &Paths, dir: &Path) -> PathBuf {
    paths.cache.join("building").join(dir.file_name().unwrap_or_default())
}

/// Builds the debug kernel `kernel` unless it is there: `source` gives the untouched sources.
///
/// # Errors
///
/// When the sources do not take the configuration or do not build.
pub fn ensure(
    lock: &Lock,
    paths: &Paths,
    kernel: &Kernel,
    root: &Chroot,
    source: impl FnOnce() -> Result<PathBuf>,
    progress: &Progress,
) -> Result<PathBuf> {
    let dir = dir(paths, kernel);
    if dir.exists() {
        return Ok(dir);
    }
    let work = unfinished(paths, &dir);
    let tree = work.join("tree");
    if !tree.exists() {
        let source = source()?;
        fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
        fs::rename(&source, &tree)
            .with_context(|| format!("cannot move {} to {}", source.display(), tree.display()))?;
    }
    progress.line(&format!(
        "The debug kernel {} is built now; this is done once and takes ten minutes to half an hour on two processors.",
        kernel.kver
    ));
    let build = Build {
        paths,
        kernel,
        root: root.clone().bind(&tree, "/linux").bind(&work, "/mnt"),
        dir: &work,
    };
    progress.step(&format!("Configure kernel {}", kernel.kver), |step| {
        build.configure(step)
    })?;
    progress.step(&format!("Build kernel {}", kernel.kver), |step| build.build(step))?;
    build.install(&Step::silent())?;
    cache::once(lock, &dir, |making| {
        fs::rename(&work, making).with_context(|| format!("cannot move {} to {}", work.display(), making.display()))
    })?;
    Ok(dir)
}

/// The making of one kernel.
struct Build<'a> {
    paths: &'a Paths,
    kernel: &'a Kernel,
    /// The build root with the tree at `/linux` and `dir` at `/mnt`.
    root: Chroot,
    dir: &'a Path,
}

impl Build<'_> {
    fn make(&self, log: &str) -> Cmd {
        make(&self.root, self.kernel, Tools::Llvm)
            .log(&self.paths.log(&format!("{log}-{}", self.kernel.kver)))
            .limit(LIMIT)
    }

    fn configure(&self, step: &Step) -> Result<()> {
        self.make("tinyconfig").arg("tinyconfig").run(step)?;
        let file = self.dir.join("tree/.config");
        OpenOptions::new()
            .append(true)
            .open(&file)
            .and_then(|mut config| config.write_all(FRAGMENT.as_bytes()))
            .with_context(|| format!("cannot write {}", file.display()))?;
        self.make("olddefconfig").arg("olddefconfig").run(step)?;
        let config = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        kconfig::fulfilled(FRAGMENT, &config)
            .with_context(|| format!("xtask/kernels/debug.config does not fit kernel {}", self.kernel.kver))
    }

    fn build(&self, step: &Step) -> Result<()> {
        self.make("kernel")
            .args(["vmlinux", "modules"])
            .run(step)
            .map(drop)
            .with_context(|| format!("the debug kernel {} does not build", self.kernel.kver))
    }

    /// Puts things where Debian's packages have them, and removes from the tree what no module needs.
    fn install(&self, step: &Step) -> Result<()> {
        self.make("modules_install")
            .args(["modules_install", "INSTALL_MOD_PATH=/mnt"])
            .run(step)?;
        // QEMU starts this as well as a packed one.
        self.root
            .cmd("strip")
            .args(["-o", "/mnt/vmlinux", "/linux/vmlinux"])
            .run(step)?;
        let headers = self.dir.join("headers");
        fs::create_dir_all(&headers).with_context(|| format!("cannot make {}", headers.display()))?;
        for name in [".config", "Module.symvers"] {
            fs::copy(self.dir.join("tree").join(name), headers.join(name))
                .with_context(|| format!("cannot copy {name} of kernel {}", self.kernel.kver))?;
        }
        let objects = "find /linux -path /linux/scripts -prune -o -path /linux/tools -prune -o \
                       ( -name *.o -o -name *.a -o -name vmlinux* -type f -size +1M ) -type f -exec rm -f {} +";
        let mut words = objects.split_whitespace();
        let find = self.root.cmd(words.next().unwrap_or_default());
        find.args(words).run(step).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::{kernel, Kernel, FRAGMENT};
    use crate::kconfig;

    #[test]
    fn it_is_told_from_the_kernel_it_is_made_from() {
        let debian = Kernel {
            series: "7.3".into(),
            kver: "7.3.4+deb13-amd64".into(),
            version: "7.3.4-1~bpo13+1".into(),
        };
        assert_eq!(kernel(&debian).kver, "7.3.4+deb13-debug");
        assert_eq!(kernel(&debian).version, debian.version);
    }

    #[test]
    fn the_fragment_asks_for_what_the_kernel_is_for() {
        let error = kconfig::fulfilled(FRAGMENT, "").unwrap_err().to_string();
        for symbol in [
            "PROVE_LOCKING",
            "DEBUG_ATOMIC_SLEEP",
            "KASAN_GENERIC",
            "DEBUG_KMEMLEAK",
            "DEBUG_LIST",
            "DETECT_HUNG_TASK",
            "FAILSLAB",
            "FAIL_PAGE_ALLOC",
            "FAIL_MAKE_REQUEST",
            "RUST_DEBUG_ASSERTIONS",
            "RUST_OVERFLOW_CHECKS",
        ] {
            assert!(error.contains(&format!("CONFIG_{symbol}=y")), "{symbol}");
        }
    }
}
