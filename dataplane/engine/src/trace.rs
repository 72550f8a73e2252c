// SPDX-License-Identifier: Apache-2.0
//! Looking at packets on their way: trace (which nodes, with which verdicts) and capture (pcap).
//!
//! No node contains a line of tracing. The engine records a packet's metadata and first bytes whenever a
//! traced packet is handed on, and the node's descriptor says how to print such a record. While nothing is
//! traced or captured, this costs one test per vector. Records are made on the worker into memory that was
//! allocated when the trace was asked for; formatting is the reader's work, on the main thread.

use std::fmt;

use crate::buffer::{BufferCache, Metadata, Packet, TRACED};
use crate::clock::Tsc;
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
    /// The first bytes as the node left them (as it found them, where it ends them).
    pub data: [u8; TRACE_BYTES],
}

impl TraceRecord {
    /// Keeps what `packet` is now.
    pub(crate) fn of(packet: &Packet<'_>, node: NodeId, next: Option<NodeId>, at: Tsc) -> Self {
        let mut data = [0; TRACE_BYTES];
        let kept = packet.length().min(TRACE_BYTES);
        data[..kept].copy_from_slice(&packet.data()[..kept]);
        TraceRecord { packet: packet.meta.trace, node, next, at, meta: *packet.meta, data }
    }

    /// The bytes that there are.
    pub fn data(&self) -> &[u8] {
        &self.data[..self.meta.length().min(TRACE_BYTES)]
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
    pub(crate) fn new() -> Self {
        Recorder {
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
        *self = Recorder { capture: self.capture.take(), ..Recorder::new() };
    }

    pub(crate) fn records(&self) -> &[TraceRecord] {
        &self.records
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
        let now = Tsc::now();
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
        let now = Tsc::now();
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
    let link = meta.link_length as usize;
    if link > 0 && meta.data_offset() == meta.network_offset as usize { link } else { 0 }
}
