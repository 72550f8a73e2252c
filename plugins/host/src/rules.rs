// SPDX-License-Identifier: Apache-2.0
//! Rule sets as a plugin writes them, and as the classifier has them. What a plugin asks for and this Weft does not know, is
//! refused: a rule that says less than it should would let the wrong packets pass.

use std::net::Ipv4Addr;
use std::num::NonZeroU64;

use ipnet::Ipv4Net;
use weft_classify::{
    Action, Direction, Dscp, Exempt, FlagsMatch, Fragment, IcmpMatch, Match, OwnedSet, Police, PoliceUnit,
    PortRange, Priority, Redirect, Rule, RuleId, RuleSet, Verdict,
};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{IpProtocol, TcpFlags};
use weft_plugin_sdk::abi;

use crate::foreign::{self, Described};

// SAFETY: integers and raw pointers only.
unsafe impl Described for abi::RuleSet {
    const WHAT: &'static str = "a rule set";
}

/// Most sets of a plugin: two for each of many interfaces.
const MOST_SETS: u32 = 16_384;

/// Who has a plugin's rule sets.
pub fn owner(plugin: &str) -> String {
    format!("plugin.{plugin}")
}

/// A rule set's name among all.
pub(crate) fn name(plugin: &str, set: &str) -> String {
    format!("{}.{set}", owner(plugin))
}

/// # Safety
/// `sets` are `length` of them, as the ABI describes them.
pub(crate) unsafe fn read(
    plugin: &str,
    sets: *const abi::RuleSet,
    length: u32,
) -> Result<Vec<OwnedSet>, String> {
    if length > MOST_SETS {
        return Err(format!("{length} rule sets: expected at most {MOST_SETS}"));
    }
    if length == 0 {
        return Ok(Vec::new());
    }
    if sets.is_null() {
        return Err("rule sets are null".to_owned());
    }
    // SAFETY: by the caller.
    (0..length as usize).map(|i| unsafe { set(plugin, sets.add(i)) }).collect()
}

unsafe fn set(plugin: &str, from: *const abi::RuleSet) -> Result<OwnedSet, String> {
    // SAFETY: by the caller; so in all blocks below.
    let set = unsafe { foreign::read(from) }?;
    // SAFETY: see above.
    let own = unsafe { foreign::text(set.name) }.ok_or("a rule set without a name")?;
    let raw = match set.rules_length {
        0 => &[],
        // SAFETY: see above.
        length if !set.rules.is_null() => unsafe { std::slice::from_raw_parts(set.rules, length as usize) },
        _ => return Err(format!("rule set '{own}' has rules that are null")),
    };
    let rules =
        raw.iter().map(|raw| rule(raw).map_err(|why| format!("rule {} of set '{own}': {why}", raw.id)));
    let rules: Vec<Rule> = rules.collect::<Result<_, String>>()?;
    let mut rules = RuleSet::of(rules).map_err(|error| format!("rule set '{own}': {error}"))?;
    known(set.exempt, abi::EXEMPT_ADMITTED | abi::EXEMPT_OWN, "exemption")?;
    rules.exempt =
        Exempt { admitted: set.exempt & abi::EXEMPT_ADMITTED != 0, own: set.exempt & abi::EXEMPT_OWN != 0 };
    let attached = match set.attachments_length {
        0 => &[],
        // SAFETY: see above.
        length if !set.attachments.is_null() => unsafe {
            std::slice::from_raw_parts(set.attachments, length as usize)
        },
        _ => return Err(format!("rule set '{own}' has attachments that are null")),
    };
    let attached = attached.iter().map(|at| match at.direction {
        abi::DIRECTION_INPUT => Ok((InterfaceIndex(at.interface), Direction::Input)),
        abi::DIRECTION_OUTPUT => Ok((InterfaceIndex(at.interface), Direction::Output)),
        other => Err(format!("rule set '{own}': direction {other} is not known")),
    });
    Ok(OwnedSet { name: name(plugin, &own), rules, attached: attached.collect::<Result<_, _>>()? })
}

fn known(bits: u32, known: u32, what: &str) -> Result<(), String> {
    match bits & !known {
        0 => Ok(()),
        other => Err(format!("{what} 0x{other:x} is not known to this Weft")),
    }
}

/// A rule, or why there is no such rule.
pub fn rule(rule: &abi::Rule) -> Result<Rule, String> {
    Ok(Rule {
        id: RuleId(rule.id),
        priority: Priority(rule.priority),
        matches: matches(rule)?,
        action: action(rule)?,
    })
}

fn matches(rule: &abi::Rule) -> Result<Match, String> {
    const ALL: u32 = (abi::MATCH_FRAGMENT << 1) - 1;
    known(rule.conditions, ALL, "condition")?;
    let asks = |condition: u32| rule.conditions & condition != 0;
    let prefix = |address: u32, length: u8| {
        Ipv4Net::new(Ipv4Addr::from(address), length).map_err(|_| format!("prefix length {length}"))
    };
    let ports = |first: u16, last: u16| match asks(abi::MATCH_PORTS) {
        true => PortRange::new(first, last).ok_or_else(|| format!("ports {first}-{last}")),
        false => Ok(PortRange::ANY),
    };
    let icmp = || {
        let types = rule.icmp_types_first..=rule.icmp_types_last;
        let codes = rule.icmp_codes_first..=rule.icmp_codes_last;
        IcmpMatch::ranges(types, codes).ok_or("ICMP types or codes that end before they begin")
    };
    let fragment = || match rule.fragment {
        abi::FRAGMENT_WHOLE => Ok(Fragment::Whole),
        abi::FRAGMENT_ANY => Ok(Fragment::Any),
        abi::FRAGMENT_FIRST => Ok(Fragment::First),
        abi::FRAGMENT_LATER => Ok(Fragment::Later),
        other => Err(format!("fragment {other} is not known")),
    };
    Ok(Match {
        source: prefix(rule.source, rule.source_length)?,
        destination: prefix(rule.destination, rule.destination_length)?,
        protocol: asks(abi::MATCH_PROTOCOL).then_some(IpProtocol(rule.protocol)),
        source_ports: ports(rule.source_ports_first, rule.source_ports_last)?,
        destination_ports: ports(rule.destination_ports_first, rule.destination_ports_last)?,
        tcp_flags: asks(abi::MATCH_TCP_FLAGS)
            .then_some(FlagsMatch { mask: TcpFlags(rule.tcp_mask), value: TcpFlags(rule.tcp_value) }),
        icmp: asks(abi::MATCH_ICMP).then(icmp).transpose()?,
        dscp: asks(abi::MATCH_DSCP).then(|| dscp(rule.dscp.into())).transpose()?,
        interface: asks(abi::MATCH_INTERFACE).then_some(InterfaceIndex(rule.interface)),
        fragment: asks(abi::MATCH_FRAGMENT).then(fragment).transpose()?,
    })
}

fn dscp(value: u32) -> Result<Dscp, String> {
    let point = u8::try_from(value).ok().and_then(Dscp::new);
    point.ok_or_else(|| format!("code point {value}: expected 0 to 63"))
}

fn action(rule: &abi::Rule) -> Result<Action, String> {
    const ALL: u32 = (abi::ACTION_POLICE_BYTES << 1) - 1;
    known(rule.actions, ALL, "action")?;
    let does = |action: u32| rule.actions & action != 0;
    let unit = match (does(abi::ACTION_POLICE_PACKETS), does(abi::ACTION_POLICE_BYTES)) {
        (false, false) => None,
        (true, false) => Some(PoliceUnit::Packets),
        (false, true) => Some(PoliceUnit::Bytes),
        (true, true) => return Err("it polices both packets and bytes".to_owned()),
    };
    let police = |unit| {
        let sizes = NonZeroU64::new(rule.rate).zip(NonZeroU64::new(rule.burst));
        let (rate, burst) = sizes.ok_or("it polices with a rate or burst of 0")?;
        Ok::<_, String>(Police { rate, burst, unit })
    };
    let verdict = match rule.verdict {
        abi::RULE_PASS => Verdict::Pass,
        abi::RULE_DROP => Verdict::Drop,
        abi::RULE_PUNT => Verdict::Punt,
        abi::RULE_COUNT => Verdict::Continue,
        abi::RULE_REDIRECT => Verdict::Redirect(Redirect::Interface(InterfaceIndex(rule.target))),
        other => return Err(format!("verdict {other} is not known to this Weft")),
    };
    let admit = does(abi::ACTION_ADMIT);
    if admit && verdict != Verdict::Pass {
        return Err("it admits flows, but does not pass packets".to_owned());
    }
    Ok(Action {
        police: unit.map(police).transpose()?,
        mark: does(abi::ACTION_MARK).then_some(rule.mark),
        dscp: does(abi::ACTION_SET_DSCP).then(|| dscp(rule.set_dscp)).transpose()?,
        admit,
        verdict,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use weft_plugin_sdk as sdk;

    fn full() -> sdk::Rule {
        let one = NonZeroU64::MIN;
        sdk::Rule {
            id: sdk::RuleId(7),
            priority: 3,
            matches: sdk::Match {
                source: "10.1.0.0/16".parse().expect("good"),
                destination: "192.0.2.1".parse().expect("good"),
                protocol: Some(6),
                source_ports: 1024..=u16::MAX,
                destination_ports: 80..=80,
                tcp_flags: Some(sdk::TcpFlags { mask: 18, value: 2 }),
                icmp: None,
                dscp: Some(46),
                interface: Some(sdk::InterfaceIndex(5)),
                fragment: Some(sdk::Fragment::First),
            },
            action: sdk::Action {
                police: Some(sdk::Police { rate: one, burst: one, unit: sdk::Unit::Bytes }),
                mark: Some(9),
                dscp: Some(10),
                verdict: sdk::RuleVerdict::Admit,
            },
        }
    }

    #[test]
    fn all_that_a_plugin_says_arrives() {
        let one = NonZeroU64::MIN;
        let expected = Rule {
            id: RuleId(7),
            priority: Priority(3),
            matches: Match {
                source: "10.1.0.0/16".parse().expect("good"),
                destination: "192.0.2.1/32".parse().expect("good"),
                protocol: Some(IpProtocol::TCP),
                source_ports: PortRange::new(1024, u16::MAX).expect("good"),
                destination_ports: PortRange::only(80),
                tcp_flags: Some(FlagsMatch { mask: TcpFlags(18), value: TcpFlags(2) }),
                icmp: None,
                dscp: Dscp::new(46),
                interface: Some(InterfaceIndex(5)),
                fragment: Some(Fragment::First),
            },
            action: Action {
                police: Some(Police { rate: one, burst: one, unit: PoliceUnit::Bytes }),
                mark: Some(9),
                dscp: Dscp::new(10),
                admit: true,
                verdict: Verdict::Pass,
            },
        };
        assert_eq!(rule(&full().raw()), Ok(expected));
        let plain = sdk::Rule {
            matches: sdk::Match {
                icmp: Some(sdk::IcmpMatch { types: 3..=4, codes: 0..=255 }),
                ..sdk::Match::default()
            },
            action: sdk::Action::only(sdk::RuleVerdict::Redirect(sdk::InterfaceIndex(2))),
            ..full()
        };
        let plain = rule(&plain.raw()).expect("good");
        assert_eq!(plain.matches, Match { icmp: IcmpMatch::ranges(3..=4, 0..=255), ..Match::default() });
        assert_eq!(plain.action, Action::only(Verdict::Redirect(Redirect::Interface(InterfaceIndex(2)))));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let good = full().raw();
        for (bad, why) in [
            (abi::Rule { conditions: 1 << 7, ..good }, "condition 0x80 is not known"),
            (abi::Rule { actions: 1 << 5, ..good }, "action 0x20 is not known"),
            (abi::Rule { verdict: 5, ..good }, "verdict 5 is not known"),
            (abi::Rule { fragment: 4, ..good }, "fragment 4 is not known"),
            (abi::Rule { source_length: 33, ..good }, "prefix length 33"),
            (abi::Rule { source_ports_first: 2, source_ports_last: 1, ..good }, "ports 2-1"),
            (abi::Rule { dscp: 64, ..good }, "code point 64"),
            (abi::Rule { verdict: abi::RULE_DROP, ..good }, "admits flows, but does not pass"),
            (abi::Rule { rate: 0, ..good }, "a rate or burst of 0"),
        ] {
            let error = rule(&bad).expect_err(why);
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn sets_are_read_as_they_lie() {
        let name = CString::new("a").expect("no NUL");
        let rules = [7, 8].map(|id| abi::Rule { id, ..full().raw() });
        let attachment = abi::Attachment { interface: 4, direction: abi::DIRECTION_OUTPUT };
        let read_with = |size: usize, exempt: u32| {
            let set = abi::RuleSet {
                size: size as u32,
                exempt,
                name: name.as_ptr(),
                rules: rules.as_ptr(),
                attachments: &raw const attachment,
                rules_length: 2,
                attachments_length: 1,
            };
            // SAFETY: all pointers are good.
            unsafe { read("test", &raw const set, 1) }
        };
        const SIZE: usize = size_of::<abi::RuleSet>();
        let sets = read_with(SIZE, abi::EXEMPT_OWN).expect("good");
        assert_eq!(sets[0].name, "plugin.test.a");
        assert_eq!(sets[0].rules.iter().map(|rule| rule.id.0).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(sets[0].rules.exempt, Exempt { admitted: false, own: true });
        assert_eq!(sets[0].attached, [(InterfaceIndex(4), Direction::Output)]);
        assert!(read_with(SIZE, 4).expect_err("bit 2").contains("exemption 0x4"));
        let refused = read_with(SIZE + 8, 0).expect_err("too long");
        assert_eq!(refused, format!("a rule set has a description of {} bytes, expected {SIZE}", SIZE + 8));
        // SAFETY: no set is read.
        assert!(unsafe { read("test", std::ptr::null(), 0) }.expect("good").is_empty());
        // SAFETY: as above.
        assert!(unsafe { read("test", std::ptr::null(), 1) }.is_err());
    }
}
