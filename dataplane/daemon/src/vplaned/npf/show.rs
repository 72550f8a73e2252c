// SPDX-License-Identifier: Apache-2.0
//! `npf-op`: rules with their counters, as the clients of the C dataplane read them.

use std::collections::BTreeMap;

use weft_classify::{Direction, RuleId, RuleSets};
use weft_engine::InterfaceIndex;
use weft_stats::Combined;
use weft_vplaned::commands::Words;
use weft_vplaned::commands::npf::{AttachPoint, Decision, Group, GroupName, Ruleset};
use weft_vplaned::console::{Failure, json};

use super::compile::Compiled;
use super::{Filters, direction};

/// Which rules are meant: `[-n CLASS:GROUP] [-r RULE] [AP [RULESET ...]]`, `all:` for every attach point.
struct Selection {
    group: Option<GroupName>,
    rule: Option<u32>,
    point: Option<AttachPoint>,
    rulesets: Vec<Ruleset>,
}

impl Selection {
    fn read(mut words: Words<'_>) -> Result<Selection, Failure> {
        let mut selection = Selection { group: None, rule: None, point: None, rulesets: Vec::new() };
        loop {
            match words.rest().first() {
                Some(&"-n") => {
                    words.word("-n")?;
                    selection.group = Some(words.value("CLASS:GROUP")?);
                }
                Some(&"-r") => {
                    words.word("-r")?;
                    selection.rule = Some(words.value("the number of a rule")?);
                }
                _ => break,
            }
        }
        match words.rest().first() {
            None => {}
            Some(&"all:") => drop(words.word("all:")?),
            Some(_) => selection.point = Some(words.value("all:, interface:NAME or another attach point")?),
        }
        while !words.is_empty() {
            selection.rulesets.push(words.value("a type of ruleset, as fw-in or acl-out")?);
        }
        Ok(selection)
    }

    fn has(&self, point: &AttachPoint, ruleset: Ruleset) -> bool {
        self.point.as_ref().is_none_or(|wanted| wanted == point)
            && (self.rulesets.is_empty() || self.rulesets.contains(&ruleset))
    }

    fn names(&self, group: &GroupName) -> bool {
        self.group.as_ref().is_none_or(|wanted| wanted == group)
    }

    fn takes(&self, rule: &Compiled) -> bool {
        self.names(&rule.group) && self.rule.is_none_or(|number| number == rule.number)
    }
}

impl Filters {
    /// Attached rules that are in effect, by what was attached where.
    fn in_effect(
        &self,
    ) -> impl Iterator<Item = (AttachPoint, Ruleset, Vec<GroupName>, (InterfaceIndex, Direction))> {
        self.store.rulesets().filter_map(|(at, groups)| {
            let AttachPoint::Interface(name) = &at.point else { return None };
            let (index, _) = self.interfaces.iter().find(|(_, its)| its == name)?;
            let key = (*index, direction(at.ruleset)?);
            self.guards
                .contains_key(&key)
                .then(|| (at.point.clone(), at.ruleset, groups.into_iter().cloned().collect(), key))
        })
    }

    fn hits(&self, sets: &RuleSets, set: &str, ids: &[RuleId]) -> Combined {
        let Some(view) = sets.get(set) else { return Combined::default() };
        ids.iter().fold(Combined::default(), |sum, id| {
            let hits = view.hits(*id);
            let hidden = self.cleared.get(&(set.to_owned(), *id)).copied().unwrap_or_default();
            Combined {
                packets: sum.packets + hits.packets.saturating_sub(hidden.packets),
                bytes: sum.bytes + hits.bytes.saturating_sub(hidden.bytes),
            }
        })
    }
}

/// `npf-op show`
pub fn show(
    filters: &Filters,
    sets: &RuleSets,
    words: Words<'_>,
) -> Result<json::Config<Vec<json::NpfAttachPoint>>, Failure> {
    let selection = Selection::read(words)?;
    let mut config: Vec<json::NpfAttachPoint> = Vec::new();
    for (point, ruleset, groups, key) in filters.in_effect() {
        let Some(guard) = filters.guards.get(&key).filter(|_| selection.has(&point, ruleset)) else {
            continue;
        };
        let shown = |name: &GroupName| {
            let rules: BTreeMap<u32, json::NpfRule> = guard
                .rules
                .iter()
                .filter(|(rule, _)| rule.group == *name && selection.takes(rule))
                .map(|(rule, ids)| (rule.number, rule_of(rule, filters.hits(sets, &guard.name, ids))))
                .collect();
            json::NpfGroup {
                class: name.class.word(),
                name: name.name.clone(),
                direction: match key.1 {
                    Direction::Input => "in",
                    Direction::Output => "out",
                },
                rules,
            }
        };
        let groups: Vec<json::NpfGroup> =
            groups.iter().map(shown).filter(|group| !group.rules.is_empty()).collect();
        let ruleset = json::NpfRuleset { ruleset_type: ruleset.word(), groups };
        match config.iter_mut().find(|known| known.attach_point == point.name()) {
            Some(known) => known.rulesets.push(ruleset),
            None => config.push(json::NpfAttachPoint {
                attach_type: point.kind(),
                attach_point: point.name(),
                rulesets: vec![ruleset],
            }),
        }
    }
    Ok(json::Config { config })
}

fn rule_of(rule: &Compiled, hits: Combined) -> json::NpfRule {
    let is_match = |word: &&str| !["action=", "stateful=", "rproc="].iter().any(|key| word.starts_with(key));
    let matches: Vec<&str> = rule.text.split(' ').filter(is_match).collect();
    let operations = [(rule.stateful, "stateful"), (rule.log, "log")];
    let operation: Vec<&str> = operations.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    json::NpfRule {
        action: match rule.decision {
            Decision::Accept => "pass ",
            Decision::Drop => "block ",
        },
        config: rule.text.clone(),
        matches: matches.join(" "),
        operation: operation.join(" "),
        bytes: hits.bytes,
        packets: hits.packets,
    }
}

/// `npf-op state`: the counters of firewall rules, where the configuration tree has them. ACLs have no place there.
pub fn state(filters: &Filters, sets: &RuleSets, words: Words<'_>) -> Result<json::State, Failure> {
    let selection = Selection::read(words)?;
    let mut dataplane = Vec::new();
    for (point, ruleset, groups, key) in filters.in_effect() {
        let side = match ruleset {
            Ruleset::FirewallIn => "in",
            Ruleset::FirewallOut => "out",
            _ => continue,
        };
        let Some(guard) = filters.guards.get(&key).filter(|_| selection.has(&point, ruleset)) else {
            continue;
        };
        let state_of = |name: &GroupName| {
            let rules = guard.rules.iter().filter(|(rule, _)| rule.group == *name && selection.takes(rule));
            let rule = rules.map(|(rule, ids)| {
                let hits = filters.hits(sets, &guard.name, ids);
                json::RuleState { rule_number: rule.number, bytes: hits.bytes, packets: hits.packets }
            });
            json::GroupState { group_name: name.name.clone(), rule: rule.collect() }
        };
        let name = groups.iter().filter(|name| selection.names(name)).map(state_of).collect();
        let state = json::Under("state", json::Under(side, json::Under("name", name)));
        let state: json::FirewallState = json::Under("firewall", state);
        let name = point.name();
        dataplane.push(match name.split_once('.') {
            None => json::InterfaceState { tagnode: name, of: json::StateOf::Port(state) },
            Some((port, vlan)) => {
                let vif = [json::VlanState { tagnode: vlan.to_owned(), state }];
                json::InterfaceState { tagnode: port.to_owned(), of: json::StateOf::Vlan { vif } }
            }
        });
    }
    Ok(json::State { dataplane })
}

/// `npf-op dump groups`: what is wanted, whether or not it is attached or in effect.
pub fn groups(filters: &Filters) -> json::Under<Vec<json::RuleGroup>> {
    let rule_group = |(name, group): (&GroupName, &Group)| json::RuleGroup {
        group_class: name.class.word(),
        group: name.name.clone(),
        rules: group
            .rules
            .iter()
            .map(|(index, rule)| json::IndexedRule { index: *index, rule: rule.text.clone() })
            .collect(),
    };
    json::Under("rule_groups", filters.store.groups().map(rule_group).collect())
}

/// `npf-op dump attach-points`: where groups are to be attached, whether or not the interface is there.
pub fn attach_points(filters: &Filters) -> json::Under<Vec<json::Attached>> {
    let mut attach_points: Vec<json::Attached> = Vec::new();
    for (at, groups) in filters.store.attached() {
        let group = |name: &GroupName| json::AttachedGroup {
            group_class: name.class.word(),
            group: name.name.clone(),
        };
        let ruleset = json::AttachedRuleset {
            ruleset_type: at.ruleset.word(),
            groups: groups.iter().map(group).collect(),
        };
        let (attach_type, attach_point) = (at.point.kind(), at.point.name());
        let same =
            |it: &&mut json::Attached| (it.attach_type, &it.attach_point) == (attach_type, &attach_point);
        match attach_points.iter_mut().find(same) {
            Some(known) => known.rulesets.push(ruleset),
            None => {
                attach_points.push(json::Attached { attach_type, attach_point, rulesets: vec![ruleset] });
            }
        }
    }
    json::Under("attach_points", attach_points)
}

/// `npf-op clear`: counters begin anew.
pub fn clear(filters: &mut Filters, sets: &RuleSets, words: Words<'_>) -> Result<String, Failure> {
    let selection = Selection::read(words)?;
    let mut cleared = Vec::new();
    for (point, ruleset, _, key) in filters.in_effect() {
        let Some(guard) = filters.guards.get(&key).filter(|_| selection.has(&point, ruleset)) else {
            continue;
        };
        let Some(view) = sets.get(&guard.name) else { continue };
        for (_, ids) in guard.rules.iter().filter(|(rule, _)| selection.takes(rule)) {
            cleared.extend(ids.iter().map(|id| ((guard.name.clone(), *id), view.hits(*id))));
        }
    }
    filters.cleared.extend(cleared);
    Ok(String::new())
}
