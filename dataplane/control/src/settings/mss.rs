// SPDX-License-Identifier: Apache-2.0
//! The longest TCP segment that connections over an interface may offer.

use weft_nodes::ip4::TCP_MSS;

use super::{ScopeOf, Setting, Words, listed};
use crate::value::Grammar;

listed!(MSS);

/// See there.
pub static MSS: Setting = Setting {
    name: "tcp-mss",
    help: "Lower the TCP segments that connections over an interface offer, in both directions",
    grammar: Grammar::Number { what: "bytes", low: 1, high: u16::MAX as u64, none: Some("off") },
    commands: &[Words::new("set interface tcp-mss <interface> <value>")],
    conf: "tcp-mss",
    message: None,
    vplaned: Some("tcp-mss"),
    scope: ScopeOf::Number(&TCP_MSS),
};
