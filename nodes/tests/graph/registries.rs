// SPDX-License-Identifier: Apache-2.0
//! Who handles what the built-in nodes do not know themselves: it comes, takes its packets, and goes.

use weft_engine::frame::Frame;
use weft_engine::graph::{GraphError, NodeDef};
use weft_engine::node::{Node, NodeSpec};
use weft_engine::registry::Handles;
use weft_engine::{Context, NodeId};
use weft_nodes::headers::build::Packet;
use weft_nodes::headers::{EtherType, IpProtocol, TcpFlags};
use weft_nodes::registries::{ETHER_TYPES, IP4_PROTOCOLS, PUNT_REASONS, UDP4_PORTS};

use weft_testing::{Bed, ip};

/// Keeps the bytes of what it handles, and drops it.
#[derive(Default)]
struct Taker {
    seen: Vec<Vec<u8>>,
}

impl Node for Taker {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        for &index in frame.packets() {
            self.seen.push(cx.buffers.packet(index).data().to_vec());
        }
        cx.send(NodeId::DROP, frame.packets());
    }
}

fn taker(entry: Handles<'static>) -> &'static NodeSpec {
    let entries: &'static [Handles<'static>] = Box::leak(Box::new([entry]));
    Box::leak(Box::new(NodeSpec::internal("taker").handles(entries)))
}

fn add(bed: &mut Bed, entry: Handles<'static>) -> Result<NodeId, GraphError> {
    let nodes = vec![NodeDef::new(taker(entry), |_| Box::<Taker>::default())];
    bed.engine.add_nodes("test", nodes).map(|ids| ids[0])
}

/// What `taker` has seen since the last time.
fn taken(bed: &mut Bed, taker: NodeId) -> Vec<Vec<u8>> {
    let node = bed.worker.node_mut::<Taker>(taker).expect("the node is there");
    std::mem::take(&mut node.seen)
}

/// A frame goes to `entry`'s handler while there is one, from its network header on, and to the host before and after.
fn comes_and_goes(entry: Handles<'static>, frame: &[u8]) {
    let mut bed = Bed::new();
    bed.with_host(0);
    let to_host = |bed: &mut Bed| {
        bed.receive_bytes(0, frame.to_vec());
        bed.run();
        bed.punted(0)
    };
    assert_eq!(to_host(&mut bed), [frame], "{entry:?}");
    let node = add(&mut bed, entry).unwrap();
    assert_eq!(to_host(&mut bed), Vec::<Vec<u8>>::new(), "{entry:?}");
    assert_eq!(taken(&mut bed, node), [frame[14..].to_vec()], "{entry:?}");
    let shown: Vec<_> = bed.engine.registries().list().filter(|it| it.node == "taker").collect();
    assert_eq!((shown.len(), shown[0].registry, shown[0].owner), (1, entry.registry, "test"));
    bed.engine.remove_node(node);
    assert_eq!(to_host(&mut bed), [frame], "{entry:?}");
    bed.counted(&[("drop/unspecified", 1)]);
}

const LLDP: EtherType = EtherType(0x88cc);

#[test]
fn an_ethertype_a_protocol_and_a_port_have_handlers() {
    let [p0, _] = Bed::new().ports;
    let to = |address| p0.incoming().ipv4(p0.peer, address);
    let mut lldp = p0.incoming().ipv6([1u16; 8], [2; 8]).build();
    lldp[12..14].copy_from_slice(&LLDP.0.to_be_bytes());
    comes_and_goes(ETHER_TYPES.number(LLDP.0), &lldp);
    let gre = to(p0.address).ipv4_with(|ip| ip.protocol = IpProtocol(47)).payload(b"gre");
    comes_and_goes(IP4_PROTOCOLS.number(47), &gre.build());
    comes_and_goes(UDP4_PORTS.number(4789), &to(p0.address).udp(1, 4789).payload(b"inner").build());
    comes_and_goes(UDP4_PORTS.number(67), &to(ip("10.0.0.255")).udp(1, 67).build());
}

#[test]
fn a_reason_to_punt_has_a_handler_in_place_of_the_host() {
    let [p0, p1] = Bed::new().ports;
    let to_us = || p0.incoming().ipv4(p0.peer, p0.address);
    let bgp = to_us().tcp(1000, 179, TcpFlags::SYN).build();
    comes_and_goes(PUNT_REASONS.reason("ip4-local-end-of-arc/tcp_no_host"), &bgp);
    comes_and_goes(PUNT_REASONS.reason("ip4-local-end-of-arc/udp_no_host"), &to_us().udp(1, 2).build());
    let ip6 = p0.incoming().ipv6([1u16; 8], [2; 8]).build();
    comes_and_goes(PUNT_REASONS.reason("ethernet-input/ip6_not_enabled"), &ip6);
    // Where there is no host, it has them all the same, and no ICMP error is sent.
    let mut bed = Bed::new();
    let node = add(&mut bed, PUNT_REASONS.reason("ip4-local-end-of-arc/udp_no_host")).unwrap();
    bed.receive_bytes(0, to_us().udp(1, 2).build());
    bed.receive_bytes(1, p1.incoming().ipv4(p1.peer, p1.address).udp(3, 4).build());
    bed.run();
    assert_eq!(taken(&mut bed, node).len(), 2);
    bed.nothing_sent();
}

#[test]
fn what_no_handler_can_read_stays_where_it_is() {
    let mut bed = Bed::new();
    bed.with_host(0);
    let [p0, _] = bed.ports;
    add(&mut bed, UDP4_PORTS.number(4789)).unwrap();
    let to_us = || p0.incoming().ipv4(p0.peer, p0.address);
    let is_udp = |packet: Packet| packet.ipv4_with(|ip| ip.protocol = IpProtocol::UDP);
    let short = is_udp(to_us()).payload(&4789u32.to_be_bytes()).build();
    let mut long = to_us().udp(1, 4789).payload(b"x").build();
    long[14 + 20 + 5] += 1;
    for frame in [short, long] {
        bed.receive_bytes(0, frame.clone());
        bed.run();
        assert_eq!(bed.punted(0), [frame]);
    }
}

#[test]
fn what_is_taken_is_refused_with_both_names_and_leaves_nothing() {
    let mut bed = Bed::new();
    let error = add(&mut bed, ETHER_TYPES.number(EtherType::ARP.0)).unwrap_err().to_string();
    assert_eq!(error, "'taker' of test cannot handle ethertype 0x0806: 'arp-input' of weft does");
    assert!(bed.engine.graph().id("taker").is_none());
    let error = add(&mut bed, PUNT_REASONS.reason("punt/nothing")).unwrap_err().to_string();
    assert!(error.contains("no entry 'punt/nothing'"), "{error}");
    add(&mut bed, ETHER_TYPES.number(LLDP.0)).unwrap();
}

/// The reasons for which packets may go to the host are reasons of their nodes.
#[test]
fn reasons_to_punt_have_sentences() {
    let bed = Bed::new();
    let mut punts = 0;
    for (_, info) in bed.engine.graph().nodes() {
        for punt in info.spec.punts {
            assert!(info.spec.drops.iter().any(|reason| reason.name == *punt), "{}/{punt}", info.name);
            punts += 1;
        }
    }
    assert!(punts > 5);
}
