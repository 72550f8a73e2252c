// SPDX-License-Identifier: Apache-2.0
//! What workers know of interfaces: one immutable table, replaced as a whole when an interface changes.
//!
//! Read by ethernet-input for every packet and by slow-path nodes. The main thread makes it
//! ([`super::Interfaces`]).

use std::net::{Ipv4Addr, Ipv6Addr};

use hashbrown::{HashMap, HashSet};
use weft_engine::{InterfaceIndex, NodeId};

use weft_headers::{EtherType, EthernetHeader, MacAddr, VlanId, VlanTag};
use zerocopy::{FromBytes, IntoBytes};

use crate::{Addressing, GratuitousArp, Ip4, Ip6, Layer2, TableIndex};

/// The tags of a sub-interface: none, one, or an outer and an inner one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tags {
    /// Type and id of the outer tag.
    pub outer: Option<(EtherType, VlanId)>,
    /// The 802.1Q tag after it.
    pub inner: Option<VlanId>,
}

impl Tags {
    /// Bytes that they add to a frame.
    pub const fn length(&self) -> usize {
        (self.outer.is_some() as usize + self.inner.is_some() as usize) * 4
    }

    /// The first two of a frame, with the bytes from its first to its payload, and what that is; `None`: it ends before.
    pub fn of_frame(frame: &[u8]) -> Option<(Tags, usize, EtherType)> {
        let (ethernet, mut rest) = EthernetHeader::ref_from_prefix(frame).ok()?;
        let (mut tags, mut link, mut ether_type) =
            (Tags::default(), EthernetHeader::LENGTH, ethernet.ether_type());
        while ether_type.is_vlan() && tags.inner.is_none() {
            let (tag, after) = VlanTag::ref_from_prefix(rest).ok()?;
            match tags.outer {
                None => tags.outer = Some((ether_type, tag.id())),
                Some(_) => tags.inner = Some(tag.id()),
            }
            (rest, ether_type) = (after, tag.ether_type());
            link += VlanTag::LENGTH;
        }
        Some((tags, link, ether_type))
    }

    /// What a frame with them begins with, up to the `payload`, which is of this type.
    pub fn header(&self, to: MacAddr, from: MacAddr, payload: EtherType) -> Vec<u8> {
        let after_outer = if self.inner.is_some() { EtherType::VLAN } else { payload };
        let first = self.outer.map_or(payload, |(tag_type, _)| tag_type);
        let mut header = EthernetHeader::new(to, from, first).as_bytes().to_vec();
        if let Some((_, id)) = self.outer {
            header.extend_from_slice(VlanTag::new(id, after_outer).as_bytes());
        }
        if let Some(id) = self.inner {
            header.extend_from_slice(VlanTag::new(id, payload).as_bytes());
        }
        header
    }
}

/// An interface, as a worker sees it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its own address; frames to another station are not for us.
    pub mac: MacAddr,
    /// Administratively up, with its link and its parent's.
    pub up: bool,
    /// IPv4: its own addresses or those that it borrows, and the table of packets that arrive here.
    pub ip4: Addressing<Ip4>,
    /// IPv6, likewise.
    pub ip6: Addressing<Ip6>,
    /// Answers ARP requests for addresses that it has a route to elsewhere (RFC 1027).
    pub proxy_arp: bool,
    /// What gratuitous ARP packets do.
    pub gratuitous_arp: GratuitousArp,
    /// Answers neighbour solicitations for addresses that it has a route to elsewhere (RFC 4389).
    pub proxy_nd: bool,
    /// What becomes of its frames.
    pub layer2: Layer2,
    /// Whether its frames are switched, or those of a sub-interface.
    pub has_switched: bool,
    /// The port below a sub-interface; itself otherwise.
    pub port: InterfaceIndex,
    /// Most bytes of an IP packet.
    pub mtu: u16,
    /// Node that transmits.
    pub tx: NodeId,
    /// Node that hands packets to the host's side of the port; [`NodeId::DROP`] if there is none.
    pub host: NodeId,
    /// Tags of frames that leave here.
    pub tags: Tags,
    /// Sub-interfaces of this port by the tags of their frames.
    pub subs: HashMap<Tags, InterfaceIndex>,
}

impl Entry {
    /// Whether packets of an EtherType are taken here, if somebody handles it: IPv4 and ARP need an address, and
    /// IPv6 is enabled by one or by itself.
    #[inline]
    pub fn accepts(&self, ether_type: EtherType) -> bool {
        match ether_type {
            EtherType::IPV4 | EtherType::ARP => self.ip4.is_enabled(),
            EtherType::IPV6 => self.ip6.is_enabled(),
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
    /// Stations that are answered for on links whose subnet their address is of, and the link that they are on.
    proxied: HashMap<(TableIndex, Ipv6Addr), InterfaceIndex>,
    /// Addresses that mean all hosts of a subnet of ours.
    broadcasts4: HashSet<(TableIndex, Ipv4Addr)>,
}

impl InterfaceTable {
    pub(super) fn new(
        entries: Box<[Option<Entry>]>,
        proxied: HashMap<(TableIndex, Ipv6Addr), InterfaceIndex>,
    ) -> Self {
        let subnets = entries
            .iter()
            .flatten()
            .flat_map(|entry| entry.ip4.addresses.iter().map(|subnet| (entry.ip4.table, subnet)));
        let broadcasts4 = subnets
            // Subnets of one or two addresses have no broadcast address (RFC 3021).
            .filter(|(_, subnet)| subnet.prefix_len() < 31)
            .map(|(table, subnet)| (table, subnet.broadcast()))
            .collect();
        InterfaceTable { entries, proxied, broadcasts4 }
    }

    /// Whether `address` may be that of one host, as far as this host can tell: not multicast, loopback, "this
    /// network", class E, or the broadcast address of a subnet in `table` that an interface is on.
    pub fn is_unicast4(&self, table: TableIndex, address: Ipv4Addr) -> bool {
        !matches!(address.octets()[0], 0 | 127 | 224..) && !self.broadcasts4.contains(&(table, address))
    }

    /// The link of a station that is answered for elsewhere.
    pub fn proxied(&self, table: TableIndex, address: Ipv6Addr) -> Option<InterfaceIndex> {
        self.proxied.get(&(table, address)).copied()
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
