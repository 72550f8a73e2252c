// SPDX-License-Identifier: Apache-2.0
//! Rules of plugins. They belong to the plugin's name, not to one of its incarnations: a reload leaves no moment without
//! rules, and an unload leaves no rules.

use anyhow::Result;
use weft_classify::OwnedSet;
use weft_control::Control;
use weft_engine::InterfaceIndex;
use weft_plugin_host::rules::owner;

use super::Plugins;
use crate::lifecycle::{Foundation, Subsystem};
use crate::state::Dataplane;

impl Dataplane {
    /// The rule sets of a plugin are these from now on, or, on an error, those that they were. Flows are looked up as long as
    /// one of the rules admits flows.
    pub(super) fn set_plugin_rules(&mut self, plugin: &str, sets: &[OwnedSet]) -> Result<()> {
        let owner = owner(plugin);
        if sets.iter().any(OwnedSet::admits) {
            self.admit_flows(&owner)?;
        }
        let Dataplane { rule_sets, control: Control { engine, interfaces, .. }, .. } = self;
        let done = rule_sets.set_owned(engine, interfaces, &owner, sets);
        if !self.rule_sets.owned(&owner).iter().any(OwnedSet::admits) {
            self.admit_no_flows(&owner);
        }
        Ok(done?)
    }
}

impl Subsystem for Plugins {
    /// Rule sets of plugins that no interface has any more are deleted.
    fn interface_removed(&mut self, cx: &mut Foundation<'_>, _: InterfaceIndex) {
        for owner in self.names().map(owner) {
            cx.rule_sets.forget_unattached(cx.engine, cx.interfaces, &owner);
        }
    }
}
