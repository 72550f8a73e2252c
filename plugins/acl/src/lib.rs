// SPDX-License-Identifier: Apache-2.0
//! Access control lists, stateless and reflexive: VPP's acl plugin, on Weft's classifier and flow tracker.
//!
//! The plugin has no node. It keeps lists and where they are applied ([`model`]), makes of them one rule set per
//! interface and direction ([`compile`]), and has the classifier apply those. A rule that says `permit+reflect` admits the
//! flow; packets of admitted flows meet no rules. Main thread only.
#![forbid(unsafe_code)]

mod commands;
mod compile;
mod messages;
mod model;
#[cfg(test)]
mod oracle;
mod rule;
mod show;
mod state;

use weft_plugin_sdk::{Event, Main, Plugin, Result, Setup, State, weft_plugin};

use crate::model::Lists;

/// The plugin.
pub struct Acl {
    lists: Lists,
}

impl Plugin for Acl {
    fn start(setup: &mut Setup<'_, Self>) -> Result<Self> {
        commands::register(setup)?;
        messages::register(setup)?;
        Ok(Acl { lists: Lists::default() })
    }

    fn export_state(&mut self) -> Option<State> {
        Some(State { version: state::VERSION, bytes: state::write(&self.lists).into_bytes() })
    }

    fn import_state(&mut self, main: &mut Main<'_>, state: State) -> Result<()> {
        self.lists = state::read(&state)?;
        main.set_rules(&compile::rule_sets(&self.lists))
    }

    /// An interface takes its rules along when it is deleted.
    fn hear(&mut self, _: &mut Main<'_>, event: Event) -> Result<()> {
        if let Event::InterfaceRemoved(interface) = event {
            self.lists.applied.retain(|at, _| at.interface != interface);
        }
        Ok(())
    }
}

impl Acl {
    /// Changes the lists, and the rules with them; what is refused has changed neither.
    fn change<R>(&mut self, main: &mut Main<'_>, change: impl FnOnce(&mut Lists) -> Result<R>) -> Result<R> {
        let mut lists = self.lists.clone();
        let answer = change(&mut lists)?;
        main.set_rules(&compile::rule_sets(&lists))?;
        self.lists = lists;
        Ok(answer)
    }
}

weft_plugin! { plugin: Acl, name: "acl", summary: "Access control lists, stateless and reflexive" }
