// SPDX-License-Identifier: GPL-2.0
//! What a disk was found to hold, sector by sector.

use serde::{Deserialize, Serialize};

use super::sector::{read, Content, SECTOR};

/// The content of sectors that follow each other; equal neighbours are told as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// How many sectors hold what.
    runs: Vec<(u64, Content)>,
    first: u64,
}

impl Found {
    /// Nothing yet; the first sector that is added is number `first`.
    #[must_use]
    pub fn new(first: u64) -> Self {
        Self {
            runs: Vec::new(),
            first,
        }
    }

    /// Adds the sectors in `bytes`, which begin with sector `number` of a disk of history `seed`.
    pub fn scan(&mut self, bytes: &[u8], seed: u64, number: u64) {
        for (number, sector) in (number..).zip(bytes.chunks_exact(SECTOR)) {
            self.push(read(sector, seed, number));
        }
    }

    /// Adds what the next sector holds.
    pub fn push(&mut self, content: Content) {
        match self.runs.last_mut() {
            Some((count, last)) if *last == content => *count += 1,
            _ => self.runs.push((1, content)),
        }
    }

    /// Number and content of each sector.
    pub fn sectors(&self) -> impl Iterator<Item = (u64, Content)> + '_ {
        let contents = self
            .runs
            .iter()
            .flat_map(|&(count, content)| (0..count).map(move |_| content));
        (self.first..).zip(contents)
    }
}

#[cfg(test)]
mod tests {
    use super::{Content, Found};

    #[test]
    fn neighbours_of_the_same_content_are_one_run() {
        let mut found = Found::new(8);
        found.scan(&[0; 3 * 512], 1, 8);
        found.push(Content::Bad);
        assert_eq!(found.runs, [(3, Content::Zero), (1, Content::Bad)]);
        let sectors: Vec<_> = found.sectors().collect();
        assert_eq!(sectors[0], (8, Content::Zero));
        assert_eq!(sectors[3], (11, Content::Bad));
        assert_eq!(sectors.len(), 4);
    }
}
