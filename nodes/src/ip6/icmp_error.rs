// SPDX-License-Identifier: Apache-2.0
//! Which ICMPv6 error a packet is to become (RFC 4443).

use weft_engine::buffer::Packet;

use crate::headers::Icmp6Type;

/// An ICMPv6 error that a packet is to become, and thereby what it dies of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Icmp6Error {
    icmp_type: Icmp6Type,
    code: u8,
    mtu: u16,
}

impl Icmp6Error {
    /// Nobody has the address (RFC 4443 section 3.1, code 3).
    pub const ADDRESS_UNREACHABLE: Icmp6Error =
        Icmp6Error { icmp_type: Icmp6Type::UNREACHABLE, code: 3, mtu: 0 };

    /// Notes on the packet what it is to become; the caller sends it to the node that makes it so.
    #[inline]
    pub fn mark(self, packet: &mut Packet<'_>) {
        packet.meta.scratch[0] =
            u32::from(self.icmp_type.0) << 24 | u32::from(self.code) << 16 | u32::from(self.mtu);
    }
}
