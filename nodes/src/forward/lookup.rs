// SPDX-License-Identifier: Apache-2.0
//! ip4-lookup, and its like of any other family: from the destination to what happens next, by longest prefix match.
//!
//! The accesses that can miss the cache are those to the forwarding table. Where it is one (IPv4), it is started a few packets
//! ahead; where one leads to the next (a large table of IPv6), many packets take each step together. After this node
//! `next_hop` is set to the object of the route (or the interface, for a destination on the link). It knows the kinds of
//! weft-fib; for any other the kind says the node.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::feature::ArcStart;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::{SlabReader, SlabView};
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::{ArcId, Context, InterfaceIndex, NodeId};
use weft_fib::{DropKind, Fib6, Forward, ForwardKind, Ip4, Ip6, LoadBalance, LoadBalanceId, ReaderOf};
use weft_stats::CombinedRow;

use super::{Forwarded, Undeliverable};
use crate::arcs::drop_by;
use crate::context::{GLEAN, IpContext, LOCALLY_ORIGINATED};
use crate::setup::{Added, Setup, built_in};
use crate::tables::FlowLabels;

/// Where packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A next hop.
    Rewrite,
    /// A neighbour that may have to be asked for.
    Hold,
    /// This host.
    Local,
    /// The host's own stack, which sends it on.
    Punt,
    /// Its sender is told.
    IcmpError,
}

/// The nodes of a family for each [`Step`].
#[derive(Clone, Copy, Debug)]
pub struct Next<F>(Step, PhantomData<F>);

impl<F: Forwarded> Edges for Next<F> {
    const NAMES: &'static [&'static str] =
        &[F::NODES.rewrite, F::NODES.hold, F::NODES.local, "punt", F::NODES.icmp_error];

    #[inline(always)]
    fn ordinal(self) -> usize {
        self.0 as usize
    }
}

weft_engine::drops! {
    /// Why a packet is not forwarded.
    pub enum Reason {
        /// the packet's forwarding table has been deleted
        NoTable = "no_table", Error;
        /// route says blackhole
        Blackhole = "blackhole", Info;
        /// made here, and the route leads over an interface of the host's own
        NotForPunt = "originated_for_host", Info;
        /// more than 8 tables refer to each other
        TableLoop = "table_loop", Error;
    }
}

/// Prints what the lookup has found, and the header.
fn format<F: Forwarded>(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    let meta = &record.meta;
    writeln!(out, "  fib {} next hop {} flow hash: 0x{:08x}", meta.table(), meta.next_hop(), meta.hash)?;
    F::format(record, names, out)
}

/// Packets that are looked up at once.
pub const BLOCK: usize = Fib6::AT_ONCE;
/// Most tables that a packet is looked up in.
pub const MAX_TABLES: usize = 8;

built_in!(define::<Ip4>, define::<Ip6>);

fn define<F: Forwarded>(setup: &mut Setup<'_>) -> Added {
    let tables = setup.tables.clone();
    Ok(NodeDef::new(IpLookup::<F>::SPEC, move |w| {
        Box::new(IpLookup::<F> {
            tables: F::fibs(&tables).clone(),
            load_balances: tables.load_balances.clone(),
            routes: tables.routes.row(w.thread()),
            arcs: [w.arc(F::DROP_ARC), w.arc(F::PUNT_ARC)],
            labels: tables.flow_labels.clone(),
            next: w.nexts(),
            reasons: w.reasons(),
        })
    }))
}

/// One worker's instance.
pub struct IpLookup<F: Forwarded> {
    /// Forwarding tables by index.
    pub tables: SlabReader<Arc<ReaderOf<F>>>,
    /// Load-balances by id.
    pub load_balances: SlabReader<LoadBalance>,
    /// `/net/route/to`: packets and bytes by load-balance.
    pub routes: CombinedRow,
    /// [`Forwarded::DROP_ARC`] and [`Forwarded::PUNT_ARC`].
    pub arcs: [ArcId; 2],
    /// Whether a flow label says which path is taken.
    pub labels: FlowLabels,
    /// Edges.
    pub next: Nexts<Next<F>>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl<F: Forwarded> IpLookup<F> {
    const SPEC: &'static NodeSpec =
        &NodeSpec::internal(F::NODES.lookup).next(Next::<F>::NAMES).drops(Reason::ALL).trace(format::<F>);
}

impl<F: Forwarded> Node for IpLookup<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let guard = cx.guard();
        let lookup = Lookup::<F> {
            tables: self.tables.read(guard),
            load_balances: self.load_balances.read(guard),
            routes: &self.routes,
            drops: cx.arcs().arc(self.arcs[0]),
            punts: cx.arcs().arc(self.arcs[1]),
            labels: self.labels.get(),
            next: self.next,
            reasons: self.reasons,
        };
        let Some(&first) = frame.packets().first() else {
            return;
        };
        // Most vectors are of one table, which the first packet names; a packet of another one finds its own. So one number
        // per packet passes between the stages. With `LoadBalance::adjacency`, 3 clocks less than a table for each packet.
        let table = cx.buffers.packet(first).meta.table();
        let Some(fib) = lookup.tables.get(table) else {
            return cx.each(frame, |packet| lookup.alone(&mut packet.aside()));
        };
        let fib: &ReaderOf<F> = fib;
        // In place of a destination: look again. (The address of zeros is none, RFC 6890 and RFC 4291 section 2.5.2; but if it
        // were, it would be found all the same.)
        let alone = F::Key::default();
        let ahead = |packet: &Packet<'_>| match F::destination(packet) {
            Some(destination) if packet.meta.table() == table => {
                F::prefetch(fib, destination);
                destination
            }
            _ => lookup.prefetch_alone(packet),
        };
        let one = |packet: &mut Packet<'_>, destination, id| match destination == alone {
            true => lookup.alone(&mut packet.aside()),
            false => lookup.one(packet, id, destination),
        };
        if F::finds_many(fib) {
            let found = [LoadBalanceId::NO_ROUTE; BLOCK];
            cx.blocks(frame, found, ahead, |wanted, found| F::find_all(fib, wanted, found), one);
        } else {
            cx.pipeline(frame, ahead, |packet, destination| {
                one(packet, destination, F::find(fib, destination))
            });
        }
    }
}

struct Lookup<'a, F: Forwarded> {
    tables: SlabView<'a, Arc<ReaderOf<F>>>,
    load_balances: SlabView<'a, LoadBalance>,
    routes: &'a CombinedRow,
    drops: ArcStart<'a>,
    punts: ArcStart<'a>,
    labels: bool,
    next: Nexts<Next<F>>,
    reasons: ReasonBase<Reason>,
}

impl<F: Forwarded> Lookup<'_, F> {
    #[inline(always)]
    fn to(&self, step: Step) -> NodeId {
        self.next.to(Next(step, PhantomData))
    }

    #[inline(always)]
    fn one(&self, packet: &mut Packet<'_>, id: LoadBalanceId, destination: F::Key) -> NodeId {
        let Some(load_balance) = self.load_balances.get(id.0) else {
            return self.drop(&mut packet.aside(), Reason::NoTable);
        };
        self.routes.add(id.0 as usize, 1, packet.meta.total_length() as u64);
        if let Some(adjacency) = load_balance.adjacency() {
            packet.meta.set_next_hop(adjacency.0);
            return self.to(Step::Rewrite);
        }
        self.other(&mut packet.aside(), load_balance, destination)
    }

    /// Ahead of [`Lookup::alone`], as for the others.
    #[cold]
    #[inline(never)]
    fn prefetch_alone(&self, packet: &Packet<'_>) -> F::Key {
        if let (Some(fib), Some(destination)) = (self.tables.get(packet.meta.table()), F::destination(packet))
        {
            F::prefetch(fib, destination);
        }
        F::Key::default()
    }

    /// A packet of another table than the others of its vector.
    #[inline(never)]
    fn alone(&self, packet: &mut Packet<'_>) -> NodeId {
        match (self.tables.get(packet.meta.table()), F::destination(packet)) {
            (Some(fib), Some(destination)) => self.one(packet, F::find(fib, destination), destination),
            _ => self.drop(packet, Reason::NoTable),
        }
    }

    #[inline(never)]
    fn flow_hash(&self, packet: &mut Packet<'_>) -> u32 {
        if packet.meta.hash == 0 {
            packet.meta.hash = F::flow_hash(packet, self.labels);
        }
        packet.meta.hash
    }

    /// All that is not one adjacency.
    #[inline(never)]
    fn other(&self, packet: &mut Packet<'_>, load_balance: &LoadBalance, destination: F::Key) -> NodeId {
        let mut forward = load_balance.pick_with(|| self.flow_hash(packet));
        for _ in 0..MAX_TABLES {
            let Some(table) = forward.as_lookup() else {
                return self.hand_on(packet, forward);
            };
            packet.meta.set_table(table.0);
            let Some(fib) = self.tables.get(table.0) else {
                return self.drop(packet, Reason::NoTable);
            };
            let id = F::find(fib, destination);
            let Some(load_balance) = self.load_balances.get(id.0) else {
                return self.drop(packet, Reason::NoTable);
            };
            self.routes.add(id.0 as usize, 1, packet.meta.total_length() as u64);
            forward = load_balance.pick_with(|| self.flow_hash(packet));
        }
        self.drop(packet, Reason::TableLoop)
    }

    #[cold]
    fn drop(&self, packet: &mut Packet<'_>, reason: Reason) -> NodeId {
        self.reasons.drop(packet, reason);
        drop_by(self.drops, packet)
    }

    /// By kind: see [`weft_fib::ForwardKind`].
    fn hand_on(&self, packet: &mut Packet<'_>, forward: Forward) -> NodeId {
        let object = forward.object();
        match forward.kind() {
            ForwardKind::ADJACENCY => {
                packet.meta.set_next_hop(object);
                self.to(Step::Rewrite)
            }
            ForwardKind::GLEAN => {
                packet.meta.tx_interface = InterfaceIndex(object);
                packet.meta.set_next_hop(GLEAN);
                self.to(Step::Hold)
            }
            ForwardKind::LOCAL => self.to(F::local(packet)),
            // The host gets what a port has received, with its link header; this has none.
            ForwardKind::PUNT if packet.meta.flags & LOCALLY_ORIGINATED != 0 => {
                self.drop(packet, Reason::NotForPunt)
            }
            ForwardKind::PUNT => {
                let punt = self.to(Step::Punt);
                self.punts.start(packet.meta.rx_interface, packet).unwrap_or(punt)
            }
            kind => match (kind.node(), kind.dropped()) {
                (Some(node), _) => {
                    packet.meta.set_next_hop(object);
                    node
                }
                (None, Some(DropKind::Blackhole)) => self.drop(packet, Reason::Blackhole),
                (None, dropped) => {
                    let why = match dropped {
                        Some(DropKind::Prohibit) => Undeliverable::Prohibited,
                        Some(DropKind::Unreachable) => Undeliverable::Unreachable,
                        Some(DropKind::NoRoute | DropKind::Blackhole) | None => Undeliverable::NoRoute,
                    };
                    F::mark(packet, why);
                    self.to(Step::IcmpError)
                }
            },
        }
    }
}
