// SPDX-License-Identifier: Apache-2.0
//! From `npf-cfg` rules to rules of the classifier.
//!
//! A rule of npf has lists where one of the classifier has one value: it becomes as many rules as there are combinations,
//! all with its number, action and counters. Conditions of IPv6 are met by no IPv4 packet, so such rules become none.
//! Pure: what cannot be honoured is an error that names the rule and the word, before anything changes.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets};
use weft_classify::{self as classify, Dscp, FlagsMatch, Fragment, PortRange, Verdict};
use weft_nodes::headers::{Icmp4Type, IpProtocol, TcpFlags};
use weft_vplaned::commands::CommandError;
use weft_vplaned::commands::npf::{
    AddressMatch, Decision, FilterRule, GroupClass, GroupName, IcmpMatch, Match, PortMatch, ProtocolMatch,
    Rule, Store, TcpFlag,
};

/// Most classifier rules that one rule may become.
const MOST: usize = 4096;

/// A rule of npf, as the classifier has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    pub group: GroupName,
    pub number: u32,
    /// As it was given.
    pub text: String,
    pub decision: Decision,
    pub stateful: bool,
    pub log: bool,
    pub matches: Vec<classify::Match>,
}

impl Compiled {
    /// What becomes of packets that match.
    pub fn action(&self) -> classify::Action {
        match self.decision {
            Decision::Drop => classify::Action::only(Verdict::Drop),
            Decision::Accept => {
                classify::Action { admit: self.stateful, ..classify::Action::only(Verdict::Pass) }
            }
        }
    }
}

/// The rules of groups that are attached together, in the order in which packets meet them.
pub fn compile(store: &Store, groups: &[&GroupName]) -> Result<Vec<Compiled>, CommandError> {
    let mut all = Vec::new();
    for name in groups {
        let Some(group) = store.group(name) else { continue };
        for (&number, rule) in &group.rules {
            let compiled = one(store, name, number, rule);
            all.extend(
                compiled
                    .map_err(|what| CommandError::Unsupported(format!("{name} rule {number}: {what}")))?,
            );
        }
    }
    Ok(all)
}

/// Number 0 of an ACL carries attributes of its group only.
fn one(store: &Store, name: &GroupName, number: u32, rule: &Rule) -> Result<Option<Compiled>, String> {
    if let Some(what) = &rule.unsupported {
        return Err(what.clone());
    }
    let Some(FilterRule { decision: Some(decision), stateful, log, matches }) = &rule.filter else {
        return Ok(None);
    };
    if *stateful && name.class == GroupClass::Acl {
        return Err("stateful=y in an ACL".to_owned());
    }
    Ok(Some(Compiled {
        group: name.clone(),
        number,
        text: rule.text.clone(),
        decision: *decision,
        stateful: *stateful && *decision == Decision::Accept,
        log: *log,
        matches: Lists::of(store, matches)?.combine()?,
    }))
}

/// What a rule asks for, by header field; `None`: it does not matter.
#[derive(Default)]
struct Lists {
    /// It is about IPv6.
    ip6: bool,
    sources: Option<Vec<Ipv4Net>>,
    destinations: Option<Vec<Ipv4Net>>,
    protocols: Option<Vec<IpProtocol>>,
    source_ports: Option<Vec<PortRange>>,
    destination_ports: Option<Vec<PortRange>>,
    dscps: Option<Vec<Dscp>>,
    icmps: Option<Vec<classify::IcmpMatch>>,
    flags: Option<FlagsMatch>,
    fragment: Option<Fragment>,
}

impl Lists {
    fn of(store: &Store, matches: &[Match]) -> Result<Lists, String> {
        let mut lists = Lists::default();
        for condition in matches {
            match condition {
                Match::Ip6(ip6) => lists.ip6 |= ip6,
                Match::Source(addresses) => set(&mut lists.sources, prefixes(store, addresses)?, "src-addr")?,
                Match::Destination(addresses) => {
                    set(&mut lists.destinations, prefixes(store, addresses)?, "dst-addr")?;
                }
                Match::Protocol(protocol) => set(&mut lists.protocols, protocols(store, protocol)?, "proto")?,
                Match::SourcePort(ports) => {
                    set(&mut lists.source_ports, port_ranges(store, ports)?, "src-port")?
                }
                Match::DestinationPort(ports) => {
                    set(&mut lists.destination_ports, port_ranges(store, ports)?, "dst-port")?;
                }
                Match::Fragment => lists.fragment = Some(Fragment::Any),
                Match::Dscp(values) => set(&mut lists.dscps, dscps(values.iter().copied())?, "dscp")?,
                Match::DscpGroup(name) => {
                    let values = values(store, GroupClass::DscpGroup, name)?;
                    let numbers: Result<Vec<u8>, String> =
                        values.iter().map(|value| number(value, "dscp")).collect();
                    set(&mut lists.dscps, dscps(numbers?)?, "dscp")?;
                }
                Match::Ttl(_) => return Err("ttl=".to_owned()),
                Match::TcpFlags(flags) => {
                    let (mut mask, mut value) = (0, 0);
                    for (flag, on) in flags {
                        mask |= bit(*flag);
                        value |= if *on { bit(*flag) } else { 0 };
                    }
                    lists.flags = Some(FlagsMatch { mask: TcpFlags(mask), value: TcpFlags(value) });
                }
                Match::Icmp4(icmp) => set(&mut lists.icmps, icmps(store, icmp)?, "icmpv4")?,
                Match::Icmp6(_) => lists.ip6 = true,
            }
        }
        Ok(lists)
    }

    /// One rule for each combination.
    fn combine(self) -> Result<Vec<classify::Match>, String> {
        if self.ip6 {
            return Ok(Vec::new());
        }
        let Lists { fragment, flags, .. } = self;
        let mut all = vec![classify::Match { fragment, tcp_flags: flags, ..classify::Match::default() }];
        each(&mut all, self.sources, |rule, source| rule.source = source)?;
        each(&mut all, self.destinations, |rule, destination| rule.destination = destination)?;
        each(&mut all, self.protocols, |rule, protocol| rule.protocol = Some(protocol))?;
        each(&mut all, self.source_ports, |rule, ports| rule.source_ports = ports)?;
        each(&mut all, self.destination_ports, |rule, ports| rule.destination_ports = ports)?;
        each(&mut all, self.dscps, |rule, dscp| rule.dscp = Some(dscp))?;
        each(&mut all, self.icmps, |rule, icmp| rule.icmp = Some(icmp))?;
        // Of protocols in a list, some may have no ports.
        let never = all.iter().find_map(|rule| rule.check().err());
        all.retain(|rule| rule.check().is_ok());
        match never {
            Some(error) if all.is_empty() => Err(format!("can never match: {error}")),
            _ => Ok(all),
        }
    }
}

/// An address list that is of the other family only is empty, and its rule meets no packet.
fn each<T: Copy>(
    all: &mut Vec<classify::Match>,
    values: Option<Vec<T>>,
    put: impl Fn(&mut classify::Match, T),
) -> Result<(), String> {
    let Some(values) = values else { return Ok(()) };
    if all.len() * values.len() > MOST {
        return Err(format!("its lists have more than {MOST} combinations"));
    }
    *all = all
        .iter()
        .flat_map(|rule| {
            values.iter().map(|value| {
                let mut rule = rule.clone();
                put(&mut rule, *value);
                rule
            })
        })
        .collect();
    Ok(())
}

fn set<T>(list: &mut Option<Vec<T>>, values: Vec<T>, key: &str) -> Result<(), String> {
    match list.replace(values) {
        None => Ok(()),
        Some(_) => Err(format!("{key} is there twice")),
    }
}

fn prefixes(store: &Store, addresses: &AddressMatch) -> Result<Vec<Ipv4Net>, String> {
    match addresses {
        AddressMatch::Prefix { negated: false, prefix: IpNet::V4(prefix) } => Ok(vec![*prefix]),
        AddressMatch::Prefix { negated: true, prefix: IpNet::V4(prefix) } => Ok(all_but(*prefix)),
        AddressMatch::Prefix { prefix: IpNet::V6(_), .. } => Ok(Vec::new()),
        AddressMatch::Group(name) => {
            let group =
                store.address_group(name).ok_or_else(|| format!("address group {name:?} does not exist"))?;
            let ranges = group.iter().filter_map(|range| match (range.first, range.last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => Some(Ipv4Subnets::new(first, last, 0)),
                _ => None,
            });
            // Ranges may overlap.
            let nets: Vec<Ipv4Net> = ranges.flatten().collect();
            Ok(Ipv4Net::aggregate(&nets))
        }
    }
}

fn all_but(prefix: Ipv4Net) -> Vec<Ipv4Net> {
    let (first, last) = (prefix.network().to_bits(), prefix.broadcast().to_bits());
    let below = first.checked_sub(1).map(|end| Ipv4Subnets::new(Ipv4Addr::UNSPECIFIED, end.into(), 0));
    let above = last.checked_add(1).map(|start| Ipv4Subnets::new(start.into(), Ipv4Addr::BROADCAST, 0));
    below.into_iter().chain(above).flatten().collect()
}

fn protocols(store: &Store, protocol: &ProtocolMatch) -> Result<Vec<IpProtocol>, String> {
    match protocol {
        // The two differ behind extension headers, which IPv4 has not.
        ProtocolMatch::Final(protocol) | ProtocolMatch::Base(protocol) => Ok(vec![IpProtocol(*protocol)]),
        ProtocolMatch::Group(name) => {
            let values = values(store, GroupClass::ProtocolGroup, name)?;
            values.iter().map(|value| number(value, "protocol").map(IpProtocol)).collect()
        }
    }
}

fn port_ranges(store: &Store, ports: &PortMatch) -> Result<Vec<PortRange>, String> {
    let range = |range: &RangeInclusive<u16>| PortRange::new(*range.start(), *range.end());
    match ports {
        PortMatch::Ranges(ranges) => Ok(ranges.iter().filter_map(range).collect()),
        PortMatch::Group(name) => {
            let values = values(store, GroupClass::PortGroup, name)?;
            let parse = |value: &String| {
                let (first, last) = value.split_once('-').unwrap_or((value, value));
                let found = first.parse().ok().zip(last.parse().ok());
                found.and_then(|(first, last)| PortRange::new(first, last)).ok_or_else(|| {
                    format!("port group {name:?}: expected a port or FIRST-LAST, found {value:?}")
                })
            };
            values.iter().map(parse).collect()
        }
    }
}

fn dscps(values: impl IntoIterator<Item = u8>) -> Result<Vec<Dscp>, String> {
    let dscp = |value| Dscp::new(value).ok_or_else(|| format!("dscp: expected 0 to 63, found {value}"));
    values.into_iter().map(dscp).collect()
}

fn icmps(store: &Store, icmp: &IcmpMatch) -> Result<Vec<classify::IcmpMatch>, String> {
    match icmp {
        IcmpMatch::Type { kind, code } => Ok(vec![classify::IcmpMatch::only(Icmp4Type(*kind), *code)]),
        IcmpMatch::Name(name) => Ok(vec![named(name)?]),
        IcmpMatch::Group(name) => {
            let values = values(store, GroupClass::IcmpGroup, name)?;
            let parse = |value: &String| {
                let (kind, code) =
                    value.split_once(':').map_or((value.as_str(), None), |(kind, code)| (kind, Some(code)));
                let Ok(kind) = kind.parse() else { return named(value) };
                let code = code.map(|code| number(code, "ICMP code")).transpose()?;
                Ok(classify::IcmpMatch::only(Icmp4Type(kind), code))
            };
            values.iter().map(parse).collect()
        }
    }
}

/// The types and codes of ICMP that have names (RFC 792, RFC 1122, RFC 1812), as iptables calls them.
fn named(name: &str) -> Result<classify::IcmpMatch, String> {
    let (kind, code) = match name {
        "echo-reply" | "pong" => (0, None),
        "destination-unreachable" => (3, None),
        "network-unreachable" => (3, Some(0)),
        "host-unreachable" => (3, Some(1)),
        "protocol-unreachable" => (3, Some(2)),
        "port-unreachable" => (3, Some(3)),
        "fragmentation-needed" => (3, Some(4)),
        "source-route-failed" => (3, Some(5)),
        "network-unknown" => (3, Some(6)),
        "host-unknown" => (3, Some(7)),
        "network-prohibited" => (3, Some(9)),
        "host-prohibited" => (3, Some(10)),
        "TOS-network-unreachable" => (3, Some(11)),
        "TOS-host-unreachable" => (3, Some(12)),
        "communication-prohibited" => (3, Some(13)),
        "host-precedence-violation" => (3, Some(14)),
        "precedence-cutoff" => (3, Some(15)),
        "source-quench" => (4, None),
        "redirect" => (5, None),
        "network-redirect" => (5, Some(0)),
        "host-redirect" => (5, Some(1)),
        "TOS-network-redirect" => (5, Some(2)),
        "TOS-host-redirect" => (5, Some(3)),
        "echo-request" | "ping" => (8, None),
        "router-advertisement" => (9, None),
        "router-solicitation" => (10, None),
        "time-exceeded" | "ttl-exceeded" => (11, None),
        "ttl-zero-during-transit" => (11, Some(0)),
        "ttl-zero-during-reassembly" => (11, Some(1)),
        "parameter-problem" => (12, None),
        "ip-header-bad" => (12, Some(0)),
        "required-option-missing" => (12, Some(1)),
        "timestamp-request" => (13, None),
        "timestamp-reply" => (14, None),
        "address-mask-request" => (17, None),
        "address-mask-reply" => (18, None),
        _ => return Err(format!("icmpv4={name}: expected TYPE[:CODE] or the name of one")),
    };
    Ok(classify::IcmpMatch::only(Icmp4Type(kind), code))
}

/// What a value group holds.
fn values(store: &Store, class: GroupClass, name: &str) -> Result<Vec<String>, String> {
    let values: Vec<String> = store
        .values(class, name)
        .flat_map(|text| text.split([';', ',', ' ']))
        .filter(|value| !value.is_empty())
        .map(str::to_owned)
        .collect();
    match values.is_empty() {
        true => Err(format!("{class} {name:?} does not exist")),
        false => Ok(values),
    }
}

fn number(value: &str, what: &str) -> Result<u8, String> {
    value.parse().map_err(|_| format!("{what}: expected a number up to 255, found {value:?}"))
}

fn bit(flag: TcpFlag) -> u8 {
    match flag {
        TcpFlag::Fin => TcpFlags::FIN,
        TcpFlag::Syn => TcpFlags::SYN,
        TcpFlag::Rst => TcpFlags::RST,
        TcpFlag::Psh => TcpFlags::PSH,
        TcpFlag::Ack => TcpFlags::ACK,
        // RFC 9293 section 3.1.
        TcpFlag::Urg => TcpFlags(0x20),
    }
    .0
}
