// SPDX-License-Identifier: Apache-2.0
//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! A router verifies one header per packet and changes one byte of it, so these two cases have functions
//! of their own: no loop and no fold. Everything is computed in the byte order of memory, which one's
//! complement addition permits (RFC 1071 section 2 (B)); results are field values in host order, ready
//! for a header's `U16`.
//!
//! Pure functions.

use super::{IpProtocol, Ipv4Header, Ipv6Header};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The checksum of `bytes`, whose own checksum field holds 0.
pub fn of(bytes: &[u8]) -> u16 {
    Sum::default().bytes(bytes).checksum()
}

/// A one's complement sum under construction.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sum(u64);

impl Sum {
    /// The pseudo-header of UDP and TCP over IPv4 (RFC 9293 section 3.1); `length` is that of the
    /// transport header and payload.
    pub fn pseudo_header(ip: &Ipv4Header, protocol: IpProtocol, length: u16) -> Sum {
        Sum::default()
            .bytes(ip.source.as_bytes())
            .bytes(ip.destination.as_bytes())
            .word(protocol.0.into())
            .word(length)
    }

    /// That of IPv6 (RFC 8200 section 8.1), for a packet without extension headers that change the destination.
    pub fn pseudo_header6(ip: &Ipv6Header, protocol: IpProtocol, length: u32) -> Sum {
        Sum::default()
            .bytes(&ip.source().octets())
            .bytes(&ip.destination().octets())
            .word((length >> 16) as u16)
            .word(length as u16)
            .word(protocol.0.into())
    }

    /// Adds a 16-bit value in host order.
    #[must_use]
    pub const fn word(self, value: u16) -> Sum {
        Sum(self.0 + value.to_be() as u64)
    }

    /// Adds bytes that begin at an even offset; only the last ones of a sum may be odd in number.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Sum {
        // 32-bit words in 64-bit accumulators: no carry is lost below 2^32 words, and the compiler
        // makes vector code of it.
        let (blocks, rest) = bytes.as_chunks::<32>();
        let mut lanes = [0u64; 8];
        for block in blocks {
            for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
                *lane += u64::from(u32::from_ne_bytes(*word));
            }
        }
        let mut sum = lanes.iter().sum::<u64>();
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        sum += u64::from(u32::from_ne_bytes(last));
        Sum(self.0 + sum)
    }

    /// What the checksum field has to hold.
    pub const fn checksum(self) -> u16 {
        !u16::from_be(self.fold())
    }

    /// Whether what was summed, with its checksum field, is intact.
    pub const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }

    const fn fold(self) -> u16 {
        let sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        sum as u16
    }
}

/// A sum over bytes in pieces of any length, as they lie in the buffers of a packet: a word may be spread over two of them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Pieces {
    sum: Sum,
    /// The next piece begins with the second byte of a word.
    odd: bool,
}

impl Pieces {
    /// Goes on after what is summed up already, an even number of bytes.
    pub const fn after(sum: Sum) -> Pieces {
        Pieces { sum, odd: false }
    }

    /// Adds the next piece.
    #[must_use]
    pub fn piece(self, bytes: &[u8]) -> Pieces {
        let sum = match self.odd {
            false => self.sum.bytes(bytes),
            // All its words begin a byte too early, so the bytes of its sum change places (RFC 1071 section 2 (B)).
            true => Sum(self.sum.0 + Sum::default().bytes(bytes).fold().swap_bytes() as u64),
        };
        Pieces { sum, odd: self.odd != (bytes.len() % 2 == 1) }
    }

    /// The sum of them all.
    pub const fn sum(self) -> Sum {
        self.sum
    }
}

/// A header without options in as few numbers as possible.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C, packed)]
struct Halves(u64, u64, u32);

/// Whether the checksum of a header without options is right.
///
/// A sum is valid if it is a multiple of 0xffff. The multiple 0 would be a header of zeros, which has the wrong version
/// and so never comes here.
#[inline(always)]
pub fn is_valid_ip4(header: &Ipv4Header) -> bool {
    // An odd divisor's inverse modulo 2^64 takes its multiples, and only them, to possible quotients: one multiplication
    // and one compare. A fold is a chain of shifts and adds, and `is_multiple_of` became a remainder with four
    // instructions more.
    const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
    const { assert!(INVERSE.wrapping_mul(0xffff) == 1) };
    // 2^64 - 1 is a multiple of 0xffff, so a carry out of the highest bit is one more.
    let add = |sum: u64, word: u64| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u64::from(carry)
    };
    let Halves(first, second, last) = zerocopy::transmute!(*header);
    add(add(first, second), last.into()).wrapping_mul(INVERSE) <= u64::MAX / 0xffff
}

/// The checksum after one 16-bit word that it covers changed from `old` to `new` (RFC 1624 equation 3).
#[inline(always)]
#[must_use]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = !checksum as u32 + !old as u32 + new as u32;
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !(sum as u16)
}

/// Takes one from the TTL, which must not be 0, and adjusts the checksum.
///
/// TTL, protocol and checksum share an aligned word, and by RFC 1624 one less in the TTL is one more in
/// the checksum's upper byte, so both are one addition. Read as a little-endian number that word has the
/// TTL at bit 0 and the checksum's upper byte at bit 16; the carry out of the checksum wraps around to
/// bit 16, also from 0xffff, which as "minus zero" must become 0.
#[inline(always)]
pub fn decrement_ttl(header: &mut Ipv4Header) {
    debug_assert!(header.ttl > 0, "the TTL was checked before it is decremented");
    let bytes: &mut [u8; Ipv4Header::LENGTH] = zerocopy::transmute_mut!(header);
    let (words, _) = bytes.as_chunks_mut::<4>();
    let word = u32::from_le_bytes(words[2]);
    // Two numbers to choose from: a shift of the carry and two additions took two instructions more.
    let step = if word < 0xfffe_0000 { 0xffff } else { 0x1_ffff };
    words[2] = word.wrapping_add(step).to_le_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use zerocopy::FromZeros;

    /// RFC 1071 section 1, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum >> 16) + (sum & 0xffff);
        }
        !(sum as u16)
    }

    fn header() -> impl Strategy<Value = Ipv4Header> {
        any::<[u8; 20]>().prop_map(|mut bytes| {
            bytes[0] = Ipv4Header::PLAIN;
            let mut header = Ipv4Header::read_from_bytes(&bytes).unwrap();
            header.fill_checksum();
            header
        })
    }

    #[test]
    fn the_examples_of_the_rfcs() {
        // RFC 1071 section 3.
        assert_eq!(of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        // RFC 1624 section 4.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    /// All checksums, since the two forms of zero lie at the ends of the range.
    #[test]
    fn ttl_and_checksum_for_every_checksum() {
        for checksum in 0..0xffff {
            let mut header = Ipv4Header::new_zeroed();
            header.ttl = 1;
            header.protocol = IpProtocol::UDP;
            header.checksum.set(checksum);
            decrement_ttl(&mut header);
            assert_eq!(header.ttl, 0);
            assert_eq!(header.protocol, IpProtocol::UDP);
            assert_eq!(header.checksum.get(), update(checksum, 0x0111, 0x0011), "{checksum:#x}");
        }
    }

    proptest! {
        #[test]
        fn equals_the_naive_sum(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(of(&bytes), naive(&bytes));
        }

        #[test]
        fn sums_compose(bytes in prop::collection::vec(any::<u8>(), 0..200), cut: usize, word: u16) {
            let (head, tail) = bytes.split_at((cut % (bytes.len() + 1)) & !1);
            let parts = Sum::default().bytes(head).word(word).bytes(tail);
            let whole = Sum::default().word(word).bytes(&bytes);
            prop_assert_eq!(parts.checksum(), whole.checksum());
        }

        #[test]
        fn pieces_make_the_sum_of_the_whole(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6), before: u16,
        ) {
            let sum = pieces.iter().fold(Pieces::after(Sum::default().word(before)), |sum, it| sum.piece(it));
            let whole = [&before.to_be_bytes(), &pieces.concat()[..]].concat();
            prop_assert_eq!(sum.sum().checksum(), naive(&whole));
        }

        #[test]
        fn a_header_is_valid_exactly_with_its_checksum(header in header(), other: u16) {
            prop_assert!(is_valid_ip4(&header));
            prop_assert!(Sum::default().bytes(header.as_bytes()).is_valid());
            let mut changed = header;
            changed.checksum.set(other);
            prop_assert_eq!(is_valid_ip4(&changed), Sum::default().bytes(changed.as_bytes()).is_valid());
        }

        #[test]
        fn an_update_equals_a_new_sum(header in header(), at in 0usize..5, value: u16) {
            // Words 1, 2, 3, 6 and 7: not the checksum itself.
            let at = [2, 4, 6, 12, 14][at];
            let mut changed = header;
            let word = &mut changed.as_mut_bytes()[at..at + 2];
            let old = u16::from_be_bytes([word[0], word[1]]);
            word.copy_from_slice(&value.to_be_bytes());
            changed.checksum.set(update(header.checksum.get(), old, value));
            let mut fresh = changed;
            fresh.fill_checksum();
            prop_assert_eq!(changed, fresh);
        }

        #[test]
        fn a_hop_equals_a_new_sum(mut header in header(), ttl in 1u8..) {
            header.ttl = ttl;
            header.fill_checksum();
            let mut fresh = header;
            fresh.ttl -= 1;
            fresh.fill_checksum();
            decrement_ttl(&mut header);
            prop_assert_eq!(header, fresh);
        }
    }
}
