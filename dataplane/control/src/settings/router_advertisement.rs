// SPDX-License-Identifier: Apache-2.0
//! What an interface says to hosts that look for a router (RFC 4861 section 6.2.1).

use weft_engine::InterfaceIndex;
use weft_nodes::interface::RouterAdvertisements;

use super::{ScopeOf, Setting, Words, listed};
use crate::commit::Trial;
use crate::error::StepError;
use crate::value::{Grammar, Value};

listed!(ROUTER_ADVERTISEMENT, RA_LIFETIME, RA_INTERVAL);

/// See there.
pub static ROUTER_ADVERTISEMENT: Setting = Setting {
    name: "router-advertisement",
    help: "Tell hosts of the link that this router is there, the MTU, and the subnets that are on it (RFC 4861)",
    grammar: Grammar::Switch { on: "enable", off: "disable" },
    commands: &[Words::new("set interface ip6 router-advertisement <interface> <value>")],
    conf: "ip6 router-advertisement",
    message: Some("sw_interface_ip6nd_ra_config"),
    vplaned: None,
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Switch(control.interfaces.get(index)?.router_advertisement.on)),
        plan: |trial, index, value| plan(trial, index, |it| it.on = *value == Value::Switch(true)),
    },
};

/// See there.
pub static RA_LIFETIME: Setting = Setting {
    name: "ra-lifetime",
    help: "Set how long hosts that have heard a router advertisement use this router; 0: for nothing beyond the link",
    grammar: Grammar::Number { what: "seconds", low: 0, high: 9000, none: None },
    commands: &[Words::new("set interface ip6 ra-lifetime <interface> <value>")],
    conf: "ip6 ra-lifetime",
    message: Some("sw_interface_ip6nd_ra_config"),
    vplaned: None,
    scope: ScopeOf::Interface {
        get: |control, index| {
            Some(Value::Number(control.interfaces.get(index)?.router_advertisement.lifetime.into()))
        },
        plan: |trial, index, value| {
            let seconds = seconds(value);
            plan(trial, index, |it| it.lifetime = seconds)
        },
    },
};

/// See there.
pub static RA_INTERVAL: Setting = Setting {
    name: "ra-interval",
    help: "Set the longest time between router advertisements that nobody has asked for",
    grammar: Grammar::Number { what: "seconds", low: 4, high: 1800, none: None },
    commands: &[Words::new("set interface ip6 ra-interval <interface> <value>")],
    conf: "ip6 ra-interval",
    message: Some("sw_interface_ip6nd_ra_config"),
    vplaned: None,
    scope: ScopeOf::Interface {
        get: |control, index| {
            Some(Value::Number(control.interfaces.get(index)?.router_advertisement.interval.into()))
        },
        plan: |trial, index, value| {
            let seconds = seconds(value);
            plan(trial, index, |it| it.interval = seconds)
        },
    },
};

fn seconds(value: &Value) -> u16 {
    match value {
        Value::Number(seconds) => u16::try_from(*seconds).unwrap_or(u16::MAX),
        _ => 0,
    }
}

fn plan(
    trial: &mut Trial<'_>,
    index: InterfaceIndex,
    change: impl FnOnce(&mut RouterAdvertisements),
) -> Result<(), StepError> {
    trial.change(index, |interface| change(&mut interface.router_advertisement))?;
    trial.after(move |control| {
        control.router.tell_link(&mut control.engine, &control.interfaces, index);
        Ok(())
    });
    Ok(())
}
