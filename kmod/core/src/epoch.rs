// SPDX-License-Identifier: GPL-2.0

//! The order that an asynchronous target keeps.
//!
//! An application may rely on this: what was acknowledged to it before it began another write is never missing where
//! that other write is present. Its writes are therefore divided into epochs. All requests of an epoch were begun
//! before any of them was acknowledged, so the application gave them no order, and they may reach a disk in any. A
//! request that is begun after one of its epoch was acknowledged begins the next epoch.
//!
//! The source decides that with [`Epochs`], under the lock under which it queues: the order on the connection is the
//! order of beginning. The first request of an epoch carries [`Flags::BARRIER`](crate::wire::Flags::BARRIER). The
//! target begins such a request only when everything that arrived before it has ended on its disk, which [`Gate`]
//! decides. So, where `A` was acknowledged before `B` began, a barrier was sent after `A` and not after `B`, and `A`
//! is on the target's disk before `B` is begun there. The connection carries a prefix of what was sent; where it
//! ends, the target holds all of some epochs, a part of the next one, and nothing of later ones: what the disk of the
//! source could hold after a crash, too.
//!
//! What the target's disk fails breaks that as well. Nothing that follows a barrier is begun any more then, whatever
//! the source sends before it hears of it.

/// The epochs of a source: whether a request that is begun now begins a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// Something was acknowledged to the application since this epoch began.
    completed: bool,
}

impl Epochs {
    /// Nothing was begun yet.
    pub const NEW: Self = Self { completed: false };

    /// A request is about to be acknowledged to the application.
    pub fn complete(&mut self) {
        self.completed = true;
    }

    /// A request is begun; true where it is the first one of a new epoch.
    pub fn begin(&mut self) -> bool {
        core::mem::take(&mut self.completed)
    }
}

/// What a target does with a request that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Begin it.
    Now,
    /// Ask again when one of those under way has ended.
    Wait,
    /// Fail it, without touching the disk.
    Never,
}

/// Where the requests of one connection pass on a target, in the order in which they arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// A request failed.
    failed: bool,
    /// One that was to come after it has arrived.
    shut: bool,
}

impl Gate {
    /// Nothing has arrived yet.
    pub const NEW: Self = Self {
        failed: false,
        shut: false,
    };

    /// Whether the next request may begin. `barrier`: it begins an epoch; `under_way`: something that arrived before
    /// it has not ended on the disk.
    pub fn pass(&mut self, barrier: bool, under_way: bool) -> Pass {
        if barrier && under_way && !self.shut {
            return Pass::Wait;
        }
        self.shut |= barrier && self.failed;
        if self.shut {
            Pass::Never
        } else {
            Pass::Now
        }
    }

    /// A request has ended on the disk, or was failed here.
    pub fn ended(&mut self, well: bool) {
        self.failed |= !well;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_begins_with_the_first_request_after_a_completion_and_no_other() {
        for completed in [false, true] {
            let mut epochs = Epochs { completed };
            assert_eq!(epochs.begin(), completed);
            assert_eq!(epochs, Epochs::NEW);
            assert!(!epochs.begin());
            epochs.complete();
            epochs.complete();
            assert!(epochs.begin());
        }
    }

    #[test]
    fn a_gate_decides_in_every_state() {
        let all = [false, true];
        for (failed, shut) in all.into_iter().flat_map(|failed| all.map(|shut| (failed, shut))) {
            for (barrier, under_way) in all.into_iter().flat_map(|barrier| all.map(|way| (barrier, way))) {
                let mut gate = Gate { failed, shut };
                let wanted = match (shut, barrier, under_way, failed) {
                    (true, ..) | (false, true, false, true) => Pass::Never,
                    (false, true, true, _) => Pass::Wait,
                    (false, false, ..) | (false, true, false, false) => Pass::Now,
                };
                assert_eq!(
                    gate.pass(barrier, under_way),
                    wanted,
                    "{failed} {shut} {barrier} {under_way}"
                );
                // Once shut it stays so, and nothing but a barrier behind a failure shuts it.
                assert_eq!(gate.shut, wanted == Pass::Never);
                assert_eq!(gate.failed, failed);
            }
        }
        let mut gate = Gate::NEW;
        gate.ended(true);
        assert_eq!(gate, Gate::NEW);
        gate.ended(false);
        gate.ended(true);
        assert!(gate.failed);
    }
}
