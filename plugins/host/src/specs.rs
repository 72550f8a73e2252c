// SPDX-License-Identifier: Apache-2.0
//! Descriptors of plugin nodes for the engine, which wants them for ever.
//!
//! The graph knows a node by a `&'static NodeSpec`. One is made, and never freed, for each different description; a plugin
//! that is loaded a thousand times has the same ones a thousand times.

use std::collections::HashMap;
use std::time::Duration;

use weft_engine::node::{Kind, NodeSpec, ReasonKind, ReasonSpec, Role, Severity};

use crate::registration::{NodeParts, ReasonText};

/// Every node of a plugin has this reason to drop, after its own.
const FAILED: ReasonSpec = ReasonSpec {
    kind: ReasonKind::Drop,
    name: "plugin_failed",
    text: "the plugin panicked on this packet",
    severity: Severity::Error,
};

/// And this one, if it hands packets off.
const HANDOFF_FULL: ReasonSpec = ReasonSpec {
    kind: ReasonKind::Drop,
    name: "handoff_full",
    text: "no room on the way to another worker",
    severity: Severity::Error,
};

#[derive(PartialEq, Eq, Hash)]
struct Description {
    name: String,
    edges: Vec<String>,
    drops: Vec<ReasonText>,
    events: Vec<ReasonText>,
    input: bool,
    period_ms: u32,
    hands_off: bool,
}

/// All descriptors so far.
#[derive(Default)]
pub struct Specs(HashMap<Description, &'static NodeSpec>);

impl Specs {
    /// The descriptor of a node.
    pub fn get(&mut self, node: &NodeParts) -> &'static NodeSpec {
        let description = Description {
            name: node.name.clone(),
            edges: node.edges.clone(),
            drops: node.drops.clone(),
            events: node.events.clone(),
            input: node.input,
            period_ms: node.period_ms,
            hands_off: node.hands_off,
        };
        self.0.entry(description).or_insert_with_key(|description| {
            let drops = description.drops.iter().map(|reason| spec(ReasonKind::Drop, reason));
            let events = description.events.iter().map(|event| spec(ReasonKind::Event, event));
            let full = description.hands_off.then_some(HANDOFF_FULL);
            Box::leak(Box::new(NodeSpec {
                front_of: None,
                name: leak(&description.name),
                kind: match description.period_ms {
                    _ if description.input => Kind::Input,
                    0 => Kind::Internal,
                    period => Kind::Timer(Duration::from_millis(period.into())),
                },
                role: Role::Transit,
                // The host registers them, by what the plugin says of each.
                features: &[],
                handles: &[],
                punts: &[],
                next: description.edges.iter().map(|edge| leak(edge)).collect::<Vec<_>>().leak(),
                drops: drops.chain([FAILED]).chain(full).collect::<Vec<_>>().leak(),
                events: events.collect::<Vec<_>>().leak(),
                trace: None,
            }))
        })
    }
}

fn spec(kind: ReasonKind, reason: &ReasonText) -> ReasonSpec {
    ReasonSpec { kind, name: leak(&reason.name), text: leak(&reason.text), severity: reason.severity() }
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}
