// SPDX-License-Identifier: Apache-2.0
//! ip4-woven: the way of most packets through ethernet-input, ip4-input, ip4-lookup and ip4-rewrite, in one loop.
//!
//! It stands in front of ethernet-input and takes those packets out of its vectors for which none of these four nodes has
//! anything unusual to do: untagged IPv4 to us without options, sound, routed to one next hop that is known, without
//! features. It asks what they ask and writes what they write, by their own functions. All other packets stay in the
//! vector, untouched and uncounted, and take the graph: nothing is changed in a packet, and nothing counted of it, before
//! it is certain that it goes. So both ways give the same bytes, the same context and the same counters, but for those
//! of nodes and edges (nodes/tests/graph/woven.rs).
//!
//! A loop contains no call, and ends at the first packet that is not plain. What that packet is is found out apart from the
//! loop, which begins anew after it. For a table that is larger than the caches there is a loop of two stages, which checks
//! a block of packets and starts their lookups before it finishes the block before.
//!
//! What a load-balance leads to is kept from vector to vector, by its id ([`Known`]), while nothing that it follows from has
//! changed ([`Version`]).
//!
//! Not while anything is traced or captured: see [`NodeSpec::in_front_of`]. Where many packets are not plain, it lets some
//! vectors pass before it looks again.

use std::ops::Range;
use std::sync::Arc;

use weft_engine::Context;
use weft_engine::buffer::{Metadata, Packet};
use weft_engine::context::Version;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::{ArcId, BufferIndex, InterfaceIndex, NodeId};
use weft_engine::node::{Node, NodeSpec};
use weft_engine::publish::{Published, SlabReader};
use weft_engine::registry::RegistryId;
use weft_fib::{Adjacency, FibView};
use weft_stats::{Combined, CombinedRow, Part, SimpleRow};
use zerocopy::{FromZeros, Immutable, KnownLayout};

use super::input::{IP4_INPUT, is_plain};
use super::{Fib, LoadBalance, LoadBalanceId, Resolution, Rewrite};
use crate::arcs::{ETHERNET_ARC, IP4_OUTPUT_ARC, IP4_UNICAST_ARC};
use crate::context::IpContext;
use crate::ethernet::{ETHERNET_INPUT, Plain};
use crate::headers::{EthernetHeader, PlainFrame, checksum};
use crate::interface::InterfaceTable;
use crate::registries::ETHER_TYPES;
use crate::setup::{Added, Setup, built_in};

/// Descriptor of ip4-woven.
pub static IP4_WOVEN: NodeSpec = NodeSpec::internal("ip4-woven").in_front_of(ETHERNET_INPUT.name);

/// How far ahead the loop of one stage fetches headers: as much time ahead as ethernet-input, which is three times as fast. With
/// 12 packets it took 1.3 clocks more, also with 16,384 buffers.
const AHEAD: usize = 4;
/// Packets that the loop of two stages checks before it finishes as many others. Among 600,000 routes a packet took 4 clocks
/// more with 8, and 16 more where each block was finished before the next one was checked.
const BLOCK: usize = 16;
/// An odd packet counts as much as so many plain ones: the loop ends at it and begins anew.
const ODD: u32 = 8;
/// Beyond this, odd packets are too many.
const TOO_ODD: u32 = 32 * ODD;
/// Vectors that pass then.
const PAUSE: u32 = 128;

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let tables = setup.tables.clone();
    let received = setup.interface_counter("/if/ip4", &IP4_WOVEN)?;
    Ok(NodeDef::new(&IP4_WOVEN, move |w| {
        let known = Known::new_vec_zeroed(tables.load_balances.capacity());
        Box::new(Ip4Woven {
            on: tables.settings.woven,
            interfaces: Arc::clone(&tables.interfaces),
            fibs: tables.fibs.clone(),
            load_balances: tables.load_balances.clone(),
            adjacencies: tables.adjacencies.clone(),
            arcs: [&ETHERNET_ARC, &IP4_UNICAST_ARC, &IP4_OUTPUT_ARC].map(|arc| w.arc(arc)),
            types: w.registry(&ETHER_TYPES),
            ip4_input: w.id(IP4_INPUT.name),
            routes: tables.routes.row(w.thread()),
            received: received.row(w.thread()),
            version: Version::default(),
            generation: 0,
            port: (InterfaceIndex::NONE, Plain::NONE),
            known: known.unwrap_or_default(),
            oddity: 0,
        })
    }))
}

/// What packets of a load-balance need, copied from where ip4-lookup and ip4-rewrite would find it.
#[derive(Clone, Copy, FromZeros, Immutable, KnownLayout)]
#[repr(C, align(8))]
struct Known {
    header: [u8; EthernetHeader::LENGTH],
    /// Of the interface; 0 if the packets take the graph.
    mtu: u16,
    /// All this is so in this generation.
    generation: u32,
    tx_interface: u32,
    /// Nowhere on an arc.
    feature: u32,
    next_hop: u32,
    tx: u16,
}

/// One worker's instance.
pub struct Ip4Woven {
    /// Off: all packets take the graph.
    on: bool,
    interfaces: Arc<Published<InterfaceTable>>,
    fibs: SlabReader<Arc<Fib>>,
    load_balances: SlabReader<LoadBalance>,
    adjacencies: SlabReader<Adjacency>,
    /// `ethernet`, `ip4-unicast`, `ip4-output`: who has features there takes the graph.
    arcs: [ArcId; 3],
    types: RegistryId,
    ip4_input: Option<NodeId>,
    routes: CombinedRow,
    received: SimpleRow,
    version: Version,
    /// Grows with each other version; not 0 from the first vector on.
    generation: u32,
    /// The interface that packets came in by last, and which of them are plain, in this generation.
    port: (InterfaceIndex, Plain),
    /// By load-balance.
    known: Vec<Known>,
    /// What odd packets count beyond plain ones.
    oddity: u32,
}

impl Node for Ip4Woven {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        if !self.on {
            cx.leave(frame.packets());
            return cx.leave_vectors(u32::MAX);
        }
        self.follow(cx.version());
        cx.fetch_first(frame);
        let packets = frame.packets();
        // Of the interface that is looked at.
        let mut taken = 0;
        let mut at = 0;
        while at < packets.len() {
            let end = self.run(cx, frame, at);
            taken += (end - at) as u64;
            self.oddity = self.oddity.saturating_sub((end - at) as u32);
            at = end;
            let Some(&index) = packets.get(at) else { break };
            match self.look_again(cx, index) {
                Found::Learned => {}
                Found::Port(interface) => {
                    self.received.add(self.port.0.index(), taken);
                    taken = 0;
                    self.port = (interface, self.plain(cx, interface));
                    if self.port.1.is_none4() {
                        // Its packets are no surprise, so they are passed without a look at each.
                        let same = |_: usize, packet: &Packet<'_>| packet.meta.rx_interface == interface;
                        let end = cx.look_until(frame, at..packets.len(), same);
                        cx.leave(&packets[at..end]);
                        self.oddity += (end - at) as u32;
                        at = end;
                    }
                }
                Found::Odd => {
                    cx.leave(&[index]);
                    self.oddity += ODD;
                    at += 1;
                }
            }
            if self.oddity > TOO_ODD {
                self.oddity = 0;
                cx.leave(&packets[at..]);
                cx.leave_vectors(PAUSE);
                break;
            }
        }
        self.received.add(self.port.0.index(), taken);
        cx.hand_on_taken();
    }
}

/// Why a loop has ended at a packet.
enum Found {
    /// Its load-balance was not known yet in this generation.
    Learned,
    /// It came in by another interface.
    Port(InterfaceIndex),
    /// It takes the graph.
    Odd,
}

impl Ip4Woven {
    /// Forgets what follows from what is no more.
    #[inline(always)]
    fn follow(&mut self, version: Version) {
        if version != self.version || self.generation == 0 {
            self.forget(version);
        }
    }

    #[cold]
    fn forget(&mut self, version: Version) {
        (self.version, self.port) = (version, (InterfaceIndex::NONE, Plain::NONE));
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Those of four thousand million versions ago would be believed again.
            self.known.fill(Known::new_zeroed());
            self.generation = 1;
        }
    }

    /// Which packets of an interface are plain as far as their link header says.
    #[cold]
    fn plain(&self, cx: &Context<'_>, interface: InterfaceIndex) -> Plain {
        let [ethernet, unicast, _] = self.arcs.map(|arc| cx.arcs().arc(arc));
        let plain = Plain::of(self.interfaces.read(cx.guard()), cx.handlers(self.types), ethernet, interface);
        match Some(plain.next) == self.ip4_input && unicast.place(interface).is_none() {
            true => plain,
            false => Plain::NONE,
        }
    }

    /// Takes packets from number `at` on; returns the number of the first that it does not take.
    #[inline(always)]
    fn run(&self, cx: &mut Context<'_>, frame: &Frame, at: usize) -> usize {
        let (interface, plain) = self.port;
        let Some(fib) = self.fibs.read(cx.guard()).get(plain.table) else { return at };
        let way = Way {
            interface,
            plain,
            fib: fib.view(),
            known: &self.known,
            routes: self.routes.first(self.known.len()),
            generation: self.generation,
        };
        match fib.is_large() {
            false => straight(way, cx, frame, at),
            true => in_blocks(way, cx, frame, at),
        }
    }

    /// Finds out about a packet that a loop has not taken.
    #[inline(never)]
    fn look_again(&mut self, cx: &mut Context<'_>, index: BufferIndex) -> Found {
        let (interface, plain) = self.port;
        let guard = cx.guard();
        let (adjacencies, load_balances) = (self.adjacencies.read(guard), self.load_balances.read(guard));
        let fib = self.fibs.read(guard).get(plain.table);
        let output = cx.arcs().arc(self.arcs[2]);
        let packet = cx.buffers.packet(index);
        if packet.meta.rx_interface != interface {
            return Found::Port(packet.meta.rx_interface);
        }
        let said = packet.header().and_then(|frame| check(packet.meta, frame, interface, &plain));
        let (Some(fib), Some(said)) = (fib, said) else {
            return Found::Odd;
        };
        let id = fib.view().find(said.destination).0;
        let (Some(known), Some(load_balance)) = (self.known.get_mut(id as usize), load_balances.get(id))
        else {
            return Found::Odd;
        };
        if known.generation == self.generation {
            return Found::Odd;
        }
        let next_hop = load_balance.adjacency().map_or(u32::MAX, |adjacency| adjacency.0);
        let adjacency = adjacencies.get(next_hop);
        let complete = adjacency.filter(|adjacency| output.place(adjacency.interface).is_none());
        *known = match complete {
            Some(Adjacency {
                interface,
                egress,
                resolution: Resolution::Complete(Rewrite::Untagged(header)),
                ..
            }) => Known {
                header: *header,
                mtu: egress.mtu,
                generation: self.generation,
                tx_interface: interface.0,
                feature: 0,
                next_hop,
                tx: egress.tx.0,
            },
            _ => Known { generation: self.generation, ..Known::new_zeroed() },
        };
        Found::Learned
    }
}

/// What a packet says that is plain as far as it says itself.
#[derive(Clone, Copy, Default)]
struct Said {
    destination: u32,
    /// Bytes of the IPv4 packet.
    total: u16,
}

/// What it says; `None`: it takes the graph.
#[inline(always)]
fn check(meta: &Metadata, frame: &PlainFrame, interface: InterfaceIndex, plain: &Plain) -> Option<Said> {
    // As it was received: on this interface, in one buffer, neither traced nor known to anybody.
    if meta.flags | (meta.rx_interface.0 ^ interface.0) != 0 {
        return None;
    }
    let PlainFrame { ethernet, ip } = frame;
    let length = meta.length() - EthernetHeader::LENGTH;
    let is_plain = plain.takes4(ethernet) && is_plain(ip, length) && ip.ttl > 1;
    is_plain.then(|| Said { destination: ip.destination.get(), total: ip.total_length.get() })
}

/// What a loop needs, in registers.
struct Way<'a> {
    interface: InterfaceIndex,
    plain: Plain,
    fib: FibView<'a>,
    known: &'a [Known],
    routes: Part<'a, Combined>,
    generation: u32,
}

impl Way<'_> {
    /// As many places for counters as for load-balances, which a loop must see: then one check of an id is for both.
    #[inline(always)]
    fn even(self) -> Self {
        let len = self.known.len().min(self.routes.len());
        Way { known: &self.known[..len], routes: self.routes.first(len), ..self }
    }

    #[inline(always)]
    fn check(&self, meta: &Metadata, frame: &PlainFrame) -> Option<Said> {
        check(meta, frame, self.interface, &self.plain)
    }

    /// The rest of the way of a packet that says so, by its load-balance, and who transmits it; nothing is changed otherwise.
    #[inline(always)]
    fn finish(
        &self,
        meta: &mut Metadata,
        frame: &mut PlainFrame,
        total: u16,
        id: LoadBalanceId,
    ) -> Option<NodeId> {
        let known = self.known.get(id.0 as usize)?;
        if known.generation != self.generation || total > known.mtu {
            return None;
        }
        // Padding stays behind.
        meta.shorten(EthernetHeader::LENGTH + usize::from(total));
        self.routes.add(id.0 as usize, 1, total.into());
        (meta.tx_interface, meta.feature) = (InterfaceIndex(known.tx_interface), known.feature);
        meta.set_table(self.plain.table);
        meta.set_next_hop(known.next_hop);
        checksum::decrement_ttl(&mut frame.ip);
        frame.ethernet.replace(&known.header);
        Some(NodeId(known.tx))
    }
}

/// In one stage.
#[inline(never)]
fn straight(way: Way<'_>, cx: &mut Context<'_>, frame: &Frame, at: usize) -> usize {
    let way = way.even();
    cx.take_until::<AHEAD>(frame, at..frame.len(), |_, packet| {
        let (meta, frame) = packet.meta_and_header::<PlainFrame>()?;
        // First: the compiler reads again what it has read before a table that others write.
        let id = way.fib.find(frame.ip.destination.get());
        let said = way.check(meta, frame)?;
        way.finish(meta, frame, said.total, id)
    })
}

/// In two stages: a block of packets is checked, and their lookups are under way, before the block before is finished.
#[inline(never)]
fn in_blocks(way: Way<'_>, cx: &mut Context<'_>, frame: &Frame, at: usize) -> usize {
    let way = way.even();
    let finish = |cx: &mut Context<'_>, packets: Range<usize>, said: &[Said; BLOCK]| {
        cx.take_until::<0>(frame, packets, |i, packet| {
            let (meta, frame) = packet.meta_and_header()?;
            let Said { destination, total } = said[i % BLOCK];
            way.finish(meta, frame, total, way.fib.find(destination))
        })
    };
    // What the packets of this block say, and those of the block before.
    let [mut this, mut before] = [[Said::default(); BLOCK]; 2];
    let (mut finished, mut checked, mut end) = (at, at, frame.len());
    loop {
        std::mem::swap(&mut this, &mut before);
        let begin = checked;
        let wanted = end.min(begin + BLOCK);
        checked = cx.look_until(frame, begin..wanted, |i, packet| {
            let said = packet.header().and_then(|frame| way.check(packet.meta, frame));
            if let Some(said) = said {
                way.fib.prefetch(said.destination);
                this[i % BLOCK] = said;
            }
            said.is_some()
        });
        if checked < wanted {
            end = checked;
        }
        let done = finish(cx, finished..begin, &before);
        if done < begin {
            return done;
        }
        if checked == end {
            return finish(cx, begin..end, &this);
        }
        finished = begin;
    }
}
