// SPDX-License-Identifier: GPL-2.0
//! File system images made from folders, so that machines read them from a disk.
//!
//! A disk is several times faster than a shared folder under an emulated processor, and any
//! number of machines share one image, each with its own changes thrown away at its end.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash as _, Hasher as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{ensure, Context as _, Result};

/// Room that a machine can use on its root, in bytes.
const SPARE: u64 = 256 << 20;
const BLOCK: u64 = 4096;

/// Held while an image is made: tests that start at the same time want the same one.
static MAKING: Mutex<()> = Mutex::new(());

/// The ext4 image of the folder `tree`, made beside it when there is none yet.
///
/// # Errors
///
/// When the folder cannot be read, or mke2fs is missing or fails (most often: disk full).
pub fn ensure_image(tree: &Path) -> Result<PathBuf> {
    let meta = fs::metadata(tree).with_context(|| format!("look at {}", tree.display()))?;
    let name = tree
        .file_name()
        .with_context(|| format!("{} has no name", tree.display()))?;
    let mut key = DefaultHasher::new();
    (tree, meta.ino(), meta.mtime(), meta.mtime_nsec(), SPARE).hash(&mut key);
    let folder = tree.parent().unwrap_or(Path::new("/"));
    let file = format!("{}-{:016x}.ext4", name.to_string_lossy(), key.finish());
    let image = folder.join(file);
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if image.exists() {
        return Ok(image);
    }
    let (mut bytes, mut files) = (0, 0);
    measure(tree, &mut bytes, &mut files)?;
    // Made under another name first: a build that is killed must not leave half an image.
    let unfinished = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let outcome = make(
        tree,
        &unfinished,
        bytes + bytes / 20 + SPARE,
        files + files / 10 + 10_000,
    );
    let outcome =
        outcome.and_then(|()| fs::rename(&unfinished, &image).with_context(|| format!("name {}", image.display())));
    if outcome.is_err() {
        let _already_failed = fs::remove_file(&unfinished);
    }
    outcome.map(|()| image)
}

fn measure(tree: &Path, bytes: &mut u64, files: &mut u64) -> Result<()> {
    for entry in fs::read_dir(tree).with_context(|| format!("list {}", tree.display()))? {
        let entry = entry?;
        let meta = entry.metadata()?;
        *files += 1;
        *bytes += meta.len().next_multiple_of(BLOCK);
        if meta.is_dir() {
            measure(&entry.path(), bytes, files)?;
        }
    }
    Ok(())
}

fn make(tree: &Path, image: &Path, bytes: u64, files: u64) -> Result<()> {
    // Without journal: an image is never written itself, and a crashed machine's copy is gone.
    let mut command = Command::new("/usr/sbin/mke2fs");
    command
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal,^resize_inode"])
        .args(["-E", "lazy_itable_init=1,nodiscard", "-N", &files.to_string()])
        .arg("-d")
        .arg(tree)
        .arg(image)
        .arg(format!("{}k", bytes.div_ceil(1024)));
    let output = command
        .output()
        .with_context(|| format!("run {command:?}: install the package e2fsprogs, or run `cargo xtask setup`"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim_end()
    );
    Ok(())
}
