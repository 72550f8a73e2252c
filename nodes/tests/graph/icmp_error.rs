// SPDX-License-Identifier: Apache-2.0
//! ip4-icmp-error: which errors are sent, their exact bytes, and which are not.

use weft_engine::buffer::HEADROOM;
use weft_nodes::context::IpContext;
use weft_nodes::forward::icmp_error::IpIcmpError;
use weft_nodes::graph::Settings;
use weft_nodes::headers::build::Packet;
use weft_nodes::headers::{Icmp4Header, Icmp4Type, IpProtocol, Ipv4Header, MacAddr};
use weft_nodes::ip4::{DropKind, IcmpRates, IcmpSettings, Ip4, PathTarget};

use weft_testing::{Bed, DEFAULT, Port, ip};

/// The error that the peer of `port` gets from `source` about the frame that it sent; the first error of a router has
/// identification 1.
fn error(port: Port, header: Icmp4Header, about: &[u8], identification: u16) -> Vec<u8> {
    let quoted = &about[14..about.len().min(14 + 576 - 28)];
    port.outgoing()
        .ipv4(port.address, port.peer)
        .ipv4_with(|ip| {
            ip.tos = 0xc0;
            ip.identification.set(identification);
        })
        .icmp4(header)
        .payload(quoted)
        .build()
}

const TTL_EXCEEDED: Icmp4Header = Icmp4Header::new(Icmp4Type::TIME_EXCEEDED, 0, [0, 0]);

const fn unreachable(code: u8, mtu: u16) -> Icmp4Header {
    Icmp4Header::new(Icmp4Type::UNREACHABLE, code, [0, mtu])
}

#[test]
fn the_sender_learns_what_its_packet_died_of() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    bed.route(DEFAULT, "192.0.2.0/25", &[PathTarget::Drop(DropKind::Unreachable)]);
    bed.route(DEFAULT, "192.0.2.128/25", &[PathTarget::Drop(DropKind::Prohibit)]);
    let to = |destination: &str| p0.incoming().ipv4(p0.peer, ip(destination));
    let cases: [(Vec<u8>, Icmp4Header, &str, &str); 8] = [
        (to("10.0.1.2").ttl(1).udp(1, 2).build(), TTL_EXCEEDED, "ttl_expired", "sent_time_exceeded"),
        (to("10.0.1.2").ttl(0).udp(1, 2).build(), TTL_EXCEEDED, "ttl_expired", "sent_time_exceeded"),
        (to("203.0.113.1").udp(1, 2).build(), unreachable(0, 0), "no_route", "sent_unreachable"),
        (to("192.0.2.1").udp(1, 2).build(), unreachable(1, 0), "host_unreachable", "sent_unreachable"),
        (to("10.0.0.1").payload(b"x").build(), unreachable(2, 0), "protocol_unreachable", "sent_unreachable"),
        (to("10.0.0.1").udp(1, 2).build(), unreachable(3, 0), "port_unreachable", "sent_unreachable"),
        (to("192.0.2.129").udp(1, 2).build(), unreachable(13, 0), "admin_prohibited", "sent_unreachable"),
        (
            to("10.0.1.2").dont_fragment().udp(1, 2).payload(&[7; 1473]).build(),
            unreachable(4, 1500),
            "fragmentation_needed",
            "sent_fragmentation_needed",
        ),
    ];
    for (i, (frame, header, cause, sent)) in cases.into_iter().enumerate() {
        bed.receive_bytes(0, frame.clone());
        bed.run();
        assert_eq!(bed.only(0), error(p0, header, &frame, i as u16 + 1), "{cause}");
        bed.counted(&[(&format!("ip4-icmp-error/{cause}"), 1), (&format!("ip4-icmp-error/{sent}"), 1)]);
    }
    assert_eq!((bed.interface(p0.index).rx, bed.interface(p0.index).drops), (8, 8));
    assert_eq!(bed.interface(p1.index).drops, 0);
}

#[test]
fn an_error_quotes_576_bytes_also_of_several_buffers() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let payload: Vec<u8> = (0..4000).map(|i| (i / 3) as u8).collect();
    let frame = p0.incoming().ipv4(p0.peer, p1.peer).ttl(1).udp(1, 2).payload(&payload).build();
    bed.receive_bytes(0, frame.clone());
    bed.run();
    let sent = bed.only(0);
    assert_eq!(sent.len(), 14 + 576);
    assert_eq!(sent, error(p0, TTL_EXCEEDED, &frame, 1));
}

#[test]
fn about_some_packets_nothing_is_said() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let old = |frame: Packet| frame.ipv4(p0.peer, p1.peer).ttl(1);
    let all = |frame: Packet| frame.macs(p0.peer_mac, MacAddr::BROADCAST);
    let icmp = |icmp_type| Icmp4Header::new(icmp_type, 0, [0, 0]);
    let later = |ip: &mut Ipv4Header| ip.flags_offset.set(1);
    let mut silent = vec![
        // An error about an error, or about what may be one.
        old(p0.incoming()).icmp4(icmp(Icmp4Type::UNREACHABLE)).build(),
        old(p0.incoming()).icmp4(icmp(Icmp4Type::TIME_EXCEEDED)).build(),
        old(p0.incoming()).icmp4(icmp(Icmp4Type::REDIRECT)).build(),
        old(p0.incoming()).ipv4_with(|ip| ip.protocol = IpProtocol::ICMP).build(),
        // Not the first fragment.
        old(p0.incoming()).ipv4_with(later).udp(1, 2).build(),
        // From all hosts of a subnet of ours.
        p0.incoming().ipv4(ip("10.0.0.255"), p1.peer).ttl(1).udp(1, 2).build(),
    ];
    for frame in silent.drain(..) {
        bed.receive_bytes(0, frame);
        bed.run();
        bed.nothing_sent();
        bed.counted(&[("ip4-icmp-error/not_allowed", 1), ("ip4-icmp-error/ttl_expired", 1)]);
    }
    // To all stations of the link.
    bed.pass(0, &all(p0.incoming()).ipv4(p0.peer, ip("203.0.113.1")).udp(1, 2));
    bed.nothing_sent();
    bed.counted(&[("ip4-icmp-error/no_route", 1), ("ip4-icmp-error/not_allowed", 1)]);
    // But about a ping, and about a first fragment.
    bed.receive(0, &old(p0.incoming()).ping(1, 2));
    let first = |ip: &mut Ipv4Header| ip.flags_offset.set(Ipv4Header::MORE_FRAGMENTS);
    bed.receive(0, &old(p0.incoming()).ipv4_with(first).udp(1, 2));
    bed.run();
    assert_eq!(bed.sent(0).len(), 2);
}

#[test]
fn errors_are_limited_and_the_loss_keeps_its_reason() {
    let icmp = IcmpSettings { per_second: 1, burst: 3 };
    let mut bed = Bed::with(Settings { icmp, ..Settings::default() });
    let [p0, p1] = bed.ports;
    for _ in 0..10 {
        bed.receive(0, &p0.incoming().ipv4(p0.peer, p1.peer).ttl(1).udp(1, 2));
    }
    bed.run();
    assert_eq!(bed.sent(0).len(), 3);
    bed.counted(&[
        ("ip4-icmp-error/rate_limited", 7),
        ("ip4-icmp-error/sent_time_exceeded", 3),
        ("ip4-icmp-error/ttl_expired", 10),
    ]);
}

#[test]
fn without_a_buffer_or_an_address_nothing_is_sent() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let frame = p0.incoming().ipv4(p0.peer, p1.peer).ttl(1).udp(1, 2);
    let mut all = Vec::new();
    bed.worker.buffers.allocate(usize::MAX, |index| all.push(index));
    let last = all.pop().unwrap();
    bed.worker.buffers.give_back(last);
    bed.pass(0, &frame);
    bed.nothing_sent();
    bed.counted(&[("ip4-icmp-error/no_buffer", 1), ("ip4-icmp-error/ttl_expired", 1)]);
    all.into_iter().for_each(|index| bed.worker.buffers.give_back(index));

    // Of an interface that has just lost its address: any address of the table.
    let packet = frame.build()[14..].to_vec();
    let place = |bed: &mut Bed| {
        bed.place("ip4-rewrite", &packet, HEADROOM, |meta| {
            meta.rx_interface = p0.index;
            meta.set_next_hop(0);
        });
        bed.run();
    };
    bed.change(p0.index, |interface| interface.ip4.addresses.clear());
    place(&mut bed);
    let sent = bed.only(0);
    assert_eq!(sent[26..30], p1.address.octets());
    bed.moved();
    bed.change(p1.index, |interface| interface.ip4.addresses.clear());
    place(&mut bed);
    bed.nothing_sent();
    bed.counted(&[("ip4-icmp-error/no_source_address", 1), ("ip4-icmp-error/ttl_expired", 1)]);
}

#[test]
fn a_packet_that_nobody_marked_is_a_bug_with_a_name() {
    let mut bed = Bed::new();
    bed.place("ip4-icmp-error", &[0x45; 20], HEADROOM, |_| {});
    bed.run();
    bed.counted(&[("ip4-icmp-error/unmarked", 1)]);
}

#[test]
fn each_kind_of_error_may_have_a_limit_of_its_own() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let (node, clock) = (bed.nodes.ip4_icmp_error, bed.engine.clock);
    let rates = IcmpRates { time_exceeded: Some(2), unreachable: Some(0), ..IcmpRates::default() };
    bed.engine.post_all(move |worker| {
        worker.node_mut::<IpIcmpError<Ip4>>(node).expect("the node").limits.configure(&clock, rates);
    });
    bed.run();
    for _ in 0..10 {
        bed.receive(0, &p0.incoming().ipv4(p0.peer, p1.peer).ttl(1).udp(1, 2));
        bed.receive(0, &p0.incoming().ipv4(p0.peer, ip("203.0.113.1")).udp(1, 2));
    }
    bed.run();
    assert_eq!(bed.sent(0).len(), 2);
    bed.counted(&[
        ("ip4-icmp-error/no_route", 10),
        ("ip4-icmp-error/rate_limited", 18),
        ("ip4-icmp-error/sent_time_exceeded", 2),
        ("ip4-icmp-error/ttl_expired", 10),
    ]);
}
