// SPDX-License-Identifier: GPL-2.0
//! Builds the programs that run in test machines: linked statically, because the machines have another C library.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cmd::Cmd;
use crate::env::Env;
use crate::paths::Paths;
use crate::progress::{Progress, Step};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Packages with a program of the same name.
const PROGRAMS: [&str; 2] = ["netraid-ctl", "netraid-guest"];

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The control program.
    pub ctl: PathBuf,
    /// The agent.
    pub agent: PathBuf,
}

/// Builds both programs.
///
/// # Errors
///
/// When cargo fails; its output is in the error.
pub fn build(paths: &Paths, progress: &Progress) -> Result<Programs> {
    let target = paths.target.join("static");
    let mut cargo = Cmd::new(cargo()).args(["build", "--locked", "--profile", "guest", "--target", TARGET]);
    for package in PROGRAMS {
        cargo = cargo.args(["-p", package]);
    }
    progress.step("Build netraid-ctl and the agent of test machines", |step| {
        cargo
            .arg("--target-dir")
            .arg(&target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .dir(&paths.checkout)
            .run(step)
    })?;
    let built = target.join(TARGET).join("guest");
    Ok(Programs {
        ctl: built.join(PROGRAMS[0]),
        agent: built.join(PROGRAMS[1]),
    })
}

/// The cargo this program was started by.
#[must_use]
pub fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".into())
}

/// Collects the kernel's own netlink client into `dir`, in a form in which it also finds its schemas.
///
/// # Errors
///
/// When a file cannot be copied.
pub fn ynl(env: &Env, dir: &Path) -> Result<()> {
    let specs = dir.join("specs");
    fs::create_dir_all(&specs).with_context(|| format!("cannot make {}", specs.display()))?;
    let client = env.kdir.join("tools/net/ynl/pyynl");
    let mut cp = Cmd::new("cp").args(["-r", "--no-preserve=ownership"]);
    for part in ["cli.py", "lib", "__init__.py"] {
        cp = cp.arg(client.join(part));
    }
    for schema in schemas(&env.kdir)? {
        cp = cp.arg(schema);
    }
    cp.arg(dir).run(&Step::silent())?;
    fs::copy(env.paths.spec(), specs.join("netraid.yaml")).context("cannot copy the spec")?;
    Ok(())
}

/// The schemas of netlink specs in a kernel tree.
///
/// # Errors
///
/// When there are none.
pub fn schemas(kdir: &Path) -> Result<Vec<PathBuf>> {
    let dir = kdir.join("Documentation/netlink");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|kind| kind == "yaml"));
    found.sort();
    Ok(found)
}
