// SPDX-License-Identifier: GPL-2.0

//! Sentences for extended acknowledgements.
//!
//! Netlink does not copy such a text (its own formatting stops at 80 bytes): it reads it after the handler returned,
//! but within the same system call, and before the family can be unregistered. So a text is kept until the same task
//! asks for the next one, and all of them until the family is gone.

use crate::sys::{bind, misc};
use core::fmt;
use kernel::prelude::*;
use netraid_core::name::Text;

/// Tasks whose last text is kept. A caller beyond that gets its error number without a text.
const TASKS: usize = 64;

/// A text this old has been read: its system call lasts no longer.
const OLD_MS: u64 = 60_000;

struct Kept {
    task: usize,
    at_ms: u64,
    // Read by netlink.
    _text: KBox<[u8; 256]>,
}

crate::module_mutex! {
    static KEPT: Mutex<KVec<Kept>> = KVec::new();
    prepare_lock
}

/// Called once, first thing when the module is loaded.
pub(crate) fn prepare_sentences() {
    prepare_lock();
}

/// Frees all texts; called when the family is unregistered.
pub(super) fn clear() {
    let kept = core::mem::replace(&mut *KEPT.lock(), KVec::new());
    drop(kept);
}

/// Keeps a text for the acknowledgement that the current task is about to get.
pub(super) fn keep(text: fmt::Arguments<'_>) -> Option<*const kernel::ffi::c_char> {
    let text = Text::format(text);
    // One byte more than a text can have, so that it ends with a zero.
    let mut memory = KBox::new([0_u8; 256], GFP_KERNEL).ok()?;
    memory
        .iter_mut()
        .zip(text.as_bytes())
        .for_each(|(to, from)| *to = *from);
    let address = memory.as_ptr().cast();
    // SAFETY: No preconditions.
    let task = unsafe { bind::netraid_current() };
    let now = misc::now_ms();
    let mut kept = KEPT.lock();
    kept.retain(|it| it.task != task && now.saturating_sub(it.at_ms) < OLD_MS);
    if kept.len() >= TASKS {
        return None;
    }
    kept.push(
        Kept {
            task,
            at_ms: now,
            _text: memory,
        },
        GFP_KERNEL,
    )
    .ok()?;
    Some(address)
}
