// SPDX-License-Identifier: Apache-2.0
//! How far away the senders of IPv6 packets for this host may be.

use weft_nodes::ip6::min_hop_limit;

use super::{ScopeOf, Setting, Words, listed};
use crate::value::Grammar;

listed!(MIN_HOP_LIMIT);

/// See there.
pub static MIN_HOP_LIMIT: Setting = Setting {
    name: "min-hop-limit",
    help: "Drop IPv6 packets for this host whose hop limit says that their sender is farther away (RFC 5082)",
    grammar: Grammar::Number { what: "hop limit", low: 1, high: 255, none: Some("off") },
    commands: &[Words::new("set interface ip6 min-hop-limit <interface> <value>")],
    conf: "ip6 min-hop-limit",
    message: None,
    vplaned: None,
    scope: ScopeOf::Number(&min_hop_limit::MIN_HOP_LIMIT),
};
