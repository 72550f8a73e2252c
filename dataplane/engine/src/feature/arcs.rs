// SPDX-License-Identifier: Apache-2.0
//! Feature arcs as workers read them: for each arc and interface, where in the list of chains its features begin.
//!
//! A table is immutable; a worker adopts another one between two turns. So the place of a packet in its chain is valid
//! while the packet moves through the graph, and not beyond: a packet that waits in a node, or goes to another worker,
//! is parked ([`Arcs::park`]) and finds its place again in the table of that time ([`Arcs::resume`]).

use std::ops::Range;

use super::ArcKey;
use crate::buffer::{Metadata, Packet};
use crate::ids::{ArcId, InterfaceIndex, NodeId, ReasonId};

/// In [`Metadata::feature`]: the rest is not a place in a chain, but the number of the arc.
const PARKED: u32 = 1 << 31;
/// The number of a packet that is on no arc.
const NO_ARC: u32 = 0xff;
/// Longest chain: features of one arc, and the node after them.
const MAX_CHAIN: usize = 64;
/// In front of all chains: a place 0 says "no features", and a step from there leads nowhere.
pub(super) const NOWHERE: [NodeId; 2] = [NodeId::DROP; 2];

/// The node that follows an arc.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// One for all interfaces.
    Node(NodeId),
    /// The transmit node of the packet's interface.
    Transmit,
}

/// One arc.
pub(super) struct Table {
    /// By interface, where in the list of chains its features begin; 0: it has none.
    pub starts: Box<[u32]>,
    /// The part of the list that has its chains.
    pub region: Range<u32>,
    pub key: ArcKey,
    pub end: End,
}

/// Of a number that no arc has.
impl Default for Table {
    fn default() -> Table {
        let end = End::Node(NodeId::DROP);
        Table { starts: Box::default(), region: 0..0, key: ArcKey::RxInterface, end }
    }
}

impl Table {
    #[inline(always)]
    fn interface(&self, meta: &Metadata) -> InterfaceIndex {
        match self.key {
            ArcKey::RxInterface => meta.rx_interface,
            ArcKey::TxInterface => meta.tx_interface,
        }
    }
}

/// The tables that workers read; immutable.
#[derive(Default)]
pub struct Arcs {
    pub(super) arcs: Box<[Table]>,
    /// Chains back to back, each closed by the node that follows the arc.
    pub(super) chain: Box<[NodeId]>,
    /// Transmit nodes by interface.
    pub(super) transmit: Box<[NodeId]>,
}

impl Arcs {
    /// Whether `interface` has features on `arc`.
    #[inline(always)]
    pub fn has(&self, arc: ArcId, interface: InterfaceIndex) -> bool {
        self.arc(arc).place(interface).is_some()
    }

    /// The first feature of `interface` on `arc`, if it has any.
    #[inline(always)]
    pub fn start(&self, arc: ArcId, interface: InterfaceIndex, packet: &mut Packet<'_>) -> Option<NodeId> {
        self.arc(arc).start(interface, packet)
    }

    /// One arc, for the packets of a vector.
    #[inline(always)]
    pub fn arc(&self, arc: ArcId) -> ArcStart<'_> {
        let starts = self.arcs.get(arc.index()).map_or(&[][..], |arc| &arc.starts);
        ArcStart { starts, chain: &self.chain }
    }

    /// All chains; a packet's place is an index into them.
    #[inline(always)]
    pub fn chain(&self) -> &[NodeId] {
        &self.chain
    }

    /// The node after the feature that the packet is in.
    #[inline(always)]
    pub fn next(&self, packet: &mut Packet<'_>) -> NodeId {
        packet.meta.feature += 1;
        match self.chain.get(packet.meta.feature as usize) {
            Some(&node) => node,
            None => NodeId::DROP,
        }
    }

    /// Whether the packet is in a feature of `arc`, or just after the last one.
    #[inline]
    pub fn is_on(&self, arc: ArcId, packet: &Packet<'_>) -> bool {
        self.arcs.get(arc.index()).is_some_and(|arc| arc.region.contains(&packet.meta.feature))
    }

    /// Has the packet note its arc in place of its place there, before it waits or goes to another worker.
    pub fn park(&self, packet: &mut Packet<'_>) {
        let place = packet.meta.feature;
        if place & PARKED == 0 {
            let arc = self.arcs.iter().position(|arc| arc.region.contains(&place));
            packet.meta.feature = PARKED | arc.map_or(NO_ARC, |arc| arc as u32);
        }
    }

    /// Puts a parked packet back to its place in `node`: the chains may be others now. Returns the node, or the one that
    /// follows the arc if the node has left the chain of the packet's interface.
    pub fn resume(&self, node: NodeId, packet: &mut Packet<'_>) -> NodeId {
        let arc = packet.meta.feature ^ PARKED;
        packet.meta.feature = 0;
        let Some(table) = self.arcs.get(arc as usize) else {
            return node;
        };
        let interface = table.interface(packet.meta);
        let end = match table.end {
            End::Node(node) => node,
            End::Transmit => self.transmit.get(interface.index()).copied().unwrap_or(NodeId::DROP),
        };
        if let Some(&start @ 1..) = table.starts.get(interface.index()) {
            for (place, &next) in (start..).zip(&self.chain[start as usize..]).take(MAX_CHAIN) {
                if next == node {
                    packet.meta.feature = place;
                    return node;
                }
                if next == end {
                    break;
                }
            }
        }
        if end == NodeId::DROP {
            packet.meta.reason = ReasonId::NODE_REMOVED;
        }
        end
    }
}

/// The beginning of an arc, for the packets of a vector.
#[derive(Clone, Copy)]
pub struct ArcStart<'a> {
    starts: &'a [u32],
    chain: &'a [NodeId],
}

/// Where packets of one interface enter an arc.
#[derive(Clone, Copy)]
pub struct Place {
    place: u32,
    node: NodeId,
}

impl Place {
    /// No features: straight on to `node`.
    pub const fn none(node: NodeId) -> Place {
        Place { place: 0, node }
    }

    /// Sets the packet on its way; returns the first feature.
    #[inline(always)]
    pub fn enter(self, packet: &mut Packet<'_>) -> NodeId {
        packet.meta.feature = self.place;
        self.node
    }
}

impl<'a> ArcStart<'a> {
    /// By interface, where in [`Arcs::chain`] its features begin; 0: it has none.
    pub fn starts(self) -> &'a [u32] {
        self.starts
    }

    /// Whether no interface has features here.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.starts.is_empty()
    }

    /// Where packets of `interface` enter; `None` if it has no features here.
    #[inline(always)]
    pub fn place(self, interface: InterfaceIndex) -> Option<Place> {
        match self.starts.get(interface.index()) {
            None | Some(0) => None,
            Some(&place) => Some(Place { place, node: *self.chain.get(place as usize)? }),
        }
    }

    /// The first feature of `interface`, if it has any.
    #[inline(always)]
    pub fn start(self, interface: InterfaceIndex, packet: &mut Packet<'_>) -> Option<NodeId> {
        Some(self.place(interface)?.enter(packet))
    }
}
