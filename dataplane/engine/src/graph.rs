// SPDX-License-Identifier: Apache-2.0
//! The graph as the main thread knows it: which nodes exist, who brought them, what they count.
//!
//! Ids are the same on every worker. An id (with its reasons) is given to another node only when no worker can
//! have a packet or a table entry that names it; the engine waits for that before it releases the id.

use std::collections::HashMap;
use std::ops::Range;

use crate::feature::{ArcRegistry, ArcSpec, FeatureError, FeatureSpec};
use crate::ids::{ArcId, NodeId, ReasonId, ThreadIndex};
use crate::node::{Drops, Edges, Events, Nexts, Node, NodeSpec, ReasonBase, ReasonSpec};
use crate::registry::{Handles, RegistryError, RegistryId, RegistryList, RegistrySpec};

/// The owner of what the daemon brings itself.
pub const BUILT_IN: &str = "weft";

/// Why a node cannot join the graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// Two nodes of one name.
    #[error("node '{name}' of {new} exists already: {old} brought it")]
    Duplicate {
        /// The name.
        name: String,
        /// Who brings it now.
        new: String,
        /// Who brought it.
        old: String,
    },
    /// An edge into nowhere, or a place in front of nothing.
    #[error("node '{node}' of {owner} names '{next}', and there is no such node")]
    UnknownNext {
        /// The node.
        node: String,
        /// Who brings it.
        owner: String,
        /// The missing one.
        next: String,
    },
    /// More than the setting allows.
    #[error("the graph is full: {0}, a limit of startup.conf")]
    Full(String),
    /// What it keeps with packets is claimed.
    #[error(transparent)]
    Context(#[from] crate::buffer::context::ContextError),
    /// The stats segment refuses.
    #[error("the counters of node '{0}' cannot be registered: {1}")]
    Stats(String, weft_stats::StatsError),
    /// No place on an arc.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// Not what a registry has, or somebody else's.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Makes the instance for each worker.
pub type MakeNode<'a> = Box<dyn FnMut(&Wiring<'_>) -> Box<dyn Node> + 'a>;

/// A node on its way into the graph.
pub struct NodeDef<'a> {
    pub(crate) spec: &'static NodeSpec,
    pub(crate) name: String,
    pub(crate) make: MakeNode<'a>,
}

impl<'a> NodeDef<'a> {
    /// A node under the name of its descriptor.
    pub fn new(spec: &'static NodeSpec, make: impl FnMut(&Wiring<'_>) -> Box<dyn Node> + 'a) -> Self {
        Self::named(spec, spec.name.to_owned(), make)
    }

    /// A node that exists once per interface or the like: `<port>-tx`.
    pub fn named(
        spec: &'static NodeSpec,
        name: String,
        make: impl FnMut(&Wiring<'_>) -> Box<dyn Node> + 'a,
    ) -> Self {
        NodeDef { spec, name, make: Box::new(make) }
    }

    /// The name that it will have.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// All that a part of the dataplane brings to the graph, in one value: the engine takes all of it or nothing
/// ([`crate::Engine::register`]).
#[derive(Default)]
pub struct Registration<'a> {
    /// Points of the graph where features can be added.
    pub arcs: Vec<ArcSpec<'a>>,
    /// What nodes ask who handles packets of a number.
    pub registries: Vec<RegistrySpec<'a>>,
    /// Nodes, which may name each other. Their descriptors say on which arcs they are features, and what they handle.
    pub nodes: Vec<NodeDef<'a>>,
    /// Places on arcs that no descriptor has: the node, and where.
    pub features: Vec<(&'a str, FeatureSpec<'a>)>,
    /// Entries of registries that no descriptor has, likewise.
    pub handles: Vec<(&'a str, Handles<'a>)>,
    /// Descriptors of nodes that are made when they are first needed: their features have their places from now on.
    pub later: Vec<&'static NodeSpec>,
}

/// What an instance needs to know of the graph that it is made for.
pub struct Wiring<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) arcs: &'g ArcRegistry,
    pub(crate) registries: &'g RegistryList,
    pub(crate) node: NodeId,
    pub(crate) thread: ThreadIndex,
}

impl Wiring<'_> {
    /// The id of the node itself.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The worker that will own the instance.
    pub fn thread(&self) -> ThreadIndex {
        self.thread
    }

    /// The node's edges; `E` is the enum whose names stand in the descriptor.
    pub fn nexts<E: Edges>(&self) -> Nexts<E> {
        let resolved: Vec<NodeId> =
            E::NAMES.iter().map(|name| self.graph.id(name).unwrap_or(NodeId::DROP)).collect();
        Nexts::new(&resolved)
    }

    /// The nodes at the ends of the descriptor's edges, for a node whose edges are known at run time only.
    pub fn edges(&self) -> Vec<NodeId> {
        let names = self.graph.node(self.node).map_or(&[][..], |node| node.spec.next);
        names.iter().map(|name| self.graph.id(name).unwrap_or(NodeId::DROP)).collect()
    }

    /// The first `N` of them.
    pub fn first_edges<const N: usize>(&self) -> [NodeId; N] {
        let edges = self.edges();
        std::array::from_fn(|edge| edges.get(edge).copied().unwrap_or(NodeId::DROP))
    }

    /// The first of the descriptor's reasons, likewise.
    pub fn first_reason(&self) -> ReasonId {
        self.graph.node(self.node).map_or(ReasonId(0), |node| node.reasons)
    }

    /// The node of that name.
    pub fn id(&self, name: &str) -> Option<NodeId> {
        self.graph.id(name)
    }

    /// A feature arc; one without features if nobody has registered it.
    pub fn arc(&self, spec: &ArcSpec<'_>) -> ArcId {
        self.arcs.arc(spec.name).unwrap_or(ArcId(u8::MAX))
    }

    /// A registry; an empty one if nobody has declared it.
    pub fn registry(&self, spec: &RegistrySpec<'_>) -> RegistryId {
        self.registries.find(spec.name).unwrap_or(RegistryId::NONE)
    }

    /// The node's drop reasons; `R` is the enum whose list stands in the descriptor.
    pub fn reasons<R: Drops>(&self) -> ReasonBase<R> {
        ReasonBase::new(self.first_reason())
    }

    /// Its events, likewise.
    pub fn events<E: Events>(&self) -> ReasonBase<E> {
        let drops = self.graph.node(self.node).map_or(0, |node| node.spec.drops.len());
        ReasonBase::new(ReasonId(self.first_reason().0 + drops as u16))
    }
}

/// A node of the graph.
#[derive(Debug)]
pub struct NodeInfo {
    /// Unique.
    pub name: String,
    /// Who brought it: `weft`, or a plugin.
    pub owner: String,
    /// Its descriptor.
    pub spec: &'static NodeSpec,
    /// The first of its reasons.
    pub reasons: ReasonId,
    /// Another one for every node that ever was: ids are given out again.
    pub serial: u64,
}

impl NodeInfo {
    /// Its reasons.
    pub fn reason_ids(&self) -> impl Iterator<Item = (ReasonId, &'static ReasonSpec)> + use<> {
        (self.reasons.0..).map(ReasonId).zip(self.spec.reasons())
    }
}

/// A reason of a node.
#[derive(Debug)]
pub struct ReasonInfo {
    /// The node.
    pub node: NodeId,
    /// Name, sentence, severity.
    pub spec: ReasonSpec,
}

/// The main thread's list of nodes.
pub struct Graph {
    nodes: Vec<Option<NodeInfo>>,
    names: HashMap<String, NodeId>,
    reasons: Vec<ReasonInfo>,
    /// Ids that nobody uses any more, with their reasons.
    free: Vec<(NodeId, Range<u16>)>,
    serial: u64,
    max_nodes: usize,
    max_reasons: usize,
}

impl Graph {
    pub(crate) fn new(max_nodes: usize, max_reasons: usize) -> Self {
        Graph {
            nodes: Vec::new(),
            names: HashMap::new(),
            reasons: Vec::new(),
            free: Vec::new(),
            serial: 0,
            max_nodes,
            max_reasons,
        }
    }

    /// Checks a batch of nodes against the graph and each other; on an error nothing has changed.
    pub(crate) fn check(&self, owner: &str, defs: &[NodeDef<'_>]) -> Result<(), GraphError> {
        for (i, def) in defs.iter().enumerate() {
            let known = self.names.get(&def.name).and_then(|id| self.node(*id));
            let twice = defs[..i].iter().any(|other| other.name == def.name);
            if known.is_some() || twice {
                return Err(GraphError::Duplicate {
                    name: def.name.clone(),
                    new: owner.to_owned(),
                    old: known.map_or(owner, |node| node.owner.as_str()).to_owned(),
                });
            }
            for next in def.spec.next.iter().chain(&def.spec.front_of) {
                if !self.names.contains_key(*next) && !defs.iter().any(|other| other.name == *next) {
                    return Err(GraphError::UnknownNext {
                        node: def.name.clone(),
                        owner: owner.to_owned(),
                        next: (*next).to_owned(),
                    });
                }
            }
        }
        let reasons: usize = defs.iter().map(|def| def.spec.reasons().len()).sum();
        if self.nodes.len() + defs.len() > self.max_nodes {
            return Err(GraphError::Full(format!("limits {{ nodes {} }}", self.max_nodes)));
        }
        if self.reasons.len() + reasons > self.max_reasons {
            return Err(GraphError::Full(format!("limits {{ counters {} }}", self.max_reasons)));
        }
        Ok(())
    }

    /// Adds a checked node.
    pub(crate) fn add(&mut self, owner: &str, name: &str, spec: &'static NodeSpec) -> NodeId {
        let reusable = self.free.iter().position(|(_, reasons)| reasons.len() == spec.reasons().len());
        let (id, reasons) = match reusable {
            Some(place) => {
                let (id, reasons) = self.free.swap_remove(place);
                (id, ReasonId(reasons.start))
            }
            None => {
                self.nodes.push(None);
                (NodeId(self.nodes.len() as u16 - 1), ReasonId(self.reasons.len() as u16))
            }
        };
        let infos = spec.reasons().map(|spec| ReasonInfo { node: id, spec: *spec });
        let end = self.reasons.len().min(reasons.index() + spec.reasons().len());
        self.reasons.splice(reasons.index()..end, infos);
        self.names.insert(name.to_owned(), id);
        self.serial += 1;
        let (name, owner, serial) = (name.to_owned(), owner.to_owned(), self.serial);
        self.nodes[id.index()] = Some(NodeInfo { name, owner, spec, reasons, serial });
        id
    }

    /// Takes the node out; its id stays reserved until [`Graph::release`].
    pub(crate) fn remove(&mut self, id: NodeId) -> Option<NodeInfo> {
        let info = self.nodes.get_mut(id.index())?.take()?;
        self.names.remove(&info.name);
        Some(info)
    }

    /// No worker knows the removed node any more.
    pub(crate) fn release(&mut self, id: NodeId, info: &NodeInfo) {
        self.free.push((id, info.reasons.0..info.reasons.0 + info.spec.reasons().len() as u16));
    }

    /// The node of that name.
    pub fn id(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    /// The node under that id.
    pub fn node(&self, id: NodeId) -> Option<&NodeInfo> {
        self.nodes.get(id.index())?.as_ref()
    }

    /// `<from> <to>`, if both nodes are there.
    pub(crate) fn edge(&self, (from, to): (NodeId, NodeId)) -> Option<String> {
        Some(format!("{} {}", self.node(from)?.name, self.node(to)?.name))
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodeInfo)> {
        self.nodes.iter().enumerate().filter_map(|(id, node)| Some((NodeId(id as u16), node.as_ref()?)))
    }

    /// Ids given out so far.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node yet.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A reason.
    pub fn reason(&self, id: ReasonId) -> Option<&ReasonInfo> {
        self.reasons.get(id.index())
    }

    /// A reason by the name that `show errors` gives it: `<node>/<reason>`.
    pub fn find_reason(&self, name: &str) -> Option<ReasonId> {
        let (node, reason) = name.rsplit_once('/')?;
        let info = self.node(self.id(node)?)?;
        info.reason_ids().find(|(_, spec)| spec.name == reason).map(|(id, _)| id)
    }

    /// All reasons, by id, with the name of their node (`None`: the node is gone).
    pub fn reasons(&self) -> impl Iterator<Item = (ReasonId, &ReasonInfo, Option<&str>)> {
        self.reasons.iter().enumerate().map(|(id, reason)| {
            (ReasonId(id as u16), reason, self.node(reason.node).map(|node| node.name.as_str()))
        })
    }
}
