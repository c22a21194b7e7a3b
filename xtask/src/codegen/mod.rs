// SPDX-License-Identifier: GPL-2.0
//! The control interface's spec turned into code: the policies and the uAPI header in C by the kernel's own generator,
//! the types of netraid-ctl in Rust by ours. What is generated is committed.

pub mod rust;

use std::fs;
use std::path::Path;

use anyhow::{bail, Context as _, Result};

use crate::cmd::Cmd;
use crate::env::Env;
use crate::guest::schemas;
use crate::progress::{Progress, Step};

/// What the kernel's generator makes: its mode, and the file in the checkout.
const C_FILES: &[(&[&str], &str)] = &[
    (&["--mode", "uapi", "--header"], "kmod/include/uapi/linux/netraid.h"),
    (&["--mode", "kernel", "--header"], "kmod/gen/netraid_nl.h"),
    (&["--mode", "kernel", "--source"], "kmod/gen/netraid_nl.c"),
];

/// What ours makes.
const RUST_FILE: &str = "netraid-ctl/src/gen/netraid.rs";

/// Where the spec is in the checkout.
const SPEC: &str = "kmod/spec/netraid.yaml";

/// Generates everything; `check` compares with what is committed instead of writing it.
///
/// # Errors
///
/// When a generator refuses the spec, or a file differs under `check`.
pub fn run(env: &Env, check: bool, progress: &Progress) -> Result<()> {
    let what = if check {
        "Compare the generated code with its spec"
    } else {
        "Generate code from the spec"
    };
    progress.step(what, |step| {
        let mut different = Vec::new();
        for (name, text) in generate(env, step)? {
            let file = env.paths.checkout.join(name);
            if fs::read_to_string(&file).ok().as_deref() == Some(text.as_str()) {
                continue;
            }
            if check {
                different.push(name);
                continue;
            }
            write(&file, &text)?;
        }
        if !different.is_empty() {
            bail!(
                "{} is not what {SPEC} gives; run `cargo xtask codegen` and commit the result",
                different.join(", ")
            );
        }
        Ok(())
    })
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn generate(env: &Env, step: &Step) -> Result<Vec<(&'static str, String)>> {
    let spec = env.paths.spec();
    let text = fs::read_to_string(&spec).with_context(|| format!("cannot read {}", spec.display()))?;
    let mut files = generate_c(env, step)?;
    files.push((
        RUST_FILE,
        rust::generate(&text).with_context(|| format!("no Rust can be made from {SPEC}"))?,
    ));
    Ok(files)
}

/// Runs the kernel's generator. It looks for the schemas above the spec and for the top of a kernel tree above those, so
/// it gets a directory that looks like one.
fn generate_c(env: &Env, step: &Step) -> Result<Vec<(&'static str, String)>> {
    let work = env.paths.target.join(format!("codegen.{}", std::process::id()));
    let result = lay_out(env, &work).and_then(|()| {
        C_FILES
            .iter()
            .map(|file| generate_one(env, &work, file, step))
            .collect()
    });
    let removed = fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()));
    let files = result?;
    removed?;
    Ok(files)
}

fn lay_out(env: &Env, work: &Path) -> Result<()> {
    fs::create_dir_all(work.join("kmod/spec")).with_context(|| format!("cannot make {}", work.display()))?;
    fs::write(work.join("MAINTAINERS"), "").with_context(|| format!("cannot write in {}", work.display()))?;
    fs::copy(env.paths.spec(), work.join(SPEC)).context("cannot copy the spec")?;
    Cmd::new("cp")
        .args(schemas(&env.kdir)?)
        .arg(work.join("kmod"))
        .run(&Step::silent())?;
    Ok(())
}

fn generate_one(
    env: &Env,
    work: &Path,
    (mode, name): &(&[&str], &'static str),
    step: &Step,
) -> Result<(&'static str, String)> {
    let root = env.build.clone().bind(&env.kdir, "/linux").bind(work, "/out");
    let file = work.join(name);
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    root.cmd("python3")
        .args(["-B", "/linux/tools/net/ynl/pyynl/ynl_gen_c.py", "--spec"])
        .arg(format!("/out/{SPEC}"))
        .args(mode.iter().copied())
        .arg("-o")
        .arg(format!("/out/{name}"))
        .run(step)
        .with_context(|| format!("the kernel's generator refuses {SPEC}"))?;
    Ok((
        name,
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?,
    ))
}
