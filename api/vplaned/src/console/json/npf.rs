// SPDX-License-Identifier: Apache-2.0
//! `npf-op`

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::Under;

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

/// Of `npf-op dump groups`: all that is wanted, attached or not.
#[derive(Debug, Clone, Serialize)]
pub struct RuleGroup {
    pub group_class: &'static str,
    pub group: String,
    pub rules: Vec<IndexedRule>,
}

#[derive(Debug, Clone, Serialize)]
pub struct IndexedRule {
    pub index: u32,
    /// Its text.
    pub rule: String,
}

#[derive(Debug, Clone, Serialize)]
pub struct Attached {
    pub attach_type: &'static str,
    pub attach_point: String,
    pub rulesets: Vec<AttachedRuleset>,
}

#[derive(Debug, Clone, Serialize)]
pub struct AttachedRuleset {
    pub ruleset_type: &'static str,
    pub groups: Vec<AttachedGroup>,
}

#[derive(Debug, Clone, Serialize)]
pub struct AttachedGroup {
    pub group_class: &'static str,
    pub group: String,
}

/// `npf-op state`: counters in the form of the configuration tree. Empty if nothing is asked for that has any.
#[derive(Debug, Clone, Default, Serialize)]
pub struct State {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dataplane: Vec<InterfaceState>,
}

/// Of a ruleset, under `firewall`, `state`, `in` or `out`, `name`.
pub type FirewallState = Under<Under<Under<Under<Vec<GroupState>>>>>;

/// One ruleset of an interface.
#[derive(Debug, Clone, Serialize)]
pub struct InterfaceState {
    /// The interface; for a VLAN the one below it.
    pub tagnode: String,
    #[serde(flatten)]
    pub of: StateOf,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum StateOf {
    Port(FirewallState),
    Vlan { vif: [VlanState; 1] },
}

#[derive(Debug, Clone, Serialize)]
pub struct VlanState {
    pub tagnode: String,
    #[serde(flatten)]
    pub state: FirewallState,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupState {
    pub group_name: String,
    pub rule: Vec<RuleState>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleState {
    pub rule_number: u32,
    pub bytes: u64,
    pub packets: u64,
}

/// `npf-op fw show address-group`. Scripts of vplane-config-npf to 1.12 read one group under `address-group`, later ones a list.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AddressGroups {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_group: Option<AddressGroup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address_groups: Option<Vec<AddressGroup>>,
}

#[derive(Debug, Clone, Serialize)]
pub struct AddressGroup {
    pub name: String,
    pub id: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<AddressLists>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<AddressLists>,
}

/// The addresses of one family.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AddressLists {
    /// As they were configured; of a group under `address-group`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list_entries: Option<Vec<AddressEntry>>,
    /// The same, of one of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<Vec<AddressEntry>>,
    /// As prefixes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<Vec<AddressEntry>>,
}

/// One entry; `type` is 0 of an address or prefix, 1 of a range.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum AddressEntry {
    Prefix {
        #[serde(rename = "type")]
        kind: u8,
        prefix: IpAddr,
        /// Absent of a single address.
        #[serde(skip_serializing_if = "Option::is_none")]
        mask: Option<u8>,
    },
    Range {
        #[serde(rename = "type")]
        kind: u8,
        start: IpAddr,
        end: IpAddr,
        /// The prefixes that it consists of.
        #[serde(rename = "range-prefixes", skip_serializing_if = "Option::is_none")]
        range_prefixes: Option<Vec<AddressEntry>>,
        /// The same, in a list of groups.
        #[serde(skip_serializing_if = "Option::is_none")]
        entries: Option<Vec<AddressEntry>>,
    },
}
