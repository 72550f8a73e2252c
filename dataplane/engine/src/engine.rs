// SPDX-License-Identifier: Apache-2.0
//! The engine, as the main thread holds it: buffers, counters, graph, features, and a hold on each worker.
//!
//! Everything is reached from this value; there is no global state, so a test builds an engine and drives
//! its workers on its own thread. All methods are called by the main thread. What they change reaches the
//! workers by messages and published tables, and none of them waits for a worker.

use std::sync::Arc;

use weft_stats::{EntryIndex, Segment, SimpleVector, StatsError};

use crate::buffer::context::{ContextError, ContextRegistry, Field, Plain, Word};
use crate::buffer::{BufferConfig, BufferError, Buffers};
use crate::clock::Clock;
use crate::counters::{CounterLimits, CounterVectors, DELETED};
use crate::drop::{DROP, DropNode, ERROR_DROP};
use crate::edges::{EdgeCounts, EdgeRegistry};
use crate::feature::{ArcRegistry, ArcSpec, FeatureError, FeatureSpec};
use crate::graph::{BUILT_IN, Graph, GraphError, NodeDef, Registration, Wiring};
use crate::handoff;
use crate::ids::{ArcId, InterfaceIndex, NodeId, ThreadIndex};
use crate::lease::Lease;
use crate::qsbr::Domain;
use crate::registry::{Handles, RegistryError, RegistryList, RegistrySpec};
use crate::wait::Waker;
use crate::worker::{IdlePolicy, Worker, WorkerHandle, WorkerParts};

/// What an engine is made of.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The NUMA node of each worker.
    pub workers: Vec<u32>,
    /// Packet buffers.
    pub buffers: BufferConfig,
    /// What can be counted.
    pub limits: CounterLimits,
    /// Bytes of the stats segment.
    pub stats_size: usize,
    /// What workers do when idle.
    pub idle: IdlePolicy,
    /// Packets that may be on their way from one worker to another.
    pub handoff: usize,
    /// What all threads tell the time by; `None`: the processor's counter.
    pub clock: Option<Clock>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            workers: vec![0],
            buffers: BufferConfig::default(),
            limits: CounterLimits::default(),
            stats_size: 32 << 20,
            idle: IdlePolicy::default(),
            handoff: 1024,
            clock: None,
        }
    }
}

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No buffers.
    #[error(transparent)]
    Buffers(#[from] BufferError),
    /// No stats segment.
    #[error("stats segment: {0}")]
    Stats(#[from] StatsError),
    /// The built-in node does not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// No descriptors left.
    #[error("cannot create an eventfd: {0}")]
    Waker(std::io::Error),
}

/// Work for the main thread once all workers have applied what was posted before.
type Deferred = Box<dyn FnOnce(&mut Engine)>;

/// A deferred action.
struct Waiting {
    /// The message that each worker must have run.
    posted: Vec<u64>,
    /// Further rounds of messages before it is due.
    rounds: usize,
    action: Deferred,
}

/// Rounds until no packet is on its way that was sent when all had run the first message: who runs the second one takes
/// over in that turn what was sent before, and who runs the third has ended that turn.
const HANDOFF_ROUNDS: usize = 2;

/// The main thread's engine.
pub struct Engine {
    /// What was unlinked and waits for the workers.
    pub domain: Domain,
    /// Buffer memory of all workers.
    pub buffers: Arc<Buffers>,
    /// The stats segment.
    pub stats: Segment,
    /// The engine's vectors in it.
    pub counters: CounterVectors,
    /// The clock that all threads share.
    pub clock: Clock,
    graph: Graph,
    edges: EdgeRegistry,
    arcs: ArcRegistry,
    registries: RegistryList,
    context: ContextRegistry,
    workers: Vec<WorkerHandle>,
    deferred: Vec<Waiting>,
    /// Symlinks in the segment, by node.
    links: Vec<Vec<EntryIndex>>,
}

impl Engine {
    /// An engine, and its workers to be given threads.
    pub fn new(config: &EngineConfig) -> Result<(Engine, Vec<Worker>), EngineError> {
        let buffers = Buffers::new(&config.buffers)?;
        let mut stats = Segment::new(config.stats_size, config.workers.len() + 1)?;
        let counters = CounterVectors::new(&mut stats, &config.limits)?;
        let mut edges = EdgeRegistry::new(&mut stats, config.limits.edges)?;
        let clock = config.clock.unwrap_or_else(Clock::calibrate);
        let mut domain = Domain::new(config.workers.len());
        let (mut workers, mut handles) = (Vec::new(), Vec::new());
        let wakers: Result<Vec<Waker>, _> = config.workers.iter().map(|_| Waker::new()).collect();
        let wakers = wakers.map_err(EngineError::Waker)?;
        let handoffs = handoff::mesh(&wakers, config.handoff);
        for (i, ((&numa, handoff), waker)) in config.workers.iter().zip(handoffs).zip(wakers).enumerate() {
            let thread = ThreadIndex(i as u16 + 1);
            let Some(reader) = domain.register() else {
                unreachable!("the domain was made for as many readers as there are workers");
            };
            let (edge_counts, asked) = EdgeCounts::new(config.limits.nodes, edges.packets().row(thread));
            edges.hear(asked);
            let (worker, handle) = Worker::new(WorkerParts {
                thread,
                clock,
                buffers: buffers.cache(numa),
                counters: counters.rows(thread),
                reader,
                waker,
                handoff,
                idle: config.idle,
                edges: edge_counts,
            });
            workers.push(worker);
            handles.push(handle);
        }
        let mut engine = Engine {
            domain,
            buffers,
            stats,
            counters,
            clock,
            graph: Graph::new(config.limits.nodes, config.limits.reasons),
            edges,
            arcs: ArcRegistry::default(),
            registries: RegistryList::default(),
            context: ContextRegistry::default(),
            workers: handles,
            deferred: Vec::new(),
            links: Vec::new(),
        };
        engine.register(
            BUILT_IN,
            Registration {
                arcs: vec![ERROR_DROP],
                nodes: vec![NodeDef::new(&DROP, |_| Box::<DropNode>::default())],
                ..Registration::default()
            },
        )?;
        Ok((engine, workers))
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The feature arcs.
    pub fn features(&self) -> &ArcRegistry {
        &self.arcs
    }

    /// Who handles which numbers.
    pub fn registries(&self) -> &RegistryList {
        &self.registries
    }

    /// The threads of the workers.
    pub fn threads(&self) -> impl Iterator<Item = ThreadIndex> + use<> {
        (1..=self.workers.len() as u16).map(ThreadIndex)
    }

    /// Adds nodes that may name each other, with the features that they are; all of them or, on an error, nothing.
    pub fn add_nodes(&mut self, owner: &str, nodes: Vec<NodeDef<'_>>) -> Result<Vec<NodeId>, GraphError> {
        self.register(owner, Registration { nodes, ..Registration::default() })
    }

    /// Adds all that a part of the dataplane brings; all of it or, on an error, nothing. Returns the ids of its nodes.
    pub fn register(
        &mut self,
        owner: &str,
        registration: Registration<'_>,
    ) -> Result<Vec<NodeId>, GraphError> {
        let Registration { arcs, registries, nodes, features, handles, later } = registration;
        let specs = nodes.iter().map(|def| (def.name.as_str(), def.spec));
        let places: Vec<(&str, FeatureSpec<'_>)> = specs
            .clone()
            .chain(later.iter().map(|spec| (spec.name, *spec)))
            .flat_map(|(node, spec)| spec.features.iter().map(move |place| (node, *place)))
            .chain(features)
            .collect();
        let handles: Vec<(String, Handles<'_>)> = specs
            .flat_map(|(node, spec)| spec.handles.iter().map(move |entry| (node, *entry)))
            .chain(handles)
            .map(|(node, entry)| (node.to_owned(), entry))
            .collect();
        let is_end = |def: &NodeDef<'_>| self.arcs.mentions(&def.name);
        if arcs.is_empty()
            && registries.is_empty()
            && places.is_empty()
            && handles.is_empty()
            && !nodes.iter().any(is_end)
        {
            return self.adopt_nodes(owner, nodes);
        }
        self.graph.check(owner, &nodes)?;
        let before = (self.arcs.clone(), self.registries.clone());
        let placed = self.place(owner, &arcs, &registries, &places);
        let adopted = placed.and_then(|()| self.adopt_nodes(owner, nodes));
        let result = adopted.and_then(|ids| match self.handle(owner, &handles) {
            Ok(()) => Ok(ids),
            Err(error) => {
                ids.into_iter().for_each(|id| self.remove_node(id));
                Err(error.into())
            }
        });
        match result {
            Ok(_) => {
                self.publish_arcs();
                self.publish_registries();
            }
            Err(_) => {
                (self.arcs, self.registries) = before;
                self.publish_arcs();
            }
        }
        result
    }

    /// Adds arcs and registries, and features to these and other arcs.
    fn place(
        &mut self,
        owner: &str,
        arcs: &[ArcSpec<'_>],
        registries: &[RegistrySpec<'_>],
        places: &[(&str, FeatureSpec<'_>)],
    ) -> Result<(), GraphError> {
        for spec in arcs {
            self.arcs.add_arc(owner, spec)?;
        }
        for spec in registries {
            self.registries.add(spec)?;
        }
        for (node, place) in places {
            self.arcs.add_feature(owner, node, place)?;
        }
        Ok(())
    }

    fn handle(&mut self, owner: &str, handles: &[(String, Handles<'_>)]) -> Result<(), RegistryError> {
        let graph = &self.graph;
        for (node, entry) in handles {
            self.registries.handle(owner, node, entry, |name| graph.find_reason(name))?;
        }
        Ok(())
    }

    fn adopt_nodes(&mut self, owner: &str, mut defs: Vec<NodeDef<'_>>) -> Result<Vec<NodeId>, GraphError> {
        self.graph.check(owner, &defs)?;
        let ids: Vec<NodeId> = defs.iter().map(|def| self.graph.add(owner, &def.name, def.spec)).collect();
        for (def, &id) in defs.iter().zip(&ids) {
            if let Err(error) = self.publish_node(id) {
                ids.iter().for_each(|id| self.remove_node(*id));
                return Err(GraphError::Stats(def.name.clone(), error));
            }
        }
        let declared = ids.iter().flat_map(|id| {
            let next = self.graph.node(*id).map_or(&[][..], |info| info.spec.next);
            next.iter().filter_map(|next| Some((*id, self.graph.id(next)?)))
        });
        let front = |(def, id): (&NodeDef<'_>, &NodeId)| Some((*id, self.graph.id(def.spec.front_of?)?));
        let fronts: Arc<[_]> = defs.iter().zip(&ids).filter_map(front).collect();
        let edges: Arc<[_]> = self.edges.add(&mut self.stats, declared, |edge| self.graph.edge(edge)).into();
        for (worker, thread) in self.workers.iter_mut().zip(1u16..) {
            let mut adopted = Vec::with_capacity(ids.len());
            for (def, &node) in defs.iter_mut().zip(&ids) {
                let (graph, arcs, registries) = (&self.graph, &self.arcs, &self.registries);
                let wiring = Wiring { graph, arcs, registries, node, thread: ThreadIndex(thread) };
                adopted.push((node, def.spec, (def.make)(&wiring)));
            }
            let (edges, fronts) = (Arc::clone(&edges), Arc::clone(&fronts));
            worker.post(move |worker| {
                for (id, spec, node) in adopted {
                    worker.adopt(id, spec, node);
                }
                fronts.iter().for_each(|(id, of)| worker.put_in_front(*id, *of));
                worker.learn_edges(&edges);
            });
        }
        if self.registries.wake(|name| self.graph.find_reason(name)) {
            self.publish_registries();
        }
        Ok(ids)
    }

    /// Removes a node. The caller has taken away what leads to it; a packet that is on its way all the same
    /// is dropped with a reason. The id is used again when all workers have forgotten it.
    pub fn remove_node(&mut self, id: NodeId) {
        let Some(info) = self.graph.remove(id) else {
            return;
        };
        if self.arcs.mentions(&info.name) {
            self.publish_arcs();
        }
        if self.registries.forget(&info.name) {
            self.publish_registries();
        }
        let counters = &self.counters;
        let links = self.links.get_mut(id.index()).map(std::mem::take).unwrap_or_default();
        self.stats.update(|update| {
            links.into_iter().for_each(|link| update.remove(link));
            // Fails only for a name that the segment had no room for in the first place.
            let _ = update.set_name(&counters.node_names, id.index(), DELETED);
            for (reason, _) in info.reason_ids() {
                let _ = counters.reason_texts.delete(update, reason);
            }
        });
        let edges = self.edges.remove(&mut self.stats, id);
        self.post_all(move |worker| worker.remove(id));
        self.after_workers(move |engine| {
            engine.edges.release(edges);
            engine.graph.release(id, &info);
        });
    }

    /// Gives columns to edges that workers have used for the first time. The workers bring what they have counted on them
    /// with their next turn.
    pub fn learn_edges(&mut self) {
        let asked = self.edges.asked();
        let learned: Arc<[_]> = self.edges.add(&mut self.stats, asked, |edge| self.graph.edge(edge)).into();
        if !learned.is_empty() {
            self.post_all(move |worker| worker.learn_edges(&learned));
        }
    }

    /// Packets along each used edge out of `node`, of all workers.
    pub fn edges(&self, node: NodeId) -> Vec<(NodeId, u64)> {
        self.edges.of(node)
    }

    fn publish_node(&mut self, id: NodeId) -> Result<(), StatsError> {
        let Some(info) = self.graph.node(id) else {
            return Ok(());
        };
        let (counters, reasons) = (&self.counters, self.graph.reasons().count());
        let nodes = self.graph.len();
        let stat_name = info.name.replace('/', "_");
        // What an earlier node of this id has counted stood until now; no worker counts there any more.
        counters.zero(id, info.reason_ids().map(|(reason, _)| reason));
        let columns = counters.of_nodes();
        if id.index() >= self.links.len() {
            self.links.resize_with(id.index() + 1, Vec::new);
        }
        // Also what was made before the segment was full is taken away with the node.
        let links = &mut self.links[id.index()];
        self.stats.update(|update| {
            columns.iter().try_for_each(|(_, vector)| update.set_len(*vector, nodes))?;
            update.set_len(&counters.node_names, nodes)?;
            update.set_name(&counters.node_names, id.index(), &info.name)?;
            update.set_len(&counters.reasons, reasons)?;
            counters.reason_texts.set_len(update, reasons)?;
            for (column, vector) in columns {
                let name = format!("/nodes/{stat_name}/{column}");
                links.push(update.symlink(&name, vector.entry(), id.0.into())?);
            }
            for (reason, spec) in info.reason_ids() {
                let name = format!("/err/{stat_name}/{}", spec.name);
                links.push(update.symlink(&name, counters.reasons.entry(), reason.0.into())?);
                let name = format!("{stat_name}/{}", spec.name);
                let texts = [&name, spec.text, spec.severity.word(), spec.kind.word()];
                counters.reason_texts.set(update, reason, texts)?;
            }
            Ok(())
        })
    }

    /// The packet field of that name, for whoever registers it with the same type; zero until somebody writes it.
    pub fn field<T: Plain>(&mut self, name: &str) -> Result<Field<T>, ContextError> {
        self.context.field(name, None)
    }

    /// The same, for somebody who will not need it for ever, but as long as `claim` lives.
    pub fn field_while<T: Plain>(&mut self, name: &str, claim: &Arc<()>) -> Result<Field<T>, ContextError> {
        self.context.field(name, Some(claim))
    }

    /// The mask of the packet flag of that name; not set until somebody sets it.
    pub fn flag(&mut self, name: &str) -> Result<u32, ContextError> {
        self.context.flag(name)
    }

    /// Claims a bit of [`crate::buffer::context::FIXED_FLAGS`] that is a constant of the caller.
    pub fn claim_flag(&mut self, name: &str, mask: u32) -> Result<(), ContextError> {
        self.context.claim_flag(name, mask)
    }

    /// The counter of that name (`/if/ip4`) that the caller keeps for every interface; see
    /// [`InterfaceVectors::name`](crate::counters::InterfaceVectors::name).
    pub fn interface_counter(&mut self, name: &str) -> Result<SimpleVector, StatsError> {
        self.counters.interfaces.name(&mut self.stats, name)
    }

    /// Claims a word of the first line of metadata.
    pub fn claim_word(&mut self, word: Word) -> Result<(), ContextError> {
        self.context.claim_word(word)
    }

    /// Adds a feature arc.
    pub fn add_arc(&mut self, owner: &str, spec: &ArcSpec<'_>) -> Result<ArcId, FeatureError> {
        let arc = self.arcs.add_arc(owner, spec)?;
        self.publish_arcs();
        Ok(arc)
    }

    /// Whoever has added arcs as `owner` leaves: they go, but for those on which others have features or in which arcs of others end.
    /// These go with the last of them. A number is given out again when no worker and no packet names it any more.
    pub fn remove_arcs(&mut self, owner: &str) {
        let gone = self.arcs.disown(owner);
        self.retire_arcs(gone);
    }

    /// Takes a feature away; returns the interfaces on which it was enabled.
    pub fn remove_feature(&mut self, arc: ArcId, node: &str) -> Vec<InterfaceIndex> {
        let (enabled, gone) = self.arcs.remove_feature(arc, node);
        self.retire_arcs(gone);
        enabled
    }

    fn retire_arcs(&mut self, gone: Vec<ArcId>) {
        self.publish_arcs();
        if !gone.is_empty() {
            self.after_workers(move |engine| engine.arcs.release(&gone));
        }
    }

    /// Enables or disables a feature on an interface. Says whether that is a change.
    pub fn set_feature(
        &mut self,
        arc: ArcId,
        interface: InterfaceIndex,
        node: &str,
        on: bool,
    ) -> Result<bool, FeatureError> {
        if on && self.arcs.has_feature(arc, node) && self.graph.id(node).is_none() {
            return Err(FeatureError::NotRunning(node.to_owned(), self.arcs.name(arc).to_owned()));
        }
        let changed = self.arcs.set(arc, interface, node, on)?;
        if changed {
            self.publish_arcs();
        }
        Ok(changed)
    }

    /// The node that transmits on an interface: what follows the arcs of its way out.
    pub fn set_transmit(&mut self, interface: InterfaceIndex, node: NodeId) {
        self.arcs.set_transmit(interface, node);
        self.publish_arcs();
    }

    /// Forgets the features of an interface that is deleted.
    pub fn forget_features(&mut self, interface: InterfaceIndex) {
        self.arcs.forget(interface);
        self.publish_arcs();
    }

    fn publish_arcs(&mut self) {
        let arcs = self.arcs.build(|name| self.graph.id(name));
        self.post_all(move |worker| worker.set_arcs(Arc::clone(&arcs)));
    }

    fn publish_registries(&mut self) {
        let registries = self.registries.build(|name| self.graph.id(name));
        self.post_all(move |worker| worker.set_registries(Arc::clone(&registries)));
    }

    /// Makes several changes that each worker adopts as one: no packet passes between the first and the last of them.
    pub fn at_once<R>(&mut self, changes: impl FnOnce(&mut Engine) -> R) -> R {
        self.workers.iter_mut().for_each(WorkerHandle::collect);
        let result = changes(self);
        self.workers.iter_mut().for_each(WorkerHandle::send_collected);
        result
    }

    /// Has one worker run `change` between two turns.
    pub fn post(&mut self, thread: ThreadIndex, change: impl FnOnce(&mut Worker) + Send + 'static) {
        if let Some(worker) = usize::from(thread.0).checked_sub(1).and_then(|i| self.workers.get_mut(i)) {
            worker.post(change);
        }
    }

    /// Has every worker run `change` between two turns.
    pub fn post_all(&mut self, change: impl FnOnce(&mut Worker) + Clone + Send + 'static) {
        for worker in &mut self.workers {
            worker.post(change.clone());
        }
    }

    /// Asks a worker; the answer comes when it is between two turns.
    pub fn ask<R: Send + 'static>(
        &mut self,
        thread: ThreadIndex,
        question: impl FnOnce(&mut Worker) -> R + Send + 'static,
    ) -> crossbeam_channel::Receiver<R> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.post(thread, move |worker| {
            let _ = sender.send(question(worker));
        });
        receiver
    }

    /// Runs `action` once every worker has applied what was posted to it before now.
    pub fn after_workers(&mut self, action: impl FnOnce(&mut Engine) + 'static) {
        let posted = self.workers.iter().map(WorkerHandle::posted).collect();
        let rounds = if self.workers.len() > 1 { HANDOFF_ROUNDS } else { 0 };
        self.deferred.push(Waiting { posted, rounds, action: Box::new(action) });
    }

    /// Holds an index until no published table, no message and no packet that is on its way now can name it any more. Who
    /// keeps what these bring keeps a clone of the lease.
    pub fn retire_index(&mut self, lease: Lease) {
        self.after_workers(|engine| engine.domain.retire(lease));
    }

    /// Frees what no worker can see any more and runs the actions that are due. The main loop calls it in every
    /// round; says whether anything still waits.
    pub fn reclaim(&mut self) -> bool {
        self.learn_edges();
        let workers = &self.workers;
        let due =
            |posted: &[u64]| posted.iter().zip(workers).all(|(posted, worker)| worker.applied() >= *posted);
        let (ready, waiting) =
            std::mem::take(&mut self.deferred).into_iter().partition(|waiting| due(&waiting.posted));
        self.deferred = waiting;
        let ready: Vec<Waiting> = ready;
        if ready.iter().any(|waiting| waiting.rounds > 0) {
            self.post_all(|_| ());
        }
        for Waiting { rounds, action, .. } in ready {
            match rounds.checked_sub(1) {
                None => action(self),
                Some(rounds) => {
                    let posted = self.workers.iter().map(WorkerHandle::posted).collect();
                    self.deferred.push(Waiting { posted, rounds, action });
                }
            }
        }
        self.domain.reclaim() + self.deferred.len() > 0
    }

    /// Wakes all workers, so that they notice that they must stop.
    pub fn wake_all(&self) {
        self.workers.iter().for_each(WorkerHandle::wake);
    }
}
