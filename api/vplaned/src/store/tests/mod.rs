// SPDX-License-Identifier: Apache-2.0
//! The store against a model that works everything out anew after each event, and a mirror that believes only changes.

mod cases;
mod model;
mod properties;

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::*;
use crate::netlink::LinkKind;

/// What a dataplane has.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct View {
    vrfs: BTreeMap<VrfId, Vrf>,
    interfaces: BTreeMap<IfIndex, Interface>,
    addresses: BTreeMap<(IfIndex, AddressKey), InterfaceAddress>,
    neighbors: BTreeMap<(IfIndex, IpAddr), KnownNeighbor>,
    proxies: BTreeMap<(IfIndex, IpAddr), ProxyNeighbor>,
    routes: BTreeMap<(FibTable, IpNet), Vec<RoutePath>>,
}

impl View {
    /// Applies a change as a dataplane would that checks every reference.
    fn apply(&mut self, change: Change) {
        match change {
            Change::Vrf(vrf) => {
                assert_ne!(self.vrfs.insert(vrf.id, vrf.clone()), Some(vrf), "told twice");
            }
            Change::VrfGone(id) => {
                assert!(self.vrfs.remove(&id).is_some(), "{id:?} was not there");
                assert!(self.interfaces.values().all(|interface| interface.vrf != Some(id)), "{id:?} in use");
                assert!(self.routes.keys().all(|(table, _)| table.vrf != Some(id)), "{id:?} has routes");
            }
            Change::Interface(interface) => {
                if let InterfaceKind::Vlan { parent, .. } = interface.kind {
                    assert!(self.interfaces.contains_key(&parent), "{interface:?} before its parent");
                }
                if let Some(vrf) = interface.vrf {
                    assert!(self.vrfs.contains_key(&vrf), "{interface:?} before its VRF");
                }
                let before = self.interfaces.insert(interface.index, interface.clone());
                assert_ne!(before.as_ref(), Some(&interface), "told twice");
                if let Some(before) = before
                    && before.vrf != interface.vrf
                {
                    let mut addresses = self.addresses.keys();
                    assert!(addresses.all(|(index, _)| *index != interface.index), "moved with addresses");
                }
            }
            Change::InterfaceGone(index) => {
                assert!(self.interfaces.remove(&index).is_some(), "{index} was not there");
                assert!(self.addresses.keys().all(|(owner, _)| *owner != index), "{index} has addresses");
                assert!(self.neighbors.keys().all(|(owner, _)| *owner != index), "{index} has neighbours");
                assert!(self.proxies.keys().all(|(owner, _)| *owner != index), "{index} has proxies");
                let is_child = |interface: &Interface| match interface.kind {
                    InterfaceKind::Vlan { parent, .. } => parent == index,
                    InterfaceKind::Port => false,
                };
                assert!(!self.interfaces.values().any(is_child), "{index} has children");
                let mut paths = self.routes.values().flatten();
                assert!(paths.all(|path| interface_of(path) != Some(index)), "{index} has routes");
            }
            Change::Address(address) => {
                assert!(self.interfaces.contains_key(&address.index));
                let key = (address.index, (address.address, address.peer));
                assert_ne!(self.addresses.insert(key, address), Some(address), "told twice");
            }
            Change::AddressGone(address) => {
                assert!(self.addresses.remove(&(address.index, (address.address, address.peer))).is_some());
            }
            Change::Neighbor(neighbor) => {
                assert!(self.interfaces.contains_key(&neighbor.index));
                let key = (neighbor.index, neighbor.address);
                assert_ne!(self.neighbors.insert(key, neighbor), Some(neighbor), "told twice");
            }
            Change::NeighborGone(index, address) => {
                assert!(self.neighbors.remove(&(index, address)).is_some());
            }
            Change::Proxy(proxy) => {
                assert!(self.interfaces.contains_key(&proxy.index));
                assert!(self.proxies.insert((proxy.index, proxy.address), proxy).is_none(), "told twice");
            }
            Change::ProxyGone(proxy) => {
                assert!(self.proxies.remove(&(proxy.index, proxy.address)).is_some());
            }
            Change::Route(table, prefix, paths) => {
                assert!(!paths.is_empty());
                if let Some(vrf) = table.vrf {
                    assert!(self.vrfs.contains_key(&vrf), "{prefix} before its VRF");
                }
                for index in paths.iter().filter_map(interface_of) {
                    assert!(self.interfaces.contains_key(&index), "{prefix} before interface {index}");
                }
                let before = self.routes.insert((table, prefix), paths.to_vec());
                assert_ne!(before, Some(paths.to_vec()), "{prefix} told twice");
            }
            Change::RouteGone(table, prefix) => {
                assert!(self.routes.remove(&(table, prefix)).is_some(), "{prefix} was not there");
            }
        }
    }
}

fn interface_of(path: &RoutePath) -> Option<IfIndex> {
    match path.target {
        PathTarget::Gateway { interface, .. } | PathTarget::Link(interface) => Some(interface),
        _ => None,
    }
}

/// A store with a dataplane behind it.
#[derive(Default)]
struct Bed {
    store: Store,
    view: View,
    /// Changes so far.
    told: usize,
}

impl Bed {
    fn with(&mut self, act: impl FnOnce(&mut Store, &mut Vec<Change>)) {
        let mut changes = Vec::new();
        act(&mut self.store, &mut changes);
        self.told += changes.len();
        for change in changes {
            self.view.apply(change);
        }
    }

    fn say(&mut self, event: Event) {
        self.with(|store, changes| store.apply(Owner::Vplaned, event, changes));
    }

    fn broker(&mut self, event: Event) {
        self.with(|store, changes| store.apply(Owner::Broker, event, changes));
    }
}
