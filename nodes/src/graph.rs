// SPDX-License-Identifier: Apache-2.0
//! The nodes of this crate in a graph, and how the main thread speaks to them.
//!
//! It makes the tables, adds the nodes once ([`add_nodes`]: those that have added themselves), and from then on speaks to them by
//! published tables and by messages ([`HeldPackets`]).

use rtrb::Consumer;
use weft_engine::graph::{BUILT_IN, GraphError, Registration};
use weft_engine::{Engine, NodeId};
use weft_fib::{Ip4, Ip6};

use crate::arcs;
use crate::forward::checks::CheckNodes;
use crate::hold::HeldPackets;
use crate::interface::Interfaces;
use crate::neighbor::NeighborNotice;
use crate::reassembly::node::{Fragmented, Reassemble};
use crate::registries;
use crate::router::Router;
use crate::setup::{NODES, Setup};
pub use crate::tables::{FlowLabels, HeaderLimit, Settings, Tables};
use crate::values::InterfaceValues;

/// The nodes, as the main thread knows them.
pub struct Nodes {
    /// Where ports send what they receive.
    pub ethernet_input: NodeId,
    /// Where packets enter that are made here.
    pub ip4_lookup: NodeId,
    /// The same of IPv6.
    pub ip6_lookup: NodeId,
    /// Transmits on loopback interfaces.
    pub loopback_tx: NodeId,
    /// Tells senders of what cannot go on, within limits.
    pub ip4_icmp_error: NodeId,
    /// The same of IPv6.
    pub ip6_icmp_error: NodeId,
    /// Where fragments wait that are for this host.
    pub ip4_reassembly: NodeId,
    /// The same of IPv6.
    pub ip6_reassembly: NodeId,
    /// What interfaces let in.
    pub admission: CheckNodes,
    /// What to do with IPv4 packets that wait.
    pub held: HeldPackets<Ip4>,
    /// The same of IPv6.
    pub held6: HeldPackets<Ip6>,
    /// News of neighbours: four rings per worker.
    pub notices: Vec<Consumer<NeighborNotice>>,
    /// Numbers of interfaces.
    pub values: InterfaceValues,
    /// Most extension headers that a node looks behind.
    pub extension_headers: HeaderLimit,
    /// Whether flows of IPv6 are told apart by their label.
    pub flow_labels: FlowLabels,
}

impl Nodes {
    /// From now on the router sends on what waits for a neighbour.
    pub fn attach(&self, router: &mut Router) {
        router.attach(self.held);
        router.attach(self.held6);
    }

    /// From now on packets that wait forget an interface that is deleted.
    pub fn forget_deleted(&self, interfaces: &mut Interfaces) {
        self.held.forget_deleted(interfaces);
        self.held6.forget_deleted(interfaces);
        forget_fragments::<Ip4>(self.ip4_reassembly, interfaces);
        forget_fragments::<Ip6>(self.ip6_reassembly, interfaces);
    }
}

fn forget_fragments<F: Fragmented>(reassembly: NodeId, interfaces: &mut Interfaces) {
    interfaces.on_delete(move |engine, interface| {
        engine.post_all(move |worker| {
            if let Some((node, buffers)) = worker.node_and_buffers::<Reassemble<F>>(reassembly) {
                node.disown(buffers, interface);
            }
        });
    });
}

/// Adds arcs, registries and nodes.
pub fn add_nodes(engine: &mut Engine, tables: &Tables) -> Result<Nodes, GraphError> {
    crate::context::claim(engine)?;
    let mut setup = Setup { engine, tables, values: InterfaceValues::default(), notices: Vec::new() };
    let mut nodes = NODES.iter().map(|add| add(&mut setup)).collect::<Result<Vec<_>, _>>()?;
    // The linker's order is nobody's.
    nodes.sort_by(|a, b| a.name().cmp(b.name()));
    let Setup { engine, values, notices, .. } = setup;
    engine.register(
        BUILT_IN,
        Registration { arcs: arcs::all(), registries: registries::all(), nodes, ..Registration::default() },
    )?;
    let id = |name| engine.graph().id(name).expect("the node was added just now");
    let (icmp_error, icmp6_error) = (id("ip4-icmp-error"), id("ip6-icmp-error"));
    Ok(Nodes {
        admission: CheckNodes::new(engine),
        ethernet_input: id("ethernet-input"),
        ip4_lookup: id("ip4-lookup"),
        ip6_lookup: id("ip6-lookup"),
        loopback_tx: id("loopback-tx"),
        ip4_icmp_error: icmp_error,
        ip4_reassembly: id("ip4-reassembly"),
        ip6_reassembly: id("ip6-reassembly"),
        ip6_icmp_error: icmp6_error,
        held: HeldPackets::new(id("ip4-arp"), id("ip4-rewrite"), icmp_error),
        held6: HeldPackets::new(id("ip6-discover-neighbor"), id("ip6-rewrite"), icmp6_error),
        notices,
        values,
        extension_headers: tables.extension_headers.clone(),
        flow_labels: tables.flow_labels.clone(),
    })
}
