// SPDX-License-Identifier: Apache-2.0
//! Sets of paths, each kept once: a million routes have a few hundred of them.
//!
//! A set knows whether its interfaces exist and what its paths are to the dataplane, so an interface that comes or goes
//! is decided once per set and not per route. Each set threads a list through its routes.

use std::hash::BuildHasher;
use std::num::NonZeroU16;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use super::links::{Links, Sender};
use super::{PathTarget, Paths, RoutePath};
use crate::netlink::{IfIndex, RouteTarget, Via};

/// A set, valid while a route uses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SetId(u32);

/// The first route of a list; [`NONE`] for an empty one.
pub(super) const NONE: u32 = u32::MAX;

/// Which of the two route tables a list belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    Ip4,
    Ip6,
}

struct PathSet {
    target: RouteTarget,
    /// `None` while an interface is unknown.
    paths: Option<Paths>,
    first: [u32; 2],
    routes: [u32; 2],
}

pub(super) struct PathSets {
    sets: Vec<Option<PathSet>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: FixedState,
    by_interface: HashMap<IfIndex, Vec<SetId>, FixedState>,
    /// The last one used: neighbouring routes of a table mostly have the same paths.
    recent: Option<SetId>,
}

impl Default for PathSets {
    fn default() -> Self {
        PathSets {
            sets: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::default(),
            by_interface: HashMap::default(),
            recent: None,
        }
    }
}

const USED: &str = "a set id is held only by routes that the set counts";

impl PathSets {
    fn get(&self, id: SetId) -> &PathSet {
        self.sets[id.0 as usize].as_ref().expect(USED)
    }

    fn get_mut(&mut self, id: SetId) -> &mut PathSet {
        self.sets[id.0 as usize].as_mut().expect(USED)
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// All sets with the number of their routes.
    pub fn iter(&self) -> impl Iterator<Item = (&RouteTarget, u32)> {
        self.sets.iter().flatten().map(|set| (&set.target, set.routes.iter().sum()))
    }

    /// Routes of a list whose interfaces are unknown.
    pub fn waiting(&self, list: List) -> usize {
        let waiting = self.sets.iter().flatten().filter(|set| set.paths.is_none());
        waiting.map(|set| set.routes[list as usize] as usize).sum()
    }

    /// The set of these paths. It is freed by [`PathSets::release`], which must follow for a set that no route joins.
    pub fn acquire(&mut self, target: RouteTarget, links: &Links) -> SetId {
        if let Some(recent) = self.recent
            && self.sets[recent.0 as usize].as_ref().is_some_and(|set| set.target == target)
        {
            return recent;
        }
        let hash = self.hasher.hash_one(&target);
        let is_it = |id: &u32| self.sets[*id as usize].as_ref().is_some_and(|set| set.target == target);
        if let Some(&found) = self.index.find(hash, is_it) {
            self.recent = Some(SetId(found));
            return SetId(found);
        }
        let set = PathSet { paths: resolve(&target, links), target, first: [NONE; 2], routes: [0; 2] };
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.sets.push(None);
                u32::try_from(self.sets.len() - 1)
                    .expect("there are at most as many sets as routes, fewer than 2^32")
            }
        };
        for interface in interfaces(&set.target) {
            let sets = self.by_interface.entry(interface).or_default();
            if sets.last() != Some(&SetId(id)) {
                sets.push(SetId(id));
            }
        }
        self.sets[id as usize] = Some(set);
        let (sets, hasher) = (&self.sets, &self.hasher);
        let rehash =
            |id: &u32| hasher.hash_one(sets[*id as usize].as_ref().map(|set| &set.target).expect(USED));
        self.index.insert_unique(hash, id, rehash);
        self.recent = Some(SetId(id));
        SetId(id)
    }

    /// Frees the set if no route has it.
    pub fn release(&mut self, id: SetId) {
        if self.get(id).routes != [0; 2] {
            return;
        }
        let hash = self.hasher.hash_one(&self.get(id).target);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id.0) {
            entry.remove();
        }
        if let Some(set) = self.sets[id.0 as usize].take() {
            for interface in interfaces(&set.target) {
                if let Some(sets) = self.by_interface.get_mut(&interface) {
                    sets.retain(|other| *other != id);
                    if sets.is_empty() {
                        self.by_interface.remove(&interface);
                    }
                }
            }
        }
        self.free.push(id.0);
        if self.recent == Some(id) {
            self.recent = None;
        }
    }

    pub fn target(&self, id: SetId) -> &RouteTarget {
        &self.get(id).target
    }

    pub fn paths(&self, id: SetId) -> Option<&Paths> {
        self.get(id).paths.as_ref()
    }

    pub fn first(&self, id: SetId, list: List) -> u32 {
        self.get(id).first[list as usize]
    }

    /// A route joins at the front of the list, or the front has left it.
    pub fn set_first(&mut self, id: SetId, list: List, first: u32) {
        self.get_mut(id).first[list as usize] = first;
    }

    /// Counts a route in or out.
    pub fn count(&mut self, id: SetId, list: List, joins: bool) {
        let routes = &mut self.get_mut(id).routes[list as usize];
        if joins {
            *routes += 1;
        } else {
            *routes -= 1;
        }
    }

    /// Sets with a path over this interface.
    pub fn over(&self, interface: IfIndex) -> &[SetId] {
        self.by_interface.get(&interface).map_or(&[], Vec::as_slice)
    }

    /// What the set is to the dataplane now, if that is not what it was.
    pub fn reresolved(&self, id: SetId, links: &Links) -> Option<Option<Paths>> {
        let set = self.get(id);
        let paths = resolve(&set.target, links);
        (paths != set.paths).then_some(paths)
    }

    pub fn set_paths(&mut self, id: SetId, paths: Option<Paths>) {
        self.get_mut(id).paths = paths;
    }
}

fn interfaces(target: &RouteTarget) -> impl Iterator<Item = IfIndex> {
    let paths = match target {
        RouteTarget::Forward(paths) => paths.as_slice(),
        _ => &[],
    };
    paths.iter().filter_map(|path| path.interface)
}

/// What is left of a target without the paths over an interface.
pub(super) fn without(target: &RouteTarget, gone: IfIndex) -> Option<RouteTarget> {
    let RouteTarget::Forward(paths) = target else {
        return Some(target.clone());
    };
    let rest: Vec<_> = paths.iter().filter(|path| path.interface != Some(gone)).copied().collect();
    (!rest.is_empty()).then_some(RouteTarget::Forward(rest))
}

/// What the paths are to the dataplane; `None` while one of their interfaces is unknown.
pub(super) fn resolve(target: &RouteTarget, links: &Links) -> Option<Paths> {
    let one = |target| Some(Paths::from([RoutePath { target, weight: NonZeroU16::MIN }]));
    let paths = match target {
        RouteTarget::Local => return one(PathTarget::Local),
        RouteTarget::Blackhole => return one(PathTarget::Blackhole),
        RouteTarget::Unreachable => return one(PathTarget::Unreachable),
        RouteTarget::Prohibit => return one(PathTarget::Prohibit),
        RouteTarget::Forward(paths) => paths,
    };
    let mut resolved: Vec<RoutePath> = Vec::with_capacity(paths.len());
    for path in paths {
        let target = match path.interface {
            None => PathTarget::Host,
            Some(interface) => match (links.sender(interface)?, path.via) {
                (Sender::Host, _) | (_, Via::Host(_)) => PathTarget::Host,
                (Sender::Dataplane, Via::Link) => PathTarget::Link(interface),
                (Sender::Dataplane, Via::Gateway(address)) => {
                    PathTarget::Gateway { interface, address, onlink: path.onlink }
                }
            },
        };
        match resolved.iter_mut().find(|other| other.target == target) {
            Some(other) => other.weight = other.weight.saturating_add(path.weight.get()),
            None => resolved.push(RoutePath { target, weight: path.weight }),
        }
    }
    Some(resolved.into())
}
