// SPDX-License-Identifier: Apache-2.0
//! From `npf-cfg` rules to rules of the classifier.
//!
//! A rule of npf has lists where one of the classifier has one value: it becomes as many rules as there are combinations,
//! all with its number, action and counters. A rule with addresses or ICMP types becomes rules of IPv4 and rules of IPv6,
//! each with those of its family. Pure: what cannot be honoured is an error that names the rule and the word, before anything changes.

use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weft_classify::{self as classify, Dscp, Family, FlagsMatch, Fragment, PortRange, Verdict};
use weft_nodes::headers::{Icmp4Type, IpProtocol, TcpFlags};
use weft_vplaned::commands::CommandError;
use weft_vplaned::commands::npf::{
    AddressMatch, AddressRange, Decision, FilterRule, GroupClass, GroupName, IcmpMatch, Match, NpfRule,
    PortMatch, ProtocolMatch, Store, TcpFlag,
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
fn one(store: &Store, name: &GroupName, number: u32, rule: &NpfRule) -> Result<Option<Compiled>, String> {
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
    families: Families,
    sources: Option<Addresses>,
    destinations: Option<Addresses>,
    protocols: Option<Vec<IpProtocol>>,
    source_ports: Option<Vec<PortRange>>,
    destination_ports: Option<Vec<PortRange>>,
    dscps: Option<Vec<Dscp>>,
    /// Of the one family that is left.
    icmps: Option<Vec<classify::IcmpMatch>>,
    flags: Option<FlagsMatch>,
    fragment: Option<Fragment>,
}

/// Prefixes by family.
struct Addresses(Vec<Ipv4Net>, Vec<Ipv6Net>);

impl Addresses {
    fn of(all: Vec<IpNet>) -> Addresses {
        let mut addresses = Addresses(Vec::new(), Vec::new());
        for net in all {
            match net {
                IpNet::V4(net) => addresses.0.push(net),
                IpNet::V6(net) => addresses.1.push(net),
            }
        }
        addresses
    }
}

/// Those that no condition excludes.
#[derive(Clone, Copy)]
struct Families {
    ip4: bool,
    ip6: bool,
}

impl Default for Families {
    fn default() -> Families {
        Families { ip4: true, ip6: true }
    }
}

impl Families {
    /// A condition that only packets of one family meet.
    fn only(&mut self, ip6: bool) -> Result<(), String> {
        *if ip6 { &mut self.ip4 } else { &mut self.ip6 } = false;
        match self.ip4 || self.ip6 {
            true => Ok(()),
            false => Err("can never match: it has conditions of both IPv4 and IPv6".to_owned()),
        }
    }
}

impl Lists {
    fn of(store: &Store, matches: &[Match]) -> Result<Lists, String> {
        let mut lists = Lists::default();
        for condition in matches {
            match condition {
                Match::Ip6(ip6) => lists.families.only(*ip6)?,
                Match::Source(addresses) => {
                    let prefixes = prefixes(store, addresses, &mut lists.families)?;
                    set(&mut lists.sources, prefixes, "src-addr")?;
                }
                Match::Destination(addresses) => {
                    let prefixes = prefixes(store, addresses, &mut lists.families)?;
                    set(&mut lists.destinations, prefixes, "dst-addr")?;
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
                Match::Icmp4(icmp) => {
                    lists.families.only(false)?;
                    set(&mut lists.icmps, icmps(store, icmp, &ICMPV4)?, "icmpv4")?;
                }
                Match::Icmp6(icmp) => {
                    lists.families.only(true)?;
                    set(&mut lists.icmps, icmps(store, icmp, &ICMPV6)?, "icmpv6")?;
                }
            }
        }
        Ok(lists)
    }

    /// One rule for each combination.
    fn combine(self) -> Result<Vec<classify::Match>, String> {
        let Families { ip4, ip6 } = self.families;
        let by_family = self.sources.is_some() || self.destinations.is_some() || !ip4 || !ip6;
        let mut all = Vec::new();
        if !by_family {
            all.push(classify::Match::default());
        } else if ip4 {
            let mut of_ip4 = vec![classify::Match { family: Family::Ip4, ..classify::Match::default() }];
            let nets = |list: &Option<Addresses>| list.as_ref().map(|Addresses(nets, _)| nets.clone());
            each(&mut of_ip4, nets(&self.sources), |rule, source| rule.source = source)?;
            each(&mut of_ip4, nets(&self.destinations), |rule, destination| rule.destination = destination)?;
            all.append(&mut of_ip4);
        }
        if by_family && ip6 {
            let mut of_ip6 = vec![classify::Match { family: Family::IP6, ..classify::Match::default() }];
            let nets = |list: &Option<Addresses>| list.as_ref().map(|Addresses(_, nets)| nets.clone());
            each(&mut of_ip6, nets(&self.sources), |rule, net| {
                if let Family::Ip6 { source, .. } = &mut rule.family {
                    *source = net;
                }
            })?;
            each(&mut of_ip6, nets(&self.destinations), |rule, net| {
                if let Family::Ip6 { destination, .. } = &mut rule.family {
                    *destination = net;
                }
            })?;
            all.append(&mut of_ip6);
        }
        for rule in &mut all {
            (rule.fragment, rule.tcp_flags) = (self.fragment, self.flags);
        }
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

/// Each rule with each value; an empty list, such as an address group of the other family, leaves no rule.
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

fn set<T>(list: &mut Option<T>, values: T, key: &str) -> Result<(), String> {
    match list.replace(values) {
        None => Ok(()),
        Some(_) => Err(format!("{key} is there twice")),
    }
}

/// A prefix is of one family; a group may hold both, or none of one of them yet.
fn prefixes(store: &Store, addresses: &AddressMatch, families: &mut Families) -> Result<Addresses, String> {
    match addresses {
        AddressMatch::Prefix { negated, prefix } => {
            families.only(matches!(prefix, IpNet::V6(_)))?;
            Ok(Addresses::of(if *negated { all_but(*prefix) } else { vec![*prefix] }))
        }
        AddressMatch::Group(name) => {
            let group =
                store.address_group(name).ok_or_else(|| format!("address group {name:?} does not exist"))?;
            // Ranges may overlap.
            let all: Vec<IpNet> = group.iter().flat_map(AddressRange::prefixes).collect();
            Ok(Addresses::of(IpNet::aggregate(&all)))
        }
    }
}

/// Of each prefix that it lies in, the half that it does not lie in.
fn all_but(prefix: IpNet) -> Vec<IpNet> {
    let around = std::iter::successors(Some(prefix), IpNet::supernet);
    let other_half = |net: IpNet| net.supernet()?.subnets(net.prefix_len()).ok()?.find(|half| *half != net);
    let mut all: Vec<IpNet> = around.filter_map(other_half).collect();
    all.sort();
    all
}

fn protocols(store: &Store, protocol: &ProtocolMatch) -> Result<Vec<IpProtocol>, String> {
    match protocol {
        // The two differ before extension headers, which the classifier looks through.
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

fn icmps(store: &Store, icmp: &IcmpMatch, family: &Icmp) -> Result<Vec<classify::IcmpMatch>, String> {
    match icmp {
        IcmpMatch::Type { kind, code } => Ok(vec![classify::IcmpMatch::only(Icmp4Type(*kind), *code)]),
        IcmpMatch::Name(name) => Ok(vec![family.named(name)?]),
        IcmpMatch::Group(name) => {
            let values = values(store, family.group, name)?;
            let parse = |value: &String| {
                let (kind, code) =
                    value.split_once(':').map_or((value.as_str(), None), |(kind, code)| (kind, Some(code)));
                let Ok(kind) = kind.parse() else { return family.named(value) };
                let code = code.map(|code| number(code, "ICMP code")).transpose()?;
                Ok(classify::IcmpMatch::only(Icmp4Type(kind), code))
            };
            values.iter().map(parse).collect()
        }
    }
}

/// ICMP of one family: what its types and codes are called, with which group of values.
struct Icmp {
    key: &'static str,
    group: GroupClass,
    names: &'static [(&'static str, u8, Option<u8>)],
}

/// RFC 792, RFC 1122, RFC 1812, as iptables calls them.
static ICMPV4: Icmp = Icmp {
    key: "icmpv4",
    group: GroupClass::IcmpGroup,
    names: &[
        ("echo-reply", 0, None),
        ("pong", 0, None),
        ("destination-unreachable", 3, None),
        ("network-unreachable", 3, Some(0)),
        ("host-unreachable", 3, Some(1)),
        ("protocol-unreachable", 3, Some(2)),
        ("port-unreachable", 3, Some(3)),
        ("fragmentation-needed", 3, Some(4)),
        ("source-route-failed", 3, Some(5)),
        ("network-unknown", 3, Some(6)),
        ("host-unknown", 3, Some(7)),
        ("network-prohibited", 3, Some(9)),
        ("host-prohibited", 3, Some(10)),
        ("TOS-network-unreachable", 3, Some(11)),
        ("TOS-host-unreachable", 3, Some(12)),
        ("communication-prohibited", 3, Some(13)),
        ("host-precedence-violation", 3, Some(14)),
        ("precedence-cutoff", 3, Some(15)),
        ("source-quench", 4, None),
        ("redirect", 5, None),
        ("network-redirect", 5, Some(0)),
        ("host-redirect", 5, Some(1)),
        ("TOS-network-redirect", 5, Some(2)),
        ("TOS-host-redirect", 5, Some(3)),
        ("echo-request", 8, None),
        ("ping", 8, None),
        ("router-advertisement", 9, None),
        ("router-solicitation", 10, None),
        ("time-exceeded", 11, None),
        ("ttl-exceeded", 11, None),
        ("ttl-zero-during-transit", 11, Some(0)),
        ("ttl-zero-during-reassembly", 11, Some(1)),
        ("parameter-problem", 12, None),
        ("ip-header-bad", 12, Some(0)),
        ("required-option-missing", 12, Some(1)),
        ("timestamp-request", 13, None),
        ("timestamp-reply", 14, None),
        ("address-mask-request", 17, None),
        ("address-mask-reply", 18, None),
    ],
};

/// RFC 4443, RFC 2710 and RFC 4861, as ip6tables calls them.
static ICMPV6: Icmp = Icmp {
    key: "icmpv6",
    group: GroupClass::Icmpv6Group,
    names: &[
        ("destination-unreachable", 1, None),
        ("no-route", 1, Some(0)),
        ("communication-prohibited", 1, Some(1)),
        ("beyond-scope", 1, Some(2)),
        ("address-unreachable", 1, Some(3)),
        ("port-unreachable", 1, Some(4)),
        ("failed-policy", 1, Some(5)),
        ("reject-route", 1, Some(6)),
        ("packet-too-big", 2, None),
        ("time-exceeded", 3, None),
        ("ttl-exceeded", 3, None),
        ("ttl-zero-during-transit", 3, Some(0)),
        ("ttl-zero-during-reassembly", 3, Some(1)),
        ("parameter-problem", 4, None),
        ("bad-header", 4, Some(0)),
        ("unknown-header-type", 4, Some(1)),
        ("unknown-option", 4, Some(2)),
        ("echo-request", 128, None),
        ("ping", 128, None),
        ("echo-reply", 129, None),
        ("pong", 129, None),
        ("multicast-listener-query", 130, None),
        ("multicast-listener-report", 131, None),
        ("multicast-listener-done", 132, None),
        ("router-solicitation", 133, None),
        ("router-advertisement", 134, None),
        ("neighbor-solicitation", 135, None),
        ("neighbour-solicitation", 135, None),
        ("neighbor-advertisement", 136, None),
        ("neighbour-advertisement", 136, None),
        ("redirect", 137, None),
    ],
};

impl Icmp {
    fn named(&self, name: &str) -> Result<classify::IcmpMatch, String> {
        match self.names.iter().find(|(known, ..)| *known == name) {
            Some((_, kind, code)) => Ok(classify::IcmpMatch::only(Icmp4Type(*kind), *code)),
            None => Err(format!("{}={name}: expected TYPE[:CODE] or the name of one", self.key)),
        }
    }
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
