// SPDX-License-Identifier: Apache-2.0
//! Rules of a change set: each step works on copies of the sets; when all steps are done, every set that is another one is
//! compiled once, and shown to workers with all others.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use weft_classify::{ClassifyError, Direction, Exempt, Redirect, Rule, RuleError, RuleId, RuleSet, Verdict};
use weft_engine::InterfaceIndex;
use weft_nodes::fib::AdjacencyId;
use weft_nodes::ip4::{Ip4, Owner};

use super::Trial;
use crate::Control;
use crate::change_set::Object;
use crate::error::StepError;
use crate::rules::{RulesOf, WantedRule};
use crate::value::Value;

type Place = (InterfaceIndex, Direction);

/// What becomes of rules, with the last step that changed it.
#[derive(Default)]
pub(super) struct RulesDraft {
    /// `None`: deleted.
    sets: BTreeMap<Arc<str>, (usize, Option<RuleSet>)>,
    attached: BTreeMap<Place, (usize, Option<Arc<str>>)>,
    /// Held for rules that come.
    held: Vec<AdjacencyId>,
    /// Held for the rules that these sets had before.
    before: Vec<AdjacencyId>,
    /// Whether the classifier has begun a transaction.
    begun: bool,
}

fn next_hops(set: &RuleSet) -> impl Iterator<Item = AdjacencyId> {
    set.iter().filter_map(|rule| match rule.action.verdict {
        Verdict::Redirect(Redirect::NextHop(id)) => Some(id),
        _ => None,
    })
}

impl RulesDraft {
    /// Has the classifier get ready for everything.
    pub fn prepare(&mut self, control: &mut Control, refused: &mut Vec<(usize, StepError)>) {
        if self.sets.is_empty() && self.attached.is_empty() {
            return;
        }
        self.begun = true;
        let Control { rule_sets, engine, interfaces, .. } = control;
        rule_sets.begin();
        let mut note = |step: usize, done: Result<(), ClassifyError>| {
            refused.extend(done.err().map(|error| (step, error.into())));
        };
        for (&(interface, direction), (step, set)) in &self.attached {
            let is_attached = rule_sets.attached().any(|(on, way, _)| (on, way) == (interface, direction));
            if set.is_none() && is_attached {
                note(*step, rule_sets.detach(engine, interfaces, interface, direction));
            }
        }
        for (name, (step, set)) in &mut self.sets {
            let before = rule_sets.get(name);
            self.before.extend(before.iter().flat_map(|view| next_hops(view.rules)));
            let same = before.is_some_and(|view| Some(view.rules) == set.as_ref());
            if let Some(set) = set.as_ref().filter(|_| !same) {
                let changed = rule_sets.change(engine, interfaces, name, |rules| {
                    rules.clone_from(set);
                    Ok(())
                });
                note(*step, changed);
            }
        }
        for (&(interface, direction), (step, set)) in &self.attached {
            let Some(set) = set else { continue };
            if !rule_sets.attached().any(|at| at == (interface, direction, &**set)) {
                note(*step, rule_sets.attach(engine, interfaces, set, interface, direction));
            }
        }
        for (name, (step, set)) in &self.sets {
            if set.is_none() && rule_sets.get(name).is_some() {
                note(*step, rule_sets.delete(engine, interfaces, name));
            }
        }
    }

    /// Whether some rule admits flows then, and a step that says so; `None`: rules are as they were.
    pub fn admits(&self, control: &Control) -> Option<(usize, bool)> {
        let admits = |set: &RuleSet| set.iter().any(|rule| rule.action.admit);
        let step =
            self.sets.values().find(|(_, set)| set.as_ref().is_some_and(admits)).map(|(step, _)| *step);
        let all = || control.rule_sets.iter().any(|set| admits(set.rules));
        self.begun.then(|| (step.unwrap_or(0), step.is_some() || all()))
    }

    /// Shows workers all of it. Next hops that no rule names any more are given back: each is held once per rule.
    pub fn commit(self, control: &mut Control) {
        let Control { rule_sets, engine, router, .. } = control;
        if self.begun {
            rule_sets.commit(engine);
        }
        let mut held: HashMap<AdjacencyId, usize> = HashMap::new();
        self.before.into_iter().chain(self.held).for_each(|id| *held.entry(id).or_default() += 1);
        for id in self.sets.keys().filter_map(|name| rule_sets.get(name)).flat_map(|set| next_hops(set.rules))
        {
            if let Some(count) = held.get_mut(&id) {
                *count = count.saturating_sub(1);
            }
        }
        for (id, count) in held {
            (0..count).for_each(|_| router.release_adjacency(engine, id));
        }
    }

    /// Makes the classifier as it was before.
    pub fn roll_back(&mut self, control: &mut Control) {
        let Control { rule_sets, engine, router, .. } = control;
        if std::mem::take(&mut self.begun) {
            rule_sets.roll_back(engine);
        }
        self.held.drain(..).for_each(|id| router.release_adjacency(engine, id));
    }
}

impl Trial<'_> {
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

impl Trial<'_> {
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
