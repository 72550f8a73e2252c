// SPDX-License-Identifier: Apache-2.0
//! Feature arcs: optional nodes that packets of an interface pass at a named point of the graph.
//!
//! A feature names the arc that it belongs to and which others it comes before or after; nobody knows its
//! number. The main thread computes the chain of each interface when a feature is enabled or disabled there
//! and hands the finished table to the workers, which adopt it between two frames. A packet carries its
//! place in the chain, so a disabled feature costs nothing and an enabled one costs one load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::buffer::Packet;
use crate::handoff::Station;
use crate::ids::{ArcId, InterfaceIndex, NodeId};

/// A point of the graph where features can be added.
#[derive(Clone, Copy, Debug)]
pub struct ArcSpec {
    /// `ip4-unicast` and the like: VPP's names.
    pub name: &'static str,
}

/// A node that can be enabled on an arc.
#[derive(Clone, Copy, Debug)]
pub struct FeatureSpec<'a> {
    /// The arc.
    pub arc: &'a str,
    /// The node.
    pub node: &'a str,
    /// Features that come before this one, where enabled.
    pub after: &'a [&'a str],
    /// Features that come after this one, where enabled.
    pub before: &'a [&'a str],
}

/// Why a feature cannot be what was asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FeatureError {
    /// No such arc.
    #[error("no feature arc '{0}'; there are: {1}")]
    UnknownArc(String, String),
    /// No such feature on this arc.
    #[error("no feature '{feature}' on arc '{arc}'; there are: {known}")]
    UnknownFeature {
        /// Asked for.
        feature: String,
        /// The arc.
        arc: String,
        /// What the arc has.
        known: String,
    },
    /// The constraints contradict each other.
    #[error("features '{0}' and '{1}' of arc '{2}' must each come before the other")]
    Cycle(String, String, String),
    /// Registered twice.
    #[error("feature '{0}' is on arc '{1}' already")]
    Duplicate(String, String),
}

/// The tables that workers read; immutable.
pub struct Arcs {
    /// Per arc and interface, where in `chain` its features begin; 0 means that it has none.
    starts: Box<[Box<[u32]>]>,
    /// Chains one behind the other, each closed by the node that follows the arc.
    chain: Box<[NodeId]>,
}

impl Arcs {
    pub(crate) fn empty() -> Self {
        Arcs { starts: Box::default(), chain: Box::default() }
    }

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
        let starts = self.starts.get(arc.index()).map_or(&[][..], |starts| starts);
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
}

/// Longest chain: features of one arc, and the node behind them.
const MAX_CHAIN: usize = 64;

impl Arcs {
    /// Puts a packet that has waited in a node of an arc, or comes from another worker, back to its place there: the chains
    /// may be others now. Returns the node, or the one behind the arc if the packet's interface does not have it any more.
    pub fn resume(&self, station: Station, packet: &mut Packet<'_>) -> NodeId {
        let start = self.starts.get(station.arc.index());
        let start = start.and_then(|starts| starts.get(packet.meta.rx_interface.index()).copied());
        let Some(start @ 1..) = start else {
            return station.last;
        };
        for (cursor, &node) in (start..).zip(&self.chain[start as usize..]).take(MAX_CHAIN) {
            if node == station.node {
                packet.meta.feature = cursor;
                return node;
            }
            if node == station.last {
                break;
            }
        }
        station.last
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
    cursor: u32,
    node: NodeId,
}

impl Place {
    /// No features: straight on to `node`.
    pub const fn none(node: NodeId) -> Place {
        Place { cursor: 0, node }
    }

    /// Sets the packet on its way; returns the first feature.
    #[inline(always)]
    pub fn enter(self, packet: &mut Packet<'_>) -> NodeId {
        packet.meta.feature = self.cursor;
        self.node
    }
}

impl ArcStart<'_> {
    /// Where packets of `interface` enter; `None` if it has no features here.
    #[inline(always)]
    pub fn place(self, interface: InterfaceIndex) -> Option<Place> {
        match self.starts.get(interface.index()) {
            None | Some(0) => None,
            Some(&cursor) => Some(Place { cursor, node: *self.chain.get(cursor as usize)? }),
        }
    }

    /// The first feature of `interface`, if it has any.
    #[inline(always)]
    pub fn start(self, interface: InterfaceIndex, packet: &mut Packet<'_>) -> Option<NodeId> {
        Some(self.place(interface)?.enter(packet))
    }
}

struct Feature {
    node: String,
    after: Vec<String>,
    before: Vec<String>,
}

struct ArcState {
    name: &'static str,
    /// In an order that satisfies all constraints.
    features: Vec<Feature>,
    /// Per interface: the enabled features, and the node that follows them.
    enabled: BTreeMap<InterfaceIndex, (BTreeSet<String>, NodeId)>,
}

/// The main thread's side: arcs, features, and what is enabled where.
#[derive(Default)]
pub struct ArcRegistry {
    arcs: Vec<ArcState>,
}

impl ArcRegistry {
    /// Adds an arc.
    pub fn add_arc(&mut self, spec: ArcSpec) -> ArcId {
        if let Some(known) = self.arcs.iter().position(|arc| arc.name == spec.name) {
            return ArcId(known as u8);
        }
        self.arcs.push(ArcState { name: spec.name, features: Vec::new(), enabled: BTreeMap::new() });
        ArcId((self.arcs.len() - 1) as u8)
    }

    /// The arc of that name.
    pub fn arc(&self, name: &str) -> Result<ArcId, FeatureError> {
        self.arcs.iter().position(|arc| arc.name == name).map(|arc| ArcId(arc as u8)).ok_or_else(|| {
            let known: Vec<_> = self.arcs.iter().map(|arc| arc.name).collect();
            FeatureError::UnknownArc(name.to_owned(), known.join(", "))
        })
    }

    /// Adds a feature and finds its place among the others; on an error nothing has changed.
    pub fn add_feature(&mut self, spec: &FeatureSpec<'_>) -> Result<(), FeatureError> {
        let arc = self.arc(spec.arc)?;
        let state = &mut self.arcs[arc.index()];
        if state.features.iter().any(|feature| feature.node == spec.node) {
            return Err(FeatureError::Duplicate(spec.node.to_owned(), spec.arc.to_owned()));
        }
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        state.features.push(Feature {
            node: spec.node.to_owned(),
            after: owned(spec.after),
            before: owned(spec.before),
        });
        match sort(&state.features) {
            Ok(order) => {
                let mut old: Vec<Option<Feature>> = state.features.drain(..).map(Some).collect();
                state.features = order.into_iter().filter_map(|i| old[i].take()).collect();
                Ok(())
            }
            Err((a, b)) => {
                let (a, b) = (state.features[a].node.clone(), state.features[b].node.clone());
                state.features.pop();
                Err(FeatureError::Cycle(a, b, spec.arc.to_owned()))
            }
        }
    }

    /// Takes a feature away, from every interface too; returns where it was enabled.
    pub fn remove_feature(&mut self, arc: ArcId, node: &str) -> Vec<(InterfaceIndex, NodeId)> {
        let Some(state) = self.arcs.get_mut(arc.index()) else {
            return Vec::new();
        };
        state.features.retain(|feature| feature.node != node);
        let enabled = state.enabled.iter_mut();
        enabled
            .filter_map(|(&interface, (features, last))| features.remove(node).then_some((interface, *last)))
            .collect()
    }

    /// Enables (or disables) a feature on an interface; `last` is the node that follows the arc there.
    /// Says whether anything changed.
    pub fn set(
        &mut self,
        arc: ArcId,
        interface: InterfaceIndex,
        node: &str,
        on: bool,
        last: NodeId,
    ) -> Result<bool, FeatureError> {
        let state = &mut self.arcs[arc.index()];
        if !state.features.iter().any(|feature| feature.node == node) {
            let known: Vec<_> = state.features.iter().map(|feature| feature.node.as_str()).collect();
            return Err(FeatureError::UnknownFeature {
                feature: node.to_owned(),
                arc: state.name.to_owned(),
                known: known.join(", "),
            });
        }
        let entry = state.enabled.entry(interface).or_insert_with(|| (BTreeSet::new(), last));
        let changed = if on { entry.0.insert(node.to_owned()) } else { entry.0.remove(node) };
        let moved = entry.1 != last;
        entry.1 = last;
        Ok(changed || moved)
    }

    /// Forgets an interface that is deleted.
    pub fn forget(&mut self, interface: InterfaceIndex) {
        for arc in &mut self.arcs {
            arc.enabled.remove(&interface);
        }
    }

    /// Every arc with its features in order.
    pub fn list(&self) -> impl Iterator<Item = (&'static str, Vec<&str>)> {
        self.arcs
            .iter()
            .map(|arc| (arc.name, arc.features.iter().map(|feature| feature.node.as_str()).collect()))
    }

    /// Every arc with the features enabled on `interface`, in order.
    pub fn enabled(&self, interface: InterfaceIndex) -> impl Iterator<Item = (&'static str, Vec<&str>)> {
        self.arcs.iter().map(move |arc| {
            let on = arc.enabled.get(&interface);
            let chain = arc
                .features
                .iter()
                .map(|feature| feature.node.as_str())
                .filter(|node| on.is_some_and(|(features, _)| features.contains(*node)))
                .collect();
            (arc.name, chain)
        })
    }

    /// The tables for the workers.
    pub fn build(&self, node_id: impl Fn(&str) -> Option<NodeId>) -> Arc<Arcs> {
        // Place 0 is "no features".
        let mut chain = vec![NodeId::DROP];
        let starts = self
            .arcs
            .iter()
            .map(|arc| {
                let len = arc.enabled.keys().next_back().map_or(0, |interface| interface.index() + 1);
                let mut starts = vec![0; len];
                for (interface, (features, last)) in &arc.enabled {
                    if features.is_empty() {
                        continue;
                    }
                    starts[interface.index()] = chain.len() as u32;
                    chain.extend(
                        arc.features
                            .iter()
                            .filter(|feature| features.contains(&feature.node))
                            .filter_map(|feature| node_id(&feature.node)),
                    );
                    chain.push(*last);
                }
                starts.into_boxed_slice()
            })
            .collect();
        Arc::new(Arcs { starts, chain: chain.into_boxed_slice() })
    }
}

/// An order that satisfies all constraints, stable in the order of registration; or two features on a cycle.
fn sort(features: &[Feature]) -> Result<Vec<usize>, (usize, usize)> {
    let comes_before = |a: &Feature, b: &Feature| a.before.contains(&b.node) || b.after.contains(&a.node);
    let mut left: Vec<usize> = (0..features.len()).collect();
    let mut order = Vec::with_capacity(features.len());
    while !left.is_empty() {
        let blocker = |&candidate: &usize| {
            left.iter()
                .copied()
                .find(|&other| other != candidate && comes_before(&features[other], &features[candidate]))
        };
        match left.iter().position(|candidate| blocker(candidate).is_none()) {
            Some(place) => order.push(left.remove(place)),
            None => return Err((left[0], blocker(&left[0]).unwrap_or(left[0]))),
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(
        node: &'static str,
        after: &'static [&'static str],
        before: &'static [&'static str],
    ) -> FeatureSpec<'static> {
        FeatureSpec { arc: "ip4-unicast", node, after, before }
    }

    fn registry() -> (ArcRegistry, ArcId) {
        let mut registry = ArcRegistry::default();
        let arc = registry.add_arc(ArcSpec { name: "ip4-unicast" });
        (registry, arc)
    }

    #[test]
    fn constraints_decide_the_order() {
        let (mut registry, arc) = registry();
        registry.add_feature(&spec("nat", &["classify"], &[])).unwrap();
        registry.add_feature(&spec("flow", &[], &["nat"])).unwrap();
        registry.add_feature(&spec("classify", &[], &["flow"])).unwrap();
        let (_, order) = registry.list().next().unwrap();
        assert_eq!(order, ["classify", "flow", "nat"]);

        let (one, two) = (InterfaceIndex(1), InterfaceIndex(2));
        assert!(registry.set(arc, two, "nat", true, NodeId(9)).unwrap());
        assert!(registry.set(arc, two, "classify", true, NodeId(9)).unwrap());
        assert!(!registry.set(arc, two, "classify", true, NodeId(9)).unwrap());
        let ids = |name: &str| {
            Some(NodeId(match name {
                "classify" => 1,
                "flow" => 2,
                _ => 3,
            }))
        };
        let arcs = registry.build(ids);
        let buffers = crate::buffer::Buffers::new(&Default::default()).unwrap();
        let mut cache = buffers.cache(0);
        let index = cache.allocate_one().unwrap();
        {
            let mut packet = cache.packet(index);
            assert_eq!(arcs.start(arc, one, &mut packet), None);
            assert_eq!(arcs.start(arc, two, &mut packet), Some(NodeId(1)));
            assert_eq!(arcs.next(&mut packet), NodeId(3));
            assert_eq!(arcs.next(&mut packet), NodeId(9));
            assert_eq!(arcs.next(&mut packet), NodeId::DROP);
        }
        cache.give_back(index);

        assert!(registry.set(arc, two, "nat", false, NodeId(9)).unwrap());
        assert!(registry.set(arc, two, "classify", false, NodeId(9)).unwrap());
        let (_, none) = registry.enabled(two).next().unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn a_cycle_names_both_sides_and_changes_nothing() {
        let (mut registry, _) = registry();
        registry.add_feature(&spec("a", &["b"], &[])).unwrap();
        let error = registry.add_feature(&spec("b", &["a"], &[])).unwrap_err();
        assert_eq!(error, FeatureError::Cycle("a".into(), "b".into(), "ip4-unicast".into()));
        assert_eq!(registry.list().next().unwrap().1, ["a"]);
    }

    #[test]
    fn unknown_names_are_answered_with_what_there_is() {
        let (mut registry, arc) = registry();
        registry.add_feature(&spec("a", &[], &[])).unwrap();
        let error = registry.set(arc, InterfaceIndex(0), "x", true, NodeId(1)).unwrap_err();
        assert_eq!(error.to_string(), "no feature 'x' on arc 'ip4-unicast'; there are: a");
        assert!(registry.arc("ip4").unwrap_err().to_string().ends_with("there are: ip4-unicast"));
    }

    proptest! {
        /// Constraints taken from a hidden total order can always be met, and are.
        #[test]
        fn consistent_constraints_are_met(hidden in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle(),
                                          pairs in prop::collection::vec((0usize..8, 0usize..8), 0..20)) {
            let names: Vec<String> = (0..8).map(|i| format!("f{i}")).collect();
            let rank = |i: usize| hidden.iter().position(|h| *h == i).unwrap();
            let mut features: Vec<Feature> = names.iter()
                .map(|name| Feature { node: name.clone(), after: vec![], before: vec![] }).collect();
            for (a, b) in pairs {
                if rank(a) < rank(b) {
                    features[a].before.push(names[b].clone());
                } else if rank(b) < rank(a) {
                    features[a].after.push(names[b].clone());
                }
            }
            let order = sort(&features).unwrap();
            let place = |name: &String| order.iter().position(|i| features[*i].node == *name).unwrap();
            for feature in &features {
                for later in &feature.before {
                    prop_assert!(place(&feature.node) < place(later));
                }
                for earlier in &feature.after {
                    prop_assert!(place(earlier) < place(&feature.node));
                }
            }
        }
    }
}
