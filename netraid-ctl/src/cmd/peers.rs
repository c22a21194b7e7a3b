// SPDX-License-Identifier: GPL-2.0
//! The other machines of a mirror, also where the kernel does not show them: out of service there are no legs, and
//! the metadata is read instead, which the kernel has let go of.

use std::path::Path;
use std::time::Duration;

use crate::meta::{Access, MetaFile};
use crate::model::{Leg, Mirror};

/// The other machines of a mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Peers {
    /// Their names, as far as they are known.
    pub(super) names: Vec<String>,
    /// How long all of them may take to answer, one after the other.
    pub(super) patience: Duration,
}

impl Peers {
    /// Those of a mirror.
    pub(super) fn of(mirror: &Mirror) -> Self {
        let legs = || Self {
            names: mirror
                .legs
                .iter()
                .filter_map(Leg::peer_name)
                .map(str::to_owned)
                .collect(),
            patience: milliseconds(mirror.legs.iter().filter_map(|leg| leg.told.timeout_ms)),
        };
        if mirror.legs.is_empty() {
            // What cannot be read now is not known; the commands can do without.
            Self::remembered(mirror).unwrap_or_default()
        } else {
            legs()
        }
    }

    fn remembered(mirror: &Mirror) -> Option<Self> {
        let told = &mirror.told;
        let path = if told.meta_internal {
            told.disk.as_deref()
        } else {
            told.meta_path.as_deref()
        };
        let metadata = MetaFile::open(Path::new(path?), told.meta_internal, Access::Read).ok()?;
        let known: Vec<_> = metadata
            .superblock()
            .peers
            .iter()
            .filter(|peer| !peer.is_free())
            .collect();
        let named = known.iter().filter(|peer| !peer.name.is_empty());
        Some(Self {
            names: named.map(|peer| peer.name.as_str().to_owned()).collect(),
            patience: milliseconds(known.iter().map(|peer| peer.timeout_ms)),
        })
    }
}

fn milliseconds(all: impl Iterator<Item = u32>) -> Duration {
    Duration::from_millis(all.map(u64::from).sum())
}
