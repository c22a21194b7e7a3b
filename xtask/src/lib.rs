// SPDX-License-Identifier: GPL-2.0
//! What is done in a checkout of netraid: set up an environment, build, check, test, demonstrate.
//!
//! Everything that is slow is made once and kept in a cache outside the checkout (see [`cache`]). The order of things:
//! [`host`] sees to the packages of this machine, [`apt`] finds and fetches what Debian offers, [`roots`] makes a root
//! for building and one for test machines, [`kernel`] unpacks kernels, [`rustmeta`] rebuilds the Rust metadata that
//! Debian does not ship, [`codegen`] turns the control interface's spec into C and Rust, [`kmod`] builds the module.

pub mod apt;
pub mod artifacts;
pub mod cache;
pub mod check;
pub mod chroot;
pub mod cmd;
pub mod codegen;
pub mod demo;
pub mod env;
pub mod guest;
pub mod host;
pub mod house;
pub mod kernel;
pub mod kmod;
pub mod paths;
pub mod progress;
pub mod roots;
pub mod rustmeta;
pub mod symbols;
pub mod test;
pub mod vm;

use std::path::PathBuf;

use anyhow::Result;

use artifacts::Artifacts;
use env::Env;
use progress::Progress;

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

/// Builds everything test machines need and writes the list of it.
///
/// # Errors
///
/// When something does not build.
pub fn build(env: &Env, progress: &Progress) -> Result<Built> {
    let module = kmod::build(env, progress)?;
    let programs = guest::build(&env.paths, progress)?;
    let built = env.paths.built(&env.kernel.kver);
    let ynl = built.join("ynl");
    guest::ynl(env, &ynl)?;
    let artifacts = Artifacts {
        kver: env.kernel.kver.clone(),
        vmlinuz: env.image.join("vmlinuz"),
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
