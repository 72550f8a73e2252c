// SPDX-License-Identifier: Apache-2.0
//! The hash that keeps a flow on one of several paths.
//!
//! Over addresses, protocol and, unless the packet is a fragment, ports: all fragments of a datagram take the same path,
//! because only the first carries ports. Two rounds of multiply and fold spread any change of the input over
//! all 32 bits; it is no defence against an attacker who chooses addresses, which ECMP does not need.

use weft_engine::buffer::Packet;

use crate::headers::{IpProtocol, Ipv4Header};

const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xd1b5_4a32_d192_ed03;

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    wide as u64 ^ (wide >> 64) as u64
}

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
    let rest = u64::from(ip.protocol.0) << 32 | u64::from(ports);
    let hash = fold(fold(addresses ^ K0, K1) ^ rest, K0);
    ((hash >> 32) as u32 ^ hash as u32).max(1)
}
