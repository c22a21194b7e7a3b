// SPDX-License-Identifier: GPL-2.0
//! Debian's kernels: which ones are used, their images and modules for test machines, their sources for building.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context as _, Result};

use crate::apt::{version::Kernel, Apt};
use crate::bzimage;
use crate::cache::{self, Lock};
use crate::chroot::Chroot;
use crate::cmd::Cmd;
use crate::debug::Watch;
use crate::paths::{text, Paths};
use crate::progress::{Progress, Step};

/// Changed when kernels are unpacked in another way, so that old ones are not used any more.
const RECIPE: &str = "1";

/// The same of images.
const IMAGE_RECIPE: &str = "2";

/// Parts of the sources that neither configuring nor preparing for modules reads.
const NOT_UNPACKED: &[&str] = &[
    "*/Documentation/devicetree/*",
    "*/Documentation/translations/*",
    "*/arch/arm/boot/*",
    "*/arch/arm/mach-*/*",
    "*/arch/arm64/boot/*",
    "*/arch/mips/boot/*",
    "*/arch/mips/include/*",
    "*/arch/powerpc/boot/*",
    "*/arch/riscv/boot/*",
    "*/drivers/gpu/drm/amd/include/*",
    "*/tools/perf/*",
    "*/tools/testing/*",
];

/// A kernel netraid is built for and tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Series {
    /// The default: the newest.
    #[value(name = "7.3")]
    V7_3,
    /// What Debian's backports install by default.
    #[value(name = "7.2")]
    V7_2,
    /// One that watches itself, built from the sources of the newest.
    #[value(name = "debug")]
    Debug,
    /// One that watches for data races, built from the sources of the newest.
    #[value(name = "kcsan")]
    Kcsan,
}

impl Series {
    /// Debian's, the default first.
    pub const ALL: [Self; 2] = [Self::V7_3, Self::V7_2];

    /// The series of Debian's kernel it is or is made from: `7.3`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V7_3 | Self::Debug | Self::Kcsan => "7.3",
            Self::V7_2 => "7.2",
        }
    }

    /// What it watches, where it is not Debian's kernel itself.
    #[must_use]
    pub fn watch(self) -> Option<Watch> {
        match self {
            Self::V7_3 | Self::V7_2 => None,
            Self::Debug => Some(Watch::Debug),
            Self::Kcsan => Some(Watch::Kcsan),
        }
    }
}

/// Where the image of `kernel` is kept: `vmlinux`, `lib/modules`, `headers`.
#[must_use]
pub fn image_dir(paths: &Paths, kernel: &Kernel) -> PathBuf {
    paths.cache.join(format!(
        "kernels/{}-{}",
        kernel.kver,
        cache::key(&[IMAGE_RECIPE, &kernel.version])
    ))
}

/// Where the untouched sources of `kernel` are kept until they are prepared.
fn source_dir(paths: &Paths, kernel: &Kernel) -> PathBuf {
    paths.cache.join(format!(
        "sources/{}-{}",
        kernel.kver,
        cache::key(&[RECIPE, &kernel.version])
    ))
}

/// Fetches and unpacks the image, the modules and the headers' configuration, unless they are there.
///
/// `root` is a root with kmod in it, for the index of the modules.
///
/// # Errors
///
/// When the packages cannot be fetched or hold something else than expected.
pub fn ensure_image(
    lock: &Lock,
    paths: &Paths,
    apt: &Apt,
    kernel: &Kernel,
    root: &Chroot,
    progress: &Progress,
) -> Result<PathBuf> {
    let dir = image_dir(paths, kernel);
    if !dir.exists() {
        progress.step(&format!("Fetch kernel {}: image and modules", kernel.kver), |step| {
            cache::once(lock, &dir, |making| unpack_image(apt, kernel, root, making, step))
        })?;
    }
    Ok(dir)
}

fn unpack_image(apt: &Apt, kernel: &Kernel, root: &Chroot, dir: &Path, step: &Step) -> Result<()> {
    let kver = &kernel.kver;
    let work = dir.join("unpacked");
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let debs = apt.download(&packages(apt, kernel)?, &work, step)?;
    for deb in &debs {
        step.say(&format!("unpacking {}", deb.display()));
        Cmd::new("dpkg-deb").arg("-x").arg(deb).arg(&work).run(step)?;
    }
    let modules = dir.join("lib/modules").join(kver);
    fs::create_dir_all(dir.join("lib/modules")).context("cannot make the directory of the modules")?;
    rename(&work.join("usr/lib/modules").join(kver), &modules)?;
    let image = image_file(&[&modules, &work.join("boot"), &work.join("usr/lib/modules")])
        .with_context(|| format!("the package of kernel {kver} holds no vmlinuz; use another kernel with --kernel"))?;
    rename(&image, &work.join("vmlinuz"))?;
    step.say("unpacking the kernel itself");
    bzimage::unpack(&work.join("vmlinuz"), &dir.join("vmlinux"), step)?;
    let headers = dir.join("headers");
    fs::create_dir_all(&headers).context("cannot make the directory of the headers")?;
    for name in [".config", "Module.symvers"] {
        rename(
            &work.join(format!("usr/src/linux-headers-{kver}")).join(name),
            &headers.join(name),
        )?;
    }
    fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    step.say("making the index of the modules");
    root.clone()
        .bind(dir, "/mnt")
        .cmd("depmod")
        .args(["-b", "/mnt", kver])
        .run(step)?;
    Ok(())
}

/// The packages an image consists of; Debian has split and named them differently over time.
fn packages(apt: &Apt, kernel: &Kernel) -> Result<Vec<String>> {
    let kver = &kernel.kver;
    let offered =
        |name: String| -> Result<Option<String>> { Ok(apt.names(&name)?.into_iter().find(|found| *found == name)) };
    let mut wanted = Vec::new();
    let images = [
        "linux-binary-unsigned-{}",
        "linux-binary-{}",
        "linux-image-{}-unsigned",
        "linux-image-{}",
    ];
    for pattern in images {
        if let Some(name) = offered(pattern.replace("{}", kver))? {
            wanted.push(name);
            break;
        }
    }
    if wanted.is_empty() {
        bail!("Debian offers headers and sources of kernel {kver} but no image; run `cargo xtask setup --refresh`");
    }
    for pattern in ["linux-modules-{}", "linux-base-{}", "linux-headers-{}"] {
        wanted.extend(offered(pattern.replace("{}", kver))?);
    }
    Ok(wanted
        .into_iter()
        .map(|name| format!("{name}={}", kernel.version))
        .collect())
}

fn image_file(dirs: &[&Path]) -> Option<PathBuf> {
    dirs.iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.is_file()
                && path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz"))
        })
}

/// Fetches and unpacks the sources, unless they are there.
///
/// # Errors
///
/// When the package cannot be fetched or unpacked.
pub fn ensure_source(lock: &Lock, paths: &Paths, apt: &Apt, kernel: &Kernel, progress: &Progress) -> Result<PathBuf> {
    let dir = source_dir(paths, kernel);
    if !dir.exists() {
        progress.step(&format!("Fetch kernel {}: sources", kernel.kver), |step| {
            cache::once(lock, &dir, |making| unpack_source(apt, kernel, making, step))
        })?;
    }
    Ok(dir)
}

fn unpack_source(apt: &Apt, kernel: &Kernel, dir: &Path, step: &Step) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let package = format!("linux-source-{}", kernel.series);
    let debs = apt.download(&[format!("{package}={}", kernel.version)], dir, step)?;
    let deb = debs.first().context("apt fetched no source package")?;
    step.say("unpacking");
    let excludes: String = NOT_UNPACKED
        .iter()
        .map(|pattern| format!(" --exclude='{pattern}'"))
        .collect();
    let script = format!(
        "set -euo pipefail; dpkg-deb --fsys-tarfile \"$1\" | tar -xO ./usr/src/{package}.tar.xz | xz -dc -T0 \
         | tar -x --strip-components=1{excludes} -C \"$2\""
    );
    Cmd::new("bash")
        .args(["-c", &script, "unpack", text(deb)?, text(dir)?])
        .run(step)?;
    fs::remove_file(deb).with_context(|| format!("cannot remove {}", deb.display()))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("cannot move {} to {}", from.display(), to.display()))
}
