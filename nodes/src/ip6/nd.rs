// SPDX-License-Identifier: Apache-2.0
//! ip6-nd-input: neighbour discovery on the workers (RFC 4861): answers solicitations for our addresses in place, and tells the
//! main thread who the neighbours are.
//!
//! ```text
//!  workers                                                             main thread
//!  ip6-local-end-of-arc -> ip6-nd-input -- Learned, Conflict --->      neighbour table:
//!  ip6-discover-neighbor holds packets --- Wanted -------------->      asks, learns, ages,
//!            <--- release / fail / forget (messages) --------------    publishes next hops
//! ```
//!
//! What it does as that of IPv4 does: [`crate::forward::discovery`]. The host gets advertisements, and solicitations for an address
//! that only it may have.
//!
//! Questions for routers and for the groups that are listened to are told to the main thread too, which answers them
//! ([`crate::router`]).
//!
//! What is believed: a solicitation for one of our addresses teaches its sender, an advertisement changes only what is known or
//! asked for; without the override flag not even that (RFC 4861 section 7.2.5). Messages from beyond the link are not (hop limit 255).

use std::net::{IpAddr, Ipv6Addr};

use ipnet::Ipv6Net;
use weft_engine::buffer::Packet;
use weft_engine::node::{NodeSpec, Reasons};
use weft_engine::{InterfaceIndex, NodeId};
use weft_fib::{AddressFamily, AddressRole, Family, Ip6, IpPrefix};
use zerocopy::{FromBytes, IntoBytes};

use super::input::format_header;
use super::{ALL_NODES, HOP_LIMIT};
use crate::forward::discovery::{Discovers, Hearing};
use crate::headers::checksum::Sum;
use crate::headers::{
    EthernetHeader, Icmp6Header, Icmp6Type, IpProtocol, Ipv6Header, LinkAddressOption, MacAddr,
    NeighborMessage, multicast_mac, walk_ip6,
};
use crate::interface::Entry;
use crate::neighbor::{Evidence, GroupQuery, NeighborNotice, PrefixSays, RouterSays};

weft_engine::drops! {
    /// Why messages end here.
    pub enum Reason {
        /// message shorter than its fixed part
        Truncated = "too_short", Error;
        /// hop limit is not 255 (of a question for groups: 1): the message comes from beyond the link
        HopLimit = "bad_hop_limit", Error;
        /// wrong checksum
        Checksum = "bad_checksum", Error;
        /// code is not 0
        Code = "bad_code", Error;
        /// target is a group, or the message contradicts itself (RFC 4861 sections 6.1 and 7.1)
        Invalid = "bad_message", Error;
        /// option without a length, or beyond the end of the message
        Option = "bad_option", Error;
        /// taken note of: an advertisement of a station or a router, or a question for routers or groups
        Noted = "noted", Info;
        /// advertisement that does not say the MAC address
        NoLinkAddress = "no_link_address", Info;
        /// solicitation for another station's address
        NotForUs = "not_for_us", Info;
        /// sender's address is not one of a host on the link
        SenderNotLocal = "sender_not_local", Info;
        /// another station uses an address of this interface
        Conflict = "address_conflict", Error;
        /// our own packet came back
        Own = "own_packet", Info;
        /// interface does not exist (any more)
        NoInterface = "no_interface", Error;
        /// solicitation without a link header to send the advertisement behind
        NoLinkHeader = "no_link_header", Error;
    }
}

weft_engine::events! {
    /// What was answered, and news that did not arrive.
    pub enum Event {
        /// solicitation for our address answered
        Advertised = "advertisements_sent", Info;
        /// solicitation for an address behind this router answered (proxy)
        ProxyAdvertised = "proxy_advertisements_sent", Info;
        /// news for the main thread lost: too much of it
        NoticeLost = "notice_lost", Warn;
    }
}

impl Discovers for Ip6 {
    type Unanswered = Reason;
    type Answered = Event;

    const NODE: &'static NodeSpec = &NodeSpec::internal("ip6-nd-input")
        .next(&["punt"])
        .drops(Reason::ALL)
        .events(Event::ALL)
        .trace(format_header);
    const NOTICE_LOST: Event = Event::NoticeLost;
    const SENT: &'static [&'static str] = &[];

    fn hear(node: &mut Input<'_>, packet: &mut Packet<'_>) -> Result<NodeId, Reason> {
        let rx = packet.meta.rx_interface;
        let interface = node.interfaces.get(rx).ok_or(Reason::NoInterface)?;
        let headers = node.extension_headers;
        match discovery_type(packet, headers) {
            Some(Icmp6Type::ROUTER_SOLICITATION) => {
                let (from, mac) = check_router_solicitation(packet, headers)?;
                let mac = mac.or_else(|| source_mac(packet)).filter(|_| !from.is_unspecified());
                let from = mac.map(|mac| (from, mac));
                node.tell(NeighborNotice::RouterAsked { interface: rx, from }, false);
                return node.to_host(interface, Reason::Noted);
            }
            Some(Icmp6Type::ROUTER_ADVERTISEMENT) => {
                router_advertisement(node, packet, rx)?;
                return node.to_host(interface, Reason::Noted);
            }
            Some(Icmp6Type::MEMBERSHIP_QUERY) => {
                let query = membership_query(packet, headers)?;
                node.tell(NeighborNotice::GroupsAsked { interface: rx, query }, false);
                return node.to_host(interface, Reason::Noted);
            }
            _ => {}
        }
        let message = parse(packet, headers)?;
        if message.link_address.or_else(|| source_mac(packet)) == Some(interface.mac) {
            return Err(Reason::Own);
        }
        match message.fixed.icmp_type {
            Icmp6Type::NEIGHBOR_SOLICITATION => solicitation(node, packet, interface, &message),
            _ => heard_advertisement(node, rx, interface, &message),
        }
    }
}

type Input<'a> = Hearing<'a, Ip6>;

/// Types of messages about neighbours: router solicitation to redirect (RFC 4861 section 4).
pub(super) const DISCOVERY: std::ops::RangeInclusive<u8> =
    Icmp6Type::ROUTER_SOLICITATION.0..=Icmp6Type::REDIRECT.0;

/// What kind of message a packet is, if it is one that is handled here. In fragments there are none (RFC 6980).
pub(super) fn discovery_type(packet: &Packet<'_>, headers: usize) -> Option<Icmp6Type> {
    let (ip, rest) = packet.split::<Ipv6Header>()?;
    let chain = walk_ip6(ip.next_header, rest, headers).ok()?;
    let kind = rest.get(chain.length).copied().map(Icmp6Type)?;
    let handled = match kind {
        Icmp6Type::NEIGHBOR_SOLICITATION
        | Icmp6Type::NEIGHBOR_ADVERTISEMENT
        | Icmp6Type::ROUTER_SOLICITATION
        | Icmp6Type::MEMBERSHIP_QUERY => true,
        // What does not come from a router of the link (RFC 4861 section 6.1.2) is not one to hear of.
        Icmp6Type::ROUTER_ADVERTISEMENT => {
            ip.hop_limit == HOP_LIMIT
                && ip.source().is_unicast_link_local()
                && rest.len() >= chain.length + ROUTER_FIXED
        }
        _ => false,
    };
    (chain.protocol == IpProtocol::ICMPV6 && chain.fragment.is_none() && handled).then_some(kind)
}

/// A sound message about a neighbour.
struct Message {
    ip: Ipv6Header,
    fixed: NeighborMessage,
    /// The option that goes with its type, if it is there.
    link_address: Option<MacAddr>,
}

fn solicitation(
    node: &mut Input<'_>,
    packet: &mut Packet<'_>,
    interface: &Entry,
    message: &Message,
) -> Result<NodeId, Reason> {
    let (rx, sender) = (packet.meta.rx_interface, message.ip.source());
    let flags = flags_of(interface, message.fixed.target());
    // Who asks whether an address is free has none to learn (RFC 4862 section 5.4).
    if !sender.is_unspecified() {
        if let Some(mac) = message.link_address.filter(|_| interface.ip6.has(sender)) {
            node.tell(NeighborNotice::Conflict { interface: rx, address: sender.into(), mac }, false);
            return Err(Reason::Conflict);
        }
        if !is_neighbor(node, interface, rx, sender) {
            return Err(Reason::SenderNotLocal);
        }
        if let Some(mac) = message.link_address {
            let evidence = if flags.is_some() { Evidence::ToUs } else { Evidence::Overheard };
            let address = sender.into();
            node.tell(NeighborNotice::Learned { interface: rx, address, mac, evidence }, false);
        }
    }
    if let Some(flags) = flags {
        return answer(node, packet, interface, message, flags, Event::Advertised);
    }
    let (table, target) = (interface.ip6.table, message.fixed.target());
    // One station by itself, or all that are reached by other interfaces.
    let configured = || {
        interface.ip6.on_link(target).is_some()
            && node.interfaces.proxied(table, target).is_some_and(|link| link != rx)
    };
    let elsewhere = || interface.proxy_nd && node.routes.lead_elsewhere(table, target, rx);
    let proxy = !sender.is_unspecified() && !Ip6::is_link_scoped(target) && (configured() || elsewhere());
    match proxy {
        // On behalf of another station, which may be on the link after all (RFC 4861 section 7.2.8).
        true => answer(node, packet, interface, message, 0, Event::ProxyAdvertised),
        false => node.to_host(interface, Reason::NotForUs),
    }
}

fn heard_advertisement(
    node: &mut Input<'_>,
    rx: InterfaceIndex,
    interface: &Entry,
    message: &Message,
) -> Result<NodeId, Reason> {
    let target = message.fixed.target();
    let address = IpAddr::V6(target);
    // Who answers a solicitation of one station may leave it out; then nothing new is said.
    let mac = message.link_address.ok_or(Reason::NoLinkAddress)?;
    if interface.ip6.has(target) {
        node.tell(NeighborNotice::Conflict { interface: rx, address, mac }, false);
        return Err(Reason::Conflict);
    }
    if !is_neighbor(node, interface, rx, target) {
        return Err(Reason::SenderNotLocal);
    }
    let flags = message.fixed.flags.get();
    let evidence = match flags & NeighborMessage::OVERRIDE {
        0 => Evidence::Confirms,
        _ => Evidence::Overheard,
    };
    let notice = NeighborNotice::Learned { interface: rx, address, mac, evidence };
    node.tell(notice, flags & NeighborMessage::SOLICITED != 0);
    node.to_host(interface, Reason::Noted)
}

/// Says what another router says: the router first, then each of its prefixes.
fn router_advertisement(
    node: &mut Input<'_>,
    packet: &Packet<'_>,
    interface: InterfaceIndex,
) -> Result<(), Reason> {
    let headers = node.extension_headers;
    let (ip, bytes) = check(packet, headers, ROUTER_FIXED)?;
    let router = ip.source();
    let &[_, code, _, _, hop_limit, flags, ..] = bytes else { return Err(Reason::Truncated) };
    if code != 0 {
        return Err(Reason::Code);
    }
    let mut prefixes = 0_usize;
    for option in options(&bytes[ROUTER_FIXED..]) {
        prefixes += usize::from(prefix_of(option?).is_some());
    }
    let prefixes = prefixes.min(MOST_PREFIXES);
    let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let says = RouterSays {
        hop_limit,
        flags,
        lifetime: u16::from_be_bytes([bytes[6], bytes[7]]),
        reachable: number(8),
        retransmission: number(12),
        prefixes: prefixes as u8,
    };
    node.tell(NeighborNotice::RouterHeard { interface, router, says }, false);
    let said = options(&bytes[ROUTER_FIXED..]).filter_map(|option| prefix_of(option.ok()?));
    for says in said.take(prefixes) {
        node.tell(NeighborNotice::PrefixHeard { interface, router, says }, false);
    }
    Ok(())
}

/// Whether an address is that of a station on the link: by itself, by a subnet, or by a route.
fn is_neighbor(node: &Input<'_>, interface: &Entry, rx: InterfaceIndex, address: Ipv6Addr) -> bool {
    Ip6::can_be_neighbor(address)
        && (Ip6::is_link_scoped(address)
            || interface.ip6.on_link(address).is_some()
            || node.routes.lead_to(interface.ip6.table, address, rx))
}

/// Makes the solicitation its own answer (RFC 4861 section 7.2.4): to its sender, or to all stations if that has no
/// address yet.
fn answer(
    node: &mut Input<'_>,
    packet: &mut Packet<'_>,
    interface: &Entry,
    request: &Message,
    flags: u32,
    event: Event,
) -> Result<NodeId, Reason> {
    let link = packet.meta.link_length();
    let (sender, target) = (request.ip.source(), request.fixed.target());
    let (to, to_mac, flags) = match (sender.is_unspecified(), request.link_address) {
        (true, _) => (ALL_NODES, multicast_mac(ALL_NODES), flags),
        (false, mac) => {
            let mac = mac.or_else(|| source_mac(packet)).ok_or(Reason::NoLinkHeader)?;
            (sender, mac, flags | NeighborMessage::SOLICITED)
        }
    };
    let has_room = match packet.length() {
        length if length < WHOLE => packet.append(WHOLE - length),
        _ => packet.truncate(WHOLE),
    };
    if link < EthernetHeader::LENGTH || !has_room {
        return Err(Reason::NoLinkHeader);
    }
    // The address that was asked for is the source.
    let bytes = advertisement((target, interface.mac), to, flags);
    packet.data_mut()[..WHOLE].copy_from_slice(&bytes);
    Ok(node.send(packet, interface, (link, to_mac), event))
}

/// What an advertisement of ours says beside the MAC address, if the address is ours. That of all routers of a subnet does not
/// override what another one has said (RFC 4861 section 7.2.7).
fn flags_of(interface: &Entry, target: Ipv6Addr) -> Option<u32> {
    if interface.ip6.has(target) {
        return Some(NeighborMessage::ROUTER | NeighborMessage::OVERRIDE);
    }
    let mut roles = interface.ip6.addresses.iter().flat_map(|subnet| Ip6::roles(subnet.truncated()));
    let is_anycast = roles.any(|(address, role)| address == target && role == AddressRole::Host);
    is_anycast.then_some(NeighborMessage::ROUTER)
}

/// Bytes of an advertisement with its option, from the IPv6 header on.
const WHOLE: usize = Ipv6Header::LENGTH + PAYLOAD;
const PAYLOAD: usize = NeighborMessage::LENGTH + LinkAddressOption::LENGTH;

/// The packet that says where an address is.
pub(crate) fn advertisement((target, mac): (Ipv6Addr, MacAddr), to: Ipv6Addr, flags: u32) -> [u8; WHOLE] {
    let mut ip = Ipv6Header::new(target, to, IpProtocol::ICMPV6, PAYLOAD as u16);
    ip.hop_limit = HOP_LIMIT;
    let option = LinkAddressOption::new(LinkAddressOption::TARGET, mac);
    let mut message = NeighborMessage::new(Icmp6Type::NEIGHBOR_ADVERTISEMENT, flags, target);
    let sum = Sum::pseudo_header6(&ip, IpProtocol::ICMPV6, PAYLOAD as u32);
    message.checksum.set(sum.bytes(message.as_bytes()).bytes(option.as_bytes()).checksum());
    let mut bytes = [0; WHOLE];
    let (header, rest) = bytes.split_at_mut(Ipv6Header::LENGTH);
    header.copy_from_slice(ip.as_bytes());
    let (fixed, rest) = rest.split_at_mut(NeighborMessage::LENGTH);
    fixed.copy_from_slice(message.as_bytes());
    rest.copy_from_slice(option.as_bytes());
    bytes
}

/// What all messages have in common, found right: the bytes from the ICMPv6 header on.
fn check<'a>(packet: &'a Packet<'_>, headers: usize, least: usize) -> Result<(Ipv6Header, &'a [u8]), Reason> {
    let (ip, rest) = packet.split::<Ipv6Header>().ok_or(Reason::Truncated)?;
    // A message is never so long that it needs a second buffer.
    let payload = rest.get(..ip.payload_length.get().into()).ok_or(Reason::Truncated)?;
    let chain = walk_ip6(ip.next_header, payload, headers).map_err(|_| Reason::Truncated)?;
    let bytes = payload.get(chain.length..).filter(|bytes| bytes.len() >= least).ok_or(Reason::Truncated)?;
    if !Sum::pseudo_header6(ip, IpProtocol::ICMPV6, bytes.len() as u32).bytes(bytes).is_valid() {
        return Err(Reason::Checksum);
    }
    Ok((*ip, bytes))
}

/// The options of a message, up to the first that is none: its length is 0, or it ends after the message.
fn options(mut bytes: &[u8]) -> impl Iterator<Item = Result<&[u8], Reason>> {
    std::iter::from_fn(move || {
        let &units = match bytes {
            [] => return None,
            [_] => &0,
            [_, units, ..] => units,
        };
        let length = usize::from(units) * 8;
        let Some((option, rest)) = bytes.split_at_checked(length).filter(|_| length > 0) else {
            bytes = &[];
            return Some(Err(Reason::Option));
        };
        bytes = rest;
        Some(Ok(option))
    })
}

/// The MAC address in the first option of a kind, if there is one.
fn link_address(bytes: &[u8], wanted: u8) -> Result<Option<MacAddr>, Reason> {
    let mut found = None;
    for option in options(bytes) {
        let option = option?;
        if option[0] == wanted
            && let Ok((option, _)) = LinkAddressOption::ref_from_prefix(option)
        {
            found = found.or(Some(option.mac));
        }
    }
    Ok(found)
}

/// Bytes of a router advertisement before its options.
const ROUTER_FIXED: usize = 16;
/// Most prefixes of one that are told.
const MOST_PREFIXES: usize = 32;

/// What an option says of a prefix, if it is about one (RFC 4861 section 4.6.2).
fn prefix_of(option: &[u8]) -> Option<PrefixSays> {
    let [3, 4, length, flags, rest @ ..] = option else { return None };
    let (times, address) = (rest.first_chunk::<8>()?, rest.last_chunk::<16>()?);
    let [a, b, c, d, e, f, g, h] = *times;
    Some(PrefixSays {
        prefix: Ipv6Net::new(Ipv6Addr::from_octets(*address), *length).ok()?.trunc(),
        flags: *flags,
        valid: u32::from_be_bytes([a, b, c, d]),
        preferred: u32::from_be_bytes([e, f, g, h]),
    })
}

/// Everything that RFC 4861 section 7.1 asks of a message about a neighbour, one question after the other.
fn parse(packet: &Packet<'_>, headers: usize) -> Result<Message, Reason> {
    let (ip, bytes) = check(packet, headers, NeighborMessage::LENGTH)?;
    let (fixed, options) = NeighborMessage::ref_from_prefix(bytes).map_err(|_| Reason::Truncated)?;
    if ip.hop_limit != HOP_LIMIT {
        return Err(Reason::HopLimit);
    }
    if fixed.code != 0 {
        return Err(Reason::Code);
    }
    let solicits = fixed.icmp_type == Icmp6Type::NEIGHBOR_SOLICITATION;
    let wanted = if solicits { LinkAddressOption::SOURCE } else { LinkAddressOption::TARGET };
    let link_address = link_address(options, wanted)?;
    let (source, destination) = (ip.source(), ip.destination());
    let contradicts = match solicits {
        // One that asks whether an address is free.
        true => source.is_unspecified() && (link_address.is_some() || !is_solicited_node(destination)),
        false => {
            source.is_unspecified()
                || destination.is_multicast() && fixed.flags.get() & NeighborMessage::SOLICITED != 0
        }
    };
    if fixed.target().is_multicast() || contradicts || link_address.is_some_and(|mac| !mac.is_station()) {
        return Err(Reason::Invalid);
    }
    Ok(Message { ip, fixed: *fixed, link_address })
}

/// What RFC 4861 section 6.1.1 asks of a host's question for routers.
/// Who asks, with its MAC address if that is said.
fn check_router_solicitation(
    packet: &Packet<'_>,
    headers: usize,
) -> Result<(Ipv6Addr, Option<MacAddr>), Reason> {
    let (ip, bytes) = check(packet, headers, Icmp6Header::LENGTH)?;
    if ip.hop_limit != HOP_LIMIT {
        return Err(Reason::HopLimit);
    }
    if bytes[1] != 0 {
        return Err(Reason::Code);
    }
    let from = link_address(&bytes[Icmp6Header::LENGTH..], LinkAddressOption::SOURCE)?;
    match ip.source().is_unspecified() && from.is_some() {
        true => Err(Reason::Invalid),
        false => Ok((ip.source(), from)),
    }
}

/// A question for groups (RFC 3810 section 5.1): that of version 1 has 24 bytes, that of version 2 at least 28, and no other is one
/// (section 8.1).
fn membership_query(packet: &Packet<'_>, headers: usize) -> Result<GroupQuery, Reason> {
    const VERSION_1: usize = 24;
    let (ip, bytes) = check(packet, headers, VERSION_1)?;
    if ip.hop_limit != 1 {
        return Err(Reason::HopLimit);
    }
    let version1 = bytes.len() == VERSION_1;
    let (Some(code), Some(group)) = (bytes.get(4..6), bytes[8..].first_chunk::<16>()) else {
        return Err(Reason::Truncated);
    };
    let group = Ipv6Addr::from_octets(*group);
    let is_sound = ip.source().is_unicast_link_local() && (version1 || bytes.len() >= 28);
    if !is_sound || !(group.is_unspecified() || group.is_multicast()) {
        return Err(Reason::Invalid);
    }
    // Section 5.1.3: from the highest bit on it is a number with an exponent.
    let code = u32::from(u16::from_be_bytes([code[0], code[1]]));
    let within = match version1 || code < 1 << 15 {
        true => code,
        false => (code & 0xfff | 0x1000) << ((code >> 12 & 7) + 3),
    };
    Ok(GroupQuery { group, version1, within })
}

fn is_solicited_node(address: Ipv6Addr) -> bool {
    let [.., a, b, c] = address.octets();
    crate::headers::solicited_node(Ipv6Addr::new(0, 0, 0, 0, 0, 0, a.into(), u16::from_be_bytes([b, c])))
        == address
}

/// The station that sent the frame.
fn source_mac(packet: &mut Packet<'_>) -> Option<MacAddr> {
    let link = packet.meta.link_length();
    if link < EthernetHeader::LENGTH || !packet.prepend(link) {
        return None;
    }
    let mac = packet.header::<EthernetHeader>().map(|ethernet| ethernet.source);
    packet.advance(link);
    mac
}
