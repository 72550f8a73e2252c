// SPDX-License-Identifier: Apache-2.0
//! Keys with a value each that are built once and then only read: one cache line per lookup, keys and values in it.
//!
//! If more keys fall into a line than have room, the last ones stand in the next line that has, and all lines on the way say
//! so. At most two of five places are taken, so with three places 1 of 30 lines has an overflow.

use std::hint::select_unpredictable;

use weft_engine::prefetch;

use crate::hash::Hash;

/// In a line's note: keys that belong here may stand in the next one.
const OVERFLOW: u32 = 1;

/// A key.
pub trait LineKey: Copy + PartialEq {
    /// Stands in a free place; nobody looks for it.
    const NONE: Self;
    /// In place of a value: there is none.
    const NO_VALUE: u32;

    /// Its hash; the lower half is what counts.
    fn hash(self) -> Hash;

    /// Whether two are the same, without a branch: which of a line's keys it is cannot be predicted.
    fn equals(self, other: Self) -> bool;
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line<K, const PLACES: usize> {
    keys: [K; PLACES],
    values: [u32; PLACES],
    note: u32,
}

/// A value for each key, `PLACES` of them in a line.
pub struct Lines<K, const PLACES: usize> {
    lines: Box<[Line<K, PLACES>]>,
    count: usize,
}

impl<K: LineKey, const PLACES: usize> Lines<K, PLACES> {
    /// Of distinct keys; no value is [`LineKey::NO_VALUE`].
    pub fn new(entries: &[(K, u32)]) -> Self {
        const { assert!(size_of::<Line<K, PLACES>>() == 64, "a line is one cache line") };
        let count = (entries.len() * 5).div_ceil(PLACES * 2).max(1);
        let vacant = Line { keys: [K::NONE; PLACES], values: [0; PLACES], note: 0 };
        let mut lines = vec![vacant; count].into_boxed_slice();
        for &(key, value) in entries {
            let mut at = place(key.hash(), lines.len());
            loop {
                let line = &mut lines[at];
                if let Some(place) = line.keys.iter().position(|taken| *taken == K::NONE) {
                    (line.keys[place], line.values[place]) = (key, value);
                    break;
                }
                line.note |= OVERFLOW;
                at = (at + 1) % lines.len();
            }
        }
        Lines { lines, count: entries.len() }
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Keys.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.lines[..])
    }

    /// Lines in which a key did not find room.
    pub fn overflows(&self) -> usize {
        self.lines.iter().filter(|line| line.note != 0).count()
    }

    /// Where a key is looked for.
    #[inline(always)]
    pub fn place(&self, key: K) -> u32 {
        place(key.hash(), self.lines.len()) as u32
    }

    /// Starts the cache miss of a lookup at a place.
    #[inline(always)]
    pub fn prefetch(&self, place: u32) {
        prefetch::read(self.lines.as_ptr().wrapping_add(place as usize));
    }

    /// The value of a key, [`LineKey::NO_VALUE`] if it is not there; `place` is that of [`Lines::place`].
    #[inline(always)]
    pub fn get(&self, key: K, place: u32) -> u32 {
        match self.lines.get(place as usize) {
            Some(line) => match line.value(key) {
                value if value == K::NO_VALUE && line.note & OVERFLOW != 0 => {
                    self.further(key, place as usize)
                }
                value => value,
            },
            None => K::NO_VALUE,
        }
    }

    /// In the lines after one that overflows.
    #[inline(never)]
    fn further(&self, key: K, place: usize) -> u32 {
        let mut at = place;
        // Not all lines overflow: not all places are taken.
        loop {
            at = (at + 1) % self.lines.len();
            let line = &self.lines[at];
            let value = line.value(key);
            if value != K::NO_VALUE || line.note & OVERFLOW == 0 {
                return value;
            }
        }
    }
}

impl<K: LineKey, const PLACES: usize> Line<K, PLACES> {
    /// The value of a key, [`LineKey::NO_VALUE`] if it does not stand here. All places are compared.
    #[inline(always)]
    fn value(&self, key: K) -> u32 {
        let mut found = K::NO_VALUE;
        for (known, &value) in self.keys.iter().zip(&self.values) {
            found = select_unpredictable(known.equals(key), value, found);
        }
        found
    }
}

/// Spreads a hash over any number of lines: a power of two of them could be twice what the cache holds.
#[inline(always)]
fn place(hash: Hash, lines: usize) -> usize {
    ((u64::from(hash.0 as u32) * lines as u64) >> 32) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::hash::Seed;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    struct Words<const N: usize>([u64; N]);

    impl<const N: usize> LineKey for Words<N> {
        const NONE: Self = Words([u64::MAX; N]);
        const NO_VALUE: u32 = 1 << 31;

        fn hash(self) -> Hash {
            Seed::FIXED.hash(self.0)
        }

        fn equals(self, other: Self) -> bool {
            self.0.iter().zip(other.0).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
        }
    }

    fn equals_a_map<const N: usize, const PLACES: usize>(known: &HashMap<u64, u32>, strangers: &[u64]) {
        let of = |number: u64| Words([number; N]);
        let list: Vec<_> = known.iter().map(|(number, value)| (of(*number), *value)).collect();
        let lines = Lines::<_, PLACES>::new(&list);
        assert_eq!(lines.len(), known.len());
        for number in known.keys().chain(strangers) {
            let found = lines.get(of(*number), lines.place(of(*number)));
            assert_eq!(found, known.get(number).copied().unwrap_or(Words::<N>::NO_VALUE));
        }
    }

    proptest! {
        #[test]
        fn a_map_says_the_same(known in prop::collection::hash_map(0u64..1000, 0..1u32 << 31, 0..300),
                               strangers in prop::collection::vec(0u64..1000, 0..100)) {
            equals_a_map::<1, 5>(&known, &strangers);
            equals_a_map::<2, 3>(&known, &strangers);
            equals_a_map::<5, 1>(&known, &strangers);
        }
    }

    #[test]
    fn few_lines_overflow() {
        let list: Vec<_> = (0..10_000).map(|i| (Words([u64::from(i), 7]), i)).collect();
        let lines = Lines::<_, 3>::new(&list);
        assert!(lines.overflows() * 10 < lines.lines.len(), "{} overflow", lines.overflows());
    }
}
