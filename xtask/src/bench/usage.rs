// SPDX-License-Identifier: GPL-2.0
//! What a machine has used of its processors and its memory, as its /proc tells.

use std::collections::HashMap;

use anyhow::{Context as _, Result};

use super::peer::Sides;

/// Ticks of the clock in which /proc counts, a second.
const TICKS: f64 = 100.0;

/// Prints what [`Moment::parse`] takes.
pub(super) const SCRIPT: &str = "head -n 1 /proc/stat; cat /proc/[0-9]*/stat 2>/dev/null; true";

/// What had been used at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moment {
    /// Processor time in seconds that was not idle.
    busy: f64,
    /// That of each thread of the kernel and each program, by number, with its name.
    threads: HashMap<u32, (String, f64)>,
}

/// What was used between two moments, in seconds of processor time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Used {
    /// By everything.
    pub(super) all: f64,
    /// By the threads of the source, where they are known.
    pub(super) source: Option<f64>,
    /// By the threads of the target, where they are known.
    pub(super) target: Option<f64>,
}

impl Moment {
    /// Takes apart what [`SCRIPT`] printed.
    ///
    /// # Errors
    ///
    /// Where it is not that.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let numbers: Option<Vec<f64>> = first
            .strip_prefix("cpu ")
            .map(|rest| rest.split_whitespace().filter_map(|word| word.parse().ok()).collect());
        let numbers = numbers.with_context(|| format!("`{first}` is not the first line of /proc/stat"))?;
        // user nice system idle iowait irq softirq steal; what follows is in these.
        let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|&at| numbers.get(at)).sum::<f64>() / TICKS;
        Ok(Self {
            busy,
            threads: lines.filter_map(thread).collect(),
        })
    }

    /// What was used since `earlier`.
    #[must_use]
    pub(super) fn since(&self, earlier: &Self, sides: Option<&Sides>) -> Used {
        let of = |names: &[&str]| {
            let ours = self
                .threads
                .iter()
                .filter(|(_, (name, _))| names.iter().any(|begin| name.starts_with(begin)));
            ours.map(|(number, (name, now))| {
                let before = earlier.threads.get(number).filter(|(known, _)| known == name);
                now - before.map_or(0.0, |(_, before)| *before)
            })
            .sum()
        };
        Used {
            all: self.busy - earlier.busy,
            source: sides.map(|sides| of(sides.source)),
            target: sides.map(|sides| of(sides.target)),
        }
    }
}

/// A line of /proc/NUMBER/stat: the name is in parentheses and may have any in it.
fn thread(line: &str) -> Option<(u32, (String, f64))> {
    let (number, rest) = line.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    // From the state on; user and system time are fields 14 and 15 of the line, the state is field 3.
    let mut fields = rest.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((number.parse().ok()?, (name.to_owned(), (user + system) / TICKS)))
}

/// Prints what [`memory`] takes, after everything that can be given back has been.
pub(super) const MEMORY_SCRIPT: &str = "sync; echo 3 > /proc/sys/vm/drop_caches; cat /proc/meminfo";

/// Bytes of memory in use that cannot be given back.
///
/// # Errors
///
/// Where `text` is not /proc/meminfo.
pub(super) fn memory(text: &str) -> Result<u64> {
    let field = |name: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = line.and_then(|rest| rest.trim().strip_suffix("kB"));
        let number = number.and_then(|number| number.trim().parse::<u64>().ok());
        Ok(number.with_context(|| format!("/proc/meminfo does not say {name}"))? * 1024)
    };
    let reclaimable = field("MemFree")? + field("Buffers")? + field("Cached")? + field("SReclaimable")?;
    Ok(field("MemTotal")?.saturating_sub(reclaimable))
}

#[cfg(test)]
mod tests {
    use super::{memory, Moment};
    use crate::bench::peer::Sides;

    fn moment(busy: u32, threads: &[(u32, &str, u32)]) -> Moment {
        let mut text = format!("cpu  {busy} 0 10 5000 7 0 0 0 0 0\n");
        for (number, name, ticks) in threads {
            text += &format!("{number} ({name}) S 2 0 0 0 -1 69238880 0 0 0 0 {ticks} 50 0 0 20 0 1 0 91 0 0\n");
        }
        Moment::parse(&text).unwrap()
    }

    #[test]
    fn time_is_counted_by_side() {
        let before = moment(100, &[(5, "netraid_io", 10), (6, "a) b", 1), (8, "netraid_recv", 20)]);
        let after = moment(
            400,
            &[
                (5, "netraid_io", 110),
                (6, "a) b", 90),
                (9, "netraid_recv", 150),
                (8, "other", 30),
            ],
        );
        let sides = Sides {
            source: &["netraid_io"],
            target: &["netraid_recv"],
        };
        let used = after.since(&before, Some(&sides));
        assert!((used.all - 3.0).abs() < 1e-9, "{used:?}");
        assert!((used.source.unwrap() - 1.0).abs() < 1e-9, "{used:?}");
        // A thread that began in between counts as a whole, with its system time.
        assert!((used.target.unwrap() - 2.0).abs() < 1e-9, "{used:?}");
        assert_eq!(after.since(&before, None).source, None);
    }

    #[test]
    fn waiting_and_idle_time_is_not_used() {
        let idle = Moment::parse("cpu  1 2 3 1000 500 4 5 6 0 0").unwrap();
        assert!((idle.busy - 0.21).abs() < 1e-9);
        assert!(Moment::parse("intr 5").is_err());
        assert!(Moment::parse("").is_err());
    }

    #[test]
    fn memory_is_what_cannot_be_given_back() {
        let text = "MemTotal: 1000 kB\nMemFree: 400 kB\nBuffers: 10 kB\nCached: 90 kB\nSwapCached: 7 kB\nSReclaimable: 20 kB\n";
        assert_eq!(memory(text).unwrap(), 480 * 1024);
        assert!(memory("MemTotal: 1000 kB\n").is_err());
    }
}
