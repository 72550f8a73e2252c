// SPDX-License-Identifier: Apache-2.0
//! The flow tracker, as the main thread holds it.
//!
//! Made when the first interface wants its flows tracked: until then there is no table and no node. Interfaces are enabled
//! by a word that workers read; verdicts and clearing are messages to the worker that owns the flow; looking is done in
//! the tables themselves, and no worker notices.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rtrb::{Consumer, RingBuffer};
use weft_engine::buffer::Pages;
use weft_engine::feature::FeatureError;
use weft_engine::graph::{BUILT_IN, GraphError, NodeDef, Registration};
use weft_engine::publish::Published;
use weft_engine::wait::Waker;
use weft_engine::{ArcId, Engine, InterfaceIndex, Lease, NodeId, ThreadIndex};
use weft_flow_map::{Flow, FlowId, Reader, TableError, Verdict};
use weft_nodes::arcs::{INTERFACE_OUTPUT_ARC, IP4_UNICAST_ARC, IP6_UNICAST_ARC};
use weft_nodes::context::MARK;
use weft_nodes::interface::InterfaceTable;
use weft_stats::StatsError;

use crate::admission;
use crate::counts::CountVectors;
use crate::hold::Hold;
use crate::news::{News, Teller};
use crate::node::{FLOW_TRACK, FlowTrack, RING, leaving};
use crate::settings::{Mode, Settings, Shared};
use crate::shard::{Ahead, Shard};

/// Why flows cannot be tracked.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// No memory for a table.
    #[error("no memory for {flows} flows: {source}; expected fewer in flow {{ flows }}")]
    Memory {
        /// Flows that were asked for.
        flows: usize,
        /// Why.
        source: io::Error,
    },
    /// The table cannot be mapped for reading.
    #[error(transparent)]
    Table(#[from] TableError),
    /// No room for the node.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// No place on the arc.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// No room for the counters.
    #[error("stats segment: expected more in statseg {{ size }}: {0}")]
    Stats(#[from] StatsError),
    /// Beyond the limit of interfaces.
    #[error("interface {0} is beyond the limit of interfaces")]
    Interface(InterfaceIndex),
}

/// Flow ids that go to a worker in one message.
const IDS_AT_ONCE: usize = 4096;

/// The main thread's tracker.
pub struct FlowTracker {
    node: NodeId,
    /// `ip4-unicast` and `ip6-unicast`.
    arcs: [ArcId; 2],
    shared: Arc<Shared>,
    news: Vec<Consumer<News>>,
    /// Counters.
    pub counts: CountVectors,
    reader: Arc<Reader>,
    fds: Vec<OwnedFd>,
    pages: (bool, Pages),
    settings: Settings,
}

/// What this crate brings to the graph from the start: the place of flow-track among the features of `ip4-unicast`. The node
/// itself comes with the first interface whose flows are tracked.
pub fn registration() -> Registration<'static> {
    Registration { later: vec![&FLOW_TRACK], ..Registration::default() }
}

impl FlowTracker {
    /// Makes the tables, the node and its places on the arcs `ip4-unicast` and `ip6-unicast`. `table` has the interfaces, of which there may be
    /// as many as `interfaces`; `main` is
    /// woken by workers that have news.
    pub fn new(
        engine: &mut Engine,
        settings: Settings,
        table: &Arc<Published<InterfaceTable>>,
        interfaces: usize,
        main: &Waker,
    ) -> Result<FlowTracker, FlowError> {
        let threads: Vec<ThreadIndex> = engine.threads().collect();
        let shared = Arc::new(Shared::new(interfaces));
        let clock = engine.clock;
        let memory = |source| FlowError::Memory { flows: settings.flows, source };
        let (mut shards, mut news, mut fds) = (Vec::new(), Vec::new(), Vec::new());
        let mut pages = None;
        for &thread in &threads {
            let (producer, consumer) = RingBuffer::new(settings.news);
            news.push(consumer);
            let teller = Some(Teller::new(producer, main.clone()));
            let now = clock.now();
            let shard =
                Shard::new(thread, threads.len(), &clock, &settings, Arc::clone(&shared), teller, now);
            let shard = shard.map_err(memory)?;
            let own = shard.pages();
            pages = Some(pages.map_or(own, |(all, index): (bool, Pages)| (all && own.0, index)));
            fds.push(shard.fd().try_clone_to_owned().map_err(memory)?);
            shards.push(shard);
        }
        let copies: Result<Vec<OwnedFd>, _> = fds.iter().map(OwnedFd::try_clone).collect();
        let reader = Arc::new(Reader::from_fds(copies.map_err(memory)?)?);
        let arc = |name| engine.features().arc(name);
        let arcs = [arc(IP4_UNICAST_ARC.name)?, arc(IP6_UNICAST_ARC.name)?];
        let counts = CountVectors::new(&mut engine.stats)?;
        let parked = engine.buffers.total() * usize::from(settings.parked_percent) / 100 / threads.len();
        admission::claim(engine).map_err(GraphError::from)?;
        let mark = engine.field(MARK).map_err(GraphError::from)?;
        let mut shards = shards.into_iter();
        let def = NodeDef::new(&FLOW_TRACK, |wiring| {
            Box::new(FlowTrack {
                shard: shards.next().expect("there is a shard for each worker"),
                hold: Hold::new(parked),
                thread: wiring.thread(),
                workers: threads.len(),
                rows: counts.rows(wiring.thread()),
                reasons: wiring.reasons(),
                leaving: leaving(threads.len()),
                interfaces: Arc::clone(table),
                output: wiring.arc(&INTERFACE_OUTPUT_ARC),
                next: wiring.nexts(),
                mark,
                ahead: Box::new([Ahead::default(); RING]),
            })
        });
        let node = match engine.add_nodes(BUILT_IN, vec![def]) {
            Ok(ids) => ids[0],
            Err(error) => {
                counts.remove(&mut engine.stats);
                return Err(error.into());
            }
        };
        let pages = pages.unwrap_or((false, Pages::Small));
        Ok(FlowTracker { node, arcs, shared, news, counts, reader, fds, pages, settings })
    }

    /// Takes out what [`FlowTracker::new`] has made, before any interface uses it.
    pub fn discard(self, engine: &mut Engine) {
        engine.remove_node(self.node);
        self.counts.remove(&mut engine.stats);
    }

    /// Whether all flows lie on huge pages, and what the index of the first worker lies on.
    pub fn pages(&self) -> (bool, Pages) {
        self.pages
    }

    /// What was set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The node, to which rules send packets whose flows are to be admitted.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Other limits, policies and timeouts. The sizes of tables and rings, the limits of new flows and the agent's share
    /// stay as they were made.
    pub fn configure(&mut self, engine: &mut Engine, settings: Settings) {
        let Settings { flows, rate, parked_percent, news, handoff, .. } = self.settings;
        self.settings = Settings { flows, rate, parked_percent, news, handoff, ..settings };
        let (node, settings) = (self.node, self.settings);
        engine.post_all(move |worker| {
            if let Some(track) = worker.node_mut::<FlowTrack>(node) {
                track.shard.configure(settings);
            }
        });
    }

    /// Whether flows of an interface are tracked.
    pub fn is_enabled(&self, engine: &Engine, interface: InterfaceIndex) -> bool {
        engine.features().is_enabled(interface, FLOW_TRACK.name)
    }

    /// Tracks the flows of an interface.
    pub fn enable(
        &mut self,
        engine: &mut Engine,
        interface: InterfaceIndex,
        mode: Mode,
    ) -> Result<(), FlowError> {
        let word = self.shared.modes.get(interface.index()).ok_or(FlowError::Interface(interface))?;
        word.store(mode as u8, Relaxed);
        self.set_features(engine, interface, true)
    }

    fn set_features(
        &self,
        engine: &mut Engine,
        interface: InterfaceIndex,
        on: bool,
    ) -> Result<(), FlowError> {
        for arc in self.arcs {
            engine.set_feature(arc, interface, FLOW_TRACK.name, on)?;
        }
        Ok(())
    }

    /// No longer tracks the flows of an interface. Those that there are end when they have idled for long enough.
    pub fn disable(&mut self, engine: &mut Engine, interface: InterfaceIndex) -> Result<(), FlowError> {
        self.set_features(engine, interface, false)?;
        if let Some(word) = self.shared.modes.get(interface.index()) {
            word.store(Mode::Track as u8, Relaxed);
        }
        Ok(())
    }

    /// An interface is about to be deleted: no longer tracks its flows, ends those that wait for a verdict, has the others part
    /// with it (they may go on by another interface), and leaves no packet that could count for the next interface with its
    /// index. `lease` is held until all of it is done.
    pub fn interface_leaves(
        &mut self,
        engine: &mut Engine,
        interface: InterfaceIndex,
        lease: &Lease,
    ) -> Result<(), FlowError> {
        let node = self.node;
        self.now_and_later(engine, lease, move |engine, _, lease| {
            let lease = lease.clone();
            engine.post_all(move |worker| {
                if let Some(track) = worker.node_mut::<FlowTrack>(node) {
                    track.interface_goes(interface, lease);
                }
            });
        });
        engine.post_all(move |worker| {
            if let Some((track, buffers)) = worker.node_and_buffers::<FlowTrack>(node) {
                track.hold.disown(buffers, interface);
            }
        });
        self.disable(engine, interface)
    }

    /// How packets of an interface are tracked, where they are.
    pub fn mode(&self, interface: InterfaceIndex) -> Mode {
        match self.shared.modes.get(interface.index()).map(|word| word.load(Relaxed)) {
            Some(1) => Mode::Agent,
            Some(2) => Mode::Admit,
            _ => Mode::Track,
        }
    }

    /// All flows, copied from the tables.
    pub fn flows(&self) -> impl Iterator<Item = Flow> + '_ {
        self.reader.flows()
    }

    /// One flow, unless it has ended.
    pub fn get(&self, id: FlowId) -> Option<Flow> {
        self.reader.get(id)
    }

    /// The tables, for those who map them.
    pub fn tables(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.fds.iter().map(AsFd::as_fd)
    }

    /// A verdict on a flow, and its new mark: a message to its owner, which releases what waits, in order. Nothing happens if the
    /// flow has ended.
    pub fn decide(&self, engine: &mut Engine, flow: FlowId, verdict: Verdict, mark: Option<u32>) {
        decide(engine, self.node, flow, (verdict, mark), None);
    }

    /// Something is gone that verdicts name: the flows that are sent there are dropped. So are those that are only about to
    /// be: their verdicts are on their way to the workers, and are looked for when they have arrived. Meanwhile `lease` is
    /// held.
    pub fn drop_flows(
        &self,
        engine: &mut Engine,
        lease: &Lease,
        sent_there: impl Fn(&Flow) -> bool + 'static,
    ) {
        let node = self.node;
        self.now_and_later(engine, lease, move |engine, flows, lease| {
            for flow in flows.flows().filter(|flow| sent_there(flow)) {
                decide(engine, node, flow.id, (Verdict::Drop, None), Some(lease.clone()));
            }
        });
    }

    /// Something is gone that flows are about: they end. So do those whose first packet is on its way between two workers.
    /// Until the last one has ended, `lease` is held.
    pub fn end_flows(&self, engine: &mut Engine, lease: &Lease, about_it: impl Fn(&Flow) -> bool + 'static) {
        let node = self.node;
        self.now_and_later(engine, lease, move |engine, flows, lease| {
            let ends: Vec<FlowId> = flows.flows().filter(&about_it).map(|flow| flow.id).collect();
            clear(engine, node, &ends, Some(lease));
        });
    }

    /// Does something to flows, and once more when everything has arrived that is on its way.
    fn now_and_later(
        &self,
        engine: &mut Engine,
        lease: &Lease,
        action: impl Fn(&mut Engine, &Reader, &Lease) + 'static,
    ) {
        action(engine, &self.reader, lease);
        let (reader, lease) = (Arc::clone(&self.reader), lease.clone());
        engine.after_workers(move |engine| action(engine, &reader, &lease));
    }

    /// Ends flows: messages to their owners, which end a few at a time.
    pub fn clear(&self, engine: &mut Engine, flows: &[FlowId]) {
        clear(engine, self.node, flows, None);
    }

    /// Ends all flows that there are now, likewise.
    pub fn clear_all(&self, engine: &mut Engine) {
        let (node, asked) = (self.node, engine.clock.now());
        engine.post_all(move |worker| {
            if let Some(track) = worker.node_mut::<FlowTrack>(node) {
                track.clear_all(asked);
            }
        });
    }

    /// Whether workers tell of every flow that begins or ends.
    pub fn set_events(&self, on: bool) {
        self.shared.events.store(u8::from(on), Relaxed);
    }

    /// Takes over at most `most` pieces of news per worker; says whether there may be more.
    pub fn hear(&mut self, most: usize, mut hear: impl FnMut(News)) -> bool {
        let mut more = false;
        for ring in &mut self.news {
            let mut left = most;
            while left > 0
                && let Ok(news) = ring.pop()
            {
                hear(news);
                left -= 1;
            }
            more |= left == 0;
        }
        more
    }
}

/// `lease` is held until the worker has the verdict.
fn decide(
    engine: &mut Engine,
    node: NodeId,
    flow: FlowId,
    (verdict, mark): (Verdict, Option<u32>),
    lease: Option<Lease>,
) {
    engine.post(ThreadIndex(flow.thread), move |worker| {
        let now = worker.clock().now();
        let track = worker.node_mut::<FlowTrack>(node);
        let released = track.and_then(|track| track.decide(now, flow, verdict, mark));
        worker.resume(node, &released.unwrap_or_default());
        drop(lease);
    });
}

fn clear(engine: &mut Engine, node: NodeId, flows: &[FlowId], lease: Option<&Lease>) {
    for thread in engine.threads() {
        let its: Vec<FlowId> = flows.iter().filter(|flow| flow.thread == thread.0).copied().collect();
        for some in its.chunks(IDS_AT_ONCE) {
            let (some, lease) = (some.to_vec(), lease.cloned());
            engine.post(thread, move |worker| {
                if let Some(track) = worker.node_mut::<FlowTrack>(node) {
                    track.clear(&some, lease);
                }
            });
        }
    }
}
