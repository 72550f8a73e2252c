// SPDX-License-Identifier: Apache-2.0
//! What an interface does with ARP that nobody asked for.

use weft_nodes::interface::GratuitousArp;

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(GRATUITOUS_ARP);

const CHOICES: [GratuitousArp; 4] = [
    GratuitousArp { ignore_requests: false, ignore_replies: false },
    GratuitousArp { ignore_requests: true, ignore_replies: false },
    GratuitousArp { ignore_requests: false, ignore_replies: true },
    GratuitousArp { ignore_requests: true, ignore_replies: true },
];

/// See there.
pub static GRATUITOUS_ARP: Setting = Setting {
    name: "gratuitous-arp",
    help: "Let gratuitous ARP change what is known of neighbours, or ignore it (RFC 5227 section 3)",
    grammar: Grammar::Choice(&["accept", "ignore-requests", "ignore-replies", "ignore"]),
    commands: &[Words::new("set interface gratuitous-arp <interface> <value>")],
    conf: "gratuitous-arp",
    message: None,
    vplaned: Some("garp"),
    scope: ScopeOf::Interface {
        get: |control, index| Some(gratuitous_arp(control.interfaces.get(index)?.gratuitous_arp)),
        plan: |trial, index, value| {
            let &Value::Choice(place) = value else { return Ok(()) };
            let Some(choice) = CHOICES.get(place) else { return Ok(()) };
            trial.change(index, |interface| interface.gratuitous_arp = *choice)
        },
    },
};

/// As a value.
pub fn gratuitous_arp(choice: GratuitousArp) -> Value {
    Value::Choice(CHOICES.iter().position(|known| *known == choice).unwrap_or(0))
}
