// SPDX-License-Identifier: Apache-2.0
//! flow-track among the nodes of a router.

use std::sync::Arc;
use std::time::Duration;

use weft_engine::Lease;
use weft_flow::counts::Count;
use weft_flow::news::{Ending, What};
use weft_flow::settings::{Mode, Policy, Settings, Timeouts};
use weft_flow::{FlowTracker, PER_FLOW};
use weft_flow_map::{Flow, State, Verdict};
use weft_nodes::context::MARK;
use weft_nodes::headers::build::Packet;
use weft_nodes::headers::{
    Icmp4Header, Icmp4Type, Icmp6Header, Icmp6Type, IpProtocol, MacAddr, NeighborMessage, TcpFlags,
};
use weft_testing::Bed;

struct Tracked {
    bed: Bed,
    tracker: FlowTracker,
}

fn tracked(settings: Settings, mode: Mode) -> Tracked {
    let mut bed = Bed::new();
    let main = bed.main.clone();
    let mut tracker = FlowTracker::new(&mut bed.engine, settings, &bed.interfaces.published(), 64, &main)
        .expect("memory for the tables");
    for port in bed.ports {
        tracker.enable(&mut bed.engine, port.index, mode).expect("the ports exist");
    }
    bed.run();
    Tracked { bed, tracker }
}

fn settings() -> Settings {
    Settings { flows: 1024, invalid: Policy::Drop, excess: Policy::Drop, ..Settings::default() }
}

impl Tracked {
    /// A packet from the host at a port to that at the other.
    fn packet(&self, port: usize, transport: impl Fn(Packet) -> Packet) -> Packet {
        let (from, to) = (self.bed.ports[port], self.bed.ports[1 - port]);
        transport(from.incoming().ipv4(from.peer, to.peer))
    }

    #[track_caller]
    fn passes(&mut self, port: usize, transport: impl Fn(Packet) -> Packet) {
        let packet = self.packet(port, transport);
        self.bed.pass(port, &packet);
        self.bed.only(1 - port);
    }

    #[track_caller]
    fn dies(&mut self, port: usize, transport: impl Fn(Packet) -> Packet, reason: &str) {
        let packet = self.packet(port, transport).build();
        self.bed.moved();
        self.bed.dies(port, &packet, &format!("flow-track/{reason}"));
    }

    fn flows(&mut self) -> Vec<Flow> {
        self.tick();
        self.tracker.flows().collect()
    }

    #[track_caller]
    fn only_flow(&mut self) -> Flow {
        let flows = self.flows();
        assert_eq!(flows.len(), 1, "{flows:?}");
        flows[0]
    }

    /// Lets the node's timer run once.
    fn tick(&mut self) {
        self.bed.worker.turn();
        self.bed.time_passes(Duration::from_millis(11));
        self.bed.worker.turn();
    }

    /// Lets time pass until something was counted.
    #[track_caller]
    fn wait_for(&mut self, count: Count) {
        for _ in 0..1000 {
            if self.counted(count) > 0 {
                return;
            }
            self.tick();
        }
        panic!("{count:?} does not move");
    }

    fn counted(&self, count: Count) -> u64 {
        self.tracker.counts.sum(count)
    }
}

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;

#[test]
fn packets_of_both_directions_are_one_flow_and_are_forwarded() {
    let mut it = tracked(settings(), Mode::Track);
    it.passes(0, |ip| ip.udp(1000, 53));
    it.passes(0, |ip| ip.udp(1000, 53).payload(&[0; 100]));
    assert_eq!(it.only_flow().state, State::New);
    it.passes(1, |ip| ip.udp(53, 1000));
    let flow = it.only_flow();
    assert_eq!(
        (flow.state, flow.answered, flow.interface),
        (State::Established, true, Some(it.bed.ports[0].index.0))
    );
    assert_eq!(
        (flow.from().to_string(), flow.to().to_string()),
        ("10.0.0.2:1000".into(), "10.0.1.2:53".into())
    );
    assert_eq!((flow.sides[0].packets, flow.sides[0].bytes), (2, 28 + 128));
    assert_eq!((flow.sides[1].packets, flow.sides[1].bytes), (1, 28));
    it.passes(0, |ip| ip.tcp(1000, 53, SYN));
    it.passes(0, |ip| ip.ping(1000, 1));
    assert_eq!(it.flows().len(), 3);
    assert_eq!((it.counted(Count::Active), it.counted(Count::Created), it.counted(Count::Hits)), (3, 3, 5));
}

#[test]
fn a_packet_that_belongs_to_nothing_has_its_reason() {
    let mut it = tracked(Settings { pickup: false, ..settings() }, Mode::Track);
    let pong = Icmp4Header::new(Icmp4Type::ECHO_REPLY, 0, [7, 1]);
    let unreachable = Icmp4Header::new(Icmp4Type::UNREACHABLE, 1, [0, 0]);
    it.dies(0, |ip| ip.tcp(1, 2, ACK), "not_syn");
    it.dies(0, |ip| ip.icmp4(pong), "no_request");
    it.dies(0, |ip| ip.icmp4(unreachable).payload(&[0; 28]), "malformed");
    let quoted = it.packet(1, |ip| ip.udp(1, 2)).build()[14..].to_vec();
    it.dies(0, |ip| ip.icmp4(unreachable).payload(&quoted), "no_flow");
    it.dies(0, |ip| ip.ipv4_with(|ip| ip.flags_offset.set(5)).payload(&[0; 8]), "lone_fragment");
    it.dies(0, |ip| ip.ipv4_with(|ip| ip.protocol = IpProtocol::TCP).payload(&[0; 3]), "malformed");
    assert_eq!((it.flows().len(), it.counted(Count::Invalid)), (0, 6));
    // Or goes on, if that is the setting.
    let mut it = tracked(Settings { pickup: false, invalid: Policy::Forward, ..settings() }, Mode::Track);
    it.passes(0, |ip| ip.tcp(1, 2, ACK));
    it.passes(0, |ip| ip.icmp4(pong));
    assert_eq!((it.flows().len(), it.counted(Count::Invalid)), (0, 2));
}

/// A tracked router of both families, and what the hosts of its ports send each other by IPv6.
fn tracked6(settings: Settings, mode: Mode) -> Tracked {
    let mut it = tracked(settings, mode);
    it.bed.enable_ip6();
    it.bed.moved();
    it
}

impl Tracked {
    fn packet6(&self, port: usize, transport: impl Fn(Packet) -> Packet) -> Packet {
        let (from, to) = (self.bed.ports[port], self.bed.ports[1 - port]);
        transport(from.incoming().ipv6(from.peer6, to.peer6))
    }

    #[track_caller]
    fn passes6(&mut self, port: usize, transport: impl Fn(Packet) -> Packet) {
        let packet = self.packet6(port, transport);
        self.bed.pass(port, &packet);
        self.bed.only(1 - port);
    }

    #[track_caller]
    fn dies6(&mut self, port: usize, transport: impl Fn(Packet) -> Packet, reason: &str) {
        let packet = self.packet6(port, transport).build();
        self.bed.moved();
        self.bed.dies(port, &packet, &format!("flow-track/{reason}"));
    }
}

fn pong6(id: u16) -> Icmp6Header {
    Icmp6Header::new(Icmp6Type::ECHO_REPLY, 0, u32::from(id) << 16 | 1)
}

#[test]
fn flows_of_both_families_stand_in_one_table() {
    let mut it = tracked6(Settings { pickup: false, ..settings() }, Mode::Track);
    it.passes6(0, |ip| ip.udp(1000, 53));
    it.passes6(0, |ip| ip.udp(1000, 53).payload(&[0; 100]));
    it.passes6(1, |ip| ip.udp(53, 1000));
    let flow = it.only_flow();
    assert_eq!((flow.state, flow.answered), (State::Established, true));
    let ends = [flow.from().to_string(), flow.to().to_string()];
    assert_eq!(ends, ["[2001:db8::2]:1000", "[2001:db8:0:1::2]:53"]);
    assert_eq!(flow.sides.map(|side| (side.packets, side.bytes)), [(2, 48 + 148), (1, 48)]);
    it.passes(0, |ip| ip.udp(1000, 53));
    it.passes6(0, |ip| ip.ping6(7, 1));
    it.passes6(1, |ip| ip.icmp6(pong6(7)));
    it.passes6(0, |ip| ip.tcp(1000, 80, SYN));
    assert_eq!((it.flows().len(), it.counted(Count::Created), it.counted(Count::Hits)), (4, 4, 7));
    it.dies6(0, |ip| ip.tcp(1, 2, ACK), "not_syn");
    it.dies6(0, |ip| ip.icmp6(pong6(9)), "no_request");
    it.dies6(0, |ip| ip.ipv6_with(|ip| ip.next_header = IpProtocol::TCP).payload(&[0; 3]), "malformed");
    let quoted = it.packet6(1, |ip| ip.udp(1, 2)).build()[14..].to_vec();
    let unreachable = Icmp6Header::new(Icmp6Type::UNREACHABLE, 0, 0);
    it.dies6(0, |ip| ip.icmp6(unreachable).payload(&quoted), "no_flow");
    it.dies6(0, |ip| ip.icmp6(unreachable).payload(&quoted[..42]), "malformed");
    let later = [17, 0, 0, 8, 0, 0, 0, 1, 0, 0];
    let fragment = |ip: Packet| ip.ipv6_with(|ip| ip.next_header = IpProtocol::FRAGMENT).payload(&later);
    it.dies6(0, fragment, "lone_fragment");
    assert_eq!((it.flows().len(), it.counted(Count::Invalid)), (4, 6));
}

#[test]
fn an_agent_decides_about_ip6_and_neighbours_are_heard_meanwhile() {
    let mut it = tracked6(settings(), Mode::Agent);
    let [p0, p1] = it.bed.ports;
    let packet = p0.incoming().ipv6(p0.peer6, "2001:db8:9::9".parse::<std::net::Ipv6Addr>().unwrap());
    let packet = packet.udp(1000, 53);
    it.bed.pass(0, &packet);
    it.bed.nothing_sent();
    let flow = it.only_flow();
    assert!(flow.waiting);
    let solicitation = NeighborMessage::new(Icmp6Type::NEIGHBOR_SOLICITATION, 0, p0.address6);
    let asks = p0.incoming().ipv6(p0.peer6, p0.address6).hop_limit(255);
    let rest = zerocopy::IntoBytes::as_bytes(&solicitation);
    it.bed.pass(0, &asks.icmp6(Icmp6Header::new(Icmp6Type::NEIGHBOR_SOLICITATION, 0, 0)).payload(&rest[8..]));
    it.bed.only(0);
    // No route leads there; the other port's host is a neighbour that can be named.
    let mac = MacAddr([2, 0, 0, 0, 7, 7]);
    it.bed.resolve6(p1.index, p1.peer6, mac);
    it.bed.run();
    let next_hop = it.bed.next_hop6(p1.index, p1.peer6);
    it.tracker.decide(&mut it.bed.engine, flow.id, Verdict::NextHop(next_hop.0), None);
    it.bed.run();
    let (sent, came) = (it.bed.only(1), packet.build());
    assert_eq!((&sent[..6], sent[21]), (&mac.0[..], came[21] - 1));
}

#[test]
fn a_full_table_leaves_known_flows_alone() {
    let mut it = tracked(Settings { flows: 4, ..settings() }, Mode::Track);
    for port in 1..=4 {
        it.passes(0, |ip| ip.udp(port, 53));
        it.passes(1, |ip| ip.udp(53, port));
    }
    it.dies(0, |ip| ip.udp(5, 53), "table_full");
    it.passes(1, |ip| ip.udp(53, 4));
    assert_eq!((it.flows().len(), it.counted(Count::Full)), (4, 1));
}

#[test]
fn of_a_full_table_the_oldest_flow_without_an_answer_makes_room() {
    let mut it = tracked(Settings { flows: 4, ..settings() }, Mode::Track);
    it.tracker.set_events(true);
    for port in 1..=4 {
        it.passes(0, |ip| ip.udp(port, 53));
    }
    it.passes(1, |ip| ip.udp(53, 1));
    it.passes(0, |ip| ip.udp(5, 53));
    assert_eq!((it.flows().len(), it.counted(Count::Full), it.counted(Count::Displaced)), (4, 0, 1));
    let mut displaced = Vec::new();
    it.tracker.hear(100, |news| {
        if let What::Ended { why: Ending::Displaced, .. } = news.what {
            displaced.push(news.key);
        }
    });
    let left: Vec<_> = it.flows().iter().map(|flow| flow.key).collect();
    assert!(displaced.len() == 1 && !left.contains(&displaced[0]));
}

#[test]
fn flows_end_by_time_and_by_order_and_the_main_thread_hears_of_it() {
    let udp_new = Duration::from_millis(150);
    let timeouts = Timeouts { udp_new, ..Timeouts::default() };
    let mut it = tracked(Settings { timeouts, ..settings() }, Mode::Track);
    it.tracker.set_events(true);
    it.passes(0, |ip| ip.udp(1, 53));
    it.passes(0, |ip| ip.tcp(1, 80, SYN));
    it.wait_for(Count::Expired);
    let flow = it.only_flow();
    assert_eq!((flow.key.protocol(), it.counted(Count::Expired)), (6, 1));
    it.tracker.clear(&mut it.bed.engine, &[flow.id, flow.id]);
    assert!(it.flows().is_empty());
    assert_eq!(it.counted(Count::Cleared), 1);
    let mut heard = Vec::new();
    assert!(!it.tracker.hear(100, |news| heard.push((news.key.protocol(), news.what))));
    let ended = |heard: &(u8, What)| match heard.1 {
        What::Ended { why, sides, .. } => Some((heard.0, why, sides[0].packets)),
        _ => None,
    };
    assert_eq!(heard.iter().filter(|heard| heard.1 == What::Began).count(), 2);
    let ends: Vec<_> = heard.iter().filter_map(ended).collect();
    assert_eq!(ends, [(17, Ending::Idle, 1), (6, Ending::Cleared, 1)]);
    // And all at once.
    (1..=100).for_each(|port| it.passes(0, |ip| ip.tcp(port, 80, SYN)));
    it.tracker.clear_all(&mut it.bed.engine);
    assert!(it.flows().is_empty());
}

#[test]
fn an_agent_decides_and_packets_go_on_in_order() {
    let mut it = tracked(settings(), Mode::Agent);
    for size in 0..6 {
        let packet = it.packet(0, |ip| ip.udp(1000, 53).payload(&[size; 8]));
        it.bed.pass(0, &packet);
    }
    it.bed.nothing_sent();
    it.bed.counted(&[("flow-track/flow_waits", 6 - PER_FLOW as u64)]);
    let flow = it.only_flow();
    assert!(flow.waiting);
    assert_eq!((it.counted(Count::Parked), it.bed.worker.in_flight()), (PER_FLOW as u64, PER_FLOW));
    let mut heard = Vec::new();
    it.tracker.hear(100, |news| heard.push(news));
    let [news] = &heard[..] else { panic!("{heard:?}") };
    let What::Waits { length, head } = news.what else { panic!("{news:?}") };
    assert_eq!((news.id, length, head[20..22].to_vec()), (flow.id, 36, 1000u16.to_be_bytes().to_vec()));
    it.tracker.decide(&mut it.bed.engine, flow.id, Verdict::Forward, Some(77));
    it.bed.run();
    let sent = it.bed.sent(1);
    assert_eq!(sent.iter().map(|frame| frame[42]).collect::<Vec<_>>(), [0, 1, 2, 3]);
    // From now on it is a flow like others.
    it.passes(1, |ip| ip.udp(53, 1000));
    let flow = it.only_flow();
    assert_eq!((flow.waiting, flow.mark, flow.sides[0].packets, flow.sides[1].packets), (false, 77, 4, 1));
    // Until it is told otherwise.
    it.tracker.decide(&mut it.bed.engine, flow.id, Verdict::Drop, None);
    it.bed.run();
    it.dies(0, |ip| ip.udp(1000, 53), "verdict");
    assert_eq!(it.only_flow().mark, 77);
}

#[test]
fn a_verdict_may_redirect_to_another_table() {
    let mut it = tracked(settings(), Mode::Agent);
    let other = it.bed.add_table();
    let packet = it.packet(0, |ip| ip.udp(1, 2));
    it.bed.pass(0, &packet);
    let flow = it.only_flow();
    it.bed.moved();
    it.tracker.decide(&mut it.bed.engine, flow.id, Verdict::Table(other.0 as u16), None);
    it.bed.run();
    // There is no route in it.
    it.bed.counted(&[("ip4-icmp-error/no_route", 1), ("ip4-icmp-error/sent_unreachable", 1)]);
    assert_eq!(it.bed.sent(0).len(), 1);
}

#[test]
fn a_verdict_may_redirect_past_the_routes() {
    for to in ["next hop", "interface"] {
        let mut it = tracked(settings(), Mode::Agent);
        let [p0, p1] = it.bed.ports;
        // No route leads there; the other port's host is a neighbour that can be named.
        let packet = p0.incoming().ipv4(p0.peer, [203, 0, 113, 9]).udp(1000, 53);
        it.bed.pass(0, &packet);
        let flow = it.only_flow();
        let next_hop = it.bed.resolve(p1.index, p1.peer, MacAddr([2, 0, 0, 0, 7, 7]));
        let verdict = match to {
            "next hop" => Verdict::NextHop(next_hop.0),
            _ => Verdict::Interface(p1.index.0),
        };
        it.tracker.decide(&mut it.bed.engine, flow.id, verdict, None);
        it.bed.run();
        let (sent, came) = (it.bed.only(1), packet.build());
        match to {
            "next hop" => assert_eq!((&sent[..6], sent[22]), (&[2, 0, 0, 0, 7, 7][..], came[22] - 1)),
            _ => assert_eq!(sent, came, "the frame as it is"),
        }
    }
}

#[test]
fn later_nodes_see_the_mark_of_a_verdict() {
    let mut it = tracked(settings(), Mode::Track);
    it.passes(0, |ip| ip.udp(1000, 53));
    let flow = it.only_flow();
    it.tracker.decide(&mut it.bed.engine, flow.id, Verdict::Forward, Some(77));
    it.bed.run();
    let ethernet_input = it.bed.nodes.ethernet_input;
    it.bed.worker.trace(ethernet_input, 1);
    it.passes(1, |ip| ip.udp(53, 1000));
    let lookup = it.bed.nodes.ip4_lookup;
    let mark = it.bed.engine.field::<u32>(MARK).unwrap();
    let at_lookup = it.bed.worker.trace_records().iter().filter(|record| record.node == lookup);
    let marks: Vec<u32> = at_lookup.map(|record| record.field(mark)).collect();
    assert_eq!(marks, [77]);
}

#[test]
fn time_decides_where_the_agent_does_not() {
    for (timeout_verdict, sent) in [(Policy::Drop, 0), (Policy::Forward, 2)] {
        let timeouts = Timeouts { agent: Duration::from_millis(500), ..Timeouts::default() };
        let settings = Settings { timeouts, timeout_verdict, ..settings() };
        let mut it = tracked(settings, Mode::Agent);
        for _ in 0..2 {
            let packet = it.packet(0, |ip| ip.udp(1000, 53));
            it.bed.pass(0, &packet);
        }
        let id = it.only_flow().id;
        it.bed.nothing_sent();
        it.wait_for(Count::Undecided);
        it.bed.run();
        assert_eq!((it.bed.sent(1).len(), it.counted(Count::Undecided)), (sent, 1));
        assert!(!it.only_flow().waiting);
        // The agent comes too late for the packets, not for the flow.
        it.tracker.decide(&mut it.bed.engine, id, Verdict::Forward, None);
        it.bed.run();
        it.passes(0, |ip| ip.udp(1000, 53));
    }
}

#[test]
fn packets_of_a_flow_that_is_cleared_while_they_wait_are_dropped() {
    let mut it = tracked(settings(), Mode::Agent);
    let packet = it.packet(0, |ip| ip.udp(1000, 53));
    it.bed.pass(0, &packet);
    let id = it.only_flow().id;
    it.tracker.clear_all(&mut it.bed.engine);
    assert!(it.flows().is_empty());
    it.bed.counted(&[("flow-track/cleared", 1)]);
    // Too late for this one, and no harm to the next in its slot.
    it.bed.pass(0, &packet);
    it.tracker.decide(&mut it.bed.engine, id, Verdict::Drop, None);
    it.bed.run();
    assert!(it.only_flow().waiting);
}

#[test]
fn few_packets_wait_however_many_flows_there_are() {
    let parked_percent = 1;
    let mut it = tracked(Settings { parked_percent, ..settings() }, Mode::Agent);
    let limit = it.bed.engine.buffers.total() / 100;
    for port in 0..limit as u16 + 10 {
        let packet = it.packet(0, |ip| ip.udp(port, 53));
        it.bed.pass(0, &packet);
    }
    it.bed.counted(&[("flow-track/hold_full", 10)]);
    assert_eq!(it.bed.worker.in_flight(), limit);
}

#[test]
fn a_disabled_interface_is_not_tracked() {
    let mut it = tracked(settings(), Mode::Agent);
    let port = it.bed.ports[0].index;
    it.tracker.disable(&mut it.bed.engine, port).expect("it was enabled");
    it.passes(0, |ip| ip.udp(1000, 53));
    assert!(it.flows().is_empty());
    assert_eq!(it.tracker.mode(port), Mode::Track);
}

#[test]
fn what_waits_is_dropped_when_its_interface_leaves_and_counts_for_no_other() {
    let mut it = tracked(settings(), Mode::Agent);
    let packet = it.packet(0, |ip| ip.udp(1000, 53));
    it.bed.pass(0, &packet);
    assert!(it.only_flow().waiting);
    let port = it.bed.ports[0].index;
    let lease = it.bed.interfaces.lease(port).expect("it exists");
    it.tracker.interface_leaves(&mut it.bed.engine, port, &lease).expect("it was enabled");
    assert!(it.flows().is_empty());
    it.bed.counted(&[("flow-track/cleared", 1)]);
    assert_eq!(it.bed.interface(port).drops, 0);
}

/// A lease, and what is alive as long as it is held.
fn lease() -> (Lease, Arc<()>) {
    let alive = Arc::new(());
    (Lease::new(Arc::clone(&alive)), alive)
}

impl Tracked {
    /// What the main loop does each time.
    fn reclaim(&mut self) {
        self.bed.engine.reclaim();
    }
}

#[test]
fn a_verdict_that_is_on_its_way_when_its_table_goes_is_found_when_it_has_arrived() {
    let mut it = tracked(settings(), Mode::Track);
    it.passes(0, |ip| ip.udp(1000, 53));
    let flow = it.only_flow();
    let gone = Verdict::Table(9);
    it.tracker.decide(&mut it.bed.engine, flow.id, gone, None);
    // The worker does not have it when the table goes.
    let (lease, alive) = lease();
    it.tracker.drop_flows(&mut it.bed.engine, &lease, move |flow| flow.verdict == gone);
    it.bed.engine.retire_index(lease);
    let verdict = |it: &Tracked| it.tracker.get(flow.id).expect("nobody has ended it").verdict;
    let mut seen = Vec::new();
    for _ in 0..8 {
        it.reclaim();
        seen.push((verdict(&it), Arc::strong_count(&alive) > 1));
        it.bed.worker.turn();
    }
    let named = |(verdict, held): &(Verdict, bool)| *verdict == gone && !held;
    assert!(!seen.iter().any(named), "the index is given out while a flow leads there: {seen:?}");
    assert!(seen.iter().any(|(verdict, _)| *verdict == gone), "the verdict came after all: {seen:?}");
    assert_eq!(seen.last(), Some(&(Verdict::Drop, false)), "{seen:?}");
    it.dies(0, |ip| ip.udp(1000, 53), "verdict");
}

#[test]
fn an_index_is_held_until_the_last_flow_that_is_about_it_has_ended() {
    let mut it = tracked(settings(), Mode::Track);
    for port in 0..100 {
        it.passes(0, |ip| ip.udp(1000 + port, 53));
    }
    it.bed.worker.turn();
    let (lease, alive) = lease();
    it.tracker.end_flows(&mut it.bed.engine, &lease, |flow| flow.key.table() == 0);
    it.bed.engine.retire_index(lease);
    let mut steps = 0;
    while Arc::strong_count(&alive) > 1 {
        let left = it.flows().len();
        it.reclaim();
        steps += 1;
        assert!(steps < 1000, "{left} flows are left");
    }
    assert!(it.tracker.flows().next().is_none());
}
