// SPDX-License-Identifier: Apache-2.0
//! IPv4 (RFC 791) and ICMP (RFC 792).

use std::net::Ipv4Addr;

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::checksum;
use super::{EthernetHeader, IpProtocol};

/// An IPv4 header without its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Ipv4Header {
    /// Version in the upper, header length in 32-bit words in the lower four bits: see [`Ipv4Header::is_common`].
    pub version_ihl: u8,
    /// DSCP in the upper six, ECN in the lower two bits (RFC 2474, RFC 3168).
    pub tos: u8,
    /// Header and payload, bytes.
    pub total_length: U16,
    /// Shared by the fragments of one datagram.
    pub identification: U16,
    /// Flags in the upper three bits, offset in units of 8 bytes in the others.
    pub flags_offset: U16,
    /// Hops that are left.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: IpProtocol,
    /// Of the header and its options.
    pub checksum: U16,
    /// From whom, in the order that table lookups want.
    pub source: U32,
    /// To whom.
    pub destination: U32,
}

impl Ipv4Header {
    /// Bytes without options.
    pub const LENGTH: usize = size_of::<Self>();
    /// `version_ihl` of a header without options.
    pub const PLAIN: u8 = 0x45;
    /// `flags_offset`: don't fragment.
    pub const DONT_FRAGMENT: u16 = 0x4000;
    /// `flags_offset`: more fragments follow.
    pub const MORE_FRAGMENTS: u16 = 0x2000;
    /// `flags_offset`: the offset.
    pub const OFFSET_MASK: u16 = 0x1fff;

    /// Whether this has no options and is no fragment, or the first one: one compare for all of it.
    #[inline(always)]
    pub fn is_common(&self) -> bool {
        const ASKED: u64 = u64::from_le_bytes([0xff, 0, 0, 0, 0, 0, 0x1f, 0xff]);
        const { assert!(Self::OFFSET_MASK == 0x1fff) };
        let bytes: &[u8; Self::LENGTH] = zerocopy::transmute_ref!(self);
        let [a, b, c, d, e, f, g, h, ..] = *bytes;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) & ASKED == Self::PLAIN as u64
    }

    /// 4, if this is IPv4.
    #[inline(always)]
    pub const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Bytes of the header with its options, as the header claims.
    #[inline(always)]
    pub const fn header_length(&self) -> usize {
        (self.version_ihl & 0xf) as usize * 4
    }

    /// Whether a router must not fragment this.
    #[inline(always)]
    pub const fn dont_fragment(&self) -> bool {
        self.flags_offset.get() & Self::DONT_FRAGMENT != 0
    }

    /// Whether fragments of higher offset follow.
    #[inline(always)]
    pub const fn more_fragments(&self) -> bool {
        self.flags_offset.get() & Self::MORE_FRAGMENTS != 0
    }

    /// Where in the datagram this payload belongs, bytes.
    #[inline(always)]
    pub const fn fragment_offset(&self) -> usize {
        (self.flags_offset.get() & Self::OFFSET_MASK) as usize * 8
    }

    /// Whether this is a part of a datagram: the first one carries the ports, the others do not.
    #[inline(always)]
    pub const fn is_fragment(&self) -> bool {
        self.flags_offset.get() & (Self::MORE_FRAGMENTS | Self::OFFSET_MASK) != 0
    }

    /// From whom.
    #[inline(always)]
    pub const fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.source.get())
    }

    /// To whom.
    #[inline(always)]
    pub const fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.destination.get())
    }

    /// Sets the checksum of a header without options.
    pub fn fill_checksum(&mut self) {
        self.checksum.set(0);
        self.checksum.set(checksum::of(self.as_bytes()));
    }
}

/// What most frames of IPv4 begin with: a link header without tags, and an IPv4 header without options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PlainFrame {
    /// The link header.
    pub ethernet: EthernetHeader,
    /// What it carries, if it says so.
    pub ip: Ipv4Header,
}

/// An ICMP message type (IANA "ICMP Parameters").
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(transparent)]
pub struct Icmp4Type(pub u8);

impl Icmp4Type {
    /// Answer to an echo request.
    pub const ECHO_REPLY: Icmp4Type = Icmp4Type(0);
    /// The code says why.
    pub const UNREACHABLE: Icmp4Type = Icmp4Type(3);
    /// Obsolete (RFC 6633).
    pub const SOURCE_QUENCH: Icmp4Type = Icmp4Type(4);
    /// A better next hop on the same link.
    pub const REDIRECT: Icmp4Type = Icmp4Type(5);
    /// Ping.
    pub const ECHO_REQUEST: Icmp4Type = Icmp4Type(8);
    /// TTL (code 0) or reassembly time (code 1) is over.
    pub const TIME_EXCEEDED: Icmp4Type = Icmp4Type(11);
    /// A header field is wrong.
    pub const PARAMETER_PROBLEM: Icmp4Type = Icmp4Type(12);

    /// Whether the message reports an error, about which no error may be sent (RFC 1812 section 4.3.2.7).
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Icmp4Type::UNREACHABLE
                | Icmp4Type::SOURCE_QUENCH
                | Icmp4Type::REDIRECT
                | Icmp4Type::TIME_EXCEEDED
                | Icmp4Type::PARAMETER_PROBLEM
        )
    }
}

/// The first 8 bytes of an ICMP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Icmp4Header {
    /// What it says.
    pub icmp_type: Icmp4Type,
    /// More precisely.
    pub code: u8,
    /// Of the whole message.
    pub checksum: U16,
    /// Echo: identifier and sequence number. Fragmentation needed: 0 and the MTU (RFC 1191 section 4).
    pub rest: [U16; 2],
}

impl Icmp4Header {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();

    /// A header whose checksum is not filled in.
    pub const fn new(icmp_type: Icmp4Type, code: u8, rest: [u16; 2]) -> Self {
        Icmp4Header { icmp_type, code, checksum: U16::ZERO, rest: [U16::new(rest[0]), U16::new(rest[1])] }
    }
}
