// SPDX-License-Identifier: Apache-2.0
//! Routes as a full table has them: most are /24s, in no order, over a few hundred sets of paths.

use std::net::Ipv4Addr;

const RTM_NEWROUTE: u16 = 24;
const NLM_F_CREATE_EXCL: u16 = 0x600;
const RT_TABLE_MAIN: u8 = 254;
/// Of 16 routes: how many have this length, and where they lie. Each range holds more than a million's share.
const LENGTHS: [(u32, u8, Ipv4Addr, u32); 4] = [
    (10, 24, Ipv4Addr::new(128, 0, 0, 0), 22),
    (3, 23, Ipv4Addr::new(64, 0, 0, 0), 20),
    (2, 22, Ipv4Addr::new(32, 0, 0, 0), 19),
    (1, 20, Ipv4Addr::new(16, 0, 0, 0), 16),
];
const NEXT_HOPS: u32 = 100;

/// Where routes lead: hosts .100 to .199 of the networks 10.1.0.0/24 and 10.2.0.0/24 on two ports.
pub struct Paths {
    /// The kernel's numbers of the ports.
    pub interfaces: [u32; 2],
}

fn prefix(number: u32) -> (Ipv4Addr, u8) {
    let mut place = number % 16;
    for (share, length, base, bits) in LENGTHS {
        if place < share {
            let index = number / 16 * share + place;
            // An odd factor is a permutation of the range.
            let scattered = index.wrapping_mul(2_654_435_761) % (1 << bits);
            return (Ipv4Addr::from_bits(base.to_bits() + (scattered << (32 - length))), length);
        }
        place -= share;
    }
    unreachable!("the shares of LENGTHS add up to 16")
}

impl Paths {
    /// Gateways and interfaces of a route: one, or for every other route two.
    fn of(&self, number: u32) -> Vec<(Ipv4Addr, u32)> {
        let host = 100 + (number / 2 % NEXT_HOPS) as u8;
        let both =
            [1u8, 2].map(|site| (Ipv4Addr::new(10, site, 0, host), self.interfaces[usize::from(site) - 1]));
        if number.is_multiple_of(2) { both[1..].to_vec() } else { both.to_vec() }
    }

    /// As vplaned sends it.
    pub fn publication(&self, number: u32) -> (Vec<u8>, Vec<u8>) {
        let (address, length) = prefix(number);
        (format!("route {address}/{length} 0 254").into_bytes(), self.netlink(number))
    }

    /// RTM_NEWROUTE (linux/rtnetlink.h).
    pub fn netlink(&self, number: u32) -> Vec<u8> {
        let (address, length) = prefix(number);
        let mut message = vec![0; 16];
        message[4..6].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
        message[6..8].copy_from_slice(&NLM_F_CREATE_EXCL.to_ne_bytes());
        // struct rtmsg: AF_INET, main table, RTPROT_ZEBRA, universe, unicast.
        message.extend([2, length, 0, 0, RT_TABLE_MAIN, 11, 0, 1, 0, 0, 0, 0]);
        attribute(&mut message, 15, &u32::from(RT_TABLE_MAIN).to_ne_bytes());
        attribute(&mut message, 1, &address.octets());
        let paths = self.of(number);
        match paths[..] {
            [(gateway, interface)] => {
                attribute(&mut message, 5, &gateway.octets());
                attribute(&mut message, 4, &interface.to_ne_bytes());
            }
            _ => {
                let mut hops = Vec::new();
                for (gateway, interface) in paths {
                    // struct rtnexthop and its RTA_GATEWAY.
                    hops.extend(16u16.to_ne_bytes());
                    hops.extend([0, 0]);
                    hops.extend(interface.to_ne_bytes());
                    attribute(&mut hops, 5, &gateway.octets());
                }
                attribute(&mut message, 9, &hops);
            }
        }
        let length = message.len() as u32;
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message
    }

    /// RibUpdate (protocol page, appendix A).
    pub fn protobuf(&self, number: u32) -> Vec<u8> {
        let (address, length) = prefix(number);
        let mut route = Vec::new();
        // IPAddressOrLabel.ipv4_addr is a fixed32 with the memory image of the address.
        let mut to = vec![0x0d];
        to.extend(address.octets());
        bytes(&mut route, 1, &to);
        route.extend([0x10, length]);
        for (gateway, interface) in self.of(number) {
            let mut hop = vec![0x08];
            varint(&mut hop, u32::from_ne_bytes(gateway.octets()));
            let mut path = Vec::new();
            bytes(&mut path, 2, &hop);
            path.push(0x18);
            varint(&mut path, interface);
            bytes(&mut route, 4, &path);
        }
        let mut update = Vec::new();
        bytes(&mut update, 2, &route);
        update
    }
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = 4 + value.len();
    message.extend((length as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

fn bytes(message: &mut Vec<u8>, field: u8, value: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, value.len() as u32);
    message.extend(value);
}

fn varint(message: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_million_prefixes_are_different_and_have_no_host_bits() {
        let all: HashSet<_> = (0..1_000_000).map(prefix).collect();
        assert_eq!(all.len(), 1_000_000);
        assert!(all.iter().all(|(address, length)| address.to_bits() << length == 0));
    }
}
