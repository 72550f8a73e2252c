// SPDX-License-Identifier: Apache-2.0
//! ip4-reassembly: what the fragments of IPv4 say (RFC 1812 section 4.2.2.7).
//!
//! What is refused, and the bounds: [`crate::reassembly`]; the node: [`crate::reassembly::node`].

use std::net::Ipv4Addr;
use std::time::Duration;

use weft_engine::BufferIndex;
use weft_engine::buffer::Packet;
use weft_fib::Ip4;

use super::icmp_error::IcmpError;
use crate::context::IpContext;
use crate::headers::{Ipv4Header, checksum};
use crate::reassembly::node::{Fragment, Fragmented};
use crate::reassembly::{Key, Piece, Reason};

impl Fragmented for Ip4 {
    /// What Linux has, and half of what RFC 1122 section 3.3.2 recommends at least, as strangers can fill the table.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// ip4-input has checked the header and taken padding off.
    fn read(packet: &mut Packet<'_>, index: BufferIndex, _: usize) -> Fragment<Ipv4Addr> {
        let Some(ip) = packet.header::<Ipv4Header>() else { return Fragment::Refused(Reason::BadLength) };
        let header = ip.header_length();
        let key = Key {
            table: packet.meta.table(),
            source: ip.source(),
            destination: ip.destination(),
            identification: ip.identification.get().into(),
            protocol: ip.protocol.0,
        };
        let Some(length) = packet.meta.total_length().checked_sub(header) else {
            return Fragment::Refused(Reason::BadLength);
        };
        let (offset, more) = (ip.fragment_offset(), ip.more_fragments());
        Fragment::Part(key, Piece { packet: index, header, counted: header, offset, length, more })
    }

    fn finish(packet: &mut Packet<'_>, length: usize, _: usize) {
        let Some(ip) = packet.header_mut::<Ipv4Header>() else { return };
        let header = ip.header_length();
        ip.total_length.set((header + length) as u16);
        ip.flags_offset.set(0);
        ip.checksum.set(0);
        let sum = packet.data().get(..header).map_or(0, checksum::of);
        if let Some(ip) = packet.header_mut::<Ipv4Header>() {
            ip.checksum.set(sum);
        }
        packet.meta.hash = 0;
    }

    fn late(packet: &mut Packet<'_>) {
        IcmpError::REASSEMBLY_TIMEOUT.mark(packet);
    }
}
