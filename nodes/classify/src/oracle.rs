// SPDX-License-Identifier: Apache-2.0
//! The classifier beside a linear scan that reads like the documentation, under random rules and random packets.
//!
//! Fields have few values, so that rules overlap, hide each other and nest, and packets hit.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use weft_engine::InterfaceIndex;
use weft_engine::clock::Clock;
use weft_nodes::headers::{Icmp4Type, IpProtocol, TcpFlags, build};

use crate::action::{Kind, Slot};
use crate::classifier::{Batch, Classifier, Placement};
use crate::key::{Key, Session};
use crate::rule::*;
use crate::set::RuleSet;

/// A packet in the words of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    source: u32,
    destination: u32,
    protocol: IpProtocol,
    /// The first two bytes of the payload, and the next two: ports, or ICMP type and code.
    words: (u16, u16),
    flags: u8,
    dscp: u8,
    interface: u32,
    /// Of a fragment: in units of 8 bytes, and whether more follow.
    offset: u16,
    more: bool,
    options: bool,
    /// Bytes after the IP header.
    payload: usize,
}

impl Packet {
    fn build(&self) -> Vec<u8> {
        let mut payload = [0; 64];
        payload[..2].copy_from_slice(&self.words.0.to_be_bytes());
        payload[2..4].copy_from_slice(&self.words.1.to_be_bytes());
        payload[13] = self.flags;
        let options: &[u8] = if self.options { &[1, 1, 1, 1] } else { &[] };
        build::ipv4(self.source, self.destination)
            .ipv4_with(|ip| {
                ip.protocol = self.protocol;
                ip.tos = self.dscp << 2 | 1;
                ip.flags_offset.set(self.offset | u16::from(self.more) << 13);
            })
            .options(options)
            .payload(&payload[..self.payload])
            .build()
    }

    pub fn fill(&self, key: &mut Key) {
        key.fill(&self.build(), InterfaceIndex(self.interface)).unwrap();
    }

    fn meets(&self, rule: &Match) -> bool {
        let has = |bytes: usize| self.offset == 0 && self.payload >= bytes;
        let with_ports = [6, 17, 33, 132, 136].contains(&self.protocol.0) && has(4);
        let port_in = |range: PortRange, port: u16| {
            range.is_any() || with_ports && (range.first()..=range.last()).contains(&port)
        };
        // One range says nothing, the other something: then there must be ports.
        let no_ports = rule.source_ports.is_any() && rule.destination_ports.is_any();
        let is_fragment = self.offset > 0 || self.more;
        rule.source.contains(&Ipv4Addr::from_bits(self.source))
            && rule.destination.contains(&Ipv4Addr::from_bits(self.destination))
            && rule.family != Family::IP6
            && rule.protocol.is_none_or(|protocol| protocol == self.protocol)
            && (no_ports || with_ports)
            && port_in(rule.source_ports, self.words.0)
            && port_in(rule.destination_ports, self.words.1)
            && rule.tcp_flags.is_none_or(|flags| {
                self.protocol == IpProtocol::TCP && has(14) && self.flags & flags.mask.0 == flags.value.0
            })
            && rule.icmp.is_none_or(|icmp| {
                self.protocol == IpProtocol::ICMP
                    && has(2)
                    && icmp.types().contains(&self.words.0.to_be_bytes()[0])
                    && icmp.codes().contains(&self.words.0.to_be_bytes()[1])
            })
            && rule.dscp.is_none_or(|dscp| dscp.get() == self.dscp)
            && rule.interface.is_none_or(|interface| interface.0 == self.interface)
            && rule.fragment.is_none_or(|fragment| match fragment {
                Fragment::Whole => !is_fragment,
                Fragment::Any => is_fragment,
                Fragment::First => is_fragment && self.offset == 0,
                Fragment::Later => self.offset > 0,
            })
    }

    /// The rules that this packet hits, up to the one that decides.
    pub fn scan(&self, set: &RuleSet) -> Vec<RuleId> {
        let mut hits = Vec::new();
        for rule in set.iter().filter(|rule| self.meets(&rule.matches)) {
            hits.push(rule.id);
            if rule.action.verdict != Verdict::Continue {
                break;
            }
        }
        hits
    }
}

/// As [`Packet::scan`], of the compiled set. The slot of a rule is its id.
pub(crate) fn hits(classifier: &Classifier, packets: &[Packet]) -> Vec<Vec<RuleId>> {
    let mut batch = Batch::new();
    let mut all = Vec::new();
    for chunk in packets.chunks(200) {
        // Places in the vector that are asked for need not begin at 0.
        let places: Vec<u8> = (0..chunk.len()).map(|i| i as u8 + 55).collect();
        for (packet, place) in chunk.iter().zip(&places) {
            let place = usize::from(*place);
            match classifier.table() {
                Some(sessions) => {
                    let session = Session::of(&packet.build(), InterfaceIndex(packet.interface));
                    batch.take(sessions, place, session.unwrap());
                }
                None => packet.fill(&mut batch.keys[place]),
            }
        }
        classifier.lookup(&mut batch, &places, |place, key| chunk[place - 55].fill(key));
        for place in places {
            let mut outcome = batch.outcomes[usize::from(place)];
            let mut hits = Vec::new();
            while outcome.kind() != Kind::None {
                if outcome.kind() != Kind::Special {
                    hits.push(RuleId(outcome.slot().0));
                    break;
                }
                let special = classifier.special(outcome).unwrap();
                hits.push(RuleId(special.slot.0));
                if special.verdict != Verdict::Continue {
                    break;
                }
                outcome = classifier.next(&batch.keys[usize::from(place)], special.rank);
            }
            all.push(hits);
        }
    }
    all
}

pub(crate) fn compile(set: &RuleSet) -> Classifier {
    let clock = Clock::calibrate();
    Classifier::new(set, |id| Placement {
        slot: Slot(id.0),
        policer: set
            .get(id)
            .and_then(|rule| rule.action.police)
            .map(|police| std::sync::Arc::new(crate::policer::Policer::new(police, &clock))),
    })
}

fn word() -> impl Strategy<Value = u32> {
    // Two bits here and there: prefixes of all lengths tell something.
    any::<u32>().prop_map(|bits| bits & 0xc181_0301)
}

fn net() -> impl Strategy<Value = Ipv4Net> {
    let length = prop_oneof![Just(0u8), Just(32), 0u8..=32];
    (word(), length).prop_map(|(word, length)| Ipv4Net::new_assert(word.into(), length).trunc())
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), Just(80), Just(81), Just(1024), Just(u16::MAX), 0u16..100]
}

fn ports() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        3 => Just(PortRange::ANY),
        2 => port().prop_map(PortRange::only),
        2 => (port(), port()).prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).unwrap()),
    ]
}

fn protocol() -> impl Strategy<Value = IpProtocol> {
    prop_oneof![4 => Just(6u8), 3 => Just(17), 2 => Just(1), 1 => Just(132), 1 => Just(47)]
        .prop_map(IpProtocol)
}

fn matches() -> impl Strategy<Value = Match> {
    let addresses = (net(), net(), ports(), ports(), prop::option::of(protocol()));
    let flags = (0u8..4, 0u8..4)
        .prop_map(|(mask, value)| FlagsMatch { mask: TcpFlags(mask), value: TcpFlags(value & mask) });
    let ends = || (0u8..4, 0u8..4).prop_map(|(a, b)| a.min(b)..=a.max(b));
    let icmp = prop_oneof![
        (0u8..3, prop::option::of(0u8..2)).prop_map(|(one, code)| IcmpMatch::only(Icmp4Type(one), code)),
        (ends(), ends()).prop_map(|(types, codes)| IcmpMatch::ranges(types, codes).unwrap()),
    ];
    let fragment =
        prop_oneof![Just(Fragment::Whole), Just(Fragment::Any), Just(Fragment::First), Just(Fragment::Later)];
    let rest = (
        prop::option::weighted(0.2, flags),
        prop::option::weighted(0.2, icmp),
        prop::option::weighted(0.2, (0u8..3).prop_map(|dscp| Dscp::new(dscp).unwrap())),
        prop::option::weighted(0.2, (0u32..3).prop_map(InterfaceIndex)),
        prop::option::weighted(0.2, fragment),
    );
    let session = (word(), word(), port(), port(), prop_oneof![Just(6u8), Just(17)]).prop_map(
        |(source, destination, from, to, protocol)| Match {
            source: Ipv4Net::new_assert(source.into(), 32),
            destination: Ipv4Net::new_assert(destination.into(), 32),
            source_ports: PortRange::only(from),
            destination_ports: PortRange::only(to),
            protocol: Some(IpProtocol(protocol)),
            ..Match::default()
        },
    );
    let any = (addresses, rest).prop_map(
        |(
            (source, destination, source_ports, destination_ports, protocol),
            (tcp_flags, icmp, dscp, interface, fragment),
        )| {
            let mut matches = Match {
                family: Family::Any,
                not_discovery: false,
                source,
                destination,
                protocol,
                source_ports,
                destination_ports,
                tcp_flags,
                icmp,
                dscp,
                interface,
                fragment,
            };
            // Conditions that exclude each other go, one by one, until some packet can meet the rest.
            type Forget = fn(&mut Match);
            let forget: [Forget; 4] = [
                |it| it.icmp = None,
                |it| it.tcp_flags = None,
                |it| (it.source_ports, it.destination_ports) = (PortRange::ANY, PortRange::ANY),
                |it| it.fragment = None,
            ];
            // IPv4 meets no rule of IPv6, whatever else it asks for.
            if dscp == Dscp::new(2) {
                (matches.family, matches.source, matches.destination) =
                    (Family::IP6, Ipv4Net::default(), Ipv4Net::default());
            }
            for forget in forget {
                if matches.check().is_err() {
                    forget(&mut matches);
                }
            }
            matches
        },
    );
    prop_oneof![3 => any, 2 => session]
}

pub(crate) fn rules(most: usize) -> impl Strategy<Value = RuleSet> {
    let verdict = prop_oneof![4 => Just(Verdict::Pass), 3 => Just(Verdict::Drop), 1 => Just(Verdict::Punt), 3 => Just(Verdict::Continue)];
    let rule = (matches(), 0u32..8, verdict, prop::option::weighted(0.1, any::<u32>()));
    prop::collection::vec(rule, 0..most).prop_map(|rules| {
        let rules = (0..).zip(rules).map(|(id, (matches, priority, verdict, mark))| Rule {
            id: RuleId(id),
            priority: Priority(priority),
            matches,
            action: Action { mark, ..Action::only(verdict) },
        });
        RuleSet::of(rules).unwrap()
    })
}

pub(crate) fn packet() -> impl Strategy<Value = Packet> {
    let addresses =
        (word(), word(), protocol(), prop_oneof![(0u16..3).prop_map(|t| (t << 8) | (t % 2)), port()], port());
    let rest = (
        0u8..4,
        0u8..4,
        0u32..4,
        prop_oneof![4 => Just(0u16), 1 => 0u16..3],
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
        prop_oneof![4 => Just(20usize), 1 => 0usize..20],
    );
    (addresses, rest).prop_map(
        |(
            (source, destination, protocol, first, second),
            (flags, dscp, interface, offset, more, options, payload),
        )| Packet {
            source,
            destination,
            protocol,
            words: (first, second),
            flags,
            dscp,
            interface,
            offset,
            more,
            options,
            payload,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn equals_a_linear_scan(set in rules(120), packets in prop::collection::vec(packet(), 1..300)) {
        let classifier = compile(&set);
        for (packet, hits) in packets.iter().zip(hits(&classifier, &packets)) {
            prop_assert_eq!(hits, packet.scan(&set), "{:?}", packet);
        }
    }
}

/// As many rules as trees are made for, and the worst that they can be: nested ranges that no cut separates.
#[test]
fn rules_that_nothing_separates_are_compared_one_by_one() {
    let rules = (0..3000u16).map(|i| Rule {
        id: RuleId(i.into()),
        priority: Priority(0),
        matches: Match {
            source_ports: PortRange::new(i, 60_000 - i).unwrap(),
            destination_ports: PortRange::new(3000 - i, 60_000 + i).unwrap(),
            protocol: Some(IpProtocol::TCP),
            ..Match::default()
        },
        action: Action::only(Verdict::Drop),
    });
    let set = RuleSet::of(rules).unwrap();
    let classifier = compile(&set);
    let shape = classifier.shape();
    assert!(shape.bytes < 4 << 20, "{shape:?}");
    let packet = |words| Packet {
        source: 0,
        destination: 0,
        protocol: IpProtocol::TCP,
        words,
        flags: 0,
        dscp: 0,
        interface: 0,
        offset: 0,
        more: false,
        options: false,
        payload: 20,
    };
    let packets: Vec<_> =
        [(30_000, 30_000), (2_999, 1), (10, 2_995), (0, 2_999), (30_000, 62_000), (1, 1)].map(packet).into();
    for (packet, hits) in packets.iter().zip(hits(&classifier, &packets)) {
        assert_eq!(hits, packet.scan(&set), "{packet:?}");
    }
}
