// SPDX-License-Identifier: GPL-2.0

//! How a target refuses a source.

use super::message::{decode_reason, encode_reason};
use super::{Kind, WireError, REPLY_MAX_LEN, REPLY_MIN_LEN};
use crate::name::Text;
use core::fmt;

/// Fewest bytes of a [`Refuse`].
pub const REFUSE_MIN_LEN: usize = REPLY_MIN_LEN;

/// Most bytes of a [`Refuse`] of this version.
pub const REFUSE_MAX_LEN: usize = REPLY_MAX_LEN;

/// Why a target does not accept a source. Displayed, it is a sentence that the source can show
/// where the target gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefuseCode {
    /// The target speaks another version of the protocol.
    OtherVersion,
    /// The target knows no mirror of that name.
    OtherMirror,
    /// The target has a mirror of that name, but it belongs to another one.
    OtherUuid,
    /// Another source is connected to the target.
    Taken,
    /// The target's disk is smaller than the mirrored device.
    TooSmall,
    /// The target's disk cannot write blocks as small as the mirrored device offers.
    BlockSize,
    /// The machine is not a target of this mirror now.
    NotTarget,
    /// The data of the two machines has nothing in common.
    Unrelated,
    /// Both machines were written to independently.
    SplitBrain,
    /// The target is in use or occupied and may accept later.
    Busy,
    /// What the source said makes no sense.
    Malformed,
    /// The target holds newer data than the source.
    Newer,
    /// The target can't keep the metadata of the mirror.
    Metadata,
    /// The target cannot keep the order of an asynchronous leg.
    NoBarrier,
    /// Source and target are one machine, which was not permitted.
    SameMachine,
    /// Several mirrors there could be meant.
    Ambiguous,
    /// A reason of a later version.
    Unknown(u32),
}

impl RefuseCode {
    /// Every code that has a name.
    pub const ALL: [Self; 16] = [
        Self::OtherVersion,
        Self::OtherMirror,
        Self::OtherUuid,
        Self::Taken,
        Self::TooSmall,
        Self::BlockSize,
        Self::NotTarget,
        Self::Unrelated,
        Self::SplitBrain,
        Self::Busy,
        Self::Malformed,
        Self::Newer,
        Self::Metadata,
        Self::NoBarrier,
        Self::SameMachine,
        Self::Ambiguous,
    ];

    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::OtherVersion => 1,
            Self::OtherMirror => 2,
            Self::OtherUuid => 3,
            Self::Taken => 4,
            Self::TooSmall => 5,
            Self::BlockSize => 6,
            Self::NotTarget => 7,
            Self::Unrelated => 8,
            Self::SplitBrain => 9,
            Self::Busy => 10,
            Self::Malformed => 11,
            Self::Newer => 12,
            Self::Metadata => 13,
            Self::NoBarrier => 14,
            Self::SameMachine => 15,
            Self::Ambiguous => 16,
            Self::Unknown(number) => number,
        }
    }

    /// The code with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        let known = Self::ALL.into_iter().find(|code| code.number() == number);
        known.unwrap_or(Self::Unknown(number))
    }
}

impl fmt::Display for RefuseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherVersion => {
                "the target speaks another version of the netraid protocol; load modules that \
                 speak the same version on both machines"
            }
            Self::OtherMirror => "the target knows no mirror of this name; give it a disk with netraid-ctl join",
            Self::OtherUuid => {
                "the disk of the target belongs to another mirror of this name; delete the mirror \
                 on the target and join again if its disk is to be overwritten"
            }
            Self::Taken => "another source is connected to the target; stop or unextend the mirror there first",
            Self::TooSmall => "the disk of the target is smaller than the mirror; give the target a larger disk",
            Self::BlockSize => {
                "the disk of the target cannot write blocks as small as the mirror's; take a disk \
                 with the same logical block size"
            }
            Self::NotTarget => {
                "the other machine is not a target of this mirror now; demote the mirror there, or \
                 join it with a disk"
            }
            Self::Unrelated => {
                "the data of the two machines has nothing in common; delete the mirror where its data is not wanted, \
                 and join again"
            }
            Self::SplitBrain => {
                "split brain: both machines were written to as source; decide whose data is kept, and run \
                 netraid-ctl resolve --keep NODE on the other one"
            }
            Self::Busy => "the target is in use; close its block device there, the connection is then made",
            Self::Malformed => "the target found the request to be senseless; compare the versions on both sides",
            Self::Newer => {
                "the target holds newer data than the source; stop the mirror here and start it there, or give that \
                 data up there with netraid-ctl resolve --keep NODE"
            }
            Self::Metadata => "the target can't keep the metadata of the mirror; look at its kernel log",
            Self::NoBarrier => {
                "the version of netraid on the target knows no asynchronous replication; install this one there, or \
                 unextend the mirror and extend it again with --type sync"
            }
            Self::SameMachine => {
                "source and target are the same machine; join there with --same-machine if that is meant"
            }
            Self::Ambiguous => {
                "several mirrors of the target wait for a source that calls its mirror so; have them listen on ports of \
                 their own"
            }
            Self::Unknown(number) => return write!(f, "the target refused for a reason unknown here ({number})"),
        })
    }
}

/// The target refuses.
///
/// Its payload: code (4 bytes), length of the reason (1), three bytes of zero, the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// Why, for the machine.
    pub code: RefuseCode,
    /// Why, for a person: a sentence with the names and sizes in question.
    pub reason: Text,
}

impl Refuse {
    /// A refusal with a sentence.
    #[must_use]
    pub const fn new(code: RefuseCode, reason: Text) -> Self {
        Self { code, reason }
    }

    /// The sentence to show: the one that came, or the one for the code.
    #[must_use]
    pub fn sentence(&self) -> Text {
        if self.reason.is_empty() {
            Text::format(format_args!("{}", self.code))
        } else {
            self.reason
        }
    }

    /// Puts the payload into `buffer`; the part of it that was used.
    #[must_use]
    pub fn encode<'a>(&self, buffer: &'a mut [u8; REFUSE_MAX_LEN]) -> &'a [u8] {
        encode_reason(buffer, self.code.number(), &self.reason)
    }

    /// Takes a payload apart; what a later version appended is ignored.
    ///
    /// # Errors
    ///
    /// [`WireError::BadLength`] where it is too short, [`WireError::BadText`] where the reason is
    /// not a text.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let (code, reason) = decode_reason(Kind::Refuse, payload)?;
        Ok(Self {
            code: RefuseCode::from_number(code),
            reason,
        })
    }
}
