// SPDX-License-Identifier: Apache-2.0
//! The registries of this crate: who handles what the built-in nodes do not know themselves.

use weft_engine::registry::{Numbers, RegistrySpec};

/// Frames by what follows their link header. A handler sees the packet from there on; `link_length` bytes of link header
/// are in front of `network_offset`.
pub const ETHER_TYPES: RegistrySpec<'static> = RegistrySpec { name: "ethertype", numbers: Numbers::Hex };

/// IPv4 packets for this host by protocol, but fragments. A handler sees the packet from its IPv4 header on.
pub const IP4_PROTOCOLS: RegistrySpec<'static> =
    RegistrySpec { name: "ip4-protocol", numbers: Numbers::Decimal };

/// UDP datagrams over IPv4 for this host by destination port, likewise, unless somebody handles all of UDP. There is no
/// node of its own for them: ip4-local-end-of-arc looks the port up, and what nobody handles stays where it is.
pub const UDP4_PORTS: RegistrySpec<'static> = RegistrySpec { name: "udp4-port", numbers: Numbers::Decimal };

/// As [`IP4_PROTOCOLS`], of IPv6, by the last next header. A handler sees packets without extension headers alone.
pub const IP6_PROTOCOLS: RegistrySpec<'static> =
    RegistrySpec { name: "ip6-protocol", numbers: Numbers::Decimal };

/// As [`UDP4_PORTS`], of IPv6.
pub const UDP6_PORTS: RegistrySpec<'static> = RegistrySpec { name: "udp6-port", numbers: Numbers::Decimal };

/// Packets on their way to the host by why they are: see [`crate::punt`].
pub const PUNT_REASONS: RegistrySpec<'static> =
    RegistrySpec { name: "punt-reason", numbers: Numbers::Reasons };

/// All of them.
pub(crate) fn all() -> Vec<RegistrySpec<'static>> {
    vec![ETHER_TYPES, IP4_PROTOCOLS, UDP4_PORTS, IP6_PROTOCOLS, UDP6_PORTS, PUNT_REASONS]
}
