// SPDX-License-Identifier: Apache-2.0
//! Descriptors of plugin nodes for the engine, which wants them for ever.
//!
//! The graph knows a node by a `&'static NodeSpec`. One is made, and never freed, for each different description; a plugin
//! that is loaded a thousand times has the same ones a thousand times.

use std::collections::HashMap;
use std::time::Duration;

use weft_engine::node::{Kind, NodeSpec, ReasonKind, ReasonSpec, Role, Severity};

use crate::registration::{NodeParts, ReasonText};

/// Every node of a plugin has this reason, after its own.
const FAILED: ReasonSpec = ReasonSpec {
    kind: ReasonKind::Drop,
    name: "plugin_failed",
    text: "the plugin panicked on this packet",
    severity: Severity::Error,
};

#[derive(PartialEq, Eq, Hash)]
struct Description {
    name: String,
    edges: Vec<String>,
    reasons: Vec<ReasonText>,
    input: bool,
    period_ms: u32,
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
            reasons: node.reasons.clone(),
            input: node.input,
            period_ms: node.period_ms,
        };
        self.0.entry(description).or_insert_with_key(|description| {
            let reasons = description.reasons.iter().map(|reason| ReasonSpec {
                // The ABI does not tell the two apart.
                kind: ReasonKind::Drop,
                name: leak(&reason.name),
                text: leak(&reason.text),
                severity: reason.severity(),
            });
            Box::leak(Box::new(NodeSpec {
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
                drops: reasons.chain([FAILED]).collect::<Vec<_>>().leak(),
                events: &[],
                trace: None,
            }))
        })
    }
}

fn leak(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}
