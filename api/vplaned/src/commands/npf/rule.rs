// SPDX-License-Identifier: Apache-2.0
//! One rule of a group.
//!
//! Rules of firewall and ACL groups are read down to each match, so that a slip is told when it is made. A match that is
//! not understood makes the whole rule an error, and one that is not to be had is kept, so that the group is not put into effect: a filter with a condition left out would let through, or drop, more
//! than was meant. Rules of other classes are kept as text.

use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::GroupClass;
use crate::commands::{CommandError, Words};

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpfRule {
    /// As it was given, for `npf-op show`.
    pub text: String,
    /// What it says, if it is of a class that filters.
    pub filter: Option<FilterRule>,
    /// A word of it that is understood and not to be had: the group cannot be put into effect with it, nor without it.
    pub unsupported: Option<String>,
}

/// A rule that filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterRule {
    /// `None`: the rule only carries attributes of its group (number 0 of an ACL).
    pub decision: Option<Decision>,
    /// Accepting makes a session.
    pub stateful: bool,
    /// All have to hold.
    pub matches: Vec<Match>,
    /// Matched packets are logged.
    pub log: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Accept,
    Drop,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    Ip6(bool),
    Source(AddressMatch),
    Destination(AddressMatch),
    Protocol(ProtocolMatch),
    SourcePort(PortMatch),
    DestinationPort(PortMatch),
    Fragment,
    Dscp(Vec<u8>),
    DscpGroup(String),
    Ttl(u8),
    /// Each flag with whether it has to be set.
    TcpFlags(Vec<(TcpFlag, bool)>),
    Icmp4(IcmpMatch),
    Icmp6(IcmpMatch),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressMatch {
    Prefix { negated: bool, prefix: IpNet },
    Group(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolMatch {
    /// `proto-final`: the transport, after all extension headers.
    Final(u8),
    /// `proto-base`: the number in the IP header.
    Base(u8),
    Group(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMatch {
    Ranges(Vec<RangeInclusive<u16>>),
    Group(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IcmpMatch {
    Type { kind: u8, code: Option<u8> },
    Name(String),
    Group(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpFlag {
    Fin,
    Syn,
    Rst,
    Psh,
    Ack,
    Urg,
}

const TCP_FLAGS: [(&str, TcpFlag); 6] = [
    ("FIN", TcpFlag::Fin),
    ("SYN", TcpFlag::Syn),
    ("RST", TcpFlag::Rst),
    ("PSH", TcpFlag::Psh),
    ("ACK", TcpFlag::Ack),
    ("URG", TcpFlag::Urg),
];

impl NpfRule {
    /// Reads what follows the number.
    pub fn parse(class: GroupClass, index: u32, words: &mut Words<'_>) -> Result<NpfRule, CommandError> {
        let text = words.rest().join(" ");
        if !class.filters() {
            while !words.is_empty() {
                words.word("a value")?;
            }
            return Ok(NpfRule { text, filter: None, unsupported: None });
        }
        let (mut filter, mut unsupported) = (FilterRule::default(), None);
        let expected = "KEY=VALUE";
        while !words.is_empty() {
            let word = words.word(expected)?;
            let (key, value) = word.split_once('=').ok_or_else(|| words.wrong_last(expected))?;
            match filter.take(key, value, words) {
                Err(CommandError::Unsupported(what)) => unsupported = unsupported.or(Some(what)),
                other => other?,
            }
        }
        if filter.decision.is_none() && index != 0 {
            // Taken as an error here, as a rule that decides nothing decides in its own way in every implementation.
            words.word("action=accept or action=drop")?;
        }
        Ok(NpfRule { text, filter: Some(filter), unsupported })
    }
}

impl FilterRule {
    fn take(&mut self, key: &str, value: &str, words: &Words<'_>) -> Result<(), CommandError> {
        let condition = match key {
            "action" => {
                self.decision = Some(match value {
                    "accept" => Decision::Accept,
                    "drop" => Decision::Drop,
                    _ => return Err(words.wrong_last("action=accept or action=drop")),
                });
                return Ok(());
            }
            "stateful" => {
                self.stateful = yes(value).ok_or_else(|| words.wrong_last("stateful=y"))?;
                return Ok(());
            }
            "rproc" => {
                // Extensions are joined by semicolons.
                for extension in value.split(';') {
                    match extension.split('(').next() {
                        Some("log") => self.log = true,
                        Some(name) => return Err(CommandError::Unsupported(format!("rproc={name}"))),
                        None => {}
                    }
                }
                return Ok(());
            }
            "family" => match value {
                "inet" => Some(Match::Ip6(false)),
                "inet6" => Some(Match::Ip6(true)),
                _ => None,
            },
            "src-addr" => address(value).map(Match::Source),
            "dst-addr" => address(value).map(Match::Destination),
            "src-addr-group" => Some(Match::Source(AddressMatch::Group(value.to_owned()))),
            "dst-addr-group" => Some(Match::Destination(AddressMatch::Group(value.to_owned()))),
            "proto-final" | "proto" => value.parse().ok().map(ProtocolMatch::Final).map(Match::Protocol),
            "proto-base" => value.parse().ok().map(ProtocolMatch::Base).map(Match::Protocol),
            "protocol-group" => Some(Match::Protocol(ProtocolMatch::Group(value.to_owned()))),
            "src-port" => ports(value).map(Match::SourcePort),
            "dst-port" => ports(value).map(Match::DestinationPort),
            "src-port-group" => Some(Match::SourcePort(PortMatch::Group(value.to_owned()))),
            "dst-port-group" => Some(Match::DestinationPort(PortMatch::Group(value.to_owned()))),
            "fragment" => yes(value).filter(|fragment| *fragment).map(|_| Match::Fragment),
            "dscp" => list(value, |dscp| dscp.parse().ok().filter(|dscp| *dscp < 64)).map(Match::Dscp),
            "dscp-group" => Some(Match::DscpGroup(value.to_owned())),
            "ttl" => value.parse().ok().map(Match::Ttl),
            "tcp-flags" => flags(value).map(Match::TcpFlags),
            "icmpv4" => Some(Match::Icmp4(icmp(value))),
            "icmpv6" => Some(Match::Icmp6(icmp(value))),
            "icmpv4-group" => Some(Match::Icmp4(IcmpMatch::Group(value.to_owned()))),
            "icmpv6-group" => Some(Match::Icmp6(IcmpMatch::Group(value.to_owned()))),
            _ => return Err(CommandError::Unsupported(format!("{key}= in a filter"))),
        };
        match condition {
            Some(condition) if !value.is_empty() => {
                self.matches.push(condition);
                Ok(())
            }
            _ => Err(words.wrong_last(&format!("a value of {key}"))),
        }
    }
}

fn yes(value: &str) -> Option<bool> {
    match value {
        "y" => Some(true),
        "n" => Some(false),
        _ => None,
    }
}

fn address(value: &str) -> Option<AddressMatch> {
    let (negated, prefix) = match value.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let prefix = match prefix.parse::<IpNet>() {
        Ok(prefix) => prefix,
        Err(_) => IpNet::from(prefix.parse::<std::net::IpAddr>().ok()?),
    };
    Some(AddressMatch::Prefix { negated, prefix: prefix.trunc() })
}

/// `80;443;1024-2047`
fn ports(value: &str) -> Option<PortMatch> {
    let range = |text: &str| match text.split_once('-') {
        Some((first, last)) => {
            let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(first..=last)
        }
        None => text.parse().ok().map(|port| port..=port),
    };
    list(value, range).map(PortMatch::Ranges)
}

fn list<T>(value: &str, one: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    value.split(';').map(one).collect()
}

/// `SYN,!ACK`
fn flags(value: &str) -> Option<Vec<(TcpFlag, bool)>> {
    let flag = |text: &str| {
        let (name, set) = text.strip_prefix('!').map_or((text, true), |name| (name, false));
        TCP_FLAGS.iter().find(|(known, _)| *known == name).map(|(_, flag)| (*flag, set))
    };
    value.split(',').map(flag).collect()
}

/// `TYPE`, `TYPE:CODE` or a name.
fn icmp(value: &str) -> IcmpMatch {
    let (kind, code) = value.split_once(':').map_or((value, None), |(kind, code)| (kind, Some(code)));
    match (kind.parse(), code.map(str::parse).transpose()) {
        (Ok(kind), Ok(code)) => IcmpMatch::Type { kind, code },
        _ => IcmpMatch::Name(value.to_owned()),
    }
}
