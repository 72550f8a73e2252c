// SPDX-License-Identifier: Apache-2.0
//! Packets from worker to worker, for work that only one of them may do (a flow's owner).
//!
//! A bounded ring with one producer and one consumer for each ordered pair of workers. The receiver finds the packets at the
//! beginning of its next turn in the frame of the node that handed them over there, so order is kept per pair; a receiver
//! that sleeps is woken. A ring that is full takes no more: who hands over counts what is left with it, and drops it.
//!
//! Invariants:
//! * A packet in a ring belongs to the receiver: the push releases its bytes and metadata, the pop acquires them. It is in
//!   flight ([`crate::Worker::in_flight`]), and goes back to the pool when the receiver closes.
//! * A packet's place in a feature chain is one of its sender, who may know other chains than the receiver; so it is parked
//!   ([`Arcs::park`]), and the receiver puts it back to its place in its own chains.
//! * What a packet names (an interface, a node) is not given to another meanwhile: [`crate::Engine::after_workers`] waits
//!   until what was on its way then has arrived and left the graph.
//!
//! The receiver that has ended takes nothing any more; ports are closed before workers end.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::buffer::BufferCache;
use crate::feature::Arcs;
use crate::ids::{BufferIndex, NodeId};
use crate::wait::Waker;

/// A parked packet, and the node that it goes on in.
#[derive(Clone, Copy)]
struct Entry {
    node: NodeId,
    packet: BufferIndex,
}

/// The way to one other worker.
struct Outgoing {
    ring: Producer<Entry>,
    waker: Waker,
}

/// One worker's ends of all rings.
#[derive(Default)]
pub(crate) struct Handoff {
    /// By worker; none to itself.
    out: Vec<Option<Outgoing>>,
    into: Vec<Consumer<Entry>>,
}

/// The ends of the rings between the workers that have these wakers, each of `capacity` packets.
pub(crate) fn mesh(wakers: &[Waker], capacity: usize) -> Vec<Handoff> {
    let mut ends: Vec<Handoff> = wakers.iter().map(|_| Handoff::default()).collect();
    for from in 0..wakers.len() {
        for (to, waker) in wakers.iter().enumerate() {
            if from == to {
                ends[from].out.push(None);
                continue;
            }
            let (ring, consumer) = RingBuffer::new(capacity);
            ends[from].out.push(Some(Outgoing { ring, waker: waker.clone() }));
            ends[to].into.push(consumer);
        }
    }
    ends
}

impl Handoff {
    /// Hands parked packets to worker number `to`, in order; returns how many found room.
    pub fn send(&mut self, to: usize, node: NodeId, packets: &[BufferIndex]) -> usize {
        let Some(Some(outgoing)) = self.out.get_mut(to) else {
            return 0;
        };
        let mut sent = 0;
        for &packet in packets {
            if outgoing.ring.push(Entry { node, packet }).is_err() {
                break;
            }
            sent += 1;
        }
        if sent > 0 {
            outgoing.waker.wake();
        }
        sent
    }

    /// Takes out what was there at the time of the call, and hands each packet to `give` with the node that it goes to.
    #[inline]
    pub fn receive(
        &mut self,
        buffers: &mut BufferCache,
        arcs: &Arcs,
        mut give: impl FnMut(NodeId, BufferIndex),
    ) {
        for ring in &mut self.into {
            for _ in 0..ring.slots() {
                let Ok(Entry { node, packet }) = ring.pop() else {
                    break;
                };
                let mut its = buffers.packet(packet);
                // A trace numbers the packets of one worker.
                its.meta.flags &= !crate::buffer::TRACED;
                let node = arcs.resume(node, &mut its);
                give(node, packet);
            }
        }
    }

    /// Packets on their way to this worker.
    pub fn waiting(&self) -> usize {
        self.into.iter().map(Consumer::slots).sum()
    }

    /// The worker ends: frees what is on its way to it.
    pub fn close(&mut self, buffers: &mut BufferCache) {
        for ring in &mut self.into {
            while let Ok(entry) = ring.pop() {
                buffers.free_one(entry.packet);
            }
        }
    }
}
