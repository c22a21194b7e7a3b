// SPDX-License-Identifier: GPL-2.0
//! Looks at the sources without running them: format, lints, generated code, house rules.

use std::process::ExitCode;

use anyhow::Result;

use crate::cmd::Cmd;
use crate::codegen;
use crate::env::Env;
use crate::guest::cargo;
use crate::house;
use crate::paths::Paths;
use crate::progress::Progress;

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
        if self.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Runs all checks.
///
/// # Errors
///
/// Never for a check that fails: that is in the tally.
pub fn run(env: &Env, progress: &Progress) -> Result<Tally> {
    let mut tally = Tally::default();
    host(&env.paths, &mut tally, progress);
    tally.count("generated code", codegen::run(env, true, progress));
    Ok(tally)
}

/// The checks that need no environment.
pub fn host(paths: &Paths, tally: &mut Tally, progress: &Progress) {
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
    let rules = progress.step("Check the house rules", |_| house::check(paths));
    tally.count("house rules", rules);
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
        assert_eq!((tally.passed, tally.failed), (11, 3));
        assert_eq!(tally.messages, ["bad: broken"]);
    }
}
