// SPDX-License-Identifier: Apache-2.0
//! Up and down, as the operator wants it. It is Weft's own: a port that is down drops what arrives, with a reason, and the
//! Linux interface below stays up, since the host may use it too.

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(ADMIN_STATE);

/// Whether an interface is up, as far as the operator is concerned.
pub static ADMIN_STATE: Setting = Setting {
    name: "admin-state",
    help: "Set an interface up or down",
    grammar: Grammar::Switch { on: "up", off: "down" },
    commands: &[Words::new("set interface state <interface> <value>")],
    conf: "state",
    message: Some("sw_interface_set_flags"),
    vplaned: Some("netlink link: IFF_UP"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Switch(control.interfaces.get(index)?.admin_up)),
        plan: |trial, index, value| {
            let up = *value == Value::Switch(true);
            trial.change(index, |interface| interface.admin_up = up)?;
            Ok(())
        },
    },
};
