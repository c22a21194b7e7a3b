// SPDX-License-Identifier: GPL-2.0
//! A source whose target is no target, or a bad one: the leg says so, tries again less and less
//! often, and the mirror is in service all the while.

use anyhow::{ensure, Context as _, Result};
use serde_json::Value;
use tests_qemu::{workload::Plan, Cluster, Events, Job, Node, Workload, MIB};

use crate::{
    harness::{case, Case, SOON},
    mirror::{self, QUICK},
};

pub(crate) const CASES: &[Case] = &[
    case!(a_host_on_which_nobody_listens_is_tried_ever_more_rarely_and_found_in_the_end).smoke(),
    case!(a_host_that_swallows_packets_is_given_up_and_found_when_it_answers),
    case!(a_host_to_which_there_is_no_way_is_named),
    case!(whatever_is_no_netraid_target_is_named_as_such).smoke(),
    case!(a_target_of_another_protocol_version_is_refused_naming_both_versions),
    case!(a_peer_that_closes_or_is_silent_is_given_up),
    case!(a_target_that_accepts_and_promises_nonsense_is_refused),
    case!(a_target_that_confirms_what_was_never_sent_is_given_up),
    case!(a_refusal_of_a_later_version_or_with_a_bad_text_is_shown_in_our_own_words),
];

/// First byte and length of a piece of the disk that no test here writes to.
const KEPT: (u64, u64) = (32 * MIB, MIB);

/// A mirror on the first machine whose target is played by a program on the second.
struct Play<'a> {
    source: &'a Node,
    events: Events,
    kept: Vec<u8>,
    // Runs as long as the play.
    _program: Job,
}

impl<'a> Play<'a> {
    /// Begins; the parts are functions of fake/target.py, each on a port of its own from 7901 on.
    fn begin(cluster: &'a Cluster, parts: &[&str]) -> Result<Self> {
        let (source, host) = cluster.pair();
        host.write_file("/tmp/wire.py", include_bytes!("fake/wire.py"), 0o644)?;
        host.write_file("/tmp/target.py", include_bytes!("fake/target.py"), 0o644)?;
        let script = format!("exec python3 -B /tmp/target.py {}", parts.join(" "));
        let mut program = host.sh(&script).spawn()?;
        let said = program.line(SOON)?;
        ensure!(said.as_deref() == Some("up"), "{said:?} {:?}", program.wait(SOON));
        let (events, kept) = create(source)?;
        Ok(Self {
            source,
            events,
            kept,
            _program: program,
        })
    }

    /// Extends the mirror to `part`, waits until its leg says `reason`, and takes the leg away.
    fn says(&mut self, host: &Node, port: u16, kind: &str, reason: &str) -> Result<()> {
        let to = format!("{}:{port}", host.ip());
        extend(self.source, &to)?;
        let what = format!("{kind} with {reason:?} from {to}");
        let event = self.events.wait_for(&what, SOON, |event| {
            event["event"] == kind && text(&event["reason"]).contains(reason)
        })?;
        let at = if kind == "refused" {
            &["waiting", "connecting", "handshake"][..]
        } else {
            &["waiting"]
        };
        // The mirror in the event is as it was right after, when the next attempt may have begun.
        let leg = &event["mirror"]["legs"][1];
        ensure!(leg["state"] == "out-of-sync", "{event}");
        ensure!(
            at.contains(&text(&leg["connection"])) || leg["attempts"] != 1,
            "{event}"
        );
        // An attempt that is under way has no word in the matter.
        let status = mirror::status(self.source, "data")?;
        ensure!(text(&status["legs"][1]["reason"]).contains(reason), "{status}");
        self.source.ctl("unextend data").ok()?;
        Ok(())
    }

    /// Ends: the mirror takes writes, and nothing else on its disk has changed.
    fn end(self) -> Result<()> {
        still_good(self.source, &self.kept)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A mirror of a disk with something on it.
fn create(source: &Node) -> Result<(Events, Vec<u8>)> {
    let (at, length) = KEPT;
    source
        .sh("dd if=/dev/urandom of=/dev/vdb bs=1M count=1 seek=32 conv=fsync status=none")
        .ok()?;
    source.ctl("create data --disk /dev/vdb").ok()?;
    Ok((source.events()?, source.disk("vdb")?.read(at, length)?))
}

fn extend(source: &Node, to: &str) -> Result<()> {
    source.ctl(&format!("extend data --to {to} --yes {QUICK}")).ok()?;
    Ok(())
}

fn still_good(source: &Node, kept: &[u8]) -> Result<()> {
    let mut workload = Workload::start(source, "/dev/netraid0", Plan::new(7, 1024).count(50))?;
    workload.finish(SOON)?;
    let disk = source.disk("vdb")?;
    let verdict = workload.judge_disk(disk)?;
    ensure!(verdict.good(), "{verdict:?}");
    ensure!(
        disk.read(KEPT.0, KEPT.1)? == kept,
        "the disk of the source was written to"
    );
    Ok(())
}

/// Waits for an event after which the leg waits so long for the next attempt.
fn waits(events: &mut Events, least: u64, most: u64) -> Result<Value> {
    let what = format!("a wait of {least} to {most} ms for the next attempt");
    events.wait_for(&what, SOON, |event| {
        let ms = event["mirror"]["legs"][1]["retry_ms"].as_u64();
        event["event"] == "leg-changed" && ms.is_some_and(|ms| (least..=most).contains(&ms))
    })
}

/// Covers: S104.
fn a_host_on_which_nobody_listens_is_tried_ever_more_rarely_and_found_in_the_end(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let (mut events, kept) = create(eve)?;
    extend(eve, &adam.ip())?;
    let sentence = "nobody listens on 10.77.0.2:7900; let mirror data be joined there with `netraid-ctl join`";
    events.wait_for(sentence, SOON, |event| event["reason"] == sentence)?;
    // From 100 ms each wait is twice the one before, give or take a quarter.
    for base in [400, 800, 1600] {
        let event = waits(&mut events, base / 2, base * 5 / 4)?;
        ensure!(event["mirror"]["legs"][1]["state"] == "out-of-sync", "{event}");
    }
    let all = || {
        events
            .seen()
            .iter()
            .filter_map(|event| event["mirror"]["legs"][1]["retry_ms"].as_u64())
    };
    ensure!(
        all().min().is_some_and(|ms| ms <= 125),
        "it waits long from the beginning"
    );
    ensure!(all().max().is_some_and(|ms| ms <= 2000), "it waits too long too soon");
    still_good(eve, &kept)?;
    adam.ctl("join data --disk /dev/vdb --yes").ok()?;
    eve.ctl("wait data --for fully-operational --timeout 60").ok()?;
    let status = mirror::status(eve, "data")?;
    ensure!(
        status["legs"][1]["attempts"] == 0 && status["legs"][1]["reason"].is_null(),
        "{status}"
    );
    let one = eve.disk("vdb")?;
    ensure!(one.differences(adam.disk("vdb")?, one.size(), 65536)?.is_empty());
    Ok(())
}

/// Covers: S104.
fn a_host_that_swallows_packets_is_given_up_and_found_when_it_answers(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let (mut events, kept) = create(eve)?;
    adam.ctl("join data --disk /dev/vdb --yes").ok()?;
    let way = cluster.network().way(0, 1);
    way.filter(|packet| packet.ports().is_none_or(|(_, to)| to != 7900));
    extend(eve, &adam.ip())?;
    let sentence = "no answer from 10.77.0.2:7900; check the network and its firewalls";
    let event = events.wait_for(sentence, SOON, |event| event["reason"] == sentence)?;
    ensure!(event["mirror"]["legs"][1]["state"] == "out-of-sync", "{event}");
    still_good(eve, &kept)?;
    let there = mirror::status(adam, "data")?;
    ensure!(there["legs"][1]["connects"] == 0, "{there}");
    way.restore();
    eve.ctl("wait data --for fully-operational --timeout 60").ok()?;
    Ok(())
}

/// Covers: S104.
fn a_host_to_which_there_is_no_way_is_named(cluster: &Cluster) -> Result<()> {
    let eve = cluster.node(0);
    let (mut events, kept) = create(eve)?;
    for to in ["192.0.2.1:7901", "[2001:db8::1]:7901"] {
        extend(eve, to)?;
        let sentence = format!("there is no way to {to}; check address and routes");
        events.wait_for(&sentence, SOON, |event| event["reason"] == sentence.as_str())?;
        let output = eve.ctl("wait data --for fully-operational --timeout 0.1").exits(4)?;
        ensure!(output.stderr.contains(&sentence), "{output:?}");
        eve.ctl("unextend data").ok()?;
    }
    still_good(eve, &kept)
}

/// Covers: S104.
fn whatever_is_no_netraid_target_is_named_as_such(cluster: &Cluster) -> Result<()> {
    let parts = ["noise", "http", "huge", "damaged", "out_of_turn"];
    let stranger = "does not answer as a netraid target: the other side does not speak the netraid protocol; check \
                    the address and the port";
    let reasons = [
        ("refused", stranger),
        ("refused", stranger),
        (
            "refused",
            "announced a Welcome message of 4294967295 bytes, more than any can have",
        ),
        // That may be the network's fault, and is tried again soon.
        (
            "leg-changed",
            "a message header was damaged on its way; if this happens again, check the network",
        ),
        ("refused", "the other side sent a message out of turn (Ack)"),
    ];
    let mut play = Play::begin(cluster, &parts)?;
    for (port, (kind, reason)) in (7901..).zip(reasons) {
        play.says(cluster.node(1), port, kind, reason)?;
    }
    play.end()
}

/// Covers: S121.
fn a_target_of_another_protocol_version_is_refused_naming_both_versions(cluster: &Cluster) -> Result<()> {
    let mut play = Play::begin(cluster, &["version"])?;
    extend(play.source, "adam:7901")?;
    let sentence = "10.77.0.2:7901 does not answer as a netraid target: the other side speaks version 2 of the \
                    netraid protocol, this one 1; load modules that speak the same version on both";
    let refused = |event: &Value| event["event"] == "refused" && event["reason"] == sentence;
    play.events
        .wait_for("a refusal that names both versions", SOON, refused)?;
    // Only an operator can help here, so the next attempts are rare.
    waits(&mut play.events, 1000, 2500)?;
    play.events.wait_for("a second refusal", SOON, refused)?;
    waits(&mut play.events, 2500, 5000)?;
    let status = mirror::status(play.source, "data")?;
    ensure!(
        status["legs"][1]["reason"] == sentence && status["legs"][1]["connects"] == 0,
        "{status}"
    );
    play.end()
}

/// Covers: S104.
fn a_peer_that_closes_or_is_silent_is_given_up(cluster: &Cluster) -> Result<()> {
    let mut play = Play::begin(cluster, &["truncated", "silence"])?;
    let adam = cluster.node(1);
    let closed = "greeting 10.77.0.2:7901 failed: the other side closed the connection";
    play.says(adam, 7901, "leg-changed", closed)?;
    play.says(
        adam,
        7902,
        "leg-changed",
        &format!("greeting 10.77.0.2:7902 failed: {}", mirror::unheard()),
    )?;
    play.end()
}

/// Covers: S117, S121.
fn a_target_that_accepts_and_promises_nonsense_is_refused(cluster: &Cluster) -> Result<()> {
    let mut play = Play::begin(cluster, &["zeroes", "small", "features"])?;
    let reasons = [
        "the answer of 10.77.0.2:7901 makes no sense; compare the versions of netraid on both machines",
        "smaller than the mirror; give the target a larger disk",
        "the answer of 10.77.0.2:7903 makes no sense; compare the versions of netraid on both machines",
    ];
    for (port, reason) in (7901..).zip(reasons) {
        play.says(cluster.node(1), port, "refused", reason)?;
    }
    play.end()
}

/// Covers: S104.
fn a_target_that_confirms_what_was_never_sent_is_given_up(cluster: &Cluster) -> Result<()> {
    let mut play = Play::begin(cluster, &["never_sent"])?;
    extend(play.source, "adam:7901")?;
    let sentence = "adam confirmed something that was not sent; compare the versions of netraid on both machines";
    // It greets well each time, and is tried ever more rarely all the same.
    for base in [100, 200, 400, 800] {
        let event = waits(&mut play.events, base / 2, base * 5 / 4)?;
        ensure!(event["reason"] == sentence, "{event}");
    }
    let status = mirror::status(play.source, "data")?;
    let dirty = status["legs"][1]["dirty_chunks"].as_u64().context("dirty chunks")?;
    ensure!(dirty == 1024, "what was confirmed so counts for nothing: {status}");
    play.source.ctl("unextend data").ok()?;
    play.end()
}

/// Covers: S104.
fn a_refusal_of_a_later_version_or_with_a_bad_text_is_shown_in_our_own_words(cluster: &Cluster) -> Result<()> {
    let mut play = Play::begin(cluster, &["later", "escape"])?;
    let adam = cluster.node(1);
    play.says(
        adam,
        7901,
        "refused",
        "the target refused for a reason unknown here (4711)",
    )?;
    let escape = "sent a Refuse message with a bad text: the text contains a control character";
    play.says(adam, 7902, "refused", escape)?;
    play.end()
}
