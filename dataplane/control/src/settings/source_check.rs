// SPDX-License-Identifier: Apache-2.0
//! Which sources are believed on an interface.

use weft_nodes::ip4::SourceCheck;

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(SOURCE_CHECK);

const WORDS: &[&str] = &[SourceCheck::NAMES[0].0, SourceCheck::NAMES[1].0, SourceCheck::NAMES[2].0];

/// See there.
pub static SOURCE_CHECK: Setting = Setting {
    name: "urpf",
    help: "Believe only sources that a route leads back to (RFC 3704)",
    grammar: Grammar::Choice(WORDS),
    commands: &[Words::new("set urpf ip4 rx <value> <interface>")],
    conf: "urpf",
    message: None,
    vplaned: Some("netlink netconf: rp_filter"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(source_check(control.interfaces.get(index)?.source_check)),
        plan: |trial, index, value| {
            let &Value::Choice(place) = value else { return Ok(()) };
            let Some((_, check)) = SourceCheck::NAMES.get(place) else { return Ok(()) };
            trial.change(index, |interface| interface.source_check = *check)?;
            trial.after(move |control| {
                Ok(control.nodes.admission.check_sources(&mut control.engine, index, *check)?)
            });
            Ok(())
        },
    },
};

/// As a value.
pub fn source_check(check: SourceCheck) -> Value {
    Value::Choice(SourceCheck::NAMES.iter().position(|(_, known)| *known == check).unwrap_or(0))
}
