// SPDX-License-Identifier: Apache-2.0
//! tap-input: frames that come by file descriptors: what the host's stack sends into a TAP, and copies of frames that the
//! host has ([`crate::af_xdp::neighbors`]).
//!
//! A TAP is either an interface of its own, whose frames enter the graph like those of a port, or
//! the host's side of a port: what the kernel sends there leaves through the port as it is. One
//! system call per frame, of which the host may make several of TCP ([`super::unfinished`]); a TAP is a slow path, and
//! its turn is bounded so that it cannot hold up the others.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use weft_engine::Context;
use weft_engine::buffer::{HEADROOM, SLOT_SIZE};
use weft_engine::clock::{Clock, Tsc};
use weft_engine::frame::Frame;
use weft_engine::ids::{ArcId, BufferIndex, InterfaceIndex, NodeId};
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::wait::WaitSet;

use super::unfinished::{MOST, Unfinished};
use crate::LINK_HEADER;

weft_engine::edges! {
    /// Where frames of an interface go that no feature takes.
    pub enum Next { Ethernet => "ethernet-input" }
}

weft_engine::events! {
    /// What can go wrong.
    pub enum Event {
        /// TAP cannot be read
        ReadFailed = "read_failed", Error;
        /// frame of the host longer than a buffer; the port's MTU is smaller than the TAP's
        TooLong = "too_long", Error;
        /// frame of the host that is not what its virtio header says
        Malformed = "malformed", Error;
    }
}

/// Descriptor of tap-input.
pub static TAP_INPUT: NodeSpec = NodeSpec::input("tap-input").next(Next::NAMES).events(Event::ALL);

/// Frames taken from one TAP in one turn, at most, but for the segments of the last one.
const PER_TURN: usize = 64;

/// How often a busy worker looks: a look is a system call, also when there is nothing.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// Bytes of a frame in one buffer.
const ROOM: usize = SLOT_SIZE - HEADROOM;

/// What frames from a TAP mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// They arrive on this interface.
    Interface(InterfaceIndex),
    /// The host sends them out of this port, by this node.
    HostOf(InterfaceIndex, NodeId),
}

/// A frame that was taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Bytes of it.
    pub length: usize,
    /// What is left to do.
    pub unfinished: Unfinished,
}

impl Taken {
    /// A frame with which nothing is left to do.
    pub fn whole(length: usize) -> Self {
        Self { length, unfinished: Unfinished::default() }
    }
}

/// Where frames come from, one per call.
pub trait FrameSource: Send + Sync {
    /// Takes the next frame, or `None` if there is none now. What does not fit `buffer` goes to `rest`. A frame that is longer
    /// than both is cut off, or its length is larger than that of the buffer alone.
    ///
    /// # Errors
    /// What the kernel says otherwise.
    fn take(&self, buffer: &mut [u8], rest: &mut [u8]) -> io::Result<Option<Taken>>;

    /// Readable when there are frames, for poll(2).
    fn fd(&self) -> BorrowedFd<'_>;
}

/// One worker's instance.
pub struct TapInput {
    arc: ArcId,
    next: Nexts<Next>,
    events: ReasonBase<Event>,
    taps: Vec<(Side, Arc<dyn FrameSource>)>,
    look_every: u64,
    next_look: Tsc,
    /// A frame that does not fit a buffer.
    long: Vec<u8>,
    /// Packets of one turn.
    packets: Vec<BufferIndex>,
}

impl TapInput {
    /// Reads nothing yet.
    pub fn new(clock: &Clock, arc: ArcId, next: Nexts<Next>, events: ReasonBase<Event>) -> Self {
        let look_every = clock.clocks(LOOK_EVERY);
        let (taps, next_look) = (Vec::new(), Tsc(0));
        TapInput { arc, next, events, taps, look_every, next_look, long: vec![0; MOST], packets: Vec::new() }
    }

    /// Reads `tap` from now on.
    pub fn add(&mut self, side: Side, tap: Arc<dyn FrameSource>) {
        self.taps.push((side, tap));
    }

    /// Gives up what is read for that side.
    pub fn remove(&mut self, side: Side) {
        self.taps.retain(|(other, _)| *other != side);
    }
}

/// Why a segment of the host did not become a packet.
enum Lost {
    NoBuffer,
    TooLong,
}

/// A packet of its own, of headers and payload.
fn segment(
    cx: &mut Context<'_>,
    rx: InterfaceIndex,
    headers: &[u8],
    part: &[u8],
) -> Result<BufferIndex, Lost> {
    let length = headers.len() + part.len();
    if length > ROOM {
        return Err(Lost::TooLong);
    }
    let index = cx.buffers.allocate_one().ok_or(Lost::NoBuffer)?;
    cx.buffers.receive_frame(index, HEADROOM, length, rx, LINK_HEADER);
    let mut packet = cx.buffers.packet(index);
    let (first, rest) = packet.data_mut().split_at_mut(headers.len());
    first.copy_from_slice(headers);
    rest.copy_from_slice(part);
    Ok(index)
}

impl Node for TapInput {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        if cx.now < self.next_look {
            return;
        }
        self.next_look = Tsc(cx.now.0 + self.look_every);
        let Self { taps, long, packets, events, .. } = self;
        for (side, tap) in taps.iter() {
            let rx = match side {
                Side::Interface(interface) => *interface,
                Side::HostOf(..) => InterfaceIndex::NONE,
            };
            let mut bytes = 0;
            packets.clear();
            while packets.len() < PER_TURN {
                let Some(index) = cx.buffers.allocate_one() else {
                    cx.counters.interfaces.rx_no_buf.add(rx.index(), 1);
                    break;
                };
                cx.buffers.receive_frame(index, HEADROOM, ROOM, rx, LINK_HEADER);
                let mut packet = cx.buffers.packet(index);
                let (buffer, rest) = (packet.data_mut(), &mut long[ROOM..]);
                match cx.kernel.call(|| tap.take(buffer, rest)) {
                    Ok(Some(Taken { length, unfinished })) if unfinished.is_many() && length <= MOST => {
                        let here = length.min(ROOM);
                        long[..here].copy_from_slice(&buffer[..here]);
                        cx.buffers.free_one(index);
                        let before = packets.len();
                        let cut = unfinished.cut(&long[..length], |headers, part| {
                            match segment(cx, rx, headers, part) {
                                Ok(index) => packets.push(index),
                                Err(Lost::NoBuffer) => cx.counters.interfaces.rx_no_buf.add(rx.index(), 1),
                                Err(Lost::TooLong) => events.count(cx.counters, Event::TooLong, 1),
                            }
                        });
                        if cut.is_err() {
                            events.count(cx.counters, Event::Malformed, 1);
                        }
                        bytes += packets[before..]
                            .iter()
                            .map(|index| cx.buffers.packet(*index).data().len() as u64)
                            .sum::<u64>();
                        continue;
                    }
                    Ok(Some(Taken { length, unfinished })) if length <= ROOM => {
                        packet.truncate(length);
                        if unfinished.finish(packet.data_mut()).is_ok() {
                            packets.push(index);
                            bytes += length as u64;
                            continue;
                        }
                        events.count(cx.counters, Event::Malformed, 1);
                    }
                    Ok(Some(_)) => events.count(cx.counters, Event::TooLong, 1),
                    Ok(None) => {
                        cx.buffers.free_one(index);
                        break;
                    }
                    Err(_) => {
                        events.count(cx.counters, Event::ReadFailed, 1);
                        cx.buffers.free_one(index);
                        break;
                    }
                }
                cx.buffers.free_one(index);
            }
            match *side {
                Side::Interface(interface) => {
                    cx.counters.interfaces.rx.add(interface.index(), packets.len() as u64, bytes);
                    cx.send_from_device(self.arc, interface, self.next.to(Next::Ethernet), packets);
                }
                Side::HostOf(port, tx) => {
                    for &index in packets.iter() {
                        cx.buffers.packet(index).meta.tx_interface = port;
                    }
                    cx.send(tx, packets);
                }
            }
        }
    }

    fn wait(&mut self, set: &mut WaitSet) {
        for (_, tap) in &self.taps {
            set.readable(tap.fd().as_raw_fd());
        }
    }
}
