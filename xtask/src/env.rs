// SPDX-License-Identifier: GPL-2.0
//! The whole environment for one kernel: everything cached that building and testing needs.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};

use crate::apt::{version::Kernel, Apt};
use crate::cache::{self, Lock};
use crate::chroot::Chroot;
use crate::host::{self, Admin};
use crate::kernel::{self, Series};
use crate::paths::Paths;
use crate::progress::{joined, Progress};
use crate::roots::{build_root, Root};
use crate::rustmeta;

/// Lists of packages that old serve as long as everything is cached.
const LISTS_OLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// Lists must be this fresh before something is fetched, because Debian removes superseded kernels.
const LISTS_FRESH: Duration = Duration::from_secs(3600);

/// What is ready for one kernel.
#[derive(Debug, Clone)]
pub struct Env {
    /// Where things are.
    pub paths: Paths,
    /// Which kernel.
    pub kernel: Kernel,
    /// Its image and modules: `vmlinuz`, `lib/modules/<kver>`.
    pub image: PathBuf,
    /// Its prepared sources with Rust metadata.
    pub kdir: PathBuf,
    /// The root test machines run on.
    pub guest_root: PathBuf,
    /// The root to build in.
    pub build: Chroot,
}

/// Makes everything for the kernel of `series` that is not cached yet. None when Debian offers no such kernel.
///
/// # Errors
///
/// When this machine is unsuitable or something cannot be fetched or made; each says what to do.
pub fn ensure(paths: &Paths, series: Series, refresh: bool, progress: &Progress) -> Result<Option<Env>> {
    let admin = host::prepare(progress)?;
    host::space(&paths.cache, !Root::Build.dir(paths).exists())?;
    let lock = Lock::take(&paths.cache.join("lock"), progress)?;
    let kept = ["roots", "kernels", "sources", "kdir"].map(|name| paths.cache.join(name));
    cache::sweep(&lock, &kept, &admin)?;
    let apt = Apt::new(&paths.cache.join("apt"))?;
    apt.update(if refresh { Duration::ZERO } else { LISTS_OLD }, progress)?;
    let cached = apt.kernel(series.name())?.filter(|kernel| complete(paths, kernel));
    let kernel = match cached {
        Some(kernel) => kernel,
        None => {
            apt.update(LISTS_FRESH, progress)?;
            let Some(kernel) = apt.kernel(series.name())? else {
                return Ok(None);
            };
            make(&lock, paths, &apt, &admin, &kernel, progress)?;
            kernel
        }
    };
    Ok(Some(Env {
        image: kernel::image_dir(paths, &kernel),
        kdir: rustmeta::dir(paths, &kernel),
        guest_root: Root::Guest.dir(paths),
        build: build_root(paths, &admin),
        paths: paths.clone(),
        kernel,
    }))
}

/// The same for a kernel that must exist.
///
/// # Errors
///
/// As [`ensure`]; and when Debian does not offer the kernel.
pub fn require(paths: &Paths, series: Series, refresh: bool, progress: &Progress) -> Result<Env> {
    ensure(paths, series, refresh, progress)?.with_context(|| {
        format!(
            "Debian's mirror offers no kernel {} with sources now; choose another with --kernel",
            series.name()
        )
    })
}

/// The environment for the first series Debian offers, for work that needs any kernel's tools.
///
/// # Errors
///
/// As [`ensure`]; and when Debian offers no kernel netraid supports.
pub fn any(paths: &Paths, progress: &Progress) -> Result<Env> {
    for series in Series::ALL {
        if let Some(env) = ensure(paths, series, false, progress)? {
            return Ok(env);
        }
    }
    Err(anyhow!(
        "Debian's mirror offers none of the kernels netraid supports; check the mirror in /etc/apt"
    ))
}

fn complete(paths: &Paths, kernel: &Kernel) -> bool {
    [
        Root::Build.dir(paths),
        Root::Guest.dir(paths),
        kernel::image_dir(paths, kernel),
        rustmeta::dir(paths, kernel),
    ]
    .iter()
    .all(|dir| dir.exists())
}

/// Makes what is missing. The roots and the sources need nothing of each other, so they are made at the same time.
fn make(lock: &Lock, paths: &Paths, apt: &Apt, admin: &Admin, kernel: &Kernel, progress: &Progress) -> Result<()> {
    thread::scope(|scope| {
        let build = scope.spawn(|| Root::Build.ensure(lock, paths, apt, admin, progress));
        let image = scope.spawn(|| {
            let guest = Root::Guest.ensure(lock, paths, apt, admin, progress)?;
            kernel::ensure_image(lock, paths, apt, kernel, &Chroot::new(&guest, admin), progress)
        });
        let source = if rustmeta::dir(paths, kernel).exists() {
            Ok(PathBuf::new())
        } else {
            kernel::ensure_source(lock, paths, apt, kernel, progress)
        };
        // All are waited for before the first failure is reported: none of them is left working behind its back.
        let (build, image) = (joined(build.join()), joined(image.join()));
        let (source, image) = (source?, image?);
        build?;
        let root = build_root(paths, admin);
        rustmeta::ensure(lock, paths, kernel, &root, &source, &image.join("headers"), progress)?;
        Ok(())
    })
}
