// SPDX-License-Identifier: Apache-2.0
//! VLAN tags of sub-interfaces: left alone, taken off, put on, translated; and back on the way out.

use weft_engine::InterfaceIndex;
use weft_l2::{Mode, Rewrite, Role, Settings, Tag};
use weft_nodes::headers::build::{Packet, ethernet};
use weft_nodes::headers::{EtherType, MacAddr, VlanId};
use weft_nodes::interface::Tags;

use crate::lab::{ALL, DOMAIN, Lab, mac};

fn id(vlan: u16) -> VlanId {
    VlanId::new(vlan).expect("an id")
}

fn dot1q(vlan: u16) -> Option<Tag> {
    Some(Tag { kind: EtherType::VLAN, vlan: id(vlan) })
}

fn dot1ad(vlan: u16) -> Option<Tag> {
    Some(Tag { kind: EtherType::QINQ, vlan: id(vlan) })
}

/// A sub-interface of port 0 in a domain with port 1, which rewrites so.
fn lab(outer: (EtherType, u16), inner: Option<u16>, rewrite: Option<Rewrite>) -> (Lab, InterfaceIndex) {
    let mut lab = Lab::new(2, Settings::default());
    let tags = Tags { outer: Some((outer.0, id(outer.1))), inner: inner.map(id) };
    let parent = lab.port(0).index;
    let bed = &mut lab.bed;
    let sub = bed.interfaces.create_sub(&mut bed.engine, parent, 7, tags).expect("a sub-interface");
    lab.change(sub, |interface| interface.admin_up = true);
    lab.domain(DOMAIN, |_| {});
    lab.bridge(1, DOMAIN, Role::Normal, 0);
    lab.mode(sub, Mode::Bridged { domain: DOMAIN, role: Role::Normal, group: 0 });
    lab.set(sub, |port| port.rewrite = rewrite);
    (lab, sub)
}

/// One after the other.
fn tagged(from: MacAddr, to: MacAddr, tags: &[Tag]) -> Packet {
    let frame = tags.iter().fold(ethernet().macs(from, to), |frame, tag| match tag.kind {
        EtherType::QINQ => frame.qinq(tag.vlan.get()),
        _ => frame.vlan(tag.vlan.get()),
    });
    frame.ipv4([10, 9, 0, 1], [10, 9, 0, 2]).udp(1, 2)
}

/// A frame with the tags of the sub-interface comes out of port 1 with `inside`, and back.
#[track_caller]
fn there_and_back(lab: &mut Lab, outside: &[Tag], inside: &[Tag]) {
    lab.arrives(0, &tagged(mac(1), mac(2), outside));
    assert_eq!(lab.left(), [(1, tagged(mac(1), mac(2), inside).build())], "in");
    lab.arrives(1, &tagged(mac(2), mac(1), inside));
    assert_eq!(lab.left(), [(0, tagged(mac(2), mac(1), outside).build())], "out");
    lab.arrives(1, &tagged(mac(2), ALL, inside));
    assert_eq!(lab.left(), [(0, tagged(mac(2), ALL, outside).build())], "flooded");
}

#[test]
fn every_rewrite_is_undone_on_the_way_out() {
    let q = (EtherType::VLAN, 100);
    let ad = (EtherType::QINQ, 200);
    let of = |tags: &[Option<Tag>]| tags.iter().flatten().copied().collect::<Vec<_>>();
    for (outer, inner, rewrite, outside, inside) in [
        (q, None, None, vec![dot1q(100)], vec![dot1q(100)]),
        (q, None, Some(Rewrite { pop: 1, push: [None; 2] }), vec![dot1q(100)], vec![]),
        (ad, Some(5), Some(Rewrite { pop: 1, push: [None; 2] }), vec![dot1ad(200), dot1q(5)], vec![dot1q(5)]),
        (ad, Some(5), Some(Rewrite { pop: 2, push: [None; 2] }), vec![dot1ad(200), dot1q(5)], vec![]),
        (
            q,
            None,
            Some(Rewrite { pop: 0, push: [dot1ad(9), None] }),
            vec![dot1q(100)],
            vec![dot1ad(9), dot1q(100)],
        ),
        (
            q,
            None,
            Some(Rewrite { pop: 0, push: [dot1ad(9), dot1q(8)] }),
            vec![dot1q(100)],
            vec![dot1ad(9), dot1q(8), dot1q(100)],
        ),
        (q, None, Some(Rewrite { pop: 1, push: [dot1q(300), None] }), vec![dot1q(100)], vec![dot1q(300)]),
        (
            q,
            None,
            Some(Rewrite { pop: 1, push: [dot1ad(300), dot1q(4)] }),
            vec![dot1q(100)],
            vec![dot1ad(300), dot1q(4)],
        ),
        (
            ad,
            Some(5),
            Some(Rewrite { pop: 2, push: [dot1q(300), None] }),
            vec![dot1ad(200), dot1q(5)],
            vec![dot1q(300)],
        ),
        (
            ad,
            Some(5),
            Some(Rewrite { pop: 2, push: [dot1ad(300), dot1q(6)] }),
            vec![dot1ad(200), dot1q(5)],
            vec![dot1ad(300), dot1q(6)],
        ),
    ] {
        let (mut lab, sub) = lab(outer, inner, rewrite);
        there_and_back(&mut lab, &of(&outside), &of(&inside));
        let counts = lab.interface(sub);
        assert_eq!((counts.rx, counts.tx), (1, 2), "{rewrite:?}");
    }
}

#[test]
fn a_priority_stays_with_a_translated_tag() {
    let (mut lab, _) = lab((EtherType::VLAN, 100), None, Some(Rewrite { pop: 1, push: [dot1q(300), None] }));
    let mut bytes = tagged(mac(1), mac(2), &[Tag { kind: EtherType::VLAN, vlan: id(100) }]).build();
    bytes[14] |= 0xb0;
    lab.receive_bytes(0, bytes);
    lab.run();
    let left = lab.left();
    assert_eq!(left[0].1[12..16], [0x81, 0, 0xb0 | 1, 0x2c]);
}

#[test]
fn a_frame_without_the_tags_that_are_to_go_does_not_leave() {
    let push = Rewrite { pop: 0, push: [dot1q(9), None] };
    let (mut lab, _) = lab((EtherType::VLAN, 100), None, Some(push));
    lab.ends(1, &tagged(mac(2), mac(1), &[]), "l2-output/missing_tags");
}

#[test]
fn other_tags_of_the_port_are_routed_or_dropped_as_before() {
    let (mut lab, sub) = lab((EtherType::VLAN, 100), None, None);
    // Untagged frames are for the port, which is a router's.
    lab.ends(0, &tagged(mac(1), mac(2), &[]), "ethernet-input/l3_mac_mismatch");
    let port = lab.port(0);
    lab.pass(0, &port.incoming().ipv4(port.peer, port.address).ping(1, 1));
    assert_eq!(lab.left().len(), 1);
    lab.ends(
        0,
        &tagged(mac(1), mac(2), &[Tag { kind: EtherType::VLAN, vlan: id(101) }]),
        "ethernet-input/l3_mac_mismatch",
    );
    lab.change(sub, |interface| interface.admin_up = false);
    lab.run();
    lab.ends(
        0,
        &tagged(mac(1), mac(2), &[Tag { kind: EtherType::VLAN, vlan: id(100) }]),
        "ethernet-input/interface_down",
    );
}
