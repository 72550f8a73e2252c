// SPDX-License-Identifier: Apache-2.0
//! Packets that wait for a neighbour's MAC address: ip4-arp and ip6-discover-neighbor.
//!
//! Comes into play where a route ends at a link: for a next hop that is not resolved, and for a destination on the link
//! itself ([`GLEAN`]). The packets wait, the main thread is told, and it has them released (to the rewrite node), failed (to
//! the node of ICMP errors) or forgotten by a message ([`HeldPackets`]). Both bounds are settings: of a neighbour whose
//! queue is full the oldest packet goes, since the latest should be kept (RFC 1122 section 2.3.2.2).
//!
//! A queue holds packets of one family, and is that of a neighbour of any: IPv4 can have an IPv6 next hop (RFC 8950).
//!
//! Order: the adjacency is published before the release is posted. A packet that finds it resolved here while older
//! ones still wait joins them. One that arrives at the rewrite node in that moment overtakes them, once per resolution; to
//! prevent that would cost every packet to every neighbour.
//!
//! # What packets name while they wait
//! Routes, neighbours and interfaces can go meanwhile, and their numbers be given out again. So a packet that waits is
//! known by its neighbour, not by its adjacency: the release says which one it goes by, and is ignored if another next hop
//! has its number by then. Packets to a link that goes are dropped; the interface that a packet came in by is forgotten
//! when it is deleted, before another can have its number.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::clock::{Clock, Tsc};
use weft_engine::counters::Counters;
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, ReasonBase, Reasons, Role};
use weft_engine::publish::{Published, SlabReader, SlabView};
use weft_engine::qsbr::Guard;
use weft_engine::{BufferIndex, Context, InterfaceIndex, NodeId, Worker};
use weft_fib::{Adjacency, AdjacencyId, Ip4, Ip6, NextHop, Resolution};

use crate::context::{GLEAN, IpContext};
use crate::forward::{Forwarded, Undeliverable};
use crate::interface::{InterfaceTable, Interfaces, TableIndex};
use crate::neighbor::{NeighborNotice, NoticeSender, Pushed, Queues, Waiting};
use crate::setup::{Added, ONE_EACH, Setup, built_in};

weft_engine::drops! {
    /// Why a packet stops waiting, or does not begin to.
    pub enum Reason {
        /// was the oldest of too many for one neighbour that has not answered yet
        QueueFull = "neighbor_queue_full", Error;
        /// too many packets wait for other neighbours
        HoldFull = "hold_queues_full", Error;
        /// neighbour neither answered nor was given up in time
        Expired = "waited_too_long", Error;
        /// interface of the neighbour is down or deleted
        Down = "interface_down", Error;
        /// the next hop of the route has been deleted
        NoNextHop = "no_next_hop", Error;
        /// to all hosts of a network behind this router (RFC 2644: not forwarded)
        DirectedBroadcast = "directed_broadcast", Info;
    }
}

weft_engine::events! {
    /// What the main thread was told.
    pub enum Event {
        /// main thread told that packets wait for a neighbour
        Asked = "requests", Info;
        /// news for the main thread lost: too much of it
        NoticeLost = "notice_lost", Warn;
    }
}

/// Bounds of the queues.
#[derive(Clone, Copy, Debug)]
pub struct HoldSettings {
    /// Packets that wait for one neighbour, on one worker.
    pub per_neighbor: usize,
    /// Packets that wait, on one worker.
    pub per_worker: usize,
    /// Longest wait, for the case that the main thread neither releases nor fails them. Kept to the second.
    pub longest: Duration,
    /// Time until the main thread is told again that packets wait for a neighbour: as many come meanwhile, at least this long
    /// after the first time, and then twice as long each time,
    pub ask_again: Duration,
    /// up to this.
    pub ask_every: Duration,
}

impl Default for HoldSettings {
    fn default() -> Self {
        HoldSettings {
            per_neighbor: 16,
            per_worker: 1024,
            longest: Duration::from_secs(5),
            ask_again: Duration::from_millis(1),
            ask_every: Duration::from_secs(1),
        }
    }
}

built_in!(define::<Ip4>, define::<Ip6>);

fn define<F: Forwarded>(setup: &mut Setup<'_>) -> Added {
    let (tables, clock, mut senders) = (setup.tables.clone(), setup.engine.clock, setup.notice_senders());
    Ok(NodeDef::new(Hold::<F>::SPEC, move |w| {
        let (sender, [rewrite]) = (senders.next().expect(ONE_EACH), w.first_edges());
        let read = (Arc::clone(&tables.interfaces), tables.adjacencies.clone());
        let reasons = (w.reasons(), w.events());
        Box::new(Hold::<F>::new(tables.settings.hold, &clock, read, sender, rewrite, reasons))
    }))
}

/// One worker's instance, for packets of a family.
pub struct Hold<F: Forwarded> {
    queues: Queues,
    longest: u64,
    ask_again: u64,
    ask_every: u64,
    interfaces: Arc<Published<InterfaceTable>>,
    adjacencies: SlabReader<Adjacency>,
    sender: NoticeSender,
    rewrite: NodeId,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
    family: PhantomData<F>,
}

impl<F: Forwarded> Hold<F> {
    /// The clock runs it too, to end what nobody released.
    const SPEC: &'static NodeSpec = &NodeSpec::timer(F::NODES.hold, Duration::from_secs(1))
        .role(Role::Hold)
        .next(&[F::NODES.rewrite])
        .drops(Reason::ALL)
        .events(Event::ALL)
        .trace(F::format);

    /// An instance that tells by `sender`, and after which packets go to `rewrite`.
    pub fn new(
        settings: HoldSettings,
        clock: &Clock,
        (interfaces, adjacencies): (Arc<Published<InterfaceTable>>, SlabReader<Adjacency>),
        sender: NoticeSender,
        rewrite: NodeId,
        (reasons, events): (ReasonBase<Reason>, ReasonBase<Event>),
    ) -> Self {
        Hold {
            queues: Queues::new(settings.per_neighbor, settings.per_worker),
            longest: clock.clocks(settings.longest),
            ask_again: clock.clocks(settings.ask_again),
            ask_every: clock.clocks(settings.ask_every),
            interfaces,
            adjacencies,
            sender,
            rewrite,
            reasons,
            events,
            family: PhantomData,
        }
    }

    /// Takes out the packets for a neighbour that is resolved, in order and with their adjacency: for the rewrite node. If
    /// that is another next hop's by now, the neighbour has gone since: the packets wait for the next answer, or expire.
    fn release(
        &mut self,
        buffers: &mut BufferCache,
        guard: Guard<'_>,
        interface: InterfaceIndex,
        address: IpAddr,
        adjacency: AdjacencyId,
    ) -> Vec<BufferIndex> {
        let next_hop = NextHop { interface, address, payload: F::ETHER_TYPE };
        let is_it = |it: &Adjacency| it.next_hop() == next_hop;
        if !self.adjacencies.read(guard).get(adjacency.0).is_some_and(is_it) {
            return Vec::new();
        }
        let packets = self.queues.take(buffers, (interface, address));
        for &index in &packets {
            buffers.packet(index).meta.set_next_hop(adjacency.0);
        }
        packets
    }

    /// Takes out the packets for a neighbour that does not answer, marked as unreachable: for the node of ICMP errors.
    fn fail(
        &mut self,
        buffers: &mut BufferCache,
        interface: InterfaceIndex,
        address: IpAddr,
    ) -> Vec<BufferIndex> {
        let packets = self.queues.take(buffers, (interface, address));
        for &index in &packets {
            F::mark(&mut buffers.packet(index), Undeliverable::Unreachable);
        }
        packets
    }

    /// Takes out the packets for all neighbours on an interface that goes down or away, with that reason: for drop.
    fn forget(&mut self, buffers: &mut BufferCache, interface: InterfaceIndex) -> Vec<BufferIndex> {
        let packets = self.queues.take_all(buffers, |(on, _)| *on == interface);
        self.mark(buffers, &packets, Reason::Down);
        packets
    }

    /// An interface goes away: what was received there and waits for a neighbour elsewhere is of no interface any more, so
    /// that nothing is counted for the next one with its index.
    fn disown(&mut self, buffers: &mut BufferCache, interface: InterfaceIndex) {
        self.queues.for_each(buffers, |packet| {
            if packet.meta.rx_interface == interface {
                packet.meta.rx_interface = InterfaceIndex::NONE;
            }
        });
    }

    fn mark(&self, buffers: &mut BufferCache, packets: &[BufferIndex], reason: Reason) {
        for &index in packets {
            self.reasons.drop(&mut buffers.packet(index), reason);
        }
    }
}

impl<F: Forwarded> Node for Hold<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        if frame.is_empty() {
            let expired = self.queues.take_expired(cx.buffers, cx.now, self.longest);
            self.mark(cx.buffers, &expired, Reason::Expired);
            cx.send(NodeId::DROP, &expired);
            return;
        }
        let guard = cx.guard();
        let (mut displaced, mut count) = ([BufferIndex::default(); FRAME_SIZE], 0);
        let mut hold = Holding::<F> {
            interfaces: self.interfaces.read(guard),
            adjacencies: self.adjacencies.read(guard),
            queues: &mut self.queues,
            sender: &mut self.sender,
            ask_again: self.ask_again,
            ask_every: self.ask_every,
            now: cx.now,
            counters: cx.counters,
            rewrite: self.rewrite,
            reasons: self.reasons,
            events: self.events,
            family: PhantomData,
        };
        cx.each_or_keep(frame, |buffers, index| {
            let neighbor = match hold.neighbor(&mut buffers.packet(index)) {
                Ok(neighbor) => neighbor,
                Err(next) => return Some(next),
            };
            let next = match hold.queues.push(buffers, neighbor, index, hold.now) {
                Pushed::Kept => None,
                Pushed::Displaced(oldest) => {
                    hold.reasons.drop(&mut buffers.packet(oldest), Reason::QueueFull);
                    displaced[count] = oldest;
                    count += 1;
                    None
                }
                Pushed::Refused => Some(hold.reasons.drop(&mut buffers.packet(index), Reason::HoldFull)),
            };
            hold.ask(neighbor);
            next
        });
        cx.send(NodeId::DROP, &displaced[..count]);
    }

    fn held(&self) -> usize {
        self.queues.count()
    }

    fn close(&mut self, buffers: &mut BufferCache) {
        let packets = self.queues.take_all(buffers, |_| true);
        buffers.free(&packets);
    }
}

struct Holding<'a, F: Forwarded> {
    interfaces: &'a InterfaceTable,
    adjacencies: SlabView<'a, Adjacency>,
    queues: &'a mut Queues,
    sender: &'a mut NoticeSender,
    ask_again: u64,
    ask_every: u64,
    now: Tsc,
    counters: &'a Counters,
    rewrite: NodeId,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
    family: PhantomData<F>,
}

impl<F: Forwarded> Holding<'_, F> {
    /// For whom the packet must wait, or where it goes instead.
    fn neighbor(&self, packet: &mut Packet<'_>) -> Result<Waiting, NodeId> {
        if packet.meta.next_hop() == GLEAN {
            return self.on_link(packet);
        }
        let Some(adjacency) = self.adjacencies.get(packet.meta.next_hop()) else {
            return Err(self.reasons.drop(packet, Reason::NoNextHop));
        };
        let neighbor = (adjacency.interface, adjacency.address);
        if matches!(adjacency.resolution, Resolution::Complete(_)) && !self.queues.waits_for(neighbor) {
            return Err(self.rewrite);
        }
        self.check_up(packet, adjacency.interface)?;
        Ok(neighbor)
    }

    /// The destination itself, on the link of the route.
    fn on_link(&self, packet: &mut Packet<'_>) -> Result<Waiting, NodeId> {
        let interface = packet.meta.tx_interface;
        self.check_up(packet, interface)?;
        let table = TableIndex(packet.meta.table());
        match F::destination(packet).map(F::addr) {
            Some(host) if F::is_host(self.interfaces, table, host) => Ok((interface, host.into())),
            _ => Err(self.reasons.drop(packet, Reason::DirectedBroadcast)),
        }
    }

    fn check_up(&self, packet: &mut Packet<'_>, interface: InterfaceIndex) -> Result<(), NodeId> {
        match self.interfaces.get(interface) {
            Some(interface) if interface.up => Ok(()),
            _ => Err(self.reasons.drop(packet, Reason::Down)),
        }
    }

    /// Tells the main thread that packets wait for a neighbour, if they do and it was not told a moment ago.
    fn ask(&mut self, neighbor: Waiting) {
        let Some(asked) = self.queues.asked(neighbor) else {
            return;
        };
        if !asked.is_due(self.now) {
            return;
        }
        let (interface, address) = neighbor;
        let event = match self.sender.send(NeighborNotice::Wanted { interface, address }) {
            true => {
                asked.ask(self.now, self.ask_again, self.ask_every);
                Event::Asked
            }
            false => Event::NoticeLost,
        };
        self.events.count(self.counters, event, 1);
    }
}

/// What the main thread has a worker do with packets of a family that wait for a neighbour. For
/// [`Engine::post_all`](weft_engine::Engine::post_all).
#[derive(Debug)]
pub struct HeldPackets<F: Forwarded> {
    hold: NodeId,
    rewrite: NodeId,
    icmp_error: NodeId,
    family: PhantomData<F>,
}

impl<F: Forwarded> Clone for HeldPackets<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Forwarded> Copy for HeldPackets<F> {}

impl<F: Forwarded> HeldPackets<F> {
    /// Those in the [`Hold`] node of this number; from there they go to one of the others.
    pub fn new(hold: NodeId, rewrite: NodeId, icmp_error: NodeId) -> Self {
        HeldPackets { hold, rewrite, icmp_error, family: PhantomData }
    }

    /// The neighbour is resolved, and its adjacency is published: sends the packets on, in order.
    pub fn release(
        self,
        worker: &mut Worker,
        interface: InterfaceIndex,
        address: IpAddr,
        adjacency: AdjacencyId,
    ) {
        self.take(worker, self.rewrite, |hold, buffers, guard| {
            hold.release(buffers, guard, interface, address, adjacency)
        });
    }

    /// The neighbour does not answer: tells the senders.
    pub fn fail(self, worker: &mut Worker, interface: InterfaceIndex, address: IpAddr) {
        self.take(worker, self.icmp_error, |hold, buffers, _| hold.fail(buffers, interface, address));
    }

    /// The interface goes down or away: drops the packets.
    pub fn forget(self, worker: &mut Worker, interface: InterfaceIndex) {
        self.take(worker, NodeId::DROP, |hold, buffers, _| hold.forget(buffers, interface));
    }

    /// From now on packets that wait forget an interface that is deleted: its number may be that of another one then.
    pub fn forget_deleted(self, interfaces: &mut Interfaces) {
        interfaces.on_delete(move |engine, interface| {
            engine.post_all(move |worker| {
                if let Some((hold, buffers)) = worker.node_and_buffers::<Hold<F>>(self.hold) {
                    hold.disown(buffers, interface);
                }
            });
        });
    }

    fn take(
        self,
        worker: &mut Worker,
        next: NodeId,
        take: impl FnOnce(&mut Hold<F>, &mut BufferCache, Guard<'_>) -> Vec<BufferIndex>,
    ) {
        if let Some((hold, buffers, guard)) = worker.node_buffers_and_guard::<Hold<F>>(self.hold) {
            let packets = take(hold, buffers, guard);
            worker.release(next, &packets);
        }
    }
}
