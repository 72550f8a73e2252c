// SPDX-License-Identifier: Apache-2.0
//! From a route to a next hop: equal- and unequal-cost multipath over a flow hash.
//!
//! A load-balance is an array of a power of two of buckets, each of which names what to do with the packets
//! that hash into it; a path has buckets in proportion to its weight. Workers read it as an immutable object;
//! the main thread makes a new one from the old when the paths change, moving as few buckets as it can: a
//! flow whose path is still there stays on it, because a moved TCP flow is a reordered one, and behind a
//! stateful firewall a dead one.
//!
//! Error bound: each path has within one bucket of its exact share, and at least one. The array is the
//! smallest for which that is within 1/16 of each share, but of at most [`MAX_BUCKETS`].

use hashbrown::HashMap;
use thiserror::Error;
use weft_engine::publish::{Slab, SlabReader};
use weft_engine::qsbr::Domain;
use weft_stats::{Combined, CombinedVector};

use super::multipath::Multipath;
use super::{AdjacencyId, DropKind, Forward};

/// Most buckets of a load-balance.
pub const MAX_BUCKETS: usize = 256;
/// Most different forwards of a load-balance, so that each can have its share within a quarter.
pub const MAX_FORWARDS: usize = 64;
/// Buckets that lie in the object's own cache line.
const INLINE: usize = 4;

/// A load-balance, as the forwarding table names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct LoadBalanceId(pub u32);

impl LoadBalanceId {
    /// What a lookup returns that finds nothing. It names a load-balance like the others, whose one bucket is
    /// [`DropKind::NoRoute`], so a worker has no special case.
    pub const NO_ROUTE: LoadBalanceId = LoadBalanceId(0);
}

/// One forward and how much of the traffic it takes, in proportion to the other weights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// What to do; not the same for two shares of a load-balance.
    pub forward: Forward,
    /// At least 1.
    pub weight: u64,
}

/// An immutable array of buckets.
#[repr(align(64))]
#[derive(Debug)]
pub struct LoadBalance {
    mask: u32,
    /// See [`LoadBalance::adjacency`].
    only: Option<AdjacencyId>,
    first: [Forward; INLINE],
    /// All buckets, if they are more than [`INLINE`].
    many: Box<[Forward]>,
}

const _: () = assert!(size_of::<LoadBalance>() == 64, "a route with up to four buckets costs one cache line");

impl LoadBalance {
    /// # Panics
    /// If `buckets` is not a power of two in number.
    fn new(buckets: Vec<Forward>) -> Self {
        assert!(buckets.len().is_power_of_two(), "buckets are selected by a mask");
        let mask = buckets.len() as u32 - 1;
        let mut first = [buckets[0]; INLINE];
        let only = match buckets[..] {
            [forward] => forward.as_adjacency(),
            _ => None,
        };
        if buckets.len() <= INLINE {
            first[..buckets.len()].copy_from_slice(&buckets);
            LoadBalance { mask, only, first, many: Box::default() }
        } else {
            LoadBalance { mask, only, first, many: buckets.into() }
        }
    }

    /// The one next hop, if all packets go there: what most routes are, for one compare.
    #[inline(always)]
    pub fn adjacency(&self) -> Option<AdjacencyId> {
        self.only
    }

    /// Whether [`LoadBalance::pick`] depends on the hash; if not, a worker need not compute one.
    #[inline(always)]
    pub fn is_multipath(&self) -> bool {
        self.mask != 0
    }

    /// The forward for a flow. The low bits of `hash` must depend on all fields of the flow.
    #[inline(always)]
    pub fn pick(&self, hash: u32) -> Forward {
        let bucket = (hash & self.mask) as usize;
        match self.many.get(bucket) {
            Some(&forward) => forward,
            None => self.first[bucket % INLINE],
        }
    }

    /// As [`LoadBalance::pick`], with a hash that is computed only if it matters.
    #[inline(always)]
    pub fn pick_with(&self, hash: impl FnOnce() -> u32) -> Forward {
        if self.is_multipath() { self.pick(hash()) } else { self.first[0] }
    }

    /// All buckets.
    pub fn buckets(&self) -> &[Forward] {
        if self.many.is_empty() { &self.first[..=self.mask as usize] } else { &self.many }
    }
}

/// No further load-balance fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("more than {limit} different sets of paths are in use")]
pub struct LoadBalancesFull {
    /// The capacity of the table.
    pub limit: usize,
}

/// The main thread's side of all load-balances.
pub struct LoadBalances {
    slab: Slab<LoadBalance>,
    multipath: Multipath,
    /// Of those with several: to distribute anew when `multipath` changes.
    shares: HashMap<LoadBalanceId, Box<[Share]>>,
    counters: Option<CombinedVector>,
}

impl LoadBalances {
    /// Room for `capacity` load-balances and the one for destinations without route, at most 2^24 (what an entry of
    /// every family's forwarding table can name).
    pub fn new(domain: &mut Domain, capacity: usize) -> Self {
        let mut slab = Slab::new(domain, capacity.min((1 << 24) - 1) + 1);
        let no_route = LoadBalance::new(vec![Forward::drop(DropKind::NoRoute)]);
        let id = slab.insert(domain, no_route).ok();
        assert_eq!(id, Some(LoadBalanceId::NO_ROUTE.0), "a new slab gives out id 0 first");
        LoadBalances { slab, multipath: Multipath::default(), shares: HashMap::new(), counters: None }
    }

    /// Has workers count in `counters`, by id: each load-balance begins at zero.
    pub fn count_in(&mut self, counters: CombinedVector) {
        self.counters = Some(counters);
    }

    /// What workers count in.
    pub fn counters(&self) -> Option<&CombinedVector> {
        self.counters.as_ref()
    }

    /// What has gone by a load-balance.
    pub fn count(&self, id: LoadBalanceId) -> Combined {
        self.counters.as_ref().map(|counters| counters.sum(id.0 as usize)).unwrap_or_default()
    }

    /// Ids given out so far are below this.
    pub fn used(&self) -> usize {
        self.slab.used()
    }

    /// For a worker.
    pub fn reader(&self) -> SlabReader<LoadBalance> {
        self.slab.reader()
    }

    /// The object of a live id.
    pub fn get(&self, id: LoadBalanceId) -> Option<&LoadBalance> {
        self.slab.get(id.0)
    }

    /// Number of load-balances, without that for no route.
    pub fn len(&self) -> usize {
        self.slab.len() - 1
    }

    /// Whether there is none but that for no route.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Publishes a load-balance over `shares`, for flows that went by `like` so far: they stay on their path
    /// if it is among the shares.
    ///
    /// # Panics
    /// If there are no shares or more than [`MAX_FORWARDS`].
    pub fn insert(
        &mut self,
        domain: &mut Domain,
        shares: &[Share],
        like: LoadBalanceId,
    ) -> Result<LoadBalanceId, LoadBalancesFull> {
        let load_balance = LoadBalance::new(self.multipath.buckets(shares, self.buckets(like)));
        match self.slab.insert(domain, load_balance) {
            Ok(id) => {
                self.remember(LoadBalanceId(id), shares);
                if let Some(counters) = &self.counters {
                    // What had this id before: since its grace period, no worker counts there.
                    counters.zero(id as usize);
                }
                Ok(LoadBalanceId(id))
            }
            Err(_) => Err(LoadBalancesFull { limit: self.slab.capacity() - 1 }),
        }
    }

    /// Changes the shares of a live load-balance, for all routes that use it. Panics as
    /// [`LoadBalances::insert`].
    pub fn replace(&mut self, domain: &mut Domain, id: LoadBalanceId, shares: &[Share]) {
        let load_balance = LoadBalance::new(self.multipath.buckets(shares, self.buckets(id)));
        self.slab.replace(domain, id.0, load_balance);
        self.remember(id, shares);
    }

    /// How flows are given to paths.
    pub fn multipath(&self) -> Multipath {
        self.multipath
    }

    /// Gives all flows to paths in another way.
    pub fn set_multipath(&mut self, domain: &mut Domain, multipath: Multipath) {
        if std::mem::replace(&mut self.multipath, multipath) == multipath {
            return;
        }
        for (id, shares) in &self.shares {
            let previous = self.slab.get(id.0).expect("shares are remembered of live ids only").buckets();
            let load_balance = LoadBalance::new(multipath.buckets(shares, previous));
            self.slab.replace(domain, id.0, load_balance);
        }
    }

    fn remember(&mut self, id: LoadBalanceId, shares: &[Share]) {
        match shares {
            [_] => drop(self.shares.remove(&id)),
            _ => drop(self.shares.insert(id, shares.into())),
        }
    }

    /// Removes a load-balance that no forwarding table names any more.
    pub fn remove(&mut self, domain: &mut Domain, id: LoadBalanceId) {
        debug_assert_ne!(id, LoadBalanceId::NO_ROUTE);
        self.shares.remove(&id);
        self.slab.remove(domain, id.0);
    }

    fn buckets(&self, id: LoadBalanceId) -> &[Forward] {
        self.get(id).expect("a load-balance that is in use exists").buckets()
    }
}

#[cfg(test)]
mod tests {
    use super::super::multipath::distribute;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use weft_stats::{Segment, ThreadIndex};

    const NONE: [Forward; 1] = [Forward::drop(DropKind::NoRoute)];

    fn share(id: u32, weight: u64) -> Share {
        Share { forward: Forward::adjacency(AdjacencyId(id)), weight }
    }

    fn counts(buckets: &[Forward]) -> BTreeMap<Forward, usize> {
        let mut counts = BTreeMap::new();
        for bucket in buckets {
            *counts.entry(*bucket).or_default() += 1;
        }
        counts
    }

    /// Exact numbers of buckets, if none is below one.
    fn exact(shares: &[Share], size: usize) -> Option<BTreeMap<Forward, f64>> {
        let total: u64 = shares.iter().map(|share| share.weight).sum();
        let exact = |share: &Share| (share.forward, share.weight as f64 * size as f64 / total as f64);
        Some(shares.iter().map(exact).collect())
            .filter(|all: &BTreeMap<_, _>| all.values().all(|&exact| exact >= 1.0))
    }

    fn shares() -> impl Strategy<Value = Vec<Share>> {
        let weight = prop_oneof![Just(1u64), 1u64..10, 1u64..1 << 36];
        prop::collection::btree_map(0u32..80, weight, 1..=MAX_FORWARDS)
            .prop_map(|shares| shares.into_iter().map(|(id, weight)| share(id, weight)).collect())
    }

    /// What each hash finds, before and after.
    fn flows(before: &[Forward], after: &[Forward]) -> Vec<(Forward, Forward)> {
        let [before, after] = [before, after].map(|buckets| LoadBalance::new(buckets.to_vec()));
        (0..MAX_BUCKETS as u32).map(|hash| (before.pick(hash), after.pick(hash))).collect()
    }

    #[test]
    fn a_used_id_counts_from_zero() {
        let mut domain = Domain::new(1);
        let mut worker = domain.register().unwrap();
        worker.online();
        let mut segment = Segment::new(1 << 16, 2).unwrap();
        let routes = segment.combined("/net/route/to", 4, 4).unwrap();
        let row = routes.row(ThreadIndex(1));
        let mut load_balances = LoadBalances::new(&mut domain, 3);
        load_balances.count_in(routes.clone());
        let insert = |load_balances: &mut LoadBalances, domain: &mut Domain| {
            load_balances.insert(domain, &[share(1, 1)], LoadBalanceId::NO_ROUTE).unwrap()
        };
        let old = insert(&mut load_balances, &mut domain);
        row.add(old.0 as usize, 5, 300);
        load_balances.remove(&mut domain, old);
        let other = insert(&mut load_balances, &mut domain);
        assert_ne!(other, old, "the worker may still count there");
        row.add(old.0 as usize, 1, 60);
        worker.quiescent();
        domain.reclaim();
        let new = insert(&mut load_balances, &mut domain);
        assert_eq!((new, load_balances.used()), (old, 3));
        assert_eq!(routes.sum(new.0 as usize).packets, 0);
    }

    #[test]
    fn sizes_for_common_cases() {
        let size = |weights: &[u64]| {
            let shares: Vec<_> = weights.iter().zip(0..).map(|(&weight, id)| share(id, weight)).collect();
            distribute(&shares, &NONE).len()
        };
        assert_eq!(size(&[5]), 1);
        assert_eq!(size(&[1, 1]), 2);
        assert_eq!(size(&[3, 1]), 4);
        assert_eq!(size(&[1, 1, 1]), 32);
        assert_eq!(size(&[1; 16]), 16);
        assert_eq!(size(&[1; 17]), 256);
        assert_eq!(size(&[10_000, 1]), 256);
    }

    #[test]
    fn no_route_is_a_load_balance_like_others() {
        let mut domain = Domain::new(0);
        let mut table = LoadBalances::new(&mut domain, 1);
        let none = table.get(LoadBalanceId::NO_ROUTE).unwrap();
        assert_eq!((none.pick(7), none.is_multipath()), (Forward::drop(DropKind::NoRoute), false));
        assert_eq!(none.adjacency(), None);
        let id = table.insert(&mut domain, &[share(1, 1)], LoadBalanceId::NO_ROUTE).unwrap();
        let full = table.insert(&mut domain, &[share(2, 1)], LoadBalanceId::NO_ROUTE);
        assert_eq!(full, Err(LoadBalancesFull { limit: 1 }));
        assert_eq!(table.get(id).unwrap().adjacency(), Some(AdjacencyId(1)));
        table.replace(&mut domain, id, &[share(3, 1), share(4, 1)]);
        let two = table.get(id).unwrap();
        assert_eq!((two.buckets().len(), two.adjacency()), (2, None));
        table.remove(&mut domain, id);
        assert!(table.is_empty());
    }

    proptest! {
        #[test]
        fn each_share_is_within_the_error_bound(shares in shares()) {
            let buckets = distribute(&shares, &NONE);
            prop_assert!(buckets.len().is_power_of_two() && buckets.len() <= MAX_BUCKETS);
            let counts = counts(&buckets);
            prop_assert_eq!(counts.len(), shares.len());
            if let Some(exact) = exact(&shares, buckets.len()) {
                for (forward, exact) in exact {
                    let error = (counts[&forward] as f64 - exact).abs();
                    prop_assert!(error < 1.0, "{forward:?}: {} for {exact}", counts[&forward]);
                    prop_assert!(buckets.len() == MAX_BUCKETS || error <= exact / 16.0);
                }
            }
        }

        /// However the shares change, a flow leaves its path only if the path goes or has too many flows now.
        #[test]
        fn flows_stay_if_they_can(history in prop::collection::vec(shares(), 2..5)) {
            let mut before = distribute(&history[0], &NONE);
            for shares in &history[1..] {
                let after = distribute(shares, &before);
                let flows = flows(&before, &after);
                let scale = MAX_BUCKETS / after.len();
                if let Some(exact) = exact(shares, after.len()) {
                    for (forward, exact) in exact {
                        let had = flows.iter().filter(|(before, _)| *before == forward).count();
                        let kept = flows.iter().filter(|flow| **flow == (forward, forward)).count();
                        let due = exact.floor() as usize * scale;
                        prop_assert!(kept >= had.min(due), "{forward:?}: {kept} of {had}");
                        prop_assert!((counts(&after)[&forward] as f64 - exact).abs() < 1.0);
                    }
                }
                before = after;
            }
        }

        /// Equal paths, the common case: when some go, no flow of the others moves.
        #[test]
        fn equal_paths_go_without_moving_others(count in 2u32..=64, gone: u64) {
            let all: Vec<_> = (0..count).map(|id| share(id, 1)).collect();
            let before = distribute(&all, &NONE);
            let left: Vec<_> = all.iter().copied().filter(|share| {
                let id = share.forward.object();
                gone >> id & 1 == 0
            }).collect();
            prop_assume!(!left.is_empty());
            let after = distribute(&left, &before);
            for (before, after) in flows(&before, &after) {
                prop_assert!(before == after || left.iter().all(|share| share.forward != before));
            }
        }
    }
}
