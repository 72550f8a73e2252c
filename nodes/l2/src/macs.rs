// SPDX-License-Identifier: Apache-2.0
//! Stations and where they are: keys and values of the table.
//!
//! A key is one word, the domain's index above the 48 bits of the MAC address; a value is one word too, so readers find it whole.

use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;

/// A domain's number in keys. It is given out again when no entry of it is left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DomainIndex(pub u16);

const MAC_BITS: u32 = 48;
const MAC_MASK: u64 = (1 << MAC_BITS) - 1;

/// A MAC address of a domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Key(pub u64);

impl Key {
    /// No station has it: it is looked for in place of a group.
    pub const NOBODY: Key = Key(0);

    /// Of a station.
    pub fn new(domain: DomainIndex, mac: MacAddr) -> Key {
        let [a, b, c, d, e, f] = mac.0;
        Key(u64::from(domain.0) << MAC_BITS | u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// Of the source and of the destination of a frame that begins with these bytes.
    #[inline(always)]
    pub fn of_frame(domain: DomainIndex, start: &[u8; 14]) -> [Key; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, _, _] = *start;
        let domain = u64::from(domain.0) << MAC_BITS;
        let destination = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let source = u64::from_be_bytes([0, 0, g, h, i, j, k, l]);
        [Key(domain | source), Key(domain | destination)]
    }

    /// Whether its address is that of a group, or of all.
    #[inline(always)]
    pub fn is_group(self) -> bool {
        self.0 & 1 << (MAC_BITS - 8) != 0
    }

    /// Whether a station can have its address.
    #[inline(always)]
    pub fn is_station(self) -> bool {
        !self.is_group() && self.0 & MAC_MASK != 0
    }

    /// Whether it is one of the 16 groups of a link: 01-80-C2-00-00-0x.
    #[inline(always)]
    pub fn is_link_group(self) -> bool {
        self.0 & MAC_MASK & !0xf == 0x0180_c200_0000
    }

    /// Its domain.
    pub fn domain(self) -> DomainIndex {
        DomainIndex((self.0 >> MAC_BITS) as u16)
    }

    /// Its address.
    pub fn mac(self) -> MacAddr {
        let [_, _, mac @ ..] = self.0.to_be_bytes();
        MacAddr(mac)
    }
}

/// What is known of a station.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry(pub u64);

impl Entry {
    const FIXED: u64 = 1 << 32;
    const FILTER: u64 = 1 << 33;
    const BVI: u64 = 1 << 34;

    /// Frames from it and to it are dropped.
    pub const FILTERED: Entry = Entry(Self::FIXED | Self::FILTER | InterfaceIndex::NONE.0 as u64);

    /// It was heard on a port.
    pub const fn learned(port: InterfaceIndex) -> Entry {
        Entry(port.0 as u64)
    }

    /// An operator says that it is on a port.
    pub const fn fixed(port: InterfaceIndex) -> Entry {
        Entry(Self::FIXED | port.0 as u64)
    }

    /// It is this host, by a routed port.
    pub const fn bvi(port: InterfaceIndex) -> Entry {
        Entry(Self::FIXED | Self::BVI | port.0 as u64)
    }

    /// Its port; [`InterfaceIndex::NONE`] if frames to it are dropped.
    #[inline(always)]
    pub fn port(self) -> InterfaceIndex {
        InterfaceIndex(self.0 as u32)
    }

    /// Whether it was heard, so that it may change and age.
    #[inline(always)]
    pub fn is_learned(self) -> bool {
        self.0 & Self::FIXED == 0
    }

    /// Whether its frames are dropped.
    #[inline(always)]
    pub fn is_filter(self) -> bool {
        self.0 & Self::FILTER != 0
    }

    /// Whether it is this host.
    pub fn is_bvi(self) -> bool {
        self.0 & Self::BVI != 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_key_has_its_domain_and_its_address(domain: u16, mac: [u8; 6], from: [u8; 6]) {
            let (domain, mac, from) = (DomainIndex(domain), MacAddr(mac), MacAddr(from));
            let key = Key::new(domain, mac);
            prop_assert_eq!((key.domain(), key.mac()), (domain, mac));
            prop_assert_eq!(key.is_group(), mac.is_multicast());
            prop_assert_eq!(key.is_station(), mac.is_station());
            let mut start = [0x55; 14];
            start[..6].copy_from_slice(&mac.0);
            start[6..12].copy_from_slice(&from.0);
            prop_assert_eq!(Key::of_frame(domain, &start), [Key::new(domain, from), key]);
        }
    }

    #[test]
    fn sixteen_groups_are_a_links_own() {
        let is_one = |mac: [u8; 6]| Key::new(DomainIndex(3), MacAddr(mac)).is_link_group();
        for last in 0..16 {
            assert!(is_one([1, 0x80, 0xc2, 0, 0, last]));
        }
        for other in
            [[1, 0x80, 0xc2, 0, 0, 16], [1, 0x80, 0xc2, 0, 1, 0], [0, 0x80, 0xc2, 0, 0, 0], [0xff; 6]]
        {
            assert!(!is_one(other), "{other:?}");
        }
    }

    #[test]
    fn an_entry_says_what_it_is() {
        let port = InterfaceIndex(7);
        let of = |entry: Entry| (entry.port(), entry.is_learned(), entry.is_filter(), entry.is_bvi());
        assert_eq!(of(Entry::learned(port)), (port, true, false, false));
        assert_eq!(of(Entry::fixed(port)), (port, false, false, false));
        assert_eq!(of(Entry::bvi(port)), (port, false, false, true));
        assert_eq!(of(Entry::FILTERED), (InterfaceIndex::NONE, false, true, false));
    }
}
