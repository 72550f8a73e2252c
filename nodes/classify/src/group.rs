// SPDX-License-Identifier: Apache-2.0
//! Eight rules side by side, to be compared with a packet at once.
//!
//! A tree cannot separate rules for ever; what is left in a leaf is compared in full. Each field of the eight rules stands
//! in one array, so that the comparison is a loop over lanes without a branch, of which the compiler makes some 20 vector
//! instructions (AVX2; 40 with SSE2). A group is five cache lines.

use weft_engine::prefetch;

use crate::key::{DESTINATION, INTERFACE, Key, Pattern, REST, SOURCE, TRANSPORT};

/// Rules per group.
pub(crate) const LANES: usize = 8;

/// In the first lane's rank: another group of the same leaf follows.
const MORE: u32 = 1 << 31;

/// Place of a rule in its set, 0 for the one that is asked first.
pub(crate) type Rank = u32;

/// The highest rank; no rule has it.
pub(crate) const NO_RANK: Rank = MORE - 1;

/// Up to eight rules in the order of their ranks.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Group {
    source: [u32; LANES],
    source_mask: [u32; LANES],
    destination: [u32; LANES],
    destination_mask: [u32; LANES],
    rest: [u32; LANES],
    rest_mask: [u32; LANES],
    upper: [u16; LANES],
    upper_width: [u16; LANES],
    lower: [u16; LANES],
    lower_width: [u16; LANES],
    interface: [u16; LANES],
    interface_mask: [u16; LANES],
    ranks: [Rank; LANES],
}

const _: () = assert!(size_of::<Group>() == 5 * 64, "a group is five cache lines");

impl Group {
    /// Of up to eight rules; `more`: not the last of its leaf.
    pub fn new<'a>(rules: impl Iterator<Item = (Rank, &'a Pattern)>, more: bool) -> Group {
        let mut group = Group {
            source: [0; LANES],
            source_mask: [0; LANES],
            destination: [0; LANES],
            destination_mask: [0; LANES],
            rest: [0; LANES],
            rest_mask: [0; LANES],
            upper: [0; LANES],
            upper_width: [0; LANES],
            lower: [0; LANES],
            lower_width: [0; LANES],
            interface: [0; LANES],
            interface_mask: [0; LANES],
            ranks: [NO_RANK; LANES],
        };
        let free = std::iter::repeat((NO_RANK, &Pattern::NONE));
        for (i, (rank, pattern)) in rules.chain(free).take(LANES).enumerate() {
            (group.source[i], group.source_mask[i]) = (pattern.source.value, pattern.source.mask);
            (group.destination[i], group.destination_mask[i]) =
                (pattern.destination.value, pattern.destination.mask);
            (group.rest[i], group.rest_mask[i]) = (pattern.rest.value, pattern.rest.mask);
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
        prefetch::read(&self.source);
        prefetch::read(&self.destination);
        prefetch::read(&self.rest);
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
    pub fn hits(&self, key: &Key) -> u32 {
        let (source, destination) = (key.word(SOURCE), key.word(DESTINATION));
        let rest = key.word(REST);
        let (upper, lower) = ((key.word(TRANSPORT) >> 16) as u16, key.word(TRANSPORT) as u16);
        let interface = key.word(INTERFACE) as u16;
        // Bits in which a rule and the packet differ, in two widths.
        let mut wide = [0u32; LANES];
        let mut narrow = [0u16; LANES];
        for i in 0..LANES {
            wide[i] = (self.source[i] ^ source) & self.source_mask[i]
                | (self.destination[i] ^ destination) & self.destination_mask[i]
                | (self.rest[i] ^ rest) & self.rest_mask[i];
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
    pub fn first(&self, key: &Key) -> Rank {
        let hits = self.hits(key);
        let rank = self.rank(hits.trailing_zeros() as usize);
        std::hint::select_unpredictable(hits != 0, rank, NO_RANK)
    }

    /// The best rule of a rank above `after` that matches.
    pub fn first_after(&self, key: &Key, after: Rank) -> Option<Rank> {
        let hits = self.hits(key);
        (0..LANES).filter(|lane| hits >> lane & 1 != 0).map(|lane| self.rank(lane)).find(|rank| *rank > after)
    }
}
