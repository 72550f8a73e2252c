// SPDX-License-Identifier: Apache-2.0
//! The end of a packet: every dropped packet comes here with a reason, is counted once, and its buffer freed.
//!
//! That there is one such place is what makes the law rx = tx + drops + in flight checkable. The node also
//! keeps a sample of recent drops, so that "where did my packet go" has an answer without a trace.

use std::collections::VecDeque;

use crate::clock::Tsc;
use crate::context::Context;
use crate::frame::Frame;
use crate::ids::{InterfaceIndex, ReasonId};
use crate::node::{Node, NodeSpec, Role};
use crate::trace::{Names, TraceRecord};

crate::reasons! {
    /// Reasons of the engine itself.
    pub enum Reason {
        /// dropped without a reason given by the node before
        Unspecified = "unspecified", Error;
        /// the node that the packet was on its way to has left the graph
        NodeRemoved = "node_removed", Error;
    }
}

/// The reason of a packet that met a removed node; the drop node is registered first, so its ids are fixed.
pub(crate) const NODE_REMOVED: ReasonId = ReasonId(Reason::NodeRemoved as u16);

/// Samples that are kept.
const SAMPLES: usize = 128;

/// Descriptor of the drop node.
pub static DROP: NodeSpec =
    NodeSpec::internal("drop").role(Role::Drop).reasons(<Reason as crate::node::Reasons>::ALL).trace(format);

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
        for &index in frame.packets() {
            let packet = cx.buffers.packet(index);
            let (reason, rx) = (packet.meta.reason, packet.meta.rx_interface);
            cx.counters.count(reason, 1);
            if rx != InterfaceIndex::NONE {
                cx.counters.interfaces.drops.add(rx.index(), 1);
            }
            cx.buffers.free_one(index);
        }
    }
}
