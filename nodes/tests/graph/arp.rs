// SPDX-License-Identifier: Apache-2.0
//! arp-input and arp-reply: who is answered, who is believed, what the main thread hears.

use std::net::{IpAddr, Ipv4Addr};

use weft_engine::InterfaceIndex;
use weft_engine::buffer::HEADROOM;
use weft_nodes::graph::Settings;
use weft_nodes::headers::build::Packet;
use weft_nodes::headers::{ArpOperation, ArpPacket, EtherType, MacAddr, VlanId};
use weft_nodes::interface::Tags;
use weft_nodes::ip4::{DropKind, PathTarget};
use weft_nodes::neighbor::Evidence;
use weft_nodes::neighbor::NeighborNotice;
use zerocopy::IntoBytes;

use weft_testing::{Bed, DEFAULT, Port, ip};

const ETHERNET: usize = 14;

fn request(from: (MacAddr, Ipv4Addr), target: Ipv4Addr) -> ArpPacket {
    ArpPacket::new(ArpOperation::Request, from, (MacAddr::ZERO, target))
}

fn learned(interface: InterfaceIndex, address: Ipv4Addr, mac: MacAddr, evidence: Evidence) -> NeighborNotice {
    NeighborNotice::Learned { interface, address: IpAddr::V4(address), mac, evidence }
}

/// A request of the peer, to all.
fn shouted(port: Port, arp: ArpPacket) -> Packet {
    port.incoming().macs(arp.sender_mac, MacAddr::BROADCAST).arp(arp)
}

#[test]
fn a_request_for_our_address_is_answered_and_its_sender_learned() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let asked = request((p0.peer_mac, p0.peer), p0.address);
    let mut padded = shouted(p0, asked).build();
    padded.resize(60, 0xee);
    bed.receive_bytes(0, padded);
    // Asked twice at once, it answers twice but has one thing to tell.
    bed.pass(0, &p0.incoming().arp(asked));
    let answer = ArpPacket::new(ArpOperation::Reply, (p0.mac, p0.address), (p0.peer_mac, p0.peer));
    let answer = p0.outgoing().arp(answer).build();
    assert_eq!(bed.sent(0), [answer.clone(), answer]);
    bed.counted(&[("arp-reply/replies_sent", 2)]);
    assert_eq!(bed.notices(), [learned(p0.index, p0.peer, p0.peer_mac, Evidence::ToUs)]);
}

#[test]
fn a_reply_wears_the_tags_of_the_request() {
    let mut bed = Bed::new();
    let p1 = bed.ports[1];
    let id = |id| VlanId::new(id).unwrap();
    let tags = Tags { outer: Some((EtherType::QINQ, id(20))), inner: Some(id(30)) };
    let sub = bed.interfaces.create_sub(&mut bed.engine, p1.index, 20, tags).unwrap();
    bed.address(sub, "10.0.20.1/24");
    let peer = ip("10.0.20.2");
    bed.pass(1, &p1.incoming().qinq(20).vlan(30).arp(request((p1.peer_mac, peer), ip("10.0.20.1"))));
    let answer = ArpPacket::new(ArpOperation::Reply, (p1.mac, ip("10.0.20.1")), (p1.peer_mac, peer));
    assert_eq!(bed.only(1), p1.outgoing().qinq(20).vlan(30).arp(answer).build());
    assert_eq!(bed.notices(), [learned(sub, peer, p1.peer_mac, Evidence::ToUs)]);
    assert_eq!((bed.interface(sub).rx, bed.interface(sub).tx), (1, 1));
    // Untagged, the same request is for nobody.
    let frame = p1.incoming().arp(request((p1.peer_mac, p1.peer), ip("10.0.20.1"))).build();
    bed.moved();
    bed.dies(1, &frame, "arp-reply/not_for_us");
}

#[test]
fn what_is_no_arp_has_its_reason() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let good = p0.incoming().arp(request((p0.peer_mac, p0.peer), p0.address)).build();
    bed.dies(0, &good[..ETHERNET + 27], "arp-input/too_short");
    let mut changed = |at: usize, value: u8, reason: &str| {
        let mut frame = good.clone();
        frame[ETHERNET + at] = value;
        bed.dies(0, &frame, reason);
    };
    changed(1, 6, "arp-input/bad_format");
    changed(7, 9, "arp-input/bad_operation");
    changed(8, 1, "arp-input/bad_sender_mac");
    let nobody = p0.incoming().arp(request((MacAddr::ZERO, p0.peer), p0.address)).build();
    bed.dies(0, &nobody, "arp-input/bad_sender_mac");
    let arp = &good[ETHERNET..];
    bed.place("arp-reply", arp, HEADROOM, |_| {});
    bed.place("arp-reply", arp, HEADROOM, |meta| meta.rx_interface = p0.index);
    bed.run();
    bed.counted(&[("arp-reply/no_interface", 1), ("arp-reply/no_link_header", 1)]);
}

#[test]
fn strangers_and_ourselves_are_not_believed() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    for stranger in ["10.0.1.2", "10.0.0.0", "10.0.0.255", "224.0.0.1", "192.0.2.1"] {
        let frame = shouted(p0, request((p0.peer_mac, ip(stranger)), p0.address)).build();
        bed.dies(0, &frame, "arp-reply/sender_not_local");
    }
    let reply = ArpPacket::new(ArpOperation::Reply, (p0.peer_mac, ip("0.0.0.0")), (p0.mac, p0.address));
    bed.dies(0, &p0.incoming().arp(reply).build(), "arp-reply/sender_not_local");
    let own = shouted(p0, request((p0.mac, p0.address), p0.peer)).build();
    bed.dies(0, &own, "arp-reply/own_packet");
    assert_eq!(bed.notices(), []);
}

#[test]
fn somebody_with_our_address_is_reported() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let frame = shouted(p0, request((p0.peer_mac, p0.address), p0.address)).build();
    bed.receive_bytes(0, frame.clone());
    bed.receive_bytes(0, frame);
    bed.run();
    bed.nothing_sent();
    bed.counted(&[("arp-reply/address_conflict", 2)]);
    let conflict =
        NeighborNotice::Conflict { interface: p0.index, address: p0.address.into(), mac: p0.peer_mac };
    assert_eq!(bed.notices(), [conflict]);
}

#[test]
fn a_probe_for_our_address_is_answered_and_teaches_nothing() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let nobody = ip("0.0.0.0");
    bed.pass(0, &shouted(p0, request((p0.peer_mac, nobody), p0.address)));
    let answer = ArpPacket::new(ArpOperation::Reply, (p0.mac, p0.address), (p0.peer_mac, nobody));
    assert_eq!(bed.only(0), p0.outgoing().arp(answer).build());
    bed.moved();
    let frame = shouted(p0, request((p0.peer_mac, nobody), ip("10.0.0.9"))).build();
    bed.dies(0, &frame, "arp-reply/not_for_us");
    assert_eq!(bed.notices(), []);
}

#[test]
fn replies_and_announcements_are_noted_and_handed_to_the_host() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let to_us = ArpPacket::new(ArpOperation::Reply, (p0.peer_mac, p0.peer), (p0.mac, p0.address));
    let other = (MacAddr([2, 0, 0, 0, 0, 9]), ip("10.0.0.9"));
    let frames = [p0.incoming().arp(to_us).build(), shouted(p0, request(other, other.1)).build()];
    let expected = [
        learned(p0.index, p0.peer, p0.peer_mac, Evidence::ToUs),
        learned(p0.index, other.1, other.0, Evidence::Overheard),
    ];
    for (frame, notice) in frames.iter().zip(expected) {
        bed.dies(0, frame, "arp-reply/noted");
        assert_eq!(bed.notices(), [notice]);
    }
    bed.with_host(0);
    frames.iter().for_each(|frame| bed.receive_bytes(0, frame.clone()));
    bed.run();
    assert_eq!(bed.punted(0), frames);
    bed.counted(&[]);
}

#[test]
fn proxy_arp_answers_for_what_lies_behind() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let via = |port: Port| PathTarget::Via { address: port.peer, interface: Some(port.index) };
    bed.route(DEFAULT, "10.0.0.64/26", &[via(p1)]);
    bed.route(DEFAULT, "10.0.0.128/27", &[PathTarget::Drop(DropKind::Unreachable)]);
    let other = bed.add_table();
    bed.route(DEFAULT, "10.0.0.192/27", &[PathTarget::Table(other)]);
    bed.route(other, "10.0.0.192/28", &[via(p1)]);
    let asks = |target| shouted(p0, request((p0.peer_mac, p0.peer), ip(target)));
    bed.dies(0, &asks("10.0.0.65").build(), "arp-reply/not_for_us");
    bed.change(p0.index, |interface| interface.proxy_arp = true);
    // By another port, on the link of another port, in another table, and an address of ours there.
    for target in ["10.0.0.65", "10.0.1.9", "10.0.0.193", "10.0.1.1"] {
        bed.pass(0, &asks(target));
        let answer = ArpPacket::new(ArpOperation::Reply, (p0.mac, ip(target)), (p0.peer_mac, p0.peer));
        assert_eq!(bed.only(0), p0.outgoing().arp(answer).build());
        bed.counted(&[("arp-reply/proxy_replies_sent", 1)]);
    }
    // On the link where the question comes from, by a neighbour there, nowhere, unknown, and no host at all.
    bed.resolve(p0.index, ip("10.0.0.9"), MacAddr([2, 0, 0, 0, 0, 9]));
    for target in
        ["10.0.0.8", "10.0.0.9", "10.0.0.130", "10.0.0.209", "192.0.2.1", "10.0.0.255", "10.0.1.255"]
    {
        bed.dies(0, &asks(target).build(), "arp-reply/not_for_us");
    }
    let probe = shouted(p0, request((p0.peer_mac, ip("0.0.0.0")), ip("10.0.0.65"))).build();
    bed.dies(0, &probe, "arp-reply/not_for_us");
}

#[test]
fn a_full_ring_loses_news_and_no_answer() {
    let mut bed = Bed::with(Settings { notices: 2, ..Settings::default() });
    let p0 = bed.ports[0];
    for last in 2..7 {
        let mac = MacAddr([2, 0, 0, 0, 0, last]);
        let address = Ipv4Addr::new(10, 0, 0, last);
        bed.receive(0, &shouted(p0, request((mac, address), p0.address)));
    }
    bed.run();
    assert_eq!(bed.sent(0).len(), 5);
    bed.counted(&[("arp-reply/notice_lost", 3), ("arp-reply/replies_sent", 5)]);
    assert_eq!(bed.notices().len(), 2);
    // What was lost is told by the next packet.
    bed.pass(0, &shouted(p0, request((MacAddr([2, 0, 0, 0, 0, 6]), ip("10.0.0.6")), p0.address)));
    let told = learned(p0.index, ip("10.0.0.6"), MacAddr([2, 0, 0, 0, 0, 6]), Evidence::ToUs);
    assert_eq!((bed.notices(), bed.sent(0).len()), (vec![told], 1));
    assert_eq!(request((p0.mac, p0.address), p0.peer).as_bytes().len(), ArpPacket::LENGTH);
}

#[test]
fn gratuitous_packets_change_what_is_known_unless_the_interface_ignores_them() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    let mac = |last| MacAddr([2, 0, 0, 0, 9, last]);
    let announce = |operation, mac| {
        shouted(p0, ArpPacket::new(operation, (mac, p0.peer), (MacAddr::ZERO, p0.peer))).build()
    };
    let (request, reply) = (ArpOperation::Request, ArpOperation::Reply);
    for (last, operation) in [(1, request), (2, reply)] {
        bed.dies(0, &announce(operation, mac(last)), "arp-reply/noted");
        assert_eq!(bed.notices(), [learned(p0.index, p0.peer, mac(last), Evidence::Overheard)]);
    }
    bed.change(p0.index, |interface| interface.gratuitous_arp.ignore_requests = true);
    bed.dies(0, &announce(request, mac(3)), "arp-reply/gratuitous_ignored");
    assert_eq!(bed.notices(), []);
    bed.dies(0, &announce(reply, mac(4)), "arp-reply/noted");
    bed.change(p0.index, |interface| interface.gratuitous_arp.ignore_replies = true);
    bed.dies(0, &announce(reply, mac(5)), "arp-reply/gratuitous_ignored");
    // One that says that two use our address is told all the same.
    let conflict = ArpPacket::new(request, (mac(6), p0.address), (MacAddr::ZERO, p0.address));
    bed.dies(0, &shouted(p0, conflict).build(), "arp-reply/address_conflict");
}
