// SPDX-License-Identifier: GPL-2.0

//! The priority of a machine in its mirror: in which order the machines are meant to take over.
//!
//! It is for people and cluster managers. Nothing here is promoted by it. Which machine has which one is decided in
//! [`meta::priorities`](crate::meta::priorities).

use core::fmt;

/// A priority: 1, the highest, to 999.
///
/// # Invariants
///
/// It is in this range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u16);

/// A number that is no priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange(pub u32);

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, highest, lowest) = (self.0, Priority::HIGHEST, Priority::LOWEST);
        write!(
            f,
            "priority {number} is out of range; choose one from {highest}, the highest, to {lowest}"
        )
    }
}

impl Priority {
    /// The one that counts first, which is also that of the machine that makes a mirror.
    pub const HIGHEST: Self = Self(1);

    /// The one that counts last.
    pub const LOWEST: Self = Self(999);

    /// The priority of this number.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`].
    pub fn new(number: u32) -> Result<Self, OutOfRange> {
        match u16::try_from(number) {
            // INVARIANT: Just compared.
            Ok(small) if (Self::HIGHEST.0..=Self::LOWEST.0).contains(&small) => Ok(Self(small)),
            _ => Err(OutOfRange(number)),
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// What a reserved field says: zero where nobody gave one. A number that is out of range is no reason to refuse what it
    /// is a part of, as nothing depends on it.
    #[must_use]
    pub fn from_field(field: u16) -> Option<Self> {
        Self::new(u32::from(field)).ok()
    }

    /// The field for one that may be missing.
    #[must_use]
    pub fn to_field(priority: Option<Self>) -> u16 {
        priority.map_or(0, Self::number)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The two priorities that a source tells its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Priorities {
    /// Its own.
    pub source: Option<Priority>,
    /// That of the target.
    pub target: Option<Priority>,
}

impl Priorities {
    /// None is known.
    pub const NONE: Self = Self {
        source: None,
        target: None,
    };
}
