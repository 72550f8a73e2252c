// SPDX-License-Identifier: Apache-2.0
//! An index that its owner alone uses: for those who keep their entries elsewhere.

use std::io;

use crate::bucket::{Bucket, Buckets};
use crate::hash::Hash;
use crate::simd;

/// Slots by hash.
pub struct Index(Buckets);

/// A bit for each place with this tag.
#[allow(unsafe_code)]
#[inline(always)]
fn matches(bucket: &Bucket, tag: u16) -> u32 {
    // SAFETY: the buckets belong to an `Index`, which writes them in functions that borrow it exclusively, and this is called
    // by others of its functions.
    unsafe { simd::own_matches(&bucket.tags, tag) }
}

impl Index {
    /// An index for `capacity` slots.
    pub fn new(capacity: usize) -> io::Result<Index> {
        Buckets::new(capacity).map(Index)
    }

    /// What it lies on.
    #[cfg(not(loom))]
    pub fn pages(&self) -> weft_engine::buffer::Pages {
        self.0.all.pages()
    }

    /// Starts to load the bucket.
    #[inline(always)]
    pub fn prefetch(&self, hash: Hash) {
        self.0.prefetch(hash);
    }

    /// A slot that may be the right one, from the first bucket alone.
    #[inline(always)]
    pub fn guess(&self, hash: Hash) -> Option<u32> {
        self.0.guess(hash, matches)
    }

    /// The slot of which `is` is true.
    #[inline]
    pub fn find(&self, hash: Hash, is: impl FnMut(u32) -> bool) -> Option<u32> {
        self.0.find(hash, matches, is)
    }

    /// Adds a slot. No more are added than the capacity.
    #[inline]
    pub fn insert(&mut self, hash: Hash, slot: u32) {
        self.0.insert(hash, slot, matches);
    }

    /// Takes a slot out.
    #[inline]
    pub fn remove(&mut self, hash: Hash, slot: u32) {
        self.0.remove(hash, slot);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::hash::Seed;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::sync::atomic::Ordering::Relaxed;

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
                let searched = index.0.search(hash, |slot| (keys.get(&slot) == Some(&key)).then_some(slot));
                prop_assert_eq!(searched, found);
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
            let empty = |bucket: &Bucket| {
                bucket.tags.iter().all(|word| word.load(Relaxed) == 0) && bucket.passed.load(Relaxed) == 0
            };
            prop_assert!(index.0.all.iter().all(empty));
        }
    }

    #[test]
    fn a_full_table_finds_all() {
        // One seed in fifteen or so gives more full buckets than this; it is the usual one that counts.
        let mut full: Vec<usize> = (0..9)
            .map(|_| {
                let seed = Seed::random();
                let mut index = Index::new(10_000).unwrap();
                let hash = |i: u32| seed.hash([1 << 32 | 2, u64::from(i) << 32]);
                (0..10_000).for_each(|i| index.insert(hash(i), i));
                assert!((0..10_000).all(|i| index.find(hash(i), |slot| slot == i) == Some(i)));
                assert!(index.0.all.len() == 4096);
                index.0.all.iter().filter(|bucket| bucket.passed.load(Relaxed) > 0).count()
            })
            .collect();
        full.sort_unstable();
        assert!(full[4] * 10 < 4096, "of 4096 buckets are full, by seed: {full:?}");
    }
}
