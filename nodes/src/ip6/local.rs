// SPDX-License-Identifier: Apache-2.0
//! ip6-local and ip6-local-end-of-arc: packets for this host.
//!
//! The first is the start of the arc of the same name, the second is where its features lead. Neighbour discovery goes to
//! the node that speaks it, other packets to those who handle their protocol or UDP port, and a ping is answered in place.
//! Everything else is the host's business, groups and link-local addresses that are not ours among it. Where there is no host,
//! the sender is told that nobody listens (RFC 4443 section 3), but nothing is ever said about a packet to a group.
//!
//! Fragments make a detour before the arc, and come back as a whole datagram (ip6-reassembly). What is behind extension headers is the host's, as it knows them all. Two things are looked for there: a chain that is
//! cut off or has no end, and a routing header, which this router does not obey.

use std::sync::Arc;

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
use weft_fib::{AddressFamily, Ip6};
use zerocopy::FromBytes;

use super::icmp_error::Icmp6Error;
use super::input::format_header;
use super::nd::discovery_type;
use super::reassembly::is_fragment;
use crate::arcs::{IP6_DROP_ARC, IP6_LOCAL_ARC, IP6_PUNT_ARC, drop_by};
use crate::context::{IpContext, LINK_BROADCAST, LOCALLY_ORIGINATED};
use crate::headers::checksum::{self, Sum};
use crate::headers::{Icmp6Header, Icmp6Type, Ip6ChainError, IpProtocol, Ipv6Header, UdpHeader, walk_ip6};
use crate::interface::{Entry, InterfaceTable};
use crate::registries::{IP6_PROTOCOLS, PUNT_REASONS, UDP6_PORTS};
use crate::segments;
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where packets go that no feature takes.
    pub enum Next { End => "ip6-local-end-of-arc", Reassembly => "ip6-reassembly" }
}

/// Descriptor of ip6-local.
pub static IP6_LOCAL: NodeSpec = NodeSpec::internal("ip6-local").next(Next::NAMES).trace(format_header);

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let extension_headers = setup.tables.settings.extension_headers;
    Ok(NodeDef::new(&IP6_LOCAL, move |w| {
        Box::new(Ip6Local { arc: w.arc(&IP6_LOCAL_ARC), extension_headers, next: w.nexts() })
    }))
}

built_in!(add_end);

fn add_end(setup: &mut Setup<'_>) -> Added {
    let (interfaces, extension_headers) = (setup.interfaces(), setup.tables.settings.extension_headers);
    Ok(NodeDef::new(&IP6_LOCAL_END, move |w| {
        Box::new(Ip6LocalEnd {
            interfaces: Arc::clone(&interfaces),
            extension_headers,
            registries: [&IP6_PROTOCOLS, &UDP6_PORTS, &PUNT_REASONS].map(|it| w.registry(it)),
            arcs: [w.arc(&IP6_DROP_ARC), w.arc(&IP6_PUNT_ARC)],
            next: w.nexts(),
            reasons: w.reasons(),
            events: w.events(),
        })
    }))
}

/// One worker's instance of ip6-local.
pub struct Ip6Local {
    /// The `ip6-local` arc.
    pub arc: ArcId,
    /// Most extension headers behind which a fragment header is looked for.
    pub extension_headers: usize,
    /// Edges.
    pub next: Nexts<Next>,
}

impl Node for Ip6Local {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arcs, arc, end) = (cx.arcs(), self.arc, self.next.to(Next::End));
        let (reassembly, headers) = (self.next.to(Next::Reassembly), self.extension_headers);
        cx.each(frame, |packet| {
            if is_fragment(packet, headers) {
                return reassembly;
            }
            arcs.start(arc, packet.meta.rx_interface, packet).unwrap_or(end)
        });
    }
}

weft_engine::edges! {
    /// Where packets go that do not end here.
    pub enum EndNext {
        Lookup => "ip6-lookup",
        Discovery => "ip6-nd-input",
        Punt => "punt",
        IcmpError => "ip6-icmp-error",
    }
}

weft_engine::drops! {
    /// Why packets for this host end here.
    pub enum Reason {
        /// ICMPv6 message shorter than its header
        Truncated = "icmp_too_short", Error;
        /// ICMPv6 message with a wrong checksum
        Checksum = "bad_icmp_checksum", Error;
        /// not addressed to a group, but sent in a link-layer broadcast or multicast
        LinkBroadcast = "link_broadcast", Info;
        /// interface does not exist (any more), or the packet was made here
        NoInterface = "no_interface", Error;
        /// extension header is cut off, or hop-by-hop options are not the first one
        ExtensionHeader = "bad_extension_header", Error;
        /// more extension headers than are looked behind
        TooManyHeaders = "too_many_extension_headers", Error;
        /// to a group, and there is no host interface to punt to
        NoHostGroup = "multicast_no_host", Info;
        /// to a link-local address that is not ours on this link, and there is no host interface to punt to
        NoHostLinkLocal = "link_local_no_host", Info;
        /// ICMPv6 other than a ping and neighbour discovery, and there is no host interface to punt to
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

/// Descriptor of ip6-local-end-of-arc.
pub static IP6_LOCAL_END: NodeSpec = NodeSpec::internal("ip6-local-end-of-arc")
    .next(EndNext::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .punts(&[
        "multicast_no_host",
        "link_local_no_host",
        "icmp_no_host",
        "tcp_no_host",
        "udp_no_host",
        "protocol_no_host",
    ])
    .trace(format_header);

/// RFC 1700 "IP TIME TO LIVE PARAMETER".
const HOP_LIMIT: u8 = 64;

/// One worker's instance of ip6-local-end-of-arc.
pub struct Ip6LocalEnd {
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// Most extension headers that are skipped.
    pub extension_headers: usize,
    /// Who handles which protocol, which UDP port, and what would be punted.
    pub registries: [RegistryId; 3],
    /// The `ip6-drop` and `ip6-punt` arcs.
    pub arcs: [ArcId; 2],
    /// Edges.
    pub next: Nexts<EndNext>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
    /// Events.
    pub events: ReasonBase<Event>,
}

impl Node for Ip6LocalEnd {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let ([protocols, ports, punted], [drops, punts]) = (self.registries, self.arcs);
        let end = End {
            interfaces: self.interfaces.read(cx.guard()),
            extension_headers: self.extension_headers,
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
    extension_headers: usize,
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
        let (Some(interface), Some((&ip, rest))) =
            (self.interfaces.get(packet.meta.rx_interface), packet.split::<Ipv6Header>())
        else {
            return self.drop(&mut packet, Reason::NoInterface);
        };
        let is_group = ip.destination().is_multicast();
        if !is_group && packet.meta.flags & LINK_BROADCAST != 0 {
            return self.drop(&mut packet, Reason::LinkBroadcast);
        }
        let chain = match walk_ip6(ip.next_header, rest, self.extension_headers) {
            Ok(chain) => chain,
            Err(Ip6ChainError::TooMany { .. }) => return self.drop(&mut packet, Reason::TooManyHeaders),
            Err(_) => return self.drop(&mut packet, Reason::ExtensionHeader),
        };
        if chain.protocol == IpProtocol::ICMPV6 && discovery_type(&packet, self.extension_headers).is_some() {
            return self.next.to(EndNext::Discovery);
        }
        if Ip6::is_link_scoped(ip.destination()) && !interface.ip6.has(ip.destination()) {
            return self.punt(&mut packet, Reason::NoHostLinkLocal);
        }
        if let Some(routing) = chain.routing.filter(|routing| routing.left > 0) {
            // Its type is the third byte of the header.
            Icmp6Error::routing_header((Ipv6Header::LENGTH + routing.at + 2) as u16).mark(&mut packet);
            return self.next.to(EndNext::IcmpError);
        }
        if chain.length == 0
            && let Some(node) = self.handler(&packet, chain.protocol)
        {
            return node;
        }
        if is_group {
            return self.punt(&mut packet, Reason::NoHostGroup);
        }
        if is_ping(&packet) {
            return self.answer(buffers, index, interface);
        }
        let (why, error) = match chain.protocol {
            IpProtocol::ICMPV6 => return self.punt(&mut packet, Reason::NoHostIcmp),
            IpProtocol::TCP => return self.punt(&mut packet, Reason::NoHostTcp),
            IpProtocol::UDP => (Reason::NoHostUdp, Icmp6Error::PORT_UNREACHABLE),
            _ => (Reason::NoHostProtocol, Icmp6Error::unknown_header(chain.named_at as u16)),
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
        let (_, rest) = packet.split::<Ipv6Header>()?;
        let (udp, _) = UdpHeader::ref_from_prefix(rest).ok()?;
        let length = usize::from(udp.length.get());
        let there = packet.meta.total_length() - Ipv6Header::LENGTH;
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

    /// Makes the echo request a reply (RFC 4443 section 4.2): same data, same header but for addresses and hop limit.
    fn answer(&self, buffers: &mut BufferCache, index: BufferIndex, interface: &Entry) -> NodeId {
        let mut packet = buffers.packet(index);
        let Some(&ip) = packet.header::<Ipv6Header>() else {
            return self.drop(&mut packet, Reason::Truncated);
        };
        let before = Sum::pseudo_header6(&ip, IpProtocol::ICMPV6, ip.payload_length.get().into());
        let intact = segments::sum(buffers, index, Ipv6Header::LENGTH, before).is_valid();
        let mut packet = buffers.packet(index);
        if !intact {
            return self.drop(&mut packet, Reason::Checksum);
        }
        let headers = packet.split_mut::<Ipv6Header>();
        let Some((ip, Some(icmp))) = headers.map(|(ip, rest)| (ip, rest.first_chunk_mut())) else {
            return self.drop(&mut packet, Reason::Truncated);
        };
        let icmp: &mut [u8; Icmp6Header::LENGTH] = icmp;
        let icmp: &mut Icmp6Header = zerocopy::transmute_mut!(icmp);
        let word = |icmp_type: Icmp6Type| u16::from(icmp_type.0) << 8;
        let (request, reply) = (word(Icmp6Type::ECHO_REQUEST), word(Icmp6Type::ECHO_REPLY));
        icmp.checksum.set(checksum::update(icmp.checksum.get(), request, reply));
        icmp.icmp_type = Icmp6Type::ECHO_REPLY;
        ip.turn_round();
        ip.hop_limit = HOP_LIMIT;
        packet.meta.flags |= LOCALLY_ORIGINATED;
        packet.meta.hash = 0;
        packet.meta.tx_interface = packet.meta.rx_interface;
        packet.meta.set_table(interface.ip6.table.0);
        self.events.count(self.counters, Event::EchoReply, 1);
        self.next.to(EndNext::Lookup)
    }
}

/// Whether it is an echo request that can be answered in place.
fn is_ping(packet: &Packet<'_>) -> bool {
    packet.split::<Ipv6Header>().is_some_and(|(ip, icmp)| {
        ip.next_header == IpProtocol::ICMPV6 && icmp.get(..2) == Some(&[Icmp6Type::ECHO_REQUEST.0, 0])
    })
}
