// SPDX-License-Identifier: GPL-2.0
//! Acknowledgements: how the kernel says yes, or no and why.

use std::fmt;
use std::io;

use super::wire::{AttrReader, AttributeInfo, FieldReader, WireError, GENL_HEADER_LEN, HEADER_LEN};

/// Flag of an acknowledgement: of the request only the header is repeated.
const NLM_F_CAPPED: u16 = 0x100;
/// Flag of an acknowledgement: attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;

/// A request the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    errno: i32,
    sentence: Option<String>,
    attribute: Option<String>,
    missing: Option<String>,
}

impl Refusal {
    /// A refusal without an explanation.
    #[must_use]
    pub const fn bare(errno: i32) -> Self {
        Self {
            errno,
            sentence: None,
            attribute: None,
            missing: None,
        }
    }

    /// The error number, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        self.errno
    }

    /// Whether the sentence itself names the attribute, as those of the module do and the general ones do not.
    fn mentions(&self, attribute: &str) -> bool {
        let name = attribute.rsplit('/').next().unwrap_or(attribute);
        self.sentence.as_ref().is_some_and(|sentence| sentence.contains(name))
    }

    /// The sentence of the kernel.
    #[must_use]
    pub fn sentence(&self) -> Option<&str> {
        self.sentence.as_deref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.sentence {
            Some(sentence) => f.write_str(sentence.trim_end_matches('.'))?,
            None => write!(f, "{}", io::Error::from_raw_os_error(self.errno))?,
        }
        if let Some(attribute) = self.attribute.as_deref().filter(|attribute| !self.mentions(attribute)) {
            write!(f, " (attribute {attribute})")?;
        }
        if let Some(missing) = &self.missing {
            write!(f, " (the request lacks the attribute {missing})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// Names of the attributes of a request, to say which one the kernel complains of.
pub(super) type Names = fn(u16) -> Option<AttributeInfo>;

/// Reads an acknowledgement (`NLMSG_ERROR`) of `request`, the bytes that were sent.
///
/// The outer error means that the acknowledgement itself is malformed.
pub(super) fn parse(
    payload: &[u8],
    flags: u16,
    request: &[u8],
    names: Names,
) -> Result<Result<(), Refusal>, WireError> {
    let code = FieldReader::new(payload).i32()?;
    if code == 0 {
        return Ok(Ok(()));
    }
    // The error number is followed by the header of the request and, unless capped, by all of it.
    let echoed = payload.get(4..).ok_or(WireError::Truncated)?;
    let length = if flags & NLM_F_CAPPED == 0 {
        usize::try_from(FieldReader::new(echoed).u32()?).map_err(|_| WireError::Truncated)?
    } else {
        HEADER_LEN
    };
    let tlvs = if flags & NLM_F_ACK_TLVS == 0 {
        &[][..]
    } else {
        echoed.get(super::wire::aligned(length)..).ok_or(WireError::Truncated)?
    };
    explain(code, tlvs, request, names).map(Err)
}

/// Reads the end of a dump (`NLMSG_DONE`), which may carry an error.
pub(super) fn parse_done(
    payload: &[u8],
    flags: u16,
    request: &[u8],
    names: Names,
) -> Result<Result<(), Refusal>, WireError> {
    // Old kernels end a dump without a number.
    let code = if payload.is_empty() {
        0
    } else {
        FieldReader::new(payload).i32()?
    };
    if code >= 0 {
        return Ok(Ok(()));
    }
    let tlvs = if flags & NLM_F_ACK_TLVS == 0 {
        &[][..]
    } else {
        payload.get(4..).unwrap_or_default()
    };
    explain(code, tlvs, request, names).map(Err)
}

fn explain(code: i32, tlvs: &[u8], request: &[u8], names: Names) -> Result<Refusal, WireError> {
    let mut refusal = Refusal::bare(code.saturating_neg());
    for attr in AttrReader::new(tlvs) {
        let attr = attr?;
        match attr.kind() {
            NLMSGERR_ATTR_MSG => refusal.sentence = Some(attr.string()?),
            NLMSGERR_ATTR_OFFS => {
                let offset = usize::try_from(attr.u32()?).unwrap_or(usize::MAX);
                let attributes = HEADER_LEN + GENL_HEADER_LEN;
                let body = request.get(attributes..).unwrap_or_default();
                refusal.attribute = offset
                    .checked_sub(attributes)
                    .and_then(|offset| path_at(body, offset, names));
            }
            NLMSGERR_ATTR_MISS_TYPE => {
                let kind = u16::try_from(attr.u32()?).unwrap_or(u16::MAX);
                refusal.missing = Some(names(kind).map_or_else(|| kind.to_string(), |info| info.name.to_owned()));
            }
            _ => {}
        }
    }
    Ok(refusal)
}

/// The name of the attribute that begins `offset` bytes into `attributes`, with those of the nests around it.
fn path_at(attributes: &[u8], offset: usize, names: Names) -> Option<String> {
    let mut at = 0;
    for attr in AttrReader::new(attributes) {
        let attr = attr.ok()?;
        let header = 4;
        let end = at + header + attr.bytes().len();
        let info = names(attr.kind())?;
        if at == offset {
            return Some(info.name.to_owned());
        }
        if offset < end {
            let inside = path_at(attr.bytes(), offset.checked_sub(at + header)?, info.inner?)?;
            return Some(format!("{}/{inside}", info.name));
        }
        at = super::wire::aligned(end);
    }
    None
}
