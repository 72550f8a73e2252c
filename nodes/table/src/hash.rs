// SPDX-License-Identifier: Apache-2.0
//! Hashes of keys of some words.
//!
//! They are keyed ([`Seed::random`]) where strangers choose keys, so that nobody outside can fill one bucket on purpose.

use std::hash::{BuildHasher, RandomState};

/// The hash of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hash(pub u64);

impl Hash {
    /// What tells entries of one bucket apart; never 0, which is a free place.
    #[inline(always)]
    pub(crate) fn tag(self) -> u16 {
        ((self.0 >> 48) as u16).max(1)
    }
}

/// What makes the hashes of one table.
#[derive(Clone, Copy, Debug)]
pub struct Seed([u64; 2]);

impl Seed {
    /// For keys that an operator chooses, not a stranger.
    pub const FIXED: Seed = Seed([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03]);

    /// A secret of this process.
    pub fn random() -> Seed {
        let random = RandomState::new();
        Seed([random.hash_one(0u8) | 1, random.hash_one(1u8) | 1])
    }

    /// One multiplication for each pair of words spreads every bit of the key over the result.
    #[inline(always)]
    pub fn hash<const N: usize>(self, key: [u64; N]) -> Hash {
        let mut hash = 0;
        for pair in key.chunks(2) {
            let second = pair.get(1).copied().unwrap_or(0);
            hash = fold(pair[0] ^ self.0[0] ^ hash, second ^ self.0[1]);
        }
        Hash(hash)
    }
}

/// The product of two numbers, its upper half folded onto its lower one.
#[inline(always)]
pub fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// Hashes of keys that differ in one word by 0 to 999 differ where a table looks: in the low bits and in the tag.
    fn spreads<const N: usize>(word: usize, seed: Seed) {
        let hashes = (0..1000).map(|i| {
            let mut key = [7; N];
            key[word] = i;
            seed.hash(key)
        });
        let hashes: Vec<Hash> = hashes.collect();
        let low: HashSet<u64> = hashes.iter().map(|hash| hash.0 & 0xffff).collect();
        let tags: HashSet<u16> = hashes.iter().map(|hash| hash.tag()).collect();
        // Of 1,000 random numbers of 16 bits, 992 are distinct on average.
        assert!(low.len() > 950 && tags.len() > 950, "{N} words, word {word}: {} {}", low.len(), tags.len());
    }

    #[test]
    fn every_word_counts() {
        for seed in [Seed::FIXED, Seed::random()] {
            spreads::<1>(0, seed);
            (0..2).for_each(|word| spreads::<2>(word, seed));
            (0..3).for_each(|word| spreads::<3>(word, seed));
            (0..5).for_each(|word| spreads::<5>(word, seed));
            (0..6).for_each(|word| spreads::<6>(word, seed));
        }
    }

    proptest! {
        #[test]
        fn no_tag_is_a_free_place(hash in any::<u64>()) {
            prop_assert_ne!(Hash(hash).tag(), 0);
        }
    }
}
