// SPDX-License-Identifier: GPL-2.0

//! Greetings: what both sides tell each other before data flows, made of what is remembered.

use super::{
    accept::{send_refusal, From},
    link::Link,
    link_error::{LinkError, LinkResult},
    Node, Timing,
};
use crate::{meta::Store, sys::block::LowerDisk};
use kernel::prelude::*;
use netraid_core::{
    chunk::Geometry,
    generation::Generations,
    handshake::{agreed_features, target_decide, target_features, ConnectedSource, TargetFacts, Verdict},
    legs::LegNumber,
    meta::{MetaFlags, Superblock},
    name::Text,
    priority::Priorities,
    state::Role,
    wire::{
        Header, Hello, HelloFlags, Id, Kind, Refuse, RefuseCode, Welcome, WelcomeFlags, MAX_PAYLOAD, NO_ID,
        REFUSE_MAX_LEN, VERSION_MINOR, WELCOME_LEN,
    },
};

/// The longest answer to a greeting, with room for what later versions append.
const ANSWER_MAX: usize = 1024;

/// This machine's generations, as they relate to another one: a base belongs to the machine it was noted for.
pub(crate) fn generations(sb: &Superblock, other: &Id) -> Generations {
    let noted = sb.peers.iter().find(|peer| !peer.is_free() && peer.uuid == *other);
    Generations {
        current: sb.current,
        base: noted.map_or(0, |peer| peer.base),
        history: sb.history,
    }
}

/// The same, for the machine that was noted in a place.
pub(crate) fn generations_for_peer(sb: &Superblock, place: LegNumber) -> Generations {
    generations(sb, &sb.peers.get(place.index()).map_or(NO_ID, |peer| peer.uuid))
}

/// What a greeting is made of, apart from what is remembered.
pub(crate) struct Introduction<'a> {
    pub(crate) node: &'a Node,
    /// Where the other machine is noted.
    pub(crate) place: LegNumber,
    pub(crate) timing: Timing,
    pub(crate) geometry: Geometry,
    pub(crate) logical_block_size: u32,
    pub(crate) listen_port: u16,
    pub(crate) session: u64,
    pub(crate) flags: HelloFlags,
    /// What is offered.
    pub(crate) features: u64,
}

/// The greeting of a source, or of one who asks.
pub(crate) fn hello(store: &Store, by: &Introduction<'_>) -> Hello {
    store.with(|sb| {
        let mine = generations_for_peer(sb, by.place);
        Hello {
            version_minor: VERSION_MINOR,
            flags: by
                .flags
                .with(HelloFlags::PREPARED, sb.flags.contains(MetaFlags::PREPARED))
                .with(HelloFlags::NEW, sb.flags.contains(MetaFlags::NEW))
                .with(HelloFlags::OWNER, sb.flags.contains(MetaFlags::LAST_OWNER)),
            features: by.features,
            mirror_uuid: sb.mirror_uuid,
            node_uuid: by.node.uuid,
            instance: by.node.instance,
            known_instance: sb.peers.get(by.place.index()).map_or(NO_ID, |peer| peer.instance),
            session: by.session,
            size: by.geometry.size(),
            generation: mine.current,
            known_generation: mine.base,
            history: mine.history,
            listen_port: by.listen_port,
            priorities: Priorities {
                source: sb.priority,
                target: sb.peers.get(by.place.index()).and_then(|peer| peer.priority),
            },
            chunk_size: by.geometry.chunk_size(),
            logical_block_size: by.logical_block_size,
            max_payload: MAX_PAYLOAD,
            heartbeat_ms: by.timing.heartbeat_ms,
            timeout_ms: by.timing.timeout_ms,
            mirror_name: by.node.wire_name,
            node_name: by.node.name,
        }
    })
}

/// Sends a greeting and reads the answer; sleeps at most the timeout of the link.
pub(crate) fn exchange(link: &Link, hello: &Hello) -> LinkResult<core::result::Result<Welcome, Refuse>> {
    link.send_bytes(Header::new(Kind::Hello), &hello.encode())?;
    let header = link.read_header()?;
    let mut buffer = [0; ANSWER_MAX];
    const { assert!(ANSWER_MAX > WELCOME_LEN && ANSWER_MAX > REFUSE_MAX_LEN) };
    let data = link.read_data(&header, &mut buffer)?;
    match header.kind {
        Kind::Welcome => Ok(Ok(Welcome::decode(data)?)),
        Kind::Refuse => Ok(Err(Refuse::decode(data)?)),
        other => Err(LinkError::Unexpected(other)),
    }
}

/// What the other side has to know of a disk.
#[derive(Clone, Copy)]
pub(crate) struct DiskFacts {
    /// Bytes of it that are there for the mirror.
    pub(crate) room: u64,
    pub(crate) logical_block_size: u32,
    pub(crate) can_discard: bool,
    /// It may lose what it confirmed.
    pub(crate) cached: bool,
}

impl DiskFacts {
    /// Those of a disk with `room` bytes for the mirror.
    pub(crate) fn of(disk: &LowerDisk, room: u64) -> Self {
        Self {
            room,
            logical_block_size: disk.logical_block_size(),
            can_discard: disk.can_discard(),
            cached: disk.is_cached(),
        }
    }
}

/// Who is greeted.
pub(super) struct Facts<'a> {
    pub(super) role: Role,
    pub(super) node: &'a Node,
    pub(super) store: &'a Store,
    pub(super) disk: DiskFacts,
    pub(super) connected: Option<ConnectedSource>,
    pub(super) device_in_use: bool,
    /// It wrote to its disk itself, and the source does not know where.
    pub(super) has_own_data: bool,
    /// It knows what another source wrote to its disk of late.
    pub(super) tells_recent: bool,
}

/// What came of a greeting.
pub(super) enum Answer {
    /// It was a question, and is answered.
    Told,
    /// Refused, for this reason.
    Refused(Text),
    /// The same; that there is a split brain was not known before.
    SplitBrain(Text),
    /// To be accepted; nothing has been answered yet.
    Accept,
}

/// Decides about somebody who introduces himself, and answers unless he is accepted. May sleep.
pub(super) fn answer(facts: &Facts<'_>, link: &Link, hello: &Hello) -> Answer {
    let known = facts.store.with(|sb| TargetFacts {
        role: facts.role,
        mirror_name: facts.node.wire_name,
        local_name: facts.node.mirror,
        node_name: facts.node.name,
        node_uuid: facts.node.uuid,
        same_machine: sb.flags.contains(MetaFlags::SAME_MACHINE),
        mirror_uuid: Some(sb.mirror_uuid).filter(|uuid| *uuid != NO_ID),
        disk_size: facts.disk.room,
        logical_block_size: facts.disk.logical_block_size,
        connected: facts.connected,
        device_in_use: facts.device_in_use,
        mine: generations(sb, &hello.node_uuid),
        yielded: sb.flags.contains(MetaFlags::YIELDED),
    });
    match target_decide(&known, hello) {
        Ok(Verdict::Tell) => {
            // Whoever does not take it learns from the end of the connection.
            let _ = link.send_bytes(Header::new(Kind::Welcome), &welcome(facts, hello).encode());
            link.close();
            Answer::Told
        }
        Ok(Verdict::Accept(_)) => Answer::Accept,
        Err(refusal) => {
            let from = From(link.peer());
            send_refusal(link, &refusal);
            let reason = Text::format(format_args!("{from} was refused: {}", refusal.reason));
            if refusal.code == RefuseCode::SplitBrain && note_split_brain(facts.store) {
                return Answer::SplitBrain(reason);
            }
            Answer::Refused(reason)
        }
    }
}

/// Refuses somebody who was about to be accepted.
pub(super) fn refuse(link: &Link, refusal: &Refuse) {
    send_refusal(link, refusal);
}

/// Both sides know of it from now on, also after a restart; true where it was not known before.
pub(super) fn note_split_brain(store: &Store) -> bool {
    if store.with(|sb| sb.flags.contains(MetaFlags::SPLIT_BRAIN)) {
        return false;
    }
    if store.change(|sb| sb.flags.set(MetaFlags::SPLIT_BRAIN, true)).is_err() {
        pr_warn!("that there is a split brain could not be noted in the metadata\n");
    }
    true
}

/// How this machine stands, for a source or one who asks.
pub(super) fn welcome(facts: &Facts<'_>, hello: &Hello) -> Welcome {
    facts.store.with(|sb| {
        let mine = generations(sb, &hello.node_uuid);
        let flags = [
            (WelcomeFlags::INCONSISTENT, MetaFlags::INCONSISTENT),
            (WelcomeFlags::PREPARED, MetaFlags::PREPARED),
            (WelcomeFlags::YIELDED, MetaFlags::YIELDED),
            (WelcomeFlags::SPLIT_BRAIN, MetaFlags::SPLIT_BRAIN),
            (WelcomeFlags::LAST_OWNER, MetaFlags::LAST_OWNER),
        ];
        let said = flags.into_iter().fold(WelcomeFlags::NONE, |all, (said, known)| {
            all.with(said, sb.flags.contains(known))
        });
        Welcome {
            version_minor: VERSION_MINOR,
            flags: said
                .with(WelcomeFlags::FRESH, mine.current == 0)
                .with(WelcomeFlags::HAS_MAP, facts.has_own_data)
                .with(WelcomeFlags::RECENT, facts.tells_recent)
                .with(WelcomeFlags::DISCARD_OK, facts.disk.can_discard),
            features: agreed_features(hello.features, target_features(facts.disk.cached)),
            node_uuid: facts.node.uuid,
            instance: facts.node.instance,
            known_instance: hello.instance,
            session: hello.session,
            size: facts.disk.room,
            generation: mine.current,
            base: mine.base,
            history: mine.history,
            role: facts.role,
            priority: sb.priority,
            logical_block_size: facts.disk.logical_block_size,
            max_payload: MAX_PAYLOAD,
            node_name: facts.node.name,
        }
    })
}
