// SPDX-License-Identifier: Apache-2.0
//! Fields that change from packet to packet.
//!
//! An edit is compiled once to a few bytes at an offset, so that the worker computes a value, stores it into
//! a fresh copy of the template, and adds it to the checksums that cover it; nothing is summed twice.

/// What a field holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// The same in every packet.
    Fixed(u128),
    /// From `lo` to `hi`, one up per packet, and again.
    Increment { lo: u128, hi: u128 },
    /// Anything from `lo` to `hi`, equally likely; the same sequence in every run.
    Random { lo: u128, hi: u128 },
}

/// Bits of a packet, in the order of the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub bit: usize,
    pub bits: usize,
}

impl Place {
    /// First byte that the bits touch, and how many.
    fn bytes(self) -> (usize, usize) {
        let first = self.bit / 8;
        (first, (self.bit + self.bits).div_ceil(8) - first)
    }

    /// Bits of the last byte that lie after the place.
    fn shift(self) -> usize {
        (8 - (self.bit + self.bits) % 8) % 8
    }

    /// Writes `value` and leaves the bits around it.
    pub fn write(self, packet: &mut [u8], value: u128) {
        let (first, count) = self.bytes();
        let field = u128::MAX >> (128 - self.bits);
        let (mask, value) =
            ((field << self.shift()).to_be_bytes(), ((value & field) << self.shift()).to_be_bytes());
        for (i, byte) in packet[first..first + count].iter_mut().enumerate() {
            let from = 16 - count + i;
            *byte = *byte & !mask[from] | value[from];
        }
    }
}

/// Positions in a range: one after the other, or at random.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    random: bool,
    /// The last position.
    last: u64,
    /// The next position, or the state of the generator.
    state: u64,
}

impl Walk {
    pub fn new(random: bool, last: u64, seed: u64) -> Self {
        Walk { random, last, state: if random { seed } else { 0 } }
    }

    #[inline(always)]
    pub fn next(&mut self) -> u64 {
        if !self.random {
            let position = self.state;
            self.state = if position == self.last { 0 } else { position + 1 };
            return position;
        }
        // SplitMix64 (Steele, Lea, Flood 2014): one add and two multiplications, any seed is good.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        // The high half of the product is below `last + 1`, without a division.
        ((u128::from(z) * (u128::from(self.last) + 1)) >> 64) as u64
    }
}

/// A field that changes, ready to run.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    offset: usize,
    count: usize,
    shift: usize,
    lo: u128,
    walk: Walk,
    /// One bit per checksum of the packet that covers the field.
    pub covered_by: u32,
}

impl Edit {
    /// `None` if the value is fixed or the range has more than 2^64 values.
    pub fn new(place: Place, value: Value, seed: u64) -> Option<Edit> {
        let (lo, hi, random) = match value {
            Value::Fixed(_) => return None,
            Value::Increment { lo, hi } => (lo, hi, false),
            Value::Random { lo, hi } => (lo, hi, true),
        };
        let last = u64::try_from(hi.checked_sub(lo)?).ok()?;
        let (offset, count) = place.bytes();
        let walk = Walk::new(random, last, seed);
        Some(Edit { offset, count, shift: place.shift(), lo, walk, covered_by: 0 })
    }

    /// First byte that it changes.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Stores the next value where `packet` holds zero bits; returns what that adds to a sum of 16-bit words.
    #[inline(always)]
    pub fn apply(&mut self, packet: &mut [u8]) -> u64 {
        let position = self.walk.next();
        let sum = if self.count <= 8 {
            let value = (self.lo as u64).wrapping_add(position) << self.shift;
            store(&mut packet[self.offset..][..self.count], value);
            halves(value)
        } else {
            let value = self.lo.wrapping_add(position.into()) << self.shift;
            packet[self.offset..][..self.count].copy_from_slice(&value.to_be_bytes()[16 - self.count..]);
            halves((value >> 64) as u64) + halves(value as u64)
        };
        // A value that ends on an even byte has its words where the sum has them; otherwise one byte higher.
        sum << (8 * ((self.offset + self.count) & 1))
    }
}

/// Ors `value` into the bytes of `window`.
#[inline(always)]
fn store(window: &mut [u8], value: u64) {
    match window {
        [a, b] => [*a, *b] = (u16::from_be_bytes([*a, *b]) | value as u16).to_be_bytes(),
        [a, b, c, d] => {
            [*a, *b, *c, *d] = (u32::from_be_bytes([*a, *b, *c, *d]) | value as u32).to_be_bytes();
        }
        _ => {
            let value = value.to_be_bytes();
            let skip = value.len() - window.len();
            for (byte, value) in window.iter_mut().zip(&value[skip..]) {
                *byte |= value;
            }
        }
    }
}

/// A 64-bit value as a sum of 32-bit words: 2^16 and 2^32 are 1 modulo 2^16 - 1 (RFC 1071 section 2).
#[inline(always)]
fn halves(value: u64) -> u64 {
    (value >> 32) + (value & 0xffff_ffff)
}

/// A sum as the 16 bits that a checksum field holds.
#[inline(always)]
pub(super) fn checksum(sum: u64) -> u16 {
    let sum = halves(sum);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !((sum >> 16) + (sum & 0xffff)) as u16
}

/// What `bytes` add to the sum; the first is the high half of a word.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().enumerate().map(|(i, byte)| u64::from(*byte) << (8 * ((i + 1) & 1))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 section 4.1, as written there.
    fn oracle(bytes: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for word in bytes.chunks(2) {
            sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !sum as u16
    }

    proptest! {
        #[test]
        fn sums_of_edits_equal_the_sum_of_the_bytes(
            mut bytes in prop::collection::vec(any::<u8>(), 40..80),
            fields in prop::collection::vec((0usize..30, 1usize..=64, any::<u64>(), 0u64..1000, any::<bool>()), 0..4),
        ) {
            let mut places: Vec<Place> = Vec::new();
            let mut total = 0;
            let mut edits = Vec::new();
            for (byte, bits, lo, span, random) in fields {
                let place = Place { bit: byte * 8 + 3, bits };
                if places.iter().any(|p| p.bytes().0 < byte + 9 && byte < p.bytes().0 + 9) || bits + 3 > 64 {
                    continue;
                }
                places.push(place);
                place.write(&mut bytes, 0);
                let lo = u128::from(lo & (u64::MAX >> (64 - bits)));
                let hi = (lo + u128::from(span)).min((1 << bits) - 1);
                let value = if random { Value::Random { lo, hi } } else { Value::Increment { lo, hi } };
                edits.push(Edit::new(place, value, 7).unwrap());
            }
            total += sum(&bytes);
            for edit in &mut edits {
                total += edit.apply(&mut bytes);
            }
            prop_assert_eq!(checksum(total), oracle(&bytes));
        }

        #[test]
        fn a_place_takes_its_bits_and_no_others(bit in 0usize..64, bits in 1usize..=64, value: u64, before: [u8; 16]) {
            let mut packet = before;
            Place { bit, bits }.write(&mut packet, value.into());
            let at = |bytes: &[u8; 16], i: usize| bytes[i / 8] >> (7 - i % 8) & 1;
            for i in 0..128usize {
                let wanted = match i.checked_sub(bit) {
                    Some(inside) if inside < bits => (value >> (bits - 1 - inside)) as u8 & 1,
                    _ => at(&before, i),
                };
                prop_assert_eq!(at(&packet, i), wanted);
            }
        }

        #[test]
        fn a_walk_stays_in_its_range(random: bool, last in 0u64..5, seed: u64) {
            let mut walk = Walk::new(random, last, seed);
            let mut again = walk.clone();
            let mut seen = [0; 5];
            for i in 0..200 {
                let position = walk.next();
                prop_assert_eq!(position, again.next());
                if !random {
                    prop_assert_eq!(position, i % (last + 1));
                }
                seen[position as usize] += 1;
            }
            for (position, count) in seen.iter().enumerate() {
                prop_assert_eq!(*count > 0, position as u64 <= last);
            }
        }
    }
}
