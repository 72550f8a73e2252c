// SPDX-License-Identifier: Apache-2.0
//! Rules of plugins. They belong to the plugin's name, not to one of its incarnations: a reload leaves no moment without
//! rules, and an unload leaves no rules.

use anyhow::Result;
use weft_classify::OwnedSet;
use weft_plugin_host::rules::owner;

use crate::state::Dataplane;

impl Dataplane {
    /// The rule sets of a plugin are these from now on, or, on an error, those that they were. Flows are looked up as long as
    /// one of the rules admits flows.
    pub(super) fn set_plugin_rules(&mut self, plugin: &str, sets: &[OwnedSet]) -> Result<()> {
        let owner = owner(plugin);
        if sets.iter().any(OwnedSet::admits) {
            self.admit_flows(&owner)?;
        }
        let Dataplane { rule_sets, engine, interfaces, .. } = self;
        let done = rule_sets.set_owned(engine, interfaces, &owner, sets);
        if !self.rule_sets.owned(&owner).iter().any(OwnedSet::admits) {
            self.admit_no_flows(&owner);
        }
        Ok(done?)
    }

    /// Rule sets of plugins among these that no interface has any more are deleted.
    pub fn forget_plugin_rules(&mut self, sets: &[String]) {
        let owners: Vec<String> = self.plugins.names().map(owner).collect();
        let Dataplane { rule_sets, engine, interfaces, .. } = self;
        for owner in owners {
            for set in rule_sets.owned(&owner).iter().filter(|set| sets.contains(&set.name)) {
                // An error says that it is attached somewhere else, and stays.
                let _ = rule_sets.delete(engine, interfaces, &set.name);
            }
        }
    }
}
