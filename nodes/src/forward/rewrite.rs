// SPDX-License-Identifier: Apache-2.0
//! ip4-rewrite, and its like of any other family: one hop less to live, the next hop's link header in front, out of the interface. What a tunnel puts in front
//! is longer, and its interface's transmit node sends the packet on.
//!
//! Packets that cannot go as they are leave to the side: too old or too long ones to become ICMP errors or
//! fragments, those for a neighbour whose address is not known yet to wait. Nothing is changed before it is
//! certain that the packet goes, so an ICMP error quotes the packet as it came.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use weft_engine::buffer::{CHAINED, Packet};
use weft_engine::counters::Counters;
use weft_engine::feature::ArcStart;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::ArcId;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::{Published, SlabReader, SlabView};
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::{Context, NodeId};
use weft_fib::{Adjacency, Ip4, Ip6, Resolution, Rewrite as LinkHeader};

use super::{Forwarded, Undeliverable};
use crate::context::{IpContext, LINK_BROADCAST, LINK_SCOPED, LOCALLY_ORIGINATED};
use crate::interface::InterfaceTable;
use crate::setup::{Added, Setup, built_in};

/// Where packets go that are not transmitted at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The neighbour is to be asked for.
    Hold,
    /// The sender is told.
    IcmpError,
    /// Too long for the link, and to be fragmented here: of IPv6, only what is of our own.
    Fragment,
}

/// The nodes of a family for each [`Step`].
#[derive(Clone, Copy, Debug)]
pub struct Next<F>(Step, PhantomData<F>);

impl<F: Forwarded> Edges for Next<F> {
    const NAMES: &'static [&'static str] = &[F::NODES.hold, F::NODES.icmp_error, F::NODES.frag];

    #[inline(always)]
    fn ordinal(self) -> usize {
        self.0 as usize
    }
}

weft_engine::drops! {
    /// Why a packet with a route is not transmitted.
    pub enum Reason {
        /// the next hop of the route has been deleted
        NoNextHop = "no_next_hop", Error;
        /// the interface of the route is down or deleted
        Down = "interface_down", Error;
        /// came as a link-layer broadcast and may not be forwarded (RFC 1812 section 5.3.4)
        LinkBroadcast = "link_broadcast", Info;
        /// no room in the buffer for the link header
        NoHeadroom = "no_headroom", Error;
    }
}

/// Prints what a packet is transmitted with.
fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    let meta = &record.meta;
    write!(out, "  tx {} next hop {}: ", names.interface(meta.tx_interface), meta.next_hop())?;
    for byte in record.data().iter().take(32) {
        write!(out, "{byte:02x}")?;
    }
    writeln!(out)
}

built_in!(define::<Ip4>, define::<Ip6>);

fn define<F: Forwarded>(setup: &mut Setup<'_>) -> Added {
    let tables = setup.tables.clone();
    Ok(NodeDef::new(IpRewrite::<F>::SPEC, move |w| {
        Box::new(IpRewrite::<F> {
            adjacencies: tables.adjacencies.clone(),
            interfaces: Arc::clone(&tables.interfaces),
            arc: w.arc(F::OUTPUT_ARC),
            next: w.nexts(),
            reasons: w.reasons(),
        })
    }))
}

/// One worker's instance.
pub struct IpRewrite<F: Forwarded> {
    /// Adjacencies by id.
    pub adjacencies: SlabReader<Adjacency>,
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// [`Forwarded::OUTPUT_ARC`], which `interface-output` follows.
    pub arc: ArcId,
    /// Edges.
    pub next: Nexts<Next<F>>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl<F: Forwarded> IpRewrite<F> {
    const SPEC: &'static NodeSpec =
        &NodeSpec::internal(F::NODES.rewrite).next(Next::<F>::NAMES).drops(Reason::ALL).trace(format);
}

impl<F: Forwarded> Node for IpRewrite<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let guard = cx.guard();
        let rewrite = Rewrite::<F> {
            adjacencies: self.adjacencies.read(guard),
            interfaces: self.interfaces.read(guard),
            arc: cx.arcs().arc(self.arc),
            counters: cx.counters,
            next: self.next,
            reasons: self.reasons,
        };
        cx.each(frame, |packet| rewrite.one(packet));
    }
}

struct Rewrite<'a, F: Forwarded> {
    adjacencies: SlabView<'a, Adjacency>,
    interfaces: &'a InterfaceTable,
    arc: ArcStart<'a>,
    counters: &'a Counters,
    next: Nexts<Next<F>>,
    reasons: ReasonBase<Reason>,
}

impl<F: Forwarded> Rewrite<'_, F> {
    #[inline(always)]
    fn to(&self, step: Step) -> NodeId {
        self.next.to(Next(step, PhantomData))
    }

    #[inline(always)]
    fn one(&self, packet: &mut Packet<'_>) -> NodeId {
        let Some(adjacency) = self.adjacencies.get(packet.meta.next_hop()) else {
            return self.reasons.drop(packet, Reason::NoNextHop);
        };
        // All that a packet needs is in its adjacency's line: a look at its interface and at the table of arcs cost 3
        // clocks. Packets in several buffers go aside, for one load less.
        if let Resolution::Complete(link) = &adjacency.resolution
            && packet.meta.flags & (LINK_BROADCAST | LINK_SCOPED | LOCALLY_ORIGINATED | CHAINED) == 0
            && packet.length() <= usize::from(adjacency.egress.mtu)
            && F::hop(packet)
        {
            return self.transmit(packet, adjacency, link);
        }
        self.special(&mut packet.aside(), adjacency)
    }

    /// Link header in front, and out.
    #[inline(always)]
    fn transmit(&self, packet: &mut Packet<'_>, adjacency: &Adjacency, link: &LinkHeader) -> NodeId {
        let complete = match link {
            LinkHeader::Untagged(header) => packet.prepend_header(header),
            _ => self.prepend_other(&mut packet.aside(), adjacency, link),
        };
        if !complete {
            return self.reasons.drop(packet, Reason::NoHeadroom);
        }
        packet.meta.tx_interface = adjacency.interface;
        self.arc.start(adjacency.interface, packet).unwrap_or(adjacency.egress.tx)
    }

    /// A header with tags belongs to a sub-interface, anything else to a tunnel, for which no device counts. Out of line:
    /// in the loop, its copies and counters cost all other packets half a clock.
    #[cold]
    #[inline(never)]
    fn prepend_other(&self, packet: &mut Packet<'_>, adjacency: &Adjacency, link: &LinkHeader) -> bool {
        let complete = link.prepend_to(packet);
        if complete {
            let bytes = packet.meta.total_length() as u64;
            self.counters.interfaces.tx.add(adjacency.interface.index(), 1, bytes);
        }
        complete
    }

    /// Packets that need a second look, one question after the other.
    #[cold]
    #[inline(never)]
    fn special(&self, packet: &mut Packet<'_>, adjacency: &Adjacency) -> NodeId {
        let Some(interface) = self.interfaces.get(adjacency.interface) else {
            return self.reasons.drop(packet, Reason::Down);
        };
        let Resolution::Complete(link) = &adjacency.resolution else {
            packet.meta.tx_interface = adjacency.interface;
            return self.to(Step::Hold);
        };
        let (length, flags) = (packet.meta.total_length(), packet.meta.flags);
        let Some(hops) = F::hops(packet) else {
            return self.reasons.drop(packet, Reason::NoNextHop);
        };
        if !interface.up {
            return self.reasons.drop(packet, Reason::Down);
        }
        let forwarded = flags & LOCALLY_ORIGINATED == 0;
        if forwarded && flags & LINK_BROADCAST != 0 {
            return self.reasons.drop(packet, Reason::LinkBroadcast);
        }
        let why = match forwarded {
            true if flags & LINK_SCOPED != 0 && adjacency.interface != packet.meta.rx_interface => {
                Some(Undeliverable::BeyondScope)
            }
            true if hops <= 1 => Some(Undeliverable::Expired),
            _ => None,
        };
        if let Some(why) = why {
            F::mark(packet, why);
            return self.to(Step::IcmpError);
        }
        if length > usize::from(interface.mtu) {
            return self.to(F::too_long(packet, interface.mtu));
        }
        if forwarded {
            F::hop(packet);
        }
        self.transmit(packet, adjacency, link)
    }
}
