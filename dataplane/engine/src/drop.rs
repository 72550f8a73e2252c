// SPDX-License-Identifier: Apache-2.0
//! The end of a packet: every dropped packet comes here with a reason, is counted once, and its buffer freed.
//!
//! That there is one such place is what makes the law rx = tx + drops + in flight checkable. The node also
//! keeps a sample of recent drops, so that "where did my packet go" has an answer without a trace.
//!
//! It is the start and the end of the `error-drop` arc: features there see what is about to be dropped on an interface,
//! with its reason. A packet that they pass on, or that one of them drops, is dropped.

use std::collections::VecDeque;

use crate::buffer::{BufferCache, DROPPING};
use crate::clock::Tsc;
use crate::context::Context;
use crate::counters::Counters;
use crate::feature::{ArcEnd, ArcKey, ArcSpec};
use crate::frame::Frame;
use crate::ids::{ArcId, BufferIndex, InterfaceIndex, ReasonId};
use crate::node::{Node, NodeSpec, Role};
use crate::trace::{Names, TraceRecord};

crate::drops! {
    /// Reasons of the engine itself.
    pub enum Reason {
        /// dropped without a reason given by the node before
        Unspecified = "unspecified", Error;
        /// the node that the packet was on its way to has left the graph
        NodeRemoved = "node_removed", Error;
    }
}

// The drop node is registered first, so the ids of its reasons are fixed.
const _: () = assert!(ReasonId::NODE_REMOVED.0 == Reason::NodeRemoved as u16);

/// Samples that are kept.
const SAMPLES: usize = 128;

/// The arc of packets that are about to be dropped. It is the first of all.
pub static ERROR_DROP: ArcSpec<'static> =
    ArcSpec { name: "error-drop", key: ArcKey::RxInterface, end: ArcEnd::Node("drop") };
pub(crate) const ERROR_DROP_ARC: ArcId = ArcId(0);

/// Descriptor of the drop node.
pub static DROP: NodeSpec =
    NodeSpec::internal("drop").role(Role::Drop).drops(<Reason as crate::node::Reasons>::ALL).trace(format);

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn std::fmt::Write) -> std::fmt::Result {
    writeln!(
        out,
        "  rx:{} reason:{}",
        names.interface(record.meta.rx_interface),
        names.reason(record.meta.reason)
    )
}

/// Ends packets.
pub struct DropNode {
    samples: VecDeque<TraceRecord>,
    next_sample: Tsc,
}

/// At most one sample per this many clocks (about 0.1 ms), so that a flood of drops costs nothing here.
const SAMPLE_GAP: u64 = 1 << 18;

impl Default for DropNode {
    fn default() -> Self {
        DropNode { samples: VecDeque::with_capacity(SAMPLES), next_sample: Tsc(0) }
    }
}

impl DropNode {
    /// Recent drops, oldest first.
    pub fn samples(&self) -> impl Iterator<Item = &TraceRecord> {
        self.samples.iter()
    }

    fn sample(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let Some(&index) = frame.packets().first() else {
            return;
        };
        self.next_sample = Tsc(cx.now.0 + SAMPLE_GAP);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(TraceRecord::of(&cx.buffers.packet(index), cx.node, None, cx.now));
    }
}

impl Node for DropNode {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        if cx.now >= self.next_sample {
            self.sample(cx, frame);
        }
        let (arcs, counters) = (cx.arcs(), cx.counters);
        let features = arcs.arc(ERROR_DROP_ARC);
        if features.is_empty() {
            return frame.packets().iter().for_each(|&index| end(cx.buffers, counters, index));
        }
        cx.each_or_keep(frame, |buffers, index| {
            let mut packet = buffers.packet(index);
            // Once, so that a feature which sends it on to where it is dropped again cannot keep it for ever.
            if packet.meta.flags & DROPPING == 0
                && let Some(first) = features.start(packet.meta.rx_interface, &mut packet)
            {
                packet.meta.flags |= DROPPING;
                return Some(first);
            }
            end(buffers, counters, index);
            None
        });
    }
}

fn end(buffers: &mut BufferCache, counters: &Counters, index: BufferIndex) {
    let packet = buffers.packet(index);
    let (reason, rx) = (packet.meta.reason, packet.meta.rx_interface);
    counters.count(reason, 1);
    if rx != InterfaceIndex::NONE {
        counters.interfaces.drops.add(rx.index(), 1);
    }
    buffers.free_one(index);
}
