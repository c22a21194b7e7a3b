// SPDX-License-Identifier: GPL-2.0

//! What is told of a history.

use super::node::Active;
use super::world::{node_name, World};

impl World {
    /// All marks in a few words, for a trace.
    pub(crate) fn trace(&self) -> String {
        let words = self.nodes.iter().enumerate().map(|(node, it)| {
            let volume = match &it.active {
                Active::Source(source) => {
                    let v = &source.volume;
                    format!(
                        "{:?} live {} intent {:x} dirty {:x} {:?} {:?} round {:?}",
                        source.leg.as_ref().map(|leg| leg.machine.state()),
                        v.live,
                        v.intent(),
                        v.dirty(),
                        v.step,
                        v.requests
                            .iter()
                            .map(|it| (it.work, it.origin, it.local.is_some(), it.remote))
                            .collect::<Vec<_>>(),
                        v.round,
                    )
                }
                Active::Target(target) => format!(
                    "in sync {} warm {} pending {} own {:?}",
                    target.in_sync,
                    target.warm,
                    target.pending.len(),
                    target.paused.as_ref().map(|it| it.volume.dirty() | it.volume.intent())
                ),
                Active::Stopped => "stopped".to_owned(),
            };
            let sb = it.meta.sb();
            format!(
                "  {}: {}/{} {:?} kept {:x} {:x} volatile {:x} op {:?} {volume}",
                node_name(node),
                sb.current,
                sb.peers[0].base,
                sb.flags.words().collect::<Vec<_>>(),
                it.meta.map(super::meta::Which::Intent),
                it.meta.map(super::meta::Which::Dirty),
                it.disk.volatile(),
                it.op,
            )
        });
        words.collect::<Vec<_>>().join("\n")
    }

    /// All machines in a few words, for a report.
    pub(crate) fn describe(&self) -> String {
        let words = self.nodes.iter().enumerate().map(|(node, it)| {
            let sb = it.meta.sb();
            let leg = match &it.active {
                Active::Source(source) => source.leg.as_ref().map(|leg| leg.machine.state()),
                Active::Target(_) | Active::Stopped => None,
            };
            format!(
                "{}: {:?} {leg:?} refused {:?} op {:?} generation {} base {} history {:?} port {} flags {:?}",
                node_name(node),
                it.role(),
                it.refused,
                it.op,
                sb.current,
                sb.peers[0].base,
                sb.history,
                sb.peers[0].port,
                sb.flags.words().collect::<Vec<_>>(),
            )
        });
        words.collect::<Vec<_>>().join("; ")
    }
}
