// SPDX-License-Identifier: Apache-2.0
//! loopback-tx: the wire of a loopback interface, which ends where it begins.
//!
//! What is sent to a loopback comes in again on it if it is addressed to it, to the group or to all. So an address on a
//! loopback behaves like one on a port to which nobody else is connected. One node serves all loopbacks.
//!
//! A loopback that is the routed port of a switch ([`Layer2::RoutedPort`]) has a wire that leads there: its frames arrive at the switch,
//! and what arrives on it is what the switch sends.

use std::fmt;
use std::sync::Arc;

use weft_engine::buffer::{CHAINED, Packet, TRACED};
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::trace::{Names, TraceRecord};
use weft_engine::{Context, InterfaceIndex};

use crate::headers::EthernetHeader;
use crate::interface::{InterfaceTable, Layer2};
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where frames go.
    pub enum Next { Ethernet => "ethernet-input" }
}

weft_engine::drops! {
    /// Why a frame does not come back.
    pub enum Reason {
        /// nobody but the loopback interface itself is on it, and the frame is for another station
        NoStation = "no_such_station", Error;
        /// interface does not exist (any more)
        NoInterface = "no_interface", Error;
    }
}

/// Descriptor of loopback-tx.
pub static LOOPBACK_TX: NodeSpec =
    NodeSpec::internal("loopback-tx").next(Next::NAMES).drops(Reason::ALL).trace(format);

fn format(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    writeln!(out, "  {} {} bytes", names.interface(record.meta.rx_interface), record.meta.total_length())
}

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let interfaces = setup.interfaces();
    Ok(NodeDef::new(&LOOPBACK_TX, move |w| {
        Box::new(LoopbackTx { interfaces: Arc::clone(&interfaces), next: w.nexts(), reasons: w.reasons() })
    }))
}

/// One worker's instance.
pub struct LoopbackTx {
    /// The interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl Node for LoopbackTx {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (interfaces, reasons) = (self.interfaces.read(cx.guard()), self.reasons);
        let (counters, input) = (cx.counters, self.next.to(Next::Ethernet));
        cx.each(frame, |packet| {
            let loopback = packet.meta.tx_interface;
            let (Some(interface), Some(ethernet)) =
                (interfaces.get(loopback), packet.header::<EthernetHeader>())
            else {
                return reasons.drop(packet, Reason::NoInterface);
            };
            let switch = match interface.layer2 {
                Layer2::RoutedPort(switch) => Some(switch),
                _ => None,
            };
            let comes_back = ethernet.destination == interface.mac || ethernet.destination.is_multicast();
            if switch.is_none() && !comes_back {
                return reasons.drop(packet, Reason::NoStation);
            }
            let bytes = packet.meta.total_length() as u64;
            counters.interfaces.tx.add(loopback.index(), 1, bytes);
            counters.interfaces.sent_to(loopback, packet.data(), bytes);
            if switch.is_none() {
                counters.interfaces.rx.add(loopback.index(), 1, bytes);
            }
            begins(packet, loopback);
            switch.unwrap_or(input)
        });
    }
}

/// From here on a packet is as a device hands it over.
pub fn begins(packet: &mut Packet<'_>, interface: InterfaceIndex) {
    packet.meta.flags &= TRACED | CHAINED;
    packet.meta.rx_interface = interface;
    packet.meta.hash = 0;
    packet.meta.link_offset = packet.meta.data_offset() as u16;
    packet.meta.network_offset = packet.meta.link_offset + EthernetHeader::LENGTH as u16;
}
