// SPDX-License-Identifier: GPL-2.0
//! Checks, builds and tests everything, and counts.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context as _, Result};

use crate::check::{self, Tally};
use crate::cmd::Cmd;
use crate::codegen;
use crate::env::{self, Env};
use crate::guest::cargo;
use crate::kernel::Series;
use crate::kmod;
use crate::paths::Paths;
use crate::progress::{seconds, Progress, Step};

/// How long the tests in virtual machines may take.
const VM_LIMIT: Duration = Duration::from_secs(3 * 3600);

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
    if request.list {
        print!("{}", vm_cargo(paths).args(["--", "--list"]).run(&Step::silent())?);
        return Ok(ExitCode::SUCCESS);
    }
    let begin = Instant::now();
    let mut tally = Tally::default();
    let everything = request.names.is_empty();
    let wanted: Vec<Series> = request
        .kernel
        .map_or_else(|| Series::ALL.to_vec(), |series| vec![series]);
    if everything {
        check::host(paths, &mut tally, progress);
        host_tests(paths, &mut tally, progress)?;
    }
    let mut main_done = false;
    for series in wanted {
        // Somebody who names tests wants an answer soon: one kernel.
        if main_done && !everything {
            break;
        }
        let Some(env) = env::ensure(paths, series, false, progress)? else {
            progress.line(&format!(
                "Kernel {} is not offered by Debian's mirror now: skipped.",
                series.name()
            ));
            continue;
        };
        if everything && !main_done {
            tally.count("generated code", codegen::run(&env, true, progress));
            tally.count(
                "lints of the module",
                progress.step("Check the lints of the module", |_| kmod::clippy(&env, progress)),
            );
        }
        let artifacts = match crate::build(&env, progress) {
            Ok(built) => built.list,
            Err(error) => {
                tally.count(&format!("build for {}", env.kernel.kver), Err(error));
                continue;
            }
        };
        if everything {
            tally.count("build", Ok(()));
        }
        // The first kernel gets every test; on the others a chosen part shows that the module works there, too.
        vm_tests(&env, &artifacts, request, main_done, &mut tally, progress)?;
        main_done = true;
    }
    if !main_done && tally.failed == 0 {
        bail!("no kernel was there to test on; run `cargo xtask setup --refresh`");
    }
    progress.line(&format!("Everything took {}.", seconds(begin.elapsed())));
    Ok(tally.finish())
}

/// Runs the tests that need no virtual machine.
fn host_tests(paths: &Paths, tally: &mut Tally, progress: &Progress) -> Result<()> {
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
            .args(which.iter().copied());
        let outcome = progress.step(what, |step| cargo.dir(&paths.checkout).log(&log).outcome(step))?;
        let (passed, failed) = counts(&outcome.stdout);
        tally.add(passed, failed);
        if outcome.status.success() {
            continue;
        }
        let message = format!("{}\nThe whole output: {}", outcome.tail, log.display());
        // Tests that failed are counted already; a test that does not even build is not.
        if failed == 0 {
            tally.count(what, Err(anyhow!(message)));
        } else {
            progress.line(&message);
        }
    }
    Ok(())
}

/// Runs the tests in virtual machines on the kernel of `env`.
fn vm_tests(
    env: &Env,
    artifacts: &Path,
    request: &Request,
    part: bool,
    tally: &mut Tally,
    progress: &Progress,
) -> Result<()> {
    let what = if part {
        "a chosen part of the tests"
    } else {
        "the tests"
    };
    progress.line(&format!("Now {what} in virtual machines on {}:", env.kernel.kver));
    // The test program takes one name, so it runs once for each.
    let filters: Vec<Vec<String>> = match request.names.as_slice() {
        [] => vec![Vec::new()],
        names => names.iter().map(|name| vec![name.clone()]).collect(),
    };
    for filter in filters {
        let mut cmd = vm_cargo(&env.paths)
            .env("NETRAID_ARTIFACTS", artifacts)
            .env("NETRAID_LOGS", env.paths.built(&env.kernel.kver).join("test-logs"))
            .limit(VM_LIMIT)
            .echo();
        if part {
            cmd = cmd.env("NETRAID_ONLY", "smoke");
        }
        let outcome = cmd
            .arg("--")
            .args(filter.clone())
            .outcome(&Step::silent())
            .context("the tests in virtual machines cannot be run")?;
        let (passed, failed) = counts(&outcome.stdout);
        tally.add(passed, failed);
        if !outcome.status.success() && failed == 0 {
            tally.count(
                "tests in virtual machines",
                Err(anyhow!("they broke off:\n{}", outcome.tail)),
            );
        }
        if passed + failed == 0 && outcome.status.success() {
            bail!(
                "no test matches `{}`; `cargo xtask test --list` shows all",
                filter.join(" ")
            );
        }
    }
    Ok(())
}

fn vm_cargo(paths: &Paths) -> Cmd {
    Cmd::new(cargo())
        .args(["test", "--locked", "-p", "tests-qemu", "--test", "vm"])
        .dir(&paths.checkout)
}

/// Sums the lines `test result: ok. N passed; N failed; …` in the output of test programs.
fn counts(output: &str) -> (u64, u64) {
    let number = |text: &str, word: &str| -> u64 {
        text.split(';')
            .find_map(|part| part.trim().strip_suffix(word)?.split_whitespace().last()?.parse().ok())
            .unwrap_or(0)
    };
    output
        .lines()
        .filter_map(|line| line.trim().strip_prefix("test result:"))
        .fold((0, 0), |(passed, failed), line| {
            (passed + number(line, " passed"), failed + number(line, " failed"))
        })
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn results_of_all_programs_are_summed() {
        let output = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        assert_eq!(counts(output), (13, 2));
        assert_eq!(counts("error: could not compile"), (0, 0));
    }
}
