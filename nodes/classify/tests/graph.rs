// SPDX-License-Identifier: Apache-2.0
//! Rules in the graph: crafted packets in, exact bytes, counters and reasons out. The bed of weft-nodes checks the
//! conservation law and the buffer pool after every test.

use std::net::Ipv4Addr;
use std::num::NonZeroU64;

use ipnet::Ipv4Net;
use weft_classify::{
    Action, ClassifyError, Direction, Dscp, Family, Match, Police, PoliceUnit, PortRange, Priority, Redirect,
    Rule, RuleError, RuleId, RuleSet, RuleSets, Verdict,
};
use weft_engine::graph::Graph;
use weft_engine::trace::Names;
use weft_engine::{InterfaceIndex, NodeId, ReasonId};
use weft_nodes::fib::AdjacencyId;
use weft_nodes::headers::{IpProtocol, Ipv4Header};
use weft_nodes::interface::Tags;
use weft_stats::Combined;
use zerocopy::FromBytes;

use weft_testing::Bed;

const SET: &str = "edge";

fn rule(id: u32, matches: Match, verdict: Verdict) -> Rule {
    Rule { id: RuleId(id), priority: Priority(id), matches, action: Action::only(verdict) }
}

fn to_port(port: u16) -> Match {
    Match { protocol: Some(IpProtocol::UDP), destination_ports: PortRange::only(port), ..Match::default() }
}

struct Lab {
    bed: Bed,
    sets: RuleSets,
}

impl Lab {
    fn new(limit: usize) -> Lab {
        let mut bed = Bed::new();
        let interfaces = bed.interfaces.published();
        let sets = RuleSets::new(&mut bed.engine, &interfaces, limit).unwrap();
        Lab { bed, sets }
    }

    /// Rules for what comes in by port 0.
    fn with(rules: impl IntoIterator<Item = Rule>) -> Lab {
        let mut lab = Lab::new(64);
        lab.replace(rules).unwrap();
        lab.attach(0, Direction::Input).unwrap();
        lab
    }

    fn replace(&mut self, rules: impl IntoIterator<Item = Rule>) -> Result<(), ClassifyError> {
        let Bed { engine, interfaces, .. } = &mut self.bed;
        self.sets.change(engine, interfaces, SET, |set| {
            *set = RuleSet::of(rules)?;
            Ok(())
        })
    }

    fn attach(&mut self, port: usize, direction: Direction) -> Result<(), ClassifyError> {
        let interface = self.bed.ports[port].index;
        let Bed { engine, interfaces, .. } = &mut self.bed;
        self.sets.attach(engine, interfaces, SET, interface, direction)
    }

    fn hits(&self, id: u32) -> (u64, u64) {
        let Combined { packets, bytes } = self.sets.get(SET).unwrap().hits(RuleId(id));
        (packets, bytes)
    }

    /// A UDP packet from the host of port 0 to that of port 1.
    fn send(&mut self, port: u16) {
        let [p0, p1] = self.bed.ports;
        self.bed.pass(0, &p0.incoming().ipv4(p0.peer, p1.peer).udp(1000, port));
    }
}

#[test]
fn rules_pass_drop_and_count_in_their_order() {
    let mut lab = Lab::with([
        rule(1, Match::default(), Verdict::Continue),
        rule(2, to_port(53), Verdict::Pass),
        rule(3, Match { protocol: Some(IpProtocol::UDP), ..Match::default() }, Verdict::Drop),
    ]);
    lab.send(53);
    assert_eq!(lab.bed.only(1).len(), 42);
    lab.send(54);
    lab.bed.nothing_sent();
    lab.bed.counted(&[("ip4-classify/denied", 1), ("ip4-classify/hits", 2)]);
    let p0 = lab.bed.ports[0];
    lab.bed.pass(0, &p0.incoming().ipv4(p0.peer, p0.address).ping(1, 1));
    assert_eq!(lab.bed.only(0).len(), 42, "no rule decides about the echo request");
    assert_eq!([lab.hits(1), lab.hits(2), lab.hits(3)], [(3, 84), (1, 28), (1, 28)]);
    // The other direction has no rules.
    let p1 = lab.bed.ports[1];
    lab.bed.pass(1, &p1.incoming().ipv4(p1.peer, p0.peer).udp(7, 54));
    assert_eq!(lab.bed.only(0).len(), 42);
    assert_eq!(lab.hits(1), (3, 84));
}

#[test]
fn punt_gives_the_host_the_frame_as_it_came() {
    let mut lab = Lab::with([rule(1, to_port(179), Verdict::Punt)]);
    lab.bed.with_host(0);
    let [p0, p1] = lab.bed.ports;
    let frame = p0.incoming().ipv4(p0.peer, p1.peer).udp(1000, 179);
    lab.bed.pass(0, &frame);
    assert_eq!(lab.bed.punted(0), [frame.build()]);
    assert_eq!(lab.hits(1), (1, 28));
}

#[test]
fn a_code_point_is_written_and_the_checksum_follows() {
    let mut lab = Lab::with([]);
    for dscp in 0..64 {
        let action = Action { dscp: Dscp::new(dscp), ..Action::only(Verdict::Pass) };
        lab.replace([Rule { action, ..rule(1, Match::default(), Verdict::Pass) }]).unwrap();
        let [p0, p1] = lab.bed.ports;
        let tos = |tos| move |ip: &mut Ipv4Header| ip.tos = tos;
        lab.bed.pass(0, &p0.incoming().ipv4(p0.peer, p1.peer).ipv4_with(tos(0xa5)).udp(1, 2));
        let expected =
            p1.outgoing().ipv4(p0.peer, p1.peer).ttl(63).ipv4_with(tos(dscp << 2 | 1)).udp(1, 2).build();
        assert_eq!(lab.bed.only(1), expected, "a right checksum, and ECN as it was");
    }
}

#[test]
fn a_frame_is_redirected_to_a_port_as_it_is() {
    let mut lab = Lab::with([]);
    let [p0, p1] = lab.bed.ports;
    let to = |port: InterfaceIndex| rule(1, to_port(9), Verdict::Redirect(Redirect::Interface(port)));
    lab.replace([to(p0.index)]).unwrap();
    let frame = p0.incoming().ipv4(p0.peer, p1.peer).udp(1000, 9);
    lab.bed.pass(0, &frame);
    assert_eq!(lab.bed.only(0), frame.build());
    lab.bed.change(p0.index, |port| port.link_up = false);
    lab.bed.pass(0, &frame);
    lab.bed.nothing_sent();
    let drops: u64 = lab.bed.dropped().iter().map(|(_, count)| count).sum();
    assert_eq!(drops, 1);

    let sub = {
        let Bed { engine, interfaces, .. } = &mut lab.bed;
        let tags = Tags { outer: None, ..Tags::default() };
        interfaces.create_sub(engine, p1.index, 5, tags).unwrap()
    };
    let error = lab.replace([to(sub)]).unwrap_err().to_string();
    assert_eq!(
        error,
        "rule 1 of set 'edge' redirects to sub-interface 'p1.5': expected a port, or a next hop after it"
    );
}

#[test]
fn a_packet_is_redirected_to_a_next_hop() {
    let mut lab = Lab::with([]);
    let [p0, p1] = lab.bed.ports;
    let back: AdjacencyId = lab.bed.next_hop(p0.index, p0.peer);
    lab.replace([rule(1, to_port(9), Verdict::Redirect(Redirect::NextHop(back)))]).unwrap();
    lab.send(9);
    let expected = p0.outgoing().ipv4(p0.peer, p1.peer).ttl(63).udp(1000, 9).build();
    assert_eq!(lab.bed.only(0), expected);
    // On the way out it is too late for that, and nothing is attached.
    let error = lab.attach(1, Direction::Output).unwrap_err();
    assert!(matches!(error, ClassifyError::Direction(_, RuleId(1), _)), "{error}");
    assert_eq!(lab.sets.attached().count(), 1);
}

#[test]
fn what_leaves_meets_the_rules_of_its_interface() {
    let mut lab = Lab::new(64);
    let dscp = Action { dscp: Dscp::new(46), mark: Some(5), ..Action::only(Verdict::Pass) };
    let back = Redirect::Interface(lab.bed.ports[0].index);
    lab.replace([
        rule(1, to_port(1), Verdict::Drop),
        Rule { action: dscp, ..rule(2, to_port(2), Verdict::Pass) },
        rule(3, to_port(3), Verdict::Redirect(back)),
    ])
    .unwrap();
    lab.attach(1, Direction::Output).unwrap();
    lab.send(1);
    lab.bed.nothing_sent();
    lab.bed.drops(&[("ip4-classify-output/denied", 1)]);
    lab.send(2);
    let out = lab.bed.only(1);
    let ip = Ipv4Header::ref_from_prefix(&out[14..]).unwrap().0;
    assert_eq!((ip.tos >> 2, ip.ttl), (46, 63));
    lab.send(3);
    assert_eq!(lab.bed.only(0).len(), 42, "the frame for port 1 left by port 0");
    assert_eq!([lab.hits(1), lab.hits(2), lab.hits(3)], [(1, 28); 3]);
    let error = lab.replace([rule(9, Match::default(), Verdict::Punt)]).unwrap_err().to_string();
    assert_eq!(
        error,
        "rule 9 of set 'edge' says punt, which packets that leave an interface cannot do any more"
    );
    assert_eq!(lab.hits(1), (1, 28), "the refused set has changed nothing");
    // ARP passes the arc too, and has no rules.
    let p1 = lab.bed.ports[1];
    lab.bed.pass(
        1,
        &p1.incoming().arp(weft_nodes::headers::ArpPacket::new(
            weft_nodes::headers::ArpOperation::Request,
            (p1.peer_mac, p1.peer),
            (weft_nodes::headers::MacAddr::ZERO, p1.address),
        )),
    );
    assert_eq!(lab.bed.only(1).len(), 42);
}

#[test]
fn a_policer_lets_its_burst_through() {
    let police = Police {
        rate: NonZeroU64::new(1).unwrap(),
        burst: NonZeroU64::new(10).unwrap(),
        unit: PoliceUnit::Packets,
    };
    let action = Action { police: Some(police), ..Action::only(Verdict::Pass) };
    let limited = Rule { action, ..rule(1, to_port(7), Verdict::Pass) };
    let mut lab = Lab::with([limited.clone()]);
    (0..15).for_each(|_| lab.send(7));
    assert_eq!(lab.bed.sent(1).len(), 10);
    lab.bed.drops(&[("ip4-classify/policed", 5)]);
    // The rule keeps its bucket, the empty one, when others change.
    lab.replace([limited, rule(2, to_port(8), Verdict::Drop)]).unwrap();
    lab.send(7);
    lab.bed.drops(&[("ip4-classify/policed", 1)]);
}

#[test]
fn interfaces_of_one_vector_have_their_own_rules() {
    let mut lab = Lab::with([rule(1, to_port(7), Verdict::Drop)]);
    let [p0, p1] = lab.bed.ports;
    {
        let Bed { engine, interfaces, .. } = &mut lab.bed;
        let other = |set: &mut RuleSet| set.add(rule(1, to_port(8), Verdict::Drop));
        lab.sets.change(engine, interfaces, "other", other).unwrap();
        lab.sets.attach(engine, interfaces, "other", p1.index, Direction::Input).unwrap();
    }
    for port in [7, 8, 9, 7, 7, 8, 8] {
        lab.bed.receive(0, &p0.incoming().ipv4(p0.peer, p1.peer).udp(1, port));
        lab.bed.receive(1, &p1.incoming().ipv4(p1.peer, p0.peer).udp(1, port));
    }
    lab.bed.run();
    assert_eq!((lab.bed.sent(1).len(), lab.bed.sent(0).len()), (4, 4));
    assert_eq!(lab.hits(1).0, 3);
    assert_eq!(lab.sets.get("other").unwrap().hits(RuleId(1)).packets, 3);
    let names: Vec<_> = lab.sets.iter().map(|set| (set.name.to_owned(), set.index.0)).collect();
    assert_eq!(names, [("edge".to_owned(), 0), ("other".to_owned(), 1)]);
}

#[test]
fn counters_stay_with_the_rule_and_limits_are_errors() {
    let mut lab = Lab::new(3);
    lab.replace([rule(1, to_port(7), Verdict::Drop), rule(2, to_port(8), Verdict::Drop)]).unwrap();
    lab.attach(0, Direction::Input).unwrap();
    lab.send(7);
    lab.send(8);
    let full = lab.replace((1..5).map(|id| rule(id, to_port(7), Verdict::Pass))).unwrap_err().to_string();
    assert_eq!(full, "no room for 2 more rules: limits { classify-rules 3 }");
    // Rule 2 now passes, stays, and counts on; rule 1 goes.
    lab.replace([rule(2, to_port(8), Verdict::Pass), rule(3, to_port(7), Verdict::Drop)]).unwrap();
    lab.send(8);
    assert_eq!([lab.hits(1), lab.hits(2), lab.hits(3)], [(0, 0), (2, 56), (0, 0)]);
    // The counter of rule 1 is free, and at 0, when the worker has seen the new set.
    lab.bed.run();
    lab.bed.engine.reclaim();
    lab.replace([2, 3, 4].map(|id| rule(id, to_port(7), Verdict::Drop))).unwrap();
    assert_eq!([lab.hits(2), lab.hits(4)], [(2, 56), (0, 0)]);
    let Bed { engine, interfaces, .. } = &mut lab.bed;
    let error = lab.sets.delete(engine, interfaces, SET).unwrap_err().to_string();
    assert_eq!(error, "rule set 'edge' is attached to 'p0'; detach it first");
    let unknown = lab.sets.change(engine, interfaces, SET, |set| set.remove(RuleId(9))).unwrap_err();
    assert!(matches!(unknown, ClassifyError::Rule(_, RuleError::Unknown(RuleId(9)))));
    assert!(lab.sets.change(engine, interfaces, "a b", |_| Ok(())).is_err());
}

struct Shown<'a>(&'a Graph);

impl Names for Shown<'_> {
    fn interface(&self, interface: InterfaceIndex) -> String {
        format!("p{interface}")
    }
    fn reason(&self, reason: ReasonId) -> String {
        self.0.reason(reason).unwrap().spec.text.trim().to_owned()
    }
    fn node(&self, node: NodeId) -> String {
        self.0.node(node).unwrap().name.clone()
    }
}

#[test]
fn a_trace_names_the_rule_that_decided() {
    let marked = Action { mark: Some(77), ..Action::only(Verdict::Pass) };
    let mut lab = Lab::with([
        rule(1, Match::default(), Verdict::Continue),
        Rule { action: marked, ..rule(20, to_port(7), Verdict::Pass) },
        rule(30, to_port(8), Verdict::Drop),
    ]);
    let ethernet_input = lab.bed.nodes.ethernet_input;
    lab.bed.worker.trace(ethernet_input, 10);
    [7, 8, 9].into_iter().for_each(|port| lab.send(port));
    lab.bed.sent(1);
    let graph = lab.bed.engine.graph();
    let node = graph.id("ip4-classify").unwrap();
    let mut text = String::new();
    for record in lab.bed.worker.trace_records().iter().filter(|record| record.node == node) {
        record.print(None, &Shown(graph), &mut text).unwrap();
    }
    assert_eq!(text, "  set 0 rule 20: pass, mark 77\n  set 0 rule 30: drop\n  set 0: no rule matches\n");
}

/// A worker on its own thread, and sets that are replaced under it: each packet meets exactly one of them.
#[test]
fn replacing_a_set_under_traffic_loses_nothing() {
    const PACKETS: u64 = 20_000;
    let mut lab = Lab::new(10_000);
    // All sets drop everything, by one of three rules that stay, after none to some hundred others.
    let set = |round: u32| {
        let host = |n: u32| Ipv4Net::from(Ipv4Addr::from_bits(0x0a00_0000 + n));
        let filler = (0..round % 7 * 100)
            .map(move |n| rule(10 + n, Match { source: host(n + 4000), ..to_port(n as u16) }, Verdict::Pass));
        let catch = (0..3).map(move |id| {
            rule(id, if id == round % 3 { Match::default() } else { to_port(9999) }, Verdict::Drop)
        });
        filler.chain(catch).collect::<Vec<_>>()
    };
    lab.replace(set(0)).unwrap();
    lab.attach(0, Direction::Input).unwrap();
    lab.bed.run();
    let [p0, p1] = lab.bed.ports;
    let frame = p0.incoming().ipv4(p0.peer, p1.peer).udp(1, 2).build();
    (0..PACKETS).for_each(|_| lab.bed.receive_bytes(0, frame.clone()));
    let Bed { worker, engine, interfaces, .. } = &mut lab.bed;
    std::thread::scope(|scope| {
        let traffic = scope.spawn(move || while worker.turn() > 0 {});
        let mut round = 0;
        while !traffic.is_finished() && round < 3000 {
            round += 1;
            let rules = set(round);
            lab.sets
                .change(engine, interfaces, SET, |set| {
                    *set = RuleSet::of(rules)?;
                    Ok(())
                })
                .unwrap();
            engine.reclaim();
        }
    });
    lab.bed.run();
    let denied = lab.bed.dropped();
    assert_eq!(denied, [("ip4-classify/denied".to_owned(), PACKETS)]);
    let hits = [0, 1, 2].map(|id| lab.hits(id).0);
    assert_eq!(hits.iter().sum::<u64>(), PACKETS, "{hits:?}");
}

/// The same rules as IPv4's, on the way in and on the way out.
#[test]
fn ipv6_that_is_routed_here_meets_the_rules_of_its_interfaces() {
    for direction in [Direction::Input, Direction::Output] {
        let of_ip6 = Match { family: Family::IP6, ..to_port(2) };
        let discovery = Match { not_discovery: true, ..Match::default() };
        let mut lab = Lab::new(64);
        lab.bed.enable_ip6();
        let dscp = Action { dscp: Dscp::new(46), ..Action::only(Verdict::Pass) };
        lab.replace([
            rule(1, to_port(1), Verdict::Drop),
            rule(2, of_ip6, Verdict::Drop),
            Rule { action: dscp, ..rule(3, to_port(3), Verdict::Pass) },
            rule(9, discovery, Verdict::Drop),
        ])
        .unwrap();
        lab.attach(if direction == Direction::Input { 0 } else { 1 }, direction).unwrap();
        let [p0, p1] = lab.bed.ports;
        let node = match direction {
            Direction::Input => "ip6-classify",
            Direction::Output => "ip6-classify-output",
        };
        let udp = |port| p0.incoming().ipv6(p0.peer6, p1.peer6).udp(7, port);
        for port in [1, 2, 4] {
            lab.bed.moved();
            lab.bed.pass(0, &udp(port));
            lab.bed.nothing_sent();
            lab.bed.counted(&[(&format!("{node}/denied"), 1), (&format!("{node}/hits"), 1)]);
        }
        lab.bed.pass(0, &udp(3));
        let marked = p1.outgoing().ipv6(p0.peer6, p1.peer6).hop_limit(63);
        let marked = marked.ipv6_with(|ip| ip.version_class_flow.set(6 << 28 | 46 << 22)).udp(7, 3);
        assert_eq!(lab.bed.only(1), marked.build());
        // Bytes of the IP packet, on whichever side of the router.
        assert_eq!([1, 2, 3, 9].map(|id| lab.hits(id)), [(1, 48); 4]);
        // What IPv4 meets is what it met before.
        lab.bed.pass(0, &p0.incoming().ipv4(p0.peer, p1.peer).udp(7, 2));
        lab.bed.nothing_sent();
        assert_eq!(lab.hits(9), (2, 76));
    }
}
