// SPDX-License-Identifier: Apache-2.0
//! arp-reply: answers requests for our addresses in place, and tells the main thread who the neighbours are.
//!
//! Last node of the `arp` arc. A reply leaves on the interface that the request came in by, in the same buffer, after
//! the link header of the request with its tags. What is of interest to the host goes on to punt where the port has one: replies and
//! announcements, as its own requests left by the same port and their answers come here, and questions about addresses that
//! are not ours, as they may be the host's (VRRP).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use weft_engine::buffer::Packet;
use weft_engine::clock::{Clock, Tsc};
use weft_engine::counters::Counters;
use weft_engine::feature::Arcs;
use weft_engine::frame::Frame;
use weft_engine::graph::NodeDef;
use weft_engine::ids::ArcId;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, ReasonBase, Reasons};
use weft_engine::publish::Published;
use weft_engine::{Context, InterfaceIndex, NodeId};
use weft_fib::Ip4;
use weft_stats::SimpleRow;

use super::input::format_arp;
use super::request::REQUESTS_SENT;
use crate::arcs::INTERFACE_OUTPUT_ARC;
use crate::context::{LINK_BROADCAST, LOCALLY_ORIGINATED};
use crate::forward::routes::{RouteTables, Routes};
use crate::headers::{ArpOperation, ArpPacket, EthernetHeader};
use crate::interface::{Entry, InterfaceTable};
use crate::neighbor::{Evidence, NeighborNotice, NoticeSender, Recent};
use crate::setup::{Added, ONE_EACH, Setup, built_in};
use crate::tables::Tables;

weft_engine::edges! {
    /// Where packets go that are not answered.
    pub enum Next { Punt => "punt" }
}

weft_engine::drops! {
    /// Why ARP packets end here.
    pub enum Reason {
        /// gratuitous ARP, which this interface is set to ignore
        GratuitousIgnored = "gratuitous_ignored", Info;
        /// reply or announcement taken note of
        Noted = "noted", Info;
        /// request for another station's address
        NotForUs = "not_for_us", Info;
        /// sender's IP address is not one of a host in a subnet of the interface
        SenderNotLocal = "sender_not_local", Info;
        /// another station uses an address of this interface
        Conflict = "address_conflict", Error;
        /// our own packet came back
        Own = "own_packet", Info;
        /// interface does not exist (any more)
        NoInterface = "no_interface", Error;
        /// request without a link header to send the reply behind
        NoLinkHeader = "no_link_header", Error;
    }
}

weft_engine::events! {
    /// What was answered, and news that did not arrive.
    pub enum Event {
        /// request for our address answered
        Replied = "replies_sent", Info;
        /// request for an address behind this router answered (proxy ARP)
        ProxyReplied = "proxy_replies_sent", Info;
        /// news for the main thread lost: too much of it
        NoticeLost = "notice_lost", Warn;
    }
}

/// Descriptor of arp-reply.
pub static ARP_REPLY: NodeSpec =
    NodeSpec::internal("arp-reply").next(Next::NAMES).drops(Reason::ALL).events(Event::ALL).trace(format_arp);

built_in!(add);

fn add(setup: &mut Setup<'_>) -> Added {
    let (tables, clock, mut senders) = (setup.tables.clone(), setup.engine.clock, setup.notice_senders());
    let sent = setup.interface_counter(REPLIES_SENT, &ARP_REPLY)?;
    for name in REQUESTS_SENT {
        setup.interface_counter(name, &ARP_REPLY)?;
    }
    Ok(NodeDef::new(&ARP_REPLY, move |w| {
        let sender = senders.next().expect(ONE_EACH);
        let arc = w.arc(&INTERFACE_OUTPUT_ARC);
        let sent = sent.row(w.thread());
        Box::new(ArpReply::new(&tables, &clock, sender, arc, w.nexts(), (w.reasons(), w.events(), sent)))
    }))
}

/// By interface, replies that leave.
const REPLIES_SENT: &str = "/net/arp/tx/replies";

/// How long the same news is not repeated. The main thread may have forgotten it since (a flush, a displaced entry), and
/// then the next request must teach its sender: so no longer than what keeps a flood from one station away.
const QUIET: Duration = Duration::from_millis(1);

/// One worker's instance.
pub struct ArpReply {
    interfaces: Arc<Published<InterfaceTable>>,
    routes: RouteTables<Ip4>,
    sender: NoticeSender,
    recent: Recent,
    /// `interface-output`.
    arc: ArcId,
    next: Nexts<Next>,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
    /// By [`REPLIES_SENT`].
    sent: SimpleRow,
}

impl ArpReply {
    /// An instance that tells by `sender`.
    pub fn new(
        tables: &Tables,
        clock: &Clock,
        sender: NoticeSender,
        arc: ArcId,
        next: Nexts<Next>,
        (reasons, events, sent): (ReasonBase<Reason>, ReasonBase<Event>, SimpleRow),
    ) -> Self {
        ArpReply {
            interfaces: Arc::clone(&tables.interfaces),
            routes: RouteTables::of(tables),
            sender,
            recent: Recent::new(clock, QUIET),
            arc,
            next,
            reasons,
            events,
            sent,
        }
    }
}

impl Node for ArpReply {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let guard = cx.guard();
        let mut reply = Reply {
            interfaces: self.interfaces.read(guard),
            routes: self.routes.read(cx),
            sender: &mut self.sender,
            recent: &mut self.recent,
            now: cx.now,
            counters: cx.counters,
            arcs: cx.arcs(),
            arc: self.arc,
            next: self.next,
            reasons: self.reasons,
            events: self.events,
            sent: &self.sent,
        };
        cx.each(frame, |packet| reply.one(packet));
    }
}

struct Reply<'a> {
    interfaces: &'a InterfaceTable,
    routes: Routes<'a, Ip4>,
    sender: &'a mut NoticeSender,
    recent: &'a mut Recent,
    now: Tsc,
    counters: &'a Counters,
    arcs: &'a Arcs,
    arc: ArcId,
    next: Nexts<Next>,
    reasons: ReasonBase<Reason>,
    events: ReasonBase<Event>,
    sent: &'a SimpleRow,
}

impl Reply<'_> {
    fn one(&mut self, packet: &mut Packet<'_>) -> NodeId {
        let rx = packet.meta.rx_interface;
        let (Some(interface), Some(&arp)) = (self.interfaces.get(rx), packet.header::<ArpPacket>()) else {
            return self.reasons.drop(packet, Reason::NoInterface);
        };
        let (sender, target) = (arp.sender(), arp.target());
        if arp.sender_mac == interface.mac {
            return self.reasons.drop(packet, Reason::Own);
        }
        let to_us = interface.ip4.has(target);
        let is_request = arp.operation() == Some(ArpOperation::Request);
        // A probe asks whether an address is free, and has none to learn (RFC 5227 section 2.1.1).
        let is_probe = is_request && sender.is_unspecified();
        if !is_probe {
            let (address, mac) = (IpAddr::V4(sender), arp.sender_mac);
            if interface.ip4.has(sender) {
                self.tell(NeighborNotice::Conflict { interface: rx, address, mac });
                return self.reasons.drop(packet, Reason::Conflict);
            }
            let ignored = match is_request {
                true => interface.gratuitous_arp.ignore_requests,
                false => interface.gratuitous_arp.ignore_replies,
            };
            if sender == target && ignored {
                return self.reasons.drop(packet, Reason::GratuitousIgnored);
            }
            if !self.is_neighbor(interface, rx, sender) {
                return self.reasons.drop(packet, Reason::SenderNotLocal);
            }
            let evidence = if to_us { Evidence::ToUs } else { Evidence::Overheard };
            let notice = NeighborNotice::Learned { interface: rx, address, mac, evidence };
            // An answer to us may be awaited, whatever was told a moment ago: the entry may have been flushed since.
            if to_us && !is_request {
                if !self.sender.send(notice) {
                    self.events.count(self.counters, Event::NoticeLost, 1);
                }
            } else {
                self.tell(notice);
            }
        }
        if !is_request || sender == target {
            return match interface.host {
                NodeId::DROP => self.reasons.drop(packet, Reason::Noted),
                _ => self.next.to(Next::Punt),
            };
        }
        if to_us {
            return self.answer(packet, interface, arp, Event::Replied);
        }
        let proxy = interface.proxy_arp
            && !is_probe
            && self.interfaces.is_unicast4(interface.ip4.table, target)
            && self.routes.lead_elsewhere(interface.ip4.table, target, rx);
        match proxy {
            true => self.answer(packet, interface, arp, Event::ProxyReplied),
            // The host may have an address there that only it knows, as of VRRP.
            false if interface.host != NodeId::DROP => self.next.to(Next::Punt),
            false => self.reasons.drop(packet, Reason::NotForUs),
        }
    }

    fn tell(&mut self, notice: NeighborNotice) {
        if !self.recent.tell(self.sender, notice, self.now) {
            self.events.count(self.counters, Event::NoticeLost, 1);
        }
    }

    fn is_neighbor(&self, interface: &Entry, rx: InterfaceIndex, sender: Ipv4Addr) -> bool {
        let mut subnets = interface.ip4.addresses.iter().filter(|subnet| subnet.contains(&sender)).peekable();
        let on_link = match subnets.peek() {
            Some(_) => subnets.any(|subnet| subnet.prefix_len() >= 31 || subnet.network() != sender),
            None => self.routes.lead_to(interface.ip4.table, sender, rx),
        };
        on_link && self.interfaces.is_unicast4(interface.ip4.table, sender)
    }

    /// Makes the request its own reply.
    fn answer(
        &mut self,
        packet: &mut Packet<'_>,
        interface: &Entry,
        request: ArpPacket,
        event: Event,
    ) -> NodeId {
        let link = packet.meta.link_length();
        if link < EthernetHeader::LENGTH || !packet.truncate(ArpPacket::LENGTH) {
            return self.reasons.drop(packet, Reason::NoLinkHeader);
        }
        if let Some(arp) = packet.header_mut::<ArpPacket>() {
            let (us, them) = ((interface.mac, request.target()), (request.sender_mac, request.sender()));
            *arp = ArpPacket::new(ArpOperation::Reply, us, them);
        }
        let restored = packet.prepend(link);
        debug_assert!(restored, "the link header was taken off the buffer that it was received in");
        if let Some(ethernet) = packet.header_mut::<EthernetHeader>() {
            (ethernet.destination, ethernet.source) = (request.sender_mac, interface.mac);
        }
        self.events.count(self.counters, event, 1);
        packet.meta.flags = packet.meta.flags & !LINK_BROADCAST | LOCALLY_ORIGINATED;
        let tx = packet.meta.rx_interface;
        packet.meta.tx_interface = tx;
        self.sent.add(tx.index(), 1);
        if interface.is_sub() {
            self.counters.interfaces.tx.add(tx.index(), 1, packet.meta.total_length() as u64);
        }
        self.arcs.start(self.arc, tx, packet).unwrap_or(interface.tx)
    }
}
