// SPDX-License-Identifier: GPL-2.0
//! The verified writer: direct writes of self-describing blocks, each reported when it was
//! acknowledged and before that thread writes again.
//!
//! Standard output is meant to be the virtio-serial port for acknowledgements, where a written
//! line has left the machine by the time the write returns (of which `tests_qemu::Cluster` takes care). One line is one
//! report:
//!
//! - `S <seed>`: the run begins
//! - `A <seed> <block> <version>`: this version of the block was acknowledged by the device
//! - `E <seed> <block> <version> <errno>`: the device refused it; the thread ends
//! - `D <seed> <writes>`: the run is over, so many writes were acknowledged

use std::{
    fs::File,
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{ensure, Context as _, Result};
use clap::Args;
use netraid_guest::blocks::{choices, fill, BLOCK};

use crate::direct::{self, Buffer};

/// What to write.
#[derive(Args)]
pub(crate) struct Options {
    /// Device to write to
    device: PathBuf,
    /// Names the run; blocks of other runs count as foreign
    #[arg(long)]
    seed: u64,
    /// First block to use
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many blocks to use
    #[arg(long)]
    blocks: u64,
    /// Writes in flight
    #[arg(long, default_value_t = 4)]
    threads: u64,
    /// End after so many writes; 0 goes on until killed
    #[arg(long, default_value_t = 0)]
    count: u64,
    /// End after so many seconds; 0 goes on until killed
    #[arg(long, default_value_t = 0)]
    seconds: u64,
}

struct Run<'a> {
    options: &'a Options,
    device: File,
    /// Writes begun, to end after `count`.
    begun: AtomicU64,
    done: AtomicU64,
    failed: AtomicBool,
    until: Option<Instant>,
}

/// Writes until the end the options name.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.threads > 0, "at least one thread must write");
    ensure!(
        options.blocks >= options.threads,
        "each thread needs a block of its own"
    );
    let device = direct::writer(&options.device)?;
    let until = (options.seconds > 0).then(|| Instant::now() + Duration::from_secs(options.seconds));
    let run = Run {
        options,
        device,
        begun: AtomicU64::new(0),
        done: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        until,
    };
    report(&format!("S {}\n", options.seed))?;
    let outcome: Result<()> = thread::scope(|scope| {
        let threads: Vec<_> = (0..options.threads)
            .map(|number| {
                scope.spawn({
                    let run = &run;
                    move || write_blocks(run, number)
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a writing thread panicked")))
        })
    });
    outcome?;
    report(&format!("D {} {}\n", options.seed, run.done.load(Ordering::Relaxed)))?;
    ensure!(!run.failed.load(Ordering::Relaxed), "the device refused a write");
    Ok(())
}

/// One write call a line: a line reaches the host whole or not at all.
fn report(line: &str) -> Result<()> {
    io::stdout()
        .lock()
        .write_all(line.as_bytes())
        .context("report to the host")?;
    io::stdout().lock().flush().context("report to the host")
}

/// Writes the blocks whose number leaves `number` when divided by the count of threads, so that
/// no block has two writes in flight.
fn write_blocks(run: &Run<'_>, number: u64) -> Result<()> {
    let options = run.options;
    let own = (options.blocks - number).div_ceil(options.threads);
    let mut versions = vec![0_u64; usize::try_from(own)?];
    let mut block = Buffer::new(BLOCK);
    let mut choices = choices(options.seed, number, own);
    loop {
        let begun = run.begun.fetch_add(1, Ordering::Relaxed);
        let over = options.count > 0 && begun >= options.count;
        if over || run.until.is_some_and(|until| Instant::now() >= until) {
            return Ok(());
        }
        let Some(index) = choices.next() else { return Ok(()) };
        let version = &mut versions[usize::try_from(index)?];
        *version += 1;
        let place = options.first + index * options.threads + number;
        fill(&mut block, options.seed, place, *version);
        match run.device.write_all_at(&block, place * BLOCK as u64) {
            Ok(()) => {
                report(&format!("A {} {place} {version}\n", options.seed))?;
                run.done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                run.failed.store(true, Ordering::Relaxed);
                let errno = error.raw_os_error().unwrap_or(0);
                return report(&format!("E {} {place} {version} {errno}\n", options.seed));
            }
        }
    }
}
