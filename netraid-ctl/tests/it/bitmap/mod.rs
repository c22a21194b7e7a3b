// SPDX-License-Identifier: GPL-2.0
//! `bitmap` and new metadata on real files, with and without a kernel.

mod change;
mod examine;
mod prepare;
mod refuse;

use std::fs;
use std::path::PathBuf;

use netraid_core::meta::*;
use netraid_core::name::Name;
use netraid_core::state::Role;
use netraid_ctl::gen;
use serde_json::Value;
use tempfile::TempDir;

use crate::fake::Fake;
use crate::machine::{run_with, Machine, Ran};

const SIZE: u64 = 313_236 * 1024;
const CHUNKS: u64 = 4895;
/// Bytes of metadata for [`SIZE`] in chunks of 64 KiB: a map has one block.
const LEN: usize = 8192 + 16 * 4096;

/// A directory with metadata in a file, and no kernel module.
struct Bench {
    folder: TempDir,
    kernel: Fake,
}

impl Bench {
    /// Metadata with this superblock, its maps clean.
    fn new(superblock: &Superblock) -> Self {
        let bench = Self {
            folder: TempDir::new().unwrap(),
            kernel: Fake::default(),
        };
        let mut bytes = vec![0; LEN];
        superblock.encode((&mut bytes[..4096]).try_into().unwrap());
        let second = Superblock {
            sequence: superblock.sequence - 1,
            ..superblock.clone()
        };
        second.encode((&mut bytes[4096..8192]).try_into().unwrap());
        fs::write(bench.path(), bytes).unwrap();
        for map in 0..MAPS {
            bench.mark(map, &[]);
        }
        bench
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("bitmap_data")
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes();
        change(&mut bytes);
        fs::write(self.path(), bytes).unwrap();
    }

    /// Writes a map with these chunks marked.
    fn mark(&self, map: usize, chunks: &[usize]) {
        let mut words = [0; BLOCK_WORDS];
        for chunk in chunks {
            words[chunk / 64] |= 1u64 << (chunk % 64);
        }
        let offset = 8192 + map * 4096;
        self.change(|bytes| {
            let block = (&mut bytes[offset..offset + 4096]).try_into().unwrap();
            encode_map_block(block, SET, u16::try_from(map).unwrap(), 0, &words);
        });
    }

    /// The words of a map, and the damaged sectors.
    fn words(&self, map: usize) -> ([u64; BLOCK_WORDS], u8) {
        let (bytes, mut words) = (self.bytes(), [0; BLOCK_WORDS]);
        let block = bytes[8192 + map * 4096..][..4096].try_into().unwrap();
        let damaged = decode_map_block(block, SET, u16::try_from(map).unwrap(), 0, &mut words);
        (words, damaged)
    }

    fn superblocks(&self) -> [Result<Superblock, MetaError>; 2] {
        let bytes = self.bytes();
        [0, 4096].map(|offset| Superblock::decode(bytes[offset..offset + 4096].try_into().unwrap()))
    }

    /// Runs `bitmap` with `arguments` before the file.
    fn run(&self, arguments: &str) -> Ran {
        self.answer(arguments, None)
    }

    fn answer(&self, arguments: &str, answer: Option<&str>) -> Ran {
        let line = format!("bitmap {arguments} {}", self.path().display());
        run_with(&Machine::default(), &self.kernel, &line, answer)
    }

    fn examine(&self) -> Value {
        let ran = self.run("-X --json");
        assert_eq!((ran.status, ran.err.as_str()), (0, ""));
        serde_json::from_str(&ran.out).unwrap()
    }

    fn dirty(&self) -> u64 {
        self.examine()["bitmap"]["dirty"].as_u64().unwrap()
    }

    /// Loads the module with a mirror whose metadata is at `path`.
    fn load(&self, path: &str, role: gen::Role) {
        let mut world = self.kernel.0.borrow_mut();
        world.loaded = true;
        world.mirrors = vec![gen::Mirror {
            name: Some("data".to_owned()),
            role: Some(role),
            meta_path: Some(path.to_owned()),
            disk: Some("/dev/vdb".to_owned()),
            ..gen::Mirror::default()
        }];
    }

    /// The error, without the path, which differs each time.
    fn error(&self, arguments: &str) -> String {
        let ran = self.run(arguments);
        assert_eq!((ran.status, ran.out.as_str()), (2, ""), "{}", ran.err);
        ran.err.replace(self.folder.path().to_str().unwrap(), "DIR")
    }
}

const SET: u64 = 0x5e75;

fn adam() -> Peer {
    let mut ip = [0; 16];
    ip[..4].copy_from_slice(&[10, 77, 0, 2]);
    Peer {
        uuid: [0xad; 16],
        name: Name::new("adam").unwrap(),
        base: 0xb,
        flags: PeerFlags::FULL,
        ip,
        ip_len: 4,
        port: 7900,
        ..Peer::FREE
    }
}

fn superblock() -> Superblock {
    Superblock {
        sequence: 42,
        set: SET,
        mirror_uuid: [0x11; 16],
        node_uuid: [0xee; 16],
        name: Name::new("data").unwrap(),
        size: SIZE,
        chunk_size: 65536,
        role: Role::Source,
        flags: MetaFlags::LAST_OWNER.with(MetaFlags::CLEAN, true),
        current: 0xc0de,
        history: [0xb, 0xa, 0, 0, 0, 0, 0, 0],
        ..Superblock::default()
    }
}

fn with_peers(slots: &[usize]) -> Superblock {
    let mut superblock = superblock();
    for &slot in slots {
        superblock.peers[slot] = adam();
    }
    superblock
}
