// SPDX-License-Identifier: Apache-2.0
//! A worker: one thread's share of the graph, and the loop that moves packets through it.
//!
//! A worker owns its node instances, frames, buffer cache and counter rows, and touches nothing that another
//! thread writes but published tables. The main thread changes a worker by posting closures; the worker
//! runs them between two turns, when no packet is in a frame. Nobody waits for anybody.
//!
//! A worker is a value: the daemon gives it a thread ([`Worker::run`]), a test drives it by hand
//! ([`Worker::turn`]).

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::buffer::{BufferCache, DROPPING, HEADROOM, Metadata};
use crate::clock::{Clock, Tsc};
use crate::context::{Context, FrontVector, Kernel};
use crate::counters::{Counters, WorkerColumn};
use crate::edges::{Edge, EdgeCounts};
use crate::feature::Arcs;
use crate::frame::{FRAME_SIZE, Frame, Frames};
use crate::handoff::Handoff;
use crate::ids::{EdgeIndex, InterfaceIndex, NodeId, ReasonId, ThreadIndex};
use crate::node::{Kind, Node, NodeSpec, Role};
use crate::qsbr::{Guard, Reader};
use crate::registry::Registries;
use crate::trace::{CaptureFilter, Captured};
use crate::trace::{Details, Direction, Recorder, TraceRecord};
use crate::wait::{WaitSet, Waker};

/// A change that the main thread wants a worker to make to itself.
pub(crate) type Control = Box<dyn FnOnce(&mut Worker) + Send>;

/// What a worker does when there is nothing to do (`cpu { idle ... }`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IdlePolicy {
    /// Polls for a while, then sleeps until something happens.
    #[default]
    Adaptive,
    /// Polls for ever: lowest latency, a whole core.
    Poll,
}

/// How long a worker polls in vain before it sleeps: longer than a wake-up costs, so that a steady stream
/// never pays for one.
const SPIN: Duration = Duration::from_micros(50);
/// Longest sleep, so that timers of tables and device rings are never far behind.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// A node that stands in front of another one.
struct Front {
    node: NodeId,
    of: NodeId,
    /// See [`FrontVector::rests`].
    rests: u32,
}

struct Slot {
    node: Option<Box<dyn Node>>,
    input: bool,
    role: Role,
}

/// The main thread's hold on a worker.
pub struct WorkerHandle {
    control: Sender<Control>,
    waker: Waker,
    applied: Arc<AtomicU64>,
    posted: u64,
    /// Changes that become one message.
    collected: Option<Vec<Control>>,
}

impl WorkerHandle {
    /// Has the worker run `change` between two turns.
    pub fn post(&mut self, change: impl FnOnce(&mut Worker) + Send + 'static) {
        match &mut self.collected {
            Some(changes) => changes.push(Box::new(change)),
            None => {
                self.posted += 1;
                self.send(Box::new(change));
            }
        }
    }

    fn send(&self, change: Control) {
        // A worker that has ended takes no messages, and needs none.
        let _ = self.control.send(change);
        self.waker.wake();
    }

    /// Keeps what is posted until [`WorkerHandle::send_collected`]. It counts as posted from now on, so that whoever
    /// waits for one of the changes waits for all of them.
    pub(crate) fn collect(&mut self) {
        debug_assert!(self.collected.is_none(), "changes at once do not nest");
        self.posted += 1;
        self.collected = Some(Vec::new());
    }

    /// Has the worker run what was collected, between the same two turns.
    pub(crate) fn send_collected(&mut self) {
        let changes = self.collected.take().unwrap_or_default();
        self.send(Box::new(move |worker| changes.into_iter().for_each(|change| change(worker))));
    }

    /// Number of messages posted so far.
    pub(crate) fn posted(&self) -> u64 {
        self.posted
    }

    /// Number of messages that the worker has run; all of them once it has ended.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Wakes the worker's thread.
    pub fn wake(&self) {
        self.waker.wake();
    }
}

pub(crate) struct WorkerParts {
    pub thread: ThreadIndex,
    pub clock: Clock,
    pub buffers: BufferCache,
    pub counters: Counters,
    pub reader: Reader,
    pub waker: Waker,
    pub handoff: Handoff,
    pub idle: IdlePolicy,
    pub edges: EdgeCounts,
}

/// One thread's share of the graph.
pub struct Worker {
    thread: ThreadIndex,
    clock: Clock,
    slots: Vec<Slot>,
    inputs: Vec<NodeId>,
    flushers: Vec<NodeId>,
    /// Timer nodes: period in clocks, and when next.
    timers: Vec<(NodeId, u64, Tsc)>,
    fronts: Vec<Front>,
    frames: Frames,
    empty: Box<Frame>,
    nexts: Box<[NodeId; FRAME_SIZE]>,
    front: Box<FrontVector>,
    /// Changes of nodes, arcs and registries so far.
    adopted: u64,
    /// Buffers that this worker can use.
    pub buffers: BufferCache,
    counters: Counters,
    reader: Reader,
    arcs: Arc<Arcs>,
    registries: Arc<Registries>,
    recorder: Recorder,
    details: Details,
    edges: EdgeCounts,
    control: Receiver<Control>,
    applied: Arc<AtomicU64>,
    waker: Waker,
    handoff: Handoff,
    idle: IdlePolicy,
    last_work: Tsc,
    spin: u64,
    set: WaitSet,
}

impl Worker {
    pub(crate) fn new(parts: WorkerParts) -> (Worker, WorkerHandle) {
        let (sender, control) = crossbeam_channel::unbounded();
        let applied = Arc::new(AtomicU64::new(0));
        let mut reader = parts.reader;
        reader.online();
        let worker = Worker {
            thread: parts.thread,
            clock: parts.clock,
            slots: Vec::new(),
            inputs: Vec::new(),
            flushers: Vec::new(),
            timers: Vec::new(),
            fronts: Vec::new(),
            frames: Frames::new(),
            empty: Frame::empty(),
            nexts: Box::new([NodeId::DROP; FRAME_SIZE]),
            front: FrontVector::new(),
            adopted: 0,
            buffers: parts.buffers,
            counters: parts.counters,
            reader,
            arcs: Arc::default(),
            registries: Arc::default(),
            recorder: Recorder::new(parts.clock),
            details: Details::default(),
            edges: parts.edges,
            control,
            applied: Arc::clone(&applied),
            waker: parts.waker.clone(),
            handoff: parts.handoff,
            idle: parts.idle,
            last_work: parts.clock.now(),
            spin: parts.clock.clocks(SPIN),
            set: WaitSet::default(),
        };
        let handle =
            WorkerHandle { control: sender, waker: parts.waker, applied, posted: 0, collected: None };
        (worker, handle)
    }

    /// This worker's thread index.
    pub fn thread(&self) -> ThreadIndex {
        self.thread
    }

    /// The clock of the engine.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Moves packets until `stop` is set, then gives every buffer back that it holds.
    pub fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if self.turn() == 0 {
                self.rest();
            }
        }
        self.close();
    }

    /// One turn of the loop: messages, inputs, timers, then frames until none is left. Returns the number of
    /// packets that entered the graph.
    pub fn turn(&mut self) -> usize {
        let posted = self.messages();
        self.receive();
        let start = self.clock.now();
        let mut now = start;
        for i in 0..self.inputs.len() {
            now = self.dispatch(self.inputs[i], None, now);
        }
        let moved = self.frames.take_appended();
        for i in 0..self.timers.len() {
            let (node, period, due) = self.timers[i];
            if now >= due {
                self.timers[i].2 = Tsc(now.0 + period);
                now = self.dispatch(node, None, now);
            }
        }
        self.drain(now);
        for i in 0..self.flushers.len() {
            self.flush(self.flushers[i]);
        }
        self.frames.take_appended();
        self.reader.quiescent();
        self.counters.worker(WorkerColumn::Turns, 1);
        self.counters.set_worker(WorkerColumn::CachedBuffers, self.buffers.cached() as u64);
        if moved + posted == 0 {
            self.counters.worker(WorkerColumn::IdleTurns, 1);
        } else {
            self.last_work = start;
            self.counters.worker(WorkerColumn::BusyClocks, self.clock.now().since(start));
        }
        moved + posted
    }

    fn messages(&mut self) -> usize {
        let mut count = 0;
        while let Ok(change) = self.control.try_recv() {
            change(self);
            count += 1;
            self.applied.fetch_add(1, Ordering::Release);
        }
        count
    }

    /// Takes over what other workers have handed to this one.
    fn receive(&mut self) {
        let frames = &mut self.frames;
        self.handoff.receive(&mut self.buffers, &self.arcs, |node, packet| {
            frames.push(node, &[packet], false);
        });
    }

    /// Dispatches frames in the order in which they were opened.
    fn drain(&mut self, mut now: Tsc) {
        while let Some((node, id, mut frame)) = self.frames.take() {
            for place in 0..self.fronts.len() {
                if self.fronts[place].of == node && !frame.is_empty() {
                    now = self.dispatch_front(place, &mut frame, now);
                }
            }
            if !frame.is_empty() {
                now = self.dispatch(node, Some(&frame), now);
            }
            self.frames.recycle(id, frame);
        }
    }

    /// Runs a node in front of the one that `frame` is for, and takes out of it what that node has taken; returns the time
    /// after it.
    fn dispatch_front(&mut self, place: usize, frame: &mut Frame, now: Tsc) -> Tsc {
        let Front { node: id, of, rests } = &mut self.fronts[place];
        if *rests > 0 || self.recorder.active() {
            *rests = rests.saturating_sub(1);
            return now;
        }
        let (id, of) = (*id, *of);
        let Some(Slot { node: Some(node), .. }) = self.slots.get_mut(id.index()) else {
            return now;
        };
        (self.front.taken_count, self.front.left_count, self.front.rests) = (0, 0, 0);
        node.process(
            &mut Context {
                buffers: &mut self.buffers,
                counters: &self.counters,
                now,
                thread: self.thread,
                kernel: Kernel { clock: &self.clock, counters: &self.counters, node: id, clocks: 0 },
                node: id,
                input: false,
                guard: self.reader.guard(),
                arcs: &self.arcs,
                registries: &self.registries,
                frames: &mut self.frames,
                recorder: &mut self.recorder,
                details: &self.details,
                edges: &mut self.edges,
                nexts: &mut self.nexts,
                front: &mut self.front,
                adopted: self.adopted,
                handoff: &mut self.handoff,
            },
            frame,
        );
        let taken = self.front.taken_count;
        debug_assert_eq!(taken + self.front.left_count, frame.len(), "each packet is taken or left");
        if taken > 0 {
            frame.keep(&self.front.left[..self.front.left_count]);
            self.edges.add(of, id, taken);
        }
        self.fronts[place].rests = self.front.rests;
        let after = self.clock.now();
        self.counters.ran(id, taken as u64, after.since(now));
        after
    }

    /// Runs one node; returns the time after it.
    #[inline]
    fn dispatch(&mut self, id: NodeId, frame: Option<&Frame>, now: Tsc) -> Tsc {
        let Some(Slot { node: Some(node), input, role }) = self.slots.get_mut(id.index()) else {
            if let Some(frame) = frame {
                self.drop_frame(id, frame);
            }
            return now;
        };
        let frame = frame.unwrap_or(&self.empty);
        let mut cx = Context {
            buffers: &mut self.buffers,
            counters: &self.counters,
            now,
            thread: self.thread,
            kernel: Kernel { clock: &self.clock, counters: &self.counters, node: id, clocks: 0 },
            node: id,
            input: *input,
            guard: self.reader.guard(),
            arcs: &self.arcs,
            registries: &self.registries,
            frames: &mut self.frames,
            recorder: &mut self.recorder,
            details: &self.details,
            edges: &mut self.edges,
            nexts: &mut self.nexts,
            front: &mut self.front,
            adopted: self.adopted,
            handoff: &mut self.handoff,
        };
        let recorded = cx.recorder.mark();
        if role.ends_packets() && cx.recorder.active() {
            let role = *role;
            cx.recorder.arrive(cx.buffers, cx.counters, id, |meta| seen(role, meta), frame);
        }
        let packets = frame.len();
        let moved = cx.frames.appended();
        node.process(&mut cx, frame);
        let packets = if *input { cx.frames.appended() - moved } else { packets };
        let system = cx.kernel.clocks;
        if !self.details.is_empty() {
            self.recorder.complete(recorded, &self.details);
        }
        let after = self.clock.now();
        self.counters.ran(id, packets as u64, after.since(now).saturating_sub(system));
        after
    }

    /// Packets for a node that has left the graph.
    #[cold]
    fn drop_frame(&mut self, id: NodeId, frame: &Frame) {
        for &index in frame.packets() {
            self.buffers.packet(index).meta.reason = ReasonId::NODE_REMOVED;
        }
        if id == NodeId::DROP {
            // A worker whose graph is empty.
            self.buffers.free(frame.packets());
        } else {
            // The frame is out of the arena, so this cannot disturb it.
            let packets = frame.packets().to_vec();
            self.frames.push(NodeId::DROP, &packets, false);
        }
    }

    fn flush(&mut self, id: NodeId) {
        let Some(Slot { node: Some(node), input, .. }) = self.slots.get_mut(id.index()) else {
            return;
        };
        node.flush(&mut Context {
            buffers: &mut self.buffers,
            counters: &self.counters,
            now: self.clock.now(),
            thread: self.thread,
            kernel: Kernel { clock: &self.clock, counters: &self.counters, node: id, clocks: 0 },
            node: id,
            input: *input,
            guard: self.reader.guard(),
            arcs: &self.arcs,
            registries: &self.registries,
            frames: &mut self.frames,
            recorder: &mut self.recorder,
            details: &self.details,
            edges: &mut self.edges,
            nexts: &mut self.nexts,
            front: &mut self.front,
            adopted: self.adopted,
            handoff: &mut self.handoff,
        });
    }

    /// Nothing to do: polls on, or sleeps.
    fn rest(&mut self) {
        let now = self.clock.now();
        if self.idle == IdlePolicy::Poll || now.since(self.last_work) < self.spin {
            std::hint::spin_loop();
            return;
        }
        self.set.clear();
        self.set.readable(self.waker.fd());
        for id in self.inputs.iter().chain(&self.flushers) {
            if let Some(Slot { node: Some(node), .. }) = self.slots.get_mut(id.index()) {
                node.wait(&mut self.set);
            }
        }
        if self.set.is_busy() {
            return;
        }
        let due = self.timers.iter().map(|(_, _, due)| due.since(now)).min();
        let timeout = due.map_or(LONGEST_SLEEP, |clocks| self.clock.duration(clocks).min(LONGEST_SLEEP));
        let timeout = self.set.limit(timeout);
        self.reader.offline();
        if self.control.is_empty() {
            self.counters.worker(WorkerColumn::Sleeps, 1);
            self.set.sleep(timeout);
        }
        self.waker.drain();
        self.reader.online();
    }

    /// Puts a node in its place; replaces (and closes) what was there.
    pub(crate) fn adopt(&mut self, id: NodeId, spec: &NodeSpec, node: Box<dyn Node>) {
        self.remove(id);
        if id.index() >= self.slots.len() {
            self.slots.resize_with(id.index() + 1, || Slot { node: None, input: false, role: Role::Transit });
            self.frames.resize(id.index() + 1);
        }
        match spec.kind {
            Kind::Input => self.inputs.push(id),
            Kind::Timer(period) => {
                let period = self.clock.clocks(period);
                self.timers.push((id, period, Tsc(self.clock.now().0 + period)));
            }
            Kind::Internal => {}
        }
        if node.flushes() {
            self.flushers.push(id);
        }
        self.slots[id.index()] = Slot { node: Some(node), input: spec.kind == Kind::Input, role: spec.role };
    }

    /// Has a node see the vectors of another one first.
    pub(crate) fn put_in_front(&mut self, node: NodeId, of: NodeId) {
        self.fronts.push(Front { node, of, rests: 0 });
    }

    /// Takes a node out; it gives back the packets that it keeps.
    pub(crate) fn remove(&mut self, id: NodeId) {
        self.inputs.retain(|other| *other != id);
        self.flushers.retain(|other| *other != id);
        self.timers.retain(|(other, ..)| *other != id);
        self.fronts.retain(|front| front.node != id && front.of != id);
        self.adopted += 1;
        self.edges.forget(id);
        self.recorder.forget(id);
        if let Some(mut node) = self.slots.get_mut(id.index()).and_then(|slot| slot.node.take()) {
            node.close(&mut self.buffers);
        }
    }

    /// Counts packets along these edges in these columns from now on.
    pub(crate) fn learn_edges(&mut self, edges: &[(Edge, EdgeIndex)]) {
        edges.iter().for_each(|(edge, column)| self.edges.learn(*edge, *column));
    }

    /// Ends all nodes and gives all buffers back.
    pub fn close(&mut self) {
        self.messages();
        for id in 0..self.slots.len() {
            self.remove(NodeId(id as u16));
        }
        while let Some((_, id, frame)) = self.frames.take() {
            self.buffers.free(frame.packets());
            self.frames.recycle(id, frame);
        }
        self.handoff.close(&mut self.buffers);
        self.buffers.flush();
        self.counters.set_worker(WorkerColumn::CachedBuffers, self.buffers.cached() as u64);
        self.reader.offline();
        // Whoever waits for messages to be applied need not wait for this worker.
        self.applied.store(u64::MAX, Ordering::Release);
    }

    pub(crate) fn set_arcs(&mut self, arcs: Arc<Arcs>) {
        self.arcs = arcs;
        self.adopted += 1;
    }

    pub(crate) fn set_registries(&mut self, registries: Arc<Registries>) {
        self.registries = registries;
        self.adopted += 1;
    }

    /// The instance of a node, to change it or to ask it.
    pub fn node_mut<N: Node>(&mut self, id: NodeId) -> Option<&mut N> {
        let node: &mut dyn Any = self.slots.get_mut(id.index())?.node.as_deref_mut()?;
        node.downcast_mut()
    }

    /// The instance of a node beside the buffers, for messages that release what the node keeps.
    pub fn node_and_buffers<N: Node>(&mut self, id: NodeId) -> Option<(&mut N, &mut BufferCache)> {
        let node: &mut dyn Any = self.slots.get_mut(id.index())?.node.as_deref_mut()?;
        Some((node.downcast_mut()?, &mut self.buffers))
    }

    /// As [`Worker::node_and_buffers`], with the right to read what is published.
    pub fn node_buffers_and_guard<N: Node>(
        &mut self,
        id: NodeId,
    ) -> Option<(&mut N, &mut BufferCache, Guard<'_>)> {
        let node: &mut dyn Any = self.slots.get_mut(id.index())?.node.as_deref_mut()?;
        Some((node.downcast_mut()?, &mut self.buffers, self.reader.guard()))
    }

    /// Puts a packet into the graph at `node`; false when there is no buffer for it.
    pub fn inject(&mut self, node: NodeId, data: &[u8], prepare: impl FnOnce(&mut Metadata)) -> bool {
        let Some(index) = self.buffers.allocate_one() else {
            return false;
        };
        self.buffers.receive(index, HEADROOM, 0, InterfaceIndex::NONE);
        let mut packet = self.buffers.packet(index);
        if !packet.fill(HEADROOM, data) {
            self.buffers.free_one(index);
            return false;
        }
        prepare(packet.meta);
        self.frames.push(node, &[index], false);
        true
    }

    /// Puts packets that `node` has parked back to their places there.
    pub fn resume(&mut self, node: NodeId, packets: &[crate::ids::BufferIndex]) {
        for &index in packets {
            let node = self.arcs.resume(node, &mut self.buffers.packet(index));
            self.frames.push(node, &[index], true);
        }
    }

    /// Puts packets that a node kept back into the graph.
    pub fn release(&mut self, node: NodeId, packets: &[crate::ids::BufferIndex]) {
        // Whether one of them is traced is not known here; looking costs more than recording in vain.
        self.frames.push(node, packets, true);
    }

    /// Packets in frames and in nodes; 0 between turns unless a node keeps some.
    pub fn in_flight(&self) -> usize {
        self.frames.waiting()
            + self.handoff.waiting()
            + self.slots.iter().filter_map(|slot| slot.node.as_ref()).map(|node| node.held()).sum::<usize>()
    }

    /// Begins a trace of the next `count` packets that `node` hands on.
    pub fn trace(&mut self, node: NodeId, count: u32) {
        self.recorder.trace(node, count);
    }

    /// Forgets the trace.
    pub fn clear_trace(&mut self) {
        self.recorder.clear();
    }

    /// What the trace has kept, in order of time.
    pub fn trace_records(&self) -> &[TraceRecord] {
        self.recorder.records()
    }

    /// Begins (or, with `None`, ends) a capture into `ring`.
    pub fn capture(&mut self, capture: Option<(CaptureFilter, rtrb::Producer<Captured>)>) {
        self.recorder.capture(capture);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a capture makes of a packet that arrives at a node which ends it.
fn seen(role: Role, meta: &Metadata) -> Option<(Direction, InterfaceIndex)> {
    match role {
        Role::Output => Some((Direction::Tx, meta.tx_interface)),
        // One that features have seen on its way from drop to drop was captured before them.
        Role::Drop if meta.flags & DROPPING != 0 => None,
        Role::Drop => Some((Direction::Drop(meta.reason), meta.rx_interface)),
        Role::Transit | Role::Punt | Role::Hold => None,
    }
}
