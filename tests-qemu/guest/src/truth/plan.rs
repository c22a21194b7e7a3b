// SPDX-License-Identifier: GPL-2.0
//! What a run does: each operation a pure function of the plan, the thread and its number.

use std::ops::Range;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::sector::Id;

/// Sectors in a chunk of a mirror, whose borders the operations like to cross.
const CHUNK: u64 = 128;
/// One part in so many of the area gets half of the operations, so that they overlap.
const HOT: u64 = 16;

/// What a run does. Runs of the same history differ in their number.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Plan {
    /// Names the history; sectors of other histories count as foreign
    #[arg(long)]
    pub seed: u64,
    /// Number of this run in its history
    #[arg(long, default_value_t = 0)]
    pub run: u32,
    /// Operations in flight
    #[arg(long, default_value_t = 4)]
    pub threads: u8,
    /// Sectors of 512 bytes to use, from the beginning of the device
    #[arg(long)]
    pub sectors: u64,
    /// Sectors of the longest operation
    #[arg(long, default_value_t = 2048)]
    pub longest: u64,
    /// How often which kind
    #[command(flatten)]
    pub mix: Mix,
}

/// How often which kind of operation is done, in parts of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Mix {
    /// Parts that are writes
    #[arg(long, default_value_t = 70)]
    pub writes: u32,
    /// Parts that are writes with FUA (`O_DSYNC`)
    #[arg(long, default_value_t = 10)]
    pub durable: u32,
    /// Parts that are flushes
    #[arg(long, default_value_t = 10)]
    pub flushes: u32,
    /// Parts that are discards
    #[arg(long, default_value_t = 3)]
    pub discards: u32,
    /// Parts that write zeroes
    #[arg(long, default_value_t = 7)]
    pub zeroes: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            writes: 70,
            durable: 10,
            flushes: 10,
            discards: 3,
            zeroes: 7,
        }
    }
}

/// Kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A write.
    Write,
    /// A write that is on stable storage when it is acknowledged.
    Durable,
    /// A flush; it has no place.
    Flush,
    /// A discard.
    Discard,
    /// Zeroes, without data.
    Zeroes,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What is done.
    pub kind: Kind,
    /// The sectors it is done to; none for a flush.
    pub sectors: Range<u64>,
}

impl Operation {
    /// Whether the sectors name the operation when it is done.
    #[must_use]
    pub fn has_data(&self) -> bool {
        matches!(self.kind, Kind::Write | Kind::Durable)
    }
}

impl Plan {
    /// The first run of history `seed` over so many sectors, four operations in flight, the usual mix.
    #[must_use]
    pub fn new(seed: u64, sectors: u64) -> Self {
        Self {
            seed,
            run: 0,
            threads: 4,
            sectors,
            longest: 2048,
            mix: Mix::default(),
        }
    }

    /// The arguments that make the tool follow this plan.
    #[must_use]
    pub fn arguments(&self) -> String {
        let Self {
            seed,
            run,
            threads,
            sectors,
            longest,
            mix,
        } = self;
        let Mix {
            writes,
            durable,
            flushes,
            discards,
            zeroes,
        } = mix;
        format!(
            "--seed {seed} --run {run} --threads {threads} --sectors {sectors} --longest {longest} --writes {writes} \
             --durable {durable} --flushes {flushes} --discards {discards} --zeroes {zeroes}"
        )
    }

    /// What `thread` does as its operation `number`, counted from 1.
    #[must_use]
    pub fn operation(&self, thread: u8, number: u32) -> Operation {
        let mut dice = Dice::new(self, thread, number);
        let kind = self.mix.kind(&mut dice);
        if kind == Kind::Flush || self.sectors == 0 {
            return Operation { kind, sectors: 0..0 };
        }
        // As many are about as long as a sector as are about as long as the longest.
        let longest = self.longest.clamp(1, self.sectors);
        let magnitude = 1 << dice.below(u64::from(longest.ilog2()) + 1);
        let length = (magnitude + dice.below(magnitude)).min(longest);
        let area = match dice.below(2) {
            0 => self.sectors,
            _ => (self.sectors / HOT).max(length),
        };
        let anywhere = dice.below(area - length + 1);
        let first = if dice.below(4) == 0 {
            // Around the border of a chunk.
            let border = anywhere.next_multiple_of(CHUNK);
            border.saturating_sub(dice.below(length)).min(area - length)
        } else {
            anywhere
        };
        Operation {
            kind,
            sectors: first..first + length,
        }
    }

    /// The name of that operation.
    #[must_use]
    pub fn id(&self, thread: u8, number: u32) -> Id {
        Id::new(self.run, thread, number)
    }
}

impl Mix {
    fn kind(self, dice: &mut Dice) -> Kind {
        let parts = [
            (self.writes, Kind::Write),
            (self.durable, Kind::Durable),
            (self.flushes, Kind::Flush),
            (self.discards, Kind::Discard),
            (self.zeroes, Kind::Zeroes),
        ];
        let mut left = dice.below(parts.iter().map(|&(part, _)| u64::from(part)).sum());
        for (part, kind) in parts {
            match left.checked_sub(u64::from(part)) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        Kind::Write
    }
}

/// Random numbers of one operation.
struct Dice(u64);

impl Dice {
    fn new(plan: &Plan, thread: u8, number: u32) -> Self {
        let place = u64::from(plan.run) << 40 ^ u64::from(thread) << 32 ^ u64::from(number);
        Self(plan.seed ^ place.wrapping_mul(0xd6e8_feb8_6659_fd93))
    }

    /// A number below `limit`; 0 when that is 0.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31).checked_rem(limit).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Mix, Plan, CHUNK};

    #[test]
    fn operations_stay_inside_and_are_of_all_sizes_and_kinds() {
        let plan = Plan::new(7, 65536);
        let all: Vec<_> = (1..5000).map(|number| plan.operation(1, number)).collect();
        for operation in &all {
            assert!(operation.sectors.end <= 65536, "{operation:?}");
            assert_eq!(operation.sectors.is_empty(), operation.kind == Kind::Flush);
        }
        for kind in [Kind::Write, Kind::Durable, Kind::Flush, Kind::Discard, Kind::Zeroes] {
            assert!(all.iter().any(|operation| operation.kind == kind), "{kind:?}");
        }
        let length = |operation: &&super::Operation| operation.sectors.end - operation.sectors.start;
        assert!(all.iter().any(|operation| length(&operation) == 1));
        assert!(all.iter().any(|operation| length(&operation) == 2048));
        let crossing = |operation: &&super::Operation| {
            length(operation) <= CHUNK
                && length(operation) > 1
                && operation.sectors.start / CHUNK != (operation.sectors.end - 1) / CHUNK
        };
        assert!(all.iter().filter(crossing).count() > 500);
    }

    #[test]
    fn an_operation_is_always_the_same_and_another_one_in_another_run_or_thread() {
        let plan = Plan::new(7, 65536);
        let other = Plan { run: 1, ..plan.clone() };
        assert_eq!(plan.operation(2, 9), plan.operation(2, 9));
        let differ = (1..100).filter(|&number| plan.operation(2, number) != other.operation(2, number));
        assert!(differ.count() > 80);
        let differ = (1..100).filter(|&number| plan.operation(2, number) != plan.operation(3, number));
        assert!(differ.count() > 80);
    }

    #[test]
    fn only_what_the_mix_has_is_done_even_on_a_tiny_disk() {
        let mix = Mix {
            writes: 1,
            durable: 0,
            flushes: 0,
            discards: 0,
            zeroes: 1,
        };
        let plan = Plan { mix, ..Plan::new(3, 4) };
        for number in 1..500 {
            let operation = plan.operation(0, number);
            assert!(matches!(operation.kind, Kind::Write | Kind::Zeroes));
            assert!(operation.sectors.end <= 4 && !operation.sectors.is_empty());
        }
    }
}
