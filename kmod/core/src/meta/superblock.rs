// SPDX-License-Identifier: GPL-2.0

//! The superblock: how a mirror stands on this machine.

use super::{MetaError, MetaFlags, Peer};
use super::{BLOCK_LEN, DEFAULT_ASYNC_LIMIT, HISTORY, MAGIC, MAX_ASYNC_LIMIT, MAX_SIZE, PEERS, SECTOR_LEN, VERSION};
use crate::chunk::Geometry;
use crate::crc32c::crc32c;
use crate::name::{check_mirror_name, Name, NAME_MAX};
use crate::priority::Priority;
use crate::state::Role;
use crate::units::is_sector_aligned;
use crate::wire::codec::{text_len, Reader, Writer};
use crate::wire::{Id, NO_ID};

/// Bytes of a sector before its checksum.
const CHECKED_LEN: usize = SECTOR_LEN.saturating_sub(4);

/// What a mirror remembers, apart from its maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Grows by one with each change, and wraps around; tells which of two superblocks is newer.
    pub sequence: u64,
    /// Random, made with the metadata; maps with another one are from older metadata.
    pub set: u64,
    /// Identity of the mirror, [`NO_ID`] while a target does not know it.
    pub mirror_uuid: Id,
    /// Identity of this machine.
    pub node_uuid: Id,
    /// Name of the mirror on this machine.
    pub name: Name,
    /// What its source calls it, empty where that is the same; see [`Superblock::wire_name`].
    pub source_name: Name,
    /// Size of the mirror in bytes, whole sectors, at most [`MAX_SIZE`]; 0 while a target does not
    /// know it.
    pub size: u64,
    /// Chunk size in bytes; 0 while a target does not know it.
    pub chunk_size: u32,
    /// What this machine does for the mirror.
    pub role: Role,
    /// How the mirror stands on this machine.
    pub flags: MetaFlags,
    /// Generation of the data on the disk, 0 where it holds none of the mirror.
    pub current: u64,
    /// Older generations, the newest first, 0 where there are no more.
    pub history: [u64; HISTORY],
    /// Most operations an asynchronous leg may have outstanding, see [`effective_async_limit`].
    pub async_limit: u32,
    /// Most bytes a second that a resync copies, 0 for no limit.
    pub resync_rate: u64,
    /// Number of the block device.
    pub device_id: u32,
    /// The priority of this machine, where it was given one.
    pub priority: Option<Priority>,
    /// The other machines, by slot.
    pub peers: [Peer; PEERS],
}

impl Default for Superblock {
    fn default() -> Self {
        Self {
            sequence: 0,
            set: 0,
            mirror_uuid: NO_ID,
            node_uuid: NO_ID,
            name: Name::EMPTY,
            source_name: Name::EMPTY,
            size: 0,
            chunk_size: 0,
            role: Role::Stopped,
            flags: MetaFlags::NONE,
            current: 0,
            history: [0; HISTORY],
            async_limit: DEFAULT_ASYNC_LIMIT,
            resync_rate: 0,
            device_id: 0,
            priority: None,
            peers: [Peer::FREE; PEERS],
        }
    }
}

impl Superblock {
    /// Size and chunks of the mirror, `None` while a target does not know them.
    #[must_use]
    pub fn geometry(&self) -> Option<Geometry> {
        Geometry::new(self.size, self.chunk_size).ok()
    }

    /// The name of the mirror for other machines.
    #[must_use]
    pub const fn wire_name(&self) -> Name {
        if self.source_name.is_empty() {
            self.name
        } else {
            self.source_name
        }
    }

    /// Where the disk was given up, from now on it holds nothing of the mirror; for when that is out of service, as until
    /// then the generation is that of the targets. What was written here counts no more, nor that it was here.
    pub fn forget_lost_disk(&mut self) {
        if !self.flags.contains(MetaFlags::DETACHED) {
            return;
        }
        let over = MetaFlags::DETACHED
            .with(MetaFlags::LAST_OWNER, true)
            .with(MetaFlags::DATA_CORRUPT, true)
            .with(MetaFlags::TOOK_OVER, true)
            .with(MetaFlags::SHARED, true)
            .with(MetaFlags::NEW, true)
            .with(MetaFlags::PREPARED, true);
        self.flags = self.flags.without(over).with(MetaFlags::INCONSISTENT, true);
        self.current = 0;
        self.history = [0; HISTORY];
    }

    /// Writes the block.
    pub fn encode(&self, out: &mut [u8; BLOCK_LEN]) {
        out.fill(0);
        let (mirror, peers) = out.split_at_mut(SECTOR_LEN);
        for (position, (sector, peer)) in (1u16..).zip(peers.chunks_exact_mut(SECTOR_LEN).zip(&self.peers)) {
            let mut writer = Writer::new(sector);
            self.put_header(&mut writer, position);
            peer.put(&mut writer);
            seal(sector, position);
        }
        let mut writer = Writer::new(mirror);
        self.put_header(&mut writer, 0);
        self.put_mirror(&mut writer, checksum_of_checksums(peers));
        seal(mirror, 0);
    }

    /// Takes a block apart.
    ///
    /// # Errors
    ///
    /// A [`MetaError`] that says what the block is instead.
    pub fn decode(block: &[u8; BLOCK_LEN]) -> Result<Self, MetaError> {
        let sequence = check(block)?;
        let (mirror, peers) = block.split_at(SECTOR_LEN);
        let mut superblock = Self::take_mirror(mirror)?;
        superblock.sequence = sequence;
        for (sector, peer) in peers.chunks_exact(SECTOR_LEN).zip(&mut superblock.peers) {
            let mut reader = Reader::new(sector);
            reader.slice(HEADER_LEN).ok_or(MetaError::Damaged)?;
            *peer = Peer::take(&mut reader)?;
        }
        superblock.check_size()?;
        Ok(superblock)
    }

    fn put_header(&self, writer: &mut Writer<'_>, position: u16) {
        writer.put(&MAGIC).u16(VERSION).u16(position).u64(self.sequence);
    }

    fn put_mirror(&self, writer: &mut Writer<'_>, peers_crc: u32) {
        writer
            .u64(0)
            .u32(peers_crc)
            .u8(text_len(&self.name))
            .u8(text_len(&self.source_name))
            .put(&[0; 2])
            .u64(self.set)
            .put(&self.mirror_uuid)
            .put(&self.node_uuid)
            .u64(self.size)
            .u32(self.chunk_size)
            .u32(self.role.number())
            .u32(self.flags.bits())
            .u32(self.async_limit)
            .u64(self.resync_rate)
            .u64(self.current);
        for &generation in &self.history {
            writer.u64(generation);
        }
        writer
            .u32(self.device_id)
            .u16(Priority::to_field(self.priority))
            .put(&[0; 10])
            .put(self.name.padded())
            .put(self.source_name.padded());
    }

    fn take_mirror(sector: &[u8]) -> Result<Self, MetaError> {
        let (mut superblock, raw) = Self::fields(sector).ok_or(MetaError::Damaged)?;
        superblock.role = Role::from_number(raw.role).ok_or(MetaError::Inconsistent("the role"))?;
        let is_name = |name: &Name| check_mirror_name(name.as_str()).is_ok();
        superblock.name = checked_text(raw.name_len, &raw.name)
            .filter(is_name)
            .ok_or(MetaError::Inconsistent("the name"))?;
        superblock.source_name = checked_text(raw.source_name_len, &raw.source_name)
            .filter(|name| name.is_empty() || is_name(name))
            .ok_or(MetaError::Inconsistent("the name for other machines"))?;
        Ok(superblock)
    }

    /// The fields, and those that are as yet unchecked.
    fn fields(sector: &[u8]) -> Option<(Self, Raw)> {
        let mut reader = Reader::new(sector);
        reader.slice(HEADER_LEN)?;
        let _features = reader.u64()?;
        let _peers_crc = reader.u32()?;
        let name_len = reader.u8()?;
        let source_name_len = reader.u8()?;
        reader.slice(2)?;
        let set = reader.u64()?;
        let mirror_uuid = reader.array()?;
        let node_uuid = reader.array()?;
        let size = reader.u64()?;
        let chunk_size = reader.u32()?;
        let role = reader.u32()?;
        let flags = MetaFlags::from_bits(reader.u32()?);
        let async_limit = reader.u32()?;
        let resync_rate = reader.u64()?;
        let current = reader.u64()?;
        let mut history = [0; HISTORY];
        for generation in &mut history {
            *generation = reader.u64()?;
        }
        let superblock = Self {
            set,
            mirror_uuid,
            node_uuid,
            size,
            chunk_size,
            flags,
            async_limit,
            resync_rate,
            current,
            history,
            device_id: reader.u32()?,
            priority: Priority::from_field(reader.u16()?),
            ..Self::default()
        };
        reader.slice(10)?;
        let raw = Raw {
            role,
            name_len,
            name: reader.array()?,
            source_name_len,
            source_name: reader.array()?,
        };
        Some((superblock, raw))
    }

    /// Size and chunk size have to make a geometry, as far as they are known.
    fn check_size(&self) -> Result<(), MetaError> {
        if self.size > MAX_SIZE || !is_sector_aligned(self.size) {
            return Err(MetaError::Inconsistent("the size"));
        }
        if self.chunk_size != 0 && self.geometry().is_none() {
            return Err(MetaError::Inconsistent("the chunk size"));
        }
        Ok(())
    }
}

/// Fields whose values may be impossible.
struct Raw {
    role: u32,
    name_len: u8,
    name: [u8; NAME_MAX],
    source_name_len: u8,
    source_name: [u8; NAME_MAX],
}

/// Bytes that every sector begins with.
const HEADER_LEN: usize = 16;

/// What every sector begins with.
struct SectorHeader {
    version: u16,
    position: u16,
    sequence: u64,
}

impl SectorHeader {
    /// The header of a sector, and what follows it, where the magic and the checksum are right.
    fn of(sector: &[u8], position: u16) -> Option<(Self, Reader<'_>)> {
        let mut reader = Reader::new(sector);
        let magic: [u8; 4] = reader.array()?;
        let header = Self {
            version: reader.u16()?,
            position: reader.u16()?,
            sequence: reader.u64()?,
        };
        let (body, checksum) = sector.split_at_checked(CHECKED_LEN)?;
        let right = crc32c(u32::from(position), body).to_le_bytes();
        (magic == MAGIC && checksum == right).then_some((header, reader))
    }
}

/// Fills in the checksum of a sector.
fn seal(sector: &mut [u8], position: u16) {
    if let Some((body, checksum)) = sector.split_at_mut_checked(CHECKED_LEN) {
        Writer::new(checksum).u32(crc32c(u32::from(position), body));
    }
}

/// What sector 0 keeps of the others: the checksum of their checksums.
///
/// Not of the sectors themselves: data that ends with its own checksum gives the same whatever it
/// is.
fn checksum_of_checksums(sectors: &[u8]) -> u32 {
    let checksums = sectors
        .chunks_exact(SECTOR_LEN)
        .filter_map(|sector| sector.get(CHECKED_LEN..));
    checksums.fold(0, crc32c)
}

/// Checks what can be checked before any field is believed, and returns the sequence number.
fn check(block: &[u8; BLOCK_LEN]) -> Result<u64, MetaError> {
    if block.iter().all(|&byte| byte == 0) {
        return Err(MetaError::Blank);
    }
    if !block.chunks_exact(SECTOR_LEN).any(|sector| sector.starts_with(&MAGIC)) {
        return Err(MetaError::NotMetadata);
    }
    let (mirror, peers) = block.split_at(SECTOR_LEN);
    let (first, mut rest) = SectorHeader::of(mirror, 0).ok_or(MetaError::Damaged)?;
    let features = rest.u64().ok_or(MetaError::Damaged)?;
    if first.version > VERSION || (first.version == VERSION && features != 0) {
        return Err(MetaError::NewerVersion(first.version));
    }
    let peers_crc = rest.u32().ok_or(MetaError::Damaged)?;
    let whole = first.version == VERSION
        && first.position == 0
        && peers_crc == checksum_of_checksums(peers)
        && (1u16..).zip(peers.chunks_exact(SECTOR_LEN)).all(|(position, sector)| {
            SectorHeader::of(sector, position).is_some_and(|(header, _)| {
                header.version == VERSION && header.position == position && header.sequence == first.sequence
            })
        });
    if whole {
        Ok(first.sequence)
    } else {
        Err(MetaError::Damaged)
    }
}

/// The text of a padded field, `None` where the length or the bytes are wrong.
pub(super) fn checked_text(len: u8, bytes: &[u8; NAME_MAX]) -> Option<Name> {
    Name::from_bytes(bytes.get(..usize::from(len))?).ok()
}

/// How many operations an asynchronous leg may have outstanding where `async_limit` is stored:
/// a value up to 2 means [`DEFAULT_ASYNC_LIMIT`], one above [`MAX_ASYNC_LIMIT`] means that.
#[must_use]
pub const fn effective_async_limit(stored: u32) -> u32 {
    if stored > MAX_ASYNC_LIMIT {
        MAX_ASYNC_LIMIT
    } else if stored > 2 {
        stored
    } else {
        DEFAULT_ASYNC_LIMIT
    }
}

/// Which of the two superblocks counts: its number, 0 or 1, and itself.
///
/// The newer one does, or the only one that is whole. The next change goes to the place of the
/// other one.
///
/// # Errors
///
/// Where neither is whole, what tells more: [`MetaError::Blank`] only where both are blank. Where
/// one is of a newer version or has an impossible value, that, too: it was written to its end, so
/// the other one may be older than what happened since.
pub fn choose<'a>(
    a: &'a Result<Superblock, MetaError>,
    b: &'a Result<Superblock, MetaError>,
) -> Result<(usize, &'a Superblock), MetaError> {
    let complete = |error: &MetaError| matches!(error, MetaError::NewerVersion(_) | MetaError::Inconsistent(_));
    match (a, b) {
        (Ok(first), Ok(second)) if is_newer(second.sequence, first.sequence) => Ok((1, second)),
        (Ok(first), Ok(_)) => Ok((0, first)),
        (Ok(_), Err(error)) | (Err(error), Ok(_)) if complete(error) => Err(*error),
        (Ok(first), Err(_)) => Ok((0, first)),
        (Err(_), Ok(second)) => Ok((1, second)),
        (Err(first), Err(second)) if second.weight() > first.weight() => Err(*second),
        (Err(first), Err(_)) => Err(*first),
    }
}

/// Whether sequence number `a` comes after `b`, also where the numbers wrapped around in between.
const fn is_newer(a: u64, b: u64) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead < 1 << 63
}
