// SPDX-License-Identifier: Apache-2.0
//! ethernet-input and punt: whose frame is it, and with which tags.

use weft_engine::InterfaceIndex;
use weft_engine::buffer::HEADROOM;
use weft_nodes::headers::build::{Packet, ethernet};
use weft_nodes::headers::{EtherType, MacAddr, VlanId};
use weft_nodes::interface::Tags;

use weft_testing::{Bed, ip};

const STRANGER: MacAddr = MacAddr([2, 0, 0, 0, 9, 9]);

fn tags(outer: (EtherType, u16), inner: Option<u16>) -> Tags {
    let id = |id| VlanId::new(id).unwrap();
    Tags { outer: Some((outer.0, id(outer.1))), inner: inner.map(id) }
}

/// A sub-interface of port 1 with a neighbour, 10.0.<n>.1/24 and .2.
fn sub(bed: &mut Bed, n: u8, tags: Tags) -> InterfaceIndex {
    let port = bed.ports[1];
    let sub = bed.interfaces.create_sub(&mut bed.engine, port.index, n.into(), tags).unwrap();
    bed.address(sub, &format!("10.0.{n}.1/24"));
    bed.resolve(sub, ip(&format!("10.0.{n}.2")), port.peer_mac);
    bed.run();
    sub
}

#[test]
fn frames_that_are_not_for_us_end_here() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let good = p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2);
    bed.dies(0, &good.build()[..13], "ethernet-input/truncated");
    let other = ethernet().macs(p0.peer_mac, STRANGER).ipv4(p0.peer, p1.peer).udp(1, 2);
    bed.dies(0, &other.build(), "ethernet-input/l3_mac_mismatch");
    // No station sends from a group's address, be the frame for us, for another one, or for all.
    let group = MacAddr([1, 0, 0x5e, 0, 0, 5]);
    for source in [group, MacAddr::BROADCAST] {
        for destination in [p0.mac, STRANGER, group] {
            let forged = ethernet().macs(source, destination).ipv4(p0.peer, p1.peer).udp(1, 2);
            bed.dies(0, &forged.build(), "ethernet-input/multicast_source");
        }
    }
    let ip6 = p0.incoming().ipv6([1u16; 8], [2; 8]);
    bed.dies(0, &ip6.build(), "ethernet-input/ip6_not_enabled");
    let unknown = p0.incoming().vlan(7).ipv4(p0.peer, p1.peer);
    bed.dies(0, &unknown.build(), "ethernet-input/unknown_vlan");
    for cut in [15, 17] {
        bed.dies(0, &unknown.build()[..cut], "ethernet-input/truncated");
    }
    let twice = p0.incoming().qinq(7).vlan(8).ipv4(p0.peer, p1.peer);
    bed.dies(0, &twice.build()[..21], "ethernet-input/truncated");
    bed.change(p0.index, |interface| interface.link_up = false);
    bed.dies(0, &good.build(), "ethernet-input/interface_down");
    bed.change(p0.index, |interface| (interface.link_up, interface.ip4.addresses) = (true, vec![]));
    bed.dies(0, &good.build(), "ethernet-input/ip4_not_enabled");
    assert_eq!(bed.interface(p0.index).drops, 15);
    bed.interfaces.delete(&mut bed.engine, p0.index).unwrap();
    bed.dies(0, &good.build(), "ethernet-input/no_interface");
}

#[test]
fn what_weft_does_not_speak_goes_to_the_host_as_it_came() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    bed.with_host(0);
    let frames = [
        p0.incoming().ipv6([1u16; 8], [2; 8]).build(),
        // A VLAN that only the host has.
        p0.incoming().vlan(7).ipv4(p0.peer, p1.peer).build(),
        p0.incoming().qinq(7).vlan(8).ipv4(p0.peer, p1.peer).build(),
        p0.incoming().vlan(0).ipv6([1u16; 8], [2; 8]).build(),
    ];
    frames.iter().for_each(|frame| bed.receive_bytes(0, frame.clone()));
    bed.run();
    assert_eq!(bed.punted(0), frames);
    bed.counted(&[]);
    assert_eq!((bed.interface(p0.index).punt, bed.interface(p0.index).drops), (4, 0));
    bed.change(p0.index, |interface| interface.ip4.addresses = vec![]);
    let plain = p0.incoming().ipv4(p0.peer, p1.peer).build();
    bed.receive_bytes(0, plain.clone());
    bed.run();
    assert_eq!(bed.punted(0), [plain]);
}

#[test]
fn punt_names_what_it_lacks() {
    let mut bed = Bed::new();
    let p0 = bed.ports[0];
    bed.place("punt", b"frame", HEADROOM, |_| {});
    bed.run();
    bed.counted(&[("punt/no_interface", 1)]);
    bed.place("punt", b"frame", HEADROOM, |meta| meta.rx_interface = p0.index);
    bed.run();
    bed.counted(&[("punt/no_host_interface", 1)]);
    bed.nothing_sent();
}

#[test]
fn tags_come_off_and_go_on() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    let one = sub(&mut bed, 10, tags((EtherType::VLAN, 10), None));
    let two = sub(&mut bed, 20, tags((EtherType::QINQ, 20), Some(4094)));
    let outside = |frame: Packet, n: u8| match n {
        10 => frame.vlan(10),
        _ => frame.qinq(20).vlan(4094),
    };
    for (n, index) in [(10, one), (20, two)] {
        let host = ip(&format!("10.0.{n}.2"));
        // Out of the sub-interface.
        bed.pass(0, &p0.incoming().ipv4(p0.peer, host).udp(1, 2).payload(b"out"));
        let expected = outside(p1.outgoing(), n).ipv4(p0.peer, host).ttl(63).udp(1, 2).payload(b"out");
        assert_eq!(bed.only(1), expected.build());
        // And in by it.
        bed.pass(1, &outside(p1.incoming(), n).ipv4(host, p0.peer).udp(3, 4).payload(b"in"));
        let expected = p0.outgoing().ipv4(host, p0.peer).ttl(63).udp(3, 4).payload(b"in");
        assert_eq!(bed.only(0), expected.build());
        let counts = bed.interface(index);
        assert_eq!((counts.rx, counts.tx, counts.ip4, counts.drops), (1, 1, 1, 0));
    }
    assert_eq!((bed.interface(p1.index).rx, bed.interface(p1.index).tx), (2, 2));
    bed.counted(&[]);
    bed.change(one, |interface| interface.admin_up = false);
    let down = p1.incoming().vlan(10).ipv4(ip("10.0.10.2"), p0.peer);
    bed.dies(1, &down.build(), "ethernet-input/interface_down");
    // The inner tag alone is another VLAN.
    let inner = p1.incoming().vlan(4094).ipv4(ip("10.0.20.2"), p0.peer);
    bed.dies(1, &inner.build(), "ethernet-input/unknown_vlan");
}

/// Whatever header came off and went on: a feature at the output finds the network header without reading the frame.
#[test]
fn the_network_offset_of_a_packet_that_leaves_is_right() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    sub(&mut bed, 10, tags((EtherType::VLAN, 10), None));
    let host = ip("10.0.10.2");
    bed.pass(0, &p0.incoming().ipv4(p0.peer, host).udp(1, 2));
    bed.pass(1, &p1.incoming().vlan(10).ipv4(host, p0.peer).udp(3, 4));
    for (port, link_length) in [(1, 18), (0, 14)] {
        let (contexts, sent) = (bed.contexts(port), bed.sent(port));
        assert_eq!((contexts.len(), sent.len()), (1, 1));
        let meta = contexts[0];
        assert_eq!(usize::from(meta.network_offset) - meta.data_offset(), link_length);
        assert_eq!(sent[0][link_length], 0x45, "the IPv4 header is at the network offset");
    }
}

#[test]
fn a_priority_tag_is_no_vlan() {
    let mut bed = Bed::new();
    let [p0, p1] = bed.ports;
    bed.pass(0, &p0.incoming().vlan(0).ipv4(p0.peer, p1.peer).udp(1, 2));
    assert_eq!(bed.only(1), p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).udp(1, 2).build());
    bed.counted(&[]);
}
