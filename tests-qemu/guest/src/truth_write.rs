// SPDX-License-Identifier: GPL-2.0
//! Carries out a plan of writes, flushes, discards and zeroes; each operation is reported when it was acknowledged and
//! before that thread begins its next one.
//!
//! As with the verified writer, standard output is meant to be the virtio-serial port for acknowledgements. One line is
//! one report:
//!
//! - `T <seed> <run> A <thread> <number>`: the device acknowledged this operation of that thread
//! - `T <seed> <run> E <thread> <number> <errno>`: it refused it; the thread ends

use std::{
    fs::File,
    io::{self, Write as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use anyhow::{anyhow, ensure, Context as _, Result};
use clap::Args;
use netraid_guest::truth::{sector, Kind, Plan, SECTOR};
use nix::{
    fcntl::{fallocate, FallocateFlags},
    libc,
};

use crate::direct::{self, Buffer};

/// What is written begins so many sectors behind the beginning of a page, or fewer.
const ODD: usize = 8;

/// What to do to which device.
#[derive(Args)]
pub(crate) struct Options {
    /// Device to write to
    device: PathBuf,
    #[command(flatten)]
    plan: Plan,
    /// Each thread ends after so many operations; 0 goes on until killed
    #[arg(long, default_value_t = 0)]
    count: u32,
}

/// The device as it is written to.
struct Device {
    path: PathBuf,
    plain: File,
    /// Writes through it are on stable storage when they return.
    durable: File,
}

impl Device {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            plain: direct::writer(path)?,
            durable: direct::durable_writer(path)?,
        })
    }

    fn zero(&self, sectors: &Range<u64>) -> io::Result<()> {
        let bytes = |sectors: u64| libc::off_t::try_from(sectors * SECTOR as u64).map_err(io::Error::other);
        let (from, length) = (bytes(sectors.start)?, bytes(sectors.end - sectors.start)?);
        // What BLKZEROOUT does, too.
        fallocate(&self.plain, FallocateFlags::FALLOC_FL_ZERO_RANGE, from, length)?;
        Ok(())
    }

    /// Has it discarded by the system's own tool, since there is no safe call for BLKDISCARD.
    fn discard(&self, sectors: &Range<u64>) -> io::Result<()> {
        let bytes = |sectors: u64| (sectors * SECTOR as u64).to_string();
        let status = Command::new("blkdiscard")
            .args(["--force", "--offset", &bytes(sectors.start)])
            .args(["--length", &bytes(sectors.end - sectors.start)])
            .arg(&self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(libc::EIO))
    }
}

/// Carries out the plan.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.plan.threads > 0, "at least one thread must write");
    ensure!(options.plan.sectors > 0, "there must be a sector to write to");
    let device = Device::open(&options.device)?;
    let refused = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..options.plan.threads)
            .map(|thread| {
                let (device, refused) = (&device, &refused);
                scope.spawn(move || work(device, options, thread, refused))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a writing thread panicked")))
        })
    })?;
    ensure!(!refused.load(Ordering::Relaxed), "the device refused an operation");
    Ok(())
}

fn work(device: &Device, options: &Options, thread: u8, refused: &AtomicBool) -> Result<()> {
    let plan = &options.plan;
    let mut buffer = Buffer::new((usize::try_from(plan.longest)? + ODD) * SECTOR);
    for number in 1..=u32::MAX {
        if options.count > 0 && number > options.count {
            break;
        }
        let skip = usize::try_from(number)? % ODD * SECTOR;
        let Plan { seed, run, .. } = plan;
        let line = match perform(device, plan, thread, number, &mut buffer[skip..]) {
            Ok(()) => format!("T {seed} {run} A {thread} {number}\n"),
            Err(error) => {
                refused.store(true, Ordering::Relaxed);
                let errno = error.raw_os_error().unwrap_or(0);
                format!("T {seed} {run} E {thread} {number} {errno}\n")
            }
        };
        // One write call a line: a line reaches the host whole or not at all.
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes()).context("report to the host")?;
        out.flush().context("report to the host")?;
        if refused.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

fn perform(device: &Device, plan: &Plan, thread: u8, number: u32, buffer: &mut [u8]) -> io::Result<()> {
    let operation = plan.operation(thread, number);
    let sectors = &operation.sectors;
    let file = match operation.kind {
        Kind::Flush => return device.plain.sync_data(),
        Kind::Zeroes => return device.zero(sectors),
        Kind::Discard => return device.discard(sectors),
        Kind::Write => &device.plain,
        Kind::Durable => &device.durable,
    };
    let length = usize::try_from(sectors.end - sectors.start).map_err(io::Error::other)? * SECTOR;
    let data = &mut buffer[..length];
    for (place, bytes) in sectors.clone().zip(data.chunks_exact_mut(SECTOR)) {
        sector::fill(bytes, plan.seed, place, plan.id(thread, number));
    }
    file.write_all_at(data, sectors.start * SECTOR as u64)
}
