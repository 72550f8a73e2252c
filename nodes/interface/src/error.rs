// SPDX-License-Identifier: Apache-2.0
//! Why the registry refuses.

use thiserror::Error;
use weft_engine::InterfaceIndex;

use crate::kind::Kind;

/// Why an interface cannot be what was asked.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum InterfaceError {
    /// Two of one name.
    #[error("interface '{0}' exists already")]
    Duplicate(String),
    /// A limit of startup.conf.
    #[error("no room for interface '{name}': limits {{ interfaces {limit} }}")]
    Full {
        /// The new one.
        name: String,
        /// The setting.
        limit: usize,
    },
    /// No such interface.
    #[error("no interface has index {0}")]
    Unknown(InterfaceIndex),
    /// Tags on tags, or on what has no frames.
    #[error("'{0}' is {kind}, expected a port below the sub-interface", kind = .1.sentence())]
    NotAPort(String, Kind),
    /// Two for the same frames.
    #[error("'{0}' has these tags already")]
    TagsTaken(String),
    /// Something stands on it.
    #[error("'{0}' has sub-interfaces; delete them first: {1}")]
    HasSubs(String, String),
    /// No room for its name among the counters.
    #[error("no room for the counters of interface '{name}': {error}; see statseg {{ size }}")]
    Stats {
        /// The new one.
        name: String,
        /// What is full.
        error: String,
    },
}
