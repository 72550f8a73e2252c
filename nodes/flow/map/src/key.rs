// SPDX-License-Identifier: Apache-2.0
//! What packets of one flow have in common, in whichever direction they go.
//!
//! The two endpoints stand in a fixed order (the lower address first, then the lower port), so that a packet and its
//! answer have the same key; which of the two sent a packet is its [`Direction`]. Two words: comparing is two compares,
//! hashing two multiplications. Addresses of IPv6 do not fit in there: the key has a digest of them, and the flow has them
//! beside it ([`Pair6`]), where only who deals with IPv6 looks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which endpoint sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum Direction {
    /// The lower one.
    #[default]
    FromLow = 0,
    /// The higher one.
    FromHigh = 1,
}

impl Direction {
    /// For indexing a pair.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The other one.
    #[inline(always)]
    pub const fn reverse(self) -> Direction {
        Self::from_bit(self as u64 ^ 1)
    }

    /// From the lowest bit.
    #[inline(always)]
    pub const fn from_bit(bit: u64) -> Direction {
        if bit & 1 == 0 { Direction::FromLow } else { Direction::FromHigh }
    }
}

/// An address and a port; of ICMP the identifier, of protocols without ports 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port or identifier.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// The key of a flow.
///
/// ```text
/// addresses   63..32 low address    31..0 high address                    of IPv6: 63..0 digest of a Pair6
/// rest        63..48 low port       47..32 high port     31..16 table     15..8 protocol     7..0 kind
/// ```
///
/// `table` is the forwarding table of the packet, since addresses mean something only within one: each family has tables of its
/// own. `kind` has the family ([`Key::IP6`]), and tells ICMP queries apart: who asks, and the type of the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Key {
    /// Both addresses.
    pub addresses: u64,
    /// All else.
    pub rest: u64,
}

/// The two addresses of a flow of IPv6, the lower one first, each as its upper and its lower half.
///
/// An address of the link alone (RFC 4007) means something only together with the link: its 54 zeros behind the prefix have
/// the number of the interface, so that stations of two links are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pair6(pub [u64; 4]);

/// The first 10 bits of a link-local address (RFC 4291 section 2.5.6), and what follows them in its upper half.
const LINK_LOCAL: u64 = 0xfe80 << 48;
const LINK_LOCAL_REST: u64 = (1 << 54) - 1;

impl Pair6 {
    /// The pair of a packet from one address to another on interface `link`, and which of the two sent it. `None`: a
    /// link-local address has other bits where there are zeros.
    #[inline(always)]
    pub fn new(from: [u64; 2], to: [u64; 2], link: u32) -> Option<(Pair6, Direction)> {
        let (from, to) = (scoped(from, link)?, scoped(to, link)?);
        // As for IPv4: both orders and a choice.
        let from_high = (from[0] > to[0]) | (from[0] == to[0]) & (from[1] > to[1]);
        let choose = |high: u64, low: u64| std::hint::select_unpredictable(from_high, high, low);
        let low = [choose(to[0], from[0]), choose(to[1], from[1])];
        let high = [choose(from[0], to[0]), choose(from[1], to[1])];
        Some((Pair6([low[0], low[1], high[0], high[1]]), Direction::from_bit(u64::from(from_high))))
    }

    /// Whether these are the same addresses. Word by word: two arrays are compared in memory, where words that were just computed are
    /// read in wider pieces than they were written, for which the processor must wait.
    #[inline(always)]
    pub fn is(&self, other: &Pair6) -> bool {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h) == 0
    }

    /// The address of the endpoint that sends in this direction.
    pub fn address(&self, sends: Direction) -> Ipv6Addr {
        let [upper, lower] = [self.0[2 * sends.index()], self.0[2 * sends.index() + 1]];
        let upper = if upper & !LINK_LOCAL_REST == LINK_LOCAL { LINK_LOCAL } else { upper };
        Ipv6Addr::from_bits(u128::from(upper) << 64 | u128::from(lower))
    }
}

#[inline(always)]
fn scoped(address: [u64; 2], link: u32) -> Option<[u64; 2]> {
    if address[0] & !LINK_LOCAL_REST != LINK_LOCAL {
        return Some(address);
    }
    (address[0] == LINK_LOCAL).then_some([LINK_LOCAL | u64::from(link), address[1]])
}

impl Key {
    /// Of `kind`: a flow of IPv6.
    pub const IP6: u8 = 0x40;

    /// The key of a packet from one endpoint to another, and which of the two sent it.
    #[inline(always)]
    pub fn new(from: (u32, u16), to: (u32, u16), table: u16, protocol: u8, kind: u8) -> (Key, Direction) {
        let there = u64::from(from.0) << 32 | u64::from(to.0);
        let ports = u32::from(from.1) << 16 | u32::from(to.1);
        Self::of_words(there, ports, table, protocol, kind)
    }

    /// The same from both addresses and both ports as they stand in a packet, the sender's in the upper half.
    #[inline(always)]
    pub fn of_words(there: u64, ports: u32, table: u16, protocol: u8, kind: u8) -> (Key, Direction) {
        // Both orders and a choice: which of them it is cannot be predicted.
        let (back, ports_back) = (there.rotate_left(32), ports.rotate_left(16));
        let from_high = (there > back) | (there == back) & (ports > ports_back);
        let ports = std::hint::select_unpredictable(from_high, ports_back, ports);
        let key = Key {
            addresses: std::hint::select_unpredictable(from_high, back, there),
            rest: u64::from(ports) << 32
                | u64::from(table) << 16
                | u64::from(protocol) << 8
                | u64::from(kind),
        };
        (key, Direction::from_bit(u64::from(from_high)))
    }

    /// The key of an IPv6 packet between the addresses of `digest`: ports of the sender and of the receiver. If both addresses are
    /// the same, the ports say which of the two sent it.
    #[inline(always)]
    pub fn new6(
        digest: u64,
        (pair, direction): (&Pair6, Direction),
        (from, to): (u16, u16),
        table: u16,
        protocol: u8,
        kind: u8,
    ) -> (Key, Direction) {
        let [a, b, c, d] = pair.0;
        let same = (a ^ c) | (b ^ d) == 0;
        let from_high = (direction == Direction::FromHigh) | same & (from > to);
        let direction = Direction::from_bit(u64::from(from_high));
        let ports = u32::from(from) << 16 | u32::from(to);
        let ports = std::hint::select_unpredictable(from_high, ports.rotate_left(16), ports);
        let key = Key {
            addresses: digest,
            rest: u64::from(ports) << 32
                | u64::from(table) << 16
                | u64::from(protocol) << 8
                | u64::from(kind | Key::IP6),
        };
        (key, direction)
    }

    /// Whether this is of IPv6.
    #[inline(always)]
    pub const fn is_ip6(&self) -> bool {
        self.rest as u8 & Self::IP6 != 0
    }

    /// For hashing.
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        [self.addresses, self.rest]
    }

    /// The endpoint that sends in this direction; of IPv6, `pair` has its address.
    pub fn endpoint(&self, pair: &Pair6, sends: Direction) -> Endpoint {
        let high = sends == Direction::FromHigh;
        let address = match self.is_ip6() {
            true => IpAddr::V6(pair.address(sends)),
            false => Ipv4Addr::from_bits((self.addresses >> if high { 0 } else { 32 }) as u32).into(),
        };
        Endpoint { address, port: (self.rest >> if high { 32 } else { 48 }) as u16 }
    }

    /// Forwarding table.
    pub const fn table(&self) -> u16 {
        (self.rest >> 16) as u16
    }

    /// IP protocol.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        (self.rest >> 8) as u8
    }

    /// Protocol and kind at once.
    #[inline(always)]
    pub const fn what(&self) -> u16 {
        self.rest as u16
    }

    /// Family, who asks, and what of an ICMP request (`weft-flow`, `parse.rs`).
    pub const fn kind(&self) -> u8 {
        self.rest as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key() {
        let (a, b) = ((0x0a00_0001, 5000), (0x0a00_0002, 80));
        let (key, direction) = Key::new(a, b, 7, 6, 0);
        assert_eq!(direction, Direction::FromLow);
        assert_eq!(Key::new(b, a, 7, 6, 0), (key, Direction::FromHigh));
        assert_eq!(key.endpoint(&Pair6::default(), Direction::FromLow).to_string(), "10.0.0.1:5000");
        assert_eq!(key.endpoint(&Pair6::default(), Direction::FromHigh).to_string(), "10.0.0.2:80");
        assert_eq!((key.table(), key.protocol(), key.kind()), (7, 6, 0));
        // One host with itself: the ports decide.
        let (key, direction) = Key::new((1, 9), (1, 8), 0, 17, 0);
        assert_eq!((Key::new((1, 8), (1, 9), 0, 17, 0).0, direction), (key, Direction::FromHigh));
    }

    fn halves(address: &str) -> [u64; 2] {
        let bits = address.parse::<Ipv6Addr>().unwrap().to_bits();
        [(bits >> 64) as u64, bits as u64]
    }

    #[test]
    fn both_directions_of_ip6_have_one_key() {
        for (a, b, low) in [
            ("2001:db8::1", "2001:db8::2", Direction::FromLow),
            ("2001:db8:0:1::", "2001:db8::ffff", Direction::FromHigh),
            ("fe80::9", "fe80::8", Direction::FromHigh),
        ] {
            let there = Pair6::new(halves(a), halves(b), 5).unwrap();
            let back = Pair6::new(halves(b), halves(a), 5).unwrap();
            assert_eq!((there.0, there.1), (back.0, back.1.reverse()));
            assert_eq!(there.1, low);
            let (key, sent) = Key::new6(9, (&there.0, there.1), (1000, 53), 7, 17, 0);
            let (answer, other) = Key::new6(9, (&back.0, back.1), (53, 1000), 7, 17, 0);
            assert_eq!((key, sent), (answer, other.reverse()));
            assert_eq!(key.endpoint(&there.0, sent).to_string(), format!("[{a}]:1000"));
            assert_eq!(key.endpoint(&there.0, other).to_string(), format!("[{b}]:53"));
            assert!(key.is_ip6() && !Key::new((1, 2), (3, 4), 7, 17, 0).0.is_ip6());
        }
        // One host with itself: the ports decide.
        let (own, direction) = Pair6::new(halves("2001:db8::1"), halves("2001:db8::1"), 0).unwrap();
        let (there, sent) = Key::new6(9, (&own, direction), (8, 9), 0, 17, 0);
        assert_eq!(Key::new6(9, (&own, direction), (9, 8), 0, 17, 0), (there, sent.reverse()));
    }

    #[test]
    fn stations_of_two_links_are_told_apart() {
        let pair = |link| Pair6::new(halves("fe80::1"), halves("fe80::2"), link).map(|(pair, _)| pair);
        assert_ne!(pair(1), pair(2));
        let global = |link| Pair6::new(halves("2001:db8::1"), halves("2001:db8::2"), link);
        assert_eq!(global(1), global(2));
        assert_eq!(Pair6::new(halves("fe80:0:0:1::1"), halves("fe80::2"), 1), None);
    }
}
