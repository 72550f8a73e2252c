// SPDX-License-Identifier: Apache-2.0
//! Rules of the classifier on what is switched: both families, both directions, with tags and without.

use weft_classify::{
    Action, Direction, Match, PortRange, Priority, Rule, RuleId, RuleSet, RuleSets, Verdict,
};
use weft_nodes::headers::build::{Packet, ethernet};
use weft_nodes::headers::{ArpOperation, ArpPacket, IpProtocol, MacAddr};
use weft_testing::{Bed, ip6};

use crate::lab::{Lab, frame, mac};

/// Datagrams to port 2 are dropped at port 0, in this direction.
fn lab(direction: Direction) -> (Lab, RuleSets) {
    let mut lab = Lab::bridged(3);
    let (published, port) = (lab.interfaces.published(), lab.port(0).index);
    let Bed { engine, interfaces, .. } = &mut lab.bed;
    let mut sets = RuleSets::new(engine, &published, 64).expect("room for rules");
    let matches =
        Match { protocol: Some(IpProtocol::UDP), destination_ports: PortRange::only(2), ..Match::default() };
    let action = Action::only(Verdict::Drop);
    let rule = Rule { id: RuleId(1), priority: Priority(1), matches, action };
    let change = sets.change(engine, interfaces, "edge", |set| {
        *set = RuleSet::of([rule])?;
        Ok(())
    });
    change.expect("a rule");
    sets.attach(engine, interfaces, "edge", port, direction).expect("the port is there");
    lab.run();
    (lab, sets)
}

fn frame6(from: MacAddr, to: MacAddr, port: u16) -> Packet {
    ethernet().macs(from, to).ipv6(ip6("2001:db8::1"), ip6("2001:db8::2")).udp(1, port)
}

fn tagged(from: MacAddr, to: MacAddr, port: u16) -> Packet {
    ethernet().macs(from, to).vlan(7).ipv4([10, 9, 0, 1], [10, 9, 0, 2]).udp(1, port)
}

#[test]
fn what_arrives_meets_the_rules_of_its_port() {
    let (mut lab, sets) = lab(Direction::Input);
    for denied in [frame(mac(1), mac(2)), frame6(mac(1), mac(2), 2), tagged(mac(1), mac(2), 2)] {
        lab.ends(0, &denied, "l2-classify/denied");
    }
    assert_eq!(sets.get("edge").map(|set| set.hits(RuleId(1)).packets), Some(3));
    assert_eq!(lab.known(), [], "who is not let in is not learned");
    // All else passes as it came, known or not.
    for passed in [frame6(mac(1), mac(2), 3), tagged(mac(1), mac(2), 3)] {
        lab.goes(0, &passed, &[1, 2]);
    }
    let address = std::net::Ipv4Addr::new(10, 9, 0, 1);
    let arp = ArpPacket::new(ArpOperation::Request, (mac(1), address), (MacAddr::ZERO, address));
    lab.goes(0, &ethernet().macs(mac(1), MacAddr::BROADCAST).arp(arp), &[1, 2]);
    lab.goes(1, &frame(mac(2), mac(1)), &[0]);
    lab.goes(0, &frame6(mac(1), mac(2), 3), &[1]);
}

#[test]
fn what_leaves_meets_the_rules_of_its_port() {
    let (mut lab, _) = lab(Direction::Output);
    for (denied, node) in [
        (frame(mac(2), mac(1)), "ip4-classify-output/denied"),
        (tagged(mac(2), mac(1), 2), "ip4-classify-output/denied"),
        (frame6(mac(2), mac(1), 2), "l2-classify-output/denied"),
    ] {
        lab.moved();
        lab.arrives(1, &denied);
        assert_eq!(lab.left(), [(2, denied.build())], "only the other port");
        lab.drops(&[(node, 1)]);
    }
    for passed in [frame6(mac(2), mac(1), 3), tagged(mac(2), mac(1), 3)] {
        lab.goes(1, &passed, &[0, 2]);
    }
}
