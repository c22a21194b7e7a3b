// SPDX-License-Identifier: GPL-2.0

//! The network legs of a mirror, by number.

/// Most network legs that a mirror can have, as many as the documents of the product this one follows allow.
pub const MAX_LEGS: usize = 7;

/// The number of a network leg: the place of its target among the peers in the metadata.
///
/// # Invariants
///
/// It is less than [`MAX_LEGS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegNumber(usize);

impl LegNumber {
    /// The first one, which also stands for the leg that a mirror without any will get.
    pub const FIRST: Self = Self(0);

    /// The leg in a place; `None` where there is no such place.
    #[must_use]
    pub const fn new(index: usize) -> Option<Self> {
        if index < MAX_LEGS {
            // INVARIANT: Just compared.
            Some(Self(index))
        } else {
            None
        }
    }

    /// The leg that an operator calls by this number: they count the network legs from 1, as the local disk is leg 0.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        Self::new(usize::try_from(id.checked_sub(1)?).ok()?)
    }

    /// Its number for an operator.
    #[must_use]
    pub fn id(self) -> u32 {
        // No more than seven.
        u32::try_from(self.0).unwrap_or(0).saturating_add(1)
    }

    /// Its place.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }

    /// Every number there can be, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..MAX_LEGS).filter_map(Self::new)
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(self.index().saturating_add(1))
    }
}

/// Some of the legs of a mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LegSet(u8);

impl LegSet {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// This one alone.
    #[must_use]
    pub const fn of(leg: LegNumber) -> Self {
        Self(1 << leg.0)
    }

    /// Whether it is one of them.
    #[must_use]
    pub const fn contains(self, leg: LegNumber) -> bool {
        self.0 & Self::of(leg).0 != 0
    }

    /// Adds one, if it is to be added.
    pub fn put(&mut self, leg: LegNumber, it_is: bool) {
        if it_is {
            self.0 |= Self::of(leg).0;
        }
    }

    /// Takes one away.
    pub fn remove(&mut self, leg: LegNumber) {
        self.0 &= !Self::of(leg).0;
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether all of them are among `others`.
    #[must_use]
    pub const fn is_within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// Those that are not among `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether any of them is among `others`.
    #[must_use]
    pub const fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = LegNumber> {
        LegNumber::all().filter(move |leg| self.contains(*leg))
    }
}

impl FromIterator<LegNumber> for LegSet {
    fn from_iter<T: IntoIterator<Item = LegNumber>>(legs: T) -> Self {
        legs.into_iter().fold(Self::NONE, |mut set, leg| {
            set.put(leg, true);
            set
        })
    }
}
