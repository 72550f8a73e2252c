// SPDX-License-Identifier: Apache-2.0
//! What IPv6 has of its own of the nodes that forward ([`crate::forward`]).
//!
//! Nothing is fragmented on the way (RFC 8200 section 5): what is too long becomes a packet too big, but for what this router says
//! itself (ip6-frag). No route leads to a link-local address, as it says nothing without its link; packets of our own to one carry
//! the link in `tx_interface`.

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::feature::ArcSpec;
use weft_engine::publish::SlabReader;
use weft_engine::trace::{Names, TraceRecord};
use weft_fib::{Family, Fib6, Ip6, LoadBalanceId};

use super::icmp_error::Icmp6Error;
use super::input::format_header;
use crate::arcs::{
    IP6_DROP_ARC, IP6_LOCAL_ARC, IP6_MULTICAST_ARC, IP6_OUTPUT_ARC, IP6_PUNT_ARC, IP6_UNICAST_ARC,
};
use crate::context::{GLEAN, IpContext, LOCALLY_ORIGINATED};
use crate::flow_hash;
use crate::forward::{Forwarded, NodeNames, Undeliverable, lookup, rewrite};
use crate::headers::{IpProtocol, Ipv6Header};
use crate::interface::{InterfaceTable, TableIndex};
use crate::tables::Tables;

impl Forwarded for Ip6 {
    type Key = u128;

    const NODES: NodeNames = NodeNames {
        woven: "ip6-woven",
        input: "ip6-input",
        lookup: "ip6-lookup",
        rewrite: "ip6-rewrite",
        frag: "ip6-frag",
        hold: "ip6-discover-neighbor",
        local: "ip6-local",
        local_end: "ip6-local-end-of-arc",
        reassembly: "ip6-reassembly",
        icmp_error: "ip6-icmp-error",
        urpf_strict: "ip6-rx-urpf-strict",
        urpf_loose: "ip6-rx-urpf-loose",
        local_only: "ip6-local-only",
        classify: "ip6-classify",
    };
    const MULTICAST_ARC: &'static ArcSpec<'static> = &IP6_MULTICAST_ARC;
    const UNICAST_ARC: &'static ArcSpec<'static> = &IP6_UNICAST_ARC;
    const LOCAL_ARC: &'static ArcSpec<'static> = &IP6_LOCAL_ARC;
    const DROP_ARC: &'static ArcSpec<'static> = &IP6_DROP_ARC;
    const PUNT_ARC: &'static ArcSpec<'static> = &IP6_PUNT_ARC;
    const OUTPUT_ARC: &'static ArcSpec<'static> = &IP6_OUTPUT_ARC;

    fn fibs(tables: &Tables) -> &SlabReader<Arc<Fib6>> {
        &tables.fibs6
    }

    fn key(address: Ipv6Addr) -> u128 {
        address.to_bits()
    }

    fn addr(key: u128) -> Ipv6Addr {
        Ipv6Addr::from_bits(key)
    }

    #[inline(always)]
    fn find(fib: &Fib6, address: u128) -> LoadBalanceId {
        fib.lookup(address)
    }

    #[inline(always)]
    fn finds_many(fib: &Fib6) -> bool {
        fib.is_large()
    }

    #[inline(always)]
    fn find_all(fib: &Fib6, addresses: &[u128], found: &mut [LoadBalanceId]) {
        fib.lookup_all(addresses, found);
    }

    #[inline(always)]
    fn prefetch(fib: &Fib6, address: u128) {
        fib.prefetch(address);
    }

    #[inline(always)]
    fn destination(packet: &Packet<'_>) -> Option<u128> {
        packet.header::<Ipv6Header>().map(|ip| ip.destination().to_bits())
    }

    #[inline(always)]
    fn source(packet: &Packet<'_>) -> Option<u128> {
        packet.header::<Ipv6Header>().map(|ip| ip.source().to_bits())
    }

    /// A link-local address, or none at all: ip6-input lets that pass only to a group of the link.
    #[inline(always)]
    fn is_of_link(source: u128) -> bool {
        source == 0 || Ipv6Addr::from_bits(source).is_unicast_link_local()
    }

    fn is_host(_: &InterfaceTable, _: TableIndex, address: Ipv6Addr) -> bool {
        Ip6::can_be_neighbor(address)
    }

    /// Over addresses, and the flow label if the sender gives one and `labels` are set to count (RFC 6438): all packets of a flow have the same, fragments and
    /// encrypted ones too. Otherwise over protocol and ports, where these come right after the IPv6 header.
    fn flow_hash(packet: &Packet<'_>, labels: bool) -> u32 {
        let Some((ip, rest)) = packet.split::<Ipv6Header>() else {
            return 1;
        };
        let label = if labels { ip.flow_label() } else { 0 };
        let flow = match (label, ip.next_header, rest) {
            (0, IpProtocol::TCP | IpProtocol::UDP, [a, b, c, d, ..]) => {
                u64::from(ip.next_header.0) << 32 | u64::from(u32::from_be_bytes([*a, *b, *c, *d]))
            }
            (0, protocol, _) => u64::from(protocol.0) << 32,
            (label, ..) => 1 << 63 | u64::from(label),
        };
        let (source, destination) = (ip.source().to_bits(), ip.destination().to_bits());
        flow_hash::of(&[
            (source >> 64) as u64,
            source as u64,
            (destination >> 64) as u64,
            destination as u64,
            flow,
        ])
    }

    fn local(packet: &mut Packet<'_>) -> lookup::Step {
        let to_link = packet.meta.flags & LOCALLY_ORIGINATED != 0
            && packet.header::<Ipv6Header>().is_some_and(|ip| ip.destination().is_unicast_link_local());
        if !to_link {
            return lookup::Step::Local;
        }
        packet.meta.set_next_hop(GLEAN);
        lookup::Step::Hold
    }

    #[inline(always)]
    fn hops(packet: &Packet<'_>) -> Option<u8> {
        packet.header::<Ipv6Header>().map(|ip| ip.hop_limit)
    }

    #[inline(always)]
    fn hop(packet: &mut Packet<'_>) -> bool {
        match packet.header_mut::<Ipv6Header>() {
            Some(ip) if ip.hop_limit > 1 => {
                ip.hop_limit -= 1;
                true
            }
            _ => false,
        }
    }

    fn too_long(packet: &mut Packet<'_>, mtu: u16) -> rewrite::Step {
        if packet.meta.flags & LOCALLY_ORIGINATED != 0 {
            return rewrite::Step::Fragment;
        }
        Ip6::mark(packet, Undeliverable::TooLong(mtu));
        rewrite::Step::IcmpError
    }

    fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
        format_header(record, names, out)
    }

    fn mark(packet: &mut Packet<'_>, why: Undeliverable) {
        let error = match why {
            Undeliverable::Expired => Icmp6Error::HOP_LIMIT_EXCEEDED,
            Undeliverable::TooLong(mtu) => Icmp6Error::too_big(mtu),
            Undeliverable::NoRoute => Icmp6Error::NO_ROUTE,
            Undeliverable::Unreachable => Icmp6Error::ADDRESS_UNREACHABLE,
            Undeliverable::Prohibited => Icmp6Error::ADMIN_PROHIBITED,
            Undeliverable::BeyondScope => Icmp6Error::BEYOND_SCOPE,
        };
        error.mark(packet);
    }
}
