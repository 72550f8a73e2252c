// SPDX-License-Identifier: Apache-2.0
//! Rules of the classifier, as owners want them.
//!
//! A rule is an object of its own: two owners can have rules in one set, and each lets go of its own. A set is there as
//! long as somebody has a rule in it, or wants it without.

use std::sync::Arc;

use weft_classify::{ClassifyError, Direction, Exempt, OwnedSet, RuleSet};
use weft_engine::InterfaceIndex;
use weft_nodes::ip4::Owner;

use crate::Control;
use crate::change_set::ChangeSet;
use crate::error::StepError;
use crate::object::Object;
use crate::rule::WantedRule;
use crate::step::{Operation, RulesOf};
use crate::value::Value;

impl Control {
    /// The sets that an owner wants, as they are now.
    pub fn rule_sets_of(&self, owner: Owner) -> Vec<OwnedSet> {
        let wanted = self.claims.of(owner).into_iter().filter_map(|object| match object {
            Object::RuleSet(set) => self.rule_sets.get(&set).map(|view| {
                let at = self.rule_sets.attached().filter(|(.., other)| *other == view.name);
                let attached = at.map(|(on, direction, _)| (on, direction)).collect();
                OwnedSet { name: view.name.to_owned(), rules: view.rules.clone(), attached }
            }),
            _ => None,
        });
        wanted.collect()
    }
}

impl ChangeSet {
    /// The owner wants a rule.
    pub fn add_rule(&mut self, set: &str, rule: WantedRule) {
        let id = rule.rule.id;
        self.want(Object::Rule(set.into(), id), Value::Rule(Arc::new(rule)));
    }

    /// The owner's rules of a set are these, in this order among those of equal priority, and no others.
    pub fn set_rules(&mut self, set: &str, exempt: Exempt, rules: impl IntoIterator<Item = WantedRule>) {
        let rules = rules.into_iter().map(|rule| (rule.rule.id, Value::Rule(Arc::new(rule)))).collect();
        self.push(Operation::Rules(RulesOf { set: set.into(), exempt, rules }));
    }

    /// As [`ChangeSet::set_rules`], of rules that redirect to no neighbour.
    pub fn set_rule_set(&mut self, name: &str, set: &RuleSet) {
        self.set_rules(name, set.exempt, set.iter().cloned().map(WantedRule::new));
    }

    /// The owner wants packets of an interface to meet a set.
    pub fn attach(&mut self, set: &str, interface: InterfaceIndex, direction: Direction) {
        self.want(Object::Attachment(interface, direction), Value::Text(set.to_owned()));
    }

    /// The owner's sets are these from now on, and no others.
    pub fn replace_rule_sets(&mut self, control: &Control, sets: &[OwnedSet]) -> Result<(), StepError> {
        let (mut names, mut places) = (Vec::new(), Vec::new());
        for OwnedSet { name, rules, attached } in sets {
            if attached.is_empty() || names.contains(&name.as_str()) {
                return Err(StepError::OwnSet(name.clone()));
            }
            names.push(name);
            self.set_rule_set(name, rules);
            for (interface, direction) in attached {
                let at = (*interface, *direction);
                if places.contains(&at) {
                    let interface = control.interface_name(*interface);
                    return Err(ClassifyError::Taken { interface, set: name.clone() }.into());
                }
                places.push(at);
                self.attach(name, *interface, *direction);
            }
        }
        let mut gone = Vec::new();
        for object in control.claims.of(self.owner()) {
            match &object {
                Object::Attachment(interface, direction) if !places.contains(&(*interface, *direction)) => {
                    self.release(object);
                }
                Object::RuleSet(set) if !names.contains(&&**set) => gone.push(object),
                _ => {}
            }
        }
        gone.into_iter().for_each(|set| self.release(set));
        Ok(())
    }
}
