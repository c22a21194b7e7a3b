// SPDX-License-Identifier: GPL-2.0
//! What netraid-ctl keeps of each mirror of this machine: one file in TOML, `/etc/netraid/mirrors/NAME.toml`.
//!
//! It holds what `up` has to tell the kernel to find a mirror again. What changes while a mirror is in service, its
//! roles, generations and targets, is in the metadata of the mirror and not here.

mod store;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::gen::Role;

pub use store::Store;

/// Version of the format; it grows when a key goes or changes its meaning.
pub const VERSION: u32 = 1;
/// The bitmap of a mirror whose metadata is at the end of its disk.
const INTERNAL: &str = "internal";
/// The bitmap of a mirror without one.
const NONE: &str = "none";

/// A mirror of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MirrorConfig {
    version: u32,
    /// Its name, that of the file.
    pub name: String,
    /// Number of the block device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Path of the disk.
    pub disk: String,
    /// What tells the disk from others, where the system knows; see [`crate::disk::identity`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_id: Option<String>,
    /// The role it was made in.
    pub role: MadeAs,
    /// `internal`, `none`, or the path of the file or block device with the metadata.
    bitmap: String,
    /// Path of the file with the superblocks of a mirror without a bitmap.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// The file with the metadata was made together with the mirror, and goes with it.
    #[serde(default)]
    pub made_file: bool,
    /// The disk is shared with other machines, of which one at a time has the mirror in service.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Where this machine listens, as on the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// Milliseconds of silence after which a heartbeat is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<u32>,
    /// Milliseconds of silence after which a connection is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Bytes of a chunk, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_size: Option<u32>,
    /// When it was made.
    pub created: String,
}

/// The role a mirror was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MadeAs {
    /// By `create`.
    Source,
    /// By `join`.
    Target,
}

impl From<MadeAs> for Role {
    fn from(made: MadeAs) -> Self {
        match made {
            MadeAs::Source => Self::Source,
            MadeAs::Target => Self::Target,
        }
    }
}

/// Where the metadata of a mirror is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    /// In a file or on a block device.
    Path(String),
    /// At the end of the disk.
    Internal,
    /// Superblocks without maps, in a file.
    NoBitmap(String),
}

impl Metadata {
    /// The file or block device outside the disk.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Path(path) | Self::NoBitmap(path) => Some(path),
            Self::Internal => None,
        }
    }
}

impl MirrorConfig {
    /// What is known of a mirror when it is made.
    #[must_use]
    pub fn new(name: &str, role: MadeAs, disk: &str, metadata: Metadata) -> Self {
        let (bitmap, state) = match metadata {
            Metadata::Path(path) => (path, None),
            Metadata::Internal => (INTERNAL.to_owned(), None),
            Metadata::NoBitmap(path) => (NONE.to_owned(), Some(path)),
        };
        Self {
            version: VERSION,
            name: name.to_owned(),
            id: None,
            disk: disk.to_owned(),
            disk_id: None,
            role,
            bitmap,
            state,
            made_file: false,
            shared: false,
            listen: None,
            heartbeat: None,
            timeout: None,
            chunk_size: None,
            created: humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string(),
        }
    }

    /// Where its metadata is.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        match (self.bitmap.as_str(), &self.state) {
            (INTERNAL, _) => Metadata::Internal,
            (NONE, state) => Metadata::NoBitmap(state.clone().unwrap_or_default()),
            (path, _) => Metadata::Path(path.to_owned()),
        }
    }

    /// What a file says; `expected` is the name it must be of.
    fn parse(text: &str, expected: &str) -> Result<Self, String> {
        let table: toml::Table = text.parse().map_err(|error| place(&error, text))?;
        match table.get("version").and_then(toml::Value::as_integer) {
            Some(version) if version == i64::from(VERSION) => {}
            Some(version) if version > i64::from(VERSION) => {
                return Err(format!(
                    "it is of version {version}, this netraid-ctl knows {VERSION}; use the newer one that wrote it"
                ))
            }
            _ => return Err(format!("it has no version; `version = {VERSION}` belongs into it")),
        }
        let config: Self = toml::from_str(text).map_err(|error| place(&error, text))?;
        config.check(expected)?;
        Ok(config)
    }

    fn check(&self, expected: &str) -> Result<(), String> {
        if self.name != expected {
            return Err(format!(
                "it says that it is of mirror {}; a file has the name of its mirror",
                self.name
            ));
        }
        if (self.bitmap == NONE) != self.state.is_some() {
            return Err(format!(
                "`state`, a path, belongs to `bitmap = \"{NONE}\"` and to nothing else"
            ));
        }
        let metadata = self.metadata();
        match metadata.path() {
            Some(path) if !Path::new(path).is_absolute() => {
                Err(format!("the path of the metadata, `{path}`, does not begin with /"))
            }
            _ => Ok(()),
        }
    }
}

/// What the parser says, with the line.
fn place(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().trim_end().replace('\n', ", ");
    let before = error.span().and_then(|span| text.get(..span.start));
    match before {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

/// A file that cannot be used or written.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It does not say what it should.
    #[error("the configuration {} cannot be used: {why}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// It cannot be read, written or removed.
    #[error("the configuration {} cannot be {what}: {cause}{}", .path.display(), hint(cause))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// The next step for somebody who may not write there.
fn hint(cause: &std::io::Error) -> &'static str {
    if cause.kind() == std::io::ErrorKind::PermissionDenied {
        "; only root may do this (CAP_NET_ADMIN and CAP_SYS_ADMIN are needed); try it with sudo"
    } else {
        ""
    }
}
