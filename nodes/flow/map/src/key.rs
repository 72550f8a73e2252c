// SPDX-License-Identifier: Apache-2.0
//! What packets of one flow have in common, in whichever direction they go.
//!
//! The two endpoints stand in a fixed order (the lower address first, then the lower port), so that a packet and its
//! answer have the same key; which of the two sent a packet is its [`Direction`]. Two words: comparing is two compares,
//! hashing two multiplications.

use std::fmt;
use std::net::Ipv4Addr;

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
    pub address: Ipv4Addr,
    /// Port or identifier.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.address, self.port)
    }
}

/// The key of a flow.
///
/// ```text
/// addresses   63..32 low address    31..0 high address
/// rest        63..48 low port       47..32 high port     31..16 table     15..8 protocol     7..0 kind
/// ```
///
/// `table` is the forwarding table of the packet, since addresses mean something only within one. `kind` tells ICMP
/// queries apart: the type of the request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Key {
    /// Both addresses.
    pub addresses: u64,
    /// All else.
    pub rest: u64,
}

impl Key {
    /// The key of a packet from one endpoint to another, and which of the two sent it.
    #[inline(always)]
    pub fn new(from: (u32, u16), to: (u32, u16), table: u16, protocol: u8, kind: u8) -> (Key, Direction) {
        // Both orders and a choice: which of them it is cannot be predicted.
        let there = u64::from(from.0) << 32 | u64::from(to.0);
        let ports = u32::from(from.1) << 16 | u32::from(to.1);
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

    /// For hashing.
    #[inline(always)]
    pub const fn words(self) -> [u64; 2] {
        [self.addresses, self.rest]
    }

    /// The endpoint that sends in this direction.
    pub fn endpoint(&self, sends: Direction) -> Endpoint {
        match sends {
            Direction::FromLow => Endpoint {
                address: Ipv4Addr::from_bits((self.addresses >> 32) as u32),
                port: (self.rest >> 48) as u16,
            },
            Direction::FromHigh => Endpoint {
                address: Ipv4Addr::from_bits(self.addresses as u32),
                port: (self.rest >> 32) as u16,
            },
        }
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

    /// Type of the ICMP request.
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
        assert_eq!(key.endpoint(Direction::FromLow).to_string(), "10.0.0.1:5000");
        assert_eq!(key.endpoint(Direction::FromHigh).to_string(), "10.0.0.2:80");
        assert_eq!((key.table(), key.protocol(), key.kind()), (7, 6, 0));
        // One host with itself: the ports decide.
        let (key, direction) = Key::new((1, 9), (1, 8), 0, 17, 0);
        assert_eq!((Key::new((1, 8), (1, 9), 0, 17, 0).0, direction), (key, Direction::FromHigh));
    }
}
