// SPDX-License-Identifier: GPL-2.0
//! Runs a program and lets one of its allocations of memory fail, on a kernel that can do that (`CONFIG_FAULT_INJECTION`).
//! Which allocations count is set for the whole machine, in debugfs.

use std::{
    fs,
    process::{Command, ExitCode},
};

use anyhow::{bail, Context as _, Result};
use clap::Args;
use nix::{
    sys::wait::{waitid, Id, WaitPidFlag},
    unistd::Pid,
};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Which allocation of the program is to fail, counted from 1
    number: u32,
    /// The program with its arguments
    #[arg(trailing_var_arg = true, required = true)]
    argv: Vec<String>,
}

/// Runs it; the last line printed is `failed` if there was such an allocation, else `enough`, and the exit code that of the
/// program.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    // A shell sets it for itself and becomes the program.
    let mut child = Command::new("sh")
        .args(["-c", "echo \"$0\" > /proc/self/fail-nth && exec \"$@\""])
        .arg(options.number.to_string())
        .args(&options.argv)
        .spawn()
        .context("run a shell")?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    // What is left can be read until the end of the program is taken note of.
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).context("wait for the program")?;
    let left = fs::read_to_string(format!("/proc/{pid}/fail-nth"));
    let status = child.wait().context("wait for the program")?;
    let left: u32 = left.context("read how many are left")?.trim().parse()?;
    println!("{}", if left == 0 { "failed" } else { "enough" });
    match status.code() {
        Some(code) => Ok(ExitCode::from(u8::try_from(code)?)),
        None => bail!("the program was ended by {status}"),
    }
}
