// SPDX-License-Identifier: Apache-2.0
//! ip6-lookup and ip6-rewrite: what IPv6 has of its own of the nodes that forward ([`crate::forward`]).
//!
//! Nothing is fragmented on the way (RFC 8200 section 5): what is too long becomes a packet too big, but for what this router says
//! itself (ip6-frag). No route leads to a
//! link-local address, as it says nothing without its link; packets of our own to one carry the link in `tx_interface`.

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use weft_engine::buffer::Packet;
use weft_engine::feature::ArcSpec;
use weft_engine::node::{NodeSpec, Reasons};
use weft_engine::publish::SlabReader;
use weft_engine::trace::{Names, TraceRecord};
use weft_fib::{Fib6, Ip6, LoadBalanceId};

use super::checks::CHECKS;
use super::flow_hash::flow_hash;
use super::icmp_error::Icmp6Error;
use super::input::format_header;
use crate::arcs::{IP6_DROP_ARC, IP6_OUTPUT_ARC, IP6_PUNT_ARC, IP6_UNICAST_ARC};
use crate::context::{GLEAN, IpContext, LOCALLY_ORIGINATED};
use crate::forward::checks::Checks;
use crate::forward::{Forwarded, Undeliverable, lookup, rewrite};
use crate::headers::Ipv6Header;
use crate::setup::{Added, Setup, built_in};
use crate::tables::Tables;

/// Descriptor of ip6-lookup.
pub static IP6_LOOKUP: NodeSpec =
    NodeSpec::internal("ip6-lookup").next(Ip6::AFTER_LOOKUP).drops(lookup::Reason::ALL).trace(format_lookup);

fn format_lookup(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    lookup::format_found(record, names, out)?;
    format_header(record, names, out)
}

/// Descriptor of ip6-rewrite.
pub static IP6_REWRITE: NodeSpec = NodeSpec::internal("ip6-rewrite")
    .next(Ip6::AFTER_REWRITE)
    .drops(rewrite::Reason::ALL)
    .trace(rewrite::format);

built_in!(add_lookup);

fn add_lookup(setup: &mut Setup<'_>) -> Added {
    Ok(lookup::define::<Ip6>(&IP6_LOOKUP, setup.tables))
}

built_in!(add_rewrite);

fn add_rewrite(setup: &mut Setup<'_>) -> Added {
    Ok(rewrite::define::<Ip6>(&IP6_REWRITE, setup.tables))
}

impl Forwarded for Ip6 {
    type Key = u128;

    const UNICAST_ARC: &'static ArcSpec<'static> = &IP6_UNICAST_ARC;
    const DROP_ARC: &'static ArcSpec<'static> = &IP6_DROP_ARC;
    const PUNT_ARC: &'static ArcSpec<'static> = &IP6_PUNT_ARC;
    const OUTPUT_ARC: &'static ArcSpec<'static> = &IP6_OUTPUT_ARC;
    const AFTER_LOOKUP: &'static [&'static str] =
        &["ip6-rewrite", "ip6-discover-neighbor", "ip6-local", "punt", "ip6-icmp-error"];
    const AFTER_REWRITE: &'static [&'static str] = &["ip6-discover-neighbor", "ip6-icmp-error", "ip6-frag"];
    const CHECKS: Checks = CHECKS;

    fn fibs(tables: &Tables) -> &SlabReader<Arc<Fib6>> {
        &tables.fibs6
    }

    fn key(address: Ipv6Addr) -> u128 {
        address.to_bits()
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

    fn flow_hash(packet: &Packet<'_>) -> u32 {
        flow_hash(packet)
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
