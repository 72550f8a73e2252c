// SPDX-License-Identifier: Apache-2.0
//! `arp`, `nd6`, `vrf`, `local`, `netstat`

use std::net::IpAddr;

use serde::Serialize;

use super::unpadded;
use crate::netlink::MacAddr;

/// A neighbour, of `arp` or of `nd6`.
#[derive(Debug, Clone, Serialize)]
pub struct ArpEntry {
    pub ip: IpAddr,
    /// `VALID`, `STATIC`, `PENDING`, `LOCAL` or `DELETED`.
    pub flags: &'static str,
    #[serde(serialize_with = "unpadded")]
    pub mac: MacAddr,
    pub ifname: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub struct VrfEntry {
    pub name: String,
    pub vrf_id: u32,
    pub internal_vrf_id: u32,
    pub ref_count: u32,
}

/// Of the router itself. The form is our own: the protocol page gives none.
#[derive(Debug, Clone, Serialize)]
pub struct LocalAddress {
    pub address: IpAddr,
    pub ifname: String,
    pub vrf_id: u32,
}
