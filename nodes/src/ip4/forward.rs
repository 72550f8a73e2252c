// SPDX-License-Identifier: Apache-2.0
//! What IPv4 has of its own of the nodes that forward ([`crate::forward`]).

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::feature::ArcSpec;
use weft_engine::publish::SlabReader;
use weft_engine::trace::{Names, TraceRecord};
use weft_fib::{Fib, Ip4, LoadBalanceId};

use super::icmp_error::IcmpError;
use super::input::format_header;
use crate::arcs::{
    IP4_DROP_ARC, IP4_LOCAL_ARC, IP4_MULTICAST_ARC, IP4_OUTPUT_ARC, IP4_PUNT_ARC, IP4_UNICAST_ARC,
};
use crate::flow_hash;
use crate::forward::{Forwarded, NodeNames, Undeliverable, lookup, rewrite};
use crate::headers::{IpProtocol, Ipv4Header, checksum};
use crate::interface::{InterfaceTable, TableIndex};
use crate::tables::Tables;

impl Forwarded for Ip4 {
    type Key = u32;

    const NODES: NodeNames = NodeNames {
        woven: "ip4-woven",
        input: "ip4-input",
        lookup: "ip4-lookup",
        rewrite: "ip4-rewrite",
        frag: "ip4-frag",
        hold: "ip4-arp",
        local: "ip4-local",
        local_end: "ip4-local-end-of-arc",
        reassembly: "ip4-reassembly",
        icmp_error: "ip4-icmp-error",
        urpf_strict: "ip4-rx-urpf-strict",
        urpf_loose: "ip4-rx-urpf-loose",
        local_only: "ip4-local-only",
        classify: "ip4-classify",
    };
    const MULTICAST_ARC: &'static ArcSpec<'static> = &IP4_MULTICAST_ARC;
    const UNICAST_ARC: &'static ArcSpec<'static> = &IP4_UNICAST_ARC;
    const LOCAL_ARC: &'static ArcSpec<'static> = &IP4_LOCAL_ARC;
    const DROP_ARC: &'static ArcSpec<'static> = &IP4_DROP_ARC;
    const PUNT_ARC: &'static ArcSpec<'static> = &IP4_PUNT_ARC;
    const OUTPUT_ARC: &'static ArcSpec<'static> = &IP4_OUTPUT_ARC;

    fn fibs(tables: &Tables) -> &SlabReader<Arc<Fib>> {
        &tables.fibs
    }

    fn key(address: Ipv4Addr) -> u32 {
        address.to_bits()
    }

    fn addr(key: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(key)
    }

    #[inline(always)]
    fn find(fib: &Fib, address: u32) -> LoadBalanceId {
        fib.lookup(address)
    }

    /// One after the other is one load each.
    #[inline(always)]
    fn finds_many(_: &Fib) -> bool {
        false
    }

    #[inline(always)]
    fn find_all(fib: &Fib, addresses: &[u32], found: &mut [LoadBalanceId]) {
        for (address, found) in addresses.iter().zip(found) {
            *found = fib.lookup(*address);
        }
    }

    #[inline(always)]
    fn prefetch(fib: &Fib, address: u32) {
        fib.prefetch(address);
    }

    #[inline(always)]
    fn destination(packet: &Packet<'_>) -> Option<u32> {
        packet.header::<Ipv4Header>().map(|ip| ip.destination.get())
    }

    #[inline(always)]
    fn source(packet: &Packet<'_>) -> Option<u32> {
        packet.header::<Ipv4Header>().map(|ip| ip.source.get())
    }

    /// A host that asks for its address has none yet; ip4-input lets no other such packet pass.
    #[inline(always)]
    fn is_of_link(source: u32) -> bool {
        source == 0
    }

    fn is_host(interfaces: &InterfaceTable, table: TableIndex, address: Ipv4Addr) -> bool {
        interfaces.is_unicast4(table, address)
    }

    /// Over addresses, protocol and, unless the packet is a fragment, ports: all fragments of a datagram take the same path,
    /// because only the first carries ports.
    fn flow_hash(packet: &Packet<'_>, _: bool) -> u32 {
        let Some(ip) = packet.header::<Ipv4Header>() else {
            return 1;
        };
        let addresses = u64::from(ip.source.get()) << 32 | u64::from(ip.destination.get());
        let has_ports = matches!(ip.protocol, IpProtocol::TCP | IpProtocol::UDP) && !ip.is_fragment();
        let ports = match packet.data().get(ip.header_length()..) {
            Some([a, b, c, d, ..]) if has_ports => u32::from_be_bytes([*a, *b, *c, *d]),
            _ => 0,
        };
        flow_hash::of(&[addresses, u64::from(ip.protocol.0) << 32 | u64::from(ports)])
    }

    fn local(_: &mut Packet<'_>) -> lookup::Step {
        lookup::Step::Local
    }

    #[inline(always)]
    fn hops(packet: &Packet<'_>) -> Option<u8> {
        packet.header::<Ipv4Header>().map(|ip| ip.ttl)
    }

    #[inline(always)]
    fn hop(packet: &mut Packet<'_>) -> bool {
        match packet.header_mut::<Ipv4Header>() {
            Some(ip) if ip.ttl > 1 => {
                checksum::decrement_ttl(ip);
                true
            }
            _ => false,
        }
    }

    fn too_long(packet: &mut Packet<'_>, mtu: u16) -> rewrite::Step {
        if packet.header::<Ipv4Header>().is_some_and(|ip| !ip.dont_fragment()) {
            return rewrite::Step::Fragment;
        }
        Ip4::mark(packet, Undeliverable::TooLong(mtu));
        rewrite::Step::IcmpError
    }

    fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
        format_header(record, names, out)
    }

    fn mark(packet: &mut Packet<'_>, why: Undeliverable) {
        let error = match why {
            Undeliverable::Expired => IcmpError::TTL_EXCEEDED,
            Undeliverable::TooLong(mtu) => IcmpError::fragmentation_needed(mtu),
            Undeliverable::NoRoute => IcmpError::NET_UNREACHABLE,
            Undeliverable::Unreachable | Undeliverable::BeyondScope => IcmpError::HOST_UNREACHABLE,
            Undeliverable::Prohibited => IcmpError::ADMIN_PROHIBITED,
        };
        error.mark(packet);
    }
}
