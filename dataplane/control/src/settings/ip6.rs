// SPDX-License-Identifier: Apache-2.0
//! IPv6 on an interface: whether it is enabled also without an address, and the link-local address that it has then.

use weft_nodes::fib::Ip6;
use weft_nodes::router::Router;

use super::{ScopeOf, Setting, Words, listed};
use crate::Control;
use crate::error::StepError;
use crate::value::{Grammar, Value};

listed!(IP6, IP6_LINK_LOCAL);

/// See there.
pub static IP6: Setting = Setting {
    name: "ip6",
    help: "Enable IPv6 on an interface also without an address of its own; it then has a link-local address",
    grammar: Grammar::Switch { on: "enable", off: "disable" },
    commands: &[
        Words::fixed("enable ip6 interface <interface>", || Value::Switch(true)),
        Words::fixed("disable ip6 interface <interface>", || Value::Switch(false)),
    ],
    conf: "ip6 state",
    message: Some("sw_interface_ip6_enable_disable"),
    vplaned: None,
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Switch(control.interfaces.get(index)?.ip6.always)),
        plan: |trial, index, value| {
            let on = *value == Value::Switch(true);
            if on {
                Router::can_enable::<Ip6>(&trial.control().interfaces, index)?;
            }
            trial.change(index, |interface| interface.ip6.always = on)?;
            // Who was learned there is forgotten where IPv6 is disabled by it.
            trial.after(move |control| {
                let Control { router, engine, interfaces, .. } = control;
                Ok(router.enable::<Ip6>(engine, interfaces, index, on)?)
            });
            Ok(())
        },
    },
};

/// See there.
pub static IP6_LINK_LOCAL: Setting = Setting {
    name: "ip6-link-local",
    help: "Choose the link-local address of an interface in place of the one that follows from its MAC address; stable: one that follows from its name and a secret of this machine (RFC 7217)",
    grammar: Grammar::LinkLocal { none: "eui-64", stable: "stable" },
    commands: &[Words::new("set interface ip6 link-local <interface> <value>")],
    conf: "ip6 link-local",
    message: Some("sw_interface_ip6_set_link_local_address"),
    vplaned: None,
    scope: ScopeOf::Interface {
        get: |control, index| {
            let ip6 = &control.interfaces.get(index)?.ip6;
            Some(match ip6.chosen_link_local {
                Some(_) if ip6.is_stable => Value::Stable,
                Some(address) => Value::Ip6(address),
                None => Value::None,
            })
        },
        plan: |trial, index, value| {
            let is_stable = *value == Value::Stable;
            let chosen = match value {
                Value::Ip6(address) => Some(*address),
                Value::Stable => {
                    let secret = trial.control().stable_secret.clone().ok_or(StepError::NoStableSecret)?;
                    Some(secret.link_local(&trial.interface(index)?.name, 0))
                }
                _ => None,
            };
            Router::can_be_link_local::<Ip6>(&trial.control().interfaces, index, chosen)?;
            trial.change(index, |interface| {
                (interface.ip6.chosen_link_local, interface.ip6.is_stable) = (chosen, is_stable);
            })
        },
    },
};
