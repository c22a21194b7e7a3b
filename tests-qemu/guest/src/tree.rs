// SPDX-License-Identifier: GPL-2.0
//! Copies a real tree with a checksum of each file, and checks a tree against them later.
//!
//! The list of checksums has one line for each entry, `<sum> <length> <path>` for a file and
//! `link <target> <path>` for a symbolic link, with paths relative to the tree. Lines
//! `P <entries> <bytes> <of bytes>` on standard output show how far the work is.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::fs::{symlink, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{anyhow, Context as _, Result};
use clap::Args;
use serde_json::json;
use xxhash_rust::xxh64::Xxh64;

/// Two machines' worth of virtual processors never need more.
const THREADS: usize = 4;
const PIECE: usize = 256 * 1024;
const PROGRESS: Duration = Duration::from_millis(250);

/// What to copy.
#[derive(Args)]
pub(crate) struct CopyOptions {
    /// Folder to copy
    from: PathBuf,
    /// Folder to copy to; must not exist
    to: PathBuf,
    /// File to write the checksums to
    #[arg(long)]
    sums: PathBuf,
    /// Copy no more than so many bytes
    #[arg(long)]
    limit: u64,
}

enum Entry {
    File { path: String },
    Link { path: String, target: String },
}

/// Copies the tree, prints a summary as JSON in the last line.
pub(crate) fn copy(options: &CopyOptions) -> Result<()> {
    let mut entries = VecDeque::new();
    let mut left = options.limit;
    fs::create_dir_all(&options.to).with_context(|| format!("make {}", options.to.display()))?;
    let device = fs::metadata(&options.from)
        .with_context(|| format!("look at {}", options.from.display()))?
        .dev();
    gather(options, device, Path::new(""), &mut entries, &mut left)?;
    let total = options.limit - left;
    let work = Work::new(entries, total);
    let lines = work.share(|entry| {
        let (Entry::File { path, .. } | Entry::Link { path, .. }) = entry;
        let (from, to) = (options.from.join(path), options.to.join(path));
        match entry {
            Entry::File { .. } => {
                let (sum, length) = copy_file(&from, &to, &work)?;
                Ok(format!("{sum:016x} {length} {path}"))
            }
            Entry::Link { target, .. } => {
                symlink(target, &to).with_context(|| format!("link {}", to.display()))?;
                Ok(format!("link {target} {path}"))
            }
        }
    })?;
    let mut list = lines.join("\n");
    list.push('\n');
    fs::write(&options.sums, list).with_context(|| format!("write {}", options.sums.display()))?;
    println!("{}", json!({ "files": lines.len(), "bytes": total }));
    Ok(())
}

/// Compares the tree with the list, prints a summary as JSON in the last line.
pub(crate) fn check(dir: &Path, sums: &Path) -> Result<()> {
    let list = fs::read_to_string(sums).with_context(|| format!("read {}", sums.display()))?;
    let mut total = 0;
    let mut entries = VecDeque::new();
    let mut expected = std::collections::HashMap::new();
    for line in list.lines() {
        let mut fields = line.splitn(3, ' ');
        let (Some(sum), Some(second), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(anyhow!("{} has a bad line: {line}", sums.display()));
        };
        let path = path.to_owned();
        expected.insert(path.clone(), line.to_owned());
        if sum == "link" {
            entries.push_back(Entry::Link {
                path,
                target: second.to_owned(),
            });
        } else {
            let length: u64 = second.parse().with_context(|| format!("bad length in {line}"))?;
            total += length;
            entries.push_back(Entry::File { path });
        }
    }
    let work = Work::new(entries, total);
    let bad = Mutex::new(Vec::new());
    let checked = work.share(|entry| {
        let (Entry::File { path, .. } | Entry::Link { path, .. }) = entry;
        let found = match entry {
            Entry::File { .. } => {
                read_file(&dir.join(path), &work).map(|(sum, length)| format!("{sum:016x} {length} {path}"))
            }
            Entry::Link { .. } => fs::read_link(dir.join(path))
                .map(|target| format!("link {} {path}", target.display()))
                .map_err(anyhow::Error::from),
        };
        let fault = match found {
            Ok(line) if expected.get(path) == Some(&line) => None,
            Ok(line) => Some(format!("{path}: found {line}")),
            Err(error) => Some(format!("{path}: {error:#}")),
        };
        bad.lock().unwrap_or_else(PoisonError::into_inner).extend(fault);
        Ok(path.clone())
    })?;
    let bad = bad.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!("{}", json!({ "files": checked.len(), "bytes": total, "bad": bad }));
    Ok(())
}

/// Adds what lies in the folder `below` of the tree, and makes the folders of the copy.
fn gather(
    options: &CopyOptions,
    device: u64,
    below: &Path,
    entries: &mut VecDeque<Entry>,
    left: &mut u64,
) -> Result<()> {
    let dir = options.from.join(below);
    let mut names = fs::read_dir(&dir)
        .with_context(|| format!("list {}", dir.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    names.sort_by_key(fs::DirEntry::file_name);
    for name in names {
        let path = below.join(name.file_name());
        // The list is text in lines; the few names that do not fit in are no loss.
        let Some(text) = path.to_str().filter(|text| !text.contains('\n')) else {
            continue;
        };
        let meta = name.metadata()?;
        if meta.dev() != device {
            // What is mounted there, such as the kernel's modules, is another tree.
            continue;
        }
        if meta.is_dir() {
            let copy = options.to.join(&path);
            fs::create_dir(&copy).with_context(|| format!("make {}", copy.display()))?;
            gather(options, device, &path, entries, left)?;
        } else if meta.is_file() && meta.len() <= *left {
            *left -= meta.len();
            entries.push_back(Entry::File { path: text.to_owned() });
        } else if meta.is_symlink() {
            let target = fs::read_link(options.from.join(&path))?;
            let target = target.to_str().filter(|target| !target.contains([' ', '\n']));
            let Some(target) = target else { continue };
            entries.push_back(Entry::Link {
                path: text.to_owned(),
                target: target.to_owned(),
            });
        }
    }
    Ok(())
}

/// Entries still to do, and how much was done.
struct Work {
    queue: Mutex<VecDeque<Entry>>,
    done: Mutex<Done>,
    total: u64,
}

struct Done {
    entries: u64,
    bytes: u64,
    told: Instant,
}

impl Work {
    fn new(entries: VecDeque<Entry>, total: u64) -> Self {
        let done = Done {
            entries: 0,
            bytes: 0,
            told: Instant::now(),
        };
        Self {
            queue: Mutex::new(entries),
            done: Mutex::new(done),
            total,
        }
    }

    /// Does `job` for each entry in several threads; the results come sorted.
    fn share(&self, job: impl Fn(&Entry) -> Result<String> + Sync) -> Result<Vec<String>> {
        let run = || -> Result<Vec<String>> {
            let mut results = Vec::new();
            loop {
                let entry = self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(entry) = entry else { return Ok(results) };
                results.push(job(&entry)?);
                self.count(1, 0);
            }
        };
        let mut results = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run)).collect();
            let mut all = Vec::new();
            for thread in threads {
                let part = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
                all.extend(part?);
            }
            Ok::<_, anyhow::Error>(all)
        })?;
        results.sort();
        Ok(results)
    }

    fn count(&self, entries: u64, bytes: u64) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.entries += entries;
        done.bytes += bytes;
        if done.told.elapsed() >= PROGRESS {
            done.told = Instant::now();
            println!("P {} {} {}", done.entries, done.bytes, self.total);
        }
    }
}

fn copy_file(from: &Path, to: &Path, work: &Work) -> Result<(u64, u64)> {
    let mut copy = File::create_new(to).with_context(|| format!("make {}", to.display()))?;
    each_piece(from, work, |piece| {
        copy.write_all(piece).with_context(|| format!("write {}", to.display()))
    })
}

fn read_file(path: &Path, work: &Work) -> Result<(u64, u64)> {
    each_piece(path, work, |_| Ok(()))
}

fn each_piece(path: &Path, work: &Work, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<(u64, u64)> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut buffer = vec![0; PIECE];
    let (mut sum, mut length) = (Xxh64::new(0), 0);
    loop {
        let count = file
            .read(&mut buffer)
            .with_context(|| format!("read {}", path.display()))?;
        if count == 0 {
            return Ok((sum.digest(), length));
        }
        sum.update(&buffer[..count]);
        take(&buffer[..count])?;
        length += count as u64;
        work.count(0, count as u64);
    }
}
