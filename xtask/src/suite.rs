// SPDX-License-Identifier: GPL-2.0
//! The tests in virtual machines: one program, built once and run on each kernel.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, Context as _, Result};
use tests_qemu::patience;

use crate::check::Tally;
use crate::cmd::Cmd;
use crate::guest::cargo;
use crate::paths::Paths;
use crate::progress::{Progress, Step};
use crate::Built;

/// How long all tests on one kernel may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// How long those may take that somebody names: with more to do than usual they run for hours.
const LIMIT_NAMED: Duration = Duration::from_secs(12 * 3600);

/// Name of the test program.
const PROGRAM: &str = "vm";

/// Which tests are run.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// Every one.
    All,
    /// Those chosen to show that the module works on another kernel, too.
    Smoke,
    /// Those chosen for the debug kernel: between them they go through most of the module.
    Debug,
    /// Those whose name contains one of these.
    Named(&'a [String]),
}

/// A kernel with a module built for it.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Kernel release.
    pub kver: String,
    /// Whether it is the debug kernel.
    pub debug: bool,
    /// The list of what was built for it.
    pub artifacts: PathBuf,
}

impl From<Built> for Ready {
    fn from(built: Built) -> Self {
        Self {
            kver: built.artifacts.kver,
            debug: built.artifacts.debug,
            artifacts: built.list,
        }
    }
}

/// The test program.
#[derive(Debug, Clone)]
pub struct Suite {
    program: PathBuf,
    dir: PathBuf,
}

impl Suite {
    /// Builds the test program.
    ///
    /// # Errors
    ///
    /// When it does not build.
    pub fn build(paths: &Paths, progress: &Progress) -> Result<Self> {
        let cargo = Cmd::new(cargo())
            .args(["test", "--locked", "-p", "tests-qemu", "--test", PROGRAM, "--no-run"])
            .arg("--message-format=json-render-diagnostics")
            .dir(&paths.checkout);
        let said = progress.step("Build the tests in virtual machines", |step| cargo.run(step))?;
        let program = said
            .lines()
            .find_map(executable)
            .context("cargo built the tests in virtual machines and does not say where; run `cargo clean`")?;
        Ok(Self {
            program,
            dir: paths.checkout.join("tests-qemu"),
        })
    }

    /// The names of all tests, or of those that contain one of `names`, a line for each.
    ///
    /// # Errors
    ///
    /// When the test program cannot be run.
    pub fn list(&self, names: &[String]) -> Result<String> {
        self.cmd(Part::Named(names)).arg("--list").run(&Step::silent())
    }

    /// Runs `part` of the tests on `kernel`, and returns how many ran.
    ///
    /// # Errors
    ///
    /// When the test program cannot be run; what fails is counted in `tally` instead.
    pub fn run(
        &self,
        paths: &Paths,
        kernel: &Ready,
        part: Part<'_>,
        tally: &mut Tally,
        progress: &Progress,
    ) -> Result<u64> {
        let what = match part {
            Part::All => "all tests",
            Part::Smoke | Part::Debug => "a chosen part of the tests",
            Part::Named(_) => "the named tests",
        };
        let (kver, factor) = (kernel.kver.as_str(), if kernel.debug { patience::DEBUG } else { 1 });
        let limit = match part {
            Part::Named(_) => LIMIT_NAMED,
            _ => LIMIT,
        };
        progress.line(&format!("Now {what} in virtual machines on {kver}:"));
        let outcome = self
            .cmd(part)
            .env("NETRAID_ARTIFACTS", &kernel.artifacts)
            .env(patience::VARIABLE, factor.to_string())
            .env("NETRAID_LOGS", paths.built(kver).join("test-logs"))
            .limit(limit * factor)
            .echo()
            .outcome(&Step::silent())
            .context("the tests in virtual machines did not come to an end")?;
        let (passed, failed) = counts(&outcome.stdout);
        tally.add(passed, failed);
        for (name, reason) in failures(&outcome.stdout) {
            tally.remark(format!("{name} on {kver}, details above: {reason}"));
        }
        if !outcome.status.success() && failed == 0 {
            let what = format!("tests in virtual machines on {kver}");
            tally.count(&what, Err(anyhow!("they broke off:\n{}", outcome.tail)));
        }
        Ok(passed + failed)
    }

    fn cmd(&self, part: Part<'_>) -> Cmd {
        let cmd = Cmd::new(&self.program).dir(&self.dir);
        let (tag, names) = match part {
            Part::All => ("", String::new()),
            Part::Smoke => ("smoke", String::new()),
            Part::Debug => ("debug", String::new()),
            Part::Named(names) => ("", names.join(" ")),
        };
        cmd.env("NETRAID_TAG", tag).env("NETRAID_NAMES", names)
    }
}

/// Characters of a reason that are told again at the end.
const REASON: usize = 300;

/// The test program, when `line` is cargo's message that it was built.
fn executable(line: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    (message["target"]["name"] == PROGRAM).then(|| message["executable"].as_str().map(PathBuf::from))?
}

/// Sums the lines `test result: ok. N passed; N failed; …` in the output of test programs.
#[must_use]
pub fn counts(output: &str) -> (u64, u64) {
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

/// The names in the lines `test NAME … FAILED`, each with the beginning of what is told of it below `---- NAME ----`.
fn failures(output: &str) -> Vec<(&str, String)> {
    output
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix("FAILED"))
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| (name, reason(output, name).unwrap_or_default()))
        .collect()
}

fn reason(output: &str, name: &str) -> Option<String> {
    let title = format!("---- {name} ----");
    let told = output.lines().skip_while(|line| *line != title).nth(1)?;
    Some(told.chars().take(REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::{counts, executable, failures, PathBuf};

    #[test]
    fn results_of_all_programs_are_summed() {
        let output = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        assert_eq!(counts(output), (13, 2));
        assert_eq!(counts("error: could not compile"), (0, 0));
    }

    #[test]
    fn tests_that_failed_are_named_with_a_reason() {
        let output = "test one   ...   3.1 s ok\ntest two   ...  30.0 s FAILED\ntest three ... FAILED\n\
            ---- two ----\nit took too long\nand more\n\
            test result: FAILED. 1 passed; 2 failed\n";
        let reason = "it took too long".to_owned();
        assert_eq!(failures(output), [("two", reason), ("three", String::new())]);
    }

    #[test]
    fn the_program_is_found_in_what_cargo_says() {
        let built = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"vm"},"executable":"/t/vm-1"}"#;
        assert_eq!(executable(built), Some(PathBuf::from("/t/vm-1")));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"vm_lib"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable("not JSON"), None);
    }
}
