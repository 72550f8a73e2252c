// SPDX-License-Identifier: Apache-2.0
//! The way of a frame out of a switch: to the host by its routed port, or to a port's transmit node. And why frames end here,
//! which is the same for all nodes of this crate.

use std::fmt;

use weft_engine::buffer::Packet;
use weft_engine::counters::Counters;
use weft_engine::feature::ArcStart;
use weft_engine::node::{Nexts, ReasonBase};
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::{InterfaceIndex, NodeId};
use weft_nodes::headers::{EthernetHeader, carried};
use weft_nodes::interface::{Entry, InterfaceTable, Layer2};
use weft_nodes::loopback;

use crate::view::View;

weft_engine::edges! {
    /// Where frames go, beside transmit nodes and features.
    pub enum Next {
        Forward => "l2-forward",
        Flood => "l2-flood",
        Output => "l2-output",
        Ethernet => "ethernet-input",
        Punt => "punt",
    }
}

weft_engine::drops! {
    /// Why frames end in a switch.
    pub enum Reason {
        /// frame shorter than its Ethernet header
        Truncated = "truncated", Error;
        /// interface is no port of a bridge domain and not cross-connected (any more)
        NotSwitched = "not_switched", Error;
        /// interface that the frame would leave by does not exist (any more)
        NoInterface = "no_interface", Error;
        /// interface that the frame would leave by is down
        PortDown = "port_down", Error;
        /// destination is behind the port that the frame came in by
        SamePort = "same_port", Info;
        /// both ports are in one split-horizon group
        SplitHorizon = "split_horizon", Info;
        /// a filter entry says that frames from or to this station are dropped
        Filtered = "mac_filter", Info;
        /// source is configured to be on another port
        StaticMoved = "static_mac_moved", Error;
        /// destination is not known, and the bridge domain does not flood such frames
        UnknownUnicast = "unknown_unicast", Info;
        /// the bridge domain does not flood frames to groups and to all
        FloodOff = "flood_off", Info;
        /// the bridge domain does not forward
        ForwardOff = "forward_off", Info;
        /// flooded, and there is no other port that is up
        NoOtherPort = "no_other_port", Info;
        /// to a group of the link itself (01-80-C2-00-00-0x), which no switch forwards
        LinkGroup = "link_group", Info;
        /// longer than the MTU of the interface that the frame would leave by
        TooLong = "exceeds_mtu", Error;
        /// has fewer VLAN tags than are to be taken off
        FewTags = "missing_tags", Error;
    }
}

/// How a node of this crate prints a traced frame.
pub(crate) fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    let meta = &record.meta;
    let (rx, tx) = (names.interface(meta.rx_interface), names.interface(meta.tx_interface));
    writeln!(out, "  from {rx} to {tx}, {} bytes", meta.total_length())
}

/// What sending a frame takes; for the frames of a vector.
#[derive(Clone, Copy)]
pub(crate) struct Egress<'a> {
    pub view: &'a View,
    pub interfaces: &'a InterfaceTable,
    /// The arc `l2-output`.
    pub features: ArcStart<'a>,
    /// The arc `interface-output`.
    pub output: ArcStart<'a>,
    pub counters: &'a Counters,
    pub next: Nexts<Next>,
    pub reasons: ReasonBase<Reason>,
}

impl Egress<'_> {
    /// Sends a frame to an interface.
    #[inline(always)]
    pub fn leave(&self, packet: &mut Packet<'_>, to: InterfaceIndex) -> NodeId {
        let Some(interface) = self.interfaces.get(to) else {
            return self.reasons.drop(packet, Reason::NoInterface);
        };
        if !interface.up {
            return self.reasons.drop(packet, Reason::PortDown);
        }
        if let Layer2::RoutedPort(_) = interface.layer2 {
            return self.arrive(&mut packet.aside(), to);
        }
        packet.meta.tx_interface = to;
        let rewrites = self.view.port(to).is_some_and(|port| port.rewrite.is_some());
        if rewrites || self.features.place(to).is_some() {
            return self.next.to(Next::Output);
        }
        self.transmit(packet, to, interface)
    }

    /// Hands a frame to the nodes that transmit.
    #[inline(always)]
    pub fn transmit(&self, packet: &mut Packet<'_>, to: InterfaceIndex, interface: &Entry) -> NodeId {
        match self.check(packet, to, interface) {
            true => self.output.start(to, packet).unwrap_or(interface.tx),
            false => self.reasons.drop(packet, Reason::TooLong),
        }
    }

    /// Whether a frame may leave as it is; then it is counted as one of the sub-interface, if that is what it leaves by. (A port
    /// counts what it transmits.)
    #[inline(always)]
    pub fn check(&self, packet: &mut Packet<'_>, to: InterfaceIndex, interface: &Entry) -> bool {
        let (bytes, mtu) = (packet.meta.total_length(), usize::from(interface.mtu));
        if bytes > mtu + EthernetHeader::LENGTH && is_too_long(&packet.aside(), mtu) {
            return false;
        }
        if interface.port != to {
            self.counters.interfaces.tx.add(to.index(), 1, bytes as u64);
            self.counters.interfaces.sent_to(to, packet.data(), bytes as u64);
        }
        true
    }

    /// A frame arrives at this host by a routed port.
    #[inline(never)]
    fn arrive(&self, packet: &mut Packet<'_>, bvi: InterfaceIndex) -> NodeId {
        self.counters.interfaces.rx.add(bvi.index(), 1, packet.meta.total_length() as u64);
        loopback::begins(packet, bvi);
        self.next.to(Next::Ethernet)
    }
}

/// Whether a frame is too long for a link, whose MTU does not count tags.
#[cold]
fn is_too_long(packet: &Packet<'_>, mtu: usize) -> bool {
    let link = carried(packet.data()).map_or(EthernetHeader::LENGTH, |(_, link)| link);
    packet.meta.total_length() > mtu + link
}
