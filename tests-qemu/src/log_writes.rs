// SPDX-License-Identifier: GPL-2.0
//! Reads what dm-log-writes recorded of a disk, so that every state is known which the disk could have been in.
//!
//! # Format
//!
//! Little-endian, in sectors of the size in the header. Sector 0 holds the header (magic, version, number of entries,
//! each 64 bits; sector size, 32 bits). Each entry has a sector of its own (first sector, number of sectors, flags,
//! length of its words, each 64 bits; the words of a mark), followed by its data, which a discard has not.
//!
//! # Order
//!
//! A write with FUA is recorded when it has ended. Any other is recorded when the first flush that began after its end
//! has ended, right before that flush. So, just before the end of an entry,
//!
//! - everything before it is on the disk, whatever happens,
//! - where it has FUA, any of its own sectors may be, too,
//! - where it is the first of a group that a flush made durable ([`Log::volatile`]), any of the sectors of the group.
//!
//! A write without FUA may have been on the disk long before it is recorded. Who wants to see what it was written
//! ahead of has to make it FUA, or delay what it is to wait for.

use anyhow::{anyhow, ensure, Context as _, Result};

use crate::disk::{Disk, SECTOR};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;
/// Bytes of the fields of an entry.
const FIELDS: usize = 32;

/// What was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Data was written; it is here, and may be empty for a flush.
    Write(Vec<u8>),
    /// This many bytes were discarded.
    Discard(u64),
    /// A mark that a test set.
    Mark(String),
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// What it is.
    pub what: What,
    /// Everything that had ended before is durable since.
    pub flush: bool,
    /// It was durable itself when it ended.
    pub fua: bool,
}

impl Entry {
    /// The data, nothing for a mark or a discard.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        match &self.what {
            What::Write(data) => data,
            What::Discard(_) | What::Mark(_) => &[],
        }
    }

    /// Whether it stays on the disk only after the next flush.
    #[must_use]
    pub fn is_volatile(&self) -> bool {
        !self.fua
            && match &self.what {
                What::Write(data) => !data.is_empty(),
                What::Discard(_) => true,
                What::Mark(_) => false,
            }
    }

    /// Its sectors, each with its place in bytes: the pieces that reach the disk whole or not at all.
    pub fn sectors(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let places = (self.offset..).step_by(usize::try_from(SECTOR).unwrap_or(usize::MAX));
        places.zip(self.data().chunks(usize::try_from(SECTOR).unwrap_or(usize::MAX)))
    }
}

/// All that was recorded, in order.
#[derive(Clone, Debug)]
pub struct Log {
    entries: Vec<Entry>,
}

impl Log {
    /// Reads the log from the disk it was written to; what was logged must be out of use, so that nothing is missing.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read or holds no whole log.
    pub fn read(disk: &Disk) -> Result<Self> {
        Self::parse(|offset, length| disk.read(offset, length))
    }

    /// A log of these entries.
    #[cfg(test)]
    pub(crate) fn of(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    fn parse(read: impl Fn(u64, u64) -> Result<Vec<u8>>) -> Result<Self> {
        let header = read(0, SECTOR)?;
        let field = |at: usize| number(&header, at);
        ensure!(field(0)? == MAGIC, "there is no log of dm-log-writes");
        ensure!(field(8)? == VERSION, "the log has version {}", field(8)?);
        let count = field(16)?;
        let sector = field(24)? & u64::from(u32::MAX);
        ensure!(sector == SECTOR, "sectors of {sector} bytes are not expected");
        let mut entries = Vec::new();
        let mut at = SECTOR;
        for index in 0..count {
            let (entry, length) = entry(&read, at).with_context(|| format!("entry {index} of {count}"))?;
            entries.push(entry);
            at += length;
        }
        Ok(Self { entries })
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries from `index` on that only the flush behind them makes durable; none where another such entry is
    /// right before `index`, so that each is in one group.
    #[must_use]
    pub fn volatile(&self, index: usize) -> &[Entry] {
        let rest = self.entries.get(index..).unwrap_or_default();
        let begun = index.checked_sub(1).and_then(|last| self.entries.get(last));
        if begun.is_some_and(Entry::is_volatile) {
            return &[];
        }
        let length = rest.iter().take_while(|entry| entry.is_volatile()).count();
        &rest[..length]
    }
}

/// An entry and how many bytes of the log it takes.
fn entry(read: &impl Fn(u64, u64) -> Result<Vec<u8>>, at: u64) -> Result<(Entry, u64)> {
    let head = read(at, SECTOR)?;
    let field = |at: usize| number(&head, at);
    let (offset, length) = (field(0)? * SECTOR, field(8)? * SECTOR);
    let (flags, words) = (field(16)?, usize::try_from(field(24)?)?);
    let (what, data) = if flags & MARK != 0 {
        let text = head.get(FIELDS..FIELDS + words).context("a mark that is too long")?;
        (What::Mark(String::from_utf8_lossy(text).into_owned()), 0)
    } else if flags & DISCARD != 0 {
        (What::Discard(length), 0)
    } else {
        (What::Write(read(at + SECTOR, length)?), length)
    };
    let entry = Entry {
        offset,
        what,
        flush: flags & FLUSH != 0,
        fua: flags & FUA != 0,
    };
    Ok((entry, SECTOR + data))
}

fn number(bytes: &[u8], at: usize) -> Result<u64> {
    let bytes = bytes.get(at..at + 8).context("a sector that is too short")?;
    Ok(u64::from_le_bytes(
        bytes.try_into().map_err(|_| anyhow!("not 8 bytes"))?,
    ))
}

/// A disk that is brought to the states of a log, one after the other.
#[derive(Clone, Debug)]
pub struct Replay {
    bytes: Vec<u8>,
}

impl Replay {
    /// Begins with this content.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// The content now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn place(&mut self, offset: u64, length: usize) -> Result<&mut [u8]> {
        let start = usize::try_from(offset)?;
        let place = self.bytes.get_mut(start..start + length);
        place.with_context(|| format!("an entry of {length} bytes at {offset} is beyond the end"))
    }

    /// What an entry did has reached the disk. What was discarded reads as zeroes.
    ///
    /// # Errors
    ///
    /// When it is beyond the end of the disk.
    pub fn apply(&mut self, entry: &Entry) -> Result<()> {
        if let What::Discard(length) = &entry.what {
            self.place(entry.offset, usize::try_from(*length)?)?.fill(0);
            return Ok(());
        }
        let data = entry.data();
        self.place(entry.offset, data.len())?.copy_from_slice(data);
        Ok(())
    }

    /// Runs `look` with these pieces on the disk, one after the other, and takes them off again.
    ///
    /// # Errors
    ///
    /// When one is beyond the end of the disk, or that of `look`.
    pub fn with<R>(&mut self, pieces: &[(u64, &[u8])], look: impl FnOnce(&Self) -> Result<R>) -> Result<R> {
        let mut before = Vec::new();
        for &(offset, data) in pieces {
            let place = self.place(offset, data.len())?;
            before.push((offset, place.to_vec()));
            place.copy_from_slice(data);
        }
        let result = look(self);
        for (offset, data) in before.iter().rev() {
            self.place(*offset, data.len())?.copy_from_slice(data);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(count: u64) -> Vec<u8> {
        let mut bytes = [MAGIC, VERSION, count, SECTOR].map(u64::to_le_bytes).concat();
        bytes.resize(512, 0);
        bytes
    }

    fn record(fields: [u64; 4], words: &[u8], data: &[u8]) -> Vec<u8> {
        let mut bytes = fields.map(u64::to_le_bytes).concat();
        bytes.extend(words);
        bytes.resize(512, 0);
        bytes.extend(data);
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Log> {
        Log::parse(|offset, length| {
            let (start, length) = (usize::try_from(offset)?, usize::try_from(length)?);
            let piece = bytes.get(start..start + length);
            Ok(piece.context("the log ends before that")?.to_vec())
        })
    }

    /// A plain write, a discard, a flush, a mark, a FUA write, a plain write and a flush.
    fn sample() -> Vec<u8> {
        [
            header(7),
            record([4, 2, 0, 0], b"", &[1; 1024]),
            record([100, 8, DISCARD, 0], b"", b""),
            record([0, 0, FLUSH, 0], b"", b""),
            record([0, 0, MARK, 5], b"hello", b""),
            record([5, 1, FUA, 0], b"", &[2; 512]),
            record([6, 1, 0, 0], b"", &[3; 512]),
            record([0, 0, FLUSH, 0], b"", b""),
        ]
        .concat()
    }

    #[test]
    fn every_kind_of_entry_is_read() {
        let log = parse(&sample()).unwrap();
        let [write, discard, flush, mark, fua, ..] = log.entries() else {
            panic!("{log:?}");
        };
        assert_eq!((write.offset, write.data().len()), (2048, 1024));
        assert!(!write.flush && !write.fua && write.is_volatile());
        assert_eq!((discard.offset, &discard.what), (51200, &What::Discard(4096)));
        assert!(flush.flush && flush.data().is_empty() && !flush.is_volatile());
        assert_eq!(mark.what, What::Mark("hello".into()));
        assert!(fua.fua && !fua.is_volatile());
        let places: Vec<_> = write.sectors().map(|(offset, data)| (offset, data.len())).collect();
        assert_eq!(places, [(2048, 512), (2560, 512)]);
    }

    #[test]
    fn only_what_no_flush_and_no_fua_made_durable_is_volatile() {
        let log = parse(&sample()).unwrap();
        let volatile = |index| log.volatile(index).len();
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(volatile), [2, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(log.volatile(5)[0].offset, 3072);
    }

    #[test]
    fn a_log_that_is_cut_off_or_none_is_refused() {
        let whole = sample();
        assert!(parse(&whole[..whole.len() - 1]).is_err());
        assert!(parse(&[0; 1024]).is_err());
        let mut other = whole.clone();
        other[8] = 2;
        assert!(parse(&other).is_err());
        let too_long = [header(1), record([0, 0, MARK, 481], b"", b"")].concat();
        assert!(parse(&too_long).is_err());
    }

    #[test]
    fn a_replay_ends_as_the_disk_did_and_looks_at_what_may_have_been() {
        let log = parse(&sample()).unwrap();
        let mut replay = Replay::new(vec![9; 64 << 10]);
        for entry in log.entries() {
            replay.apply(entry).unwrap();
        }
        assert_eq!(replay.bytes()[2048..3584], [[1; 512], [2; 512], [3; 512]].concat()[..]);
        assert_eq!(replay.bytes()[51200..55296], [0; 4096]);
        assert_eq!((replay.bytes()[2047], replay.bytes()[3584]), (9, 9));
        let before = replay.bytes().to_vec();
        let pieces: [(u64, &[u8]); 2] = [(0, &[4; 512]), (256, &[5; 512])];
        let seen = replay.with(&pieces, |now| Ok(now.bytes()[..1024].to_vec())).unwrap();
        assert_eq!((seen[0], seen[256], seen[767], seen[768]), (4, 5, 5, 9));
        assert_eq!(replay.bytes(), before);
        assert!(replay.with(&[(65_500, &[0; 512])], |_| Ok(())).is_err());
    }
}
