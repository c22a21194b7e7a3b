// SPDX-License-Identifier: GPL-2.0
//! What a build leaves for the test machines, and the file that says where it is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Everything a test machine needs; all paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// The kernel, as `uname -r` says it.
    pub kver: String,
    /// The kernel's image.
    pub vmlinuz: PathBuf,
    /// The kernel's modules, with their index.
    pub modules: PathBuf,
    /// The root directory of test machines, to be mounted read-only.
    pub guest_root: PathBuf,
    /// The module.
    pub netraid_ko: PathBuf,
    /// The control program, linked statically.
    pub netraid_ctl: PathBuf,
    /// The agent, linked statically.
    pub guest_agent: PathBuf,
    /// The spec of the control interface.
    pub spec: PathBuf,
    /// The kernel's own netlink client: `cli.py`, its `lib`, the schemas, and the spec in `specs`.
    pub ynl: Option<PathBuf>,
}

impl Artifacts {
    /// Where the file for `built`, the directory of one kernel's build, is.
    #[must_use]
    pub fn file(built: &Path) -> PathBuf {
        built.join("artifacts.json")
    }

    /// Writes the file for the tests to read.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, built: &Path) -> Result<PathBuf> {
        let file = Self::file(built);
        let text = serde_json::to_string_pretty(self).context("the list of artifacts cannot be written as JSON")?;
        let beside = file.with_extension("json.new");
        fs::write(&beside, text).with_context(|| format!("cannot write {}", beside.display()))?;
        fs::rename(&beside, &file).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}
