// SPDX-License-Identifier: Apache-2.0
//! ip6-icmp-error: which ICMP errors there are of IPv6 (RFC 4443). The node: [`crate::forward::icmp_error`]. The limits are those of
//! IPv4's errors.
//!
//! About which packets no error is sent: RFC 4443 section 2.4, and packets that this host made itself. A redirect is never
//! sent.

use std::net::Ipv6Addr;

use weft_engine::buffer::Packet;
use weft_fib::{AddressFamily, Ip6};
use zerocopy::IntoBytes;

use crate::context::{LINK_BROADCAST, LOCALLY_ORIGINATED};
use crate::forward::icmp_error::{IcmpErrors, Unsaid};
use crate::headers::checksum::Sum;
use crate::headers::{Icmp6Header, Icmp6Type, IpProtocol, Ipv6Header, walk_ip6};
use crate::icmp_limits::ErrorKind;
use crate::interface::InterfaceTable;

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

/// An ICMP error of IPv6.
pub(crate) type Icmp6Error = crate::forward::icmp_error::IcmpError<Ip6>;

impl Icmp6Error {
    /// Hop limit exceeded in transit.
    pub(super) const HOP_LIMIT_EXCEEDED: Self = Self::new(Icmp6Type::TIME_EXCEEDED.0, 0, 0);
    /// Fragment reassembly time exceeded.
    pub(super) const REASSEMBLY_TIMEOUT: Self = Self::new(Icmp6Type::TIME_EXCEEDED.0, 1, 0);
    /// No route.
    pub(super) const NO_ROUTE: Self = Self::unreachable(0);
    /// Communication administratively prohibited.
    pub(super) const ADMIN_PROHIBITED: Self = Self::unreachable(1);
    /// The source says something on another link only.
    pub(super) const BEYOND_SCOPE: Self = Self::unreachable(2);
    /// Nobody has the address.
    pub(super) const ADDRESS_UNREACHABLE: Self = Self::unreachable(3);
    /// For us, but for no port that is open.
    pub(super) const PORT_UNREACHABLE: Self = Self::unreachable(4);

    /// Too long for a link of this MTU. No sender need make packets smaller than every link carries.
    pub(super) const fn too_big(mtu: u16) -> Self {
        let least = Ip6::MIN_MTU;
        Self::new(Icmp6Type::TOO_BIG.0, 0, if mtu < least { least } else { mtu })
    }

    /// For us, but what follows the header that names it, at this place, is unknown here.
    pub(super) const fn unknown_header(named_at: u16) -> Self {
        Self::new(Icmp6Type::PARAMETER_PROBLEM.0, 1, named_at)
    }

    /// For us, with a routing header whose type, at this place, nobody obeys.
    pub(super) const fn routing_header(type_at: u16) -> Self {
        Self::new(Icmp6Type::PARAMETER_PROBLEM.0, 0, type_at)
    }

    /// A fragment that can be of no datagram, by the field at this place (RFC 8200 section 4.5).
    pub(super) const fn bad_fragment(field_at: u16) -> Self {
        Self::new(Icmp6Type::PARAMETER_PROBLEM.0, OF_FRAGMENT, field_at)
    }

    const fn unreachable(code: u8) -> Self {
        Self::new(Icmp6Type::UNREACHABLE.0, code, 0)
    }
}

/// In place of code 0: what is wrong is a fragment.
const OF_FRAGMENT: u8 = 0x80;

impl IcmpErrors for Ip6 {
    type Cause = Reason;
    type Said = Event;
    /// RFC 4443 section 2.4 (c).
    type Message = [u8; Ip6::MIN_MTU as usize];

    const HEADERS: usize = Ipv6Header::LENGTH + Icmp6Header::LENGTH;
    const UNMARKED: Reason = Reason::Unmarked;
    const UNSAID: Unsaid<Event> = Unsaid {
        not_allowed: Event::NotAllowed,
        rate_limited: Event::RateLimited,
        no_source: Event::NoSource,
        no_buffer: Event::NoBuffer,
    };

    fn cause(error: Icmp6Error) -> Option<(Reason, Event, ErrorKind)> {
        let icmp_type = Icmp6Type(error.icmp_type);
        let cause = match (icmp_type, error.code) {
            (Icmp6Type::TIME_EXCEEDED, 0) => Reason::HopLimit,
            (Icmp6Type::TIME_EXCEEDED, 1) => Reason::ReassemblyTimeout,
            (Icmp6Type::UNREACHABLE, 0) => Reason::NoRoute,
            (Icmp6Type::UNREACHABLE, 1) => Reason::Prohibited,
            (Icmp6Type::UNREACHABLE, 2) => Reason::BeyondScope,
            (Icmp6Type::UNREACHABLE, 3) => Reason::AddressUnreachable,
            (Icmp6Type::UNREACHABLE, 4) => Reason::PortUnreachable,
            (Icmp6Type::TOO_BIG, _) => Reason::TooBig,
            (Icmp6Type::PARAMETER_PROBLEM, 0) => Reason::RoutingHeader,
            (Icmp6Type::PARAMETER_PROBLEM, OF_FRAGMENT) => Reason::BadFragment,
            (Icmp6Type::PARAMETER_PROBLEM, _) => Reason::UnknownHeader,
            _ => return None,
        };
        let (said, kind) = match icmp_type {
            Icmp6Type::TIME_EXCEEDED => (Event::SentTimeExceeded, ErrorKind::TimeExceeded),
            Icmp6Type::TOO_BIG => (Event::SentTooBig, ErrorKind::TooBig),
            Icmp6Type::PARAMETER_PROBLEM => (Event::SentParameterProblem, ErrorKind::Other),
            _ => (Event::SentUnreachable, ErrorKind::Unreachable),
        };
        Some((cause, said, kind))
    }

    /// RFC 4443 section 2.4 (e). A sender whose packets to a group are too big must learn of it, or it never finds the MTU.
    fn may_answer(
        packet: &Packet<'_>,
        kind: ErrorKind,
        _: &InterfaceTable,
        extension_headers: usize,
    ) -> bool {
        let Some((ip, rest)) = packet.split::<Ipv6Header>() else {
            return false;
        };
        // A chain of headers without end may be that of an error.
        let Ok(chain) = walk_ip6(ip.next_header, rest, extension_headers) else {
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
            && (!to_many || kind == ErrorKind::TooBig)
            && Ip6::is_unicast(ip.source())
    }

    fn fill_headers(error: Icmp6Error, from: Ipv6Addr, to: Ipv6Addr, _: u16, message: &mut [u8]) {
        let payload = (message.len() - Ipv6Header::LENGTH) as u16;
        let ip = Ipv6Header::new(from, to, IpProtocol::ICMPV6, payload);
        let mut icmp =
            Icmp6Header::new(Icmp6Type(error.icmp_type), error.code & !OF_FRAGMENT, error.rest.into());
        let sum = Sum::pseudo_header6(&ip, IpProtocol::ICMPV6, payload.into());
        icmp.checksum.set(sum.bytes(icmp.as_bytes()).bytes(&message[Self::HEADERS..]).checksum());
        message[..Ipv6Header::LENGTH].copy_from_slice(ip.as_bytes());
        message[Ipv6Header::LENGTH..Self::HEADERS].copy_from_slice(icmp.as_bytes());
    }
}
