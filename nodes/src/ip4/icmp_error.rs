// SPDX-License-Identifier: Apache-2.0
//! ip4-icmp-error: tells the sender why its packet ends here (RFC 792, RFC 1812 section 4.3).
//!
//! The packet that died and the error about it are two packets. The first goes to drop with the reason that it died
//! of, whether or not an error about it is sent: the operator sees why packets were lost, not what became of the news.
//! The second is new, in a buffer of its own, and is counted by what it says; why there is none is counted as well.
//! So, for this node, packets in = sum of the reasons = sum of the events.
//!
//! About which packets no error is sent: RFC 1812 section 4.3.2.7 and RFC 1122 section 3.2.2, and about packets that
//! this host made itself. The source of an error is the primary address of the interface that the packet came in by,
//! as traceroute users expect; if that has none any more, any address in the same forwarding table.

use std::net::Ipv4Addr;
use std::sync::Arc;

use weft_engine::buffer::{BufferCache, HEADROOM, Packet, SLOT_SIZE, TRACED};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::{ArcId, BufferIndex, Context, InterfaceIndex};
use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

use super::TableIndex;
use super::input::format_header;
use crate::arcs::{IP4_DROP_ARC, drop_by};
use crate::context::{IpContext, LINK_BROADCAST, LOCALLY_ORIGINATED};
use crate::headers::checksum::Sum;
use crate::headers::{Icmp4Header, Icmp4Type, IpProtocol, Ipv4Header};
use crate::icmp_limits::{ErrorKind, IcmpLimits};
use crate::interface::InterfaceTable;
use crate::segments;
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where errors go.
    pub enum Next { Lookup => "ip4-lookup" }
}

weft_engine::drops! {
    /// What packets died of.
    pub enum Reason {
        /// TTL ran out here
        TtlExpired = "ttl_expired", Warn;
        /// first fragment of a datagram for this host whose other fragments did not come in time
        ReassemblyTimeout = "reassembly_timeout", Error;
        /// no route to the destination
        NoRoute = "no_route", Error;
        /// destination or next hop does not answer ARP, or its route says unreachable
        HostUnreachable = "host_unreachable", Error;
        /// for this router, but it does not speak the protocol
        ProtocolUnreachable = "protocol_unreachable", Info;
        /// for this router, but nobody listens on the UDP port
        PortUnreachable = "port_unreachable", Info;
        /// longer than the MTU of its way out, and may not be fragmented
        TooBig = "fragmentation_needed", Info;
        /// route or filter says prohibited
        Prohibited = "admin_prohibited", Info;
        /// the node before did not say which ICMP error the packet is to become
        Unmarked = "unmarked", Error;
    }
}

weft_engine::events! {
    /// What was said about it.
    pub enum Event {
        /// ICMP time exceeded sent
        SentTimeExceeded = "sent_time_exceeded", Info;
        /// ICMP destination unreachable sent
        SentUnreachable = "sent_unreachable", Info;
        /// ICMP fragmentation needed sent
        SentTooBig = "sent_fragmentation_needed", Info;
        /// no ICMP error sent: none is allowed about such a packet (an error, a fragment, a broadcast, our own)
        NotAllowed = "not_allowed", Info;
        /// no ICMP error sent: more are due than the rate limit permits
        RateLimited = "rate_limited", Warn;
        /// no ICMP error sent: no interface in the forwarding table has an address
        NoSource = "no_source_address", Warn;
        /// no ICMP error sent: no buffer for it
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

/// Descriptor of ip4-icmp-error.
pub static IP4_ICMP_ERROR: NodeSpec = NodeSpec::internal("ip4-icmp-error")
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .trace(format_header);

/// An ICMP error that a packet is to become, and thereby what it dies of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    icmp_type: Icmp4Type,
    code: u8,
    mtu: u16,
}

impl IcmpError {
    /// TTL exceeded in transit.
    pub const TTL_EXCEEDED: IcmpError = IcmpError { icmp_type: Icmp4Type::TIME_EXCEEDED, code: 0, mtu: 0 };
    /// The other fragments did not come in time.
    pub const REASSEMBLY_TIMEOUT: IcmpError =
        IcmpError { icmp_type: Icmp4Type::TIME_EXCEEDED, code: 1, mtu: 0 };
    /// No route.
    pub const NET_UNREACHABLE: IcmpError = Self::unreachable(0, 0);
    /// The neighbour does not answer.
    pub const HOST_UNREACHABLE: IcmpError = Self::unreachable(1, 0);
    /// For us, but of an unknown protocol.
    pub const PROTOCOL_UNREACHABLE: IcmpError = Self::unreachable(2, 0);
    /// For us, but for no port that is open.
    pub const PORT_UNREACHABLE: IcmpError = Self::unreachable(3, 0);
    /// Communication administratively prohibited (RFC 1812 section 5.2.7.1).
    pub const ADMIN_PROHIBITED: IcmpError = Self::unreachable(13, 0);

    /// Too long for a link of this MTU, and must not be fragmented (RFC 1191 section 4).
    pub const fn fragmentation_needed(mtu: u16) -> IcmpError {
        Self::unreachable(4, mtu)
    }

    const fn unreachable(code: u8, mtu: u16) -> IcmpError {
        IcmpError { icmp_type: Icmp4Type::UNREACHABLE, code, mtu }
    }

    /// Notes on the packet what it is to become; the caller sends it to ip4-icmp-error.
    #[inline]
    pub fn mark(self, packet: &mut Packet<'_>) {
        packet.meta.scratch[0] =
            u32::from(self.icmp_type.0) << 24 | u32::from(self.code) << 16 | u32::from(self.mtu);
    }

    /// What was noted, if anything was, with the reason to drop the packet and the event of having told its sender.
    fn of(packet: &Packet<'_>) -> Option<(IcmpError, Reason, Event)> {
        let mark = packet.meta.scratch[0];
        let error = IcmpError {
            icmp_type: Icmp4Type((mark >> 24) as u8),
            code: (mark >> 16) as u8,
            mtu: mark as u16,
        };
        let (cause, sent) = match error {
            Self::TTL_EXCEEDED => (Reason::TtlExpired, Event::SentTimeExceeded),
            Self::REASSEMBLY_TIMEOUT => (Reason::ReassemblyTimeout, Event::SentTimeExceeded),
            Self::NET_UNREACHABLE => (Reason::NoRoute, Event::SentUnreachable),
            Self::HOST_UNREACHABLE => (Reason::HostUnreachable, Event::SentUnreachable),
            Self::PROTOCOL_UNREACHABLE => (Reason::ProtocolUnreachable, Event::SentUnreachable),
            Self::PORT_UNREACHABLE => (Reason::PortUnreachable, Event::SentUnreachable),
            Self::ADMIN_PROHIBITED => (Reason::Prohibited, Event::SentUnreachable),
            IcmpError { icmp_type: Icmp4Type::UNREACHABLE, code: 4, .. } => {
                (Reason::TooBig, Event::SentTooBig)
            }
            _ => return None,
        };
        Some((error, cause, sent))
    }
}

/// Bytes of an error at most, from its IP header on (RFC 1812 section 4.3.2.3).
const MAX_LENGTH: usize = 576;
const HEADERS: usize = Ipv4Header::LENGTH + Icmp4Header::LENGTH;
const _: () = assert!(HEADROOM + MAX_LENGTH <= SLOT_SIZE, "an error fits a buffer");
/// Precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const TOS: u8 = 0xc0;
/// RFC 1700 "IP TIME TO LIVE PARAMETER".
const TTL: u8 = 64;

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let (interfaces, clock, settings) = (setup.interfaces(), setup.engine.clock, setup.tables.settings.icmp);
    Ok(NodeDef::new(&IP4_ICMP_ERROR, move |w| {
        Box::new(Ip4IcmpError {
            interfaces: Arc::clone(&interfaces),
            limits: IcmpLimits::new(&clock, settings),
            identification: 0,
            drops: w.arc(&IP4_DROP_ARC),
            next: w.nexts(),
            reasons: w.reasons(),
            events: w.events(),
        })
    }))
}

/// One worker's instance.
pub struct Ip4IcmpError {
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// Limits the errors.
    pub limits: IcmpLimits,
    /// Of the last error: fragments of different errors must not be taken for one datagram's.
    pub identification: u16,
    /// The `ip4-drop` arc.
    pub drops: ArcId,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
    /// Events.
    pub events: ReasonBase<Event>,
}

impl Node for Ip4IcmpError {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let interfaces = self.interfaces.read(cx.guard());
        let (limits, identification) = (&mut self.limits, &mut self.identification);
        let (reasons, events, counters, now) = (self.reasons, self.events, cx.counters, cx.now);
        let drops = cx.arcs().arc(self.drops);
        let (mut errors, mut count) = ([BufferIndex::default(); FRAME_SIZE], 0);
        cx.each_or_keep(frame, |buffers, index| {
            let mut packet = buffers.packet(index);
            let Some((error, cause, sent)) = IcmpError::of(&packet) else {
                reasons.drop(&mut packet, Reason::Unmarked);
                return Some(drop_by(drops, &mut packet));
            };
            reasons.drop(&mut packet, cause);
            let event = if !may_answer(&packet, interfaces) {
                Event::NotAllowed
            } else if !limits.take(sent.kind(), now) {
                Event::RateLimited
            } else if let Some((source, table)) = source(packet.meta.rx_interface, interfaces) {
                *identification = identification.wrapping_add(1);
                match error.about(buffers, index, source, table, *identification) {
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

/// Whether an error about the packet may be sent.
fn may_answer(packet: &Packet<'_>, interfaces: &InterfaceTable) -> bool {
    let Some(ip) = packet.header::<Ipv4Header>() else {
        return false;
    };
    let table = TableIndex(packet.meta.table());
    let about_error = ip.protocol == IpProtocol::ICMP
        && packet.data().get(ip.header_length()).is_none_or(|icmp_type| Icmp4Type(*icmp_type).is_error());
    packet.meta.flags & (LINK_BROADCAST | LOCALLY_ORIGINATED) == 0
        && ip.fragment_offset() == 0
        && !about_error
        && interfaces.is_unicast4(table, ip.destination())
        && interfaces.is_unicast4(table, ip.source())
}

/// The address that errors about packets of `rx` carry, and the table that they are routed by.
fn source(rx: InterfaceIndex, interfaces: &InterfaceTable) -> Option<(Ipv4Addr, TableIndex)> {
    let table = interfaces.get(rx)?.ip4.table;
    let own = interfaces.get(rx).and_then(|interface| interface.ip4.primary());
    let any =
        || interfaces.iter().filter(|interface| interface.ip4.table == table).find_map(|it| it.ip4.primary());
    Some((own.or_else(any)?, table))
}

impl IcmpError {
    /// The error about a packet, in a new buffer, if there is one.
    fn about(
        self,
        buffers: &mut BufferCache,
        original: BufferIndex,
        source: Ipv4Addr,
        table: TableIndex,
        identification: u16,
    ) -> Option<BufferIndex> {
        let packet = buffers.packet(original);
        let (trace, traced) = (packet.meta.trace, packet.meta.flags & TRACED);
        let destination = packet.header::<Ipv4Header>()?.source;
        let index = buffers.allocate_one()?;

        let mut message = [0; MAX_LENGTH];
        let length = HEADERS + segments::read(buffers, original, 0, &mut message[HEADERS..]);
        let mut icmp = Icmp4Header::new(self.icmp_type, self.code, [0, self.mtu]);
        let sum = Sum::default().bytes(icmp.as_bytes()).bytes(&message[HEADERS..length]);
        icmp.checksum.set(sum.checksum());
        let mut ip = Ipv4Header {
            version_ihl: Ipv4Header::PLAIN,
            tos: TOS,
            total_length: U16::new(length as u16),
            identification: U16::new(identification),
            flags_offset: U16::ZERO,
            ttl: TTL,
            protocol: IpProtocol::ICMP,
            checksum: U16::ZERO,
            source: U32::new(source.to_bits()),
            destination,
        };
        ip.fill_checksum();
        message[..Ipv4Header::LENGTH].copy_from_slice(ip.as_bytes());
        message[Ipv4Header::LENGTH..HEADERS].copy_from_slice(icmp.as_bytes());

        buffers.receive(index, HEADROOM, 0, InterfaceIndex::NONE);
        let mut packet = buffers.packet(index);
        let filled = packet.fill(HEADROOM, &message[..length]);
        debug_assert!(filled, "an error fits a buffer");
        packet.meta.flags = LOCALLY_ORIGINATED | traced;
        packet.meta.trace = trace;
        packet.meta.set_table(table.0);
        Some(index)
    }
}
