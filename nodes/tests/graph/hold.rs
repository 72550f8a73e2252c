// SPDX-License-Identifier: Apache-2.0
//! ip4-arp: packets wait for neighbours, and leave in order, or with a reason.

use std::net::Ipv4Addr;
use std::time::Duration;

use weft_engine::buffer::HEADROOM;
use weft_nodes::context::IpContext;
use weft_nodes::graph::Settings;
use weft_nodes::headers::build::{Packet, ipv4};
use weft_nodes::headers::{EtherType, Icmp4Header, Icmp4Type, MacAddr, VlanId};
use weft_nodes::hold::HoldSettings;
use weft_nodes::interface::Tags;
use weft_nodes::ip4::{Ip4, PathTarget};

use weft_testing::{Bed, DEFAULT, ip, wanted};

const NEW: &str = "10.0.1.9";
const NEW_MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 9]);

const HOUR: Duration = Duration::from_secs(3600);

/// A packet of the peer of port 0 to somewhere, with a number.
fn numbered(bed: &Bed, to: &str, number: u8) -> Packet {
    let p0 = bed.ports[0];
    p0.incoming().ipv4(p0.peer, ip(to)).udp(1, 2).payload(&[number])
}

/// The numbers of frames.
fn numbers(frames: &[Vec<u8>]) -> Vec<u8> {
    frames.iter().filter_map(|frame| frame.last().copied()).collect()
}

fn with_hold(hold: HoldSettings) -> Bed {
    Bed::with(Settings { hold, ..Settings::default() })
}

#[test]
fn packets_wait_for_a_host_on_the_link_and_leave_in_order() {
    let mut bed = with_hold(HoldSettings { ask_again: HOUR, ask_every: HOUR, ..HoldSettings::default() });
    let [p0, p1] = bed.ports;
    for number in 0..5 {
        bed.pass(0, &numbered(&bed, NEW, number));
    }
    bed.nothing_sent();
    assert_eq!(bed.worker.in_flight(), 5);
    assert_eq!(bed.notices(), [wanted(p1.index, ip(NEW))]);
    bed.counted(&[("ip4-arp/requests", 1)]);
    bed.resolve(p1.index, ip(NEW), NEW_MAC);
    bed.run();
    let sent = bed.sent(1);
    assert_eq!(numbers(&sent), [0, 1, 2, 3, 4]);
    let first = p1.outgoing().macs(p1.mac, NEW_MAC).ipv4(p0.peer, ip(NEW)).ttl(63).udp(1, 2).payload(&[0]);
    assert_eq!(sent[0], first.build());
    assert_eq!(bed.worker.in_flight(), 0);
    bed.counted(&[]);
}

#[test]
fn a_packet_that_waits_is_not_counted_for_a_later_interface() {
    let mut bed = with_hold(HoldSettings { ask_again: HOUR, ask_every: HOUR, ..HoldSettings::default() });
    let [p0, p1] = bed.ports;
    let tags = Tags { outer: VlanId::new(7).map(|id| (EtherType::VLAN, id)), inner: None };
    let sub = bed.interfaces.create_sub(&mut bed.engine, p0.index, 7, tags).unwrap();
    bed.change(sub, |sub| {
        sub.ip4.addresses.push("10.7.0.1/24".parse().unwrap());
        (sub.admin_up, sub.link_up) = (true, true);
    });
    bed.pass(0, &p0.incoming().vlan(7).ipv4(ip("10.7.0.2"), ip(NEW)).udp(1, 2).payload(&[1]));
    assert_eq!((bed.worker.in_flight(), bed.interface(sub).rx), (1, 1));
    bed.interfaces.delete(&mut bed.engine, sub).unwrap();
    // Once for what was on its way, and once for what the worker may have read meanwhile.
    for _ in 0..2 {
        bed.run();
        bed.engine.reclaim();
    }
    let later = bed.loopback("later", MacAddr([2, 0, 0, 0, 9, 9]));
    assert_eq!(later, sub);
    let held = bed.nodes.held;
    bed.engine.post_all(move |worker| held.forget(worker, p1.index));
    bed.run();
    assert_eq!(bed.worker.in_flight(), 0);
    assert_eq!(bed.interface(later).drops, 0);
    bed.counted(&[("ip4-arp/interface_down", 1), ("ip4-arp/requests", 1)]);
}

#[test]
fn packets_wait_for_a_next_hop() {
    let mut bed = with_hold(HoldSettings { ask_again: HOUR, ask_every: HOUR, ..HoldSettings::default() });
    let p1 = bed.ports[1];
    let via = PathTarget::Via { address: ip(NEW), interface: Some(p1.index) };
    bed.route(DEFAULT, "192.0.2.0/24", &[via]);
    bed.pass(0, &numbered(&bed, "192.0.2.1", 1));
    bed.pass(0, &numbered(&bed, "192.0.2.2", 2));
    // To the router itself, by another way to the same queue.
    bed.pass(0, &numbered(&bed, NEW, 3));
    assert_eq!(bed.notices(), [wanted(p1.index, ip(NEW))]);
    bed.resolve(p1.index, ip(NEW), NEW_MAC);
    bed.run();
    assert_eq!(numbers(&bed.sent(1)), [1, 2, 3]);
}

#[test]
fn a_resolved_next_hop_holds_nobody_but_behind_others() {
    let mut bed = Bed::detached(Settings::default());
    let p1 = bed.ports[1];
    let known = bed.next_hop(p1.index, p1.peer);
    let packet = |number| ipv4(ip("10.0.0.2"), ip("10.0.1.2")).udp(1, 2).payload(&[number]).build();
    bed.place("ip4-arp", &packet(1), HEADROOM, |meta| meta.set_next_hop(known.0));
    bed.run();
    assert_eq!(numbers(&bed.sent(1)), [1]);
    // It goes and comes back while packets wait, and a release is on its way.
    let Bed { router, engine, interfaces, .. } = &mut bed;
    let held = router.hold_adjacency::<Ip4>(engine, interfaces, p1.index, p1.peer).unwrap();
    assert_eq!(held, known);
    assert!(router.remove_neighbor(engine, interfaces, p1.index, p1.peer.into()));
    bed.place("ip4-arp", &packet(2), HEADROOM, |meta| meta.set_next_hop(known.0));
    bed.run();
    assert_eq!(bed.resolve(p1.index, p1.peer, p1.peer_mac), known);
    bed.place("ip4-arp", &packet(3), HEADROOM, |meta| meta.set_next_hop(known.0));
    bed.run();
    assert_eq!(bed.worker.in_flight(), 2);
    let held = bed.nodes.held;
    bed.engine.post_all(move |worker| held.release(worker, p1.index, p1.peer.into(), known));
    bed.run();
    assert_eq!(numbers(&bed.sent(1)), [2, 3]);
}

#[test]
fn a_neighbour_that_does_not_answer_is_reported_to_the_senders() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    for number in 0..2 {
        bed.pass(0, &numbered(&bed, NEW, number));
    }
    bed.moved();
    let held = bed.nodes.held;
    bed.engine.post_all(move |worker| held.fail(worker, p1.index, ip(NEW).into()));
    bed.run();
    let sent = bed.sent(0);
    assert_eq!(numbers(&sent), [0, 1]);
    let header = Icmp4Header::new(Icmp4Type::UNREACHABLE, 1, [0, 0]);
    let expected = p0
        .outgoing()
        .ipv4(p0.address, p0.peer)
        .ipv4_with(|ip| {
            ip.tos = 0xc0;
            ip.identification.set(1);
        })
        .icmp4(header)
        .payload(&numbered(&bed, NEW, 0).build()[14..]);
    assert_eq!(sent[0], expected.build());
    bed.counted(&[("ip4-icmp-error/host_unreachable", 2), ("ip4-icmp-error/sent_unreachable", 2)]);
}

#[test]
fn of_too_many_for_one_neighbour_the_latest_stay() {
    let mut bed = with_hold(HoldSettings { per_neighbor: 3, ..HoldSettings::default() });
    let p1 = bed.ports[1];
    for number in 0..300u16 {
        bed.receive(0, &numbered(&bed, NEW, number as u8));
    }
    bed.run();
    bed.counted(&[("ip4-arp/neighbor_queue_full", 297), ("ip4-arp/requests", 1)]);
    bed.resolve(p1.index, ip(NEW), NEW_MAC);
    bed.run();
    assert_eq!(numbers(&bed.sent(1)), [41, 42, 43]);
}

#[test]
fn a_scan_fills_the_queues_and_no_more() {
    let mut bed = with_hold(HoldSettings { per_neighbor: 3, per_worker: 10, ..HoldSettings::default() });
    let p1 = bed.ports[1];
    for host in 10..30 {
        bed.receive(0, &numbered(&bed, &Ipv4Addr::new(10, 0, 1, host).to_string(), host));
    }
    bed.run();
    assert_eq!((bed.worker.in_flight(), bed.notices().len()), (10, 10));
    bed.counted(&[("ip4-arp/hold_queues_full", 10), ("ip4-arp/requests", 10)]);
    // Who waits already may renew its packet.
    bed.pass(0, &numbered(&bed, "10.0.1.10", 99));
    bed.counted(&[("ip4-arp/neighbor_queue_full", 1)]);
    bed.resolve(p1.index, ip("10.0.1.10"), NEW_MAC);
    bed.run();
    assert_eq!((numbers(&bed.sent(1)), bed.worker.in_flight()), (vec![99], 9));
    let held = bed.nodes.held;
    bed.engine.post_all(move |worker| held.forget(worker, p1.index));
    bed.run();
    bed.nothing_sent();
    bed.counted(&[("ip4-arp/interface_down", 9)]);
}

#[test]
fn what_cannot_wait_has_a_reason() {
    let mut bed = Bed::new();
    let p1 = bed.ports[1];
    let packet = ipv4(ip("10.0.0.2"), ip(NEW)).udp(1, 2).build();
    bed.place("ip4-arp", &packet, HEADROOM, |meta| meta.set_next_hop(99_999));
    bed.run();
    bed.counted(&[("ip4-arp/no_next_hop", 1)]);
    // A subnet of which the interface has no longer an address: its broadcast is still routed to the link.
    bed.route(DEFAULT, "10.3.0.0/24", &[PathTarget::Connected(p1.index)]);
    bed.change(p1.index, |interface| interface.ip4.addresses.push("10.3.0.1/24".parse().unwrap()));
    bed.dies(0, &numbered(&bed, "10.3.0.255", 0).build(), "ip4-arp/directed_broadcast");
    // Found its next hop when the interface was still up.
    let Bed { router, engine, interfaces, .. } = &mut bed;
    let unknown = router.hold_adjacency::<Ip4>(engine, interfaces, p1.index, ip(NEW)).unwrap();
    bed.change(p1.index, |interface| interface.link_up = false);
    bed.place("ip4-arp", &packet, HEADROOM, |meta| meta.set_next_hop(unknown.0));
    bed.run();
    bed.counted(&[("ip4-arp/interface_down", 1)]);
    assert_eq!(bed.notices(), []);
}

#[test]
fn nobody_waits_for_ever() {
    let mut bed = with_hold(HoldSettings { longest: Duration::from_millis(10), ..HoldSettings::default() });
    bed.pass(0, &numbered(&bed, NEW, 0));
    assert_eq!(bed.worker.in_flight(), 1);
    bed.time_passes(Duration::from_millis(1050));
    // A turn in which only the clock has something to do.
    bed.run();
    bed.nothing_sent();
    bed.counted(&[("ip4-arp/requests", 1), ("ip4-arp/waited_too_long", 1)]);
    assert_eq!(bed.worker.in_flight(), 0);
}

#[test]
fn the_main_thread_is_woken_and_misses_nothing() {
    let hold = HoldSettings { ask_again: HOUR, ask_every: HOUR, ..HoldSettings::default() };
    let mut bed = Bed::with(Settings { hold, notices: 1, ..Settings::default() });
    let p1 = bed.ports[1];
    let readable = |bed: &Bed| {
        let mut poll = libc::pollfd { fd: bed.main.fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `poll` is valid for the call.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    };
    assert!(!readable(&bed));
    bed.receive(0, &numbered(&bed, NEW, 0));
    bed.receive(0, &numbered(&bed, "10.0.1.10", 0));
    bed.run();
    assert!(readable(&bed));
    bed.main.drain();
    bed.counted(&[("ip4-arp/notice_lost", 1), ("ip4-arp/requests", 1)]);
    assert_eq!(bed.notices(), [wanted(p1.index, ip(NEW))]);
    // The next packet brings what was lost, and only that.
    bed.receive(0, &numbered(&bed, NEW, 1));
    bed.receive(0, &numbered(&bed, "10.0.1.10", 1));
    bed.run();
    assert_eq!(bed.notices(), [wanted(p1.index, ip("10.0.1.10"))]);
}

#[test]
fn the_main_thread_is_told_again() {
    let mut bed = with_hold(HoldSettings { ask_every: Duration::from_millis(1), ..HoldSettings::default() });
    let p1 = bed.ports[1];
    for number in 0..3 {
        bed.pass(0, &numbered(&bed, NEW, number));
        bed.time_passes(Duration::from_millis(2));
    }
    assert_eq!(bed.notices(), [wanted(p1.index, ip(NEW)); 3]);
}
