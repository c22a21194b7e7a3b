// SPDX-License-Identifier: GPL-2.0
//! Tests of the tests: each patch in `xtask/mutants` breaks one of the promises netraid makes, and some test has to
//! notice.
//!
//! A patch begins with lines `Key: value`: `Invariant` (the number of the promise, see [`PROMISES`]), `Breaks` (what it
//! breaks), `Host` (tests of `netraid_core` that notice, names of test programs), `Machines` (tests in virtual machines
//! that do). It is applied to a copy of the checkout, which is built in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context as _, Result};

use crate::check::Tally;
use crate::cmd::Cmd;
use crate::guest::cargo;
use crate::paths::Paths;
use crate::progress::{seconds, Progress, Step};
use crate::suite;

/// What netraid promises, by the numbers the patches use.
pub const PROMISES: [(u32, &str); 10] = [
    (
        1,
        "a write that returned success is on both disks, or that it is not is on record",
    ),
    (2, "what may differ is marked before it does"),
    (3, "damaged metadata never counts as clean"),
    (4, "direction is decided by generations"),
    (5, "a half-copied target cannot be used, whatever is rebooted"),
    (
        6,
        "an asynchronous target holds a state the source could have had after a crash",
    ),
    (7, "overlapping writes reach every disk in the same order"),
    (8, "every wait has an end"),
    (9, "writing does not wait for memory that has to be written"),
    (10, "nothing that arrives can do harm"),
];

/// How long the tests of one patch may take; the first builds everything.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// A patch.
#[derive(Debug, PartialEq, Eq)]
struct Mutant {
    name: String,
    invariant: u32,
    breaks: String,
    host: Vec<String>,
    machines: Vec<String>,
}

impl Mutant {
    fn parse(name: &str, text: &str) -> Result<Self> {
        let head: Vec<(&str, &str)> = text.lines().map_while(|line| line.split_once(": ")).collect();
        let value = |key: &str| head.iter().find(|(found, _)| *found == key).map(|(_, value)| *value);
        let words = |key: &str| -> Vec<String> {
            let words = value(key).unwrap_or_default().split_whitespace();
            words.map(str::to_owned).collect()
        };
        let invariant = value("Invariant").context("it does not say which Invariant it breaks")?;
        let mutant = Self {
            name: name.to_owned(),
            invariant: invariant.parse().context("its Invariant is no number")?,
            breaks: value("Breaks").context("it does not say what it Breaks")?.to_owned(),
            host: words("Host"),
            machines: words("Machines"),
        };
        let known = PROMISES.iter().any(|(number, _)| *number == mutant.invariant);
        ensure!(known, "there is no invariant {}", mutant.invariant);
        ensure!(
            !(mutant.host.is_empty() && mutant.machines.is_empty()),
            "it names no test that would notice"
        );
        Ok(mutant)
    }
}

/// Applies each patch whose name contains one of `names`, or every one, and expects every test it names to fail.
///
/// # Errors
///
/// When the copy of the checkout cannot be made; a patch that nobody notices is counted in the result.
pub fn run(paths: &Paths, names: &[String], progress: &Progress) -> Result<Tally> {
    let copy = paths.target.join("mutants/checkout");
    let mut tally = Tally::default();
    let mut found = 0_u32;
    for file in patches(&paths.checkout)? {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !names.is_empty() && !names.iter().any(|part| name.contains(part)) {
            continue;
        }
        found += 1;
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mutant = Mutant::parse(&name, &text).with_context(|| format!("{}", file.display()))?;
        progress.line(&format!("{name} ({}): {}", mutant.invariant, mutant.breaks));
        let began = Instant::now();
        let outcome = tree(paths, &copy).and_then(|()| noticed(&copy, &file, &mutant, progress));
        progress.line(&match &outcome {
            Ok(()) => format!("    noticed, after {}", seconds(began.elapsed())),
            Err(error) => format!("    NOT noticed: {error:#}"),
        });
        tally.count(&name, outcome);
    }
    ensure!(found > 0, "no patch in xtask/mutants has such a name");
    Ok(tally)
}

fn patches(checkout: &Path) -> Result<Vec<PathBuf>> {
    let dir = checkout.join("xtask/mutants");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        files.push(entry?.path());
    }
    files.retain(|file| file.extension().is_some_and(|ending| ending == "patch"));
    files.sort();
    Ok(files)
}

/// The files git knows, as they are in the checkout, in `copy`; what is the same there keeps its time, so that cargo does
/// not build it anew.
fn tree(paths: &Paths, copy: &Path) -> Result<()> {
    let listed = Cmd::new("git")
        .args(["ls-files", "-z"])
        .dir(&paths.checkout)
        .run(&Step::silent())?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (paths.checkout.join(name), copy.join(name));
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::copy(&from, &to).with_context(|| format!("cannot copy {name} to {}", copy.display()))?;
    }
    // A patch is applied with git, and looked at by the checks of xtask.
    if !copy.join(".git").exists() {
        Cmd::new("git").args(["init", "-q"]).dir(copy).run(&Step::silent())?;
    }
    Ok(())
}

/// Whether each test that the patch names fails with it.
fn noticed(copy: &Path, patch: &Path, mutant: &Mutant, progress: &Progress) -> Result<()> {
    Cmd::new("git")
        .arg("apply")
        .arg(patch)
        .dir(copy)
        .run(&Step::silent())
        .context("the patch does not apply; make it anew")?;
    for program in &mutant.host {
        let test = Cmd::new(cargo()).args(["test", "--locked", "-p", "netraid_core", "--test", program]);
        fails(test, copy, &format!("the tests in {program}"), progress)?;
    }
    for name in &mutant.machines {
        let test = Cmd::new(cargo()).args(["run", "--locked", "-q", "-p", "xtask", "--", "test", name]);
        fails(test, copy, name, progress)?;
    }
    Ok(())
}

/// Runs tests, of which one has to fail; that they cannot be run is not enough.
fn fails(test: Cmd, copy: &Path, what: &str, progress: &Progress) -> Result<()> {
    let test = test.env("CARGO_TARGET_DIR", copy.join("target")).dir(copy).limit(LIMIT);
    let outcome = progress.step(what, |step| {
        test.outcome(step).context("the tests did not come to an end")
    })?;
    let (passed, failed) = suite::counts(&outcome.stdout);
    if failed > 0 {
        return Ok(());
    }
    if passed > 0 {
        bail!("{what} passed");
    }
    bail!("{what} could not be run:\n{}", outcome.tail)
}

#[cfg(test)]
mod tests {
    use super::{patches, Mutant, PROMISES};
    use std::path::Path;

    fn checkout() -> &'static Path {
        Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
    }

    #[test]
    fn each_patch_says_what_it_breaks_and_who_notices() {
        for file in patches(checkout()).unwrap() {
            let text = std::fs::read_to_string(&file).unwrap();
            let mutant = Mutant::parse("name", &text);
            assert!(mutant.is_ok(), "{}: {mutant:?}", file.display());
        }
    }

    #[test]
    fn a_patch_without_a_promise_or_a_test_is_refused() {
        let parse = |head: &str| Mutant::parse("name", &format!("{head}\n--- a/x\n+++ b/x\n"));
        assert!(parse("Invariant: 1\nBreaks: much\nMachines: one two\n").is_ok());
        assert!(parse("Invariant: 1\nBreaks: much\n").is_err());
        assert!(parse("Invariant: 11\nBreaks: much\nHost: one\n").is_err());
        assert!(parse("Breaks: much\nHost: one\n").is_err());
        assert_eq!(PROMISES.len(), 10);
    }

    /// The patches that cargo can look at without building: they apply to the sources as they are.
    #[test]
    fn each_patch_applies() {
        for file in patches(checkout()).unwrap() {
            let status = std::process::Command::new("git")
                .args(["apply", "--check"])
                .arg(&file)
                .current_dir(checkout())
                .status()
                .unwrap();
            assert!(status.success(), "{}", file.display());
        }
    }
}
