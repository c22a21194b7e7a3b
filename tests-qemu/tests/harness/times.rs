// SPDX-License-Identifier: GPL-2.0
//! How long the cases took, so that slow ones are found.

use std::{
    fmt::Write as _,
    fs, io,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many are shown at the end.
const SLOWEST: usize = 10;

/// The time of one case.
pub(super) struct Time {
    name: &'static str,
    began: Instant,
    whole: Duration,
    /// What it took to have machines: next to nothing when the case before left them whole.
    pub(super) machines: Duration,
    /// What it took to leave them as they were.
    pub(super) tidying: Duration,
}

impl Time {
    /// The clock runs from now.
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            began: Instant::now(),
            whole: Duration::ZERO,
            machines: Duration::ZERO,
            tidying: Duration::ZERO,
        }
    }
}

/// The times of all cases so far.
pub(super) struct Times {
    /// One case runs at a time: the line with its name has begun, and its outcome follows.
    one_by_one: bool,
    all: Mutex<Vec<Time>>,
}

impl Times {
    pub(super) fn new(one_by_one: bool) -> Self {
        Self {
            one_by_one,
            all: Mutex::default(),
        }
    }

    /// Stops the clock of a case and, where there is a place for that, shows what it took.
    pub(super) fn add(&self, mut time: Time) {
        time.whole = time.began.elapsed();
        if self.one_by_one {
            print!("{:5.1} s ", time.whole.as_secs_f64());
        }
        self.all.lock().unwrap_or_else(PoisonError::into_inner).push(time);
    }

    /// Shows the slowest cases, and writes all of them to `file`, if there is one; neither when there are so few that all
    /// can be seen.
    pub(super) fn show_slowest(&self, file: Option<&Path>) {
        let mut times = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if times.len() <= SLOWEST {
            return;
        }
        times.sort_by_key(|time| std::cmp::Reverse(time.whole));
        println!("the slowest of {} tests:", times.len());
        for time in times.iter().take(SLOWEST) {
            let (whole, machines) = (time.whole.as_secs_f64(), time.machines.as_secs_f64());
            println!("{whole:7.1} s  {} ({machines:.1} s of it for machines)", time.name);
        }
        let all: Duration = times.iter().map(|time| time.whole).sum();
        println!("all of them took {:.0} s\n", all.as_secs_f64());
        let table = times
            .iter()
            .fold("whole\tmachines\ttidying\ttest\n".to_owned(), |mut table, time| {
                let [whole, machines, tidying] = [time.whole, time.machines, time.tidying].map(|it| it.as_secs_f64());
                // Into memory: that does not fail.
                let _ = writeln!(table, "{whole:.1}\t{machines:.1}\t{tidying:.1}\t{}", time.name);
                table
            });
        if let Some(Err(error)) = file.map(|file| keep(file, &table)) {
            println!("the times of all tests could not be kept: {error}");
        }
    }
}

/// The directory of the logs is there only when a test has failed.
fn keep(file: &Path, table: &str) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(file, table)
}
