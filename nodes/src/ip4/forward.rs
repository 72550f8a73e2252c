// SPDX-License-Identifier: Apache-2.0
//! ip4-lookup and ip4-rewrite: what IPv4 has of its own of the nodes that forward ([`crate::forward`]).

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::feature::ArcSpec;
use weft_engine::node::{NodeSpec, Reasons};
use weft_engine::publish::SlabReader;
use weft_engine::trace::{Names, TraceRecord};
use weft_fib::{Fib, Ip4, LoadBalanceId};

use super::checks::CHECKS;
use super::flow_hash::flow_hash;
use super::icmp_error::IcmpError;
use crate::arcs::{IP4_DROP_ARC, IP4_OUTPUT_ARC, IP4_PUNT_ARC, IP4_UNICAST_ARC};
use crate::forward::checks::Checks;
use crate::forward::{Forwarded, Undeliverable, lookup, rewrite};
use crate::headers::{Ipv4Header, checksum};
use crate::setup::{Added, Setup, built_in};
use crate::tables::Tables;

/// Descriptor of ip4-lookup.
pub static IP4_LOOKUP: NodeSpec =
    NodeSpec::internal("ip4-lookup").next(Ip4::AFTER_LOOKUP).drops(lookup::Reason::ALL).trace(format_lookup);

fn format_lookup(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    lookup::format_found(record, names, out)?;
    super::format_header(record, names, out)
}

/// Descriptor of ip4-rewrite.
pub static IP4_REWRITE: NodeSpec = NodeSpec::internal("ip4-rewrite")
    .next(Ip4::AFTER_REWRITE)
    .drops(rewrite::Reason::ALL)
    .trace(rewrite::format);

built_in!(add_lookup);

fn add_lookup(setup: &mut Setup<'_>) -> Added {
    Ok(lookup::define::<Ip4>(&IP4_LOOKUP, setup.tables))
}

built_in!(add_rewrite);

fn add_rewrite(setup: &mut Setup<'_>) -> Added {
    Ok(rewrite::define::<Ip4>(&IP4_REWRITE, setup.tables))
}

impl Forwarded for Ip4 {
    type Key = u32;

    const UNICAST_ARC: &'static ArcSpec<'static> = &IP4_UNICAST_ARC;
    const DROP_ARC: &'static ArcSpec<'static> = &IP4_DROP_ARC;
    const PUNT_ARC: &'static ArcSpec<'static> = &IP4_PUNT_ARC;
    const OUTPUT_ARC: &'static ArcSpec<'static> = &IP4_OUTPUT_ARC;
    const AFTER_LOOKUP: &'static [&'static str] =
        &["ip4-rewrite", "ip4-arp", "ip4-local", "punt", "ip4-icmp-error"];
    const AFTER_REWRITE: &'static [&'static str] = &["ip4-arp", "ip4-icmp-error", "ip4-frag"];
    const CHECKS: Checks = CHECKS;

    fn fibs(tables: &Tables) -> &SlabReader<Arc<Fib>> {
        &tables.fibs
    }

    fn key(address: Ipv4Addr) -> u32 {
        address.to_bits()
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

    fn flow_hash(packet: &Packet<'_>) -> u32 {
        flow_hash(packet)
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
