// SPDX-License-Identifier: GPL-2.0
//! Requests that no client would make: the kernel says what is wrong with each, and nothing happens.

use anyhow::{ensure, Result};
use serde_json::{json, Value};
use tests_qemu::Cluster;

use crate::{
    harness::{case, Case},
    mirror::status,
};

pub(crate) const CASES: &[Case] = &[
    case!(requests_that_make_no_sense_are_refused_with_a_sentence).smoke(),
    case!(requests_of_random_bytes_do_no_harm),
];

const GET: u8 = 1;
const NEW: u8 = 2;
const DELETE: u8 = 3;
const DEMOTE: u8 = 6;
const LEG_NEW: u8 = 7;
const PAUSE: u8 = 9;

const NAME: u16 = 1;
const ID: u16 = 2;
const ROLE: u16 = 4;
const DISK: u16 = 5;
const SIZE: u16 = 6;
const CHUNK_SIZE: u16 = 7;
const NODE_UUID: u16 = 9;
const ADDRESS: u16 = 10;
const PORT: u16 = 11;
const HEARTBEAT: u16 = 13;
const TIMEOUT: u16 = 14;
const FORCE: u16 = 15;
const LEG: u16 = 20;
const PRIORITY: u16 = 52;

const LEG_ADDRESS: u16 = 2;
const LEG_PORT: u16 = 3;
const LEG_REPLICATION: u16 = 9;
const LEG_PRIORITY: u16 = 39;

/// The mark of an attribute that has others inside.
const NESTED: u16 = 0x8000;

const EINVAL: i32 = 22;
const EEXIST: i32 = 17;
const ERANGE: i32 = 34;
const ENOENT: i32 = 2;
const EOPNOTSUPP: i32 = 95;

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_le_bytes(), kind.to_le_bytes()].concat();
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_le_bytes())
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

/// What the kernel says of an attribute that breaks a policy.
const POLICY: &str = "Attribute failed policy validation";
const RANGE: &str = "integer out of range";
const LENGTH: &str = "size out of range";
const FIXED: &str = "invalid attribute length";
const UNKNOWN: &str = "Unknown attribute type";
const LEFT: &str = "bytes leftover after parsing attributes";

/// A request, the error number it must get, and a part of the sentence.
type Bad = (u8, Vec<Vec<u8>>, i32, &'static str);

/// What the policies refuse before the module sees it.
fn against_the_policies() -> Vec<Bad> {
    let name = || text(NAME, "data");
    vec![
        (GET, vec![text(NAME, &"x".repeat(65))], EINVAL, POLICY),
        (GET, vec![attribute(NAME, b"data")], EINVAL, POLICY),
        (GET, vec![attribute(NAME, b"")], EINVAL, POLICY),
        (GET, vec![attribute(ID, &[0, 0])], EINVAL, FIXED),
        (GET, vec![number(ID, 1 << 20)], ERANGE, RANGE),
        (GET, vec![name(), number(99, 0)], EINVAL, UNKNOWN),
        (GET, vec![name(), number(SIZE, 0)], EINVAL, UNKNOWN),
        (GET, vec![name(), vec![0; 3]], EINVAL, LEFT),
        (GET, vec![name(), vec![3, 0, 1, 0]], EINVAL, LEFT),
        (GET, vec![name(), vec![200, 0, 1, 0]], EINVAL, LEFT),
        (NEW, vec![name(), number(ROLE, 3)], ERANGE, RANGE),
        (NEW, vec![name(), text(DISK, &"/".repeat(4096))], EINVAL, POLICY),
        (NEW, vec![name(), number(CHUNK_SIZE, 2048)], ERANGE, RANGE),
        (NEW, vec![name(), attribute(NODE_UUID, &[1; 15])], ERANGE, LENGTH),
        (NEW, vec![name(), attribute(ADDRESS, &[1; 17])], ERANGE, LENGTH),
        (NEW, vec![name(), number(PORT, 0)], ERANGE, RANGE),
        (NEW, vec![name(), number(PORT, 65536)], ERANGE, RANGE),
        (NEW, vec![name(), number(HEARTBEAT, 49)], ERANGE, RANGE),
        (NEW, vec![name(), number(TIMEOUT, 600_001)], ERANGE, RANGE),
        (DELETE, vec![name(), number(FORCE, 1)], ERANGE, POLICY),
        (
            DELETE,
            vec![attribute(NAME | NESTED, b"data\0")],
            EINVAL,
            "NLA_F_NESTED not expected",
        ),
        (
            LEG_NEW,
            vec![name(), attribute(LEG, &number(LEG_PORT, 7900))],
            EINVAL,
            "NLA_F_NESTED is missing",
        ),
        (
            LEG_NEW,
            vec![name(), attribute(LEG | NESTED, &number(LEG_PORT, 0))],
            ERANGE,
            RANGE,
        ),
        (
            LEG_NEW,
            vec![name(), attribute(LEG | NESTED, &number(77, 0))],
            EINVAL,
            UNKNOWN,
        ),
    ]
}

/// What the module itself refuses.
fn against_the_module() -> Vec<Bad> {
    let name = || text(NAME, "data");
    let here = |kind: u16| attribute(kind, &[10, 77, 0, 9]);
    let leg = |parts: &[Vec<u8>]| attribute(LEG | NESTED, &parts.concat());
    let target = || vec![text(NAME, "more"), text(DISK, "/dev/vdc"), number(ROLE, 1)];
    let with = |parts: &[Vec<u8>]| [target(), parts.to_vec()].concat();
    vec![
        (GET, vec![], EINVAL, "the name of the mirror is missing"),
        (
            GET,
            vec![number(ID, 5)],
            ENOENT,
            "there is no mirror number 5 on this machine",
        ),
        (
            GET,
            vec![text(NAME, "other")],
            ENOENT,
            "there is no mirror 'other' on this machine",
        ),
        (
            NEW,
            vec![text(DISK, "/dev/vdc")],
            EINVAL,
            "the name of the mirror is missing",
        ),
        (
            NEW,
            vec![attribute(NAME, &[0xff, 0xfe, 0])],
            EINVAL,
            "the name of the mirror is not UTF-8",
        ),
        (NEW, vec![text(NAME, "more")], EINVAL, "the disk is missing"),
        (
            NEW,
            vec![text(NAME, "more"), text(DISK, "vdc")],
            EINVAL,
            "has to begin with '/'",
        ),
        (
            NEW,
            vec![text(NAME, "more"), text(DISK, "/dev/vdc"), number(ROLE, 2)],
            EINVAL,
            "a source or a target",
        ),
        (
            NEW,
            vec![text(NAME, "more"), text(DISK, "/dev/vdc"), number(CHUNK_SIZE, 5000)],
            EINVAL,
            "power of two",
        ),
        (NEW, target(), EINVAL, "the address is missing"),
        (NEW, with(&[here(ADDRESS)]), EINVAL, "the port is missing"),
        (
            NEW,
            with(&[attribute(ADDRESS, &[1; 5]), number(PORT, 7900)]),
            EINVAL,
            "4 bytes for IPv4 or 16",
        ),
        (
            DEMOTE,
            vec![name(), attribute(ADDRESS, &[1; 5]), number(PORT, 7900)],
            EINVAL,
            "4 bytes for IPv4 or 16",
        ),
        (LEG_NEW, vec![name()], EINVAL, "the leg is missing"),
        (
            LEG_NEW,
            vec![name(), leg(&[number(LEG_PORT, 7900)])],
            EINVAL,
            "the address is missing",
        ),
        (
            LEG_NEW,
            vec![name(), leg(&[here(LEG_ADDRESS)])],
            EINVAL,
            "the port is missing",
        ),
        (
            LEG_NEW,
            vec![
                name(),
                leg(&[here(LEG_ADDRESS), number(LEG_PORT, 7900), number(LEG_REPLICATION, 1)]),
            ],
            EOPNOTSUPP,
            "permits synchronous targets alone",
        ),
        (
            LEG_NEW,
            vec![
                name(),
                leg(&[
                    here(LEG_ADDRESS),
                    number(LEG_PORT, 7900),
                    number(10, 5000),
                    number(11, 9000),
                ]),
            ],
            EINVAL,
            "leaves no room for a heartbeat",
        ),
        (PAUSE, vec![name()], ENOENT, "has no network leg 1"),
        // No command is 0 or 17, and nobody may send an event.
        (0, vec![name()], EOPNOTSUPP, ""),
        (11, vec![name()], EOPNOTSUPP, ""),
        (17, vec![name()], EOPNOTSUPP, ""),
    ]
}

/// Priorities that are none, that are taken, or that somebody else has to give.
fn of_priorities() -> Vec<Bad> {
    let here = |kind: u16| attribute(kind, &[10, 77, 0, 9]);
    let source = |priority| {
        let (name, disk) = (text(NAME, "more"), text(DISK, "/dev/vdc"));
        vec![name, disk, number(PRIORITY, priority)]
    };
    let target = [source(5), vec![number(ROLE, 1), here(ADDRESS), number(PORT, 7900)]].concat();
    let leg = |priority| {
        let parts = [
            here(LEG_ADDRESS),
            number(LEG_PORT, 7900),
            number(LEG_PRIORITY, priority),
        ];
        vec![text(NAME, "data"), attribute(LEG | NESTED, &parts.concat())]
    };
    let range = "is out of range; choose one from 1, the highest, to 999";
    vec![
        (NEW, source(0), EINVAL, range),
        (NEW, source(1000), EINVAL, range),
        (NEW, target, EINVAL, "a target gets its priority from the source"),
        (LEG_NEW, leg(0), EINVAL, range),
        (LEG_NEW, leg(1000), EINVAL, range),
        (LEG_NEW, leg(u32::MAX), EINVAL, range),
        (
            LEG_NEW,
            leg(1),
            EEXIST,
            "priority 1 of mirror 'data' is that of this machine; choose another one, 10 is free",
        ),
    ]
}

/// Covers: S112.
fn requests_that_make_no_sense_are_refused_with_a_sentence(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("create data --disk /dev/vdb").ok()?;
    node.write_file("/tmp/raw.py", include_bytes!("netlink/raw.py"), 0o644)?;
    let bad = [against_the_policies(), against_the_module(), of_priorities()].concat();
    let line = |(command, attributes, ..): &Bad| -> String {
        let hex: String = attributes.concat().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}\n", json!([command, hex]))
    };
    let lines: String = bad.iter().map(line).collect();
    let answers = node.sh("python3 -B /tmp/raw.py").stdin(lines).ok()?;
    let answers: Vec<&str> = answers.lines().collect();
    ensure!(answers.len() == bad.len(), "{answers:?}");
    let mut wrong = Vec::new();
    for ((command, attributes, errno, part), answer) in bad.iter().zip(answers) {
        let told: Value = serde_json::from_str(answer)?;
        if told["errno"] != *errno || !told["sentence"].as_str().unwrap_or_default().contains(part) {
            wrong.push(format!(
                "{command} {attributes:x?}: {errno} `{part}` was due, it was {answer}"
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: Value = serde_json::from_str(&node.ctl("status --json").ok()?)?;
    ensure!(all["mirrors"].as_array().map(Vec::len) == Some(1), "{all}");
    ensure!(all["mirrors"][0]["legs"].as_array().map(Vec::len) == Some(1), "{all}");
    Ok(())
}

fn requests_of_random_bytes_do_no_harm(cluster: &Cluster) -> Result<()> {
    const SEED: u32 = 20_261_121;
    let node = cluster.node(0);
    node.ctl("create data --disk /dev/vdb").ok()?;
    node.write_file("/tmp/raw.py", include_bytes!("netlink/raw.py"), 0o644)?;
    eprintln!("random requests of seed {SEED}");
    let taken = node.sh(&format!("python3 -B /tmp/raw.py random {SEED} 3000")).ok()?;
    ensure!(taken.trim() == "0", "{taken} random requests were obeyed");
    let state = status(node, "data")?;
    ensure!(
        state["role"] == "source" && state["legs"].as_array().map(Vec::len) == Some(1),
        "{state}"
    );
    node.sh("head -c 1M /dev/urandom > /dev/netraid0 && sync").ok()?;
    Ok(())
}
