// SPDX-License-Identifier: Apache-2.0
//! Packets by what they are: rules over headers, and what becomes of packets that match.
//!
//! ```text
//!  main thread                                                     workers
//!  RuleSet: rules by priority  --compile-->  Classifier  --publish-->  ip4-classify, ip4-classify-output,
//!  RuleSets: sets by name, what is attached where, counters            the same of ip6, ethernet-classify
//! ```
//!
//! IPv4 and IPv6 that are routed here are matched in vectors. What is for the host (ethernet-classify) meets the same rules one
//! packet after the other, so that nothing passes by them.
//!
//! A [`RuleSet`] is what an operator (a command line, an API, a plugin) says. [`Classifier::new`] turns it into an immutable
//! structure: a hash table for rules about exactly one session of IPv4, and for each family a forest of decision trees
//! (docs/decisions/0006). [`RuleSets`] publishes it to the workers: a set is replaced as a whole, between two vectors, and
//! no packet meets a mixture or no rules at all. Rules have ids of the operator's choice; counters and policers stay with the
//! id.
//!
//! All but the nodes is called by the main thread.
#![deny(unsafe_code)]

mod action;
mod attachment;
mod classifier;
mod forest;
mod group;
mod key;
mod link;
mod node;
#[cfg(test)]
mod oracle;
mod policer;
mod rule;
mod set;
mod sets;
mod simd;
pub mod text;

pub use action::Slot;
pub use attachment::{Direction, SetIndex};
pub use classifier::{Classifier, Placement};
pub use forest::Shape;
pub use link::{ETHERNET_CLASSIFY, L2_CLASSIFY, L2_CLASSIFY_OUTPUT};
pub use node::{IP4_CLASSIFY, IP4_CLASSIFY_OUTPUT, IP6_CLASSIFY, IP6_CLASSIFY_OUTPUT};
pub use policer::Policer;
pub use rule::{
    Action, Dscp, Exempt, Family, FlagsMatch, Fragment, IcmpMatch, Match, MatchError, Police, PoliceUnit,
    PortRange, Priority, Redirect, Rule, RuleId, Verdict,
};
pub use set::{OwnedSet, RuleError, RuleSet};
pub use sets::{ClassifyError, NewError, RuleSets, SetView};
