// SPDX-License-Identifier: GPL-2.0
//! The order between the writes of data and those of metadata on the source, at every moment at which its machine
//! could have stopped.
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
//!
//! The metadata is on a slow disk (dm-delay), so that a write that does not wait for its mark is there first.

use anyhow::{bail, ensure, Context as _, Result};
use tests_qemu::{
    disk::SECTOR,
    log_writes::{Entry, Log, Replay, What},
    metadata::listed,
    Chunks, Cluster, Metadata, Node, MIB,
};

use crate::{
    dice::Dice,
    harness::{case, Case, SOON},
    mapper::Mapped,
    mirror::{Mirror, QUICK},
    persist::until,
};

pub(crate) const CASES: &[Case] = &[case!(whenever_the_source_stops_what_may_differ_is_marked)];

/// Where data and metadata are on the logged disk, in bytes.
const DATA: u64 = 8 * MIB;
const META: u64 = MIB;
const ALL: u64 = DATA + META;
const CHUNK: u64 = 16 << 10;
/// How often the link is cut.
const CUTS: usize = 3;
/// States that are tried for each choice of what was lost.
const TRIES: u64 = 3;

/// Some writes that are durable when they end, and more that are made so by a flush now and then; both to the same
/// places, in bursts and with pauses in which marks are cleared.
const WORKLOAD: &str =
    "exec fio --thread --filename=/dev/netraid0 --direct=1 --ioengine=libaio --rw=randwrite --norandommap \
    --time_based --runtime=600 --allrandrepeat=0 --randseed=SEED --size=8m --refill_buffers --output=/tmp/fio \
    --name=durable --sync=dsync --bsrange=512-24k --iodepth=2 --thinktime=200ms --thinktime_blocks=6 \
    --name=plain --bsrange=512-48k --iodepth=4 --fsync=5 --thinktime=350ms --thinktime_blocks=10";

/// The logged disk of a machine, and the parts of it.
fn logged(node: &Node) -> Result<[Mapped<'_>; 3]> {
    let (data, meta) = (DATA / SECTOR, META / SECTOR);
    let size = node.disk("vdb")?.size() / SECTOR;
    Ok([
        Mapped::make(node, "logged", &format!("0 {size} log-writes /dev/vdb /dev/vde"))?,
        Mapped::make(node, "data", &format!("0 {data} linear /dev/mapper/logged 0"))?,
        Mapped::make(
            node,
            "meta",
            &format!("0 {meta} delay /dev/mapper/logged {data} 0 /dev/mapper/logged {data} 15"),
        )?,
    ])
}

/// What the target holds while the link is cut, read when nothing more can arrive there.
fn frozen(target: &Node) -> Result<Vec<u8>> {
    target.ctl("wait data --for disconnected --timeout 30").ok()?;
    target.disk("vdb")?.read(0, DATA)
}

/// Covers: S55, S59.
fn whenever_the_source_stops_what_may_differ_is_marked(cluster: &Cluster) -> Result<()> {
    let mut dice = Dice::new()?;
    let (eve, adam) = cluster.pair();
    let [logged, data, meta] = logged(eve)?;
    let mark = |words: &str| logged.message(&format!("mark {words}"));
    let options = format!("--chunk-size 16K --bitmap /dev/mapper/meta {QUICK}");
    eve.ctl(&format!("create data --disk /dev/mapper/data {options}"))
        .ok()?;
    mark("created")?;
    adam.ctl(&format!("join data --disk /dev/vdb --yes {QUICK}")).ok()?;
    let mirror = Mirror {
        source: eve,
        target: adam,
        disk: "vdb",
    };
    mirror.extend_with(QUICK)?;
    mirror.wait("fully-operational")?;
    let seed = dice.between(1, 1 << 30).to_string();
    let mut workload = eve.sh(&WORKLOAD.replace("SEED", &seed)).spawn()?;
    let mut held = Vec::new();
    for cut in 0..CUTS {
        let written = mirror.count("replicated_bytes")?;
        until("writes with the target", || {
            Ok(mirror.count("replicated_bytes")? > written + 3 * MIB / 2)
        })?;
        cluster.cut(eve, adam);
        mirror.wait("out-of-sync")?;
        let content = frozen(adam)?;
        mark("cut")?;
        until("writes without the target", || Ok(mirror.count("dirty_chunks")? > 80))?;
        // Nothing came after all.
        ensure!(
            adam.disk("vdb")?.read(0, DATA)? == content,
            "the target changed while it was cut off"
        );
        held.push(content);
        mark("restored")?;
        let before = mirror.count("resynced_bytes")?;
        cluster.restore_links();
        // Cut again in the middle of the copying, the second time.
        if cut == 1 {
            until("copies", || Ok(mirror.count("resynced_bytes")? > before))?;
        } else {
            mirror.wait("fully-operational")?;
        }
    }
    workload.signal(nix::sys::signal::Signal::SIGKILL)?;
    workload.wait(SOON).context("wait for the end of the writes")?;
    mirror.wait("fully-operational")?;
    eve.ctl("down data").ok()?;
    for device in [meta, data, logged] {
        device.remove()?;
    }
    let log = Log::read(eve.disk("vde")?)?;
    let mut proof = Proof::new(&log, held, dice)?;
    proof.run()?;
    // The log has everything, or what it shows would mean nothing.
    ensure!(
        proof.disk.bytes() == eve.disk("vdb")?.read(0, ALL)?,
        "the log is not what happened"
    );
    ensure!(proof.disk.bytes().get(..DATA.try_into()?) == Some(&adam.disk("vdb")?.read(0, DATA)?[..]));
    println!("{:?}", proof.seen);
    proof.seen.enough()
}

/// How much was looked at.
#[derive(Debug, Default)]
struct Seen {
    /// States right after an entry.
    states: u64,
    /// States with a part of some writes of data, and with a part of a write of metadata.
    partial: u64,
    torn: u64,
    /// Writes of data while the target was there, and while it was not.
    live: u64,
    alone: u64,
    /// States in which the disks differed.
    differing: u64,
    /// Marks that went.
    cleared: u64,
    generations: u64,
}

impl Seen {
    /// Whether what was to be shown occurred at all.
    fn enough(&self) -> Result<()> {
        let counts = [self.partial, self.torn, self.live, self.alone, self.differing];
        ensure!(counts.iter().all(|&count| count >= 30), "too little happened: {self:?}");
        ensure!(self.cleared >= 30, "hardly any mark was cleared: {self:?}");
        ensure!(
            self.generations >= CUTS as u64,
            "no new generation with each cut: {self:?}"
        );
        Ok(())
    }
}

struct Proof<'a> {
    log: &'a Log,
    disk: Replay,
    dice: Dice,
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

fn marks(disk: &Replay) -> Result<Marks> {
    let start = usize::try_from(DATA)?;
    let metadata = Metadata::from_bytes(disk.bytes().get(start..).unwrap_or_default())?;
    Ok(Marks {
        chunks: metadata.after_crash(),
        generation: metadata.generations().0,
    })
}

/// The chunks of data that an entry changes.
fn touched(entry: &Entry) -> Chunks {
    let length = match entry.what {
        What::Discard(length) => length,
        _ => entry.data().len() as u64,
    };
    let end = (entry.offset + length).min(DATA);
    (entry.offset / CHUNK..end.div_ceil(CHUNK)).collect()
}

/// Whether an entry is of metadata.
fn is_meta(entry: &Entry) -> bool {
    entry.offset >= DATA
}

impl<'a> Proof<'a> {
    fn new(log: &'a Log, mut held: Vec<Vec<u8>>, dice: Dice) -> Result<Self> {
        held.reverse();
        Ok(Self {
            log,
            disk: Replay::new(vec![0; usize::try_from(ALL)?]),
            dice,
            held,
            target: None,
            differ: Chunks::new(),
            marks: None,
            seen: Seen::default(),
        })
    }

    fn run(&mut self) -> Result<()> {
        let entries = self.log.entries();
        for (index, entry) in entries.iter().enumerate() {
            self.step(index, entry)
                .with_context(|| format!("entry {index} of {}, {}", entries.len(), describe(entry)))?;
        }
        Ok(())
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
        if is_meta(entry) {
            self.read_marks(&before)?;
        }
        let chunks = touched(entry);
        self.differ = &(&self.differ - &chunks) | &differing(self.target.as_deref(), &self.disk, chunks);
        self.check(&self.chunks(), &self.differ.clone())?;
        self.seen.states += 1;
        Ok(())
    }

    fn reached(&mut self, words: &str) -> Result<()> {
        match words {
            "created" => self.marks = Some(marks(&self.disk).context("a mirror without metadata")?),
            "cut" => self.target = Some(self.held.pop().context("more cuts than there were")?),
            "restored" => self.target = None,
            "dm-log-writes-end" => {}
            other => bail!("a mark of somebody else: {other}"),
        }
        self.differ = differing(self.target.as_deref(), &self.disk, (0..DATA / CHUNK).collect());
        self.check(&self.chunks(), &self.differ.clone())
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
        let unmarked = &touched(entry) - &self.chunks();
        ensure!(unmarked.is_empty(), "written to and not marked: {}", listed(&unmarked));
        if !is_meta(entry) && !entry.data().is_empty() {
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
        let now = marks(&self.disk).context("the metadata became unreadable")?;
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
        let whole: Vec<_> = entries.iter().flat_map(Entry::sectors).collect();
        if whole.is_empty() {
            return Ok(());
        }
        let chunks: Chunks = entries.iter().flat_map(touched).collect();
        let before = self.chunks();
        let stays = if entries.iter().any(is_meta) {
            let after = self.disk.with(&whole, marks).context("when it is written")?.chunks;
            Some(&before & &after)
        } else {
            None
        };
        for _ in 0..TRIES {
            let mut some = whole.clone();
            some.retain(|_| self.dice.between(0, 2) == 0);
            let target = self.target.as_deref();
            let (differ, marked) = self.disk.with(&some, |disk| {
                let differ = differing(target, disk, chunks.clone());
                Ok((differ, stays.is_some().then(|| marks(disk)).transpose()?))
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

/// Which of these chunks differ from those of the target, where that is known.
fn differing(target: Option<&[u8]>, disk: &Replay, chunks: Chunks) -> Chunks {
    let Some(target) = target else {
        return Chunks::new();
    };
    fn piece(bytes: &[u8], chunk: u64) -> Option<&[u8]> {
        let (start, end) = (chunk * CHUNK, (chunk + 1) * CHUNK);
        bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }
    let differ = |&chunk: &u64| piece(disk.bytes(), chunk) != piece(target, chunk);
    chunks.into_iter().filter(differ).collect()
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
