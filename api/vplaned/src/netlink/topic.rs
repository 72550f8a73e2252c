// SPDX-License-Identifier: Apache-2.0
//! The topics that carry netlink (protocol page, 7.3). Only the leading word counts: the rest of a topic can be stale or
//! say `inet` of an IPv6 address.

use std::fmt;

/// What a topic announces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Topic {
    /// Links.
    Link,
    /// Links whose name starts with `vxl`.
    Vxlan,
    /// Links whose name starts with `tun`.
    Tunnel,
    /// Ports of bridges.
    BridgeLink,
    /// Addresses of interfaces.
    Address,
    /// Routes, those of MPLS (`route-mpls`) too.
    Route,
    /// Neighbours and bridge forwarding entries.
    Neighbor,
    /// Settings of an interface for one family.
    Netconf,
}

impl Topic {
    /// All of them.
    pub const ALL: [Topic; 8] = [
        Topic::Link,
        Topic::Vxlan,
        Topic::Tunnel,
        Topic::BridgeLink,
        Topic::Address,
        Topic::Route,
        Topic::Neighbor,
        Topic::Netconf,
    ];

    /// The topic with this leading word; `None` if it carries no netlink that is understood here.
    pub fn new(word: &str) -> Option<Topic> {
        match word {
            "route-mpls" => Some(Topic::Route),
            _ => Topic::ALL.into_iter().find(|topic| topic.word() == word),
        }
    }

    /// Its leading word.
    pub const fn word(self) -> &'static str {
        match self {
            Topic::Link => "link",
            Topic::Vxlan => "vxlan",
            Topic::Tunnel => "tunnel",
            Topic::BridgeLink => "bridge_link",
            Topic::Address => "address",
            Topic::Route => "route",
            Topic::Neighbor => "neigh",
            Topic::Netconf => "netconf",
        }
    }

    /// What it carries, for errors.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Topic::Link | Topic::Vxlan | Topic::Tunnel => "16 or 17 (RTM_NEWLINK, RTM_DELLINK)",
            Topic::BridgeLink => "16 or 17 (RTM_NEWLINK, RTM_DELLINK) of AF_BRIDGE",
            Topic::Address => "20 or 21 (RTM_NEWADDR, RTM_DELADDR)",
            Topic::Route => "24 or 25 (RTM_NEWROUTE, RTM_DELROUTE)",
            Topic::Neighbor => "28 or 29 (RTM_NEWNEIGH, RTM_DELNEIGH)",
            Topic::Netconf => "80 or 81 (RTM_NEWNETCONF, RTM_DELNETCONF)",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
