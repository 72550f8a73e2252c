// SPDX-License-Identifier: Apache-2.0
//! A rule in words: `id 10 priority 100 src 10.0.0.0/8 dst any proto tcp dport 80-443 action drop`.
//!
//! What [`read`] understands, [`write`] says; the words of a match come in any order, those of an action last.

use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use ipnet::Ipv4Net;
use weft_classify::{
    Action, Dscp, FlagsMatch, Fragment, IcmpMatch, Match, Police, PoliceUnit, PortRange, Priority, Redirect,
    Rule, RuleId, Verdict,
};
use weft_cli::{Args, CliError};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{IpProtocol, TcpFlags};
use weft_nodes::ip4::NextHopId;

use super::super::refused;
use crate::state::Dataplane;

/// For `help`.
pub const SYNOPSIS: &str = "id <n> [priority <n>] [src <prefix>] [dst <prefix>] [proto <protocol>] \
    [sport <port>[-<port>]] [dport <port>[-<port>]] [tcp-flags [!]<flag>,...] [icmp <types>[/<codes>]] [dscp <dscp>] \
    [interface <interface>] [fragment no|any|first|later] action [police packets|bytes <n> burst <n>] [mark <n>] \
    [set-dscp <dscp>] [pass|drop|punt|count|redirect interface <interface>|redirect next-hop <address> [<interface>]]";

/// Takes a rule. Next hops that it redirects to are acquired and appended to `acquired`, whatever comes of it.
pub fn read(
    args: &mut Args<'_>,
    dataplane: &mut Dataplane,
    acquired: &mut Vec<NextHopId>,
) -> Result<Rule, CliError> {
    args.expect("id")?;
    let id = RuleId(args.parse("rule id")?);
    let mut priority = Priority::default();
    let mut matches = Match::default();
    while !args.keyword("action") {
        if args.keyword("priority") {
            priority = Priority(args.parse("priority")?);
        } else if args.keyword("src") {
            matches.source = net(args)?;
        } else if args.keyword("dst") {
            matches.destination = net(args)?;
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
        } else if args.keyword("interface") {
            matches.interface = Some(super::super::interface(args, dataplane)?);
        } else if args.keyword("fragment") {
            matches.fragment = Some(args.one_of(&FRAGMENTS)?);
        } else {
            return Err(args.unexpected());
        }
    }
    let action = action(args, dataplane, acquired)?;
    args.finish()?;
    matches.check().map_err(|error| args.reject(format!("rule {id} can never match: {error}")))?;
    Ok(Rule { id, priority, matches, action })
}

const FRAGMENTS: [(&str, Fragment); 4] =
    [("no", Fragment::Whole), ("any", Fragment::Any), ("first", Fragment::First), ("later", Fragment::Later)];

const VERDICTS: [(&str, Verdict); 4] =
    [("pass", Verdict::Pass), ("drop", Verdict::Drop), ("punt", Verdict::Punt), ("count", Verdict::Continue)];

fn action(
    args: &mut Args<'_>,
    dataplane: &mut Dataplane,
    acquired: &mut Vec<NextHopId>,
) -> Result<Action, CliError> {
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
        } else {
            break;
        }
        empty = false;
    }
    for (word, verdict) in VERDICTS {
        if args.keyword(word) {
            return Ok(Action { verdict, ..action });
        }
    }
    if args.keyword("redirect") {
        action.verdict = Verdict::Redirect(redirect(args, dataplane, acquired)?);
    } else if empty {
        return Err(args.unexpected());
    }
    Ok(action)
}

fn redirect(
    args: &mut Args<'_>,
    dataplane: &mut Dataplane,
    acquired: &mut Vec<NextHopId>,
) -> Result<Redirect, CliError> {
    if args.keyword("interface") {
        return Ok(Redirect::Interface(super::super::interface(args, dataplane)?));
    }
    args.expect("next-hop")?;
    let address: Ipv4Addr = args.parse("address of a neighbour")?;
    let named = args.take_if("interface", |name| dataplane.interfaces.find(name));
    let interface = named.or_else(|| on_link(dataplane, address)).ok_or_else(|| {
        args.reject(format!("{address} is on the link of no interface; name the interface behind it"))
    })?;
    let Dataplane { router, engine, interfaces, .. } = dataplane;
    let id = router.hold_next_hop(engine, interfaces, interface, address).map_err(refused)?;
    acquired.push(id);
    Ok(Redirect::NextHop(id))
}

/// The interface that has an address in the same subnet.
fn on_link(dataplane: &Dataplane, address: Ipv4Addr) -> Option<InterfaceIndex> {
    let mut interfaces = dataplane.interfaces.iter();
    interfaces.find(|(_, it)| it.addresses4.iter().any(|own| own.contains(&address))).map(|(index, _)| index)
}

fn net(args: &mut Args<'_>) -> Result<Ipv4Net, CliError> {
    args.parse_with("IPv4 prefix", |word| match word {
        "any" => Ok(Ipv4Net::default()),
        _ => {
            let host = word.parse::<Ipv4Addr>().map(Ipv4Net::from);
            let net = host.or_else(|_| word.parse::<Ipv4Net>()).map_err(|error| error.to_string())?;
            match net.trunc() {
                trunc if trunc == net => Ok(net),
                trunc => Err(format!("bits beyond the prefix are set; {trunc} has none")),
            }
        }
    })
}

const PROTOCOLS: [(&str, u8); 9] = [
    ("icmp", 1),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
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

/// `syn,!ack`: SYN must be set and ACK must not; the others do not matter.
fn flags(word: &str) -> Result<FlagsMatch, String> {
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
pub fn write(rule: &Rule, dataplane: &Dataplane) -> (String, String) {
    (write_match(&rule.matches, dataplane), write_action(&rule.action, dataplane))
}

fn name(table: &[(&'static str, u8)], value: u8) -> String {
    table
        .iter()
        .find(|(_, known)| *known == value)
        .map_or_else(|| value.to_string(), |(name, _)| (*name).into())
}

fn write_match(matches: &Match, dataplane: &Dataplane) -> String {
    let mut words: Vec<String> = Vec::new();
    for (word, net) in [("src", matches.source), ("dst", matches.destination)] {
        match net.prefix_len() {
            0 => {}
            32 => words.push(format!("{word} {}", net.addr())),
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
    words.extend(matches.interface.map(|index| format!("interface {}", dataplane.interface_name(index))));
    words.extend(matches.fragment.map(|fragment| {
        let word = FRAGMENTS.iter().find(|(_, known)| *known == fragment).map_or("", |(word, _)| word);
        format!("fragment {word}")
    }));
    words.join(" ")
}

fn write_action(action: &Action, dataplane: &Dataplane) -> String {
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
    // Of rules of vplaned; the command line has none.
    words.extend(action.admit.then(|| "admit".to_owned()));
    words.push(match action.verdict {
        Verdict::Redirect(Redirect::Interface(index)) => {
            format!("redirect interface {}", dataplane.interface_name(index))
        }
        Verdict::Redirect(Redirect::NextHop(id)) => {
            let hop = dataplane.router.objects().next_hops.get(id);
            hop.map_or_else(String::new, |hop| {
                format!("redirect next-hop {} {}", hop.address, dataplane.interface_name(hop.interface))
            })
        }
        verdict => VERDICTS
            .iter()
            .find(|(_, known)| *known == verdict)
            .map_or_else(String::new, |(word, _)| (*word).to_owned()),
    });
    words.join(" ")
}
