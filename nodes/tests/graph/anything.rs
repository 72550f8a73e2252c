// SPDX-License-Identifier: Apache-2.0
//! Whatever a port receives, every packet ends in exactly one counter and every buffer comes back: the bed checks that
//! when it is dropped.

use proptest::prelude::*;
use weft_nodes::graph::Settings;
use weft_nodes::headers::build::Packet;
use weft_nodes::headers::{ArpOperation, ArpPacket, EtherType, MacAddr, VlanId};
use weft_nodes::hold::HoldSettings;
use weft_nodes::interface::Tags;
use weft_nodes::ip4::PathTarget;
use weft_nodes::reassembly::BUFFERS;

use weft_testing::{Bed, DEFAULT, Port, ip};

/// Addresses with something special about each.
const ADDRESSES: [&str; 14] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.9",
    "10.0.0.255",
    "10.0.1.1",
    "10.0.1.2",
    "10.0.1.9",
    "10.0.20.2",
    "10.7.0.1",
    "10.7.0.9",
    "192.0.2.1",
    "203.0.113.1",
    "224.0.0.5",
    "255.255.255.255",
];

#[derive(Clone, Debug)]
pub struct Recipe {
    pub port: bool,
    pub tags: u8,
    pub shape: u8,
    pub from: usize,
    pub to: usize,
    pub ttl: u8,
    pub length: usize,
    pub flags: u16,
    pub options: bool,
    pub broadcast: bool,
    /// Bytes that are changed afterwards.
    pub damage: Vec<(usize, u8)>,
}

pub fn recipe() -> impl Strategy<Value = Recipe> {
    let damage = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec((0usize..80, any::<u8>()), 1..4)];
    let length = prop_oneof![4 => 0usize..100, 1 => 1400usize..1600, 1 => 0usize..6000];
    let flags = prop_oneof![3 => Just(0u16), 1 => Just(0x4000), 1 => any::<u16>().prop_map(|it| it & 0x3fff)];
    let ttl = prop_oneof![4 => Just(64u8), 1 => 0u8..3];
    (
        (any::<bool>(), 0u8..4, 0u8..8, 0..ADDRESSES.len(), 0..ADDRESSES.len()),
        (ttl, length, flags, prop::bool::weighted(0.1), prop::bool::weighted(0.1), damage),
    )
        .prop_map(|((port, tags, shape, from, to), (ttl, length, flags, options, broadcast, damage))| {
            Recipe { port, tags, shape, from, to, ttl, length, flags, options, broadcast, damage }
        })
}

pub fn frame(port: Port, recipe: &Recipe) -> Vec<u8> {
    let (from, to) = (ip(ADDRESSES[recipe.from]), ip(ADDRESSES[recipe.to]));
    let mut packet = port.incoming();
    if recipe.broadcast {
        packet = packet.macs(port.peer_mac, MacAddr::BROADCAST);
    }
    packet = match recipe.tags {
        1 => packet.vlan(10),
        2 => packet.qinq(20).vlan(30),
        _ => packet,
    };
    let data = vec![0xda; recipe.length];
    let ipv4 = |packet: Packet| {
        let options: &[u8] = if recipe.options { &[148, 4, 0, 0] } else { &[] };
        let packet = packet.ipv4(from, to).ttl(recipe.ttl).options(options);
        packet.ipv4_with(|ip| ip.flags_offset.set(recipe.flags))
    };
    let arp = |operation| ArpPacket::new(operation, (port.peer_mac, from), (MacAddr::ZERO, to));
    let mut bytes = match recipe.shape {
        0 => packet.arp(arp(ArpOperation::Request)).build(),
        1 => packet.arp(arp(ArpOperation::Reply)).build(),
        2 | 3 => ipv4(packet).ping(1, 1).payload(&data).build(),
        4 => ipv4(packet).payload(&data).build(),
        _ => ipv4(packet).udp(1000, 2000).payload(&data).build(),
    };
    for (at, value) in &recipe.damage {
        if let Some(byte) = bytes.get_mut(*at) {
            *byte = *value;
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_packet_ends_once(
        recipes in prop::collection::vec(recipe(), 1..400), host: bool, proxy_arp: bool, mtu in 500u16..1500,
    ) {
        let hold = HoldSettings { per_neighbor: 3, per_worker: 10, ..HoldSettings::default() };
        let mut bed = Bed::with(Settings { hold, ..Settings::default() });
        let [p0, p1] = bed.ports;
        let loopback = bed.loopback("loop0", MacAddr([2, 0, 0, 0, 7, 1]));
        bed.address(loopback, "10.7.0.1/24");
        let id = |id| VlanId::new(id).unwrap();
        let tags = Tags { outer: Some((EtherType::QINQ, id(20))), inner: Some(id(30)) };
        let sub = bed.interfaces.create_sub(&mut bed.engine, p1.index, 20, tags).unwrap();
        bed.address(sub, "10.0.20.1/24");
        bed.resolve(sub, ip("10.0.20.2"), p1.peer_mac);
        let via = |port: Port| PathTarget::Via { address: port.peer, interface: Some(port.index) };
        bed.route(DEFAULT, "192.0.2.0/24", &[via(p0), via(p1)]);
        bed.change(p1.index, |interface| interface.mtu = mtu);
        bed.change(p0.index, |interface| interface.proxy_arp = proxy_arp);
        if host {
            bed.with_host(0);
        }
        for (i, recipe) in recipes.iter().enumerate() {
            let port = usize::from(recipe.port);
            bed.receive_bytes(port, frame(bed.ports[port], recipe));
            match i % 100 {
                33 => bed.run(),
                66 => {
                    bed.resolve(p1.index, ip("10.0.1.9"), p1.peer_mac);
                    bed.run();
                }
                99 => {
                    let held = bed.nodes.held;
                    bed.engine.post_all(move |worker| held.fail(worker, loopback, ip("10.7.0.9").into()));
                    bed.run();
                }
                _ => {}
            }
        }
        bed.run();
        // Nothing comes out that is longer than its link allows.
        for frame in bed.sent(1) {
            prop_assert!(frame.len() <= usize::from(mtu) + 14 || frame[12] != 8, "{} bytes", frame.len());
        }
        prop_assert!(bed.worker.in_flight() <= 10 + BUFFERS);
    }
}
