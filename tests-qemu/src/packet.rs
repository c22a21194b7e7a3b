// SPDX-License-Identifier: GPL-2.0
//! What tests want to know of a packet: whose it is and what TCP carries in it.

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

    /// The TCP segment with its header, when it is one.
    fn segment(&self) -> Option<&'a [u8]> {
        let packet = self.bytes.get(ETHERNET..)?;
        let kind = self.bytes.get(12..14)?;
        if kind == IPV4 && *packet.get(9)? == TCP {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            packet.get(header..total)
        } else if kind == IPV6 && *packet.get(6)? == TCP {
            let length = usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
            packet.get(40..40 + length)
        } else {
            None
        }
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
}
