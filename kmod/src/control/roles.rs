// SPDX-License-Identifier: GPL-2.0

//! Which machine is the source: starting and promoting.

use super::{
    handover,
    legs::{self, Added, Known},
    mirror::{Active, Mirror},
    mirror_open::Maps,
    notify,
    operations::operate,
};
use crate::{
    leg::{self, Paused, Promotion, RecentMap},
    sys::{
        bind as uapi,
        block::LowerDisk,
        errno::{EALREADY, ENODATA},
        genl::Request,
        misc,
        net::NetNs,
    },
};
use kernel::{prelude::*, sync::Arc};
use netraid_core::{
    legs::LegNumber,
    meta::{MetaFlags, Superblock},
    name::Text,
    ownership::{self, silence_counts, start_decide, Decision, Peer, StartFacts, StartMode, StartPlan, StartRefusal},
    state::Role,
};

/// Brings a mirror into service.
pub(super) fn mirror_start(request: &Request<'_>) -> Result {
    let mode = match request.u32(uapi::NETRAID_A_MIRROR_MODE) {
        Some(uapi::NETRAID_START_MODE_AUTO) => StartMode::Auto,
        Some(uapi::NETRAID_START_MODE_FORCE) => StartMode::Force,
        Some(uapi::NETRAID_START_MODE_YIELD) => StartMode::Yield,
        Some(uapi::NETRAID_START_MODE_KEEP) => StartMode::Keep,
        _ => StartMode::Source,
    };
    run(request, mode)
}

/// Makes this machine the source.
pub(super) fn mirror_promote(request: &Request<'_>) -> Result {
    run(request, StartMode::Source)
}

fn run(request: &Request<'_>, mode: StartMode) -> Result {
    operate!(request, mirror, operation);
    let leg = start(request, &mirror, mode)?;
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_ROLE_CHANGED, None, &Text::EMPTY);
    // Only now, so that nothing is told of a leg before it is there.
    legs::begin(&leg);
    Ok(())
}

/// Brings a mirror into service; the legs of a source have still to begin.
pub(super) fn start(request: &Request<'_>, mirror: &Mirror, mode: StartMode) -> Result<Added> {
    let name = mirror.name;
    if matches!(mirror.state.lock().active, Active::Source(_)) {
        return in_service(request, mirror, mode);
    }
    // The decision is made by how things stand from here on until it is carried out.
    let promotion = begin_promotion(request, mirror, mode)?;
    let (disk, warm) = open(request, mirror)?;
    let planned = plan(request, mirror, &disk, mode, warm);
    let done = planned.and_then(|plan| match plan {
        Role::Source => become_source(request, mirror, disk.clone()),
        _ => become_target(request, mirror, disk.clone()).map(|()| Added::new()),
    });
    if done.is_err() && matches!(mirror.state.lock().active, Active::Stopped) {
        mirror.close_metadata()?;
        let wanted = mirror
            .store()
            .with(|sb| sb.current != 0 && !sb.flags.contains(MetaFlags::STOPPED));
        if wanted {
            mirror.wait_at_door(&request.net()?, &disk);
        }
    }
    drop(disk);
    drop(promotion);
    done.inspect_err(|_| pr_info!("mirror {}: not brought into service\n", name.as_str()))
}

/// What a source is told that is asked to be one.
fn in_service(request: &Request<'_>, mirror: &Mirror, mode: StartMode) -> Result<Added> {
    let name = mirror.name;
    if mode == StartMode::Keep {
        let changed = mirror.store().change(|sb| sb.flags.set(MetaFlags::SPLIT_BRAIN, false));
        changed.map_err(|error| mirror.unwritable(request, error))?;
        return Ok(Added::new());
    }
    if mode == StartMode::Yield {
        handover::demote(request, mirror, true)?;
        return Ok(Added::new());
    }
    Err(request.refuse(
        EALREADY,
        format_args!("this machine is the source of mirror '{name}' already"),
    ))
}

/// Keeps sources away from a target that is to become one itself; none where there is no target, or it is to stay one.
fn begin_promotion(request: &Request<'_>, mirror: &Mirror, mode: StartMode) -> Result<Option<Promotion>> {
    let name = mirror.name;
    let stays = mode == StartMode::Auto || mode == StartMode::Yield;
    let Some(leg) = mirror.target().filter(|_| !stays) else {
        return Ok(None);
    };
    if leg.is_unusable() {
        return Err(inconsistent(request, mirror, leg.resync_percent()));
    }
    leg.begin_promotion().map(Some).map_err(|(source, ms)| {
        request.refuse(
            EBUSY,
            format_args!(
                "{source} is the source of mirror '{name}' and connected (heard {ms} ms ago); stop it there first, or use `netraid-ctl switchover {name}` here"
            ),
        )
    })
}

/// The disk of a mirror, with its metadata open, and whether it was in step with a source that was lost.
fn open(request: &Request<'_>, mirror: &Mirror) -> Result<(Arc<LowerDisk>, bool)> {
    if let Some(leg) = mirror.target() {
        return Ok((leg.lower.clone(), leg.is_warm()));
    }
    let disk = mirror.claim(request)?;
    mirror.reload_metadata(request, &disk)?;
    Ok((disk, false))
}

/// Decides what this machine is to be, after asking the others.
fn plan(request: &Request<'_>, mirror: &Mirror, disk: &Arc<LowerDisk>, mode: StartMode, warm: bool) -> Result<Role> {
    let store = mirror.store();
    if let Some(leg) = mirror.target() {
        if mode == StartMode::Yield && !leg.is_connected() {
            handover::note_target(mirror, true).map_err(|error| mirror.unwritable(request, error))?;
            notify::tell(mirror, uapi::NETRAID_EVENT_KIND_STANDING_CHANGED, None, &Text::EMPTY);
        }
        if mode == StartMode::Auto || mode == StartMode::Yield {
            return Ok(Role::Target);
        }
        if leg.is_unusable() {
            return Err(inconsistent(request, mirror, leg.resync_percent()));
        }
    }
    let peers = if mode == StartMode::Yield {
        KVec::new()
    } else {
        ask_all(&request.net()?, mirror, disk, warm)?
    };
    let facts = store.with(|sb| StartFacts {
        role: sb.role,
        flags: sb.flags,
        mirror: sb.name,
        has_data: sb.current != 0,
        warm,
        overridden: request.flag(uapi::NETRAID_A_MIRROR_OVERRIDE),
    });
    let decision = start_decide(&facts, mode, &peers);
    apply(request, mirror, &decision)?;
    match decision.plan {
        StartPlan::Source => Ok(Role::Source),
        StartPlan::Target => Ok(Role::Target),
        StartPlan::Refuse(StartRefusal::Inconsistent(_)) => Err(inconsistent(request, mirror, 0)),
        StartPlan::Refuse(refusal) => Err(request.refuse(EBUSY, format_args!("{refusal}"))),
    }
}

/// Asks every machine that is known how it stands, one after the other; each has as long as its leg allows.
fn ask_all(net: &NetNs, mirror: &Mirror, disk: &LowerDisk, warm: bool) -> Result<KVec<Peer>> {
    let store = mirror.store();
    let node = mirror.node();
    let mut peers = KVec::new();
    let Some(geometry) = store.with(Superblock::geometry) else {
        return Ok(peers);
    };
    for place in LegNumber::all() {
        let known = store.with(|sb| sb.peers.get(place.index()).and_then(|peer| Known::of(peer).ok()));
        let Some(known) = known else { continue };
        let question = leg::Question {
            node: &node,
            store: &store,
            geometry,
            logical_block_size: disk.logical_block_size(),
            place,
            address: known.address,
            timing: known.timing,
            warm,
        };
        let heard = leg::ask(net, &question);
        let (mine, counts) = store.with(|sb| (leg::generations_for_peer(sb, place), silence_counts(sb, place)));
        peers.push(Peer { mine, counts, heard }, GFP_KERNEL)?;
    }
    Ok(peers)
}

fn inconsistent(request: &Request<'_>, mirror: &Mirror, percent: u32) -> Error {
    let name = mirror.name;
    let empty = mirror.store().with(|sb| sb.current == 0);
    if empty {
        return request.refuse(
            ENODATA,
            format_args!("the disk of mirror '{name}' holds no copy yet; let a source fill it first"),
        );
    }
    request.refuse(
        ENODATA,
        format_args!("a resync of mirror '{name}' is in progress ({percent}%), its copy is unusable until it is complete; wait for it, or use the source"),
    )
}

/// Notes how the mirror stands after a decision.
fn apply(request: &Request<'_>, mirror: &Mirror, decision: &Decision) -> Result {
    let store = mirror.store();
    let before = store.with(|sb| sb.flags);
    let after = before.without(decision.clear).with(decision.set, true);
    if after == before {
        return Ok(());
    }
    store
        .change(|sb| sb.flags = after)
        .map_err(|error| mirror.unwritable(request, error))?;
    notify::tell(mirror, uapi::NETRAID_EVENT_KIND_STANDING_CHANGED, None, &Text::EMPTY);
    Ok(())
}

/// Opens the device here.
fn become_source(request: &Request<'_>, mirror: &Mirror, disk: Arc<LowerDisk>) -> Result<Added> {
    let name = mirror.name;
    let store = mirror.store();
    let Some(geometry) = store.with(Superblock::geometry) else {
        return Err(inconsistent(request, mirror, 0));
    };
    if disk.size() < geometry.size() {
        return Err(request.refuse(
            ENOSPC,
            format_args!(
                "the disk has {} bytes, mirror '{name}' has {}; it is not the disk it was",
                disk.size(),
                geometry.size()
            ),
        ));
    }
    let was_target = store.with(|sb| sb.role == Role::Target);
    mirror.close_door();
    let (paused, recent): (Option<Paused>, Option<RecentMap>) = match mirror.take() {
        Active::Target(target) => target.handle.end(),
        Active::Stopped | Active::Source(_) if was_target => (mirror.own_marks(disk.clone())?, None),
        Active::Stopped | Active::Source(_) => (None, None),
    };
    // From here on a failure leaves the mirror stopped, with its disk released.
    mirror.state.lock().disk_number = None;
    if was_target {
        // What a source had confirmed here is in no log of intents of this machine: a power cut must not take it back.
        disk.flush().map_err(|error| unflushed(request, mirror, error))?;
    }
    // What was written here in a pause is data of its own: it counts as the first write that the other one misses.
    let wrote = paused.as_ref().is_some_and(|paused| {
        let counters = paused.running.volume.counters(LegNumber::FIRST);
        counters.dirty_chunks > 0 || counters.intent_chunks > 0
    });
    let fresh = u64::from_le_bytes(misc::random()) | 1;
    let noted = store.change(|sb| ownership::become_source(sb, wrote, fresh));
    noted.map_err(|error| mirror.unwritable(request, error))?;
    if let Some(paused) = &paused {
        paused.running.volume.set_generation(store.with(|sb| sb.current));
    }
    let known = if was_target {
        Maps::One(recent.as_ref())
    } else {
        Maps::All
    };
    let source = mirror.open_source(request, disk.clone(), paused, known)?;
    mirror.switch(Active::Source(source), Some(&disk));
    legs::add_legs(&request.net()?, mirror)
}

fn unflushed(request: &Request<'_>, mirror: &Mirror, error: Error) -> Error {
    let (name, errno) = (mirror.name, -error.to_errno());
    request.refuse(
        error,
        format_args!(
            "the disk of mirror '{name}' can't be flushed (error {errno}), so that what it holds may be lost; look at the kernel log, and use another copy"
        ),
    )
}

/// Listens here.
fn become_target(request: &Request<'_>, mirror: &Mirror, disk: Arc<LowerDisk>) -> Result {
    if matches!(mirror.state.lock().active, Active::Target(_)) {
        return Ok(());
    }
    mirror.close_door();
    handover::note_target(mirror, false).map_err(|error| mirror.unwritable(request, error))?;
    let target = mirror.open_target(request, disk.clone())?;
    mirror.switch(Active::Target(target), Some(&disk));
    Ok(())
}
