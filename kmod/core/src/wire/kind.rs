// SPDX-License-Identifier: GPL-2.0

//! Kinds of messages, and the flags they can carry.

use core::fmt;
use core::ops::BitOr;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The source introduces itself.
    Hello = 1,
    /// The target accepts.
    Welcome = 2,
    /// The target refuses and says why.
    Refuse = 3,
    /// Data for the disk.
    Write = 4,
    /// Everything acknowledged so far is to reach stable storage.
    Flush = 5,
    /// A range is no longer needed.
    Discard = 6,
    /// A range is to read as zeroes.
    Zeroes = 7,
    /// Requests are done.
    Ack = 8,
    /// Is the other side there?
    Ping = 9,
    /// This side is there.
    Pong = 10,
    /// What follows brings the target up to date; until the end it is inconsistent.
    ResyncStart = 11,
    /// The target is up to date.
    ResyncDone = 12,
    /// Replication stops until further notice; the target may be used on its own.
    Pause = 13,
    /// Replication goes on.
    Resume = 14,
    /// The answer to a control message.
    Reply = 15,
    /// A piece of the map of what the target wrote itself.
    Map = 16,
    /// The connection ends on purpose.
    Bye = 17,
    /// Data is asked for.
    Read = 18,
    /// Data that was asked for.
    ReadReply = 19,
    /// The target asks the source to change places with it.
    Takeover = 20,
    /// Is this what the disk holds there?
    Compare = 21,
    /// A mark in the stream, and what is settled of what was sent before.
    Settled = 22,
}

impl Kind {
    /// Every kind, in the order of the numbers.
    pub const ALL: [Self; 22] = [
        Self::Hello,
        Self::Welcome,
        Self::Refuse,
        Self::Write,
        Self::Flush,
        Self::Discard,
        Self::Zeroes,
        Self::Ack,
        Self::Ping,
        Self::Pong,
        Self::ResyncStart,
        Self::ResyncDone,
        Self::Pause,
        Self::Resume,
        Self::Reply,
        Self::Map,
        Self::Bye,
        Self::Read,
        Self::ReadReply,
        Self::Takeover,
        Self::Compare,
        Self::Settled,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kind with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Whether it is a request on a range of the device, which is acknowledged with its handle.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(
            self,
            Self::Write | Self::Flush | Self::Discard | Self::Zeroes | Self::Compare
        )
    }

    /// Whether it belongs to the handshake, before which nothing is agreed on.
    #[must_use]
    pub const fn is_handshake(self) -> bool {
        matches!(self, Self::Hello | Self::Welcome | Self::Refuse)
    }

    /// Whether `offset` and `span` are a range of the device.
    #[must_use]
    pub const fn has_range(self) -> bool {
        matches!(
            self,
            Self::Write | Self::Discard | Self::Zeroes | Self::Read | Self::ReadReply | Self::Compare
        )
    }

    /// The flags this kind can carry.
    #[must_use]
    pub const fn allowed_flags(self) -> Flags {
        let durable = Flags::FUA.0 | Flags::PREFLUSH.0 | Flags::RESYNC.0 | Flags::BARRIER.0;
        Flags(match self {
            Self::Write | Self::Discard => durable,
            Self::Flush => Flags::BARRIER.0,
            Self::Zeroes => durable | Flags::NOUNMAP.0,
            Self::Map => Flags::LAST.0,
            Self::Compare => Flags::RESYNC.0,
            _ => 0,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Flags of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The data is to be on stable storage before it is acknowledged.
    pub const FUA: Self = Self(1);
    /// Everything acknowledged before is to be on stable storage first.
    pub const PREFLUSH: Self = Self(2);
    /// Not from an application: part of a resync.
    pub const RESYNC: Self = Self(4);
    /// The zeroed range is to keep its space.
    pub const NOUNMAP: Self = Self(8);
    /// The last message of a series.
    pub const LAST: Self = Self(16);
    /// Everything that was sent before on this connection has ended on the disk before this is begun.
    pub const BARRIER: Self = Self(32);

    /// Flags from their bits, whatever they are; [`Header::decode`](super::Header::decode) refuses
    /// those that a kind does not know.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bits of the flags.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These, and `other` where `condition` holds.
    #[must_use]
    pub const fn with(self, other: Self, condition: bool) -> Self {
        if condition {
            Self(self.0 | other.0)
        } else {
            self
        }
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
