// SPDX-License-Identifier: Apache-2.0
//! The hash that keeps a flow on one of several paths (RFC 6438).
//!
//! Over addresses, and the flow label if the sender gives one: all packets of a flow have the same, fragments and encrypted ones
//! too. Otherwise over protocol and ports, where these come right after the IPv6 header.

use weft_engine::buffer::Packet;

use crate::flow_hash::of;
use crate::headers::{IpProtocol, Ipv6Header};

/// The hash of an IPv6 packet; never 0, which means "not computed yet".
pub fn flow_hash(packet: &Packet<'_>) -> u32 {
    let Some((ip, rest)) = packet.split::<Ipv6Header>() else {
        return 1;
    };
    let flow = match (ip.flow_label(), ip.next_header, rest) {
        (0, IpProtocol::TCP | IpProtocol::UDP, [a, b, c, d, ..]) => {
            u64::from(ip.next_header.0) << 32 | u64::from(u32::from_be_bytes([*a, *b, *c, *d]))
        }
        (0, protocol, _) => u64::from(protocol.0) << 32,
        (label, ..) => 1 << 63 | u64::from(label),
    };
    let (source, destination) = (ip.source().to_bits(), ip.destination().to_bits());
    of(&[(source >> 64) as u64, source as u64, (destination >> 64) as u64, destination as u64, flow])
}
