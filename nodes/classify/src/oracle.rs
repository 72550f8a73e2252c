// SPDX-License-Identifier: Apache-2.0
//! The classifier beside a linear scan that reads like the documentation, under random rules and random packets.
//!
//! Fields have few values, so that rules overlap, hide each other and nest, and packets hit.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use weft_engine::InterfaceIndex;
use weft_engine::clock::Clock;
use weft_nodes::headers::{Icmp4Type, IpProtocol, Ipv6Header, TcpFlags, build};

use crate::action::{Kind, Slot};
use crate::classifier::{Batch, Classifier, Header, Ip4, Ip6, Placement};
use crate::rule::*;
use crate::set::RuleSet;

/// A packet in the words of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// Of IPv6: its flow label and hop limit.
    ip6: Option<(u32, u8)>,
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

/// An address of IPv6 for one of IPv4: each bit becomes four, so a prefix of n bits becomes one of 4 n.
fn wide(address: u32) -> Ipv6Addr {
    let bits = (0..32).rev().map(|bit| if address >> bit & 1 != 0 { 0b1010u128 } else { 0 });
    Ipv6Addr::from_bits(bits.fold(0, |wide, bits| wide << 4 | bits))
}

impl Packet {
    fn build(&self) -> Vec<u8> {
        let mut payload = [0; 64];
        payload[..2].copy_from_slice(&self.words.0.to_be_bytes());
        payload[2..4].copy_from_slice(&self.words.1.to_be_bytes());
        payload[13] = self.flags;
        let payload = &payload[..self.payload];
        if let Some((label, hop_limit)) = self.ip6 {
            return self.build6(label, hop_limit, payload);
        }
        let options: &[u8] = if self.options { &[1, 1, 1, 1] } else { &[] };
        build::ipv4(self.source, self.destination)
            .ipv4_with(|ip| {
                ip.protocol = self.protocol;
                ip.tos = self.dscp << 2 | 1;
                ip.flags_offset.set(self.offset | u16::from(self.more) << 13);
            })
            .options(options)
            .payload(payload)
            .build()
    }

    /// Options become destination options, and there is a fragment header in fragments alone.
    fn build6(&self, label: u32, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
        let [upper, lower] = (self.offset << 3 | u16::from(self.more)).to_be_bytes();
        let mut headers = Vec::new();
        if self.options {
            headers.push((60, [0, 1, 4, 0, 0, 0, 0]));
        }
        if self.offset > 0 || self.more {
            headers.push((44, [0, upper, lower, 0, 0, 0, 9]));
        }
        let first = headers.first().map_or(self.protocol, |(kind, _)| IpProtocol(*kind));
        let mut chain = Vec::new();
        for (number, (_, rest)) in headers.iter().enumerate() {
            chain.push(headers.get(number + 1).map_or(self.protocol.0, |(kind, _)| *kind));
            chain.extend(rest);
        }
        build::ipv6(wide(self.source), wide(self.destination))
            .ipv6_with(|ip: &mut Ipv6Header| {
                ip.next_header = first;
                ip.hop_limit = hop_limit;
                let class = u32::from(self.dscp << 2 | 1);
                ip.version_class_flow.set(6 << 28 | class << 20 | label);
            })
            .payload(&[&chain, payload].concat())
            .build()
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
        let icmp = if self.ip6.is_some() { IpProtocol::ICMPV6 } else { IpProtocol::ICMP };
        let [icmp_type, icmp_code] = self.words.0.to_be_bytes();
        let says_discovery = self.ip6.is_some() && (133..=137).contains(&icmp_type);
        let from_link = self.ip6.is_some_and(|(_, hop_limit)| hop_limit == 255);
        let is_discovery = self.protocol == icmp && has(2) && says_discovery && from_link;
        let of_family = match (self.ip6, rule.family) {
            (None, Family::Ip6 { .. }) | (Some(_), Family::Ip4) => false,
            (None, _) => {
                rule.source.contains(&Ipv4Addr::from_bits(self.source))
                    && rule.destination.contains(&Ipv4Addr::from_bits(self.destination))
            }
            // Without a family, a prefix or an ICMP type is one of IPv4.
            (Some(_), Family::Any) => {
                rule.source.prefix_len() + rule.destination.prefix_len() == 0 && rule.icmp.is_none()
            }
            (Some(_), Family::Ip6 { source, destination }) => {
                source.contains(&wide(self.source)) && destination.contains(&wide(self.destination))
            }
        };
        of_family
            && rule.protocol.is_none_or(|protocol| protocol == self.protocol)
            && (no_ports || with_ports)
            && port_in(rule.source_ports, self.words.0)
            && port_in(rule.destination_ports, self.words.1)
            && rule.tcp_flags.is_none_or(|flags| {
                self.protocol == IpProtocol::TCP && has(14) && self.flags & flags.mask.0 == flags.value.0
            })
            && rule.icmp.is_none_or(|wanted| {
                self.protocol == icmp
                    && has(2)
                    && (!says_discovery || from_link)
                    && wanted.types().contains(&icmp_type)
                    && wanted.codes().contains(&icmp_code)
            })
            && rule.dscp.is_none_or(|dscp| dscp.get() == self.dscp)
            && rule.flow_label.is_none_or(|wanted| self.ip6.is_some_and(|(label, _)| label == wanted))
            && !(rule.not_discovery && is_discovery)
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

/// As [`Packet::scan`], of the compiled set, for packets of one family. The slot of a rule is its id.
fn hits_of<H: Header>(classifier: &Classifier, packets: &[&Packet]) -> Vec<Vec<RuleId>> {
    let mut batch = Batch::<H>::new();
    let mut all = Vec::new();
    let fill = |packet: &Packet, key: &mut H::Key| {
        H::fill(key, &packet.build(), InterfaceIndex(packet.interface)).unwrap();
    };
    for chunk in packets.chunks(200) {
        // Places in the vector that are asked for need not begin at 0.
        let places: Vec<u8> = (0..chunk.len()).map(|i| i as u8 + 55).collect();
        for (packet, place) in chunk.iter().zip(&places) {
            let place = usize::from(*place);
            match H::table(classifier) {
                Some(sessions) => {
                    let session = H::session(&packet.build(), InterfaceIndex(packet.interface));
                    batch.take(sessions, place, session.unwrap());
                }
                None => fill(packet, &mut batch.keys[place]),
            }
        }
        classifier.lookup(&mut batch, &places, |place, key| fill(chunk[place - 55], key));
        for (place, packet) in places.into_iter().zip(chunk) {
            let mut outcome = batch.outcomes[usize::from(place)];
            fill(packet, &mut batch.keys[usize::from(place)]);
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
                outcome = classifier.next::<H>(&batch.keys[usize::from(place)], special.rank);
            }
            all.push(hits);
        }
    }
    all
}

/// Of packets of both families, in their order.
pub(crate) fn hits(classifier: &Classifier, packets: &[Packet]) -> Vec<Vec<RuleId>> {
    let (ip6, ip4): (Vec<&Packet>, Vec<&Packet>) = packets.iter().partition(|packet| packet.ip6.is_some());
    let mut ip4 = hits_of::<Ip4>(classifier, &ip4).into_iter();
    let mut ip6 = hits_of::<Ip6>(classifier, &ip6).into_iter();
    let next = |packet: &Packet| if packet.ip6.is_some() { ip6.next() } else { ip4.next() };
    packets.iter().map(next).map(Option::unwrap).collect()
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
    let named = (addresses, rest).prop_map(
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
                flow_label: None,
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
            for forget in forget {
                if matches.check().is_err() {
                    forget(&mut matches);
                }
            }
            matches
        },
    );
    let named = named.boxed();
    let of_ip6 = (named.clone(), any::<bool>(), prop::option::weighted(0.1, 0u32..2)).prop_filter_map(
        "some packet meets it",
        |(of_ip4, not_discovery, flow_label)| {
            let matches = Match { not_discovery, flow_label, ..to_ip6(of_ip4) };
            matches.check().is_ok().then_some(matches)
        },
    );
    prop_oneof![3 => named, 2 => session, 4 => of_ip6]
}

/// The rule about IPv6 that says the same of other addresses, and of the types of discovery.
fn to_ip6(rule: Match) -> Match {
    let net = |net: Ipv4Net| Ipv6Net::new_assert(wide(net.addr().to_bits()), net.prefix_len() * 4);
    let icmp = rule.icmp.map(|icmp| {
        let types = DISCOVERY + icmp.types().start()..=DISCOVERY + icmp.types().end();
        IcmpMatch::ranges(types, icmp.codes()).unwrap()
    });
    Match {
        family: Family::Ip6 { source: net(rule.source), destination: net(rule.destination) },
        source: Ipv4Net::default(),
        destination: Ipv4Net::default(),
        protocol: rule.protocol.map(of_ip6),
        icmp,
        ..rule
    }
}

/// The first ICMPv6 type that rules and packets of the test have; the last of them is no discovery.
const DISCOVERY: u8 = 136;

fn of_ip6(protocol: IpProtocol) -> IpProtocol {
    if protocol == IpProtocol::ICMP { IpProtocol::ICMPV6 } else { protocol }
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
            ip6: None,
        },
    )
}

/// A packet of either family.
fn packet_of_any() -> impl Strategy<Value = Packet> {
    let ip6 = (0u32..3, prop_oneof![Just(255u8), Just(64)]);
    (packet(), prop::option::of(ip6)).prop_map(|(packet, ip6)| {
        let Some(label_and_hops) = ip6 else { return packet };
        let protocol = of_ip6(packet.protocol);
        let mut words = packet.words;
        if protocol == IpProtocol::ICMPV6 {
            words.0 = words.0.wrapping_add(u16::from(DISCOVERY) << 8);
        }
        Packet { ip6: Some(label_and_hops), protocol, words, ..packet }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn equals_a_linear_scan(set in rules(120), packets in prop::collection::vec(packet_of_any(), 1..300)) {
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
    for shape in [classifier.shape(), classifier.shape6()] {
        assert!(shape.bytes < 8 << 20, "{shape:?}");
    }
    assert!(classifier.shape().bytes < 4 << 20);
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
        ip6: None,
    };
    let packets: Vec<_> =
        [(30_000, 30_000), (2_999, 1), (10, 2_995), (0, 2_999), (30_000, 62_000), (1, 1)].map(packet).into();
    for (packet, hits) in packets.iter().zip(hits(&classifier, &packets)) {
        assert_eq!(hits, packet.scan(&set), "{packet:?}");
    }
}
