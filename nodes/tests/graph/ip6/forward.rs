// SPDX-License-Identifier: Apache-2.0
//! ip6-lookup, ip6-rewrite and ip6-discover-neighbor: from port to port.

use std::collections::BTreeSet;

use weft_nodes::fib::{DropKind, Ip6, PathTarget};
use weft_nodes::headers::{Ipv6Header, MacAddr};
use weft_nodes::interface::{SourceCheck, TableIndex, Tags};
use weft_nodes::ip6::solicitation_frame;
use weft_nodes::neighbor::NeighborNotice;

use weft_testing::{DEFAULT, InterfaceCounts, Port, ip6};

use super::bed;

fn via(port: Port) -> PathTarget<Ip6> {
    PathTarget::Via { address: port.peer6, interface: Some(port.index) }
}

#[test]
fn a_packet_goes_from_port_to_port_with_one_hop_less() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    bed.route6("2001:db8:77::/48", &[via(p1)]);
    for to in ["2001:db8:0:1::2", "2001:db8:77::9"] {
        bed.pass(0, &p0.incoming().ipv6(p0.peer6, ip6(to)).hop_limit(2).udp(1, 2).payload(b"data"));
        let expected = p1.outgoing().ipv6(p0.peer6, ip6(to)).hop_limit(1).udp(1, 2).payload(b"data");
        assert_eq!(bed.only(1), expected.build());
    }
    bed.counted(&[]);
    let InterfaceCounts { rx, ip6, ip4, drops, .. } = bed.interface(p0.index);
    assert_eq!((rx, ip6, ip4, drops), (2, 2, 0, 0));
}

#[test]
fn a_packet_of_several_buffers_is_forwarded_whole() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    for port in [p0, p1] {
        bed.change(port.index, |interface| interface.mtu = 9000);
    }
    let payload: Vec<u8> = (0..5000).map(|i| (i / 3) as u8).collect();
    bed.pass(0, &p0.incoming().ipv6(p0.peer6, p1.peer6).udp(1, 2).payload(&payload));
    let expected = p1.outgoing().ipv6(p0.peer6, p1.peer6).hop_limit(63).udp(1, 2).payload(&payload);
    assert_eq!(bed.only(1), expected.build());
}

#[test]
fn a_route_that_drops_says_why() {
    let mut bed = bed();
    let [p0, _] = bed.ports;
    bed.route6("2001:db8:9::/48", &[PathTarget::Drop(DropKind::Blackhole)]);
    let frame = p0.incoming().ipv6(p0.peer6, ip6("2001:db8:9::1")).udp(1, 2).build();
    bed.dies(0, &frame, "ip6-lookup/blackhole");
}

#[test]
fn a_neighbour_is_solicited_and_the_packet_waits_for_it() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let host = ip6("2001:db8:0:1::9");
    bed.pass(0, &p0.incoming().ipv6(p0.peer6, host).udp(1, 2));
    bed.counted(&[("ip6-discover-neighbor/requests", 1)]);
    assert_eq!(bed.worker.in_flight(), 1);
    bed.hear();
    let asked = solicitation_frame((p1.mac, p1.address6), host, None, Tags::default());
    assert_eq!(bed.only(1), asked);
    let mac = MacAddr([2, 0, 0, 0, 1, 9]);
    bed.resolve6(p1.index, host, mac);
    bed.run();
    let expected = p1.outgoing().macs(p1.mac, mac).ipv6(p0.peer6, host).hop_limit(63).udp(1, 2);
    assert_eq!(bed.only(1), expected.build());
}

#[test]
fn who_does_not_answer_is_unreachable() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let host = ip6("2001:db8:0:1::9");
    bed.pass(0, &p0.incoming().ipv6(p0.peer6, host).udp(1, 2));
    let held = bed.nodes.held6;
    bed.engine.post_all(move |worker| held.fail(worker, p1.index, host.into()));
    bed.run();
    assert_eq!(bed.sent(0).len(), 1, "its sender learns of it");
    bed.counted(&[
        ("ip6-discover-neighbor/requests", 1),
        ("ip6-icmp-error/address_unreachable", 1),
        ("ip6-icmp-error/sent_unreachable", 1),
    ]);
}

/// RFC 6438: what the flow label says is one flow keeps to one path; without a label, ports do.
#[test]
fn flows_are_spread_over_paths_and_keep_to_theirs() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    bed.route6("2001:db8:77::/48", &[via(p0), via(p1)]);
    let labels = bed.nodes.flow_labels.clone();
    let mut ways = |label: u32, port: u16| {
        let flow = |ip: &mut Ipv6Header| ip.version_class_flow.set(6 << 28 | label);
        let frame = p0.incoming().ipv6(p0.peer6, ip6("2001:db8:77::1")).ipv6_with(flow).udp(port, 2);
        bed.pass(0, &frame);
        [bed.sent(0).len(), bed.sent(1).len()]
    };
    let by_label: BTreeSet<_> = (1..=16).map(|label| ways(label, 7)).collect();
    assert_eq!(by_label.len(), 2, "labels");
    let one: BTreeSet<_> = (1..=16).map(|port| ways(5, port)).collect();
    assert_eq!(one.len(), 1, "one label");
    let by_port: BTreeSet<_> = (1..=16).map(|port| ways(0, port)).collect();
    assert_eq!(by_port.len(), 2, "no label: ports");
    // Where labels do not count, ports do in any case.
    labels.set(false);
    let by_port: BTreeSet<_> = (1..=16).map(|port| ways(5, port)).collect();
    assert_eq!(by_port.len(), 2, "labels are off: ports");
    let by_label: BTreeSet<_> = (1..=16).map(|label| ways(label, 7)).collect();
    assert_eq!(by_label.len(), 1, "labels are off: no labels");
}

/// RFC 4007 section 9.
#[test]
fn a_packet_from_a_link_local_address_stays_on_its_link() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let from = ip6("fe80::2");
    let frame = |to| p0.incoming().ipv6(from, to).udp(1, 2);
    bed.pass(0, &frame(p1.peer6));
    bed.nothing_sent();
    bed.counted(&[
        ("ip6-discover-neighbor/requests", 1),
        ("ip6-icmp-error/beyond_scope", 1),
        ("ip6-icmp-error/sent_unreachable", 1),
    ]);
    bed.pass(0, &frame(p0.peer6));
    let expected = p0.outgoing().ipv6(from, p0.peer6).hop_limit(63).udp(1, 2);
    assert_eq!(bed.only(0), expected.build(), "back on the same link it may go");
    // Nor is one to somebody else's link-local address forwarded.
    bed.dies(
        0,
        &p0.incoming().ipv6(p0.peer6, ip6("fe80::77")).udp(1, 2).build(),
        "ip6-local-end-of-arc/link_local_no_host",
    );
}

#[test]
fn a_frame_to_many_stations_is_not_forwarded() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let frame = p0.incoming().macs(p0.peer_mac, MacAddr::BROADCAST).ipv6(p0.peer6, p1.peer6).udp(1, 2);
    bed.dies(0, &frame.build(), "ip6-rewrite/link_broadcast");
}

#[test]
fn a_table_of_its_own_has_routes_of_its_own() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let red = bed.router.add_table::<Ip6>(&mut bed.engine, 7, "red").unwrap();
    assert_ne!(red, TableIndex(0));
    let (engine, interfaces) = (&mut bed.engine, &mut bed.interfaces);
    let net = format!("{}/64", p0.address6).parse().unwrap();
    bed.router.remove_address::<Ip6>(engine, interfaces, p0.index, net).unwrap();
    bed.router.set_table::<Ip6>(engine, interfaces, p0.index, 7).unwrap();
    bed.router.enable::<Ip6>(engine, interfaces, p0.index, true).unwrap();
    bed.pass(0, &p0.incoming().ipv6(ip6("2001:db8:5::1"), p1.peer6).udp(1, 2));
    bed.counted(&[("ip6-icmp-error/no_route", 1), ("ip6-icmp-error/no_source_address", 1)]);
    let leak = weft_nodes::fib::Change {
        prefix: "::/0".parse().unwrap(),
        owner: weft_nodes::interface::Owner::CLI,
        action: weft_nodes::fib::Action::Set(
            weft_nodes::fib::Preference::default(),
            vec![weft_nodes::fib::RoutePath::new(PathTarget::Table(DEFAULT))],
        ),
    };
    bed.router.apply::<Ip6>(&mut bed.engine, &bed.interfaces, red, &[leak]).unwrap();
    bed.pass(0, &p0.incoming().ipv6(ip6("2001:db8:5::1"), p1.peer6).udp(1, 2));
    let expected = p1.outgoing().ipv6(ip6("2001:db8:5::1"), p1.peer6).hop_limit(63).udp(1, 2);
    assert_eq!(bed.only(1), expected.build());
}

#[test]
fn checks_hold_for_ipv6_too() {
    let mut bed = bed();
    let [p0, p1] = bed.ports;
    let admission = bed.nodes.admission;
    let frame = |from: &str| p0.incoming().ipv6(ip6(from), p1.peer6).udp(1, 2).build();
    admission.check_sources(&mut bed.engine, p0.index, SourceCheck::Strict).unwrap();
    bed.dies(0, &frame("2001:db8:0:1::7"), "ip6-rx-urpf-strict/wrong_source_interface");
    bed.dies(0, &frame("2001:db8:5::7"), "ip6-rx-urpf-strict/no_source_route");
    bed.dies(0, &frame("2001:db8::1"), "ip6-rx-urpf-strict/own_source");
    bed.pass(0, &p0.incoming().ipv6(p0.peer6, p1.peer6).udp(1, 2));
    assert_eq!(bed.sent(1).len(), 1);
    // A link-local source is on the link by itself.
    bed.pass(0, &p0.incoming().ipv6(ip6("fe80::2"), p0.address6).ping6(1, 1));
    bed.counted(&[("ip6-discover-neighbor/requests", 1), ("ip6-local-end-of-arc/echo_replies", 1)]);
    admission.check_sources(&mut bed.engine, p0.index, SourceCheck::Off).unwrap();
    admission.forward(&mut bed.engine, p0.index, false).unwrap();
    bed.dies(0, &frame("2001:db8::2"), "ip6-local-only/forwarding_off");
    bed.pass(0, &p0.incoming().ipv6(p0.peer6, p0.address6).ping6(1, 1));
    bed.counted(&[("ip6-local-end-of-arc/echo_replies", 1)]);
    assert_eq!(bed.sent(0).len(), 1);
}

#[test]
fn who_wants_to_know_is_told_of_a_wanted_neighbour_once() {
    let mut bed = bed();
    let p1 = bed.ports[1];
    let host = ip6("2001:db8:0:1::9");
    let p0 = bed.ports[0];
    for _ in 0..3 {
        bed.pass(0, &p0.incoming().ipv6(p0.peer6, host).udp(1, 2));
    }
    assert_eq!(bed.notices(), [NeighborNotice::Wanted { interface: p1.index, address: host.into() }]);
}
