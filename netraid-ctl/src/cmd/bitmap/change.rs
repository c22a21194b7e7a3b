// SPDX-License-Identifier: GPL-2.0
//! Changes of metadata while nobody uses it.
//!
//! What is there is read and understood first; the file is never cut or made longer. A map is on the disk before the
//! superblock that goes with it, and the superblock that was the newer one stays until then.

use anyhow::{anyhow, Context as _, Result};
use netraid_core::bitmap::Bitmap;
use netraid_core::meta::{effective_async_limit, map_of_peer, MetaFlags, PeerFlags, MAP_INTENT, PEERS};

use super::examine::{dirty_slots, find};
use super::{in_service, show, Target};
use crate::cmd::support::confirm;
use crate::env::Env;
use crate::meta::{Access, MetaFile};

/// Marks nothing.
pub(super) fn clean(target: &Target, yes: bool, env: &mut Env<'_>) -> Result<()> {
    const ACTION: &str = "clean the bitmap";
    // Nobody is asked about something that cannot be done anyway.
    let name = open_unused(target, ACTION, env)?.superblock().name;
    confirm(
        &format!(
            "use this with extreme caution: cleaning the bitmap {} says that the target holds an exact replica of \
             the disk of mirror {name} already; nothing that was written up to now will be copied, and where the \
             copies differ, they stay so and nobody is told",
            target.path.display()
        ),
        yes,
        env,
    )?;
    let mut file = open_unused(target, ACTION, env)?;
    let empty = map(&file, false).with_context(|| without_maps(target, ACTION, &file))?;
    let change = || -> Result<()> {
        file.write_map(MAP_INTENT, &empty)?;
        for slot in 0..PEERS {
            file.write_map(map_of_peer(slot), &empty)?;
        }
        file.write_superblock(|superblock| {
            for peer in &mut superblock.peers {
                peer.flags.set(PeerFlags::FULL, false);
            }
        })?;
        Ok(())
    };
    carry_out(target, ACTION, change)?;
    tell(target, "Nothing is marked any more", env)
}

/// Marks everything.
pub(super) fn dirty(target: &Target, env: &mut Env<'_>) -> Result<()> {
    const ACTION: &str = "dirty the bitmap";
    let mut file = open_unused(target, ACTION, env)?;
    let full = map(&file, true).with_context(|| without_maps(target, ACTION, &file))?;
    let change = || -> Result<()> {
        for slot in dirty_slots(file.superblock()) {
            file.write_map(map_of_peer(slot), &full)?;
        }
        // Nothing in it changes, but its number tells that the metadata did.
        file.write_superblock(|_| {})?;
        Ok(())
    };
    carry_out(target, ACTION, change)?;
    tell(target, "Everything will be copied", env)
}

/// Permits asynchronous legs, and stores how many operations one may have outstanding.
pub(super) fn async_limit(target: &Target, limit: u32, env: &mut Env<'_>) -> Result<()> {
    const ACTION: &str = "store the asynchronous limit in the bitmap";
    let mut file = open_unused(target, ACTION, env)?;
    let name = file.superblock().name;
    carry_out(target, ACTION, || {
        Ok(file.write_superblock(|superblock| {
            superblock.async_limit = limit;
            superblock.flags.set(MetaFlags::ASYNC, true);
        })?)
    })?;
    let effective = effective_async_limit(limit);
    let meaning = if effective == limit {
        String::new()
    } else {
        format!(", for a value up to 2, such as {limit}, means {effective}")
    };
    writeln!(
        env.out,
        "An asynchronous leg of mirror {name} may have {effective} operations outstanding{meaning}."
    )?;
    Ok(())
}

/// Opens metadata that no mirror in service has.
fn open_unused(target: &Target, action: &str, env: &Env<'_>) -> Result<MetaFile> {
    let file = target.open(Access::Write, action)?;
    let path = target.path.display();
    let user = target.user(env).with_context(|| {
        format!("cannot {action} {path}: it is not known whether a mirror uses it, since the kernel cannot be asked")
    })?;
    match user.filter(in_service) {
        None => Ok(file),
        Some(mirror) => {
            let name = mirror.name.unwrap_or_default();
            let instead = if action.starts_with("store") {
                format!(
                    "`netraid-ctl stop {name}` first, or, if its targets may be asynchronous already, `netraid-ctl set \
                     {name} async-limit N`"
                )
            } else {
                format!("`netraid-ctl stop {name}` first")
            };
            Err(anyhow!(
                "cannot {action} {path}: mirror {name} is in service with it; {instead}"
            ))
        }
    }
}

/// A map with no bit set, or all of them; `None` where there are no maps.
fn map(file: &MetaFile, ones: bool) -> Option<Bitmap<Vec<u64>>> {
    let geometry = file.geometry()?;
    let mut bits = Bitmap::new(vec![0; geometry.words()], geometry.chunks())?;
    if ones {
        bits.set_all();
    }
    Some(bits)
}

/// Why there are no maps to change.
fn without_maps(target: &Target, action: &str, file: &MetaFile) -> String {
    let why = if file.superblock().flags.contains(MetaFlags::NO_BITMAP) {
        "the mirror was made without a bitmap, and every resync copies everything"
    } else {
        "the mirror has none yet, since this target was never connected to its source"
    };
    format!("cannot {action} {}: {why}", target.path.display())
}

fn carry_out(target: &Target, action: &str, change: impl FnOnce() -> Result<()>) -> Result<()> {
    change().with_context(|| format!("cannot {action} {}", target.path.display()))
}

/// Reads what was written, and shows it.
fn tell(target: &Target, what: &str, env: &mut Env<'_>) -> Result<()> {
    let finding = find(target, env)?;
    writeln!(env.out, "{what}.")?;
    if let Some(marks) = &finding.marks {
        writeln!(env.out, "{}", show::bitmap_line(marks))?;
    }
    Ok(())
}
