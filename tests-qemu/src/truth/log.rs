// SPDX-License-Identifier: GPL-2.0
//! What the tool `truth` in a machine has reported, in the order in which it left the machine.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{bail, Result};

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The device acknowledged it.
    Acknowledged,
    /// The device refused it with this error number.
    Refused(i32),
    /// None of an operation: the run is over and nothing more comes.
    Over,
}

/// One report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The history.
    pub seed: u64,
    /// The run of the history.
    pub run: u32,
    /// The thread that did the operation.
    pub thread: u8,
    /// The how many-th of that thread it is, counted from 1.
    pub number: u32,
    /// What became of it.
    pub outcome: Outcome,
}

impl Report {
    /// Reads a line of the tool, without its `T ` and its end.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (seed, run) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let kind = words.next()?;
        let (thread, number) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let outcome = match kind {
            "A" => Outcome::Acknowledged,
            "E" => Outcome::Refused(words.next()?.parse().ok()?),
            "O" => Outcome::Over,
            _ => return None,
        };
        words.next().is_none().then_some(Self {
            seed,
            run,
            thread,
            number,
            outcome,
        })
    }
}

/// Reports of a machine that nobody has taken yet.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    inner: Arc<(Mutex<Vec<Report>>, Condvar)>,
}

impl Reports {
    fn list(&self) -> MutexGuard<'_, Vec<Report>> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, report: Report) {
        self.list().push(report);
        self.inner.1.notify_all();
    }

    /// Takes what is there.
    #[must_use]
    pub fn take(&self) -> Vec<Report> {
        std::mem::take(&mut *self.list())
    }

    /// Waits until those that are there are such that `enough` holds.
    ///
    /// # Errors
    ///
    /// When it does not hold within `timeout`.
    pub fn wait_for(&self, timeout: Duration, mut enough: impl FnMut(&[Report]) -> bool) -> Result<()> {
        let (list, waited) = self
            .inner
            .1
            .wait_timeout_while(self.list(), timeout, |list| !enough(list))
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            bail!(
                "within {timeout:?} there were only {} reports of operations",
                list.len()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Report};

    #[test]
    fn lines_of_the_tool_are_understood_and_nothing_else() {
        let report = Report {
            seed: 7,
            run: 1,
            thread: 3,
            number: 12,
            outcome: Outcome::Acknowledged,
        };
        assert_eq!(Report::parse("7 1 A 3 12"), Some(report));
        let refused = Report {
            outcome: Outcome::Refused(5),
            ..report
        };
        assert_eq!(Report::parse("7 1 E 3 12 5"), Some(refused));
        for line in [
            "",
            "7 1 A 3",
            "7 1 A 3 12 9",
            "7 1 X 3 12",
            "7 1 E 3 12",
            "7 1 A 300 12",
        ] {
            assert_eq!(Report::parse(line), None, "{line}");
        }
    }
}
