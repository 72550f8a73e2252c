// SPDX-License-Identifier: Apache-2.0
//! ip4-local-end-of-arc: how IPv4 packets for this host are delivered. The nodes: [`crate::forward::local`].

use std::time::SystemTime;

use weft_engine::BufferIndex;
use weft_engine::buffer::{BufferCache, Packet};
use weft_engine::registry::RegistrySpec;
use weft_fib::Ip4;

use super::icmp_error::IcmpError;
use super::{TTL, TableIndex, options};
use crate::context::IpContext;
use crate::forward::local::{Arrived, Delivered, Elsewhere, LocalReasons, check_link, retype};
use crate::headers::checksum::{self, Sum};
use crate::headers::{Icmp4Type, IpProtocol, Ipv4Header};
use crate::interface::{Entry, InterfaceTable};
use crate::registries::{IP4_PROTOCOLS, UDP4_PORTS};
use crate::segments;

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

impl Delivered for Ip4 {
    type Unserved = Reason;

    const REASONS: LocalReasons<Reason> = LocalReasons {
        link_broadcast: Reason::LinkBroadcast,
        no_interface: Reason::NoInterface,
        no_host_many: Reason::NoHostBroadcast,
        no_host_icmp: Reason::NoHostIcmp,
        no_host_tcp: Reason::NoHostTcp,
        no_host_udp: Reason::NoHostUdp,
        no_host_protocol: Reason::NoHostProtocol,
    };
    const PUNTS: &'static [&'static str] =
        &["broadcast_no_host", "icmp_no_host", "tcp_no_host", "udp_no_host", "protocol_no_host"];
    const HANDLERS: [&'static RegistrySpec<'static>; 2] = [&IP4_PROTOCOLS, &UDP4_PORTS];
    const DISCOVERY: Option<&'static str> = None;
    const ICMP: IpProtocol = IpProtocol::ICMP;
    const PORT_UNREACHABLE: IcmpError = IcmpError::PORT_UNREACHABLE;

    fn is_fragment(packet: &Packet<'_>, _: usize) -> bool {
        packet.header::<Ipv4Header>().is_some_and(Ipv4Header::is_fragment)
    }

    fn look(
        packet: &Packet<'_>,
        _: &Entry,
        interfaces: &InterfaceTable,
        _: usize,
    ) -> Result<Arrived, Elsewhere<Ip4>> {
        let Some(ip) = packet.header::<Ipv4Header>() else {
            return Err(Elsewhere::Drop(Reason::NoInterface));
        };
        let is_to_many = !interfaces.is_unicast4(TableIndex(packet.meta.table()), ip.destination());
        check_link(packet, is_to_many)?;
        let handled_behind = Some(ip.header_length());
        Ok(Arrived { protocol: ip.protocol, is_to_many, handled_behind, named_at: 0 })
    }

    fn unknown_protocol(_: &Arrived) -> IcmpError {
        IcmpError::PROTOCOL_UNREACHABLE
    }

    fn is_ping(packet: &Packet<'_>) -> bool {
        packet.split::<Ipv4Header>().is_some_and(|(ip, rest)| {
            let icmp = rest.get(ip.header_length() - Ipv4Header::LENGTH..);
            ip.protocol == IpProtocol::ICMP
                && icmp.and_then(|icmp| icmp.get(..2)) == Some(&[Icmp4Type::ECHO_REQUEST.0, 0])
        })
    }

    /// RFC 792. Options are answered too.
    fn answer(buffers: &mut BufferCache, index: BufferIndex) -> Result<(), Elsewhere<Ip4>> {
        let header = buffers.packet(index).header::<Ipv4Header>().map_or(0, Ipv4Header::header_length);
        if !segments::sum(buffers, index, header, Sum::default()).is_valid() {
            return Err(Elsewhere::Drop(Reason::Checksum));
        }
        let mut packet = buffers.packet(index);
        let headers = packet.split_mut::<Ipv4Header>();
        let behind = headers
            .and_then(|(ip, rest)| Some((ip, rest.split_at_mut_checked(header - Ipv4Header::LENGTH)?)));
        let Some((ip, (options, Some(icmp)))) =
            behind.map(|(ip, (options, rest))| (ip, (options, rest.first_chunk_mut())))
        else {
            return Err(Elsewhere::Drop(Reason::Truncated));
        };
        let before = Sum::default().bytes(options);
        if options::answer(options, ip.destination(), since_midnight).is_err() {
            return Err(Elsewhere::Punt(Reason::NoHostIcmp));
        }
        if !options.is_empty() {
            let after = Sum::default().bytes(options);
            ip.checksum.set(checksum::update(ip.checksum.get(), !before.checksum(), !after.checksum()));
        }
        retype(icmp, Icmp4Type::ECHO_REPLY.0);
        // The sum does not depend on the order of the addresses.
        std::mem::swap(&mut ip.source, &mut ip.destination);
        let word = |ttl: u8| u16::from(ttl) << 8 | u16::from(ip.protocol.0);
        ip.checksum.set(checksum::update(ip.checksum.get(), word(ip.ttl), word(TTL)));
        ip.ttl = TTL;
        Ok(())
    }
}

/// Milliseconds since midnight, UT (RFC 791 section 3.1, internet timestamp).
fn since_midnight() -> u32 {
    const DAY: u128 = 24 * 60 * 60 * 1000;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| (now.as_millis() % DAY) as u32)
}
