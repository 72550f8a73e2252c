// SPDX-License-Identifier: Apache-2.0
//! A set of rules under construction, in the order in which they are asked. Main thread.
//!
//! A change that is refused has changed nothing.

use hashbrown::HashMap;
use thiserror::Error;
use weft_engine::InterfaceIndex;

use crate::attachment::Direction;
use crate::rule::{Exempt, MatchError, Priority, Redirect, Rule, RuleId, Verdict};

/// Why a set cannot be what was asked.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RuleError {
    /// Two of one id.
    #[error("rule {0} exists already")]
    Duplicate(RuleId),
    /// No such rule.
    #[error("there is no rule {0}")]
    Unknown(RuleId),
    /// No packet can match.
    #[error("rule {0} can never match: {1}")]
    Match(RuleId, MatchError),
    /// There are no routes for it.
    #[error(
        "rule {0} redirects IPv6 packets to a next hop: expected an interface, as only IPv4 is routed here"
    )]
    NextHop(RuleId),
}

impl PartialEq for RuleSet {
    fn eq(&self, other: &RuleSet) -> bool {
        self.exempt == other.exempt && self.iter().eq(other.iter())
    }
}

/// Rules by id and by order.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    /// By priority, among equals by when they were added.
    order: Vec<(Priority, u64, RuleId)>,
    rules: HashMap<RuleId, (u64, Rule)>,
    added: u64,
    /// Who does not meet them.
    pub exempt: Exempt,
}

impl RuleSet {
    /// A set of these rules; among those of equal priority, the order is that of the iterator.
    pub fn of(rules: impl IntoIterator<Item = Rule>) -> Result<RuleSet, RuleError> {
        let mut set = RuleSet::default();
        for rule in rules {
            set.insert(rule)?;
        }
        set.order.sort_unstable();
        Ok(set)
    }

    /// Adds a rule after those of the same priority.
    pub fn add(&mut self, rule: Rule) -> Result<(), RuleError> {
        self.insert(rule)?;
        // The last one is in no place yet; mostly it is at the end already.
        if let Some(key) = self.order.pop() {
            let place = self.order.partition_point(|other| *other < key);
            self.order.insert(place, key);
        }
        Ok(())
    }

    /// Adds a rule somewhere.
    fn insert(&mut self, rule: Rule) -> Result<(), RuleError> {
        rule.matches.check().map_err(|error| RuleError::Match(rule.id, error))?;
        if !rule.matches.is_of_ip4()
            && let Verdict::Redirect(Redirect::NextHop(_)) = rule.action.verdict
        {
            return Err(RuleError::NextHop(rule.id));
        }
        if self.rules.contains_key(&rule.id) {
            return Err(RuleError::Duplicate(rule.id));
        }
        self.order.push((rule.priority, self.added, rule.id));
        self.rules.insert(rule.id, (self.added, rule));
        self.added += 1;
        Ok(())
    }

    /// Takes a rule out.
    pub fn remove(&mut self, id: RuleId) -> Result<Rule, RuleError> {
        let (added, rule) = self.rules.remove(&id).ok_or(RuleError::Unknown(id))?;
        if let Ok(place) = self.order.binary_search(&(rule.priority, added, id)) {
            self.order.remove(place);
        }
        Ok(rule)
    }

    /// A rule.
    pub fn get(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(&id).map(|(_, rule)| rule)
    }

    /// The rules in the order in which they are asked.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.order.iter().filter_map(|(_, _, id)| self.get(*id))
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// A set as its owner wants it, and where it is attached: somewhere at least.
#[derive(Clone, Debug)]
pub struct OwnedSet {
    /// Its name, which begins with that of the owner and a dot.
    pub name: String,
    /// Its rules.
    pub rules: RuleSet,
    /// Whose packets meet them.
    pub attached: Vec<(InterfaceIndex, Direction)>,
}

impl OwnedSet {
    /// Whether a rule of it admits flows.
    pub fn admits(&self) -> bool {
        self.rules.iter().any(|rule| rule.action.admit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Action, Match, PortRange};
    use weft_nodes::headers::IpProtocol;

    fn rule(id: u32, priority: u32) -> Rule {
        let action = Action::only(Verdict::Pass);
        Rule { id: RuleId(id), priority: Priority(priority), matches: Match::default(), action }
    }

    fn order(set: &RuleSet) -> Vec<u32> {
        set.iter().map(|rule| rule.id.0).collect()
    }

    #[test]
    fn low_priorities_first_and_equals_as_they_came() {
        let mut set = RuleSet::of([rule(1, 9), rule(2, 5), rule(3, 9)]).unwrap();
        set.add(rule(4, 5)).unwrap();
        assert_eq!(order(&set), [2, 4, 1, 3]);
        set.remove(RuleId(4)).unwrap();
        set.add(rule(4, 9)).unwrap();
        assert_eq!(order(&set), [2, 1, 3, 4]);
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut set = RuleSet::of([rule(1, 9)]).unwrap();
        assert_eq!(set.add(rule(1, 1)), Err(RuleError::Duplicate(RuleId(1))));
        assert_eq!(set.remove(RuleId(2)), Err(RuleError::Unknown(RuleId(2))));
        let ports =
            Match { protocol: Some(IpProtocol::ICMP), source_ports: PortRange::only(7), ..Match::default() };
        let error = set.add(Rule { matches: ports, ..rule(2, 1) }).unwrap_err().to_string();
        assert_eq!(
            error,
            "rule 2 can never match: ICMP has no ports; expected tcp, udp, sctp, dccp or udplite"
        );
        assert_eq!(order(&set), [1]);
    }
}
