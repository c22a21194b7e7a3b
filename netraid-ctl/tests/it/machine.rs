// SPDX-License-Identifier: GPL-2.0
//! A machine with a few disks, and a way to run the program on it.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use clap::Parser as _;
use netraid_ctl::cli::Cli;
use netraid_ctl::disk::{Device, Host, Kind};
use netraid_ctl::env::{Env, Paths, Terminals};
use netraid_ctl::error::{status_of, Status};
use tempfile::TempDir;

use crate::fake::Fake;

/// Files, devices and names of a machine.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) files: HashMap<PathBuf, String>,
    pub(crate) nodes: HashMap<PathBuf, Kind>,
    pub(crate) claimed: Vec<PathBuf>,
    pub(crate) names: HashMap<String, IpAddr>,
    /// The file systems of directories; one without a disk everywhere else.
    pub(crate) file_systems: HashMap<PathBuf, Device>,
    pub(crate) paths: Paths,
    /// Where real files are kept, as long as there is the machine.
    pub(crate) real: Rc<TempDir>,
}

/// vda is mounted with one partition, vdb is free, vdc has a swap partition and a free one, vdd is in a RAID, vde is
/// read-only, vdf is claimed.
impl Default for Machine {
    fn default() -> Self {
        let real = TempDir::new().unwrap();
        let mut machine = Self {
            files: HashMap::new(),
            nodes: HashMap::new(),
            claimed: Vec::new(),
            names: HashMap::new(),
            file_systems: HashMap::new(),
            paths: Paths {
                config: real.path().join("etc"),
                state: real.path().join("lib"),
                defaults: "/etc/default/netraid".into(),
            },
            real: Rc::new(real),
        };
        machine.file("/proc/sys/kernel/hostname", "eve\n");
        machine.file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        for (at, name) in ["vda", "vdb", "vdc", "vdd", "vde", "vdf", "netraid0"]
            .iter()
            .enumerate()
        {
            machine.disk(name, u32::try_from(at).unwrap() * 16, None);
        }
        machine.disk("vda1", 1, Some("vda"));
        machine.disk("vdc1", 33, Some("vdc"));
        machine.disk("vdc2", 34, Some("vdc"));
        machine.file(
            "/proc/self/mountinfo",
            "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n",
        );
        machine.file(
            "/proc/swaps",
            "Filename\tType\tSize\tUsed\tPriority\n/dev/vdc1 partition 1024 0 -2\n",
        );
        machine.file("/sys/class/block/vdd/holders/md127", "");
        machine.file("/sys/class/block/vde/ro", "1\n");
        machine.claimed.push("/dev/vdf".into());
        machine.nodes.insert("/dev/null".into(), Kind::Character);
        machine.nodes.insert("/tmp".into(), Kind::Directory);
        machine.nodes.insert("/tmp/file".into(), Kind::File);
        machine
            .nodes
            .insert("/work/vdb".into(), machine.nodes["/dev/vdb".as_ref() as &Path]);
        machine.names.insert("adam".to_owned(), [10, 0, 0, 2].into());
        machine
    }
}

impl Machine {
    pub(crate) fn file(&mut self, path: &str, text: &str) {
        self.files.insert(path.into(), text.to_owned());
    }

    /// The path of a file in the directory of bitmaps.
    pub(crate) fn state(&self, file: &str) -> String {
        let folder = self.paths.state.canonicalize();
        let path = folder.unwrap_or_else(|_| self.paths.state.clone()).join(file);
        path.to_str().unwrap().to_owned()
    }

    /// What is kept of a mirror, as text.
    pub(crate) fn config(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.paths.config.join("mirrors").join(format!("{name}.toml"))).ok()
    }

    /// Another disk, of the same size.
    pub(crate) fn add_disk(&mut self, name: &str, minor: u32) {
        self.disk(name, minor, None);
    }

    pub(crate) fn disk(&mut self, name: &str, minor: u32, whole: Option<&str>) {
        let folder = format!("/sys/class/block/{name}");
        self.file(&format!("{folder}/dev"), &format!("254:{minor}\n"));
        self.file(&format!("{folder}/size"), "2097152\n");
        self.file(&format!("{folder}/ro"), "0\n");
        match whole {
            Some(whole) => {
                self.file(&format!("{folder}/partition"), "1\n");
                self.file(&format!("/sys/block/{whole}/{name}/dev"), "");
            }
            None => self.file(&format!("/sys/block/{name}/dev"), ""),
        }
        self.nodes
            .insert(format!("/dev/{name}").into(), Kind::Block(Device { major: 254, minor }));
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Host for Machine {
    fn stat(&self, path: &Path) -> io::Result<Kind> {
        if path.starts_with(self.real.path()) {
            let kind = std::fs::metadata(path)?.file_type();
            return Ok(if kind.is_dir() { Kind::Directory } else { Kind::File });
        }
        self.nodes.get(path).copied().ok_or_else(missing)
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(missing)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let below = |file: &PathBuf| {
            let rest = file.strip_prefix(path).ok()?;
            Some(rest.components().next()?.as_os_str().to_str().unwrap().to_owned())
        };
        let mut names: Vec<String> = self.files.keys().filter_map(below).collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(missing());
        }
        Ok(names)
    }

    fn claimable(&self, path: &Path) -> io::Result<()> {
        if self.claimed.iter().any(|claimed| claimed == path) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        Ok(())
    }

    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.names.get(name).map(|&ip| vec![ip]).ok_or_else(missing)
    }

    fn interface(&self, name: &str) -> io::Result<u32> {
        if name == "eth1" {
            Ok(3)
        } else {
            Err(missing())
        }
    }

    fn current_dir(&self) -> io::Result<PathBuf> {
        Ok("/work".into())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        if path.starts_with(self.real.path()) {
            return std::fs::canonicalize(path);
        }
        self.stat(path).map(|_| path.to_owned())
    }

    fn file_system(&self, path: &Path) -> io::Result<Device> {
        let nearest = path.ancestors().find_map(|path| self.file_systems.get(path));
        Ok(nearest.copied().unwrap_or(Device { major: 0, minor: 50 }))
    }
}

/// How a run of the program went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) status: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program on a machine, with nobody at a terminal.
pub(crate) fn run_on(machine: &Machine, kernel: &Fake, line: &str) -> Ran {
    run_with(machine, kernel, line, None)
}

/// Runs the program on the usual machine, with nobody at a terminal.
pub(crate) fn run(kernel: &Fake, line: &str) -> Ran {
    run_on(&Machine::default(), kernel, line)
}

/// Runs the program; with an `answer` somebody sits at the terminal and types it.
pub(crate) fn run_with(machine: &Machine, kernel: &Fake, line: &str, answer: Option<&str>) -> Ran {
    let words = std::iter::once("netraid-ctl").chain(line.split_whitespace());
    let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut input = answer.unwrap_or_default().as_bytes();
    let terminals = Terminals {
        input: answer.is_some(),
        ..Terminals::default()
    };
    let mut env = Env {
        kernel,
        host: machine,
        paths: &machine.paths,
        clock: kernel,
        input: &mut input,
        out: &mut out,
        err: &mut err,
        terminals,
    };
    let status = match netraid_ctl::cmd::run(cli.command, &mut env) {
        Ok(status) => status,
        Err(failure) => {
            writeln!(env.err, "netraid-ctl: {failure:#}").unwrap();
            status_of(&failure).unwrap_or(Status::Done)
        }
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran {
        status: status as u8,
        out: text(out),
        err: text(err),
    }
}
