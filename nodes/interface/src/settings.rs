// SPDX-License-Identifier: Apache-2.0
//! What can be set on an interface. The nodes that act on it are elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use weft_headers::DomainName;

use weft_engine::NodeId;

/// A forwarding table: a VRF. VPP calls it the FIB index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableIndex(pub u32);

/// Whether packets can pass an interface.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LinkState {
    /// The operator has it down, or the port below: it has no part in forwarding, and neither have its addresses.
    Down,
    /// Up by the operator, but the link is not: nobody is reached there, but this host still has its addresses.
    NoCarrier,
    /// Packets pass.
    Up,
}

/// What an interface does with gratuitous ARP (RFC 5227 section 3); what is not ignored changes what is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GratuitousArp {
    /// Requests have no effect.
    pub ignore_requests: bool,
    /// Replies have none.
    pub ignore_replies: bool,
}

/// What an interface says to hosts of its link that look for a router (RFC 4861 section 6.2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouterAdvertisements {
    /// Whether anything.
    pub on: bool,
    /// How long this router is a way out, seconds; 0: it is none, and says only what is on the link.
    pub lifetime: u16,
    /// Longest time between two of them, seconds.
    pub interval: u16,
    /// Least time between two of them, seconds; nothing: a third of the longest.
    pub least_interval: Option<u16>,
    /// How many come first, and no more than so many seconds apart.
    pub first: u8,
    /// See there.
    pub first_interval: u8,
    /// Whether hosts are told to get addresses by DHCPv6 ("M").
    pub managed: bool,
    /// Whether hosts are told to get all else by DHCPv6 ("O").
    pub other: bool,
    /// Whether it carries the interface's MAC address.
    pub link_address: bool,
    /// Whether who asks is answered alone.
    pub unicast: bool,
    /// What is said of prefixes that are not just subnets of the interface's addresses, or of those in another way.
    pub prefixes: BTreeMap<Ipv6Net, AdvertisedPrefix>,
    /// Servers that resolve names (RFC 8106 section 5.1).
    pub resolvers: Vec<Ipv6Addr>,
    /// Domains in which hosts look for names (RFC 8106 section 5.2).
    pub domains: Vec<DomainName>,
}

impl Default for RouterAdvertisements {
    fn default() -> Self {
        RouterAdvertisements {
            on: false,
            lifetime: 1800,
            interval: 600,
            least_interval: None,
            first: 3,
            first_interval: 16,
            managed: false,
            other: false,
            link_address: true,
            unicast: false,
            prefixes: BTreeMap::new(),
            resolvers: Vec::new(),
            domains: Vec::new(),
        }
    }
}

/// What hosts are told of a prefix (RFC 4861 section 4.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdvertisedPrefix {
    /// Whether anything.
    pub advertised: bool,
    /// Whether its addresses are on the link ("L").
    pub on_link: bool,
    /// Whether hosts form addresses in it ("A"); they do so only if it has 64 bits (RFC 4862 section 5.5.3).
    pub autonomous: bool,
    /// Seconds for which that is good; all ones: for ever.
    pub valid: u32,
    /// Seconds for which addresses formed in it are preferred; no longer than they are good.
    pub preferred: u32,
}

impl AdvertisedPrefix {
    /// Of a subnet of an address (RFC 4861 section 6.2.1).
    pub const fn of_subnet(length: u8) -> AdvertisedPrefix {
        AdvertisedPrefix {
            advertised: true,
            on_link: true,
            autonomous: length == 64,
            valid: 30 * 24 * 3600,
            preferred: 7 * 24 * 3600,
        }
    }
}

/// What becomes of the frames of an interface: packets of the protocols in them are routed, or whole frames are switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Layer2 {
    /// Frames for this station are taken apart, others are dropped.
    #[default]
    Routed,
    /// Frames that arrive go to this node as they are, whoever they are for.
    Switched(NodeId),
    /// Of a loopback: frames that are sent to it go to this node, and what a switch sends to it arrives there.
    RoutedPort(NodeId),
}

impl Layer2 {
    /// Who takes all frames that arrive.
    #[inline]
    pub const fn switch(self) -> Option<NodeId> {
        match self {
            Layer2::Switched(node) => Some(node),
            Layer2::Routed | Layer2::RoutedPort(_) => None,
        }
    }
}

/// Which sources an interface believes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SourceCheck {
    /// All.
    #[default]
    Off,
    /// Those that some route leads to (RFC 3704 section 2.4). A default route counts; one that drops does not, so a blackhole route
    /// drops what comes from there too (RFC 5635 section 4).
    Loose,
    /// Those that a path of the best route leads to by this interface (RFC 3704 section 2.3).
    Strict,
}

impl SourceCheck {
    /// All of them, by name.
    pub const NAMES: [(&str, SourceCheck); 3] =
        [("off", SourceCheck::Off), ("loose", SourceCheck::Loose), ("strict", SourceCheck::Strict)];
}

impl fmt::Display for SourceCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = SourceCheck::NAMES.iter().find(|(_, check)| check == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}
