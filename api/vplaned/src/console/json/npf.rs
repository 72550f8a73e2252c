// SPDX-License-Identifier: Apache-2.0
//! `npf-op show`

use std::collections::BTreeMap;

use serde::Serialize;

/// What `npf-op` and `session-op` put their answers in.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Config<T> {
    pub config: T,
}

#[derive(Debug, Clone, Serialize)]
pub struct NpfAttachPoint {
    pub attach_type: &'static str,
    pub attach_point: String,
    pub rulesets: Vec<NpfRuleset>,
}

#[derive(Debug, Clone, Serialize)]
pub struct NpfRuleset {
    pub ruleset_type: &'static str,
    pub groups: Vec<NpfGroup>,
}

#[derive(Debug, Clone, Serialize)]
pub struct NpfGroup {
    pub class: &'static str,
    pub name: String,
    /// `in` or `out`.
    pub direction: &'static str,
    /// By number.
    pub rules: BTreeMap<u32, NpfRule>,
}

#[derive(Debug, Clone, Serialize)]
pub struct NpfRule {
    /// `pass ` or `block `; clients expect the blank.
    pub action: &'static str,
    /// The rule's text.
    pub config: String,
    #[serde(rename = "match")]
    pub matches: String,
    pub operation: String,
    pub bytes: u64,
    pub packets: u64,
}
