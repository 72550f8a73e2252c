// SPDX-License-Identifier: Apache-2.0
//! ip4-frag in the graph. How a packet is cut is tested beside the node.

use weft_engine::buffer::HEADROOM;
use weft_nodes::context::IpContext;
use weft_nodes::headers::Ipv4Header;
use weft_nodes::headers::build::{Packet, ipv4};

use weft_testing::{Bed, MTU};

#[test]
fn too_long_a_packet_leaves_in_pieces_that_fit() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let payload: Vec<u8> = (0..3000u32).map(|i| (i / 5) as u8).collect();
    let part = |frame: Packet, ttl, flags: u16, bytes: &[u8]| {
        frame
            .ipv4(p0.peer, p1.peer)
            .ttl(ttl)
            .ipv4_with(|ip| ip.flags_offset.set(flags))
            .payload(bytes)
            .build()
    };
    bed.receive_bytes(0, part(p0.incoming(), 64, 0, &payload));
    bed.run();
    let more = Ipv4Header::MORE_FRAGMENTS;
    let expected = [
        part(p1.outgoing(), 63, more, &payload[..1480]),
        part(p1.outgoing(), 63, (1480 / 8) | more, &payload[1480..2960]),
        part(p1.outgoing(), 63, 2960 / 8, &payload[2960..]),
    ];
    assert_eq!(bed.sent(1), expected);
    bed.counted(&[("ip4-frag/fragmented", 1), ("ip4-frag/fragments", 3)]);
    assert_eq!(bed.interface(p0.index).drops, 0);
}

#[test]
fn what_cannot_be_cut_has_a_reason() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let late = p0.incoming().ipv4(p0.peer, p1.peer).ipv4_with(|ip| ip.flags_offset.set(8191));
    bed.dies(0, &late.payload(&[0; 1600]).build(), "ip4-frag/bad_fragment_offset");
    let long = ipv4(p0.peer, p1.peer).payload(&[0; 1600]).build();
    bed.place("ip4-frag", &long, HEADROOM, |meta| meta.set_next_hop(99_999));
    bed.run();
    bed.counted(&[("ip4-frag/no_next_hop", 1)]);
    let frame = p0.incoming().ipv4(p0.peer, p1.peer).payload(&[0; 1600]).build();
    bed.change(p1.index, |interface| interface.mtu = 27);
    bed.dies(0, &frame, "ip4-frag/mtu_too_small");
    bed.change(p1.index, |interface| interface.mtu = MTU);
    let mut all = Vec::new();
    bed.receive_bytes(0, frame);
    // One for the frame, one for its first fragment.
    let spare = 2;
    bed.worker.buffers.allocate(usize::MAX, |index| all.push(index));
    all.drain(..spare).for_each(|index| bed.worker.buffers.give_back(index));
    bed.run();
    bed.nothing_sent();
    bed.counted(&[("ip4-frag/no_buffer", 1)]);
    all.into_iter().for_each(|index| bed.worker.buffers.give_back(index));
}

#[test]
fn a_packet_that_fits_after_all_goes_whole() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let id = bed.next_hop(p1.index, p1.peer);
    let packet = |frame: Packet, ttl| frame.ipv4(p0.peer, p1.peer).ttl(ttl).udp(1, 2);
    bed.place("ip4-frag", &packet(p0.incoming(), 64).build()[14..], HEADROOM, |meta| meta.set_next_hop(id.0));
    bed.run();
    assert_eq!(bed.only(1), packet(p1.outgoing(), 63).build());
    bed.counted(&[]);
}
