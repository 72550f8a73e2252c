// SPDX-License-Identifier: Apache-2.0
//! arp-input: is this an ARP packet that can be believed, syntactically?
//!
//! Start of the `arp` arc; after this node the buffer holds a whole [`ArpPacket`] for Ethernet and IPv4 whose sender
//! is one station.

use std::fmt;

use weft_engine::Context;
use weft_engine::buffer::Packet;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::ArcId;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::trace::{Names, TraceRecord};
use zerocopy::FromBytes;

use crate::arcs::ARP_ARC;
use crate::headers::{ArpPacket, EtherType};
use crate::registries::ETHER_TYPES;
use crate::setup::{Added, Setup, built_in};

weft_engine::edges! {
    /// Where packets go that no feature takes.
    pub enum Next { Reply => "arp-reply" }
}

weft_engine::drops! {
    /// Why a packet is not ARP as RFC 826 means it.
    pub enum Reason {
        /// packet shorter than 28 bytes
        Truncated = "too_short", Error;
        /// not about IPv4 addresses on Ethernet
        Format = "bad_format", Error;
        /// neither request nor reply
        Operation = "bad_operation", Info;
        /// sender's MAC address is no station's: zero or multicast
        SenderMac = "bad_sender_mac", Error;
    }
}

/// Descriptor of arp-input.
pub static ARP_INPUT: NodeSpec = NodeSpec::internal("arp-input")
    .handles(&[ETHER_TYPES.number(EtherType::ARP.0)])
    .next(Next::NAMES)
    .drops(Reason::ALL)
    .trace(format_arp);

/// Prints the ARP packet of a record.
pub(super) fn format_arp(record: &TraceRecord, names: &dyn Names, out: &mut dyn fmt::Write) -> fmt::Result {
    let interface = names.interface(record.meta.rx_interface);
    let Ok((arp, _)) = ArpPacket::ref_from_prefix(record.data()) else {
        return writeln!(out, "  {interface}: {} bytes", record.data().len());
    };
    let operation = arp.operation().map_or_else(|| "operation unknown".to_owned(), |it| format!("{it:?}"));
    writeln!(
        out,
        "  {interface}: {operation}, {} {} -> {} {}",
        arp.sender_mac,
        arp.sender(),
        arp.target_mac,
        arp.target()
    )
}

built_in!(add);

fn add(_: &mut Setup<'_>) -> Added {
    Ok(NodeDef::new(&ARP_INPUT, |w| {
        Box::new(ArpInput { arc: w.arc(&ARP_ARC), next: w.nexts(), reasons: w.reasons() })
    }))
}

/// One worker's instance.
pub struct ArpInput {
    /// The `arp` arc.
    pub arc: ArcId,
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl Node for ArpInput {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arcs, arc, reasons) = (cx.arcs(), self.arc, self.reasons);
        let reply = self.next.to(Next::Reply);
        cx.each(frame, |packet| {
            if let Some(reason) = check(packet) {
                return reasons.drop(packet, reason);
            }
            arcs.start(arc, packet.meta.rx_interface, packet).unwrap_or(reply)
        });
    }
}

fn check(packet: &Packet<'_>) -> Option<Reason> {
    let Some(arp) = packet.header::<ArpPacket>() else {
        return Some(Reason::Truncated);
    };
    if !arp.is_ethernet_ipv4() {
        return Some(Reason::Format);
    }
    if arp.operation().is_none() {
        return Some(Reason::Operation);
    }
    (!arp.sender_mac.is_station()).then_some(Reason::SenderMac)
}
