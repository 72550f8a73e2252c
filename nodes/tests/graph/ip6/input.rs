// SPDX-License-Identifier: Apache-2.0
//! ip6-input: each malformation has its reason, and what is sound passes.

use weft_nodes::headers::{IpProtocol, MacAddr, multicast_mac};

use weft_testing::{Bed, ip6};

use super::bed;

#[test]
fn without_ipv6_on_the_interface_the_host_gets_it_as_it_came() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let frame = p0.incoming().ipv6(p0.peer6, p1.peer6).udp(1, 2);
    bed.dies(0, &frame.build(), "ethernet-input/ip6_not_enabled");
    bed.with_host(0);
    bed.pass(0, &frame);
    assert_eq!(bed.punted(0), [frame.build()]);
    bed.address6(p0.index, "2001:db8::1/64");
    bed.pass(0, &p0.incoming().ipv6(p0.peer6, p0.address6).ping6(1, 1));
    assert!(bed.punted(0).is_empty(), "it is taken here from then on");
    bed.moved();
    assert_eq!((bed.interface(p0.index).rx, bed.interface(p0.index).ip6), (3, 1));
}

#[test]
fn malformed_packets_end_here() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let good = p0.incoming().ipv6(p0.peer6, p1.peer6).udp(1, 2).payload(&[0; 20]).build();
    let mut damaged = |reason: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.clone();
        damage(&mut frame);
        bed.dies(0, &frame, &format!("ip6-input/{reason}"));
    };
    damaged("too_short", &|frame| frame.truncate(14 + 39));
    damaged("bad_version", &|frame| frame[14] = 0x45);
    damaged("bad_length", &|frame| frame[14 + 5] += 1);
    damaged("bad_length", &|frame| frame.truncate(14 + 40));
}

#[test]
fn no_station_sends_from_a_groups_mac_address() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    for source in [multicast_mac(ip6("ff02::1")), MacAddr([1, 0, 0x5e, 0, 0, 5]), MacAddr::BROADCAST] {
        for destination in [p0.mac, multicast_mac(ip6("ff02::1"))] {
            let forged = p0.incoming().macs(source, destination).ipv6(p0.peer6, p1.peer6).udp(1, 2);
            bed.dies(0, &forged.build(), "ethernet-input/multicast_source");
        }
    }
}

#[test]
fn addresses_that_are_on_no_wire_end_here() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    for (from, to, reason) in [
        ("ff02::1", "2001:db8:0:1::2", "multicast_source"),
        ("::", "2001:db8:0:1::2", "unspecified_source"),
        ("::", "ff0e::1", "unspecified_source"),
        ("2001:db8::2", "::", "unspecified_destination"),
        ("::1", "2001:db8:0:1::2", "loopback_address"),
        ("2001:db8::2", "::1", "loopback_address"),
        ("::ffff:10.0.0.2", "2001:db8:0:1::2", "ip4_mapped_address"),
        ("2001:db8::2", "::ffff:10.0.1.2", "ip4_mapped_address"),
        ("2001:db8::2", "::10.0.1.2", "ip4_mapped_address"),
        ("2001:db8::2", "ff01::1", "bad_multicast_scope"),
        ("2001:db8::2", "ff10::1", "bad_multicast_scope"),
    ] {
        let frame = p0.incoming().ipv6(ip6(from), ip6(to)).udp(1, 2).build();
        bed.dies(0, &frame, &format!("ip6-input/{reason}"));
    }
}

#[test]
fn padding_is_taken_off_and_extension_headers_are_left_alone() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let short = |from: &weft_testing::Port, hops| {
        let frame = if hops == 64 { from.incoming() } else { from.outgoing() };
        frame.ipv6(p0.peer6, p1.peer6).hop_limit(hops)
    };
    let mut padded = short(&p0, 64).build();
    padded.resize(60, 0xee);
    bed.receive_bytes(0, padded);
    bed.run();
    assert_eq!(bed.only(1), short(&p1, 63).build());
    // Hop-by-hop options, and a routing header of type 0 for somebody else.
    for (next, header) in [
        (IpProtocol::HOP_BY_HOP, [17, 0, 5, 2, 0, 0, 1, 0]),
        (IpProtocol::ROUTING, [17, 0, 0, 1, 0, 0, 0, 0]),
    ] {
        let with = |packet: weft_nodes::headers::build::Packet| {
            packet.ipv6_with(|ip| ip.next_header = next).payload(&[&header[..], &[0; 8]].concat())
        };
        bed.pass(0, &with(short(&p0, 64)));
        assert_eq!(bed.only(1), with(short(&p1, 63)).build());
    }
    bed.counted(&[]);
}

#[test]
fn a_host_without_an_address_asks_whether_one_is_free() {
    let mut bed = bed();
    let p0 = bed.ports[0];
    bed.with_host(0);
    let group = ip6("ff02::1:ff00:99");
    let report = p0.incoming().macs(p0.peer_mac, multicast_mac(group)).ipv6(ip6("::"), group).payload(b"mld");
    bed.pass(0, &report);
    assert_eq!(bed.punted(0), [report.build()], "the host may have to do with it");
    bed.counted(&[]);
    // It is for the stations of the link, whatever its frame says.
    let to_all = p0.incoming().macs(p0.peer_mac, MacAddr::BROADCAST).ipv6(ip6("::"), p0.address6).udp(1, 2);
    bed.dies(0, &to_all.build(), "ip6-input/unspecified_source");
}
