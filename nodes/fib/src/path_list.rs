// SPDX-License-Identifier: Apache-2.0
//! Path lists: what routes to many prefixes have in common.
//!
//! A million BGP routes have a few hundred different sets of paths. Each set exists once, has one
//! load-balance, and is resolved once: when the way to a BGP next hop changes, its load-balance is replaced
//! and no route is touched (what the field calls prefix-independent convergence).
//!
//! A list knows what it resolves to, not how: the RIB finds that out ([`super::rib`]). Main thread only.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use hashbrown::HashMap;
use thiserror::Error;
use weft_engine::InterfaceIndex;
use weft_engine::qsbr::Domain;

use super::family::Family;
use super::route::{PathTarget, RoutePath};
use super::{
    Adjacencies, AdjacenciesFull, AdjacencyId, Forward, IpPrefix, LoadBalanceId, LoadBalances,
    LoadBalancesFull, NextHop, Share,
};

/// The objects that all tables share.
pub struct Objects {
    /// Neighbours.
    pub adjacencies: Adjacencies,
    /// What routes point to.
    pub load_balances: LoadBalances,
}

/// No room for the objects that a path list needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ObjectsFull {
    /// See there.
    #[error(transparent)]
    Adjacencies(#[from] AdjacenciesFull),
    /// See there.
    #[error(transparent)]
    LoadBalances(#[from] LoadBalancesFull),
}

/// A path list of one RIB. Not zero, so that a route with one source is small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct PathListId(NonZeroU32);

impl PathListId {
    fn at(index: usize) -> PathListId {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        PathListId(number.expect("there are fewer path lists than routes, and fewer routes than 2^32"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A path with all recursion taken out of it: what of [`PathTarget`] a worker can follow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Resolved<F: Family> {
    Adjacency(InterfaceIndex, F::Addr),
    Other(Forward),
}

/// [`Resolved`] paths without repetition, in order, and their weights. Empty: the list is unresolved.
pub(super) type Resolution<F> = Vec<(Resolved<F>, u64)>;

pub(super) struct PathList<F: Family> {
    /// In order.
    pub paths: Arc<[RoutePath<F>]>,
    pub resolution: Resolution<F>,
    /// [`LoadBalanceId::NO_ROUTE`] exactly if the list is unresolved.
    pub load_balance: LoadBalanceId,
    /// The same, once what is prepared is in force.
    pub planned: LoadBalanceId,
    /// What the load-balance needs to be kept.
    adjacencies: Vec<AdjacencyId>,
    /// Sources of routes, and entries of the journal.
    users: u32,
}

impl<F: Family> PathList<F> {
    pub fn recursive_hops(&self) -> impl Iterator<Item = F::Addr> {
        self.paths.iter().filter_map(|path| match path.target {
            PathTarget::Via { address, interface: None } => Some(address),
            _ => None,
        })
    }

    /// What is named by paths and exists by itself: tables, and objects of registered kinds.
    pub fn objects(&self) -> impl Iterator<Item = Forward> {
        self.paths.iter().filter_map(|path| match path.target {
            PathTarget::Table(table) => Some(Forward::lookup(table)),
            PathTarget::Object(forward) => Some(forward),
            _ => None,
        })
    }

    pub fn is_recursive(&self) -> bool {
        self.recursive_hops().next().is_some()
    }

    pub fn uses(&self, interface: InterfaceIndex) -> bool {
        self.paths.iter().any(|path| path.target.interface() == Some(interface))
    }
}

/// A new resolution of a list with its objects, not yet in force.
pub(super) struct Prepared<F: Family> {
    pub list: PathListId,
    resolution: Resolution<F>,
    adjacencies: Vec<AdjacencyId>,
    shares: Vec<Share>,
    /// A new load-balance, for a list that was unresolved.
    inserted: Option<LoadBalanceId>,
}

pub(super) struct PathLists<F: Family> {
    ids: HashMap<Arc<[RoutePath<F>]>, PathListId>,
    lists: Vec<Option<PathList<F>>>,
    free: Vec<PathListId>,
    /// Addresses of recursive paths, and in how many lists they are.
    hops: BTreeMap<F::Addr, usize>,
    /// Tables and other objects that paths lead to, likewise.
    objects: BTreeMap<Forward, usize>,
    /// Scratch memory.
    sorted: Vec<RoutePath<F>>,
}

impl<F: Family> Default for PathLists<F> {
    fn default() -> Self {
        PathLists {
            ids: HashMap::new(),
            lists: Vec::new(),
            free: Vec::new(),
            hops: BTreeMap::new(),
            objects: BTreeMap::new(),
            sorted: Vec::new(),
        }
    }
}

impl<F: Family> PathLists<F> {
    pub fn get(&self, id: PathListId) -> &PathList<F> {
        self.lists[id.index()].as_ref().expect("a path list with users exists")
    }

    fn get_mut(&mut self, id: PathListId) -> &mut PathList<F> {
        self.lists[id.index()].as_mut().expect("a path list with users exists")
    }

    pub fn len(&self) -> usize {
        self.ids.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (PathListId, &PathList<F>)> {
        self.ids.values().map(|&id| (id, self.get(id)))
    }

    /// Whether some recursive path leads into `prefix`.
    pub fn recurse_into(&self, prefix: F::Net) -> bool {
        self.hops.range(prefix.first()..=prefix.last()).next().is_some()
    }

    /// Objects that paths lead to.
    pub fn objects(&self) -> impl Iterator<Item = Forward> {
        self.objects.keys().copied()
    }

    /// The list of these paths, for one more user; tells whether it is new, and then unresolved.
    pub fn acquire(&mut self, paths: &[RoutePath<F>]) -> (PathListId, bool) {
        self.sorted.clear();
        self.sorted.extend_from_slice(paths);
        self.sorted.sort_unstable();
        if let Some(&id) = self.ids.get(self.sorted.as_slice()) {
            self.get_mut(id).users += 1;
            return (id, false);
        }
        let paths: Arc<[RoutePath<F>]> = self.sorted.as_slice().into();
        let list = PathList {
            paths: Arc::clone(&paths),
            resolution: Resolution::new(),
            load_balance: LoadBalanceId::NO_ROUTE,
            planned: LoadBalanceId::NO_ROUTE,
            adjacencies: Vec::new(),
            users: 1,
        };
        let id = self.free.pop().unwrap_or_else(|| {
            self.lists.push(None);
            PathListId::at(self.lists.len() - 1)
        });
        list.recursive_hops().for_each(|hop| count(&mut self.hops, hop));
        list.objects().for_each(|object| count(&mut self.objects, object));
        self.lists[id.index()] = Some(list);
        self.ids.insert(paths, id);
        (id, true)
    }

    /// One user less; the last one frees the list and, after their grace periods, its objects.
    pub fn release(&mut self, objects: &mut Objects, domain: &mut Domain, id: PathListId) {
        let slot = &mut self.lists[id.index()];
        let Some(list) = slot.take_if(|list| {
            list.users -= 1;
            list.users == 0
        }) else {
            return;
        };
        list.recursive_hops().for_each(|hop| discount(&mut self.hops, hop));
        list.objects().for_each(|object| discount(&mut self.objects, object));
        self.ids.remove(&list.paths);
        self.free.push(id);
        if list.load_balance != LoadBalanceId::NO_ROUTE {
            objects.load_balances.remove(domain, list.load_balance);
        }
        for adjacency in list.adjacencies {
            objects.adjacencies.release(domain, adjacency);
        }
    }

    /// Makes the objects of a new resolution, so that [`PathLists::commit`] cannot fail. A list that was
    /// unresolved takes over flows from `like`.
    pub fn prepare(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        list: PathListId,
        resolution: Resolution<F>,
        like: LoadBalanceId,
    ) -> Result<Prepared<F>, ObjectsFull> {
        let mut prepared =
            Prepared { list, resolution, adjacencies: Vec::new(), shares: Vec::new(), inserted: None };
        match self.fill(objects, domain, &mut prepared, like) {
            Ok(()) => Ok(prepared),
            Err(full) => {
                self.discard(objects, domain, prepared);
                Err(full)
            }
        }
    }

    fn fill(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        prepared: &mut Prepared<F>,
        like: LoadBalanceId,
    ) -> Result<(), ObjectsFull> {
        for &(resolved, weight) in &prepared.resolution {
            let forward = match resolved {
                Resolved::Adjacency(interface, address) => {
                    let next_hop = NextHop { interface, address: address.into(), payload: F::ETHER_TYPE };
                    let id = objects.adjacencies.acquire(domain, next_hop)?;
                    prepared.adjacencies.push(id);
                    Forward::adjacency(id)
                }
                Resolved::Other(forward) => forward,
            };
            prepared.shares.push(Share { forward, weight });
        }
        let list = self.get_mut(prepared.list);
        list.planned = match list.load_balance {
            _ if prepared.shares.is_empty() => LoadBalanceId::NO_ROUTE,
            LoadBalanceId::NO_ROUTE => {
                *prepared.inserted.insert(objects.load_balances.insert(domain, &prepared.shares, like)?)
            }
            kept => kept,
        };
        Ok(())
    }

    /// Undoes [`PathLists::prepare`].
    pub fn discard(&mut self, objects: &mut Objects, domain: &mut Domain, prepared: Prepared<F>) {
        let list = self.get_mut(prepared.list);
        list.planned = list.load_balance;
        for adjacency in prepared.adjacencies {
            objects.adjacencies.release(domain, adjacency);
        }
        if let Some(id) = prepared.inserted {
            objects.load_balances.remove(domain, id);
        }
    }

    /// Puts a resolution in force. What the list had before is returned; it has to be released when no
    /// forwarding table names it any more.
    pub fn commit(
        &mut self,
        objects: &mut Objects,
        domain: &mut Domain,
        prepared: Prepared<F>,
    ) -> Superseded {
        let list = self.get_mut(prepared.list);
        let mut superseded = Superseded {
            adjacencies: std::mem::replace(&mut list.adjacencies, prepared.adjacencies),
            load_balance: None,
        };
        if list.load_balance == list.planned {
            objects.load_balances.replace(domain, list.planned, &prepared.shares);
        } else if list.planned == LoadBalanceId::NO_ROUTE {
            superseded.load_balance = Some(list.load_balance);
        }
        list.load_balance = list.planned;
        list.resolution = prepared.resolution;
        superseded
    }
}

fn count<K: Ord>(users: &mut BTreeMap<K, usize>, key: K) {
    *users.entry(key).or_default() += 1;
}

fn discount<K: Ord>(users: &mut BTreeMap<K, usize>, key: K) {
    let left = users.get_mut(&key).expect("what a list names is counted while there is the list");
    *left -= 1;
    if *left == 0 {
        users.remove(&key);
    }
}

/// Objects that a list had before its last resolution.
pub(super) struct Superseded {
    adjacencies: Vec<AdjacencyId>,
    load_balance: Option<LoadBalanceId>,
}

impl Superseded {
    pub fn release(self, objects: &mut Objects, domain: &mut Domain) {
        if let Some(id) = self.load_balance {
            objects.load_balances.remove(domain, id);
        }
        for id in self.adjacencies {
            objects.adjacencies.release(domain, id);
        }
    }
}
