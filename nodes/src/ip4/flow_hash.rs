// SPDX-License-Identifier: Apache-2.0
//! The hash that keeps a flow on one of several paths.
//!
//! Over addresses, protocol and, unless the packet is a fragment, ports: all fragments of a datagram take the same path,
//! because only the first carries ports.

use weft_engine::buffer::Packet;

use crate::flow_hash::of;
use crate::headers::{IpProtocol, Ipv4Header};

/// The hash of an IPv4 packet; never 0, which means "not computed yet".
pub fn flow_hash(packet: &Packet<'_>) -> u32 {
    let Some(ip) = packet.header::<Ipv4Header>() else {
        return 1;
    };
    let addresses = u64::from(ip.source.get()) << 32 | u64::from(ip.destination.get());
    let has_ports = matches!(ip.protocol, IpProtocol::TCP | IpProtocol::UDP) && !ip.is_fragment();
    let ports = match packet.data().get(ip.header_length()..) {
        Some([a, b, c, d, ..]) if has_ports => u32::from_be_bytes([*a, *b, *c, *d]),
        _ => 0,
    };
    of(&[addresses, u64::from(ip.protocol.0) << 32 | u64::from(ports)])
}
