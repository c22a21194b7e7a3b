// SPDX-License-Identifier: GPL-2.0
//! What is asked of the machine: files, devices, names. A test puts a machine of its own in its place.

use std::fs;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor, Mode, OFlags};

/// Number of a device, major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    /// Number of the driver.
    pub major: u32,
    /// Number within the driver.
    pub minor: u32,
}

/// What a path leads to, symbolic links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A disk or partition.
    Block(Device),
    /// A character device.
    Character,
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A socket, a pipe.
    Other,
}

/// The machine.
pub trait Host {
    /// What is at a path.
    ///
    /// # Errors
    ///
    /// As `stat(2)`.
    fn stat(&self, path: &Path) -> io::Result<Kind>;

    /// The text of a file.
    ///
    /// # Errors
    ///
    /// As `read(2)`.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The names in a directory.
    ///
    /// # Errors
    ///
    /// As `opendir(3)`.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Whether a block device could be claimed exclusively now; nothing is changed.
    ///
    /// # Errors
    ///
    /// `ResourceBusy` when somebody has claimed it, else as `open(2)`.
    fn claimable(&self, path: &Path) -> io::Result<()>;

    /// The addresses of a host name.
    ///
    /// # Errors
    ///
    /// When the name cannot be resolved.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;

    /// The index of a network interface.
    ///
    /// # Errors
    ///
    /// When there is none of that name.
    fn interface(&self, name: &str) -> io::Result<u32>;

    /// The directory relative paths begin at.
    ///
    /// # Errors
    ///
    /// When it was removed.
    fn current_dir(&self) -> io::Result<PathBuf>;

    /// The path without symbolic links.
    ///
    /// # Errors
    ///
    /// As `realpath(3)`.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;

    /// Number of the file system that a file or directory lies on.
    ///
    /// # Errors
    ///
    /// As `stat(2)`.
    fn file_system(&self, path: &Path) -> io::Result<Device>;
}

/// The machine this program runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Host for System {
    fn stat(&self, path: &Path) -> io::Result<Kind> {
        let metadata = fs::metadata(path)?;
        let kind = metadata.file_type();
        Ok(if kind.is_block_device() {
            let number = metadata.rdev();
            Kind::Block(Device {
                major: major(number),
                minor: minor(number),
            })
        } else if kind.is_char_device() {
            Kind::Character
        } else if kind.is_dir() {
            Kind::Directory
        } else if kind.is_file() {
            Kind::File
        } else {
            Kind::Other
        })
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        // Mount points are bytes, not necessarily UTF-8.
        Ok(String::from_utf8_lossy(&fs::read(path)?).into_owned())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn claimable(&self, path: &Path) -> io::Result<()> {
        // Read-only, for closing a device that was open for writing makes udev look at it again.
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())?;
        Ok(())
    }

    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }

    fn interface(&self, name: &str) -> io::Result<u32> {
        let socket = rustix::net::socket(rustix::net::AddressFamily::INET6, rustix::net::SocketType::DGRAM, None)?;
        Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
    }

    fn current_dir(&self) -> io::Result<PathBuf> {
        std::env::current_dir()
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn file_system(&self, path: &Path) -> io::Result<Device> {
        let number = fs::metadata(path)?.dev();
        Ok(Device {
            major: major(number),
            minor: minor(number),
        })
    }
}
