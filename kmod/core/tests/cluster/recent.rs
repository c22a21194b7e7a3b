// SPDX-License-Identifier: GPL-2.0

//! What targets were sent of late: what a source tells them of it, and what one that becomes source makes of it.

use crate::cluster::{Cluster, Step};
use crate::disk::CHUNKS;
use crate::mistake::Mistake;
use crate::node::Node;
use crate::request::Origin;
use crate::store::{PowerCut, Store};
use crate::volume::{self, Volume};
use netraid_core::bitmap::{words_for, Bitmap};
use netraid_core::legs::{LegNumber, LegSet};
use netraid_core::meta::PeerFlags;
use netraid_core::recent::{may_settle, Recent, Standing};
use netraid_core::wire::{Id, Kind};

/// What a target of the simulation was sent of late.
pub type RecentMap = Recent<Vec<u64>>;

fn remembers_nothing() -> RecentMap {
    let map = || Bitmap::new(vec![0; words_for(CHUNKS as u64)], CHUNKS as u64).unwrap();
    Recent::new(map(), map())
}

impl Volume {
    /// Has the legs in step told what is settled, where that is known. `following`: those that may have been told of the
    /// present generation although an older one is on record.
    pub fn tell_settled(&mut self, following: LegSet) {
        if self.is_unsettled() || self.recording.is_some() || self.others != volume::Step::Apart {
            return;
        }
        let legs = LegNumber::all().filter_map(|leg| Some((leg, self.leg(leg)?)));
        let standing = |(leg, remote): (LegNumber, &crate::remote::Remote)| Standing {
            in_step: remote.live && remote.in_step,
            is_behind: self.steps[leg.index()] == volume::Step::Apart && !following.contains(leg),
        };
        if !may_settle(legs.map(standing)) && self.mistake != Some(Mistake::SettlesUnknown) {
            return;
        }
        let under_way = self.requests.iter().filter(|it| it.origin == Origin::Application);
        let oldest = under_way.map(|it| it.number).min();
        let oldest = oldest.filter(|_| self.mistake != Some(Mistake::SettlesEarly));
        let entered = self.entered;
        let due = self.those(|remote| remote.live && remote.in_step && remote.marker.is_due(entered, oldest));
        for leg in due.iter() {
            self.leg_mut(leg).say(Kind::Settled);
        }
    }

    /// The targets of these legs miss at most what is marked, if they hold what this machine holds, and what they were sent
    /// of late.
    pub fn rely_on_recent(&mut self, legs: LegSet, store: &mut Store) -> Result<(), PowerCut> {
        for leg in legs.iter() {
            self.steps[leg.index()] = volume::Step::Apart;
        }
        store.change(|sb| {
            let current = sb.current;
            for leg in legs.iter() {
                let peer = &mut sb.peers[leg.index()];
                peer.base = current;
                peer.flags = peer.flags.without(PeerFlags::UNKNOWN).with(PeerFlags::RECENT, true);
            }
        })
    }
}

impl Node {
    /// What a target was sent of late, for a source that needs to know.
    pub fn recent_for(&self, source: &Id) -> Option<u64> {
        let recent = self.as_target()?.recent.as_ref()?;
        recent.is_news_for(source).then(|| recent.word(0))
    }
}

impl Cluster {
    /// The rounds of a source: what is settled meanwhile.
    pub fn tell_settled(&mut self, node: usize) -> Step<()> {
        let following = |peer: &netraid_core::meta::Peer| peer.flags.contains(PeerFlags::FOLLOWING);
        let peers = LegNumber::all().zip(self.sb(node).peers);
        let following = peers.filter(|(_, peer)| following(peer)).map(|(leg, _)| leg).collect();
        if let Some(source) = self.nodes[node].source() {
            source.volume.tell_settled(following);
        }
        Ok(())
    }

    /// A target goes on remembering what it is sent, or begins to.
    pub fn remember(&mut self, node: usize) {
        if let Some(target) = self.nodes[node].target() {
            target.recent.get_or_insert_with(remembers_nothing).connect();
        }
    }
}
