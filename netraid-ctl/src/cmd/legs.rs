// SPDX-License-Identifier: GPL-2.0
//! Which legs a command means.

use anyhow::{anyhow, Result};

use crate::model::{Leg, Mirror};

/// The leg of that number, or all.
///
/// # Errors
///
/// When the mirror has no such leg, or none at all.
pub(super) fn chosen(mirror: &Mirror, leg: Option<u32>, action: &str) -> Result<Vec<Leg>> {
    let name = &mirror.name;
    if mirror.legs.is_empty() {
        return Err(anyhow!(
            "cannot {action}: mirror {name} has no target; `netraid-ctl extend {name} --to ADDR` adds one"
        ));
    }
    let wanted = |id| leg.is_none_or(|leg| leg == id);
    let legs: Vec<Leg> = mirror.legs.iter().filter(|known| wanted(known.id)).cloned().collect();
    if legs.is_empty() {
        return Err(anyhow!(
            "cannot {action}: mirror {name} has no such leg, it has {}; `netraid-ctl status {name} --detail` lists them",
            list(&mirror.legs)
        ));
    }
    Ok(legs)
}

/// The leg of that number, or the only one.
///
/// # Errors
///
/// As [`chosen`], and when there are several to choose from.
pub(super) fn only(mirror: &Mirror, leg: Option<u32>, action: &str) -> Result<Leg> {
    let legs = chosen(mirror, leg, action)?;
    match <[Leg; 1]>::try_from(legs) {
        Ok([leg]) => Ok(leg),
        Err(legs) => Err(anyhow!(
            "cannot {action}: mirror {} has {}; say --leg N",
            mirror.name,
            list(&legs)
        )),
    }
}

fn list(legs: &[Leg]) -> String {
    let all: Vec<String> = legs
        .iter()
        .map(|leg| format!("leg {} ({})", leg.id, leg.peer()))
        .collect();
    all.join(", ")
}
