// SPDX-License-Identifier: GPL-2.0
//! The archive that a machine boots from: the agent, the modules that reach the root, what is
//! under test, and the machine's own configuration.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{ensure, Context as _, Result};
use netraid_guest::proto::{Config, ARTIFACTS_IN_ARCHIVE, CONFIG_PATH};

use crate::{artifacts::Artifacts, cpio::Archive};

/// Modules that Debian's kernel needs for its root, its network and the tests' disks.
const NEEDED: [&str; 3] = ["virtio_blk", "virtio_net", "ext4"];

/// What all machines of a cluster boot from; [`BootSet::for_machine`] adds the rest.
#[derive(Debug)]
pub struct BootSet {
    archive: Vec<u8>,
    /// Paths of the modules in the archive, in the order they must be loaded.
    modules: Vec<String>,
}

impl BootSet {
    /// Gathers what is the same for all machines.
    ///
    /// # Errors
    ///
    /// When an artifact is missing or a module cannot be unpacked.
    pub fn new(artifacts: &Artifacts) -> Result<Self> {
        let mut archive = Archive::default();
        for folder in ["proc", "sys", "dev", "newroot", ARTIFACTS_IN_ARCHIVE] {
            archive.directory(folder);
        }
        archive.tree("init", &artifacts.guest_agent)?;
        let mut modules = Vec::new();
        for path in load_order(&artifacts.modules, &NEEDED)? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            let place = format!("/modules/{}", name.split(".ko").next().unwrap_or(&name));
            archive.file(&place, &unpacked(&path)?);
            modules.push(place);
        }
        for (name, path) in [
            ("netraid.ko", &artifacts.netraid_ko),
            ("netraid-ctl", &artifacts.netraid_ctl),
            ("netraid.yaml", &artifacts.spec),
            ("ynl", &artifacts.ynl),
        ] {
            if let Some(path) = path {
                archive.tree(&format!("{ARTIFACTS_IN_ARCHIVE}/{name}"), path)?;
            }
        }
        Ok(Self {
            archive: archive.finish(),
            modules,
        })
    }

    /// Writes the boot archive of one machine to `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn for_machine(&self, mut config: Config, path: &Path) -> Result<()> {
        config.modules.clone_from(&self.modules);
        let mut own = Archive::default();
        own.file(CONFIG_PATH, &serde_json::to_vec(&config)?);
        // The kernel unpacks several archives that follow each other.
        let mut bytes = self.archive.clone();
        bytes.extend(own.finish());
        fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
    }
}

/// Paths of the named modules and all they depend on, each after what it depends on.
fn load_order(modules: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let list = modules.join("modules.dep");
    let text = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    let builtin = fs::read_to_string(modules.join("modules.builtin")).unwrap_or_default();
    let mut depends = HashMap::new();
    for line in text.lines() {
        if let Some((module, needs)) = line.split_once(':') {
            depends.insert(module, needs.split_whitespace().collect::<Vec<_>>());
        }
    }
    let is = |path: &str, name: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.split('.').next() == Some(name)
    };
    let mut order: Vec<&str> = Vec::new();
    for name in names {
        let Some((module, needs)) = depends.iter().find(|(path, _)| is(path, name)) else {
            let known = builtin.lines().any(|path| is(path, name));
            ensure!(known, "the kernel in {} has no module {name}", modules.display());
            continue;
        };
        // modules.dep lists all that a module needs, what is to be loaded first at the end.
        for path in needs.iter().rev().chain([module]) {
            if !order.contains(path) {
                order.push(path);
            }
        }
    }
    Ok(order.into_iter().map(|path| modules.join(path)).collect())
}

/// The module's plain content; unpacking here is cheaper than in the machine.
fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let tool = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("read {}", path.display())),
    };
    let mut command = Command::new(tool);
    command.arg("-dc").arg(path);
    let output = command
        .output()
        .with_context(|| format!("run {command:?}: install {tool}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(output.stdout)
}
