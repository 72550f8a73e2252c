// SPDX-License-Identifier: Apache-2.0
//! arp-reply: answers requests for our addresses in place, and tells the main thread who the neighbours are. Last node of the
//! `arp` arc; what it does as that of IPv6 does: [`crate::forward::discovery`].
//!
//! The host gets replies and announcements, as its own requests left by the same port and their answers come here, and questions
//! about addresses that are not ours, as they may be the host's (VRRP).

use std::net::{IpAddr, Ipv4Addr};

use weft_engine::buffer::Packet;
use weft_engine::node::{NodeSpec, Reasons};
use weft_engine::{InterfaceIndex, NodeId};
use weft_fib::Ip4;

use super::input::format_arp;
use super::request::REQUESTS_SENT;
use crate::forward::discovery::{Discovers, Hearing};
use crate::headers::{ArpOperation, ArpPacket, EthernetHeader};
use crate::interface::Entry;
use crate::neighbor::{Evidence, NeighborNotice};

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

impl Discovers for Ip4 {
    type Unanswered = Reason;
    type Answered = Event;

    const NODE: &'static NodeSpec = &NodeSpec::internal("arp-reply")
        .next(&["punt"])
        .drops(Reason::ALL)
        .events(Event::ALL)
        .trace(format_arp);
    const NOTICE_LOST: Event = Event::NoticeLost;
    const SENT: &'static [&'static str] = &["/net/arp/tx/replies", REQUESTS_SENT[0], REQUESTS_SENT[1]];

    fn hear(node: &mut Hearing<'_, Ip4>, packet: &mut Packet<'_>) -> Result<NodeId, Reason> {
        let rx = packet.meta.rx_interface;
        let (Some(interface), Some(&arp)) = (node.interfaces.get(rx), packet.header::<ArpPacket>()) else {
            return Err(Reason::NoInterface);
        };
        let (sender, target) = (arp.sender(), arp.target());
        if arp.sender_mac == interface.mac {
            return Err(Reason::Own);
        }
        let to_us = interface.ip4.has(target);
        let is_request = arp.operation() == Some(ArpOperation::Request);
        // A probe asks whether an address is free, and has none to learn (RFC 5227 section 2.1.1).
        let is_probe = is_request && sender.is_unspecified();
        if !is_probe {
            let (address, mac) = (IpAddr::V4(sender), arp.sender_mac);
            if interface.ip4.has(sender) {
                node.tell(NeighborNotice::Conflict { interface: rx, address, mac }, false);
                return Err(Reason::Conflict);
            }
            let ignored = match is_request {
                true => interface.gratuitous_arp.ignore_requests,
                false => interface.gratuitous_arp.ignore_replies,
            };
            if sender == target && ignored {
                return Err(Reason::GratuitousIgnored);
            }
            if !is_neighbor(node, interface, rx, sender) {
                return Err(Reason::SenderNotLocal);
            }
            let evidence = if to_us { Evidence::ToUs } else { Evidence::Overheard };
            let notice = NeighborNotice::Learned { interface: rx, address, mac, evidence };
            node.tell(notice, to_us && !is_request);
        }
        if !is_request || sender == target {
            return node.to_host(interface, Reason::Noted);
        }
        if to_us {
            return answer(node, packet, interface, arp, Event::Replied);
        }
        let table = interface.ip4.table;
        let proxy = interface.proxy_arp
            && !is_probe
            && node.interfaces.is_unicast4(table, target)
            && node.routes.lead_elsewhere(table, target, rx);
        match proxy {
            true => answer(node, packet, interface, arp, Event::ProxyReplied),
            // The host may have an address there that only it knows, as of VRRP.
            false => node.to_host(interface, Reason::NotForUs),
        }
    }
}

fn is_neighbor(node: &Hearing<'_, Ip4>, interface: &Entry, rx: InterfaceIndex, sender: Ipv4Addr) -> bool {
    let mut subnets = interface.ip4.addresses.iter().filter(|subnet| subnet.contains(&sender)).peekable();
    let on_link = match subnets.peek() {
        Some(_) => subnets.any(|subnet| subnet.prefix_len() >= 31 || subnet.network() != sender),
        None => node.routes.lead_to(interface.ip4.table, sender, rx),
    };
    on_link && node.interfaces.is_unicast4(interface.ip4.table, sender)
}

/// Makes the request its own reply.
fn answer(
    node: &mut Hearing<'_, Ip4>,
    packet: &mut Packet<'_>,
    interface: &Entry,
    request: ArpPacket,
    event: Event,
) -> Result<NodeId, Reason> {
    let link = packet.meta.link_length();
    if link < EthernetHeader::LENGTH || !packet.truncate(ArpPacket::LENGTH) {
        return Err(Reason::NoLinkHeader);
    }
    if let Some(arp) = packet.header_mut::<ArpPacket>() {
        let (us, them) = ((interface.mac, request.target()), (request.sender_mac, request.sender()));
        *arp = ArpPacket::new(ArpOperation::Reply, us, them);
    }
    Ok(node.send(packet, interface, (link, request.sender_mac), event))
}
