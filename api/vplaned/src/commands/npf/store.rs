// SPDX-License-Identifier: Apache-2.0
//! What `npf-cfg` commands want, whether or not it can be had yet.
//!
//! Every change is idempotent: commands are repeated around a resync and whenever an interface comes back. A snapshot is
//! a full description, so what it does not mention is gone at its end; until the next commit nothing of all that
//! reaches a packet. Belongs to the main thread.

use std::collections::{BTreeMap, BTreeSet};

use super::{AddressRange, AttachPoint, GroupClass, GroupName, NpfCommand, NpfRule, Ruleset};

/// Rules by number, which is the order of their evaluation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    pub rules: BTreeMap<u32, NpfRule>,
}

/// Where groups are attached, and as what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    pub point: AttachPoint,
    pub ruleset: Ruleset,
}

/// Everything wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    groups: BTreeMap<GroupName, Group>,
    /// In the order of evaluation.
    attached: BTreeMap<Attachment, Vec<GroupName>>,
    addresses: BTreeMap<String, BTreeSet<AddressRange>>,
    timeouts: BTreeMap<(u32, String, String), u32>,
    tcp_strict: bool,
    icmp_strict: bool,
    /// Something has changed since the last commit.
    changed: bool,
    /// What stood before the snapshot that is under way.
    before: Option<Box<Store>>,
}

impl Store {
    pub fn new() -> Store {
        Store::default()
    }

    /// Takes a command. Says whether what is wanted now has to be put into effect.
    pub fn apply(&mut self, command: NpfCommand) -> bool {
        match command {
            NpfCommand::Commit => return self.commit(),
            NpfCommand::AddRule { group, index, rule } => {
                let rules = &mut self.groups.entry(group).or_default().rules;
                self.changed |= rules.insert(index, rule.clone()) != Some(rule);
            }
            NpfCommand::DeleteRule { group, index } => {
                if let Some(found) = self.groups.get_mut(&group) {
                    self.changed |= found.rules.remove(&index).is_some();
                    if found.rules.is_empty() {
                        self.groups.remove(&group);
                    }
                }
            }
            NpfCommand::DeleteGroup { group } => self.changed |= self.groups.remove(&group).is_some(),
            NpfCommand::Attach { point, ruleset, group } => {
                let groups = self.attached.entry(Attachment { point, ruleset }).or_default();
                if !groups.contains(&group) {
                    groups.push(group);
                    self.changed = true;
                }
            }
            NpfCommand::Detach { point, ruleset, group } => {
                let attachment = Attachment { point, ruleset };
                if let Some(groups) = self.attached.get_mut(&attachment) {
                    let before = groups.len();
                    groups.retain(|attached| *attached != group);
                    self.changed |= groups.len() != before;
                    if groups.is_empty() {
                        self.attached.remove(&attachment);
                    }
                }
            }
            NpfCommand::CreateAddressGroup { name } => {
                self.changed |= !self.addresses.contains_key(&name);
                self.addresses.entry(name).or_default();
            }
            NpfCommand::DeleteAddressGroup { name } => {
                self.changed |= self.addresses.remove(&name).is_some();
            }
            NpfCommand::AddAddresses { name, range } => {
                self.changed |= self.addresses.entry(name).or_default().insert(range);
            }
            NpfCommand::RemoveAddresses { name, range } => {
                self.changed |= self.addresses.get_mut(&name).is_some_and(|group| group.remove(&range));
            }
            NpfCommand::TcpStrict(strict) => {
                self.changed |= self.tcp_strict != strict;
                self.tcp_strict = strict;
            }
            NpfCommand::IcmpStrict(strict) => {
                self.changed |= self.icmp_strict != strict;
                self.icmp_strict = strict;
            }
            NpfCommand::Timeout { vrf, protocol, state, seconds } => {
                let key = (vrf, protocol, state);
                let before = match seconds {
                    Some(seconds) => self.timeouts.insert(key, seconds),
                    None => self.timeouts.remove(&key),
                };
                self.changed |= before != seconds;
            }
        }
        false
    }

    fn commit(&mut self) -> bool {
        // During a snapshot the rest of it is still missing.
        self.before.is_none() && std::mem::take(&mut self.changed)
    }

    /// A full description begins.
    pub fn begin_resync(&mut self) {
        // A snapshot that is begun again was not finished: what stood before the first one still stands.
        let before = self.before.take().unwrap_or_else(|| Box::new(std::mem::take(self)));
        *self = Store { before: Some(before), ..Store::default() };
    }

    /// The description is complete, and commits by itself. Says whether it differs from what stood before.
    pub fn end_resync(&mut self) -> bool {
        let Some(before) = self.before.take() else { return false };
        let uncommitted = before.changed;
        self.changed = false;
        uncommitted || *self != Store { changed: false, ..*before }
    }

    /// The description was not finished: what stood before it still does.
    pub fn abandon_resync(&mut self) {
        if let Some(before) = self.before.take() {
            *self = *before;
        }
    }

    /// Whether nothing at all is wanted.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.attached.is_empty()
    }

    /// Whether a snapshot is under way.
    pub fn is_resyncing(&self) -> bool {
        self.before.is_some()
    }

    pub fn group(&self, name: &GroupName) -> Option<&Group> {
        self.groups.get(name)
    }

    /// All groups that have rules, by class and name.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupName, &Group)> {
        self.groups.iter()
    }

    /// What `attach` said: where, as what, which groups, also those that have no rules yet.
    pub fn attached(&self) -> impl Iterator<Item = (&Attachment, &[GroupName])> {
        self.attached.iter().map(|(at, groups)| (at, groups.as_slice()))
    }

    /// All address groups, by name.
    pub fn address_groups(&self) -> impl Iterator<Item = (&str, &BTreeSet<AddressRange>)> {
        self.addresses.iter().map(|(name, group)| (name.as_str(), group))
    }

    pub fn address_group(&self, name: &str) -> Option<&BTreeSet<AddressRange>> {
        self.addresses.get(name)
    }

    /// Contents of a value group (`port-group`, ...), in order.
    pub fn values(&self, class: GroupClass, name: &str) -> impl Iterator<Item = &str> {
        let group = self.groups.get(&GroupName { class, name: name.to_owned() });
        group.into_iter().flat_map(|group| group.rules.values().map(|rule| rule.text.as_str()))
    }

    pub fn tcp_strict(&self) -> bool {
        self.tcp_strict
    }

    pub fn icmp_strict(&self) -> bool {
        self.icmp_strict
    }

    /// Seconds that a session may be idle, by VRF, protocol and state.
    pub fn timeouts(&self) -> &BTreeMap<(u32, String, String), u32> {
        &self.timeouts
    }

    /// What is attached where, groups that attach themselves included; groups without rules are left out.
    pub fn rulesets(&self) -> impl Iterator<Item = (Attachment, Vec<&GroupName>)> {
        let mut rulesets: BTreeMap<Attachment, Vec<&GroupName>> = BTreeMap::new();
        for (attachment, groups) in &self.attached {
            let present = groups.iter().filter(|name| self.groups.contains_key(*name));
            rulesets.entry(attachment.clone()).or_default().extend(present);
        }
        for name in self.groups.keys() {
            if let Some(ruleset) = name.class.attaches_itself() {
                let point = AttachPoint::Interface(name.name.clone());
                rulesets.entry(Attachment { point, ruleset }).or_default().push(name);
            }
        }
        rulesets.into_iter()
    }
}
