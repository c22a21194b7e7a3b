// SPDX-License-Identifier: GPL-2.0
//! What tests want to know of a packet: whose it is and what TCP carries in it.

use std::ops::Range;

const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;

/// An Ethernet frame on its way.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Looks at a frame.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The whole frame.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where in the frame the TCP segment with its header is, when it is one.
    fn segment_range(&self) -> Option<Range<usize>> {
        let packet = self.bytes.get(ETHERNET..)?;
        let kind = self.bytes.get(12..14)?;
        let range = if kind == IPV4 && *packet.get(9)? == TCP {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            header..total
        } else if kind == IPV6 && *packet.get(6)? == TCP {
            let length = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            40..40 + length
        } else {
            return None;
        };
        packet.get(range.clone())?;
        Some(ETHERNET + range.start..ETHERNET + range.end)
    }

    fn segment(&self) -> Option<&'a [u8]> {
        self.bytes.get(self.segment_range()?)
    }

    /// Source and destination port of a TCP packet.
    #[must_use]
    pub fn ports(&self) -> Option<(u16, u16)> {
        let segment = self.segment()?;
        let word = |at: usize| Some(u16::from_be_bytes([*segment.get(at)?, *segment.get(at + 1)?]));
        Some((word(0)?, word(2)?))
    }

    /// What TCP carries in this packet; empty for a bare acknowledgement.
    #[must_use]
    pub fn payload(&self) -> Option<&'a [u8]> {
        let segment = self.segment()?;
        let header = usize::from(segment.get(12)? >> 4) * 4;
        segment.get(header..)
    }

    /// Whether a message header with this magic and type begins in the packet; the type is the
    /// byte `offset` bytes after the magic's first.
    ///
    /// The magic can by chance stand in data too, so use it where the data is known.
    #[must_use]
    pub fn carries(&self, magic: [u8; 4], offset: usize, kind: u8) -> bool {
        let payload = self.payload().unwrap_or_default();
        payload
            .windows(magic.len())
            .enumerate()
            .any(|(at, window)| window == magic && payload.get(at + offset) == Some(&kind))
    }
}

/// Changes byte `at` of what TCP carries in a frame (exclusive or with `mask`), as bad memory on the way would: the
/// checksum of TCP is right for what arrives, if it was right before. False, and nothing changes, where there is no such
/// byte.
///
/// The machines compute whole checksums themselves: QEMU offers them no offload, since what is behind this interface
/// takes none.
pub fn damage(frame: &mut [u8], at: usize, mask: u8) -> bool {
    let packet = Packet::new(frame);
    let (Some(segment), Some(payload)) = (packet.segment_range(), packet.payload()) else {
        return false;
    };
    let place = segment.end - payload.len() + at;
    if place >= segment.end {
        return false;
    }
    // The sum is over words, the last of which may be half a one.
    let word = segment.start + ((place - segment.start) & !1);
    let value = |frame: &[u8]| {
        let low = if word + 1 < segment.end { frame[word + 1] } else { 0 };
        u16::from_be_bytes([frame[word], low])
    };
    let checksum = segment.start + 16;
    let old = value(frame);
    frame[place] ^= mask;
    let new = value(frame);
    // RFC 1624, equation 3.
    let sum = u16::from_be_bytes([frame[checksum], frame[checksum + 1]]);
    let sum = u32::from(!sum) + u32::from(!old) + u32::from(new);
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX);
    frame[checksum..checksum + 2].copy_from_slice(&(!folded).to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET];
        frame[12..14].copy_from_slice(&IPV4);
        let total = u16::try_from(40 + payload.len()).unwrap_or(0);
        let mut header = [0; 20];
        header[0] = 0x45;
        header[2..4].copy_from_slice(&total.to_be_bytes());
        header[9] = TCP;
        frame.extend(header);
        let mut tcp = [0; 20];
        tcp[..4].copy_from_slice(&[0x1e, 0xdc, 0x80, 0x01]);
        tcp[12] = 0x50;
        frame.extend(tcp);
        frame.extend(payload);
        frame.extend([0; 6]);
        frame
    }

    #[test]
    fn a_message_is_found_behind_other_data_and_padding_is_not_data() {
        let frame = ipv4(b"..NRAD\x07");
        let packet = Packet::new(&frame);
        assert_eq!(packet.ports(), Some((7900, 0x8001)));
        assert_eq!(packet.payload(), Some(&b"..NRAD\x07"[..]));
        assert!(packet.carries(*b"NRAD", 4, 7));
        assert!(!packet.carries(*b"NRAD", 4, 0));
    }

    #[test]
    fn a_truncated_frame_has_no_ports_and_no_payload() {
        let frame = ipv4(b"x");
        for length in 0..frame.len() - 7 {
            let packet = Packet::new(&frame[..length]);
            assert!(packet.payload().is_none_or(<[u8]>::is_empty));
        }
    }

    /// The checksum that is left when that of the segment, with the pseudo header, is added up: 0 for a right one.
    fn left(frame: &[u8]) -> u16 {
        let packet = Packet::new(frame);
        let segment = packet.segment().unwrap_or_default();
        let length = u16::try_from(segment.len()).unwrap_or(0);
        let mut data = frame[ETHERNET + 12..ETHERNET + 20].to_vec();
        data.extend([0, TCP]);
        data.extend(length.to_be_bytes());
        data.extend(segment);
        let sum = data.chunks(2).fold(0u64, |sum, pair| {
            sum + u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))
        });
        let sum = (0..4).fold(sum, |sum, _| (sum & 0xffff) + (sum >> 16));
        !u16::try_from(sum).unwrap_or(0)
    }

    #[test]
    fn damage_changes_one_byte_and_tcp_does_not_notice() {
        for text in [&b"even"[..], b"uneven!"] {
            let mut right = ipv4(text);
            right[ETHERNET + 12..ETHERNET + 20].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
            let sum = left(&right);
            right[ETHERNET + 36..ETHERNET + 38].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(left(&right), 0);
            for at in 0..text.len() {
                for bit in 0..8 {
                    let mut frame = right.clone();
                    assert!(damage(&mut frame, at, 1 << bit));
                    let mut expected = text.to_vec();
                    expected[at] ^= 1 << bit;
                    assert_eq!(Packet::new(&frame).payload(), Some(&expected[..]));
                    assert_eq!(left(&frame), 0, "byte {at}, bit {bit}");
                }
            }
            let mut frame = right.clone();
            assert!(!damage(&mut frame, text.len(), 1));
            assert_eq!(frame, right);
        }
    }
}
