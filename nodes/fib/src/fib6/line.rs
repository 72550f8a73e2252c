// SPDX-License-Identifier: Apache-2.0
//! A cache line of the IPv6 forwarding table: up to nine runs of addresses, and where each leads.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::{_mm_cmpgt_epi16, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi16};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Entry;

/// Which 16 bits of an address a line compares: from the first ones on, 0 to 7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place(pub u8);

impl Place {
    pub const COUNT: u8 = 8;
    /// Of which the table has decided the first half.
    pub const FIRST: Place = Place(1);

    /// The bits of all places, in network order.
    #[inline(always)]
    pub fn all(address: u128) -> [u16; Self::COUNT as usize] {
        zerocopy::transmute!(address.to_be_bytes())
    }

    /// The bits at this place of all.
    #[inline(always)]
    pub fn of(self, all: &[u16; Self::COUNT as usize]) -> u16 {
        u16::from_be(all[usize::from(self.0 % Self::COUNT)])
    }

    /// The bits of an address at this place.
    #[inline(always)]
    pub const fn in_address(self, address: u128) -> u16 {
        (address >> (128 - self.end())) as u16
    }

    /// How many bits of an address are decided when these are.
    #[inline(always)]
    pub const fn end(self) -> u8 {
        (self.0 + 1) * 16
    }
}

/// The first run begins wherever the line does; the others begin at a bound each. Numbers of 16 bits whose highest bit is
/// inverted compare as signed ones like those that they stand for, which is what the instruction does. Bounds that are not
/// there are the highest number of all, and where they lead is where the last run leads.
#[derive(zerocopy::FromZeros)]
#[repr(C, align(64))]
pub(super) struct Line {
    /// Four bounds a word, the lowest one in the lowest bits.
    bounds: [AtomicU64; 2],
    entries: [AtomicU32; Line::RUNS],
    _rest: [u32; 3],
}

const _: () = assert!(size_of::<Line>() == 64);

/// Where a run begins, and where it leads.
pub(super) type Bound = (u16, Entry);

impl Line {
    pub const RUNS: usize = 9;
    const INVERTED: u16 = 1 << 15;

    /// Where the run leads in which `bits` are.
    #[inline(always)]
    pub fn find(&self, bits: u16) -> Entry {
        // The entry that led here was loaded with `Acquire`, and bounds never change while a reader can come here.
        let bounds = [0, 1].map(|word| self.bounds[word].load(Ordering::Relaxed));
        Entry::acquire(&self.entries[not_above(bounds, bits ^ Self::INVERTED)])
    }

    /// For the writer, which then looks for the place of an entry.
    pub fn entries(&self) -> &[AtomicU32; Line::RUNS] {
        &self.entries
    }

    /// Where the run that leads to another line begins and ends, unless the line does there.
    pub fn ends(&self, to: Entry) -> (Option<u16>, Option<u16>) {
        let bound = |place: usize| {
            let four = self.bounds[place / 4].load(Ordering::Relaxed);
            (four >> (place % 4 * 16)) as u16 ^ Self::INVERTED
        };
        let leads = |place: &usize| Entry::load(&self.entries[*place]) == to;
        // Where there are fewer runs, the last one stands there again.
        let first = (0..Self::RUNS).find(leads).unwrap_or(0);
        let last = (0..Self::RUNS).rfind(leads).unwrap_or(0);
        (first.checked_sub(1).map(bound), (last + 1 < Self::RUNS).then(|| bound(last)))
    }

    /// Fills a line that no reader can see, with at least one run.
    pub fn fill(&self, runs: &[Bound]) {
        debug_assert!((1..=Self::RUNS).contains(&runs.len()));
        let bound = |place: usize| runs.get(place + 1).map_or(u16::MAX, |(first, _)| *first) ^ Self::INVERTED;
        for (number, word) in self.bounds.iter().enumerate() {
            let four = (0..4).rev().fold(0, |four, i| four << 16 | u64::from(bound(number * 4 + i)));
            word.store(four, Ordering::Relaxed);
        }
        let last = runs.last().map_or(Entry::EMPTY, |(_, to)| *to);
        for (place, word) in self.entries.iter().enumerate() {
            runs.get(place).map_or(last, |(_, to)| *to).store(word);
        }
    }
}

/// How many of these ascending bounds are not above `bits`.
#[inline(always)]
fn not_above([low, high]: [u64; 2], bits: u16) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: SSE2 is part of every x86-64.
        let above = unsafe {
            let bounds = _mm_set_epi64x(high as i64, low as i64);
            _mm_movemask_epi8(_mm_cmpgt_epi16(bounds, _mm_set1_epi16(bits as i16)))
        };
        (above as u32 | 1 << 16).trailing_zeros() as usize / 2
    }
    #[cfg(not(target_arch = "x86_64"))]
    one_by_one([low, high], bits)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn one_by_one(bounds: [u64; 2], bits: u16) -> usize {
    let bound = |place: usize| (bounds[place / 4] >> (place % 4 * 16)) as i16;
    (0..8).take_while(|place| bound(*place) <= bits as i16).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_finds_the_last_run_that_begins_at_or_before(
            firsts in prop::collection::btree_set(prop_oneof![0u16..3, Just(0x7fff), Just(0x8000), any::<u16>(), Just(u16::MAX)], 1..=Line::RUNS),
            others in prop::collection::vec(any::<u16>(), 8),
        ) {
            let line: Line = zerocopy::FromZeros::new_zeroed();
            let runs: Vec<Bound> = firsts.iter().zip(1..).map(|(first, number)| (*first, Entry(number))).collect();
            line.fill(&runs);
            for bits in firsts.iter().copied().chain(others) {
                let expected = runs.iter().rfind(|(first, _)| *first <= bits).unwrap_or(&runs[0]);
                prop_assert_eq!(line.find(bits), expected.1, "{:04x}", bits);
                let bounds = [0, 1].map(|word| line.bounds[word].load(Ordering::Relaxed));
                prop_assert_eq!(one_by_one(bounds, bits ^ 0x8000), not_above(bounds, bits ^ 0x8000));
            }
        }
    }
}
