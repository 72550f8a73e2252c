// SPDX-License-Identifier: Apache-2.0
//! Eight rules side by side, to be compared with a packet at once.
//!
//! A tree cannot separate rules for ever; what is left in a leaf is compared in full. Each field of the eight rules stands
//! in one array, so that the comparison is a loop over lanes without a branch, of which the compiler makes some 20 vector
//! instructions for IPv4 (AVX2; 40 with SSE2). A group of IPv4 is five cache lines, one of IPv6 twelve.

use weft_engine::prefetch;

use crate::key::{Key, MASKED4, MASKED6, Masked, Pattern};

/// Rules per group.
pub(crate) const LANES: usize = 8;

/// In the first lane's rank: another group of the same leaf follows.
const MORE: u32 = 1 << 31;

/// Place of a rule in its set, 0 for the one that is asked first.
pub(crate) type Rank = u32;

/// The highest rank; no rule has it.
pub(crate) const NO_RANK: Rank = MORE - 1;

/// Up to eight rules in the order of their ranks, with so many words under a mask.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Group<const M: usize> {
    /// Values, and masks.
    masked: [[[u32; LANES]; 2]; M],
    upper: [u16; LANES],
    upper_width: [u16; LANES],
    lower: [u16; LANES],
    lower_width: [u16; LANES],
    interface: [u16; LANES],
    interface_mask: [u16; LANES],
    ranks: [Rank; LANES],
}

/// Bytes that a processor loads at once.
const LINE: usize = 64;

const _: () = assert!(MASKED4 <= 10 && MASKED6 <= 10, "as many words are compared");
const _: () = assert!(size_of::<Group<MASKED4>>() == 5 * LINE && size_of::<Group<MASKED6>>() == 12 * LINE);

impl<const M: usize> Group<M> {
    /// Of up to eight rules; `more`: not the last of its leaf.
    pub fn new<'a>(rules: impl Iterator<Item = (Rank, &'a Pattern<M>)>, more: bool) -> Group<M> {
        let mut group = Group {
            masked: [[[0; LANES]; 2]; M],
            upper: [0; LANES],
            upper_width: [0; LANES],
            lower: [0; LANES],
            lower_width: [0; LANES],
            interface: [0; LANES],
            interface_mask: [0; LANES],
            ranks: [NO_RANK; LANES],
        };
        let none = Pattern::none();
        let rules = rules.map(|(rank, pattern)| (rank, *pattern));
        for (i, (rank, pattern)) in rules.chain(std::iter::repeat((NO_RANK, none))).take(LANES).enumerate() {
            for ([values, masks], Masked { value, mask }) in group.masked.iter_mut().zip(pattern.masked) {
                (values[i], masks[i]) = (value, mask);
            }
            (group.upper[i], group.upper_width[i]) =
                (pattern.upper.first, pattern.upper.last - pattern.upper.first);
            (group.lower[i], group.lower_width[i]) =
                (pattern.lower.first, pattern.lower.last - pattern.lower.first);
            (group.interface[i], group.interface_mask[i]) =
                (pattern.interface.value as u16, pattern.interface.mask as u16);
            group.ranks[i] = rank;
        }
        group.ranks[0] |= u32::from(more) * MORE;
        group
    }

    /// Starts the cache misses of a comparison.
    #[inline(always)]
    pub fn prefetch(&self) {
        for words in &self.masked {
            prefetch::read(words);
        }
        prefetch::read(&self.upper);
        prefetch::read(&self.interface);
    }

    /// Whether the leaf goes on in the next group.
    #[inline(always)]
    pub fn more(&self) -> bool {
        self.ranks[0] & MORE != 0
    }

    /// Rank of the rule in a lane.
    #[inline(always)]
    pub fn rank(&self, lane: usize) -> Rank {
        self.ranks[lane % LANES] & NO_RANK
    }

    /// A bit for each lane whose rule matches.
    #[inline(always)]
    pub fn hits<const N: usize>(&self, key: &Key<N>) -> u32 {
        let (ports, interface) = (key.word(M), key.word(M + 1) as u16);
        let (upper, lower) = ((ports >> 16) as u16, ports as u16);
        // Bits in which a rule and the packet differ, in two widths.
        let mut wide = [0u32; LANES];
        let mut narrow = [0u16; LANES];
        // All in one loop over lanes, and no loop in it: that is what the compiler makes vector instructions of.
        for i in 0..LANES {
            let differ = |word: usize| match self.masked.get(word) {
                Some([values, masks]) => (values[i] ^ key.word(word)) & masks[i],
                None => 0,
            };
            wide[i] = differ(0)
                | differ(1)
                | differ(2)
                | differ(3)
                | differ(4)
                | differ(5)
                | differ(6)
                | differ(7)
                | differ(8)
                | differ(9);
            narrow[i] = upper.wrapping_sub(self.upper[i]).saturating_sub(self.upper_width[i])
                | lower.wrapping_sub(self.lower[i]).saturating_sub(self.lower_width[i])
                | (self.interface[i] ^ interface) & self.interface_mask[i];
        }
        let mut hits = 0;
        for i in 0..LANES {
            hits |= u32::from(wide[i] == 0 && narrow[i] == 0) << i;
        }
        hits
    }

    /// The best rule that matches, the first one; [`NO_RANK`] without any. Without a branch: it would be mispredicted for
    /// every fifth packet.
    #[inline(always)]
    pub fn first<const N: usize>(&self, key: &Key<N>) -> Rank {
        let hits = self.hits(key);
        let rank = self.rank(hits.trailing_zeros() as usize);
        std::hint::select_unpredictable(hits != 0, rank, NO_RANK)
    }

    /// The best rule of a rank above `after` that matches.
    pub fn first_after<const N: usize>(&self, key: &Key<N>, after: Rank) -> Option<Rank> {
        let hits = self.hits(key);
        (0..LANES).filter(|lane| hits >> lane & 1 != 0).map(|lane| self.rank(lane)).find(|rank| *rank > after)
    }
}
