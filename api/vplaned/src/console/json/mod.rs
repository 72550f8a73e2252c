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

use super::Failure;
use crate::netlink::MacAddr;
use serde::{Serialize, Serializer};

pub use self::interfaces::{
    Address, Addresses, EthernetInfo, Interface, Interfaces, Ip4, LinkState, Rates, Statistics,
};
pub use self::npf::{
    AddressEntry, AddressGroup, AddressGroups, AddressLists, Attached, AttachedGroup, AttachedRuleset,
    Config, FirewallState, GroupState, IndexedRule, InterfaceState, NpfAttachPoint, NpfGroup, NpfRule,
    NpfRuleset, RuleGroup, RuleState, State, StateOf, VlanState,
};
pub use self::routes::{
    Asked, LOOKUP, Looked, NextHop, NextHopState, NextHopUse, Route, RouteStats, SHOW, SUMMARY, Shown,
};
pub use self::sessions::{
    Session, SessionCounters, SessionDirections, SessionFamilies, SessionFeatures, SessionStatistics,
    SessionTotals, Sessions,
};
pub use self::tables::{ArpEntry, LocalAddress, VrfEntry};

/// An answer under one key. Commands that show the same of either family differ in the key.
#[derive(Debug, Clone)]
pub struct Under<T>(pub &'static str, pub T);

impl<T: Serialize> Serialize for Under<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, &self.1)])
    }
}

/// An answer as the text that is sent.
pub fn text(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure(error.to_string()))
}

/// `2:0:0:0:1:0`
fn unpadded<S: Serializer>(mac: &MacAddr, serializer: S) -> Result<S::Ok, S::Error> {
    let [a, b, c, d, e, f] = mac.0;
    serializer.collect_str(&format_args!("{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}"))
}
