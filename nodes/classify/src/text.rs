// SPDX-License-Identifier: Apache-2.0
//! A rule in words: `id 10 priority 100 src 10.0.0.0/8 dst any proto tcp dport 80-443 action drop`.
//!
//! The one text form of rules: of commands, of files, and of plugins. What [`read`] understands, [`write()`] says; the words of
//! a match come in any order, those of an action last. Main thread.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use weft_cli::{Args, CliError};
use weft_engine::InterfaceIndex;
use weft_nodes::fib::AdjacencyId;
use weft_nodes::headers::{IpProtocol, TcpFlags};

use crate::rule::{
    Action, Dscp, Family, FlagsMatch, Fragment, IcmpMatch, Match, Police, PoliceUnit, PortRange, Priority,
    Redirect, Rule, RuleId, Verdict,
};

/// What the words of a rule stand for, to whoever reads it.
pub trait Resolve {
    /// Takes the name of an interface.
    fn interface(&mut self, args: &mut Args<'_>) -> Result<InterfaceIndex, CliError>;

    /// Takes what comes after `redirect next-hop`; the reader holds the next hop.
    fn next_hop(&mut self, args: &mut Args<'_>) -> Result<AdjacencyId, CliError>;

    /// Whether `admit` may be said: somebody has to see to it that flows are looked up.
    fn may_admit(&self) -> bool;
}

/// Names for what a rule refers to.
pub trait Names {
    /// The name of an interface.
    fn interface(&self, index: InterfaceIndex) -> String;

    /// The address of a next hop, and where it is.
    fn next_hop(&self, id: AdjacencyId) -> Option<(IpAddr, InterfaceIndex)>;
}

/// For `help`.
pub const SYNOPSIS: &str = "id <n> [priority <n>] [family ip4|ip6] [src <prefix>] [dst <prefix>] [proto <protocol>] \
    [sport <port>[-<port>]] [dport <port>[-<port>]] [tcp-flags [!]<flag>,...|<value>/<mask>] [icmp <types>[/<codes>]] [dscp <dscp>] \
    [flow-label <n>] [interface <interface>] [fragment no|any|first|later] [not-discovery] action [police packets|bytes <n> burst <n>] [mark <n>] \
    [set-dscp <dscp>] [pass|drop|punt|count|redirect interface <interface>|redirect next-hop <address> [<interface>]]";

/// Takes a rule, up to the end of the line.
pub fn read(args: &mut Args<'_>, resolve: &mut dyn Resolve) -> Result<Rule, CliError> {
    args.expect("id")?;
    let id = RuleId(args.parse("rule id")?);
    let mut priority = Priority::default();
    let mut matches = Match::default();
    while !args.keyword("action") {
        if args.keyword("priority") {
            priority = Priority(args.parse("priority")?);
        } else if args.keyword("family") {
            let family = args.one_of(&[("ip4", Family::Ip4), ("ip6", Family::IP6)])?;
            set_family(&mut matches, family).map_err(|error| args.reject(error))?;
        } else if args.keyword("src") {
            let net = args.parse_with("prefix", net)?;
            set_prefix(&mut matches, true, net).map_err(|error| args.reject(error))?;
        } else if args.keyword("dst") {
            let net = args.parse_with("prefix", net)?;
            set_prefix(&mut matches, false, net).map_err(|error| args.reject(error))?;
        } else if args.keyword("proto") {
            matches.protocol = args.parse_with("protocol", protocol)?;
        } else if args.keyword("sport") {
            matches.source_ports = args.parse_with("port or range of ports", ports)?;
        } else if args.keyword("dport") {
            matches.destination_ports = args.parse_with("port or range of ports", ports)?;
        } else if args.keyword("tcp-flags") {
            matches.tcp_flags = Some(args.parse_with("TCP flags", flags)?);
        } else if args.keyword("icmp") {
            matches.icmp = Some(args.parse_with("ICMP type", icmp)?);
        } else if args.keyword("dscp") {
            matches.dscp = Some(args.parse_with("DSCP", dscp)?);
        } else if args.keyword("flow-label") {
            set_family(&mut matches, Family::IP6).map_err(|error| args.reject(error))?;
            matches.flow_label = Some(args.parse_with("flow label", flow_label)?);
        } else if args.keyword("interface") {
            matches.interface = Some(resolve.interface(args)?);
        } else if args.keyword("fragment") {
            matches.fragment = Some(args.one_of(&FRAGMENTS)?);
        } else if args.keyword("not-discovery") {
            matches.not_discovery = true;
        } else {
            return Err(args.unexpected());
        }
    }
    let action = action(args, resolve)?;
    args.finish()?;
    matches.check().map_err(|error| args.reject(format!("rule {id} can never match: {error}")))?;
    Ok(Rule { id, priority, matches, action })
}

const FRAGMENTS: [(&str, Fragment); 4] =
    [("no", Fragment::Whole), ("any", Fragment::Any), ("first", Fragment::First), ("later", Fragment::Later)];

const VERDICTS: [(&str, Verdict); 4] =
    [("pass", Verdict::Pass), ("drop", Verdict::Drop), ("punt", Verdict::Punt), ("count", Verdict::Continue)];

/// Takes a rule from each line; `#` begins a comment. An error says line and column, after `place`.
pub fn read_lines(place: &str, text: &str, resolve: &mut dyn Resolve) -> Result<Vec<Rule>, CliError> {
    let mut rules = Vec::new();
    let mut ids = HashMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let read = |args: &mut Args<'_>| match args.is_empty() {
            true => Ok(None),
            false => read(args, resolve).map(Some),
        };
        let found = weft_cli::args::read_line(line, read).map_err(|error| {
            let column = line[..error.position.unwrap_or(0)].chars().count() + 1;
            CliError::new(format!("{place}:{number}:{column}: {error}"))
        })?;
        let Some(rule) = found else { continue };
        if let Some(first) = ids.insert(rule.id, number) {
            let message = format!("{place}:{number}:1: rule {} is on line {first} already", rule.id);
            return Err(CliError::new(message));
        }
        rules.push(rule);
    }
    Ok(rules)
}

fn action(args: &mut Args<'_>, resolve: &mut dyn Resolve) -> Result<Action, CliError> {
    let mut action = Action::only(Verdict::Pass);
    let mut empty = true;
    loop {
        if args.keyword("police") {
            let unit = args.one_of(&[("packets", PoliceUnit::Packets), ("bytes", PoliceUnit::Bytes)])?;
            let rate: NonZeroU64 = args.parse("rate per second")?;
            args.expect("burst")?;
            action.police = Some(Police { rate, burst: args.parse("burst")?, unit });
        } else if args.keyword("mark") {
            action.mark = Some(args.parse("mark")?);
        } else if args.keyword("set-dscp") {
            action.dscp = Some(args.parse_with("DSCP", dscp)?);
        } else if resolve.may_admit() && args.keyword("admit") {
            action.admit = true;
        } else {
            break;
        }
        empty = false;
    }
    if let Some((_, verdict)) = VERDICTS.into_iter().find(|(word, _)| args.keyword(word)) {
        action.verdict = verdict;
    } else if args.keyword("redirect") {
        action.verdict = Verdict::Redirect(match args.keyword("interface") {
            true => Redirect::Interface(resolve.interface(args)?),
            false => {
                args.expect("next-hop")?;
                Redirect::NextHop(resolve.next_hop(args)?)
            }
        });
    } else if empty {
        return Err(args.unexpected());
    }
    match action.admit && action.verdict != Verdict::Pass {
        true => Err(args.reject("only a packet that passes admits its flow")),
        false => Ok(action),
    }
}

/// `any` is of no family.
fn net(word: &str) -> Result<Option<IpNet>, String> {
    if word == "any" {
        return Ok(None);
    }
    let host = word.parse::<IpAddr>().map(IpNet::from);
    let net = host.or_else(|_| word.parse::<IpNet>()).map_err(|error| error.to_string())?;
    match net.trunc() {
        trunc if trunc == net => Ok(Some(net)),
        trunc => Err(format!("bits beyond the prefix are set; {trunc} has none")),
    }
}

const MIXED: &str = "no packet has addresses of both IPv4 and IPv6";

/// A rule says its family once, or by each of its prefixes.
fn set_family(matches: &mut Match, family: Family) -> Result<(), &'static str> {
    match (matches.family, family) {
        (Family::Any, _) => matches.family = family,
        (Family::Ip4, Family::Ip4) | (Family::Ip6 { .. }, Family::Ip6 { .. }) => {}
        _ => return Err(MIXED),
    }
    Ok(())
}

/// The source prefix, or that of the destination.
fn set_prefix(matches: &mut Match, is_source: bool, net: Option<IpNet>) -> Result<(), &'static str> {
    match net {
        None => {}
        Some(IpNet::V4(net)) => {
            set_family(matches, Family::Ip4)?;
            *(if is_source { &mut matches.source } else { &mut matches.destination }) = net;
        }
        Some(IpNet::V6(net)) => {
            set_family(matches, Family::IP6)?;
            if let Family::Ip6 { source, destination } = &mut matches.family {
                *(if is_source { source } else { destination }) = net;
            }
        }
    }
    Ok(())
}

const PROTOCOLS: [(&str, u8); 10] = [
    ("icmp", 1),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", 58),
    ("sctp", 132),
    ("udplite", 136),
];

fn protocol(word: &str) -> Result<Option<IpProtocol>, String> {
    if word == "any" {
        return Ok(None);
    }
    let named = PROTOCOLS.iter().find(|(name, _)| *name == word).map(|(_, number)| *number);
    let number = named.or_else(|| word.parse().ok());
    number.map(|number| Some(IpProtocol(number))).ok_or_else(|| {
        let names: Vec<_> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
        format!("expected any, {} or a number from 0 to 255", names.join(", "))
    })
}

fn ports(word: &str) -> Result<PortRange, String> {
    let port = |word: &str| word.parse::<u16>().map_err(|_| format!("'{word}' is no port (0 to 65535)"));
    match word.split_once('-') {
        None if word == "any" => Ok(PortRange::ANY),
        None => port(word).map(PortRange::only),
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            PortRange::new(first, last).ok_or_else(|| format!("{first} is above {last}"))
        }
    }
}

/// In either way that people write it.
fn flow_label(word: &str) -> Result<u32, &'static str> {
    let number = match word.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => word.parse(),
    };
    number
        .ok()
        .filter(|label| *label < 1 << 20)
        .ok_or("expected a number from 0 to 1048575, or 0x0 to 0xfffff")
}

const FLAGS: [(&str, u8); 8] = [
    ("fin", 0x01),
    ("syn", 0x02),
    ("rst", 0x04),
    ("psh", 0x08),
    ("ack", 0x10),
    ("urg", 0x20),
    ("ece", 0x40),
    ("cwr", 0x80),
];

/// `syn,!ack`: SYN must be set and ACK must not; the others do not matter. In numbers: `2/18`.
fn flags(word: &str) -> Result<FlagsMatch, String> {
    if let Some((value, mask)) = word.split_once('/') {
        let number = |word: &str| word.parse().map_err(|_| format!("'{word}' is no number from 0 to 255"));
        return Ok(FlagsMatch { mask: TcpFlags(number(mask)?), value: TcpFlags(number(value)?) });
    }
    let (mut mask, mut value) = (0, 0);
    for flag in word.split(',') {
        let (name, set) = flag.strip_prefix('!').map_or((flag, true), |name| (name, false));
        let Some((_, bit)) = FLAGS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<_> = FLAGS.iter().map(|(name, _)| *name).collect();
            return Err(format!("'{name}' is none of {}", names.join(", ")));
        };
        if mask & bit != 0 {
            return Err(format!("'{name}' is there twice"));
        }
        mask |= bit;
        value |= if set { *bit } else { 0 };
    }
    Ok(FlagsMatch { mask: TcpFlags(mask), value: TcpFlags(value) })
}

fn icmp(word: &str) -> Result<IcmpMatch, String> {
    let number = |word: &str| word.parse::<u8>().map_err(|_| format!("'{word}' is no number from 0 to 255"));
    let range = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Ok::<_, String>(number(first)?..=number(last)?)
    };
    let (types, codes) = match word.split_once('/') {
        Some((types, codes)) => (types, range(codes)?),
        None => (word, 0..=u8::MAX),
    };
    let types = match types {
        "echo-request" => 8..=8,
        "echo-reply" => 0..=0,
        other => range(other)?,
    };
    IcmpMatch::ranges(types, codes).ok_or_else(|| format!("'{word}' ends before it begins"))
}

/// Names of code points (RFC 4594 section 2.3).
const CODE_POINTS: [(&str, u8); 21] = [
    ("cs0", 0),
    ("cs1", 8),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("cs2", 16),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("cs3", 24),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("cs4", 32),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs5", 40),
    ("ef", 46),
    ("cs6", 48),
    ("cs7", 56),
];

fn dscp(word: &str) -> Result<Dscp, &'static str> {
    let named = CODE_POINTS.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    let value = named.or_else(|| word.parse().ok());
    value.and_then(Dscp::new).ok_or("expected a number from 0 to 63, or a name such as ef, cs1 or af21")
}

/// The rule as [`read`] takes it, without its id and priority: the match, and the action.
pub fn write(rule: &Rule, names: &dyn Names) -> (String, String) {
    (write_match(&rule.matches, names), write_action(&rule.action, names))
}

fn name(table: &[(&'static str, u8)], value: u8) -> String {
    table
        .iter()
        .find(|(_, known)| *known == value)
        .map_or_else(|| value.to_string(), |(name, _)| (*name).into())
}

fn write_match(matches: &Match, names: &dyn Names) -> String {
    let mut words: Vec<String> = Vec::new();
    let (source, destination): (IpNet, IpNet) = match matches.family {
        Family::Ip6 { source, destination } => (source.into(), destination.into()),
        Family::Any | Family::Ip4 => (matches.source.into(), matches.destination.into()),
    };
    if source.prefix_len() == 0 && destination.prefix_len() == 0 {
        words.extend(match matches.family {
            Family::Any => None,
            Family::Ip4 => Some("family ip4".to_owned()),
            Family::Ip6 { .. } => Some("family ip6".to_owned()),
        });
    }
    for (word, net) in [("src", source), ("dst", destination)] {
        match net.prefix_len() {
            0 => {}
            length if length == net.max_prefix_len() => words.push(format!("{word} {}", net.addr())),
            _ => words.push(format!("{word} {net}")),
        }
    }
    words.extend(matches.protocol.map(|protocol| format!("proto {}", name(&PROTOCOLS, protocol.0))));
    for (word, ports) in [("sport", matches.source_ports), ("dport", matches.destination_ports)] {
        if ports.is_one() {
            words.push(format!("{word} {}", ports.first()));
        } else if !ports.is_any() {
            words.push(format!("{word} {}-{}", ports.first(), ports.last()));
        }
    }
    words.extend(matches.tcp_flags.map(|FlagsMatch { mask, value }| {
        let looked_at = FLAGS.iter().filter(|(_, bit)| mask.0 & bit != 0);
        let flag =
            |(name, bit): &(&str, u8)| if value.0 & bit != 0 { (*name).into() } else { format!("!{name}") };
        format!("tcp-flags {}", looked_at.map(flag).collect::<Vec<String>>().join(","))
    }));
    words.extend(matches.icmp.map(|icmp| {
        let range = |range: RangeInclusive<u8>| match range.into_inner() {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        };
        let codes =
            if icmp.codes() == (0..=u8::MAX) { String::new() } else { format!("/{}", range(icmp.codes())) };
        format!("icmp {}{codes}", range(icmp.types()))
    }));
    words.extend(matches.dscp.map(|dscp| format!("dscp {}", name(&CODE_POINTS, dscp.get()))));
    words.extend(matches.flow_label.map(|label| format!("flow-label {label}")));
    words.extend(matches.interface.map(|index| format!("interface {}", names.interface(index))));
    words.extend(matches.fragment.map(|fragment| {
        let word = FRAGMENTS.iter().find(|(_, known)| *known == fragment).map_or("", |(word, _)| word);
        format!("fragment {word}")
    }));
    words.extend(matches.not_discovery.then(|| "not-discovery".to_owned()));
    words.join(" ")
}

fn write_action(action: &Action, names: &dyn Names) -> String {
    let mut words: Vec<String> = Vec::new();
    words.extend(action.police.map(|Police { rate, burst, unit }| {
        let unit = match unit {
            PoliceUnit::Packets => "packets",
            PoliceUnit::Bytes => "bytes",
        };
        format!("police {unit} {rate} burst {burst}")
    }));
    words.extend(action.mark.map(|mark| format!("mark {mark}")));
    words.extend(action.dscp.map(|dscp| format!("set-dscp {}", name(&CODE_POINTS, dscp.get()))));
    words.extend(action.admit.then(|| "admit".to_owned()));
    words.push(match action.verdict {
        Verdict::Redirect(Redirect::Interface(index)) => {
            format!("redirect interface {}", names.interface(index))
        }
        Verdict::Redirect(Redirect::NextHop(id)) => {
            names.next_hop(id).map_or_else(String::new, |(address, interface)| {
                format!("redirect next-hop {address} {}", names.interface(interface))
            })
        }
        verdict => VERDICTS
            .iter()
            .find(|(_, known)| *known == verdict)
            .map_or_else(String::new, |(word, _)| (*word).to_owned()),
    });
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use ipnet::{Ipv4Net, Ipv6Net};
    use proptest::prelude::*;
    use weft_cli::args::read_line;

    /// Interfaces are called by their numbers, and next hops too.
    struct Numbers;

    impl Resolve for Numbers {
        fn interface(&mut self, args: &mut Args<'_>) -> Result<InterfaceIndex, CliError> {
            Ok(InterfaceIndex(args.parse("interface")?))
        }

        fn next_hop(&mut self, args: &mut Args<'_>) -> Result<AdjacencyId, CliError> {
            let address: Ipv4Addr = args.parse("address")?;
            args.parse::<u32>("interface")?;
            Ok(AdjacencyId(address.to_bits()))
        }

        fn may_admit(&self) -> bool {
            true
        }
    }

    impl Names for Numbers {
        fn interface(&self, index: InterfaceIndex) -> String {
            index.to_string()
        }

        fn next_hop(&self, id: AdjacencyId) -> Option<(IpAddr, InterfaceIndex)> {
            Some((Ipv4Addr::from_bits(id.0).into(), InterfaceIndex(3)))
        }
    }

    fn ports() -> impl Strategy<Value = PortRange> {
        prop_oneof![
            Just(PortRange::ANY),
            (any::<u16>(), any::<u16>())
                .prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).expect("in order"))
        ]
    }

    fn matches() -> impl Strategy<Value = Match> {
        let net = || {
            (any::<u32>(), 0u8..=32).prop_map(|(bits, length)| {
                Ipv4Net::new(Ipv4Addr::from_bits(bits), length).expect("a length").trunc()
            })
        };
        let fragment =
            prop::option::of(prop::sample::select(FRAGMENTS.map(|(_, fragment)| fragment).to_vec()));
        let dscp = || prop::option::of((0u8..64).prop_map(|value| Dscp::new(value).expect("6 bits")));
        let transport = prop_oneof![
            // Addresses and protocol alone.
            any::<Option<u8>>()
                .prop_map(|protocol| Match { protocol: protocol.map(IpProtocol), ..Match::default() }),
            (ports(), ports(), 1u8.., any::<u8>()).prop_map(|(source, destination, mask, value)| Match {
                protocol: Some(IpProtocol::TCP),
                source_ports: source,
                destination_ports: destination,
                tcp_flags: Some(FlagsMatch { mask: TcpFlags(mask), value: TcpFlags(value & mask) }),
                ..Match::default()
            }),
            (any::<(u8, u8)>(), any::<(u8, u8)>()).prop_map(|(types, codes)| Match {
                icmp: IcmpMatch::ranges(
                    types.0.min(types.1)..=types.0.max(types.1),
                    codes.0.min(codes.1)..=codes.0.max(codes.1)
                ),
                ..Match::default()
            }),
        ];
        let interface = prop::option::of((0u32..1000).prop_map(InterfaceIndex));
        let net6 = || {
            (any::<u128>(), 0u8..=128).prop_map(|(bits, length)| {
                Ipv6Net::new(Ipv6Addr::from_bits(bits), length).expect("a length").trunc()
            })
        };
        let all = Ipv4Net::default();
        let family = prop_oneof![
            Just((Family::Any, all, all)),
            (net(), net()).prop_map(|(source, destination)| (Family::Ip4, source, destination)),
            (net6(), net6()).prop_map(move |(source, destination)| (
                Family::Ip6 { source, destination },
                all,
                all
            )),
        ];
        let label = prop::option::of(0u32..1 << 20);
        let rest = (dscp(), interface, fragment, any::<bool>(), label);
        (transport, family, rest)
            .prop_map(|(transport, (family, source, destination), rest)| {
                let (dscp, interface, fragment, not_discovery, label) = rest;
                let flow_label = label.filter(|_| matches!(family, Family::Ip6 { .. }));
                let fixed = Match { family, source, destination, dscp, ..transport };
                Match { interface, fragment, not_discovery, flow_label, ..fixed }
            })
            .prop_filter("some packet meets it", |matches| matches.check().is_ok())
    }

    fn action() -> impl Strategy<Value = Action> {
        let unit = prop::sample::select(vec![PoliceUnit::Packets, PoliceUnit::Bytes]);
        let number = || (1u64..).prop_map(|number| NonZeroU64::new(number).expect("not 0"));
        let police = prop::option::of((number(), number(), unit).prop_map(|(rate, burst, unit)| Police {
            rate,
            burst,
            unit,
        }));
        let verdict = prop_oneof![
            prop::sample::select(VERDICTS.map(|(_, verdict)| verdict).to_vec()),
            (0u32..1000).prop_map(|index| Verdict::Redirect(Redirect::Interface(InterfaceIndex(index)))),
            any::<u32>().prop_map(|address| Verdict::Redirect(Redirect::NextHop(AdjacencyId(address)))),
        ];
        let dscp = prop::option::of((0u8..64).prop_map(|value| Dscp::new(value).expect("6 bits")));
        (police, any::<Option<u32>>(), dscp, any::<bool>(), verdict).prop_map(
            |(police, mark, dscp, admit, verdict)| Action {
                police,
                mark,
                dscp,
                admit: admit && verdict == Verdict::Pass,
                verdict,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id: u32, priority: u32, matches in matches(), action in action()) {
            let rule = Rule { id: RuleId(id), priority: Priority(priority), matches, action };
            let (matches, action) = write(&rule, &Numbers);
            let line = format!("id {id} priority {priority} {matches} action {action}");
            let found = read_line(&line, |args| read(args, &mut Numbers));
            prop_assert_eq!(found.map_err(|error| error.to_string()), Ok(rule), "{}", line);
        }
    }

    #[test]
    fn a_rule_is_about_the_family_of_its_prefixes() {
        let family = |words: &str| {
            let line = format!("id 1 {words} action drop");
            read_line(&line, |args| read(args, &mut Numbers)).map(|rule| rule.matches.family)
        };
        for (words, expected) in [
            ("", Family::Any),
            ("src any", Family::Any),
            ("src 0.0.0.0/0", Family::Ip4),
            ("dst 10.0.0.1", Family::Ip4),
            ("dst ::/0", Family::IP6),
            ("family ip6 icmp 135", Family::IP6),
            ("flow-label 0xfffff", Family::IP6),
        ] {
            assert_eq!(family(words).ok(), Some(expected), "{words}");
        }
        for words in [
            "src 10.0.0.0/8 dst ::1",
            "family ip4 src ::1",
            "family ip6 dst 10.0.0.1",
            "flow-label 1 src 10.0.0.1",
        ] {
            let error = family(words).expect_err(words).to_string();
            assert!(error.contains("both IPv4 and IPv6"), "{error}");
        }
    }

    #[test]
    fn flags_are_read_as_numbers_too() {
        for (word, flags) in
            [("syn,!ack", Some((2, 18))), ("2/18", Some((2, 18))), ("2/256", None), ("/1", None)]
        {
            let read = self::flags(word).ok().map(|flags| (flags.value.0, flags.mask.0));
            assert_eq!(read, flags, "{word}");
        }
    }

    #[test]
    fn lines_say_where_they_are_wrong() {
        let good = "# all\nid 1 action pass\n\nid 2 dport 80 action admit pass\n";
        let rules = read_lines("edge", good, &mut Numbers).expect("good");
        assert_eq!(
            rules.iter().map(|rule| (rule.id.0, rule.action.admit)).collect::<Vec<_>>(),
            [(1, false), (2, true)]
        );
        for (text, why) in [
            ("id 1 action pass\nid 1 action drop", "edge:2:1: rule 1 is on line 1 already"),
            ("id 1 action admit drop", "edge:1:19: only a packet that passes admits"),
            ("\n id 1 dport 99999 action drop", "edge:2:13: expected port or range of ports"),
        ] {
            let error = read_lines("edge", text, &mut Numbers).expect_err(why);
            assert!(error.message.starts_with(why), "{error}");
        }
    }
}
