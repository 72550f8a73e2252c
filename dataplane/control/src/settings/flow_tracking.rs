// SPDX-License-Identifier: Apache-2.0
//! Whose flows are tracked.

use weft_flow::settings::Mode;

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(FLOW_TRACKING);

const WORDS: &[&str] = &["off", "track", "agent"];

/// See there.
pub static FLOW_TRACKING: Setting = Setting {
    name: "flow-tracking",
    help: "Track the flows of an interface; with agent each new one waits for a verdict",
    grammar: Grammar::Choice(WORDS),
    commands: &[
        Words::new("set interface flow-tracking <interface> <value>"),
        Words::fixed("flow disable <interface>", || flow_tracking(None)),
    ],
    conf: "flow-tracking",
    message: None,
    vplaned: None,
    scope: ScopeOf::Interface {
        get: |control, index| {
            control.interfaces.get(index)?;
            Some(flow_tracking(control.flows.mode(&control.engine, index)))
        },
        plan: |trial, index, value| {
            trial.interface(index)?;
            let mode = match value {
                Value::Choice(1) => Some(Mode::Track),
                Value::Choice(2) => Some(Mode::Agent),
                _ => None,
            };
            if mode.is_some() {
                trial.make_tracker()?;
            }
            trial.after(move |control| Ok(control.set_flow_mode(index, mode)?));
            Ok(())
        },
    },
};

/// As a value.
pub fn flow_tracking(mode: Option<Mode>) -> Value {
    Value::Choice(match mode {
        None | Some(Mode::Admit) => 0,
        Some(Mode::Track) => 1,
        Some(Mode::Agent) => 2,
    })
}
