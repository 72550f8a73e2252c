// SPDX-License-Identifier: Apache-2.0
//! ip6-local and its end: pings answered, the rest for the host, if there is one.

use weft_engine::buffer::HEADROOM;
use weft_nodes::graph::HeaderLimit;
use weft_nodes::headers::build::Packet;
use weft_nodes::headers::{Icmp6Header, Icmp6Type, IpProtocol, MacAddr, TcpFlags, multicast_mac};

use weft_testing::{Bed, ip6};

use super::bed;

const fn echo_reply(identifier: u16, sequence: u16) -> Icmp6Header {
    Icmp6Header::new(Icmp6Type::ECHO_REPLY, 0, (identifier as u32) << 16 | sequence as u32)
}

#[test]
fn a_ping_is_answered_in_place() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    bed.with_host(0);
    let data: Vec<u8> = (0..57).collect();
    // Also the address of another interface, the anycast address of the subnet's routers, and one that has no hop left.
    for (address, hops) in [(p0.address6, 64), (p1.address6, 1), (ip6("2001:db8::"), 64), (p0.address6, 0)] {
        bed.pass(0, &p0.incoming().ipv6(p0.peer6, address).hop_limit(hops).ping6(7, 1).payload(&data));
        let reply = p0.outgoing().ipv6(address, p0.peer6).icmp6(echo_reply(7, 1)).payload(&data);
        assert_eq!(bed.only(0), reply.build());
        bed.counted(&[("ip6-local-end-of-arc/echo_replies", 1)]);
    }
    assert!(bed.punted(0).is_empty());
}

#[test]
fn a_ping_of_several_buffers_is_answered() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    bed.change(p0.index, |interface| interface.mtu = 9000);
    let data: Vec<u8> = (0..5001).map(|i| (i / 3) as u8).collect();
    bed.pass(0, &p0.incoming().ipv6(p0.peer6, p0.address6).ping6(7, 1).payload(&data));
    let reply = p0.outgoing().ipv6(p0.address6, p0.peer6).icmp6(echo_reply(7, 1)).payload(&data);
    assert_eq!(bed.only(0), reply.build());
}

#[test]
fn a_link_local_address_answers_on_its_link_alone() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let from = ip6("fe80::2");
    let ping = |to| p0.incoming().ipv6(from, to).ping6(7, 1);
    bed.pass(0, &ping(p0.link_local));
    bed.resolve6(p0.index, from, p0.peer_mac);
    // Another station has the same address on another link.
    bed.resolve6(p1.index, from, p1.peer_mac);
    bed.hear();
    let reply = p0.outgoing().ipv6(p0.link_local, from).icmp6(echo_reply(7, 1));
    assert_eq!(bed.only(0), reply.build());
    bed.moved();
    bed.dies(0, &ping(p1.link_local).build(), "ip6-local-end-of-arc/link_local_no_host");
}

#[test]
fn damaged_packets_end_here() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let to_us = || p0.incoming().ipv6(p0.peer6, p0.address6);
    let mut bad = to_us().ping6(7, 1).build();
    bad[14 + 40 + 2] ^= 1;
    bed.dies(0, &bad, "ip6-local-end-of-arc/bad_icmp_checksum");
    let shouted = p0.incoming().macs(p0.peer_mac, MacAddr::BROADCAST).ipv6(p0.peer6, p0.address6);
    bed.dies(0, &shouted.ping6(1, 1).build(), "ip6-local-end-of-arc/link_broadcast");
    let with = |next, bytes: &[u8]| to_us().ipv6_with(|ip| ip.next_header = next).payload(bytes).build();
    let cut = with(IpProtocol::DESTINATION_OPTIONS, &[58, 1, 1, 4, 0, 0, 0, 0]);
    bed.dies(0, &cut, "ip6-local-end-of-arc/bad_extension_header");
    let not_first = with(IpProtocol::DESTINATION_OPTIONS, &[0, 0, 1, 4, 0, 0, 0, 0, 59, 0, 1, 4, 0, 0, 0, 0]);
    bed.dies(0, &not_first, "ip6-local-end-of-arc/bad_extension_header");
    let endless: Vec<u8> = [60, 0, 1, 4, 0, 0, 0, 0].repeat(9);
    let endless = with(IpProtocol::DESTINATION_OPTIONS, &endless);
    bed.dies(0, &endless, "ip6-local-end-of-arc/too_many_extension_headers");
    // The limit is a setting: what is behind one more is looked at, and behind one less is not.
    bed.nodes.extension_headers.set(9);
    bed.dies(0, &endless, "ip6-local-end-of-arc/bad_extension_header");
    bed.nodes.extension_headers.set(1);
    let two = with(IpProtocol::DESTINATION_OPTIONS, &[60, 0, 1, 4, 0, 0, 0, 0, 59, 0, 1, 4, 0, 0, 0, 0]);
    bed.dies(0, &two, "ip6-local-end-of-arc/too_many_extension_headers");
    bed.nodes.extension_headers.set(HeaderLimit::USUAL);
    bed.place("ip6-local", &bad[14..], HEADROOM, |_| {});
    bed.run();
    bed.counted(&[("ip6-local-end-of-arc/no_interface", 1)]);
}

/// What is for us but not a ping that is answered here.
fn for_the_host(bed: &Bed) -> Vec<(Packet, &'static str)> {
    let p0 = bed.ports[0];
    let to_us = || p0.incoming().ipv6(p0.peer6, p0.address6);
    let with = |next, bytes: &[u8]| to_us().ipv6_with(|ip| ip.next_header = next).payload(bytes);
    let group =
        |group: &str| p0.incoming().macs(p0.peer_mac, multicast_mac(ip6(group))).ipv6(p0.peer6, ip6(group));
    let ospf = |ip: &mut weft_nodes::headers::Ipv6Header| ip.next_header = IpProtocol(89);
    vec![
        (
            with(IpProtocol::DESTINATION_OPTIONS, &[58, 0, 1, 4, 0, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0]),
            "icmp_no_host",
        ),
        (to_us().icmp6(echo_reply(1, 1)), "icmp_no_host"),
        (to_us().tcp(1000, 22, TcpFlags::SYN), "tcp_no_host"),
        (group("ff02::5").ipv6_with(ospf).payload(b"ospf"), "multicast_no_host"),
        (group("ff0e::77").udp(1, 2), "multicast_no_host"),
        (p0.incoming().ipv6(p0.peer6, ip6("fe80::99")).tcp(1, 22, TcpFlags::SYN), "link_local_no_host"),
        (
            group("ff02::2").icmp6(Icmp6Header::new(Icmp6Type::ROUTER_ADVERTISEMENT, 0, 0)),
            "multicast_no_host",
        ),
    ]
}

#[test]
fn without_a_host_everything_else_has_its_reason() {
    let mut bed = bed();
    for (frame, reason) in for_the_host(&bed) {
        bed.dies(0, &frame.build(), &format!("ip6-local-end-of-arc/{reason}"));
    }
}

#[test]
fn a_host_gets_everything_else_as_it_came() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    bed.with_host(0);
    let mut frames: Vec<_> = for_the_host(&bed).into_iter().map(|(frame, _)| frame).collect();
    frames.push(p0.incoming().ipv6(p0.peer6, p0.address6).udp(1, 179));
    frames.push(
        p0.incoming()
            .ipv6(p0.peer6, p0.address6)
            .ipv6_with(|ip| ip.next_header = IpProtocol(89))
            .payload(b"x"),
    );
    for frame in frames {
        bed.pass(0, &frame);
        assert_eq!(bed.punted(0), [frame.build()]);
        bed.counted(&[]);
    }
}
