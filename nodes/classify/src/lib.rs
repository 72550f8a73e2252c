// SPDX-License-Identifier: Apache-2.0
//! Classifier.
#![deny(unsafe_code)]

mod action;
mod classifier;
mod forest;
mod group;
mod key;
#[cfg(test)]
mod oracle;
mod policer;
mod rule;
mod sessions;
mod set;
mod simd;

pub use action::Slot;
pub use classifier::{Batch, Classifier, Placement};
pub use forest::Shape;
pub use key::Key;
pub use policer::Policer;
pub use rule::{
    Action, Dscp, FlagsMatch, Fragment, IcmpMatch, Match, MatchError, Police, PoliceUnit, PortRange,
    Priority, Redirect, Rule, RuleId, Verdict,
};
pub use set::{RuleError, RuleSet};
