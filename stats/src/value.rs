// SPDX-License-Identifier: Apache-2.0
//! What a reader gets: copies, detached from the segment.

use std::ops::Add;

/// One element of a combined counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Combined {
    pub packets: u64,
    pub bytes: u64,
}

impl Add for Combined {
    type Output = Combined;

    /// Wraps around, as the counters do.
    #[inline]
    fn add(self, other: Combined) -> Combined {
        Combined {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

/// The content of an entry. The outer index of the vectors is the thread: 0 is main, workers follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Scalar(u64),
    Simple(Vec<Vec<u64>>),
    Combined(Vec<Vec<Combined>>),
    Names(Vec<String>),
    /// A symlink to one index of a simple counter: a value per thread.
    SimpleColumn(Vec<u64>),
    /// A symlink to one index of a combined counter.
    CombinedColumn(Vec<Combined>),
    /// A type of entry that Weft does not write, by its number.
    Other(u32),
}
