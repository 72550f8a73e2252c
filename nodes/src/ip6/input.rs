// SPDX-License-Identifier: Apache-2.0
//! ip6-input: is this a packet that may be forwarded at all (RFC 8200, RFC 4291)?
//!
//! Every malformation has its own reason. A well-formed packet from one host to another passes one branch; after this node
//! the buffer holds exactly the IPv6 header and the bytes that it announces. Extension headers are the business of whom they are
//! for: a router need not look at hop-by-hop options (RFC 8200 section 4.3), and a routing header means something to the
//! destination only. So is a hop limit of 0: it says something to those who forward.
//!
//! A packet whose source says something on its link only is noted ([`LINK_SCOPED`]): ip6-rewrite keeps it on the link.

use std::fmt;
use std::net::Ipv6Addr;

use weft_engine::buffer::Packet;
use weft_engine::feature::Place;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::ArcId;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::{Context, InterfaceIndex};
use weft_stats::SimpleRow;

use crate::arcs::{IP6_MULTICAST_ARC, IP6_UNICAST_ARC};
use crate::context::LINK_SCOPED;
use crate::headers::{EtherType, Ipv6Header};
use crate::registries::ETHER_TYPES;
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where packets go that no feature takes.
    pub enum Next { Lookup => "ip6-lookup" }
}

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

/// Descriptor of ip6-input.
pub static IP6_INPUT: NodeSpec = NodeSpec::internal("ip6-input")
    .handles(&[ETHER_TYPES.number(EtherType::IPV6.0)])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .trace(format_header);

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

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let received = setup.interface_counter("/if/ip6", &IP6_INPUT)?;
    Ok(NodeDef::new(&IP6_INPUT, move |w| {
        Box::new(Ip6Input {
            arc: w.arc(&IP6_UNICAST_ARC),
            multicast: w.arc(&IP6_MULTICAST_ARC),
            received: received.row(w.thread()),
            next: w.nexts(),
            reasons: w.reasons(),
        })
    }))
}

/// One worker's instance.
pub struct Ip6Input {
    /// The `ip6-unicast` arc.
    pub arc: ArcId,
    /// The `ip6-multicast` arc.
    pub multicast: ArcId,
    /// `/if/ip6`: received IPv6 packets by interface.
    pub received: SimpleRow,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl Node for Ip6Input {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arc, reasons, received) = (cx.arcs().arc(self.arc), self.reasons, &self.received);
        let (lookup, multicast) = (self.next.to(Next::Lookup), cx.arcs().arc(self.multicast));
        // Packets of one interface come in runs: one count and one look at its features for each run.
        let (mut interface, mut run) = (InterfaceIndex::NONE, 0);
        let mut features = Place::none(lookup);
        cx.each(frame, |packet| {
            let rx = packet.meta.rx_interface;
            if rx != interface {
                std::hint::cold_path();
                received.add(interface.index(), run);
                (interface, run) = (rx, 0);
                features = arc.place(rx).unwrap_or(Place::none(lookup));
            }
            run += 1;
            if !is_plain_packet(packet) {
                if let Some(reason) = check(&mut packet.aside()) {
                    return reasons.drop(packet, reason);
                }
                let ip = packet.header::<Ipv6Header>();
                if ip.is_some_and(|ip| ip.destination().is_multicast()) {
                    return multicast.place(rx).unwrap_or(Place::none(lookup)).enter(packet);
                }
            }
            features.enter(packet)
        });
        received.add(interface.index(), run);
    }
}

/// Whether everything is right with a packet of the common shape: no padding, one segment, from one host to another.
#[inline(always)]
fn is_plain_packet(packet: &Packet<'_>) -> bool {
    let Some(ip) = packet.header::<Ipv6Header>() else {
        return false;
    };
    // Packets in several buffers are left to `check`: for all others, their length is one load less.
    Ipv6Header::LENGTH + usize::from(ip.payload_length.get()) == packet.length() && is_plain(ip)
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

/// Everything else, one question after the other. Takes padding off and notes link-local sources; `None`: sound.
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
    // Ethernet pads to 60 bytes. A chained packet is longer than that and is never padded.
    if packet.meta.next_segment().is_none() {
        packet.truncate(total);
    }
    None
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
