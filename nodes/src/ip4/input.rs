// SPDX-License-Identifier: Apache-2.0
//! ip4-input: when an IPv4 packet may be forwarded (RFC 1812 section 5.2.2). The node: [`crate::forward::input`].

use std::fmt;
use std::net::Ipv4Addr;

use weft_engine::buffer::Packet;
use weft_engine::trace::{Names, TraceRecord};
use weft_fib::Ip4;

use crate::forward::input::{Checked, take_padding_off};
use crate::headers::{IpProtocol, Ipv4Header, checksum};

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

impl Checked for Ip4 {
    type Unsound = Reason;

    const RECEIVED: &'static str = "/if/ip4";

    #[inline(always)]
    fn is_plain(packet: &mut Packet<'_>) -> bool {
        let Some(ip) = packet.header::<Ipv4Header>().filter(|ip| is_sound(ip)) else {
            return false;
        };
        let total = usize::from(ip.total_length.get());
        if total == packet.length() {
            return true;
        }
        let is_padded = is_within(total, packet.length());
        if is_padded {
            take_padding_off(packet, total);
        }
        is_padded
    }

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

    #[inline(always)]
    fn is_to_group(packet: &Packet<'_>) -> bool {
        packet.header::<Ipv4Header>().is_some_and(|ip| ip.destination().is_multicast())
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

/// A host that asks for its address by DHCP has none yet (RFC 2131 section 4.1).
fn is_unconfigured_host(ip: &Ipv4Header) -> bool {
    ip.source().is_unspecified() && ip.destination().is_broadcast()
}
