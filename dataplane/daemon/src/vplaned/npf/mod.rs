// SPDX-License-Identifier: Apache-2.0
//! Packet filters of vplaned: what `npf-cfg` wants becomes rule sets of the classifier.
//!
//! Each interface with rules has one set per direction, named `npf.<interface>.<in|out>`, closed by a rule that drops what
//! no other has met. A commit compiles all of it aside, and then shows workers everything at once. Interfaces may come later
//! than their rules.
//!
//! A direction of an interface whose rules cannot be honoured is closed: nothing passes it until they are mended, and the commit is
//! refused by name. It is never open, nor as it was before: what vplaned wants has the same effect whenever it is heard, so a
//! restart changes nothing. Other directions and interfaces are not affected.
//!
//! A stateful rule admits flows (`docs/flow-tracker.md`): as long as there is one, all interfaces look their packets' flows
//! up, and the other direction of its interface is closed to all but answers. Main thread.

mod address_groups;
mod compile;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use weft_classify::{Direction, Exempt, Match, Priority, Rule, RuleId, RuleSet, RuleSets};
use weft_control::{ChangeSet, Object, Owner, Purpose, StepError};
use weft_engine::InterfaceIndex;
use weft_stats::Combined;
use weft_vplaned::commands::CommandError;
use weft_vplaned::commands::npf::{AttachPoint, GroupClass, NpfCommand, Ruleset, Store};

use self::compile::{Compiled, compile};
use super::changes::Bindings;
use crate::state::Dataplane;

pub use self::address_groups::address_groups;
pub use self::show::{attach_points, clear, groups, show, state};

/// The rule after all others.
const DEFAULT: RuleId = RuleId(0);
/// Names of these sets begin so.
const PREFIX: &str = "npf.";

type Key = (InterfaceIndex, Direction);

/// The rules of one interface in one direction.
#[derive(Default)]
struct Guard {
    name: String,
    set: RuleSet,
    rules: Vec<(Compiled, Vec<RuleId>)>,
    next_id: u32,
}

/// What is wanted, and what is in effect.
#[derive(Default)]
pub struct Filters {
    pub store: Store,
    guards: BTreeMap<Key, Guard>,
    /// Interfaces as they were at the last commit.
    interfaces: Vec<(InterfaceIndex, String)>,
    /// What `npf-op clear` hides.
    cleared: BTreeMap<(String, RuleId), Combined>,
    /// What rules that log have counted when it was logged last.
    logged: BTreeMap<(String, RuleId), u64>,
}

/// Whether a command is about something that Weft can honour; the words are those of the command.
pub fn check(command: &NpfCommand) -> Result<(), CommandError> {
    let unsupported = |what: String| Err(CommandError::Unsupported(what));
    match command {
        NpfCommand::AddRule { group, index, rule } => {
            use GroupClass::{Acl, DscpGroup, Firewall, IcmpGroup, Icmpv6Group, PortGroup, ProtocolGroup};
            let is_values =
                matches!(group.class, PortGroup | IcmpGroup | Icmpv6Group | ProtocolGroup | DscpGroup);
            if !is_values && !matches!(group.class, Acl | Firewall) {
                return unsupported(format!("{group} rule {index}: groups of class {}", group.class));
            }
            match &rule.unsupported {
                Some(what) => unsupported(format!("{group} rule {index}: {what}")),
                None => Ok(()),
            }
        }
        NpfCommand::Attach { point, ruleset, .. } => match (point, direction(*ruleset)) {
            (AttachPoint::Interface(_), Some(_)) => Ok(()),
            (AttachPoint::Interface(_), None) => unsupported(format!("{point}: rulesets of type {ruleset}")),
            _ => unsupported(format!("attach point {point}")),
        },
        NpfCommand::IcmpStrict(true) => unsupported("icmp-strict".to_owned()),
        NpfCommand::Timeout { vrf, protocol, state, .. } => {
            // The C dataplane's number of the default VRF is 1.
            if *vrf > 1 {
                return unsupported(format!("timeouts of VRF {vrf} alone"));
            }
            match super::sessions::timeout(protocol, state) {
                Some(_) => Ok(()),
                None => unsupported(format!("timeout of {protocol} {state}")),
            }
        }
        _ => Ok(()),
    }
}

/// Whether a command that is refused by [`check`] is remembered: a group must not take effect without one of its rules.
pub fn is_kept(command: &NpfCommand) -> bool {
    matches!(command, NpfCommand::AddRule { rule, .. } if rule.unsupported.is_some())
}

fn direction(ruleset: Ruleset) -> Option<Direction> {
    match ruleset {
        Ruleset::AclIn | Ruleset::FirewallIn => Some(Direction::Input),
        Ruleset::AclOut | Ruleset::FirewallOut => Some(Direction::Output),
        _ => None,
    }
}

impl Filters {
    /// Whether other interfaces are there than at the last commit.
    pub fn is_outdated(&self, bindings: &Bindings) -> bool {
        !self.store.is_resyncing()
            && !self.store.is_empty()
            && !bindings.named().eq(self.interfaces.iter().map(|(index, name)| (*index, &**name)))
    }

    /// An interface is deleted: one that comes with its index and name is another one.
    pub fn interface_removed(&mut self, index: InterfaceIndex) {
        for (known, _) in &mut self.interfaces {
            if *known == index {
                *known = InterfaceIndex::NONE;
            }
        }
    }

    /// Puts what is wanted into effect. What cannot be honoured closes the direction that it is for, and is said.
    pub fn commit(&mut self, dataplane: &mut Dataplane, bindings: &Bindings) -> Result<(), CommandError> {
        self.interfaces = bindings.named().map(|(index, name)| (index, name.to_owned())).collect();
        let mut refusals = Vec::new();
        let mut wanted = self.plan(dataplane, &mut refusals);
        self.make_fit(dataplane, &mut wanted, &mut refusals)?;
        let mut done = dataplane.change(&self.changes(&wanted), Purpose::Make);
        if let Err(refused) = &done
            && matches!(refused.first(), Some(StepError::Flow(_) | StepError::FlowTables(_)))
        {
            // Stateful rules need a flow tracker, which needs memory.
            refusals.push(CommandError::Refused(format!("stateful=y: {refused}")));
            let has_state = |guard: &Guard| guard.rules.iter().any(|(rule, _)| rule.stateful);
            wanted.values_mut().filter(|guard| has_state(guard)).for_each(Guard::close);
            done = dataplane.change(&self.changes(&wanted), Purpose::Make);
        }
        done.map_err(|error| CommandError::Refused(format!("{error}; packet filters stay as they were")))?;
        self.guards = wanted;
        match refusals.is_empty() {
            true => Ok(()),
            false => Err(together(refusals)),
        }
    }

    /// What is to be changed so that these are in effect, and no others.
    fn changes(&self, wanted: &BTreeMap<Key, Guard>) -> ChangeSet {
        let mut changes = ChangeSet::new(Owner::VPLANED);
        for ((index, direction), guard) in &self.guards {
            if wanted.get(&(*index, *direction)).is_none_or(|other| other.name != guard.name) {
                changes.release(Object::Attachment(*index, *direction));
                changes.release(Object::RuleSet(guard.name.as_str().into()));
            }
        }
        for ((index, direction), guard) in wanted {
            changes.set_rule_set(&guard.name, &guard.set);
            changes.attach(&guard.name, *index, *direction);
        }
        changes
    }

    /// What is to be attached where.
    fn plan(&self, dataplane: &Dataplane, refusals: &mut Vec<CommandError>) -> BTreeMap<Key, Guard> {
        let mut compiled: BTreeMap<Key, (Ruleset, Vec<Compiled>)> = BTreeMap::new();
        for (at, groups) in self.store.rulesets() {
            let (AttachPoint::Interface(name), Some(direction)) = (&at.point, direction(at.ruleset)) else {
                continue;
            };
            if groups.is_empty() {
                continue;
            }
            let rules = compile(&self.store, &groups).unwrap_or_else(|error| {
                refusals.push(closes(error, name, at.ruleset));
                Vec::new()
            });
            let Some((index, _)) = self.interfaces.iter().find(|(_, its)| its == name) else { continue };
            let key = (*index, direction);
            if let Some((other, _)) = compiled.insert(key, (at.ruleset, rules)) {
                let what = CommandError::Unsupported(format!("{}: {} beside {other}", at.point, at.ruleset));
                refusals.push(closes(what, name, at.ruleset));
                compiled.insert(key, (at.ruleset, Vec::new()));
            }
        }
        // Whoever may be answered here is answered, and nobody else passes.
        for (index, direction) in compiled.keys().copied().collect::<Vec<_>>() {
            let stateful = compiled[&(index, direction)].1.iter().any(|rule| rule.stateful);
            let (other, ruleset) = match direction {
                Direction::Input => (Direction::Output, Ruleset::FirewallOut),
                Direction::Output => (Direction::Input, Ruleset::FirewallIn),
            };
            if stateful {
                compiled.entry((index, other)).or_insert_with(|| (ruleset, Vec::new()));
            }
        }
        let mut guards = BTreeMap::new();
        for (key, (ruleset, rules)) in compiled {
            let guard = self.guard(dataplane, key, ruleset, rules).or_else(|error| {
                refusals.push(closes(error, &dataplane.interface_name(key.0), ruleset));
                self.guard(dataplane, key, ruleset, Vec::new())
            });
            // It fails again where somebody else's rules are, which are in force.
            guards.extend(guard.ok().map(|guard| (key, guard)));
        }
        guards
    }

    /// Closes the directions with the most new rules until the others have room.
    fn make_fit(
        &self,
        dataplane: &Dataplane,
        wanted: &mut BTreeMap<Key, Guard>,
        refusals: &mut Vec<CommandError>,
    ) -> Result<(), CommandError> {
        let fresh = |guard: &Guard| {
            let known = dataplane.rule_sets().get(&guard.name);
            let is_known = |rule: &&Rule| known.as_ref().is_some_and(|set| set.rules.get(rule.id).is_some());
            guard.set.iter().filter(|rule| !is_known(rule)).count()
        };
        let room = dataplane.rule_sets().room();
        loop {
            let needed: usize = wanted.values().map(fresh).sum();
            if needed <= room {
                return Ok(());
            }
            let what =
                format!("{needed} more classifier rules, and room for {room}: limits {{ classify-rules }}");
            match wanted.values_mut().max_by_key(|guard| fresh(guard)) {
                Some(largest) if !largest.rules.is_empty() => {
                    refusals
                        .push(CommandError::Refused(format!("{what}; {} lets nothing pass", largest.name)));
                    largest.close();
                }
                _ => return Err(CommandError::Refused(format!("{what}; packet filters stay as they were"))),
            }
        }
    }

    /// Rules that were there before keep their ids, and so their counters.
    fn guard(
        &self,
        dataplane: &Dataplane,
        key: Key,
        ruleset: Ruleset,
        rules: Vec<Compiled>,
    ) -> Result<Guard, CommandError> {
        let (index, direction) = key;
        let side = match direction {
            Direction::Input => "in",
            Direction::Output => "out",
        };
        let interface = dataplane.interface_name(index);
        let name = format!("{PREFIX}{interface}.{side}");
        let foreign = |(at, to, set): (InterfaceIndex, Direction, &str)| (at, to) == key && set != name;
        if dataplane.rule_sets().attached().any(foreign) {
            let what = format!("{interface} has other rules in this direction already: {}", ruleset);
            return Err(CommandError::Refused(what));
        }
        let before = self.guards.get(&key).filter(|guard| guard.name == name);
        let mut next_id = before.map_or(1, |guard| guard.next_id);
        let mut kept: Vec<Rule> = Vec::new();
        let mut listed = Vec::with_capacity(rules.len());
        for (priority, rule) in (0..).zip(rules) {
            let same = |(known, _): &&(Compiled, Vec<RuleId>)| {
                known.group == rule.group && known.number == rule.number && known.text == rule.text
            };
            let known = before.and_then(|guard| guard.rules.iter().find(same));
            let mut ids: Vec<RuleId> = known.map_or_else(Vec::new, |(_, ids)| ids.clone());
            ids.truncate(rule.matches.len());
            while ids.len() < rule.matches.len() {
                ids.push(RuleId(next_id));
                next_id += 1;
            }
            kept.extend(ids.iter().zip(&rule.matches).map(|(id, matches)| Rule {
                id: *id,
                priority: Priority(priority),
                matches: matches.clone(),
                action: rule.action(),
            }));
            listed.push((rule, ids));
        }
        kept.push(last());
        let mut set = RuleSet::of(kept).map_err(|error| CommandError::Refused(error.to_string()))?;
        let admitted = matches!(ruleset, Ruleset::FirewallIn | Ruleset::FirewallOut);
        set.exempt = Exempt { admitted, own: true };
        Ok(Guard { name, set, rules: listed, next_id })
    }

    /// Tells what rules that log have met since the last time: a line per rule and second, however many the packets are.
    pub fn log(&mut self, sets: &RuleSets) {
        for guard in self.guards.values() {
            let Some(view) = sets.get(&guard.name) else { continue };
            for (rule, ids) in guard.rules.iter().filter(|(rule, _)| rule.log) {
                let Some(first) = ids.first() else { continue };
                let packets: u64 = ids.iter().map(|id| view.hits(*id).packets).sum();
                let before = self.logged.insert((guard.name.clone(), *first), packets).unwrap_or(0);
                if packets > before {
                    let (group, number) = (&rule.group, rule.number);
                    tracing::info!("{group} rule {number} on {}: {} packets", guard.name, packets - before);
                }
            }
        }
        let live = |(name, _): &(String, RuleId)| sets.get(name).is_some();
        self.logged.retain(|key, _| live(key));
        self.cleared.retain(|key, _| live(key));
    }
}

impl Guard {
    /// Nothing passes but what is exempt.
    fn close(&mut self) {
        self.rules.clear();
        let exempt = self.set.exempt;
        self.set = RuleSet::of(vec![last()]).unwrap_or_default();
        self.set.exempt = exempt;
    }
}

/// Drops what no other rule has met.
fn last() -> Rule {
    Rule {
        id: DEFAULT,
        priority: Priority(u32::MAX),
        // npf blocks neighbour discovery only by a rule that says so.
        matches: Match { not_discovery: true, ..Match::default() },
        action: weft_classify::Action::only(weft_classify::Verdict::Drop),
    }
}

/// A refusal, and what it means for the interface.
fn closes(error: CommandError, interface: &str, ruleset: Ruleset) -> CommandError {
    let means = format!("{interface} lets nothing pass by {ruleset} until that is mended");
    match error {
        CommandError::Unsupported(what) => CommandError::Unsupported(format!("{what}; {means}")),
        CommandError::Refused(what) => CommandError::Refused(format!("{what}; {means}")),
        other => CommandError::Refused(format!("{other}; {means}")),
    }
}

/// All that is refused, as one.
fn together(refusals: Vec<CommandError>) -> CommandError {
    let mut refusals = refusals.into_iter();
    let first = refusals.next();
    let more: String = refusals.map(|error| format!(". {error}")).collect();
    match first {
        Some(CommandError::Unsupported(what)) => CommandError::Unsupported(what + &more),
        Some(first) => CommandError::Refused(format!("{first}{more}")),
        None => CommandError::Refused(more),
    }
}
