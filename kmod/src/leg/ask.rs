// SPDX-License-Identifier: GPL-2.0

//! Asking another machine how it stands, before this one comes into service.

use super::{
    greeting::{self, Introduction},
    link::Link,
    Node, Timing,
};
use crate::{
    meta::Store,
    sys::{
        errno::ENODATA,
        misc,
        net::{Address, NetNs},
    },
};
use kernel::prelude::*;
use netraid_core::{
    chunk::Geometry,
    handshake::generations_of_target,
    legs::LegNumber,
    ownership::{Answer, Heard},
    wire::{HelloFlags, Id, Refuse, RefuseCode, Welcome, WelcomeFlags},
};

/// How long a machine that saw its source die waits for the answer of that source: it is likely to be dead.
const WARM_MS: u32 = 2000;

/// How often a machine is asked that says that another one is in service.
const AGAIN_MS: u32 = 500;

/// Whom to ask, and as whom.
pub(crate) struct Question<'a> {
    pub(crate) node: &'a Node,
    pub(crate) store: &'a Store,
    pub(crate) geometry: Geometry,
    pub(crate) logical_block_size: u32,
    /// Where the one who is asked is noted.
    pub(crate) place: LegNumber,
    pub(crate) address: Address,
    pub(crate) timing: Timing,
    /// This machine was in step with the one it asks.
    pub(crate) warm: bool,
}

/// Asks; sleeps at most three times the timeout of the leg.
pub(crate) fn ask(net: &NetNs, question: &Question<'_>) -> Heard {
    let until = misc::now_ms().saturating_add(question.timing.timeout_ms.into());
    let mut heard = exchange(net, question);
    // The connection of a source that has died is there until its target notices.
    while matches!(&heard, Ok(Err(refusal)) if refusal.code == RefuseCode::Taken) && misc::now_ms() < until {
        misc::sleep_ms(AGAIN_MS);
        heard = exchange(net, question);
    }
    match heard {
        Ok(Ok(welcome)) => Heard::Answer(answer(&welcome)),
        // Other mirrors listen there, this one is not up: as if nobody listened.
        Ok(Err(refusal)) if refusal.code == RefuseCode::OtherMirror => Heard::Nothing,
        Ok(Err(refusal)) => Heard::Refused(refusal.sentence()),
        Err(_) => Heard::Nothing,
    }
}

/// Who it is; none where he refuses to say. Takes as long as [`ask`].
///
/// # Errors
///
/// Those of connecting, `ENODATA` where the connection ends before the answer.
pub(super) fn who(net: &NetNs, question: &Question<'_>) -> Result<Option<Id>> {
    Ok(exchange(net, question)?.ok().map(|welcome| welcome.node_uuid))
}

fn exchange(net: &NetNs, question: &Question<'_>) -> Result<core::result::Result<Welcome, Refuse>> {
    let mut timing = question.timing;
    if question.warm {
        timing.timeout_ms = timing.timeout_ms.min(WARM_MS);
    }
    let link = Link::to(net, &question.address, timing)?;
    link.set_deadline(timing.timeout_ms);
    link.connect(&question.address)?;
    let hello = greeting::hello(
        question.store,
        &Introduction {
            node: question.node,
            place: question.place,
            timing,
            geometry: question.geometry,
            logical_block_size: question.logical_block_size,
            listen_port: 0,
            session: u64::from_le_bytes(misc::random()),
            flags: HelloFlags::ASK,
            features: 0,
        },
    );
    let heard = greeting::exchange(&link, &hello);
    link.close();
    heard.map_err(|_| ENODATA.into())
}

fn answer(welcome: &Welcome) -> Answer {
    Answer {
        node: welcome.node_name,
        role: welcome.role,
        yielded: welcome.flags.contains(WelcomeFlags::YIELDED),
        inconsistent: welcome.flags.contains(WelcomeFlags::INCONSISTENT),
        generations: generations_of_target(welcome),
    }
}
