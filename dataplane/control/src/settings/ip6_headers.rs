// SPDX-License-Identifier: Apache-2.0
//! How far IPv6 packets are looked into: behind how many extension headers, and whether the flow label tells flows apart.

use weft_nodes::graph::HeaderLimit;

use super::{ScopeOf, Setting, Words, listed};
use crate::value::{Grammar, Value};

listed!(EXTENSION_HEADERS, FLOW_LABEL);

/// See there.
pub static EXTENSION_HEADERS: Setting = Setting {
    name: "ip6-extension-headers",
    help: "Limit the extension headers behind which a packet for this host, or of a tracked flow, is looked at",
    grammar: Grammar::Number { what: "extension headers", low: 1, high: 64, none: None },
    commands: &[Words::new("set ip6 extension-headers <value>")],
    conf: "ip6-extension-headers",
    message: None,
    vplaned: None,
    scope: ScopeOf::Global {
        get: |control| Value::Number(control.nodes.extension_headers.get() as u64),
        plan: |trial, value| {
            let most = match value {
                // The grammar has no larger ones.
                Value::Number(number) => *number as usize,
                _ => HeaderLimit::USUAL,
            };
            trial.after(move |control| {
                control.nodes.extension_headers.set(most);
                let flows =
                    weft_flow::settings::Settings { extension_headers: most, ..*control.flows.settings() };
                control.configure_flows(flows);
                Ok(())
            });
            Ok(())
        },
    },
};

/// See there.
pub static FLOW_LABEL: Setting = Setting {
    name: "ip6-flow-label",
    help: "Give flows to the paths of an IPv6 route by their flow label (RFC 6438), where the sender says one, or by protocol and ports always",
    grammar: Grammar::Switch { on: "enable", off: "disable" },
    commands: &[Words::new("set ip6 flow-label <value>")],
    conf: "ip6-flow-label",
    message: None,
    vplaned: None,
    scope: ScopeOf::Global {
        get: |control| Value::Switch(control.nodes.flow_labels.get()),
        plan: |trial, value| {
            let on = *value == Value::Switch(true);
            trial.after(move |control| {
                control.nodes.flow_labels.set(on);
                Ok(())
            });
            Ok(())
        },
    },
};
