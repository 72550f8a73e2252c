// SPDX-License-Identifier: Apache-2.0
//! The little of Ethernet, IPv4 and IPv6 that a policer looks at.

/// EtherTypes of IPv4 and IPv6.
const IP: [[u8; 2]; 2] = [[0x08, 0x00], [0x86, 0xdd]];
/// EtherTypes of VLAN tags (IEEE 802.1Q, 802.1ad).
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// Where the IP header begins in an Ethernet frame with up to two tags; `None` if the frame carries something else.
#[inline(always)]
pub fn offset_in_frame(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    for _ in 0..3 {
        match frame.get(at..at + 2)? {
            kind if IP.iter().any(|ip| kind == ip) => return Some(at + 2),
            kind if TAGS.iter().any(|tag| kind == tag) => at += 4,
            _ => return None,
        }
    }
    None
}

fn is_ip6(header: &[u8]) -> bool {
    header.first().is_some_and(|version| version >> 4 == 6)
}

/// Whether a packet is neighbour discovery (RFC 4861), without which a link of IPv6 is dead, as one of IPv4 is without ARP.
#[inline(always)]
pub fn is_discovery(header: &[u8]) -> bool {
    const ICMP6: u8 = 58;
    match header.first_chunk::<41>() {
        Some(header) => {
            is_ip6(header) && header[6] == ICMP6 && header[7] == u8::MAX && (133..=137).contains(&header[40])
        }
        None => false,
    }
}

/// The code point (RFC 2474) of the packet whose header begins here.
#[inline(always)]
pub fn dscp(header: &[u8]) -> u8 {
    match *header {
        [a, b, ..] if is_ip6(header) => (a & 0xf) << 2 | b >> 6,
        [_, tos, ..] => tos >> 2,
        _ => 0,
    }
}

/// Sets it; of IPv4, corrects the checksum by equation 3 of RFC 1624.
#[inline(always)]
pub fn set_dscp(header: &mut [u8], dscp: u8) {
    if is_ip6(header) {
        if let [a, b, ..] = header {
            (*a, *b) = (*a & 0xf0 | dscp >> 2, dscp << 6 | *b & 0x3f);
        }
        return;
    }
    let Some(header) = header.first_chunk_mut::<20>() else {
        return;
    };
    let word = |header: &[u8; 20], at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let before = word(header, 0);
    header[1] = dscp << 2 | header[1] & 3;
    let sum = u32::from(!word(header, 10)) + u32::from(!before) + u32::from(word(header, 0));
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(header: &[u8]) -> u16 {
        let sum: u32 = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        ((folded & 0xffff) + (folded >> 16)) as u16
    }

    proptest! {
        #[test]
        fn the_checksum_stays_right(mut header: [u8; 20], new in 0..64u8) {
            header[0] = 0x45;
            header[10..12].fill(0);
            let checksum = !sum(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            let before = header;
            set_dscp(&mut header, new);
            prop_assert_eq!(sum(&header), 0xffff);
            prop_assert_eq!(dscp(&header), new);
            prop_assert_eq!(header[1] & 3, before[1] & 3, "congestion bits (RFC 3168) are not the policer's");
            prop_assert_eq!(&header[12..], &before[12..]);
        }
    }

    proptest! {
        #[test]
        fn of_ip6_nothing_but_the_code_point_changes(mut header: [u8; 40], new in 0..64u8) {
            header[0] = 0x60 | header[0] & 0xf;
            let before = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            let rest = header[4..].to_vec();
            prop_assert_eq!(u32::from(dscp(&header)), before >> 22 & 0x3f);
            set_dscp(&mut header, new);
            let after = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
            prop_assert_eq!(after, before & !(0x3f << 22) | u32::from(new) << 22);
            prop_assert_eq!(&header[4..], &rest);
        }
    }

    #[test]
    fn discovery() {
        let message = |hops, kind| {
            let mut packet = [0u8; 48];
            (packet[0], packet[6], packet[7], packet[40]) = (0x60, 58, hops, kind);
            is_discovery(&packet)
        };
        assert!((133..=137).all(|kind| message(255, kind)));
        assert!(!message(64, 135) && !message(255, 128) && !is_discovery(&[0x60; 40]));
    }

    #[test]
    fn frames() {
        let frame = |types: &[u8]| [&[0; 12], types, &[0x45]].concat();
        assert_eq!(offset_in_frame(&frame(&[8, 0])), Some(14));
        assert_eq!(offset_in_frame(&frame(&[0x81, 0, 0, 1, 8, 0])), Some(18));
        assert_eq!(offset_in_frame(&frame(&[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0])), Some(22));
        assert_eq!(offset_in_frame(&frame(&[0x86, 0xdd])), Some(14));
        assert_eq!(offset_in_frame(&frame(&[8, 6])), None, "ARP");
        assert_eq!(offset_in_frame(&[0; 13]), None);
    }
}
