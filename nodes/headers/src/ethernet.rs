// SPDX-License-Identifier: Apache-2.0
//! Ethernet II (IEEE 802.3 clause 3) and 802.1Q / 802.1ad tags: what every frame starts with.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A 48-bit MAC address.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);
    /// "Unknown": the target hardware address of an ARP request.
    pub const ZERO: MacAddr = MacAddr([0; 6]);

    /// Whether the group bit is set: broadcast is a multicast too (IEEE 802 section 8.2.2).
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// The address as one number, to be compared with [`EthernetHeader::stations_key`].
    #[inline(always)]
    pub const fn key(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0]) << 15
    }

    /// Whether this may be the address of a station: an individual address, and not all zeros.
    pub fn is_station(self) -> bool {
        !self.is_multicast() && self != MacAddr::ZERO
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no MAC address.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("\"{found}\" is not a MAC address: expected aa:bb:cc:dd:ee:ff or aabb.ccdd.eeff")]
pub struct ParseMacError {
    found: String,
}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Takes six groups of one or two digits with colons, or three groups of four with dots, between them.
    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let (separator, width) = if text.contains('.') { ('.', 4) } else { (':', 2) };
        let parse = || {
            let mut value = 0u64;
            let mut groups = 0;
            for group in text.split(separator) {
                // from_str_radix alone would take a sign.
                let digits = if separator == ':' { 1..=width } else { width..=width };
                if !digits.contains(&group.len()) || !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return None;
                }
                groups += 1;
                if groups * width > 12 {
                    return None;
                }
                value = value << (4 * width) | u64::from_str_radix(group, 16).ok()?;
            }
            let [_, _, address @ ..] = value.to_be_bytes();
            (groups * width == 12).then_some(MacAddr(address))
        };
        parse().ok_or_else(|| ParseMacError { found: text.to_owned() })
    }
}

/// What an Ethernet frame or a VLAN tag carries (IANA "IEEE 802 Numbers"), in host order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: EtherType = EtherType(0x0800);
    /// ARP.
    pub const ARP: EtherType = EtherType(0x0806);
    /// IPv6.
    pub const IPV6: EtherType = EtherType(0x86dd);
    /// A customer VLAN tag (802.1Q).
    pub const VLAN: EtherType = EtherType(0x8100);
    /// RFC 3032.
    pub const MPLS: EtherType = EtherType(0x8847);
    /// A service VLAN tag (802.1ad, "QinQ").
    pub const QINQ: EtherType = EtherType(0x88a8);

    /// Whether a [`VlanTag`] follows.
    #[inline]
    pub const fn is_vlan(self) -> bool {
        matches!(self, EtherType::VLAN | EtherType::QINQ)
    }

    /// Whether this is an 802.3 length instead (IEEE 802.3 clause 3.2.6: types begin at 0x600).
    #[inline]
    pub const fn is_length(self) -> bool {
        self.0 < 0x600
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            EtherType::IPV4 => "IPv4",
            EtherType::ARP => "ARP",
            EtherType::IPV6 => "IPv6",
            EtherType::VLAN => "802.1Q",
            EtherType::QINQ => "802.1ad",
            EtherType(other) => return write!(f, "{other:#06x}"),
        };
        f.write_str(name)
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The first 14 bytes of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct EthernetHeader {
    /// To whom.
    pub destination: MacAddr,
    /// From whom.
    pub source: MacAddr,
    ether_type: U16,
}

impl EthernetHeader {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();

    /// A header of these fields.
    pub const fn new(destination: MacAddr, source: MacAddr, ether_type: EtherType) -> Self {
        EthernetHeader { destination, source, ether_type: U16::new(ether_type.0) }
    }

    /// [`MacAddr::key`] of the destination, by one load. With the group bit of the source in its highest bit, so it is no
    /// address's key if the source is a group.
    #[inline(always)]
    pub fn stations_key(&self) -> u64 {
        let bytes: &[u8; Self::LENGTH] = zerocopy::transmute_ref!(self);
        let [a, b, c, d, e, f, g, h, ..] = *bytes;
        u64::from_le_bytes([a, b, c, d, e, f, g, h]) << 15
    }

    /// Writes another header over it.
    #[inline(always)]
    pub fn replace(&mut self, header: &[u8; Self::LENGTH]) {
        let bytes: &mut [u8; Self::LENGTH] = zerocopy::transmute_mut!(self);
        // Two numbers that overlap, in place of three.
        bytes[..8].copy_from_slice(&header[..8]);
        bytes[Self::LENGTH - 8..].copy_from_slice(&header[Self::LENGTH - 8..]);
    }

    /// What follows this header.
    #[inline(always)]
    pub const fn ether_type(&self) -> EtherType {
        EtherType(self.ether_type.get())
    }

    /// Sets what follows this header.
    pub fn set_ether_type(&mut self, ether_type: EtherType) {
        self.ether_type.set(ether_type.0);
    }
}

/// A VLAN identifier, 0..=4095. 0 is a priority tag and 4095 reserved (802.1Q table 9-2): wire values, which
/// configuration has to refuse.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VlanId(u16);

impl VlanId {
    /// `None` above 4095.
    pub const fn new(id: u16) -> Option<VlanId> {
        if id < 4096 { Some(VlanId(id)) } else { None }
    }

    /// The number.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The 4 bytes after the type [`EtherType::VLAN`] or [`EtherType::QINQ`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VlanTag {
    /// Priority (3 bits), drop eligible (1 bit), VLAN identifier (12 bits).
    control: U16,
    ether_type: U16,
}

impl VlanTag {
    /// Bytes.
    pub const LENGTH: usize = size_of::<Self>();

    /// A tag of priority 0.
    pub const fn new(id: VlanId, ether_type: EtherType) -> Self {
        VlanTag { control: U16::new(id.0), ether_type: U16::new(ether_type.0) }
    }

    /// Which VLAN.
    #[inline(always)]
    pub const fn id(&self) -> VlanId {
        VlanId(self.control.get() & 0xfff)
    }

    /// Priority code point, 0..=7.
    #[inline(always)]
    pub const fn priority(&self) -> u8 {
        (self.control.get() >> 13) as u8
    }

    /// What follows this tag.
    #[inline(always)]
    pub const fn ether_type(&self) -> EtherType {
        EtherType(self.ether_type.get())
    }
}

/// What a frame carries behind its link header and whatever tags, and where that begins; `None`: it is cut off before.
#[inline(always)]
pub fn carried(frame: &[u8]) -> Option<(EtherType, usize)> {
    let (ethernet, mut rest) = EthernetHeader::ref_from_prefix(frame).ok()?;
    let (mut ether_type, mut length) = (ethernet.ether_type(), EthernetHeader::LENGTH);
    while ether_type.is_vlan() {
        let (tag, behind) = VlanTag::ref_from_prefix(rest).ok()?;
        (ether_type, rest, length) = (tag.ether_type(), behind, length + VlanTag::LENGTH);
    }
    Some((ether_type, length))
}

/// Where the network header of a frame begins, if it carries this type.
#[inline(always)]
pub fn network_offset(frame: &[u8], wanted: EtherType) -> Option<usize> {
    carried(frame).and_then(|(ether_type, length)| (ether_type == wanted).then_some(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_notations_parse_and_anything_else_is_refused() {
        let mac = MacAddr([0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        for text in ["aa:bb:cc:dd:ee:ff", "AA:bb:CC:dd:EE:ff", "aabb.ccdd.eeff"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        assert_eq!("a:b:0c:D:e:f".parse(), Ok(MacAddr([0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f])));
        for text in [
            "",
            ":",
            "aa:bb:cc:dd:ee",
            "aa:bb:cc:dd:ee:ff:00",
            "aabb.ccdd",
            "aabb.ccdd.eeff.0011",
            "a:b:c:d:e:",
            "a:b:c:d:e:0ff",
            "aa:bb:cc:dd:ee:fg",
            "+a:bb:cc:dd:ee:ff",
            "aabbccddeeff",
            "aa-bb-cc-dd-ee-ff",
            "aabb.ccdd:eeff",
            "aa:bb:cc:dd:ee:f\u{e9}",
        ] {
            let error = text.parse::<MacAddr>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn what_is_carried_is_found_behind_tags_and_not_beyond_the_end() {
        let frame = |tags: &[u16], payload: u16| {
            let mut bytes = vec![2; 12];
            for tag in tags {
                bytes.extend_from_slice(&[tag.to_be_bytes(), 7u16.to_be_bytes()].concat());
            }
            bytes.extend_from_slice(&payload.to_be_bytes());
            bytes
        };
        for (tags, length) in [(&[][..], 14), (&[0x8100], 18), (&[0x88a8, 0x8100], 22), (&[0x8100; 3], 26)] {
            let whole = frame(tags, 0x86dd);
            assert_eq!(carried(&whole), Some((EtherType::IPV6, length)));
            assert_eq!(network_offset(&whole, EtherType::IPV6), Some(length));
            assert_eq!(network_offset(&whole, EtherType::IPV4), None);
            for cut in 0..whole.len() {
                assert_eq!(carried(&whole[..cut]), None, "{cut} of {length} bytes");
            }
        }
    }

    proptest! {
        #[test]
        fn a_mac_address_survives_its_text(mac: [u8; 6]) {
            let mac = MacAddr(mac);
            prop_assert_eq!(mac.to_string().parse(), Ok(mac));
            let [a, b, c, d, e, f] = mac.0;
            let dotted = format!("{a:02x}{b:02x}.{c:02x}{d:02x}.{e:02x}{f:02x}");
            prop_assert_eq!(dotted.parse(), Ok(mac));
        }

        #[test]
        fn a_mac_parser_never_panics(text in "[0-9a-f:.\\PC]{0,20}") {
            let _ = text.parse::<MacAddr>();
        }
    }
}
