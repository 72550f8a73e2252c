// SPDX-License-Identifier: Apache-2.0
//! What of the dataplane a plugin can reach.

use weft_binapi::server::SessionId;
use weft_classify::{OwnedSet, RuleId};
use weft_engine::{Engine, InterfaceIndex};
use weft_plugin_host::World;
use weft_stats::Combined;

use crate::state::Dataplane;

impl World for Dataplane {
    fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn interface(&self, name: &str) -> Option<InterfaceIndex> {
        self.interfaces.find(name)
    }

    fn interface_name(&self, interface: InterfaceIndex) -> Option<String> {
        self.interfaces.get(interface).map(|interface| interface.name.clone())
    }

    fn next_interface(&self, from: InterfaceIndex) -> Option<InterfaceIndex> {
        self.interfaces.iter().map(|(index, _)| index).find(|index| *index >= from)
    }

    fn set_feature(
        &mut self,
        arc: &str,
        node: &str,
        interface: InterfaceIndex,
        on: bool,
    ) -> Result<(), String> {
        if self.interfaces.get(interface).is_none() {
            return Err(format!("no interface has index {interface}"));
        }
        let arc = self.engine.features().arc(arc).map_err(|error| error.to_string())?;
        Dataplane::set_feature(self, arc, interface, node, on).map(drop).map_err(|error| error.to_string())
    }

    fn set_rules(&mut self, plugin: &str, sets: &[OwnedSet]) -> Result<(), String> {
        self.set_plugin_rules(plugin, sets).map_err(|error| format!("{error:#}"))
    }

    fn rule_hits(&self, set: &str, rule: RuleId) -> Option<Combined> {
        self.rule_sets.get(set).map(|set| set.hits(rule))
    }

    fn send_event(&mut self, session: u64, event: &str, body: &[u8]) -> Result<(), String> {
        let api = self.api.as_ref().ok_or("the binary API is not served yet")?;
        match api.clients.send_body(SessionId(session), event, body) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("the client of session {session} has gone")),
            Err(error) => Err(format!("event '{event}': {error}")),
        }
    }
}
