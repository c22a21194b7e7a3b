// SPDX-License-Identifier: GPL-2.0
//! The order in which the machines of a mirror are meant to take over: each has a priority of its own, wherever it is
//! looked at, and whoever is the source.

use anyhow::{ensure, Result};
use tests_qemu::{Cluster, Node};

use crate::{
    harness::{case, Case},
    mirror::{refused, status, QUICK},
    persist::{boot, until},
    several::{extend, in_step, leg, wait},
};

pub(crate) const CASES: &[Case] = &[case!(priorities_are_given_once_and_stay_with_their_machines).three()];

/// Waits until a machine shows this order; it may have been told only just now. Where no more than one other machine is
/// known there is no order to choose from, and each has its priority among its details.
fn shows(node: &Node, order: &str) -> Result<()> {
    let line = format!("Priorities: {order}\n");
    let machines: Vec<_> = order.split(", ").collect();
    until(&format!("{} to show {line}", node.name()), || {
        if machines.len() > 2 {
            return Ok(node.ctl("status data").ok()?.contains(&line));
        }
        let all = node.ctl("status data --detail").ok()?;
        let each = |machine: &&str| {
            let number = machine.split(' ').next().unwrap_or_default();
            all.contains(&format!("\tPriority: {number}\n"))
        };
        Ok(!all.contains("Priorities: ") && machines.iter().all(each))
    })
}

/// Covers: S112.
fn priorities_are_given_once_and_stay_with_their_machines(cluster: &Cluster) -> Result<()> {
    let [eve, adam, abel] = cluster.nodes() else {
        unreachable!("three machines")
    };
    eve.ctl(&format!("create data --disk /dev/vdb {QUICK}")).ok()?;
    ensure!(status(eve, "data")?["priority"] == 1);
    for target in [adam, abel] {
        target.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
        ensure!(status(target, "data")?["priority"].is_null(), "nobody has told it one");
    }
    extend(eve, adam, &QUICK.to_string())?;
    wait(eve, adam, "fully-operational")?;
    given_to_another_one(eve, abel)?;
    extend(eve, abel, &format!("--priority 500 {QUICK}"))?;
    in_step(eve, 2)?;
    ensure!(leg(eve, adam)?["priority"] == 10 && leg(eve, abel)?["priority"] == 500);
    shows(eve, "1 eve, 10 adam, 500 abel")?;
    shows(adam, "1 eve, 10 adam")?;
    shows(abel, "1 eve, 500 abel")?;
    // What is prepared: adam is given none for abel, which tells its own; abel is given that of adam.
    given_to_another_one(adam, abel)?;
    extend(adam, abel, &QUICK.to_string())?;
    extend(abel, adam, &format!("--priority 10 {QUICK}"))?;
    abel.kill9()?;
    boot(abel)?;
    abel.ctl("up --all").ok()?;
    in_step(eve, 2)?;
    shows(abel, "1 eve, 500 abel")?;
    eve.kill9()?;
    adam.ctl("promote data").ok()?;
    wait(adam, abel, "fully-operational")?;
    shows(adam, "1 eve, 10 adam, 500 abel")?;
    shows(abel, "10 adam, 500 abel")?;
    boot(eve)?;
    eve.ctl("up --all").ok()?;
    in_step(adam, 2)?;
    shows(adam, "1 eve, 10 adam, 500 abel")?;
    shows(eve, "1 eve, 10 adam")?;
    adam.kill9()?;
    abel.ctl("promote data").ok()?;
    shows(abel, "1 eve, 10 adam, 500 abel")?;
    boot(adam)?;
    adam.ctl("up --all").ok()?;
    in_step(abel, 2)?;
    shows(abel, "1 eve, 10 adam, 500 abel")?;
    // Who goes leaves his priority to others.
    let id = leg(abel, eve)?["id"].clone();
    abel.ctl(&format!("unextend data --leg {id}")).ok()?;
    shows(abel, "10 adam, 500 abel")?;
    extend(abel, eve, &format!("--priority 1 {QUICK}"))?;
    in_step(abel, 2)?;
    shows(abel, "1 eve, 10 adam, 500 abel")
}

/// On a machine that knows of eve with 1 and of adam with 10, of which it is one itself.
fn given_to_another_one(node: &Node, target: &Node) -> Result<()> {
    let extend = |number: u32| format!("extend data --to {} --yes --priority {number}", target.ip());
    for number in [0, 1000] {
        let told = node.ctl(&extend(number)).exits(1)?.stderr;
        let sentence = format!("priority {number} is out of range; choose one from 1, the highest, to 999");
        ensure!(told.contains(&sentence), "{told}");
    }
    for (number, holder) in [(1, "eve"), (10, "adam")] {
        let whose = if node.name() == holder {
            "this machine".to_owned()
        } else {
            format!("{holder} (leg 1)")
        };
        refused(
            node,
            &extend(number),
            &[&format!(
                "priority {number} of mirror 'data' is that of {whose}; choose another one, 20 is free"
            )],
        )?;
    }
    Ok(())
}
