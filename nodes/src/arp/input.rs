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
use weft_stats::SimpleRow;
use zerocopy::FromBytes;

use crate::arcs::ARP_ARC;
use crate::headers::{ArpOperation, ArpPacket, EtherType};
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
    // A reply has its link header in front again.
    let link = match record.meta.data_offset() == usize::from(record.meta.link_offset) {
        true => record.meta.link_length(),
        false => 0,
    };
    let data = record.data().get(link..).unwrap_or_default();
    let Ok((arp, _)) = ArpPacket::ref_from_prefix(data) else {
        return writeln!(out, "  {interface}: {} bytes", data.len());
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

fn add(setup: &mut Setup<'_>) -> Added {
    let [requests, replies, gratuitous] = RECEIVED.map(|name| setup.interface_counter(name, &ARP_INPUT));
    let received = [requests?, replies?, gratuitous?];
    Ok(NodeDef::new(&ARP_INPUT, move |w| {
        let received = received.each_ref().map(|vector| vector.row(w.thread()));
        Box::new(ArpInput { arc: w.arc(&ARP_ARC), received, next: w.nexts(), reasons: w.reasons() })
    }))
}

/// By interface, what is received: requests, replies, and of both those of a station about itself.
const RECEIVED: [&str; 3] = ["/net/arp/rx/requests", "/net/arp/rx/replies", "/net/arp/rx/gratuitous"];

/// One worker's instance.
pub struct ArpInput {
    /// The `arp` arc.
    pub arc: ArcId,
    /// By [`RECEIVED`].
    pub received: [SimpleRow; 3],
    /// Edges.
    pub next: Nexts<Next>,
    /// Reasons.
    pub reasons: ReasonBase<Reason>,
}

impl Node for ArpInput {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arcs, arc, reasons) = (cx.arcs(), self.arc, self.reasons);
        let (reply, received) = (self.next.to(Next::Reply), &self.received);
        cx.each(frame, |packet| {
            if let Some(reason) = check(packet) {
                return reasons.drop(packet, reason);
            }
            received[kind(packet)].add(packet.meta.rx_interface.index(), 1);
            arcs.start(arc, packet.meta.rx_interface, packet).unwrap_or(reply)
        });
    }
}

/// The place in [`RECEIVED`] of a sound packet.
fn kind(packet: &Packet<'_>) -> usize {
    match packet.header::<ArpPacket>() {
        Some(arp) if arp.sender() == arp.target() => 2,
        Some(arp) if arp.operation() == Some(ArpOperation::Reply) => 1,
        _ => 0,
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
