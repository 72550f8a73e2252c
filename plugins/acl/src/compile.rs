// SPDX-License-Identifier: Apache-2.0
//! From lists to rule sets: one per interface and direction, with the rules of its lists one behind the other, and behind
//! them all one that drops.
//!
//! Packets of flows that a `permit+reflect` has admitted meet no rules, nor do those that the router makes itself: VPP would
//! find the session of an echo reply, but the flow tracker sees no packets that did not come in.

use weft_plugin_sdk::{
    Action, Direction, Exempt, IcmpMatch, Match, Rule, RuleId, RuleSet, RuleVerdict as Verdict,
};

use crate::model::{At, Lists};
use crate::rule::{self, ANY, ICMP, Permission};

/// The rule at the end: what no list permits is denied.
pub const REST: RuleId = RuleId(0);

/// The rule sets of all interfaces.
pub fn rule_sets(lists: &Lists) -> Vec<RuleSet> {
    lists
        .applied
        .iter()
        .map(|(at, numbers)| {
            let rules = numbers.iter().filter_map(|number| lists.lists.get(number));
            let rules = rules.flat_map(|list| &list.rules);
            let rules = (0..).zip(rules).map(|(priority, (id, rule))| Rule {
                id: *id,
                priority,
                matches: matches(rule),
                action: Action::only(match rule.permission {
                    Permission::Deny => Verdict::Drop,
                    Permission::Permit => Verdict::Pass,
                    Permission::Reflect => Verdict::Admit,
                }),
            });
            let rest = Rule {
                id: REST,
                priority: u32::MAX,
                matches: Match::default(),
                action: Action::only(Verdict::Drop),
            };
            RuleSet {
                name: set_name(at),
                rules: rules.chain([rest]).collect(),
                exempt: Exempt { admitted: true, own: true },
                attached: vec![(at.interface, at.direction)],
            }
        })
        .collect()
}

/// What the classifier calls it.
pub fn set_name(at: &At) -> String {
    let direction = match at.direction {
        Direction::Input => "in",
        Direction::Output => "out",
    };
    format!("{}.{direction}", at.name)
}

fn matches(rule: &rule::Rule) -> Match {
    let rule::Rule { from, to, protocol, source, destination, flags, .. } = rule;
    let of_icmp = *protocol == Some(ICMP);
    let any = source == destination && *source == ANY;
    let byte = |value: &u16| (*value).min(255) as u8;
    let (source_ports, destination_ports) =
        if of_icmp { (ANY, ANY) } else { (source.clone(), destination.clone()) };
    Match {
        source: *from,
        destination: *to,
        protocol: *protocol,
        source_ports,
        destination_ports,
        tcp_flags: *flags,
        icmp: (of_icmp && !any).then(|| IcmpMatch {
            types: byte(source.start())..=byte(source.end()),
            codes: byte(destination.start())..=byte(destination.end()),
        }),
        ..Match::default()
    }
}
