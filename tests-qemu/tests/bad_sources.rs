// SPDX-License-Identifier: GPL-2.0
//! A target on whose port somebody else talks, or a source that does not keep to the protocol:
//! they are refused or cut off, the disk is not touched, and the real source gets in afterwards.

use anyhow::{ensure, Context as _, Result};
use serde_json::{json, Value};
use tests_qemu::{workload::Plan, Cluster, Events, Job, Node, Workload, MIB};

use crate::{
    harness::{case, Case, SOON},
    mirror::{self, unheard, Mirror, QUICK},
};

pub(crate) const CASES: &[Case] = &[
    case!(whatever_is_no_greeting_is_refused_and_the_source_gets_in_afterwards).smoke(),
    case!(a_source_of_another_protocol_version_is_told_both_versions),
    case!(greetings_that_make_no_sense_are_refused),
    case!(a_greeting_for_another_mirror_or_a_larger_one_is_refused),
    case!(messages_that_break_the_protocol_end_the_connection_and_write_nothing)
        .smoke()
        .debug(),
    case!(a_source_that_stops_in_the_middle_of_a_write_is_given_up),
    case!(a_flood_of_heartbeats_does_not_keep_a_write_from_its_place),
    case!(a_source_that_greets_a_byte_at_a_time_keeps_the_real_one_waiting_only_for_seconds),
    case!(many_strangers_at_once_do_not_keep_the_source_out),
    case!(a_target_that_is_taken_names_its_holder_and_goes_on).three(),
];

const OTHER_VERSION: u32 = 1;
const OTHER_MIRROR: u32 = 2;
const OTHER_UUID: u32 = 3;
const TAKEN: u32 = 4;
const TOO_SMALL: u32 = 5;
const MALFORMED: u32 = 11;

/// Where fake/source.py puts its one lawful write, and how long that is.
const LAWFUL: (u64, usize) = (MIB, 4096);

/// A mirror made on both machines and not extended, so that others can talk to the target first.
struct Stage<'a> {
    mirror: Mirror<'a>,
    events: Events,
    identities: Value,
}

impl<'a> Stage<'a> {
    fn begin(cluster: &'a Cluster) -> Result<Self> {
        let (source, target) = cluster.pair();
        source.sh("head -c 1M /dev/urandom > /dev/vdb && sync").ok()?;
        let mirror = Mirror::create_on(source, target, "vdb", "", QUICK)?;
        let (events, identities) = (target.events()?, identities(source)?);
        Ok(Self {
            mirror,
            events,
            identities,
        })
    }

    /// Lets parts of fake/source.py talk to the target.
    fn play(&self, parts: &[&str]) -> Result<Job> {
        play(self.mirror.source, self.mirror.target, &self.identities, parts)
    }

    /// Waits until the target tells of a `kind` with `reason`.
    fn target_says(&mut self, kind: &str, reason: &str) -> Result<Value> {
        self.events.wait_for(&format!("{kind} with {reason:?}"), SOON, |event| {
            event["event"] == kind && event["reason"].as_str().is_some_and(|text| text.contains(reason))
        })
    }

    /// The target's disk holds nothing but what was lawful.
    fn untouched(&self, lawful: Option<u8>) -> Result<()> {
        let disk = self.mirror.target.disk("vdb")?;
        let mut bytes = disk.read(0, disk.size())?;
        if let Some(byte) = lawful {
            let at = usize::try_from(LAWFUL.0)?;
            let place = bytes.splice(at..at + LAWFUL.1, [0; LAWFUL.1]);
            ensure!(place.eq([byte; LAWFUL.1]), "the lawful write is not there");
        }
        ensure!(bytes.iter().all(|&byte| byte == 0), "the target's disk was written to");
        Ok(())
    }

    /// The real source gets in, and everything is copied.
    fn real_source_gets_in(&self) -> Result<()> {
        self.mirror.extend()?;
        self.mirror.wait("fully-operational")?;
        let mut workload = Workload::start(self.mirror.source, "/dev/netraid0", Plan::new(3, 512).count(50))?;
        workload.finish(SOON)?;
        self.mirror.same_disks()
    }
}

/// Who a source is, for whoever wants to pass for it.
fn identities(source: &Node) -> Result<Value> {
    let status = mirror::status(source, "data")?;
    let [mirror, node] = ["uuid", "node_uuid"].map(|key| status[key].clone());
    ensure!(mirror.is_string() && node.is_string(), "{status}");
    Ok(json!({ "mirror_uuid": mirror, "node_uuid": node }))
}

fn play(from: &Node, to: &Node, identities: &Value, parts: &[&str]) -> Result<Job> {
    from.write_file("/tmp/wire.py", include_bytes!("fake/wire.py"), 0o644)?;
    from.write_file("/tmp/source.py", include_bytes!("fake/source.py"), 0o644)?;
    let (address, identities) = (to.ip(), identities.to_string());
    let program = ["python3", "-B", "/tmp/source.py", &address, &identities];
    from.command(&[&program, parts].concat()).spawn()
}

/// How the next part ended.
fn ended(program: &mut Job, part: &str) -> Result<Value> {
    let line = program.line(SOON)?;
    let end: Option<Value> = line.as_deref().and_then(|line| serde_json::from_str(line).ok());
    let end = end.filter(|end| end["part"] == part);
    end.with_context(|| format!("expected the end of {part}, got {line:?} {:?}", program.wait(SOON)))
}

fn is_refused(program: &mut Job, part: &str, code: u32, reason: &str) -> Result<()> {
    let end = ended(program, part)?;
    ensure!(
        end["end"] == "refused"
            && end["code"] == code
            && end["reason"].as_str().is_some_and(|text| text.contains(reason)),
        "expected a refusal {code} with {reason:?}: {end}"
    );
    Ok(())
}

/// Covers: S104.
fn whatever_is_no_greeting_is_refused_and_the_source_gets_in_afterwards(cluster: &Cluster) -> Result<()> {
    let refused = [
        ("noise", "the other side does not speak the netraid protocol"),
        ("http", "the other side does not speak the netraid protocol"),
        ("huge", "a Hello message of 4294967295 bytes, more than any can have"),
        ("damaged", "a message header was damaged on its way"),
        ("write_first", "a message out of turn (Write)"),
        ("name_length", "a Hello message with a bad text: the text is too long"),
        (
            "escape",
            "a Hello message with a bad text: the text contains a control character",
        ),
    ];
    let mut stage = Stage::begin(cluster)?;
    let parts: Vec<_> = refused.iter().map(|(part, _)| *part).chain(["truncated"]).collect();
    let mut program = stage.play(&parts)?;
    for (part, reason) in refused {
        is_refused(&mut program, part, MALFORMED, reason)?;
        let event = stage.target_says("refused", reason)?;
        ensure!(
            event["reason"].as_str().is_some_and(|text| text.contains("10.77.0.1")),
            "{event}"
        );
    }
    let end = ended(&mut program, "truncated")?;
    ensure!(end["end"] == "closed" && end["seen"] == json!([]), "{end}");
    stage.target_says(
        "refused",
        "ended without a greeting: the other side closed the connection",
    )?;
    stage.untouched(None)?;
    stage.real_source_gets_in()
}

/// Covers: S121.
fn a_source_of_another_protocol_version_is_told_both_versions(cluster: &Cluster) -> Result<()> {
    let mut stage = Stage::begin(cluster)?;
    let sentence = "the other side speaks version 2 of the netraid protocol, this one 1; load modules that speak the \
                    same version on both";
    is_refused(&mut stage.play(&["version"])?, "version", OTHER_VERSION, sentence)?;
    stage.target_says("refused", sentence)?;
    stage.untouched(None)
}

/// Covers: S104.
fn greetings_that_make_no_sense_are_refused(cluster: &Cluster) -> Result<()> {
    let refused = [
        ("no_identity", "an identity"),
        ("no_instance", "an instance"),
        ("bad_name", "a name"),
        ("no_size", "a size"),
        ("odd_size", "a size"),
        ("odd_chunk", "a size"),
        ("odd_block", "a block size"),
        ("never_beats", "a heartbeat or timeout"),
        ("tiny_payload", "a message limit"),
    ];
    let mut stage = Stage::begin(cluster)?;
    let mut program = stage.play(&refused.map(|(part, _)| part))?;
    for (part, what) in refused {
        let sentence = format!("the source sent {what} to adam that no mirror can have; compare the versions");
        is_refused(&mut program, part, MALFORMED, &sentence)?;
        stage.target_says("refused", &sentence)?;
    }
    let status = mirror::status(stage.mirror.target, "data")?;
    ensure!(
        status["uuid"].is_null() && status["legs"][1]["connects"] == 0,
        "{status}"
    );
    stage.untouched(None)
}

/// Covers: S117.
fn a_greeting_for_another_mirror_or_a_larger_one_is_refused(cluster: &Cluster) -> Result<()> {
    let mut stage = Stage::begin(cluster)?;
    let refused = [
        (
            "other_name",
            OTHER_MIRROR,
            "adam serves mirror data here, not home; check the name and the port",
        ),
        (
            "too_large",
            TOO_SMALL,
            "the disk on adam has 67108864 bytes, mirror data has 67109376; give adam a disk of at least that size",
        ),
    ];
    let mut program = stage.play(&refused.map(|(part, _, _)| part))?;
    for (part, code, sentence) in refused {
        is_refused(&mut program, part, code, sentence)?;
        stage.target_says("refused", sentence)?;
    }
    stage.untouched(None)?;
    stage.real_source_gets_in()
}

/// Covers: S104.
fn messages_that_break_the_protocol_end_the_connection_and_write_nothing(cluster: &Cluster) -> Result<()> {
    let broken = [
        ("small_mirror", "for 512 at 33554432, beyond the end at 33554432"),
        ("beyond_end", "for 4096 at 67108352, beyond the end at 67108864"),
        (
            "wraps_around",
            "for 4096 at 18446744073709551104, beyond the end at 67108864",
        ),
        ("discard_beyond", "for 67108864 at 512, beyond the end at 67108864"),
        (
            "huge_write",
            "a Write message of 4294966784 bytes, more than any can have",
        ),
        ("long_span", "a Write message of 512 bytes, which is no length for it"),
        (
            "unaligned",
            "a Write message for 512 bytes at 100, which are not whole sectors",
        ),
        ("empty_write", "a Write message of 0 bytes, which is no length for it"),
        ("bad_flags", "a Flush message with flags 0x80, which it cannot have"),
        ("acknowledges", "a message out of turn (Ack)"),
        ("hello_again", "a message out of turn (Hello)"),
        ("reads", "a message out of turn (Read)"),
        ("unknown_kind", "a message of the unknown kind 200"),
    ];
    let mut stage = Stage::begin(cluster)?;
    let mut program = stage.play(&broken.map(|(part, _)| part))?;
    for (part, reason) in broken {
        let end = ended(&mut program, part)?;
        ensure!(end["end"] == "closed" && end["seen"] == json!([]), "{end}");
        let event = stage.target_says("leg-changed", reason)?;
        let leg = &event["mirror"]["legs"][1];
        let lost = "the connection of eve was lost: the other side ";
        ensure!(
            event["reason"].as_str().is_some_and(|text| text.starts_with(lost)),
            "{event}"
        );
        ensure!(leg["state"] == "out-of-sync", "{event}");
    }
    stage.untouched(None)?;
    stage.real_source_gets_in()
}

/// Covers: S104.
fn a_source_that_stops_in_the_middle_of_a_write_is_given_up(cluster: &Cluster) -> Result<()> {
    let mut stage = Stage::begin(cluster)?;
    let mut program = stage.play(&["half_a_write", "goes_silent"])?;
    for part in ["half_a_write", "goes_silent"] {
        let end = ended(&mut program, part)?;
        ensure!(end["end"] == "closed" && end["seen"] == json!([]), "{end}");
        stage.target_says("leg-changed", &format!("the connection of eve was lost: {}", unheard()))?;
    }
    stage.untouched(None)?;
    stage.real_source_gets_in()
}

/// Covers: S104.
fn a_flood_of_heartbeats_does_not_keep_a_write_from_its_place(cluster: &Cluster) -> Result<()> {
    let stage = Stage::begin(cluster)?;
    let end = ended(&mut stage.play(&["flood"])?, "flood")?;
    ensure!(end["end"] == "closed" && end["ack"] == json!([77, 0, 5]), "{end}");
    stage.untouched(Some(b'L'))?;
    // What a stranger wrote, had it the right identities, goes with the first copy.
    stage.real_source_gets_in()
}

/// Covers: S104.
fn a_source_that_greets_a_byte_at_a_time_keeps_the_real_one_waiting_only_for_seconds(cluster: &Cluster) -> Result<()> {
    let mut stage = Stage::begin(cluster)?;
    let mut program = stage.play(&["drip"])?;
    ensure!(ended(&mut program, "drip")?["end"] == "not yet");
    stage.real_source_gets_in()?;
    stage.target_says(
        "refused",
        "ended without a greeting: the greeting was not complete in time",
    )?;
    let end = ended(&mut program, "drip")?;
    // At this speed the greeting would have taken half a minute.
    let ms = end["ms"].as_u64().context("when the slow one was cut off")?;
    ensure!(end["end"] == "closed" && (1500..20_000).contains(&ms), "{end}");
    Ok(())
}

/// Covers: S104.
fn many_strangers_at_once_do_not_keep_the_source_out(cluster: &Cluster) -> Result<()> {
    let stage = Stage::begin(cluster)?;
    let mut program = stage.play(&["crowd"])?;
    ensure!(ended(&mut program, "crowd")?["end"] == "not yet");
    stage.real_source_gets_in()?;
    let end = ended(&mut program, "crowd")?;
    ensure!(end["ends"] == json!(["closed", "refused"]), "{end}");
    ensure!(stage.mirror.count("connects")? == 1, "the source was disturbed");
    Ok(())
}

/// Covers: S104.
fn a_target_that_is_taken_names_its_holder_and_goes_on(cluster: &Cluster) -> Result<()> {
    let mirror = Mirror::in_sync(cluster)?;
    let (eve, adam, abel) = (mirror.source, mirror.target, cluster.node(2));
    let mut workload = Workload::start(eve, "/dev/netraid0", Plan::new(5, 1024))?;
    workload.more(50, SOON)?;
    // Another machine, with a mirror that has the same name by chance.
    let mut events = abel.events()?;
    abel.sh("head -c 1M /dev/urandom > /dev/vdb && sync").ok()?;
    abel.ctl("create data --disk /dev/vdb").ok()?;
    abel.ctl(&format!("extend data --to {} --yes", adam.ip())).ok()?;
    let sentence = "the disk on adam belongs to another mirror that is also called data, of eve; delete mirror data \
                    there and join again if that disk is to be overwritten";
    let event = events.wait_for(sentence, SOON, |event| event["event"] == "refused")?;
    ensure!(event["reason"] == sentence, "{event}");
    // Machines that know more of the mirror than they should.
    let identities = identities(eve)?;
    let mut program = play(abel, adam, &identities, &["other_machine", "other_mirror", "noise"])?;
    let holder = "mirror data on adam is being written by eve; take that leg away there first";
    is_refused(&mut program, "other_machine", TAKEN, holder)?;
    is_refused(&mut program, "other_mirror", OTHER_UUID, sentence)?;
    is_refused(&mut program, "noise", MALFORMED, "does not speak the netraid protocol")?;
    // The running mirror noticed nothing.
    workload.more(50, SOON)?;
    workload.stop()?;
    let status = mirror.status()?;
    ensure!(status["legs"][1]["state"] == "fully-operational", "{status}");
    ensure!(
        status["legs"][1]["connects"] == 1 && status["legs"][1]["resyncs"] == 1,
        "{status}"
    );
    let verdict = workload.judge_disk(adam.disk("vdb")?)?;
    ensure!(verdict.good(), "{verdict:?}");
    mirror.same_disks()
}
