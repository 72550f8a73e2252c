// SPDX-License-Identifier: Apache-2.0
//! ip6-local-end-of-arc: how IPv6 packets for this host are delivered. The nodes: [`crate::forward::local`].
//!
//! Neighbour discovery goes to the node that speaks it. The host's business is also what is for groups and for link-local addresses
//! that are not ours, and what is behind extension headers, as it knows them all. Two things are looked for there: a chain that is
//! cut off or has no end, and a routing header, which this router does not obey.

use weft_engine::BufferIndex;
use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::registry::RegistrySpec;
use weft_fib::{AddressFamily, Ip6};

use super::icmp_error::Icmp6Error;
use super::nd::discovery_type;
use super::reassembly::is_fragment;
use crate::forward::local::{Arrived, Delivered, Elsewhere, LocalReasons, check_link, retype};
use crate::headers::checksum::Sum;
use crate::headers::{Icmp6Type, Ip6ChainError, IpProtocol, Ipv6Header, walk_ip6};
use crate::interface::{Entry, InterfaceTable};
use crate::registries::{IP6_PROTOCOLS, UDP6_PORTS};
use crate::segments;

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

/// RFC 1700 "IP TIME TO LIVE PARAMETER".
const HOP_LIMIT: u8 = 64;

impl Delivered for Ip6 {
    type Unserved = Reason;

    const REASONS: LocalReasons<Reason> = LocalReasons {
        link_broadcast: Reason::LinkBroadcast,
        no_interface: Reason::NoInterface,
        no_host_many: Reason::NoHostGroup,
        no_host_icmp: Reason::NoHostIcmp,
        no_host_tcp: Reason::NoHostTcp,
        no_host_udp: Reason::NoHostUdp,
        no_host_protocol: Reason::NoHostProtocol,
    };
    const PUNTS: &'static [&'static str] = &[
        "multicast_no_host",
        "link_local_no_host",
        "icmp_no_host",
        "tcp_no_host",
        "udp_no_host",
        "protocol_no_host",
    ];
    const HANDLERS: [&'static RegistrySpec<'static>; 2] = [&IP6_PROTOCOLS, &UDP6_PORTS];
    const DISCOVERY: Option<&'static str> = Some("ip6-nd-input");
    const ICMP: IpProtocol = IpProtocol::ICMPV6;
    const PORT_UNREACHABLE: Icmp6Error = Icmp6Error::PORT_UNREACHABLE;

    fn is_fragment(packet: &Packet<'_>, extension_headers: usize) -> bool {
        is_fragment(packet, extension_headers)
    }

    fn look(
        packet: &Packet<'_>,
        interface: &Entry,
        _: &InterfaceTable,
        extension_headers: usize,
    ) -> Result<Arrived, Elsewhere<Ip6>> {
        let Some((ip, rest)) = packet.split::<Ipv6Header>() else {
            return Err(Elsewhere::Drop(Reason::NoInterface));
        };
        let is_to_many = ip.destination().is_multicast();
        check_link(packet, is_to_many)?;
        let chain = walk_ip6(ip.next_header, rest, extension_headers).map_err(|error| {
            Elsewhere::Drop(match error {
                Ip6ChainError::TooMany { .. } => Reason::TooManyHeaders,
                _ => Reason::ExtensionHeader,
            })
        })?;
        let protocol = chain.protocol;
        if protocol == IpProtocol::ICMPV6 && discovery_type(packet, extension_headers).is_some() {
            return Err(Elsewhere::Discovery);
        }
        if Ip6::is_link_scoped(ip.destination()) && !interface.ip6.has(ip.destination()) {
            return Err(Elsewhere::Punt(Reason::NoHostLinkLocal));
        }
        if let Some(routing) = chain.routing.filter(|routing| routing.left > 0) {
            // Its type is the third byte of the header.
            let type_at = (Ipv6Header::LENGTH + routing.at + 2) as u16;
            return Err(Elsewhere::Tell(Icmp6Error::routing_header(type_at)));
        }
        let handled_behind = (chain.length == 0).then_some(Ipv6Header::LENGTH);
        Ok(Arrived { protocol, is_to_many, handled_behind, named_at: chain.named_at as u16 })
    }

    fn unknown_protocol(arrived: &Arrived) -> Icmp6Error {
        Icmp6Error::unknown_header(arrived.named_at)
    }

    fn is_ping(packet: &Packet<'_>) -> bool {
        packet.split::<Ipv6Header>().is_some_and(|(ip, icmp)| {
            ip.next_header == IpProtocol::ICMPV6 && icmp.get(..2) == Some(&[Icmp6Type::ECHO_REQUEST.0, 0])
        })
    }

    /// RFC 4443 section 4.2.
    fn answer(buffers: &mut BufferCache, index: BufferIndex) -> Result<(), Elsewhere<Ip6>> {
        let Some(&ip) = buffers.packet(index).header::<Ipv6Header>() else {
            return Err(Elsewhere::Drop(Reason::Truncated));
        };
        let before = Sum::pseudo_header6(&ip, IpProtocol::ICMPV6, ip.payload_length.get().into());
        if !segments::sum(buffers, index, Ipv6Header::LENGTH, before).is_valid() {
            return Err(Elsewhere::Drop(Reason::Checksum));
        }
        let mut packet = buffers.packet(index);
        let headers = packet.split_mut::<Ipv6Header>();
        let Some((ip, Some(icmp))) = headers.map(|(ip, rest)| (ip, rest.first_chunk_mut())) else {
            return Err(Elsewhere::Drop(Reason::Truncated));
        };
        retype(icmp, Icmp6Type::ECHO_REPLY.0);
        ip.turn_round();
        ip.hop_limit = HOP_LIMIT;
        Ok(())
    }
}
