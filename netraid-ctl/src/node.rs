// SPDX-License-Identifier: GPL-2.0
//! Who this machine is: the name and the identity it tells the other side.

use std::path::Path;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::disk::Host;
use crate::gen::{NAME_MAX, UUID_LEN};

/// The identity of netraid among the users of /etc/machine-id.
///
/// The machine id itself must not leave the machine (machine-id(5)); a keyed hash of it with an id of the application
/// can, and is as stable.
const APPLICATION: [u8; UUID_LEN] = [
    0x6e, 0x1f, 0x83, 0xd5, 0x2a, 0x07, 0x4c, 0xb9, 0x91, 0x5e, 0x30, 0xe4, 0x77, 0xbd, 0x08, 0x62,
];

/// The name of this machine, at most 64 bytes; `None` when it has none.
pub fn name(host: &dyn Host) -> Option<String> {
    let text = host.read(Path::new("/proc/sys/kernel/hostname")).ok()?;
    let name = text.trim();
    (!name.is_empty() && name.len() <= NAME_MAX).then(|| name.to_owned())
}

/// The identity of this machine; `None` when /etc/machine-id does not hold one.
pub fn uuid(host: &dyn Host) -> Option<[u8; UUID_LEN]> {
    let machine = parse_machine_id(host.read(Path::new("/etc/machine-id")).ok()?.trim())?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&machine).ok()?;
    mac.update(&APPLICATION);
    let digest: [u8; 32] = mac.finalize().into_bytes().into();
    let mut id: [u8; UUID_LEN] = *digest.first_chunk()?;
    // A UUID of version 4, variant 1, as systemd makes it from the same hash.
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut id;
    *version = (*version & 0x0f) | 0x40;
    *variant = (*variant & 0x3f) | 0x80;
    Some(id)
}

fn parse_machine_id(text: &str) -> Option<[u8; UUID_LEN]> {
    let bytes = text.as_bytes();
    if bytes.len() != UUID_LEN * 2 {
        return None;
    }
    let mut id = [0; UUID_LEN];
    for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (id != [0; UUID_LEN]).then_some(id)
}
