// SPDX-License-Identifier: Apache-2.0
//! Features on the arcs of this crate, and the trace of a packet.

use std::fmt::Write;

use weft_engine::feature::FeatureSpec;
use weft_engine::frame::Frame;
use weft_engine::graph::{Graph, NodeDef, Registration};
use weft_engine::node::{Node, NodeSpec};
use weft_engine::trace::Names;
use weft_engine::{Context, InterfaceIndex, NodeId, ReasonId};
use weft_nodes::headers::build::{Packet, ethernet};
use weft_nodes::headers::{ArpOperation, ArpPacket, MacAddr, TcpFlags};
use weft_nodes::ip4::TCP_MSS;

use weft_testing::{Bed, ip};

static FEATURE: NodeSpec = NodeSpec::internal("test-feature");

/// Counts, and passes on along its arc.
#[derive(Default)]
struct Feature {
    packets: usize,
}

impl Node for Feature {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        self.packets += frame.len();
        let arcs = cx.arcs();
        cx.each(frame, |packet| arcs.next(packet));
    }
}

/// A feature on an arc of an interface; its node.
pub fn enable(bed: &mut Bed, arc: &str, interface: InterfaceIndex) -> NodeId {
    let nodes = vec![NodeDef::new(&FEATURE, |_| Box::<Feature>::default())];
    let features = vec![(FEATURE.name, FeatureSpec::on(arc))];
    let brought = Registration { nodes, features, ..Registration::default() };
    let node = bed.engine.register("test", brought).unwrap()[0];
    let arc = bed.engine.features().arc(arc).unwrap();
    bed.engine.set_feature(arc, interface, FEATURE.name, true).unwrap();
    node
}

fn seen(bed: &mut Bed, node: NodeId) -> usize {
    bed.worker.node_mut::<Feature>(node).unwrap().packets
}

#[test]
fn a_feature_sees_the_packets_of_its_interface_once() {
    for (arc, port) in [("ip4-unicast", 0), ("ip4-output", 1), ("interface-output", 1)] {
        let mut bed = Bed::new();
        let [p0, p1] = bed.ports;
        let index = bed.ports[port].index;
        let node = enable(&mut bed, arc, index);
        bed.pass(0, &p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2));
        assert_eq!(bed.only(1), p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).udp(1, 2).build());
        assert_eq!(seen(&mut bed, node), 1, "{arc}");
        bed.pass(1, &p1.incoming().ipv4(p1.peer, p0.peer).udp(1, 2));
        assert_eq!((bed.only(0).len(), seen(&mut bed, node)), (42, 1), "{arc}");
    }
}

#[test]
fn features_of_ip4_output_come_before_those_of_interface_output() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    bed.nodes.values.set(&mut bed.engine, &TCP_MSS, p1.index, 1000).unwrap();
    let node = enable(&mut bed, "ip4-output", p1.index);
    bed.worker.trace(bed.nodes.ethernet_input, 1);
    bed.pass(0, &p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2));
    assert_eq!((bed.only(1).len(), seen(&mut bed, node)), (42, 1));
    let way = bed.worker.trace_records().iter().map(|record| record.node);
    let way: Vec<_> = way.map(|node| bed.engine.graph().node(node).unwrap().name.as_str()).collect();
    assert_eq!(way[3..], ["ip4-rewrite", "test-feature", "ip4-tcp-mss-output", "p1-tx"]);
}

#[test]
fn local_packets_and_arp_have_arcs_too() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let node = enable(&mut bed, "ip4-local", p0.index);
    bed.pass(0, &p0.incoming().ipv4(p0.peer, p0.address).ping(1, 1));
    assert_eq!((bed.only(0).len(), seen(&mut bed, node)), (42, 1));

    let request = ArpPacket::new(ArpOperation::Request, (p0.peer_mac, p0.peer), (MacAddr::ZERO, p0.address));
    // The reply passes the output features of its interface, but is not IPv4.
    for (arc, seen_there) in [("arp", 1), ("interface-output", 1), ("ip4-output", 0), ("ip4-unicast", 0)] {
        let mut bed = Bed::new();
        let node = enable(&mut bed, arc, p0.index);
        bed.pass(0, &p0.incoming().arp(request));
        assert_eq!((bed.only(0).len(), seen(&mut bed, node)), (42, seen_there), "{arc}");
    }
}

/// How often a feature on each of these arcs of the first port sees a frame that it receives.
fn seen_on(arcs: &[&str], host: bool, frame: &Packet) -> Vec<usize> {
    let on_one = |arc: &&str| {
        let mut bed = Bed::new();
        if host {
            bed.with_host(0);
        }
        let interface = bed.ports[0].index;
        let node = enable(&mut bed, arc, interface);
        bed.pass(0, frame);
        seen(&mut bed, node)
    };
    arcs.iter().map(on_one).collect()
}

#[test]
fn each_arc_sees_the_packets_that_it_is_for() {
    let [p0, p1] = Bed::new().ports;
    let arcs = [
        "ethernet",
        "arp",
        "ip4-unicast",
        "ip4-multicast",
        "ip4-local",
        "ip4-punt",
        "ip4-drop",
        "error-drop",
    ];
    let to = |destination: &str| p0.incoming().ipv4(p0.peer, ip(destination)).udp(1, 2);
    let request = ArpPacket::new(ArpOperation::Request, (p0.peer_mac, p0.peer), (MacAddr::ZERO, p0.address));
    let ssh = p0.incoming().ipv4(p0.peer, p0.address).tcp(1, 22, TcpFlags::SYN);
    let group = ethernet().macs(p0.peer_mac, MacAddr([1, 0, 0x5e, 0, 0, 5]));
    let group = group.ipv4(p0.peer, ip("224.0.0.5"));
    let cases = [
        ("forwarded", false, to(&p1.peer.to_string()), [1, 0, 1, 0, 0, 0, 0, 0]),
        ("ARP", false, p0.incoming().arp(request), [1, 1, 0, 0, 0, 0, 0, 0]),
        ("no route", false, to("203.0.113.1"), [1, 0, 1, 0, 0, 0, 1, 1]),
        ("malformed", false, to("127.0.0.1"), [1, 0, 0, 0, 0, 0, 0, 1]),
        ("nobody listens", false, to(&p0.address.to_string()), [1, 0, 1, 0, 1, 0, 1, 1]),
        ("to the host", true, ssh.clone(), [1, 0, 1, 0, 1, 1, 0, 0]),
        ("no host", false, ssh, [1, 0, 1, 0, 1, 1, 0, 1]),
        ("multicast", true, group.payload(b"hello"), [1, 0, 1, 1, 1, 1, 0, 0]),
        ("unknown EtherType", false, p0.incoming().ipv6([1u16; 8], [2; 8]), [1, 0, 0, 0, 0, 0, 0, 1]),
        ("another station", false, p0.outgoing().ipv4(p0.peer, p1.peer).udp(1, 2), [0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    for (what, host, frame, expected) in cases {
        assert_eq!(seen_on(&arcs, host, &frame), expected, "{what}: {arcs:?}");
    }
}

#[test]
fn features_of_ethernet_see_packets_as_their_handlers_would() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let node = enable(&mut bed, "ethernet", p0.index);
    bed.pass(0, &p0.incoming().vlan(0).ipv4(p0.peer, p1.peer).udp(1, 2));
    assert_eq!(bed.only(1), p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).udp(1, 2).build());
    bed.dies(0, &p0.incoming().ipv6([1u16; 8], [2; 8]).build(), "ethernet-end-of-arc/ip6_not_enabled");
    bed.change(p0.index, |interface| interface.ip4.addresses = vec![]);
    let plain = p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2).build();
    bed.dies(0, &plain, "ethernet-end-of-arc/ip4_not_enabled");
    bed.with_host(0);
    bed.receive_bytes(0, plain.clone());
    bed.run();
    assert_eq!((bed.punted(0), seen(&mut bed, node)), (vec![plain], 4));
}

struct Shown<'a>(&'a Graph);

impl Names for Shown<'_> {
    fn interface(&self, interface: InterfaceIndex) -> String {
        format!("p{interface}")
    }
    fn reason(&self, reason: ReasonId) -> String {
        self.0.reason(reason).unwrap().spec.text.trim().to_owned()
    }
    fn node(&self, node: NodeId) -> String {
        self.0.node(node).unwrap().name.clone()
    }
}

/// What an operator is shown of all traced packets, one by one.
fn shown(bed: &Bed) -> String {
    let mut out = String::new();
    let mut records = bed.worker.trace_records().to_vec();
    records.sort_by_key(|record| record.packet);
    for record in &records {
        let node = bed.engine.graph().node(record.node).unwrap();
        writeln!(out, "{}", node.name).unwrap();
        record.print(node.spec.trace, &Shown(bed.engine.graph()), &mut out).unwrap();
    }
    out
}

#[test]
fn a_trace_tells_the_way_of_a_packet() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let ethernet_input = bed.nodes.ethernet_input;
    bed.worker.trace(ethernet_input, 2);
    let frame = |ttl| p0.incoming().ipv4(p0.peer, p1.peer).ttl(ttl).udp(1, 2);
    bed.receive(0, &frame(64));
    bed.receive(0, &frame(1));
    bed.run();
    let id = bed.next_hop(p1.index, p1.peer).0;
    let header = |ttl, checksum: &str| {
        format!(
            "  UDP: 10.0.0.2 -> 10.0.1.2\n    tos 0x00, ttl {ttl}, length 28, checksum 0x{checksum}\n    \
             fragment id 0x0000, offset 0, flags \n"
        )
    };
    let first = header(64, "65ce");
    let old = header(1, "a4ce");
    let expected = format!(
        "ethernet-input\n  p0 link header 14 bytes, table 0\n\
         ip4-input\n{first}\
         ip4-lookup\n  fib 0 next hop {id} flow hash: 0x00000000\n{first}\
         ip4-rewrite\n  tx p1 next hop {id}: 02000000010202000000010108004500001c000000003f1166ce0a0000020a00\n\
         p1-tx\n\
         ethernet-input\n  p0 link header 14 bytes, table 0\n\
         ip4-input\n{old}\
         ip4-lookup\n  fib 0 next hop {id} flow hash: 0x00000000\n{old}\
         ip4-rewrite\n"
    );
    let text = shown(&bed);
    assert!(text.starts_with(&expected), "{text}\nexpected:\n{expected}");
    assert!(text.contains("drop\n  rx:p0 reason:TTL ran out here\n"), "{text}");
    // The error carries on the trace of the packet that it is about.
    assert!(text.ends_with("p0-tx\n"), "{text}");
    assert_eq!((bed.sent(0).len(), bed.sent(1).len()), (1, 1));
}
