// SPDX-License-Identifier: Apache-2.0
//! From port to port: ip4-lookup and ip4-rewrite.

use std::collections::BTreeMap;

use weft_engine::buffer::HEADROOM;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec};
use weft_engine::{Context, NodeId, ThreadIndex};
use weft_nodes::context::{IpContext, LOCALLY_ORIGINATED};
use weft_nodes::fib::AdjacencyId;
use weft_nodes::headers::MacAddr;
use weft_nodes::headers::build::{Packet, ipv4};
use weft_nodes::interface::Kind;
use weft_nodes::ip4::{Forward, Ip4, PathTarget, Rewrite};

use weft_testing::{Bed, DEFAULT, InterfaceCounts, ip};

#[test]
fn a_packet_is_forwarded_with_one_hop_less() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let packet = |frame: Packet, ttl| frame.ipv4(p0.peer, p1.peer).ttl(ttl).udp(1000, 2000).payload(b"data");
    let received = packet(p0.incoming(), 64);
    bed.pass(0, &received);
    assert_eq!(bed.only(1), packet(p1.outgoing(), 63).build());
    bed.counted(&[]);
    let expected = InterfaceCounts { rx: 1, ip4: 1, ..InterfaceCounts::default() };
    assert_eq!(bed.interface(p0.index), expected);
    assert_eq!(bed.interface(p1.index), InterfaceCounts { tx: 1, ..InterfaceCounts::default() });
    let route = bed.table(DEFAULT).rib.get("10.0.1.2/32".parse().unwrap()).unwrap();
    let id = route.load_balance().0;
    let used = bed.tables.routes.get(ThreadIndex(1), id as usize);
    assert_eq!((used.packets, used.bytes), (1, received.build().len() as u64 - 14));
}

#[test]
fn vectors_stay_in_order() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    for i in 0..1000u16 {
        bed.receive(0, &p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2).payload(&i.to_be_bytes()));
    }
    bed.run();
    let sent = bed.sent(1);
    assert_eq!(sent.len(), 1000);
    let numbers = sent.iter().map(|frame| u16::from_be_bytes(*frame.last_chunk().unwrap()));
    assert!(numbers.eq(0..1000));
}

#[test]
fn a_packet_in_several_buffers_is_forwarded_whole() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    bed.change(p1.index, |interface| interface.mtu = 9000);
    let payload: Vec<u8> = (0..8000).map(|i| (i / 7) as u8).collect();
    let packet = |frame: Packet, ttl| frame.ipv4(p0.peer, p1.peer).ttl(ttl).udp(1, 2).payload(&payload);
    bed.pass(0, &packet(p0.incoming(), 64));
    assert_eq!(bed.only(1), packet(p1.outgoing(), 63).build());
}

#[test]
fn what_cannot_be_sent_has_a_reason() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let packet = ipv4(p0.peer, p1.peer).udp(1, 2).build();
    bed.place("ip4-rewrite", &packet, HEADROOM, |meta| meta.set_next_hop(99_999));
    bed.run();
    bed.counted(&[("ip4-rewrite/no_next_hop", 1)]);
    bed.place("ip4-lookup", &packet, 10, |meta| meta.set_table(DEFAULT.0));
    bed.run();
    bed.counted(&[("ip4-rewrite/no_headroom", 1)]);
    let to_all = p0.incoming().macs(p0.peer_mac, MacAddr::BROADCAST).ipv4(p0.peer, p1.peer).udp(1, 2);
    bed.dies(0, &to_all.build(), "ip4-rewrite/link_broadcast");
    // Found its next hop when the interface was still up.
    let Bed { router, engine, interfaces, .. } = &mut bed;
    let peer = router.hold_adjacency::<Ip4>(engine, interfaces, p1.index, p1.peer).unwrap();
    bed.change(p1.index, |interface| interface.admin_up = false);
    bed.place("ip4-rewrite", &packet, HEADROOM, |meta| meta.set_next_hop(peer.0));
    bed.run();
    bed.counted(&[("ip4-rewrite/interface_down", 1)]);
}

#[test]
fn flows_spread_over_two_ports_and_stay() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let via = |port: weft_testing::Port| PathTarget::Via { address: port.peer, interface: Some(port.index) };
    bed.route(DEFAULT, "192.0.2.0/24", &[via(p0), via(p1)]);
    let mut ports = BTreeMap::new();
    for round in 0..2 {
        for flow in 0..200u16 {
            bed.pass(0, &p0.incoming().ipv4(p0.peer, ip("192.0.2.7")).udp(1000 + flow, 53));
            let by = bed.sent(1).len();
            assert_eq!(bed.sent(0).len() + by, 1);
            let before = *ports.entry(flow).or_insert(by);
            assert_eq!(before, by, "flow {flow} in round {round}");
        }
    }
    let second = ports.values().sum::<usize>();
    assert!((60..140).contains(&second), "{second} of 200 flows left by the second port");
}

#[test]
fn two_tables_may_have_the_same_addresses() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    // Each port becomes a customer of its own, with 10.9.0.0/24 behind a loopback of its own.
    let red = bed.add_table();
    bed.move_to(red, p1.index);
    bed.resolve(p1.index, p1.peer, p1.peer_mac);
    for (table, port) in [(DEFAULT, p0), (red, p1)] {
        let via = PathTarget::Via { address: port.peer, interface: Some(port.index) };
        bed.route(table, "10.9.0.0/24", &[via]);
    }
    bed.run();
    for (i, port) in [p0, p1].into_iter().enumerate() {
        let packet = |frame: Packet, ttl| frame.ipv4(ip("10.8.0.1"), ip("10.9.0.5")).ttl(ttl).udp(1, 2);
        bed.pass(i, &packet(port.incoming(), 64));
        assert_eq!(bed.only(i), packet(port.outgoing(), 63).build());
    }
    // And in one vector, in turns, longer than a lookup looks ahead.
    let packet = |frame: Packet, ttl| frame.ipv4(ip("10.8.0.1"), ip("10.9.0.5")).ttl(ttl).udp(1, 2);
    for i in 0..100 {
        bed.receive(i % 2, &packet([p0, p1][i % 2].incoming(), 64));
    }
    bed.run();
    for (i, port) in [p0, p1].into_iter().enumerate() {
        assert_eq!(bed.sent(i), vec![packet(port.outgoing(), 63).build(); 50]);
    }
    bed.counted(&[]);
}

static ONWARD: NodeSpec = NodeSpec::internal("test-onward");

/// Sends packets to ip4-rewrite: by the adjacency that is their object, or as what a tunnel has made.
struct Onward {
    rewrite: NodeId,
    tunnel_on: Option<AdjacencyId>,
}

impl Onward {
    fn add(bed: &mut Bed, tunnel_on: Option<AdjacencyId>) -> NodeId {
        let rewrite = bed.engine.graph().id("ip4-rewrite").unwrap();
        let def = NodeDef::new(&ONWARD, |_| Box::new(Onward { rewrite, tunnel_on }));
        bed.engine.add_nodes("test", vec![def]).unwrap()[0]
    }
}

impl Node for Onward {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        cx.each(frame, |packet| {
            if let Some(id) = self.tunnel_on {
                packet.meta.set_next_hop(id.0);
                packet.meta.flags |= LOCALLY_ORIGINATED;
            }
            self.rewrite
        });
    }
}

#[test]
fn a_route_can_lead_to_any_node_with_a_number() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let peer = bed.next_hop(p1.index, p1.peer);
    let onward = Onward::add(&mut bed, None);
    let kind = bed.router.register_kind("onward", onward).unwrap();
    let object = Forward::new(kind, peer.0);
    bed.route(DEFAULT, "192.0.2.0/24", &[PathTarget::Object(object)]);
    let packet = |frame: Packet, ttl| frame.ipv4(p0.peer, ip("192.0.2.1")).ttl(ttl).udp(1, 2);
    bed.pass(0, &packet(p0.incoming(), 64));
    assert_eq!(bed.only(1), packet(p1.outgoing(), 63).build());
}

#[test]
fn a_tunnel_is_an_adjacency_on_an_adjacency() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let peer = bed.next_hop(p1.index, p1.peer);
    let onward = Onward::add(&mut bed, Some(peer));
    let tunnel =
        bed.interfaces.create(&mut bed.engine, "tunnel0", Kind::Port, MacAddr::ZERO, 1400, onward).unwrap();
    bed.change(tunnel, |tunnel| (tunnel.admin_up, tunnel.link_up) = (true, true));
    let far = ip("172.16.0.2");
    bed.route(DEFAULT, "192.0.2.0/24", &[PathTarget::Via { address: far, interface: Some(tunnel) }]);
    // UDP in IPv4, and a header and an Ethernet header of the tunnel's own, as VXLAN has it.
    let encapsulation = ipv4(ip("10.0.1.1"), p1.peer).udp(4789, 4789).payload(&[7; 22]).build();
    let rewrite = Rewrite::of(&encapsulation).unwrap();
    bed.router.set_encapsulation(&mut bed.engine, &bed.interfaces, tunnel, rewrite);
    let inner =
        |frame: Packet, ttl| frame.ipv4(p0.peer, ip("192.0.2.1")).ttl(ttl).udp(1, 2).payload(b"inner");
    bed.pass(0, &inner(p0.incoming(), 64));
    let forwarded = inner(p1.outgoing(), 63).build();
    let (link, packet) = forwarded.split_at(14);
    assert_eq!(bed.only(1), [link, &encapsulation, packet].concat());
    assert_eq!(bed.interface(tunnel), InterfaceCounts { tx: 1, ..InterfaceCounts::default() });
}
