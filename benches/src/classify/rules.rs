// SPDX-License-Identifier: Apache-2.0
//! Rule sets and packets that look like real ones, in the manner of ClassBench (Taylor and Turner, 2007).
//!
//! Three kinds, each with its distribution of prefix lengths (source and destination together), of port classes (wildcard,
//! exact, 1024 and up, another range) and of protocols: access lists (`acl`), whose rules name most of both ends;
//! firewalls (`fw`), of whose rules more than half leave one end open and some both; IP chains (`ipc`), a mixture. Prefixes are
//! taken from a skewed tree of networks, so that they nest. Specific rules tend to come before general ones, as they do where
//! people have written them; the last rule matches everything. Packets are random points in random rules, all rules equally
//! often: a working set as large as it can be.
//!
//! Rules of IPv6 are those of IPv4 in a network of 32 bits ([`to_ip6`]): prefixes of up to 63 bits, hosts as /128. Which packet finds which
//! rule is the same, which the benchmark checks.

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use weft_classify::{Action, Family, Match, PortRange, Priority, Rule, RuleId, Verdict};
use weft_nodes::headers::IpProtocol;

use crate::random::Random;

/// What a rule set is modelled on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Access list.
    Acl,
    /// Firewall.
    Firewall,
    /// IP chain.
    Chain,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 3] = [Kind::Acl, Kind::Firewall, Kind::Chain];

    /// As ClassBench calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Acl => "acl",
            Kind::Firewall => "fw",
            Kind::Chain => "ipc",
        }
    }
}

#[derive(Clone, Copy)]
enum Ports {
    Any,
    Exact,
    High,
    Range,
}

/// Choices with their weights.
type Weighted<T> = &'static [(u32, T)];

struct Style {
    protocols: Weighted<Option<u8>>,
    source_ports: Weighted<Ports>,
    destination_ports: Weighted<Ports>,
    /// Prefix lengths from and to: source, then destination.
    lengths: Weighted<[(u8, u8); 2]>,
}

const HOST: (u8, u8) = (32, 32);
const SUBNET: (u8, u8) = (24, 30);
const SITE: (u8, u8) = (16, 23);
const REGION: (u8, u8) = (8, 15);
const ANY: (u8, u8) = (0, 0);

const ACL: Style = Style {
    protocols: &[(80, Some(6)), (12, Some(17)), (4, Some(1)), (4, None)],
    source_ports: &[(97, Ports::Any), (1, Ports::Exact), (2, Ports::High)],
    destination_ports: &[(25, Ports::Any), (58, Ports::Exact), (7, Ports::High), (10, Ports::Range)],
    lengths: &[
        (30, [HOST, HOST]),
        (20, [SUBNET, HOST]),
        (14, [HOST, SUBNET]),
        (10, [SUBNET, SUBNET]),
        (8, [SITE, HOST]),
        (8, [ANY, HOST]),
        (4, [ANY, SUBNET]),
        (3, [REGION, SUBNET]),
        (2, [SITE, SITE]),
        (1, [HOST, ANY]),
    ],
};

const FIREWALL: Style = Style {
    protocols: &[(70, Some(6)), (17, Some(17)), (5, Some(1)), (8, None)],
    source_ports: &[(75, Ports::Any), (8, Ports::Exact), (12, Ports::High), (5, Ports::Range)],
    destination_ports: &[(30, Ports::Any), (45, Ports::Exact), (15, Ports::High), (10, Ports::Range)],
    lengths: &[
        (22, [ANY, HOST]),
        (18, [HOST, ANY]),
        (10, [ANY, SUBNET]),
        (8, [SUBNET, ANY]),
        (4, [ANY, SITE]),
        (4, [SITE, ANY]),
        (14, [HOST, HOST]),
        (6, [SUBNET, HOST]),
        (6, [HOST, SUBNET]),
        (4, [SUBNET, SUBNET]),
        (4, [ANY, ANY]),
    ],
};

const CHAIN: Style = Style {
    protocols: &[(50, Some(6)), (30, Some(17)), (10, Some(1)), (10, None)],
    source_ports: &[(70, Ports::Any), (20, Ports::Exact), (5, Ports::High), (5, Ports::Range)],
    destination_ports: &[(35, Ports::Any), (45, Ports::Exact), (10, Ports::High), (10, Ports::Range)],
    lengths: &[
        (35, [HOST, HOST]),
        (10, [SUBNET, HOST]),
        (10, [HOST, SUBNET]),
        (10, [SUBNET, SUBNET]),
        (8, [SITE, SITE]),
        (8, [ANY, HOST]),
        (8, [HOST, ANY]),
        (3, [ANY, SUBNET]),
        (3, [SUBNET, ANY]),
        (3, [REGION, REGION]),
        (2, [REGION, HOST]),
    ],
};

fn pick<T: Copy>(random: &mut Random, choices: Weighted<T>) -> T {
    let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut point = random.below(total);
    for &(weight, choice) in choices {
        if point < weight {
            return choice;
        }
        point -= weight;
    }
    unreachable!("the point is below the sum of the weights")
}

/// A number below `count`, small ones more often: roughly Zipf's law.
fn skewed(random: &mut Random, count: u32) -> u32 {
    let bits = random.below(count.ilog2() + 1);
    random.below(2 << bits).min(count - 1)
}

/// An address of a skewed tree: a few regions, some sites in each, some subnets in each of those.
fn address(random: &mut Random, length: u8) -> u32 {
    let spread = |number: u32, salt: u32| (number + 1).wrapping_mul(0x9e37_79b1).wrapping_add(salt) >> 24;
    let region = 11 + skewed(random, 24) * 7;
    let site = spread(skewed(random, 32), region);
    let subnet = spread(skewed(random, 128), site);
    let host = random.below(256);
    let address = region << 24 | site << 16 | subnet << 8 | host;
    if length == 0 { 0 } else { address & u32::MAX << (32 - u32::from(length)) }
}

fn prefix(random: &mut Random, (shortest, longest): (u8, u8)) -> Ipv4Net {
    let length = shortest + random.below(u32::from(longest - shortest) + 1) as u8;
    Ipv4Net::new_assert(Ipv4Addr::from_bits(address(random, length)), length)
}

fn ports(random: &mut Random, class: Ports) -> PortRange {
    const SERVICES: [u16; 24] = [
        80, 443, 53, 25, 22, 21, 23, 110, 143, 123, 161, 389, 445, 993, 995, 1433, 1521, 1723, 3306, 3389,
        5060, 8080, 8443, 1812,
    ];
    match class {
        Ports::Any => PortRange::ANY,
        Ports::High => PortRange::new(1024, 65535).expect("in order"),
        Ports::Exact if random.below(4) == 0 => PortRange::only(1 + random.below(20_000) as u16),
        Ports::Exact => PortRange::only(SERVICES[skewed(random, SERVICES.len() as u32) as usize]),
        Ports::Range => {
            let first = random.below(40_000) as u16;
            let width = 1 << random.below(12);
            PortRange::new(first, first + width).expect("in order")
        }
    }
}

/// `count` different rules of a kind.
pub fn rules(kind: Kind, count: usize, seed: u64) -> Vec<Rule> {
    let style = match kind {
        Kind::Acl => &ACL,
        Kind::Firewall => &FIREWALL,
        Kind::Chain => &CHAIN,
    };
    let mut random = Random::new(seed);
    let mut seen = HashSet::new();
    let mut drawn = Vec::new();
    while drawn.len() + 1 < count {
        let [source, destination] = pick(&mut random, style.lengths);
        let (source, destination) = (prefix(&mut random, source), prefix(&mut random, destination));
        let protocol = pick(&mut random, style.protocols).map(IpProtocol);
        let mut matches = Match { source, destination, protocol, ..Match::default() };
        if matches!(protocol, Some(IpProtocol::TCP | IpProtocol::UDP)) {
            let class = pick(&mut random, style.source_ports);
            matches.source_ports = ports(&mut random, class);
            let class = pick(&mut random, style.destination_ports);
            matches.destination_ports = ports(&mut random, class);
        }
        let text = format!("{matches:?}");
        if (source.prefix_len(), destination.prefix_len(), protocol) == (0, 0, None) || !seen.insert(text) {
            continue;
        }
        let open = |ports: PortRange| (u32::from(ports.last() - ports.first()) + 1).ilog2();
        let specific = u32::from(source.prefix_len() + destination.prefix_len())
            + (32 - open(matches.source_ports) - open(matches.destination_ports)) / 2;
        drawn.push((specific + random.below(16), matches));
    }
    drawn.sort_by_key(|(specific, _)| std::cmp::Reverse(*specific));
    let matches = drawn.into_iter().map(|(_, matches)| matches).chain([Match::default()]);
    (0..)
        .zip(matches)
        .map(|(i, matches)| Rule {
            id: RuleId(i),
            priority: Priority(i),
            matches,
            action: Action::only(if i % 3 == 0 { Verdict::Drop } else { Verdict::Pass }),
        })
        .collect()
}

/// `count` rules about one TCP or UDP session each.
pub fn sessions(count: usize, seed: u64) -> Vec<Rule> {
    let mut random = Random::new(seed);
    let host = |address: u32| Ipv4Net::from(Ipv4Addr::from_bits(address));
    (0..count as u32)
        .map(|i| Rule {
            id: RuleId(i),
            priority: Priority(0),
            matches: Match {
                source: host(0x0a00_0000 + i),
                destination: host(address(&mut random, 32)),
                protocol: Some(if i % 4 == 0 { IpProtocol::UDP } else { IpProtocol::TCP }),
                source_ports: PortRange::only(1024 + random.below(60_000) as u16),
                destination_ports: ports(&mut random, Ports::Exact),
                ..Match::default()
            },
            action: Action::only(Verdict::Pass),
        })
        .collect()
}

/// The 5-tuple of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuple {
    /// Source address.
    pub source: u32,
    /// Destination address.
    pub destination: u32,
    /// Source port; 0 without ports.
    pub source_port: u16,
    /// Destination port; 0 without ports.
    pub destination_port: u16,
    /// Protocol.
    pub protocol: IpProtocol,
}

/// `count` packets, each a random point in a random rule.
pub fn packets(rules: &[Rule], count: usize, seed: u64) -> Vec<Tuple> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| {
            let matches = &rules[random.below(rules.len() as u32) as usize].matches;
            let mut address =
                |net: Ipv4Net| net.network().to_bits() | random.next() as u32 & net.hostmask().to_bits();
            let (source, destination) = (address(matches.source), address(matches.destination));
            let mut port = |range: PortRange| {
                (u32::from(range.first()) + random.below(u32::from(range.last() - range.first()) + 1)) as u16
            };
            let (source_port, destination_port) =
                (port(matches.source_ports), port(matches.destination_ports));
            let protocol = matches.protocol.unwrap_or(IpProtocol::TCP);
            let with_ports = matches!(protocol, IpProtocol::TCP | IpProtocol::UDP);
            let kept = |port| if with_ports { port } else { 0 };
            Tuple {
                source,
                destination,
                source_port: kept(source_port),
                destination_port: kept(destination_port),
                protocol,
            }
        })
        .collect()
}

/// The address of IPv6 that stands for one of IPv4: its bits follow those of a network, and a host is the first of its subnet.
pub fn wide(address: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(address) << 64 | 1)
}

/// The same rules, about IPv6.
pub fn to_ip6(rules: &[Rule]) -> Vec<Rule> {
    let net = |net: Ipv4Net| match net.prefix_len() {
        0 => Ipv6Net::default(),
        32 => Ipv6Net::new_assert(wide(net.addr().to_bits()), 128),
        length => Ipv6Net::new_assert(wide(net.addr().to_bits()), 32 + length).trunc(),
    };
    rules
        .iter()
        .map(|rule| {
            let Match { source, destination, .. } = rule.matches;
            let family = Family::Ip6 { source: net(source), destination: net(destination) };
            let all = Ipv4Net::default();
            let matches = Match { family, source: all, destination: all, ..rule.matches.clone() };
            Rule { matches, ..rule.clone() }
        })
        .collect()
}
