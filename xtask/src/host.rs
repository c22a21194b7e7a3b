// SPDX-License-Identifier: GPL-2.0
//! This machine: whether netraid can be built here, how to become administrator, which packages are missing.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{anyhow, bail, Context as _, Result};

use crate::apt::KEYRINGS;
use crate::cmd::Cmd;
use crate::guest::cargo;
use crate::progress::{Progress, Step};

/// Free space a first setup needs, bytes.
const SPACE_FIRST: u64 = 9 << 30;

/// Free space needed when everything is cached already, bytes.
const SPACE_AGAIN: u64 = 1 << 30;

/// A program this machine must have, and the Debian package it is in.
const PROGRAMS: &[(&str, &str)] = &[
    ("apt-get", "apt"),
    ("bash", "bash"),
    ("chroot", "coreutils"),
    ("dpkg-deb", "dpkg"),
    ("git", "git"),
    ("mmdebstrap", "mmdebstrap"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// Files this machine must have one of, and the Debian package they are in.
const FILES: &[(&[&str], &str)] = &[
    (KEYRINGS, "debian-archive-keyring"),
    (&["/usr/lib/x86_64-linux-gnu/libc.a"], "libc6-dev"),
    (&["/usr/sbin/mke2fs"], "e2fsprogs"),
];

/// Parts of the Rust toolchain that a minimal installation lacks: the name of the part, the program by which cargo
/// finds it, the Debian package it is in.
const COMPONENTS: &[(&str, &str, &str)] = &[
    ("rustfmt", "cargo-fmt", "rustfmt"),
    ("clippy", "cargo-clippy", "rust-clippy"),
];

/// How commands are run as administrator.
#[derive(Debug, Clone)]
pub struct Admin {
    sudo: bool,
    ids: String,
}

impl Admin {
    /// Finds out how: directly as root, else by sudo.
    ///
    /// # Errors
    ///
    /// When this is an ordinary user and there is no sudo.
    pub fn find() -> Result<Self> {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let ids = format!("{}:{}", user.as_raw(), group.as_raw());
        if user.is_root() {
            return Ok(Self { sudo: false, ids });
        }
        if which("sudo").is_none() {
            bail!("making the build root needs an administrator and sudo is missing; install sudo or run this as root");
        }
        // Asked here, with the terminal: later a question for the password would be lost among the progress.
        let allowed = Command::new("sudo").arg("-v").status().context("sudo cannot be run")?;
        if !allowed.success() {
            bail!("making the build root needs an administrator and sudo refuses; run this as root or as a user sudo allows");
        }
        Ok(Self { sudo: true, ids })
    }

    /// `program`, run as administrator.
    #[must_use]
    pub fn cmd(&self, program: &str) -> Cmd {
        if self.sudo {
            Cmd::new("sudo").arg("--").arg(program)
        } else {
            Cmd::new(program)
        }
    }

    /// Whether the caller is an ordinary user, who becomes administrator by sudo.
    #[must_use]
    pub fn ordinary(&self) -> bool {
        self.sudo
    }

    /// User and group of the caller as `UID:GID`, to whom what is built belongs.
    #[must_use]
    pub fn ids(&self) -> &str {
        &self.ids
    }
}

/// Sees to it that this machine has everything netraid is built with, and says how to become its administrator.
///
/// # Errors
///
/// When netraid cannot be built here or something cannot be installed.
pub fn prepare(progress: &Progress) -> Result<Admin> {
    suitable()?;
    let admin = Admin::find()?;
    packages(&admin, progress)?;
    Ok(admin)
}

/// Refuses machines netraid cannot be built on.
///
/// # Errors
///
/// When the architecture is another than x86-64 or there is no apt.
fn suitable() -> Result<()> {
    architecture(std::env::consts::ARCH)?;
    if which("apt-get").is_none() {
        bail!("apt-get is missing: the kernels and roots come from Debian packages; use a Debian machine");
    }
    Ok(())
}

fn architecture(name: &str) -> Result<()> {
    if name != "x86_64" {
        bail!("netraid is built for x86-64 kernels and this machine is {name}; use an x86-64 machine");
    }
    Ok(())
}

/// Refuses when the file system of `dir` is too full: `first` when nothing is cached there yet.
///
/// # Errors
///
/// When there is not enough space or it cannot be found out.
pub fn space(dir: &Path, first: bool) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| {
        format!(
            "cannot make the cache directory {}; set NETRAID_CACHE to a directory that can be written",
            dir.display()
        )
    })?;
    let stat = rustix::fs::statvfs(dir).with_context(|| format!("cannot ask how full {} is", dir.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let needed = if first { SPACE_FIRST } else { SPACE_AGAIN };
    if free < needed {
        bail!(
            "{} has {:.1} GiB free and {} GiB are needed; free some, or set NETRAID_CACHE to a directory on another disk",
            dir.display(),
            gib(free),
            needed >> 30
        );
    }
    Ok(())
}

/// Installs the packages this machine lacks.
///
/// # Errors
///
/// When apt cannot install them.
fn packages(admin: &Admin, progress: &Progress) -> Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    install(admin, &missing, progress)?;
    let still = missing_packages();
    if !still.is_empty() {
        bail!(
            "apt installed {} and yet their programs are not found; check the PATH",
            still.join(" ")
        );
    }
    Ok(())
}

/// Installs rustfmt and clippy for the cargo that runs this, when they are missing: by rustup, or as packages.
///
/// # Errors
///
/// When they cannot be installed.
pub fn components(admin: &Admin, progress: &Progress) -> Result<()> {
    let there = |program: &&(&str, &str, &str)| {
        let subcommand = program.1.trim_start_matches("cargo-");
        let version = Cmd::new(cargo())
            .args([subcommand, "--version"])
            .outcome(&Step::silent());
        version.is_ok_and(|outcome| outcome.status.success())
    };
    let missing: Vec<_> = COMPONENTS.iter().filter(|component| !there(component)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if which("rustup").is_none() {
        return install(
            admin,
            &missing.iter().map(|component| component.2).collect::<Vec<_>>(),
            progress,
        );
    }
    let names = missing.iter().map(|component| component.0);
    let what = format!(
        "Install parts of the Rust toolchain: {}",
        names.clone().collect::<Vec<_>>().join(" ")
    );
    progress.step(&what, |step| {
        let rustup = Cmd::new("rustup").args(["component", "add"]).args(names);
        rustup
            .run(step)
            .map(drop)
            .context("rustup cannot install what checking the sources needs")
    })
}

/// Installs `packages` on this machine.
fn install(admin: &Admin, packages: &[&str], progress: &Progress) -> Result<()> {
    progress.step(&format!("Install host packages: {}", packages.join(" ")), |step| {
        let apt = |args: &[&str]| {
            admin
                .cmd("env")
                .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"])
                .args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"])
                .args(args.iter().copied())
                .run(step)
        };
        // Another archive of this machine that cannot be reached must not keep Debian's packages away, so a failure
        // here only counts when the packages cannot be installed.
        let updated = apt(&["update"]);
        let installed = apt(&[&["install", "--no-install-recommends"], packages].concat());
        installed.map(drop).map_err(|error| {
            let update = updated.err().map_or_else(String::new, |error| format!("\n{error:#}"));
            anyhow!(
                "apt cannot install {}; check the network and /etc/apt, then try again: {error:#}{update}",
                packages.join(" ")
            )
        })
    })
}

fn missing_packages() -> Vec<&'static str> {
    let programs = PROGRAMS
        .iter()
        .filter(|(program, _)| which(program).is_none())
        .map(|(_, package)| *package);
    let files = FILES
        .iter()
        .filter(|(files, _)| !files.iter().any(|file| Path::new(file).exists()))
        .map(|(_, package)| *package);
    programs.chain(files).collect()
}

/// Where `program` is; administrators' directories count although an ordinary user's PATH lacks them.
fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1_u32 << 30)
}

/// How many processors a build may use.
#[must_use]
pub fn jobs() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

/// The value of one line of `apt-config dump`, as `apt-config` writes it, for keys that start with one of `prefixes`.
///
/// # Errors
///
/// When `apt-config` cannot be run.
pub fn apt_options(prefixes: &[&str]) -> Result<Vec<String>> {
    let dump = Cmd::new("apt-config").arg("dump").run(&Step::silent())?;
    Ok(dump
        .lines()
        .filter(|line| prefixes.iter().any(|prefix| line.starts_with(prefix)))
        .map(|line| line.trim_end_matches(';').to_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{architecture, space, which, Path};

    #[test]
    fn another_architecture_is_refused() {
        architecture("x86_64").unwrap();
        assert!(architecture("aarch64").unwrap_err().to_string().contains("aarch64"));
    }

    #[test]
    fn programs_are_found() {
        assert!(which("sh").is_some());
        assert!(which("no-such-program-netraid").is_none());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_refused_with_advice() {
        let error = space(Path::new("/proc/netraid-no-such"), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("NETRAID_CACHE"), "{error}");
    }
}
