// SPDX-License-Identifier: Apache-2.0
//! The little of Ethernet and IPv4 that a policer looks at.

/// EtherType of IPv4.
const IP4: [u8; 2] = [0x08, 0x00];
/// EtherTypes of VLAN tags (IEEE 802.1Q, 802.1ad).
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// Where the IPv4 header begins in an Ethernet frame with up to two tags; `None` if the frame carries something else.
#[inline(always)]
pub fn offset_in_frame(frame: &[u8]) -> Option<usize> {
    let mut at = 12;
    for _ in 0..3 {
        match frame.get(at..at + 2)? {
            kind if kind == IP4 => return Some(at + 2),
            kind if TAGS.iter().any(|tag| kind == tag) => at += 4,
            _ => return None,
        }
    }
    None
}

/// The code point (RFC 2474) of the packet whose header begins here.
#[inline(always)]
pub fn dscp(header: &[u8]) -> u8 {
    header.get(1).map_or(0, |tos| tos >> 2)
}

/// Sets it, and corrects the checksum by equation 3 of RFC 1624.
#[inline(always)]
pub fn set_dscp(header: &mut [u8], dscp: u8) {
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

    #[test]
    fn frames() {
        let frame = |types: &[u8]| [&[0; 12], types, &[0x45]].concat();
        assert_eq!(offset_in_frame(&frame(&[8, 0])), Some(14));
        assert_eq!(offset_in_frame(&frame(&[0x81, 0, 0, 1, 8, 0])), Some(18));
        assert_eq!(offset_in_frame(&frame(&[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 8, 0])), Some(22));
        assert_eq!(offset_in_frame(&frame(&[8, 6])), None, "ARP");
        assert_eq!(offset_in_frame(&[0; 13]), None);
    }
}
