// SPDX-License-Identifier: Apache-2.0
//! What vplaned and the route broker have said, and what follows from it for a dataplane.
//!
//! Events arrive doubled, in any order, about things that do not exist yet or any more, and a snapshot repeats all of them. A
//! dataplane wants none of that: it wants to be told each difference once, and only about things whose references exist.
//! [`Store`] stands between the two. It keeps what was said, as it was said; works out what the dataplane should have;
//! and tells the difference.
//!
//! **Resync** is mark and sweep, separately for each [`Owner`]: after [`Store::begin_resync`] everything is said again, and
//! [`Store::end_resync`] removes what was not. A restart of vplaned that repeats the same state makes no change at all. Settings of
//! netconf are not swept, because vplaned has none to say after its own restart (protocol page, 15.3).
//!
//! **What goes without notice.** The kernel deletes routes and neighbours together with their interface, and most routes with an
//! interface that is set down, and reports none of it (protocol page, 7.10; `fib_sync_down_dev` in net/ipv4/fib_semantics.c).
//! The store does the same.
//!
//! Pure data: no clock, no socket, no thread. It belongs to whoever owns the session.

mod change;
mod links;
mod paths;
mod per_interface;
mod routes;
mod tables;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Serialize;

pub use change::{
    Change, FibTable, Interface, InterfaceKind, IpSettings, KnownNeighbor, PathTarget, Paths, PolicyTable,
    RoutePath, Vrf, VrfId,
};
pub use tables::TableMap;

use crate::netlink::{
    BridgePort, Event, FdbEntry, HostOnly, IfIndex, Ignored, InterfaceAddress, Link, Neighbor, NeighborState,
    Placement, ProxyNeighbor, Route, RouteTarget, Via,
};
use links::{Difference, Links, Shown};
use paths::{List, PathSets, without};
use per_interface::PerInterface;
use routes::{Context, Routes, Statement};
use tables::TableMaps;

/// Who says something. What one says is never swept by a resync of the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Owner {
    /// vplaned: the kernel's state, and commands.
    Vplaned,
    /// The route broker: routes.
    Broker,
}

/// The number of a resync. What was mentioned in the latest one of its owner is not stale.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Generation(u32);

/// An address is one of its interface, its subnet and its peer together, as for the kernel.
type AddressKey = (IpNet, Option<IpNet>);

/// See the module.
pub struct Store {
    links: Links,
    sets: PathSets,
    routes4: Routes<Ipv4Net>,
    routes6: Routes<Ipv6Net>,
    addresses: PerInterface<AddressKey, InterfaceAddress>,
    neighbors: PerInterface<IpAddr, KnownNeighbor>,
    proxies: PerInterface<IpAddr, ProxyNeighbor>,
    bridge_ports: PerInterface<(), BridgePort>,
    fdb: PerInterface<FdbEntry, ()>,
    maps: TableMaps,
    generations: [Generation; 2],
    ignored: BTreeMap<Ignored, u64>,
}

/// How much there is of everything.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub struct Counts {
    /// Links of any kind.
    pub links: usize,
    /// Links that wait for their parent or master.
    #[serde(skip)]
    pub links_waiting: usize,
    /// Addresses of interfaces.
    pub addresses: usize,
    /// IPv4 routes, those that wait included.
    pub routes4: usize,
    /// IPv6 routes, those that wait included.
    pub routes6: usize,
    /// Routes that wait for an interface or a VRF.
    pub routes_waiting: usize,
    /// Routes with a path that only the kernel can send on, by the reason.
    #[serde(skip)]
    pub routes_host_only: BTreeMap<HostOnly, u64>,
    /// Different sets of paths.
    #[serde(skip)]
    pub path_sets: usize,
    /// Neighbours with a MAC address.
    pub neighbors: usize,
    /// Links of kinds that the dataplane leaves to the kernel, by the name of the kind.
    pub links_unsupported: BTreeMap<Box<str>, usize>,
    /// Messages without consequence, by the reason.
    #[serde(skip)]
    pub ignored: BTreeMap<Ignored, u64>,
}

impl Default for Store {
    fn default() -> Self {
        Store {
            links: Links::default(),
            sets: PathSets::default(),
            routes4: Routes::new(List::Ip4),
            routes6: Routes::new(List::Ip6),
            addresses: PerInterface::default(),
            neighbors: PerInterface::default(),
            proxies: PerInterface::default(),
            bridge_ports: PerInterface::default(),
            fdb: PerInterface::default(),
            maps: TableMaps::default(),
            generations: [Generation::default(); 2],
            ignored: BTreeMap::new(),
        }
    }
}

impl Store {
    /// Takes in what `owner` says and appends what follows from it to `changes`.
    pub fn apply(&mut self, owner: Owner, event: Event, changes: &mut Vec<Change>) {
        let generation = self.generations[owner as usize];
        match event {
            Event::Route(route, placement) => self.set_route(owner, route, placement, changes),
            Event::RouteGone(route) => {
                let target = (owner == Owner::Vplaned).then_some(&route.target);
                self.unset_route(owner, &route, target, changes);
            }
            Event::Link(link) => {
                let index = link.index;
                let was_up = self.links.get(index).is_some_and(|link| link.admin_up);
                let goes_down = was_up && !link.admin_up;
                let differences = self.links.set(link, generation);
                self.show(differences, changes);
                if goes_down {
                    self.drop_dead_routes(index, changes);
                }
            }
            Event::LinkGone(index) => self.remove_link(index, changes),
            Event::Netconf(netconf) => {
                let differences = self.links.merge_settings(netconf);
                self.show(differences, changes);
            }
            Event::Address(address) => {
                let key = (address.address, address.peer);
                let is_new = self.addresses.set(address.index, key, address, generation);
                if is_new && self.links.is_shown(address.index) {
                    changes.push(Change::Address(address));
                }
            }
            Event::AddressGone(address) => {
                let removed = self.addresses.remove(address.index, (address.address, address.peer));
                if let Some(address) = removed.filter(|address| self.links.is_shown(address.index)) {
                    changes.push(Change::AddressGone(address));
                }
            }
            Event::Neighbor(neighbor) => self.set_neighbor(neighbor, changes),
            Event::NeighborGone(neighbor) => self.unset_neighbor(neighbor.index, neighbor.address, changes),
            Event::Proxy(proxy) => {
                let is_new = self.proxies.set(proxy.index, proxy.address, proxy, generation);
                if is_new && self.links.is_shown(proxy.index) {
                    changes.push(Change::Proxy(proxy));
                }
            }
            Event::ProxyGone(proxy) => {
                let removed = self.proxies.remove(proxy.index, proxy.address);
                if let Some(proxy) = removed.filter(|proxy| self.links.is_shown(proxy.index)) {
                    changes.push(Change::ProxyGone(proxy));
                }
            }
            Event::BridgePort(port) => {
                self.bridge_ports.set(port.index, (), port, generation);
            }
            Event::BridgePortGone(index) => {
                self.bridge_ports.remove(index, ());
            }
            Event::Fdb(entry) => {
                self.fdb.set(entry.index, entry, (), generation);
            }
            Event::FdbGone(entry) => {
                self.fdb.remove(entry.index, entry);
            }
            Event::Ignored(reason) => *self.ignored.entry(reason).or_default() += 1,
        }
    }

    /// vplaned has made the link with this index for a port. Said again after each registration; forgotten with the link.
    pub fn bind_port(&mut self, index: IfIndex, changes: &mut Vec<Change>) {
        let differences = self.links.bind_port(index);
        self.show(differences, changes);
    }

    /// Takes in a `tablemap` command.
    pub fn map_table(&mut self, map: TableMap, changes: &mut Vec<Change>) {
        self.maps.set(map, self.generations[Owner::Vplaned as usize]);
        self.retable(changes);
    }

    /// Everything that `owner` has said will be said again.
    pub fn begin_resync(&mut self, owner: Owner) {
        let generation = &mut self.generations[owner as usize];
        generation.0 = generation.0.wrapping_add(1);
    }

    /// It has been said: what was not is gone.
    pub fn end_resync(&mut self, owner: Owner, changes: &mut Vec<Change>) {
        let generation = self.generations[owner as usize];
        let mut cx = Context { sets: &mut self.sets, links: &self.links, changes };
        for id in self.routes4.unmentioned(owner, generation) {
            self.routes4.remove(&mut cx, id);
        }
        for id in self.routes6.unmentioned(owner, generation) {
            self.routes6.remove(&mut cx, id);
        }
        if owner == Owner::Broker {
            return;
        }
        self.maps.sweep(generation);
        self.retable(changes);
        for (index, address) in self.neighbors.unmentioned(generation) {
            self.unset_neighbor(index, address, changes);
        }
        for (index, address) in self.proxies.unmentioned(generation) {
            self.apply(owner, Event::ProxyGone(ProxyNeighbor { index, address }), changes);
        }
        for (index, key) in self.addresses.unmentioned(generation) {
            let removed = self.addresses.remove(index, key);
            if let Some(address) = removed.filter(|_| self.links.is_shown(index)) {
                changes.push(Change::AddressGone(address));
            }
        }
        for (index, entry) in self.fdb.unmentioned(generation) {
            self.fdb.remove(index, entry);
        }
        for (index, ()) in self.bridge_ports.unmentioned(generation) {
            self.bridge_ports.remove(index, ());
        }
        for index in self.links.unmentioned(generation) {
            self.remove_link(index, changes);
        }
    }

    // --- routes ---

    fn set_route(&mut self, owner: Owner, route: Route, placement: Placement, changes: &mut Vec<Change>) {
        let generation = self.generations[owner as usize];
        let mut cx = Context { sets: &mut self.sets, links: &self.links, changes };
        let (maps, links) = (&self.maps, &self.links);
        let resolve = |table| maps.resolve(table, links);
        match route.prefix {
            IpNet::V4(prefix) => {
                let said = statement(owner, &route, prefix);
                self.routes4.set(&mut cx, said, route.target, placement, generation, resolve);
            }
            IpNet::V6(prefix) => {
                let said = statement(owner, &route, prefix);
                self.routes6.set(&mut cx, said, route.target, placement, generation, resolve);
            }
        }
    }

    fn unset_route(
        &mut self,
        owner: Owner,
        route: &Route,
        target: Option<&RouteTarget>,
        changes: &mut Vec<Change>,
    ) {
        let mut cx = Context { sets: &mut self.sets, links: &self.links, changes };
        match route.prefix {
            IpNet::V4(prefix) => self.routes4.unset(&mut cx, statement(owner, route, prefix), target),
            IpNet::V6(prefix) => self.routes6.unset(&mut cx, statement(owner, route, prefix), target),
        }
    }

    /// Takes an interface out of all routes; those that have no other path go with it. Of an IPv4 route the kernel keeps none of
    /// the other paths either (NETDEV_UNREGISTER in `fib_sync_down_dev`); of an IPv6 route it does. The broker's lose the path only.
    fn drop_paths(&mut self, index: IfIndex, changes: &mut Vec<Change>) {
        let mut cx = Context { sets: &mut self.sets, links: &self.links, changes };
        for set in cx.sets.over(index).to_vec() {
            let rest = without(cx.sets.target(set), index);
            let (ids4, ids6) = (self.routes4.of_set(set, cx.sets), self.routes6.of_set(set, cx.sets));
            for id in ids4 {
                match rest.as_ref().filter(|_| self.routes4.owner(id) == Owner::Broker) {
                    Some(rest) => self.routes4.change_target(&mut cx, id, rest.clone()),
                    None => self.routes4.remove(&mut cx, id),
                }
            }
            for id in ids6 {
                match &rest {
                    Some(rest) => self.routes6.change_target(&mut cx, id, rest.clone()),
                    None => self.routes6.remove(&mut cx, id),
                }
            }
        }
    }

    /// An interface went down: removes the kernel's routes that have no other. The broker speaks for its own.
    fn drop_dead_routes(&mut self, index: IfIndex, changes: &mut Vec<Change>) {
        let mut cx = Context { sets: &mut self.sets, links: &self.links, changes };
        let links = &self.links;
        let is_down = |index| links.get(index).is_none_or(|link| !link.admin_up);
        for set in cx.sets.over(index).to_vec() {
            if !Routes::<Ipv4Net>::is_dead(cx.sets.target(set), is_down) {
                continue;
            }
            let (ids4, ids6) = (self.routes4.of_set(set, cx.sets), self.routes6.of_set(set, cx.sets));
            for id in ids4 {
                if self.routes4.owner(id) == Owner::Vplaned {
                    self.routes4.remove(&mut cx, id);
                }
            }
            for id in ids6 {
                if self.routes6.owner(id) == Owner::Vplaned {
                    self.routes6.remove(&mut cx, id);
                }
            }
        }
    }

    /// Interfaces have come or gone: decides anew what the routes over them are.
    fn reresolve(&mut self, interfaces: &[IfIndex], changes: &mut Vec<Change>) {
        let mut sets: Vec<_> = interfaces.iter().flat_map(|index| self.sets.over(*index)).copied().collect();
        sets.sort_unstable();
        sets.dedup();
        let news: Vec<_> =
            sets.iter().filter_map(|set| Some((*set, self.sets.reresolved(*set, &self.links)?))).collect();
        let changed: Vec<_> = news.iter().map(|(set, _)| *set).collect();
        let before4 = self.routes4.before_all(&changed, &self.sets);
        let before6 = self.routes6.before_all(&changed, &self.sets);
        for (set, paths) in news {
            self.sets.set_paths(set, paths);
        }
        let mut cx = Context { sets: &mut self.sets, links: &self.links, changes };
        self.routes4.tell_all(&mut cx, before4);
        self.routes6.tell_all(&mut cx, before6);
    }

    fn retable(&mut self, changes: &mut Vec<Change>) {
        let (maps, links) = (&self.maps, &self.links);
        self.routes4.retable(&self.sets, |table| maps.resolve(table, links), changes);
        self.routes6.retable(&self.sets, |table| maps.resolve(table, links), changes);
    }

    // --- links ---

    fn remove_link(&mut self, index: IfIndex, changes: &mut Vec<Change>) {
        self.drop_paths(index, changes);
        let shown = self.links.is_shown(index);
        let neighbors = self.neighbors.remove_all(index);
        let proxies = self.proxies.remove_all(index);
        let addresses = self.addresses.remove_all(index);
        if shown {
            changes.extend(neighbors.map(|(address, _)| Change::NeighborGone(index, address)));
            changes.extend(proxies.map(|(_, proxy)| Change::ProxyGone(proxy)));
            changes.extend(addresses.map(|(_, address)| Change::AddressGone(address)));
        }
        drop(self.fdb.remove_all(index));
        drop(self.bridge_ports.remove_all(index));
        let differences = self.links.remove(index);
        self.show(differences, changes);
    }

    /// Tells what a change of links means, in an order in which nothing refers to what is not there.
    fn show(&mut self, differences: Vec<Difference>, changes: &mut Vec<Change>) {
        let is_vrf = |shown: &Option<Shown>| matches!(shown, Some(Shown::Vrf(_)));
        let is_interface = |shown: &Option<Shown>| matches!(shown, Some(Shown::Interface(_)));
        for difference in &differences {
            match &difference.after {
                Some(Shown::Vrf(vrf)) if difference.before != difference.after => {
                    changes.push(Change::Vrf(vrf.clone()));
                }
                _ => {}
            }
        }
        for Difference { index, before, after, .. } in &differences {
            let Some(Shown::Interface(interface)) = after else {
                continue;
            };
            if before == after {
                continue;
            }
            let moves = match before {
                Some(Shown::Interface(before)) => before.vrf != interface.vrf,
                _ => false,
            };
            // An address belongs to the table of its interface, so it goes along.
            if moves {
                changes.extend(self.addresses.of(*index).map(|(_, address)| Change::AddressGone(*address)));
            }
            changes.push(Change::Interface(interface.clone()));
            if moves {
                changes.extend(self.addresses.of(*index).map(|(_, address)| Change::Address(*address)));
            }
        }
        if differences.iter().any(|difference| is_vrf(&difference.before) || is_vrf(&difference.after)) {
            self.retable(changes);
        }
        let moved: Vec<_> =
            differences.iter().filter(|difference| difference.sender_changed).map(|d| d.index).collect();
        self.reresolve(&moved, changes);
        for index in children_first(&differences) {
            changes
                .extend(self.neighbors.of(index).map(|(address, _)| Change::NeighborGone(index, *address)));
            changes.extend(self.proxies.of(index).map(|(_, proxy)| Change::ProxyGone(*proxy)));
            changes.extend(self.addresses.of(index).map(|(_, address)| Change::AddressGone(*address)));
            changes.push(Change::InterfaceGone(index));
        }
        for Difference { index, before, after, .. } in &differences {
            if !is_interface(before) && is_interface(after) {
                changes.extend(self.addresses.of(*index).map(|(_, address)| Change::Address(*address)));
                changes.extend(self.neighbors.of(*index).map(|(_, neighbor)| Change::Neighbor(*neighbor)));
                changes.extend(self.proxies.of(*index).map(|(_, proxy)| Change::Proxy(*proxy)));
            }
        }
        for Difference { index, before, after, .. } in &differences {
            if is_vrf(before) && !is_vrf(after) {
                changes.push(Change::VrfGone(VrfId(*index)));
            }
        }
    }

    // --- neighbours ---

    fn set_neighbor(&mut self, neighbor: Neighbor, changes: &mut Vec<Change>) {
        let Neighbor { index, address, state, mac } = neighbor;
        let generation = self.generations[Owner::Vplaned as usize];
        match (state, mac) {
            (NeighborState::Failed, _) => self.unset_neighbor(index, address, changes),
            (
                NeighborState::Permanent
                | NeighborState::Reachable
                | NeighborState::Stale
                | NeighborState::NoArp,
                Some(mac),
            ) if is_station(address) => {
                let permanent = state == NeighborState::Permanent;
                let known = KnownNeighbor { index, address, mac, permanent };
                let is_new = self.neighbors.set(index, address, known, generation);
                if is_new && self.links.is_shown(index) {
                    changes.push(Change::Neighbor(known));
                }
            }
            // Between question and answer what was known still holds.
            _ => self.neighbors.mention(index, address, generation),
        }
    }

    fn unset_neighbor(&mut self, index: IfIndex, address: IpAddr, changes: &mut Vec<Change>) {
        if self.neighbors.remove(index, address).is_some() && self.links.is_shown(index) {
            changes.push(Change::NeighborGone(index, address));
        }
    }

    // --- for show ---

    /// All links, whether the dataplane sees them or not.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter()
    }

    /// A link.
    pub fn link(&self, index: IfIndex) -> Option<&Link> {
        self.links.get(index)
    }

    /// All addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &InterfaceAddress> {
        self.addresses.iter()
    }

    /// All neighbours with a MAC address.
    pub fn neighbors(&self) -> impl Iterator<Item = &KnownNeighbor> {
        self.neighbors.iter()
    }

    /// All ports of bridges.
    pub fn bridge_ports(&self) -> impl Iterator<Item = &BridgePort> {
        self.bridge_ports.iter()
    }

    /// Forwarding entries of a bridge port or VXLAN.
    pub fn fdb(&self, index: IfIndex) -> impl Iterator<Item = &FdbEntry> {
        self.fdb.of(index).map(|(entry, ())| entry)
    }

    /// All routes as they were said, in no order.
    pub fn routes(&self) -> impl Iterator<Item = (Owner, Route)> {
        let routes4 = self.routes4.iter(&self.sets).map(|(said, target)| said.route(target));
        routes4.chain(self.routes6.iter(&self.sets).map(|(said, target)| said.route(target)))
    }

    /// Links that stay with the kernel though they concern the dataplane, by the name of their kind. Walks through all links.
    pub fn left_alone(&self) -> BTreeMap<Box<str>, usize> {
        let mut kinds: BTreeMap<Box<str>, usize> = BTreeMap::new();
        for kind in self.links.left_alone() {
            *kinds.entry(kind.into()).or_default() += 1;
        }
        kinds
    }

    /// Walks through all links and path sets, and while the VRF of some is unknown through all routes.
    pub fn counts(&self) -> Counts {
        let mut routes_host_only = BTreeMap::new();
        for (target, routes) in self.sets.iter() {
            let RouteTarget::Forward(paths) = target else {
                continue;
            };
            let reason = paths.iter().find_map(|path| match path.via {
                Via::Host(reason) => Some(reason),
                _ => None,
            });
            if let Some(reason) = reason {
                *routes_host_only.entry(reason).or_default() += u64::from(routes);
            }
        }
        Counts {
            links: self.links.iter().count(),
            links_waiting: self.links.waiting(),
            links_unsupported: self.left_alone(),
            routes4: self.routes4.len(),
            routes6: self.routes6.len(),
            routes_waiting: self.routes4.waiting(&self.sets) + self.routes6.waiting(&self.sets),
            routes_host_only,
            path_sets: self.sets.len(),
            addresses: self.addresses.len(),
            neighbors: self.neighbors.len(),
            ignored: self.ignored.clone(),
        }
    }
}

/// The interfaces that are shown no more, in an order in which none goes before those that stand on it.
fn children_first(differences: &[Difference]) -> Vec<IfIndex> {
    let parents: BTreeMap<IfIndex, Option<IfIndex>> = differences
        .iter()
        .filter_map(|difference| match (&difference.before, &difference.after) {
            (Some(Shown::Interface(_)), Some(Shown::Interface(_))) => None,
            (Some(Shown::Interface(before)), _) => Some((difference.index, before.kind.parent())),
            _ => None,
        })
        .collect();
    let ancestors = |index: IfIndex| {
        let parent = |index: &IfIndex| parents.get(index).copied().flatten();
        std::iter::successors(Some(index), parent).count()
    };
    let mut order: Vec<IfIndex> = parents.keys().copied().collect();
    order.sort_by_cached_key(|index| Reverse(ancestors(*index)));
    order
}

fn statement<P>(owner: Owner, route: &Route, prefix: P) -> Statement<P> {
    let Route { table, metric, scope, protocol, .. } = *route;
    Statement { prefix, table, metric, owner, scope, protocol }
}

impl<P: Copy + Into<IpNet>> Statement<P> {
    fn route(&self, target: &RouteTarget) -> (Owner, Route) {
        let Statement { prefix, table, metric, owner, scope, protocol } = *self;
        (owner, Route { prefix: prefix.into(), table, metric, scope, protocol, target: target.clone() })
    }
}

/// Whether somebody on a link can have this address.
fn is_station(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !is_broadcast && !address.is_multicast() && !address.is_unspecified() && !address.is_loopback()
}
