// SPDX-License-Identifier: Apache-2.0
//! `bridge-domains { ... }`, and the words of an interface that is a port of one. The words are those of the commands.

use weft_control::DomainChange;
use weft_l2::{HIGHEST_ID, LinkGroups, Role};

use super::{
    diagnostic::Diagnostic,
    source::Span,
    words::{Key, Words, key},
};

/// A bridge domain that is there from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeDomain {
    pub id: u32,
    pub span: Span,
    /// In what it differs from one of which nothing is said.
    pub changes: Vec<DomainChange>,
}

/// How an interface is switched from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Switched {
    /// A port of this domain.
    Bridged { domain: u32, role: Role, group: u8 },
    /// Connected to the interface of this name.
    Crossed(String),
}

/// `domain <id> [{ ... }]`
pub(super) const KEYS: &[Key<Vec<BridgeDomain>>] = &[key("domain", |domains, words| {
    let id = words.number("bridge domain", 1..=HIGHEST_ID)?;
    let mut domain = BridgeDomain { id, span: words.last_span(), changes: Vec::new() };
    if let Some(mut inside) = words.optional_group("domain") {
        inside.read(DOMAIN_KEYS, &mut domain.changes);
    }
    domains.push(domain);
    Ok(())
})];

/// Notes what was read.
fn note(changes: &mut Vec<DomainChange>, change: Result<DomainChange, Diagnostic>) -> Result<(), Diagnostic> {
    changes.push(change?);
    Ok(())
}

pub(super) const DOMAIN_KEYS: &[Key<Vec<DomainChange>>] = &[
    key("learn", |changes, words| note(changes, words.switch().map(DomainChange::Learn))),
    key("forward", |changes, words| note(changes, words.switch().map(DomainChange::Forward))),
    key("flood", |changes, words| note(changes, words.switch().map(DomainChange::Flood))),
    key("uu-flood", |changes, words| note(changes, words.switch().map(DomainChange::UnknownFlood))),
    key("mac-age", |changes, words| {
        note(changes, words.number("minutes", 0..=u8::MAX).map(DomainChange::Age))
    }),
    key("learn-limit", |changes, words| {
        let limit = words.number("number of stations", 0..=u32::MAX);
        note(changes, limit.map(|limit| DomainChange::Limit(Some(limit))))
    }),
    key("link-groups", |changes, words| {
        let choices =
            [("punt", LinkGroups::Punt), ("drop", LinkGroups::Drop), ("forward", LinkGroups::Forward)];
        note(changes, words.one_of(&choices).map(DomainChange::LinkGroups))
    }),
];

/// `l2 bridge <domain> [bvi|uu-fwd] [shg <group>]`
pub(super) fn bridged(words: &mut Words<'_>) -> Result<Switched, Diagnostic> {
    let domain = words.number("bridge domain", 1..=HIGHEST_ID)?;
    let role = if words.keyword("bvi") {
        Role::Bvi
    } else if words.keyword("uu-fwd") {
        Role::Uplink
    } else {
        Role::Normal
    };
    let group = if words.keyword("shg") { words.number("split-horizon group", 0..=u8::MAX)? } else { 0 };
    Ok(Switched::Bridged { domain, role, group })
}
