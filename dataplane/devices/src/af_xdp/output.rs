// SPDX-License-Identifier: Apache-2.0
//! `<port>-tx`: puts packets into a transmit ring, and makes the kernel send them.
//!
//! Packets of all vectors of a turn are collected in the ring; the kernel is called at the end of
//! the turn, or earlier when the ring is full. In copy mode one call sends 32 frames (or the TX
//! budget), so it is repeated as long as the kernel takes some; a ring that stays full drops with a
//! reason.
//!
//! Workers that share a queue (a port with fewer queues than there are workers) take turns by a
//! lock, once per vector; a queue of one worker is locked by nobody else.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weft_engine::Context;
use weft_engine::buffer::BufferCache;
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::ids::{BufferIndex, InterfaceIndex, NodeId};
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons, Role};
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::wait::WaitSet;

use super::socket::{Wake, XskTx};
use super::umem::{ChunkIndex, Descriptor, UmemAddr};

weft_engine::drops! {
    /// Why a packet does not leave.
    pub enum Reason {
        /// transmit ring is full
        RingFull = "tx_ring_full", Error;
        /// longer than one buffer, which AF_XDP in single-buffer mode cannot send
        TooLong = "too_long", Error;
    }
}

/// Descriptor of `<port>-tx`.
pub static AF_XDP_OUTPUT: NodeSpec =
    NodeSpec::internal("af-xdp-output").role(Role::Output).drops(Reason::ALL).trace(format);

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(out, "  {} {} bytes", names.interface(record.meta.tx_interface), record.meta.total_length())
}

/// A transmit queue, of one worker or of several.
pub type TxQueue = Arc<Mutex<XskTx>>;

/// One worker's instance.
pub struct AfXdpOutput {
    interface: InterfaceIndex,
    reasons: ReasonBase<Reason>,
    queue: TxQueue,
    /// The kernel knows of all frames in the ring.
    told: bool,
}

/// How long a worker sleeps at most while frames wait for their completion, which nothing announces.
const REAP_EVERY: Duration = Duration::from_millis(10);

impl AfXdpOutput {
    /// Sends on `queue` of the port of `interface`.
    pub fn new(interface: InterfaceIndex, queue: TxQueue, reasons: ReasonBase<Reason>) -> Self {
        AfXdpOutput { interface, reasons, queue, told: true }
    }

    /// Sends on another queue from now on. What is in the old one stays there.
    pub fn switch(&mut self, queue: TxQueue) {
        (self.queue, self.told) = (queue, true);
    }
}

fn lock(queue: &TxQueue) -> MutexGuard<'_, XskTx> {
    // The rings are consistent after every single step, so a panic elsewhere does not spoil them.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes back the buffers of frames that have left.
#[inline]
fn reap(tx: &mut XskTx, buffers: &mut BufferCache) {
    for addr in tx.complete(u32::MAX) {
        buffers.give_back(BufferIndex(addr.chunk().0));
    }
}

/// How an attempt to make the kernel send has ended.
enum Kick {
    /// It has taken all frames.
    AllTaken,
    /// It takes no more now.
    Stuck,
    /// The interface is down or gone. The frames stay in the ring until it is back or the port is closed.
    Down,
}

/// Makes the kernel send what is in the ring, until `room` slots are free: one call per TX budget.
fn kick(tx: &mut XskTx, buffers: &mut BufferCache, room: Option<u32>) -> Kick {
    let mut before = tx.pending();
    loop {
        let outcome = tx.wake();
        reap(tx, buffers);
        match outcome {
            Ok(Wake::Done) => return Kick::AllTaken,
            Err(_) => return Kick::Down,
            Ok(Wake::Later) => {}
        }
        let pending = tx.pending();
        if pending == before || room.is_some_and(|room| tx.transmit(room).remaining() >= room) {
            return Kick::Stuck;
        }
        before = pending;
    }
}

impl Node for AfXdpOutput {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let mut refused = [BufferIndex(0); FRAME_SIZE];
        let (mut refusals, mut sent, mut bytes) = (0, 0u64, 0u64);
        {
            let tx = &mut *lock(&self.queue);
            reap(tx, cx.buffers);
            let mut packets = frame.packets();
            loop {
                let mut room = tx.transmit(packets.len() as u32);
                while let Some((&index, rest)) = packets.split_first() {
                    let packet = cx.buffers.packet(index);
                    if packet.meta.next_segment().is_some() {
                        packet.meta.reason = self.reasons.id(Reason::TooLong);
                        refused[refusals] = index;
                        refusals += 1;
                    } else if room.remaining() > 0 {
                        let addr = UmemAddr::new(ChunkIndex(index.0), packet.meta.data_offset() as u32);
                        room.push(Descriptor { addr, len: packet.length() as u32, options: 0 });
                        let length = packet.length() as u64;
                        cx.counters.interfaces.sent_to(self.interface, packet.data(), length);
                        sent += 1;
                        bytes += length;
                    } else {
                        break;
                    }
                    packets = rest;
                }
                drop(room);
                if packets.is_empty() {
                    break;
                }
                // The ring is full. Several vectors of a turn may meet here, and the kernel has not been told yet.
                let before = tx.pending();
                kick(tx, cx.buffers, Some(packets.len() as u32));
                if tx.pending() == before {
                    for &index in packets {
                        cx.buffers.packet(index).meta.reason = self.reasons.id(Reason::RingFull);
                        refused[refusals] = index;
                        refusals += 1;
                    }
                    break;
                }
            }
        }
        self.told &= sent == 0;
        cx.counters.interfaces.tx.add(self.interface.index(), sent, bytes);
        if refusals > 0 {
            cx.counters.interfaces.tx_error.add(self.interface.index(), refusals as u64);
            cx.send(NodeId::DROP, &refused[..refusals]);
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        let tx = &mut *lock(&self.queue);
        if tx.in_flight() == 0 {
            // A kernel may have completed frames and yet not moved its end of the transmit ring, as those up to 6.12 do when the
            // driver answers EBUSY: nothing is left that it could be told of.
            self.told = true;
            return;
        }
        reap(tx, cx.buffers);
        if tx.pending() == 0 || !tx.needs_wakeup() {
            self.told = true;
            return;
        }
        let news = !self.told;
        self.told = match kick(tx, cx.buffers, None) {
            Kick::AllTaken => true,
            Kick::Stuck => false,
            Kick::Down => {
                cx.counters.interfaces.tx_error.add(self.interface.index(), u64::from(news));
                true
            }
        };
    }

    fn flushes(&self) -> bool {
        true
    }

    fn wait(&mut self, set: &mut WaitSet) {
        if !self.told {
            set.busy();
        } else if self.held() > 0 {
            set.within(REAP_EVERY);
        }
    }

    fn held(&self) -> usize {
        lock(&self.queue).in_flight() as usize
    }
}
