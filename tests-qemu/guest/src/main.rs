// SPDX-License-Identifier: GPL-2.0
//! The one program that a test machine boots with.
//!
//! As PID 1 it mounts the root file system and keeps the machine running ([`init`]); started
//! again as `agent` it carries out what the host asks ([`agent`]); its other sub-commands are
//! workloads that tests start in the machine.

mod agent;
mod direct;
mod exec;
mod fuzz;
mod init;
mod scatter;
mod starve;
mod state;
mod tree;
mod truth_read;
mod truth_write;
mod verify;
mod wake;
mod writer;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Agent and workloads of a netraid test machine")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the host on the virtio-serial port
    Agent,
    /// Write blocks that can be verified; each write is reported once it was acknowledged
    Write(writer::Options),
    /// Write a little to each of some chunks
    Scatter(scatter::Options),
    /// Read a device written by `write` and print what it holds as JSON
    Verify(verify::Options),
    /// Write, flush, discard and zero sectors by a plan; each operation is reported once it was acknowledged
    Truth(truth_write::Options),
    /// Read a device written by `truth` and print what each sector holds as JSON
    TruthRead(truth_read::Options),
    /// Copy a tree and record a checksum of each file
    TreeCopy(tree::CopyOptions),
    /// Speak the wire protocol to the module, mostly wrongly
    FuzzWire(fuzz::WireOptions),
    /// Speak the control interface to the module, mostly wrongly
    FuzzNetlink(fuzz::NetlinkOptions),
    /// Be a peer that does everything right up to a point, and from there on only says that it is there
    Stage(fuzz::StageOptions),
    /// Run a program and let one of its allocations fail
    Starve(starve::Options),
    /// Mount the disk that outlives the machine
    State,
    /// Compare a tree with the recorded checksums
    TreeCheck {
        /// Folder to check
        dir: PathBuf,
        /// File with the checksums
        sums: PathBuf,
    },
}

fn main() -> ExitCode {
    if std::process::id() == 1 {
        return init::run();
    }
    let outcome = match Cli::parse().command {
        Command::Starve(options) => return end(starve::run(&options)),
        Command::Agent => agent::run(),
        Command::Write(options) => writer::run(&options),
        Command::Scatter(options) => scatter::run(&options),
        Command::Verify(options) => verify::run(&options),
        Command::Truth(options) => truth_write::run(&options),
        Command::TruthRead(options) => truth_read::run(&options),
        Command::TreeCopy(options) => tree::copy(&options),
        Command::FuzzWire(options) => fuzz::fuzz_wire(&options),
        Command::FuzzNetlink(options) => fuzz::fuzz_netlink(&options),
        Command::Stage(options) => fuzz::stage(&options),
        Command::State => state::mount_disk(),
        Command::TreeCheck { dir, sums } => tree::check(&dir, &sums),
    };
    end(outcome.map(|()| ExitCode::SUCCESS))
}

fn end(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("netraid-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
