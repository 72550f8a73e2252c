// SPDX-License-Identifier: Apache-2.0
//! An interface: what it is, and what is configured on it.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ipnet::IpNet;
use weft_engine::{InterfaceIndex, NodeId};
use weft_headers::MacAddr;

use crate::family::{AddressFamily, Addressing, Ip4, Ip6};
use crate::kind::Kind;
use crate::settings::{GratuitousArp, Layer2, RouterAdvertisements, SourceCheck};

/// An interface, as the main thread knows it.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Unique.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// An operator's note.
    pub tag: String,
    /// Its own address.
    pub mac: MacAddr,
    /// Set up by the operator.
    pub admin_up: bool,
    /// Set up by the link.
    pub link_up: bool,
    /// Most bytes of an IP packet.
    pub mtu: u16,
    /// IPv4: addresses, and the table of packets that arrive here.
    pub ip4: Addressing<Ip4>,
    /// IPv6, likewise.
    pub ip6: Addressing<Ip6>,
    /// The interface whose address this one borrows.
    pub unnumbered: Option<InterfaceIndex>,
    /// See [`super::table::Entry::proxy_arp`].
    pub proxy_arp: bool,
    /// See [`super::table::Entry::gratuitous_arp`].
    pub gratuitous_arp: GratuitousArp,
    /// See [`super::table::Entry::proxy_nd`].
    pub proxy_nd: bool,
    /// Stations on this link that have an address of another one's subnet: it is answered for them there (RFC 4389).
    pub proxied: BTreeSet<Ipv6Addr>,
    /// What is said to hosts that look for a router.
    pub router_advertisement: RouterAdvertisements,
    /// Whether packets that arrive here for others are routed.
    pub forwarding: bool,
    /// Whether those of IPv6 are, where packets are routed at all.
    pub forwarding6: bool,
    /// Which sources are believed.
    pub source_check: SourceCheck,
    /// What becomes of its frames.
    pub layer2: Layer2,
    /// Node that transmits.
    pub tx: NodeId,
    /// Node of the host's side.
    pub host: NodeId,
}

impl Interface {
    /// A new one, on which nothing is configured. It is down, and nobody has seen a link.
    pub fn new(name: String, kind: Kind, mac: MacAddr, mtu: u16, tx: NodeId) -> Interface {
        Interface {
            name,
            kind,
            tag: String::new(),
            mac,
            admin_up: false,
            link_up: kind == Kind::Loopback,
            mtu,
            ip4: Addressing::default(),
            ip6: Addressing::default(),
            unnumbered: None,
            proxy_arp: false,
            gratuitous_arp: GratuitousArp::default(),
            proxy_nd: false,
            proxied: BTreeSet::new(),
            router_advertisement: RouterAdvertisements::default(),
            forwarding: true,
            forwarding6: true,
            source_check: SourceCheck::Off,
            layer2: Layer2::Routed,
            tx,
            host: NodeId::DROP,
        }
    }

    /// Makes what follows from the rest as it is to be.
    pub(crate) fn settle(&mut self) {
        self.ip4.settle(self.mac, self.mtu);
        self.ip6.settle(self.mac, self.mtu);
    }
}

impl Interface {
    /// Its addresses of all families, with their subnets.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> {
        let ip4 = self.ip4.addresses.iter().map(|address| IpNet::V4(*address));
        ip4.chain(self.ip6.addresses.iter().map(|address| IpNet::V6(*address)))
    }

    /// Whether it has an address, with this subnet.
    pub fn has(&self, address: IpNet) -> bool {
        by_family!(address, IpNet(address), F => F::of(self).addresses.contains(&address))
    }
}
