// SPDX-License-Identifier: Apache-2.0
//! ip4-icmp-error: which ICMP errors there are of IPv4 (RFC 792, RFC 1812 section 4.3). The node: [`crate::forward::icmp_error`].
//!
//! About which packets no error is sent: RFC 1812 section 4.3.2.7 and RFC 1122 section 3.2.2, and about packets that
//! this host made itself.

use std::net::Ipv4Addr;

use weft_engine::buffer::Packet;
use weft_fib::Ip4;
use zerocopy::IntoBytes;
use zerocopy::network_endian::{U16, U32};

use super::TableIndex;
use crate::context::{IpContext, LINK_BROADCAST, LOCALLY_ORIGINATED};
use crate::forward::icmp_error::{IcmpErrors, Unsaid};
use crate::headers::checksum::Sum;
use crate::headers::{Icmp4Header, Icmp4Type, IpProtocol, Ipv4Header};
use crate::icmp_limits::ErrorKind;
use crate::interface::InterfaceTable;

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

/// An ICMP error of IPv4.
pub(crate) type IcmpError = crate::forward::icmp_error::IcmpError<Ip4>;

impl IcmpError {
    /// TTL exceeded in transit.
    pub(super) const TTL_EXCEEDED: Self = Self::new(Icmp4Type::TIME_EXCEEDED.0, 0, 0);
    /// The other fragments did not come in time.
    pub(super) const REASSEMBLY_TIMEOUT: Self = Self::new(Icmp4Type::TIME_EXCEEDED.0, 1, 0);
    /// No route.
    pub(super) const NET_UNREACHABLE: Self = Self::unreachable(0, 0);
    /// The neighbour does not answer.
    pub(super) const HOST_UNREACHABLE: Self = Self::unreachable(1, 0);
    /// For us, but of an unknown protocol.
    pub(super) const PROTOCOL_UNREACHABLE: Self = Self::unreachable(2, 0);
    /// For us, but for no port that is open.
    pub(super) const PORT_UNREACHABLE: Self = Self::unreachable(3, 0);
    /// Communication administratively prohibited (RFC 1812 section 5.2.7.1).
    pub(super) const ADMIN_PROHIBITED: Self = Self::unreachable(13, 0);

    /// Too long for a link of this MTU, and must not be fragmented (RFC 1191 section 4).
    pub(super) const fn fragmentation_needed(mtu: u16) -> Self {
        Self::unreachable(4, mtu)
    }

    const fn unreachable(code: u8, mtu: u16) -> Self {
        Self::new(Icmp4Type::UNREACHABLE.0, code, mtu)
    }
}

/// Precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const TOS: u8 = 0xc0;

impl IcmpErrors for Ip4 {
    type Cause = Reason;
    type Said = Event;
    /// RFC 1812 section 4.3.2.3.
    type Message = [u8; 576];

    const HEADERS: usize = Ipv4Header::LENGTH + Icmp4Header::LENGTH;
    const UNMARKED: Reason = Reason::Unmarked;
    const UNSAID: Unsaid<Event> = Unsaid {
        not_allowed: Event::NotAllowed,
        rate_limited: Event::RateLimited,
        no_source: Event::NoSource,
        no_buffer: Event::NoBuffer,
    };

    fn cause(error: IcmpError) -> Option<(Reason, Event, ErrorKind)> {
        let icmp_type = Icmp4Type(error.icmp_type);
        let cause = match (icmp_type, error.code) {
            (Icmp4Type::TIME_EXCEEDED, 0) => Reason::TtlExpired,
            (Icmp4Type::TIME_EXCEEDED, 1) => Reason::ReassemblyTimeout,
            (Icmp4Type::UNREACHABLE, 0) => Reason::NoRoute,
            (Icmp4Type::UNREACHABLE, 1) => Reason::HostUnreachable,
            (Icmp4Type::UNREACHABLE, 2) => Reason::ProtocolUnreachable,
            (Icmp4Type::UNREACHABLE, 3) => Reason::PortUnreachable,
            (Icmp4Type::UNREACHABLE, 4) => Reason::TooBig,
            (Icmp4Type::UNREACHABLE, 13) => Reason::Prohibited,
            _ => return None,
        };
        let (said, kind) = match (cause, icmp_type) {
            (Reason::TooBig, _) => (Event::SentTooBig, ErrorKind::TooBig),
            (_, Icmp4Type::TIME_EXCEEDED) => (Event::SentTimeExceeded, ErrorKind::TimeExceeded),
            _ => (Event::SentUnreachable, ErrorKind::Unreachable),
        };
        Some((cause, said, kind))
    }

    fn may_answer(packet: &Packet<'_>, _: ErrorKind, interfaces: &InterfaceTable, _: usize) -> bool {
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

    fn fill_headers(error: IcmpError, from: Ipv4Addr, to: Ipv4Addr, identification: u16, message: &mut [u8]) {
        let mut icmp = Icmp4Header::new(Icmp4Type(error.icmp_type), error.code, [0, error.rest]);
        let sum = Sum::default().bytes(icmp.as_bytes()).bytes(&message[Self::HEADERS..]);
        icmp.checksum.set(sum.checksum());
        let mut ip = Ipv4Header {
            version_ihl: Ipv4Header::PLAIN,
            tos: TOS,
            total_length: U16::new(message.len() as u16),
            identification: U16::new(identification),
            flags_offset: U16::ZERO,
            ttl: super::TTL,
            protocol: IpProtocol::ICMP,
            checksum: U16::ZERO,
            source: U32::new(from.to_bits()),
            destination: U32::new(to.to_bits()),
        };
        ip.fill_checksum();
        message[..Ipv4Header::LENGTH].copy_from_slice(ip.as_bytes());
        message[Ipv4Header::LENGTH..Self::HEADERS].copy_from_slice(icmp.as_bytes());
    }
}
