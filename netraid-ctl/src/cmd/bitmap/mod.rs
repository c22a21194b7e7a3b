// SPDX-License-Identifier: GPL-2.0
//! `bitmap`: look at the metadata of a mirror, and change it, with or without the module.

mod change;
mod examine;
mod show;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _, Result};
use netraid_core::meta::{DEFAULT_ASYNC_LIMIT, MAX_ASYNC_LIMIT};

use crate::cli::values::parse_async_limit;
use crate::cli::Bitmap as Args;
use crate::env::Env;
use crate::error::{Failure, Status};
use crate::gen::{self, Role};
use crate::meta::{Access, MetaFile};
use crate::nl::{Client, NlError};

/// Where the metadata is.
struct Target {
    path: PathBuf,
    /// At the end of the disk.
    internal: bool,
}

pub(super) fn run(args: &Args, env: &mut Env<'_>) -> Result<Status> {
    let (limit, path) = operands(args)?;
    let target = Target {
        path,
        internal: args.internal,
    };
    if args.action.examine {
        examine::run(&target, args.json, env)?;
    } else if args.action.clean {
        change::clean(&target, args.yes, env)?;
    } else if args.action.dirty {
        change::dirty(&target, env)?;
    } else {
        change::async_limit(&target, limit.unwrap_or(DEFAULT_ASYNC_LIMIT), env)?;
    }
    Ok(Status::Done)
}

/// The number, if there is one, and the file.
fn operands(args: &Args) -> Result<(Option<u32>, PathBuf)> {
    let usage = |text: String| anyhow!(Failure::Usage(text));
    match args.operands.as_slice() {
        [file] => Ok((None, file.into())),
        [number, file] if args.action.async_limit => {
            let parsed = number.to_str().and_then(|number| parse_async_limit(number).ok());
            let limit = parsed.ok_or_else(|| {
                usage(format!(
                    "`{}` is no number of operations; -a takes one from 0 to {MAX_ASYNC_LIMIT}",
                    number.to_string_lossy(),
                ))
            })?;
            Ok((Some(limit), file.into()))
        }
        operands => Err(usage(format!(
            "one FILE is enough, and `{}` is one too many",
            operands.last().map(|word| word.to_string_lossy()).unwrap_or_default()
        ))),
    }
}

impl Target {
    /// Opens the metadata; `action` completes "cannot ...".
    fn open(&self, access: Access, action: &str) -> Result<MetaFile> {
        MetaFile::open(&self.path, self.internal, access)
            .with_context(|| format!("cannot {action} {}", self.path.display()))
    }

    /// The loaded mirror that has its metadata there; none where the module is not loaded.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be asked.
    fn user(&self, env: &Env<'_>) -> Result<Option<gen::Mirror>> {
        let mut client = match Client::open(env.kernel) {
            Err(NlError::NotLoaded) => return Ok(None),
            other => other?,
        };
        let mirrors = client.mirrors()?;
        Ok(mirrors.into_iter().find(|mirror| self.is_of(mirror)))
    }

    fn is_of(&self, mirror: &gen::Mirror) -> bool {
        let theirs = if mirror.meta_internal {
            &mirror.disk
        } else {
            &mirror.meta_path
        };
        mirror.meta_internal == self.internal
            && theirs
                .as_ref()
                .is_some_and(|theirs| is_same(Path::new(theirs), &self.path))
    }
}

/// Whether two paths lead to the same file or device, whatever links are on the way.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        // A device is its number, the file it is opened through is not.
        Some(match found.rdev() {
            0 => (found.dev(), found.ino()),
            number => (0, number),
        })
    };
    match (identity(one), identity(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

/// Whether a mirror is in service, and its metadata changes by itself.
fn in_service(mirror: &gen::Mirror) -> bool {
    mirror.role != Some(Role::Stopped)
}
