// SPDX-License-Identifier: Apache-2.0
//! ICMPv6 (RFC 4443), and what neighbour discovery says with it about one station (RFC 4861).

use std::net::Ipv6Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::MacAddr;

/// An ICMPv6 message type (IANA "ICMPv6 Parameters").
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct Icmp6Type(pub u8);

impl Icmp6Type {
    /// Destination unreachable.
    pub const UNREACHABLE: Icmp6Type = Icmp6Type(1);
    /// Packet too big.
    pub const TOO_BIG: Icmp6Type = Icmp6Type(2);
    /// Time exceeded.
    pub const TIME_EXCEEDED: Icmp6Type = Icmp6Type(3);
    /// Parameter problem.
    pub const PARAMETER_PROBLEM: Icmp6Type = Icmp6Type(4);
    /// Echo request.
    pub const ECHO_REQUEST: Icmp6Type = Icmp6Type(128);
    /// Who listens to which groups is asked (RFC 3810 section 5.1).
    pub const MEMBERSHIP_QUERY: Icmp6Type = Icmp6Type(130);
    /// Version 1 of MLD says so of one group (RFC 2710 section 3).
    pub const MEMBERSHIP_REPORT_1: Icmp6Type = Icmp6Type(131);
    /// And that nobody here listens to it any more.
    pub const MEMBERSHIP_DONE_1: Icmp6Type = Icmp6Type(132);
    /// And said (RFC 3810 section 5.2).
    pub const MEMBERSHIP_REPORT: Icmp6Type = Icmp6Type(143);
    /// Echo reply.
    pub const ECHO_REPLY: Icmp6Type = Icmp6Type(129);
    /// Router solicitation.
    pub const ROUTER_SOLICITATION: Icmp6Type = Icmp6Type(133);
    /// Router advertisement.
    pub const ROUTER_ADVERTISEMENT: Icmp6Type = Icmp6Type(134);
    /// Neighbour solicitation.
    pub const NEIGHBOR_SOLICITATION: Icmp6Type = Icmp6Type(135);
    /// Neighbour advertisement.
    pub const NEIGHBOR_ADVERTISEMENT: Icmp6Type = Icmp6Type(136);

    /// Redirect: said to a host only.
    pub const REDIRECT: Icmp6Type = Icmp6Type(137);

    /// Whether it is an error about another packet (RFC 4443 section 2.1); no error is ever sent about one.
    pub const fn is_error(self) -> bool {
        self.0 < 128
    }
}

/// The first 8 bytes of an ICMPv6 message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Icmp6Header {
    /// What it says.
    pub icmp_type: Icmp6Type,
    /// In more detail.
    pub code: u8,
    /// Over the pseudo-header and the whole message.
    pub checksum: U16,
    /// By type: MTU of a packet that is too big, pointer of a parameter problem, identifier and sequence number of an echo.
    pub rest: U32,
}

impl Icmp6Header {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();

    /// A message whose checksum is 0.
    pub const fn new(icmp_type: Icmp6Type, code: u8, rest: u32) -> Self {
        Icmp6Header { icmp_type, code, checksum: U16::ZERO, rest: U32::new(rest) }
    }
}

/// A neighbour solicitation or advertisement (RFC 4861 sections 4.3 and 4.4), without its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct NeighborMessage {
    /// Which of the two.
    pub icmp_type: Icmp6Type,
    /// 0.
    pub code: u8,
    /// Over the pseudo-header and the whole message.
    pub checksum: U16,
    /// Of an advertisement: [`NeighborMessage::ROUTER`] and the others.
    pub flags: U32,
    target: [u8; 16],
}

impl NeighborMessage {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();
    /// The sender is a router.
    pub const ROUTER: u32 = 1 << 31;
    /// It answers a solicitation.
    pub const SOLICITED: u32 = 1 << 30;
    /// It overrides what is known.
    pub const OVERRIDE: u32 = 1 << 29;

    /// A message about `target`, whose checksum is 0.
    pub const fn new(icmp_type: Icmp6Type, flags: u32, target: Ipv6Addr) -> Self {
        NeighborMessage {
            icmp_type,
            code: 0,
            checksum: U16::ZERO,
            flags: U32::new(flags),
            target: target.octets(),
        }
    }

    /// Whom it is about.
    pub const fn target(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.target)
    }
}

/// An option with a MAC address (RFC 4861 section 4.6.1, RFC 2464 section 6).
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LinkAddressOption {
    /// [`LinkAddressOption::SOURCE`] or [`LinkAddressOption::TARGET`].
    pub kind: u8,
    /// Units of 8 bytes: 1.
    pub units: u8,
    /// The address.
    pub mac: MacAddr,
}

impl LinkAddressOption {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();
    /// Of the sender of a solicitation.
    pub const SOURCE: u8 = 1;
    /// Of the target of an advertisement.
    pub const TARGET: u8 = 2;

    /// An option of this kind.
    pub const fn new(kind: u8, mac: MacAddr) -> Self {
        LinkAddressOption { kind, units: 1, mac }
    }
}
