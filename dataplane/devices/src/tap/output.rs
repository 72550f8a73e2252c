// SPDX-License-Identifier: Apache-2.0
//! `<tap>-tx`: hands frames to the host's stack.
//!
//! Every worker may write to a TAP; the kernel keeps frames apart. A host that is too slow loses
//! frames here, counted.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

use weft_engine::Context;
use weft_engine::frame::Frame;
use weft_engine::ids::{BufferIndex, InterfaceIndex, NodeId};
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons, Role};
use weft_engine::trace::{Names, TraceRecord};

use super::Tap;

weft_engine::drops! {
    /// Why the host does not get a frame.
    pub enum Reason {
        /// host takes no more frames now
        HostBusy = "host_busy", Error;
        /// host's side of the TAP is down
        HostDown = "host_down", Info;
    }
}

/// Descriptor of `<tap>-tx`.
pub static TAP_OUTPUT: NodeSpec =
    NodeSpec::internal("tap-output").role(Role::Output).drops(Reason::ALL).trace(format);

fn format(record: &TraceRecord, _: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(out, "  {} bytes to the host", record.meta.total_length())
}

/// One worker's instance.
pub struct TapOutput {
    /// Whose `/if/tx` counts; `None` for the host's side of a port, which `/if/punt` has counted.
    interface: Option<InterfaceIndex>,
    tap: Arc<Tap>,
    reasons: ReasonBase<Reason>,
    /// Where a packet of several buffers is put together.
    whole: Vec<u8>,
}

impl TapOutput {
    /// Writes to `tap`.
    pub fn new(interface: Option<InterfaceIndex>, tap: Arc<Tap>, reasons: ReasonBase<Reason>) -> Self {
        TapOutput { interface, tap, reasons, whole: Vec::with_capacity(1 << 16) }
    }

    fn send(&mut self, cx: &mut Context<'_>, first: BufferIndex) -> std::io::Result<()> {
        let packet = cx.buffers.packet(first);
        let Some(mut next) = packet.meta.next_segment() else {
            return cx.kernel.call(|| self.tap.send(packet.data()));
        };
        self.whole.clear();
        self.whole.extend_from_slice(packet.data());
        loop {
            let segment = cx.buffers.packet(next);
            self.whole.extend_from_slice(segment.data());
            match segment.meta.next_segment() {
                Some(index) => next = index,
                None => return cx.kernel.call(|| self.tap.send(&self.whole)),
            }
        }
    }
}

impl Node for TapOutput {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (mut sent, mut bytes) = (0, 0);
        for &index in frame.packets() {
            let length = cx.buffers.packet(index).meta.total_length() as u64;
            match self.send(cx, index) {
                Ok(()) => {
                    sent += 1;
                    bytes += length;
                    if let Some(interface) = self.interface {
                        let start = cx.buffers.packet(index);
                        cx.counters.interfaces.sent_to(interface, start.data(), length);
                    }
                    cx.buffers.free_one(index);
                }
                Err(error) => {
                    let busy = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory);
                    let reason = if busy { Reason::HostBusy } else { Reason::HostDown };
                    cx.buffers.packet(index).meta.reason = self.reasons.id(reason);
                    cx.send(NodeId::DROP, &[index]);
                }
            }
        }
        if let Some(interface) = self.interface {
            cx.counters.interfaces.tx.add(interface.index(), sent, bytes);
        }
    }
}
