// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask`: everything that is done in a checkout of netraid.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use xtask::env;
use xtask::kernel::Series;
use xtask::paths::Paths;
use xtask::progress::{seconds, Progress};
use xtask::{bench, check, codegen, demo, mutants, soak, test, vm};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Everything that is done in a checkout of netraid"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make or renew the environment: host packages, build root, guest root, kernels, Rust metadata
    Setup {
        #[command(flatten)]
        kernel: KernelArg,
        /// Ask Debian's mirror for newer kernels even if the last time was not long ago
        #[arg(long)]
        refresh: bool,
    },
    /// Build netraid.ko, netraid-ctl and the agent of test machines
    Build {
        #[command(flatten)]
        kernel: KernelArg,
    },
    /// Generate C and Rust from the spec of the control interface
    Codegen {
        /// Only compare with what is committed
        #[arg(long)]
        check: bool,
    },
    /// Show the main job: a disk mirrored from one virtual machine to another survives the death of the first
    Demo {
        #[command(flatten)]
        kernel: KernelArg,
        /// Write the figures into this file, too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// How often, each time with the kill at another moment
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Chooses the moments of the kills, to repeat a demonstration
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Let a mirror in virtual machines stand one random fault after the other under load, and check every sector
    Soak {
        #[command(flatten)]
        kernel: KernelArg,
        /// How long
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
        minutes: u32,
        /// Chooses the faults, to have the same ones again
        #[arg(long)]
        seed: Option<u64>,
        /// Only faults whose name contains this; can be given several times
        #[arg(long, value_name = "NAME")]
        only: Vec<String>,
        /// Write the report into this file, too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
    },
    /// Measure netraid beside its peers, DRBD and md over NVMe/TCP and nbd, in one virtual machine
    Bench {
        /// Names, or parts of names, of what to measure [default: everything]
        names: Vec<String>,
        #[command(flatten)]
        kernel: KernelArg,
        /// One short round with few loads, in less than five minutes on a quiet machine
        #[arg(long)]
        quick: bool,
        /// How often everybody has a turn; the medians are shown [default: 3, 1 with --quick]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: Option<u32>,
        /// Seconds for which each load runs [default: 4, 1 with --quick]
        #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=600))]
        seconds: Option<u32>,
        /// Write the figures into this file, too
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Draw them into this file [default: bench.svg beside what is built for the kernel]
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
    },
    /// Test the tests: break one promise after the other, and expect a test to notice
    Mutants {
        /// Names, or parts of names, of patches in xtask/mutants
        names: Vec<String>,
    },
    /// Boot a pair of virtual machines with netraid, to try it by hand
    Vm {
        #[command(flatten)]
        kernel: KernelArg,
    },
    /// Look at the sources: format, lints, generated code, where `unsafe` is
    Check {
        #[command(flatten)]
        kernel: KernelArg,
    },
    /// Check, build and test everything; with names only the tests in virtual machines whose name contains one of them
    Test {
        /// Names, or parts of names, of tests
        names: Vec<String>,
        /// Only on this kernel [default: everything on 7.3, a chosen part on 7.2]
        #[arg(long)]
        kernel: Option<Series>,
        /// List the tests that run in virtual machines
        #[arg(long)]
        list: bool,
    },
}

#[derive(Args)]
struct KernelArg {
    /// Which kernel
    #[arg(long, default_value = "7.3")]
    kernel: Series,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let progress = Progress::new();
    match run(cli.command, &progress) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, progress: &Progress) -> Result<ExitCode> {
    let paths = Paths::find()?;
    match command {
        Command::Setup { kernel, refresh } => {
            let begin = Instant::now();
            let env = env::require(&paths, kernel.kernel, refresh, progress)?;
            progress.line(&format!(
                "Ready for {} after {}.",
                env.kernel.kver,
                seconds(begin.elapsed())
            ));
        }
        Command::Build { kernel } => {
            build(&paths, kernel.kernel, progress)?;
        }
        Command::Codegen { check } => codegen::run(&env::any(&paths, progress)?, check, progress)?,
        Command::Demo {
            kernel,
            json,
            rounds,
            seed,
        } => {
            let (env, programs) = xtask::ready(&paths, kernel.kernel, progress)?;
            let artifacts = xtask::build(&env, programs, progress)?.artifacts;
            demo::run(&demo::Options {
                artifacts,
                json,
                rounds,
                seed,
            })?;
        }
        Command::Soak {
            kernel,
            minutes,
            seed,
            only,
            json,
        } => {
            let (env, programs) = xtask::ready(&paths, kernel.kernel, progress)?;
            let artifacts = xtask::build(&env, programs, progress)?.artifacts;
            let logs = paths.built(&artifacts.kver).join("soak-logs");
            return soak::run(&soak::Options {
                artifacts,
                minutes,
                seed,
                only,
                json,
                logs,
            });
        }
        Command::Bench {
            names,
            kernel,
            quick,
            rounds,
            seconds,
            json,
            svg,
        } => {
            let (env, programs) = xtask::ready(&paths, kernel.kernel, progress)?;
            let artifacts = xtask::build(&env, programs, progress)?.artifacts;
            let echo = bench::echo::build(&env, progress)?;
            let svg = svg.unwrap_or_else(|| paths.built(&artifacts.kver).join("bench.svg"));
            bench::run(
                &bench::Options {
                    artifacts,
                    echo,
                    names,
                    quick,
                    rounds,
                    seconds,
                    json,
                    svg,
                },
                progress,
            )?;
        }
        Command::Mutants { names } => {
            return Ok(mutants::run(&paths, &names, progress)?.finish());
        }
        Command::Vm { kernel } => {
            let (env, programs) = xtask::ready(&paths, kernel.kernel, progress)?;
            vm::run(&xtask::build(&env, programs, progress)?.artifacts)?;
        }
        Command::Check { kernel } => {
            return Ok(check::run(&paths, kernel.kernel, progress)?.finish());
        }
        Command::Test { names, kernel, list } => {
            return test::run(&paths, &test::Request { names, kernel, list }, progress);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn build(paths: &Paths, series: Series, progress: &Progress) -> Result<()> {
    let (env, programs) = xtask::ready(paths, series, progress)?;
    codegen::run(&env, true, progress)?;
    let built = xtask::build(&env, programs, progress)?;
    progress.line(built.module.info.trim_end());
    println!("{}", built.list.display());
    Ok(())
}
