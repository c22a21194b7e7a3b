// SPDX-License-Identifier: GPL-2.0
//! Kernels that watch themselves, built from Debian's sources: one for locks, memory, contexts, and failures on demand,
//! and one for data races.
//!
//! Their configuration is `xtask/kernels/debug.config` on top of the kernel's own `tinyconfig`, and for the second one
//! `xtask/kernels/kcsan.config` on top of that. They are built by clang, because the kernel's Rust code is only
//! instrumented by it, each in a tree of its own, for configuring one for Debian's kernel and for these would spoil it for
//! the other. Modules are built against the same tree.

use std::borrow::Cow;
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

/// What the kernels must have.
const FRAGMENT: &str = include_str!("../kernels/debug.config");

/// What is different where data races are watched for.
const RACES: &str = include_str!("../kernels/kcsan.config");

/// Has the compiler instrument Rust code for KCSAN where it is told to: the kernel instruments its C code alone, and the
/// compiler refuses what a target does not list.
const RUST_RACES: &str = r#"s/"supported-sanitizers", \["kcfi", "kernel-address"\]/"supported-sanitizers", ["kcfi", "kernel-address", "thread"]/"#;

/// How long the build may take: ten minutes to half an hour on two free processors.
const LIMIT: Duration = Duration::from_secs(4 * 3600);

/// What a kernel watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Locks, memory, contexts: what one thread does.
    Debug,
    /// Data races: what threads do to each other.
    Kcsan,
}

impl Watch {
    /// The kernel that watches this, made from the sources of Debian's `kernel`.
    #[must_use]
    pub fn kernel(self, kernel: &Kernel) -> Kernel {
        let suffix = match self {
            Self::Debug => "debug",
            Self::Kcsan => "kcsan",
        };
        Kernel {
            kver: format!("{}-{suffix}", kernel.kver.trim_end_matches("-amd64")),
            ..kernel.clone()
        }
    }

    fn fragment(self) -> Cow<'static, str> {
        match self {
            Self::Debug => FRAGMENT.into(),
            Self::Kcsan => format!("{FRAGMENT}{RACES}").into(),
        }
    }

    /// Where the kernel made from Debian's `kernel` is kept: `vmlinux`, `lib/modules`, `headers` as for Debian's, and
    /// `tree`.
    #[must_use]
    pub fn dir(self, paths: &Paths, kernel: &Kernel) -> PathBuf {
        let key = cache::key(&[RECIPE, &kernel.version, &self.fragment(), &Root::Build.key()]);
        paths.cache.join(format!("kernels/{}-{key}", self.kernel(kernel).kver))
    }

    /// The tree in which it was built, for building modules.
    #[must_use]
    pub fn tree(self, paths: &Paths, kernel: &Kernel) -> PathBuf {
        self.dir(paths, kernel).join("tree")
    }
}

/// Where it is built. This outlives an interruption: the next build goes on where the last one was.
fn unfinished(paths: &Paths, dir: &Path) -> PathBuf {
    paths.cache.join("building").join(dir.file_name().unwrap_or_default())
}

/// Builds the kernel that watches `watch` from the sources of Debian's `kernel`, unless it is there: `source` gives the
/// untouched sources.
///
/// # Errors
///
/// When the sources do not take the configuration or do not build.
pub fn ensure(
    lock: &Lock,
    paths: &Paths,
    (watch, kernel): (Watch, &Kernel),
    root: &Chroot,
    source: impl FnOnce() -> Result<PathBuf>,
    progress: &Progress,
) -> Result<PathBuf> {
    let dir = watch.dir(paths, kernel);
    let kernel = &watch.kernel(kernel);
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
        "Kernel {} is built now; this is done once and takes ten minutes to half an hour on two processors.",
        kernel.kver
    ));
    let build = Build {
        paths,
        kernel,
        watch,
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
    watch: Watch,
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
        if self.watch == Watch::Kcsan {
            let target = "/linux/scripts/generate_rust_target.rs";
            self.root.cmd("sed").args(["-i", RUST_RACES, target]).run(step)?;
        }
        self.make("tinyconfig").arg("tinyconfig").run(step)?;
        let fragment = self.watch.fragment();
        let file = self.dir.join("tree/.config");
        OpenOptions::new()
            .append(true)
            .open(&file)
            .and_then(|mut config| config.write_all(fragment.as_bytes()))
            .with_context(|| format!("cannot write {}", file.display()))?;
        self.make("olddefconfig").arg("olddefconfig").run(step)?;
        let config = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        kconfig::fulfilled(&fragment, &config)
            .with_context(|| format!("its fragments in xtask/kernels do not fit kernel {}", self.kernel.kver))
    }

    fn build(&self, step: &Step) -> Result<()> {
        self.make("kernel")
            .args(["vmlinux", "modules"])
            .run(step)
            .map(drop)
            .with_context(|| format!("kernel {} does not build", self.kernel.kver))
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
    use super::{Kernel, Watch, FRAGMENT};
    use crate::kconfig;

    #[test]
    fn it_is_told_from_the_kernel_it_is_made_from() {
        let debian = Kernel {
            series: "7.3".into(),
            kver: "7.3.4+deb13-amd64".into(),
            version: "7.3.4-1~bpo13+1".into(),
        };
        assert_eq!(Watch::Debug.kernel(&debian).kver, "7.3.4+deb13-debug");
        assert_eq!(Watch::Kcsan.kernel(&debian).kver, "7.3.4+deb13-kcsan");
        assert_eq!(Watch::Kcsan.kernel(&debian).version, debian.version);
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

    #[test]
    fn races_are_watched_for_without_what_does_not_go_with_that() {
        let error = kconfig::fulfilled(&Watch::Kcsan.fragment(), "")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("CONFIG_KCSAN=y") && error.contains("CONFIG_DEBUG_ATOMIC_SLEEP=y"),
            "{error}"
        );
        assert!(!error.contains("KASAN") && !error.contains("KMEMLEAK"), "{error}");
    }
}
