// SPDX-License-Identifier: Apache-2.0
//! Steps about rules: each works on copies of the sets.

use std::collections::HashSet;
use std::sync::Arc;

use weft_classify::{ClassifyError, Direction, Exempt, Redirect, Rule, RuleError, RuleId, RuleSet, Verdict};
use weft_engine::InterfaceIndex;
use weft_nodes::ip4::{Ip4, Owner};

use super::planner::Planner;
use super::rules::Place;
use crate::Control;
use crate::error::StepError;
use crate::object::Object;
use crate::rule::WantedRule;
use crate::step::RulesOf;
use crate::value::Value;

impl Planner<'_> {
    /// A set as the steps so far have made it.
    fn rules_of(&mut self, set: &Arc<str>) -> &mut Option<RuleSet> {
        let now = || self.control.rule_sets.get(set).map(|view| view.rules.clone());
        let (step, rules) =
            self.draft.rules.sets.entry(Arc::clone(set)).or_insert_with(|| (self.step, now()));
        *step = self.step;
        rules
    }

    /// The set that packets meet as the steps so far have made it.
    fn attached_at(&self, place: Place) -> Option<Arc<str>> {
        match self.draft.rules.attached.get(&place) {
            Some((_, set)) => set.clone(),
            None => {
                let mut all = self.control.rule_sets.attached();
                all.find(|(on, way, _)| (*on, *way) == place).map(|(_, _, set)| set.into())
            }
        }
    }

    /// Where a set is attached as the steps so far have made it.
    fn is_attached_to(&self, set: &str) -> Option<InterfaceIndex> {
        let made = &self.draft.rules.attached;
        let before = self.control.rule_sets.attached();
        let kept = before.filter(|(on, way, _)| !made.contains_key(&(*on, *way)));
        let kept = kept.filter(|(_, _, its)| *its == set).map(|(on, ..)| on).next();
        kept.or_else(|| made.iter().find(|(_, (_, its))| its.as_deref() == Some(set)).map(|((on, _), _)| *on))
    }

    /// A rule with a next hop that is held for it.
    fn resolved(&mut self, wanted: &WantedRule) -> Result<Rule, StepError> {
        let mut rule = wanted.rule.clone();
        if let Some((on, address)) = wanted.next_hop {
            self.interface(on)?;
            let Control { router, engine, interfaces, .. } = &mut *self.control;
            let id = router.hold_adjacency::<Ip4>(engine, interfaces, on, address)?;
            self.draft.rules.held.push(id);
            rule.action.verdict = Verdict::Redirect(Redirect::NextHop(id));
        }
        Ok(rule)
    }

    /// The owner wants a set to be there.
    pub(super) fn set_comes(&mut self, set: &Arc<str>, exempt: Option<Exempt>) {
        let rules = self.rules_of(set).get_or_insert_default();
        let exempt = exempt.unwrap_or(rules.exempt);
        rules.exempt = exempt;
        let object = Object::RuleSet(Arc::clone(set));
        let value = Value::Exempt(exempt);
        if self.control.claims.claim_of(&object, self.owner) != Some(&value) {
            self.control.claims.claim(&object, self.owner, value, || Value::None);
        }
        self.draft.said.push(object);
    }

    /// The owner wants a rule.
    pub(super) fn rule_comes(&mut self, set: &Arc<str>, id: RuleId, value: &Value) -> Result<(), StepError> {
        let object = Object::Rule(Arc::clone(set), id);
        let Value::Rule(wanted) = value else { return Ok(()) };
        let is_there = self.rules_of(set).as_ref().is_some_and(|rules| rules.get(id).is_some());
        if is_there && self.by_hand() && !self.control.claims.is_awaited(&object, self.owner) {
            return Err(ClassifyError::Rule(set.to_string(), RuleError::Duplicate(id)).into());
        }
        self.set_comes(set, None);
        let entry = self.control.claims.get(&object);
        if is_there && entry.is_some_and(|entry| entry.value() == value && entry.has(self.owner)) {
            return Ok(());
        }
        self.put_rule(set, id, wanted)?;
        self.control.claims.claim(&object, self.owner, value.clone(), || Value::None);
        Ok(())
    }

    /// A rule of the set is this one from now on.
    fn put_rule(&mut self, set: &Arc<str>, id: RuleId, wanted: &WantedRule) -> Result<(), StepError> {
        let rule = self.resolved(wanted)?;
        let rules = self.rules_of(set).get_or_insert_default();
        // Whether there was one before makes no difference.
        let before = rules.remove(id).ok();
        if let Err(error) = rules.add(rule) {
            before.map(|rule| rules.add(rule));
            return Err(ClassifyError::Rule(set.to_string(), error).into());
        }
        Ok(())
    }

    /// All rules of the owner in a set; those of an owner who says things by hand, as a whole, are all that there are.
    pub(super) fn rules_come(&mut self, RulesOf { set, exempt, rules }: &RulesOf) -> Result<(), StepError> {
        let mut wanted = HashSet::with_capacity(rules.len());
        if let Some((twice, _)) = rules.iter().find(|(id, _)| !wanted.insert(*id)) {
            return Err(ClassifyError::Rule(set.to_string(), RuleError::Duplicate(*twice)).into());
        }
        self.set_comes(set, Some(*exempt));
        let (mut gone, mut others) = (Vec::new(), false);
        for (object, entry) in self.control.claims.rules_of(set) {
            let Object::Rule(_, id) = object else { continue };
            others |= !self.by_hand() && entry.owners().any(|owner| owner != self.owner);
            if !wanted.contains(id) && (self.by_hand() || entry.has(self.owner)) {
                gone.push(object.clone());
            }
        }
        for object in gone {
            match self.by_hand() {
                true => drop(self.control.claims.remove(&object)),
                false => self.release(&object)?,
            }
        }
        if others {
            return rules.iter().try_for_each(|(id, value)| {
                self.draft.said.push(Object::Rule(Arc::clone(set), *id));
                self.rule_comes(set, *id, value)
            });
        }
        // Nobody else's rules are in it: it is made in one piece, however many rules there are.
        let mut made = Vec::with_capacity(rules.len());
        for (id, value) in rules {
            let Value::Rule(wanted) = value else { continue };
            let object = Object::Rule(Arc::clone(set), *id);
            let entry = self.control.claims.get(&object);
            let known = entry.is_some_and(|entry| entry.has(self.owner) && entry.value() == value);
            let there =
                self.rules_of(set).as_ref().and_then(|rules| rules.get(*id)).filter(|_| known).cloned();
            made.push(there.map_or_else(|| self.resolved(wanted), Ok)?);
            if !known {
                self.control.claims.claim(&object, self.owner, value.clone(), || Value::None);
            }
            self.draft.said.push(object);
        }
        let mut made = RuleSet::of(made).map_err(|error| ClassifyError::Rule(set.to_string(), error))?;
        made.exempt = *exempt;
        *self.rules_of(set) = Some(made);
        Ok(())
    }

    /// The owner wants packets to meet a set.
    pub(super) fn attachment_comes(&mut self, place: Place, value: &Value) -> Result<(), StepError> {
        self.interface(place.0)?;
        let Value::Text(name) = value else { return Ok(()) };
        let set: Arc<str> = name.as_str().into();
        if self.rules_of(&set).is_none() {
            return Err(ClassifyError::UnknownSet(name.clone()).into());
        }
        let object = Object::Attachment(place.0, place.1);
        let entry = self.control.claims.get(&object);
        let others = entry.is_some_and(|entry| entry.owners().any(|owner| owner != self.owner));
        if let Some(other) =
            self.attached_at(place).filter(|other| *other != set && others && !self.by_hand())
        {
            let (interface, set) = (self.control.interface_name(place.0), other.to_string());
            return Err(ClassifyError::Taken { interface, set }.into());
        }
        self.draft.rules.attached.insert(place, (self.step, Some(set)));
        self.control.claims.claim(&object, self.owner, value.clone(), || Value::None);
        Ok(())
    }

    /// That there is something to delete; what else goes with it is let go.
    pub(super) fn check_deleted_rules(&mut self, object: &Object) -> Result<(), StepError> {
        match object {
            Object::Rule(set, id) => {
                let rules =
                    self.rules_of(set).as_ref().ok_or_else(|| ClassifyError::UnknownSet(set.to_string()))?;
                if rules.get(*id).is_none() {
                    return Err(ClassifyError::Rule(set.to_string(), RuleError::Unknown(*id)).into());
                }
            }
            Object::RuleSet(set) => {
                if self.rules_of(set).is_none() {
                    return Err(ClassifyError::UnknownSet(set.to_string()).into());
                }
                self.is_free(set)?;
            }
            Object::Attachment(interface, direction) => {
                self.interface(*interface)?;
                if self.attached_at((*interface, *direction)).is_none() {
                    return Err(ClassifyError::NotAttached(self.control.interface_name(*interface)).into());
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn is_free(&self, set: &Arc<str>) -> Result<(), StepError> {
        match self.is_attached_to(set) {
            None => Ok(()),
            Some(on) => {
                Err(ClassifyError::SetAttached(set.to_string(), self.control.interface_name(on)).into())
            }
        }
    }

    /// The owner lets go of its rules in a set, before it lets go of the set.
    pub(super) fn release_rules(&mut self, set: &Arc<str>) -> Result<(), StepError> {
        let all = self.control.claims.rules_of(set);
        let mine: Vec<Object> =
            all.filter(|(_, entry)| entry.has(self.owner)).map(|(object, _)| object.clone()).collect();
        mine.iter().try_for_each(|object| self.release(object))
    }

    /// Nobody wants it any more (`last`), or it is as another owner wants it.
    pub(super) fn rules_let_go(
        &mut self,
        object: &Object,
        value: &Value,
        last: bool,
    ) -> Result<(), StepError> {
        match (object, value) {
            (Object::Rule(set, id), _) if last => {
                if let Some(rules) = self.rules_of(set) {
                    // The set may have gone before.
                    let _ = rules.remove(*id);
                }
            }
            (Object::Rule(set, id), Value::Rule(wanted)) => self.put_rule(set, *id, wanted)?,
            (Object::RuleSet(set), _) if last => {
                self.is_free(set)?;
                // Its rules go with it, and so does what somebody attached that has not its way.
                self.control.claims.drop_claims(|object, value| match (object, value) {
                    (Object::Rule(of, _), _) => of == set,
                    (Object::Attachment(..), Value::Text(name)) => **name == **set,
                    _ => false,
                });
                *self.rules_of(set) = None;
            }
            (Object::RuleSet(set), Value::Exempt(exempt)) => {
                if let Some(rules) = self.rules_of(set) {
                    rules.exempt = *exempt;
                }
            }
            (Object::Attachment(interface, direction), value) => {
                let set = match value {
                    Value::Text(set) if !last => Some(set.as_str().into()),
                    _ => None,
                };
                self.draft.rules.attached.insert((*interface, *direction), (self.step, set));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Planner<'_> {
    /// An interface is deleted: what is attached to it is detached, and rules that name it go, for its index will be another
    /// interface's. Sets that it alone had go too, but for those of the command line.
    pub(super) fn rules_leave(&mut self, index: InterfaceIndex) -> Result<(), StepError> {
        let mut sets: Vec<Arc<str>> = Vec::new();
        for direction in [Direction::Input, Direction::Output] {
            if let Some(set) = self.attached_at((index, direction)) {
                self.delete(&Object::Attachment(index, direction))?;
                sets.push(set);
            }
        }
        let said_by = self.owner;
        let interface = self.control.interface_name(index);
        for (owner, rules) in self.control.claims.rules_naming(index) {
            self.owner = owner;
            for (set, rule) in rules {
                tracing::debug!("rule {rule} of set '{set}' names interface {interface}, which goes");
                self.release(&Object::Rule(set, rule))?;
            }
        }
        for set in sets {
            let is_attached = self.is_attached_to(&set).is_some();
            let object = Object::RuleSet(Arc::clone(&set));
            let owners = self.control.owners(&object).into_iter();
            for owner in owners.filter(|owner| !is_attached && *owner != Owner::CLI) {
                self.owner = owner;
                self.release_rules(&set)?;
                self.release(&object)?;
            }
        }
        self.owner = said_by;
        Ok(())
    }
}
