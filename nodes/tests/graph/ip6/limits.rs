// SPDX-License-Identifier: Apache-2.0
//! What an interface bounds: the segments of TCP connections, and how far away senders are.

use weft_nodes::headers::checksum::Sum;
use weft_nodes::headers::{IpProtocol, Ipv6Header, TcpFlags};
use weft_nodes::ip4::TCP_MSS;
use weft_nodes::ip6::min_hop_limit::MIN_HOP_LIMIT;

use super::bed;

/// The bytes of a SYN that offers segments of this length, after its IPv6 header.
fn syn(from: std::net::Ipv6Addr, to: std::net::Ipv6Addr, mss: u16) -> Vec<u8> {
    let mut segment = weft_nodes::headers::build::ethernet()
        .ipv6(from, to)
        .tcp(1000, 80, TcpFlags::SYN)
        .payload(&[2, 4, (mss >> 8) as u8, mss as u8])
        .build()
        .split_off(14 + Ipv6Header::LENGTH);
    segment[12] = 6 << 4;
    segment[16..18].fill(0);
    let ip = Ipv6Header::new(from, to, IpProtocol::TCP, 0);
    let sum = Sum::pseudo_header6(&ip, IpProtocol::TCP, segment.len() as u32).bytes(&segment).checksum();
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

#[test]
fn the_segments_of_a_connection_are_lowered_on_the_way_in_and_out() {
    for port in [0, 1] {
        let mut bed = bed();
        let [p0, p1] = bed.ports;
        let index = bed.ports[port].index;
        bed.nodes.values.set(&mut bed.engine, &TCP_MSS, index, 1200).expect("the nodes are there");
        let options = [6, 0, 1, 4, 0, 0, 0, 0];
        for (next, before) in [(IpProtocol::TCP, &[][..]), (IpProtocol::DESTINATION_OPTIONS, &options[..])] {
            for (offered, lowered) in [(1440, 1200), (1100, 1100)] {
                let rest = |mss| [before, &syn(p0.peer6, p1.peer6, mss)].concat();
                let frame = p0.incoming().ipv6(p0.peer6, p1.peer6).ipv6_with(|ip| ip.next_header = next);
                bed.pass(0, &frame.payload(&rest(offered)));
                let expected = p1.outgoing().ipv6(p0.peer6, p1.peer6).hop_limit(63);
                let expected = expected.ipv6_with(|ip| ip.next_header = next).payload(&rest(lowered));
                assert_eq!(bed.only(1), expected.build());
            }
        }
    }
}

#[test]
fn only_neighbours_reach_this_host() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    bed.nodes.values.set(&mut bed.engine, &MIN_HOP_LIMIT, p0.index, 255).expect("the node is there");
    let ping = |hops| p0.incoming().ipv6(p0.peer6, p0.address6).hop_limit(hops).ping6(1, 1);
    bed.pass(0, &ping(255));
    assert_eq!(bed.only(0).len(), 62, "answered");
    bed.moved();
    for hops in [0, 1, 64, 254] {
        bed.dies(0, &ping(hops).build(), "ip6-min-hop-limit/hop_limit_below_minimum");
    }
    bed.pass(0, &p0.incoming().ipv6(p0.peer6, p1.peer6).hop_limit(2).udp(1, 2));
    assert_eq!(bed.only(1).len(), 62, "what is for others passes");
}
