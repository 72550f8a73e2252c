// SPDX-License-Identifier: Apache-2.0
//! A node of a plugin, as the graph sees it: one call into the plugin per vector.
//!
//! What does not change from vector to vector is written into the [`abi::Vector`] once. A node that has failed, or whose
//! plugin is disabled, sends its packets where they would go without it.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use weft_engine::buffer::context::Field;
use weft_engine::buffer::{BufferCache, CHAINED, FIELDS, Fields, Metadata, Packet, SLOT_SIZE, TRACED};
use weft_engine::feature::Arcs;
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::Wiring;
use weft_engine::node::Node;
use weft_engine::trace::{DETAIL_BYTES, Trace};
use weft_engine::wait::WaitSet;
use weft_engine::{ArcId, BufferIndex, Context, NodeId, ReasonId, ThreadIndex};
use weft_nodes::context::{LINK_BROADCAST, LOCALLY_ORIGINATED};
use weft_plugin_sdk::abi;
use weft_stats::{SimpleRow, SimpleVector};

use crate::counter::{Counter, Row};
use crate::health::{Failure, Health, Since};
use crate::instance::WorkerState;
use crate::registration::{ArcParts, Process, Wait};
use crate::table::{HOST, readable, text};

const _: () = {
    assert!(size_of::<Metadata>() == size_of::<abi::Metadata>());
    assert!(size_of::<Fields>() == size_of::<abi::Fields>());
    assert!(TRACED == abi::FLAG_TRACED && CHAINED == abi::FLAG_CHAINED && FIELDS == abi::FLAG_FIELDS);
    assert!(DETAIL_BYTES == abi::TRACE_BYTES as usize);
    assert!(LINK_BROADCAST == abi::FLAG_LINK_BROADCAST);
    assert!(LOCALLY_ORIGINATED == abi::FLAG_LOCALLY_ORIGINATED);
    assert!(SLOT_SIZE == abi::SLOT_SIZE as usize && FRAME_SIZE == abi::VECTOR_SIZE as usize);
    assert!(NodeId::DROP.0 == abi::NODE_DROP);
};

/// Where packets go without the node.
#[derive(Clone, Copy)]
enum Bypass {
    /// On along the arc.
    Arc,
    /// To the first edge; of a node that handles packets of a number, to punt.
    Edge(NodeId),
    /// It has no edge.
    Nowhere,
}

/// What stands behind the `worker` of a vector.
pub(crate) struct Working<'w, 'c> {
    pub cx: &'w mut Context<'c>,
    pub trace: Trace<'c>,
}

/// One worker's instance.
pub(crate) struct PluginNode {
    vector: abi::Vector,
    process: Process,
    wait: Option<Wait>,
    bypass: Bypass,
    health: Arc<Health>,
    since: Arc<Since>,
    failed: ReasonId,
    /// Of a node that hands off.
    handoff_full: ReasonId,
    name: String,
    thread: ThreadIndex,
    /// Arcs of the plugin, and where packets begin them.
    arcs: Box<[ArcId]>,
    starts: Box<[abi::ArcStart]>,
    /// What `vector` points to.
    _edges: Box<[NodeId]>,
    _counters: Box<[abi::CounterRow]>,
    _rows: (Vec<Row>, SimpleRow),
    /// Goes to the main thread in the end.
    worker_state: Option<WorkerState>,
    retire: Sender<WorkerState>,
}

// SAFETY: the pointers lead to memory that this value owns, to the stats segment, and to the state that the plugin made for
// this worker, which the ABI says is used by one thread at a time.
unsafe impl Send for PluginNode {}

/// What a node is made of.
pub(crate) struct Parts<'a> {
    pub process: Process,
    pub wait: Option<Wait>,
    pub workers: u16,
    pub hands_off: bool,
    pub mark: Field<u32>,
    pub feature: bool,
    /// Whether it handles packets of some number.
    pub handles: bool,
    /// Its own reasons to drop, and its events.
    pub reasons_length: (u16, u16),
    pub health: &'a Arc<Health>,
    pub since: Arc<Since>,
    pub counters: &'a [Counter],
    /// Of the plugin.
    pub arcs: &'a [ArcParts],
    /// Of all nodes.
    pub reasons: &'a SimpleVector,
    pub name: &'a str,
    pub state: *mut std::ffi::c_void,
    pub worker_state: WorkerState,
    pub retire: Sender<WorkerState>,
}

impl PluginNode {
    pub fn new(wiring: &Wiring<'_>, parts: Parts<'_>) -> PluginNode {
        let edges: Box<[NodeId]> = wiring.edges().into();
        let rows: Vec<Row> = parts.counters.iter().map(|vector| vector.row(wiring.thread())).collect();
        let counters = rows
            .iter()
            .zip(parts.counters)
            .map(|(row, vector)| abi::CounterRow { cells: row.cells(), length: vector.columns() as u32 });
        let counters: Box<[_]> = counters.collect();
        let arcs: Box<[ArcId]> = parts.arcs.iter().map(|arc| wiring.arc(&arc.spec())).collect();
        let starts = vec![abi::ArcStart { starts: ptr::null(), length: 0 }; arcs.len()].into_boxed_slice();
        let (first, reasons) = (wiring.first_reason(), parts.reasons.row(wiring.thread()));
        // In the order of the descriptor (specs.rs): its own, those of every node, events.
        let (drops, events) = parts.reasons_length;
        let (failed, handoff_full) = (ReasonId(first.0 + drops), ReasonId(first.0 + drops + 1));
        let first_event = ReasonId(failed.0 + if parts.hands_off { 2 } else { 1 });
        PluginNode {
            vector: abi::Vector {
                size: size_of::<abi::Vector>() as u32,
                count: 0,
                thread: wiring.thread().0,
                buffers: ptr::null(),
                nexts: ptr::null_mut(),
                metadata: ptr::null_mut(),
                slots: ptr::null_mut(),
                chain: ptr::null(),
                chain_length: 0,
                done: 0,
                reason_base: first.0,
                edges: edges.as_ptr().cast(),
                edges_length: edges.len() as u32,
                punt: wiring.id("punt").unwrap_or(NodeId::DROP).0,
                workers: parts.workers,
                now: 0,
                state: parts.state,
                events: reasons.address(first_event.index()).cast::<u64>().cast_mut(),
                events_length: events.into(),
                counters_length: counters.len() as u32,
                counters: counters.as_ptr(),
                host: &raw const HOST,
                worker: ptr::null_mut(),
                failure: ptr::null_mut(),
                fields: ptr::null_mut(),
                mark: parts.mark.offset().into(),
                tracing: 0,
                hands_off: parts.hands_off.into(),
                drops_length: drops.into(),
                arcs: starts.as_ptr(),
                arcs_length: starts.len() as u32,
            },
            process: parts.process,
            wait: parts.wait,
            bypass: match (parts.feature, parts.handles, edges.first()) {
                (true, ..) => Bypass::Arc,
                (false, true, _) => wiring.id("punt").map_or(Bypass::Nowhere, Bypass::Edge),
                (false, false, Some(&edge)) => Bypass::Edge(edge),
                (false, false, None) => Bypass::Nowhere,
            },
            health: Arc::clone(parts.health),
            since: parts.since,
            failed,
            handoff_full,
            name: parts.name.to_owned(),
            thread: wiring.thread(),
            arcs,
            starts,
            _edges: edges,
            _counters: counters,
            _rows: (rows, reasons),
            worker_state: Some(parts.worker_state),
            retire: parts.retire,
        }
    }

    /// Sends packets where they would go without the node.
    #[inline]
    fn pass(&self, cx: &mut Context<'_>, frame: &Frame) {
        let arcs = cx.arcs();
        match self.bypass {
            Bypass::Arc => cx.each(frame, |packet| arcs.next(packet)),
            _ => cx.each(frame, |packet| self.next_without(arcs, packet)),
        }
    }

    fn next_without(&self, arcs: &Arcs, packet: &mut Packet<'_>) -> NodeId {
        match self.bypass {
            Bypass::Arc => arcs.next(packet),
            Bypass::Edge(edge) => edge,
            Bypass::Nowhere => {
                packet.meta.reason = self.failed;
                NodeId::DROP
            }
        }
    }

    /// Sends packets where the plugin has written.
    #[inline]
    fn send_each(&self, cx: &mut Context<'_>, frame: &Frame) {
        match self.vector.hands_off {
            0 => cx.hand_on_written(frame),
            _ => self.send_across(cx, frame),
        }
    }

    /// The same, for a node that hands off: some packets may go to other workers.
    fn send_across(&self, cx: &mut Context<'_>, frame: &Frame) {
        let nexts = *cx.nexts();
        let (packets, nexts) = (frame.packets(), &nexts[..frame.len()]);
        if nexts.iter().all(|next| next.0 < abi::NEXT_WORKER) {
            return cx.hand_on_written(frame);
        }
        let (mut gone, mut tried) = ([false; FRAME_SIZE], [false; FRAME_SIZE]);
        for first in 0..nexts.len() {
            let to = nexts[first];
            if to.0 < abi::NEXT_WORKER || tried[first] {
                continue;
            }
            // All that go to the same worker, in their order.
            let (mut batch, mut places, mut count) = ([BufferIndex(0); FRAME_SIZE], [0; FRAME_SIZE], 0);
            for place in (first..nexts.len()).filter(|place| nexts[*place] == to) {
                (batch[count], places[count]) = (packets[place], place);
                count += 1;
                tried[place] = true;
                if !matches!(self.bypass, Bypass::Arc) {
                    // A place on an arc that the packet has left means nothing there.
                    cx.buffers.packet(packets[place]).meta.feature = 0;
                }
            }
            let sent = cx.hand_off(ThreadIndex(to.0 - abi::NEXT_WORKER), &batch[..count]);
            places[..sent].iter().for_each(|place| gone[*place] = true);
        }
        let mut place = 0;
        cx.each_or_keep(frame, |buffers, index| {
            let (next, gone) = (nexts[place], gone[place]);
            place += 1;
            match next.0 {
                ..abi::NEXT_WORKER => Some(next),
                _ if gone => None,
                _ => {
                    buffers.packet(index).meta.reason = self.handoff_full;
                    Some(NodeId::DROP)
                }
            }
        });
    }

    /// The plugin has failed on the packet after the first `done`.
    #[cold]
    fn fail(&mut self, cx: &mut Context<'_>, frame: &Frame, said: String) {
        let arcs = cx.arcs();
        let done = usize::from(self.vector.done);
        for (i, &index) in frame.packets().iter().enumerate().skip(done) {
            let mut packet = cx.buffers.packet(index);
            let next = match i == done {
                true => {
                    packet.meta.reason = self.failed;
                    NodeId::DROP
                }
                false => self.next_without(arcs, &mut packet),
            };
            cx.nexts()[i] = next;
        }
        self.send_each(cx, frame);
        self.health.fail(Failure { place: format!("node {}", self.name), thread: self.thread, said });
    }
}

impl Node for PluginNode {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        if !self.health.runs() {
            return self.pass(cx, frame);
        }
        let mut failure = Vec::new();
        let (metadata, fields, slots) = cx.buffers.addresses();
        let chain = cx.arcs().chain();
        for (start, arc) in self.starts.iter_mut().zip(&self.arcs) {
            let starts = cx.arcs().arc(*arc).starts();
            *start = abi::ArcStart { starts: starts.as_ptr(), length: starts.len() as u32 };
        }
        let vector = &mut self.vector;
        vector.arcs = self.starts.as_ptr();
        vector.count = frame.len() as u16;
        vector.buffers = frame.packets().as_ptr().cast();
        vector.nexts = cx.nexts().as_mut_ptr().cast();
        vector.metadata = metadata.cast();
        vector.slots = slots;
        vector.fields = fields.cast();
        vector.chain = chain.as_ptr().cast();
        vector.chain_length = chain.len() as u32;
        vector.now = cx.now.0;
        vector.done = 0;
        let mut working = Working { trace: cx.trace(frame), cx: &mut *cx };
        vector.tracing = frame.traced().into();
        vector.worker = ptr::from_mut(&mut working).cast();
        vector.failure = text(&mut failure);
        self.since.0.store(cx.now.0, Ordering::Relaxed);
        // SAFETY: the vector is as `abi::Vector` describes it, `self.remains` keeps the code, and `cx` is used by nobody but
        // the plugin, through the table, until the call returns.
        let verdict = unsafe { (self.process)(vector) };
        self.since.0.store(0, Ordering::Relaxed);
        match verdict {
            abi::SEND_EACH => self.send_each(cx, frame),
            abi::SEND_DEFAULT => self.pass(cx, frame),
            _ => self.fail(cx, frame, readable(failure)),
        }
    }

    fn wait(&mut self, set: &mut WaitSet) {
        let Some(wait) = self.wait.filter(|_| self.health.runs()) else {
            return;
        };
        let mut failure = Vec::new();
        let mut answer = abi::Wait {
            size: size_of::<abi::Wait>() as u32,
            busy: 0,
            fd: -1,
            within_ms: 0,
            failure: text(&mut failure),
            host: &raw const HOST,
        };
        // SAFETY: as in `process`.
        if unsafe { wait(self.vector.state, &raw mut answer) } != abi::OK {
            let (place, said) = (format!("node {}", self.name), readable(failure));
            return self.health.fail(Failure { place, thread: self.thread, said });
        }
        if answer.busy != 0 {
            set.busy();
        }
        if answer.fd >= 0 {
            set.readable(answer.fd);
        }
        if answer.within_ms > 0 {
            set.within(Duration::from_millis(answer.within_ms.into()));
        }
    }

    fn close(&mut self, _: &mut BufferCache) {
        if let Some(worker_state) = self.worker_state.take() {
            // The main thread has gone: what is left ends here, with the process.
            let _ = self.retire.send(worker_state);
        }
    }
}
