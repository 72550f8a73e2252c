// SPDX-License-Identifier: Apache-2.0
//! Checksums that a sender has left to hardware that is not there.
//!
//! A host at the far end of a veth, or in a virtual machine beside ours, writes only the sum of the pseudo-header into the
//! checksum field of TCP and UDP, and has the rest done by its "NIC" (`CHECKSUM_PARTIAL`, linux/skbuff.h). XDP comes before anybody
//! has, and AF_XDP does not tell. But the field does: it holds the sum of the pseudo-header, uncomplemented. Whoever computes the
//! checksum of such a packet gets the one that its sender meant; of a whole packet whose right checksum happens to be that
//! sum, the same one again. So nothing is made worse, whatever comes in.
//!
//! What stays open: SCTP, and packets within tunnels, in whose outer header nothing tells.
//! For workers, on ports where it can happen.

use weft_engine::buffer::BufferCache;
use weft_engine::ids::BufferIndex;
use weft_headers::checksum::{Pieces, Sum};
use weft_headers::{EtherType, IpProtocol, Ipv4Header, Ipv6Header, carried};
use zerocopy::FromBytes;

/// Where the checksum of a packet is to be.
struct Open {
    /// Offset of the transport header in the frame.
    start: usize,
    /// Bytes from there to the end of the packet.
    length: usize,
    /// Offset of the field in the frame.
    field: usize,
    is_udp: bool,
}

/// Fills in the checksum of a packet, if its sender has left it open.
#[inline]
pub(super) fn fill(buffers: &mut BufferCache, packet: BufferIndex) {
    let head = buffers.packet(packet);
    let total = head.meta.total_length();
    if let Some(open) = find(head.data(), total) {
        fill_in(buffers, packet, &open);
    }
}

#[cold]
fn fill_in(buffers: &mut BufferCache, packet: BufferIndex, open: &Open) {
    let mut sum = Pieces::default();
    let (mut skip, mut left, mut next) = (open.start, open.length, Some(packet));
    while let Some(index) = next {
        let part = buffers.packet(index);
        let bytes = part.data();
        let from = skip.min(bytes.len());
        let to = bytes.len().min(from + left);
        sum = sum.piece(&bytes[from..to]);
        (skip, left) = (skip - from, left - (to - from));
        next = part.meta.next_segment();
    }
    let checksum = match sum.sum().checksum() {
        // Which would mean that there is none (RFC 768).
        0 if open.is_udp => 0xffff,
        checksum => checksum,
    };
    let mut head = buffers.packet(packet);
    head.data_mut()[open.field..open.field + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// The checksum that is open in a frame, of `total` bytes with its further buffers.
#[inline]
fn find(frame: &[u8], total: usize) -> Option<Open> {
    let (ether_type, network) = carried(frame)?;
    let header = &frame[network..];
    let (start, end, protocol, pseudo) = match ether_type {
        EtherType::IPV4 => {
            let (ip, _) = Ipv4Header::ref_from_prefix(header).ok()?;
            // What is sent in fragments has its checksum before it is cut.
            if ip.version() != 4 || ip.is_fragment() {
                return None;
            }
            let (start, end) = (network + ip.header_length(), network + usize::from(ip.total_length.get()));
            let length = end.checked_sub(start)?;
            (start, end, ip.protocol, Sum::pseudo_header(ip, ip.protocol, length as u16))
        }
        EtherType::IPV6 => {
            let (ip, _) = Ipv6Header::ref_from_prefix(header).ok()?;
            let (start, length) = (network + Ipv6Header::LENGTH, ip.payload_length.get());
            let pseudo = Sum::pseudo_header6(ip, ip.next_header, length.into());
            (start, start + usize::from(length), ip.next_header, pseudo)
        }
        _ => return None,
    };
    let field = start
        + match protocol {
            IpProtocol::TCP => 16,
            IpProtocol::UDP => 6,
            _ => return None,
        };
    if end > total || field + 2 > end {
        return None;
    }
    let stored: [u8; 2] = frame.get(field..field + 2)?.try_into().ok()?;
    // As it stands there: not complemented.
    let is_open = u16::from_be_bytes(stored) == !pseudo.checksum();
    let is_udp = protocol == IpProtocol::UDP;
    is_open.then_some(Open { start, length: end - start, field, is_udp })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use proptest::prelude::*;
    use weft_engine::buffer::{BufferConfig, Buffers, HEADROOM};
    use weft_engine::ids::InterfaceIndex;

    /// A packet as it should be, and where its checksum stands.
    fn whole(v6: bool, tcp: bool, tags: usize, payload: &[u8]) -> (Vec<u8>, usize) {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut frame = Vec::new();
        let network = 14 + 4 * tags;
        let ip = if v6 { 40 } else { 20 };
        macro_rules! write {
            ($builder:expr) => {{
                let ip = if v6 {
                    $builder.ipv6([7; 16], [9; 16], 64)
                } else {
                    $builder.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
                };
                match tcp {
                    true => ip.tcp(1000, 80, 7, 1024).write(&mut frame, payload),
                    false => ip.udp(1000, 53).write(&mut frame, payload),
                }
                .expect("a vector takes it")
            }};
        }
        match tags {
            0 => write!(builder),
            1 => write!(builder.single_vlan(7.try_into().expect("a VLAN"))),
            _ => write!(builder.double_vlan(7.try_into().expect("a VLAN"), 8.try_into().expect("a VLAN"))),
        }
        (frame, network + ip + if tcp { 16 } else { 6 })
    }

    /// What a kernel writes there for its NIC.
    fn pseudo(frame: &[u8], v6: bool, tcp: bool, network: usize) -> u16 {
        let (at, ip) = if v6 { (8..40, 40) } else { (12..20, 20) };
        let protocol = if tcp { IpProtocol::TCP } else { IpProtocol::UDP };
        let length = (frame.len() - network - ip) as u16;
        let sum = Sum::default().bytes(&frame[network + at.start..network + at.end]);
        !sum.word(protocol.0.into()).word(length).checksum()
    }

    fn filled(frame: &[u8], cuts: &[usize]) -> Vec<u8> {
        let buffers = Buffers::new(&BufferConfig { pools: vec![(0, 1024)], ..BufferConfig::default() });
        let mut cache = buffers.expect("buffers").cache(0);
        let mut first = None;
        let mut pieces = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([frame.len()]) {
            pieces.push(&frame[start..end.max(start)]);
            start = end.max(start);
        }
        for piece in pieces {
            let index = cache.allocate_one().expect("a buffer");
            cache.receive_frame(index, HEADROOM, 0, InterfaceIndex(0), 14);
            assert!(cache.packet(index).fill(HEADROOM, piece));
            match first {
                None => first = Some(index),
                Some(first) => cache.chain(first, index),
            }
        }
        let first = first.expect("a packet");
        fill(&mut cache, first);
        let (mut out, mut next) = (Vec::new(), Some(first));
        while let Some(index) = next {
            let packet = cache.packet(index);
            out.extend_from_slice(packet.data());
            next = packet.meta.next_segment();
        }
        cache.free_one(first);
        out
    }

    proptest! {
        #[test]
        fn what_is_open_is_filled_in_and_nothing_else_is_touched(
            v6: bool, tcp: bool, tags in 0..3usize, payload in proptest::collection::vec(any::<u8>(), 0..1400),
            cut in 90..1500usize, noise: u16,
        ) {
            let (frame, field) = whole(v6, tcp, tags, &payload);
            let cuts: &[usize] = if cut < frame.len() { &[cut] } else { &[] };
            prop_assert_eq!(&filled(&frame, cuts), &frame, "a right one");
            let mut open = frame.clone();
            open[field..field + 2].copy_from_slice(&pseudo(&frame, v6, tcp, 14 + 4 * tags).to_be_bytes());
            prop_assert_eq!(&filled(&open, cuts), &frame, "one that is left open");
            // Trailing bytes of a short frame are no part of the packet.
            let mut padded = open.clone();
            padded.extend([0xaa; 7]);
            prop_assert_eq!(&filled(&padded, cuts)[..frame.len()], &frame[..]);
            let mut wrong = frame.clone();
            wrong[field..field + 2].copy_from_slice(&noise.to_be_bytes());
            if noise != pseudo(&frame, v6, tcp, 14 + 4 * tags) {
                prop_assert_eq!(&filled(&wrong, cuts), &wrong, "a wrong one is its sender's");
            }
        }

        #[test]
        fn any_bytes_are_taken(frame in proptest::collection::vec(any::<u8>(), 0..120), kind in 0..4usize) {
            let mut frame = frame;
            if frame.len() > 14 {
                frame[12..14].copy_from_slice(&[[8, 0], [0x86, 0xdd], [0x81, 0], [8, 6]][kind]);
            }
            filled(&frame, &[]);
        }
    }
}
