// SPDX-License-Identifier: Apache-2.0
//! An operator's note on an interface.

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(TAG);

/// See there.
pub static TAG: Setting = Setting {
    name: "tag",
    help: "Put a note on an interface",
    grammar: Grammar::Text { what: "tag", longest: 63 },
    commands: &[
        Words::new("set interface tag <interface> <value>"),
        Words::fixed("clear interface tag <interface>", || Value::Text(String::new())),
    ],
    conf: "tag",
    message: Some("sw_interface_tag_add_del"),
    vplaned: None,
    scope: ScopeOf::Interface {
        get: |control, index| Some(Value::Text(control.interfaces.get(index)?.tag.clone())),
        plan: |trial, index, value| {
            let Value::Text(tag) = value else { return Ok(()) };
            trial.change(index, |interface| interface.tag.clone_from(tag))
        },
    },
};
