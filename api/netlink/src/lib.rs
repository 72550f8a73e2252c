// SPDX-License-Identifier: Apache-2.0
//! The bytes of netlink: headers, attributes and requests, every length checked before it is used.
//!
//! For whoever reads messages of the kernel: they may come from a socket of its own or by way of vplaned. Headers are views
//! without alignment, because a message is wherever ZeroMQ put its frame. All numbers are in the byte order of the host
//! (include/uapi/linux/netlink.h, rtnetlink.h, neighbour.h, netconf.h). Attributes that nobody asks for are skipped, so a
//! newer kernel's attribute never makes a message unreadable (docs/decisions/0007-own-netlink-parser.md). No state, any
//! thread.
#![forbid(unsafe_code)]

mod error;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use zerocopy::native_endian::{I32, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use error::NetlinkError;

macro_rules! header {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
        #[repr(C)]
        #[allow(missing_docs)]
        pub struct $name { $(pub $field: $type),* }
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
    /// `struct netconfmsg`, padded to the alignment of the attributes after it.
    NetconfHeader { family: u8, pad: [u8; 3] }
}

/// The kernel's number of an interface; never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IfIndex(NonZeroU32);

impl IfIndex {
    /// `None` for 0, which the kernel uses for "no interface".
    pub const fn new(index: u32) -> Option<IfIndex> {
        match NonZeroU32::new(index) {
            Some(index) => Some(IfIndex(index)),
            None => None,
        }
    }

    /// As a number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// From a header field, where an interface is required.
    pub fn required(index: i32, what: &'static str, offset: usize) -> Result<IfIndex, NetlinkError> {
        let found = u32::try_from(index).ok().and_then(IfIndex::new);
        found.ok_or(NetlinkError::Value {
            what,
            offset,
            found: u64::from(index.cast_unsigned()),
            expected: "the index of an interface",
        })
    }
}

impl fmt::Display for IfIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A 48-bit MAC address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for MacAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The header of a message and what follows it, as far as the header says that it goes.
pub fn message(bytes: &[u8]) -> Result<(&MessageHeader, Part<'_>), NetlinkError> {
    let (header, _) = Part { bytes, offset: 0 }.header::<MessageHeader>("nlmsghdr")?;
    let length = header.length.get();
    let body = bytes
        .get(size_of::<MessageHeader>()..length as usize)
        .ok_or(NetlinkError::MessageLength { found: length, expected: bytes.len() })?;
    Ok((header, Part { bytes: body, offset: size_of::<MessageHeader>() }))
}

/// A message to the kernel of this kind (`RTM_...`), with a header and attributes: their numbers and values.
pub fn request<'a>(
    kind: u16,
    header: &(impl IntoBytes + Immutable),
    attributes: impl IntoIterator<Item = (u16, &'a [u8])>,
) -> Vec<u8> {
    let mut body = header.as_bytes().to_vec();
    for (kind, value) in attributes {
        body.resize(align(body.len()), 0);
        body.extend(((ATTRIBUTE_HEADER + value.len()) as u16).to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
    }
    body.resize(align(body.len()), 0);
    let header = MessageHeader {
        length: U32::new((size_of::<MessageHeader>() + body.len()) as u32),
        kind: U16::new(kind),
        flags: U16::new(NLM_F_REQUEST),
        sequence: U32::ZERO,
        port: U32::ZERO,
    };
    [header.as_bytes(), &body].concat()
}

const NLM_F_REQUEST: u16 = 1;

/// A part of a message that knows where in the message it is.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What it holds.
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
pub struct Attributes<'a> {
    rest: Part<'a>,
}

/// `struct nlattr`.
const ATTRIBUTE_HEADER: usize = 4;
/// NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const ATTRIBUTE_KIND: u16 = 0x3fff;

/// Rounds up to the alignment of netlink (NLMSG_ALIGN and NLA_ALIGN).
pub const fn align(length: usize) -> usize {
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
pub struct Attribute<'a> {
    /// Its number, `IFLA_...` and the like, without flags.
    pub kind: u16,
    /// Its value.
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

    /// A byte; `what` names it in errors.
    pub fn u8(self, what: &'static str) -> Result<u8, NetlinkError> {
        self.exactly::<1>(what, "1").map(|[byte]| byte)
    }

    /// Two bytes in network order; `what` names it in errors.
    pub fn u16_be(self, what: &'static str) -> Result<u16, NetlinkError> {
        self.exactly(what, "2").map(u16::from_be_bytes)
    }

    /// Two bytes; `what` names it in errors.
    pub fn u16(self, what: &'static str) -> Result<u16, NetlinkError> {
        self.exactly(what, "2").map(u16::from_ne_bytes)
    }

    /// Four bytes; `what` names it in errors.
    pub fn u32(self, what: &'static str) -> Result<u32, NetlinkError> {
        self.exactly(what, "4").map(u32::from_ne_bytes)
    }

    /// Four bytes, signed; `what` names it in errors.
    pub fn i32(self, what: &'static str) -> Result<i32, NetlinkError> {
        self.exactly(what, "4").map(i32::from_ne_bytes)
    }

    /// An interface; 0 stands for none.
    pub fn index(self, what: &'static str) -> Result<Option<IfIndex>, NetlinkError> {
        self.u32(what).map(IfIndex::new)
    }

    /// An IPv4 address; `what` names it in errors.
    pub fn ip4(self, what: &'static str) -> Result<Ipv4Addr, NetlinkError> {
        self.exactly::<4>(what, "4").map(Ipv4Addr::from)
    }

    /// An IPv6 address; `what` names it in errors.
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
pub enum Family {
    /// AF_INET.
    Ip4,
    /// AF_INET6.
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

/// None in particular.
pub const AF_UNSPEC: u8 = 0;
/// IPv4.
pub const AF_INET: u8 = 2;
/// Bridges.
pub const AF_BRIDGE: u8 = 7;
/// IPv6.
pub const AF_INET6: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_request_reads_back(values in prop::collection::vec((0..0x4000u16, prop::collection::vec(any::<u8>(), 0..40)), 0..8)) {
            let link = LinkHeader {
                family: AF_UNSPEC,
                pad: 0,
                hardware: U16::ZERO,
                index: I32::new(7),
                flags: U32::ZERO,
                change: U32::ZERO,
            };
            let bytes = request(18, &link, values.iter().map(|(kind, value)| (*kind, value.as_slice())));
            let (header, body) = message(&bytes).unwrap();
            prop_assert_eq!((header.kind.get(), header.length.get() as usize), (18, bytes.len()));
            let (read, rest) = body.header::<LinkHeader>("ifinfomsg").unwrap();
            prop_assert_eq!(read.index.get(), 7);
            let found: Vec<(u16, Vec<u8>)> =
                rest.attributes().map(|read| read.map(|it| (it.kind, it.value.bytes.to_vec()))).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(found, values);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((_, body)) = message(&bytes) {
                let _ = body.attributes().count();
            }
        }
    }
}
