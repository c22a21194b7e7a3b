// SPDX-License-Identifier: GPL-2.0
//! Everything is copied again because an operator wants it so.

use anyhow::{ensure, Result};
use tests_qemu::Cluster;

use crate::{
    harness::{case, Case},
    mirror::refused,
    persist::{self, chunks, comes_back, copied, stands, until, write_chunks, CHUNK, SIZE},
};

pub(crate) const CASES: &[Case] = &[
    case!(fullresync_copies_everything_of_a_clean_mirror),
    case!(fullresync_ends_a_pause),
    case!(fullresync_is_remembered_until_it_is_done),
];

/// Covers: S235, S345.
fn fullresync_copies_everything_of_a_clean_mirror(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    // Somebody wrote past the mirror.
    adam.disk("vdb")?.write(700 * CHUNK, &[0x5a; 4096])?;
    ensure!(persist::differing(&mirror)? == chunks(&[700]));
    ensure!(eve.ctl("fullresync data").run()?.code != 0, "it was not meant");
    ensure!(mirror.count("resynced_bytes")? == SIZE);
    eve.ctl("fullresync data --yes").ok()?;
    until("the copy", || Ok(mirror.count("resynced_bytes")? == 2 * SIZE))?;
    copied(&mirror, SIZE, SIZE)?;
    refused(adam, "fullresync data --yes", &["data", "source"])?;
    stands(adam, "target", &[])
}

/// Covers: S235.
fn fullresync_ends_a_pause(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    eve.ctl("pause data").ok()?;
    write_chunks(eve, &[1])?;
    write_chunks(adam, &[2])?;
    eve.ctl("fullresync data --yes").ok()?;
    until("the copy", || Ok(mirror.count("resynced_bytes")? == 2 * SIZE))?;
    copied(&mirror, SIZE, SIZE)?;
    stands(adam, "target", &[])
}

/// Covers: S80, S235.
fn fullresync_is_remembered_until_it_is_done(cluster: &Cluster) -> Result<()> {
    let mirror = persist::persistent(cluster)?;
    let (eve, adam) = cluster.pair();
    // The target is away, so nothing can be copied yet.
    adam.ctl("down data").ok()?;
    mirror.wait("out-of-sync")?;
    eve.ctl("fullresync data --yes").ok()?;
    eve.kill9()?;
    adam.ctl("up data").ok()?;
    comes_back(eve)?;
    copied(&mirror, 0, SIZE)?;
    stands(adam, "target", &[])
}
