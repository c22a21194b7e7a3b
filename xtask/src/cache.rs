// SPDX-License-Identifier: GPL-2.0
//! The cache: things that are slow to make, kept by what they were made from.
//!
//! # Invariants
//!
//! * What has its final name is complete: it was made beside under another name and renamed.
//! * Only the holder of the lock makes or removes anything. The lock is inherited by the programs xtask starts, so
//!   what is left of a killed xtask keeps it until it has ended, too.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{flock, FlockOperation};
use rustix::io::{fcntl_setfd, FdFlags};
use sha2::{Digest as _, Sha256};

use crate::host::Admin;
use crate::progress::{Progress, Step};

/// Marks what is being made; such a name is left over when its maker was killed.
const MAKING: &str = ".making-";

/// The right to change the cache; ends when dropped.
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock file `path`, waiting while another xtask has it.
    ///
    /// # Errors
    ///
    /// When the file cannot be made or locked.
    pub fn take(path: &Path, progress: &Progress) -> Result<Self> {
        let dir = path.parent().context("a lock without a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let file = File::create(path).with_context(|| format!("cannot write the lock {}", path.display()))?;
        let failed = || format!("cannot lock {}", path.display());
        if flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_err() {
            progress.line(&format!(
                "Another xtask works in {}; waiting until it is done.",
                dir.display()
            ));
            flock(file.as_fd(), FlockOperation::LockExclusive).with_context(failed)?;
        }
        fcntl_setfd(file.as_fd(), FdFlags::empty()).with_context(failed)?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Unlocking explicitly ends it for programs that inherited the file as well. Failing is not possible for a
        // file this process has locked, and the end of the process unlocks in any case.
        let _ = flock(self.file.as_fd(), FlockOperation::Unlock);
    }
}

/// Makes the directory `finished` unless it is there: `make` gets the name to make it under.
///
/// # Errors
///
/// What `make` fails with; or when the result cannot be renamed.
pub fn once(_lock: &Lock, finished: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if finished.exists() {
        return Ok(());
    }
    let parent = finished.parent().context("a cached thing without a directory")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make the directory {}", parent.display()))?;
    let mut making = finished.as_os_str().to_owned();
    making.push(format!("{MAKING}{}", std::process::id()));
    let making = PathBuf::from(making);
    make(&making)?;
    fs::rename(&making, finished)
        .with_context(|| format!("cannot rename {} to {}", making.display(), finished.display()))
}

/// Removes what killed runs left half-made in the directories `dirs`.
///
/// # Errors
///
/// When a directory cannot be read or a remainder cannot be removed.
pub fn sweep(_lock: &Lock, dirs: &[PathBuf], admin: &Admin) -> Result<()> {
    for dir in dirs {
        let Ok(entries) = fs::read_dir(dir) else { continue };
        for entry in entries {
            let path = entry
                .with_context(|| format!("cannot read the directory {}", dir.display()))?
                .path();
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().contains(MAKING))
            {
                admin
                    .cmd("rm")
                    .args(["-rf", "--one-file-system", "--"])
                    .arg(&path)
                    .run(&Step::silent())?;
            }
        }
    }
    Ok(())
}

/// A short name for what something is made from.
#[must_use]
pub fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize()
        .iter()
        .take(5)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{fs, key, once, Lock, Progress};

    #[test]
    fn keys_depend_on_every_part() {
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        assert_ne!(key(&["a", "b"]), key(&["ab"]));
        assert_ne!(key(&["a", "b"]), key(&["b", "a"]));
    }

    #[test]
    fn what_failed_does_not_get_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(&dir.path().join("lock"), &Progress::new()).unwrap();
        let wanted = dir.path().join("thing");
        let failed = once(&lock, &wanted, |making| {
            fs::create_dir(making)?;
            anyhow::bail!("killed")
        });
        assert!(failed.is_err() && !wanted.exists());
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        for path in left.iter().filter(|path| path.is_dir()) {
            fs::remove_dir(path).unwrap();
        }
        once(&lock, &wanted, |making| Ok(fs::create_dir(making)?)).unwrap();
        assert!(wanted.exists());
        once(&lock, &wanted, |_| anyhow::bail!("made twice")).unwrap();
    }
}
