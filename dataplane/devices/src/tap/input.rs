// SPDX-License-Identifier: Apache-2.0
//! tap-input: frames that come by file descriptors: what the host's stack sends into a TAP, and copies of frames that the
//! host has ([`crate::af_xdp::neighbors`]).
//!
//! A TAP is either an interface of its own, whose frames enter the graph like those of a port, or
//! the host's side of a port: what the kernel sends there leaves through the port as it is. One
//! system call per frame; a TAP is a slow path, and its turn is bounded so that it cannot hold up
//! the others.

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
    }
}

/// Descriptor of tap-input.
pub static TAP_INPUT: NodeSpec = NodeSpec::input("tap-input").next(Next::NAMES).events(Event::ALL);

/// Frames taken from one TAP in one turn, at most.
const PER_TURN: usize = 64;

/// How often a busy worker looks: a look is a system call, also when there is nothing.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// What frames from a TAP mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// They arrive on this interface.
    Interface(InterfaceIndex),
    /// The host sends them out of this port, by this node.
    HostOf(InterfaceIndex, NodeId),
}

/// Where frames come from, one per call.
pub trait FrameSource: Send + Sync {
    /// Takes the next frame; gives its length, or `None` if there is none now. A frame longer than `buffer` is cut off.
    ///
    /// # Errors
    /// What the kernel says otherwise.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>>;

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
}

impl TapInput {
    /// Reads nothing yet.
    pub fn new(clock: &Clock, arc: ArcId, next: Nexts<Next>, events: ReasonBase<Event>) -> Self {
        let look_every = clock.clocks(LOOK_EVERY);
        TapInput { arc, next, events, taps: Vec::new(), look_every, next_look: Tsc(0) }
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

impl Node for TapInput {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        if cx.now < self.next_look {
            return;
        }
        self.next_look = Tsc(cx.now.0 + self.look_every);
        for (side, tap) in &self.taps {
            let mut packets = [BufferIndex(0); PER_TURN];
            let (mut count, mut bytes) = (0, 0);
            let rx = match side {
                Side::Interface(interface) => *interface,
                Side::HostOf(..) => InterfaceIndex::NONE,
            };
            while count < PER_TURN {
                let Some(index) = cx.buffers.allocate_one() else {
                    cx.counters.interfaces.rx_no_buf.add(rx.index(), 1);
                    break;
                };
                let room = SLOT_SIZE - HEADROOM;
                cx.buffers.receive_frame(index, HEADROOM, room, rx, LINK_HEADER);
                let mut packet = cx.buffers.packet(index);
                match tap.receive(packet.data_mut()) {
                    Ok(Some(length)) if length < room => {
                        packet.truncate(length);
                        packets[count] = index;
                        count += 1;
                        bytes += length as u64;
                        continue;
                    }
                    Ok(Some(_)) => self.events.count(cx.counters, Event::TooLong, 1),
                    Ok(None) => {
                        cx.buffers.free_one(index);
                        break;
                    }
                    Err(_) => {
                        self.events.count(cx.counters, Event::ReadFailed, 1);
                        cx.buffers.free_one(index);
                        break;
                    }
                }
                cx.buffers.free_one(index);
            }
            match *side {
                Side::Interface(interface) => {
                    cx.counters.interfaces.rx.add(interface.index(), count as u64, bytes);
                    let ethernet = self.next.to(Next::Ethernet);
                    cx.send_from_device(self.arc, interface, ethernet, &packets[..count]);
                }
                Side::HostOf(port, tx) => {
                    for &index in &packets[..count] {
                        cx.buffers.packet(index).meta.tx_interface = port;
                    }
                    cx.send(tx, &packets[..count]);
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
