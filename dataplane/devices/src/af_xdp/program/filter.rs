// SPDX-License-Identifier: Apache-2.0
//! Which frames a port takes from the kernel.
//!
//! On a machine with one NIC, a port that takes everything takes the operator's SSH session with
//! it. A pinhole names what Weft wants, and the host's stack keeps the rest.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An Ethernet type, such as 0x0806 for ARP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    pub(super) const ARP: Self = Self(0x0806);
}

/// Protocols whose header has a destination port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Transport {
    Tcp = 6,
    Udp = 17,
    Sctp = 132,
}

/// Who answers ARP on a port with a pinhole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arp {
    /// The host and Weft, each for addresses of its own. Frames are the host's, and Weft gets copies
    /// ([`crate::af_xdp::neighbors`]).
    #[default]
    Pass,
    /// Weft alone, for addresses of its own. The host can then resolve nobody on this interface.
    Take,
}

/// One kind of frame. VLAN tags, up to two, are looked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// IP packets to an address of this prefix, but for neighbour discovery.
    Destination(IpNet),
    /// IP packets to this port at any address. Fragments don't match, not even the first, and nor do
    /// packets with IPv6 extension headers: see `xdp.bpf.c`.
    Service { transport: Transport, port: u16 },
    /// Frames of this type, or with this type after a VLAN tag. The type of a VLAN tag itself
    /// (0x8100, 0x88a8) takes all frames that carry one.
    Type(EtherType),
}

/// What a port takes from the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// Every frame; the host's stack sees none.
    #[default]
    All,
    /// What one of the matches names; the rest goes to the host's stack.
    Pinhole { matches: Vec<Match>, arp: Arp },
}

/// Key of the map `destinations`: `struct prefix`.
pub(super) fn prefix_key(prefix: Ipv4Net) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&u32::from(prefix.prefix_len()).to_ne_bytes());
    key[4..].copy_from_slice(&prefix.network().octets());
    key
}

/// Key of the map `destinations6`: `struct prefix6`.
pub(super) fn prefix6_key(prefix: Ipv6Net) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&u32::from(prefix.prefix_len()).to_ne_bytes());
    key[4..].copy_from_slice(&prefix.network().octets());
    key
}

/// Key of the map `services`: `struct service`.
pub(super) fn service_key(transport: Transport, port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, transport as u8, 0]
}

/// Key of the map `ethertypes`.
pub(super) fn type_key(ethertype: EtherType) -> [u8; 2] {
    ethertype.0.to_be_bytes()
}
