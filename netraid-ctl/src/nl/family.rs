// SPDX-License-Identifier: GPL-2.0
//! Numbers the kernel gave the family and its multicast groups when the module was loaded.

use super::wire::{AttrReader, AttrWriter, AttributeInfo, WireError};

/// Number of the controller, the family that knows the others.
pub(super) const GENL_ID_CTRL: u16 = 0x10;
/// Operation of the controller: look a family up.
pub(super) const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const CTRL_ATTR_MCAST_GROUPS: u16 = 7;
const CTRL_ATTR_MCAST_GRP_NAME: u16 = 1;
const CTRL_ATTR_MCAST_GRP_ID: u16 = 2;

/// A family as the running kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    /// Type of its messages.
    pub(super) id: u16,
    /// Its multicast groups, name and number.
    pub(super) groups: Vec<(String, u32)>,
}

impl Family {
    /// The attributes of the request that looks a family up.
    pub(super) fn request(name: &str) -> Result<Vec<u8>, WireError> {
        let mut attrs = AttrWriter::default();
        attrs.put_str(CTRL_ATTR_FAMILY_NAME, name)?;
        Ok(attrs.into_bytes())
    }

    /// Reads the answer.
    pub(super) fn decode(attrs: AttrReader<'_>) -> Result<Self, WireError> {
        let mut family = Self {
            id: 0,
            groups: Vec::new(),
        };
        for attr in attrs {
            let attr = attr?;
            match attr.kind() {
                CTRL_ATTR_FAMILY_ID => family.id = attr.u16()?,
                CTRL_ATTR_MCAST_GROUPS => {
                    for group in attr.nested() {
                        family.groups.push(decode_group(group?.nested())?);
                    }
                }
                _ => {}
            }
        }
        if family.id == 0 {
            return Err(WireError::Truncated);
        }
        Ok(family)
    }

    /// The number of a multicast group.
    pub(super) fn group(&self, name: &str) -> Option<u32> {
        self.groups
            .iter()
            .find(|(known, _)| known == name)
            .map(|&(_, number)| number)
    }

    /// Names of the controller's attributes, for its refusals.
    pub(super) fn attribute(kind: u16) -> Option<AttributeInfo> {
        (kind == CTRL_ATTR_FAMILY_NAME).then(|| AttributeInfo::leaf("family-name"))
    }
}

fn decode_group(attrs: AttrReader<'_>) -> Result<(String, u32), WireError> {
    let (mut name, mut number) = (String::new(), 0);
    for attr in attrs {
        let attr = attr?;
        match attr.kind() {
            CTRL_ATTR_MCAST_GRP_NAME => name = attr.string()?,
            CTRL_ATTR_MCAST_GRP_ID => number = attr.u32()?,
            _ => {}
        }
    }
    Ok((name, number))
}
