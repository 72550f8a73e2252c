// SPDX-License-Identifier: Apache-2.0
//! What a port can be: in a split-horizon group, the uplink, the routed port, cross-connected, down, too narrow.

use weft_l2::{L2_INPUT_ARC, Mode, Role, Settings, Target};
use weft_nodes::headers::MacAddr;
use weft_nodes::headers::build::ethernet;

use crate::lab::{ALL, DOMAIN, Lab, frame, mac};

#[test]
fn ports_of_one_group_do_not_hear_each_other() {
    let mut lab = Lab::bridged(5);
    for (port, group) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        lab.bridge(port, DOMAIN, Role::Normal, group);
    }
    lab.goes(0, &frame(mac(1), ALL), &[2, 3, 4]);
    lab.goes(3, &frame(mac(3), ALL), &[0, 1, 4]);
    lab.goes(4, &frame(mac(4), ALL), &[0, 1, 2, 3]);
    lab.ends(1, &frame(mac(2), mac(1)), "split_horizon");
    lab.goes(2, &frame(mac(9), mac(1)), &[0]);
    lab.goes(4, &frame(mac(4), mac(1)), &[0]);
}

#[test]
fn unknown_stations_are_behind_the_uplink() {
    let mut lab = Lab::bridged(4);
    lab.bridge(3, DOMAIN, Role::Uplink, 0);
    lab.goes(0, &frame(mac(1), mac(9)), &[3]);
    lab.goes(0, &frame(mac(1), ALL), &[1, 2, 3]);
    lab.ends(3, &frame(mac(9), mac(8)), "unknown_unicast");
    lab.goes(3, &frame(mac(9), mac(1)), &[0]);
}

#[test]
fn a_port_that_is_down_gets_nothing() {
    let mut lab = Lab::bridged(3);
    lab.goes(1, &frame(mac(2), ALL), &[0, 2]);
    let p1 = lab.port(1).index;
    lab.change(p1, |interface| interface.admin_up = false);
    lab.run();
    lab.goes(0, &frame(mac(1), ALL), &[2]);
    lab.ends(0, &frame(mac(1), mac(2)), "port_down");
    lab.ends(1, &frame(mac(2), ALL), "ethernet-input/interface_down");
    let p2 = lab.port(2).index;
    lab.change(p2, |interface| interface.admin_up = false);
    lab.run();
    lab.ends(0, &frame(mac(1), ALL), "l2-flood/no_other_port");
}

#[test]
fn what_is_too_long_for_a_port_is_not_sent_there() {
    let mut lab = Lab::bridged(3);
    let long = |payload: usize| frame(mac(1), mac(2)).payload(&vec![7; payload]);
    // 20 + 8 + 2 bytes are there already.
    lab.goes(0, &long(1470), &[1, 2]);
    let p2 = lab.port(2).index;
    lab.change(p2, |interface| interface.mtu = 1499);
    lab.run();
    lab.arrives(0, &long(1470));
    assert_eq!(lab.left(), [(1, long(1470).build())]);
    lab.drops(&[("l2-flood/exceeds_mtu", 1)]);
    // Tags do not count.
    let tagged = ethernet().macs(mac(1), mac(2)).qinq(5).vlan(7).ipv4([10, 9, 0, 1], [10, 9, 0, 2]).udp(1, 2);
    lab.goes(0, &tagged.payload(&[7; 1471]), &[1, 2]);
}

#[test]
fn a_frame_of_several_buffers_is_switched_and_flooded_whole() {
    let mut lab = Lab::bridged(3);
    for port in 0..3 {
        let index = lab.port(port).index;
        lab.change(index, |interface| interface.mtu = 9000);
    }
    lab.run();
    let jumbo = |from, to| frame(from, to).payload(&[0x5a; 5000]);
    lab.goes(0, &jumbo(mac(1), mac(2)), &[1, 2]);
    lab.goes(1, &jumbo(mac(2), mac(1)), &[0]);
}

#[test]
fn frames_for_others_and_for_this_station_are_switched_alike() {
    let mut lab = Lab::bridged(2);
    // Also the port's own address, and what would be routed.
    let to_port = lab.port(0).mac;
    lab.goes(0, &frame(mac(1), to_port), &[1]);
    // A port in a domain answers no ARP and no ping.
    let port = lab.port(0);
    lab.goes(0, &port.incoming().ipv4(port.peer, port.address).ping(1, 1), &[1]);
    // Tagged frames that no sub-interface takes pass with their tags.
    lab.goes(0, &ethernet().macs(mac(1), mac(2)).vlan(7).ipv4([1, 1, 1, 1], [2, 2, 2, 2]).udp(1, 2), &[1]);
    lab.route(0);
    lab.ends(0, &frame(mac(1), mac(2)), "ethernet-input/l3_mac_mismatch");
    lab.pass(0, &port.incoming().ipv4(port.peer, port.address).ping(1, 1));
    assert_eq!(lab.left().len(), 1, "it is a router's port again");
}

#[test]
fn what_leads_to_a_port_that_has_left_is_flooded() {
    let mut lab = Lab::bridged(3);
    let p1 = lab.port(1).index;
    lab.station(DOMAIN, mac(1), Some(Target::Port(p1)));
    lab.goes(0, &frame(mac(9), mac(1)), &[1]);
    lab.route(1);
    lab.goes(0, &frame(mac(9), mac(1)), &[2]);
}

#[test]
fn all_that_arrives_on_a_crossed_interface_leaves_by_the_other() {
    let mut lab = Lab::new(3, Settings::default());
    let [p0, p1] = [0, 1].map(|port| lab.port(port).index);
    lab.mode(p0, Mode::Crossed(p1));
    for to in [mac(2), ALL, MacAddr([1, 0x80, 0xc2, 0, 0, 2])] {
        lab.goes(0, &frame(mac(1), to), &[1]);
    }
    lab.goes(0, &ethernet().macs(mac(1), mac(2)).vlan(9).ipv4([1, 1, 1, 1], [2, 2, 2, 2]).udp(1, 2), &[1]);
    // The other way is another connection.
    lab.ends(1, &frame(mac(2), mac(1)), "ethernet-input/l3_mac_mismatch");
    lab.mode(p1, Mode::Crossed(p0));
    lab.goes(1, &frame(mac(2), mac(1)), &[0]);
}

#[test]
fn the_routed_port_is_a_station_of_its_domain() {
    let mut lab = Lab::new(3, Settings::default());
    lab.domain(DOMAIN, |_| {});
    for port in [0, 2] {
        lab.bridge(port, DOMAIN, Role::Normal, 0);
    }
    let own = MacAddr([2, 0xfe, 0, 0, 0, 1]);
    let bvi = lab.routed_port("loop0", own);
    lab.address(bvi, "10.5.0.1/24");
    lab.mode(bvi, Mode::Bridged { domain: DOMAIN, role: Role::Bvi, group: 0 });
    assert_eq!(lab.known(), [(own, Some(bvi), false)]);
    let (host, outside) = (weft_testing::ip("10.5.0.9"), lab.ports[1]);
    lab.resolve(bvi, host, mac(9));
    lab.run();
    lab.goes(2, &frame(mac(9), mac(77)), &[0]);
    // A ping to it is answered where the host is, by way of the domain.
    let ping = ethernet().macs(mac(9), own).ipv4(host, [10, 5, 0, 1]).ping(1, 1);
    lab.arrives(2, &ping);
    let left = lab.left();
    assert_eq!((left.len(), left[0].0), (1, 2));
    assert_eq!(&left[0].1[..12], [mac(9).0, own.0].concat());
    // From outside a packet is routed into the domain, to the port where the host was heard.
    lab.arrives(1, &outside.incoming().ipv4(outside.peer, host).ttl(9).udp(1, 2));
    let expected = ethernet().macs(own, mac(9)).ipv4(outside.peer, host).ttl(8).udp(1, 2).build();
    assert_eq!(lab.left(), [(2, expected)]);
    // And from the domain out.
    lab.arrives(2, &ethernet().macs(mac(9), own).ipv4(host, outside.peer).ttl(9).udp(1, 2));
    assert_eq!(lab.left(), [(1, outside.outgoing().ipv4(host, outside.peer).ttl(8).udp(1, 2).build())]);
    // To all: the other port, and the routed one, which has no use for it.
    lab.moved();
    lab.arrives(2, &ethernet().macs(mac(9), ALL).ipv4(host, [10, 5, 0, 255]).udp(1, 2));
    assert_eq!(lab.left().iter().map(|(port, _)| *port).collect::<Vec<_>>(), [0]);
    assert_eq!(lab.dropped().len(), 1);
    // Nobody else is it.
    lab.ends(0, &frame(own, ALL), "static_mac_moved");
    let counts = lab.interface(bvi);
    assert_eq!((counts.rx, counts.tx), (3, 2));
    // It is known by its address, whichever that is.
    let (bed, switch) = (&mut lab.bed, &mut lab.switch);
    bed.change(bvi, |interface| interface.mac = mac(50));
    switch.interface_changed(&bed.interfaces);
    let own: Vec<_> = lab.known().into_iter().filter(|(_, port, _)| *port == Some(bvi)).collect();
    assert_eq!(own, [(mac(50), Some(bvi), false)]);
}

#[test]
fn a_feature_of_the_arc_sees_frames_before_they_are_switched() {
    use weft_engine::feature::FeatureSpec;
    use weft_engine::frame::Frame;
    use weft_engine::graph::NodeDef;
    use weft_engine::node::{Node, NodeSpec};

    weft_engine::events! {
        enum Seen {
            /// frames
            Frame = "frames", Info;
        }
    }
    static LOOK: NodeSpec = NodeSpec::internal("test-look")
        .features(&[FeatureSpec::on("l2-input"), FeatureSpec::on("l2-output")])
        .events(<Seen as weft_engine::node::Reasons>::ALL);
    struct Look(weft_engine::node::ReasonBase<Seen>);
    impl Node for Look {
        fn process(&mut self, cx: &mut weft_engine::Context<'_>, frame: &Frame) {
            self.0.count(cx.counters, Seen::Frame, frame.len() as u64);
            let arcs = cx.arcs();
            cx.each(frame, |packet| arcs.next(packet));
        }
    }
    let mut lab = Lab::bridged(3);
    lab.engine.add_nodes("test", vec![NodeDef::new(&LOOK, |w| Box::new(Look(w.events())))]).expect("a node");
    let (p0, p1) = (lab.port(0).index, lab.port(1).index);
    for (arc, port) in [(L2_INPUT_ARC.name, p0), ("l2-output", p1)] {
        let arc = lab.engine.features().arc(arc).expect("the arc is there");
        lab.engine.set_feature(arc, port, "test-look", true).expect("a feature");
    }
    lab.run();
    lab.moved();
    let seen =
        |lab: &mut Lab| lab.moved().into_iter().find(|(name, _)| name == "test-look/frames").map(|(_, n)| n);
    lab.goes(0, &frame(mac(1), mac(2)), &[1, 2]);
    assert_eq!(seen(&mut lab), Some(2), "on the way in, and on the way out of one port");
    lab.goes(2, &frame(mac(2), mac(1)), &[0]);
    assert_eq!(seen(&mut lab), None);
    lab.ends(0, &frame(mac(2), mac(1)), "l2-forward/same_port");
}
