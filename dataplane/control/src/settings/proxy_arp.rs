// SPDX-License-Identifier: Apache-2.0
//! Proxy ARP.

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(PROXY_ARP);

/// See there.
pub static PROXY_ARP: Setting = Setting {
    name: "proxy-arp",
    help: "Answer ARP requests for addresses that are reached by other interfaces (RFC 1027)",
    grammar: Grammar::Switch { on: "enable", off: "disable" },
    commands: &[Words::new("set interface proxy-arp <interface> <value>")],
    conf: "proxy-arp",
    message: Some("proxy_arp_intfc_enable_disable"),
    vplaned: Some("netlink netconf: proxy_neigh"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Switch(control.interfaces.get(index)?.proxy_arp)),
        plan: |trial, index, value| {
            trial.change(index, |interface| interface.proxy_arp = *value == Value::Switch(true))
        },
    },
};
