// SPDX-License-Identifier: Apache-2.0
//! What of the dataplane a plugin can reach.

use weft_classify::{OwnedSet, RuleId};
use weft_engine::{ArcId, Engine, InterfaceIndex, NodeId};
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
        let last = self.after_arc(arc, interface);
        self.engine.set_feature(arc, interface, node, on, last).map(drop).map_err(|error| error.to_string())
    }

    fn set_rules(&mut self, plugin: &str, sets: &[OwnedSet]) -> Result<(), String> {
        self.set_plugin_rules(plugin, sets).map_err(|error| format!("{error:#}"))
    }

    fn rule_hits(&self, set: &str, rule: RuleId) -> Option<Combined> {
        self.rule_sets.get(set).map(|set| set.hits(rule))
    }
}

impl Dataplane {
    /// The node that follows the features of an arc.
    pub fn after_arc(&self, arc: ArcId, interface: InterfaceIndex) -> NodeId {
        let (arcs, nodes) = (&self.nodes.arcs, &self.nodes);
        let fixed = [arcs.arp, arcs.ip4_unicast, arcs.ip4_local, (self.devices.arc, nodes.ethernet_input)];
        let fixed = fixed.into_iter().find(|(known, _)| *known == arc).map(|(_, last)| last);
        // On the way out it is the interface's own.
        fixed.or_else(|| self.interfaces.get(interface).map(|interface| interface.tx)).unwrap_or(NodeId::DROP)
    }
}
