// SPDX-License-Identifier: Apache-2.0
//! ip4-woven and ip6-woven take what nothing unusual is to be done for, and do to it what the graph does.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use weft_nodes::context::{IpContext, LOCALLY_ORIGINATED};
use weft_nodes::fib::{self, AdjacencyId, Ip6, LoadBalanceId};
use weft_nodes::graph::Settings;
use weft_nodes::headers::build::Packet;
use weft_nodes::headers::{EtherType, MacAddr, VlanId};
use weft_nodes::hold::HoldSettings;
use weft_nodes::interface::{SourceCheck, Tags};
use weft_nodes::ip4::{DropKind, PathTarget, TCP_MSS, TableIndex};

use super::anything::{self, Recipe};
use super::ip6::anything as anything6;
use weft_testing::{Bed, DEFAULT, Port, ip, ip6};

fn bed(woven: bool) -> Bed {
    let hold = HoldSettings { per_neighbor: 3, per_worker: 10, ..HoldSettings::default() };
    Bed::with(Settings { woven, hold, ..Settings::default() })
}

/// Packets that a node has been given.
fn vectors(bed: &Bed, node: &str) -> u64 {
    let node = bed.engine.graph().id(node).expect("a node");
    bed.engine.counters.vectors.sum(node.index())
}

/// Packets that ip4-woven has taken, and that ethernet-input has been left.
fn ways(bed: &Bed) -> (u64, u64) {
    (vectors(bed, "ip4-woven"), vectors(bed, "ethernet-input"))
}

/// A packet to be forwarded from the first port to the second.
fn plain(bed: &Bed) -> Packet {
    let [p0, p1] = bed.ports;
    p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2).payload(&[7; 30])
}

#[test]
fn packets_without_anything_unusual_are_taken() {
    let mut bed = bed(true);
    let [p0, p1] = bed.ports;
    bed.pass(0, &plain(&bed));
    assert_eq!(bed.only(1), p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).udp(1, 2).payload(&[7; 30]).build());
    // A bare acknowledgement is padded to 60 bytes.
    let mut padded = p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2).build();
    padded.resize(60, 0xee);
    bed.receive_bytes(0, padded);
    bed.run();
    assert_eq!(bed.only(1), p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).udp(1, 2).build());
    assert_eq!(ways(&bed), (2, 0));
}

/// The same of IPv6.
fn plain6(bed: &Bed) -> Packet {
    let [p0, p1] = bed.ports;
    p0.incoming().ipv6(p0.peer6, p1.peer6).udp(1, 2).payload(&[7; 30])
}

#[test]
fn so_are_those_of_ip6() {
    let mut bed = bed(true);
    bed.enable_ip6();
    let [p0, p1] = bed.ports;
    let before = vectors(&bed, "ethernet-input");
    bed.pass(0, &plain6(&bed));
    let out = p1.outgoing().ipv6(p0.peer6, p1.peer6).hop_limit(63).udp(1, 2);
    assert_eq!(bed.only(1), out.clone().payload(&[7; 30]).build());
    // Padding is taken off; a hop-by-hop header is none of a router's.
    let mut padded = p0.incoming().ipv6(p0.peer6, p1.peer6).udp(1, 2).build();
    padded.resize(70, 0xee);
    bed.receive_bytes(0, padded);
    bed.run();
    assert_eq!(bed.only(1), out.build());
    let odd = [
        p0.incoming().ipv6(p0.peer6, p1.peer6).hop_limit(1).udp(1, 2).build(),
        p0.incoming().ipv6(p0.peer6, p1.peer6).udp(1, 2).payload(&[0; 1500]).build(),
        p0.incoming().ipv6(p0.peer6, ip6("2001:db8:0:1::77")).udp(1, 2).build(),
        p0.incoming().ipv6(p0.peer6, p0.address6).udp(1, 2).build(),
        p0.incoming().ipv6(ip6("fe80::9"), p1.peer6).udp(1, 2).build(),
        p0.incoming().ipv6(p0.peer6, ip6("ff0e::5")).udp(1, 2).build(),
        p0.incoming().ipv6(p0.peer6, ip6("2001:db8:99::1")).udp(1, 2).build(),
        p0.incoming().vlan(7).ipv6(p0.peer6, p1.peer6).udp(1, 2).build(),
        p0.incoming().macs(p0.peer_mac, MacAddr::BROADCAST).ipv6(p0.peer6, p1.peer6).udp(1, 2).build(),
        plain6(&bed).build()[..53].to_vec(),
        plain6(&bed).build()[..80].to_vec(),
        p0.incoming().ipv6(p0.peer6, p1.peer6).ipv6_with(|ip| ip.version_class_flow.set(5 << 28)).build(),
    ];
    assert_eq!((vectors(&bed, "ip6-woven"), vectors(&bed, "ethernet-input")), (2, before));
    for (i, frame) in odd.iter().enumerate() {
        bed.receive_bytes(0, frame.clone());
        bed.run();
        let left = vectors(&bed, "ethernet-input") - before;
        assert_eq!((vectors(&bed, "ip6-woven"), left), (2, i as u64 + 1), "packet {i}");
    }
}

/// On most links both families come mixed: neither is odd to the other.
#[test]
fn both_families_are_taken_out_of_one_vector() {
    let mut bed = bed(true);
    bed.enable_ip6();
    let before = vectors(&bed, "ethernet-input");
    let (plain, plain6) = (plain(&bed), plain6(&bed));
    for share in [1, 5, 8, 11, 13] {
        let ways = |bed: &Bed| [vectors(bed, "ip4-woven"), vectors(bed, "ip6-woven")];
        let [taken, taken6] = ways(&bed);
        for i in 0..10 * 256 {
            bed.receive(0, if i * 7 % 16 < share { &plain6 } else { &plain });
            if i % 256 == 255 {
                bed.run();
            }
        }
        assert_eq!(bed.sent(1).len(), 10 * 256);
        let six = 10 * 16 * share as u64;
        assert_eq!(ways(&bed), [taken + 2560 - six, taken6 + six], "{share} of 16");
        assert_eq!(vectors(&bed, "ethernet-input"), before);
    }
}

/// A node whose family does not come rests, so that it costs the other one nothing.
#[test]
fn who_finds_only_the_other_family_pauses() {
    let mut bed = bed(true);
    bed.enable_ip6();
    let calls = |bed: &Bed, node: &str| {
        let node = bed.engine.graph().id(node).expect("a node");
        bed.engine.counters.calls.sum(node.index())
    };
    for (packet, node) in [(plain6(&bed), "ip4-woven"), (plain(&bed), "ip6-woven")] {
        let before = calls(&bed, node);
        for _ in 0..130 {
            (0..256).for_each(|_| bed.receive(0, &packet));
            bed.run();
        }
        assert_eq!(bed.sent(1).len(), 130 * 256);
        assert!(calls(&bed, node) - before <= 8, "{node}: {}", calls(&bed, node) - before);
    }
}

#[test]
fn all_else_takes_the_graph() {
    let mut bed = bed(true);
    let [p0, p1] = bed.ports;
    let via = |port: Port| PathTarget::Via { address: port.peer, interface: Some(port.index) };
    let sub = bed.interfaces.create_sub(&mut bed.engine, p1.index, 10, vlan(10)).unwrap();
    bed.address(sub, "10.0.10.1/24");
    bed.resolve(sub, ip("10.0.10.2"), p1.peer_mac);
    bed.route(DEFAULT, "192.0.2.0/24", &[via(p0), via(p1)]);
    bed.route(DEFAULT, "198.51.100.0/24", &[PathTarget::Drop(DropKind::Blackhole)]);
    bed.run();
    let to = |address: &str| p0.incoming().ipv4(p0.peer, ip(address));
    let odd: Vec<Vec<u8>> = vec![
        to("10.0.1.2").ttl(1).udp(1, 2).build(),
        to("10.0.1.2").options(&[148, 4, 0, 0]).udp(1, 2).build(),
        to("10.0.1.2").udp(1, 2).payload(&[0; 1500]).build(),
        to("10.0.1.2").udp(1, 2).payload(&[0; 3000]).build(),
        to("10.0.1.77").udp(1, 2).build(),
        to("10.0.0.1").udp(1, 2).build(),
        to("10.0.10.2").udp(1, 2).build(),
        to("192.0.2.1").udp(1, 2).build(),
        to("198.51.100.1").udp(1, 2).build(),
        to("203.0.113.1").udp(1, 2).build(),
        to("224.0.0.5").udp(1, 2).build(),
        p0.incoming().vlan(7).ipv4(p0.peer, p1.peer).udp(1, 2).build(),
        p0.incoming().macs(p0.peer_mac, MacAddr::BROADCAST).ipv4(p0.peer, p1.peer).udp(1, 2).build(),
        p0.incoming().macs(MacAddr([3, 0, 0, 0, 0, 2]), p0.mac).ipv4(p0.peer, p1.peer).udp(1, 2).build(),
        p0.incoming().ipv4(ip("127.0.0.1"), p1.peer).udp(1, 2).build(),
        plain(&bed).build()[..33].to_vec(),
        plain(&bed).build()[..60].to_vec(),
        damaged(&plain(&bed), 24),
    ];
    for (i, frame) in odd.iter().enumerate() {
        bed.receive_bytes(0, frame.clone());
        bed.run();
        let (taken, left) = ways(&bed);
        assert_eq!((taken, left), (0, i as u64 + 1), "packet {i}");
    }
}

fn damaged(packet: &Packet, at: usize) -> Vec<u8> {
    let mut bytes = packet.build();
    bytes[at] ^= 1;
    bytes
}

fn vlan(id: u16) -> Tags {
    Tags { outer: VlanId::new(id).map(|id| (EtherType::VLAN, id)), inner: None }
}

/// Whether a plain packet is taken after `change`.
fn taken_after(change: impl FnOnce(&mut Bed)) -> bool {
    let mut bed = bed(true);
    bed.pass(0, &plain(&bed));
    assert_eq!(ways(&bed), (1, 0));
    change(&mut bed);
    bed.run();
    bed.pass(0, &plain(&bed));
    assert_eq!(bed.sent(1).len(), 2, "it goes either way");
    ways(&bed).0 == 2
}

#[test]
fn features_and_observers_turn_it_off() {
    let feature = |bed: &mut Bed, port: usize, arc: &str| {
        super::features::enable(bed, arc, bed.ports[port].index);
    };
    assert!(taken_after(|_| ()));
    assert!(taken_after(|bed| feature(bed, 1, "ip4-unicast")), "of an interface that it does not pass");
    assert!(!taken_after(|bed| feature(bed, 0, "ethernet")));
    assert!(!taken_after(|bed| feature(bed, 0, "ip4-unicast")));
    assert!(!taken_after(|bed| feature(bed, 1, "ip4-output")));
    assert!(!taken_after(|bed| feature(bed, 1, "interface-output")));
    assert!(!taken_after(|bed| bed.worker.trace(bed.nodes.ethernet_input, 1)));
    assert!(taken_after(|bed| {
        bed.worker.trace(bed.nodes.ethernet_input, 1);
        bed.worker.clear_trace();
    }));
    assert!(!taken_after(|bed| bed.worker.capture(Some((everything(), rtrb::RingBuffer::new(8).0)))));
}

fn everything() -> weft_engine::trace::CaptureFilter {
    weft_engine::trace::CaptureFilter {
        rx: true,
        tx: true,
        drop: true,
        interface: weft_engine::InterfaceIndex::NONE,
        max_bytes: 100,
    }
}

#[test]
fn many_odd_packets_make_it_pause_and_it_comes_back() {
    let mut bed = bed(true);
    let [p0, p1] = bed.ports;
    let (plain, old) = (plain(&bed), p0.incoming().ipv4(p0.peer, p1.peer).ttl(1).udp(1, 2));
    // How many of 256 packets are taken, of which so many of 16 are odd.
    let mut taken = |odd: usize| {
        let before = ways(&bed).0;
        for i in 0..256 {
            bed.receive(0, if i % 16 < odd { &old } else { &plain });
        }
        bed.run();
        bed.sent(1);
        ways(&bed).0 - before
    };
    assert_eq!(taken(1), 240);
    let first = taken(8);
    assert!(0 < first && first < 128, "{first} before there were too many");
    assert_eq!((0..128).map(|_| taken(8)).sum::<u64>(), 0, "it pauses");
    assert!(taken(0) == 256 && taken(1) == 240, "it comes back");
}

/// What may change between two vectors.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Mac(usize, u8),
    PeerMac(usize, u8),
    Mtu(usize, u16),
    Up(usize, bool),
    /// A prefix of these, and where it leads.
    Route(usize, u8),
    SourceCheck(usize, bool),
    Mss(usize, bool),
    /// To the other table, and back.
    Table(usize, bool),
    /// A prefix of IPv6, and where it leads.
    Route6(usize, u8),
}

fn change() -> impl Strategy<Value = Change> {
    let port = 0usize..2;
    prop_oneof![
        4 => Just(Change::Nothing),
        1 => (port.clone(), 1u8..3).prop_map(|(port, mac)| Change::Mac(port, mac)),
        1 => (port.clone(), 2u8..4).prop_map(|(port, mac)| Change::PeerMac(port, mac)),
        1 => (port.clone(), 60u16..1500).prop_map(|(port, mtu)| Change::Mtu(port, mtu)),
        1 => (port.clone(), any::<bool>()).prop_map(|(port, up)| Change::Up(port, up)),
        3 => (0..PREFIXES.len(), 0u8..6).prop_map(|(prefix, target)| Change::Route(prefix, target)),
        1 => (port.clone(), any::<bool>()).prop_map(|(port, on)| Change::SourceCheck(port, on)),
        1 => (port.clone(), any::<bool>()).prop_map(|(port, on)| Change::Mss(port, on)),
        1 => (port, any::<bool>()).prop_map(|(port, other)| Change::Table(port, other)),
        2 => (0..PREFIXES6.len(), 0u8..5).prop_map(|(prefix, target)| Change::Route6(prefix, target)),
    ]
}

const PREFIXES: [&str; 5] = ["0.0.0.0/0", "192.0.2.0/24", "192.0.2.1/32", "203.0.113.0/24", "203.0.112.0/22"];
const PREFIXES6: [&str; 4] = ["::/0", "2001:db8:77::/48", "2001:db8:5::/48", "2001:db8:0:1::2/128"];

fn apply(bed: &mut Bed, change: &Change, other: TableIndex) {
    let port = |bed: &Bed, port: usize| bed.ports[port];
    match *change {
        Change::Nothing => {}
        Change::Mac(number, mac) => {
            let index = port(bed, number).index;
            bed.change(index, |it| it.mac = MacAddr([2, 0, 0, 0, number as u8, mac]));
        }
        Change::PeerMac(number, mac) => {
            let it = port(bed, number);
            bed.resolve(it.index, it.peer, MacAddr([2, 0, 0, 0, number as u8, mac]));
        }
        Change::Mtu(number, mtu) => {
            let index = port(bed, number).index;
            bed.change(index, |it| it.mtu = mtu);
        }
        Change::Up(number, up) => {
            let index = port(bed, number).index;
            bed.change(index, |it| it.admin_up = up);
        }
        Change::Route(prefix, target) => {
            let via = |port: Port| PathTarget::Via { address: port.peer, interface: Some(port.index) };
            let [p0, p1] = bed.ports;
            let unknown = PathTarget::Via { address: ip("10.0.1.9"), interface: Some(p1.index) };
            let targets = match target {
                0 => vec![via(p0)],
                1 => vec![via(p1)],
                2 => vec![via(p0), via(p1)],
                3 => vec![PathTarget::Drop(DropKind::Prohibit)],
                4 => vec![PathTarget::Table(other)],
                _ => vec![unknown],
            };
            bed.route(DEFAULT, PREFIXES[prefix], &targets);
        }
        Change::SourceCheck(number, on) => {
            let (index, check) =
                (port(bed, number).index, if on { SourceCheck::Strict } else { SourceCheck::Off });
            bed.nodes.admission.check_sources(&mut bed.engine, index, check).expect("a feature");
        }
        Change::Mss(number, on) => {
            let (index, mss) = (port(bed, number).index, if on { 1000 } else { 0 });
            bed.nodes.values.set(&mut bed.engine, &TCP_MSS, index, mss).expect("a value");
        }
        Change::Route6(prefix, target) => {
            let via = |port: Port| via6(port, port.peer6);
            let [p0, p1] = bed.ports;
            let targets = match target {
                0 => vec![via(p0)],
                1 => vec![via(p1)],
                2 => vec![via(p0), via(p1)],
                3 => vec![fib::PathTarget::Drop(DropKind::Prohibit)],
                _ => vec![via6(p1, ip6("2001:db8:0:1::9"))],
            };
            bed.route6(PREFIXES6[prefix], &targets);
        }
        Change::Table(number, there) => {
            let it = port(bed, number);
            bed.move_to(if there { other } else { DEFAULT }, it.index);
            bed.resolve(it.index, it.peer, it.peer_mac);
        }
    }
}

fn via6(port: Port, address: std::net::Ipv6Addr) -> fib::PathTarget<Ip6> {
    fib::PathTarget::Via { address, interface: Some(port.index) }
}

/// A router with a bit of everything, and another table.
fn router(woven: bool) -> (Bed, TableIndex) {
    let mut bed = bed(woven);
    bed.enable_ip6();
    let [p0, p1] = bed.ports;
    bed.route6("2001:db8:77::/48", &[via6(p1, p1.peer6)]);
    let other = bed.add_table();
    let loopback = bed.loopback("loop0", MacAddr([2, 0, 0, 0, 7, 1]));
    bed.address(loopback, "10.7.0.1/24");
    let id = |id| VlanId::new(id).unwrap();
    let tags = Tags { outer: Some((EtherType::QINQ, id(20))), inner: Some(id(30)) };
    let sub = bed.interfaces.create_sub(&mut bed.engine, p1.index, 20, tags).unwrap();
    bed.address(sub, "10.0.20.1/24");
    bed.resolve(sub, ip("10.0.20.2"), p1.peer_mac);
    let via = |port: Port| PathTarget::Via { address: port.peer, interface: Some(port.index) };
    bed.route(DEFAULT, "192.0.2.0/24", &[via(p1)]);
    bed.route(DEFAULT, "203.0.113.0/24", &[via(p0)]);
    bed.run();
    (bed, other)
}

/// What a next hop is: its number is another one in each run.
fn next_hop(bed: &Bed, id: u32) -> String {
    format!("{:?}", bed.objects().adjacencies.get(AdjacencyId(id)).map(|adjacency| adjacency.next_hop()))
}

/// A frame but for the identification of a fragment that a router of IPv6 made, which is drawn by lot.
fn without_chance(frame: &[u8]) -> Vec<u8> {
    const NEXT_HEADER: usize = 14 + 6;
    const IDENTIFICATION: std::ops::Range<usize> = 14 + 40 + 4..14 + 40 + 8;
    let mut frame = frame.to_vec();
    if frame[12..14] == EtherType::IPV6.0.to_be_bytes() && frame.get(NEXT_HEADER) == Some(&44) {
        frame[IDENTIFICATION].fill(0);
    }
    frame
}

/// All that has come out of a router since the last call, in an order of its own, and all that it has counted so far, but
/// which nodes packets have passed.
fn seen(bed: &mut Bed) -> (Vec<String>, Vec<(String, u64)>) {
    let mut out = Vec::new();
    for port in 0..2 {
        let contexts = bed.contexts(port);
        for (bytes, meta) in bed.sent(port).iter().zip(contexts) {
            let place = (meta.data_offset(), meta.network_offset, meta.link_offset);
            let next_hop = next_hop(bed, meta.next_hop());
            let way = (meta.rx_interface, meta.tx_interface, meta.table(), next_hop, meta.feature, meta.hash);
            let rest = (meta.flags, meta.reason, meta.scratch, meta.total_length());
            let ours = meta.flags & LOCALLY_ORIGINATED != 0;
            let bytes = if ours { without_chance(bytes) } else { bytes.clone() };
            out.push(format!("port {port}: {bytes:02x?} {place:?} {way:?} {rest:?}"));
        }
        out.extend(bed.punted(port).iter().map(|bytes| format!("host {port}: {bytes:02x?}")));
    }
    out.sort_unstable();
    let mut counted = bed.moved();
    let interfaces = &bed.engine.counters.interfaces;
    for i in 0..6 {
        for (name, vector) in [("rx", &interfaces.rx), ("tx", &interfaces.tx)] {
            let sum = vector.sum(i);
            counted.extend([(format!("{name} {i}"), sum.packets), (format!("{name} bytes {i}"), sum.bytes)]);
        }
        let [ip4, ip6] = ["/if/ip4", "/if/ip6"].map(|name| interfaces.named(name).expect("it is registered"));
        let vectors = [("drops", &interfaces.drops), ("punt", &interfaces.punt), ("ip4", ip4), ("ip6", ip6)];
        for (name, vector) in vectors {
            counted.push((format!("{name} {i}"), vector.sum(i)));
        }
    }
    let mut routes: Vec<_> = (0..64)
        .filter_map(|id| {
            let load_balance = bed.objects().load_balances.get(LoadBalanceId(id))?;
            let forwards = load_balance.buckets().iter().map(|forward| match forward.as_adjacency() {
                Some(adjacency) => next_hop(bed, adjacency.0),
                None => format!("{forward:?}"),
            });
            let sum = bed.tables.routes.sum(id as usize);
            Some((format!("route {:?} bytes {}", forwards.collect::<Vec<_>>(), sum.bytes), sum.packets))
        })
        .collect();
    routes.sort_unstable();
    counted.extend(routes);
    (out, counted)
}

/// A packet of either family.
#[derive(Clone, Debug)]
enum Any {
    Ip4(Recipe),
    Ip6(anything6::Recipe),
}

impl Any {
    fn port(&self) -> usize {
        usize::from(match self {
            Any::Ip4(recipe) => recipe.port,
            Any::Ip6(recipe) => recipe.port,
        })
    }

    fn frame(&self, port: Port) -> Vec<u8> {
        match self {
            Any::Ip4(recipe) => anything::frame(port, recipe),
            Any::Ip6(recipe) => anything6::frame(port, recipe),
        }
    }
}

/// Mostly plain packets, so that nobody pauses; and any others.
fn recipes() -> impl Strategy<Value = Vec<Any>> {
    let plain = anything::recipe().prop_map(|it| Recipe {
        tags: 0,
        shape: 5,
        ttl: 64,
        length: it.length % 100,
        flags: 0,
        options: false,
        broadcast: false,
        damage: Vec::new(),
        ..it
    });
    let plain6 = anything6::recipe().prop_map(|it| anything6::Recipe {
        shape: 6,
        from: it.from % 9,
        to: it.to % 9,
        hops: 64,
        length: it.length % 100,
        broadcast: false,
        damage: Vec::new(),
        ..it
    });
    let any = prop_oneof![
        12 => plain.prop_map(Any::Ip4), 1 => anything::recipe().prop_map(Any::Ip4),
        6 => plain6.prop_map(Any::Ip6), 1 => anything6::recipe().prop_map(Any::Ip6),
    ];
    prop::collection::vec(any, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// The same packets and changes, with it and without.
    #[test]
    fn woven_is_graph(
        steps in prop::collection::vec((change(), recipes(), 0usize..20), 1..12), host: bool, large: bool,
    ) {
        let mut both = [true, false].map(router);
        for (bed, _) in &mut both {
            if host {
                bed.with_host(0);
            }
            if large {
                // Enough routes for the loop of two stages.
                let via = PathTarget::Via { address: bed.ports[1].peer, interface: Some(bed.ports[1].index) };
                let prefix = |i: u32| format!("{}/24", Ipv4Addr::from(0x1400_0000 + (i << 8)));
                bed.routes(DEFAULT, &(0..5000).map(prefix).collect::<Vec<_>>(), &[via]);
                for i in 0..1200 {
                    bed.route6(&format!("2001:db8:5:{i:x}::/64"), &[via6(bed.ports[0], bed.ports[0].peer6)]);
                }
            }
        }
        for (change, recipes, padding) in &steps {
            let [woven, graph] = both.each_mut().map(|(bed, other)| {
                apply(bed, change, *other);
                for recipe in recipes {
                    let port = recipe.port();
                    let mut bytes = recipe.frame(bed.ports[port]);
                    bytes.resize(bytes.len() + padding, 0xee);
                    bed.receive_bytes(port, bytes);
                }
                bed.run();
                seen(bed)
            });
            prop_assert_eq!(woven, graph, "after {:?}", change);
        }
        prop_assert_eq!(ways(&both[1].0).0, 0);
    }
}
