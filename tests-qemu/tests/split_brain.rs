// SPDX-License-Identifier: GPL-2.0
//! Both machines were in service at the same time: nothing is copied until somebody decides.

use anyhow::{ensure, Result};
use serde_json::Value;
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case, SOON},
    mirror::{refused, status, Mirror},
    persist::{
        self, chunks, copied, cut_power, differing, flag, metadata, stands, turned, up, write_chunks, CHUNK, SIZE,
    },
};

pub(crate) const CASES: &[Case] = &[
    case!(two_sources_that_meet_copy_nothing),
    case!(the_one_taken_out_of_service_gives_way_and_gets_the_marks_of_both).smoke(),
    case!(the_first_source_can_be_the_one_that_gives_way),
    case!(without_a_bitmap_the_one_that_gives_way_gets_everything),
    case!(a_dirtied_bitmap_gives_everything_to_the_one_that_gives_way),
    case!(resolve_keeps_either_side_from_any_state),
    case!(resolve_on_a_machine_that_is_a_target_already_gives_its_data_up),
    case!(a_split_brain_outlives_reboots_of_both),
    case!(a_machine_that_took_over_unasked_does_not_give_way_by_itself),
    case!(resolve_with_a_node_that_is_none_changes_nothing),
];

/// What the first one wrote, the second one, and both together; chunk 7 was written on both.
const FIRST: [u64; 3] = [5, 6, 7];
const SECOND: [u64; 4] = [7, 8, 900, 1023];
const UNION: u64 = 6;

/// Both become sources while the link is cut, both write, and the link is whole again.
fn parted<'a>(cluster: &'a Cluster, options: &str) -> Result<Mirror<'a>> {
    let mirror = persist::in_sync(cluster, options)?;
    let (eve, adam) = cluster.pair();
    if options == persist::MAPPED {
        persist::settled(eve)?;
    }
    let mut events = eve.events()?;
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    adam.ctl("promote data").ok()?;
    write_chunks(eve, &FIRST)?;
    write_chunks(adam, &SECOND)?;
    cluster.restore_links();
    events.wait_for("the discovery", SOON, |event| event["mirror"]["split_brain"] == true)?;
    persist::until("both to know", || flag(adam, "split_brain"))?;
    Ok(mirror)
}

/// Both know, both are in service, and neither took anything from the other.
fn nothing_flows(mirror: &Mirror<'_>) -> Result<()> {
    ensure!(differing(mirror)? == &chunks(&FIRST) | &chunks(&SECOND));
    for node in [mirror.source, mirror.target] {
        let state = status(node, "data")?;
        ensure!(
            state["role"] == "source" && state["split_brain"] == true && state["last_owner"] == true,
            "{state}"
        );
        let none = |name: &str| state["legs"][1][name].as_u64().unwrap_or(0);
        ensure!(state["legs"][1]["state"] != "fully-operational", "{state}");
        ensure!(none("resync_done") == none("resync_total"), "{state}");
        let shown = node.ctl("status data").ok()?;
        ensure!(shown.to_lowercase().contains("split"), "{shown}");
        ensure!(node.ctl("status --check").run()?.code == 3);
    }
    Ok(())
}

/// Covers: S97.
fn two_sources_that_meet_copy_nothing(cluster: &Cluster) -> Result<()> {
    let mirror = parted(cluster, persist::MAPPED)?;
    let (eve, adam) = cluster.pair();
    nothing_flows(&mirror)?;
    // Each goes on for its own users, and remembers.
    write_chunks(eve, &[6])?;
    write_chunks(adam, &[8])?;
    nothing_flows(&mirror)?;
    ensure!(*metadata(eve)?.dirty(0) == chunks(&FIRST));
    ensure!(*metadata(adam)?.dirty(0) == chunks(&SECOND));
    // Commands that would choose a side without saying so do not.
    for node in [eve, adam] {
        node.ctl("wait data --for connected --timeout 1").exits(4)?;
    }
    nothing_flows(&mirror)
}

/// `stop` and `up` on the one that gives way.
fn gives_way(node: &Node) -> Result<()> {
    node.ctl("stop data").ok()?;
    let state = status(node, "data")?;
    ensure!(state["yielded"] == true, "{state}");
    node.ctl("up data").ok()?;
    Ok(())
}

/// Covers: S97, S100.
fn the_one_taken_out_of_service_gives_way_and_gets_the_marks_of_both(cluster: &Cluster) -> Result<()> {
    let mirror = parted(cluster, persist::MAPPED)?;
    let (eve, adam) = cluster.pair();
    let kept = eve.disk("vdb")?.sha256(SIZE)?;
    let before = mirror.count("resynced_bytes")?;
    gives_way(adam)?;
    copied(&mirror, before, UNION * CHUNK)?;
    ensure!(eve.disk("vdb")?.sha256(SIZE)? == kept, "the kept side was written to");
    stands(eve, "source", &["last_owner"])?;
    stands(adam, "target", &[])
}

/// Covers: S97, S100.
fn the_first_source_can_be_the_one_that_gives_way(cluster: &Cluster) -> Result<()> {
    let mirror = parted(cluster, persist::MAPPED)?;
    let (eve, adam) = cluster.pair();
    let kept = adam.disk("vdb")?.sha256(SIZE)?;
    gives_way(eve)?;
    copied(&turned(&mirror), 0, UNION * CHUNK)?;
    ensure!(adam.disk("vdb")?.sha256(SIZE)? == kept, "the kept side was written to");
    stands(adam, "source", &["last_owner"])?;
    stands(eve, "target", &[])
}

/// Covers: S98.
fn without_a_bitmap_the_one_that_gives_way_gets_everything(cluster: &Cluster) -> Result<()> {
    let mirror = parted(cluster, "--bitmap none")?;
    nothing_flows(&mirror)?;
    let before = mirror.count("resynced_bytes")?;
    gives_way(cluster.node(1))?;
    copied(&mirror, before, SIZE)
}

/// Covers: S72, S99.
fn a_dirtied_bitmap_gives_everything_to_the_one_that_gives_way(cluster: &Cluster) -> Result<()> {
    let mirror = parted(cluster, "")?;
    let (eve, adam) = cluster.pair();
    // The original backup first.
    adam.ctl("stop data").ok()?;
    eve.ctl("stop data").ok()?;
    // A bitmap that the module still has is not touched.
    let file = "/var/lib/netraid/bitmap_data";
    eve.ctl(&format!("bitmap -d {file}")).ok()?;
    adam.ctl("up data").ok()?;
    ensure!(flag(adam, "yielded")? && status(adam, "data")?["role"] == "target");
    eve.ctl("start data").ok()?;
    copied(&mirror, 0, SIZE)?;
    stands(eve, "source", &["last_owner"])
}

/// Covers: S97, S100.
fn resolve_keeps_either_side_from_any_state(cluster: &Cluster) -> Result<()> {
    let mut mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    // Who is kept, what the other one is when it is told, and who is told first.
    for (kept, loser, state, loser_first) in [
        (eve, adam, "", true),
        (adam, eve, "", false),
        (eve, adam, "stop data", false),
        (adam, eve, "down data", true),
    ] {
        cluster.cut(eve, adam);
        mirror.wait("out-of-sync")?;
        mirror.target.ctl("promote data").ok()?;
        write_chunks(mirror.source, &FIRST)?;
        write_chunks(mirror.target, &SECOND)?;
        cluster.restore_links();
        for node in [eve, adam] {
            persist::until("both to know", || flag(node, "split_brain"))?;
        }
        if !state.is_empty() {
            loser.ctl(state).ok()?;
        }
        let content = kept.disk("vdb")?.sha256(SIZE)?;
        let resolve = format!("resolve data --keep {} --yes", kept.name());
        let order = if loser_first { [loser, kept] } else { [kept, loser] };
        for node in order {
            node.ctl(&resolve).ok()?;
        }
        mirror = Mirror {
            source: kept,
            target: loser,
            disk: "vdb",
        };
        mirror.wait("fully-operational")?;
        ensure!(mirror.leg()?["resync_full"] == false, "{}", mirror.leg()?);
        ensure!(kept.disk("vdb")?.sha256(SIZE)? == content);
        mirror.same_disks()?;
        stands(kept, "source", &["last_owner"])?;
        stands(loser, "target", &[])?;
    }
    Ok(())
}

/// Covers: S97, S100.
fn resolve_on_a_machine_that_is_a_target_already_gives_its_data_up(cluster: &Cluster) -> Result<()> {
    let mirror = parted(cluster, persist::MAPPED)?;
    let (eve, adam) = cluster.pair();
    let mut events = eve.events()?;
    adam.ctl("demote data").ok()?;
    ensure!(status(adam, "data")?["role"] == "target" && !flag(adam, "yielded")?);
    // The source comes, and still nobody has said which data is right.
    events.wait_for("the source to be refused", SOON, |event| event["event"] == "refused")?;
    ensure!(differing(&mirror)? == &chunks(&FIRST) | &chunks(&SECOND));
    let before = mirror.count("resynced_bytes")?;
    adam.ctl("resolve data --keep eve --yes").ok()?;
    copied(&mirror, before, UNION * CHUNK)?;
    stands(eve, "source", &["last_owner"])?;
    stands(adam, "target", &[])
}

/// Covers: S97.
fn a_split_brain_outlives_reboots_of_both(cluster: &Cluster) -> Result<()> {
    let mirror = parted(cluster, persist::MAPPED)?;
    let (eve, adam) = cluster.pair();
    cut_power(cluster)?;
    cluster.on_all(persist::boot)?;
    for node in [adam, eve, adam] {
        let output = up(node)?;
        ensure!(output.code == 2 && output.stderr.contains("resolve"), "{output:?}");
        ensure!(flag(node, "split_brain")?, "{}", status(node, "data")?);
        node.sh("test ! -e /dev/netraid0").ok()?;
        refused(node, "start data", &["resolve"])?;
    }
    ensure!(differing(&mirror)?.len() == 6);
    // One word on each ends it.
    for node in [eve, adam] {
        node.ctl("resolve data --keep adam --yes").ok()?;
    }
    copied(&turned(&mirror), 0, UNION * CHUNK)
}

/// The two never met as sources, for the second one lost power before the link was whole again.
///
/// Covers: S97.
fn a_machine_that_took_over_unasked_does_not_give_way_by_itself(cluster: &Cluster) -> Result<()> {
    let mirror = persist::mapped(cluster)?;
    let (eve, adam) = cluster.pair();
    cluster.cut(eve, adam);
    mirror.wait("out-of-sync")?;
    adam.ctl("promote data").ok()?;
    write_chunks(eve, &FIRST)?;
    write_chunks(adam, &SECOND)?;
    adam.kill9()?;
    cluster.restore_links();
    persist::boot(adam)?;
    let output = up(adam)?;
    ensure!(output.code == 2 && output.stderr.contains("resolve"), "{output:?}");
    ensure!(flag(adam, "split_brain")?);
    adam.sh("test ! -e /dev/netraid0").ok()?;
    ensure!(differing(&mirror)? == &chunks(&FIRST) | &chunks(&SECOND));
    // What an operator gives up goes.
    adam.ctl("resolve data --keep eve --yes").ok()?;
    copied(&mirror, SIZE, UNION * CHUNK)?;
    stands(adam, "target", &[])
}

/// Covers: S97.
fn resolve_with_a_node_that_is_none_changes_nothing(cluster: &Cluster) -> Result<()> {
    let mirror = parted(cluster, persist::MAPPED)?;
    let (eve, adam) = cluster.pair();
    let before: Vec<Value> = vec![
        status(eve, "data")?["generation"].clone(),
        status(adam, "data")?["generation"].clone(),
    ];
    for node in [eve, adam] {
        refused(node, "resolve data --keep abel --yes", &["abel", "eve", "adam"])?;
        refused(node, "resolve other --keep eve --yes", &["other"])?;
        node.ctl("resolve data --yes").exits(1)?;
    }
    // Without --yes nobody gives anything up.
    ensure!(adam.ctl("resolve data --keep eve").run()?.code != 0);
    nothing_flows(&mirror)?;
    let after: Vec<Value> = vec![
        status(eve, "data")?["generation"].clone(),
        status(adam, "data")?["generation"].clone(),
    ];
    ensure!(before == after, "{before:?} {after:?}");
    Ok(())
}
