// SPDX-License-Identifier: Apache-2.0
//! The feature arcs of this crate, by VPP's names.

use weft_engine::NodeId;
use weft_engine::buffer::Packet;
use weft_engine::feature::{ArcEnd, ArcKey, ArcSpec, ArcStart};

const fn by_rx(name: &'static str, end: &'static str) -> ArcSpec<'static> {
    ArcSpec { name, key: ArcKey::RxInterface, end: ArcEnd::Node(end) }
}

/// All packets of an interface that ethernet-input has taken the link header off, before it is asked who handles them.
pub static ETHERNET_ARC: ArcSpec<'static> = by_rx("ethernet", "ethernet-end-of-arc");

/// Frames that no node handles, on their way to the host: of another EtherType or VLAN, or of one that the interface does
/// not take.
pub static ETHERNET_PUNT_ARC: ArcSpec<'static> = by_rx("ethernet-punt", "punt");

/// ARP packets that arp-input has found sound.
pub static ARP_ARC: ArcSpec<'static> = by_rx("arp", "arp-reply");

/// IPv4 packets that ip4-input has found sound, before they are routed.
pub static IP4_UNICAST_ARC: ArcSpec<'static> = by_rx("ip4-unicast", "ip4-lookup");

/// Of these, multicast ones. Then they pass `ip4-unicast`, so rules, policers and flows see them too.
pub static IP4_MULTICAST_ARC: ArcSpec<'static> =
    ArcSpec { name: "ip4-multicast", key: ArcKey::RxInterface, end: ArcEnd::Arc("ip4-unicast") };

/// IPv4 packets for this host.
pub static IP4_LOCAL_ARC: ArcSpec<'static> = by_rx("ip4-local", "ip4-local-end-of-arc");

/// IPv4 packets that a route, or ip4-local in want of anybody else, sends to the host.
pub static IP4_PUNT_ARC: ArcSpec<'static> = by_rx("ip4-punt", "punt");

/// IPv4 packets that can neither be forwarded nor delivered, with the reason. An ICMP error about them is another packet.
pub static IP4_DROP_ARC: ArcSpec<'static> = by_rx("ip4-drop", "drop");

/// As [`IP4_UNICAST_ARC`], of IPv6.
pub static IP6_UNICAST_ARC: ArcSpec<'static> = by_rx("ip6-unicast", "ip6-lookup");

/// As [`IP4_MULTICAST_ARC`], of IPv6.
pub static IP6_MULTICAST_ARC: ArcSpec<'static> =
    ArcSpec { name: "ip6-multicast", key: ArcKey::RxInterface, end: ArcEnd::Arc("ip6-unicast") };

/// As [`IP4_LOCAL_ARC`], of IPv6.
pub static IP6_LOCAL_ARC: ArcSpec<'static> = by_rx("ip6-local", "ip6-local-end-of-arc");

/// As [`IP4_PUNT_ARC`], of IPv6.
pub static IP6_PUNT_ARC: ArcSpec<'static> = by_rx("ip6-punt", "punt");

/// As [`IP4_DROP_ARC`], of IPv6.
pub static IP6_DROP_ARC: ArcSpec<'static> = by_rx("ip6-drop", "drop");

/// All that leaves by an interface, with its link header.
pub static INTERFACE_OUTPUT_ARC: ArcSpec<'static> =
    ArcSpec { name: "interface-output", key: ArcKey::TxInterface, end: ArcEnd::Transmit };

/// IPv4 packets that are routed out of an interface, with their link header. Then they pass `interface-output`.
pub static IP4_OUTPUT_ARC: ArcSpec<'static> =
    ArcSpec { name: "ip4-output", key: ArcKey::TxInterface, end: ArcEnd::Arc("interface-output") };

/// As [`IP4_OUTPUT_ARC`], of IPv6.
pub static IP6_OUTPUT_ARC: ArcSpec<'static> =
    ArcSpec { name: "ip6-output", key: ArcKey::TxInterface, end: ArcEnd::Arc("interface-output") };

/// All of them, those that others end in first.
pub(crate) fn all() -> Vec<ArcSpec<'static>> {
    vec![
        ETHERNET_ARC,
        ETHERNET_PUNT_ARC,
        ARP_ARC,
        IP4_UNICAST_ARC,
        IP4_MULTICAST_ARC,
        IP4_LOCAL_ARC,
        IP4_PUNT_ARC,
        IP4_DROP_ARC,
        IP6_UNICAST_ARC,
        IP6_MULTICAST_ARC,
        IP6_LOCAL_ARC,
        IP6_PUNT_ARC,
        IP6_DROP_ARC,
        INTERFACE_OUTPUT_ARC,
        IP4_OUTPUT_ARC,
        IP6_OUTPUT_ARC,
    ]
}

/// Drops a packet, whose reason is set, by way of the features of its interface on `ip4-drop` or `ip6-drop`.
#[inline]
pub(crate) fn drop_by(arc: ArcStart<'_>, packet: &mut Packet<'_>) -> NodeId {
    arc.start(packet.meta.rx_interface, packet).unwrap_or(NodeId::DROP)
}
