// SPDX-License-Identifier: GPL-2.0
//! The two Debian 13 roots: one to build in, one the test machines run on.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::apt::{sources::SUITE, Apt};
use crate::cache::{self, Lock};
use crate::chroot::{Chroot, MOUNT_POINTS};
use crate::host::{self, Admin};
use crate::paths::Paths;
use crate::progress::Progress;

/// Changed when roots are made in another way, so that old ones are not used any more.
const RECIPE: &str = "1";

/// What the kernel's build system needs for a module in Rust and C, Python for the code generator, and clang for debug
/// kernels.
const BUILD_PACKAGES: &[&str] = &[
    "bc",
    "bindgen",
    "bison",
    "clang-19",
    "cpio",
    "flex",
    "gcc-14",
    "kmod",
    "libc6-dev",
    "libdw-dev",
    "libelf-dev",
    "libssl-dev",
    "lld-19",
    "llvm-19",
    "make",
    "pahole",
    "python3",
    "python3-jsonschema",
    "python3-yaml",
    "rsync",
    "rust-clippy",
    "rust-src",
    "rustc",
    "rustfmt",
    "xz-utils",
    "zlib1g-dev",
];

/// What tests and the demo use inside the test machines.
const GUEST_PACKAGES: &[&str] = &[
    "btrfs-progs",
    "curl",
    "dmsetup",
    "drbd-utils",
    "e2fsprogs",
    "ethtool",
    "fdisk",
    "fio",
    "hdparm",
    "iproute2",
    "iptables",
    "iputils-ping",
    "kmod",
    "less",
    "libcap2-bin",
    "lvm2",
    "mdadm",
    "mount",
    "nbd-client",
    "nbd-server",
    "netcat-openbsd",
    "nftables",
    "nvme-cli",
    "procps",
    "psmisc",
    "python3",
    "python3-jsonschema",
    "python3-yaml",
    "sg3-utils",
    "strace",
    "udev",
    "util-linux",
    "xfsprogs",
    "xz-utils",
];

/// Which root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// Compilers and the kernel's build tools.
    Build,
    /// What a test machine runs on; it is mounted read-only there.
    Guest,
}

impl Root {
    fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Guest => "guest",
        }
    }

    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Build => BUILD_PACKAGES,
            Self::Guest => GUEST_PACKAGES,
        }
    }

    /// A short name for what this root is made of.
    #[must_use]
    pub fn key(self) -> String {
        cache::key(&[&[RECIPE, SUITE], self.packages()].concat())
    }

    /// Where it is kept.
    #[must_use]
    pub fn dir(self, paths: &Paths) -> PathBuf {
        paths.cache.join(format!("roots/{}-{}", self.name(), self.key()))
    }

    /// Makes it unless it is there.
    ///
    /// # Errors
    ///
    /// When mmdebstrap fails.
    pub fn ensure(self, lock: &Lock, paths: &Paths, apt: &Apt, admin: &Admin, progress: &Progress) -> Result<PathBuf> {
        let dir = self.dir(paths);
        if !dir.exists() {
            progress.step(&format!("Make the {} root (Debian {SUITE})", self.name()), |step| {
                cache::once(lock, &dir, |making| {
                    let log = paths.log(&format!("root-{}", self.name()));
                    mmdebstrap(self.packages(), making, apt, admin)?
                        .log(&log)
                        .run(step)
                        .context("the root cannot be made; check the network and the free space, then try again")?;
                    let points = MOUNT_POINTS
                        .iter()
                        .map(|point| making.join(point.trim_start_matches('/')));
                    admin.cmd("mkdir").arg("-p").args(points).run(step)?;
                    if admin.ordinary() {
                        // Images of the root are made by the caller, who must be able to read all of it.
                        admin.cmd("chmod").args(["-R", "a+rX"]).arg(making).run(step)?;
                    }
                    Ok(())
                })
            })?;
        }
        Ok(dir)
    }
}

/// The build root, ready to run programs in.
#[must_use]
pub fn build_root(paths: &Paths, admin: &Admin) -> Chroot {
    Chroot::new(&Root::Build.dir(paths), admin)
}

fn mmdebstrap(packages: &[&str], dir: &Path, apt: &Apt, admin: &Admin) -> Result<crate::cmd::Cmd> {
    // In a mount namespace of its own: what it mounts in the root goes away with it even when it is killed.
    let mut cmd = admin.cmd("unshare").args(["--mount", "mmdebstrap"]).args([
        "--mode=root",
        "--format=directory",
        "--variant=apt",
    ]);
    let fixed = [
        "Acquire::Languages \"none\"",
        "APT::Install-Recommends \"false\"",
        "Acquire::Retries \"3\"",
    ]
    .map(str::to_owned);
    let ours = host::apt_options(&["Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-"])?;
    for option in fixed.into_iter().chain(ours) {
        cmd = cmd.arg(format!("--aptopt={option}"));
    }
    // Nobody reads manuals in these roots, and they are made again rather than repaired after a power failure.
    for option in [
        "path-exclude=/usr/share/doc/*",
        "path-exclude=/usr/share/man/*",
        "path-exclude=/usr/share/locale/*",
        "force-unsafe-io",
    ] {
        cmd = cmd.arg(format!("--dpkgopt={option}"));
    }
    Ok(cmd
        .arg(format!("--include={}", packages.join(",")))
        .arg(SUITE)
        .arg(dir)
        .arg("-")
        .input(apt.sources()))
}
