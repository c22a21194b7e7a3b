// SPDX-License-Identifier: GPL-2.0
//! Builds `netraid.ko` by the kernel's own build system and checks that it fits the kernel it is for.
//!
//! The checkout stays clean: Kbuild puts everything it makes into a directory of its own (`MO=`), which makes the next
//! build incremental.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cache::Lock;
use crate::chroot::Chroot;
use crate::env::Env;
use crate::progress::{Progress, Step};
use crate::rustmeta;
use crate::symbols;

/// The module that was built.
#[derive(Debug, Clone)]
pub struct Module {
    /// Where it is.
    pub file: PathBuf,
    /// What `modinfo` says of it, in lines `field: value`.
    pub info: String,
}

/// Builds and checks the module for the kernel of `env`.
///
/// # Errors
///
/// When Kbuild fails, or the module does not fit the kernel.
pub fn build(env: &Env, progress: &Progress) -> Result<Module> {
    let built = env.paths.built(&env.kernel.kver);
    let out = built.join("kbuild");
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let _lock = Lock::take(&built.join("lock"), progress)?;
    let root = root(env).bind(&out, "/out");
    progress.step(&format!("Build netraid.ko for {}", env.kernel.kver), |step| {
        kbuild(env, &root, &["modules"], &built.join("kbuild.log"), step)?;
        let file = built.join("netraid.ko");
        let strip = root.clone().bind(&built, "/mnt");
        strip
            .cmd("strip")
            .args(["--strip-debug", "-o", "/mnt/netraid.ko.new", "/out/netraid.ko"])
            .run(step)?;
        fs::rename(built.join("netraid.ko.new"), &file).with_context(|| format!("cannot write {}", file.display()))?;
        verify(env, &root, step).context("netraid.ko would not work on this kernel")?;
        let info = root.cmd("modinfo").arg("/out/netraid.ko").run(step)?;
        Ok(Module { file, info })
    })
}

/// Runs clippy with the kernel's own configuration over the module.
///
/// # Errors
///
/// When clippy has something to say.
pub fn clippy(env: &Env, progress: &Progress) -> Result<()> {
    let built = env.paths.built(&env.kernel.kver);
    let _lock = Lock::take(&built.join("clippy.lock"), progress)?;
    // What is compiled already is not looked at again, so this always begins from nothing.
    let out = built.join("clippy");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot remove {}", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let root = root(env).bind(&out, "/out");
    let log = built.join("clippy.log");
    progress.step("Check the lints of the module", |step| {
        kbuild(env, &root, &["CLIPPY=1", "modules"], &log, step)?;
        let said = fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let remarks = said.lines().filter(|line| line.starts_with("warning:")).count();
        anyhow::ensure!(
            remarks == 0,
            "clippy has {remarks} remarks on the module; they are in {}, the first is:\n{}",
            log.display(),
            first_remark(&said)
        );
        Ok(())
    })
}

/// The first warning in the output of a compiler, with the lines that belong to it.
fn first_remark(said: &str) -> String {
    let lines = said.lines().skip_while(|line| !line.starts_with("warning:"));
    lines
        .take_while(|line| !line.trim().is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The build root with the kernel tree and the checkout in it.
fn root(env: &Env) -> Chroot {
    env.build
        .clone()
        .bind(&env.kdir, "/linux")
        .bind(&env.paths.checkout, "/netraid")
}

fn kbuild(env: &Env, root: &Chroot, goals: &[&str], log: &Path, step: &Step) -> Result<()> {
    let outcome = rustmeta::make(root, &env.kernel, env.tools)
        .args(["M=/netraid", "MO=/out"])
        .args(goals.iter().copied())
        .log(log)
        .limit(Duration::from_secs(10 * 60))
        .outcome(step)?;
    anyhow::ensure!(
        outcome.status.success(),
        "the module does not build for {}:\n{}",
        env.kernel.kver,
        outcome.tail
    );
    Ok(())
}

/// Checks that the kernel exports what the module needs and that both mean the same Rust crates.
fn verify(env: &Env, root: &Chroot, step: &Step) -> Result<()> {
    let output = root.cmd("nm").arg("/out/netraid.ko").run(step)?;
    let (undefined, all) = symbols::nm(&output);
    let file = env.image.join("headers/Module.symvers");
    let symvers = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let exported = symbols::exported(&symvers);
    symbols::all_exported(&undefined, &exported)?;
    symbols::same_crates(&all, &exported)
}

#[cfg(test)]
mod tests {
    use super::first_remark;

    #[test]
    fn the_first_remark_is_found() {
        let said = "  RUSTC [M] x\nwarning: unused `y`\n --> x.rs\n\nwarning: other\n";
        assert_eq!(first_remark(said), "warning: unused `y`\n --> x.rs");
        assert_eq!(first_remark("fine\n"), "");
    }
}
