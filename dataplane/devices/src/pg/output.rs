// SPDX-License-Identifier: Apache-2.0
//! `pgN-tx`: the end of a packet on a packet-generator interface.
//!
//! The interface is a sink: what is sent there is counted, maybe copied for a capture, and freed. The copy
//! goes through a ring of bytes, one per worker, to the main thread, which writes the file
//! (the module `capture`); a full ring costs the capture a packet, never the worker its pace.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weft_engine::Context;
use weft_engine::buffer::BufferCache;
use weft_engine::clock::Tsc;
use weft_engine::frame::Frame;
use weft_engine::ids::{BufferIndex, InterfaceIndex};
use weft_engine::node::{Node, NodeSpec, Role};
use weft_engine::trace::{Names, TraceRecord};

/// Descriptor of the output node of every packet-generator interface.
pub static PG_OUTPUT: NodeSpec = NodeSpec::internal("pg-tx").role(Role::Output).trace(format);

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    let meta = &record.meta;
    writeln!(out, "  {}, {} bytes", names.interface(meta.tx_interface), meta.total_length())
}

/// What stands before the bytes of a packet in the ring: its time stamp (8 bytes) and length (4).
pub(super) const RECORD_HEADER: usize = 12;

/// A worker's end of a capture.
pub(super) struct Tap {
    pub ring: rtrb::Producer<u8>,
    /// Packets that found the ring full.
    pub lost: Arc<AtomicU64>,
}

impl Tap {
    #[cold]
    fn keep(&mut self, at: Tsc, buffers: &mut BufferCache, index: BufferIndex) {
        let length = buffers.packet(index).meta.total_length();
        // All or nothing, published at once: the reader never sees half a packet.
        let Ok(mut chunk) = self.ring.write_chunk(RECORD_HEADER + length) else {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut space = chunk.as_mut_slices();
        put(&mut space, &at.0.to_ne_bytes());
        put(&mut space, &(length as u32).to_ne_bytes());
        let mut segment = Some(index);
        while let Some(index) = segment {
            let packet = buffers.packet(index);
            put(&mut space, packet.data());
            segment = packet.meta.next_segment();
        }
        chunk.commit_all();
    }
}

/// Copies `bytes` to the front of `space`, which wraps once, and takes that much off it.
fn put<'s>(space: &mut (&'s mut [u8], &'s mut [u8]), mut bytes: &[u8]) {
    for part in [&mut space.0, &mut space.1] {
        let count = bytes.len().min(part.len());
        let (taken, left) = std::mem::take(part).split_at_mut(count);
        taken.copy_from_slice(&bytes[..count]);
        (*part, bytes) = (left, &bytes[count..]);
    }
}

/// One worker's instance.
pub struct PgOutput {
    interface: InterfaceIndex,
    /// Its frames begin with the station that they are for.
    has_stations: bool,
    tap: Option<Tap>,
}

impl PgOutput {
    pub(super) fn new(interface: InterfaceIndex, has_stations: bool) -> Self {
        PgOutput { interface, has_stations, tap: None }
    }

    pub(super) fn set_tap(&mut self, tap: Option<Tap>) {
        self.tap = tap;
    }
}

impl Node for PgOutput {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let mut bytes = 0;
        for &index in frame.packets() {
            if let Some(tap) = &mut self.tap {
                tap.keep(cx.now, cx.buffers, index);
            }
            let packet = cx.buffers.packet(index);
            let length = packet.meta.total_length() as u64;
            if self.has_stations {
                cx.counters.interfaces.sent_to(self.interface, packet.data(), length);
            }
            bytes += length;
            cx.buffers.free_one(index);
        }
        cx.counters.interfaces.tx.add(self.interface.index(), frame.len() as u64, bytes);
    }
}
