// SPDX-License-Identifier: Apache-2.0
//! One rule of a list, in VPP's words: `permit+reflect src 10.0.0.0/8 dst 0.0.0.0/0 proto tcp dport 80-443`.
//!
//! What [`read`] understands, `Display` writes. A rule is about the family of its prefixes; without one, about IPv4, as in VPP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use weft_plugin_sdk::{Result, Words};

/// What becomes of packets that match.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    Deny,
    Permit,
    /// The later packets of the flow pass too, and its answers.
    Reflect,
}

const PERMISSIONS: [(&str, Permission); 3] =
    [("deny", Permission::Deny), ("permit", Permission::Permit), ("permit+reflect", Permission::Reflect)];

pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const ICMP6: u8 = 58;

const PROTOCOLS: [(&str, u8); 10] = [
    ("icmp", ICMP),
    ("tcp", TCP),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmp6", ICMP6),
    ("sctp", 132),
    ("udplite", 136),
];

/// Every port, and every ICMP type and code.
pub const ANY: RangeInclusive<u16> = 0..=u16::MAX;

/// All addresses of IPv4.
pub const ALL4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0));
/// All addresses of IPv6.
pub const ALL6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0));

/// TCP flags that are looked at, and how they must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpFlags {
    pub mask: u8,
    pub value: u8,
}

/// A rule. Of ICMP, `source` are types and `destination` codes, as VPP has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ace {
    pub permission: Permission,
    /// Of the family of `to`.
    pub from: IpNet,
    pub to: IpNet,
    /// `None`: any.
    pub protocol: Option<u8>,
    pub source: RangeInclusive<u16>,
    pub destination: RangeInclusive<u16>,
    /// Only of TCP.
    pub flags: Option<TcpFlags>,
}

/// Takes a rule, up to the end or the word that begins none of its parts.
pub fn read(words: &mut Words<'_>) -> Result<Ace> {
    let Some((_, permission)) = PERMISSIONS.into_iter().find(|(word, _)| words.keyword(word)) else {
        let word = words.word("permit, permit+reflect or deny")?;
        return Err(format!("expected permit, permit+reflect or deny, found {word:?}").into());
    };
    let mut rule =
        Ace { permission, from: ALL4, to: ALL4, protocol: None, source: ANY, destination: ANY, flags: None };
    let (mut from, mut to) = (None, None);
    loop {
        if words.keyword("src") {
            from = Some(prefix(words.word("source prefix")?)?);
        } else if words.keyword("dst") {
            to = Some(prefix(words.word("destination prefix")?)?);
        } else if words.keyword("proto") {
            rule.protocol = protocol(words.word("protocol")?)?;
        } else if words.keyword("sport") {
            rule.source = range(words.word("source ports")?)?;
        } else if words.keyword("dport") {
            rule.destination = range(words.word("destination ports")?)?;
        } else if words.keyword("tcpflags") {
            let value = words.parse("TCP flags, a number")?;
            words.expect("mask")?;
            rule.flags = Some(TcpFlags { value, mask: words.parse("mask, a number")? });
        } else {
            let all = match from.or(to) {
                Some(IpNet::V6(_)) => ALL6,
                Some(IpNet::V4(_)) | None => ALL4,
            };
            (rule.from, rule.to) = (from.unwrap_or(all), to.unwrap_or(all));
            check(&rule)?;
            return Ok(rule);
        }
    }
}

/// An address alone is a prefix of all its bits; bits beyond the length do not matter.
fn prefix(word: &str) -> Result<IpNet> {
    let host = word.parse::<IpAddr>().map(IpNet::from);
    match host.ok().or_else(|| word.parse::<IpNet>().ok()) {
        Some(net) => Ok(net.trunc()),
        None => Err(format!("expected a prefix such as 10.0.0.0/8 or 2001:db8::/32, found {word:?}").into()),
    }
}

/// VPP's 0 is any protocol; 0 in a packet is an option of IPv6.
fn protocol(word: &str) -> Result<Option<u8>> {
    if let Some((_, number)) = PROTOCOLS.iter().find(|(name, _)| *name == word) {
        return Ok(Some(*number));
    }
    match word.parse::<u8>() {
        Ok(0) => Ok(None),
        Ok(number) => Ok(Some(number)),
        Err(_) => {
            let names: Vec<&str> = PROTOCOLS.iter().map(|(name, _)| *name).collect();
            Err(format!("expected {} or a number, found {word:?}", names.join(", ")).into())
        }
    }
}

fn range(word: &str) -> Result<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    match first.parse().ok().zip(last.parse().ok()) {
        Some((first, last)) if first <= last => Ok(first..=last),
        _ => Err(format!("expected a number up to 65535 or <first>-<last>, found {word:?}").into()),
    }
}

/// A rule that no packet can meet is a mistake.
pub fn check(rule: &Ace) -> Result<()> {
    let ranges = rule.source != ANY || rule.destination != ANY;
    let icmp = match (rule.from, rule.to) {
        (IpNet::V4(_), IpNet::V4(_)) => ICMP,
        (IpNet::V6(_), IpNet::V6(_)) => ICMP6,
        _ => return Err("no packet has addresses of both IPv4 and IPv6".into()),
    };
    match rule.protocol {
        // TCP, UDP, DCCP, SCTP, UDP-Lite.
        Some(6 | 17 | 33 | 132 | 136) => {}
        Some(protocol) if ranges && protocol == icmp => {
            for (what, range) in [("sport", &rule.source), ("dport", &rule.destination)] {
                if *range != ANY && *range.end() > 255 {
                    return Err(format!("{what} of ICMP: expected ICMP types or codes up to 255").into());
                }
            }
        }
        Some(other) if ranges => return Err(format!("protocol {other} has no ports").into()),
        None if ranges => return Err("ports of which protocol? expected proto".into()),
        _ => {}
    }
    match rule.flags {
        Some(_) if rule.protocol != Some(TCP) => Err("tcpflags: expected proto tcp".into()),
        Some(TcpFlags { value, mask }) if value & !mask != 0 => {
            Err(format!("tcpflags {value} are outside mask {mask}: no packet has them").into())
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PERMISSIONS.iter().find(|(_, known)| known == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// As VPP shows it, with only what matters.
impl fmt::Display for Ace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} src {} dst {}", self.permission, self.from, self.to)?;
        if let Some(protocol) = self.protocol {
            write!(f, " proto {protocol}")?;
        }
        for (word, range) in [("sport", &self.source), ("dport", &self.destination)] {
            match (range.start(), range.end()) {
                _ if *range == ANY => {}
                (first, last) if first == last => write!(f, " {word} {first}")?,
                (first, last) => write!(f, " {word} {first}-{last}")?,
            }
        }
        match self.flags {
            Some(TcpFlags { value, mask }) => write!(f, " tcpflags {value} mask {mask}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written() {
        for text in [
            "deny src 0.0.0.0/0 dst 0.0.0.0/0",
            "permit src 10.0.0.0/8 dst 192.0.2.1/32 proto 6 sport 1024-65535 dport 80",
            "permit+reflect src 10.0.0.0/8 dst 0.0.0.0/0 proto 6 tcpflags 2 mask 18",
            "permit src 0.0.0.0/0 dst 0.0.0.0/0 proto 1 sport 3-4 dport 0-1",
            "permit src 2001:db8::/32 dst ::/0 proto 6 dport 80",
            "permit src ::/0 dst 2001:db8::1/128 proto 58 sport 128",
        ] {
            assert_eq!(read(&mut Words::new(text)).expect("good").to_string(), text);
        }
        let inside = read(&mut Words::new("permit src 10.1.2.3/8 dst 10.1.2.3")).expect("good");
        assert_eq!(inside.to_string(), "permit src 10.0.0.0/8 dst 10.1.2.3/32");
        let to6 = read(&mut Words::new("deny dst 2001:db8::1")).expect("good");
        assert_eq!(to6.to_string(), "deny src ::/0 dst 2001:db8::1/128");
        let short = read(&mut Words::new("permit proto udp dport 53")).expect("good");
        assert_eq!(short.to_string(), "permit src 0.0.0.0/0 dst 0.0.0.0/0 proto 17 dport 53");
    }

    #[test]
    fn what_no_packet_meets_is_refused() {
        for text in [
            "",
            "allow",
            "permit proto gre dport 80",
            "permit dport 80",
            "permit proto icmp sport 256",
            "permit proto udp tcpflags 2 mask 2",
            "permit proto tcp tcpflags 3 mask 2",
            "permit proto tcp dport 90-80",
            "permit src 2001:db8::/32 dst 10.0.0.0/8",
            "permit src ::/0 proto icmp sport 8",
            "permit src 10.0.0.0/33",
            "permit dst 10.0.0/8",
            "permit proto nosuch",
        ] {
            assert!(read(&mut Words::new(text)).is_err(), "{text}");
        }
    }
}
