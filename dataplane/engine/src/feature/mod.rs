// SPDX-License-Identifier: Apache-2.0
//! Feature arcs: optional nodes that packets of an interface pass at a named point of the graph.
//!
//! An arc names the interface of a packet that decides which features it passes, and the node that follows them. A
//! feature names the arc that it belongs to and which others it comes before or after; nobody knows its number. The main
//! thread computes the chain of each interface when a feature is enabled or disabled there and hands the finished table
//! to the workers, which adopt it between two turns. A packet carries its place in the chain, so a disabled feature costs
//! nothing and an enabled one costs one load.
//!
//! The built-in features of an arc are in a total order, all registered when the daemon starts, those too whose nodes
//! are made when they are first needed. So they are anchors: features of others that say where they belong among
//! the built-in ones cannot contradict each other.

mod arcs;
mod order;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use self::arcs::{ArcStart, Arcs, Place};
use self::arcs::{End, NOWHERE, Table};
use crate::ids::{ArcId, InterfaceIndex, NodeId};

/// Which interface of a packet decides what features it passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArcKey {
    /// The one that it came in by.
    RxInterface,
    /// The one that it leaves by.
    TxInterface,
}

/// What follows the features of an arc.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArcEnd<'a> {
    /// This node.
    Node(&'a str),
    /// The transmit node of the interface that the packet leaves by.
    Transmit,
    /// Another arc, with the same key: its features and what follows them.
    Arc(&'a str),
}

/// A point of the graph where features can be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArcSpec<'a> {
    /// `ip4-unicast` and the like: VPP's names.
    pub name: &'a str,
    /// Which interface decides.
    pub key: ArcKey,
    /// What follows.
    pub end: ArcEnd<'a>,
}

/// Where on an arc a node belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeatureSpec<'a> {
    /// The arc.
    pub arc: &'a str,
    /// Features that come before this one, where enabled.
    pub after: &'a [&'a str],
    /// Features that come after this one, where enabled.
    pub before: &'a [&'a str],
    /// The command of what it belongs to, if it is a consequence of that: a filter that is attached, a value that is set.
    /// It is then enabled and disabled by that alone, so that what is shown to be in force is.
    pub set_by: Option<&'a str>,
}

impl<'a> FeatureSpec<'a> {
    /// Anywhere on `arc`.
    pub const fn on(arc: &'a str) -> Self {
        FeatureSpec { arc, after: &[], before: &[], set_by: None }
    }

    /// After these.
    pub const fn after(mut self, others: &'a [&'a str]) -> Self {
        self.after = others;
        self
    }

    /// Before these.
    pub const fn before(mut self, others: &'a [&'a str]) -> Self {
        self.before = others;
        self
    }

    /// Enabled and disabled by this command of what it belongs to, and not by itself.
    pub const fn set_by(mut self, command: &'a str) -> Self {
        self.set_by = Some(command);
        self
    }
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
    /// Its node is made when it is first needed, in another way.
    #[error("feature '{0}' of arc '{1}' is not running: it is enabled by the command of its own")]
    NotRunning(String, String),
    /// It follows from something else.
    #[error(
        "feature '{feature}' of arc '{arc}' is not set by itself: expected the command '{command}', which sets it"
    )]
    SetBy {
        /// The feature.
        feature: String,
        /// The arc.
        arc: String,
        /// What sets it.
        command: String,
    },
    /// The constraints contradict each other.
    #[error("features of arc '{arc}' contradict each other: {}", circle(.cycle))]
    Cycle {
        /// The arc.
        arc: String,
        /// Each of these, and its owner, must come before the next one, and the last before the first.
        cycle: Vec<(String, String)>,
    },
    /// Registered twice.
    #[error("feature '{feature}' is on arc '{arc}' already: {owner} brought it")]
    Duplicate {
        /// The feature.
        feature: String,
        /// The arc.
        arc: String,
        /// Who brought it.
        owner: String,
    },
    /// Two arcs of one name.
    #[error("there is an arc '{arc}' already: {owner} brought it, with another key or end")]
    DuplicateArc {
        /// The name.
        arc: String,
        /// Who has it, or features there.
        owner: String,
    },
    /// An arc that leads nowhere.
    #[error(
        "arc '{0}' must end in a node or in an arc of the same key; only one by tx interface ends in transmission"
    )]
    End(String),
    /// No number left.
    #[error("no room for arc '{0}': there are {MAX_ARCS} already")]
    Full(String),
}

fn circle(cycle: &[(String, String)]) -> String {
    let named: Vec<String> = cycle.iter().map(|(node, owner)| format!("'{node}' (of {owner})")).collect();
    let first = cycle.first().map_or("", |(node, _)| node);
    format!("{} must come before '{first}'", named.join(" must come before "))
}

/// Arcs that a table has room for.
const MAX_ARCS: u8 = 64;

#[derive(Clone, Debug)]
struct Feature {
    node: String,
    owner: String,
    after: Vec<String>,
    before: Vec<String>,
    set_by: Option<String>,
}

/// What follows the features of an arc, as the registry keeps it.
#[derive(Clone, PartialEq, Eq)]
enum Follows {
    Node(String),
    Transmit,
    Arc(ArcId),
}

#[derive(Clone)]
struct ArcState {
    id: ArcId,
    name: String,
    /// Who has added it; nobody any more, if it is there for the features of others.
    owners: BTreeSet<String>,
    key: ArcKey,
    end: Follows,
    /// In an order that satisfies all constraints.
    features: Vec<Feature>,
    /// The features enabled on each interface that has some.
    enabled: BTreeMap<InterfaceIndex, BTreeSet<String>>,
}

impl ArcState {
    /// Who has it, for a sentence.
    fn holders(&self) -> String {
        let others = || self.features.iter().map(|feature| &feature.owner).collect();
        let holders: BTreeSet<&String> =
            if self.owners.is_empty() { others() } else { self.owners.iter().collect() };
        holders.into_iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
    }
}

/// An arc, for whoever shows it.
pub struct ArcView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which interface decides.
    pub key: ArcKey,
    /// What follows.
    pub end: ArcEnd<'a>,
    features: &'a [Feature],
    enabled: &'a BTreeMap<InterfaceIndex, BTreeSet<String>>,
}

impl<'a> ArcView<'a> {
    /// Its features in order.
    pub fn features(&self) -> impl Iterator<Item = FeatureView<'a>> + use<'a> {
        self.features.iter().map(|Feature { node, owner, after, before, set_by }| FeatureView {
            node,
            owner,
            after,
            before,
            set_by: set_by.as_deref(),
        })
    }

    /// The names of those that are enabled on `interface`, in order.
    pub fn enabled(&self, interface: InterfaceIndex) -> impl Iterator<Item = &'a str> + use<'a> {
        let on = self.enabled.get(&interface);
        let names = self.features.iter().map(|feature| feature.node.as_str());
        names.filter(move |node| on.is_some_and(|on| on.contains(*node)))
    }
}

/// A feature, for whoever shows it.
pub struct FeatureView<'a> {
    /// Its node.
    pub node: &'a str,
    /// Who brought it.
    pub owner: &'a str,
    /// Features that come before it.
    pub after: &'a [String],
    /// Features that come after it.
    pub before: &'a [String],
    /// The command that enables and disables it, if it is not set by itself.
    pub set_by: Option<&'a str>,
}

/// The main thread's side: arcs, features, and what is enabled where.
#[derive(Clone, Default)]
pub struct ArcRegistry {
    /// An arc comes after the one that it ends in.
    arcs: Vec<ArcState>,
    /// Of arcs that are gone, while workers and packets on their way may still name them.
    retired: BTreeSet<ArcId>,
    /// Transmit nodes by interface.
    transmit: BTreeMap<InterfaceIndex, NodeId>,
}

impl ArcRegistry {
    /// Adds an arc. One that is there already is the same one, if it has the same key and end.
    pub(crate) fn add_arc(&mut self, owner: &str, spec: &ArcSpec<'_>) -> Result<ArcId, FeatureError> {
        let name = || spec.name.to_owned();
        let end = match spec.end {
            ArcEnd::Node(node) => Follows::Node(node.to_owned()),
            ArcEnd::Transmit if spec.key == ArcKey::TxInterface => Follows::Transmit,
            ArcEnd::Arc(other) => match self.state(self.arc(other)?) {
                Some(other) if other.key == spec.key => Follows::Arc(other.id),
                _ => return Err(FeatureError::End(name())),
            },
            ArcEnd::Transmit => return Err(FeatureError::End(name())),
        };
        if let Some(known) = self.arcs.iter_mut().find(|arc| arc.name == spec.name) {
            if known.key == spec.key && known.end == end {
                known.owners.insert(owner.to_owned());
                return Ok(known.id);
            }
            return Err(FeatureError::DuplicateArc { arc: name(), owner: known.holders() });
        }
        let is_free = |id: &ArcId| self.state(*id).is_none() && !self.retired.contains(id);
        let id = (0..MAX_ARCS).map(ArcId).find(is_free).ok_or_else(|| FeatureError::Full(name()))?;
        let (features, enabled) = (Vec::new(), BTreeMap::new());
        let owners = BTreeSet::from([owner.to_owned()]);
        self.arcs.push(ArcState { id, name: name(), owners, key: spec.key, end, features, enabled });
        Ok(id)
    }

    fn state(&self, id: ArcId) -> Option<&ArcState> {
        self.arcs.iter().find(|arc| arc.id == id)
    }

    fn state_mut(&mut self, id: ArcId) -> Option<&mut ArcState> {
        self.arcs.iter_mut().find(|arc| arc.id == id)
    }

    /// `owner` does not need its arcs any more. Those that nobody else has, has features on or ends an arc in are gone; they are
    /// returned.
    pub(crate) fn disown(&mut self, owner: &str) -> Vec<ArcId> {
        for arc in &mut self.arcs {
            arc.owners.remove(owner);
        }
        self.sweep()
    }

    /// Takes away what nobody needs.
    fn sweep(&mut self) -> Vec<ArcId> {
        let mut gone = Vec::new();
        // One that ends in another one comes after it.
        for place in (0..self.arcs.len()).rev() {
            let ArcState { id, owners, features, .. } = &self.arcs[place];
            let is_end = self.arcs.iter().any(|arc| arc.end == Follows::Arc(*id));
            if owners.is_empty() && features.is_empty() && !is_end {
                gone.push(self.arcs.remove(place).id);
            }
        }
        self.retired.extend(&gone);
        gone
    }

    /// Nobody can name these any more.
    pub(crate) fn release(&mut self, gone: &[ArcId]) {
        self.retired.retain(|id| !gone.contains(id));
    }

    /// The arc of that name.
    pub fn arc(&self, name: &str) -> Result<ArcId, FeatureError> {
        self.arcs.iter().find(|arc| arc.name == name).map(|arc| arc.id).ok_or_else(|| {
            let known: Vec<_> = self.arcs.iter().map(|arc| arc.name.as_str()).collect();
            FeatureError::UnknownArc(name.to_owned(), known.join(", "))
        })
    }

    /// Adds a feature and finds its place among the others; on an error nothing has changed. A built-in one whose node is
    /// made later is announced before, and is then there already.
    pub(crate) fn add_feature(
        &mut self,
        owner: &str,
        node: &str,
        spec: &FeatureSpec<'_>,
    ) -> Result<(), FeatureError> {
        let arc = self.arc(spec.arc)?;
        let Some(state) = self.state_mut(arc) else { unreachable!("it was found by its name") };
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (after, before) = (owned(spec.after), owned(spec.before));
        let set_by = spec.set_by.map(str::to_owned);
        if let Some(known) = state.features.iter().find(|feature| feature.node == node) {
            if (&*known.owner, &known.after, &known.before, &known.set_by)
                == (owner, &after, &before, &set_by)
            {
                return Ok(());
            }
            return Err(FeatureError::Duplicate {
                feature: node.to_owned(),
                arc: spec.arc.to_owned(),
                owner: known.owner.clone(),
            });
        }
        state.features.push(Feature {
            node: node.to_owned(),
            owner: owner.to_owned(),
            after,
            before,
            set_by,
        });
        match order::sort(&state.features) {
            Ok(order) => {
                let mut old: Vec<Option<Feature>> = state.features.drain(..).map(Some).collect();
                state.features = order.into_iter().filter_map(|i| old[i].take()).collect();
                Ok(())
            }
            Err(cycle) => {
                let named = |i: usize| (state.features[i].node.clone(), state.features[i].owner.clone());
                let cycle = cycle.into_iter().map(named).collect();
                state.features.pop();
                Err(FeatureError::Cycle { arc: spec.arc.to_owned(), cycle })
            }
        }
    }

    /// Takes a feature away, from every interface too; returns where it was enabled, and the arcs that are gone with it.
    pub(crate) fn remove_feature(&mut self, arc: ArcId, node: &str) -> (Vec<InterfaceIndex>, Vec<ArcId>) {
        let Some(state) = self.state_mut(arc) else {
            return (Vec::new(), Vec::new());
        };
        state.features.retain(|feature| feature.node != node);
        let mut enabled = Vec::new();
        state.enabled.retain(|&interface, features| {
            if features.remove(node) {
                enabled.push(interface);
            }
            !features.is_empty()
        });
        (enabled, self.sweep())
    }

    /// Enables (or disables) a feature on an interface. Says whether anything changed.
    pub(crate) fn set(
        &mut self,
        arc: ArcId,
        interface: InterfaceIndex,
        node: &str,
        on: bool,
    ) -> Result<bool, FeatureError> {
        let Some(state) = self.state_mut(arc) else {
            return Err(FeatureError::UnknownArc(arc.to_string(), String::new()));
        };
        if !state.features.iter().any(|feature| feature.node == node) {
            let known: Vec<_> = state.features.iter().map(|feature| feature.node.as_str()).collect();
            return Err(FeatureError::UnknownFeature {
                feature: node.to_owned(),
                arc: state.name.clone(),
                known: known.join(", "),
            });
        }
        if on {
            return Ok(state.enabled.entry(interface).or_default().insert(node.to_owned()));
        }
        let Some(features) = state.enabled.get_mut(&interface) else { return Ok(false) };
        let changed = features.remove(node);
        if features.is_empty() {
            state.enabled.remove(&interface);
        }
        Ok(changed)
    }

    /// The node that transmits on an interface: what follows its features on the way out.
    pub(crate) fn set_transmit(&mut self, interface: InterfaceIndex, node: NodeId) {
        self.transmit.insert(interface, node);
    }

    /// Forgets an interface that is deleted.
    pub(crate) fn forget(&mut self, interface: InterfaceIndex) {
        self.transmit.remove(&interface);
        for arc in &mut self.arcs {
            arc.enabled.remove(&interface);
        }
    }

    /// Whether the arc has this feature.
    pub fn has_feature(&self, arc: ArcId, node: &str) -> bool {
        self.state(arc).is_some_and(|arc| arc.features.iter().any(|feature| feature.node == node))
    }

    /// Whether chains may lead to this node: a feature, or the end of an arc.
    pub(crate) fn mentions(&self, node: &str) -> bool {
        self.arcs.iter().any(|arc| {
            matches!(&arc.end, Follows::Node(end) if end == node)
                || arc.features.iter().any(|feature| feature.node == node)
        })
    }

    /// The name of an arc.
    pub fn name(&self, arc: ArcId) -> &str {
        self.state(arc).map_or("?", |arc| &arc.name)
    }

    /// Every arc.
    pub fn list(&self) -> impl Iterator<Item = ArcView<'_>> {
        self.arcs.iter().map(|arc| ArcView {
            name: &arc.name,
            key: arc.key,
            end: match &arc.end {
                Follows::Node(node) => ArcEnd::Node(node),
                Follows::Transmit => ArcEnd::Transmit,
                Follows::Arc(other) => ArcEnd::Arc(self.name(*other)),
            },
            features: &arc.features,
            enabled: &arc.enabled,
        })
    }

    /// Whether a feature is enabled on an interface, on some arc.
    pub fn is_enabled(&self, interface: InterfaceIndex, node: &str) -> bool {
        self.arcs.iter().any(|arc| arc.enabled.get(&interface).is_some_and(|on| on.contains(node)))
    }

    /// The tables for the workers.
    pub(crate) fn build(&self, node_id: impl Fn(&str) -> Option<NodeId>) -> Arc<Arcs> {
        let transmit = |interface: InterfaceIndex| self.transmit.get(&interface).copied();
        let mut chain = NOWHERE.to_vec();
        let numbers = self.arcs.iter().map(|arc| arc.id.index() + 1).max().unwrap_or(0);
        let mut tables: Vec<Table> = (0..numbers).map(|_| Table::default()).collect();
        for arc in &self.arcs {
            let following = match arc.end {
                Follows::Arc(other) => tables.get(other.index()),
                Follows::Node(_) | Follows::Transmit => None,
            };
            let end = match (&arc.end, following) {
                (_, Some(following)) => following.end,
                (Follows::Node(node), None) => End::Node(node_id(node).unwrap_or(NodeId::DROP)),
                (_, None) => End::Transmit,
            };
            // An interface without features here has those of the arc that follows.
            let mut starts = following.map_or_else(Vec::new, |following| following.starts.to_vec());
            let len = arc.enabled.keys().next_back().map_or(0, |interface| interface.index() + 1);
            starts.resize(len.max(starts.len()), 0);
            let first = chain.len();
            for (&interface, features) in &arc.enabled {
                let then = starts[interface.index()] as usize;
                starts[interface.index()] = chain.len() as u32;
                let own = arc.features.iter().filter(|feature| features.contains(&feature.node));
                chain.extend(own.filter_map(|feature| node_id(&feature.node)));
                let end = match end {
                    End::Node(node) => node,
                    End::Transmit => transmit(interface).unwrap_or(NodeId::DROP),
                };
                if then > 0 {
                    let more: Vec<NodeId> =
                        chain[then..].iter().copied().take_while(|&node| node != end).collect();
                    chain.extend(more);
                }
                chain.push(end);
            }
            let region = first as u32..chain.len() as u32;
            tables[arc.id.index()] = Table { starts: starts.into(), region, key: arc.key, end };
        }
        let interfaces = self.transmit.keys().next_back().map_or(0, |interface| interface.index() + 1);
        let transmit = (0..interfaces).map(|i| transmit(InterfaceIndex(i as u32)).unwrap_or(NodeId::DROP));
        Arc::new(Arcs { arcs: tables.into(), chain: chain.into(), transmit: transmit.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{BufferCache, Buffers, Packet};

    const END: NodeId = NodeId(9);
    const UNICAST: ArcSpec<'_> =
        ArcSpec { name: "ip4-unicast", key: ArcKey::RxInterface, end: ArcEnd::Node("lookup") };
    const OUTPUT: ArcSpec<'_> = ArcSpec { name: "output", key: ArcKey::TxInterface, end: ArcEnd::Transmit };
    const IP4_OUTPUT: ArcSpec<'_> =
        ArcSpec { name: "ip4-output", key: ArcKey::TxInterface, end: ArcEnd::Arc("output") };

    fn registry() -> (ArcRegistry, ArcId) {
        let mut registry = ArcRegistry::default();
        let arc = registry.add_arc("weft", &UNICAST).unwrap();
        (registry, arc)
    }

    fn add(registry: &mut ArcRegistry, node: &str, spec: FeatureSpec<'_>) {
        registry.add_feature("weft", node, &spec).unwrap();
    }

    fn ids(name: &str) -> Option<NodeId> {
        let known = ["classify", "flow", "nat", "mirror", "lookup"];
        let place = known.iter().position(|known| *known == name)?;
        Some(if name == "lookup" { END } else { NodeId(place as u16 + 1) })
    }

    fn with_packet(test: impl FnOnce(&mut Packet<'_>)) {
        let buffers = Buffers::new(&Default::default()).unwrap();
        let mut cache: BufferCache = buffers.cache(0);
        let index = cache.allocate_one().unwrap();
        test(&mut cache.packet(index));
        cache.give_back(index);
    }

    #[test]
    fn constraints_decide_the_order() {
        let (mut registry, arc) = registry();
        add(&mut registry, "nat", FeatureSpec::on("ip4-unicast").after(&["classify"]));
        add(&mut registry, "flow", FeatureSpec::on("ip4-unicast").before(&["nat"]));
        add(&mut registry, "classify", FeatureSpec::on("ip4-unicast").before(&["flow"]));
        let order: Vec<_> = registry.list().next().unwrap().features().map(|it| it.node).collect();
        assert_eq!(order, ["classify", "flow", "nat"]);

        let (one, two) = (InterfaceIndex(1), InterfaceIndex(2));
        assert!(registry.set(arc, two, "nat", true).unwrap());
        assert!(registry.set(arc, two, "classify", true).unwrap());
        assert!(!registry.set(arc, two, "classify", true).unwrap());
        let arcs = registry.build(ids);
        with_packet(|packet| {
            assert_eq!(arcs.start(arc, one, packet), None);
            assert!(!arcs.is_on(arc, packet));
            assert_eq!(arcs.start(arc, two, packet), Some(NodeId(1)));
            assert!(arcs.is_on(arc, packet));
            assert_eq!(arcs.next(packet), NodeId(3));
            assert_eq!(arcs.next(packet), END);
            assert_eq!(arcs.next(packet), NodeId::DROP);
        });

        assert!(registry.set(arc, two, "nat", false).unwrap());
        assert!(registry.set(arc, two, "classify", false).unwrap());
        assert_eq!(registry.list().next().unwrap().enabled(two).count(), 0);
        assert!(registry.build(ids).arc(arc).is_empty());
    }

    #[test]
    fn an_arc_by_tx_interface_ends_in_its_transmit_node_and_may_follow_another() {
        let (mut registry, _) = registry();
        let output = registry.add_arc("weft", &OUTPUT).unwrap();
        let ip4 = registry.add_arc("weft", &IP4_OUTPUT).unwrap();
        for (node, arc) in [("classify", "output"), ("nat", "ip4-output"), ("mirror", "ip4-output")] {
            add(&mut registry, node, FeatureSpec::on(arc));
        }
        let [plain, both, first] = [0, 1, 2].map(InterfaceIndex);
        for (interface, tx) in [(plain, 20), (both, 21), (first, 22)] {
            registry.set_transmit(interface, NodeId(tx));
        }
        registry.set(output, plain, "classify", true).unwrap();
        registry.set(output, both, "classify", true).unwrap();
        registry.set(ip4, both, "nat", true).unwrap();
        registry.set(ip4, first, "nat", true).unwrap();
        let arcs = registry.build(ids);
        let walk = |arc, interface, packet: &mut Packet<'_>| {
            packet.meta.tx_interface = interface;
            let mut chain = vec![arcs.start(arc, interface, packet).unwrap()];
            while chain.last().is_some_and(|node| node.0 < 20) {
                chain.push(arcs.next(packet));
            }
            chain.iter().map(|node| node.0).collect::<Vec<_>>()
        };
        with_packet(|packet| {
            assert_eq!(walk(output, plain, packet), [1, 20]);
            assert_eq!(walk(ip4, plain, packet), [1, 20]);
            assert_eq!(walk(ip4, both, packet), [3, 1, 21]);
            assert_eq!(walk(output, both, packet), [1, 21]);
            assert_eq!(walk(ip4, first, packet), [3, 22]);
            assert!(arcs.start(output, first, packet).is_none());
        });
        // One that waits in a feature on the way out finds its place by the interface that it leaves by.
        with_packet(|packet| {
            (packet.meta.rx_interface, packet.meta.tx_interface) = (plain, both);
            arcs.start(ip4, both, packet);
            arcs.park(packet);
            registry.set(ip4, both, "mirror", true).unwrap();
            let longer = registry.build(ids);
            assert_eq!(longer.resume(NodeId(3), packet), NodeId(3));
            assert_eq!(longer.next(packet), NodeId(1));
            // Its feature has gone meanwhile: it is transmitted.
            longer.park(packet);
            registry.set(output, both, "classify", false).unwrap();
            let shorter = registry.build(ids);
            assert_eq!(shorter.resume(NodeId(1), packet), NodeId(21));
            // So is its interface.
            shorter.start(ip4, both, packet);
            shorter.park(packet);
            registry.forget(both);
            assert_eq!(registry.build(ids).resume(NodeId(3), packet), NodeId::DROP);
            assert_eq!(packet.meta.reason, crate::ids::ReasonId::NODE_REMOVED);
        });
    }

    #[test]
    fn a_packet_on_no_arc_goes_on_in_the_node_that_it_waited_in() {
        let (registry, _) = registry();
        let arcs = registry.build(ids);
        with_packet(|packet| {
            arcs.park(packet);
            assert_eq!(arcs.resume(NodeId(3), packet), NodeId(3));
            assert_eq!(arcs.next(packet), NodeId::DROP);
        });
    }

    #[test]
    fn a_contradiction_names_the_whole_cycle_and_the_owners_and_changes_nothing() {
        let (mut registry, _) = registry();
        add(&mut registry, "flow", FeatureSpec::on("ip4-unicast").before(&["rules"]));
        add(&mut registry, "rules", FeatureSpec::on("ip4-unicast"));
        let spec = FeatureSpec::on("ip4-unicast").after(&["rules"]).before(&["flow"]);
        let error = registry.add_feature("policer", "meter", &spec).unwrap_err();
        assert_eq!(
            error.to_string(),
            "features of arc 'ip4-unicast' contradict each other: 'meter' (of policer) must come before 'flow' (of \
             weft) must come before 'rules' (of weft) must come before 'meter'"
        );
        let order: Vec<_> = registry.list().next().unwrap().features().map(|it| it.node).collect();
        assert_eq!(order, ["flow", "rules"]);
    }

    #[test]
    fn unknown_names_are_answered_with_what_there_is() {
        let (mut registry, arc) = registry();
        add(&mut registry, "a", FeatureSpec::on("ip4-unicast"));
        let error = registry.set(arc, InterfaceIndex(0), "x", true).unwrap_err();
        assert_eq!(error.to_string(), "no feature 'x' on arc 'ip4-unicast'; there are: a");
        assert!(registry.arc("ip4").unwrap_err().to_string().ends_with("there are: ip4-unicast"));
    }

    #[test]
    fn an_arc_goes_with_the_last_who_needs_it() {
        let (mut registry, _) = registry();
        let own = ArcSpec { name: "own", key: ArcKey::RxInterface, end: ArcEnd::Arc("ip4-unicast") };
        let after = ArcSpec { name: "after", key: ArcKey::RxInterface, end: ArcEnd::Arc("own") };
        let id = registry.add_arc("p", &own).unwrap();
        assert_eq!(registry.add_arc("q", &own).unwrap(), id, "they share it");
        registry.add_arc("r", &after).unwrap();
        registry.add_feature("s", "watch", &FeatureSpec::on("own")).unwrap();
        let names = |registry: &ArcRegistry| {
            registry.list().map(|arc| arc.name.to_owned()).collect::<Vec<_>>().join(" ")
        };
        for owner in ["p", "q"] {
            assert!(registry.disown(owner).is_empty(), "{owner} is not the last one");
        }
        // Who comes back finds it; who wants another one of the name is told whose it is.
        assert_eq!(registry.add_arc("p", &own).unwrap(), id);
        assert!(registry.disown("p").is_empty());
        let other = ArcSpec { key: ArcKey::TxInterface, end: ArcEnd::Transmit, ..own };
        let said = registry.add_arc("t", &other).unwrap_err().to_string();
        assert!(said.contains("there is an arc 'own' already: s brought it"), "{said}");
        let (_, gone) = registry.remove_feature(id, "watch");
        assert!(gone.is_empty(), "another arc ends in it");
        assert_eq!(names(&registry), "ip4-unicast own after");
        let gone = registry.disown("r");
        assert_eq!((gone.len(), names(&registry).as_str()), (2, "ip4-unicast"), "and with it that one");
        assert!(registry.arc("own").is_err());

        // The number is given out again when workers have heard of it, and means the new arc then.
        let next = registry.add_arc("t", &other).unwrap();
        assert!(!gone.contains(&next));
        let arcs = registry.build(ids);
        registry.release(&gone);
        let again = registry.add_arc("t", &ArcSpec { name: "again", ..OUTPUT }).unwrap();
        assert_eq!(again, id);
        with_packet(|packet| {
            assert_eq!(
                arcs.start(id, InterfaceIndex(1), packet),
                None,
                "an arc that is gone has no features"
            );
        });
        // One with a low number can end in one with a high one.
        let low = *gone.iter().find(|gone| **gone != id).unwrap();
        registry.add_feature("t", "nat", &FeatureSpec::on("own")).unwrap();
        let first =
            registry.add_arc("t", &ArcSpec { name: "first", end: ArcEnd::Arc("own"), ..other }).unwrap();
        assert_eq!(first, low);
        registry.set(next, InterfaceIndex(1), "nat", true).unwrap();
        with_packet(|packet| {
            assert_eq!(registry.build(ids).start(first, InterfaceIndex(1), packet), ids("nat"));
        });
    }

    #[test]
    fn a_feature_or_arc_that_is_announced_twice_is_the_same_one() {
        let (mut registry, arc) = registry();
        assert_eq!(registry.add_arc("weft", &UNICAST), Ok(arc));
        let other = ArcSpec { end: ArcEnd::Node("elsewhere"), ..UNICAST };
        assert!(registry.add_arc("p", &other).unwrap_err().to_string().contains("weft brought it"));
        let spec = FeatureSpec::on("ip4-unicast").before(&["b"]);
        add(&mut registry, "a", spec);
        add(&mut registry, "a", spec);
        let error = registry.add_feature("p", "a", &spec).unwrap_err();
        assert!(matches!(error, FeatureError::Duplicate { owner, .. } if owner == "weft"));
    }

    #[test]
    fn an_arc_cannot_end_where_its_key_says_nothing() {
        let (mut registry, _) = registry();
        let rx = ArcSpec { name: "x", key: ArcKey::RxInterface, end: ArcEnd::Transmit };
        assert_eq!(registry.add_arc("weft", &rx), Err(FeatureError::End("x".into())));
        let mixed = ArcSpec { name: "x", key: ArcKey::TxInterface, end: ArcEnd::Arc("ip4-unicast") };
        assert_eq!(registry.add_arc("weft", &mixed), Err(FeatureError::End("x".into())));
    }
}
