// SPDX-License-Identifier: Apache-2.0
//! `session-op show`

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

/// Sessions by number; stands in a `Config`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Sessions {
    pub sessions: BTreeMap<u64, Session>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Session {
    pub vrf_id: u32,
    pub src_addr: IpAddr,
    pub src_port: u16,
    pub dst_addr: IpAddr,
    pub dst_port: u16,
    pub proto: u8,
    pub interface: String,
    /// Seconds.
    pub time_to_expire: u32,
    /// Seconds that it may idle in its state.
    pub state_expire_window: u32,
    pub state: u32,
    pub gen_state: u32,
    pub parent: u64,
    /// Seconds.
    pub duration: u32,
    /// 0: none beside the filter.
    pub feature_type: u32,
    pub counters: SessionCounters,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionCounters {
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionStatistics {
    pub used: u64,
    pub max: u64,
    pub nat: u64,
    pub nat64: u64,
    pub nat46: u64,
    /// By state.
    pub tcp: BTreeMap<&'static str, u64>,
    pub udp: BTreeMap<&'static str, u64>,
    pub icmp: BTreeMap<&'static str, u64>,
    pub other: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionTotals {
    pub total: u64,
    #[serde(rename = "address-family")]
    pub address_family: SessionFamilies,
    pub direction: SessionDirections,
    pub protocol: BTreeMap<&'static str, u64>,
    pub feature: SessionFeatures,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionFamilies {
    pub ip: u64,
    pub ip6: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionDirections {
    pub r#in: u64,
    pub out: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionFeatures {
    pub snat: u64,
    pub dnat: u64,
    pub nat64: u64,
    pub nat46: u64,
    pub alg: u64,
    pub app: u64,
    pub other: u64,
}
