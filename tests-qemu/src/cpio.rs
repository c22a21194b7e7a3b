// SPDX-License-Identifier: GPL-2.0
//! Writes the archive that the kernel unpacks at boot ("newc" format, see the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive in the making.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// Adds a file of that content; its folders are added as needed.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_start_matches('/');
        let mut at = 0;
        while let Some(slash) = path[at..].find('/') {
            self.directory(&path[..at + slash]);
            at += slash + 1;
        }
        self.entry(path, PROGRAM, content);
    }

    /// Adds a folder.
    pub fn directory(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY, &[]);
        }
    }

    /// Adds a file or a whole folder of the host.
    ///
    /// # Errors
    ///
    /// When something cannot be read.
    pub fn tree(&mut self, path: &str, from: &Path) -> Result<()> {
        if !from.is_dir() {
            let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
            self.file(path, &content);
            return Ok(());
        }
        self.directory(path);
        for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            if name != "__pycache__" {
                self.tree(&format!("{path}/{}", name.to_string_lossy()), &entry.path())?;
            }
        }
        Ok(())
    }

    /// The archive, ended.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (name, size) = (path.len() + 1, content.len());
        // Inode, mode, owner, group, links, time, size, four device numbers, name length, sum.
        let fields = [self.entries, mode, 0, 0, 1, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes
            .extend_from_slice(format!("{size:08x}{:032x}{name:08x}{:08x}", 0, 0).as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_folders_come_before_their_files() {
        let mut archive = Archive::default();
        archive.file("/a/b/c", b"hello");
        archive.file("/a/b/d", b"");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        // What follows the magic is 104 digits, then the name with its NUL.
        let name = |entry: &str| entry[104..].split('\0').next().map(str::to_owned);
        let names: Vec<_> = text.split("070701").skip(1).filter_map(name).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d", "TRAILER!!!"]);
        assert_eq!(bytes.len() % 4, 0);
        assert!(text.starts_with("070701"));
    }
}
