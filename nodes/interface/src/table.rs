// SPDX-License-Identifier: Apache-2.0
//! What workers know of interfaces: one immutable table, replaced as a whole when an interface changes.
//!
//! Read by ethernet-input for every packet and by slow-path nodes. The main thread makes it
//! ([`super::Interfaces`]).

use std::net::Ipv4Addr;

use hashbrown::{HashMap, HashSet};
use ipnet::Ipv4Net;
use weft_engine::{InterfaceIndex, NodeId};

use weft_headers::{EtherType, MacAddr, VlanId};

use crate::{GratuitousArp, TableIndex};

/// The tags of a sub-interface: none, one, or an outer and an inner one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tags {
    /// Type and id of the outer tag.
    pub outer: Option<(EtherType, VlanId)>,
    /// The 802.1Q tag behind it.
    pub inner: Option<VlanId>,
}

impl Tags {
    /// Bytes that they add to a frame.
    pub const fn length(&self) -> usize {
        (self.outer.is_some() as usize + self.inner.is_some() as usize) * 4
    }
}

/// An interface, as a worker sees it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its own address; frames to another station are not for us.
    pub mac: MacAddr,
    /// Administratively up, with its link and its parent's.
    pub up: bool,
    /// IPv4 packets are routed: it has an address or borrows one.
    pub ip4: bool,
    /// Answers ARP requests for addresses that it has a route to elsewhere (RFC 1027).
    pub proxy_arp: bool,
    /// What gratuitous ARP packets do.
    pub gratuitous_arp: GratuitousArp,
    /// The port below a sub-interface; itself otherwise.
    pub port: InterfaceIndex,
    /// Most bytes of an IP packet.
    pub mtu: u16,
    /// Forwarding table of packets that arrive here.
    pub table4: TableIndex,
    /// Node that transmits.
    pub tx: NodeId,
    /// Node that hands packets to the host's side of the port; [`NodeId::DROP`] if there is none.
    pub host: NodeId,
    /// Tags of frames that leave here.
    pub tags: Tags,
    /// Addresses with their subnets, the primary one first.
    pub addresses4: Box<[Ipv4Net]>,
    /// Sub-interfaces of this port by the tags of their frames.
    pub subs: HashMap<Tags, InterfaceIndex>,
}

impl Entry {
    /// The address that packets of our own carry when they leave here.
    pub fn primary4(&self) -> Option<Ipv4Addr> {
        self.addresses4.first().map(Ipv4Net::addr)
    }

    /// Whether `address` is its own, or one that it borrows.
    pub fn has_address4(&self, address: Ipv4Addr) -> bool {
        self.addresses4.iter().any(|own| own.addr() == address)
    }

    /// Whether packets of an EtherType are taken here, if somebody handles it: IPv4 and ARP need an address.
    #[inline]
    pub fn accepts(&self, ether_type: EtherType) -> bool {
        match ether_type {
            EtherType::IPV4 | EtherType::ARP => self.ip4,
            _ => true,
        }
    }

    /// Whether it is a sub-interface.
    pub fn is_sub(&self) -> bool {
        self.tags.outer.is_some()
    }
}

/// All interfaces by index.
#[derive(Debug, Default)]
pub struct InterfaceTable {
    entries: Box<[Option<Entry>]>,
    /// Addresses that mean all hosts of a subnet of ours.
    broadcasts4: HashSet<(TableIndex, Ipv4Addr)>,
}

impl InterfaceTable {
    pub(super) fn new(entries: Box<[Option<Entry>]>) -> Self {
        let subnets = entries
            .iter()
            .flatten()
            .flat_map(|entry| entry.addresses4.iter().map(|subnet| (entry.table4, subnet)));
        let broadcasts4 = subnets
            // Subnets of one or two addresses have no broadcast address (RFC 3021).
            .filter(|(_, subnet)| subnet.prefix_len() < 31)
            .map(|(table, subnet)| (table, subnet.broadcast()))
            .collect();
        InterfaceTable { entries, broadcasts4 }
    }

    /// Whether `address` may be that of one host, as far as this host can tell: not multicast, loopback, "this
    /// network", class E, or the broadcast address of a subnet in `table` that an interface is on.
    pub fn is_unicast4(&self, table: TableIndex, address: Ipv4Addr) -> bool {
        !matches!(address.octets()[0], 0 | 127 | 224..) && !self.broadcasts4.contains(&(table, address))
    }

    /// All interfaces.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// The interface, if it exists.
    #[inline(always)]
    pub fn get(&self, interface: InterfaceIndex) -> Option<&Entry> {
        self.entries.get(interface.index())?.as_ref()
    }
}
