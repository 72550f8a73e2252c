// SPDX-License-Identifier: Apache-2.0
//! A rule of the classifier, as an owner wants it.

use std::net::Ipv4Addr;

use weft_classify::{Redirect, Rule, Verdict};
use weft_engine::InterfaceIndex;

/// A rule as somebody wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedRule {
    /// Of one that redirects to a neighbour, the id of the next hop means nothing.
    pub(crate) rule: Rule,
    /// The neighbour: ids of next hops are given anew, and a rule may have effect later than it is wanted.
    pub(crate) next_hop: Option<(InterfaceIndex, Ipv4Addr)>,
}

impl WantedRule {
    /// A rule that redirects to no neighbour.
    pub fn new(rule: Rule) -> WantedRule {
        WantedRule { rule, next_hop: None }
    }

    /// A rule that was read while next hops were noted down in order: it names them by their places.
    pub fn noted(mut rule: Rule, next_hops: &[(InterfaceIndex, Ipv4Addr)]) -> WantedRule {
        let mut next_hop = None;
        if let Verdict::Redirect(Redirect::NextHop(place)) = &mut rule.action.verdict {
            next_hop = next_hops.get(place.0 as usize).copied();
            place.0 = u32::MAX;
        }
        WantedRule { rule, next_hop }
    }

    /// Whether it is about an interface: the next one with its index is another one.
    pub(crate) fn names(&self, interface: InterfaceIndex) -> bool {
        let to =
            matches!(self.rule.action.verdict, Verdict::Redirect(Redirect::Interface(to)) if to == interface);
        let behind = self.next_hop.is_some_and(|(on, _)| on == interface);
        to || behind || self.rule.matches.interface == Some(interface)
    }
}
