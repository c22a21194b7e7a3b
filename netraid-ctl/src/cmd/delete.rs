// SPDX-License-Identifier: GPL-2.0
//! `delete`: forget a mirror.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Result;

use super::support::by_name;
use crate::cli::Delete;
use crate::config::{Metadata, MirrorConfig, Store};
use crate::env::Env;
use crate::error::{errno::ENOENT, refused, Status};
use crate::gen::{cmd, Mirror};
use crate::nl::{Client, NlError};

pub(super) fn run(args: &Delete, env: &mut Env<'_>) -> Result<Status> {
    let name = &args.mirror.name;
    let store = Store::new(env.paths);
    let is_configured = store.names()?.contains(name);
    // A configuration that cannot be read goes, too; what it says of the bitmap is then not known.
    let config = store.load(name).unwrap_or_else(|error| {
        // When stderr is closed there is nobody left to tell.
        let _told = env.note(&format!("warning: {error}; if it names a bitmap, remove that yourself"));
        None
    });
    let request = Mirror {
        force: args.force,
        ..by_name(name)
    };
    let deleted = Client::open(env.kernel).and_then(|mut client| client.request(cmd::MIRROR_DEL, &request));
    match deleted {
        Ok(_) => {}
        Err(error) if is_configured && is_not_loaded(&error) => {}
        Err(error) => return Err(refused(&format!("delete mirror {name}"), error, |_| None)),
    }
    let bitmap = config.map(|config| remove_bitmap(&config, env)).transpose()?;
    store.remove(name)?;
    writeln!(env.out, "Mirror {name} is forgotten; the content of its disk stays.")?;
    if let Some(told) = bitmap.flatten() {
        writeln!(env.out, "{told}")?;
    }
    Ok(Status::Done)
}

/// Whether the kernel does not have the mirror.
fn is_not_loaded(error: &NlError) -> bool {
    matches!(error, NlError::NotLoaded) || error.errno() == Some(ENOENT)
}

/// Removes the file that was made for the metadata; what was there before the mirror stays, and the user is told.
fn remove_bitmap(config: &MirrorConfig, env: &mut Env<'_>) -> io::Result<Option<String>> {
    let metadata = config.metadata();
    let Some(path) = metadata.path() else {
        return Ok((metadata == Metadata::Internal)
            .then(|| format!("Its bitmap stays at the end of {}, without a meaning.", config.disk)));
    };
    if !config.made_file {
        return Ok(Some(format!(
            "Its bitmap {path} was there before the mirror and stays; another mirror takes it when it is blank again."
        )));
    }
    // The path may lead to something else by now, such as a block device.
    if !fs::symlink_metadata(Path::new(path)).is_ok_and(|file| file.is_file()) {
        return Ok(None);
    }
    if let Err(error) = fs::remove_file(path) {
        env.note(&format!("warning: its bitmap {path} cannot be removed: {error}"))?;
    }
    Ok(None)
}
