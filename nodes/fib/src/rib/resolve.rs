// SPDX-License-Identifier: Apache-2.0
//! Recursive next hops: from "via 192.0.2.1" to a neighbour on a link.
//!
//! A path with a next hop but no interface is resolved through the longest match of the next hop among all
//! routes of the table, its own included, resolved or not: what a next hop resolves to must not depend on the
//! order of events. So a path whose next hop needs the path itself leads nowhere: around a loop, each list
//! takes the next one for unresolved. A covering drop route makes the path drop (remote-triggered
//! blackholing, RFC 5635 section 4); a covering route to this host or to another table does not resolve it.
//!
//! Whenever a batch touches a prefix that covers a recursive next hop, all recursive path lists of the table
//! are resolved again, once: cost is in the number of different path lists, not of routes. Only if a list
//! appears or disappears as a whole are all routes visited.

use std::collections::BTreeMap;

use hashbrown::{HashMap, HashSet};
use weft_interface::LinkState;

use super::super::family::Family;
use super::super::path_list::{PathListId, Resolution, Resolved};
use super::super::route::{AddressRole, PathTarget};
use super::super::{DropKind, Forward, ForwardKind, IpPrefix, MAX_FORWARDS};
use super::Rib;

/// Fraction bits of a weight, so that a path can be split over those that its next hop resolves to.
const WEIGHT_FRACTION: u32 = 20;

impl<F: Family> Rib<F> {
    /// Resolves `lists`, of which some may depend on others, against all other lists as they are. A list is
    /// done when all that its paths need is.
    pub(super) fn resolve(&self, lists: Vec<PathListId>) -> Vec<(PathListId, Resolution<F>)> {
        let resolved = lists.iter().map(|&list| (list, None)).collect();
        let mut state = State { resolved, broken: HashSet::new() };
        let mut waiting = lists;
        while !waiting.is_empty() {
            let mut ready = Vec::new();
            let mut waits_for = HashMap::new();
            for &list in &waiting {
                match self.resolve_list(list, &state) {
                    Ok(resolution) => ready.push((list, Some(resolution))),
                    Err(WaitsFor(other)) => {
                        waits_for.insert(list, other);
                    }
                }
            }
            if ready.is_empty() {
                state.break_loops(&waits_for);
            }
            state.resolved.extend(ready);
            waiting.retain(|list| state.resolved[list].is_none());
        }
        state.resolved.into_iter().map(|(list, resolution)| (list, resolution.unwrap_or_default())).collect()
    }

    fn resolve_list(&self, list: PathListId, state: &State<F>) -> Result<Resolution<F>, WaitsFor> {
        let mut resolution = BTreeMap::new();
        for path in &*self.lists.get(list).paths {
            let weight = u64::from(path.weight.get()) << WEIGHT_FRACTION;
            let resolved = match path.target {
                PathTarget::Via { address, interface: None } => {
                    let through = self.resolve_hop(list, address, state)?;
                    let total: u64 = through.iter().map(|(_, weight)| weight).sum();
                    for (resolved, part) in through {
                        let part = u128::from(weight) * u128::from(part) / u128::from(total);
                        *resolution.entry(resolved).or_default() += (part as u64).max(1);
                    }
                    continue;
                }
                PathTarget::Via { interface: Some(interface), .. } | PathTarget::Connected(interface)
                    if self.state(interface) != LinkState::Up =>
                {
                    continue;
                }
                PathTarget::OwnAddress { interface, .. } if self.state(interface) == LinkState::Down => {
                    continue;
                }
                PathTarget::OwnAddress { role: AddressRole::Host, .. } => Resolved::Other(Forward::LOCAL),
                PathTarget::OwnAddress { role: AddressRole::Network, .. } => {
                    Resolved::Other(Forward::drop(DropKind::Blackhole))
                }
                PathTarget::Via { address, interface: Some(interface) } => {
                    Resolved::Adjacency(interface, address)
                }
                PathTarget::Connected(interface) => Resolved::Other(Forward::glean(interface)),
                PathTarget::Local => Resolved::Other(Forward::LOCAL),
                PathTarget::Punt => Resolved::Other(Forward::PUNT),
                PathTarget::Drop(kind) => Resolved::Other(Forward::drop(kind)),
                PathTarget::Table(table) => Resolved::Other(Forward::lookup(table)),
                PathTarget::Object(forward) => Resolved::Other(forward),
            };
            *resolution.entry(resolved).or_default() += weight;
        }
        Ok(resolution.into_iter().take(MAX_FORWARDS).collect())
    }

    /// What the route that covers `hop`, a next hop of `list`, resolves to for packets to that next hop.
    fn resolve_hop(
        &self,
        list: PathListId,
        hop: F::Addr,
        state: &State<F>,
    ) -> Result<Resolution<F>, WaitsFor> {
        let covering = self.routes.cover(&F::Net::host(hop)).filter(|(_, route)| !route.is_empty()).last();
        for source in covering.iter().flat_map(|(_, route)| route.sources.as_slice()) {
            let resolution = match state.resolved.get(&source.list) {
                _ if state.broken.contains(&(list, source.list)) => continue,
                Some(None) => return Err(WaitsFor(source.list)),
                Some(Some(resolution)) => resolution,
                None => &self.lists.get(source.list).resolution,
            };
            if !resolution.is_empty() {
                let of_hop = |&(resolved, weight): &_| match resolved {
                    Resolved::Other(forward) => match (forward.kind(), forward.as_glean()) {
                        (_, Some(interface)) => Some((Resolved::Adjacency(interface, hop), weight)),
                        (ForwardKind::LOCAL | ForwardKind::LOOKUP, _) => None,
                        _ => Some((resolved, weight)),
                    },
                    adjacency => Some((adjacency, weight)),
                };
                return Ok(resolution.iter().filter_map(of_hop).collect());
            }
        }
        Ok(Resolution::new())
    }
}

/// A list that has to be resolved first.
struct WaitsFor(PathListId);

struct State<F: Family> {
    /// Lists that are being resolved, and to what, if that is known already.
    resolved: HashMap<PathListId, Option<Resolution<F>>>,
    /// Of a loop: the second list is unresolved for the first.
    broken: HashSet<(PathListId, PathListId)>,
}

impl<F: Family> State<F> {
    /// Each list waits for one other: following that from anywhere ends in a loop.
    fn break_loops(&mut self, waits_for: &HashMap<PathListId, PathListId>) {
        let mut seen = HashSet::new();
        for &start in waits_for.keys() {
            let mut list = start;
            let mut walk = HashSet::new();
            while seen.insert(list) {
                walk.insert(list);
                list = waits_for[&list];
            }
            // Back on this walk: `list` is on a loop that is not broken yet.
            while walk.contains(&list) && self.broken.insert((list, waits_for[&list])) {
                list = waits_for[&list];
            }
        }
    }
}
