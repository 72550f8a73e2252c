// SPDX-License-Identifier: Apache-2.0
//! ethernet-input: from a frame on a port to a packet on an interface.
//!
//! Decides whether the frame is for this station, which (sub-)interface it belongs to, and which protocol
//! goes on with it. After this node `rx_interface` is the sub-interface, `table` its forwarding table, and the
//! link header is taken off but still in the buffer (from `link_offset` to `network_offset`), for punt and capture.

use std::fmt;
use std::sync::Arc;

use weft_engine::Context;
use weft_engine::buffer::Packet;
use weft_engine::counters::Counters;
use weft_engine::frame::Frame;
use weft_engine::ids::{InterfaceIndex, NodeId};
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::trace::{Names, TraceRecord};

use crate::context::{IpContext, LINK_BROADCAST};
use crate::headers::{EtherType, EthernetHeader, VlanTag};
use crate::interface::{Entry, InterfaceTable, Tags};

weft_engine::edges! {
    /// Where frames go.
    pub enum Next { Ip4 => "ip4-input", Arp => "arp-input", Punt => "punt" }
}

weft_engine::drops! {
    /// Why frames end here.
    pub enum Reason {
        /// frame shorter than its Ethernet header or VLAN tags
        Truncated = "truncated", Error;
        /// interface is down
        Down = "interface_down", Error;
        /// interface does not exist (any more)
        NoInterface = "no_interface", Error;
        /// destination MAC address is another station's
        NotForUs = "l3_mac_mismatch", Info;
        /// no sub-interface has the VLAN tags of the frame
        UnknownVlan = "unknown_vlan", Error;
        /// no handler for this EtherType, and no host interface to punt to
        UnknownType = "unknown_ethertype", Info;
        /// IPv4 is not enabled on the interface (it has no address), and there is no host interface to punt to
        Ip4Disabled = "ip4_not_enabled", Error;
    }
}

/// Descriptor of ethernet-input.
pub static ETHERNET_INPUT: NodeSpec =
    NodeSpec::internal("ethernet-input").next(Next::NAMES).drops(Reason::ALL).trace(format);

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(
        out,
        "  {} link header {} bytes, table {}",
        names.interface(record.meta.rx_interface),
        record.meta.link_length(),
        record.meta.table()
    )
}

/// One worker's instance.
pub struct EthernetInput {
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl Node for EthernetInput {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let input = Input {
            table: self.interfaces.read(cx.guard()),
            counters: cx.counters,
            next: self.next,
            reasons: self.reasons,
        };
        // Packets of one interface come in runs: what its plain IPv4 packets have in common is kept.
        let (mut interface, mut plain) = (InterfaceIndex::NONE, Plain::NONE);
        cx.each_first(frame, |packet| {
            if packet.meta.rx_interface != interface {
                interface = packet.meta.rx_interface;
                plain = input.plain(interface);
            }
            match packet.header::<EthernetHeader>() {
                Some(ethernet)
                    if ethernet.destination_key() == plain.station
                        && ethernet.ether_type() == EtherType::IPV4 =>
                {
                    packet.advance(EthernetHeader::LENGTH);
                    packet.meta.set_table(plain.table);
                    input.next.to(Next::Ip4)
                }
                _ => input.other(&mut packet.aside()),
            }
        });
    }
}

struct Input<'a> {
    table: &'a InterfaceTable,
    counters: &'a Counters,
    next: Nexts<Next>,
    reasons: ReasonBase<Reason>,
}

/// What untagged IPv4 packets to us on one interface have in common. (A device has set `link_offset` and
/// `network_offset` for them.)
#[derive(Clone, Copy)]
struct Plain {
    /// [`EthernetHeader::destination_key`] of our address.
    station: u64,
    table: u32,
}

impl Plain {
    /// Matches no packet.
    const NONE: Plain = Plain { station: 1, table: 0 };
}

impl Input<'_> {
    #[cold]
    fn plain(&self, interface: InterfaceIndex) -> Plain {
        match self.table.get(interface) {
            Some(entry) if entry.up && entry.ip4 => Plain { station: entry.mac.key(), table: entry.table4.0 },
            _ => Plain::NONE,
        }
    }

    /// Every packet that is not plain, one question after the other.
    #[inline(never)]
    fn other(&self, packet: &mut Packet<'_>) -> NodeId {
        let Some(ethernet) = packet.header::<EthernetHeader>() else {
            return self.reasons.drop(packet, Reason::Truncated);
        };
        let (destination, ether_type) = (ethernet.destination, ethernet.ether_type());
        let Some(interface) = self.table.get(packet.meta.rx_interface) else {
            return self.reasons.drop(packet, Reason::NoInterface);
        };
        if !interface.up {
            return self.reasons.drop(packet, Reason::Down);
        }
        if destination != interface.mac {
            if !destination.is_multicast() {
                return self.reasons.drop(packet, Reason::NotForUs);
            }
            packet.meta.flags |= LINK_BROADCAST;
        }
        if ether_type.is_vlan() {
            return self.tagged(packet, interface, ether_type);
        }
        self.classify(packet, interface, ether_type, EthernetHeader::LENGTH)
    }

    /// Takes `link` bytes off and chooses the protocol.
    fn classify(
        &self,
        packet: &mut Packet<'_>,
        interface: &Entry,
        ether_type: EtherType,
        link: usize,
    ) -> NodeId {
        packet.advance(link);
        packet.meta.set_network_here(link);
        packet.meta.set_table(interface.table4.0);
        let (next, otherwise) = match ether_type {
            EtherType::IPV4 if interface.ip4 => return self.next.to(Next::Ip4),
            EtherType::ARP if interface.ip4 => return self.next.to(Next::Arp),
            EtherType::IPV4 | EtherType::ARP => (Next::Punt, Reason::Ip4Disabled),
            _ => (Next::Punt, Reason::UnknownType),
        };
        if interface.host == NodeId::DROP {
            return self.reasons.drop(packet, otherwise);
        }
        self.next.to(next)
    }

    /// One or two tags: finds the sub-interface.
    fn tagged(&self, packet: &mut Packet<'_>, port: &Entry, outer_type: EtherType) -> NodeId {
        let Some((_, rest)) = packet.split::<EthernetHeader>() else {
            return self.reasons.drop(packet, Reason::Truncated);
        };
        let tag = |bytes: &[u8]| {
            let (tag, rest) = bytes.split_first_chunk::<{ VlanTag::LENGTH }>()?;
            let tag: VlanTag = zerocopy::transmute!(*tag);
            Some((tag, rest.len()))
        };
        let Some((outer, left)) = tag(rest) else {
            return self.reasons.drop(packet, Reason::Truncated);
        };
        let (mut ether_type, mut link) = (outer.ether_type(), EthernetHeader::LENGTH + VlanTag::LENGTH);
        let mut tags = Tags { outer: Some((outer_type, outer.id())), inner: None };
        if ether_type.is_vlan() {
            let Some((inner, _)) = tag(&rest[rest.len() - left..]) else {
                return self.reasons.drop(packet, Reason::Truncated);
            };
            tags.inner = Some(inner.id());
            ether_type = inner.ether_type();
            link += VlanTag::LENGTH;
        }
        let length = packet.meta.total_length() as u64;
        // Id 0 is a priority tag: the frame belongs to the port itself (IEEE 802.1Q table 9-2).
        if outer.id().get() == 0 && tags.inner.is_none() {
            return self.classify(packet, port, ether_type, link);
        }
        let found = port.subs.get(&tags).and_then(|sub| Some((*sub, self.table.get(*sub)?)));
        let Some((index, sub)) = found else {
            if port.host != NodeId::DROP {
                // The host may have the VLAN.
                return self.next.to(Next::Punt);
            }
            return self.reasons.drop(packet, Reason::UnknownVlan);
        };
        if !sub.up {
            return self.reasons.drop(packet, Reason::Down);
        }
        packet.meta.rx_interface = index;
        self.counters.interfaces.rx.add(index.index(), 1, length);
        self.classify(packet, sub, ether_type, link)
    }
}
