// SPDX-License-Identifier: Apache-2.0
//! From lists to rule sets: one per interface and direction, with the rules of its lists one after the other, and after
//! them all one that drops.
//!
//! Packets of flows that a `permit+reflect` has admitted meet no rules, nor do those that the router makes itself: VPP would
//! find the session of an echo reply, but the flow tracker sees no packets that did not come in.

use std::fmt::Write;

use weft_plugin_sdk::{Direction, Exempt, RuleId, RuleSet};

use crate::model::{At, Lists};
use crate::rule::{ANY, Ace, ICMP, ICMP6, Permission, TcpFlags};

/// The rule at the end: what no list permits is denied.
pub const REST: RuleId = RuleId(0);

/// The rule sets of all interfaces.
pub fn rule_sets(lists: &Lists) -> Vec<RuleSet> {
    lists
        .applied
        .iter()
        .map(|(at, numbers)| {
            let of_lists = numbers.iter().filter_map(|number| lists.lists.get(number));
            let mut rules = String::new();
            for (priority, (id, rule)) in of_lists.flat_map(|list| &list.rules).enumerate() {
                let action = match rule.permission {
                    Permission::Deny => "drop",
                    Permission::Permit => "pass",
                    Permission::Reflect => "admit pass",
                };
                // Writing to a string does not fail.
                let _ = writeln!(rules, "id {} priority {priority}{} action {action}", id.0, matches(rule));
            }
            let _ = writeln!(rules, "id {} priority {} action drop", REST.0, u32::MAX);
            RuleSet {
                name: set_name(at),
                rules,
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

/// In the classifier's words, each after a blank.
fn matches(rule: &Ace) -> String {
    let Ace { from, to, protocol, source, destination, flags, .. } = rule;
    let mut words = format!(" src {from} dst {to}");
    // Writing to a string does not fail.
    if let Some(protocol) = protocol {
        let _ = write!(words, " proto {protocol}");
    }
    if matches!(*protocol, Some(ICMP | ICMP6)) {
        // Types and codes of one byte; all of them need no type to be there.
        let byte = |value: &u16| (*value).min(255);
        if *source != ANY || *destination != ANY {
            let [types, codes] =
                [source, destination].map(|range| format!("{}-{}", byte(range.start()), byte(range.end())));
            let _ = write!(words, " icmp {types}/{codes}");
        }
    } else {
        for (word, range) in [("sport", source), ("dport", destination)] {
            let _ = write!(words, " {word} {}-{}", range.start(), range.end());
        }
    }
    if let Some(TcpFlags { mask, value }) = flags {
        let _ = write!(words, " tcp-flags {value}/{mask}");
    }
    words
}
