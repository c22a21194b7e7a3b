// SPDX-License-Identifier: GPL-2.0
//! Looks at the sources without running them: format, lints, generated code, house rules.

use std::process::ExitCode;
use std::thread;

use anyhow::{ensure, Result};

use crate::cmd::Cmd;
use crate::env::{self, Env};
use crate::guest::cargo;
use crate::house::{self, git};
use crate::kernel::Series;
use crate::paths::Paths;
use crate::progress::{joined, Progress};
use crate::{codegen, host, kmod};

/// How many checks and tests passed and failed so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Those that passed.
    pub passed: u64,
    /// Those that failed.
    pub failed: u64,
    messages: Vec<String>,
}

impl Tally {
    /// Counts one check; the message of a failed one is shown at the end.
    pub fn count(&mut self, what: &str, result: Result<()>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(error) => {
                self.failed += 1;
                self.messages.push(format!("{what}: {error:#}"));
            }
        }
    }

    /// Adds what another tally has counted.
    pub fn merge(&mut self, other: Self) {
        self.add(other.passed, other.failed);
        self.messages.extend(other.messages);
    }

    /// Keeps `message` for the end; what it is about is counted already.
    pub fn remark(&mut self, message: String) {
        self.messages.push(message);
    }

    /// Whether nothing failed so far.
    #[must_use]
    pub fn all_passed(&self) -> bool {
        self.failed == 0
    }

    /// Counts tests that counted themselves.
    pub fn add(&mut self, passed: u64, failed: u64) {
        self.passed += passed;
        self.failed += failed;
    }

    /// Shows what failed, then the line `N passed, N failed`; the exit code says whether all passed.
    #[must_use]
    pub fn finish(&self) -> ExitCode {
        for message in &self.messages {
            eprintln!("\nfailed: {message}");
        }
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.all_passed() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Runs all checks, the ones of the module with the kernel `series`.
///
/// # Errors
///
/// When there is no environment to check the module in. A check that fails is in the tally instead.
pub fn run(paths: &Paths, series: Series, progress: &Progress) -> Result<Tally> {
    let admin = host::prepare(progress)?;
    host::components(&admin, progress)?;
    let mut tally = Tally::default();
    let env = thread::scope(|scope| {
        let sources = scope.spawn(|| {
            let mut tally = Tally::default();
            sources(paths, &mut tally, progress);
            tally
        });
        let env = env::require(paths, series, false, progress);
        tally.merge(joined(sources.join().map(Ok))?);
        env
    })?;
    module(&env, &mut tally, progress);
    Ok(tally)
}

/// The checks that need no environment.
pub fn sources(paths: &Paths, tally: &mut Tally, progress: &Progress) {
    let cargo = |what: &str, args: &[&str]| {
        progress.step(what, |step| {
            Cmd::new(cargo())
                .args(args.iter().copied())
                .dir(&paths.checkout)
                .run(step)
                .map(drop)
        })
    };
    tally.count(
        "format",
        cargo(
            "Check the format",
            &["fmt", "--all", "--check", "--", "--color", "never"],
        ),
    );
    let clippy = [
        "clippy",
        "--locked",
        "-q",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    tally.count("lints", cargo("Check the lints", &clippy));
    tally.count("fuzz targets", fuzz_targets(paths, progress));
    let rules = progress.step("Check the house rules", |_| house::check(paths));
    tally.count("house rules", rules);
    tally.count("format of the module", module_format(paths, progress));
}

/// The checks that need a kernel's environment.
pub fn module(env: &Env, tally: &mut Tally, progress: &Progress) {
    tally.count("generated code", codegen::run(env, true, progress));
    tally.count("lints of the module", kmod::clippy(env, progress));
}

/// They are a workspace of their own, which only those build who fuzz. To be checked they need not be linked with what
/// fuzzes, which takes a minute to build.
fn fuzz_targets(paths: &Paths, progress: &Progress) -> Result<()> {
    progress.step("Check the fuzz targets", |step| {
        Cmd::new(cargo())
            .args(["check", "-q", "--locked", "--bins", "--manifest-path"])
            .args(["kmod/core/fuzz/Cargo.toml", "--target-dir", "target/fuzz"])
            .env("CUSTOM_LIBFUZZER_PATH", "/dev/null")
            .dir(&paths.checkout)
            .run(step)
            .map(drop)
    })
}

/// The module is no cargo package, so `cargo fmt` does not see it.
fn module_format(paths: &Paths, progress: &Progress) -> Result<()> {
    progress.step("Check the format of the module", |step| {
        let listed = git(paths).args(["ls-files", "-z", "--", "kmod/src/*.rs"]).run(step)?;
        let files = listed.trim_end().split('\0').filter(|name| !name.is_empty());
        let rustfmt = Cmd::new("rustfmt").args(["--check", "--edition", "2021", "--color", "never", "-l"]);
        let rustfmt = rustfmt.args(files).dir(&paths.checkout).outcome(step)?;
        let mut unformatted: Vec<&str> = rustfmt.stdout.lines().collect();
        unformatted.sort_unstable();
        unformatted.dedup();
        ensure!(
            rustfmt.status.success(),
            "run `rustfmt --edition 2021` on:\n{}",
            if unformatted.is_empty() {
                rustfmt.tail
            } else {
                unformatted.join("\n")
            }
        );
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn everything_is_counted() {
        let mut tally = Tally::default();
        tally.count("good", Ok(()));
        tally.count("bad", Err(anyhow::anyhow!("broken")));
        tally.add(10, 2);
        let mut all = Tally::default();
        all.merge(tally);
        let tally = all;
        assert_eq!((tally.passed, tally.failed), (11, 3));
        assert_eq!(tally.messages, ["bad: broken"]);
    }
}
