// SPDX-License-Identifier: Apache-2.0
//! Who wants what.
//!
//! An object is there as long as somebody claims it. Where claims differ in their value (the MAC address of a neighbour, an
//! MTU), the last one has its way, and when it is let go the one before has it again; a setting that nobody claims any more
//! has the value that it had before the first claim.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weft_classify::RuleId;
use weft_engine::InterfaceIndex;
use weft_nodes::ip4::Owner;

use crate::object::Object;
use crate::value::Value;

/// What is claimed of one object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Of a setting: what it was before anybody claimed it.
    base: Value,
    /// In the order in which they were said; each owner has one at most.
    claims: Vec<(Owner, Value)>,
}

impl Entry {
    pub fn owners(&self) -> impl Iterator<Item = Owner> {
        self.claims.iter().map(|(owner, _)| *owner)
    }

    pub fn has(&self, owner: Owner) -> bool {
        self.claim_of(owner).is_some()
    }

    /// What an owner has said of it.
    pub fn claim_of(&self, owner: Owner) -> Option<&Value> {
        self.claims.iter().find(|(other, _)| *other == owner).map(|(_, value)| value)
    }

    /// The value that has its way.
    pub fn value(&self) -> &Value {
        self.claims.last().map_or(&self.base, |(_, value)| value)
    }
}

/// What is being said again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Replay {
    /// Everything of one owner.
    Owner(Owner),
    /// All addresses, whoever said them first, as VPP's `sw_interface_address_replace_begin` has it.
    Addresses,
    /// All static neighbours, likewise.
    Neighbors,
}

impl Replay {
    /// Whether it counts when this owner says something.
    pub(crate) fn hears(self, owner: Owner) -> bool {
        self == Replay::Owner(owner) || !matches!(self, Replay::Owner(_))
    }
}

/// All claims, and what is being said again.
#[derive(Default)]
pub(crate) struct Claims {
    entries: BTreeMap<Object, Entry>,
    /// Of each replay that is under way, what it has not mentioned yet.
    awaited: BTreeMap<Replay, BTreeSet<Object>>,
    /// In a transaction: entries as they were before.
    before: Option<BTreeMap<Object, Option<Entry>>>,
}

impl Claims {
    pub fn get(&self, object: &Object) -> Option<&Entry> {
        self.entries.get(object)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Object, &Entry)> {
        self.entries.iter()
    }

    /// What is claimed on an interface.
    pub fn on(&self, interface: InterfaceIndex) -> impl Iterator<Item = &Object> {
        self.entries.keys().filter(move |object| object.interface() == Some(interface))
    }

    pub fn begin(&mut self) {
        self.before = Some(BTreeMap::new());
    }

    pub fn commit(&mut self) {
        self.before = None;
    }

    pub fn roll_back(&mut self) {
        for (object, entry) in self.before.take().unwrap_or_default() {
            match entry {
                Some(entry) => drop(self.entries.insert(object, entry)),
                None => drop(self.entries.remove(&object)),
            }
        }
    }

    fn keep(&mut self, object: &Object) {
        if let Some(before) = &mut self.before
            && !before.contains_key(object)
        {
            before.insert(object.clone(), self.entries.get(object).cloned());
        }
    }

    /// An owner wants an object. `base`: what a setting is before the first claim.
    pub fn claim(&mut self, object: &Object, owner: Owner, value: Value, base: impl FnOnce() -> Value) {
        self.keep(object);
        let entry =
            self.entries.entry(object.clone()).or_insert_with(|| Entry { base: base(), claims: Vec::new() });
        entry.claims.retain(|(other, _)| *other != owner);
        entry.claims.push((owner, value));
    }

    /// An owner lets go; `None`: it has claimed nothing. Otherwise the value from now on, and whether nobody is left.
    pub fn release(&mut self, object: &Object, owner: Owner) -> Option<(Value, bool)> {
        if !self.entries.get(object)?.has(owner) {
            return None;
        }
        self.keep(object);
        let entry = self.entries.get_mut(object)?;
        entry.claims.retain(|(other, _)| *other != owner);
        let (value, last) = (entry.value().clone(), entry.claims.is_empty());
        if last {
            self.entries.remove(object);
        }
        Some((value, last))
    }

    /// All owners let go; returns the value from now on.
    pub fn remove(&mut self, object: &Object) -> Option<Value> {
        self.keep(object);
        self.entries.remove(object).map(|entry| entry.base)
    }

    /// Drops claims by their objects and values, and objects that nobody claims then.
    pub fn drop_claims(&mut self, goes: impl Fn(&Object, &Value) -> bool) {
        let concerned =
            |(object, entry): &(&Object, &Entry)| entry.claims.iter().any(|(_, value)| goes(object, value));
        let objects: Vec<Object> =
            self.entries.iter().filter(concerned).map(|(object, _)| object.clone()).collect();
        for object in objects {
            self.keep(&object);
            if let Some(entry) = self.entries.get_mut(&object) {
                entry.claims.retain(|(_, value)| !goes(&object, value));
                if entry.claims.is_empty() {
                    self.entries.remove(&object);
                }
            }
        }
    }

    /// Drops objects that are gone.
    pub fn retain(&mut self, stays: impl Fn(&Object) -> bool) {
        self.entries.retain(|object, _| stays(object));
    }

    /// An interface goes: another one may have its index.
    pub fn forget(&mut self, interface: InterfaceIndex) {
        let on_it: Vec<Object> = self.on(interface).cloned().collect();
        for object in on_it {
            self.remove(&object);
        }
        self.drop_claims(|_, value| *value == Value::Interface(interface));
    }

    /// Nobody has to say again what was on an interface that has gone.
    pub fn await_nothing_on(&mut self, interface: InterfaceIndex) {
        let stays = |object: &Object| object.interface() != Some(interface);
        self.awaited.values_mut().for_each(|objects| objects.retain(stays));
    }

    /// These are to be said again. A replay that was under way is forgotten.
    pub fn await_again(&mut self, replay: Replay, objects: BTreeSet<Object>) {
        self.awaited.insert(replay, objects);
    }

    /// All claims on rules of a set.
    pub fn rules_of(&self, set: &Arc<str>) -> impl Iterator<Item = (&Object, &Entry)> {
        let rule = |id| Object::Rule(Arc::clone(set), RuleId(id));
        self.entries.range(rule(0)..=rule(u32::MAX))
    }

    /// Rules that are about an interface, by who wants them so.
    pub fn rules_naming(&self, interface: InterfaceIndex) -> BTreeMap<Owner, Vec<(Arc<str>, RuleId)>> {
        let mut naming: BTreeMap<Owner, Vec<(Arc<str>, RuleId)>> = BTreeMap::new();
        for (object, entry) in &self.entries {
            let Object::Rule(set, id) = object else { continue };
            for (owner, value) in &entry.claims {
                if matches!(value, Value::Rule(rule) if rule.names(interface)) {
                    naming.entry(*owner).or_default().push((Arc::clone(set), *id));
                }
            }
        }
        naming
    }

    /// What an owner has said of an object.
    pub fn claim_of(&self, object: &Object, owner: Owner) -> Option<&Value> {
        self.get(object)?.claim_of(owner)
    }

    /// What an owner claims.
    pub fn of(&self, owner: Owner) -> BTreeSet<Object> {
        self.entries.iter().filter(|(_, entry)| entry.has(owner)).map(|(object, _)| object.clone()).collect()
    }

    /// Whether a replay waits for it, so that who says it does not say it twice.
    pub fn is_awaited(&self, object: &Object, owner: Owner) -> bool {
        self.awaited.iter().any(|(replay, objects)| replay.hears(owner) && objects.contains(object))
    }

    /// An owner has said it.
    pub fn said(&mut self, object: &Object, owner: Owner) {
        for (_, objects) in self.awaited.iter_mut().filter(|(replay, _)| replay.hears(owner)) {
            objects.remove(object);
        }
    }

    /// What was not said again. Empty without a beginning.
    pub fn end(&mut self, replay: Replay) -> BTreeSet<Object> {
        self.awaited.remove(&replay).unwrap_or_default()
    }
}
