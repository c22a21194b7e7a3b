// SPDX-License-Identifier: GPL-2.0
//! Writes the file that tells the test machines where everything is that was built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
pub use tests_qemu::Artifacts;

/// Writes the list of `artifacts` into `built`, the directory of one kernel's build, and returns the file.
///
/// # Errors
///
/// When it cannot be written.
pub fn write(artifacts: &Artifacts, built: &Path) -> Result<PathBuf> {
    let file = built.join("artifacts.json");
    let text = serde_json::to_string_pretty(artifacts).context("the list of artifacts cannot be written as JSON")?;
    let beside = file.with_extension("json.new");
    fs::write(&beside, text).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, &file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
