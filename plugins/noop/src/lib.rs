// SPDX-License-Identifier: Apache-2.0
//! Passes packets on: the smallest plugin, and the measure of what a plugin's node costs.
#![forbid(unsafe_code)]

use weft_plugin_sdk::{Done, Feature, Node, Plugin, PluginNode, Result, Setup, Vector, weft_plugin};

struct Noop;

impl Plugin for Noop {
    fn start(setup: &mut Setup<'_, Self>) -> Result<Self> {
        setup.node(Node::new("noop", |_| NoopNode))?;
        setup.feature(Feature::new("ip4-unicast", "noop"))?;
        Ok(Noop)
    }
}

struct NoopNode;

impl PluginNode for NoopNode {
    fn process(&mut self, vector: Vector<'_>) -> Done {
        vector.each(|packet| packet.pass())
    }
}

weft_plugin! { plugin: Noop, name: "noop", summary: "Passes packets on" }
