// SPDX-License-Identifier: Apache-2.0
//! `graph`: nodes and the edges between them.

use weft_binapi::api::graph::{GraphNodeDetails, GraphNodeGet, NodeFlag};
use weft_binapi::server::Registry;
use weft_engine::NodeId;
use weft_engine::graph::NodeInfo;
use weft_engine::node::{Kind, NodeSpec, Role};

use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.stream(|_, _, message: &GraphNodeGet| {
        // One by its name, one by its number, or all that have the flags. Who gives a name may have left the number at 0.
        let GraphNodeGet { index, flags, want_arcs, .. } = *message;
        let name = message.name.get().unwrap_or_default().to_owned();
        move |dataplane: &mut Dataplane, from: u32| {
            // Clients that begin say so with all ones.
            let from = if from == u32::MAX { 0 } else { from };
            let wanted = |(id, node): &(NodeId, &NodeInfo)| match (index, name.as_str()) {
                (_, name) if !name.is_empty() => node.name == name,
                (u32::MAX, _) => flags == NodeFlag::default() || flags_of(node.spec).0 & flags.0 != 0,
                (index, _) => u32::from(id.0) == index,
            };
            let graph = dataplane.engine().graph();
            let behind = graph.nodes().filter(|(id, _)| u32::from(id.0) >= from);
            let (id, node) = behind.filter(wanted).min_by_key(|(id, _)| id.0)?;
            let arcs = node.spec.next.iter().filter_map(|next| graph.id(next)).map(|id| u32::from(id.0));
            let details = GraphNodeDetails {
                index: id.0.into(),
                name: node.name.as_str().into(),
                flags: flags_of(node.spec),
                arcs_out: if want_arcs { arcs.collect() } else { Vec::new() },
            };
            Some((id.0.into(), details))
        }
    });
}

fn flags_of(spec: &NodeSpec) -> NodeFlag {
    let role = match spec.role {
        Role::Output => NodeFlag::IS_OUTPUT,
        Role::Drop => NodeFlag::IS_DROP,
        Role::Punt => NodeFlag::IS_PUNT,
        Role::Transit | Role::Hold => NodeFlag::default(),
    };
    let traced = if spec.kind == Kind::Input { NodeFlag::TRACE_SUPPORTED } else { NodeFlag::default() };
    NodeFlag(role.0 | traced.0)
}
