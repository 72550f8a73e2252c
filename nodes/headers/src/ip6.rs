// SPDX-License-Identifier: Apache-2.0
//! The fixed header of IPv6 (RFC 8200 section 3).

use std::net::Ipv6Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{EthernetHeader, IpProtocol, MacAddr};

/// The 40 bytes that every IPv6 packet starts with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv6Header {
    /// Version (4 bits), traffic class (8 bits), flow label (20 bits).
    pub version_class_flow: U32,
    /// All that follows this header, bytes.
    pub payload_length: U16,
    /// What follows this header.
    pub next_header: IpProtocol,
    /// Hops that are left.
    pub hop_limit: u8,
    source: [u8; 16],
    destination: [u8; 16],
}

/// What most frames of IPv6 begin with: a link header without tags, and the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PlainFrame6 {
    /// The link header.
    pub ethernet: EthernetHeader,
    /// What it carries, if it says so.
    pub ip: Ipv6Header,
}

impl Ipv6Header {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();

    /// A header of traffic class and flow label 0.
    pub const fn new(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: IpProtocol,
        payload_length: u16,
    ) -> Self {
        Ipv6Header {
            version_class_flow: U32::new(6 << 28),
            payload_length: U16::new(payload_length),
            next_header,
            hop_limit: 64,
            source: source.octets(),
            destination: destination.octets(),
        }
    }

    /// 6, if this is IPv6.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        (self.version_class_flow.get() >> 28) as u8
    }

    /// Equal in all packets of a flow, if its sender gives it one (RFC 6437); 0 if it does not.
    #[inline(always)]
    pub const fn flow_label(&self) -> u32 {
        self.version_class_flow.get() & 0xf_ffff
    }

    /// Differentiated services and congestion.
    #[inline(always)]
    pub const fn traffic_class(&self) -> u8 {
        (self.version_class_flow.get() >> 20) as u8
    }

    /// Sends the packet back. Checksums stay right: their sum does not depend on the order of the addresses.
    pub const fn turn_round(&mut self) {
        std::mem::swap(&mut self.source, &mut self.destination);
    }

    /// From whom.
    #[inline(always)]
    pub const fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.source)
    }

    /// To whom.
    #[inline(always)]
    pub const fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.destination)
    }
}

/// The multicast address at which whoever has `address` is asked for (RFC 4291 section 2.7.1).
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a as u16, (b as u16) << 8 | c as u16)
}

/// The MAC address of frames to a multicast address (RFC 2464 section 7).
pub const fn multicast_mac(address: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = address.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

/// The address that an interface with this MAC address gives itself (RFC 4291 section 2.5.1 and appendix A).
pub const fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_local_address_follows_from_the_mac_address() {
        let expected: Ipv6Addr = "fe80::36:78ff:fe9a:bcde".parse().unwrap();
        assert_eq!(link_local(MacAddr([2, 0x36, 0x78, 0x9a, 0xbc, 0xde])), expected);
        // The example of RFC 2464 section 4.
        let expected: Ipv6Addr = "fe80::3656:78ff:fe9a:bcde".parse().unwrap();
        assert_eq!(link_local(MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde])), expected);
    }

    #[test]
    fn a_station_is_asked_for_at_an_address_of_its_last_three_bytes() {
        let address: Ipv6Addr = "2001:db8::1:80ff:fe01:203".parse().unwrap();
        let group = solicited_node(address);
        assert_eq!(group, "ff02::1:ff01:203".parse::<Ipv6Addr>().unwrap());
        assert_eq!(multicast_mac(group), MacAddr([0x33, 0x33, 0xff, 1, 2, 3]));
    }
}
