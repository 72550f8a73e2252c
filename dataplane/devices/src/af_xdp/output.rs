// SPDX-License-Identifier: Apache-2.0
//! `<port>-tx`: puts packets into a transmit ring, and makes the kernel send them.
//!
//! Packets of all vectors of a turn are collected in the ring; the kernel is called at the end of
//! the turn, or earlier when the ring is full. In copy mode one call sends 32 frames (or the TX
//! budget), so it is repeated as long as the kernel takes some. What finds no room in a ring that stays full waits
//! by flow (`backlog.rs`), for a while.
//!
//! A packet of several buffers leaves as it is if the sockets of the port take such (`XDP_USE_SG`), or else is copied into one, if it
//! fits.
//!
//! Workers that share a queue (a port with fewer queues than there are workers) take turns by a
//! lock, once per vector; a queue of one worker is locked by nobody else.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weft_engine::Context;
use weft_engine::buffer::{BufferCache, HEADROOM, SLOT_SIZE};
use weft_engine::frame::Frame;
use weft_engine::ids::{BufferIndex, InterfaceIndex, NodeId};
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons, Role};
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::wait::WaitSet;

use super::backlog::Backlog;
use super::socket::{Wake, XskTx};
use super::umem::{CONTINUES, ChunkIndex, Descriptor, MOST_PIECES, UmemAddr};

weft_engine::drops! {
    /// Why a packet does not leave.
    pub enum Reason {
        /// transmit ring is full, and so is the queue before it
        RingFull = "tx_ring_full", Error;
        /// longer than one buffer, and the port sends single ones
        TooLong = "too_long", Error;
    }
}

weft_engine::events! {
    /// What else happens.
    pub enum Event {
        /// packet of several buffers copied into one, since the port sends single ones
        Linearised = "linearised", Info;
        /// packet had to wait for room in the transmit ring
        Waited = "tx_waited", Info;
    }
}

/// Descriptor of `<port>-tx`.
pub static AF_XDP_OUTPUT: NodeSpec = NodeSpec::internal("af-xdp-output")
    .role(Role::Output)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .trace(format);

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(out, "  {} {} bytes", names.interface(record.meta.tx_interface), record.meta.total_length())
}

/// A transmit queue, of one worker or of several.
pub type TxQueue = Arc<Mutex<XskTx>>;

/// One worker's instance.
pub struct AfXdpOutput {
    port: Port,
    queue: TxQueue,
    /// The kernel knows of all frames in the ring.
    told: bool,
    /// The interface was down when the kernel was last told.
    down: bool,
    backlog: Backlog,
}

/// Whose packets they are, and how what becomes of them is counted.
struct Port {
    interface: InterfaceIndex,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
}

/// How long a worker sleeps at most while frames wait for their completion, which nothing announces.
const REAP_EVERY: Duration = Duration::from_millis(10);

impl AfXdpOutput {
    /// Sends on `queue` of the port of `interface`.
    pub fn new(
        interface: InterfaceIndex,
        queue: TxQueue,
        reasons: ReasonBase<Reason>,
        events: ReasonBase<Event>,
    ) -> Self {
        let (port, backlog) = (Port { interface, reasons, events }, Backlog::default());
        AfXdpOutput { port, queue, told: true, down: false, backlog }
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
fn kick(tx: &mut XskTx, cx: &mut Context<'_>, room: Option<u32>) -> Kick {
    let mut before = tx.pending();
    loop {
        let outcome = cx.kernel.call(|| tx.wake());
        reap(tx, cx.buffers);
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

/// How an attempt to put a packet into the ring has ended.
enum Put {
    Done,
    NoRoom,
    TooLong,
}

/// Packets and bytes that are in the ring now.
#[derive(Default)]
struct Sent {
    packets: u64,
    bytes: u64,
}

impl Port {
    /// Puts packets into the ring as long as there is room; says how many it is done with.
    #[inline]
    fn put(&self, tx: &mut XskTx, cx: &mut Context<'_>, packets: &[BufferIndex], sent: &mut Sent) -> usize {
        let mut done = 0;
        while done < packets.len() {
            let mut room = tx.transmit((packets.len() - done) as u32);
            while let Some(&index) = packets.get(done) {
                let packet = cx.buffers.packet(index);
                if packet.meta.next_segment().is_some() {
                    break;
                }
                if room.remaining() == 0 {
                    return done;
                }
                let addr = UmemAddr::new(ChunkIndex(index.0), packet.meta.data_offset() as u32);
                room.push(Descriptor { addr, len: packet.length() as u32, options: 0 });
                let length = packet.length() as u64;
                cx.counters.interfaces.sent_to(self.interface, packet.data(), length);
                sent.packets += 1;
                sent.bytes += length;
                done += 1;
            }
            drop(room);
            let Some(&chain) = packets.get(done) else { break };
            match self.put_chain(tx, cx, chain, sent) {
                Put::Done => {}
                Put::NoRoom => return done,
                Put::TooLong => self.refuse(cx, chain, Reason::TooLong),
            }
            done += 1;
        }
        done
    }

    /// Puts a packet of several buffers into the ring, all of it or nothing.
    #[cold]
    fn put_chain(&self, tx: &mut XskTx, cx: &mut Context<'_>, first: BufferIndex, sent: &mut Sent) -> Put {
        let mut pieces = [BufferIndex(0); MOST_PIECES];
        let (mut count, mut next) = (0, Some(first));
        while let Some(index) = next {
            let packet = cx.buffers.packet(index);
            next = packet.meta.next_segment();
            // The kernel refuses a piece without bytes.
            if packet.length() > 0 {
                if let Some(piece) = pieces.get_mut(count) {
                    *piece = index;
                }
                count += 1;
            }
        }
        let length = cx.buffers.packet(first).meta.total_length();
        let whole = if count == 1 || tx.takes_pieces() && count <= MOST_PIECES { None } else { Some(length) };
        if whole.is_some_and(|length| length > SLOT_SIZE) || count == 0 {
            return Put::TooLong;
        }
        let needed = if whole.is_some() { 1 } else { count };
        let mut room = tx.transmit(needed as u32);
        if (room.remaining() as usize) < needed {
            return Put::NoRoom;
        }
        let copy = match whole {
            Some(length) => match linearise(cx.buffers, first, length) {
                None => return Put::NoRoom,
                copy => copy,
            },
            None => None,
        };
        let start = cx.buffers.packet(first);
        cx.counters.interfaces.sent_to(self.interface, start.data(), length as u64);
        if let Some(copy) = copy {
            self.events.count(cx.counters, Event::Linearised, 1);
            cx.buffers.free_one(first);
            (pieces[0], count) = (copy, 1);
        } else {
            free_empty(cx.buffers, first);
        }
        for (place, &index) in pieces[..count].iter().enumerate() {
            let packet = cx.buffers.packet(index);
            let addr = UmemAddr::new(ChunkIndex(index.0), packet.meta.data_offset() as u32);
            let options = if place + 1 < count { CONTINUES } else { 0 };
            room.push(Descriptor { addr, len: packet.length() as u32, options });
        }
        sent.packets += 1;
        sent.bytes += length as u64;
        Put::Done
    }

    /// Puts packets that have waited into the ring, as long as there is room.
    fn put_waiting(&self, backlog: &mut Backlog, tx: &mut XskTx, cx: &mut Context<'_>, sent: &mut Sent) {
        while let Some(first) = backlog.first() {
            if self.put(tx, cx, &[first], sent) == 0 {
                return;
            }
            backlog.remove_first();
        }
    }

    /// Has packets wait for room.
    #[cold]
    fn have_wait(&self, backlog: &mut Backlog, cx: &mut Context<'_>, packets: &[BufferIndex]) {
        self.events.count(cx.counters, Event::Waited, packets.len() as u64);
        for &index in packets {
            if let Some(index) = backlog.push(index, cx.buffers.packet(index).data()) {
                self.refuse(cx, index, Reason::RingFull);
            }
        }
    }

    #[cold]
    fn refuse(&self, cx: &mut Context<'_>, index: BufferIndex, reason: Reason) {
        cx.buffers.packet(index).meta.reason = self.reasons.id(reason);
        cx.counters.interfaces.tx_error.add(self.interface.index(), 1);
        cx.send(NodeId::DROP, &[index]);
    }

    fn count(&self, cx: &mut Context<'_>, sent: &Sent) {
        cx.counters.interfaces.tx.add(self.interface.index(), sent.packets, sent.bytes);
    }
}

/// A packet of several buffers in a new one; `None` if there is none free.
fn linearise(buffers: &mut BufferCache, first: BufferIndex, length: usize) -> Option<BufferIndex> {
    let copy = buffers.allocate_one()?;
    let (mut bytes, mut next) = ([0; SLOT_SIZE], Some(first));
    let mut written = 0;
    while let Some(index) = next {
        let packet = buffers.packet(index);
        let end = written + packet.length();
        bytes[written..end].copy_from_slice(packet.data());
        (written, next) = (end, packet.meta.next_segment());
    }
    let interface = buffers.packet(first).meta.rx_interface;
    buffers.receive(copy, 0, 0, interface);
    buffers.packet(copy).fill(HEADROOM.min(SLOT_SIZE - length), &bytes[..written]);
    Some(copy)
}

/// Gives back the buffers of a packet that have no bytes, which nobody refers to any more.
fn free_empty(buffers: &mut BufferCache, first: BufferIndex) {
    let mut next = Some(first);
    while let Some(index) = next {
        let packet = buffers.packet(index);
        let is_empty = packet.length() == 0;
        next = packet.meta.next_segment();
        if is_empty {
            buffers.give_back(index);
        }
    }
}

impl Node for AfXdpOutput {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let AfXdpOutput { port, queue, told, backlog, .. } = self;
        let tx = &mut *lock(queue);
        reap(tx, cx.buffers);
        let (mut packets, mut sent) = (frame.packets(), Sent::default());
        if !backlog.is_empty() {
            port.put_waiting(backlog, tx, cx, &mut sent);
        }
        while backlog.is_empty() {
            packets = &packets[port.put(tx, cx, packets, &mut sent)..];
            if packets.is_empty() {
                break;
            }
            // The ring is full. Several vectors of a turn may meet here, and the kernel has not been told yet.
            let before = tx.pending();
            kick(tx, cx, Some(packets.len() as u32));
            if tx.pending() == before {
                break;
            }
        }
        if !packets.is_empty() {
            port.have_wait(backlog, cx, packets);
        }
        *told &= sent.packets == 0 && backlog.is_empty();
        port.count(cx, &sent);
    }

    fn flush(&mut self, cx: &mut Context<'_>) {
        let AfXdpOutput { port, queue, told, down, backlog } = self;
        let tx = &mut *lock(queue);
        if tx.in_flight() == 0 && backlog.is_empty() {
            // A kernel may have completed frames and yet not moved its end of the transmit ring, as those up to 6.12 do when the
            // driver answers EBUSY: nothing is left that it could be told of.
            *told = true;
            return;
        }
        reap(tx, cx.buffers);
        let mut sent = Sent::default();
        loop {
            port.put_waiting(backlog, tx, cx, &mut sent);
            if tx.pending() == 0 || !tx.needs_wakeup() {
                *told = backlog.is_empty();
                break;
            }
            let news = !*told;
            let waiting = backlog.len();
            let kicked = kick(tx, cx, None);
            *down = matches!(kicked, Kick::Down);
            *told = !matches!(kicked, Kick::Stuck);
            if *down {
                cx.counters.interfaces.tx_error.add(port.interface.index(), u64::from(news));
            }
            if waiting == 0 || !matches!(kicked, Kick::AllTaken) {
                break;
            }
        }
        port.count(cx, &sent);
    }

    fn flushes(&self) -> bool {
        true
    }

    fn wait(&mut self, set: &mut WaitSet) {
        if !self.told || !(self.backlog.is_empty() || self.down) {
            set.busy();
        } else if self.held() > 0 {
            set.within(REAP_EVERY);
        }
    }

    fn held(&self) -> usize {
        lock(&self.queue).in_flight() as usize + self.backlog.len()
    }

    fn close(&mut self, buffers: &mut BufferCache) {
        self.backlog.drain().for_each(|index| buffers.free_one(index));
    }
}
