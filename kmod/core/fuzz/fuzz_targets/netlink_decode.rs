// SPDX-License-Identifier: GPL-2.0

//! Any datagram is a list of messages or an error, and so is what netraid-ctl reads from the attributes in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netraid_ctl::gen::{Event, Leg, Mirror};
use netraid_ctl::nl::wire::{AttrReader, AttrWriter, Message, GENL_HEADER_LEN};

/// Reads attributes, and those inside them, down to some depth.
fn walk(attrs: AttrReader<'_>, depth: u32) {
    for attr in attrs {
        let Ok(attr) = attr else { return };
        let _ = (
            attr.kind(),
            attr.bytes(),
            attr.u16(),
            attr.u32(),
            attr.uint(),
            attr.string(),
        );
        let _ = attr.array::<16>();
        if depth > 0 {
            walk(attr.nested(), depth - 1);
        }
    }
}

fn decode(bytes: &[u8]) {
    walk(AttrReader::new(bytes), 4);
    if let Ok(mirror) = Mirror::decode(AttrReader::new(bytes)) {
        let mut writer = AttrWriter::default();
        if mirror.encode(&mut writer).is_ok() {
            let bytes = writer.into_bytes();
            assert_eq!(Mirror::decode(AttrReader::new(&bytes)).ok(), Some(mirror));
        }
    }
    let _ = Leg::decode(AttrReader::new(bytes));
    let _ = Event::decode(AttrReader::new(bytes));
}

fuzz_target!(|data: &[u8]| {
    decode(data);
    if let Ok(messages) = Message::parse_all(data) {
        for message in messages {
            decode(message.payload.get(GENL_HEADER_LEN..).unwrap_or_default());
            let bytes = message.to_bytes().unwrap();
            assert_eq!(Message::parse_all(&bytes).unwrap().len(), 1);
        }
    }
});
