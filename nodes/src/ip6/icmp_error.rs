// SPDX-License-Identifier: Apache-2.0
//! ip6-icmp-error: tells the sender why its packet ends here (RFC 4443).
//!
//! As for IPv4 (ip4-icmp-error), the packet that died and the error about it are two packets: the one goes to drop with the
//! reason that it died of, whether or not an error about it is sent; the other is new, and counted by what it says. So, for this
//! node, packets in = sum of the reasons = sum of the events. The limits are those of IPv4's errors.
//!
//! About which packets no error is sent: RFC 4443 section 2.4, and packets that this host made itself. A redirect is never
//! sent. The source of an error is the first address of the interface that the packet came in by, or any in the same
//! forwarding table; about a packet from a link-local address, the link-local one.

use std::net::Ipv6Addr;
use std::sync::Arc;

use weft_engine::buffer::{BufferCache, HEADROOM, Packet, SLOT_SIZE, TRACED};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::{ArcId, BufferIndex, Context, InterfaceIndex};
use weft_fib::{AddressFamily, Ip6};
use zerocopy::IntoBytes;

use super::input::format_header;
use crate::arcs::{IP6_DROP_ARC, drop_by};
use crate::context::{IpContext, LINK_BROADCAST, LOCALLY_ORIGINATED};
use crate::headers::checksum::Sum;
use crate::headers::{Icmp6Header, Icmp6Type, IpProtocol, Ipv6Header, walk_ip6};
use crate::icmp_limits::{ErrorKind, IcmpLimits};
use crate::interface::{InterfaceTable, TableIndex};
use crate::segments;
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where errors go.
    pub enum Next { Lookup => "ip6-lookup" }
}

weft_engine::drops! {
    /// What packets died of.
    pub enum Reason {
        /// hop limit ran out here
        HopLimit = "hop_limit_exceeded", Warn;
        /// no route to the destination
        NoRoute = "no_route", Error;
        /// destination or next hop does not answer neighbour solicitations, or its route says unreachable
        AddressUnreachable = "address_unreachable", Error;
        /// for this router, but nobody listens on the UDP port
        PortUnreachable = "port_unreachable", Info;
        /// longer than the MTU of its way out
        TooBig = "packet_too_big", Info;
        /// route or filter says prohibited
        Prohibited = "admin_prohibited", Info;
        /// link-local source, and its way out is another link (RFC 4007 section 9)
        BeyondScope = "beyond_scope", Info;
        /// for this router, but it does not speak the protocol
        UnknownHeader = "unrecognized_next_header", Info;
        /// for this router, with a routing header that it does not obey: of type 0 (RFC 5095) or unknown
        RoutingHeader = "routing_header", Warn;
        /// fragment whose length no fragment can have, or that ends beyond the longest possible datagram
        BadFragment = "bad_fragment", Error;
        /// first fragment of a datagram of which the others did not come in time
        ReassemblyTimeout = "reassembly_timeout", Error;
        /// the node before did not say which ICMPv6 error the packet is to become
        Unmarked = "unmarked", Error;
    }
}

weft_engine::events! {
    /// What was said about it.
    pub enum Event {
        /// ICMPv6 time exceeded sent
        SentTimeExceeded = "sent_time_exceeded", Info;
        /// ICMPv6 destination unreachable sent
        SentUnreachable = "sent_unreachable", Info;
        /// ICMPv6 packet too big sent
        SentTooBig = "sent_packet_too_big", Info;
        /// ICMPv6 parameter problem sent
        SentParameterProblem = "sent_parameter_problem", Info;
        /// no ICMPv6 error sent: none is allowed about such a packet (an error, a redirect, to or from a group, our own)
        NotAllowed = "not_allowed", Info;
        /// no ICMPv6 error sent: more are due than the rate limit permits
        RateLimited = "rate_limited", Warn;
        /// no ICMPv6 error sent: no interface in the forwarding table has an address
        NoSource = "no_source_address", Warn;
        /// no ICMPv6 error sent: no buffer for it
        NoBuffer = "no_buffer", Warn;
    }
}

impl Event {
    /// Of a sent error: what limits it.
    fn kind(self) -> ErrorKind {
        match self {
            Event::SentTimeExceeded => ErrorKind::TimeExceeded,
            Event::SentTooBig => ErrorKind::TooBig,
            Event::SentUnreachable => ErrorKind::Unreachable,
            _ => ErrorKind::Other,
        }
    }
}

/// Descriptor of ip6-icmp-error.
pub static IP6_ICMP_ERROR: NodeSpec = NodeSpec::internal("ip6-icmp-error")
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .trace(format_header);

/// An ICMPv6 error that a packet is to become, and thereby what it dies of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmp6Error {
    icmp_type: Icmp6Type,
    code: u8,
    /// MTU, or where in the packet the problem is.
    rest: u16,
}

impl Icmp6Error {
    /// Hop limit exceeded in transit.
    pub const HOP_LIMIT_EXCEEDED: Icmp6Error =
        Icmp6Error { icmp_type: Icmp6Type::TIME_EXCEEDED, code: 0, rest: 0 };
    /// Fragment reassembly time exceeded.
    pub const REASSEMBLY_TIMEOUT: Icmp6Error =
        Icmp6Error { icmp_type: Icmp6Type::TIME_EXCEEDED, code: 1, rest: 0 };
    /// No route.
    pub const NO_ROUTE: Icmp6Error = Self::unreachable(0);
    /// Communication administratively prohibited.
    pub const ADMIN_PROHIBITED: Icmp6Error = Self::unreachable(1);
    /// The source says something on another link only.
    pub const BEYOND_SCOPE: Icmp6Error = Self::unreachable(2);
    /// Nobody has the address.
    pub const ADDRESS_UNREACHABLE: Icmp6Error = Self::unreachable(3);
    /// For us, but for no port that is open.
    pub const PORT_UNREACHABLE: Icmp6Error = Self::unreachable(4);

    /// Too long for a link of this MTU. No sender need make packets smaller than every link carries.
    pub const fn too_big(mtu: u16) -> Icmp6Error {
        let least = Ip6::MIN_MTU;
        Icmp6Error { icmp_type: Icmp6Type::TOO_BIG, code: 0, rest: if mtu < least { least } else { mtu } }
    }

    /// For us, but what follows the header that names it, at this place, is unknown here.
    pub const fn unknown_header(named_at: u16) -> Icmp6Error {
        Icmp6Error { icmp_type: Icmp6Type::PARAMETER_PROBLEM, code: 1, rest: named_at }
    }

    /// For us, with a routing header whose type, at this place, nobody obeys.
    pub const fn routing_header(type_at: u16) -> Icmp6Error {
        Icmp6Error { icmp_type: Icmp6Type::PARAMETER_PROBLEM, code: 0, rest: type_at }
    }

    /// A fragment that can be of no datagram, by the field at this place (RFC 8200 section 4.5).
    pub const fn bad_fragment(field_at: u16) -> Icmp6Error {
        Icmp6Error { icmp_type: Icmp6Type::PARAMETER_PROBLEM, code: Self::OF_FRAGMENT, rest: field_at }
    }

    /// In place of code 0: what is wrong is a fragment.
    const OF_FRAGMENT: u8 = 0x80;

    const fn unreachable(code: u8) -> Icmp6Error {
        Icmp6Error { icmp_type: Icmp6Type::UNREACHABLE, code, rest: 0 }
    }

    /// Notes on the packet what it is to become; the caller sends it to ip6-icmp-error.
    #[inline]
    pub fn mark(self, packet: &mut Packet<'_>) {
        packet.meta.scratch[0] =
            u32::from(self.icmp_type.0) << 24 | u32::from(self.code) << 16 | u32::from(self.rest);
    }

    /// What was noted, if anything was, with the reason to drop the packet and the event of having told its sender.
    fn of(packet: &Packet<'_>) -> Option<(Icmp6Error, Reason, Event)> {
        let mark = packet.meta.scratch[0];
        let error = Icmp6Error {
            icmp_type: Icmp6Type((mark >> 24) as u8),
            code: (mark >> 16) as u8,
            rest: mark as u16,
        };
        let (cause, sent) = match error {
            Self::HOP_LIMIT_EXCEEDED => (Reason::HopLimit, Event::SentTimeExceeded),
            Self::REASSEMBLY_TIMEOUT => (Reason::ReassemblyTimeout, Event::SentTimeExceeded),
            Self::NO_ROUTE => (Reason::NoRoute, Event::SentUnreachable),
            Self::ADMIN_PROHIBITED => (Reason::Prohibited, Event::SentUnreachable),
            Self::BEYOND_SCOPE => (Reason::BeyondScope, Event::SentUnreachable),
            Self::ADDRESS_UNREACHABLE => (Reason::AddressUnreachable, Event::SentUnreachable),
            Self::PORT_UNREACHABLE => (Reason::PortUnreachable, Event::SentUnreachable),
            Icmp6Error { icmp_type: Icmp6Type::TOO_BIG, .. } => (Reason::TooBig, Event::SentTooBig),
            Icmp6Error { icmp_type: Icmp6Type::PARAMETER_PROBLEM, code: 0, .. } => {
                (Reason::RoutingHeader, Event::SentParameterProblem)
            }
            Icmp6Error { icmp_type: Icmp6Type::PARAMETER_PROBLEM, code: Self::OF_FRAGMENT, .. } => {
                (Reason::BadFragment, Event::SentParameterProblem)
            }
            Icmp6Error { icmp_type: Icmp6Type::PARAMETER_PROBLEM, .. } => {
                (Reason::UnknownHeader, Event::SentParameterProblem)
            }
            _ => return None,
        };
        Some((error, cause, sent))
    }
}

/// Bytes of an error at most, from its IP header on (RFC 4443 section 2.4 (c)).
const MAX_LENGTH: usize = Ip6::MIN_MTU as usize;
const HEADERS: usize = Ipv6Header::LENGTH + Icmp6Header::LENGTH;
const _: () = assert!(HEADROOM + MAX_LENGTH <= SLOT_SIZE, "an error fits a buffer");

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let (interfaces, clock, settings) = (setup.interfaces(), setup.engine.clock, setup.tables.settings);
    Ok(NodeDef::new(&IP6_ICMP_ERROR, move |w| {
        Box::new(Ip6IcmpError {
            interfaces: Arc::clone(&interfaces),
            limits: IcmpLimits::new(&clock, settings.icmp),
            extension_headers: settings.extension_headers,
            drops: w.arc(&IP6_DROP_ARC),
            next: w.nexts(),
            reasons: w.reasons(),
            events: w.events(),
        })
    }))
}

/// One worker's instance.
pub struct Ip6IcmpError {
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// Limits the errors.
    pub limits: IcmpLimits,
    /// Most extension headers behind which an error is looked for.
    pub extension_headers: usize,
    /// The `ip6-drop` arc.
    pub drops: ArcId,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
    /// Events.
    pub events: ReasonBase<Event>,
}

impl Node for Ip6IcmpError {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let interfaces = self.interfaces.read(cx.guard());
        let (limits, headers) = (&mut self.limits, self.extension_headers);
        let (reasons, events, counters, now) = (self.reasons, self.events, cx.counters, cx.now);
        let drops = cx.arcs().arc(self.drops);
        let (mut errors, mut count) = ([BufferIndex::default(); FRAME_SIZE], 0);
        cx.each_or_keep(frame, |buffers, index| {
            let mut packet = buffers.packet(index);
            let Some((error, cause, sent)) = Icmp6Error::of(&packet) else {
                reasons.drop(&mut packet, Reason::Unmarked);
                return Some(drop_by(drops, &mut packet));
            };
            reasons.drop(&mut packet, cause);
            let event = if !may_answer(&packet, sent, headers) {
                Event::NotAllowed
            } else if !limits.take(sent.kind(), now) {
                Event::RateLimited
            } else if let Some(source) = source(&packet, interfaces) {
                match error.about(buffers, index, source) {
                    Some(error) => {
                        errors[count] = error;
                        count += 1;
                        sent
                    }
                    None => Event::NoBuffer,
                }
            } else {
                Event::NoSource
            };
            events.count(counters, event, 1);
            Some(drop_by(drops, &mut buffers.packet(index)))
        });
        cx.send(self.next.to(Next::Lookup), &errors[..count]);
    }
}

/// Whether an error about the packet may be sent: RFC 4443 section 2.4 (e). A sender whose packets to a group are too big
/// must learn of it, or it never finds the MTU.
fn may_answer(packet: &Packet<'_>, sent: Event, headers: usize) -> bool {
    let Some((ip, rest)) = packet.split::<Ipv6Header>() else {
        return false;
    };
    // A chain of headers without end may be that of an error.
    let Ok(chain) = walk_ip6(ip.next_header, rest, headers) else {
        return false;
    };
    let is_quiet = match rest.get(chain.length) {
        _ if chain.protocol != IpProtocol::ICMPV6 => false,
        Some(icmp_type) if !chain.is_later_fragment() => {
            Icmp6Type(*icmp_type).is_error() || Icmp6Type(*icmp_type) == Icmp6Type::REDIRECT
        }
        _ => true,
    };
    let to_many = packet.meta.flags & LINK_BROADCAST != 0 || ip.destination().is_multicast();
    packet.meta.flags & LOCALLY_ORIGINATED == 0
        && !is_quiet
        && (!to_many || sent == Event::SentTooBig)
        && Ip6::is_unicast(ip.source())
}

/// Where an error comes from, and how it is routed.
struct Source {
    address: Ipv6Addr,
    table: TableIndex,
    /// The link on which the address of the other says something.
    link: InterfaceIndex,
}

fn source(packet: &Packet<'_>, interfaces: &InterfaceTable) -> Option<Source> {
    let link = packet.meta.rx_interface;
    let own = &interfaces.get(link)?.ip6;
    let table = own.table;
    let to = packet.header::<Ipv6Header>()?.source();
    let any = || interfaces.iter().filter(|it| it.ip6.table == table).find_map(|it| it.ip6.primary());
    let address = match Ip6::is_link_scoped(to) {
        true => own.link_local,
        false => own.primary().or_else(any),
    };
    Some(Source { address: address?, table, link })
}

impl Icmp6Error {
    /// The error about a packet, in a new buffer, if there is one.
    fn about(self, buffers: &mut BufferCache, original: BufferIndex, from: Source) -> Option<BufferIndex> {
        let packet = buffers.packet(original);
        let (trace, traced) = (packet.meta.trace, packet.meta.flags & TRACED);
        let to = packet.header::<Ipv6Header>()?.source();
        let index = buffers.allocate_one()?;

        let mut message = [0; MAX_LENGTH];
        let length = HEADERS + segments::read(buffers, original, 0, &mut message[HEADERS..]);
        let payload = (length - Ipv6Header::LENGTH) as u16;
        let ip = Ipv6Header::new(from.address, to, IpProtocol::ICMPV6, payload);
        let code = self.code & !Self::OF_FRAGMENT;
        let mut icmp = Icmp6Header::new(self.icmp_type, code, self.rest.into());
        let sum = Sum::pseudo_header6(&ip, IpProtocol::ICMPV6, payload.into());
        icmp.checksum.set(sum.bytes(icmp.as_bytes()).bytes(&message[HEADERS..length]).checksum());
        message[..Ipv6Header::LENGTH].copy_from_slice(ip.as_bytes());
        message[Ipv6Header::LENGTH..HEADERS].copy_from_slice(icmp.as_bytes());

        buffers.receive(index, HEADROOM, 0, InterfaceIndex::NONE);
        let mut packet = buffers.packet(index);
        let filled = packet.fill(HEADROOM, &message[..length]);
        debug_assert!(filled, "an error fits a buffer");
        packet.meta.flags = LOCALLY_ORIGINATED | traced;
        packet.meta.trace = trace;
        packet.meta.set_table(from.table.0);
        packet.meta.tx_interface = from.link;
        Some(index)
    }
}
