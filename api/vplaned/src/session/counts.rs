// SPDX-License-Identifier: Apache-2.0
//! What went to and fro, for operators.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::wire::Reply;

/// Messages since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// By first word.
    pub sent: BTreeMap<&'static str, u64>,
    /// Of the request channel, by first word; `update` is a message of a snapshot.
    pub received: BTreeMap<&'static str, u64>,
    /// Publications handed on.
    pub live: u64,
    /// Publications that the snapshot held already.
    pub duplicates: u64,
    pub malformed: u64,
    /// Well-formed messages that nobody waited for.
    pub unexpected: u64,
    /// Sessions that ended.
    #[serde(skip)]
    pub lost: u64,
}

impl Counts {
    pub(super) fn sent(&mut self, word: &'static str) {
        *self.sent.entry(word).or_default() += 1;
    }

    pub(super) fn received(&mut self, reply: &Reply) {
        let word = match reply {
            Reply::Accept { .. } => "ACCEPT",
            Reply::Reject => "REJECT",
            Reply::Conf { .. } => "CONF",
            Reply::PortAdded { .. } | Reply::PortDeleted { .. } => "OK",
            Reply::Unknown | Reply::Refused(_) => "FAIL",
            Reply::Item(_) => "update",
            Reply::End { .. } => "THATSALLFOLKS!",
        };
        *self.received.entry(word).or_default() += 1;
    }
}
