// SPDX-License-Identifier: Apache-2.0
//! ip6-input: when an IPv6 packet may be forwarded (RFC 8200, RFC 4291). The node: [`crate::forward::input`].
//!
//! Extension headers are the business of whom they are for: a router need not look at hop-by-hop options (RFC 8200 section 4.3),
//! and a routing header means something to the destination only. So is a hop limit of 0: it says something to those who forward.
//!
//! A packet whose source says something on its link only is noted ([`LINK_SCOPED`]): ip6-rewrite keeps it on the link.

use std::fmt;
use std::net::Ipv6Addr;

use weft_engine::buffer::Packet;
use weft_engine::trace::{Names, TraceRecord};
use weft_fib::Ip6;

use crate::context::LINK_SCOPED;
use crate::forward::input::{Checked, take_padding_off};
use crate::headers::Ipv6Header;

weft_engine::drops! {
    /// Why a packet is not IPv6 as RFC 8200 means it, or comes from where nobody can.
    pub enum Reason {
        /// packet shorter than an IPv6 header
        Truncated = "too_short", Error;
        /// version is not 6
        Version = "bad_version", Error;
        /// payload length beyond the end of the packet
        Length = "bad_length", Error;
        /// source address is a group's (RFC 4291 section 2.7)
        MulticastSource = "multicast_source", Error;
        /// source address is the unspecified one, and the packet is for others than the stations of its link (RFC 4291 section 2.5.2)
        UnspecifiedSource = "unspecified_source", Error;
        /// destination address is the unspecified one
        UnspecifiedDestination = "unspecified_destination", Error;
        /// source or destination is the loopback address, which is on no wire (RFC 4291 section 2.5.3)
        Loopback = "loopback_address", Error;
        /// source or destination is an IPv4 address in the form of an IPv6 one, which is on no wire (RFC 4291 section 2.5.5)
        EmbeddedIp4 = "ip4_mapped_address", Error;
        /// destination is a group of no scope or of this host alone, which is on no wire (RFC 4291 section 2.7)
        GroupScope = "bad_multicast_scope", Error;
    }
}

/// Prints the IPv6 header of a record, as the nodes of this family do.
pub(crate) fn format_header(record: &TraceRecord, _: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    let Ok((ip, _)) = zerocopy::Ref::<_, Ipv6Header>::from_prefix(record.data()) else {
        return writeln!(out, "  {} bytes, too short for an IPv6 header", record.data().len());
    };
    writeln!(out, "  {}: {} -> {}", ip.next_header, ip.source(), ip.destination())?;
    writeln!(
        out,
        "    tos 0x{:02x}, flow label 0x{:05x}, hop limit {}, payload length {}",
        ip.traffic_class(),
        ip.flow_label(),
        ip.hop_limit,
        ip.payload_length
    )
}

/// First octets of addresses that need a second look: those that no host has, link-local ones and groups.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    (table[0], table[0xfe], table[0xff]) = (true, true, true);
    table
};

impl Checked for Ip6 {
    type Unsound = Reason;

    const RECEIVED: &'static str = "/if/ip6";

    /// No padding, one segment, from one host to another.
    #[inline(always)]
    fn is_plain(packet: &mut Packet<'_>) -> bool {
        // Packets in several buffers are left to `check`: for all others, their length is one load less.
        packet.header::<Ipv6Header>().is_some_and(|ip| {
            Ipv6Header::LENGTH + usize::from(ip.payload_length.get()) == packet.length() && is_plain(ip)
        })
    }

    /// Notes link-local sources, too.
    #[cold]
    fn check(packet: &mut Packet<'_>) -> Option<Reason> {
        let Some(ip) = packet.header::<Ipv6Header>() else {
            return Some(Reason::Truncated);
        };
        let total = Ipv6Header::LENGTH + usize::from(ip.payload_length.get());
        let (source, destination) = (ip.source(), ip.destination());
        if ip.version() != 6 {
            return Some(Reason::Version);
        }
        if total > packet.meta.total_length() {
            return Some(Reason::Length);
        }
        if let Some(reason) = check_addresses(source, destination) {
            return Some(reason);
        }
        if source.is_unicast_link_local() {
            packet.meta.flags |= LINK_SCOPED;
        }
        take_padding_off(packet, total);
        None
    }

    #[inline(always)]
    fn is_to_group(packet: &Packet<'_>) -> bool {
        packet.header::<Ipv6Header>().is_some_and(|ip| ip.destination().is_multicast())
    }
}

/// Whether everything is right with a header of the common shape, its length apart.
#[inline(always)]
pub(super) fn is_plain(ip: &Ipv6Header) -> bool {
    ip.version() == 6 && !(is_special(ip.source()) | is_special(ip.destination()))
}

#[inline(always)]
fn is_special(address: Ipv6Addr) -> bool {
    SPECIAL[usize::from(address.octets()[0])]
}

fn check_addresses(source: Ipv6Addr, destination: Ipv6Addr) -> Option<Reason> {
    let scope = destination.octets()[1] & 0xf;
    if source.is_multicast() {
        return Some(Reason::MulticastSource);
    }
    if destination.is_unspecified() {
        return Some(Reason::UnspecifiedDestination);
    }
    if source.is_unspecified() && !(destination.is_multicast() && scope == LINK_SCOPE) {
        return Some(Reason::UnspecifiedSource);
    }
    if source.is_loopback() || destination.is_loopback() {
        return Some(Reason::Loopback);
    }
    let is_embedded = |address: Ipv6Addr| !address.is_unspecified() && address.to_ipv4().is_some();
    if is_embedded(source) || is_embedded(destination) {
        return Some(Reason::EmbeddedIp4);
    }
    (destination.is_multicast() && scope < LINK_SCOPE).then_some(Reason::GroupScope)
}

/// Scope of groups of a link (RFC 7346 section 2).
const LINK_SCOPE: u8 = 2;
