// SPDX-License-Identifier: Apache-2.0
//! ip4-lookup: from the destination to what happens next, by longest prefix match.
//!
//! The only access that can miss the cache is the forwarding table's line, so it is started a few packets
//! ahead. After this node `next_hop` is set to the object of the route (or the interface, for a destination on the link).
//! It knows the kinds of weft-fib; for any other the kind says the node.

use std::fmt;
use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::feature::ArcStart;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::{SlabReader, SlabView};
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::{ArcId, Context, InterfaceIndex, NodeId};
use weft_stats::CombinedRow;

use super::flow_hash::flow_hash;
use super::icmp_error::IcmpError;
use super::{DropKind, Fib, Forward, ForwardKind, LoadBalance};
use crate::arcs::{IP4_DROP_ARC, IP4_PUNT_ARC, drop_by};
use crate::context::{GLEAN, IpContext, LOCALLY_ORIGINATED};
use crate::headers::Ipv4Header;
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where packets go.
    pub enum Next {
        Rewrite => "ip4-rewrite",
        Arp => "ip4-arp",
        Local => "ip4-local",
        Punt => "punt",
        IcmpError => "ip4-icmp-error",
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

/// Descriptor of ip4-lookup.
pub static IP4_LOOKUP: NodeSpec =
    NodeSpec::internal("ip4-lookup").next(Next::NAMES).drops(Reason::ALL).trace(format);

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    let meta = &record.meta;
    writeln!(out, "  fib {} next hop {} flow hash: 0x{:08x}", meta.table(), meta.next_hop(), meta.hash)?;
    super::input::format_header(record, names, out)
}

/// Most tables that a packet is looked up in.
pub(crate) const MAX_TABLES: usize = 8;

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let tables = setup.tables.clone();
    Ok(NodeDef::new(&IP4_LOOKUP, move |w| {
        Box::new(Ip4Lookup {
            tables: tables.fibs.clone(),
            load_balances: tables.load_balances.clone(),
            routes: tables.routes.row(w.thread()),
            arcs: [w.arc(&IP4_DROP_ARC), w.arc(&IP4_PUNT_ARC)],
            next: w.nexts(),
            reasons: w.reasons(),
        })
    }))
}

/// One worker's instance.
pub struct Ip4Lookup {
    /// Forwarding tables by index.
    pub tables: SlabReader<Arc<Fib>>,
    /// Load-balances by id.
    pub load_balances: SlabReader<LoadBalance>,
    /// `/net/route/to`: packets and bytes by load-balance.
    pub routes: CombinedRow,
    /// The `ip4-drop` and `ip4-punt` arcs.
    pub arcs: [ArcId; 2],
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl Node for Ip4Lookup {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let guard = cx.guard();
        let lookup = Lookup {
            tables: self.tables.read(guard),
            load_balances: self.load_balances.read(guard),
            routes: &self.routes,
            drops: cx.arcs().arc(self.arcs[0]),
            punts: cx.arcs().arc(self.arcs[1]),
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
        let fib: &Fib = fib;
        cx.pipeline(
            frame,
            |packet| match packet.header::<Ipv4Header>() {
                Some(ip) if packet.meta.table() == table => {
                    let destination = ip.destination.get();
                    fib.prefetch(destination);
                    destination
                }
                _ => lookup.prefetch_alone(packet),
            },
            |packet, destination| match destination {
                ALONE => lookup.alone(&mut packet.aside()),
                _ => lookup.one(packet, fib, destination),
            },
        );
    }
}

/// In place of a destination: look again. (0.0.0.0 is none, RFC 6890; but if it were, it would be found all the same.)
const ALONE: u32 = 0;

struct Lookup<'a> {
    tables: SlabView<'a, Arc<Fib>>,
    load_balances: SlabView<'a, LoadBalance>,
    routes: &'a CombinedRow,
    drops: ArcStart<'a>,
    punts: ArcStart<'a>,
    next: Nexts<Next>,
    reasons: ReasonBase<Reason>,
}

impl Lookup<'_> {
    #[inline(always)]
    fn one(&self, packet: &mut Packet<'_>, fib: &Fib, destination: u32) -> NodeId {
        let id = fib.lookup(destination);
        let Some(load_balance) = self.load_balances.get(id.0) else {
            return self.drop(&mut packet.aside(), Reason::NoTable);
        };
        self.routes.add(id.0 as usize, 1, packet.meta.total_length() as u64);
        if let Some(adjacency) = load_balance.adjacency() {
            packet.meta.set_next_hop(adjacency.0);
            return self.next.to(Next::Rewrite);
        }
        self.other(&mut packet.aside(), load_balance, destination)
    }

    /// Ahead of [`Lookup::alone`], as for the others.
    #[cold]
    #[inline(never)]
    fn prefetch_alone(&self, packet: &Packet<'_>) -> u32 {
        if let (Some(fib), Some(ip)) = (self.tables.get(packet.meta.table()), packet.header::<Ipv4Header>()) {
            fib.prefetch(ip.destination.get());
        }
        ALONE
    }

    /// A packet of another table than the others of its vector.
    #[inline(never)]
    fn alone(&self, packet: &mut Packet<'_>) -> NodeId {
        match (self.tables.get(packet.meta.table()), packet.header::<Ipv4Header>()) {
            (Some(fib), Some(ip)) => {
                let destination = ip.destination.get();
                self.one(packet, fib, destination)
            }
            _ => self.drop(packet, Reason::NoTable),
        }
    }

    #[inline(never)]
    fn flow_hash(&self, packet: &mut Packet<'_>) -> u32 {
        if packet.meta.hash == 0 {
            packet.meta.hash = flow_hash(packet);
        }
        packet.meta.hash
    }

    /// All that is not one adjacency.
    #[inline(never)]
    fn other(&self, packet: &mut Packet<'_>, load_balance: &LoadBalance, destination: u32) -> NodeId {
        let mut forward = load_balance.pick_with(|| self.flow_hash(packet));
        for _ in 0..MAX_TABLES {
            let Some(table) = forward.as_lookup() else {
                return self.hand_on(packet, forward);
            };
            packet.meta.set_table(table.0);
            let Some(fib) = self.tables.get(table.0) else {
                return self.drop(packet, Reason::NoTable);
            };
            let id = fib.lookup(destination);
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
                self.next.to(Next::Rewrite)
            }
            ForwardKind::GLEAN => {
                packet.meta.tx_interface = InterfaceIndex(object);
                packet.meta.set_next_hop(GLEAN);
                self.next.to(Next::Arp)
            }
            ForwardKind::LOCAL => self.next.to(Next::Local),
            // The host gets what a port has received, with its link header; this has none.
            ForwardKind::PUNT if packet.meta.flags & LOCALLY_ORIGINATED != 0 => {
                self.drop(packet, Reason::NotForPunt)
            }
            ForwardKind::PUNT => {
                let punt = self.next.to(Next::Punt);
                self.punts.start(packet.meta.rx_interface, packet).unwrap_or(punt)
            }
            kind => match (kind.node(), kind.dropped()) {
                (Some(node), _) => {
                    packet.meta.set_next_hop(object);
                    node
                }
                (None, Some(DropKind::Blackhole)) => self.drop(packet, Reason::Blackhole),
                (None, dropped) => {
                    let error = match dropped {
                        Some(DropKind::Prohibit) => IcmpError::ADMIN_PROHIBITED,
                        Some(DropKind::Unreachable) => IcmpError::HOST_UNREACHABLE,
                        Some(DropKind::NoRoute | DropKind::Blackhole) | None => IcmpError::NET_UNREACHABLE,
                    };
                    error.mark(packet);
                    self.next.to(Next::IcmpError)
                }
            },
        }
    }
}
