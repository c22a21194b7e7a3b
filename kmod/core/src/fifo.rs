// SPDX-License-Identifier: GPL-2.0

//! A queue of small values over storage of the caller.

use core::ops::DerefMut;

/// First in, first out; its capacity is the length of the storage.
#[derive(Debug)]
pub struct Fifo<T: Copy, S: DerefMut<Target = [T]>> {
    storage: S,
    first: usize,
    len: usize,
}

impl<T: Copy, S: DerefMut<Target = [T]>> Fifo<T, S> {
    /// An empty queue; what the storage holds does not matter.
    pub fn new(storage: S) -> Self {
        Self {
            storage,
            first: 0,
            len: 0,
        }
    }

    /// How many values wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn place(&self, distance: usize) -> usize {
        self.first
            .wrapping_add(distance)
            .checked_rem(self.storage.len())
            .unwrap_or(0)
    }

    /// Appends a value; false, and nothing changes, when the queue is full.
    pub fn push(&mut self, value: T) -> bool {
        if self.len >= self.storage.len() {
            return false;
        }
        let place = self.place(self.len);
        match self.storage.get_mut(place) {
            Some(slot) => *slot = value,
            None => return false,
        }
        self.len = self.len.saturating_add(1);
        true
    }

    /// Takes the oldest value.
    pub fn pop(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let value = self.storage.get(self.first).copied()?;
        self.first = self.place(1);
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    /// Forgets all values.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}
