// SPDX-License-Identifier: Apache-2.0
//! Wire formats as typed views.
//!
//! Nodes never index into packet bytes: a header is a `#[repr(C)]` struct of unaligned big-endian fields
//! that zerocopy lays over the bytes, so a view costs one length check and a field one load. A view says
//! nothing about validity: `ethernet-input`, `arp-input` and `ip4-input` check what they name, once per
//! packet, and the nodes after them rely on it.
//!
//! Plain data and pure functions, usable from any thread.
#![deny(unsafe_code)]

mod arp;
pub mod build;
pub mod checksum;
mod domain;
mod ethernet;
mod icmp6;
mod ip;
mod ip4;
mod ip6;
mod ip6_chain;
mod transport;

pub use arp::{ArpOperation, ArpPacket};
pub use domain::{DomainName, NoDomainName};
pub use ethernet::{
    EtherType, EthernetHeader, MacAddr, ParseMacError, VlanId, VlanTag, carried, network_offset,
};
pub use icmp6::{Icmp6Header, Icmp6Type, LinkAddressOption, NeighborMessage};
pub use ip::IpProtocol;
pub use ip4::{Icmp4Header, Icmp4Type, Ipv4Header, PlainFrame};
pub use ip6::{Ipv6Header, PlainFrame6, link_local, multicast_mac, solicited_node};
pub use ip6_chain::{Ip6Chain, Ip6ChainError, Ip6FragmentHeader, Ip6Place, Ip6Routing, walk_ip6};
pub use transport::{TcpFlags, TcpHeader, UdpHeader};
