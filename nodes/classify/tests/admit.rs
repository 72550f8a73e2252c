// SPDX-License-Identifier: Apache-2.0
//! Rules that admit flows, with the tracker that remembers them: answers pass, strangers do not.

use proptest::prelude::*;
use weft_classify::{
    Action, Direction, Exempt, Match, PortRange, Priority, Rule, RuleId, RuleSet, RuleSets, Verdict,
};
use weft_engine::buffer::TRACED;
use weft_flow::FlowTracker;
use weft_flow::settings::{Mode, Settings};
use weft_nodes::headers::build::Packet;
use weft_nodes::headers::{Icmp4Header, Icmp4Type, Icmp6Header, Icmp6Type, IpProtocol, Ipv4Header, TcpFlags};

use weft_testing::Bed;

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;
const SYN_ACK: TcpFlags = TcpFlags(SYN.0 | ACK.0);

/// A router behind whose port 0 hosts may begin connections to port 80 and to ports of UDP, and ping.
struct Lab {
    bed: Bed,
    sets: RuleSets,
    tracker: FlowTracker,
    /// Whether packets are of IPv6.
    ip6: bool,
}

fn rule(id: u32, matches: Match, action: Action) -> Rule {
    Rule { id: RuleId(id), priority: Priority(id), matches, action }
}

/// What may begin.
fn permitted() -> Vec<Rule> {
    let admit = Action { admit: true, ..Action::only(Verdict::Pass) };
    let of = |protocol| Match { protocol: Some(protocol), ..Match::default() };
    let web = Match { destination_ports: PortRange::only(80), ..of(IpProtocol::TCP) };
    vec![
        rule(1, web, admit),
        rule(2, of(IpProtocol::UDP), admit),
        rule(3, of(IpProtocol::ICMP), admit),
        rule(4, of(IpProtocol::ICMPV6), admit),
        rule(9, Match::default(), Action::only(Verdict::Drop)),
    ]
}

impl Lab {
    fn new() -> Lab {
        let mut bed = Bed::new();
        let interfaces = bed.interfaces.published();
        let mut sets = RuleSets::new(&mut bed.engine, &interfaces, 64).unwrap();
        let main = bed.main.clone();
        let mut tracker =
            FlowTracker::new(&mut bed.engine, Settings::default(), &interfaces, 64, &main).unwrap();
        sets.admit_by(&mut bed.engine, tracker.node());
        for port in bed.ports {
            tracker.enable(&mut bed.engine, port.index, Mode::Admit).unwrap();
        }
        Lab { bed, sets, tracker, ip6: false }
    }

    /// As [`Lab::new`], for packets of IPv6.
    fn ip6() -> Lab {
        let mut lab = Lab { ip6: true, ..Lab::new() };
        lab.bed.enable_ip6();
        lab.bed.moved();
        lab
    }

    /// A node of the family.
    fn node(&self, name: &str) -> String {
        format!("ip{}-{name}", if self.ip6 { 6 } else { 4 })
    }

    fn ping(&self, ip: Packet) -> Packet {
        if self.ip6 { ip.ping6(7, 1) } else { ip.ping(7, 1) }
    }

    fn pong(&self, id: u16) -> impl Fn(Packet) -> Packet + use<> {
        let ip6 = self.ip6;
        move |ip| match ip6 {
            true => ip.icmp6(Icmp6Header::new(Icmp6Type::ECHO_REPLY, 0, u32::from(id) << 16 | 1)),
            false => ip.icmp4(Icmp4Header::new(Icmp4Type::ECHO_REPLY, 0, [id, 1])),
        }
    }

    /// An error about a packet.
    fn unreachable(&self, about: Vec<u8>) -> impl Fn(Packet) -> Packet + use<> {
        let ip6 = self.ip6;
        move |ip| {
            let error = match ip6 {
                true => ip.icmp6(Icmp6Header::new(Icmp6Type::UNREACHABLE, 0, 0)),
                false => ip.icmp4(Icmp4Header::new(Icmp4Type::UNREACHABLE, 1, [0, 0])),
            };
            error.payload(&about)
        }
    }

    /// These rules, and after them all others are closed to whoever is not answered.
    fn guard(&mut self, name: &str, port: usize, direction: Direction, rules: Vec<Rule>) {
        let interface = self.bed.ports[port].index;
        let Bed { engine, interfaces, .. } = &mut self.bed;
        self.sets
            .change(engine, interfaces, name, |set| {
                *set = RuleSet::of(rules)?;
                set.exempt = Exempt { admitted: true, own: true };
                Ok(())
            })
            .unwrap();
        self.sets.attach(engine, interfaces, name, interface, direction).unwrap();
        self.bed.run();
    }

    fn packet(&self, port: usize, transport: impl Fn(Packet) -> Packet) -> Packet {
        let (from, to) = (self.bed.ports[port], self.bed.ports[1 - port]);
        transport(match self.ip6 {
            true => from.incoming().ipv6(from.peer6, to.peer6),
            false => from.incoming().ipv4(from.peer, to.peer),
        })
    }

    #[track_caller]
    fn passes(&mut self, port: usize, transport: impl Fn(Packet) -> Packet) {
        let packet = self.packet(port, transport);
        self.bed.pass(port, &packet);
        self.bed.only(1 - port);
    }

    #[track_caller]
    fn denied(&mut self, port: usize, transport: impl Fn(Packet) -> Packet, node: &str) {
        let packet = self.packet(port, transport);
        self.bed.pass(port, &packet);
        self.bed.nothing_sent();
        self.bed.drops(&[(&format!("{node}/denied"), 1)]);
    }

    fn flows(&self) -> Vec<bool> {
        self.tracker.flows().map(|flow| flow.admitted).collect()
    }
}

fn closed() -> Vec<Rule> {
    vec![rule(9, Match::default(), Action::only(Verdict::Drop))]
}

/// The dialogue is the same whichever interface has the rules.
fn dialogue(lab: &mut Lab, forth: &str, back: &str) {
    let (forth, back) = (&*lab.node(forth), &*lab.node(back));
    // Nobody has begun anything.
    lab.denied(1, |ip| ip.tcp(80, 1000, SYN_ACK), back);
    lab.denied(1, |ip| ip.udp(53, 1000), back);
    lab.denied(0, |ip| ip.tcp(1000, 22, SYN), forth);
    assert!(lab.flows().is_empty(), "what is denied begins no flow");

    lab.passes(0, |ip| ip.tcp(1000, 80, SYN));
    lab.passes(1, |ip| ip.tcp(80, 1000, SYN_ACK));
    lab.passes(0, |ip| ip.tcp(1000, 80, ACK).payload(b"GET"));
    lab.passes(1, |ip| ip.tcp(80, 1000, ACK).payload(b"200"));
    lab.denied(1, |ip| ip.tcp(80, 1001, SYN_ACK), back);
    lab.passes(0, |ip| ip.udp(1000, 53));
    lab.passes(1, |ip| ip.udp(53, 1000));
    lab.denied(1, |ip| ip.udp(54, 1000), back);
    let (ping, pong, other) = (lab.packet(0, |ip| lab.ping(ip)), lab.pong(7), lab.pong(8));
    lab.bed.pass(0, &ping);
    lab.bed.only(1);
    lab.passes(1, pong);
    lab.denied(1, other, back);

    // An error about a packet of a flow passes, one about no flow does not.
    let about = |lab: &Lab, port| lab.packet(0, |ip| ip.udp(1000, port)).build()[14..].to_vec();
    let [known, unknown] = [53, 54].map(|port| lab.unreachable(about(lab, port)));
    lab.passes(1, known);
    lab.denied(1, unknown, back);
    assert_eq!(lab.flows(), [true; 3]);
}

#[test]
fn answers_pass_an_interface_that_admitted_the_flow_on_the_way_in() {
    for mut lab in [Lab::new(), Lab::ip6()] {
        lab.guard("in", 0, Direction::Input, permitted());
        lab.guard("out", 0, Direction::Output, closed());
        dialogue(&mut lab, "classify", "classify-output");
    }
}

#[test]
fn answers_pass_an_interface_that_admitted_the_flow_on_the_way_out() {
    for mut lab in [Lab::new(), Lab::ip6()] {
        lab.guard("out", 1, Direction::Output, permitted());
        lab.guard("in", 1, Direction::Input, closed());
        dialogue(&mut lab, "classify-output", "classify");
    }
}

#[test]
fn a_flow_is_admitted_only_where_a_rule_says_so() {
    let mut lab = Lab::new();
    lab.guard("in", 0, Direction::Input, permitted());
    // The other interface lets out what it likes, and nothing in.
    lab.guard("far-in", 1, Direction::Input, closed());
    lab.passes(0, |ip| ip.udp(1000, 53));
    lab.denied(1, |ip| ip.udp(53, 1000), "ip4-classify");
}

#[test]
fn admitted_flows_outlive_the_rules_that_admitted_them() {
    let mut lab = Lab::new();
    lab.guard("in", 0, Direction::Input, permitted());
    lab.guard("out", 0, Direction::Output, closed());
    lab.passes(0, |ip| ip.udp(1000, 53));
    lab.guard("in", 0, Direction::Input, closed());
    lab.passes(0, |ip| ip.udp(1000, 53));
    lab.passes(1, |ip| ip.udp(53, 1000));
    lab.denied(0, |ip| ip.udp(1001, 53), "ip4-classify");
    lab.tracker.clear_all(&mut lab.bed.engine);
    lab.bed.run();
    for _ in 0..1000 {
        lab.bed.time_passes(std::time::Duration::from_millis(11));
        lab.bed.worker.turn();
        if lab.flows().is_empty() {
            break;
        }
    }
    lab.denied(0, |ip| ip.udp(1000, 53), "ip4-classify");
}

/// What two routers are compared by after a packet: frames and their contexts, counters, flows.
fn seen(lab: &mut Lab) -> impl PartialEq + std::fmt::Debug {
    let mut contexts = [0, 1].map(|port| lab.bed.contexts(port));
    for meta in contexts.iter_mut().flatten() {
        // This is all that a trace may write.
        meta.flags &= !TRACED;
        meta.trace = 0;
    }
    (
        [0, 1].map(|port| lab.bed.sent(port)),
        contexts.map(|contexts| format!("{contexts:?}")),
        lab.bed.dropped(),
        lab.tracker.flows().map(|flow| (flow.state, flow.admitted, flow.mark)).collect::<Vec<_>>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Rules that pass, mark, admit and drop, in both directions, with and without a flow.
    #[test]
    fn a_trace_changes_neither_packets_nor_counters_nor_verdicts(
        steps in prop::collection::vec((0usize..2, 0u16..4, 0u16..4, 0usize..3), 1..80),
    ) {
        let mut labs = [Lab::new(), Lab::new()];
        for lab in &mut labs {
            let mark = Action { mark: Some(7), ..Action::only(Verdict::Continue) };
            let marked = [rule(0, Match::default(), mark)].into_iter().chain(permitted());
            lab.guard("in", 0, Direction::Input, marked.collect());
            lab.guard("out", 0, Direction::Output, closed());
            lab.guard("far-out", 1, Direction::Output, permitted());
        }
        let input = labs[1].bed.nodes.ethernet_input;
        labs[1].bed.worker.trace(input, 10_000);
        for (port, source, destination, protocol) in steps {
            let [plain, traced] = labs.each_mut().map(|lab| {
                let packet = lab.packet(port, |ip| match protocol {
                    0 => ip.udp(50 + source, 50 + destination),
                    1 => ip.tcp(79 + source, 79 + destination, SYN),
                    _ => ip.ping(source, destination),
                });
                lab.bed.pass(port, &packet);
                seen(lab)
            });
            prop_assert_eq!(plain, traced);
        }
        prop_assert!(!labs[1].bed.worker.trace_records().is_empty());
    }
}

#[test]
fn fragments_follow_the_first_one() {
    let mut lab = Lab::new();
    lab.guard("in", 0, Direction::Input, permitted());
    lab.guard("out", 0, Direction::Output, closed());
    lab.passes(0, |ip| ip.udp(1000, 53));
    let part = |ip: Packet, flags: u16| {
        ip.ipv4_with(|ip| ip.flags_offset.set(flags)).udp(53, 1000).payload(&[0; 24])
    };
    lab.denied(1, |ip| part(ip, 4), "ip4-classify-output");
    lab.passes(1, |ip| part(ip, Ipv4Header::MORE_FRAGMENTS));
    lab.passes(1, |ip| part(ip, 4));
}

#[test]
fn several_changes_at_once_are_seen_together_or_not_at_all() {
    let mut lab = Lab::new();
    let room = lab.sets.room();
    let port = lab.bed.ports[0].index;
    let Bed { engine, interfaces, .. } = &mut lab.bed;
    lab.sets.begin();
    for (name, direction) in [("in", Direction::Input), ("out", Direction::Output)] {
        let change = lab.sets.change(engine, interfaces, name, |set| {
            *set = RuleSet::of(closed())?;
            Ok(())
        });
        change.unwrap();
        lab.sets.attach(engine, interfaces, name, port, direction).unwrap();
    }
    lab.bed.run();
    lab.passes(0, |ip| ip.udp(1, 2));
    let Bed { engine, .. } = &mut lab.bed;
    lab.sets.commit(engine);
    lab.bed.run();
    assert_eq!(lab.sets.room(), room - 2);
    lab.denied(0, |ip| ip.udp(1, 2), "ip4-classify");
    lab.denied(1, |ip| ip.udp(1, 2), "ip4-classify-output");
}
