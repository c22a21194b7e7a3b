// SPDX-License-Identifier: GPL-2.0
//! Messages between the host and the agent: one JSON object per line.
//!
//! The host sends [`Request`]s; the agent answers each with messages that carry the same id.
//! A request other than [`Op::Spawn`] gets exactly one answer. A spawned job sends any number
//! of [`Event::Line`]s and then one [`Event::Done`].

use serde::{Deserialize, Serialize};

/// Name of the virtio-serial port that carries requests and answers.
pub const RPC_PORT: &str = "netraid.rpc";
/// Name of the virtio-serial port on which the verified writer reports acknowledged writes.
pub const ACK_PORT: &str = "netraid.ack";
/// Where the boot archive holds the [`Config`].
pub const CONFIG_PATH: &str = "/config.json";
/// Folder of the boot archive whose content is copied to [`ARTIFACTS_DIR`].
pub const ARTIFACTS_IN_ARCHIVE: &str = "/artifacts";
/// Where a booted machine finds the module, the control program and the control interface.
pub const ARTIFACTS_DIR: &str = "/run/netraid";
/// Serial number of the disk that holds the root file system.
pub const ROOT_SERIAL: &str = "root";
/// Serial number of the disk that holds the kernel's modules.
pub const MODULES_SERIAL: &str = "modules";
/// Serial number of the disk that keeps what netraid keeps between two boots.
pub const STATE_SERIAL: &str = "state";
/// Where that disk is mounted.
pub const STATE_DIR: &str = "/state";

/// What one machine is told at boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Config {
    /// Host name.
    pub hostname: String,
    /// 32 hexadecimal digits for /etc/machine-id.
    pub machine_id: String,
    /// Kernel release, the name of the folder in /lib/modules.
    pub kver: String,
    /// Modules needed to reach the root file system, as paths in the boot archive, in load order.
    pub modules: Vec<String>,
    /// Network interfaces.
    pub nics: Vec<Nic>,
    /// Names the data disks must have, such as `vdb`; each disk's serial number is its name.
    pub disks: Vec<String>,
    /// Lines for /etc/hosts.
    pub hosts: Vec<String>,
    /// It greets with [`Event::Waits`] before it touches a disk, and waits for [`Op::Wake`] there: a picture of it taken
    /// then can be any machine with such devices.
    pub waits: bool,
}

/// One network interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Nic {
    /// Name the kernel gives it, such as `eth0`.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
}

/// A request of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Number of the request; answers carry it.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub op: Op,
}

/// What the host may ask for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Run a program to its end.
    Exec {
        /// The program and its environment.
        #[serde(flatten)]
        program: Program,
        /// Text for its standard input.
        stdin: Option<String>,
        /// Milliseconds after which it and its children are killed.
        timeout_ms: u64,
    },
    /// Start a program and send its output line by line.
    Spawn {
        /// The program and its environment.
        #[serde(flatten)]
        program: Program,
        /// Its standard output is the port for acknowledged writes, not lines of this port.
        acks: bool,
    },
    /// Send a signal to the process group of a spawned job.
    Signal {
        /// Id of the request that spawned it.
        job: u64,
        /// Signal number.
        signal: i32,
    },
    /// Read a whole file.
    ReadFile {
        /// Its path.
        path: String,
    },
    /// Write a whole file.
    WriteFile {
        /// Its path.
        path: String,
        /// Its content in base64.
        data: String,
        /// Its permission bits.
        mode: u32,
    },
    /// Switch the machine off in order.
    PowerOff,
    /// Go on, if the machine waits. No answer but the greeting comes to this.
    Wake {
        /// What it is from now on.
        config: Box<Config>,
        /// Random bytes, in hexadecimal: whoever goes on from one picture must not draw the same random numbers.
        entropy: String,
        /// Milliseconds since 1970.
        now_ms: i64,
    },
}

/// A program to run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Program {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables added to the agent's own environment.
    pub env: Vec<(String, String)>,
    /// User and group to run as; root when absent.
    pub uid: Option<u32>,
}

/// A message of the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Id of the request it belongs to; 0 for [`Event::Hello`].
    pub id: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What the agent has to say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The machine has come as far as a picture is to show it.
    Waits,
    /// The machine is up and takes requests.
    Hello {
        /// Milliseconds since the kernel started.
        uptime_ms: u64,
    },
    /// A program ended.
    Done {
        /// Exit code, or 128 plus the number of the signal that ended it.
        code: i32,
        /// What it wrote to standard output (empty for a spawned job).
        stdout: String,
        /// What it wrote to standard error (empty for a spawned job).
        stderr: String,
        /// It was killed because its time was up.
        timed_out: bool,
    },
    /// A spawned job started.
    Started {
        /// Its process id.
        pid: i32,
    },
    /// A spawned job wrote a line.
    Line {
        /// The line without its end.
        text: String,
    },
    /// Content of a file.
    File {
        /// In base64.
        data: String,
    },
    /// The request was carried out and has no result.
    Ok,
    /// The request failed.
    Error {
        /// A sentence.
        text: String,
    },
}
