// SPDX-License-Identifier: GPL-2.0
//! What is done in a checkout of netraid: set up an environment, build, check, test, demonstrate.
//!
//! Everything that is slow is made once and kept in a cache outside the checkout (see [`cache`]). The order of things:
//! [`host`] sees to the packages of this machine, [`apt`] finds and fetches what Debian offers, [`roots`] makes a root
//! for building and one for test machines, [`kernel`] unpacks kernels, [`rustmeta`] rebuilds the Rust metadata that
//! Debian does not ship, [`codegen`] turns the control interface's spec into C and Rust, [`kmod`] builds the module.

pub mod apt;
pub mod artifacts;
pub mod bench;
pub mod bzimage;
pub mod cache;
pub mod check;
pub mod chroot;
pub mod cmd;
pub mod codegen;
pub mod debug;
pub mod demo;
pub mod env;
pub mod guest;
pub mod host;
pub mod house;
pub mod kconfig;
pub mod kernel;
pub mod kmod;
pub mod mutants;
pub mod paths;
pub mod progress;
pub mod roots;
pub mod rustmeta;
pub mod soak;
pub mod suite;
pub mod symbols;
pub mod test;
pub mod vm;

use std::path::PathBuf;
use std::thread;

use anyhow::Result;

use artifacts::Artifacts;
use debug::Watch;
use env::Env;
use guest::Programs;
use kernel::Series;
use paths::Paths;
use progress::{joined, Progress};

/// What a build made.
#[derive(Debug, Clone)]
pub struct Built {
    /// Where everything is.
    pub artifacts: Artifacts,
    /// The file that says so, for the tests.
    pub list: PathBuf,
    /// The module.
    pub module: kmod::Module,
}

/// Makes the environment for the kernel of `series` and, at the same time, the programs for test machines.
///
/// # Errors
///
/// When either cannot be made, or Debian does not offer the kernel.
pub fn ready(paths: &Paths, series: Series, progress: &Progress) -> Result<(Env, Programs)> {
    // The programs need what is installed on this machine.
    host::prepare(progress)?;
    thread::scope(|scope| {
        let programs = scope.spawn(|| guest::build(paths, progress));
        let env = env::require(paths, series, false, progress);
        let programs = joined(programs.join());
        Ok((env?, programs?))
    })
}

/// Builds the module, collects everything test machines need beside the `programs`, and writes the list of it.
///
/// # Errors
///
/// When something does not build.
pub fn build(env: &Env, programs: Programs, progress: &Progress) -> Result<Built> {
    let module = kmod::build(env, progress)?;
    let built = env.paths.built(&env.kernel.kver);
    let ynl = built.join("ynl");
    guest::ynl(env, &ynl)?;
    let artifacts = Artifacts {
        kver: env.kernel.kver.clone(),
        debug: env.watch.is_some(),
        races: env.watch == Some(Watch::Kcsan),
        vmlinux: env.image.join("vmlinux"),
        modules: env.image.join("lib/modules").join(&env.kernel.kver),
        guest_root: env.guest_root.clone(),
        netraid_ko: Some(module.file.clone()),
        netraid_ctl: Some(programs.ctl),
        guest_agent: programs.agent,
        spec: Some(env.paths.spec()),
        ynl: Some(ynl),
    };
    let list = artifacts::write(&artifacts, &built)?;
    Ok(Built {
        artifacts,
        list,
        module,
    })
}
