// SPDX-License-Identifier: Apache-2.0
//! Rules over IPv4 packets that Weft's classifier applies for a plugin, without a call into it.
//!
//! A plugin says all that it wants at once ([`Main::set_rules`]); Weft finds out what is new. Rules stay in force while a
//! plugin is replaced: the new incarnation says in `import_state` which go on, by set and id, and their counters do.

use std::ffi::CString;
use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::abi;
use crate::main_thread::{InterfaceIndex, Main};
use crate::refusal::Result;

/// A rule's name for life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleId(pub u32);

/// An IPv4 prefix: `10.0.0.0/8`. An address alone is one of 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Prefix {
    address: Ipv4Addr,
    length: u8,
}

impl Prefix {
    /// Every address.
    pub const ANY: Prefix = Prefix { address: Ipv4Addr::UNSPECIFIED, length: 0 };

    /// The first `length` bits of an address; `None` beyond 32.
    pub fn new(address: Ipv4Addr, length: u8) -> Option<Prefix> {
        let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
        (length <= 32).then(|| Prefix { address: Ipv4Addr::from(u32::from(address) & mask), length })
    }

    /// Its first address.
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Bits that are given.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether an address is in it.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        Prefix::new(address, self.length) == Some(self)
    }
}

impl FromStr for Prefix {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Prefix, &'static str> {
        const EXPECTED: &str = "not an IPv4 prefix such as 10.0.0.0/8";
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        let (address, length) = address.parse().ok().zip(length.parse().ok()).ok_or(EXPECTED)?;
        Prefix::new(address, length).ok_or(EXPECTED)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// TCP flags that are looked at, and how they must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpFlags {
    /// Those that are looked at.
    pub mask: u8,
    /// Their values.
    pub value: u8,
}

/// ICMP types and codes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IcmpMatch {
    /// From the first to the last.
    pub types: RangeInclusive<u8>,
    /// Likewise.
    pub codes: RangeInclusive<u8>,
}

/// What part of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// A part, whichever.
    Any,
    /// The first part, with the ports.
    First,
    /// A later part, without.
    Later,
}

/// Which packets: those that meet all conditions. A rule about ports, flags or ICMP never matches a later fragment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Match {
    /// Source addresses.
    pub source: Prefix,
    /// Destination addresses.
    pub destination: Prefix,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Source ports; with all of them in both ranges a packet need not have ports.
    pub source_ports: RangeInclusive<u16>,
    /// Destination ports.
    pub destination_ports: RangeInclusive<u16>,
    /// TCP flags.
    pub tcp_flags: Option<TcpFlags>,
    /// ICMP type and code.
    pub icmp: Option<IcmpMatch>,
    /// Differentiated services code point, up to 63.
    pub dscp: Option<u8>,
    /// Where it came in.
    pub interface: Option<InterfaceIndex>,
    /// What part of a datagram it is.
    pub fragment: Option<Fragment>,
}

/// Every port.
const ALL_PORTS: RangeInclusive<u16> = 0..=u16::MAX;

impl Default for Match {
    fn default() -> Match {
        Match {
            source: Prefix::ANY,
            destination: Prefix::ANY,
            protocol: None,
            source_ports: ALL_PORTS,
            destination_ports: ALL_PORTS,
            tcp_flags: None,
            icmp: None,
            dscp: None,
            interface: None,
            fragment: None,
        }
    }
}

/// What a limit counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Packets.
    Packets,
    /// Bytes of the IP packet.
    Bytes,
}

/// How much may pass; the rest is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Police {
    /// On average, per second.
    pub rate: NonZeroU64,
    /// At once.
    pub burst: NonZeroU64,
    /// Of what.
    pub unit: Unit,
}

/// What becomes of a packet in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on, as do packets that no rule matches.
    Pass,
    /// It goes on, and its flow is admitted: later packets and answers pass sets of the same interface that exempt them.
    Admit,
    /// It ends here.
    Drop,
    /// It goes to the host's own stack; not on the way out.
    Punt,
    /// The next rule that matches decides.
    Count,
    /// It leaves by this interface as it is.
    Redirect(InterfaceIndex),
}

/// What a rule does, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Action {
    /// Drops what is beyond the rate.
    pub police: Option<Police>,
    /// Writes the metadata's mark.
    pub mark: Option<u32>,
    /// Writes the code point.
    pub dscp: Option<u8>,
    /// What then.
    pub verdict: Verdict,
}

impl Action {
    /// Nothing but a verdict.
    pub const fn only(verdict: Verdict) -> Action {
        Action { police: None, mark: None, dscp: None, verdict }
    }
}

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Unique in its set.
    pub id: RuleId,
    /// Lower ones first; among equals as they stand in the set.
    pub priority: u32,
    /// Which packets.
    pub matches: Match,
    /// What becomes of them.
    pub action: Action,
}

/// Which packets of an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// Those that come in.
    Input,
    /// Those that leave.
    Output,
}

/// Packets that do not meet the rules of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exempt {
    /// Those of flows that a rule of this interface has admitted, in both directions.
    pub admitted: bool,
    /// Those that Weft makes itself.
    pub own: bool,
}

/// Rules, and where they are attached: to one interface at least.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleSet {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// The first one that matches decides; a packet that none matches passes.
    pub rules: Vec<Rule>,
    /// Who does not meet them.
    pub exempt: Exempt,
    /// Who does.
    pub attached: Vec<(InterfaceIndex, Direction)>,
}

/// What a rule has met.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Hits {
    /// Packets.
    pub packets: u64,
    /// Bytes of the IP packets.
    pub bytes: u64,
}

impl Rule {
    /// As it crosses the boundary.
    #[doc(hidden)]
    pub fn raw(&self) -> abi::Rule {
        let Match { source, destination, source_ports, destination_ports, .. } = &self.matches;
        let (matches, action) = (&self.matches, &self.action);
        let ports = *source_ports != ALL_PORTS || *destination_ports != ALL_PORTS;
        let on = |bit: u32, on: bool| if on { bit } else { 0 };
        let icmp = matches.icmp.clone().unwrap_or(IcmpMatch { types: 0..=0, codes: 0..=0 });
        let flags = matches.tcp_flags.unwrap_or(TcpFlags { mask: 0, value: 0 });
        let unit = action.police.map(|police| police.unit);
        let ports_of =
            |range: &RangeInclusive<u16>| if ports { (*range.start(), *range.end()) } else { (0, 0) };
        let (source_ports, destination_ports) = (ports_of(source_ports), ports_of(destination_ports));
        abi::Rule {
            id: self.id.0,
            priority: self.priority,
            conditions: on(abi::MATCH_PROTOCOL, matches.protocol.is_some())
                | on(abi::MATCH_PORTS, ports)
                | on(abi::MATCH_ICMP, matches.icmp.is_some())
                | on(abi::MATCH_TCP_FLAGS, matches.tcp_flags.is_some())
                | on(abi::MATCH_DSCP, matches.dscp.is_some())
                | on(abi::MATCH_INTERFACE, matches.interface.is_some())
                | on(abi::MATCH_FRAGMENT, matches.fragment.is_some()),
            actions: on(abi::ACTION_ADMIT, action.verdict == Verdict::Admit)
                | on(abi::ACTION_MARK, action.mark.is_some())
                | on(abi::ACTION_SET_DSCP, action.dscp.is_some())
                | on(abi::ACTION_POLICE_PACKETS, unit == Some(Unit::Packets))
                | on(abi::ACTION_POLICE_BYTES, unit == Some(Unit::Bytes)),
            source: source.address.into(),
            destination: destination.address.into(),
            source_length: source.length,
            destination_length: destination.length,
            protocol: matches.protocol.unwrap_or(0),
            dscp: matches.dscp.unwrap_or(0),
            source_ports_first: source_ports.0,
            source_ports_last: source_ports.1,
            destination_ports_first: destination_ports.0,
            destination_ports_last: destination_ports.1,
            icmp_types_first: *icmp.types.start(),
            icmp_types_last: *icmp.types.end(),
            icmp_codes_first: *icmp.codes.start(),
            icmp_codes_last: *icmp.codes.end(),
            tcp_mask: flags.mask,
            tcp_value: flags.value,
            fragment: match matches.fragment {
                None | Some(Fragment::Whole) => abi::FRAGMENT_WHOLE,
                Some(Fragment::Any) => abi::FRAGMENT_ANY,
                Some(Fragment::First) => abi::FRAGMENT_FIRST,
                Some(Fragment::Later) => abi::FRAGMENT_LATER,
            },
            verdict: match action.verdict {
                Verdict::Pass | Verdict::Admit => abi::RULE_PASS,
                Verdict::Drop => abi::RULE_DROP,
                Verdict::Punt => abi::RULE_PUNT,
                Verdict::Count => abi::RULE_COUNT,
                Verdict::Redirect(_) => abi::RULE_REDIRECT,
            },
            interface: matches.interface.map_or(0, |interface| interface.0),
            target: match action.verdict {
                Verdict::Redirect(to) => to.0,
                _ => 0,
            },
            mark: action.mark.unwrap_or(0),
            set_dscp: action.dscp.unwrap_or(0).into(),
            rate: action.police.map_or(0, |police| police.rate.get()),
            burst: action.police.map_or(0, |police| police.burst.get()),
        }
    }
}

impl Main<'_> {
    /// The plugin's rule sets are these from now on, and no others: workers see all of the change, or nothing of it. What is
    /// refused changes nothing. While the plugin starts or takes over, it takes effect when the plugin does.
    ///
    /// An empty list takes all rules away, as unloading the plugin does.
    pub fn set_rules(&mut self, sets: &[RuleSet]) -> Result<()> {
        let parts: Vec<(CString, Vec<abi::Rule>, Vec<abi::Attachment>)> = sets
            .iter()
            .map(|set| {
                let attached = set.attached.iter().map(|(interface, direction)| abi::Attachment {
                    interface: interface.0,
                    direction: match direction {
                        Direction::Input => abi::DIRECTION_INPUT,
                        Direction::Output => abi::DIRECTION_OUTPUT,
                    },
                });
                let rules = set.rules.iter().map(Rule::raw).collect();
                Ok((CString::new(set.name.as_str())?, rules, attached.collect()))
            })
            .collect::<Result<_>>()?;
        let raw: Vec<abi::RuleSet> = sets
            .iter()
            .zip(&parts)
            .map(|(set, (name, rules, attachments))| abi::RuleSet {
                size: size_of::<abi::RuleSet>() as u32,
                exempt: if set.exempt.admitted { abi::EXEMPT_ADMITTED } else { 0 }
                    | if set.exempt.own { abi::EXEMPT_OWN } else { 0 },
                name: name.as_ptr(),
                rules: rules.as_ptr(),
                attachments: attachments.as_ptr(),
                rules_length: rules.len() as u32,
                attachments_length: attachments.len() as u32,
            })
            .collect();
        let (host, main) = self.raw();
        // SAFETY: `main` is that of the running call; the host copies what the pointers lead to.
        let code = unsafe { (host.set_rules)(main, raw.as_ptr(), raw.len() as u32) };
        self.done(code)
    }

    /// What a rule has met on all workers. `None` if the set is not there: it also goes with the last interface that it was
    /// attached to.
    pub fn hits(&mut self, set: &str, rule: RuleId) -> Option<Hits> {
        let name = CString::new(set).ok()?;
        let mut hits = Hits::default();
        let (host, main) = self.raw();
        // SAFETY: as in `set_rules`; both numbers can be written.
        let code = unsafe {
            (host.rule_hits)(main, name.as_ptr(), rule.0, &raw mut hits.packets, &raw mut hits.bytes)
        };
        (code == abi::OK).then_some(hits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_read_and_shown() {
        for (text, shown) in
            [("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("1.2.3.4/0", "0.0.0.0/0")]
        {
            assert_eq!(text.parse::<Prefix>().expect("good").to_string(), shown);
        }
        for text in ["", "10.0.0.0/33", "10.0.0/8", "2001:db8::/32", "10.0.0.0/8/8"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }
}
