// SPDX-License-Identifier: Apache-2.0
//! The hash table of a worker: from a hash to the slots that may have it.
//!
//! Buckets of one cache line: eight tags of 16 bits, compared at once, and eight slot numbers. An entry whose bucket is full
//! goes to the next bucket of its own probe sequence and leaves a count behind, so a search ends at the first bucket
//! that nobody had to pass. There are twice as many places as flows, hence 98 of 100 flows are in their first bucket, and an
//! insertion moves nothing. Why this one: docs/decisions/0004-flow-table.md.
//!
//! Hashes are keyed ([`Seed`]), so nobody outside can fill one bucket on purpose.

use std::hash::{BuildHasher, RandomState};
use std::io;

use weft_flow_map::Key;
use zerocopy::FromZeros;

use crate::array::Array;
use crate::simd;

/// Places of a bucket.
const WAYS: usize = 8;

/// The hash of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Hash(pub u64);

/// What makes the hashes of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed([u64; 2]);

impl Seed {
    pub fn random() -> Seed {
        let random = RandomState::new();
        Seed([random.hash_one(0u8) | 1, random.hash_one(1u8) | 1])
    }

    /// One multiplication of 64 by 64 bits spreads every bit of the key over the result.
    #[inline(always)]
    pub fn hash(self, key: Key) -> Hash {
        let wide = u128::from(key.addresses ^ self.0[0]) * u128::from(key.rest ^ self.0[1]);
        Hash(wide as u64 ^ (wide >> 64) as u64)
    }
}

impl Hash {
    /// Never 0, which is a free place.
    #[inline(always)]
    fn tag(self) -> u16 {
        ((self.0 >> 48) as u16).max(1)
    }
}

/// A line of the table.
#[derive(Clone, Copy, FromZeros)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u16; WAYS],
    slots: [u32; WAYS],
    /// Entries that found this bucket full and live further on.
    passed: u32,
    _rest: [u32; 3],
}

impl Bucket {
    /// A bit for each place with this tag.
    #[inline(always)]
    fn matches(&self, tag: u16) -> u32 {
        simd::equal(&self.tags, tag)
    }
}

/// Slots by hash.
pub(crate) struct Index {
    buckets: Array<Bucket>,
    mask: usize,
}

impl Index {
    /// An index for `capacity` slots.
    pub fn new(capacity: usize) -> io::Result<Index> {
        let buckets = (capacity * 2).div_ceil(WAYS).next_power_of_two();
        Ok(Index { buckets: Array::new(buckets)?, mask: buckets - 1 })
    }

    #[inline(always)]
    fn first(&self, hash: Hash) -> usize {
        hash.0 as usize & self.mask
    }

    /// The bucket after `bucket` in the probe sequence: an odd step reaches all of them.
    #[inline(always)]
    fn next(&self, bucket: usize, hash: Hash) -> usize {
        bucket.wrapping_add(usize::from(hash.tag()) * 2 + 1) & self.mask
    }

    /// Starts to load the bucket.
    #[inline(always)]
    pub fn prefetch(&self, hash: Hash) {
        self.buckets.prefetch(self.first(hash));
    }

    /// A slot that may be the right one, from the first bucket alone.
    #[inline(always)]
    pub fn guess(&self, hash: Hash) -> Option<u32> {
        let bucket = &self.buckets[self.first(hash)];
        let bits = bucket.matches(hash.tag());
        (bits != 0).then(|| bucket.slots[bits.trailing_zeros() as usize % WAYS])
    }

    /// The slot of which `is` is true.
    #[inline]
    pub fn find(&self, hash: Hash, mut is: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut at = self.first(hash);
        // Each bucket once: there is at least one that nobody passed, but a bound needs no proof.
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            let mut bits = bucket.matches(hash.tag());
            while bits != 0 {
                let slot = bucket.slots[bits.trailing_zeros() as usize % WAYS];
                if is(slot) {
                    return Some(slot);
                }
                bits &= bits - 1;
            }
            if bucket.passed == 0 {
                return None;
            }
            at = self.next(at, hash);
        }
        None
    }

    /// Adds a slot. There is room: places are twice the slots.
    pub fn insert(&mut self, hash: Hash, slot: u32) {
        let mut at = self.first(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            let free = bucket.matches(0);
            if free != 0 {
                let way = free.trailing_zeros() as usize % WAYS;
                bucket.tags[way] = hash.tag();
                bucket.slots[way] = slot;
                return;
            }
            bucket.passed += 1;
            at = self.next(at, hash);
        }
        unreachable!("there are twice as many places as slots");
    }

    /// Takes a slot out.
    pub fn remove(&mut self, hash: Hash, slot: u32) {
        let mut at = self.first(hash);
        for _ in 0..self.buckets.len() {
            let bucket = &mut self.buckets[at];
            if let Some(way) =
                (0..WAYS).find(|way| bucket.slots[*way] == slot && bucket.tags[*way] == hash.tag())
            {
                bucket.tags[way] = 0;
                return;
            }
            debug_assert!(bucket.passed > 0, "slot {slot} is not in the index");
            bucket.passed = bucket.passed.saturating_sub(1);
            at = self.next(at, hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Few distinct hashes, so that buckets overflow and tags collide.
        #[test]
        fn behaves_as_a_hash_map(steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..3), 1..400)) {
            let mut index = Index::new(64).unwrap();
            let mut model: HashMap<u64, u32> = HashMap::new();
            let mut free: Vec<u32> = (0..64).collect();
            let mut keys = HashMap::new();
            for (insert, key, group) in steps {
                // 3 buckets, and tags that differ by key modulo 4.
                let hash = Hash((key % 4) << 48 | group);
                let key = key << 2 | group;
                let found = index.find(hash, |slot| keys.get(&slot) == Some(&key));
                prop_assert_eq!(found, model.get(&key).copied());
                match (insert, found) {
                    (true, None) => {
                        if let Some(slot) = free.pop() {
                            index.insert(hash, slot);
                            model.insert(key, slot);
                            keys.insert(slot, key);
                        }
                    }
                    (false, Some(slot)) => {
                        index.remove(hash, slot);
                        model.remove(&key);
                        keys.remove(&slot);
                        free.push(slot);
                    }
                    _ => {}
                }
                prop_assert!(index.find(hash, |slot| keys.get(&slot) == Some(&key)) == model.get(&key).copied());
            }
            // Nothing is left behind.
            let all: Vec<_> = model.iter().map(|(key, slot)| (*key, *slot)).collect();
            for (key, slot) in all {
                index.remove(Hash(((key >> 2) % 4) << 48 | key & 3), slot);
            }
            prop_assert!(index.buckets.iter().all(|bucket| bucket.tags == [0; WAYS] && bucket.passed == 0));
        }
    }

    #[test]
    fn a_full_table_finds_all() {
        let seed = Seed::random();
        let mut index = Index::new(10_000).unwrap();
        let key = |i: u32| Key { addresses: 1 << 32 | 2, rest: u64::from(i) << 32 };
        (0..10_000).for_each(|i| index.insert(seed.hash(key(i)), i));
        assert!((0..10_000).all(|i| index.find(seed.hash(key(i)), |slot| slot == i) == Some(i)));
        let moved = index.buckets.iter().filter(|bucket| bucket.passed > 0).count();
        assert!(moved * 10 < index.buckets.len(), "{moved} of {} buckets are full", index.buckets.len());
    }
}
