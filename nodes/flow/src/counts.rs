// SPDX-License-Identifier: Apache-2.0
//! What a worker counts of its flows: `/flow/*` in the stats segment, a row per thread.

use weft_stats::{Segment, SimpleRow, SimpleVector, StatsError, ThreadIndex};

macro_rules! counts {
    ($( $(#[$meta:meta])* $name:ident = $path:literal; )*) => {
        /// A counter.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(usize)]
        pub enum Count { $( $(#[$meta])* $name ),* }

        impl Count {
            /// All of them.
            pub const ALL: &[Count] = &[ $( Count::$name ),* ];
        }

        /// Names, by ordinal.
        pub const NAMES: &[&str] = &[ $( $path ),* ];
        const COUNTS: usize = NAMES.len();
    };
}

counts! {
    /// Flows now.
    Active = "active";
    /// Flows that have begun.
    Created = "created";
    /// Flows that have ended by themselves.
    Expired = "expired";
    /// Flows that were cleared.
    Cleared = "cleared";
    /// Flows that nobody had confirmed, and that made room for new ones.
    Displaced = "displaced";
    /// Packets of known flows.
    Hits = "hits";
    /// Packets of unknown ones.
    Misses = "misses";
    /// Packets that would have begun a flow: no free slot.
    Full = "full";
    /// Packets that would have begun a flow: limit of the interface.
    InterfaceLimit = "interface-limit";
    /// Packets that would have begun a flow: too many in this moment.
    RateLimit = "rate-limit";
    /// Packets that belong to no flow and may not begin one.
    Invalid = "invalid";
    /// TCP segments out of the window.
    OutOfWindow = "out-of-window";
    /// TCP resets and SYNs that are left to the receiver.
    LeftToReceiver = "left-to-receiver";
    /// ICMP errors about known flows.
    Errors = "icmp-errors";
    /// Later fragments of known flows.
    Fragments = "fragments";
    /// Packets that wait for a verdict now.
    Parked = "parked";
    /// Flows whose verdict did not come in time.
    Undecided = "undecided";
    /// Packets handed to the worker that owns their flow.
    HandedOff = "handed-off";
    /// News for the main thread lost.
    NewsLost = "news-lost";
}

/// Counters in the hands of their worker; `publish` shows them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts([u64; COUNTS]);

impl Counts {
    /// Adds 1.
    #[inline(always)]
    pub fn one(&mut self, count: Count) {
        self.0[count as usize] += 1;
    }

    /// Adds `n`.
    #[inline(always)]
    pub fn add(&mut self, count: Count, n: u64) {
        self.0[count as usize] += n;
    }

    /// Says how many there are now.
    #[inline(always)]
    pub fn set(&mut self, count: Count, value: u64) {
        self.0[count as usize] = value;
    }

    /// The value.
    #[inline(always)]
    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// Copies what there is to the segment.
    pub(crate) fn publish(&self, rows: &[SimpleRow]) {
        for (row, value) in rows.iter().zip(self.0) {
            row.set(0, value);
        }
    }
}

/// The vectors, on the main thread.
pub struct CountVectors(Vec<SimpleVector>);

impl CountVectors {
    /// Registers them.
    pub fn new(segment: &mut Segment) -> Result<CountVectors, StatsError> {
        let mut made = CountVectors(Vec::with_capacity(NAMES.len()));
        for name in NAMES {
            match segment.simple(&format!("/flow/{name}"), 1, 1) {
                Ok(vector) => made.0.push(vector),
                Err(error) => {
                    made.remove(segment);
                    return Err(error);
                }
            }
        }
        Ok(made)
    }

    /// Takes them out of the segment.
    pub(crate) fn remove(&self, segment: &mut Segment) {
        self.0.iter().for_each(|vector| segment.remove(vector.entry()));
    }

    pub(crate) fn rows(&self, thread: ThreadIndex) -> Vec<SimpleRow> {
        self.0.iter().map(|vector| vector.row(thread)).collect()
    }

    /// The value of all threads together.
    pub fn sum(&self, count: Count) -> u64 {
        self.0[count as usize].sum(0)
    }

    /// The value of one thread.
    pub fn get(&self, thread: ThreadIndex, count: Count) -> u64 {
        self.0[count as usize].get(thread, 0)
    }
}
