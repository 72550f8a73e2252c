// SPDX-License-Identifier: Apache-2.0
//! ip6-reassembly: what the fragments of IPv6 say (RFC 8200 section 4.5).
//!
//! What is refused, and the bounds: [`crate::reassembly`]; the node: [`crate::reassembly::node`]. Of one
//! datagram, what the first fragment has before its fragment header stays, and that header goes. One that is the whole
//! datagram waits for nobody, whatever else has its number (RFC 6946). Who sends fragments that no datagram can have is
//! told. Neighbour discovery is not accepted in fragments (RFC 6980).

use std::net::Ipv6Addr;
use std::time::Duration;

use weft_engine::BufferIndex;
use weft_engine::buffer::Packet;
use weft_fib::Ip6;
use zerocopy::FromBytes;

use super::icmp_error::Icmp6Error;
use super::nd::DISCOVERY;
use crate::context::IpContext;
use crate::headers::{Ip6Chain, Ip6FragmentHeader, Ip6Place, IpProtocol, Ipv6Header, walk_ip6};
use crate::reassembly::node::{Fragment, Fragmented};
use crate::reassembly::{Key, Piece, Reason};

/// Where an IPv6 header says how long the packet is.
const PAYLOAD_LENGTH_AT: u16 = 4;
/// Where a fragment header says where its data belong.
const OFFSET_AT: usize = 2;

impl Fragmented for Ip6 {
    /// RFC 8200 section 4.5: 60 seconds.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn read(packet: &mut Packet<'_>, index: BufferIndex, extension_headers: usize) -> Fragment<Ipv6Addr> {
        let refused = Fragment::Refused(Reason::BadLength);
        let Some((Ip6Place { at, .. }, fragment, chain)) = find(packet, extension_headers) else {
            return refused;
        };
        let header = at + Ip6FragmentHeader::LENGTH;
        let Some(ip) = packet.header::<Ipv6Header>() else { return refused };
        let Some(length) = packet.meta.total_length().checked_sub(header) else { return refused };
        if is_discovery(packet, &chain) {
            return Fragment::Refused(Reason::Discovery);
        }
        if fragment.is_atomic() {
            return Fragment::Atomic(length);
        }
        let key = Key {
            table: packet.meta.table(),
            source: ip.source(),
            destination: ip.destination(),
            identification: fragment.identification.get(),
            // Fragments may say different things of what they carry; the first one counts.
            protocol: 0,
        };
        let (offset, more, counted) = (fragment.offset(), fragment.more(), at - Ipv6Header::LENGTH);
        if more && !length.is_multiple_of(8) {
            Icmp6Error::bad_fragment(PAYLOAD_LENGTH_AT).mark(packet);
            return Fragment::Told;
        }
        if counted + offset + length > u16::MAX.into() {
            Icmp6Error::bad_fragment((at + OFFSET_AT) as u16).mark(packet);
            return Fragment::Told;
        }
        Fragment::Part(key, Piece { packet: index, header, counted, offset, length, more })
    }

    fn finish(packet: &mut Packet<'_>, length: usize, extension_headers: usize) {
        let Some((Ip6Place { at, named_at }, fragment, _)) = find(packet, extension_headers) else { return };
        // The data moves over the fragment header, and not what stands before it: the host wants the frame as it came, with its link
        // header in front.
        let first = packet.length();
        let bytes = packet.data_mut();
        bytes[named_at] = fragment.next_header.0;
        bytes.copy_within(at + Ip6FragmentHeader::LENGTH.., at);
        packet.truncate(first - Ip6FragmentHeader::LENGTH);
        if let Some(ip) = packet.header_mut::<Ipv6Header>() {
            ip.payload_length.set((at - Ipv6Header::LENGTH + length) as u16);
        }
        packet.meta.hash = 0;
    }

    fn late(packet: &mut Packet<'_>) {
        Icmp6Error::REASSEMBLY_TIMEOUT.mark(packet);
    }
}

/// Whether a packet for this host is a fragment, whose chain of headers is sound as far as it is there.
pub(super) fn is_fragment(packet: &Packet<'_>, extension_headers: usize) -> bool {
    find(packet, extension_headers).is_some()
}

/// The first fragment header of a packet, where it is, and the whole chain; `None`: there is none.
fn find(packet: &Packet<'_>, extension_headers: usize) -> Option<(Ip6Place, Ip6FragmentHeader, Ip6Chain)> {
    let (ip, rest) = packet.split::<Ipv6Header>()?;
    let chain = walk_ip6(ip.next_header, rest, extension_headers).ok()?;
    let place = chain.first_fragment?;
    let (fragment, _) = Ip6FragmentHeader::read_from_prefix(packet.data().get(place.at..)?).ok()?;
    Some((place, fragment, chain))
}

/// Whether the first fragment of a datagram begins with a message of neighbour discovery.
fn is_discovery(packet: &Packet<'_>, chain: &Ip6Chain) -> bool {
    let first = packet.data().get(chain.upper());
    !chain.is_later_fragment()
        && chain.protocol == IpProtocol::ICMPV6
        && first.is_some_and(|icmp_type| DISCOVERY.contains(icmp_type))
}
