// SPDX-License-Identifier: Apache-2.0
//! ip4-woven, and its like of any other family: the way of most packets through ethernet-input, ip4-input, ip4-lookup and
//! ip4-rewrite, in one loop.
//!
//! It stands in front of ethernet-input and takes those packets out of its vectors for which none of these four nodes has
//! anything unusual to do: untagged and to us, sound, without IP options, routed to one next hop that is known, without
//! features. It asks what they ask and writes what they write, by their own functions. All other packets stay in the
//! vector, untouched and uncounted, and take the graph: nothing is changed in a packet, and nothing counted of it, before
//! it is certain that it goes. So both ways give the same bytes, the same context and the same counters, but for those
//! of nodes and edges (nodes/tests/graph/woven.rs).
//!
//! A loop contains no call, and ends at the first packet that is not plain. What that packet is is found out apart from the
//! loop, which begins anew after it. For a table that is larger than the caches there is a loop of two stages, which checks
//! a block of packets and starts their lookups before it finishes the block before. Packets of the other family of IP are no
//! surprise: at the first one, all of them are put aside at once, and a loop goes on with the rest. (Packets of one flow are of
//! one family; so their order stays.)
//!
//! What a load-balance leads to is kept from vector to vector, by its id ([`Known`]), while nothing that it follows from has
//! changed ([`Version`]).
//!
//! Not while anything is traced or captured: see [`NodeSpec::in_front_of`]. Where many packets are not plain, it lets some
//! vectors pass before it looks again.
//!
//! A family says what its frames look like, when one is plain, and how its table is read ([`Woven`]).

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
use weft_fib::{Adjacency, Ip4, Ip6, LoadBalance, LoadBalanceId, ReaderOf, Resolution, Rewrite};
use weft_stats::{Combined, CombinedRow, Part, SimpleRow};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Forwarded;
use super::input::Checked;
use crate::arcs::ETHERNET_ARC;
use crate::context::IpContext;
use crate::ethernet::{ETHERNET_INPUT, Plain, PlainOf};
use crate::headers::{EtherType, EthernetHeader};
use crate::interface::InterfaceTable;
use crate::registries::ETHER_TYPES;
use crate::setup::{Added, Setup, built_in};

/// What the loops have of a family's own. All of it is inlined into them.
pub(crate) trait Woven: Checked {
    /// What a plain frame begins with.
    type Frame: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned;
    /// A forwarding table, ready to be read in a loop.
    type View<'a>: Copy;

    /// Whether packets of this EtherType are put aside, as the other family's, which come between its own on most links. IPv4 puts
    /// IPv6 aside, and IPv6 all that IPv4 has left, so packets that they leave stay in order but for those of IPv6.
    fn is_other(ether_type: EtherType) -> bool;

    /// Its part of what is plain.
    fn plain(plain: &Plain) -> PlainOf;
    /// The link header.
    fn ethernet(frame: &mut Self::Frame) -> &mut EthernetHeader;
    /// Where it goes.
    fn to(frame: &Self::Frame) -> Self::Key;
    /// Bytes of the packet in a frame that has this many after the link header; `None`: not plain.
    fn measure(frame: &Self::Frame, length: usize, plain: PlainOf) -> Option<u16>;
    /// One hop less is left; there was more than one.
    fn take_hop(frame: &mut Self::Frame);

    /// Of a table.
    fn view(fib: &ReaderOf<Self>) -> Self::View<'_>;
    /// The route of an address. It may be [`LoadBalanceId::NO_ROUTE`] where ip-lookup would find one: that packet takes the
    /// graph.
    fn route(view: Self::View<'_>, to: Self::Key) -> LoadBalanceId;
    /// Whether the table is larger than the caches that are near.
    fn is_large(fib: &ReaderOf<Self>) -> bool;
    /// Takes packets of such a table, by [`in_blocks`].
    fn large(way: Way<'_, Self>, cx: &mut Context<'_>, frame: &Frame, at: usize) -> usize;
}

/// How far ahead the loop of one stage fetches headers: as much time ahead as ethernet-input, which is three times as fast. With
/// 12 packets it took 1.3 clocks more, also with 16,384 buffers.
const AHEAD: usize = 4;
/// The same of loops that only look, as of `Context::each_first`.
const FAR: usize = 12;
/// An odd packet counts as much as so many plain ones: the loop ends at it and begins anew.
const ODD: u32 = 8;
/// So many packets of the other family count as much as one plain one: to put them aside costs little.
const OTHERS: u32 = 4;
/// Beyond this, odd packets are too many.
const TOO_ODD: u32 = 32 * ODD;
/// Vectors that pass then.
const PAUSE: u32 = 128;

built_in!(define::<Ip4>, define::<Ip6>);

fn define<F: Woven>(setup: &mut Setup<'_>) -> Added {
    let tables = setup.tables.clone();
    let received = setup.interface_counter(F::RECEIVED, IpWoven::<F>::SPEC)?;
    Ok(NodeDef::new(IpWoven::<F>::SPEC, move |w| {
        let known = Known::new_vec_zeroed(tables.load_balances.capacity());
        Box::new(IpWoven::<F> {
            on: tables.settings.woven,
            interfaces: Arc::clone(&tables.interfaces),
            fibs: F::fibs(&tables).clone(),
            load_balances: tables.load_balances.clone(),
            adjacencies: tables.adjacencies.clone(),
            arcs: [&ETHERNET_ARC, F::UNICAST_ARC, F::OUTPUT_ARC].map(|arc| w.arc(arc)),
            types: w.registry(&ETHER_TYPES),
            input: w.id(F::NODES.input),
            routes: tables.routes.row(w.thread()),
            received: received.row(w.thread()),
            version: Version::default(),
            generation: 0,
            port: (InterfaceIndex::NONE, PlainOf::NONE),
            known: known.unwrap_or_default(),
            oddity: 0,
            own: Frame::empty(),
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
pub(crate) struct IpWoven<F: Forwarded> {
    /// Off: all packets take the graph.
    on: bool,
    interfaces: Arc<Published<InterfaceTable>>,
    fibs: SlabReader<Arc<ReaderOf<F>>>,
    load_balances: SlabReader<LoadBalance>,
    adjacencies: SlabReader<Adjacency>,
    /// `ethernet`, [`Forwarded::UNICAST_ARC`], [`Forwarded::OUTPUT_ARC`]: who has features there takes the graph.
    arcs: [ArcId; 3],
    types: RegistryId,
    input: Option<NodeId>,
    routes: CombinedRow,
    received: SimpleRow,
    version: Version,
    /// Grows with each other version; not 0 from the first vector on.
    generation: u32,
    /// The interface that packets came in by last, and which of them are plain, in this generation.
    port: (InterfaceIndex, PlainOf),
    /// By load-balance.
    known: Vec<Known>,
    /// What odd packets count beyond plain ones.
    oddity: u32,
    /// Packets of a vector without those of the other family.
    own: Box<Frame>,
}

impl<F: Woven> IpWoven<F> {
    const SPEC: &'static NodeSpec = &NodeSpec::internal(F::NODES.woven).in_front_of(ETHERNET_INPUT.name);
}

impl<F: Woven> Node for IpWoven<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        if !self.on {
            cx.leave(frame.packets());
            return cx.leave_vectors(u32::MAX);
        }
        self.follow(cx.version());
        cx.fetch_first(frame);
        if let Some(at) = self.pass(cx, frame, 0, false) {
            let mut own = std::mem::replace(&mut self.own, Frame::empty());
            let others = cx.sift(frame, at, &mut own, |packet| {
                !packet.header::<EthernetHeader>().is_some_and(is_other::<F>)
            });
            self.oddity += others as u32 / OTHERS;
            self.pass(cx, &own, at, true);
            self.own = own;
        }
        if self.oddity > TOO_ODD {
            self.oddity = 0;
            cx.leave_vectors(PAUSE);
        }
        cx.hand_on_taken();
    }
}

/// Why a loop has ended at a packet.
enum Found {
    /// Its load-balance was not known yet in this generation.
    Learned,
    /// It came in by another interface.
    Port(InterfaceIndex),
    /// It is of the other family.
    Other,
    /// It takes the graph.
    Odd,
}

impl<F: Woven> IpWoven<F> {
    /// Takes or leaves packets from number `at` on. `Some`: from this number on there are some of the other family, and
    /// nothing is done yet; not if those were put aside (`sifted`).
    #[inline(always)]
    fn pass(&mut self, cx: &mut Context<'_>, frame: &Frame, mut at: usize, sifted: bool) -> Option<usize> {
        let packets = frame.packets();
        // Of the interface that is looked at.
        let mut taken = 0;
        let mut others = None;
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
                    if self.port.1.is_none() {
                        // Its packets are no surprise, so they are passed without a look at each.
                        let same = |_: usize, packet: &Packet<'_>| packet.meta.rx_interface == interface;
                        let end = cx.look_until::<FAR>(frame, at..packets.len(), same);
                        cx.leave(&packets[at..end]);
                        self.oddity += (end - at) as u32;
                        at = end;
                    }
                }
                Found::Other if !sifted => {
                    others = Some(at);
                    break;
                }
                Found::Other | Found::Odd => {
                    cx.leave(&[index]);
                    self.oddity += ODD;
                    at += 1;
                }
            }
            if self.oddity > TOO_ODD {
                cx.leave(&packets[at..]);
                break;
            }
        }
        self.received.add(self.port.0.index(), taken);
        others
    }

    /// Forgets what follows from what is no more.
    #[inline(always)]
    fn follow(&mut self, version: Version) {
        if version != self.version || self.generation == 0 {
            self.forget(version);
        }
    }

    #[cold]
    fn forget(&mut self, version: Version) {
        (self.version, self.port) = (version, (InterfaceIndex::NONE, PlainOf::NONE));
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Those of four thousand million versions ago would be believed again.
            self.known.fill(Known::new_zeroed());
            self.generation = 1;
        }
    }

    /// Which packets of an interface are plain as far as their link header says.
    #[cold]
    fn plain(&self, cx: &Context<'_>, interface: InterfaceIndex) -> PlainOf {
        let [ethernet, unicast, _] = self.arcs.map(|arc| cx.arcs().arc(arc));
        let plain = Plain::of(self.interfaces.read(cx.guard()), cx.handlers(self.types), ethernet, interface);
        let plain = F::plain(&plain);
        match Some(plain.next) == self.input && unicast.place(interface).is_none() {
            true => plain,
            false => PlainOf::NONE,
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
            fib: F::view(fib),
            known: &self.known,
            routes: self.routes.first(self.known.len()),
            generation: self.generation,
        };
        match F::is_large(fib) {
            false => straight(way, cx, frame, at),
            true => F::large(way, cx, frame, at),
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
        let Some(frame) = packet.header::<F::Frame>() else {
            return Found::Odd;
        };
        let (Some(fib), Some(_)) = (fib, check::<F>(packet.meta, frame, interface, plain)) else {
            let ethernet = packet.header::<EthernetHeader>();
            return if ethernet.is_some_and(is_other::<F>) { Found::Other } else { Found::Odd };
        };
        let id = F::route(F::view(fib), F::to(frame)).0;
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

/// Bytes of the packet in a frame that is plain as far as it says itself; `None`: it takes the graph.
#[inline(always)]
fn check<F: Woven>(
    meta: &Metadata,
    frame: &F::Frame,
    interface: InterfaceIndex,
    plain: PlainOf,
) -> Option<u16> {
    // As it was received: on this interface, in one buffer, neither traced nor known to anybody.
    if meta.flags | (meta.rx_interface.0 ^ interface.0) != 0 {
        return None;
    }
    F::measure(frame, meta.length() - EthernetHeader::LENGTH, plain)
}

/// Whether a frame is of the other family of IP.
#[inline(always)]
fn is_other<F: Woven>(ethernet: &EthernetHeader) -> bool {
    F::is_other(ethernet.ether_type())
}

/// What a loop needs, in registers.
pub(crate) struct Way<'a, F: Woven> {
    interface: InterfaceIndex,
    plain: PlainOf,
    fib: F::View<'a>,
    known: &'a [Known],
    routes: Part<'a, Combined>,
    generation: u32,
}

impl<F: Woven> Way<'_, F> {
    /// As many places for counters as for load-balances, which a loop must see: then one check of an id is for both.
    #[inline(always)]
    fn even(self) -> Self {
        let len = self.known.len().min(self.routes.len());
        Way { known: &self.known[..len], routes: self.routes.first(len), ..self }
    }

    #[inline(always)]
    fn check(&self, meta: &Metadata, frame: &F::Frame) -> Option<u16> {
        check::<F>(meta, frame, self.interface, self.plain)
    }

    /// The rest of the way of a packet of so many bytes, by its load-balance, and who transmits it; nothing is changed otherwise.
    #[inline(always)]
    fn finish(
        &self,
        meta: &mut Metadata,
        frame: &mut F::Frame,
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
        F::take_hop(frame);
        F::ethernet(frame).replace(&known.header);
        Some(NodeId(known.tx))
    }
}

/// In one stage.
#[inline(never)]
fn straight<F: Woven>(way: Way<'_, F>, cx: &mut Context<'_>, frame: &Frame, at: usize) -> usize {
    let way = way.even();
    cx.take_until::<AHEAD>(frame, at..frame.len(), |_, packet| {
        let (meta, frame) = packet.meta_and_header::<F::Frame>()?;
        // First: the compiler reads again what it has read before a table that others write.
        let id = F::route(way.fib, F::to(frame));
        let total = way.check(meta, frame)?;
        way.finish(meta, frame, total, id)
    })
}

/// What is known of the packets of a block.
struct Block<K, const N: usize> {
    /// Where they go.
    to: [K; N],
    /// Bytes.
    totals: [u16; N],
}

/// In two stages: a block of packets is checked, and their lookups are under way (`prefetch`), before the block before is
/// finished. The routes of a block are found at once (`find_all`), or each when its packet is finished: `find` is given what
/// `find_all` has found.
#[inline(always)]
pub(crate) fn in_blocks<F: Woven, const N: usize>(
    way: Way<'_, F>,
    cx: &mut Context<'_>,
    frame: &Frame,
    at: usize,
    prefetch: impl Fn(F::View<'_>, F::Key),
    find_all: impl Fn(F::View<'_>, &[F::Key], &mut [LoadBalanceId; N]),
    find: impl Fn(F::View<'_>, F::Key, LoadBalanceId) -> LoadBalanceId,
) -> usize {
    let way = way.even();
    let finish = |cx: &mut Context<'_>, packets: Range<usize>, block: &Block<F::Key, N>| {
        let start = packets.start;
        let mut routes = [LoadBalanceId::NO_ROUTE; N];
        find_all(way.fib, &block.to[..packets.len().min(N)], &mut routes);
        cx.take_until::<0>(frame, packets, |i, packet| {
            let (meta, frame) = packet.meta_and_header()?;
            let i = (i - start) % N;
            way.finish(meta, frame, block.totals[i], find(way.fib, block.to[i], routes[i]))
        })
    };
    let [mut this, mut before] = [(); 2].map(|()| Block { to: [F::Key::default(); N], totals: [0; N] });
    let (mut finished, mut checked, mut end) = (at, at, frame.len());
    loop {
        std::mem::swap(&mut this, &mut before);
        let begin = checked;
        let wanted = end.min(begin + N);
        checked = cx.look_until::<FAR>(frame, begin..wanted, |i, packet| {
            let Some(frame) = packet.header::<F::Frame>() else { return false };
            let Some(total) = way.check(packet.meta, frame) else { return false };
            let (i, to) = ((i - begin) % N, F::to(frame));
            prefetch(way.fib, to);
            (this.to[i], this.totals[i]) = (to, total);
            true
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
