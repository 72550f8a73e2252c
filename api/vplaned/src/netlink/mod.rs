// SPDX-License-Identifier: Apache-2.0
//! Netlink topics as typed events, because what the kernel says arrives as raw messages of the kernel.
//!
//! [`parse`] takes one message under its topic and says what it means, or what is wrong with it and where. It reads the
//! attributes that count for a dataplane and skips all others, so a newer kernel's attribute never makes a message
//! unreadable (docs/decisions/0007-own-netlink-parser.md). Bytes of any kind are safe to pass: nothing here panics.
//! No state, any thread.

mod address;
mod error;
mod link;
#[cfg(test)]
#[path = "../../tests/messages/mod.rs"]
pub(crate) mod messages;
mod neighbor;
mod netconf;
mod route;
#[cfg(test)]
mod tests;
mod topic;

pub use address::InterfaceAddress;
pub use error::NetlinkError;
pub use link::{BridgePort, BridgePortState, Link, LinkKind, TagProtocol, VlanId, Vxlan};
pub use neighbor::{FdbEntry, Neighbor, NeighborState, ProxyNeighbor};
pub use netconf::{Netconf, NetconfFamily, RpFilter};
pub(crate) use route::is_host_prefix;
pub use route::{HostOnly, Metric, Path, Placement, Protocol, Route, RouteTarget, Scope, TableId, Via};
pub use topic::Topic;
pub use weft_netlink::{IfIndex, MacAddr};

/// What a message says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// There is this link.
    Link(Link),
    /// The link is gone. Comes without routes: the kernel does not report those that go with it.
    LinkGone(IfIndex),
    /// The link is a port of a bridge.
    BridgePort(BridgePort),
    /// The link has left its bridge. It still exists.
    BridgePortGone(IfIndex),
    /// The interface has this address.
    Address(InterfaceAddress),
    /// The interface has it no more.
    AddressGone(InterfaceAddress),
    /// There is this route.
    Route(Route, Placement),
    /// The route is gone.
    RouteGone(Route),
    /// There is this neighbour.
    Neighbor(Neighbor),
    /// The neighbour is gone.
    NeighborGone(Neighbor),
    /// The interface answers in place of this address.
    Proxy(ProxyNeighbor),
    /// The interface answers no more.
    ProxyGone(ProxyNeighbor),
    /// A MAC address behind a port of a bridge or a tunnel endpoint of a VXLAN.
    Fdb(FdbEntry),
    /// The MAC address is gone.
    FdbGone(FdbEntry),
    /// Settings of an interface; often only those that changed.
    Netconf(Netconf),
    /// Understood, and of no meaning for forwarding.
    Ignored(Ignored),
}

/// Why a well-formed message has no consequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Ignored {
    /// IPv6 state of a link (NEWLINK of AF_INET6).
    Ip6LinkState,
    /// An address that is not IP: the filter of a NIC.
    MulticastFilter,
    /// Routes of MPLS.
    Mpls,
    /// Multicast routes.
    MulticastRoute,
    /// A route type that says nothing about forwarding: broadcast, anycast, multicast, throw, nat, xresolve.
    RouteType,
    /// A route for one type of service; the dataplane does not look at it.
    TypeOfService,
    /// An IPv6 route for packets from one prefix only.
    SourceRoute,
    /// A cached copy of a route (RTM_F_CLONED).
    Cloned,
    /// Routes within 127.0.0.0/8, ::1, fe80::/10 and ff00::/8: what they say belongs to each link, not to a table.
    HostPrefix,
    /// A neighbour of another family, or without an address.
    NeighborFamily,
    /// Settings of "all" and "default", or of another family.
    NetconfScope,
    /// Settings deleted: they go with their link.
    NetconfGone,
}

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_NEWNETCONF: u16 = 80;
const RTM_DELNETCONF: u16 = 81;

/// What the message under this topic says.
pub fn parse(topic: Topic, message: &[u8]) -> Result<Event, NetlinkError> {
    let (header, body) = weft_netlink::message(message)?;
    let kind = header.kind.get();
    let event = match (topic, kind) {
        (Topic::Link | Topic::Vxlan | Topic::Tunnel, RTM_NEWLINK) => link::parse(body, true),
        (Topic::Link | Topic::Vxlan | Topic::Tunnel, RTM_DELLINK) => link::parse(body, false),
        (Topic::BridgeLink, RTM_NEWLINK) => link::parse_bridge(body, true),
        (Topic::BridgeLink, RTM_DELLINK) => link::parse_bridge(body, false),
        (Topic::Address, RTM_NEWADDR) => address::parse(body, true),
        (Topic::Address, RTM_DELADDR) => address::parse(body, false),
        (Topic::Route, RTM_NEWROUTE) => route::parse(body, Some(Placement::of(header.flags.get()))),
        (Topic::Route, RTM_DELROUTE) => route::parse(body, None),
        (Topic::Neighbor, RTM_NEWNEIGH) => neighbor::parse(body, true),
        (Topic::Neighbor, RTM_DELNEIGH) => neighbor::parse(body, false),
        (Topic::Netconf, RTM_NEWNETCONF) => netconf::parse(body),
        (Topic::Netconf, RTM_DELNETCONF) => Ok(Event::Ignored(Ignored::NetconfGone)),
        _ => return Err(NetlinkError::Topic { topic, found: kind }),
    };
    Ok(event?)
}
