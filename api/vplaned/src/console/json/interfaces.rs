// SPDX-License-Identifier: Apache-2.0
//! `ifconfig`

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};
use serde::{Serialize, Serializer};

use super::unpadded;
use crate::netlink::{IfIndex, MacAddr};

#[derive(Debug, Clone, Default, Serialize)]
pub struct Interfaces {
    pub interfaces: Vec<Interface>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Interface {
    pub name: String,
    pub vrf_id: u32,
    /// 0 while the kernel has none.
    #[serde(serialize_with = "number")]
    pub ifindex: Option<IfIndex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// `dataplane` for ports.
    pub role: &'static str,
    pub mtu: u32,
    /// The kernel's `IFF_` bits.
    pub flags: u32,
    pub ip_forwarding: u8,
    pub ip_proxy_arp: u8,
    pub ip_mc_forwarding: u8,
    pub ip_rp_filter: u8,
    pub ip6_forwarding: u8,
    pub ip6_mc_forwarding: u8,
    pub dp_id: u16,
    #[serde(serialize_with = "unpadded")]
    pub ether: MacAddr,
    /// `ether`, `loopback`, `vlan`, ...
    #[serde(rename = "type")]
    pub kind: &'static str,
    #[serde(rename = "eth-info", skip_serializing_if = "Option::is_none")]
    pub eth_info: Option<EthernetInfo>,
    pub link: LinkState,
    pub addresses: Addresses,
    pub statistics: Statistics,
    /// Counters of the device, by DPDK's names.
    pub xstatistics: BTreeMap<&'static str, u64>,
    pub ipv4: Ip4,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct EthernetInfo {
    #[serde(rename = "pause-mode")]
    pub pause_mode: &'static str,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct LinkState {
    pub up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplex: Option<&'static str>,
    /// Mb/s
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<u32>,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Addresses(pub Vec<Address>);

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Address {
    Inet {
        inet: Ipv4Net,
        #[serde(skip_serializing_if = "Option::is_none")]
        broadcast: Option<Ipv4Addr>,
    },
    Inet6 {
        inet6: Ipv6Net,
        scope: &'static str,
    },
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Statistics {
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_multicast: u64,
    #[serde(flatten)]
    pub rates: Rates,
}

/// What an interface carries in a second: of late, and on average over one, five and fifteen minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rates {
    pub rx_pps: u64,
    pub rx_pps_avg: [u64; 3],
    pub rx_bps: u64,
    pub rx_bps_avg: [u64; 3],
    pub tx_pps: u64,
    pub tx_pps_avg: [u64; 3],
    pub tx_bps: u64,
    pub tx_bps_avg: [u64; 3],
}

/// The part `ipv4`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ip4 {
    pub forwarding: u8,
    pub proxy_arp: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub garp_req_op: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub garp_rep_op: Option<&'static str>,
    pub mc_forwarding: u8,
    #[serde(serialize_with = "as_number")]
    pub redirects: bool,
    pub rp_filter: u8,
    pub validate_features: Vec<String>,
    pub out_features: Vec<String>,
}

fn as_number<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}

fn number<S: Serializer>(index: &Option<IfIndex>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u32(index.map_or(0, IfIndex::get))
}
