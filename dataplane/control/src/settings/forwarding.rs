// SPDX-License-Identifier: Apache-2.0
//! Whether an interface routes what arrives on it for others.

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(FORWARDING);

/// See there.
pub static FORWARDING: Setting = Setting {
    name: "forwarding",
    help: "Route what arrives on an interface for others, or take only what is for this host",
    grammar: Grammar::Switch { on: "enable", off: "disable" },
    commands: &[Words::new("set interface ip forwarding <interface> <value>")],
    conf: "ip forwarding",
    message: None,
    vplaned: Some("netlink netconf: forwarding"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Switch(control.interfaces.get(index)?.forwarding)),
        plan: |trial, index, value| {
            let on = *value == Value::Switch(true);
            trial.change(index, |interface| interface.forwarding = on)?;
            trial
                .after(move |control| Ok(control.nodes.admission.forward(&mut control.engine, index, on)?));
            Ok(())
        },
    },
};
