// SPDX-License-Identifier: Apache-2.0
//! ip4-reassembly: fragments for this host wait here until their datagram is whole (RFC 1812 section 4.2.2.7).
//!
//! What is refused, and the bounds: [`crate::reassembly`]; what the node does: [`crate::reassembly::node`].

use std::net::Ipv4Addr;
use std::time::Duration;

use weft_engine::BufferIndex;
use weft_engine::buffer::Packet;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, NodeSpec, Reasons, Role};
use weft_fib::Ip4;

use super::icmp_error::IcmpError;
use super::input::format_header;
use crate::context::IpContext;
use crate::headers::{Ipv4Header, checksum};
use crate::reassembly::node::{Event, Fragment, Fragmented, PERIOD, Reassemble};
use crate::reassembly::{Key, Piece, Reason};
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where packets go.
    pub enum Next { Local => "ip4-local", IcmpError => "ip4-icmp-error" }
}

/// Descriptor of ip4-reassembly.
pub static IP4_REASSEMBLY: NodeSpec = NodeSpec::timer("ip4-reassembly", PERIOD)
    .role(Role::Hold)
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .events(Event::ALL)
    .trace(format_header);

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let (clock, headers) = (setup.engine.clock, setup.tables.settings.extension_headers);
    Ok(NodeDef::new(&IP4_REASSEMBLY, move |w| {
        let next = w.nexts();
        let (local, icmp_error) = (next.to(Next::Local), next.to(Next::IcmpError));
        Box::new(Reassemble::<Ip4>::new(w, &clock, headers, local, icmp_error))
    }))
}

impl Fragmented for Ip4 {
    type Addr = Ipv4Addr;

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
