// SPDX-License-Identifier: Apache-2.0
//! What a plugin wants. Each plugin is an owner, by its name, not by one of its incarnations: a reload leaves no moment without
//! its rules, and an unload leaves nothing behind.

use anyhow::Result;
use weft_classify::OwnedSet;
use weft_control::{ChangeSet, Owner, Purpose};

use crate::plugins::Plugins;
use crate::state::Dataplane;

impl Dataplane {
    /// The owner that a plugin is.
    pub(super) fn plugin_owner(&mut self, plugin: &str) -> Owner {
        let numbers = &mut self.part_mut::<Plugins>().numbers;
        let number = match numbers.iter().position(|name| name == plugin) {
            Some(number) => number,
            None => {
                numbers.push(plugin.to_owned());
                numbers.len() - 1
            }
        };
        Owner::plugin(number as u16)
    }

    /// An owner, as operators know it: a plugin by its name.
    pub fn owner_name(&self, owner: Owner) -> String {
        let names = &self.part::<Plugins>().numbers;
        match owner.plugin_number().and_then(|number| names.get(usize::from(number))) {
            Some(name) => format!("plugin {name}"),
            None => owner.to_string(),
        }
    }

    /// The rule sets of a plugin are these from now on, or, on an error, those that they were.
    pub(super) fn set_plugin_rules(&mut self, plugin: &str, sets: &[OwnedSet]) -> Result<()> {
        let owner = self.plugin_owner(plugin);
        let mut changes = ChangeSet::new(owner);
        changes.replace_rule_sets(self, sets)?;
        Ok(self.change(&changes, Purpose::Make)?)
    }

    /// A plugin has left the graph: nobody wants any more what it wanted.
    pub(super) fn forget_plugin(&mut self, plugin: &str) {
        self.forget_lost_features();
        let owner = self.plugin_owner(plugin);
        self.begin_resync(owner);
        if let Err(error) = self.end_resync(owner) {
            tracing::error!("plugin '{plugin}': {error}");
        }
    }
}
