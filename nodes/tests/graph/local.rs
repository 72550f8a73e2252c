// SPDX-License-Identifier: Apache-2.0
//! ip4-local and its end: pings answered, the rest for the host, if there is one.

use std::time::Duration;

use weft_engine::buffer::HEADROOM;
use weft_nodes::headers::build::Packet;
use weft_nodes::headers::checksum;
use weft_nodes::headers::{Icmp4Header, Icmp4Type, IpProtocol, Ipv4Header, MacAddr, TcpFlags};
use weft_nodes::ip4::PathTarget;

use weft_testing::{Bed, DEFAULT, ip};

fn echo_reply(identifier: u16, sequence: u16) -> Icmp4Header {
    Icmp4Header::new(Icmp4Type::ECHO_REPLY, 0, [identifier, sequence])
}

#[test]
fn a_ping_is_answered_in_place() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    bed.with_host(0);
    let data: Vec<u8> = (0..57).collect();
    // Also the address of another interface, and one that arrives with its last hop.
    for (address, ttl) in [(p0.address, 64), (p1.address, 1)] {
        let ping = p0.incoming().ipv4(p0.peer, address).ttl(ttl).dont_fragment().ping(7, 1).payload(&data);
        bed.pass(0, &ping);
        let reply =
            p0.outgoing().ipv4(address, p0.peer).dont_fragment().icmp4(echo_reply(7, 1)).payload(&data);
        assert_eq!(bed.only(0), reply.build());
        bed.counted(&[("ip4-local-end-of-arc/echo_replies", 1)]);
    }
    assert!(bed.punted(0).is_empty());
}

#[test]
fn a_link_of_two_addresses_has_no_broadcast() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let loopback = bed.loopback("loop0", MacAddr([2, 0, 0, 0, 7, 1]));
    bed.address(loopback, "10.7.0.1/31");
    bed.pass(0, &p0.incoming().ipv4(p0.peer, ip("10.7.0.1")).ping(7, 1));
    let reply = p0.outgoing().ipv4(ip("10.7.0.1"), p0.peer).icmp4(echo_reply(7, 1));
    assert_eq!(bed.only(0), reply.build());
}

#[test]
fn a_ping_of_several_buffers_is_answered() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    bed.change(p0.index, |interface| interface.mtu = 9000);
    let data: Vec<u8> = (0..5001).map(|i| (i / 3) as u8).collect();
    bed.pass(0, &p0.incoming().ipv4(p0.peer, p0.address).ping(7, 1).payload(&data));
    let reply = p0.outgoing().ipv4(p0.address, p0.peer).icmp4(echo_reply(7, 1)).payload(&data);
    assert_eq!(bed.only(0), reply.build());
}

#[test]
fn a_recorded_route_goes_on_in_the_answer() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    bed.with_host(0);
    let request = p0.incoming().ipv4(p0.peer, p0.address).options(&[7, 7, 4, 0, 0, 0, 0]);
    bed.pass(0, &request.ping(7, 1).payload(b"data"));
    let reply = p0.outgoing().ipv4(p0.address, p0.peer).options(&[7, 7, 8, 10, 0, 0, 1]);
    assert_eq!(bed.only(0), reply.icmp4(echo_reply(7, 1)).payload(b"data").build());
}

/// A frame of an IPv4 datagram without options as frames of its fragments, of so many bytes of data each.
fn fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (headers, data) = frame.split_at(14 + Ipv4Header::LENGTH);
    let pieces = data.chunks(size).enumerate().map(|(number, piece)| {
        let last = (number + 1) * size >= data.len();
        let mut headers = headers.to_vec();
        let flags_offset = (number * size / 8) as u16 | if last { 0 } else { Ipv4Header::MORE_FRAGMENTS };
        let ip = &mut headers[14..];
        ip[2..4].copy_from_slice(&((Ipv4Header::LENGTH + piece.len()) as u16).to_be_bytes());
        ip[6..8].copy_from_slice(&flags_offset.to_be_bytes());
        ip[10..12].fill(0);
        let sum = checksum::of(ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        [headers, piece.to_vec()].concat()
    });
    pieces.collect()
}

#[test]
fn a_ping_in_fragments_is_answered_as_a_whole() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    bed.change(p0.index, |interface| interface.mtu = 9000);
    let data: Vec<u8> = (0..3001).map(|i| (i / 3) as u8).collect();
    let ping = p0.incoming().ipv4(p0.peer, p0.address).ping(7, 1).payload(&data).build();
    let reply = p0.outgoing().ipv4(p0.address, p0.peer).icmp4(echo_reply(7, 1)).payload(&data).build();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let fragments = fragments(&ping, 1480);
        for place in order {
            bed.receive_bytes(0, fragments[place].clone());
            bed.run();
        }
        let sent = bed.only(0);
        // The answer is no fragment, whatever flags the request had.
        assert_eq!(sent, reply);
        bed.counted(&[
            ("ip4-reassembly/reassembled", 1),
            ("ip4-reassembly/joined", 2),
            ("ip4-local-end-of-arc/echo_replies", 1),
        ]);
    }
}

#[test]
fn a_host_gets_whole_datagrams() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    bed.with_host(0);
    let frame = p0.incoming().ipv4(p0.peer, p0.address).udp(1, 53).payload(&[7; 2000]).build();
    for fragment in fragments(&frame, 800) {
        bed.receive_bytes(0, fragment);
    }
    bed.run();
    assert_eq!(bed.punted(0), [frame]);
}

#[test]
fn who_sends_a_part_of_a_datagram_is_told_that_the_rest_did_not_come() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let ping = p0.incoming().ipv4(p0.peer, p0.address).ping(7, 1).payload(&[1; 2000]).build();
    let fragments = fragments(&ping, 1480);
    let overlap = |bed: &mut Bed| {
        let mut longer = fragments[0].clone();
        longer.truncate(14 + 20 + 8);
        longer[16..18].copy_from_slice(&28u16.to_be_bytes());
        longer[24..26].fill(0);
        let sum = checksum::of(&longer[14..34]);
        longer[24..26].copy_from_slice(&sum.to_be_bytes());
        bed.receive_bytes(0, longer);
        bed.run();
    };
    bed.receive_bytes(0, fragments[0].clone());
    bed.run();
    bed.receive_bytes(0, fragments[0].clone());
    bed.run();
    bed.counted(&[("ip4-reassembly/duplicate_fragment", 1)]);
    overlap(&mut bed);
    bed.counted(&[("ip4-reassembly/fragments_overlap", 2)]);
    bed.nothing_sent();

    for fragment in &fragments {
        bed.time_passes(Duration::from_secs(31));
        bed.run();
        bed.receive_bytes(0, fragment.clone());
        bed.run();
    }
    bed.time_passes(Duration::from_secs(31));
    bed.run();
    let error = bed.only(0);
    assert_eq!(
        error[14 + 20..14 + 22],
        [11, 1],
        "reassembly time exceeded, for that of which the first had come"
    );
    bed.counted(&[
        ("ip4-icmp-error/reassembly_timeout", 1),
        ("ip4-icmp-error/sent_time_exceeded", 1),
        ("ip4-reassembly/reassembly_timeout", 1),
    ]);
}

#[test]
fn a_reply_takes_the_table_of_the_interface() {
    let mut bed = Bed::new();
    let p1 = bed.ports[1];
    let red = bed.add_table();
    bed.move_to(red, p1.index);
    bed.resolve(p1.index, p1.peer, p1.peer_mac);
    // The address of the default table is reached by a leaked route.
    bed.route(red, "10.0.0.1/32", &[PathTarget::Table(DEFAULT)]);
    bed.pass(1, &p1.incoming().ipv4(p1.peer, ip("10.0.0.1")).ping(1, 1));
    let reply = p1.outgoing().ipv4(ip("10.0.0.1"), p1.peer).icmp4(echo_reply(1, 1));
    assert_eq!(bed.only(1), reply.build());
}

#[test]
fn damaged_pings_end_here() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let mut bad = p0.incoming().ipv4(p0.peer, p0.address).ping(7, 1).build();
    bad[14 + 20 + 2] ^= 1;
    bed.dies(0, &bad, "ip4-local-end-of-arc/bad_icmp_checksum");
    // An echo request of four bytes, with the right checksum for them.
    let icmp = |ip: &mut Ipv4Header| ip.protocol = IpProtocol::ICMP;
    let short = p0.incoming().ipv4(p0.peer, p0.address).ipv4_with(icmp).payload(&[8, 0, 0xf7, 0xff]);
    bed.dies(0, &short.build(), "ip4-local-end-of-arc/icmp_too_short");
    let shouted = p0.incoming().macs(p0.peer_mac, MacAddr::BROADCAST).ipv4(p0.peer, p0.address);
    bed.dies(0, &shouted.ping(1, 1).build(), "ip4-local-end-of-arc/link_broadcast");
    bed.place("ip4-local", &short.build()[14..], HEADROOM, |_| {});
    bed.run();
    bed.counted(&[("ip4-local-end-of-arc/no_interface", 1)]);
}

/// What is for us but not a ping that is answered here.
fn for_the_host(bed: &Bed) -> Vec<(Packet, &'static str)> {
    let p0 = bed.ports[0];
    let to_us = || p0.incoming().ipv4(p0.peer, p0.address);
    let to_all =
        |all: &str| p0.incoming().macs(p0.peer_mac, MacAddr::BROADCAST).ipv4(p0.peer, ip(all)).udp(520, 520);
    let multicast = p0.incoming().macs(p0.peer_mac, MacAddr([1, 0, 0x5e, 0, 0, 5]));
    vec![
        // A source route, which turns round in the answer.
        (to_us().options(&[131, 7, 8, 9, 9, 9, 9]).ping(1, 1), "icmp_no_host"),
        (to_us().icmp4(echo_reply(1, 1)), "icmp_no_host"),
        (to_us().tcp(1000, 22, TcpFlags::SYN), "tcp_no_host"),
        (to_all("255.255.255.255"), "broadcast_no_host"),
        (to_all("10.0.0.255"), "broadcast_no_host"),
        // All hosts of the other port's subnet.
        (p0.incoming().ipv4(p0.peer, ip("10.0.1.255")).ping(1, 1), "broadcast_no_host"),
        (multicast.ipv4(p0.peer, ip("224.0.0.5")).payload(b"ospf"), "broadcast_no_host"),
    ]
}

#[test]
fn without_a_host_everything_else_has_its_reason() {
    let mut bed = Bed::new();
    for (frame, reason) in for_the_host(&bed) {
        bed.dies(0, &frame.build(), &format!("ip4-local-end-of-arc/{reason}"));
    }
}

#[test]
fn a_host_gets_everything_else_as_it_came() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    bed.with_host(0);
    let mut frames: Vec<_> = for_the_host(&bed).into_iter().map(|(frame, _)| frame.build()).collect();
    frames.push(p0.incoming().ipv4(p0.peer, p0.address).udp(1, 53).build());
    for frame in &frames {
        bed.receive_bytes(0, frame.clone());
    }
    bed.run();
    assert_eq!(bed.punted(0), frames);
    assert!(bed.sent(0).is_empty() && bed.sent(1).is_empty());
    bed.counted(&[]);
    assert_eq!(bed.interface(p0.index).punt, frames.len() as u64);
}
