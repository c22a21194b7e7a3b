// SPDX-License-Identifier: GPL-2.0
//! Names, numbers, addresses and sizes that a mirror cannot have, told to netraid-ctl and, past
//! it, to the kernel.

use anyhow::{ensure, Result};
use serde_json::{json, Value};
use tests_qemu::{Cluster, Node};

use crate::{
    bypass,
    harness::{case, Case, SOON},
    mirror,
};

pub(crate) const CASES: &[Case] = &[
    case!(names_that_are_none_are_refused),
    case!(a_name_of_64_bytes_is_one),
    case!(a_name_that_is_taken_is_refused),
    case!(a_number_that_is_taken_or_too_large_is_refused),
    case!(a_port_in_use_is_refused_and_the_disk_stays_free),
    case!(an_address_of_another_machine_is_refused),
    case!(chunk_sizes_that_are_none_are_refused),
];

const EINVAL: i32 = 22;
const EEXIST: i32 = 17;
const ERANGE: i32 = 34;
const EADDRINUSE: i32 = 98;
const EADDRNOTAVAIL: i32 = 99;

/// The command ends with this code, and its sentence has all of `parts`.
fn says(node: &Node, argv: &[&str], code: i32, parts: &[&str]) -> Result<()> {
    let output = node.command(&[&["netraid-ctl"], argv].concat()).exits(code)?;
    ensure!(
        parts.iter().all(|part| output.stderr.contains(part)) && output.stdout.is_empty(),
        "expected {parts:?} from {argv:?}: {output:?}"
    );
    Ok(())
}

fn there_is_no_mirror(node: &Node) -> Result<()> {
    let status: Value = serde_json::from_str(&node.ctl("status --json").ok()?)?;
    ensure!(status["mirrors"] == json!([]), "{status}");
    Ok(())
}

/// Covers: S123.
fn names_that_are_none_are_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    let long = "n".repeat(65);
    // What netraid-ctl says, and the kernel. To YNL's client only ASCII is text.
    let names = [
        (
            "",
            "a mirror needs a name",
            "the name of a mirror is empty; give it 1 to 64 characters",
        ),
        (
            &long,
            "it has 65 bytes, a name has at most 64",
            "Attribute failed policy validation",
        ),
        (
            "a/b",
            "A-Z a-z 0-9 . _ - and `/` is none of them",
            "the name of a mirror contains '/'; letters",
        ),
        (
            ".etc",
            "a name does not start with . or -",
            "the name of a mirror starts with '.'; let it",
        ),
        (
            "-data",
            "a name does not start with . or -",
            "the name of a mirror starts with '-'; let it",
        ),
        (
            "a b",
            "and ` ` is none of them",
            "the name of a mirror contains ' '; letters",
        ),
    ];
    let mut requests = Vec::new();
    for (name, reason, _) in names {
        says(node, &["create", "--disk", "/dev/vdb", "--", name], 1, &[reason])?;
        says(node, &["join", "--yes", "--disk", "/dev/vdb", "--", name], 1, &[reason])?;
        requests.push(("mirror-new", bypass::source(name, "/dev/vdb")));
        requests.push(("mirror-del", json!({ "name": name })));
    }
    says(
        node,
        &["create", "--disk", "/dev/vdb", "größe"],
        1,
        &["and `\\u{f6}` is none of them"],
    )?;
    for (answers, (_, _, sentence)) in bypass::ask(node, &requests)?.chunks(2).zip(names) {
        for answer in answers {
            answer.is_refusal(EINVAL, &[sentence])?;
        }
    }
    there_is_no_mirror(node)
}

/// Covers: S20.
fn a_name_of_64_bytes_is_one(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    let name = format!("a._-Z{}", "0".repeat(59));
    eve.ctl(&format!("create {name} --disk /dev/vdb")).ok()?;
    adam.ctl(&format!("join {name} --disk /dev/vdb --yes")).ok()?;
    eve.ctl(&format!("extend {name} --to {} --yes --wait=60", adam.ip()))
        .ok()?;
    ensure!(mirror::status(adam, &name)?["name"] == name.as_str());
    Ok(())
}

/// Covers: S123.
fn a_name_that_is_taken_is_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("create one --disk /dev/vdb").ok()?;
    node.ctl("join two --disk /dev/vdc --yes").ok()?;
    for name in ["one", "two"] {
        let sentence = format!("there is a mirror '{name}' on this machine already");
        let parts = [sentence.as_str(), "choose another name, or `netraid-ctl delete"];
        says(node, &["create", name, "--disk", "/dev/vdd"], 2, &parts)?;
        says(
            node,
            &["join", name, "--disk", "/dev/vdd", "--listen", ":7901", "-y"],
            2,
            &parts,
        )?;
    }
    let request = |name| ("mirror-new", bypass::source(name, "/dev/vdd"));
    for (answer, name) in bypass::ask(node, &["one", "two"].map(request))?
        .iter()
        .zip(["'one'", "'two'"])
    {
        answer.is_refusal(EEXIST, &[name, "choose another name or delete it first"])?;
    }
    // The disk of the refused ones is nobody's, and the name is free after a delete.
    node.ctl("delete one").ok()?;
    node.ctl("create one --disk /dev/vdd").ok()?;
    ensure!(mirror::status(node, "two")?["role"] == "target");
    Ok(())
}

/// Covers: S123.
fn a_number_that_is_taken_or_too_large_is_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("create one --disk /dev/vdb --id 5").ok()?;
    node.sh("test -b /dev/netraid5").ok()?;
    let parts = ["/dev/netraid5 belongs to another mirror", "choose another number"];
    says(node, &["create", "two", "--disk", "/dev/vdc", "--id", "5"], 2, &parts)?;
    says(
        node,
        &["join", "two", "--disk", "/dev/vdc", "--id", "5", "-y"],
        2,
        &parts,
    )?;
    let large = ["create", "two", "--disk", "/dev/vdc", "--id", "1048576"];
    says(node, &large, 1, &["1048576 is not in 0..=1048575"])?;
    let mut request = bypass::source("two", "/dev/vdc");
    request["id"] = json!(1_048_576);
    ensure!(bypass::ask(node, &[("mirror-new", request)])?[0].errno == ERANGE);
    node.ctl("create two --disk /dev/vdc --id 1048575").ok()?;
    node.sh("test -b /dev/netraid1048575").ok()?;
    Ok(())
}

/// Covers: S123.
fn a_port_in_use_is_refused_and_the_disk_stays_free(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    node.ctl("join one --disk /dev/vdb --yes").ok()?;
    let mut other = node.sh("echo up; exec nc -l 0.0.0.0 7907").spawn()?;
    ensure!(other.line(SOON)?.as_deref() == Some("up"));
    node.sh("until ss -Hltn sport = 7907 | grep -q .; do :; done").ok()?;
    for port in [7900, 7907] {
        let listen = format!("0.0.0.0:{port}");
        let join = ["join", "two", "--disk", "/dev/vdc", "-y", "--listen", &listen];
        let sentence = format!("port {port} is in use on this machine");
        says(node, &join, 2, &[&sentence, "choose another", "--listen"])?;
    }
    let request = |port| ("mirror-new", bypass::target("two", "/dev/vdc", port));
    for answer in bypass::ask(node, &[7900, 7907].map(request))? {
        answer.is_refusal(EADDRINUSE, &["is in use on this machine; choose another"])?;
    }
    // Neither the name nor the disk was kept.
    node.ctl("create two --disk /dev/vdc").ok()?;
    // A source that cannot become a target stays a source.
    let demote = ["demote", "two", "--listen", "0.0.0.0:7900"];
    says(node, &demote, 2, &["port 7900 is in use on this machine"])?;
    ensure!(mirror::status(node, "two")?["role"] == "source");
    node.sh("head -c 4096 /dev/urandom > /dev/netraid1 && sync").ok()?;
    Ok(())
}

/// Covers: S123.
fn an_address_of_another_machine_is_refused(cluster: &Cluster) -> Result<()> {
    let (eve, adam) = cluster.pair();
    for (address, shown) in [(adam.ip(), adam.ip()), (format!("[{}]", adam.ip6()), adam.ip6())] {
        let listen = format!("{address}:7900");
        let join = ["join", "data", "--disk", "/dev/vdb", "-y", "--listen", &listen];
        says(
            eve,
            &join,
            2,
            &[&shown, "is not an address of this machine", "--listen"],
        )?;
    }
    let mut request = bypass::target("data", "/dev/vdb", 7900);
    request["address"] = json!("0a4d0002");
    let answers = bypass::ask(eve, &[("mirror-new", request)])?;
    answers[0].is_refusal(
        EADDRNOTAVAIL,
        &["10.77.0.2:7900 is not an address of this machine; choose one of its own"],
    )?;
    there_is_no_mirror(eve)?;
    eve.ctl(&format!("join data --disk /dev/vdb --yes --listen {}", eve.ip()))
        .ok()?;
    Ok(())
}

/// Covers: S123.
fn chunk_sizes_that_are_none_are_refused(cluster: &Cluster) -> Result<()> {
    let node = cluster.node(0);
    for size in ["0", "1", "2048", "5000", "65537", "2G", "4294967296K", "many"] {
        let create = ["create", "data", "--disk", "/dev/vdb", "--chunk-size", size];
        says(node, &create, 1, &[size, "--chunk-size"])?;
    }
    let request = |size: u32| {
        let mut request = bypass::source("data", "/dev/vdb");
        request["chunk-size"] = json!(size);
        ("mirror-new", request)
    };
    let answers = bypass::ask(node, &[0, 2048, 2 << 30, 5000, 65537].map(request))?;
    for small_or_large in &answers[..3] {
        ensure!(small_or_large.errno == ERANGE, "{small_or_large:?}");
    }
    for (answer, size) in answers[3..].iter().zip(["5000", "65537"]) {
        answer.is_refusal(EINVAL, &[size, "is not a power of two from 4096 to 1073741824"])?;
    }
    there_is_no_mirror(node)?;
    for size in ["4K", "1G"] {
        node.ctl(&format!("create data --disk /dev/vdb --chunk-size {size}"))
            .ok()?;
        let bytes = if size == "4K" { 4096 } else { 1 << 30 };
        ensure!(mirror::status(node, "data")?["chunk_size"] == bytes);
        node.ctl("delete data").ok()?;
    }
    Ok(())
}
