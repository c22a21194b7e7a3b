// SPDX-License-Identifier: GPL-2.0
//! Checks, builds and tests everything, and counts.
//!
//! From nothing, the network is what the setup waits for and the processors are what cargo waits for, so both go on at
//! the same time. Then everything is built once, and the tests in virtual machines run on one kernel after the other.

use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::{anyhow, bail, Result};

use crate::check::{self, Tally};
use crate::cmd::Cmd;
use crate::env;
use crate::guest::{self, cargo, Programs};
use crate::host;
use crate::kernel::Series;
use crate::paths::Paths;
use crate::progress::{joined, seconds, Progress, Step};
use crate::suite::{self, Part, Ready, Suite};

/// What is to be tested.
#[derive(Debug, Clone)]
pub struct Request {
    /// Only tests in virtual machines whose name contains one of these; empty for everything.
    pub names: Vec<String>,
    /// Only on this kernel.
    pub kernel: Option<Series>,
    /// Only list the tests.
    pub list: bool,
}

/// Runs what is requested. The last line on standard output is `N passed, N failed`.
///
/// # Errors
///
/// When the environment or the programs cannot be made; a test that fails is counted instead.
pub fn run(paths: &Paths, request: &Request, progress: &Progress) -> Result<ExitCode> {
    let begin = Instant::now();
    let mut tally = Tally::default();
    if request.list {
        print!("{}", Suite::build(paths, progress)?.list(&request.names)?);
        return Ok(ExitCode::SUCCESS);
    }
    if request.names.is_empty() {
        everything(paths, request.kernel, &mut tally, progress)?;
    } else {
        named(paths, request, &mut tally, progress)?;
    }
    progress.line(&format!("Everything took {}.", seconds(begin.elapsed())));
    Ok(tally.finish())
}

/// Somebody who names tests wants an answer soon: no checks, one kernel.
fn named(paths: &Paths, request: &Request, tally: &mut Tally, progress: &Progress) -> Result<()> {
    let series = request.kernel.unwrap_or(Series::ALL[0]);
    let (env, programs) = crate::ready(paths, series, progress)?;
    let suite = Suite::build(paths, progress)?;
    let kernel = Ready::from(crate::build(&env, programs, progress)?);
    let ran = suite.run(paths, &kernel, Part::Named(&request.names), tally, progress)?;
    if ran == 0 {
        let names = request.names.join(" ");
        bail!("no test matches `{names}`; `cargo xtask test --list` shows all");
    }
    Ok(())
}

fn everything(paths: &Paths, kernel: Option<Series>, tally: &mut Tally, progress: &Progress) -> Result<()> {
    let admin = host::prepare(progress)?;
    host::components(&admin, progress)?;
    let wanted = kernel.map_or_else(|| Series::ALL.to_vec(), |series| vec![series]);
    let (programs, suite, kernels) = thread::scope(|scope| {
        let host = scope.spawn(|| on_this_machine(paths, progress));
        let kernels = kernels(paths, &wanted, tally, progress);
        let (programs, suite, host) = joined(host.join().map(Ok))?;
        tally.merge(host);
        Ok::<_, anyhow::Error>((programs?, suite?, kernels))
    })?;
    let debug = if kernel.is_none() {
        debug(paths, progress)?
    } else {
        None
    };
    let mut ready = Vec::new();
    for env in kernels.into_iter().chain(debug) {
        let kver = env.kernel.kver.clone();
        let built = crate::build(&env, programs.clone(), progress);
        match built {
            Ok(built) => {
                tally.count("build", Ok(()));
                ready.push(Ready::from(built));
            }
            Err(error) => tally.count(&format!("build for {kver}"), Err(error)),
        }
    }
    if ready.is_empty() && tally.all_passed() {
        bail!("no kernel was there to test on; run `cargo xtask setup --refresh`");
    }
    // The first kernel gets every test; on the others a chosen part shows that the module works there, too, and that
    // the debug kernel has nothing to say.
    for (number, kernel) in ready.iter().enumerate() {
        let part = match number {
            0 => Part::All,
            _ if kernel.debug => Part::Debug,
            _ => Part::Smoke,
        };
        suite.run(paths, kernel, part, tally, progress)?;
    }
    Ok(())
}

/// All that cargo does: checks, tests without virtual machines, the programs for those.
fn on_this_machine(paths: &Paths, progress: &Progress) -> (Result<Programs>, Result<Suite>, Tally) {
    let mut tally = Tally::default();
    check::sources(paths, &mut tally, progress);
    tests(paths, &mut tally, progress);
    let suite = Suite::build(paths, progress);
    let programs = guest::build(paths, progress);
    (programs, suite, tally)
}

/// The environments for `wanted`, with the checks that need one; a kernel that cannot be had is counted as a failure.
fn kernels(paths: &Paths, wanted: &[Series], tally: &mut Tally, progress: &Progress) -> Vec<env::Env> {
    let mut kernels: Vec<env::Env> = Vec::new();
    for series in wanted {
        match env::ensure(paths, *series, false, progress) {
            Ok(Some(env)) => {
                if kernels.is_empty() {
                    check::module(&env, tally, progress);
                }
                kernels.push(env);
            }
            Ok(None) => progress.line(&format!(
                "Kernel {} is not offered by Debian's mirror now: skipped.",
                series.name()
            )),
            Err(error) => {
                // Said at once, because cargo may be busy for long before the end shows it again.
                progress.line(&format!("error: {error:#}"));
                tally.count(&format!("environment for {}", series.name()), Err(error));
            }
        }
    }
    kernels
}

/// The environment for the debug kernel, where somebody had it built before: that takes as long as all tests.
fn debug(paths: &Paths, progress: &Progress) -> Result<Option<env::Env>> {
    if env::is_ready(paths, Series::Debug)? {
        return env::ensure(paths, Series::Debug, false, progress);
    }
    progress.line(
        "The debug kernel has never been built here: its part of the tests is skipped. `cargo xtask setup --kernel debug` \
         builds it once, in half an hour.",
    );
    Ok(None)
}

/// Runs the tests that need no virtual machine.
fn tests(paths: &Paths, tally: &mut Tally, progress: &Progress) {
    // Of tests-qemu only the library can be tested without machines.
    let parts: [(&str, &[&str]); 2] = [
        ("Test on this machine", &["--workspace", "--exclude", "tests-qemu"]),
        ("Test the library of virtual machines", &["-p", "tests-qemu", "--lib"]),
    ];
    for (what, which) in parts {
        let log = paths
            .target
            .join(format!("logs/{}.log", what.to_lowercase().replace(' ', "-")));
        let cargo = Cmd::new(cargo())
            .args(["test", "--locked", "--no-fail-fast"])
            .args(which.iter().copied())
            // The end of the output is shown, where the list of calls would hide what is wrong.
            .env("RUST_BACKTRACE", "0")
            .dir(&paths.checkout)
            .log(&log);
        let result = progress.step(what, |step| counted(&cargo, tally, step));
        if let Err(error) = result {
            let message = format!("{what}: {error:#}\nThe whole output: {}", log.display());
            tally.remark(message);
        }
    }
}

/// Runs cargo's tests; a failure to even build them counts as one that failed.
fn counted(cargo: &Cmd, tally: &mut Tally, step: &Step) -> Result<()> {
    let outcome = cargo.outcome(step).inspect_err(|_| tally.add(0, 1))?;
    let (passed, failed) = suite::counts(&outcome.stdout);
    tally.add(passed, failed);
    if outcome.status.success() {
        return Ok(());
    }
    if failed == 0 {
        tally.add(0, 1);
    }
    Err(anyhow!("{}", outcome.tail))
}
