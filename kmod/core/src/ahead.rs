// SPDX-License-Identifier: GPL-2.0

//! Bytes that were received together with those that were asked for, until it is their turn.

/// Room for `LEN` bytes; what comes first goes first.
#[derive(Debug)]
pub struct Ahead<const LEN: usize> {
    bytes: [u8; LEN],
    first: usize,
    end: usize,
}

impl<const LEN: usize> Ahead<LEN> {
    /// With nothing in it.
    pub const EMPTY: Self = Self {
        bytes: [0; LEN],
        first: 0,
        end: 0,
    };

    /// What has not been taken.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        self.bytes.get(self.first..self.end).unwrap_or(&[])
    }

    /// Moves as much as there is, and as there is room for, into `data`; returns the number of bytes.
    pub fn take(&mut self, data: &mut [u8]) -> usize {
        let kept = self.kept();
        let len = kept.len().min(data.len());
        for (to, from) in data.iter_mut().zip(kept) {
            *to = *from;
        }
        self.skip(len);
        len
    }

    /// The first `len` bytes, or all, have been taken.
    pub fn skip(&mut self, len: usize) {
        self.first = self.first.saturating_add(len).min(self.end);
    }

    /// Where what comes next goes, at most `most` bytes; none where something is still kept. What goes there counts once it
    /// is told to [`filled`](Self::filled).
    pub fn room(&mut self, most: usize) -> &mut [u8] {
        if !self.kept().is_empty() {
            return &mut [];
        }
        self.bytes.get_mut(..most.min(LEN)).unwrap_or(&mut [])
    }

    /// So many bytes have come into the [`room`](Self::room).
    pub fn filled(&mut self, len: usize) {
        if self.kept().is_empty() {
            self.first = 0;
            self.end = len.min(LEN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: &[u8]) -> Ahead<8> {
        let mut ahead = Ahead::EMPTY;
        ahead.room(bytes.len()).copy_from_slice(bytes);
        ahead.filled(bytes.len());
        ahead
    }

    #[test]
    fn what_was_kept_comes_out_in_order_and_in_pieces() {
        let mut ahead = with(b"abcdef");
        let (mut two, mut many) = ([0; 2], [0; 9]);
        assert_eq!((ahead.take(&mut two), &two), (2, b"ab"));
        ahead.skip(1);
        assert_eq!(ahead.kept(), b"def");
        assert_eq!((ahead.take(&mut many), &many[..3]), (3, &b"def"[..]));
        assert_eq!(ahead.take(&mut many), 0);
    }

    #[test]
    fn nothing_is_overwritten_that_has_not_been_taken() {
        let mut ahead = with(b"abc");
        ahead.skip(2);
        assert!(ahead.room(8).is_empty());
        ahead.filled(5);
        assert_eq!(ahead.kept(), b"c");
        ahead.skip(9);
        assert!(ahead.kept().is_empty());
        assert_eq!(ahead.room(3).len(), 3);
        assert_eq!(ahead.room(100).len(), 8);
    }
}
