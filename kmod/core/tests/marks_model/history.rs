// SPDX-License-Identifier: GPL-2.0

//! What happens to a mirror with one leg.

use proptest::prelude::*;

/// Chunks that are used.
pub(crate) const USED: u64 = 8;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// An application writes.
    Submit {
        first: u64,
        len: u64,
    },
    /// Everybody is done with a request.
    Complete(usize),
    BeginBlock {
        lazily: bool,
        dirty_first: bool,
    },
    EndBlock,
    Propose,
    EndRound {
        flushed: bool,
    },
    Lose,
    /// The leg is back; where it was restarted it may have lost what it had not made durable.
    Connect {
        restarted: bool,
    },
    Copy(u64),
    Copied,
    Crash(u8),
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..USED, 1u64..4).prop_map(|(first, len)| Step::Submit { first, len }),
        6 => any::<usize>().prop_map(Step::Complete),
        8 => any::<(bool, bool)>().prop_map(|(lazily, dirty_first)| Step::BeginBlock { lazily, dirty_first }),
        9 => Just(Step::EndBlock),
        6 => Just(Step::Propose),
        5 => any::<bool>().prop_map(|failed| Step::EndRound { flushed: !failed }),
        2 => Just(Step::Lose),
        3 => any::<bool>().prop_map(|restarted| Step::Connect { restarted }),
        5 => (0..USED).prop_map(Step::Copy),
        5 => Just(Step::Copied),
        1 => any::<u8>().prop_map(Step::Crash),
    ]
}
