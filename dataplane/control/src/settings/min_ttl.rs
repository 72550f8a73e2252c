// SPDX-License-Identifier: Apache-2.0
//! How far away the senders of packets for this host may be.

use weft_nodes::ip4::min_ttl;

use super::{ScopeOf, Setting, Words, listed};
use crate::value::Grammar;

listed!(MIN_TTL);

/// See there.
pub static MIN_TTL: Setting = Setting {
    name: "min-ttl",
    help: "Drop packets for this host whose TTL says that their sender is farther away (RFC 5082)",
    grammar: Grammar::Number { what: "TTL", low: 1, high: 255, none: Some("off") },
    commands: &[Words::new("set interface ip min-ttl <interface> <value>")],
    conf: "ip min-ttl",
    message: None,
    vplaned: None,
    scope: ScopeOf::Number(&min_ttl::MIN_TTL),
};
