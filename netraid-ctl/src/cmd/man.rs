// SPDX-License-Identifier: GPL-2.0
//! `man`: manual pages, made from the command line's own description.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::cli::{Cli, Man};
use crate::env::Env;
use crate::error::Status;

pub(super) fn run(args: &Man, env: &mut Env<'_>) -> Result<Status> {
    fs::create_dir_all(&args.dir).with_context(|| format!("the directory {} cannot be made", args.dir.display()))?;
    let command = Cli::command();
    let name = command.get_name().to_owned();
    write(&command, &name, &args.dir)?;
    let mut pages = 1;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let page = format!("{name}-{}", sub.get_name());
        // The name of the page, and what is typed.
        let sub = sub
            .clone()
            .display_name(&page)
            .bin_name(format!("{name} {}", sub.get_name()));
        write(&sub, &page, &args.dir)?;
        pages += 1;
    }
    writeln!(env.out, "{pages} manual pages are in {}.", args.dir.display())?;
    Ok(Status::Done)
}

fn write(command: &clap::Command, page: &str, dir: &Path) -> Result<()> {
    let path = dir.join(format!("{page}.8"));
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(page)
        .section("8")
        .render(&mut text)
        .and_then(|()| fs::write(&path, &text))
        .with_context(|| format!("the manual page {} cannot be written", path.display()))
}
