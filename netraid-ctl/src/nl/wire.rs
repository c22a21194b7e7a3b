// SPDX-License-Identifier: GPL-2.0
//! Bytes of netlink messages: the headers and the attributes, both ways.
//!
//! Everything is in the byte order of the machine and padded to four bytes. Reading never trusts a length: what does
//! not fit is an error, not a panic.

use thiserror::Error;

/// Length of `struct nlmsghdr`.
pub const HEADER_LEN: usize = 16;
/// Length of `struct genlmsghdr`.
pub const GENL_HEADER_LEN: usize = 4;
/// Length of `struct nlattr`.
const ATTR_HEADER_LEN: usize = 4;
/// Longest value of an attribute: its length field has 16 bits and counts the header.
pub const ATTR_VALUE_MAX: usize = u16::MAX as usize - ATTR_HEADER_LEN;
/// Flag in the type of an attribute that contains attributes.
const NLA_F_NESTED: u16 = 1 << 15;
/// The bits of the type of an attribute that are its number.
const NLA_TYPE_MASK: u16 = (1 << 14) - 1;

/// Why bytes are no valid message, or a value does not fit into one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// A message or an attribute claims another length than it has.
    #[error("a message from the kernel is cut short")]
    Truncated,
    /// A value has a size that its type cannot have.
    #[error("attribute {kind} from the kernel has {length} bytes, which its type does not allow")]
    Size {
        /// Number of the attribute.
        kind: u16,
        /// Length of the value in bytes.
        length: usize,
    },
    /// A text is not UTF-8.
    #[error("attribute {0} from the kernel is not a valid text")]
    Text(u16),
    /// A value is longer than an attribute can be.
    #[error("a value of {0} bytes is too long for the kernel")]
    TooLong(usize),
    /// A text contains a NUL, which ends texts in the kernel.
    #[error("a text contains a NUL byte")]
    Nul,
}

/// Name of an attribute, and how to find the names of those inside it.
#[derive(Clone, Copy, Debug)]
pub struct AttributeInfo {
    /// The name in the spec.
    pub name: &'static str,
    /// The same function for the attributes inside, where it is a nest.
    pub inner: Option<fn(u16) -> Option<AttributeInfo>>,
}

impl AttributeInfo {
    /// An attribute with a value.
    #[must_use]
    pub const fn leaf(name: &'static str) -> Self {
        Self { name, inner: None }
    }

    /// An attribute that contains attributes.
    #[must_use]
    pub const fn nest(name: &'static str, inner: fn(u16) -> Option<AttributeInfo>) -> Self {
        Self {
            name,
            inner: Some(inner),
        }
    }
}

/// The length with the padding to the next multiple of four.
#[must_use]
pub const fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

/// Builds a sequence of attributes.
#[derive(Debug, Default)]
pub struct AttrWriter {
    bytes: Vec<u8>,
}

impl AttrWriter {
    /// The bytes written so far.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn put(&mut self, kind: u16, value: &[u8]) -> Result<(), WireError> {
        let length = ATTR_HEADER_LEN.saturating_add(value.len());
        let length = u16::try_from(length).map_err(|_| WireError::TooLong(value.len()))?;
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(aligned(self.bytes.len()), 0);
        Ok(())
    }

    /// A text, with the NUL that ends it.
    ///
    /// # Errors
    ///
    /// When it is too long for an attribute or contains a NUL.
    pub fn put_str(&mut self, kind: u16, value: &str) -> Result<(), WireError> {
        if value.contains('\0') {
            return Err(WireError::Nul);
        }
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// A number of 32 bits.
    ///
    /// # Errors
    ///
    /// None; the result has the form of its siblings.
    pub fn put_u32(&mut self, kind: u16, value: u32) -> Result<(), WireError> {
        self.put(kind, &value.to_ne_bytes())
    }

    /// A number of up to 64 bits: 4 bytes when it fits, else 8.
    ///
    /// # Errors
    ///
    /// None; the result has the form of its siblings.
    pub fn put_uint(&mut self, kind: u16, value: u64) -> Result<(), WireError> {
        match u32::try_from(value) {
            Ok(small) => self.put(kind, &small.to_ne_bytes()),
            Err(_) => self.put(kind, &value.to_ne_bytes()),
        }
    }

    /// Bytes as they are.
    ///
    /// # Errors
    ///
    /// When they are too long for an attribute.
    pub fn put_bytes(&mut self, kind: u16, value: &[u8]) -> Result<(), WireError> {
        self.put(kind, value)
    }

    /// An attribute that says something by being there.
    ///
    /// # Errors
    ///
    /// None; the result has the form of its siblings.
    pub fn put_flag(&mut self, kind: u16) -> Result<(), WireError> {
        self.put(kind, &[])
    }

    /// An attribute that contains the attributes `fill` writes.
    ///
    /// # Errors
    ///
    /// What `fill` reports, or that the content is too long for an attribute.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self) -> Result<(), WireError>) -> Result<(), WireError> {
        let mut inner = Self::default();
        fill(&mut inner)?;
        self.put(kind | NLA_F_NESTED, &inner.bytes)
    }
}

/// One attribute of a message.
#[derive(Debug, Clone, Copy)]
pub struct Attr<'a> {
    kind: u16,
    value: &'a [u8],
}

impl<'a> Attr<'a> {
    /// Number of the attribute in its set.
    #[must_use]
    pub const fn kind(&self) -> u16 {
        self.kind
    }

    /// The value as it came.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.value
    }

    /// The attributes inside.
    #[must_use]
    pub const fn nested(&self) -> AttrReader<'a> {
        AttrReader { rest: self.value }
    }

    const fn size_error(&self) -> WireError {
        WireError::Size {
            kind: self.kind,
            length: self.value.len(),
        }
    }

    /// The value as bytes of a fixed number.
    ///
    /// # Errors
    ///
    /// When it has another length.
    pub fn array<const N: usize>(&self) -> Result<[u8; N], WireError> {
        self.value.try_into().map_err(|_| self.size_error())
    }

    /// The value as a number of 16 bits.
    ///
    /// # Errors
    ///
    /// When it has another length.
    pub fn u16(&self) -> Result<u16, WireError> {
        self.array().map(u16::from_ne_bytes)
    }

    /// The value as a number of 32 bits.
    ///
    /// # Errors
    ///
    /// When it has another length.
    pub fn u32(&self) -> Result<u32, WireError> {
        self.array().map(u32::from_ne_bytes)
    }

    /// The value as a number of up to 64 bits.
    ///
    /// # Errors
    ///
    /// When it has neither four nor eight bytes.
    pub fn uint(&self) -> Result<u64, WireError> {
        match self.value.len() {
            4 => self.u32().map(u64::from),
            _ => self.array().map(u64::from_ne_bytes),
        }
    }

    /// The value as a text.
    ///
    /// # Errors
    ///
    /// When it is not UTF-8.
    pub fn string(&self) -> Result<String, WireError> {
        let end = self
            .value
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(self.value.len());
        let (text, _) = self.value.split_at(end);
        std::str::from_utf8(text)
            .map(str::to_owned)
            .map_err(|_| WireError::Text(self.kind))
    }
}

/// Walks over a sequence of attributes; ends after the first error.
#[derive(Debug, Clone, Copy)]
pub struct AttrReader<'a> {
    rest: &'a [u8],
}

impl<'a> AttrReader<'a> {
    /// The attributes in these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self) -> Option<Attr<'a>> {
        let (header, _) = self.rest.split_first_chunk::<ATTR_HEADER_LEN>()?;
        let [low, high, kind_low, kind_high] = *header;
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let kind = u16::from_ne_bytes([kind_low, kind_high]) & NLA_TYPE_MASK;
        let value = self.rest.get(ATTR_HEADER_LEN..length)?;
        self.rest = self.rest.get(aligned(length)..).unwrap_or_default();
        Some(Attr { kind, value })
    }
}

impl<'a> Iterator for AttrReader<'a> {
    type Item = Result<Attr<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attr = self.take();
        if attr.is_none() {
            self.rest = &[];
        }
        Some(attr.ok_or(WireError::Truncated))
    }
}

/// A message: the parts of `struct nlmsghdr` that matter, and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Type: a control message or the number of a family.
    pub kind: u16,
    /// Flags, `NLM_F_*`.
    pub flags: u16,
    /// Number by which an answer is told to belong to its request.
    pub seq: u32,
    /// What follows the header.
    pub payload: Vec<u8>,
}

impl Message {
    /// The message as it goes through a socket.
    ///
    /// # Errors
    ///
    /// When it is longer than its length field can say.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WireError> {
        let length = HEADER_LEN.saturating_add(self.payload.len());
        let field = u32::try_from(length).map_err(|_| WireError::TooLong(length))?;
        let mut bytes = Vec::with_capacity(aligned(length));
        bytes.extend_from_slice(&field.to_ne_bytes());
        bytes.extend_from_slice(&self.kind.to_ne_bytes());
        bytes.extend_from_slice(&self.flags.to_ne_bytes());
        bytes.extend_from_slice(&self.seq.to_ne_bytes());
        bytes.extend_from_slice(&0_u32.to_ne_bytes());
        bytes.extend_from_slice(&self.payload);
        bytes.resize(aligned(bytes.len()), 0);
        Ok(bytes)
    }

    /// The messages in one datagram.
    ///
    /// # Errors
    ///
    /// When a length does not fit.
    pub fn parse_all(mut bytes: &[u8]) -> Result<Vec<Self>, WireError> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let mut header = FieldReader { rest: bytes };
            let length = usize::try_from(header.u32()?).map_err(|_| WireError::Truncated)?;
            let (kind, flags, seq) = (header.u16()?, header.u16()?, header.u32()?);
            let payload = bytes.get(HEADER_LEN..length).ok_or(WireError::Truncated)?.to_vec();
            all.push(Self {
                kind,
                flags,
                seq,
                payload,
            });
            bytes = bytes.get(aligned(length)..).unwrap_or_default();
        }
        Ok(all)
    }
}

/// Reads the fixed fields of a header.
#[derive(Debug)]
pub struct FieldReader<'a> {
    rest: &'a [u8],
}

impl<'a> FieldReader<'a> {
    /// The fields in these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(*field)
    }

    /// The next 32 bits.
    ///
    /// # Errors
    ///
    /// When there are fewer.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_ne_bytes)
    }

    /// The next 32 bits, with a sign.
    ///
    /// # Errors
    ///
    /// When there are fewer.
    pub fn i32(&mut self) -> Result<i32, WireError> {
        self.take().map(i32::from_ne_bytes)
    }

    /// The next 16 bits.
    ///
    /// # Errors
    ///
    /// When there are fewer.
    pub fn u16(&mut self) -> Result<u16, WireError> {
        self.take().map(u16::from_ne_bytes)
    }
}
