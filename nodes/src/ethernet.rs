// SPDX-License-Identifier: Apache-2.0
//! ethernet-input and ethernet-end-of-arc: from a frame on a port to a packet on an interface.
//!
//! The first decides whether the frame is for this station and which (sub-)interface it belongs to. After it,
//! `rx_interface` is the sub-interface, `table` its forwarding table, and the link header is taken off but still in the
//! buffer (from `link_offset` to `network_offset`), for punt and capture. Then the packet passes the `ethernet` arc of
//! its interface, at whose end the second node stands. Where no feature is, the first does the second's work: it hands
//! the packet to the node that handles its EtherType. What no node handles is for the host, after the features of
//! `ethernet-punt`.
//!
//! The frames of a (sub-)interface that is switched ([`Layer2`]) go to its switch as they are, whoever they are for.

use std::fmt;
use std::sync::Arc;

use weft_engine::Context;
use weft_engine::buffer::Packet;
use weft_engine::counters::Counters;
use weft_engine::feature::ArcStart;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::{ArcId, InterfaceIndex, NodeId};
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::registry::{Handlers, RegistryId};
use weft_engine::trace::{Names, TraceRecord};
use weft_stats::SimpleRow;

use crate::arcs::{ETHERNET_ARC, ETHERNET_PUNT_ARC};
use crate::context::{IpContext, LINK_BROADCAST};
use crate::headers::{EtherType, EthernetHeader, MacAddr};
#[cfg(doc)]
use crate::interface::Layer2;
use crate::interface::{Entry, InterfaceTable, Tags};
use crate::registries::ETHER_TYPES;
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where frames go that no node handles.
    pub enum Next { Punt => "punt" }
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
        /// source MAC address is a group's: no station sends from there (IEEE 802 section 8.2.2)
        GroupSource = "multicast_source", Error;
        /// destination MAC address is another station's
        NotForUs = "l3_mac_mismatch", Info;
        /// no sub-interface has the VLAN tags of the frame
        UnknownVlan = "unknown_vlan", Error;
        /// no handler for this EtherType, and no host interface to punt to
        UnknownType = "unknown_ethertype", Info;
        /// IPv4 is not enabled on the interface (it has no address), and there is no host interface to punt to
        Ip4Disabled = "ip4_not_enabled", Error;
        /// IPv6 is not enabled on the interface, and there is no host interface to punt to
        Ip6Disabled = "ip6_not_enabled", Info;
    }
}

/// Descriptor of ethernet-input.
pub static ETHERNET_INPUT: NodeSpec = NodeSpec::internal("ethernet-input")
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .punts(&["unknown_vlan", "unknown_ethertype", "ip4_not_enabled", "ip6_not_enabled"])
    .trace(format);

weft_engine::drops! {
    /// Why packets end after the features of `ethernet`.
    pub enum EndReason {
        /// interface does not exist (any more)
        NoInterface = "no_interface", Error;
        /// no handler for this EtherType, and no host interface to punt to
        UnknownType = "unknown_ethertype", Info;
        /// IPv4 is not enabled on the interface (it has no address), and there is no host interface to punt to
        Ip4Disabled = "ip4_not_enabled", Error;
        /// IPv6 is not enabled on the interface, and there is no host interface to punt to
        Ip6Disabled = "ip6_not_enabled", Info;
    }
}

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(
        out,
        "  {} link header {} bytes, table {}",
        names.interface(record.meta.rx_interface),
        record.meta.link_length(),
        record.meta.table()
    )
}

/// Descriptor of ethernet-end-of-arc.
pub static ETHERNET_END: NodeSpec = NodeSpec::internal("ethernet-end-of-arc")
    .next(Next::NAMES)
    .drops(EndReason::ALL)
    .punts(&["unknown_ethertype", "ip4_not_enabled", "ip6_not_enabled"])
    .trace(format);

built_in!(add_input);

fn add_input(setup: &mut Setup<'_>) -> Added {
    let interfaces = setup.interfaces();
    let mpls = setup.interface_counter("/if/mpls", &ETHERNET_INPUT)?;
    Ok(NodeDef::new(&ETHERNET_INPUT, move |w| {
        Box::new(EthernetInput {
            interfaces: Arc::clone(&interfaces),
            arc: w.arc(&ETHERNET_ARC),
            punts: w.arc(&ETHERNET_PUNT_ARC),
            types: w.registry(&ETHER_TYPES),
            mpls: mpls.row(w.thread()),
            next: w.nexts(),
            reasons: w.reasons(),
        })
    }))
}

built_in!(add_end);

fn add_end(setup: &mut Setup<'_>) -> Added {
    let interfaces = setup.interfaces();
    Ok(NodeDef::new(&ETHERNET_END, move |w| {
        Box::new(EthernetEnd {
            interfaces: Arc::clone(&interfaces),
            punts: w.arc(&ETHERNET_PUNT_ARC),
            types: w.registry(&ETHER_TYPES),
            next: w.nexts(),
            reasons: w.reasons(),
        })
    }))
}

/// One worker's instance.
pub struct EthernetInput {
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// The `ethernet` arc.
    pub arc: ArcId,
    /// The `ethernet-punt` arc.
    pub punts: ArcId,
    /// Who handles which EtherType.
    pub types: RegistryId,
    /// `/if/mpls`: received MPLS packets by interface, which the host gets.
    pub mpls: SimpleRow,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl Node for EthernetInput {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let input = Input {
            table: self.interfaces.read(cx.guard()),
            arc: cx.arcs().arc(self.arc),
            punts: cx.arcs().arc(self.punts),
            types: cx.handlers(self.types),
            counters: cx.counters,
            mpls: &self.mpls,
            next: self.next,
            reasons: self.reasons,
        };
        // Packets of one interface come in runs: what its plain IP packets have in common is kept.
        let (mut interface, mut plain) = (InterfaceIndex::NONE, Plain::NONE);
        cx.each_first(frame, |packet| {
            if packet.meta.rx_interface != interface {
                interface = packet.meta.rx_interface;
                plain = Plain::of(input.table, input.types, input.arc, interface);
            }
            match packet.header::<EthernetHeader>() {
                Some(ethernet) if plain.ip4.takes(ethernet, EtherType::IPV4) => {
                    packet.advance(EthernetHeader::LENGTH);
                    packet.meta.set_table(plain.ip4.table);
                    plain.ip4.next
                }
                Some(ethernet) if plain.ip6.takes(ethernet, EtherType::IPV6) => {
                    packet.advance(EthernetHeader::LENGTH);
                    packet.meta.set_table(plain.ip6.table);
                    plain.ip6.next
                }
                _ => input.other(&mut packet.aside()),
            }
        });
    }
}

struct Input<'a> {
    table: &'a InterfaceTable,
    arc: ArcStart<'a>,
    punts: ArcStart<'a>,
    types: Handlers<'a>,
    counters: &'a Counters,
    mpls: &'a SimpleRow,
    next: Nexts<Next>,
    reasons: ReasonBase<Reason>,
}

/// What untagged IP packets to us on one interface have in common. (A device has set `link_offset` and
/// `network_offset` for them.)
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    /// Those of IPv4.
    pub ip4: PlainOf,
    /// Those of IPv6.
    pub ip6: PlainOf,
}

/// Those of one family.
#[derive(Clone, Copy)]
pub(crate) struct PlainOf {
    /// [`EthernetHeader::stations_key`] of our address, if the family is taken there.
    station: u64,
    /// Where its packets are looked up.
    pub table: u32,
    /// Who handles them.
    pub next: NodeId,
}

impl PlainOf {
    /// A station that no packet is to.
    const NOBODY: u64 = 1;
    /// No packet.
    pub const NONE: PlainOf = PlainOf { station: Self::NOBODY, table: 0, next: NodeId::DROP };

    /// Whether it is no packet.
    pub fn is_none(&self) -> bool {
        self.station == PlainOf::NOBODY
    }

    /// Whether a frame with this header is one of them; `ether_type` is the family's.
    #[inline(always)]
    pub fn takes(&self, ethernet: &EthernetHeader, ether_type: EtherType) -> bool {
        ethernet.stations_key() == self.station && ethernet.ether_type() == ether_type
    }
}

impl Plain {
    /// Takes no packet.
    pub const NONE: Plain = Plain { ip4: PlainOf::NONE, ip6: PlainOf::NONE };

    /// Of this interface; `arc` is the `ethernet` arc.
    #[cold]
    pub fn of(
        table: &InterfaceTable,
        types: Handlers<'_>,
        arc: ArcStart<'_>,
        interface: InterfaceIndex,
    ) -> Plain {
        let Some(entry) = table.get(interface).filter(|entry| entry.up) else {
            return Plain::NONE;
        };
        if arc.place(interface).is_some() || entry.layer2.switch().is_some() {
            return Plain::NONE;
        }
        let to_us = |ether_type, table| match handler(types, entry, ether_type) {
            Ok(next) => PlainOf { station: entry.mac.key(), table, next },
            Err(_) => PlainOf::NONE,
        };
        Plain {
            ip4: to_us(EtherType::IPV4, entry.ip4.table.0),
            ip6: to_us(EtherType::IPV6, entry.ip6.table.0),
        }
    }
}

impl Input<'_> {
    /// Every packet that is not plain, one question after the other.
    #[inline(never)]
    fn other(&self, packet: &mut Packet<'_>) -> NodeId {
        let Some(ethernet) = packet.header::<EthernetHeader>() else {
            return self.reasons.drop(packet, Reason::Truncated);
        };
        let (destination, ether_type) = (ethernet.destination, ethernet.ether_type());
        let from_group = ethernet.source.is_multicast();
        let Some(interface) = self.table.get(packet.meta.rx_interface) else {
            return self.reasons.drop(packet, Reason::NoInterface);
        };
        if destination.is_multicast() {
            self.count_group(packet, destination);
        }
        if !interface.up {
            return self.reasons.drop(packet, Reason::Down);
        }
        if from_group {
            return self.reasons.drop(packet, Reason::GroupSource);
        }
        if interface.has_switched
            && let Some(switch) = self.switched(packet, interface)
        {
            return switch;
        }
        if destination != interface.mac {
            if !destination.is_multicast() {
                return self.reasons.drop(packet, Reason::NotForUs);
            }
            packet.meta.flags |= LINK_BROADCAST;
        }
        if ether_type.is_vlan() {
            return self.tagged(packet, interface);
        }
        self.classify(packet, interface, ether_type, EthernetHeader::LENGTH)
    }

    /// A frame for more than one station, on the interface that it has come in by so far.
    fn count_group(&self, packet: &Packet<'_>, destination: MacAddr) {
        let (rx, bytes) = (packet.meta.rx_interface, packet.meta.total_length() as u64);
        self.counters.interfaces.received_group(rx, destination == MacAddr::BROADCAST, bytes);
    }

    /// Takes `link` bytes off, and hands the packet to the features of its interface or to who handles it.
    fn classify(
        &self,
        packet: &mut Packet<'_>,
        interface: &Entry,
        ether_type: EtherType,
        link: usize,
    ) -> NodeId {
        packet.advance(link);
        packet.meta.set_network_here(link);
        packet.meta.set_table(match ether_type {
            EtherType::IPV6 => interface.ip6.table.0,
            _ => interface.ip4.table.0,
        });
        if let Some(first) = self.arc.start(packet.meta.rx_interface, packet) {
            return first;
        }
        match handler(self.types, interface, ether_type) {
            Ok(node) => node,
            Err(Unhandled::Type) => {
                if ether_type == EtherType::MPLS {
                    self.mpls.add(packet.meta.rx_interface.index(), 1);
                }
                self.punt(packet, Reason::UnknownType)
            }
            Err(Unhandled::Disabled) if ether_type == EtherType::IPV6 => {
                self.punt(packet, Reason::Ip6Disabled)
            }
            Err(Unhandled::Disabled) => self.punt(packet, Reason::Ip4Disabled),
        }
    }

    fn punt(&self, packet: &mut Packet<'_>, why: Reason) -> NodeId {
        packet.meta.reason = self.reasons.id(why);
        self.punts.start(packet.meta.rx_interface, packet).unwrap_or(self.next.to(Next::Punt))
    }

    /// One or two tags: finds the sub-interface.
    fn tagged(&self, packet: &mut Packet<'_>, port: &Entry) -> NodeId {
        let Some((tags, link, ether_type)) = Tags::of_frame(packet.data()) else {
            return self.reasons.drop(packet, Reason::Truncated);
        };
        // Id 0 is a priority tag: the frame belongs to the port itself (IEEE 802.1Q table 9-2).
        if is_priority(&tags) {
            return self.classify(packet, port, ether_type, link);
        }
        let found = port.subs.get(&tags).and_then(|sub| Some((*sub, self.table.get(*sub)?)));
        let Some((index, sub)) = found else {
            // The host may have the VLAN.
            return self.punt(packet, Reason::UnknownVlan);
        };
        if !sub.up {
            return self.reasons.drop(packet, Reason::Down);
        }
        self.arrives_at(packet, index);
        self.classify(packet, sub, ether_type, link)
    }

    /// The frame is that of a sub-interface.
    fn arrives_at(&self, packet: &mut Packet<'_>, sub: InterfaceIndex) {
        packet.meta.rx_interface = sub;
        self.counters.interfaces.rx.add(sub.index(), 1, packet.meta.total_length() as u64);
        if let Some(destination) = packet.header::<EthernetHeader>().map(|ethernet| ethernet.destination)
            && destination.is_multicast()
        {
            self.count_group(packet, destination);
        }
    }

    /// Who switches the frame, whichever station it is for; `None`: nobody, it is for the protocols or for nobody. A port that
    /// is switched has all frames that no sub-interface has.
    fn switched(&self, packet: &mut Packet<'_>, port: &Entry) -> Option<NodeId> {
        if port.subs.is_empty() {
            return port.layer2.switch();
        }
        let Some((tags, ..)) = Tags::of_frame(packet.data()) else {
            return Some(self.reasons.drop(packet, Reason::Truncated));
        };
        let sub = port.subs.get(&tags).filter(|_| tags.outer.is_some() && !is_priority(&tags));
        match sub.and_then(|sub| Some((*sub, self.table.get(*sub)?))) {
            None => port.layer2.switch(),
            Some((index, sub)) => {
                let node = sub.layer2.switch()?;
                if !sub.up {
                    return Some(self.reasons.drop(packet, Reason::Down));
                }
                self.arrives_at(packet, index);
                Some(node)
            }
        }
    }
}

/// Whether these tags say nothing but a priority.
fn is_priority(tags: &Tags) -> bool {
    tags.inner.is_none() && tags.outer.is_some_and(|(_, id)| id.get() == 0)
}

/// Why nobody handles a packet.
enum Unhandled {
    /// Nobody knows its EtherType.
    Type,
    /// Its interface does not take it.
    Disabled,
}

/// The node that handles packets of an EtherType which arrive on an interface.
fn handler(types: Handlers<'_>, interface: &Entry, ether_type: EtherType) -> Result<NodeId, Unhandled> {
    match types.get(ether_type.0) {
        Some(node) if interface.accepts(ether_type) => Ok(node),
        Some(_) => Err(Unhandled::Disabled),
        None => Err(Unhandled::Type),
    }
}

/// One worker's instance of ethernet-end-of-arc.
pub struct EthernetEnd {
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// The `ethernet-punt` arc.
    pub punts: ArcId,
    /// Who handles which EtherType.
    pub types: RegistryId,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<EndReason>,
}

impl Node for EthernetEnd {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (interfaces, types) = (self.interfaces.read(cx.guard()), cx.handlers(self.types));
        let (reasons, punt) = (self.reasons, self.next.to(Next::Punt));
        let punts = cx.arcs().arc(self.punts);
        cx.each(frame, |packet| {
            let Some(interface) = interfaces.get(packet.meta.rx_interface) else {
                return reasons.drop(packet, EndReason::NoInterface);
            };
            let ether_type = ether_type(packet);
            let why = match handler(types, interface, ether_type) {
                Ok(node) => return node,
                Err(Unhandled::Type) => EndReason::UnknownType,
                Err(Unhandled::Disabled) if ether_type == EtherType::IPV6 => EndReason::Ip6Disabled,
                Err(Unhandled::Disabled) => EndReason::Ip4Disabled,
            };
            packet.meta.reason = reasons.id(why);
            punts.start(packet.meta.rx_interface, packet).unwrap_or(punt)
        });
    }
}

/// The last two bytes of the link header, which ethernet-input has taken off.
fn ether_type(packet: &mut Packet<'_>) -> EtherType {
    let back = packet.meta.data_offset().saturating_sub(packet.meta.network_offset.into()) + 2;
    if !packet.prepend(back) {
        return EtherType(0);
    }
    let found = packet.data().first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    packet.advance(back);
    EtherType(found)
}
