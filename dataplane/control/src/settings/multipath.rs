// SPDX-License-Identifier: Apache-2.0
//! How flows are given to the paths of a route.

use weft_nodes::ip4::Multipath;

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(MULTIPATH);

const WORDS: &[&str] = &[
    Multipath::NAMES[0].0,
    Multipath::NAMES[1].0,
    Multipath::NAMES[2].0,
    Multipath::NAMES[3].0,
    Multipath::NAMES[4].0,
];

/// See there.
pub static MULTIPATH: Setting = Setting {
    name: "multipath",
    help: "Set how flows are given to the paths of a route",
    grammar: Grammar::Choice(WORDS),
    commands: &[Words::new("set ip multipath <value>")],
    conf: "multipath",
    message: None,
    vplaned: Some("ecmp mode"),
    scope: ScopeOf::Global {
        get: |control| multipath(control.router.objects().load_balances.multipath()),
        plan: |trial, value| {
            let &Value::Choice(place) = value else { return Ok(()) };
            let Some((_, mode)) = Multipath::NAMES.get(place) else { return Ok(()) };
            trial.after(move |control| {
                control.router.set_multipath(&mut control.engine, *mode);
                Ok(())
            });
            Ok(())
        },
    },
};

/// As a value.
pub fn multipath(mode: Multipath) -> Value {
    Value::Choice(Multipath::NAMES.iter().position(|(_, known)| *known == mode).unwrap_or(0))
}
