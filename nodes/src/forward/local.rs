// SPDX-License-Identifier: Apache-2.0
//! ip4-local and ip4-local-end-of-arc, ip6-local and ip6-local-end-of-arc: packets for this host.
//!
//! The first is the start of the arc of the same name, the second is where its features lead. Fragments make a detour before
//! the arc, and come back as a whole datagram ([`crate::reassembly`]). The second hands packets to the
//! nodes that handle their protocol or UDP port. A ping is answered in place, so a router answers at the rate at which it
//! forwards and without its host. Everything else is the host's business. Where there is no host, the sender is told that
//! nobody listens, as a host would tell it (RFC 1122 section 3.2.2.1, RFC 4443 section 3); but nothing is ever said about what is
//! for many.

use std::marker::PhantomData;
use std::sync::Arc;

use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::counters::Counters;
use weft_engine::feature::ArcStart;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::ArcId;
use weft_engine::node::{Drops, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::registry::{Handlers, RegistryId, RegistrySpec};
use weft_engine::{BufferIndex, Context, NodeId};
use weft_fib::{Ip4, Ip6};
use zerocopy::FromBytes;

use super::Forwarded;
use super::icmp_error::IcmpError;
use crate::arcs::drop_by;
use crate::context::{IpContext, LINK_BROADCAST, LOCALLY_ORIGINATED};
use crate::headers::{IpProtocol, UdpHeader, checksum};
use crate::interface::{Entry, InterfaceTable};
use crate::registries::PUNT_REASONS;
use crate::setup::{Added, Setup, built_in};
use crate::tables::HeaderLimit;

weft_engine::events! {
    /// What was answered.
    pub enum Event {
        /// ping answered
        EchoReply = "echo_replies", Info;
    }
}

/// Reasons of a family's that its packets for this host end for.
pub(crate) struct LocalReasons<R: 'static> {
    /// Not addressed to many, but sent in a link-layer broadcast or multicast.
    pub(crate) link_broadcast: R,
    /// The interface does not exist (any more), or the packet was made here.
    pub(crate) no_interface: R,
    /// Where there is no host: to many,
    pub(crate) no_host_many: R,
    /// of ICMP,
    pub(crate) no_host_icmp: R,
    /// of TCP,
    pub(crate) no_host_tcp: R,
    /// of UDP,
    pub(crate) no_host_udp: R,
    /// of any other protocol.
    pub(crate) no_host_protocol: R,
}

/// What a packet for this host carries.
pub(crate) struct Arrived {
    pub(crate) protocol: IpProtocol,
    /// Whether it is for all stations of a link or for a group.
    pub(crate) is_to_many: bool,
    /// Bytes before what it carries, if who handles that need not know more.
    pub(crate) handled_behind: Option<usize>,
    /// Where the byte stands that names the protocol.
    pub(crate) named_at: u16,
}

/// Where a packet goes that is not looked at any further, and why.
pub(crate) enum Elsewhere<F: Delivered> {
    Drop(F::Unserved),
    Punt(F::Unserved),
    Tell(IcmpError<F>),
    /// It is for the node that speaks with neighbours ([`Delivered::DISCOVERY`]).
    Discovery,
}

/// How a family's packets for this host are delivered.
pub(crate) trait Delivered: Forwarded {
    /// Why they end here.
    type Unserved: Drops + Send;

    /// Those that all families have.
    const REASONS: LocalReasons<Self::Unserved>;
    /// Those for which packets go to the host if there is one.
    const PUNTS: &'static [&'static str];
    /// Who handles which protocol, and which UDP port.
    const HANDLERS: [&'static RegistrySpec<'static>; 2];
    /// The node that speaks with neighbours, if that is spoken in packets of the family.
    const DISCOVERY: Option<&'static str>;
    /// The protocol of ICMP.
    const ICMP: IpProtocol;
    /// Nobody listens on the UDP port.
    const PORT_UNREACHABLE: IcmpError<Self>;

    /// Whether it is a part of a datagram.
    fn is_fragment(packet: &Packet<'_>, extension_headers: usize) -> bool;
    /// What a packet carries, or what is to be done with it before that matters.
    fn look(
        packet: &Packet<'_>,
        interface: &Entry,
        interfaces: &InterfaceTable,
        extension_headers: usize,
    ) -> Result<Arrived, Elsewhere<Self>>;
    /// Nobody speaks the protocol.
    fn unknown_protocol(arrived: &Arrived) -> IcmpError<Self>;
    /// Whether it is an echo request that can be answered in place.
    fn is_ping(packet: &Packet<'_>) -> bool;
    /// Makes an echo request its reply: same data, same header but for addresses and hops.
    fn answer(buffers: &mut BufferCache, packet: BufferIndex) -> Result<(), Elsewhere<Self>>;
}

built_in!(define::<Ip4>, define::<Ip6>);
built_in!(define_end::<Ip4>, define_end::<Ip6>);

fn define<F: Delivered>(setup: &mut Setup<'_>) -> Added {
    let extension_headers = setup.tables.extension_headers.clone();
    Ok(NodeDef::new(IpLocal::<F>::SPEC, move |w| {
        let [end, reassembly] = w.first_edges();
        let (arc, extension_headers, family) =
            (w.arc(F::LOCAL_ARC), extension_headers.clone(), PhantomData::<F>);
        Box::new(IpLocal { arc, extension_headers, end, reassembly, family })
    }))
}

fn define_end<F: Delivered>(setup: &mut Setup<'_>) -> Added {
    let (interfaces, extension_headers) = (setup.interfaces(), setup.tables.extension_headers.clone());
    Ok(NodeDef::new(IpLocalEnd::<F>::SPEC, move |w| {
        let [protocols, ports] = F::HANDLERS;
        let [lookup, punt, icmp_error, discovery] = w.first_edges();
        Box::new(IpLocalEnd::<F> {
            interfaces: Arc::clone(&interfaces),
            extension_headers: extension_headers.clone(),
            registries: [protocols, ports, &PUNT_REASONS].map(|it| w.registry(it)),
            arcs: [w.arc(F::DROP_ARC), w.arc(F::PUNT_ARC)],
            next: Next { lookup, punt, icmp_error, discovery },
            reasons: w.reasons(),
            events: w.events(),
        })
    }))
}

/// One worker's instance of the first.
struct IpLocal<F> {
    arc: ArcId,
    /// Most extension headers behind which a fragment header is looked for.
    extension_headers: HeaderLimit,
    end: NodeId,
    reassembly: NodeId,
    family: PhantomData<F>,
}

impl<F: Delivered> IpLocal<F> {
    const SPEC: &'static NodeSpec =
        &NodeSpec::internal(F::NODES.local).next(&[F::NODES.local_end, F::NODES.reassembly]).trace(F::format);
}

impl<F: Delivered> Node for IpLocal<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arcs, arc, end) = (cx.arcs(), self.arc, self.end);
        let (reassembly, headers) = (self.reassembly, self.extension_headers.get());
        cx.each(frame, |packet| {
            if F::is_fragment(packet, headers) {
                return reassembly;
            }
            arcs.start(arc, packet.meta.rx_interface, packet).unwrap_or(end)
        });
    }
}

/// Where packets go that do not end here.
#[derive(Clone, Copy)]
struct Next {
    lookup: NodeId,
    punt: NodeId,
    icmp_error: NodeId,
    discovery: NodeId,
}

/// One worker's instance of the second.
struct IpLocalEnd<F: Delivered> {
    interfaces: Arc<Published<InterfaceTable>>,
    /// Most extension headers that are skipped.
    extension_headers: HeaderLimit,
    /// Who handles which protocol, which UDP port, and what would be punted.
    registries: [RegistryId; 3],
    /// [`Forwarded::DROP_ARC`] and [`Forwarded::PUNT_ARC`].
    arcs: [ArcId; 2],
    next: Next,
    reasons: ReasonBase<F::Unserved>,
    events: ReasonBase<Event>,
}

impl<F: Delivered> IpLocalEnd<F> {
    const NEXT: &'static [&'static str] = match F::DISCOVERY {
        Some(discovery) => &[F::NODES.lookup, "punt", F::NODES.icmp_error, discovery],
        None => &[F::NODES.lookup, "punt", F::NODES.icmp_error],
    };
    const SPEC: &'static NodeSpec = &NodeSpec::internal(F::NODES.local_end)
        .next(Self::NEXT)
        .drops(F::Unserved::ALL)
        .events(Event::ALL)
        .punts(F::PUNTS)
        .trace(F::format);
}

impl<F: Delivered> Node for IpLocalEnd<F> {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let ([protocols, ports, punted], [drops, punts]) = (self.registries, self.arcs);
        let end = End::<F> {
            interfaces: self.interfaces.read(cx.guard()),
            extension_headers: self.extension_headers.get(),
            protocols: cx.handlers(protocols),
            ports: cx.handlers(ports),
            punted: cx.handlers(punted),
            drops: cx.arcs().arc(drops),
            punts: cx.arcs().arc(punts),
            counters: cx.counters,
            next: self.next,
            reasons: self.reasons,
            events: self.events,
        };
        cx.each_or_keep(frame, |buffers, index| Some(end.one(buffers, index)));
    }
}

struct End<'a, F: Delivered> {
    interfaces: &'a InterfaceTable,
    extension_headers: usize,
    protocols: Handlers<'a>,
    ports: Handlers<'a>,
    punted: Handlers<'a>,
    drops: ArcStart<'a>,
    punts: ArcStart<'a>,
    counters: &'a Counters,
    next: Next,
    reasons: ReasonBase<F::Unserved>,
    events: ReasonBase<Event>,
}

impl<F: Delivered> End<'_, F> {
    fn one(&self, buffers: &mut BufferCache, index: BufferIndex) -> NodeId {
        let mut packet = buffers.packet(index);
        let Some(interface) = self.interfaces.get(packet.meta.rx_interface) else {
            return self.drop(&mut packet, F::REASONS.no_interface);
        };
        let arrived = match F::look(&packet, interface, self.interfaces, self.extension_headers) {
            Ok(arrived) => arrived,
            Err(elsewhere) => return self.send(&mut packet, elsewhere),
        };
        if let Some(node) = self.handler(&packet, &arrived) {
            return node;
        }
        if arrived.is_to_many {
            return self.punt(&mut packet, F::REASONS.no_host_many);
        }
        if F::is_ping(&packet) {
            return self.answer(buffers, index, interface);
        }
        let (why, error) = match arrived.protocol {
            IpProtocol::TCP => return self.punt(&mut packet, F::REASONS.no_host_tcp),
            IpProtocol::UDP => (F::REASONS.no_host_udp, F::PORT_UNREACHABLE),
            icmp if icmp == F::ICMP => return self.punt(&mut packet, F::REASONS.no_host_icmp),
            _ => (F::REASONS.no_host_protocol, F::unknown_protocol(&arrived)),
        };
        if interface.host != NodeId::DROP || self.punted.get(self.reasons.id(why).0).is_some() {
            return self.punt(&mut packet, why);
        }
        self.send(&mut packet, Elsewhere::Tell(error))
    }

    /// The node that handles a packet's protocol or, if none does, its UDP port.
    fn handler(&self, packet: &Packet<'_>, arrived: &Arrived) -> Option<NodeId> {
        let behind = arrived.handled_behind?;
        if let Some(node) = self.protocols.get(arrived.protocol.0.into()) {
            return Some(node);
        }
        if self.ports.is_empty() || arrived.protocol != IpProtocol::UDP {
            return None;
        }
        let (udp, _) = UdpHeader::ref_from_prefix(packet.data().get(behind..)?).ok()?;
        let there = packet.meta.total_length() - behind;
        (UdpHeader::LENGTH..=there).contains(&udp.length.get().into()).then_some(())?;
        self.ports.get(udp.destination_port.get())
    }

    fn send(&self, packet: &mut Packet<'_>, elsewhere: Elsewhere<F>) -> NodeId {
        match elsewhere {
            Elsewhere::Drop(reason) => self.drop(packet, reason),
            Elsewhere::Punt(reason) => self.punt(packet, reason),
            Elsewhere::Discovery => self.next.discovery,
            Elsewhere::Tell(error) => {
                error.mark(packet);
                self.next.icmp_error
            }
        }
    }

    #[cold]
    fn drop(&self, packet: &mut Packet<'_>, reason: F::Unserved) -> NodeId {
        self.reasons.drop(packet, reason);
        drop_by(self.drops, packet)
    }

    /// To the host, or to whoever wants it; nowhere for this reason if there is none.
    fn punt(&self, packet: &mut Packet<'_>, why: F::Unserved) -> NodeId {
        packet.meta.reason = self.reasons.id(why);
        self.punts.start(packet.meta.rx_interface, packet).unwrap_or(self.next.punt)
    }

    fn answer(&self, buffers: &mut BufferCache, index: BufferIndex, interface: &Entry) -> NodeId {
        let answered = F::answer(buffers, index);
        let mut packet = buffers.packet(index);
        if let Err(elsewhere) = answered {
            return self.send(&mut packet, elsewhere);
        }
        packet.meta.flags |= LOCALLY_ORIGINATED;
        packet.meta.hash = 0;
        // Where the address of the other says something, if it is of a link only.
        packet.meta.tx_interface = packet.meta.rx_interface;
        packet.meta.set_table(F::of_entry(interface).table.0);
        self.events.count(self.counters, Event::EchoReply, 1);
        self.next.lookup
    }
}

/// Drops a packet to one host that came in a frame to many.
pub(crate) fn check_link<F: Delivered>(packet: &Packet<'_>, is_to_many: bool) -> Result<(), Elsewhere<F>> {
    match !is_to_many && packet.meta.flags & LINK_BROADCAST != 0 {
        true => Err(Elsewhere::Drop(F::REASONS.link_broadcast)),
        false => Ok(()),
    }
}

/// An ICMP message of another type, whose checksum stays right.
pub(crate) fn retype(icmp: &mut [u8; 8], new: u8) {
    let (old, sum) = (std::mem::replace(&mut icmp[0], new), u16::from_be_bytes([icmp[2], icmp[3]]));
    let word = |icmp_type: u8| u16::from(icmp_type) << 8;
    [icmp[2], icmp[3]] = checksum::update(sum, word(old), word(new)).to_be_bytes();
}
