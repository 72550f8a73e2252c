// SPDX-License-Identifier: Apache-2.0
//! Rule sets of one owner, replaced together: who says what it wants as a whole cannot leave anything behind.
//!
//! What stays the same is not compiled again; what changes keeps the counters of the rules whose ids stay. Workers see
//! all of a change or nothing of it. Main thread.

use weft_engine::{Engine, InterfaceIndex};
use weft_nodes::interface::Interfaces;

use super::{ClassifyError, RuleSets, check_name, check_output, check_targets};
use crate::attachment::Direction;
use crate::rule::RuleId;
use crate::set::RuleSet;

/// A rule set, and where it is attached: somewhere at least.
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

impl RuleSets {
    /// What an owner has.
    pub fn owned(&self, owner: &str) -> Vec<OwnedSet> {
        let set = |name: &String| OwnedSet {
            name: name.clone(),
            rules: self.sets[name].rules.clone(),
            attached: self.attached_to(name),
        };
        self.sets.keys().filter(|name| is_of(name, owner)).map(set).collect()
    }

    /// The sets of `owner` are these from now on, and no others; or, on an error, those that they were.
    pub fn set_owned(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        owner: &str,
        wanted: &[OwnedSet],
    ) -> Result<(), ClassifyError> {
        self.check_owned(interfaces, owner, wanted)?;
        let before = self.owned(owner);
        self.at_once(engine, |sets, engine| {
            let done = sets.install(engine, interfaces, &before, wanted);
            if done.is_err() {
                // Only the stats segment can be full: everything else was looked at before.
                let undone = sets.install(engine, interfaces, wanted, &before);
                debug_assert!(undone.is_ok(), "what was in effect fits: {:?}", undone.err());
            }
            done
        })
    }

    /// Sets of `owner` that no interface has any more are deleted.
    pub fn forget_unattached(&mut self, engine: &mut Engine, interfaces: &Interfaces, owner: &str) {
        for set in self.owned(owner).iter().filter(|set| set.attached.is_empty()) {
            let deleted = self.delete(engine, interfaces, &set.name);
            debug_assert!(deleted.is_ok(), "a set that is attached nowhere can go: {:?}", deleted.err());
        }
    }

    fn attached_to(&self, name: &str) -> Vec<(InterfaceIndex, Direction)> {
        self.attached.iter().filter(|(_, set)| *set == name).map(|(at, _)| *at).collect()
    }

    fn check_owned(
        &self,
        interfaces: &Interfaces,
        owner: &str,
        wanted: &[OwnedSet],
    ) -> Result<(), ClassifyError> {
        let (mut fresh, mut taken) = (0, Vec::new());
        for OwnedSet { name, rules, attached } in wanted {
            check_name(name)?;
            check_targets(name, rules, interfaces)?;
            let twice = wanted.iter().filter(|other| other.name == *name).count() > 1;
            if !is_of(name, owner) || attached.is_empty() || twice {
                return Err(ClassifyError::Owned(name.clone()));
            }
            for (interface, direction) in attached {
                let known = interfaces.get(*interface).ok_or(ClassifyError::Interface(*interface))?;
                let other = self.attached.get(&(*interface, *direction)).filter(|set| !is_of(set, owner));
                if other.is_some() || taken.contains(&(*interface, *direction)) {
                    let set = other.unwrap_or(name).clone();
                    return Err(ClassifyError::Taken { interface: known.name.clone(), set });
                }
                taken.push((*interface, *direction));
                if *direction == Direction::Output {
                    check_output(name, rules)?;
                }
            }
            let known = self.sets.get(name).map(|set| &set.slots);
            let is_new = |id: RuleId| known.is_none_or(|slots| !slots.contains_key(&id));
            fresh += rules.iter().filter(|rule| is_new(rule.id)).count();
        }
        match self.room() {
            room if fresh > room => {
                Err(ClassifyError::Full { wanted: fresh, limit: self.counters.capacity() })
            }
            _ => Ok(()),
        }
    }

    /// In place of `old`.
    fn install(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        old: &[OwnedSet],
        new: &[OwnedSet],
    ) -> Result<(), ClassifyError> {
        for OwnedSet { name, rules, attached } in new {
            if self.sets.get(name).is_none_or(|set| set.rules != *rules) {
                self.change(engine, interfaces, name, |set| {
                    set.clone_from(rules);
                    Ok(())
                })?;
            }
            for (interface, direction) in attached {
                if self.attached.get(&(*interface, *direction)) != Some(name) {
                    self.attach(engine, interfaces, name, *interface, *direction)?;
                }
            }
        }
        for OwnedSet { name, attached, .. } in old {
            let kept = new.iter().find(|set| set.name == *name);
            for (interface, direction) in attached {
                let stays = kept.is_some_and(|set| set.attached.contains(&(*interface, *direction)));
                if !stays && self.attached.get(&(*interface, *direction)) == Some(name) {
                    self.detach(engine, interfaces, *interface, *direction)?;
                }
            }
            if kept.is_none() && self.sets.contains_key(name) {
                self.delete(engine, interfaces, name)?;
            }
        }
        Ok(())
    }
}

fn is_of(set: &str, owner: &str) -> bool {
    set.strip_prefix(owner).is_some_and(|rest| rest.starts_with('.'))
}
