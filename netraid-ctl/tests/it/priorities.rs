// SPDX-License-Identifier: GPL-2.0
//! Priorities: what is passed on, and what is shown.

use netraid_ctl::gen;
use serde_json::Value;

use crate::fake::Fake;
use crate::machine::{run, Machine};
use crate::making::made;
use crate::mirrors::{leg, source};

/// Covers: S112.
#[test]
fn a_priority_is_passed_on_where_one_is_given() {
    let (machine, fake) = (Machine::default(), Fake::new(vec![]));
    let (_, asked) = made(&machine, &fake, "create data --disk /dev/vdb --priority 500");
    assert_eq!(asked.priority, Some(500));
    // What nobody said is left to the kernel.
    for (options, priority) in [("", None), ("--priority 999", Some(999))] {
        let line = format!("extend data --to 10.77.0.2 --yes {options}");
        assert_eq!(made(&machine, &fake, &line).1.leg[0].priority, priority);
    }
}

/// Covers: S112.
#[test]
fn priorities_are_listed_in_the_order_of_the_cascade() {
    let of = |own, theirs: &[Option<u32>]| gen::Mirror {
        priority: own,
        leg: (1..)
            .zip(theirs)
            .map(|(id, priority)| gen::Leg {
                peer_name: Some(format!("target{id}")),
                priority: *priority,
                ..leg(id)
            })
            .collect(),
        ..source("data")
    };
    let shown =
        |mirror: gen::Mirror, options: &str| run(&Fake::new(vec![mirror]), &format!("status data {options}")).out;
    let mirror = of(Some(500), &[None, Some(999), Some(2)]);
    let order = "Priorities: 2 target3, 500 eve, 999 target2, none target1\n";
    assert!(
        shown(mirror.clone(), "").contains(order),
        "{}",
        shown(mirror.clone(), "")
    );
    let json: Value = serde_json::from_str(&shown(mirror.clone(), "--json")).unwrap();
    let json = &json["mirrors"][0];
    assert_eq!(
        (&json["priority"], &json["legs"][2]["priority"]),
        (&500.into(), &999.into())
    );
    assert!(json["legs"][1]["priority"].is_null());
    assert!(shown(mirror, "--detail").contains("\tPriority: 500\n"));
    // A kernel from before there were any has no order, nor have machines of which only one could take over.
    for mirror in [of(None, &[None, None]), of(Some(1), &[]), of(Some(1), &[Some(10)])] {
        assert!(!shown(mirror, "").contains("Priorities"));
    }
}
