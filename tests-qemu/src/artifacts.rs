// SPDX-License-Identifier: GPL-2.0
//! What was built and is to be tested, as `cargo xtask build` lists it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Environment variable that names the list.
pub const VARIABLE: &str = "NETRAID_ARTIFACTS";

/// Paths of everything a machine is made of; all absolute.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Artifacts {
    /// Kernel release.
    pub kver: String,
    /// Whether it watches itself and is several times as slow.
    #[serde(default)]
    pub debug: bool,
    /// Whether it watches for data races, and for nothing else.
    #[serde(default)]
    pub races: bool,
    /// The kernel.
    pub vmlinux: PathBuf,
    /// The folder `lib/modules/<kver>` with `modules.dep`.
    pub modules: PathBuf,
    /// The root file system of the machines, a folder.
    pub guest_root: PathBuf,
    /// The module under test; absent while only the framework is tested.
    pub netraid_ko: Option<PathBuf>,
    /// The control program under test.
    pub netraid_ctl: Option<PathBuf>,
    /// The agent, linked statically.
    pub guest_agent: PathBuf,
    /// The control interface (netraid.yaml).
    pub spec: Option<PathBuf>,
    /// The kernel's YNL client: a folder with `cli.py`.
    pub ynl: Option<PathBuf>,
}

impl Artifacts {
    /// Reads the list that the environment names.
    ///
    /// # Errors
    ///
    /// When the variable is not set or the file cannot be read.
    pub fn from_env() -> Result<Self> {
        let path = env::var_os(VARIABLE)
            .with_context(|| format!("{VARIABLE} is not set: run the tests with `cargo xtask test`"))?;
        Self::read(Path::new(&path))
    }

    /// Reads the list in `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not such a list.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path)
            .with_context(|| format!("read the list of artifacts {}: run `cargo xtask build`", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is not a list of artifacts", path.display()))
    }
}
