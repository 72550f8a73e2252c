// SPDX-License-Identifier: Apache-2.0
//! Whatever a port receives of IPv6, every packet ends in exactly one counter and every buffer comes back: the bed checks
//! that when it is dropped.

use proptest::prelude::*;
use weft_nodes::fib::PathTarget;
use weft_nodes::graph::Settings;
use weft_nodes::headers::{Icmp6Header, Icmp6Type, IpProtocol, MacAddr};
use weft_nodes::hold::HoldSettings;
use weft_nodes::reassembly::BUFFERS;

use weft_testing::{Bed, Port, ip6};

/// Addresses with something special about each; hosts beyond a router are the first 9.
const ADDRESSES: [&str; 16] = [
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8::9",
    "2001:db8::",
    "2001:db8:0:1::1",
    "2001:db8:0:1::2",
    "2001:db8:0:1::9",
    "2001:db8:77::1",
    "2001:db8:5::1",
    "fe80::ff:fe00:1",
    "fe80::2",
    "ff02::1",
    "ff02::1:ff00:1",
    "ff0e::5",
    "::",
    "::1",
];

#[derive(Clone, Debug)]
pub struct Recipe {
    pub port: bool,
    pub shape: u8,
    pub from: usize,
    pub to: usize,
    pub hops: u8,
    pub label: u32,
    pub chain: Vec<(u8, u8, u8)>,
    pub length: usize,
    pub broadcast: bool,
    /// Bytes that are changed afterwards.
    pub damage: Vec<(usize, u8)>,
}

pub fn recipe() -> impl Strategy<Value = Recipe> {
    let damage = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec((0usize..100, any::<u8>()), 1..4)];
    let length = prop_oneof![4 => 0usize..100, 1 => 1400usize..1600, 1 => 0usize..6000];
    let hops = prop_oneof![4 => Just(64u8), 2 => Just(255u8), 1 => 0u8..3];
    let header = (prop::sample::select(vec![0u8, 43, 44, 51, 60]), 0u8..2, 0u8..3);
    let chain = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(header, 1..10)];
    (
        (any::<bool>(), 0u8..7, 0..ADDRESSES.len(), 0..ADDRESSES.len(), hops),
        (0u32..1 << 20, chain, length, prop::bool::weighted(0.1), damage),
    )
        .prop_map(|((port, shape, from, to, hops), (label, chain, length, broadcast, damage))| Recipe {
            port,
            shape,
            from,
            to,
            hops,
            label,
            chain,
            length,
            broadcast,
            damage,
        })
}

pub fn frame(port: Port, recipe: &Recipe) -> Vec<u8> {
    let (from, to) = (ip6(ADDRESSES[recipe.from]), ip6(ADDRESSES[recipe.to]));
    let mut packet = port.incoming();
    if recipe.broadcast {
        packet = packet.macs(port.peer_mac, MacAddr::BROADCAST);
    }
    let packet = packet.ipv6(from, to).hop_limit(recipe.hops);
    let packet = packet.ipv6_with(|ip| ip.version_class_flow.set(6 << 28 | recipe.label));
    let data = vec![0xda; recipe.length];
    let icmp = |icmp_type, rest| Icmp6Header::new(icmp_type, 0, rest);
    let mut bytes = match recipe.shape {
        _ if !recipe.chain.is_empty() => {
            let mut bytes = Vec::new();
            for (number, (_, units, left)) in recipe.chain.iter().enumerate() {
                let next = recipe.chain.get(number + 1).map_or(58, |(next, ..)| *next);
                bytes.extend_from_slice(&[next, *units, 0, *left]);
                bytes.extend(vec![0; 4 + 8 * usize::from(*units)]);
            }
            bytes.extend_from_slice(&data);
            packet.ipv6_with(|ip| ip.next_header = IpProtocol(recipe.chain[0].0)).payload(&bytes).build()
        }
        0 => packet.ping6(1, 1).payload(&data).build(),
        1 | 2 => {
            let kind = [Icmp6Type::NEIGHBOR_SOLICITATION, Icmp6Type::NEIGHBOR_ADVERTISEMENT];
            let option = [&[recipe.shape, 1][..], &port.peer_mac.0].concat();
            let body = [&to.octets()[..], &option].concat();
            packet.icmp6(icmp(kind[usize::from(recipe.shape) - 1], recipe.label << 12)).payload(&body).build()
        }
        3 => packet.icmp6(icmp(Icmp6Type(recipe.label as u8), 0)).payload(&data).build(),
        4 => packet.payload(&data).build(),
        _ => packet.udp(1000, 2000).payload(&data).build(),
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
        recipes in prop::collection::vec(recipe(), 1..400), host: bool, mtu in 1280u16..1500,
    ) {
        let hold = HoldSettings { per_neighbor: 3, per_worker: 10, ..HoldSettings::default() };
        let mut bed = Bed::with(Settings { hold, ..Settings::default() });
        bed.enable_ip6();
        let [p0, p1] = bed.ports;
        let via = |port: Port| PathTarget::Via { address: port.peer6, interface: Some(port.index) };
        bed.route6("2001:db8:77::/48", &[via(p0), via(p1)]);
        bed.change(p1.index, |interface| interface.mtu = mtu);
        if host {
            bed.with_host(0);
        }
        for (i, recipe) in recipes.iter().enumerate() {
            let port = usize::from(recipe.port);
            bed.receive_bytes(port, frame(bed.ports[port], recipe));
            match i % 100 {
                33 => bed.run(),
                66 => bed.hear(),
                99 => {
                    let held = bed.nodes.held6;
                    let silent = ip6("2001:db8:0:1::9").into();
                    bed.engine.post_all(move |worker| held.fail(worker, p1.index, silent));
                    bed.run();
                }
                _ => {}
            }
        }
        bed.run();
        // Nothing comes out that is longer than its link allows.
        for frame in bed.sent(1) {
            prop_assert!(frame.len() <= usize::from(mtu) + 14, "{} bytes", frame.len());
        }
        prop_assert!(bed.worker.in_flight() <= 10 + BUFFERS);
    }
}
