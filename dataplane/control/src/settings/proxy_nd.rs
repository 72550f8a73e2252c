// SPDX-License-Identifier: Apache-2.0
//! Proxy neighbour discovery.

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(PROXY_ND);

/// See there.
pub static PROXY_ND: Setting = Setting {
    name: "proxy-nd",
    help: "Answer neighbour solicitations for addresses that are reached by other interfaces (RFC 4389)",
    grammar: Grammar::Switch { on: "enable", off: "disable" },
    commands: &[
        Words::new("set interface ip6 proxy-nd <interface> <value>"),
        Words::fixed("set interface ip6-nd proxy enable <interface>", || Value::Switch(true)),
        Words::fixed("set interface ip6-nd proxy disable <interface>", || Value::Switch(false)),
    ],
    conf: "ip6 proxy-nd",
    message: Some("ip6nd_proxy_enable_disable"),
    vplaned: Some("netlink netconf of IPv6: proxy_neigh"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Switch(control.interfaces.get(index)?.proxy_nd)),
        plan: |trial, index, value| {
            trial.change(index, |interface| interface.proxy_nd = *value == Value::Switch(true))
        },
    },
};
