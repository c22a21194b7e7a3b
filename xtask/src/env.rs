// SPDX-License-Identifier: GPL-2.0
//! The whole environment for one kernel: everything cached that building and testing needs.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};

use crate::apt::{version::Kernel, Apt};
use crate::cache::{self, Lock};
use crate::chroot::Chroot;
use crate::debug::{self, Watch};
use crate::host::{self, Admin};
use crate::kernel::{self, Series};
use crate::paths::Paths;
use crate::progress::{joined, Progress};
use crate::roots::{build_root, Root};
use crate::rustmeta::{self, Tools};

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
    /// Its image and modules: `vmlinux`, `lib/modules/<kver>`.
    pub image: PathBuf,
    /// Its prepared sources with Rust metadata.
    pub kdir: PathBuf,
    /// The root test machines run on.
    pub guest_root: PathBuf,
    /// The root to build in.
    pub build: Chroot,
    /// What is built with.
    pub tools: Tools,
    /// What the kernel watches.
    pub watch: Option<Watch>,
}

/// Where what is made for one kernel is kept.
struct Place {
    kernel: Kernel,
    image: PathBuf,
    kdir: PathBuf,
    tools: Tools,
}

impl Place {
    /// For `series`, made from Debian's `kernel`.
    fn new(paths: &Paths, series: Series, kernel: &Kernel) -> Self {
        if let Some(watch) = series.watch() {
            Self {
                image: watch.dir(paths, kernel),
                kdir: watch.tree(paths, kernel),
                tools: Tools::Llvm,
                kernel: watch.kernel(kernel),
            }
        } else {
            Self {
                image: kernel::image_dir(paths, kernel),
                kdir: rustmeta::dir(paths, kernel),
                tools: Tools::Gcc,
                kernel: kernel.clone(),
            }
        }
    }

    /// Whether everything is there.
    fn complete(&self, paths: &Paths) -> bool {
        let (build, guest) = (Root::Build.dir(paths), Root::Guest.dir(paths));
        [&build, &guest, &self.image, &self.kdir].iter().all(|dir| dir.exists())
    }
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
    let cached = apt
        .kernel(series.name())?
        .map(|kernel| Place::new(paths, series, &kernel))
        .filter(|place| place.complete(paths));
    let place = match cached {
        Some(place) => place,
        None => {
            apt.update(LISTS_FRESH, progress)?;
            let Some(kernel) = apt.kernel(series.name())? else {
                return Ok(None);
            };
            let making = Making {
                lock: &lock,
                paths,
                apt: &apt,
                admin: &admin,
                kernel: &kernel,
                progress,
            };
            match series.watch() {
                Some(watch) => making.watching(watch)?,
                None => making.stock()?,
            }
            Place::new(paths, series, &kernel)
        }
    };
    Ok(Some(Env {
        image: place.image,
        kdir: place.kdir,
        guest_root: Root::Guest.dir(paths),
        build: build_root(paths, &admin),
        paths: paths.clone(),
        kernel: place.kernel,
        tools: place.tools,
        watch: series.watch(),
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

/// Whether everything for the kernel of `series` has been made before; nothing is fetched to find that out.
///
/// # Errors
///
/// When there are no lists of Debian's packages yet.
pub fn is_ready(paths: &Paths, series: Series) -> Result<bool> {
    let kernel = Apt::new(&paths.cache.join("apt"))?.kernel(series.name())?;
    Ok(kernel.is_some_and(|kernel| Place::new(paths, series, &kernel).complete(paths)))
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

/// What it takes to make what is missing for Debian's kernel `kernel`.
#[derive(Clone, Copy)]
struct Making<'a> {
    lock: &'a Lock,
    paths: &'a Paths,
    apt: &'a Apt,
    admin: &'a Admin,
    kernel: &'a Kernel,
    progress: &'a Progress,
}

impl Making<'_> {
    fn root(self, root: Root) -> Result<PathBuf> {
        root.ensure(self.lock, self.paths, self.apt, self.admin, self.progress)
    }

    fn source(self) -> Result<PathBuf> {
        kernel::ensure_source(self.lock, self.paths, self.apt, self.kernel, self.progress)
    }

    /// Makes what is missing for Debian's kernel itself. The roots and the sources need nothing of each other, so they
    /// are made at the same time.
    fn stock(self) -> Result<()> {
        let Self {
            lock,
            paths,
            kernel,
            progress,
            ..
        } = self;
        thread::scope(|scope| {
            let build = scope.spawn(|| self.root(Root::Build));
            let image = scope.spawn(|| {
                let guest = Chroot::new(&self.root(Root::Guest)?, self.admin);
                kernel::ensure_image(lock, paths, self.apt, kernel, &guest, progress)
            });
            let source = if rustmeta::dir(paths, kernel).exists() {
                Ok(PathBuf::new())
            } else {
                self.source()
            };
            // All are waited for before the first failure is reported: none of them is left working behind its back.
            let (build, image) = (joined(build.join()), joined(image.join()));
            let (source, image) = (source?, image?);
            build?;
            let root = build_root(paths, self.admin);
            rustmeta::ensure(lock, paths, kernel, &root, &source, &image.join("headers"), progress)?;
            Ok(())
        })
    }

    /// Makes what is missing for a kernel that watches itself.
    fn watching(self, watch: Watch) -> Result<()> {
        thread::scope(|scope| {
            let guest = scope.spawn(|| self.root(Root::Guest));
            let build = self.root(Root::Build);
            joined(guest.join())?;
            build?;
            let root = build_root(self.paths, self.admin);
            let wanted = (watch, self.kernel);
            debug::ensure(self.lock, self.paths, wanted, &root, || self.source(), self.progress)?;
            Ok(())
        })
    }
}
