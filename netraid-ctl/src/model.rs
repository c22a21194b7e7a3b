// SPDX-License-Identifier: GPL-2.0
//! Mirrors and legs as the commands and the output see them: what the kernel told, in types that fit, and what follows
//! from it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::gen::{self, Connection, DiskState, Replication, Role, State, UUID_LEN};

/// Identity of a mirror or a node, shown as a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uuid(pub [u8; UUID_LEN]);

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// An address and a port, as `10.0.0.2:7900` or `[fe80::2%3]:7900`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The address; an IPv4 address in IPv6 clothes is shown as the IPv4 address it is.
    pub ip: IpAddr,
    /// The TCP port, 1 to 65535.
    pub port: u16,
    /// Interface index of a link-local IPv6 address, 0 when it has none.
    pub scope: u32,
}

impl Endpoint {
    /// The endpoint in the attributes of the kernel; `None` when there is none.
    #[must_use]
    pub fn from_attributes(address: Option<&[u8]>, port: Option<u32>, scope: Option<u32>) -> Option<Self> {
        let address = address?;
        let ip = if let Ok(v4) = <[u8; 4]>::try_from(address) {
            IpAddr::V4(Ipv4Addr::from(v4))
        } else {
            let v6 = Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?);
            v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
        };
        Some(Self {
            ip,
            port: u16::try_from(port?).ok()?,
            scope: scope.unwrap_or_default(),
        })
    }

    /// Every address of the machine.
    #[must_use]
    pub const fn everywhere(port: u16) -> Self {
        Self {
            ip: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            port,
            scope: 0,
        }
    }

    /// The bytes of the address: 4 or 16.
    #[must_use]
    pub fn address(&self) -> Vec<u8> {
        match self.ip {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }

    /// The interface index, where there is one.
    #[must_use]
    pub fn scope_id(&self) -> Option<u32> {
        (self.scope != 0).then_some(self.scope)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            IpAddr::V4(v4) => write!(f, "{v4}:{}", self.port),
            IpAddr::V6(v6) if self.scope == 0 => write!(f, "[{v6}]:{}", self.port),
            IpAddr::V6(v6) => write!(f, "[{v6}%{}]:{}", self.scope, self.port),
        }
    }
}

/// A mirror as this machine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// What the kernel told.
    pub told: gen::Mirror,
    /// Its name.
    pub name: String,
    /// What this machine does for it; out of service when the kernel says nothing.
    pub role: Role,
    /// The connections to other machines.
    pub legs: Vec<Leg>,
}

/// One connection of a mirror to another machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Leg {
    /// What the kernel told.
    pub told: gen::Leg,
    /// Its number.
    pub id: u32,
    /// How the copy stands; nothing is known of it when the kernel says nothing.
    pub state: State,
    /// How the connection stands.
    pub connection: Connection,
    /// When a write counts as done.
    pub replication: Replication,
}

impl From<gen::Leg> for Leg {
    fn from(told: gen::Leg) -> Self {
        Self {
            id: told.id.unwrap_or_default(),
            state: told.state.unwrap_or(State::OutOfSync),
            connection: told.connection.unwrap_or(Connection::Disconnected),
            replication: told.replication.unwrap_or(Replication::Synchronous),
            told,
        }
    }
}

impl From<gen::Mirror> for Mirror {
    fn from(mut told: gen::Mirror) -> Self {
        let legs = std::mem::take(&mut told.leg);
        // Leg 0 is the local disk, which the mirror itself describes.
        let legs = legs.into_iter().map(Leg::from).filter(|leg| leg.id != 0).collect();
        let name = told.name.clone().unwrap_or_default();
        Self {
            name,
            role: told.role.unwrap_or(Role::Stopped),
            legs,
            told,
        }
    }
}

/// A share in percent, 0 of nothing.
#[must_use]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    let share = part as f64 / whole as f64;
    (share * 100.0).min(100.0)
}

/// The bitmap of a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bitmap {
    /// Bits, one for each chunk.
    pub chunks: u64,
    /// Those that are set.
    pub dirty: u64,
}

/// How far a resync is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resync {
    /// Bytes to copy.
    pub total: u64,
    /// Bytes copied.
    pub done: u64,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
}

impl Resync {
    /// Bytes a second since the beginning; 0 before the first millisecond.
    #[must_use]
    pub fn speed(&self) -> u64 {
        rate(self.done, self.elapsed_ms)
    }

    /// Bytes a second since an earlier look at the same resync; since the beginning when there is none.
    #[must_use]
    pub fn speed_since(&self, earlier: Option<&Self>) -> u64 {
        match earlier {
            // Less time or less done means that another resync began meanwhile.
            Some(earlier) if earlier.elapsed_ms < self.elapsed_ms && earlier.done <= self.done => {
                rate(self.done - earlier.done, self.elapsed_ms - earlier.elapsed_ms)
            }
            _ => self.speed(),
        }
    }

    /// Percent done.
    #[must_use]
    pub fn percent(&self) -> f64 {
        percent(self.done, self.total)
    }
}

fn rate(bytes: u64, milliseconds: u64) -> u64 {
    bytes.saturating_mul(1000).checked_div(milliseconds).unwrap_or_default()
}

impl Leg {
    /// The other end, where it is known.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        Endpoint::from_attributes(self.told.address.as_deref(), self.told.port, self.told.scope_id)
    }

    /// The name of the other machine, once it is known.
    #[must_use]
    pub fn peer_name(&self) -> Option<&str> {
        self.told.peer_name.as_deref().filter(|name| !name.is_empty())
    }

    /// Why the leg is not fully operational, where the kernel says so.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.told.reason.as_deref().filter(|reason| !reason.is_empty())
    }

    /// The name of the other machine, its address while the name is not known, `?` while nothing is.
    #[must_use]
    pub fn peer(&self) -> String {
        let address = || self.endpoint().map(|endpoint| endpoint.to_string());
        self.peer_name()
            .map(str::to_owned)
            .or_else(address)
            .unwrap_or_else(|| "?".to_owned())
    }

    /// How far the running resync is; `None` when none runs, and where its extent is not known (on a target, or before
    /// the first chunk is copied).
    #[must_use]
    pub fn resync(&self) -> Option<Resync> {
        let total = self.told.resync_total.filter(|&total| total > 0)?;
        (self.state == State::Resyncing).then(|| Resync {
            total,
            done: self.told.resync_done.unwrap_or_default(),
            elapsed_ms: self.told.resync_elapsed_ms.unwrap_or_default(),
        })
    }

    /// Chunks the target may miss: all of them until it was reached for the first time.
    fn dirty(&self, chunks: u64) -> Option<u64> {
        if self.told.connects == Some(0) && self.told.peer_uuid.is_none() && !self.is_operational() {
            return Some(chunks);
        }
        self.told.dirty_chunks
    }

    /// Whether both copies are the same and stay so.
    #[must_use]
    pub fn is_operational(&self) -> bool {
        self.state == State::FullyOperational
    }

    /// Whether the connection is in use.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connection == Connection::Connected
    }
}

impl Mirror {
    /// The path of the block device, where it exists now.
    #[must_use]
    pub fn device(&self) -> Option<String> {
        self.told.id.filter(|_| self.told.device_present).map(device_path)
    }

    /// Where a target listens.
    #[must_use]
    pub fn listen(&self) -> Option<Endpoint> {
        Endpoint::from_attributes(self.told.address.as_deref(), self.told.port, self.told.scope_id)
    }

    /// What the other machines call the mirror, where that is another name than here.
    #[must_use]
    pub fn source_name(&self) -> Option<&str> {
        self.told.source_name.as_deref().filter(|name| !name.is_empty())
    }

    /// The name of this machine.
    #[must_use]
    pub fn node(&self) -> &str {
        self.told.node_name.as_deref().unwrap_or("?")
    }

    /// The priorities of the machines that are known here, the highest first; those without one come last. None at all
    /// where nobody was given one.
    #[must_use]
    pub fn priorities(&self) -> Vec<(Option<u32>, String)> {
        let others = self.legs.iter().map(|leg| (leg.told.priority, leg.peer()));
        let mut all: Vec<_> = std::iter::once((self.told.priority, self.node().to_owned()))
            .chain(others)
            .collect();
        if all.iter().all(|(priority, _)| priority.is_none()) {
            return Vec::new();
        }
        all.sort_by_key(|(priority, _)| priority.unwrap_or(u32::MAX));
        all
    }

    /// Whether the disk of this machine, the source, failed and was given up.
    #[must_use]
    pub fn has_lost_disk(&self) -> bool {
        self.told.disk_state.is_some_and(|state| state != DiskState::Attached)
    }

    /// Whether every copy is there and the same.
    #[must_use]
    pub fn is_operational(&self) -> bool {
        let in_service = matches!(self.role, Role::Source | Role::Target);
        let in_doubt = self.told.data_corrupt || self.told.split_brain;
        in_service
            && !in_doubt
            && !self.told.inconsistent
            && !self.has_lost_disk()
            && !self.legs.is_empty()
            && self.legs.iter().all(Leg::is_operational)
    }

    /// What is to be known of the mirror apart from its role: the worst first.
    #[must_use]
    pub fn flags(&self) -> Vec<&'static str> {
        let told = &self.told;
        let all = [
            (told.split_brain, "SPLIT BRAIN"),
            (told.data_corrupt, "DATA CORRUPT"),
            // That a source was the last one goes without saying.
            (told.last_owner && self.role != Role::Source, "last owner"),
            (told.yielded, "yielded"),
            (told.stopped, "stopped by an operator"),
        ];
        all.into_iter().filter(|(set, _)| *set).map(|(_, word)| word).collect()
    }

    /// The bitmap; a chunk counts as dirty when any target may miss it, for which the worst leg is taken.
    #[must_use]
    pub fn bitmap(&self) -> Option<Bitmap> {
        let of_legs = self
            .legs
            .iter()
            .filter_map(|leg| leg.told.chunks)
            .max()
            .filter(|&chunks| chunks > 0);
        let of_size = || {
            let chunk = u64::from(self.told.chunk_size.filter(|&size| size > 0)?);
            self.told.size.map(|size| size.div_ceil(chunk))
        };
        let chunks = self.told.chunks.or(of_legs).or_else(of_size)?;
        // The source alone knows what a target misses; a target knows what was written to it in a pause.
        let unknown = |leg: &Leg| !matches!(leg.state, State::FullyOperational | State::Paused);
        if self.role == Role::Target && self.legs.iter().any(unknown) {
            return None;
        }
        // Without a target, what the source remembers for the next one.
        let of_mirror = self.told.dirty_chunks.filter(|_| self.legs.is_empty());
        let dirty = self.legs.iter().filter_map(|leg| leg.dirty(chunks)).max().or(of_mirror);
        // Out of service nobody looks at the bitmap.
        let dirty = dirty.or_else(|| matches!(self.role, Role::Source | Role::Target).then_some(0))?;
        Some(Bitmap { chunks, dirty })
    }
}

/// A limit of the resync rate in words.
#[must_use]
pub fn rate_word(rate: u64) -> String {
    if rate == 0 {
        "not limited".to_owned()
    } else {
        format!("limited to {} a second", crate::output::text::bytes(rate))
    }
}

/// The path of the block device with a number.
#[must_use]
pub fn device_path(id: u32) -> String {
    format!("/dev/netraid{id}")
}

/// The word for a state in texts.
#[must_use]
pub fn state_word(state: State) -> &'static str {
    match state {
        State::FullyOperational => "Fully Operational",
        State::Paused => "Paused",
        State::Resyncing => "Resynchronizing",
        State::OutOfSync => "Out Of Sync",
        State::Unknown(_) => "Unknown",
    }
}
