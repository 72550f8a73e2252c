// SPDX-License-Identifier: Apache-2.0
//! ip4-local and ip4-local-end-of-arc: packets for this host.
//!
//! The first is the start of the arc of the same name, the second is where its features lead. Fragments make a detour before
//! the arc, and come back as a whole datagram (ip4-reassembly). The second hands packets to the
//! nodes that handle their protocol or UDP port. A ping is answered in place, so a router answers at the rate at which it
//! forwards and without its host. Everything else is the host's business. Where there is no host, the sender is told that
//! nobody listens, as a host would tell it (RFC 1122 section 3.2.2.1); but nothing is ever said about a broadcast.

use std::sync::Arc;
use std::time::SystemTime;

use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::counters::Counters;
use weft_engine::feature::ArcStart;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::ArcId;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::registry::{Handlers, RegistryId};
use weft_engine::{BufferIndex, Context, NodeId};
use zerocopy::FromBytes;

use super::TableIndex;
use super::icmp_error::IcmpError;
use super::input::format_header;
use super::options;
use crate::arcs::{IP4_DROP_ARC, IP4_LOCAL_ARC, IP4_PUNT_ARC, drop_by};
use crate::context::{IpContext, LINK_BROADCAST, LOCALLY_ORIGINATED};
use crate::headers::checksum::Sum;
use crate::headers::{Icmp4Header, Icmp4Type, IpProtocol, Ipv4Header, UdpHeader, checksum};
use crate::interface::{Entry, InterfaceTable};
use crate::registries::{IP4_PROTOCOLS, PUNT_REASONS, UDP4_PORTS};
use crate::segments;
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where packets go that no feature takes.
    pub enum Next { End => "ip4-local-end-of-arc", Reassembly => "ip4-reassembly" }
}

/// Descriptor of ip4-local.
pub static IP4_LOCAL: NodeSpec = NodeSpec::internal("ip4-local").next(Next::NAMES).trace(format_header);

built_in!(add);

fn add(_: &mut Setup<'_>) -> Added {
    Ok(NodeDef::new(&IP4_LOCAL, |w| Box::new(Ip4Local { arc: w.arc(&IP4_LOCAL_ARC), next: w.nexts() })))
}

built_in!(add_end);

fn add_end(setup: &mut Setup<'_>) -> Added {
    let interfaces = setup.interfaces();
    Ok(NodeDef::new(&IP4_LOCAL_END, move |w| {
        Box::new(Ip4LocalEnd {
            interfaces: Arc::clone(&interfaces),
            registries: [&IP4_PROTOCOLS, &UDP4_PORTS, &PUNT_REASONS].map(|it| w.registry(it)),
            arcs: [w.arc(&IP4_DROP_ARC), w.arc(&IP4_PUNT_ARC)],
            next: w.nexts(),
            reasons: w.reasons(),
            events: w.events(),
        })
    }))
}

/// One worker's instance of ip4-local.
pub struct Ip4Local {
    /// The `ip4-local` arc.
    pub arc: ArcId,
    /// Edges.
    pub next: Nexts<Next>,
}

impl Node for Ip4Local {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arcs, arc, end) = (cx.arcs(), self.arc, self.next.to(Next::End));
        let reassembly = self.next.to(Next::Reassembly);
        cx.each(frame, |packet| {
            if packet.header::<Ipv4Header>().is_some_and(Ipv4Header::is_fragment) {
                return reassembly;
            }
            arcs.start(arc, packet.meta.rx_interface, packet).unwrap_or(end)
        });
    }
}

weft_engine::edges! {
    /// Where packets go that do not end here.
    pub enum EndNext { Lookup => "ip4-lookup", Punt => "punt", IcmpError => "ip4-icmp-error" }
}

weft_engine::drops! {
    /// Why packets for this host end here.
    pub enum Reason {
        /// ICMP message shorter than its header
        Truncated = "icmp_too_short", Error;
        /// ICMP message with a wrong checksum
        Checksum = "bad_icmp_checksum", Error;
        /// not addressed to all, but sent in a link-layer broadcast (RFC 1122 section 3.3.6)
        LinkBroadcast = "link_broadcast", Info;
        /// interface does not exist (any more), or the packet was made here
        NoInterface = "no_interface", Error;
        /// broadcast or multicast, and there is no host interface to punt to
        NoHostBroadcast = "broadcast_no_host", Info;
        /// ICMP other than a ping, and there is no host interface to punt to
        NoHostIcmp = "icmp_no_host", Info;
        /// TCP, and there is no host interface to punt to
        NoHostTcp = "tcp_no_host", Info;
        /// UDP to a port that nobody handles, and there is no host interface to punt to
        NoHostUdp = "udp_no_host", Info;
        /// of a protocol that nobody handles, and there is no host interface to punt to
        NoHostProtocol = "protocol_no_host", Info;
    }
}

weft_engine::events! {
    /// What was answered.
    pub enum Event {
        /// ping answered
        EchoReply = "echo_replies", Info;
    }
}

/// Descriptor of ip4-local-end-of-arc.
pub static IP4_LOCAL_END: NodeSpec = NodeSpec::internal("ip4-local-end-of-arc")
    .next(EndNext::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .punts(&["broadcast_no_host", "icmp_no_host", "tcp_no_host", "udp_no_host", "protocol_no_host"])
    .trace(format_header);

/// RFC 1700 "IP TIME TO LIVE PARAMETER".
const TTL: u8 = 64;

/// One worker's instance of ip4-local-end-of-arc.
pub struct Ip4LocalEnd {
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// Who handles which protocol, which UDP port, and what would be punted.
    pub registries: [RegistryId; 3],
    /// The `ip4-drop` and `ip4-punt` arcs.
    pub arcs: [ArcId; 2],
    /// Edges.
    pub next: Nexts<EndNext>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
    /// Events.
    pub events: ReasonBase<Event>,
}

impl Node for Ip4LocalEnd {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let ([protocols, ports, punted], [drops, punts]) = (self.registries, self.arcs);
        let end = End {
            interfaces: self.interfaces.read(cx.guard()),
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

struct End<'a> {
    interfaces: &'a InterfaceTable,
    protocols: Handlers<'a>,
    ports: Handlers<'a>,
    punted: Handlers<'a>,
    drops: ArcStart<'a>,
    punts: ArcStart<'a>,
    counters: &'a Counters,
    next: Nexts<EndNext>,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
}

impl End<'_> {
    fn one(&self, buffers: &mut BufferCache, index: BufferIndex) -> NodeId {
        let mut packet = buffers.packet(index);
        let (Some(interface), Some(ip)) =
            (self.interfaces.get(packet.meta.rx_interface), packet.header::<Ipv4Header>())
        else {
            return self.drop(&mut packet, Reason::NoInterface);
        };
        let table = TableIndex(packet.meta.table());
        let protocol = ip.protocol;
        let is_unicast = self.interfaces.is_unicast4(table, ip.destination());
        if is_unicast && packet.meta.flags & LINK_BROADCAST != 0 {
            return self.drop(&mut packet, Reason::LinkBroadcast);
        }
        if let Some(node) = self.handler(&packet, protocol) {
            return node;
        }
        if !is_unicast {
            return self.punt(&mut packet, Reason::NoHostBroadcast);
        }
        if is_ping(&packet) {
            return self.answer(buffers, index, interface);
        }
        let (why, error) = match protocol {
            IpProtocol::ICMP => return self.punt(&mut packet, Reason::NoHostIcmp),
            IpProtocol::TCP => return self.punt(&mut packet, Reason::NoHostTcp),
            IpProtocol::UDP => (Reason::NoHostUdp, IcmpError::PORT_UNREACHABLE),
            _ => (Reason::NoHostProtocol, IcmpError::PROTOCOL_UNREACHABLE),
        };
        if interface.host != NodeId::DROP || self.punted.get(self.reasons.id(why).0).is_some() {
            return self.punt(&mut packet, why);
        }
        error.mark(&mut packet);
        self.next.to(EndNext::IcmpError)
    }

    /// The node that handles a packet's protocol or, if none does, its UDP port.
    fn handler(&self, packet: &Packet<'_>, protocol: IpProtocol) -> Option<NodeId> {
        if let Some(node) = self.protocols.get(protocol.0.into()) {
            return Some(node);
        }
        if self.ports.is_empty() || protocol != IpProtocol::UDP {
            return None;
        }
        let (ip, _) = packet.split::<Ipv4Header>()?;
        let (udp, _) = UdpHeader::ref_from_prefix(packet.data().get(ip.header_length()..)?).ok()?;
        let length = usize::from(udp.length.get());
        let there = packet.meta.total_length() - ip.header_length();
        (UdpHeader::LENGTH..=there).contains(&length).then_some(())?;
        self.ports.get(udp.destination_port.get())
    }

    #[cold]
    fn drop(&self, packet: &mut Packet<'_>, reason: Reason) -> NodeId {
        self.reasons.drop(packet, reason);
        drop_by(self.drops, packet)
    }

    /// To the host, or to whoever wants it; nowhere for this reason if there is none.
    fn punt(&self, packet: &mut Packet<'_>, why: Reason) -> NodeId {
        packet.meta.reason = self.reasons.id(why);
        let punt = self.next.to(EndNext::Punt);
        self.punts.start(packet.meta.rx_interface, packet).unwrap_or(punt)
    }

    /// Makes the echo request a reply (RFC 792): same data, same header but for addresses and TTL, and options.
    fn answer(&self, buffers: &mut BufferCache, index: BufferIndex, interface: &Entry) -> NodeId {
        let header = buffers.packet(index).header::<Ipv4Header>().map_or(0, Ipv4Header::header_length);
        let intact = segments::sum(buffers, index, header, Sum::default()).is_valid();
        let mut packet = buffers.packet(index);
        if !intact {
            return self.drop(&mut packet, Reason::Checksum);
        }
        let headers = packet.split_mut::<Ipv4Header>();
        let behind = headers
            .and_then(|(ip, rest)| Some((ip, rest.split_at_mut_checked(header - Ipv4Header::LENGTH)?)));
        let Some((ip, (options, Some(icmp)))) =
            behind.map(|(ip, (options, rest))| (ip, (options, rest.first_chunk_mut())))
        else {
            return self.drop(&mut packet, Reason::Truncated);
        };
        let before = Sum::default().bytes(options);
        if options::answer(options, ip.destination(), since_midnight).is_err() {
            return self.punt(&mut packet, Reason::NoHostIcmp);
        }
        if !options.is_empty() {
            let after = Sum::default().bytes(options);
            ip.checksum.set(checksum::update(ip.checksum.get(), !before.checksum(), !after.checksum()));
        }
        let icmp: &mut [u8; Icmp4Header::LENGTH] = icmp;
        let icmp: &mut Icmp4Header = zerocopy::transmute_mut!(icmp);
        let word = |icmp_type: Icmp4Type| u16::from(icmp_type.0) << 8;
        let (request, reply) = (word(Icmp4Type::ECHO_REQUEST), word(Icmp4Type::ECHO_REPLY));
        icmp.checksum.set(checksum::update(icmp.checksum.get(), request, reply));
        icmp.icmp_type = Icmp4Type::ECHO_REPLY;
        // The sum does not depend on the order of the addresses.
        std::mem::swap(&mut ip.source, &mut ip.destination);
        let word = |ttl: u8| u16::from(ttl) << 8 | u16::from(ip.protocol.0);
        ip.checksum.set(checksum::update(ip.checksum.get(), word(ip.ttl), word(TTL)));
        ip.ttl = TTL;
        packet.meta.flags |= LOCALLY_ORIGINATED;
        packet.meta.hash = 0;
        packet.meta.set_table(interface.ip4.table.0);
        self.events.count(self.counters, Event::EchoReply, 1);
        self.next.to(EndNext::Lookup)
    }
}

/// Whether it is an echo request.
fn is_ping(packet: &Packet<'_>) -> bool {
    packet.split::<Ipv4Header>().is_some_and(|(ip, rest)| {
        let icmp = rest.get(ip.header_length() - Ipv4Header::LENGTH..);
        ip.protocol == IpProtocol::ICMP
            && icmp.and_then(|icmp| icmp.get(..2)) == Some(&[Icmp4Type::ECHO_REQUEST.0, 0])
    })
}

/// Milliseconds since midnight, UT (RFC 791 section 3.1, internet timestamp).
fn since_midnight() -> u32 {
    const DAY: u128 = 24 * 60 * 60 * 1000;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| (now.as_millis() % DAY) as u32)
}
