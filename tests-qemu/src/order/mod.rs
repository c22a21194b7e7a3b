// SPDX-License-Identifier: GPL-2.0
//! The order between the writes of data and those of metadata on the source of a mirror, at every moment at which its
//! machine could have stopped.
//!
//! Data and metadata are two parts of one disk under dm-log-writes, so that one log has the order of both. The log is
//! replayed entry by entry. At each entry these states are looked at: everything before it; that and some of the
//! sectors of the entry itself; and, before a flush, any choice of what was not durable yet. In each of them
//!
//! 1. the metadata is readable, as it ever was since the mirror was made;
//! 2. while the link is cut, when the target's disk is known: each chunk in which the two disks differ is marked, in
//!    the log of intents or in the map of what the target misses;
//! 3. at any time: what is about to be changed by an entry is marked. So a chunk that is not marked has no write under
//!    way, and what the disk holds there is what was confirmed last. That the target had confirmed it, too, is not to
//!    be seen in this log; it is what the next state in which the link is cut shows, for it is compared with the disk;
//! 4. while a block of marks is being written, what was marked before and is afterwards is marked.

use anyhow::{bail, ensure, Context as _, Result};

use crate::{
    log_writes::{Entry, Log, Replay, What},
    metadata::{listed, Chunks, Metadata},
};

/// States that are tried for each choice of what was lost.
const TRIES: u32 = 3;

/// Where what is on the logged disk.
#[derive(Clone, Copy, Debug)]
pub struct Parts {
    /// Bytes of data, which the disk begins with; the metadata follows.
    pub data: u64,
    /// Bytes of metadata.
    pub meta: u64,
    /// Bytes of a chunk.
    pub chunk: u64,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// States right after an entry.
    pub states: u64,
    /// States with a part of some writes of data.
    pub partial: u64,
    /// States with a part of a write of metadata.
    pub torn: u64,
    /// Writes of data while the target was there.
    pub live: u64,
    /// Writes of data while it was not.
    pub alone: u64,
    /// States in which the disks differed.
    pub differing: u64,
    /// Marks that went.
    pub cleared: u64,
    /// New generations on record.
    pub generations: u64,
}

/// A log that is being looked at.
pub struct Proof<'a> {
    log: &'a Log,
    parts: Parts,
    disk: Replay,
    /// Says of each sector whether it is lost.
    coin: Box<dyn FnMut() -> bool + 'a>,
    /// What the target held during the cuts, the next one last.
    held: Vec<Vec<u8>>,
    /// What it holds now, if that is known.
    target: Option<Vec<u8>>,
    differ: Chunks,
    /// What is marked now; nothing before the mirror is made.
    marks: Option<Marks>,
    seen: Seen,
}

#[derive(Clone)]
struct Marks {
    chunks: Chunks,
    generation: u64,
}

fn marks(disk: &Replay, parts: Parts) -> Result<Marks> {
    let start = usize::try_from(parts.data)?;
    let metadata = Metadata::from_bytes(disk.bytes().get(start..).unwrap_or_default())?;
    Ok(Marks {
        chunks: metadata.after_crash(),
        generation: metadata.generations().0,
    })
}

impl Parts {
    /// The chunks of data that an entry changes.
    fn touched(self, entry: &Entry) -> Chunks {
        let length = match entry.what {
            What::Discard(length) => length,
            What::Write(_) | What::Mark(_) => entry.data().len() as u64,
        };
        let end = (entry.offset + length).min(self.data);
        (entry.offset / self.chunk..end.div_ceil(self.chunk)).collect()
    }

    /// Whether an entry is of metadata.
    fn is_meta(self, entry: &Entry) -> bool {
        entry.offset >= self.data
    }

    /// Which of these chunks differ from those of the target, where that is known.
    fn differing(self, target: Option<&[u8]>, disk: &Replay, mut chunks: Chunks) -> Chunks {
        let Some(target) = target else {
            return Chunks::new();
        };
        let piece = |bytes: &[u8], chunk: u64| {
            let (start, end) = (chunk * self.chunk, ((chunk + 1) * self.chunk).min(self.data));
            let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
            bytes.get(range).map(<[u8]>::to_vec)
        };
        chunks.retain(|&chunk| piece(disk.bytes(), chunk) != piece(target, chunk));
        chunks
    }
}

impl<'a> Proof<'a> {
    /// Begins with a disk of zeroes. The log has a mark `created` when the mirror was made, and `cut` and `restored`
    /// by turns; between these the target holds the next of `held`. `coin` decides what is lost.
    ///
    /// # Errors
    ///
    /// When the disk does not fit into memory.
    pub fn new(log: &'a Log, parts: Parts, held: Vec<Vec<u8>>, coin: impl FnMut() -> bool + 'a) -> Result<Self> {
        let mut held = held;
        held.reverse();
        Ok(Self {
            log,
            parts,
            disk: Replay::new(vec![0; usize::try_from(parts.data + parts.meta)?]),
            coin: Box::new(coin),
            held,
            target: None,
            differ: Chunks::new(),
            marks: None,
            seen: Seen::default(),
        })
    }

    /// Looks at every state; the result is how many there were of which kind, and the disk as it is at the end.
    ///
    /// # Errors
    ///
    /// The first state that must not be, with what is wrong there.
    pub fn run(mut self) -> Result<(Seen, Replay)> {
        let entries = self.log.entries();
        for (index, entry) in entries.iter().enumerate() {
            self.step(index, entry)
                .with_context(|| format!("entry {index} of {}, {}", entries.len(), describe(entry)))?;
        }
        Ok((self.seen, self.disk))
    }

    fn step(&mut self, index: usize, entry: &Entry) -> Result<()> {
        if let What::Mark(words) = &entry.what {
            return self.reached(words);
        }
        if self.marks.is_none() {
            return self.disk.apply(entry);
        }
        self.is_marked(entry)?;
        if entry.fua {
            self.stop_in(std::slice::from_ref(entry))?;
        } else {
            self.stop_in(self.log.volatile(index))?;
        }
        let before = self.chunks();
        self.disk.apply(entry)?;
        if self.parts.is_meta(entry) {
            self.read_marks(&before)?;
        }
        let chunks = self.parts.touched(entry);
        self.differ = &(&self.differ - &chunks) | &self.parts.differing(self.target.as_deref(), &self.disk, chunks);
        self.check(&self.chunks(), &self.differ.clone())?;
        self.seen.states += 1;
        Ok(())
    }

    fn reached(&mut self, words: &str) -> Result<()> {
        match words {
            "created" => self.marks = Some(marks(&self.disk, self.parts).context("a mirror without metadata")?),
            "cut" => self.target = Some(self.held.pop().context("more cuts than there were")?),
            "restored" => self.target = None,
            "dm-log-writes-end" => {}
            other => bail!("a mark of somebody else: {other}"),
        }
        self.differ = self.parts.differing(self.target.as_deref(), &self.disk, self.all());
        self.check(&self.chunks(), &self.differ.clone())
    }

    fn all(&self) -> Chunks {
        (0..self.parts.data.div_ceil(self.parts.chunk)).collect()
    }

    /// The chunks that are marked now.
    fn chunks(&self) -> Chunks {
        self.marks
            .as_ref()
            .map(|marks| marks.chunks.clone())
            .unwrap_or_default()
    }

    /// A write to data finds its chunks marked.
    fn is_marked(&mut self, entry: &Entry) -> Result<()> {
        let unmarked = &self.parts.touched(entry) - &self.chunks();
        ensure!(unmarked.is_empty(), "written to and not marked: {}", listed(&unmarked));
        if !self.parts.is_meta(entry) && !entry.data().is_empty() {
            let count = if self.target.is_some() {
                &mut self.seen.alone
            } else {
                &mut self.seen.live
            };
            *count += 1;
        }
        Ok(())
    }

    /// The metadata was written.
    fn read_marks(&mut self, before: &Chunks) -> Result<()> {
        let now = marks(&self.disk, self.parts).context("the metadata became unreadable")?;
        self.seen.cleared += (before - &now.chunks).len() as u64;
        let generation = self.marks.as_ref().map(|marks| marks.generation);
        self.seen.generations += u64::from(generation != Some(now.generation));
        self.marks = Some(now);
        Ok(())
    }

    fn check(&mut self, marked: &Chunks, differ: &Chunks) -> Result<()> {
        self.seen.differing += u64::from(!differ.is_empty());
        let unmarked = differ - marked;
        ensure!(
            unmarked.is_empty(),
            "they differ and are not marked: {}",
            listed(&unmarked)
        );
        Ok(())
    }

    /// The machine stops when some of the sectors that these entries write are on the disk.
    fn stop_in(&mut self, entries: &[Entry]) -> Result<()> {
        let parts = self.parts;
        let whole: Vec<_> = entries.iter().flat_map(Entry::sectors).collect();
        if whole.is_empty() {
            return Ok(());
        }
        let chunks: Chunks = entries.iter().flat_map(|entry| parts.touched(entry)).collect();
        let before = self.chunks();
        let stays = if entries.iter().any(|entry| parts.is_meta(entry)) {
            let after = self
                .disk
                .with(&whole, |disk| marks(disk, parts))
                .context("when it is written")?
                .chunks;
            Some(&before & &after)
        } else {
            None
        };
        for _ in 0..TRIES {
            let mut some = whole.clone();
            some.retain(|_| (self.coin)());
            let target = self.target.as_deref();
            let (differ, marked) = self.disk.with(&some, |disk| {
                let differ = parts.differing(target, disk, chunks.clone());
                Ok((differ, stays.is_some().then(|| marks(disk, parts)).transpose()?))
            })?;
            let marked = marked.map_or_else(|| before.clone(), |marks| marks.chunks);
            let gone = stays.as_ref().map(|stays| stays - &marked).unwrap_or_default();
            ensure!(gone.is_empty(), "not marked while they are written: {}", listed(&gone));
            let differ = &(&self.differ - &chunks) | &differ;
            self.check(&marked, &differ)
                .with_context(|| format!("with {} of {} sectors written", some.len(), whole.len()))?;
            let count = if stays.is_some() {
                &mut self.seen.torn
            } else {
                &mut self.seen.partial
            };
            *count += 1;
        }
        Ok(())
    }
}

fn describe(entry: &Entry) -> String {
    let Entry {
        offset,
        what,
        flush,
        fua,
    } = entry;
    let what = match what {
        What::Write(data) => format!("{} bytes at {offset}", data.len()),
        What::Discard(length) => format!("a discard of {length} bytes at {offset}"),
        What::Mark(words) => format!("the mark {words}"),
    };
    format!("{what}, flush {flush}, FUA {fua}")
}

#[cfg(test)]
mod tests;
