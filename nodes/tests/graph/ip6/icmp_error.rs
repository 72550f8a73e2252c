// SPDX-License-Identifier: Apache-2.0
//! ip6-icmp-error: which errors are sent, their exact bytes, and which are not (RFC 4443).

use weft_nodes::fib::{DropKind, Ip6, PathTarget};
use weft_nodes::forward::icmp_error::IpIcmpError;
use weft_nodes::graph::Settings;
use weft_nodes::headers::{Icmp6Header, Icmp6Type, IpProtocol, multicast_mac};
use weft_nodes::ip4::{IcmpRates, IcmpSettings};

use weft_testing::{Bed, Port, ip6};

use super::bed;

/// The error that the peer of `port` gets about the frame that it sent.
fn error(port: Port, header: Icmp6Header, about: &[u8]) -> Vec<u8> {
    let quoted = &about[14..about.len().min(14 + 1280 - 48)];
    port.outgoing().ipv6(port.address6, port.peer6).icmp6(header).payload(quoted).build()
}

const HOP_LIMIT: Icmp6Header = Icmp6Header::new(Icmp6Type::TIME_EXCEEDED, 0, 0);

const fn unreachable(code: u8) -> Icmp6Header {
    Icmp6Header::new(Icmp6Type::UNREACHABLE, code, 0)
}

const fn problem(code: u8, at: u32) -> Icmp6Header {
    Icmp6Header::new(Icmp6Type::PARAMETER_PROBLEM, code, at)
}

#[test]
fn the_sender_learns_what_its_packet_died_of() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    bed.route6("2001:db8:8::/48", &[PathTarget::Drop(DropKind::Unreachable)]);
    bed.route6("2001:db8:9::/48", &[PathTarget::Drop(DropKind::Prohibit)]);
    let to = |destination: &str| p0.incoming().ipv6(p0.peer6, ip6(destination));
    let (beyond, us) = ("2001:db8:0:1::2", "2001:db8::1");
    let options = [253, 0, 1, 4, 0, 0, 0, 0];
    let cases: [(Vec<u8>, Icmp6Header, &str, &str); 11] = [
        (to(beyond).hop_limit(1).udp(1, 2).build(), HOP_LIMIT, "hop_limit_exceeded", "sent_time_exceeded"),
        (to(beyond).hop_limit(0).udp(1, 2).build(), HOP_LIMIT, "hop_limit_exceeded", "sent_time_exceeded"),
        (to("2001:db8:5::").udp(1, 2).build(), unreachable(0), "no_route", "sent_unreachable"),
        (to("2001:db8:9::").udp(1, 2).build(), unreachable(1), "admin_prohibited", "sent_unreachable"),
        (to("2001:db8:8::").udp(1, 2).build(), unreachable(3), "address_unreachable", "sent_unreachable"),
        (to(us).udp(1, 2).build(), unreachable(4), "port_unreachable", "sent_unreachable"),
        (
            to(beyond).udp(1, 2).payload(&[7; 1453]).build(),
            Icmp6Header::new(Icmp6Type::TOO_BIG, 0, 1500),
            "packet_too_big",
            "sent_packet_too_big",
        ),
        // What names the protocol: the IPv6 header, or the last extension header.
        (
            to(us).ipv6_with(|ip| ip.next_header = IpProtocol(253)).payload(b"x").build(),
            problem(1, 6),
            "unrecognized_next_header",
            "sent_parameter_problem",
        ),
        (
            to(us).ipv6_with(|ip| ip.next_header = IpProtocol::DESTINATION_OPTIONS).payload(&options).build(),
            problem(1, 40),
            "unrecognized_next_header",
            "sent_parameter_problem",
        ),
        // Routing headers of type 0 (RFC 5095) and of an unknown type, after options.
        (
            to(us)
                .ipv6_with(|ip| ip.next_header = IpProtocol::ROUTING)
                .payload(&[59, 0, 0, 1, 0, 0, 0, 0])
                .build(),
            problem(0, 42),
            "routing_header",
            "sent_parameter_problem",
        ),
        (
            to(us)
                .ipv6_with(|ip| ip.next_header = IpProtocol::DESTINATION_OPTIONS)
                .payload(&[43, 0, 1, 4, 0, 0, 0, 0, 59, 0, 200, 1, 0, 0, 0, 0])
                .build(),
            problem(0, 50),
            "routing_header",
            "sent_parameter_problem",
        ),
    ];
    for (frame, header, cause, sent) in cases {
        bed.receive_bytes(0, frame.clone());
        bed.run();
        assert_eq!(bed.only(0), error(p0, header, &frame), "{cause}");
        bed.counted(&[(&format!("ip6-icmp-error/{cause}"), 1), (&format!("ip6-icmp-error/{sent}"), 1)]);
    }
    // The MTU of the link that the packet was to leave by.
    bed.change(p1.index, |interface| interface.mtu = 1300);
    bed.pass(0, &to(beyond).udp(1, 2).payload(&[7; 1252]));
    assert_eq!(bed.sent(1).len(), 1, "1300 bytes fit");
    let frame = to(beyond).udp(1, 2).payload(&[7; 1253]).build();
    bed.receive_bytes(0, frame.clone());
    bed.run();
    assert_eq!(bed.only(0), error(p0, Icmp6Header::new(Icmp6Type::TOO_BIG, 0, 1300), &frame));
}

#[test]
fn a_routing_header_that_is_used_up_is_no_harm() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let chain = [17, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 8, 0, 0];
    let frame = p0
        .incoming()
        .ipv6(p0.peer6, p0.address6)
        .ipv6_with(|ip| ip.next_header = IpProtocol::ROUTING)
        .payload(&chain);
    bed.pass(0, &frame);
    bed.counted(&[("ip6-icmp-error/port_unreachable", 1), ("ip6-icmp-error/sent_unreachable", 1)]);
    assert_eq!(bed.sent(0).len(), 1);
}

#[test]
fn about_some_packets_nothing_is_said() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let dying = |from: &str| p0.incoming().ipv6(ip6(from), p1.peer6).hop_limit(1);
    let icmp = |icmp_type| Icmp6Header::new(icmp_type, 0, 0);
    let hidden = [58, 0, 1, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    let later = [58, 0, 0, 8, 0, 0, 0, 1, 128, 0, 0, 0, 0, 0, 0, 0];
    for frame in [
        dying("2001:db8::2").icmp6(icmp(Icmp6Type::UNREACHABLE)),
        dying("2001:db8::2").icmp6(icmp(Icmp6Type::REDIRECT)),
        dying("2001:db8::2").ipv6_with(|ip| ip.next_header = IpProtocol::ICMPV6),
        dying("2001:db8::2")
            .ipv6_with(|ip| ip.next_header = IpProtocol::DESTINATION_OPTIONS)
            .payload(&hidden),
        dying("2001:db8::2").ipv6_with(|ip| ip.next_header = IpProtocol::FRAGMENT).payload(&later),
        // A chain that is cut off may be that of an error.
        dying("2001:db8::2").ipv6_with(|ip| ip.next_header = IpProtocol::DESTINATION_OPTIONS).payload(b"x"),
    ] {
        bed.pass(0, &frame);
        bed.nothing_sent();
        bed.counted(&[("ip6-icmp-error/hop_limit_exceeded", 1), ("ip6-icmp-error/not_allowed", 1)]);
    }
    // But an echo reply that dies is not an error.
    bed.pass(0, &dying("2001:db8::2").icmp6(icmp(Icmp6Type::ECHO_REPLY)));
    assert_eq!(bed.sent(0).len(), 1);
    bed.moved();
    let group = ip6("ff02::9");
    let to_group = p0.incoming().macs(p0.peer_mac, multicast_mac(group)).ipv6(p0.peer6, group);
    let routed =
        to_group.ipv6_with(|ip| ip.next_header = IpProtocol::ROUTING).payload(&[59, 0, 0, 1, 0, 0, 0, 0]);
    bed.pass(0, &routed);
    bed.nothing_sent();
    bed.counted(&[("ip6-icmp-error/routing_header", 1), ("ip6-icmp-error/not_allowed", 1)]);
}

#[test]
fn a_sender_of_the_link_is_told_by_the_link_local_address() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    let from = ip6("fe80::2");
    let frame = p0.incoming().ipv6(from, p0.address6).udp(1, 2).build();
    bed.receive_bytes(0, frame.clone());
    bed.run();
    bed.resolve6(p0.index, from, p0.peer_mac);
    bed.hear();
    let expected = p0.outgoing().ipv6(p0.link_local, from).icmp6(unreachable(4)).payload(&frame[14..]);
    assert_eq!(bed.only(0), expected.build());
}

#[test]
fn limits_are_those_of_ipv4() {
    let icmp = IcmpSettings { per_second: 10, burst: 2 };
    let mut bed = Bed::with(Settings { icmp, ..Settings::default() });
    bed.enable_ip6();
    let [p0, p1] = bed.ports;
    let frame = p0.incoming().ipv6(p0.peer6, p1.peer6).hop_limit(1).udp(1, 2);
    for _ in 0..5 {
        bed.pass(0, &frame);
    }
    assert_eq!(bed.sent(0).len(), 2);
    bed.counted(&[
        ("ip6-icmp-error/hop_limit_exceeded", 5),
        ("ip6-icmp-error/rate_limited", 3),
        ("ip6-icmp-error/sent_time_exceeded", 2),
    ]);
    let (node, clock) = (bed.nodes.ip6_icmp_error, bed.engine.clock);
    let rates = IcmpRates { time_exceeded: Some(0), ..IcmpRates::default() };
    bed.worker.node_mut::<IpIcmpError<Ip6>>(node).unwrap().limits.configure(&clock, rates);
    bed.pass(0, &frame);
    bed.nothing_sent();
    bed.pass(0, &p0.incoming().ipv6(p0.peer6, p0.address6).udp(1, 2));
    assert_eq!(bed.sent(0).len(), 1, "the others have a budget of their own");
}
