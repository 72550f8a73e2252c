// SPDX-License-Identifier: Apache-2.0
//! Looking at packets on their way: trace (which nodes, with which verdicts) and capture (pcap).
//!
//! Most nodes contain no line of tracing. The engine records a packet's metadata and first bytes whenever a
//! traced packet is handed on, and the node's descriptor says how to print such a record. A node that knows more
//! (the rule that decided, the flow) adds a typed [`Detail`] by [`Context::trace`](crate::Context::trace). Tracing changes
//! nothing in a packet but its flag and number: a detail lies in the record, never in the packet.
//!
//! While nothing is traced or captured, this costs one test per vector. Records are made on the worker into memory that was
//! allocated when the trace was asked for; formatting is the reader's work, on the main thread.

use std::cell::RefCell;
use std::fmt;

use crate::buffer::context::{Field, Plain};
use crate::buffer::{BufferCache, Fields, Metadata, Packet, TRACED};
use crate::clock::{Clock, Tsc};
use crate::counters::{Counters, WorkerColumn};
use crate::frame::Frame;
use crate::ids::{BufferIndex, InterfaceIndex, NodeId, ReasonId};

/// Bytes of packet data that a record keeps.
pub const TRACE_BYTES: usize = 96;

/// Most bytes of a packet that a capture keeps.
pub const CAPTURE_BYTES: usize = 2048;

/// One packet in one node.
#[derive(Clone, Debug)]
pub struct TraceRecord {
    /// Number of the packet on its worker.
    pub packet: u32,
    /// The node.
    pub node: NodeId,
    /// Where it went from there; `None` if it ended or waits there.
    pub next: Option<NodeId>,
    /// When.
    pub at: Tsc,
    /// Metadata as the node left it.
    pub meta: Metadata,
    /// The second line, likewise.
    pub fields: Fields,
    /// The first bytes as the node left them (as it found them, where it ends them).
    pub data: [u8; TRACE_BYTES],
    /// What the node itself has added.
    pub detail: Option<StoredDetail>,
}

impl TraceRecord {
    /// Keeps what `packet` is now.
    pub(crate) fn of(packet: &Packet<'_>, node: NodeId, next: Option<NodeId>, at: Tsc) -> Self {
        let mut data = [0; TRACE_BYTES];
        let kept = packet.length().min(TRACE_BYTES);
        data[..kept].copy_from_slice(&packet.data()[..kept]);
        let fields = packet.written_fields();
        TraceRecord {
            packet: packet.meta.trace,
            node,
            next,
            at,
            meta: *packet.meta,
            fields,
            data,
            detail: None,
        }
    }

    /// What `field` held, as the node left it.
    pub fn field<T: Plain>(&self, field: Field<T>) -> T {
        self.fields.get(field)
    }

    /// The bytes that there are.
    pub fn data(&self) -> &[u8] {
        &self.data[..self.meta.length().min(TRACE_BYTES)]
    }

    /// Prints all that is known: what `format` of the node's descriptor makes of the record, and its detail.
    pub fn print(
        &self,
        format: Option<TraceFormat>,
        names: &dyn Names,
        out: &mut dyn fmt::Write,
    ) -> fmt::Result {
        if let Some(format) = format {
            format(self, names, out)?;
        }
        self.detail.map_or(Ok(()), |detail| (detail.format)(&detail, names, out))
    }
}

/// Bytes of a [`Detail`], at most.
pub const DETAIL_BYTES: usize = 32;

/// What a node has to say of a traced packet: plain data, written by the worker and printed by the main thread.
pub trait Detail: Plain {
    /// Prints it, each line indented by two blanks.
    fn format(&self, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result;
}

/// A [`Detail`] of some type.
#[derive(Clone, Copy, Debug)]
pub struct StoredDetail {
    bytes: [u8; DETAIL_BYTES],
    length: u8,
    format: fn(&StoredDetail, &dyn Names, &mut dyn fmt::Write) -> fmt::Result,
}

impl StoredDetail {
    /// Of a type that prints itself.
    pub fn of<T: Detail>(detail: &T) -> Self {
        const { assert!(size_of::<T>() <= DETAIL_BYTES, "a trace keeps DETAIL_BYTES of a detail") };
        StoredDetail {
            format: |stored, names, out| match T::read_from_bytes(stored.bytes()) {
                Ok(detail) => detail.format(names, out),
                Err(_) => Err(fmt::Error),
            },
            ..Self::raw(detail.as_bytes())
        }
    }

    /// Bytes that only the formatter in the node's descriptor can read: those of a plugin. More than [`DETAIL_BYTES`] are cut.
    pub fn raw(bytes: &[u8]) -> Self {
        let length = bytes.len().min(DETAIL_BYTES);
        let mut stored =
            StoredDetail { bytes: [0; DETAIL_BYTES], length: length as u8, format: |_, _, _| Ok(()) };
        stored.bytes[..length].copy_from_slice(&bytes[..length]);
        stored
    }

    /// What was stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Details of the vector that a node works on, until its records are complete. The worker's.
#[derive(Default)]
pub(crate) struct Details(RefCell<Vec<(u32, StoredDetail)>>);

impl Details {
    #[cold]
    #[inline(never)]
    fn add(&self, packet: u32, detail: StoredDetail) {
        self.0.borrow_mut().push((packet, detail));
    }

    /// Whether there is none. One test per vector.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        // Nobody has borrowed it between two vectors.
        self.0.try_borrow().is_ok_and(|details| details.is_empty())
    }
}

/// By what a node adds details for the packets of one vector. Costs nothing for a vector without traced packets.
#[derive(Clone, Copy)]
pub struct Trace<'a>(Option<&'a Details>);

impl<'a> Trace<'a> {
    #[inline(always)]
    pub(crate) fn of(frame: &Frame, details: &'a Details) -> Self {
        Trace(frame.traced().then_some(details))
    }

    /// Adds what `detail` says, if `packet` is traced.
    #[inline(always)]
    pub fn detail<T: Detail>(self, packet: &Packet<'_>, detail: impl FnOnce() -> T) {
        self.store(packet.meta, || StoredDetail::of(&detail()));
    }

    /// As [`Trace::detail`], of any kind: for plugins.
    #[inline(always)]
    pub fn store(self, meta: &Metadata, detail: impl FnOnce() -> StoredDetail) {
        if let Some(details) = self.0
            && meta.flags & TRACED != 0
        {
            details.add(meta.trace, detail());
        }
    }
}

/// Names for formatters.
pub trait Names {
    /// Name of an interface.
    fn interface(&self, interface: InterfaceIndex) -> String;
    /// Sentence of a reason.
    fn reason(&self, reason: ReasonId) -> String;
    /// Name of a node.
    fn node(&self, node: NodeId) -> String;
}

/// Prints a record, each line indented by two blanks.
pub type TraceFormat = fn(&TraceRecord, &dyn Names, &mut dyn fmt::Write) -> fmt::Result;

/// Which packets a capture takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CaptureFilter {
    /// Received packets.
    pub rx: bool,
    /// Transmitted packets.
    pub tx: bool,
    /// Dropped packets.
    pub drop: bool,
    /// Only those of this interface ([`InterfaceIndex::NONE`]: all).
    pub interface: InterfaceIndex,
    /// Most bytes of each packet.
    pub max_bytes: usize,
}

/// Where a captured packet was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Received.
    Rx,
    /// About to be transmitted.
    Tx,
    /// Dropped, for this reason.
    Drop(ReasonId),
}

/// One captured packet.
#[derive(Clone)]
pub struct Captured {
    /// When.
    pub at: Tsc,
    /// Where.
    pub direction: Direction,
    /// Interface of the direction.
    pub interface: InterfaceIndex,
    /// Bytes of the whole packet.
    pub length: usize,
    captured: usize,
    data: [u8; CAPTURE_BYTES],
}

impl Captured {
    /// The bytes that were kept, from the link header on.
    pub fn data(&self) -> &[u8] {
        &self.data[..self.captured]
    }
}

/// A worker's records.
pub(crate) struct Recorder {
    clock: Clock,
    /// Per node, how many more packets to begin a trace with.
    budget: Vec<u32>,
    /// Some budget is left, or some packet in the graph may be traced.
    tracing: bool,
    records: Vec<TraceRecord>,
    /// Most records, so that a trace of a fast worker ends.
    limit: usize,
    packets: u32,
    capture: Option<(CaptureFilter, rtrb::Producer<Captured>)>,
}

/// Records kept per traced packet, at most, on average.
const RECORDS_PER_PACKET: usize = 24;

impl Recorder {
    pub(crate) fn new(clock: Clock) -> Self {
        Recorder {
            clock,
            budget: Vec::new(),
            tracing: false,
            records: Vec::new(),
            limit: 0,
            packets: 0,
            capture: None,
        }
    }

    pub(crate) fn trace(&mut self, node: NodeId, count: u32) {
        if node.index() >= self.budget.len() {
            self.budget.resize(node.index() + 1, 0);
        }
        self.budget[node.index()] += count;
        let more = count as usize * RECORDS_PER_PACKET;
        self.limit += more;
        self.records.reserve(more);
        self.tracing = true;
    }

    pub(crate) fn clear(&mut self) {
        *self = Recorder { capture: self.capture.take(), ..Recorder::new(self.clock) };
    }

    /// A node leaves the graph: no trace begins there, and what was seen of it is not the next one's that has its number.
    pub(crate) fn forget(&mut self, node: NodeId) {
        if let Some(budget) = self.budget.get_mut(node.index()) {
            *budget = 0;
        }
        for record in &mut self.records {
            for named in [&mut record.node].into_iter().chain(&mut record.next) {
                if *named == node {
                    *named = NodeId::GONE;
                }
            }
        }
    }

    pub(crate) fn records(&self) -> &[TraceRecord] {
        &self.records
    }

    /// Number of records: where those of a node begin that runs now.
    #[inline(always)]
    pub(crate) fn mark(&self) -> usize {
        self.records.len()
    }

    /// Adds what a node has said to its records, those from number `first` on. What it keeps has no record yet.
    #[cold]
    #[inline(never)]
    pub(crate) fn complete(&mut self, first: usize, details: &Details) {
        for (packet, detail) in details.0.borrow_mut().drain(..) {
            let records = self.records.get_mut(first..).unwrap_or_default();
            if let Some(record) = records.iter_mut().find(|record| record.packet == packet) {
                record.detail = Some(detail);
            }
        }
    }

    pub(crate) fn capture(&mut self, capture: Option<(CaptureFilter, rtrb::Producer<Captured>)>) {
        self.capture = capture;
    }

    /// Whether anything looks at packets. The one test per vector.
    #[inline(always)]
    pub(crate) fn active(&self) -> bool {
        self.tracing || self.capture.is_some()
    }

    /// Packets leave `node` for `nexts`; says whether any is traced. Those of an input node were received just now.
    #[cold]
    pub(crate) fn hand_on(
        &mut self,
        buffers: &mut BufferCache,
        counters: &Counters,
        (node, input): (NodeId, bool),
        packets: &[BufferIndex],
        nexts: impl Fn(usize) -> NodeId,
    ) -> bool {
        let now = self.clock.now();
        let mut traced = false;
        for (i, &index) in packets.iter().enumerate() {
            if self.tracing {
                let packet = buffers.packet(index);
                if packet.meta.flags & TRACED == 0
                    && let Some(budget) = self.budget.get_mut(node.index())
                    && *budget > 0
                {
                    *budget -= 1;
                    packet.meta.flags |= TRACED;
                    packet.meta.trace = self.packets;
                    self.packets += 1;
                }
                if packet.meta.flags & TRACED != 0 {
                    traced = true;
                    self.record(now, node, Some(nexts(i)), buffers, index);
                }
            }
            if input {
                let rx = buffers.packet(index).meta.rx_interface;
                self.keep(now, (Direction::Rx, rx), buffers, counters, index);
            }
        }
        traced
    }

    /// Packets arrive at a node that ends or keeps them.
    #[cold]
    pub(crate) fn arrive(
        &mut self,
        buffers: &mut BufferCache,
        counters: &Counters,
        node: NodeId,
        direction: impl Fn(&Metadata) -> Option<(Direction, InterfaceIndex)>,
        frame: &Frame,
    ) {
        let now = self.clock.now();
        for &index in frame.packets() {
            let meta = *buffers.packet(index).meta;
            if meta.flags & TRACED != 0 {
                self.record(now, node, None, buffers, index);
            }
            if let Some(seen) = direction(&meta) {
                self.keep(now, seen, buffers, counters, index);
            }
        }
    }

    fn record(
        &mut self,
        at: Tsc,
        node: NodeId,
        next: Option<NodeId>,
        buffers: &mut BufferCache,
        index: BufferIndex,
    ) {
        if self.records.len() == self.limit {
            return;
        }
        self.records.push(TraceRecord::of(&buffers.packet(index), node, next, at));
    }

    fn keep(
        &mut self,
        at: Tsc,
        (direction, interface): (Direction, InterfaceIndex),
        buffers: &mut BufferCache,
        counters: &Counters,
        index: BufferIndex,
    ) {
        let Some((filter, ring)) = &mut self.capture else {
            return;
        };
        let wanted = match direction {
            Direction::Rx => filter.rx,
            Direction::Tx => filter.tx,
            Direction::Drop(_) => filter.drop,
        };
        if !wanted || (filter.interface != InterfaceIndex::NONE && filter.interface != interface) {
            return;
        }
        // A dropped packet has lost its link header from view, not from the buffer.
        let mut packet = buffers.packet(index);
        let taken_off = match direction {
            Direction::Drop(_) => link_header(packet.meta),
            _ => 0,
        };
        let restored = packet.prepend(taken_off);
        let mut captured = Captured {
            at,
            direction,
            interface,
            length: packet.meta.total_length(),
            captured: packet.length().min(filter.max_bytes).min(CAPTURE_BYTES),
            data: [0; CAPTURE_BYTES],
        };
        let kept = captured.captured;
        captured.data[..kept].copy_from_slice(&packet.data()[..kept]);
        if restored {
            packet.advance(taken_off);
        }
        // A full ring means that the main thread is behind; the capture loses a packet, forwarding does not.
        if ring.push(captured).is_err() {
            counters.worker(WorkerColumn::CaptureLost, 1);
        }
    }
}

/// Bytes of link header that were taken off in front of the current position.
fn link_header(meta: &Metadata) -> usize {
    if meta.data_offset() == usize::from(meta.network_offset) { meta.link_length() } else { 0 }
}
