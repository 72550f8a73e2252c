// SPDX-License-Identifier: Apache-2.0
//! `route`, `route6`

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Serialize, Serializer, ser::SerializeMap};

/// The keys of what is shown, looked up and summed up, of `route` and of `route6`.
pub const SHOW: [&str; 2] = ["route_show", "route6_show"];
/// See [`SHOW`].
pub const LOOKUP: [&str; 2] = ["route_lookup", "route6_lookup"];
/// See [`SHOW`].
pub const SUMMARY: [&str; 2] = ["route_stats", "route6_stats"];

/// A line of `route show`.
#[derive(Debug, Clone)]
pub enum Shown {
    Route(Route),
    /// There are more than were asked for.
    More,
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Shown::Route(route) => route.serialize(serializer),
            Shown::More => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("prefix", "more")?;
                map.end()
            }
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Route {
    pub prefix: IpNet,
    pub scope: u8,
    /// The kernel's `RTPROT_` number.
    pub proto: u8,
    #[serde(rename = "use")]
    pub payload: &'static str,
    pub nh_index: u32,
    pub nh_refcount: u32,
    pub next_hop: Vec<NextHop>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum NextHopState {
    #[serde(rename = "blackhole")]
    Blackhole,
    #[serde(rename = "unreachable")]
    Unreachable,
    #[serde(rename = "local")]
    Local,
    #[serde(rename = "non-dataplane interface")]
    NonDataplane,
    #[serde(rename = "gateway")]
    Gateway,
    #[serde(rename = "directly connected")]
    Connected,
}

#[derive(Debug, Clone, Serialize)]
pub struct NextHop {
    pub state: NextHopState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<IpAddr>,
    /// Its interface is down.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dead: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub neigh_present: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ifname: Option<String>,
}

/// What a lookup was for.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Asked {
    /// The longest match of an address.
    Address { address: IpAddr },
    /// This very prefix.
    Prefix { prefix: IpNet },
}

/// What a lookup found: one element.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Looked {
    Found {
        #[serde(flatten)]
        asked: Asked,
        nh_index: u32,
        nh_refcount: u32,
        next_hop: Vec<NextHop>,
        /// The first of them once more, for who looks for its fields beside the address.
        #[serde(flatten)]
        first: Option<NextHop>,
    },
    NoMatch {
        #[serde(flatten)]
        asked: Asked,
        /// Always `nomatch`.
        state: &'static str,
    },
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct RouteStats {
    /// Routes by length of prefix.
    pub prefix: BTreeMap<u8, u64>,
    pub total: u64,
    pub used: u64,
    pub free: u64,
    pub nexthop: NextHopUse,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct NextHopUse {
    pub used: u64,
    pub free: u64,
}
