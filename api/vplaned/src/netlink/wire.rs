// SPDX-License-Identifier: Apache-2.0
//! The bytes of netlink: headers and attributes, every length checked before it is used.
//!
//! Headers are views without alignment, because a message is wherever ZeroMQ put its frame. All numbers are in the byte order of
//! the host (include/uapi/linux/netlink.h, rtnetlink.h, neighbour.h, netconf.h).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::native_endian::{I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{IfIndex, MacAddr, NetlinkError};

macro_rules! header {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
        #[repr(C)]
        pub(super) struct $name { $(pub $field: $type),* }
    };
}

header! {
    /// `struct nlmsghdr`.
    MessageHeader { length: U32, kind: U16, flags: U16, sequence: U32, port: U32 }
}
header! {
    /// `struct ifinfomsg`.
    LinkHeader { family: u8, pad: u8, hardware: U16, index: I32, flags: U32, change: U32 }
}
header! {
    /// `struct ifaddrmsg`.
    AddressHeader { family: u8, prefix_length: u8, flags: u8, scope: u8, index: U32 }
}
header! {
    /// `struct rtmsg`.
    RouteHeader {
        family: u8, destination_length: u8, source_length: u8, tos: u8, table: u8, protocol: u8, scope: u8, kind: u8, flags: U32,
    }
}
header! {
    /// `struct rtnexthop`.
    NextHopHeader { length: U16, flags: u8, hops: u8, index: I32 }
}
header! {
    /// `struct ndmsg`.
    NeighborHeader { family: u8, pad: [u8; 3], index: I32, state: U16, flags: u8, kind: u8 }
}
header! {
    /// `struct netconfmsg`, padded to the alignment of the attributes behind it.
    NetconfHeader { family: u8, pad: [u8; 3] }
}

/// A part of a message that knows where in the message it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub bytes: &'a [u8],
    /// Of its first byte in the message.
    pub offset: usize,
}

impl<'a> Part<'a> {
    /// Takes a header from the front.
    pub fn header<T>(self, what: &'static str) -> Result<(&'a T, Part<'a>), NetlinkError>
    where
        T: FromBytes + KnownLayout + Immutable + Unaligned,
    {
        match T::ref_from_prefix(self.bytes) {
            Ok((header, rest)) => Ok((header, Part { bytes: rest, offset: self.offset + size_of::<T>() })),
            Err(_) => Err(NetlinkError::Header {
                what,
                offset: self.offset,
                found: self.bytes.len(),
                expected: size_of::<T>(),
            }),
        }
    }

    /// The attributes that fill this part.
    pub fn attributes(self) -> Attributes<'a> {
        Attributes { rest: self }
    }
}

/// The attributes of a message, or those nested in one.
pub(super) struct Attributes<'a> {
    rest: Part<'a>,
}

/// `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const ATTRIBUTE_KIND: u16 = 0x3fff;

/// Rounds up to the alignment of netlink (NLMSG_ALIGN and NLA_ALIGN).
pub(super) const fn align(length: usize) -> usize {
    (length + 3) & !3
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, NetlinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Part { bytes, offset } = self.rest;
        // Padding may be absent or short: vplaned's synthetic RTM_DELLINK has 62 bytes.
        let [length_low, length_high, kind_low, kind_high, ..] = *bytes else {
            return None;
        };
        let length = usize::from(u16::from_ne_bytes([length_low, length_high]));
        let kind = u16::from_ne_bytes([kind_low, kind_high]) & ATTRIBUTE_KIND;
        let Some(value) = bytes.get(ATTRIBUTE_HEADER..length) else {
            self.rest.bytes = &[];
            return Some(Err(NetlinkError::Attribute { kind, offset, found: length, left: bytes.len() }));
        };
        let next = align(length).min(bytes.len());
        self.rest = Part { bytes: &bytes[next..], offset: offset + next };
        Some(Ok(Attribute { kind, value: Part { bytes: value, offset: offset + ATTRIBUTE_HEADER } }))
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub kind: u16,
    pub value: Part<'a>,
}

impl<'a> Attribute<'a> {
    fn exactly<const N: usize>(
        self,
        what: &'static str,
        expected: &'static str,
    ) -> Result<[u8; N], NetlinkError> {
        self.value.bytes.try_into().map_err(|_| self.length(what, expected))
    }

    fn length(self, what: &'static str, expected: &'static str) -> NetlinkError {
        NetlinkError::Length { what, offset: self.value.offset, found: self.value.bytes.len(), expected }
    }

    /// A value that is none of those expected.
    pub fn value(self, what: &'static str, found: impl Into<u64>, expected: &'static str) -> NetlinkError {
        NetlinkError::Value { what, offset: self.value.offset, found: found.into(), expected }
    }

    pub fn u8(self, what: &'static str) -> Result<u8, NetlinkError> {
        self.exactly::<1>(what, "1").map(|[byte]| byte)
    }

    pub fn u16_be(self, what: &'static str) -> Result<u16, NetlinkError> {
        self.exactly(what, "2").map(u16::from_be_bytes)
    }

    pub fn u16(self, what: &'static str) -> Result<u16, NetlinkError> {
        self.exactly(what, "2").map(u16::from_ne_bytes)
    }

    pub fn u32(self, what: &'static str) -> Result<u32, NetlinkError> {
        self.exactly(what, "4").map(u32::from_ne_bytes)
    }

    pub fn i32(self, what: &'static str) -> Result<i32, NetlinkError> {
        self.exactly(what, "4").map(i32::from_ne_bytes)
    }

    /// An interface; 0 stands for none.
    pub fn index(self, what: &'static str) -> Result<Option<IfIndex>, NetlinkError> {
        self.u32(what).map(IfIndex::new)
    }

    pub fn ip4(self, what: &'static str) -> Result<Ipv4Addr, NetlinkError> {
        self.exactly::<4>(what, "4").map(Ipv4Addr::from)
    }

    pub fn ip6(self, what: &'static str) -> Result<Ipv6Addr, NetlinkError> {
        self.exactly::<16>(what, "16").map(Ipv6Addr::from)
    }

    /// An address of this family.
    pub fn ip(self, what: &'static str, family: Family) -> Result<IpAddr, NetlinkError> {
        match family {
            Family::Ip4 => self.ip4(what).map(IpAddr::V4),
            Family::Ip6 => self.ip6(what).map(IpAddr::V6),
        }
    }

    /// A MAC address; other link layers have longer or shorter ones, which are none.
    pub fn mac(self) -> Option<MacAddr> {
        self.value.bytes.try_into().ok().map(MacAddr)
    }

    /// Text, up to its terminating zero if it has one.
    pub fn text(self, what: &'static str) -> Result<&'a str, NetlinkError> {
        let bytes = self.value.bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        match std::str::from_utf8(bytes) {
            Ok("") => Err(self.length(what, "at least 1 before the terminating zero")),
            Ok(text) => Ok(text),
            Err(error) => Err(NetlinkError::Value {
                what,
                offset: self.value.offset + error.valid_up_to(),
                found: bytes[error.valid_up_to()].into(),
                expected: "UTF-8",
            }),
        }
    }
}

/// Whose addresses a message speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    Ip4,
    Ip6,
}

impl Family {
    /// AF_INET or AF_INET6.
    pub fn new(family: u8) -> Option<Family> {
        match family {
            AF_INET => Some(Family::Ip4),
            AF_INET6 => Some(Family::Ip6),
            _ => None,
        }
    }

    /// 0.0.0.0 or `::`.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Family::Ip4 => Ipv4Addr::UNSPECIFIED.into(),
            Family::Ip6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

pub(super) const AF_UNSPEC: u8 = 0;
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_BRIDGE: u8 = 7;
pub(super) const AF_INET6: u8 = 10;
