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

use crate::netlink::MacAddr;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub use self::interfaces::{
    Address, Addresses, EthernetInfo, Interface, Interfaces, Ip4, LinkState, Rates, Statistics,
};
pub use self::npf::{
    AddressEntry, AddressGroup, AddressGroups, AddressLists, AttachPoints, Attached, AttachedGroup,
    AttachedRuleset, Config, DirectionState, FirewallState, GroupState, IndexedRule, InterfaceState,
    NamedState, NpfAttachPoint, NpfGroup, NpfRule, NpfRuleset, RuleGroup, RuleGroups, RuleState, State,
    StateOf, VlanState,
};
pub use self::routes::{
    Asked, LOOKUP, Looked, NextHop, NextHopState, NextHopUse, Route, RouteStats, SHOW, SUMMARY, Shown,
};
pub use self::sessions::{
    DataplaneSessions, Session, SessionCounters, SessionDirections, SessionFamilies, SessionFeatures,
    SessionStatistics, SessionSummary, SessionTotals, Sessions, SummaryOf,
};
pub use self::tables::{ArpEntry, Local, LocalAddress, Netstat, Vrf, VrfEntry};

/// An answer under one key. Commands that show the same of either family differ in the key.
#[derive(Debug, Clone)]
pub struct Under<T>(pub &'static str, pub T);

impl<T: Serialize> Serialize for Under<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, &self.1)?;
        map.end()
    }
}

/// `2:0:0:0:1:0`
fn unpadded<S: Serializer>(mac: &MacAddr, serializer: S) -> Result<S::Ok, S::Error> {
    let [a, b, c, d, e, f] = mac.0;
    serializer.collect_str(&format_args!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}"))
}
