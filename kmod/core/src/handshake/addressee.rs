// SPDX-License-Identifier: GPL-2.0

//! Which of the mirrors that listen at one address a caller wants to speak with.
//!
//! A caller says what he calls the mirror. Several of those that listen may be called so: two sources may have chosen
//! the same name, and a mirror may have both its copies on one machine. Then it is the identity of the mirror that tells
//! them apart, and where it is not known yet, nobody guesses: a disk is not overwritten by chance.

use crate::name::Name;
use crate::state::Role;
use crate::wire::{Hello, HelloFlags, Id};

/// A mirror that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its number on this machine.
    pub number: u32,
    /// Its name on this machine.
    pub name: Name,
    /// What sources call it.
    pub wire_name: Name,
    /// Identity of this machine.
    pub node_uuid: Id,
    /// Its present instance, see [`instance`].
    pub instance: Id,
    /// Identity of the mirror, once a source told it.
    pub mirror_uuid: Option<Id>,
    /// What this machine does for it.
    pub role: Role,
}

/// Who is to answer a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// The mirror with this number.
    Mirror(u32),
    /// Nobody: either of the two mirrors with these names on this machine could be meant.
    Ambiguous(Name, Name),
    /// Nobody but the caller himself is called so.
    Caller,
    /// Nobody is called so.
    Nobody,
}

/// How well a mirror fits a caller who calls it by its name, the best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It belongs to another mirror of the same name, and is to say so.
    Foreign,
    /// It waits for its first source.
    Blank,
    /// It belongs to the mirror of the caller.
    Own,
    /// The same, and it takes what a source sends.
    OwnTarget,
}

/// Who among `mirrors` is to answer.
pub fn addressee(hello: &Hello, mirrors: impl IntoIterator<Item = Listening>) -> Addressee {
    let mut found = Addressee::Nobody;
    let mut best: Option<(Fit, Name)> = None;
    for mirror in mirrors {
        if mirror.wire_name != hello.mirror_name {
            continue;
        }
        if is_caller(hello, &mirror) {
            if best.is_none() {
                found = Addressee::Caller;
            }
            continue;
        }
        let fit = fit(hello, &mirror);
        match best {
            Some((better, _)) if better > fit => continue,
            // Each of them would say the same.
            Some((Fit::Foreign, _)) if fit == Fit::Foreign => continue,
            Some((same, other)) if same == fit => found = Addressee::Ambiguous(other, mirror.name),
            _ => found = Addressee::Mirror(mirror.number),
        }
        best = Some((fit, mirror.name));
    }
    found
}

fn fit(hello: &Hello, mirror: &Listening) -> Fit {
    match mirror.mirror_uuid {
        None => Fit::Blank,
        Some(uuid) if uuid != hello.mirror_uuid => Fit::Foreign,
        // Whoever asks wants to know of each; whoever brings data wants one that takes it.
        Some(_) if mirror.role == Role::Target && !hello.flags.contains(HelloFlags::ASK) => Fit::OwnTarget,
        Some(_) => Fit::Own,
    }
}

/// Whether it is this very mirror that calls.
fn is_caller(hello: &Hello, mirror: &Listening) -> bool {
    hello.node_uuid == mirror.node_uuid && mark_in(&hello.instance) == mark_in(&mirror.instance)
}

/// Random for a mirror on a machine, as long as it is loaded.
pub type Mark = [u8; 8];

/// An instance, of which `random` is another one for each time a mirror comes into service. By the `mark` it knows itself
/// when it calls its own machine.
#[must_use]
pub fn instance(random: [u8; 8], mark: Mark) -> Id {
    let mut id = [0; 16];
    for (byte, value) in id.iter_mut().zip(random.into_iter().chain(mark)) {
        *byte = value;
    }
    id
}

fn mark_in(instance: &Id) -> Option<&Mark> {
    instance.last_chunk()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::NO_ID;

    const EVE: Id = [1; 16];
    const ADAM: Id = [2; 16];
    const MIRROR: Id = [3; 16];
    const OTHER: Id = [4; 16];

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// Mirror number 0 of eve, which is called data.
    fn hello() -> Hello {
        Hello {
            version_minor: 0,
            flags: HelloFlags::NONE,
            features: 0,
            mirror_uuid: MIRROR,
            node_uuid: EVE,
            instance: instance([7; 8], [0; 8]),
            known_instance: NO_ID,
            session: 1,
            size: 1 << 30,
            generation: 5,
            known_generation: 0,
            chunk_size: 65536,
            logical_block_size: 512,
            max_payload: 1 << 20,
            heartbeat_ms: 1000,
            timeout_ms: 5000,
            mirror_name: name("data"),
            node_name: name("eve"),
            history: [0; 8],
            listen_port: 0,
            priorities: crate::priority::Priorities::NONE,
        }
    }

    /// A target on adam that a source may call data.
    fn target(number: u32, local: &str, mirror_uuid: Option<Id>) -> Listening {
        Listening {
            number,
            name: name(local),
            wire_name: name("data"),
            node_uuid: ADAM,
            instance: instance([8; 8], u64::from(number).to_le_bytes()),
            mirror_uuid,
            role: Role::Target,
        }
    }

    #[test]
    fn a_mirror_is_found_by_what_the_source_calls_it() {
        let other = Listening {
            wire_name: name("other"),
            ..target(0, "data", None)
        };
        let found = addressee(&hello(), [other, target(1, "copy", None)]);
        assert_eq!(found, Addressee::Mirror(1));
        assert_eq!(addressee(&hello(), [other]), Addressee::Nobody);
        assert_eq!(addressee(&hello(), []), Addressee::Nobody);
    }

    #[test]
    fn of_two_with_one_name_the_identity_decides() {
        let (mine, others) = (target(0, "from-eve", Some(MIRROR)), target(1, "from-seth", Some(OTHER)));
        let blank = target(2, "new", None);
        assert_eq!(addressee(&hello(), [others, mine, blank]), Addressee::Mirror(0));
        assert_eq!(addressee(&hello(), [blank, mine, others]), Addressee::Mirror(0));
        assert_eq!(addressee(&hello(), [others, blank]), Addressee::Mirror(2));
        assert_eq!(addressee(&hello(), [blank, others]), Addressee::Mirror(2));
        // It says itself that it is another one's.
        assert_eq!(
            addressee(&hello(), [others, target(3, "more", Some(OTHER))]),
            Addressee::Mirror(1)
        );
    }

    #[test]
    fn where_nothing_decides_nobody_guesses() {
        let both = [target(0, "one", None), target(1, "two", None)];
        let found = addressee(&hello(), both);
        assert_eq!(found, Addressee::Ambiguous(name("one"), name("two")));
        let more = [both[0], both[1], target(2, "from-eve", Some(MIRROR))];
        assert_eq!(addressee(&hello(), more), Addressee::Mirror(2));
    }

    #[test]
    fn on_one_machine_the_other_copy_is_meant() {
        let here = |number, role, uuid| Listening {
            node_uuid: EVE,
            role,
            ..target(number, if number == 0 { "data" } else { "copy" }, uuid)
        };
        let source = here(0, Role::Source, Some(MIRROR));
        assert_eq!(addressee(&hello(), [source]), Addressee::Caller);
        for uuid in [None, Some(MIRROR)] {
            let copy = here(1, Role::Target, uuid);
            assert_eq!(addressee(&hello(), [source, copy]), Addressee::Mirror(1));
            assert_eq!(addressee(&hello(), [copy, source]), Addressee::Mirror(1));
        }
        // The same mark on another machine is another mirror, and so is another mark on a clone.
        let there = Listening {
            node_uuid: ADAM,
            ..source
        };
        assert_eq!(addressee(&hello(), [there]), Addressee::Mirror(0));
        let clone = Listening {
            instance: instance([8; 8], [5; 8]),
            ..source
        };
        assert_eq!(addressee(&hello(), [clone]), Addressee::Mirror(0));
    }

    #[test]
    fn data_goes_to_a_target_and_a_question_to_either() {
        let stopped = Listening {
            role: Role::Stopped,
            ..target(0, "old", Some(MIRROR))
        };
        let copy = target(1, "copy", Some(MIRROR));
        assert_eq!(addressee(&hello(), [stopped, copy]), Addressee::Mirror(1));
        let mut question = hello();
        question.flags = HelloFlags::ASK;
        assert_eq!(addressee(&question, [stopped]), Addressee::Mirror(0));
        let both = addressee(&question, [stopped, copy]);
        assert_eq!(both, Addressee::Ambiguous(name("old"), name("copy")));
    }
}
