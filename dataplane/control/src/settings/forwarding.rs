// SPDX-License-Identifier: Apache-2.0
//! Whether an interface routes what arrives on it for others.

use weft_engine::InterfaceIndex;

use super::{ScopeOf, Setting, Words, listed};
use crate::commit::Trial;
use crate::value::{Grammar, Value};

listed!(FORWARDING, IP6_FORWARDING);

const SWITCH: Grammar = Grammar::Switch { on: "enable", off: "disable" };

/// See there.
pub static FORWARDING: Setting = Setting {
    name: "forwarding",
    help: "Route what arrives on an interface for others, or take only what is for this host",
    grammar: SWITCH,
    commands: &[Words::new("set interface ip forwarding <interface> <value>")],
    conf: "ip forwarding",
    message: None,
    vplaned: Some("netlink netconf: forwarding"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Switch(control.interfaces.get(index)?.forwarding)),
        plan: |trial, index, value| {
            let on = *value == Value::Switch(true);
            trial.change(index, |interface| interface.forwarding = on)?;
            follow(trial, index);
            Ok(())
        },
    },
};

/// See there.
pub static IP6_FORWARDING: Setting = Setting {
    name: "ip6-forwarding",
    help: "Route what arrives of IPv6 on an interface that routes, or take only what is for this host",
    grammar: SWITCH,
    commands: &[Words::new("set interface ip6 forwarding <interface> <value>")],
    conf: "ip6 forwarding",
    message: None,
    vplaned: Some("netlink netconf of IPv6: forwarding"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Switch(control.interfaces.get(index)?.forwarding6)),
        plan: |trial, index, value| {
            let on = *value == Value::Switch(true);
            trial.change(index, |interface| interface.forwarding6 = on)?;
            follow(trial, index);
            Ok(())
        },
    },
};

/// The nodes of both families are as the interface says when all is done.
fn follow(trial: &mut Trial<'_>, index: InterfaceIndex) {
    trial.after(move |control| {
        let Some(interface) = control.interfaces.get(index) else { return Ok(()) };
        let on = [interface.forwarding, interface.forwarding && interface.forwarding6];
        Ok(control.nodes.admission.forward_each(&mut control.engine, index, on)?)
    });
}
