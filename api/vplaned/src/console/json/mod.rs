// SPDX-License-Identifier: Apache-2.0
//! The JSON of `show` commands, as the clients of the C dataplane read it (protocol page 14).
//!
//! Plain data that the owner fills in. A key whose value a dataplane does not have is left out, not made up. MAC
//! addresses are written without zero padding.

mod interfaces;
mod npf;
mod routes;
mod sessions;
mod tables;

use serde::Serializer;

use crate::types::MacAddress;

pub use self::interfaces::{
    Address, Addresses, EthernetInfo, Interface, Interfaces, Ip4, LinkState, Statistics,
};
pub use self::npf::{Config, NpfAttachPoint, NpfGroup, NpfRule, NpfRuleset};
pub use self::routes::{
    Looked, NextHop, NextHopState, NextHopUse, Route, RouteLookup, RouteShow, RouteStats, RouteSummary, Shown,
};
pub use self::sessions::{
    DataplaneSessions, Session, SessionCounters, SessionDirections, SessionFamilies, SessionFeatures,
    SessionStatistics, SessionSummary, SessionTotals, Sessions, SummaryOf,
};
pub use self::tables::{Arp, ArpEntry, Local, LocalAddress, Netstat, Vrf, VrfEntry};

/// `2:0:0:0:1:0`
fn unpadded<S: Serializer>(mac: &MacAddress, serializer: S) -> Result<S::Ok, S::Error> {
    let [a, b, c, d, e, f] = mac.0;
    serializer.collect_str(&format_args!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}"))
}
