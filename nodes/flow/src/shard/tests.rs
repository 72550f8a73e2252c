// SPDX-License-Identifier: Apache-2.0
//! The shard against a textbook: random packets and a random clock, a `HashMap` of plain structs, every flow compared after
//! every step, as a reader of the shared memory sees it.

mod oracle;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use proptest::prelude::*;
use weft_engine::Lease;
use weft_flow_map::{Flow, State, Table};
use weft_nodes::headers::build::{Packet, ipv4, ipv6};
use weft_nodes::headers::{Icmp4Header, Icmp4Type, Icmp6Header, Icmp6Type, Ipv4Header, Ipv6Header, TcpFlags};

use super::*;
use crate::parse::owner;
use crate::settings::{Rate, Timeouts};
use crate::tcp::{Segment, flags};
use oracle::Oracle;

/// Measured once: that takes 20 ms.
static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::calibrate);

const P0: InterfaceIndex = InterfaceIndex(0);

fn shard(settings: &Settings, shared: &Arc<Shared>, now: Tsc) -> Shard {
    Shard::new(ThreadIndex(1), 1, &CLOCK, settings, Arc::clone(shared), None, now).expect("memory")
}

fn table(shard: &Shard) -> Table {
    Table::open(shard.fd().try_clone_to_owned().expect("a descriptor")).expect("a table")
}

fn send(shard: &mut Shard, now: Tsc, packet: &[u8]) -> Outcome {
    let arrival = Arrival { data: packet, bytes: packet.len() as u64, interface: P0 };
    shard.packet(now, 0, arrival)
}

const HOSTS: [[u8; 4]; 3] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]];

/// The same hosts in IPv6; the first two have the same lower halves.
const HOSTS6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1),
    Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 3),
];

/// A packet between the few endpoints of the test, some of TCP with numbers that may mean something.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    ip6: bool,
    /// Of IPv6: whether extension headers come before the rest.
    chain: bool,
    from: usize,
    to: usize,
    ports: [u16; 2],
    what: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Udp,
    Ping,
    Pong,
    Gre,
    Tcp(Segment),
}

fn segments() -> impl Strategy<Value = Segment> {
    use flags::{ACK, FIN, RST, SYN};
    let flag = prop_oneof![
        4 => Just(SYN), 4 => Just(SYN | ACK), 8 => Just(ACK), 3 => Just(FIN | ACK), 1 => Just(RST), 1 => Just(RST | ACK),
        1 => any::<u8>().prop_map(|flags| flags & 0x17),
    ];
    // Near to each other, so that much is just in the window or just out of it; and near the wrap. Numbers that are half the
    // space apart have no order.
    let number = || {
        let offset = prop_oneof![8 => 100u32..104, 2 => 0u32..200, 1 => Just(70_000u32), 1 => 0u32..1 << 29];
        offset.prop_map(|offset| offset.wrapping_sub(110))
    };
    let payload = prop_oneof![4 => Just(0u32), 1 => 1u32..4];
    (
        flag,
        number(),
        number(),
        prop_oneof![Just(50u16), Just(0), Just(65_535)],
        payload,
        prop::option::of(0u8..16),
    )
        .prop_map(|(flags, sequence, acknowledgment, window, payload, scale)| Segment {
            flags,
            sequence,
            acknowledgment,
            window,
            payload,
            scale: scale.filter(|_| flags & SYN != 0),
        })
}

fn packets() -> impl Strategy<Value = Sent> {
    let what = prop_oneof![
        2 => Just(Kind::Udp), 1 => Just(Kind::Ping), 1 => Just(Kind::Pong), 1 => Just(Kind::Gre),
        12 => segments().prop_map(Kind::Tcp),
    ];
    let family = (any::<bool>(), prop::bool::weighted(0.2));
    (family, 0..HOSTS.len(), 1..HOSTS.len(), 1u16..3, 1u16..3, what).prop_map(
        |((ip6, chain), from, distance, a, b, what)| Sent {
            ip6,
            chain,
            from,
            to: (from + distance) % HOSTS.len(),
            ports: [a, b],
            what,
        },
    )
}

impl Sent {
    fn host(&self, host: usize) -> IpAddr {
        if self.ip6 { HOSTS6[host].into() } else { HOSTS[host].into() }
    }

    fn build(&self) -> Vec<u8> {
        let ip = match self.ip6 {
            true => ipv6(HOSTS6[self.from], HOSTS6[self.to]),
            false => ipv4(HOSTS[self.from], HOSTS[self.to]),
        };
        let [a, b] = self.ports;
        let gre = IpProtocol(47);
        let bytes = match &self.what {
            Kind::Udp => ip.udp(a, b).build(),
            Kind::Ping if self.ip6 => ip.ping6(a, 1).build(),
            Kind::Pong if self.ip6 => ip.icmp6(pong6(a)).build(),
            Kind::Ping => ip.ping(a, 1).build(),
            Kind::Pong => ip.icmp4(Icmp4Header::new(Icmp4Type::ECHO_REPLY, 0, [a, 1])).build(),
            Kind::Gre if self.ip6 => ip.ipv6_with(|ip| ip.next_header = gre).build(),
            Kind::Gre => ip.ipv4_with(|ip| ip.protocol = gre).build(),
            Kind::Tcp(segment) => tcp(ip, a, b, segment),
        };
        if self.ip6 && self.chain { behind(60, [0, 1, 4, 0, 0, 0, 0], &bytes) } else { bytes }
    }
}

fn pong6(id: u16) -> Icmp6Header {
    Icmp6Header::new(Icmp6Type::ECHO_REPLY, 0, u32::from(id) << 16 | 1)
}

/// An IPv6 packet with an extension header of 8 bytes, of which the first one says what follows.
fn behind(kind: u8, rest: [u8; 7], packet: &[u8]) -> Vec<u8> {
    let (ip, payload) = packet.split_at(Ipv6Header::LENGTH);
    let (mut ip, next) = (ip.to_vec(), [ip[6]]);
    ip[6] = kind;
    ip[4..6].copy_from_slice(&(payload.len() as u16 + 8).to_be_bytes());
    [&ip[..], &next, &rest, payload].concat()
}

/// A segment as bytes.
fn tcp(ip: Packet, from: u16, to: u16, segment: &Segment) -> Vec<u8> {
    let at = if ip.build()[0] >> 4 == 6 { Ipv6Header::LENGTH } else { Ipv4Header::LENGTH };
    let mut payload = Vec::new();
    if let Some(scale) = segment.scale {
        payload.extend([3, 3, scale, 0]);
    }
    payload.resize(payload.len() + segment.payload as usize, 0x55);
    let mut bytes = ip.tcp(from, to, TcpFlags(segment.flags)).payload(&payload).build();
    bytes[at + 4..at + 8].copy_from_slice(&segment.sequence.to_be_bytes());
    bytes[at + 8..at + 12].copy_from_slice(&segment.acknowledgment.to_be_bytes());
    if segment.scale.is_some() {
        bytes[at + 12] += 0x10;
    }
    bytes[at + 14..at + 16].copy_from_slice(&segment.window.to_be_bytes());
    bytes
}

fn settings(flows: usize, pickup: bool, window_check: bool) -> Settings {
    let seconds = Duration::from_secs;
    let timeouts = Timeouts {
        tcp_new: seconds(10),
        tcp_established: seconds(1000),
        tcp_fin_wait: seconds(30),
        tcp_time_wait: seconds(20),
        tcp_reset: seconds(5),
        udp_new: seconds(3),
        udp_established: seconds(40),
        icmp: seconds(4),
        other: seconds(50),
        ..Timeouts::default()
    };
    Settings {
        flows,
        rate: None,
        pickup,
        window_check,
        timeouts,
        invalid: Policy::Drop,
        excess: Policy::Drop,
        ..Settings::default()
    }
}

/// What matters of a flow.
fn essence(flow: &Flow) -> oracle::Essence {
    (flow.from(), flow.to(), flow.key.protocol(), flow.state, flow.answered, flow.sides)
}

fn sorted(mut flows: Vec<oracle::Essence>) -> Vec<oracle::Essence> {
    flows.sort_by_key(|(from, to, protocol, ..)| (*from, *to, *protocol));
    flows
}

#[derive(Clone, Debug)]
enum Step {
    Packet(Sent),
    /// Milliseconds pass.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => packets().prop_map(Step::Packet),
        1 => prop_oneof![0u64..5_000, 0u64..60_000, Just(500_000u64), Just(1_200_000u64)].prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..250)
}

proptest! {
    #[test]
    fn behaves_as_the_textbook(
        steps in steps(),
        flows in prop_oneof![Just(4usize), Just(64)],
        pickup: bool,
        window_check: bool,
    ) {
        let settings = settings(flows, pickup, window_check);
        let clock = *CLOCK;
        let shared = Arc::new(Shared::new(2));
        let mut now = Tsc(1 << 40);
        let mut shard = shard(&settings, &shared, now);
        let table = table(&shard);
        let mut oracle = Oracle::new(settings, clock);
        let tick = clock.clocks(TICK);
        for step in steps {
            match step {
                Step::Packet(sent) => {
                    let packet = sent.build();
                    let outcome = send(&mut shard, now, &packet);
                    let expected = oracle.packet(now, &sent, packet.len() as u64);
                    prop_assert_eq!(matches!(outcome, Outcome::Flow { .. }), expected, "{:?}: {:?}", sent, outcome);
                }
                Step::Wait(time) => {
                    now.0 += clock.clocks(Duration::from_millis(time));
                    while shard.age(now) {}
                    shard.publish(now);
                    let there: Vec<_> = table.flows().map(|flow| essence(&flow)).collect();
                    oracle.expire(now, tick, &there);
                }
            }
            shard.publish(now);
            let there = sorted(table.flows().map(|flow| essence(&flow)).collect());
            prop_assert_eq!(there.len(), shard.active());
            prop_assert_eq!(there, sorted(oracle.flows()));
            prop_assert_eq!(shared.flows[0].load(Relaxed) as usize, shard.active());
        }
        shard.clear_all(now);
        while shard.age(now) {}
        prop_assert_eq!(shard.active(), 0);
        prop_assert_eq!(table.flows().count(), 0);
        let counts = &shard.counts;
        let ended = [Count::Expired, Count::Cleared, Count::Displaced].map(|count| counts.get(count));
        prop_assert_eq!(counts.get(Count::Created), ended.iter().sum::<u64>());
    }

    /// The same packets over one shard and over two, each to its owner: the same flows.
    #[test]
    fn two_workers_know_what_one_knows(sent in prop::collection::vec(packets(), 1..150)) {
        let settings = settings(64, true, true);
        let now = Tsc(1 << 40);
        let shared = || Arc::new(Shared::new(2));
        let mut alone = shard(&settings, &shared(), now);
        let both = shared();
        let mut two = [0, 1].map(|_| shard(&settings, &both, now));
        for sent in sent {
            let packet = sent.build();
            let mut ahead = Ahead::default();
            two[0].prefetch_index(&packet, 0, P0, &mut ahead);
            let owner = owner(ahead.key.addresses, 2);
            let outcome = send(&mut two[owner], now, &packet);
            let expected = send(&mut alone, now, &packet);
            prop_assert_eq!(matches!(outcome, Outcome::Flow { .. }), matches!(expected, Outcome::Flow { .. }));
        }
        let flows = |shard: &mut Shard| {
            shard.publish(now);
            table(shard).flows().map(|flow| essence(&flow)).collect::<Vec<_>>()
        };
        let both = two.iter_mut().flat_map(flows).collect();
        prop_assert_eq!(sorted(flows(&mut alone)), sorted(both));
    }
}

const A: [u8; 4] = HOSTS[0];
const B: [u8; 4] = HOSTS[1];

#[test]
fn fragments_and_icmp_errors_count_on_their_flow() {
    let now = Tsc(1 << 40);
    let settings = Settings { invalid: Policy::Drop, ..settings(64, true, false) };
    let mut shard = shard(&settings, &Arc::new(Shared::new(1)), now);
    let fragment = |offset: u16, more: bool| {
        let flags = (offset / 8) | if more { 0x2000 } else { 0 };
        let ip = ipv4(A, B).ipv4_with(|ip| {
            ip.identification.set(77);
            ip.protocol = IpProtocol::UDP;
            ip.flags_offset.set(flags);
        });
        if offset == 0 { ip.udp(5, 6).payload(&[0; 32]).build() } else { ip.payload(&[0; 40]).build() }
    };
    // Out of order: nobody knows yet.
    assert_eq!(send(&mut shard, now, &fragment(40, false)), Outcome::Refused(Why::LoneFragment));
    let first = fragment(0, true);
    let Outcome::Flow { slot, .. } = send(&mut shard, now, &first) else { panic!("the first has ports") };
    let Outcome::Flow { slot: same, .. } = send(&mut shard, now, &fragment(40, false)) else {
        panic!("the others follow the first")
    };
    assert_eq!(slot, same);
    let error = ipv4([10, 9, 9, 9], A)
        .icmp4(Icmp4Header::new(Icmp4Type::UNREACHABLE, 1, [0, 0]))
        .payload(&first[..28])
        .build();
    assert!(matches!(send(&mut shard, now, &error), Outcome::Flow { slot: its, .. } if its == slot));
    shard.publish(now);
    let flow = table(&shard).get(slot).expect("a flow");
    assert_eq!((flow.sides[0].packets, flow.sides[1].packets), (2, 1));
    assert_eq!((flow.state, shard.counts.get(Count::Errors)), (State::New, 1));
    // About nothing that is known.
    let other = ipv4(A, B).udp(9, 9).build();
    let error = ipv4(B, A).icmp4(Icmp4Header::new(Icmp4Type::UNREACHABLE, 3, [0, 0])).payload(&other).build();
    assert_eq!(send(&mut shard, now, &error), Outcome::Refused(Why::NoFlow));
    // Not a fragment of a flow that has ended since.
    let id = shard.id(slot);
    assert!(shard.clear(now, id) && !shard.clear(now, id));
    assert_eq!(send(&mut shard, now, &fragment(40, false)), Outcome::Refused(Why::LoneFragment));
}

#[test]
fn fragments_of_an_answer_count_too() {
    let now = Tsc(1 << 40);
    let mut shard = shard(&settings(64, true, false), &Arc::new(Shared::new(1)), now);
    let fragment = |from, to, flags: u16| {
        ipv4(from, to).ipv4_with(|ip| {
            ip.identification.set(9);
            ip.flags_offset.set(flags);
            ip.protocol = IpProtocol::ICMP;
        })
    };
    let pong = Icmp4Header::new(Icmp4Type::ECHO_REPLY, 0, [7, 1]);
    let sent = [
        fragment(A, B, 0x2000).ping(7, 1).build(),
        fragment(B, A, 0x2000).icmp4(pong).build(),
        fragment(A, B, 1).payload(&[0; 8]).build(),
        fragment(B, A, 1).payload(&[0; 8]).build(),
    ];
    for packet in sent {
        assert!(matches!(send(&mut shard, now, &packet), Outcome::Flow { .. }));
    }
    shard.publish(now);
    let flow = table(&shard).get(0).expect("a flow");
    assert_eq!(flow.sides.map(|side| side.packets), [2, 2]);
}

#[test]
fn fragments_and_icmp_errors_of_ip6_count_on_their_flow() {
    let now = Tsc(1 << 40);
    let mut shard = shard(&settings(64, true, false), &Arc::new(Shared::new(1)), now);
    let [a, b, router] = HOSTS6;
    let fragment = |from, to, offset: u16, more: bool, what: &dyn Fn(Packet) -> Packet| {
        let [upper, lower] = (offset | u16::from(more)).to_be_bytes();
        behind(44, [0, upper, lower, 0, 0, 0, 77], &what(ipv6(from, to)).build())
    };
    let udp = |ip: Packet| ip.udp(5, 6).payload(&[0; 32]);
    let later = fragment(a, b, 40, false, &udp);
    // Out of order: nobody knows yet.
    assert_eq!(send(&mut shard, now, &later), Outcome::Refused(Why::LoneFragment));
    let first = fragment(a, b, 0, true, &udp);
    let Outcome::Flow { slot, .. } = send(&mut shard, now, &first) else { panic!("the first has ports") };
    assert!(matches!(send(&mut shard, now, &later), Outcome::Flow { slot: its, .. } if its == slot));
    // Of the same number, but between others.
    for (from, to) in [(b, a), (a, router)] {
        let outcome = send(&mut shard, now, &fragment(from, to, 40, false, &udp));
        assert_eq!(outcome, Outcome::Refused(Why::LoneFragment));
    }
    let unreachable = Icmp6Header::new(Icmp6Type::UNREACHABLE, 0, 0);
    let error = ipv6(router, a).icmp6(unreachable).payload(&first[..56]).build();
    assert!(matches!(send(&mut shard, now, &error), Outcome::Flow { slot: its, .. } if its == slot));
    // Both directions of a ping in fragments.
    for packet in [
        fragment(a, b, 0, true, &|ip| ip.ping6(7, 1)),
        fragment(b, a, 0, true, &|ip| ip.icmp6(pong6(7))),
        fragment(b, a, 8, false, &|ip| ip.icmp6(pong6(7))),
    ] {
        assert!(matches!(send(&mut shard, now, &packet), Outcome::Flow { .. }));
    }
    shard.publish(now);
    let flows: Vec<Flow> = table(&shard).flows().collect();
    let sides: Vec<_> = flows.iter().map(|flow| flow.sides.map(|side| side.packets)).collect();
    assert_eq!((sides, shard.counts.get(Count::Errors)), (vec![[2, 1], [1, 2]], 1));
    let other = ipv6(a, b).udp(9, 9).build();
    let error = ipv6(router, a).icmp6(unreachable).payload(&other).build();
    assert_eq!(send(&mut shard, now, &error), Outcome::Refused(Why::NoFlow));
    let pong = ipv6(a, b).icmp6(pong6(3)).build();
    assert_eq!(send(&mut shard, now, &pong), Outcome::Refused(Why::NoRequest));
    // What neighbours say of themselves is of no flow, and passes.
    let solicitation = Icmp6Header::new(Icmp6Type::NEIGHBOR_SOLICITATION, 0, 0);
    let solicitation = ipv6(a, b).hop_limit(255).icmp6(solicitation).payload(&[0; 16]).build();
    assert_eq!(send(&mut shard, now, &solicitation), Outcome::Untracked);
    assert_eq!(shard.active(), 2);
}

/// Two flows whose keys are the same, as their addresses have the same digest: a stranger who knew the secret could make them.
#[test]
fn a_flow_of_ip6_is_known_by_its_addresses_not_by_their_digest() {
    let now = Tsc(1 << 40);
    let mut shard = shard(&settings(64, true, false), &Arc::new(Shared::new(1)), now);
    let mut pass = |hosts: [Ipv6Addr; 2]| {
        let packet = ipv6(hosts[0], hosts[1]).udp(5, 6).build();
        let arrival = Arrival { data: &packet, bytes: 48, interface: P0 };
        let mut ahead = Ahead::default();
        shard.prefetch_index(&packet, 0, P0, &mut ahead);
        (ahead.key.addresses, ahead.hash) = (7, Hash(1 << 50));
        shard.prefetch_flow(&mut ahead);
        match shard.track(now, &ahead, arrival) {
            Outcome::Flow { slot, .. } => slot,
            other => panic!("{other:?}"),
        }
    };
    let [a, b, c] = HOSTS6;
    let (first, second) = (pass([c, b]), pass([c, a]));
    assert_ne!(first, second);
    assert_eq!((pass([c, b]), pass([c, a])), (first, second));
}

#[test]
fn new_flows_are_limited_and_known_ones_are_not() {
    let clock = *CLOCK;
    let now = Tsc(1 << 40);
    let rate = Some(Rate { per_second: 10, burst: 20 });
    let settings = Settings { rate, interface_flows: Some(25), ..settings(64, true, false) };
    let mut shard = shard(&settings, &Arc::new(Shared::new(1)), now);
    let packet = |port| ipv4(A, B).udp(port, 53).build();
    let outcomes = |shard: &mut Shard, now| -> Vec<Outcome> {
        (0..60).map(|port| send(shard, now, &packet(port))).collect()
    };
    let first = outcomes(&mut shard, now);
    assert!(first[..20].iter().all(|outcome| matches!(outcome, Outcome::Flow { .. })));
    assert!(first[20..].iter().all(|outcome| *outcome == Outcome::Refused(Why::RateLimit)));
    let later = outcomes(&mut shard, Tsc(now.0 + clock.clocks(Duration::from_secs(2))));
    assert!(later[..25].iter().all(|outcome| matches!(outcome, Outcome::Flow { .. })));
    assert!(later[25..].iter().all(|outcome| *outcome == Outcome::Refused(Why::InterfaceLimit)));
    assert_eq!(shard.active(), 25);
}

/// A worker clears a few flows at a time, and traffic goes on meanwhile.
#[test]
fn clearing_spares_what_begins_after_it_was_asked_for() {
    let (asked, later) = (Tsc(1 << 40), Tsc((1 << 40) + 1000));
    let mut shard = shard(&settings(4096, true, false), &Arc::new(Shared::new(1)), asked);
    let begin = |shard: &mut Shard, now, ports: std::ops::Range<u16>| {
        for port in ports {
            send(shard, now, &ipv4(A, B).udp(port, 53).build());
        }
    };
    begin(&mut shard, asked, 1000..1500);
    shard.clear_all(asked);
    begin(&mut shard, later, 2000..2300);
    while shard.age(later) {}
    assert_eq!((shard.active(), shard.counts.get(Count::Cleared)), (300, 500));
}

#[test]
fn flows_part_with_an_interface_that_goes() {
    const P1: InterfaceIndex = InterfaceIndex(1);
    let now = Tsc(1 << 40);
    let rate = Some(Rate { per_second: 1, burst: 40 });
    let settings = Settings { rate, interface_flows: Some(40), ..settings(256, true, false) };
    let shared = Arc::new(Shared::new(2));
    let mut shard = shard(&settings, &shared, now);
    let begin = |shard: &mut Shard, interface, from| {
        let packet = ipv4(A, B).udp(from, 53).build();
        let outcome = shard.packet(now, 0, Arrival { data: &packet, bytes: 28, interface });
        matches!(outcome, Outcome::Flow { .. } | Outcome::Wait { .. })
    };
    // Forty on each, of which a quarter of those on P1 wait for a verdict; P0 answers one of P1's.
    for port in 0..40 {
        shared.modes[1].store(if port < 10 { Mode::Agent } else { Mode::Track } as u8, Relaxed);
        assert!(begin(&mut shard, P0, 1000 + port) && begin(&mut shard, P1, 2000 + port));
    }
    assert!(!begin(&mut shard, P1, 2040), "as many as the interface may have");
    let counted = || [0, 1].map(|interface| shared.flows[interface].load(Relaxed));
    assert_eq!(counted(), [40, 40]);
    let lease = Lease::new(());
    shard.interface_goes(P1, lease.clone());
    while shard.age(now) {
        assert_eq!(lease.holders(), 2, "it is held until all have been found");
    }
    assert_eq!(lease.holders(), 1);
    assert_eq!(counted(), [40, 0]);
    shard.publish(now);
    let of = |interface: Option<InterfaceIndex>| {
        let index = interface.map(|interface| interface.0);
        table(&shard).flows().filter(|flow| flow.interface == index).count()
    };
    assert_eq!((of(Some(P0)), of(Some(P1)), of(None)), (40, 0, 30), "those that waited have ended");
    // The next one with the index has all that it may have; that the others end takes nothing away from it.
    for port in 0..40 {
        assert!(begin(&mut shard, P1, 3000 + port), "{port}");
    }
    assert!(!begin(&mut shard, P1, 3040));
    shard.clear_all(now);
    while shard.age(now) {}
    assert_eq!((counted(), shard.active()), ([0, 0], 0));
}

/// A flood of SYNs neither keeps a new connection out nor ends one that is established.
#[test]
fn a_flood_of_handshakes_leaves_room_for_the_one_that_is_meant() {
    let now = Tsc(1 << 40);
    let mut shard = shard(&settings(64, false, true), &Arc::new(Shared::new(1)), now);
    let mut pass = |from: usize, port: u16, flags, sequence, acknowledgment| {
        let segment = Segment { flags, sequence, acknowledgment, window: 1000, ..Segment::default() };
        let ip = ipv4(HOSTS[from], HOSTS[1 - from]);
        let (from, to) = if from == 0 { (port, 80) } else { (80, port) };
        let outcome = send(&mut shard, now, &tcp(ip, from, to, &segment));
        (matches!(outcome, Outcome::Flow { .. }), shard.active(), shard.counts.get(Count::Displaced))
    };
    use flags::{ACK, SYN};
    for (port, flood) in [(1000, 0..40_000u32), (1001, 40_000..40_030), (1002, 40_030..60_000)] {
        // The SYN, half of a flood that fills the table, and the rest of the handshake. Of the flood, half is answered.
        assert!(pass(0, port, SYN, 100, 0).0);
        for n in flood.clone().take(30) {
            assert!(pass(0, 2000 + n as u16, SYN, n, 0).0);
            if n % 2 == 0 {
                assert!(pass(1, 2000 + n as u16, SYN | ACK, n, n + 1).0);
            }
        }
        assert!(pass(1, port, SYN | ACK, 500, 101).0);
        assert!(pass(0, port, ACK, 101, 501).0);
        for n in flood.skip(30) {
            assert!(pass(0, 2000 + n as u16, SYN, n, 0).0);
        }
    }
    let (known, active, displaced) = pass(0, 1000, ACK, 101, 501);
    assert!(known && active == 64 && displaced > 30_000, "{known} {active} {displaced}");
    assert!(pass(1, 1001, ACK, 501, 101).0 && pass(1, 1002, ACK, 501, 101).0);
}

#[test]
fn ports_are_used_again_after_a_close() {
    let now = Tsc(1 << 40);
    let mut shard = shard(&settings(64, true, true), &Arc::new(Shared::new(1)), now);
    let mut pass = |from: usize, flags, sequence, acknowledgment| {
        let segment = Segment { flags, sequence, acknowledgment, window: 1000, ..Segment::default() };
        let ip = ipv4(HOSTS[from], HOSTS[1 - from]);
        let ports = if from == 0 { (1, 2) } else { (2, 1) };
        match send(&mut shard, now, &tcp(ip, ports.0, ports.1, &segment)) {
            Outcome::Flow { slot, .. } => shard.id(slot),
            other => panic!("{other:?}"),
        }
    };
    use flags::{ACK, RST, SYN};
    let id = pass(0, SYN, 100, 0);
    assert_eq!(pass(1, SYN | ACK, 500, 101), id);
    assert_eq!(pass(0, ACK, 101, 501), id);
    assert_eq!(pass(0, RST, 101, 0), id);
    let again = pass(0, SYN, 9000, 0);
    assert_ne!(again, id);
    assert_eq!(pass(1, SYN | ACK, 600, 9001), again);
    shard.publish(now);
    let flows: Vec<_> = table(&shard).flows().collect();
    assert_eq!((flows.len(), flows[0].id, flows[0].state), (1, again, State::New));
}
