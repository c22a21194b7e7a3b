// SPDX-License-Identifier: GPL-2.0

//! Whose turn it is to resynchronize.
//!
//! After a link comes back all mirrors that use it have something to copy. All at once they would ask for more memory
//! than there may be, and disks with several mirrors on them would do nothing but seek. So only some mirrors have a turn
//! at a time; the others wait in the order in which they came. All legs of a mirror have its turn together, as they share
//! what is read ([`is_shared`](crate::resync::is_shared)).

/// Most mirrors that can have a turn at a time, whatever is asked for.
pub const MOST: usize = 64;

/// How many have a turn at a time unless it is set otherwise: with eight copies of 256 KiB each, 16 MiB of memory for a
/// target each.
pub const DEFAULT: u32 = 8;

/// Whether an operator can have so many at a time.
#[must_use]
pub const fn is_right_number(most: u32) -> bool {
    most >= 1 && most as usize <= MOST
}

/// A mirror that has a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    mirror: u32,
    /// Its legs that are at work; nobody has this turn where there are none.
    legs: u32,
}

/// The turns of all mirrors.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    turns: [Turn; MOST],
    most: usize,
}

impl Turns {
    /// Nobody has a turn; so many mirrors can have one at a time, at least one and at most [`MOST`].
    #[must_use]
    pub const fn new(most: u32) -> Self {
        let most = if most == 0 { 1 } else { most as usize };
        Self {
            turns: [Turn { mirror: 0, legs: 0 }; MOST],
            most: if most > MOST { MOST } else { most },
        }
    }

    /// How many mirrors can have a turn at a time.
    #[must_use]
    pub const fn most(&self) -> usize {
        self.most
    }

    /// A leg of a mirror wants to begin; `first` says that nobody has waited for longer. True when it may: then it has to
    /// say when it ends.
    pub fn begin(&mut self, mirror: u32, first: bool) -> bool {
        let most = self.most;
        let mut places = self.turns.iter_mut().take(most);
        if let Some(turn) = places.find(|turn| turn.legs > 0 && turn.mirror == mirror) {
            turn.legs = turn.legs.saturating_add(1);
            return true;
        }
        let free = self.turns.iter_mut().take(most).find(|turn| turn.legs == 0);
        let Some(turn) = free.filter(|_| first) else {
            return false;
        };
        *turn = Turn { mirror, legs: 1 };
        true
    }

    /// A leg of a mirror that began has ended.
    pub fn end(&mut self, mirror: u32) {
        let found = self
            .turns
            .iter_mut()
            .find(|turn| turn.legs > 0 && turn.mirror == mirror);
        if let Some(turn) = found {
            turn.legs = turn.legs.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_mirrors_have_a_turn() {
        let mut turns = Turns::new(2);
        assert!(turns.begin(1, true));
        assert!(turns.begin(2, true));
        assert!(!turns.begin(3, true));
        turns.end(1);
        assert!(turns.begin(3, true));
        assert!(!turns.begin(1, true));
    }

    #[test]
    fn whoever_came_later_waits_for_those_before() {
        let mut turns = Turns::new(2);
        assert!(turns.begin(1, true));
        assert!(!turns.begin(2, false));
        assert!(turns.begin(3, true));
    }

    #[test]
    fn the_legs_of_a_mirror_share_its_turn() {
        let mut turns = Turns::new(1);
        assert!(turns.begin(1, true));
        assert!(turns.begin(1, false));
        turns.end(1);
        assert!(!turns.begin(2, true), "one of its legs is still at work");
        turns.end(1);
        assert!(turns.begin(2, true));
    }

    #[test]
    fn there_is_always_a_turn_and_never_more_than_places() {
        assert!(!is_right_number(0) && is_right_number(1) && is_right_number(64) && !is_right_number(65));
        assert_eq!(Turns::new(0).most(), 1);
        assert_eq!(Turns::new(u32::MAX).most(), MOST);
        let mut turns = Turns::new(u32::MAX);
        assert!((0..64).all(|mirror| turns.begin(mirror, true)));
        assert!(!turns.begin(64, true));
        turns.end(65);
        assert!(!turns.begin(64, true));
    }
}
