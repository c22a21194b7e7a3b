// SPDX-License-Identifier: GPL-2.0

//! What another machine asks of a mirror here: done by a thread of its own, since the one that heard it belongs to what
//! has to be ended.

use super::{handover, notify, registry};
use crate::sys::{bind as uapi, sync::Event, thread::KThread};
use kernel::{
    prelude::*,
    sync::{new_mutex, Arc, Mutex},
};
use netraid_core::{legs::LegNumber, name::Text};

/// How long the thread sleeps when nothing raises its event; only a safety net.
const NAP_MS: u32 = 1000;

/// How long a target that asks to take over is waited for until it has confirmed everything; it waits for longer itself.
const CONFIRM_MS: u64 = 40_000;

/// Mirrors of which a target asks to take over.
#[pin_data]
struct Desk {
    #[pin]
    asked: Mutex<Asked>,
    #[pin]
    work: Event,
}

#[derive(Default)]
struct Asked {
    mirrors: KVec<(u32, LegNumber)>,
    stopping: bool,
}

struct DeskThread {
    desk: Arc<Desk>,
    _thread: KThread,
}

crate::module_mutex! {
    /// The thread, while the module is loaded.
    static DESK: Mutex<Option<DeskThread>> = None;
    prepare_lock
}

/// Starts the thread; called once, when the module is loaded.
pub(crate) fn open_desk() -> Result {
    prepare_lock();
    let desk = Arc::pin_init(
        pin_init!(Desk {
            asked <- new_mutex!(Asked::default(), "netraid_desk"),
            work <- Event::new(),
        }),
        GFP_KERNEL,
    )?;
    let its = desk.clone();
    let thread = KThread::spawn(c"netraid_desk", move || serve(&its))?;
    *DESK.lock() = Some(DeskThread { desk, _thread: thread });
    Ok(())
}

/// Ends the thread; called when the module ends and no mirror is in service.
pub(crate) fn close_desk() {
    let thread = DESK.lock().take();
    if let Some(thread) = &thread {
        thread.desk.asked.lock().stopping = true;
        thread.desk.work.raise();
    }
    drop(thread);
}

fn serve(desk: &Desk) {
    loop {
        desk.work.wait(NAP_MS);
        loop {
            let (next, stopping) = {
                let mut asked = desk.asked.lock();
                (asked.mirrors.pop(), asked.stopping)
            };
            if stopping {
                return;
            }
            let Some(mirror) = next else { break };
            let (mirror, leg) = mirror;
            hand_over(mirror, leg);
        }
    }
}

/// The target of a mirror asks to become its source, see [`crate::leg::SourceConfig`].
pub(super) fn asked_for(mirror: u32, leg: LegNumber) {
    let desk = DESK.lock();
    if let Some(thread) = desk.as_ref() {
        // Without memory nobody is answered, and the one who asked gives up after a while.
        let _ = thread.desk.asked.lock().mirrors.push((mirror, leg), GFP_KERNEL);
        thread.desk.work.raise();
    }
}

/// Makes this machine a target, if its device is not in use, and says so to the one who asked.
fn hand_over(id: u32, asking: LegNumber) {
    let Some(mirror) = registry::by_id(id) else { return };
    let operation = mirror.operation.lock();
    let leg = mirror.with_source(|source| source.legs.get(asking).cloned());
    let Some(leg) = leg.flatten() else { return };
    let closed = mirror.with_source(|source| source.front.close(false));
    // The target is told that it may take over when it has what was acknowledged. While it is waited for the leg may be
    // lost.
    let together = matches!(closed, Some(Ok(()))) && leg.is_together();
    let idle = together && leg.volume.wait_idle_for(CONFIRM_MS);
    let done = match closed {
        Some(Ok(())) if !leg.is_together() => Err(Text::format(format_args!(
            "mirror {} is not fully operational; wait for that",
            mirror.name
        ))),
        Some(Ok(())) if !idle => Err(Text::format(format_args!(
            "what was written to mirror {} is not confirmed yet; `netraid-ctl status` on {} shows how much, try again later",
            mirror.name, mirror.node_name
        ))),
        Some(Ok(())) => Ok(()),
        Some(Err(opens)) => Err(Text::format(format_args!(
            "/dev/netraid{id} is in use on {} ({opens} open); unmount it there first",
            mirror.node_name
        ))),
        None => return,
    };
    if let Err(reason) = done {
        if !reason.as_str().starts_with("/dev") {
            mirror.with_source(|source| source.front.reopen());
        }
        leg.answer_takeover(Err(reason));
        return;
    }
    leg.answer_takeover(Ok(()));
    let net = leg.net();
    drop(leg);
    if let Err(error) = handover::give_way(&mirror, &net, false) {
        let (errno, name) = (-error.to_errno(), mirror.name);
        pr_warn!(
            "mirror {}: it could not become a target (error {errno})\n",
            name.as_str()
        );
    }
    drop(operation);
    notify::tell(&mirror, uapi::NETRAID_EVENT_KIND_ROLE_CHANGED, None, &Text::EMPTY);
}
