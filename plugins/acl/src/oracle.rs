// SPDX-License-Identifier: Apache-2.0
//! Random lists and packets, through the graph and beside a linear scan that reads like VPP's documentation: the first rule
//! of the first list that matches decides, what no rule matches is denied, and what `permit+reflect` has let through
//! has a session, by which it and its answers pass.
//!
//! Fields have few values, so that rules overlap and packets hit.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use proptest::prelude::*;
use weft_classify::{OwnedSet, RuleSets};
use weft_engine::Engine;
use weft_flow::FlowTracker;
use weft_flow::settings::{Mode, Settings};
use weft_nodes::headers::build::Packet as Builder;
use weft_nodes::headers::{Icmp4Header, Icmp4Type, TcpFlags as Flags};
use weft_plugin_host::World;
use weft_plugin_sdk::{Direction, InterfaceIndex};

use crate::compile::rule_sets;
use crate::model::{At, Lists, Number};
use crate::rule::{ANY, Ace, ICMP, Permission, TCP, TcpFlags};
use weft_testing::Bed;

const UDP: u8 = 17;
const GRE: u8 = 47;

/// A packet that comes in by p0 (`inward`), where the lists are, or leaves by it.
#[derive(Clone, Debug)]
struct Packet {
    inward: bool,
    /// Last byte of the source address.
    host: u8,
    protocol: u8,
    /// Ports, or ICMP type and code.
    words: (u16, u16),
    flags: u8,
}

impl Packet {
    fn ends(&self) -> (Ipv4Addr, Ipv4Addr) {
        let near = |host| Ipv4Addr::new(10, 0, 0, host);
        let far = |host| Ipv4Addr::new(10, 0, 1, host);
        if self.inward { (near(self.host), far(2)) } else { (far(self.host), near(2)) }
    }

    fn build(&self, ip: Builder) -> Builder {
        let (one, two) = self.words;
        match self.protocol {
            TCP => ip.tcp(one, two, Flags(self.flags)),
            UDP => ip.udp(one, two),
            ICMP => ip.icmp4(Icmp4Header::new(Icmp4Type(one as u8), two as u8, [1, 1])),
            other => ip.ipv4_with(move |ip| ip.protocol.0 = other).payload(&[0; 8]),
        }
    }
}

type Session = (Ipv4Addr, Ipv4Addr, u16, u16);

fn matches(rule: &Ace, packet: &Packet) -> bool {
    let (from, to) = packet.ends();
    let has_words = packet.protocol != GRE;
    rule.from.contains(&IpAddr::from(from))
        && rule.to.contains(&IpAddr::from(to))
        && rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && (rule.source == ANY || has_words && rule.source.contains(&packet.words.0))
        && (rule.destination == ANY || has_words && rule.destination.contains(&packet.words.1))
        && rule.flags.is_none_or(|TcpFlags { mask, value }| packet.flags & mask == value)
}

/// What is to become of a packet.
fn passes(
    lists: &Lists,
    applied: &[(Direction, Vec<Number>)],
    packet: &Packet,
    sessions: &mut HashSet<Session>,
) -> bool {
    let ((from, to), (one, two)) = (packet.ends(), packet.words);
    let (forth, back) = ((from, to, one, two), (to, from, two, one));
    if packet.protocol == UDP && (sessions.contains(&forth) || sessions.contains(&back)) {
        return true;
    }
    let direction = if packet.inward { Direction::Input } else { Direction::Output };
    let Some((_, numbers)) = applied.iter().find(|(of, _)| *of == direction) else {
        return true;
    };
    let mut rules = numbers.iter().flat_map(|number| &lists.lists[number].rules);
    match rules.find(|(_, rule)| matches(rule, packet)).map(|(_, rule)| rule.permission) {
        None | Some(Permission::Deny) => false,
        Some(Permission::Permit) => true,
        Some(Permission::Reflect) => {
            sessions.insert(forth);
            true
        }
    }
}

fn prefix() -> impl Strategy<Value = Ipv4Net> {
    let texts = ["0.0.0.0/0", "10.0.0.0/24", "10.0.0.2/31", "10.0.0.3/32", "10.0.1.0/24", "10.0.1.2/32"];
    (0..texts.len()).prop_map(move |i| texts[i].parse::<Ipv4Net>().unwrap())
}

fn range() -> impl Strategy<Value = std::ops::RangeInclusive<u16>> {
    prop_oneof![Just(ANY), (0u16..4, 0u16..4).prop_map(|(a, b)| a.min(b)..=a.max(b))]
}

fn rule() -> impl Strategy<Value = Ace> {
    let protocol =
        prop_oneof![Just(None), Just(Some(TCP)), Just(Some(UDP)), Just(Some(ICMP)), Just(Some(GRE))];
    let permission = prop_oneof![Just(Permission::Deny), Just(Permission::Permit), Just(Permission::Reflect)];
    let flags = prop::option::weighted(0.3, (0u8..4, 0u8..4));
    (permission, prefix(), prefix(), protocol, range(), range(), flags).prop_map(
        |(permission, from, to, protocol, source, destination, flags)| {
            // Of sessions the oracle knows only UDP's; those of TCP are more than a 5-tuple.
            let protocol = if permission == Permission::Reflect { Some(UDP) } else { protocol };
            let ranges = !matches!(protocol, None | Some(GRE));
            Ace {
                permission,
                from: from.into(),
                to: to.into(),
                protocol,
                source: if ranges { source } else { ANY },
                destination: if ranges { destination } else { ANY },
                flags: flags
                    .filter(|_| protocol == Some(TCP))
                    .map(|(mask, value)| TcpFlags { mask, value: value & mask }),
            }
        },
    )
}

fn packet() -> impl Strategy<Value = Packet> {
    let protocol = prop_oneof![2 => Just(TCP), 4 => Just(UDP), 2 => Just(ICMP), 1 => Just(GRE)];
    (any::<bool>(), 2u8..5, protocol, (0u16..4, 0u16..4), 0u8..4).prop_map(
        |(inward, host, protocol, words, flags)| {
            // Types 0 and 8: an error without a packet in it is malformed.
            let words = if protocol == ICMP { (words.0 / 2 * 8, words.1) } else { words };
            Packet { inward, host, protocol, words, flags }
        },
    )
}

/// What rules of lists name: nothing.
struct Nowhere;

impl World for Nowhere {
    fn engine(&mut self) -> &mut Engine {
        unreachable!("rules are read without an engine")
    }

    fn interface(&self, _: &str) -> Option<weft_engine::InterfaceIndex> {
        None
    }

    fn interface_name(&self, _: weft_engine::InterfaceIndex) -> Option<String> {
        None
    }

    fn next_interface(&self, _: weft_engine::InterfaceIndex) -> Option<weft_engine::InterfaceIndex> {
        None
    }

    fn set_feature(
        &mut self,
        _: &str,
        _: &str,
        _: &str,
        _: weft_engine::InterfaceIndex,
        _: bool,
    ) -> Result<(), String> {
        Err("nothing is enabled here".to_owned())
    }

    fn send_event(&mut self, _: u64, _: &str, _: &[u8]) -> Result<(), String> {
        Err("there is no client".to_owned())
    }
}

/// Lists on p0, in force.
fn lab(lists: &Lists) -> (Bed, RuleSets, FlowTracker) {
    let mut bed = Bed::new();
    let interfaces = bed.interfaces.published();
    let mut sets = RuleSets::new(&mut bed.engine, &interfaces, 256).unwrap();
    let main = bed.main.clone();
    let settings = Settings::default();
    let mut tracker = FlowTracker::new(&mut bed.engine, settings, &interfaces, 64, &main).unwrap();
    sets.admit_by(&mut bed.engine, tracker.node());
    for port in bed.ports {
        tracker.enable(&mut bed.engine, port.index, Mode::Admit).unwrap();
    }
    let owned: Vec<OwnedSet> = rule_sets(lists)
        .iter()
        .map(|set| {
            let mut rules = weft_plugin_host::rules::read_rules(&Nowhere, &set.name, &set.rules).unwrap();
            rules.exempt = weft_classify::Exempt { admitted: set.exempt.admitted, own: set.exempt.own };
            let attached = set.attached.iter().map(|(interface, direction)| {
                let direction = match direction {
                    Direction::Input => weft_classify::Direction::Input,
                    Direction::Output => weft_classify::Direction::Output,
                };
                (weft_engine::InterfaceIndex(interface.0), direction)
            });
            OwnedSet { name: format!("plugin.acl.{}", set.name), rules, attached: attached.collect() }
        })
        .collect();
    for OwnedSet { name, rules, attached } in owned {
        let change = |set: &mut weft_classify::RuleSet| {
            *set = rules;
            Ok(())
        };
        sets.change(&mut bed.engine, &bed.interfaces, &name, change).unwrap();
        for (interface, direction) in attached {
            sets.attach(&mut bed.engine, &bed.interfaces, &name, interface, direction).unwrap();
        }
    }
    bed.run();
    (bed, sets, tracker)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn packets_pass_as_a_linear_scan_says(
        of in prop::collection::vec(prop::collection::vec(rule(), 0..6), 1..4),
        output in any::<bool>(),
        packets in prop::collection::vec(packet(), 60),
    ) {
        let mut lists = Lists::default();
        let mut applied = vec![(Direction::Input, Vec::new())];
        if output {
            applied.push((Direction::Output, Vec::new()));
        }
        for rules in of {
            let number = lists.set(None, None, rules).unwrap();
            for (direction, numbers) in &mut applied {
                let at = At { interface: InterfaceIndex(0), name: "p0".into(), direction: *direction };
                prop_assert!(lists.apply(at, number).is_ok());
                numbers.push(number);
            }
        }
        let (mut bed, _sets, _tracker) = lab(&lists);
        prop_assert_eq!(bed.ports[0].index.0, 0);
        let mut sessions = HashSet::new();
        for packet in &packets {
            let (from, to) = packet.ends();
            let (port, other) = if packet.inward { (0, 1) } else { (1, 0) };
            let frame = packet.build(bed.ports[port].incoming().ipv4(from, to));
            bed.pass(port, &frame);
            let passed = bed.sent(other).len() == 1;
            prop_assert_eq!(passed, passes(&lists, &applied, packet, &mut sessions), "{:?}", packet);
        }
    }
}
