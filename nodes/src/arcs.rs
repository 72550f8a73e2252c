// SPDX-License-Identifier: Apache-2.0
//! The feature arcs of this crate, by VPP's names.

use weft_engine::feature::{ArcEnd, ArcKey, ArcSpec};

const fn by_rx(name: &'static str, end: &'static str) -> ArcSpec<'static> {
    ArcSpec { name, key: ArcKey::RxInterface, end: ArcEnd::Node(end) }
}

/// ARP packets that arp-input has found sound.
pub static ARP_ARC: ArcSpec<'static> = by_rx("arp", "arp-reply");

/// IPv4 packets that ip4-input has found sound, before they are routed.
pub static IP4_UNICAST_ARC: ArcSpec<'static> = by_rx("ip4-unicast", "ip4-lookup");

/// IPv4 packets for this host.
pub static IP4_LOCAL_ARC: ArcSpec<'static> = by_rx("ip4-local", "ip4-local-end-of-arc");

/// All that leaves by an interface, with its link header.
pub static INTERFACE_OUTPUT_ARC: ArcSpec<'static> =
    ArcSpec { name: "interface-output", key: ArcKey::TxInterface, end: ArcEnd::Transmit };

/// IPv4 packets that are routed out of an interface, with their link header. Then they pass `interface-output`.
pub static IP4_OUTPUT_ARC: ArcSpec<'static> =
    ArcSpec { name: "ip4-output", key: ArcKey::TxInterface, end: ArcEnd::Arc("interface-output") };

/// All of them, those that others end in first.
pub(crate) fn all() -> Vec<ArcSpec<'static>> {
    vec![ARP_ARC, IP4_UNICAST_ARC, IP4_LOCAL_ARC, INTERFACE_OUTPUT_ARC, IP4_OUTPUT_ARC]
}
