// SPDX-License-Identifier: GPL-2.0
//! The tests that need machines: one for each behaviour, run by `cargo xtask test`.
//!
//! Machines are booted once and handed from test to test; after each the harness takes
//! everything down, looks at what the kernels said, and wipes the disks.

mod alias;
mod async_behind;
mod async_leg;
mod async_order;
mod async_wan;
mod bad_disks;
mod bad_metadata;
mod bad_names;
mod bad_peers;
mod bad_requests;
mod bad_sources;
mod bitmap_map;
mod boot;
mod broken_disks;
mod broken_disks_meta;
mod broken_network;
mod bypass;
mod callers;
mod checksums;
mod cycles;
mod data;
mod device;
mod dice;
mod every_state;
mod failover;
mod failover_both;
mod filesystems;
mod first_copy;
mod flushes;
mod framework;
mod fullresync;
mod fuzz_netlink;
mod fuzz_wire;
mod harness;
mod intent_log;
mod kill;
mod lifecycle;
mod link;
mod log_writes;
mod lost_disks;
mod many;
mod mapper;
mod media;
mod memory;
mod metadata_damage;
mod methods;
mod mirror;
mod multi_site;
mod netlink;
mod one_at_a_time;
mod pause;
mod persist;
mod power_cut;
mod priorities;
mod refilled_disks;
mod replication;
mod resync;
mod resync_shared;
mod roles;
mod roles_persistent;
mod several;
mod several_mesh;
mod several_roles;
mod several_safety;
mod split_brain;
mod starving;
mod status;
mod switchover;
mod teardown;
mod truth;
mod weak;

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::main([
        framework::CASES,
        alias::CASES,
        async_leg::CASES,
        async_order::CASES,
        async_wan::CASES,
        async_behind::CASES,
        bad_disks::CASES,
        bad_metadata::CASES,
        bad_names::CASES,
        bad_peers::CASES,
        bad_requests::CASES,
        bad_sources::CASES,
        bitmap_map::CASES,
        boot::CASES,
        broken_disks::CASES,
        lost_disks::CASES,
        refilled_disks::CASES,
        broken_disks_meta::CASES,
        broken_network::CASES,
        callers::CASES,
        cycles::CASES,
        checksums::CASES,
        data::CASES,
        device::CASES,
        every_state::CASES,
        failover::CASES,
        failover_both::CASES,
        filesystems::CASES,
        first_copy::CASES,
        flushes::CASES,
        fullresync::CASES,
        fuzz_netlink::CASES,
        fuzz_wire::CASES,
        intent_log::CASES,
        kill::CASES,
        lifecycle::CASES,
        link::CASES,
        log_writes::CASES,
        many::CASES,
        media::CASES,
        memory::CASES,
        metadata_damage::CASES,
        methods::CASES,
        multi_site::CASES,
        netlink::CASES,
        one_at_a_time::CASES,
        pause::CASES,
        power_cut::CASES,
        priorities::CASES,
        replication::CASES,
        resync::CASES,
        roles::CASES,
        roles_persistent::CASES,
        resync_shared::CASES,
        several::CASES,
        several_mesh::CASES,
        several_roles::CASES,
        several_safety::CASES,
        split_brain::CASES,
        starving::CASES,
        status::CASES,
        switchover::CASES,
        teardown::CASES,
        truth::CASES,
    ])
}
