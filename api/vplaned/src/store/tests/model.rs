// SPDX-License-Identifier: Apache-2.0
//! The oracle: lists of what was said, searched from the start for every question.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use super::*;
use crate::netlink::{Netconf, NetconfFamily, TableId};

/// Something said to a store.
#[derive(Clone, Debug)]
pub enum Said {
    Event(Owner, Event),
    Port(IfIndex),
    Map(TableMap),
}

#[derive(Clone, Default)]
pub struct Model {
    links: BTreeMap<IfIndex, Link>,
    ports: BTreeSet<IfIndex>,
    settings: BTreeMap<(IfIndex, NetconfFamily), Netconf>,
    addresses: BTreeMap<(IfIndex, AddressKey), InterfaceAddress>,
    neighbors: BTreeMap<(IfIndex, IpAddr), KnownNeighbor>,
    proxies: BTreeSet<ProxyNeighbor>,
    routes: Vec<(Owner, Route)>,
    maps: BTreeMap<(Box<str>, PolicyTable), TableId>,
}

impl Model {
    pub fn hear(&mut self, said: Said) {
        match said {
            Said::Port(index) => {
                self.ports.insert(index);
            }
            Said::Map(TableMap { vrf, policy, table: Some(table) }) => {
                self.maps.insert((vrf, policy), table);
            }
            Said::Map(TableMap { vrf, policy, table: None }) => {
                self.maps.remove(&(vrf, policy));
            }
            Said::Event(owner, event) => self.event(owner, event),
        }
    }

    fn event(&mut self, owner: Owner, event: Event) {
        match event {
            Event::Link(link) => {
                let was_up = self.links.get(&link.index).is_some_and(|link| link.admin_up);
                let (index, goes_down) = (link.index, was_up && !link.admin_up);
                self.links.insert(link.index, link);
                if goes_down {
                    let links = &self.links;
                    let is_down = |index: Option<IfIndex>| {
                        index.is_some_and(|index| links.get(&index).is_none_or(|link| !link.admin_up))
                    };
                    self.routes.retain(|(owner, route)| match &route.target {
                        RouteTarget::Forward(paths) if *owner == Owner::Vplaned => {
                            let touched = paths.iter().any(|path| path.interface == Some(index));
                            !touched || paths.iter().any(|path| !is_down(path.interface))
                        }
                        _ => true,
                    });
                }
            }
            Event::LinkGone(index) => {
                self.links.remove(&index);
                self.ports.remove(&index);
                self.settings.retain(|(owner, _), _| *owner != index);
                self.addresses.retain(|(owner, _), _| *owner != index);
                self.neighbors.retain(|(owner, _), _| *owner != index);
                self.proxies.retain(|proxy| proxy.index != index);
                self.routes.retain_mut(|(owner, route)| match &mut route.target {
                    RouteTarget::Forward(paths) => {
                        if (*owner, route.prefix.addr().is_ipv4()) == (Owner::Vplaned, true) {
                            return paths.iter().all(|path| path.interface != Some(index));
                        }
                        paths.retain(|path| path.interface != Some(index));
                        !paths.is_empty()
                    }
                    _ => true,
                });
            }
            Event::Netconf(news) => {
                let known = self.settings.entry((news.index, news.family)).or_insert(news);
                known.forwarding = news.forwarding.or(known.forwarding);
                known.rp_filter = news.rp_filter.or(known.rp_filter);
                known.multicast_forwarding = news.multicast_forwarding.or(known.multicast_forwarding);
                known.proxy = news.proxy.or(known.proxy);
            }
            Event::Address(address) => {
                self.addresses.insert((address.index, (address.address, address.peer)), address);
            }
            Event::AddressGone(address) => {
                self.addresses.remove(&(address.index, (address.address, address.peer)));
            }
            Event::Neighbor(Neighbor { index, address, state, mac }) => match (state, mac) {
                (NeighborState::Failed, _) => {
                    self.neighbors.remove(&(index, address));
                }
                (NeighborState::Permanent | NeighborState::Reachable, Some(mac)) => {
                    let permanent = state == NeighborState::Permanent;
                    self.neighbors.insert((index, address), KnownNeighbor { index, address, mac, permanent });
                }
                _ => {}
            },
            Event::NeighborGone(neighbor) => {
                self.neighbors.remove(&(neighbor.index, neighbor.address));
            }
            Event::Proxy(proxy) => {
                self.proxies.insert(proxy);
            }
            Event::ProxyGone(proxy) => {
                self.proxies.remove(&proxy);
            }
            Event::Route(route, placement) => {
                let is_same =
                    |(other_owner, other): &(Owner, Route)| is_same(owner, &route, *other_owner, other);
                let equal =
                    self.routes.iter().position(|other| is_same(other) && other.1.target == route.target);
                let first = self.routes.iter().position(is_same);
                match equal.or(first.filter(|_| placement == Placement::Replace)) {
                    Some(at) => self.routes[at] = (owner, route),
                    None => self.routes.push((owner, route)),
                }
            }
            Event::RouteGone(route) => {
                let same: Vec<usize> = (0..self.routes.len())
                    .filter(|at| is_same(owner, &route, self.routes[*at].0, &self.routes[*at].1))
                    .collect();
                let equal = same
                    .iter()
                    .find(|at| owner == Owner::Vplaned && self.routes[**at].1.target == route.target);
                match (equal, &same[..]) {
                    (Some(at), _) | (None, [at]) => drop(self.routes.remove(*at)),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Who sends over a link; `None` while that is unknown. `depth` ends circles.
    fn sender(&self, index: IfIndex, depth: usize) -> Option<bool> {
        let link = self.links.get(&index).filter(|_| depth < 20)?;
        let dataplane = match link.kind {
            LinkKind::Tun => self.ports.contains(&index),
            LinkKind::Vlan { parent, .. } => self.sender(parent, depth + 1)?,
            _ => return Some(false),
        };
        match link.master {
            Some(master) if dataplane => self.links.get(&master).map(|_| true),
            _ => Some(dataplane),
        }
    }

    fn vrfs(&self) -> impl Iterator<Item = Vrf> {
        self.links.values().filter_map(|link| match link.kind {
            LinkKind::Vrf { table } => Some(Vrf { id: VrfId(link.index), name: link.name.clone(), table }),
            _ => None,
        })
    }

    fn fib(&self, table: TableId) -> Option<FibTable> {
        if table == TableId::MAIN || table == TableId::LOCAL {
            return Some(FibTable::MAIN);
        }
        if let Some(vrf) = self.vrfs().find(|vrf| vrf.table == table) {
            return Some(FibTable { vrf: Some(vrf.id), policy: None });
        }
        if table.0 < 256 {
            return Some(FibTable { vrf: None, policy: Some(PolicyTable(table.0)) });
        }
        let ((name, policy), _) = self.maps.iter().find(|(_, mapped)| **mapped == table)?;
        let vrf = self.vrfs().find(|vrf| vrf.name == *name)?;
        Some(FibTable { vrf: Some(vrf.id), policy: Some(*policy) })
    }

    fn paths(&self, target: &RouteTarget) -> Option<Vec<RoutePath>> {
        let one = |target| Some(vec![RoutePath { target, weight: NonZeroU16::MIN }]);
        let paths = match target {
            RouteTarget::Local => return one(PathTarget::Local),
            RouteTarget::Blackhole => return one(PathTarget::Blackhole),
            RouteTarget::Unreachable => return one(PathTarget::Unreachable),
            RouteTarget::Prohibit => return one(PathTarget::Prohibit),
            RouteTarget::Forward(paths) => paths,
        };
        let mut result: Vec<RoutePath> = Vec::new();
        for path in paths {
            let target = match (path.interface, path.via) {
                (Some(interface), via) => match (self.sender(interface, 0)?, via) {
                    (true, Via::Link) => PathTarget::Link(interface),
                    (true, Via::Gateway(address)) => {
                        PathTarget::Gateway { interface, address, onlink: path.onlink }
                    }
                    _ => PathTarget::Host,
                },
                (None, _) => PathTarget::Host,
            };
            match result.iter_mut().find(|other| other.target == target) {
                Some(other) => other.weight = other.weight.saturating_add(path.weight.get()),
                None => result.push(RoutePath { target, weight: path.weight }),
            }
        }
        Some(result)
    }

    fn interface(&self, index: IfIndex) -> Option<Interface> {
        let link = &self.links[&index];
        if self.sender(index, 0) != Some(true) {
            return None;
        }
        let kind = match link.kind {
            LinkKind::Vlan { parent, id, protocol } => InterfaceKind::Vlan { parent, id, protocol },
            _ => InterfaceKind::Port,
        };
        let is_vrf = |index: &IfIndex| matches!(self.links[index].kind, LinkKind::Vrf { .. });
        let settings = |family| {
            self.settings.get(&(index, family)).map_or(IpSettings::default(), |known| IpSettings {
                forwarding: known.forwarding,
                rp_filter: known.rp_filter,
                multicast_forwarding: known.multicast_forwarding,
                proxy: known.proxy,
            })
        };
        Some(Interface {
            index,
            name: link.name.clone(),
            kind,
            admin_up: link.admin_up,
            mac: link.mac,
            mtu: link.mtu,
            vrf: link.master.filter(is_vrf).map(VrfId),
            member_of: link.master.filter(|master| !is_vrf(master)),
            ip4: settings(NetconfFamily::Ip4),
            ip6: settings(NetconfFamily::Ip6),
        })
    }

    /// What the dataplane should have.
    pub fn view(&self) -> View {
        let interfaces: BTreeMap<_, _> =
            self.links.keys().filter_map(|index| Some((*index, self.interface(*index)?))).collect();
        let shown = |index: &IfIndex| interfaces.contains_key(index);
        let mut best: BTreeMap<(FibTable, IpNet), (_, Vec<RoutePath>)> = BTreeMap::new();
        for (owner, route) in &self.routes {
            let (Some(table), Some(paths)) = (self.fib(route.table), self.paths(&route.target)) else {
                continue;
            };
            let scope = 255 - route.scope.0;
            let rank = (route.table != TableId::LOCAL, route.metric, scope, *owner, on_link(route));
            match best.get(&(table, route.prefix)) {
                Some((other, _)) if *other <= rank => {}
                _ => drop(best.insert((table, route.prefix), (rank, paths))),
            }
        }
        View {
            vrfs: self.vrfs().map(|vrf| (vrf.id, vrf)).collect(),
            addresses: self.addresses.clone().into_iter().filter(|((index, _), _)| shown(index)).collect(),
            neighbors: self.neighbors.clone().into_iter().filter(|((index, _), _)| shown(index)).collect(),
            proxies: self
                .proxies
                .iter()
                .filter(|proxy| shown(&proxy.index))
                .map(|proxy| ((proxy.index, proxy.address), *proxy))
                .collect(),
            routes: best.into_iter().map(|(key, (_, paths))| (key, paths)).collect(),
            interfaces,
        }
    }

    /// Everything that is true, as a snapshot would say it; routes that stand side by side stay in their order.
    pub fn snapshot(&self) -> Vec<Said> {
        let event = |event| Said::Event(Owner::Vplaned, event);
        let neighbor = |known: &KnownNeighbor| Neighbor {
            index: known.index,
            address: known.address,
            state: if known.permanent { NeighborState::Permanent } else { NeighborState::Reachable },
            mac: Some(known.mac),
        };
        let mut said: Vec<Said> = self.ports.iter().map(|index| Said::Port(*index)).collect();
        said.extend(self.links.values().cloned().map(|link| event(Event::Link(link))));
        said.extend(self.settings.values().map(|settings| event(Event::Netconf(*settings))));
        said.extend(self.addresses.values().map(|address| event(Event::Address(*address))));
        said.extend(self.neighbors.values().map(|known| event(Event::Neighbor(neighbor(known)))));
        said.extend(self.proxies.iter().map(|proxy| event(Event::Proxy(*proxy))));
        said.extend(self.maps.iter().map(|((vrf, policy), table)| {
            Said::Map(TableMap { vrf: vrf.clone(), policy: *policy, table: Some(*table) })
        }));
        said.extend(
            self.routes
                .iter()
                .map(|(owner, route)| Said::Event(*owner, Event::Route(route.clone(), Placement::Replace))),
        );
        said
    }
}

/// The interface of a connected IPv6 route.
fn on_link(route: &Route) -> Option<IfIndex> {
    match (&route.target, route.prefix) {
        (RouteTarget::Forward(paths), IpNet::V6(_)) if paths.len() == 1 && paths[0].via == Via::Link => {
            paths[0].interface
        }
        _ => None,
    }
}

/// Whether two statements are about one route.
fn is_same(owner: Owner, route: &Route, other_owner: Owner, other: &Route) -> bool {
    let one_link = match (on_link(route), on_link(other)) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    (owner, route.prefix, route.table) == (other_owner, other.prefix, other.table)
        && match owner {
            Owner::Vplaned => route.metric == other.metric && one_link,
            Owner::Broker => route.scope == other.scope,
        }
}
