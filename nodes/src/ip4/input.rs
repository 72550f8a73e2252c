// SPDX-License-Identifier: Apache-2.0
//! ip4-input: is this a packet that may be forwarded at all (RFC 1812 section 5.2.2)?
//!
//! Every malformation has its own reason. A well-formed packet without options passes one branch; after this
//! node the buffer holds exactly `total_length` bytes from the IPv4 header on, and the header is sound.

use std::fmt;
use std::net::Ipv4Addr;

use weft_engine::buffer::Packet;
use weft_engine::feature::Place;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::ArcId;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::{Context, InterfaceIndex};
use weft_stats::SimpleRow;

use crate::arcs::{IP4_MULTICAST_ARC, IP4_UNICAST_ARC};
use crate::headers::{EtherType, IpProtocol, Ipv4Header, checksum};
use crate::registries::ETHER_TYPES;
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where packets go that no feature takes.
    pub enum Next { Lookup => "ip4-lookup" }
}

weft_engine::drops! {
    /// Why a packet is not IPv4 as RFC 791 means it, or comes from where nobody can.
    pub enum Reason {
        /// packet shorter than an IPv4 header
        Truncated = "too_short", Error;
        /// version is not 4
        Version = "bad_version", Error;
        /// header length below 20 bytes, or beyond the end of the packet
        HeaderLength = "bad_header_length", Error;
        /// total length below the header length, or beyond the end of the packet
        TotalLength = "bad_total_length", Error;
        /// fragment of TCP that begins within the header of TCP, and so behind what filters look at (RFC 3128)
        TinyFragment = "tcp_header_in_fragments", Error;
        /// wrong header checksum
        Checksum = "bad_checksum", Error;
        /// source address is no host's: multicast, broadcast, loopback, 0.0.0.0/8 or class E
        Source = "martian_source", Error;
        /// destination address is not on any network: loopback, 0.0.0.0/8 or class E
        Destination = "martian_destination", Error;
    }
}

/// Descriptor of ip4-input.
pub static IP4_INPUT: NodeSpec = NodeSpec::internal("ip4-input")
    .handles(&[ETHER_TYPES.number(EtherType::IPV4.0)])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .trace(format_header);

/// Prints the IPv4 header of a record, as the nodes of this family do.
pub(crate) fn format_header(record: &TraceRecord, _: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    let Ok((ip, _)) = zerocopy::Ref::<_, Ipv4Header>::from_prefix(record.data()) else {
        return writeln!(out, "  {} bytes, too short for an IPv4 header", record.data().len());
    };
    writeln!(out, "  {}: {} -> {}", ip.protocol, ip.source(), ip.destination())?;
    writeln!(
        out,
        "    tos 0x{:02x}, ttl {}, length {}, checksum 0x{:04x}",
        ip.tos,
        ip.ttl,
        ip.total_length,
        ip.checksum.get()
    )?;
    writeln!(
        out,
        "    fragment id 0x{:04x}, offset {}, flags {}{}",
        ip.identification.get(),
        ip.fragment_offset(),
        if ip.dont_fragment() { "DF " } else { "" },
        if ip.more_fragments() { "MF" } else { "" }
    )
}

/// First octets of addresses that no source has (RFC 1812 section 5.3.7 and RFC 6890). Nor is a packet to one of them like
/// most others.
static BAD_SOURCE: [bool; 256] = octets(224);
/// And no destination.
static BAD_DESTINATION: [bool; 256] = octets(240);

/// "This network", loopback, and all from `first` on.
const fn octets(first: usize) -> [bool; 256] {
    let mut table = [false; 256];
    (table[0], table[127]) = (true, true);
    let mut octet = first;
    while octet < 256 {
        table[octet] = true;
        octet += 1;
    }
    table
}

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let received = setup.interface_counter("/if/ip4", &IP4_INPUT)?;
    Ok(NodeDef::new(&IP4_INPUT, move |w| {
        Box::new(Ip4Input {
            arc: w.arc(&IP4_UNICAST_ARC),
            multicast: w.arc(&IP4_MULTICAST_ARC),
            received: received.row(w.thread()),
            next: w.nexts(),
            reasons: w.reasons(),
        })
    }))
}

/// One worker's instance.
pub struct Ip4Input {
    /// The `ip4-unicast` arc.
    pub arc: ArcId,
    /// The `ip4-multicast` arc.
    pub multicast: ArcId,
    /// `/if/ip4`: received IPv4 packets by interface.
    pub received: SimpleRow,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl Node for Ip4Input {
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
            if let Some(ip) = packet.header::<Ipv4Header>()
                && is_sound(ip)
            {
                let total = usize::from(ip.total_length.get());
                if total == packet.length() {
                    return features.enter(packet);
                }
                if is_within(total, packet.length()) {
                    take_padding_off(packet, total);
                    return features.enter(packet);
                }
            }
            if let Some(reason) = check(&mut packet.aside()) {
                return reasons.drop(packet, reason);
            }
            let ip = packet.header::<Ipv4Header>();
            if ip.is_some_and(|ip| ip.destination().is_multicast()) {
                return multicast.place(rx).unwrap_or(Place::none(lookup)).enter(packet);
            }
            features.enter(packet)
        });
        received.add(interface.index(), run);
    }
}

/// Whether everything is right with a packet of the common shape: no options, one segment, to one host. Of the `length` bytes
/// some may be padding.
#[inline(always)]
pub(super) fn is_plain(ip: &Ipv4Header, length: usize) -> bool {
    is_within(ip.total_length.get().into(), length) && is_sound(ip)
}

/// Whether a packet is not shorter than its header, nor longer than the `length` bytes that there are: one compare, since the header
/// is there.
#[inline(always)]
fn is_within(total: usize, length: usize) -> bool {
    total.wrapping_sub(Ipv4Header::LENGTH) <= length.wrapping_sub(Ipv4Header::LENGTH)
}

/// [`is_plain`], but for the length.
#[inline(always)]
fn is_sound(ip: &Ipv4Header) -> bool {
    (ip.is_common() || is_later_fragment(ip))
        && !(is_bad(&BAD_SOURCE, ip.source()) | is_bad(&BAD_SOURCE, ip.destination()))
        && checksum::is_valid_ip4(ip)
}

/// Whether it is a fragment without options that begins where one may.
#[inline(always)]
fn is_later_fragment(ip: &Ipv4Header) -> bool {
    ip.version_ihl == Ipv4Header::PLAIN && ip.fragment_offset() != TINY
}

/// Where a fragment begins that has the flags of TCP, which belong into the first one: that can be so short only on purpose.
const TINY: usize = 8;

#[inline(always)]
fn is_bad(octets: &[bool; 256], address: Ipv4Addr) -> bool {
    octets[usize::from(address.octets()[0])]
}

/// Everything else, one question after the other. Takes padding off; `None`: sound.
#[cold]
fn check(packet: &mut Packet<'_>) -> Option<Reason> {
    let Some(ip) = packet.header::<Ipv4Header>() else {
        return Some(Reason::Truncated);
    };
    let (header, total) = (ip.header_length(), usize::from(ip.total_length.get()));
    if ip.version() != 4 {
        return Some(Reason::Version);
    }
    if header < Ipv4Header::LENGTH || header > packet.length() {
        return Some(Reason::HeaderLength);
    }
    if total < header || total > packet.meta.total_length() {
        return Some(Reason::TotalLength);
    }
    if checksum::of(&packet.data()[..header]) != 0 {
        return Some(Reason::Checksum);
    }
    if is_bad(&BAD_SOURCE, ip.source()) && !is_unconfigured_host(ip) {
        return Some(Reason::Source);
    }
    if is_bad(&BAD_DESTINATION, ip.destination()) && !ip.destination().is_broadcast() {
        return Some(Reason::Destination);
    }
    if ip.fragment_offset() == TINY && ip.protocol == IpProtocol::TCP {
        return Some(Reason::TinyFragment);
    }
    take_padding_off(packet, total);
    None
}

/// Ethernet pads to 60 bytes. A chained packet is longer than that and is never padded.
#[inline(always)]
fn take_padding_off(packet: &mut Packet<'_>, total: usize) {
    if packet.meta.next_segment().is_none() {
        packet.truncate(total);
    }
}

/// A host that asks for its address by DHCP has none yet (RFC 2131 section 4.1).
fn is_unconfigured_host(ip: &Ipv4Header) -> bool {
    ip.source().is_unspecified() && ip.destination().is_broadcast()
}
