// SPDX-License-Identifier: Apache-2.0
//! The buckets of an index: from a hash to the slots that may have it.
//!
//! A bucket is one cache line: eight tags of 16 bits, compared at once, and eight slot numbers. An entry whose bucket is full
//! goes to the next bucket of its own probe sequence and leaves a count behind, so a search ends at the first bucket
//! that nobody had to pass. There are twice as many places as slots, hence 98 of 100 entries are in their first bucket, and
//! an insertion moves nothing. Why this one: docs/decisions/0004-flow-table.md.
//!
//! One thread writes. Others may search meanwhile ([`Buckets::search`]): a slot number is stored before its tag, and
//! [`Bucket::changes`] grows whenever a slot number leaves a place, before the writer may use that slot for another entry.

#[cfg(not(loom))]
use zerocopy::FromZeros;

use crate::array::Array;
use crate::hash::Hash;
use crate::simd;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, AtomicU64, fence};

/// Places of a bucket.
pub(crate) const WAYS: usize = 8;

/// A line.
#[cfg_attr(not(loom), derive(FromZeros))]
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    /// Four tags a word, the first one lowest; 0 is a free place.
    pub(crate) tags: [AtomicU64; 2],
    slots: [AtomicU32; WAYS],
    /// Entries that found this bucket full and live further on.
    pub(crate) passed: AtomicU32,
    changes: AtomicU32,
    _rest: [u32; 2],
}

impl Bucket {
    /// The slot of the first of these places. `Acquire` for those who do not write: see [`Buckets::exchange`].
    #[inline(always)]
    fn slot(&self, bits: u32) -> u32 {
        self.slots[bits.trailing_zeros() as usize % WAYS].load(Acquire)
    }

    fn tag(&self, way: usize) -> u16 {
        (self.tags[way / 4].load(Relaxed) >> (way % 4 * 16)) as u16
    }

    fn set_tag(&self, way: usize, tag: u16) {
        let (word, shift) = (&self.tags[way / 4], way % 4 * 16);
        word.store(word.load(Relaxed) & !(0xffff << shift) | u64::from(tag) << shift, Release);
    }

    /// A slot number has left a place. Whoever sees the count sees what is there now; whoever sees what is written after this
    /// call sees the count.
    fn changed(&self) {
        self.changes.store(self.changes.load(Relaxed).wrapping_add(1), Release);
        fence(Release);
    }
}

/// All of them, a power of two.
pub(crate) struct Buckets {
    pub(crate) all: Array<Bucket>,
    mask: usize,
}

impl Buckets {
    /// For `capacity` slots.
    pub fn new(capacity: usize) -> std::io::Result<Buckets> {
        let buckets = (capacity * 2).div_ceil(WAYS).next_power_of_two();
        Ok(Buckets { all: Array::new(buckets)?, mask: buckets - 1 })
    }

    #[inline(always)]
    pub fn first(&self, hash: Hash) -> usize {
        hash.0 as usize & self.mask
    }

    /// The bucket after `bucket` in the probe sequence: an odd step reaches all of them.
    #[inline(always)]
    fn next(&self, bucket: usize, hash: Hash) -> usize {
        bucket.wrapping_add(usize::from(hash.tag()) * 2 + 1) & self.mask
    }

    /// Starts to load the first bucket.
    #[inline(always)]
    pub fn prefetch(&self, hash: Hash) {
        self.all.prefetch(self.first(hash));
    }

    /// A slot that may be the right one, from the first bucket alone. `matches` finds a tag in a bucket.
    #[inline(always)]
    pub fn guess(&self, hash: Hash, matches: impl Fn(&Bucket, u16) -> u32) -> Option<u32> {
        let bucket = &self.all[self.first(hash)];
        let bits = matches(bucket, hash.tag());
        (bits != 0).then(|| bucket.slot(bits))
    }

    /// The slot of which `is` is true. `matches` finds a tag in a bucket.
    #[inline(always)]
    pub fn find(
        &self,
        hash: Hash,
        matches: impl Fn(&Bucket, u16) -> u32,
        mut is: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut at = self.first(hash);
        // Each bucket once: there is at least one that nobody passed, but a bound needs no proof.
        for _ in 0..self.all.len() {
            let bucket = &self.all[at];
            let mut bits = matches(bucket, hash.tag());
            while bits != 0 {
                let slot = bucket.slot(bits);
                if is(slot) {
                    return Some(slot);
                }
                bits &= bits - 1;
            }
            if bucket.passed.load(Relaxed) == 0 {
                return None;
            }
            at = self.next(at, hash);
        }
        None
    }

    /// The same while another thread writes: what `is` makes of the slot that has it. `is` must not take another entry for
    /// this one; it may be asked about slots that have just been given to another.
    #[inline(always)]
    pub fn search<R>(&self, hash: Hash, mut is: impl FnMut(u32) -> Option<R>) -> Option<R> {
        let mut at = self.first(hash);
        for _ in 0..self.all.len() {
            let bucket = &self.all[at];
            let passed = loop {
                let changes = bucket.changes.load(Acquire);
                let mut bits = simd::shared_matches(&bucket.tags, hash.tag());
                while bits != 0 {
                    let found = is(bucket.slot(bits));
                    if found.is_some() {
                        return found;
                    }
                    bits &= bits - 1;
                }
                let passed = bucket.passed.load(Relaxed);
                fence(Acquire);
                // If a slot was given to another entry before `is` looked at it, the entry that is looked for may stand here
                // after all. The writer has moved on, so this does not wait for it.
                if bucket.changes.load(Relaxed) == changes {
                    break passed;
                }
            };
            if passed == 0 {
                return None;
            }
            at = self.next(at, hash);
        }
        None
    }

    /// Writer: adds a slot. There is room: places are twice the slots.
    #[inline]
    pub fn insert(&self, hash: Hash, slot: u32, free: impl Fn(&Bucket, u16) -> u32) {
        let mut at = self.first(hash);
        for _ in 0..self.all.len() {
            let bucket = &self.all[at];
            let free = free(bucket, 0);
            if free != 0 {
                let way = free.trailing_zeros() as usize % WAYS;
                bucket.slots[way].store(slot, Relaxed);
                bucket.set_tag(way, hash.tag());
                return;
            }
            bucket.passed.store(bucket.passed.load(Relaxed) + 1, Relaxed);
            at = self.next(at, hash);
        }
        unreachable!("there are twice as many places as slots");
    }

    /// Writer: takes a slot out.
    #[inline]
    pub fn remove(&self, hash: Hash, slot: u32) {
        let mut at = self.first(hash);
        for _ in 0..self.all.len() {
            let bucket = &self.all[at];
            if let Some(way) = bucket.way(hash, slot) {
                bucket.set_tag(way, 0);
                bucket.changed();
                return;
            }
            let passed = bucket.passed.load(Relaxed);
            debug_assert!(passed > 0, "slot {slot} is not in the index");
            bucket.passed.store(passed.saturating_sub(1), Relaxed);
            at = self.next(at, hash);
        }
    }

    /// Writer: puts `new` in the place of `old`, in one step for those who search.
    pub fn exchange(&self, hash: Hash, old: u32, new: u32) {
        let mut at = self.first(hash);
        for _ in 0..self.all.len() {
            let bucket = &self.all[at];
            if let Some(way) = bucket.way(hash, old) {
                // Released: whoever finds the slot sees what was written into it.
                bucket.slots[way].store(new, Release);
                bucket.changed();
                return;
            }
            debug_assert!(bucket.passed.load(Relaxed) > 0, "slot {old} is not in the index");
            at = self.next(at, hash);
        }
    }
}

impl Bucket {
    fn way(&self, hash: Hash, slot: u32) -> Option<usize> {
        (0..WAYS).find(|way| self.slots[*way].load(Relaxed) == slot && self.tag(*way) == hash.tag())
    }
}
