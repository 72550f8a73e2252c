// SPDX-License-Identifier: Apache-2.0
//! Routes of one address family: what was said, by whom, and which of them counts.
//!
//! Built for a million: routes are records of 40 bytes in one vector, found through a hash table of their numbers, and threaded onto
//! the list of their [`PathSets`] entry. Routes to one prefix form a chain; the best of it that can be resolved is
//! what the dataplane has. Every change compares the best before and after, so nothing is told twice.

use std::cmp::Reverse;
use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use ipnet::IpNet;

use super::links::Links;
use super::paths::{List, NONE, PathSets, SetId};
use super::{Change, FibTable, Generation, Owner, Paths};
use crate::netlink::{IfIndex, Metric, Placement, Protocol, RouteTarget, Scope, TableId, Via};

/// What is said of a route apart from where it leads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement<P> {
    pub prefix: P,
    pub table: TableId,
    pub metric: Metric,
    pub owner: Owner,
    pub scope: Scope,
    pub protocol: Protocol,
}

struct Record<P> {
    said: Statement<P>,
    /// Free for another route if it is false.
    used: bool,
    generation: Generation,
    set: SetId,
    /// Neighbours in the list of the set.
    previous: u32,
    next: u32,
    /// The next route to the prefix.
    sibling: u32,
}

/// Routes of one of the kernel's tables; main and local are one.
struct Group {
    /// First routes of chains, by prefix.
    index: HashTable<u32>,
    /// `None` while its VRF is unknown.
    fib: Option<FibTable>,
}

pub(super) struct Routes<P> {
    records: Vec<Record<P>>,
    free: Vec<u32>,
    groups: HashMap<TableId, Group, FixedState>,
    hasher: FixedState,
    list: List,
}

/// The parts of the store that routes refer to.
pub(super) struct Context<'a> {
    pub sets: &'a mut PathSets,
    pub links: &'a Links,
    pub changes: &'a mut Vec<Change>,
}

/// What the dataplane had for a chain before something changed.
pub(super) struct Before {
    head: u32,
    paths: Option<Paths>,
}

/// A link of a list.
fn some(id: u32) -> Option<u32> {
    (id != NONE).then_some(id)
}

/// The local table is looked up together with the main one.
fn group_of(table: TableId) -> TableId {
    if table == TableId::LOCAL { TableId::MAIN } else { table }
}

impl<P: Copy + Eq + Hash + Into<IpNet>> Routes<P> {
    pub fn new(list: List) -> Self {
        Routes {
            records: Vec::new(),
            free: Vec::new(),
            groups: HashMap::default(),
            hasher: FixedState::default(),
            list,
        }
    }

    pub fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }

    /// Routes of tables whose VRF is unknown, and others whose interfaces are.
    pub fn waiting(&self, sets: &PathSets) -> usize {
        // Mostly all VRFs are known, and then nobody has to look at each of a million routes.
        if self.groups.values().all(|group| group.fib.is_some()) {
            return sets.waiting(self.list);
        }
        let waits = |record: &&Record<P>| {
            let group = self.groups.get(&group_of(record.said.table));
            sets.paths(record.set).is_none() || group.is_none_or(|group| group.fib.is_none())
        };
        self.records.iter().filter(|record| record.used).filter(waits).count()
    }

    fn record(&self, id: u32) -> &Record<P> {
        &self.records[id as usize]
    }

    fn find(&self, table: TableId, prefix: P) -> Option<u32> {
        let group = self.groups.get(&group_of(table))?;
        let is_it = |id: &u32| self.record(*id).said.prefix == prefix;
        group.index.find(self.hasher.hash_one(prefix), is_it).copied()
    }

    fn chain(&self, head: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(Some(head), |id| some(self.record(*id).sibling))
    }

    /// The routes of the chain that a statement is about.
    fn matches(&self, head: u32, said: Statement<P>, target: &RouteTarget, sets: &PathSets) -> Vec<u32> {
        let is_it = |id: &u32| {
            let record = self.record(*id);
            let (owner, table) = (record.said.owner, record.said.table);
            (owner, table) == (said.owner, said.table)
                && match owner {
                    Owner::Vplaned => {
                        record.said.metric == said.metric && self.same_link(sets.target(record.set), target)
                    }
                    // The broker names no metric when it deletes.
                    Owner::Broker => record.said.scope == said.scope,
                }
        };
        self.chain(head).filter(is_it).collect()
    }

    /// The kernel has connected IPv6 routes of one prefix and metric side by side, one per interface: this is the interface.
    fn link(&self, target: &RouteTarget) -> Option<IfIndex> {
        match (self.list, target) {
            (List::Ip6, RouteTarget::Forward(paths)) => match paths[..] {
                [path] if path.via == Via::Link => path.interface,
                _ => None,
            },
            _ => None,
        }
    }

    fn same_link(&self, one: &RouteTarget, other: &RouteTarget) -> bool {
        match (self.link(one), self.link(other)) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }

    /// Of the routes that can be used the one that counts: the host's own addresses first, as the kernel looks them up, then
    /// the lowest metric, then the narrowest scope. Of equal IPv4 routes the oldest, which is first in the kernel's list too.
    fn best<'a>(&self, head: u32, sets: &'a PathSets) -> Option<&'a Paths> {
        let first = self.record(head);
        if first.sibling == NONE {
            return sets.paths(first.set);
        }
        let usable = self.chain(head).filter_map(|id| {
            let Record { said, set, .. } = self.record(id);
            let scope = Reverse(said.scope);
            let rank =
                (said.table != TableId::LOCAL, said.metric, scope, said.owner, self.link(sets.target(*set)));
            Some((rank, sets.paths(*set)?))
        });
        usable.min_by_key(|(rank, _)| *rank).map(|(_, paths)| paths)
    }

    /// Tells the difference between what the dataplane had and what it should have.
    fn tell(
        &self,
        fib: Option<FibTable>,
        prefix: P,
        before: Option<Paths>,
        after: Option<&Paths>,
        changes: &mut Vec<Change>,
    ) {
        let Some(fib) = fib else {
            return;
        };
        match (before, after) {
            (None, None) => {}
            (Some(_), None) => changes.push(Change::RouteGone(fib, prefix.into())),
            (Some(before), Some(after)) if before == *after => {}
            (_, Some(after)) => changes.push(Change::Route(fib, prefix.into(), after.clone())),
        }
    }

    /// There is a route. `resolve` says what a table is that has had none.
    pub fn set(
        &mut self,
        cx: &mut Context<'_>,
        said: Statement<P>,
        target: RouteTarget,
        placement: Placement,
        generation: Generation,
        resolve: impl FnOnce(TableId) -> Option<FibTable>,
    ) {
        let table = group_of(said.table);
        if !self.groups.contains_key(&table) {
            self.groups.insert(table, Group { index: HashTable::new(), fib: resolve(table) });
        }
        let fib = self.groups[&table].fib;
        let Some(head) = self.find(table, said.prefix) else {
            let set = cx.sets.acquire(target, cx.links);
            let id = self.create(cx.sets, said, set, generation);
            let (records, hasher) = (&self.records, &self.hasher);
            if let Some(group) = self.groups.get_mut(&table) {
                let rehash = |id: &u32| hasher.hash_one(records[*id as usize].said.prefix);
                group.index.insert_unique(hasher.hash_one(said.prefix), id, rehash);
            }
            self.tell(fib, said.prefix, None, cx.sets.paths(set), cx.changes);
            return;
        };
        let before = self.best(head, cx.sets).cloned();
        let matches = self.matches(head, said, &target, cx.sets);
        let set = cx.sets.acquire(target, cx.links);
        let same = matches.iter().copied().find(|id| self.record(*id).set == set);
        // An IPv6 route that is appended to contains the paths that were there.
        let replaces = placement == Placement::Replace || self.list == List::Ip6;
        match same.or(matches.first().copied().filter(|_| replaces)) {
            Some(id) => {
                self.repath(cx.sets, id, set);
                let record = &mut self.records[id as usize];
                (record.said, record.generation) = (said, generation);
            }
            None => {
                let id = self.create(cx.sets, said, set, generation);
                let last = self.chain(head).last().unwrap_or(head);
                self.records[last as usize].sibling = id;
            }
        }
        self.tell(fib, said.prefix, before, self.best(head, cx.sets), cx.changes);
    }

    /// The route is gone, or the named paths of it are.
    pub fn unset(&mut self, cx: &mut Context<'_>, said: Statement<P>, target: Option<&RouteTarget>) {
        let Some(head) = self.find(said.table, said.prefix) else {
            return;
        };
        let any = RouteTarget::Forward(Vec::new());
        let matches = self.matches(head, said, target.unwrap_or(&any), cx.sets);
        let same = matches.iter().copied().find(|id| Some(cx.sets.target(self.record(*id).set)) == target);
        let id = match (same, &matches[..]) {
            (Some(id), _) => id,
            (None, [id]) => *id,
            _ => return,
        };
        // The kernel reports each path of an IPv6 route that goes alone.
        if let (List::Ip6, None, Some(RouteTarget::Forward(gone)), RouteTarget::Forward(paths)) =
            (self.list, same, target, cx.sets.target(self.record(id).set))
        {
            let leads = |path: &crate::netlink::Path| (path.interface, path.via);
            let stays = |path: &&crate::netlink::Path| !gone.iter().any(|other| leads(other) == leads(path));
            let rest: Vec<_> = paths.iter().filter(stays).copied().collect();
            if !rest.is_empty() && rest.len() < paths.len() {
                let before = [self.before(id, cx.sets)];
                let set = cx.sets.acquire(RouteTarget::Forward(rest), cx.links);
                self.repath(cx.sets, id, set);
                self.tell_all(cx, before);
                return;
            }
        }
        self.remove(cx, id);
    }

    fn create(&mut self, sets: &mut PathSets, said: Statement<P>, set: SetId, generation: Generation) -> u32 {
        let record = Record { said, used: true, generation, set, previous: NONE, next: NONE, sibling: NONE };
        let id = match self.free.pop() {
            Some(id) => {
                self.records[id as usize] = record;
                id
            }
            None => {
                self.records.push(record);
                // 2^32 records of 40 bytes are beyond any memory that this runs on.
                (self.records.len() - 1) as u32
            }
        };
        self.join(sets, id, set);
        id
    }

    fn join(&mut self, sets: &mut PathSets, id: u32, set: SetId) {
        let first = sets.first(set, self.list);
        let record = &mut self.records[id as usize];
        (record.set, record.previous, record.next) = (set, NONE, first);
        if first != NONE {
            self.records[first as usize].previous = id;
        }
        sets.set_first(set, self.list, id);
        sets.count(set, self.list, true);
    }

    fn leave(&mut self, sets: &mut PathSets, id: u32) {
        let Record { set, previous, next, .. } = *self.record(id);
        match previous {
            NONE => sets.set_first(set, self.list, next),
            previous => self.records[previous as usize].next = next,
        }
        if next != NONE {
            self.records[next as usize].previous = previous;
        }
        sets.count(set, self.list, false);
        sets.release(set);
    }

    fn repath(&mut self, sets: &mut PathSets, id: u32, set: SetId) {
        if self.record(id).set != set {
            self.leave(sets, id);
            self.join(sets, id, set);
        }
    }

    /// Removes one route.
    pub fn remove(&mut self, cx: &mut Context<'_>, id: u32) {
        let Statement { prefix, table, .. } = self.record(id).said;
        let Some(head) = self.find(table, prefix) else {
            return;
        };
        let before = self.best(head, cx.sets).cloned();
        let sibling = self.record(id).sibling;
        let new_head = if head == id {
            sibling
        } else {
            let previous = self.chain(head).find(|other| self.record(*other).sibling == id);
            if let Some(previous) = previous {
                self.records[previous as usize].sibling = sibling;
            }
            head
        };
        if new_head != head
            && let Some(group) = self.groups.get_mut(&group_of(table))
        {
            let hash = self.hasher.hash_one(prefix);
            if let Ok(mut entry) = group.index.find_entry(hash, |other| *other == head) {
                match new_head {
                    NONE => drop(entry.remove()),
                    sibling => *entry.get_mut() = sibling,
                }
            }
        }
        self.leave(cx.sets, id);
        self.records[id as usize].used = false;
        self.free.push(id);
        let after = if new_head == NONE { None } else { self.best(new_head, cx.sets) };
        let fib = self.groups.get(&group_of(table)).and_then(|group| group.fib);
        self.tell(fib, prefix, before, after, cx.changes);
    }

    /// Routes of a set.
    pub fn of_set(&self, set: SetId, sets: &PathSets) -> Vec<u32> {
        std::iter::successors(some(sets.first(set, self.list)), |id| some(self.record(*id).next)).collect()
    }

    /// Whose route it is.
    pub fn owner(&self, id: u32) -> Owner {
        self.record(id).said.owner
    }

    fn before(&self, id: u32, sets: &PathSets) -> Before {
        let said = &self.record(id).said;
        let head = self.find(said.table, said.prefix).unwrap_or(id);
        Before { head, paths: self.best(head, sets).cloned() }
    }

    /// What the dataplane has for all prefixes with a route in one of these sets.
    pub fn before_all(&self, of: &[SetId], sets: &PathSets) -> Vec<Before> {
        let ids = of.iter().flat_map(|set| self.of_set(*set, sets));
        let mut before: Vec<Before> = ids.map(|id| self.before(id, sets)).collect();
        before.sort_unstable_by_key(|before| before.head);
        before.dedup_by_key(|before| before.head);
        before
    }

    /// Tells what has changed since.
    pub fn tell_all(&self, cx: &mut Context<'_>, before: impl IntoIterator<Item = Before>) {
        for Before { head, paths } in before {
            let said = &self.record(head).said;
            let fib = self.groups.get(&group_of(said.table)).and_then(|group| group.fib);
            self.tell(fib, said.prefix, paths, self.best(head, cx.sets), cx.changes);
        }
    }

    /// Gives a route other paths.
    pub fn change_target(&mut self, cx: &mut Context<'_>, id: u32, target: RouteTarget) {
        let before = [self.before(id, cx.sets)];
        let set = cx.sets.acquire(target, cx.links);
        self.repath(cx.sets, id, set);
        self.tell_all(cx, before);
    }

    /// VRFs or mappings have changed: moves the routes of each table to where they belong now.
    pub fn retable(
        &mut self,
        sets: &PathSets,
        resolve: impl Fn(TableId) -> Option<FibTable>,
        changes: &mut Vec<Change>,
    ) {
        let moves: Vec<(TableId, Option<FibTable>)> = self
            .groups
            .iter()
            .map(|(table, _)| (*table, resolve(*table)))
            .filter(|(table, fib)| self.groups[table].fib != *fib)
            .collect();
        // All leave before any arrives, as one may come to where another was.
        for (table, _) in &moves {
            let group = &self.groups[table];
            for (prefix, paths) in self.told(group, sets) {
                self.tell(group.fib, prefix, Some(paths.clone()), None, changes);
            }
        }
        for (table, fib) in moves {
            for (prefix, paths) in self.told(&self.groups[&table], sets) {
                self.tell(fib, prefix, None, Some(paths), changes);
            }
            if let Some(group) = self.groups.get_mut(&table) {
                group.fib = fib;
            }
        }
    }

    /// What of a table can be used.
    fn told<'a>(&'a self, group: &'a Group, sets: &'a PathSets) -> impl Iterator<Item = (P, &'a Paths)> {
        let heads = group.index.iter();
        heads.filter_map(|id| Some((self.record(*id).said.prefix, self.best(*id, sets)?)))
    }

    /// Routes of an owner that a resync has not mentioned.
    pub fn unmentioned(&self, owner: Owner, generation: Generation) -> Vec<u32> {
        let stale =
            |record: &Record<P>| record.used && record.said.owner == owner && record.generation != generation;
        let all = self.records.iter().enumerate();
        all.filter(|(_, record)| stale(record)).map(|(id, _)| id as u32).collect()
    }

    /// All routes: what was said, where it leads, and whether the dataplane uses it.
    pub fn iter<'a>(
        &'a self,
        sets: &'a PathSets,
    ) -> impl Iterator<Item = (&'a Statement<P>, &'a RouteTarget)> {
        let used = self.records.iter().filter(|record| record.used);
        used.map(|record| (&record.said, sets.target(record.set)))
    }

    /// Whether all paths of the set lead over interfaces that are down or gone.
    pub fn is_dead(target: &RouteTarget, is_down: impl Fn(IfIndex) -> bool) -> bool {
        match target {
            RouteTarget::Forward(paths) => paths.iter().all(|path| path.interface.is_some_and(&is_down)),
            _ => false,
        }
    }
}
