// SPDX-License-Identifier: Apache-2.0
//! Fragments for this host, and those that it makes (RFC 8200 section 4.5, RFC 5722, RFC 6946, RFC 6980).

use std::time::Duration;

use weft_nodes::headers::build::Packet;
use weft_nodes::headers::{Icmp6Header, Icmp6Type, Ip6FragmentHeader, IpProtocol, Ipv6Header, walk_ip6};
use weft_testing::Bed;
use zerocopy::{FromBytes, IntoBytes};

use super::bed;

/// Bytes of Ethernet before each packet.
const LINK: usize = 14;

/// A frame of an IPv6 packet as frames of its fragments, of so many bytes of data each. The first `kept` bytes after the IPv6
/// header, extension headers, stand in all of them.
fn fragments(frame: &[u8], kept: usize, size: usize, id: u32) -> Vec<Vec<u8>> {
    let (before, data) = frame.split_at(LINK + Ipv6Header::LENGTH + kept);
    let named_at = if kept == 0 { LINK + 6 } else { LINK + Ipv6Header::LENGTH };
    let pieces = data.chunks(size).enumerate().map(|(number, piece)| {
        let (offset, more) = (number * size, (number + 1) * size < data.len());
        let header = Ip6FragmentHeader::new(IpProtocol(before[named_at]), offset, more, id);
        let mut before = before.to_vec();
        before[named_at] = IpProtocol::FRAGMENT.0;
        let length = (kept + Ip6FragmentHeader::LENGTH + piece.len()) as u16;
        before[LINK + 4..LINK + 6].copy_from_slice(&length.to_be_bytes());
        [&before, header.as_bytes(), piece].concat()
    });
    pieces.collect()
}

fn ping(bed: &Bed, id: u16, data: &[u8]) -> Packet {
    let p0 = bed.ports[0];
    p0.incoming().ipv6(p0.peer6, p0.address6).ping6(id, 1).payload(data)
}

fn pong(bed: &Bed, id: u16, data: &[u8]) -> Packet {
    let (p0, rest) = (bed.ports[0], u32::from(id) << 16 | 1);
    let header = Icmp6Header::new(Icmp6Type::ECHO_REPLY, 0, rest);
    p0.outgoing().ipv6(p0.address6, p0.peer6).icmp6(header).payload(data)
}

fn receive(bed: &mut Bed, frames: &[Vec<u8>]) {
    for frame in frames {
        bed.receive_bytes(0, frame.clone());
        bed.run();
    }
}

fn data(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 3) as u8).collect()
}

/// A datagram out of the frames of its fragments, as its receiver puts it together; each fits every link.
fn whole(sent: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = Vec::new();
    for (place, frame) in sent.iter().enumerate() {
        let (ip, rest) = Ipv6Header::ref_from_prefix(&frame[LINK..]).expect("a header");
        let fragment = walk_ip6(ip.next_header, rest, 8).expect("a chain").fragment.expect("a fragment");
        assert!(frame.len() <= LINK + 1280);
        assert_eq!((fragment.offset(), fragment.more()), (whole.len(), place + 1 < sent.len()));
        whole.extend_from_slice(&rest[Ip6FragmentHeader::LENGTH..]);
    }
    whole
}

#[test]
fn a_ping_in_fragments_is_answered_in_fragments() {
    let mut bed = bed();
    let data = data(3001);
    let (ping, pong) = (ping(&bed, 7, &data).build(), pong(&bed, 7, &data).build());
    for (number, order) in [[0, 1, 2], [2, 0, 1], [1, 2, 0]].into_iter().enumerate() {
        let fragments = fragments(&ping, 0, 1232, number as u32);
        bed.moved();
        receive(&mut bed, &order.map(|place| fragments[place].clone()));
        let sent = bed.sent(0);
        assert_eq!(whole(&sent), pong[LINK + Ipv6Header::LENGTH..]);
        bed.counted(&[
            ("ip6-reassembly/reassembled", 1),
            ("ip6-reassembly/joined", 2),
            ("ip6-local-end-of-arc/echo_replies", 1),
            ("ip6-frag/fragmented", 1),
            ("ip6-frag/fragments", 3),
        ]);
    }
}

#[test]
fn a_datagram_in_one_piece_waits_for_nobody() {
    let mut bed = bed();
    let (first, other) = (ping(&bed, 7, &data(100)).build(), ping(&bed, 8, &data(40)).build());
    // Half of another datagram has its number (RFC 6946 section 4).
    receive(&mut bed, &fragments(&first, 0, 64, 9)[..1]);
    bed.nothing_sent();
    receive(&mut bed, &fragments(&other, 0, 1000, 9));
    assert_eq!(bed.only(0), pong(&bed, 8, &data(40)).build());
    receive(&mut bed, &fragments(&first, 0, 64, 9)[1..]);
    assert_eq!(bed.only(0), pong(&bed, 7, &data(100)).build());
}

#[test]
fn what_stands_before_the_fragment_header_stays() {
    let mut bed = bed();
    bed.with_host(0);
    let p0 = bed.ports[0];
    // Hop-by-hop options, then UDP.
    let bytes = [&[17, 0, 1, 4, 0, 0, 0, 0, 0, 1, 0, 53, 7, 216, 0, 0][..], &data(2000)].concat();
    let frame =
        p0.incoming().ipv6(p0.peer6, p0.address6).ipv6_with(|ip| ip.next_header = IpProtocol::HOP_BY_HOP);
    let frame = frame.payload(&bytes).build();
    receive(&mut bed, &fragments(&frame, 8, 800, 1));
    assert_eq!(bed.punted(0), [frame]);
}

#[test]
fn what_overlaps_ends_the_datagram_and_nothing_is_said() {
    let mut bed = bed();
    let ping = ping(&bed, 7, &data(200)).build();
    let [coarse, fine] = [64, 40].map(|size| fragments(&ping, 0, size, 5));
    bed.moved();
    receive(&mut bed, &[coarse[0].clone(), coarse[0].clone()]);
    bed.counted(&[("ip6-reassembly/duplicate_fragment", 1)]);
    receive(&mut bed, &fine[1..2]);
    bed.counted(&[("ip6-reassembly/fragments_overlap", 2)]);
    // The others of the same datagram make no whole one any more.
    receive(&mut bed, &coarse[1..]);
    bed.nothing_sent();
    assert!(bed.moved().is_empty());
}

/// The ICMPv6 type and code of a frame, and the four bytes after its checksum.
fn error(frame: &[u8]) -> (u8, u8, u32) {
    let at = LINK + Ipv6Header::LENGTH;
    let rest = u32::from_be_bytes(frame[at + 4..at + 8].try_into().expect("four bytes"));
    (frame[at], frame[at + 1], rest)
}

#[test]
fn senders_of_fragments_that_no_datagram_has_are_told() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let fragment = |offset, more, length| {
        let header = Ip6FragmentHeader::new(IpProtocol::UDP, offset, more, 3);
        let ip = p0.incoming().ipv6(p0.peer6, p0.address6);
        let ip = ip.ipv6_with(|ip| ip.next_header = IpProtocol::FRAGMENT);
        ip.payload(&[header.as_bytes(), &data(length)].concat()).build()
    };
    bed.moved();
    // By the payload length, and by the offset (RFC 8200 section 4.5).
    for (frame, pointer) in [(fragment(0, true, 9), 4), (fragment(65_528, false, 8), 42)] {
        receive(&mut bed, &[frame]);
        assert_eq!(error(&bed.only(0)), (4, 0, pointer));
        bed.counted(&[("ip6-icmp-error/bad_fragment", 1), ("ip6-icmp-error/sent_parameter_problem", 1)]);
    }
    receive(&mut bed, &[fragment(8, false, 0)]);
    bed.counted(&[("ip6-reassembly/bad_fragment_length", 1)]);
    bed.nothing_sent();
}

#[test]
fn who_sends_a_part_of_a_datagram_is_told_that_the_rest_did_not_come() {
    let mut bed = bed();
    let ping = ping(&bed, 7, &data(2000)).build();
    let fragments = fragments(&ping, 0, 1000, 6);
    bed.moved();
    for (part, told) in [(0, true), (1, false)] {
        receive(&mut bed, &fragments[part..=part]);
        bed.time_passes(Duration::from_secs(59));
        bed.run();
        bed.nothing_sent();
        bed.time_passes(Duration::from_secs(2));
        bed.run();
        if told {
            assert_eq!(error(&bed.only(0)), (3, 1, 0));
            bed.counted(&[
                ("ip6-icmp-error/reassembly_timeout", 1),
                ("ip6-icmp-error/sent_time_exceeded", 1),
            ]);
        } else {
            bed.nothing_sent();
            bed.counted(&[("ip6-reassembly/reassembly_timeout", 1)]);
        }
    }
}

#[test]
fn neighbours_are_not_heard_in_fragments() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let message = Icmp6Header::new(Icmp6Type::NEIGHBOR_SOLICITATION, 0, 0);
    let target = p0.address6.octets();
    let asks =
        p0.incoming().ipv6(p0.peer6, p0.address6).hop_limit(255).icmp6(message).payload(&target).build();
    bed.moved();
    for size in [8, 1000] {
        receive(&mut bed, &fragments(&asks, 0, size, 4)[..1]);
        bed.counted(&[("ip6-reassembly/discovery_in_fragments", 1)]);
        bed.nothing_sent();
    }
}
