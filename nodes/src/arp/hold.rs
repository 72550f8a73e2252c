// SPDX-License-Identifier: Apache-2.0
//! ip4-arp: packets that wait for a neighbour's MAC address.
//!
//! Comes into play where a route ends at a link: for a next hop that is not resolved, and for a destination on the link
//! itself ([`GLEAN`]). The packets wait, the main thread is told, and it has them released (to ip4-rewrite), failed (to
//! ip4-icmp-error) or forgotten by a message. Both bounds are settings: of a neighbour whose queue is full the oldest
//! packet goes, since the latest should be kept (RFC 1122 section 2.3.2.2).
//!
//! Order: the next hop is published before the release is posted. A packet that finds it resolved here while older
//! ones still wait joins them. One that arrives at ip4-rewrite in that moment overtakes them, once per resolution; to
//! prevent that would cost every packet to every neighbour.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::clock::{Clock, Tsc};
use weft_engine::counters::Counters;
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons, Role};
use weft_engine::publish::{Published, SlabReader, SlabView};
use weft_engine::{BufferIndex, Context, InterfaceIndex, NodeId};

use crate::context::IpContext;
use crate::graph::Tables;
use crate::headers::Ipv4Header;
use crate::interface::InterfaceTable;
use crate::ip4::{GLEAN, IcmpError, NextHop, NextHopId, Resolution, TableIndex, format_header};
use crate::neighbor::{NeighborNotice, NoticeSender, Pushed, Queues, Waiting};

weft_engine::edges! {
    /// Where packets go that need not wait.
    pub enum Next { Rewrite => "ip4-rewrite" }
}

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

/// Descriptor of ip4-arp. The clock runs it too, to end what nobody released.
pub static IP4_ARP: NodeSpec = NodeSpec::timer("ip4-arp", Duration::from_secs(1))
    .role(Role::Hold)
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .trace(format_header);

/// Bounds of the queues.
#[derive(Clone, Copy, Debug)]
pub struct HoldSettings {
    /// Packets that wait for one neighbour, on one worker.
    pub per_neighbor: usize,
    /// Packets that wait, on one worker.
    pub per_worker: usize,
    /// Longest wait, for the case that the main thread neither releases nor fails them. Kept to the second.
    pub longest: Duration,
    /// Time between two notices to the main thread about one neighbour, at least.
    pub ask_every: Duration,
}

impl Default for HoldSettings {
    fn default() -> Self {
        HoldSettings {
            per_neighbor: 16,
            per_worker: 1024,
            longest: Duration::from_secs(5),
            ask_every: Duration::from_millis(100),
        }
    }
}

/// One worker's instance.
pub struct Ip4Arp {
    queues: Queues,
    longest: u64,
    ask_every: u64,
    interfaces: Arc<Published<InterfaceTable>>,
    next_hops: SlabReader<NextHop>,
    sender: NoticeSender,
    next: Nexts<Next>,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
}

impl Ip4Arp {
    /// An instance that tells by `sender`.
    pub fn new(
        tables: &Tables,
        clock: &Clock,
        sender: NoticeSender,
        next: Nexts<Next>,
        (reasons, events): (ReasonBase<Reason>, ReasonBase<Event>),
    ) -> Self {
        let settings = tables.settings.hold;
        Ip4Arp {
            queues: Queues::new(settings.per_neighbor, settings.per_worker),
            longest: clock.clocks(settings.longest),
            ask_every: clock.clocks(settings.ask_every),
            interfaces: Arc::clone(&tables.interfaces),
            next_hops: tables.next_hops.clone(),
            sender,
            next,
            reasons,
            events,
        }
    }

    /// Takes out the packets for a neighbour that is resolved, in order and with their next hop: for ip4-rewrite.
    pub fn release(
        &mut self,
        buffers: &mut BufferCache,
        interface: InterfaceIndex,
        address: IpAddr,
        next_hop: NextHopId,
    ) -> Vec<BufferIndex> {
        let packets = self.queues.take(buffers, (interface, address));
        for &index in &packets {
            buffers.packet(index).meta.set_next_hop(next_hop.0);
        }
        packets
    }

    /// Takes out the packets for a neighbour that does not answer, marked as unreachable: for ip4-icmp-error.
    pub fn fail(
        &mut self,
        buffers: &mut BufferCache,
        interface: InterfaceIndex,
        address: IpAddr,
    ) -> Vec<BufferIndex> {
        let packets = self.queues.take(buffers, (interface, address));
        for &index in &packets {
            IcmpError::HOST_UNREACHABLE.mark(&mut buffers.packet(index));
        }
        packets
    }

    /// Takes out the packets for all neighbours on an interface that goes down or away, with that reason: for drop.
    pub fn forget(&mut self, buffers: &mut BufferCache, interface: InterfaceIndex) -> Vec<BufferIndex> {
        let packets = self.queues.take_all(buffers, |(on, _)| *on == interface);
        self.mark(buffers, &packets, Reason::Down);
        packets
    }

    /// An interface goes away: what was received there and waits for a neighbour elsewhere is of no interface any more, so
    /// that nothing is counted for the next one with its index.
    pub fn disown(&mut self, buffers: &mut BufferCache, interface: InterfaceIndex) {
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

impl Node for Ip4Arp {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        if frame.is_empty() {
            let expired = self.queues.take_expired(cx.buffers, cx.now, self.longest);
            self.mark(cx.buffers, &expired, Reason::Expired);
            cx.send(NodeId::DROP, &expired);
            return;
        }
        let guard = cx.guard();
        let (mut displaced, mut count) = ([BufferIndex::default(); FRAME_SIZE], 0);
        let mut arp = Arp {
            interfaces: self.interfaces.read(guard),
            next_hops: self.next_hops.read(guard),
            queues: &mut self.queues,
            sender: &mut self.sender,
            ask_every: self.ask_every,
            now: cx.now,
            counters: cx.counters,
            next: self.next,
            reasons: self.reasons,
            events: self.events,
        };
        cx.each_or_keep(frame, |buffers, index| {
            let neighbor = match arp.neighbor(&mut buffers.packet(index)) {
                Ok(neighbor) => neighbor,
                Err(next) => return Some(next),
            };
            let next = match arp.queues.push(buffers, neighbor, index, arp.now) {
                Pushed::Kept => None,
                Pushed::Displaced(oldest) => {
                    arp.reasons.drop(&mut buffers.packet(oldest), Reason::QueueFull);
                    displaced[count] = oldest;
                    count += 1;
                    None
                }
                Pushed::Refused => Some(arp.reasons.drop(&mut buffers.packet(index), Reason::HoldFull)),
            };
            arp.ask(neighbor);
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

struct Arp<'a> {
    interfaces: &'a InterfaceTable,
    next_hops: SlabView<'a, NextHop>,
    queues: &'a mut Queues,
    sender: &'a mut NoticeSender,
    ask_every: u64,
    now: Tsc,
    counters: &'a Counters,
    next: Nexts<Next>,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
}

impl Arp<'_> {
    /// For whom the packet must wait, or where it goes instead.
    fn neighbor(&self, packet: &mut Packet<'_>) -> Result<Waiting, NodeId> {
        if packet.meta.next_hop() == GLEAN {
            return self.on_link(packet);
        }
        let Some(next_hop) = self.next_hops.get(packet.meta.next_hop()) else {
            return Err(self.reasons.drop(packet, Reason::NoNextHop));
        };
        let neighbor = (next_hop.interface, next_hop.address);
        if matches!(next_hop.resolution, Resolution::Complete(_)) && !self.queues.waits_for(neighbor) {
            return Err(self.next.to(Next::Rewrite));
        }
        self.check_up(packet, next_hop.interface)?;
        Ok(neighbor)
    }

    /// The destination itself, on the link of the route.
    fn on_link(&self, packet: &mut Packet<'_>) -> Result<Waiting, NodeId> {
        let interface = packet.meta.tx_interface;
        self.check_up(packet, interface)?;
        let destination = packet.header::<Ipv4Header>().map(Ipv4Header::destination);
        let table = TableIndex(packet.meta.table());
        match destination {
            Some(host) if self.interfaces.is_unicast4(table, host) => Ok((interface, IpAddr::V4(host))),
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
        if asked.is_some_and(|asked| self.now.since(asked) < self.ask_every) {
            return;
        }
        let (interface, address) = neighbor;
        let event = match self.sender.send(NeighborNotice::Wanted { interface, address }) {
            true => {
                *asked = Some(self.now);
                Event::Asked
            }
            false => Event::NoticeLost,
        };
        self.events.count(self.counters, event, 1);
    }
}
