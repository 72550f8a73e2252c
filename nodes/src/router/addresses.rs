// SPDX-License-Identifier: Apache-2.0
//! Addresses of interfaces, and the routes that follow from them.
//!
//! What follows is told by functions that change nothing ([`Router::address_comes`], [`Router::address_goes`]), so that a
//! change of an address can be part of a larger one, which is made whole or not at all.

use std::net::Ipv6Addr;
use std::ops::Bound;

use weft_engine::{Engine, InterfaceIndex};
use weft_fib::{Action, AddressRole, Change, Ip6, IpPrefix, PathTarget, Preference, RoutePath};

use super::tables::connected;
use super::{Routed, Router, RouterError, TableId};
use crate::interface::{Interface, InterfaceError, Interfaces, TableIndex};
use crate::neighbor::NeighborState;

impl Router {
    /// Gives an interface an address, with the routes that follow from it.
    pub fn add_address<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
        address: F::Net,
    ) -> Result<(), RouterError<F>> {
        let (table, changes) = Router::address_comes::<F>(interfaces, index, address)?;
        self.apply(engine, interfaces, table, &changes)?;
        interfaces.change(engine, index, |interface| F::of_mut(interface).addresses.push(address))?;
        Ok(())
    }

    /// Takes an address from an interface, with its routes and the neighbours of its subnet.
    pub fn remove_address<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
        address: F::Net,
    ) -> Result<(), RouterError<F>> {
        let (table, changes) = Router::address_goes::<F>(interfaces, index, address)?;
        interfaces.change(engine, index, |interface| {
            F::of_mut(interface).addresses.retain(|other| *other != address)
        })?;
        self.forget_subnet::<F>(engine, interfaces, index, address);
        self.apply(engine, interfaces, table, &changes)?;
        Ok(())
    }

    /// Enables a family on an interface also without an address, or leaves that to its addresses. IPv6 then has its link-local
    /// address there. What was learned on the link goes when nothing enables the family.
    pub fn enable<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
        on: bool,
    ) -> Result<(), RouterError<F>> {
        if on {
            Router::can_enable::<F>(interfaces, index)?;
        }
        interfaces.change(engine, index, |interface| F::of_mut(interface).always = on)?;
        if interfaces.get(index).is_some_and(|interface| !F::of(interface).is_enabled()) {
            self.flush_family::<F>(engine, interfaces, index);
        }
        Ok(())
    }

    /// Whether a family can be enabled on an interface: its link must carry the packets that every link carries.
    pub fn can_enable<F: Routed>(
        interfaces: &Interfaces,
        index: InterfaceIndex,
    ) -> Result<(), RouterError<F>> {
        let interface = interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
        match interface.mtu {
            mtu if mtu < F::MIN_MTU => Err(RouterError::SmallMtu { interface: interface.name.clone(), mtu }),
            _ => Ok(()),
        }
    }

    /// Gives an interface this link-local address; nothing: the one that follows from its MAC address.
    pub fn set_link_local<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
        address: Option<F::Addr>,
    ) -> Result<(), RouterError<F>> {
        Router::can_be_link_local::<F>(interfaces, index, address)?;
        Ok(interfaces.change(engine, index, |interface| F::of_mut(interface).chosen_link_local = address)?)
    }

    /// Whether an interface can have this link-local address.
    pub fn can_be_link_local<F: Routed>(
        interfaces: &Interfaces,
        index: InterfaceIndex,
        address: Option<F::Addr>,
    ) -> Result<(), RouterError<F>> {
        interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
        match address {
            Some(address) if !F::is_link_scoped(address) => Err(RouterError::NotLinkLocal(address)),
            _ => Ok(()),
        }
    }

    /// The routes that an address would make, and where; or why the interface cannot have it.
    pub fn address_comes<F: Routed>(
        interfaces: &Interfaces,
        index: InterfaceIndex,
        address: F::Net,
    ) -> Result<(TableIndex, Vec<Change<F>>), RouterError<F>> {
        let interface = interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
        if !F::can_be_own(address) {
            return Err(RouterError::NotUnicast(address));
        }
        Router::can_enable::<F>(interfaces, index)?;
        let (table, host) = (F::of(interface).table, address.addr());
        let taken = interfaces.iter().find(|(other, entry)| {
            let theirs = F::of(entry);
            theirs.table == table && theirs.has(host) && (*other == index || !F::is_link_scoped(host))
        });
        match taken {
            Some((_, other)) => {
                Err(RouterError::AddressInUse { address: host, interface: other.name.clone() })
            }
            None => Ok((table, routes_of(interface, index, address, true))),
        }
    }

    /// The changes of routes that follow if an interface loses an address.
    pub fn address_goes<F: Routed>(
        interfaces: &Interfaces,
        index: InterfaceIndex,
        address: F::Net,
    ) -> Result<(TableIndex, Vec<Change<F>>), RouterError<F>> {
        let interface = interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
        match F::of(interface).addresses.contains(&address) {
            true => Ok((F::of(interface).table, routes_of(interface, index, address, false))),
            false => Err(RouterError::NoSuchAddress { interface: interface.name.clone(), address }),
        }
    }

    /// The change of routes that follows if a station of another link's subnet is on this one, or no longer.
    pub fn proxied_route(index: InterfaceIndex, station: Ipv6Addr, comes: bool) -> Change<Ip6> {
        let target = PathTarget::Via { address: station, interface: Some(index) };
        let action = match comes {
            true => Action::AddPath(Preference::default(), RoutePath::new(target)),
            false => Action::DeletePath(target),
        };
        connected(station.into(), action)
    }

    /// Forgets the neighbours of a subnet, but for those that are in another of the interface.
    pub fn forget_subnet<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
        subnet: F::Net,
    ) {
        let rest = interfaces.get(index).map(F::of);
        let is_orphan = |address: F::Addr| {
            subnet.covers(address) && rest.is_none_or(|rest| rest.on_link(address).is_none())
        };
        let orphans: Vec<_> = self
            .neighbors
            .after(Bound::Unbounded, index)
            .map(|neighbor| neighbor.address)
            .filter(|neighbor| F::address(*neighbor).is_some_and(is_orphan))
            .collect();
        for orphan in orphans {
            let removed = self.neighbors.remove(index, orphan);
            self.act(engine, interfaces, removed);
        }
    }

    /// Forgets the neighbours of a family that were learned on an interface.
    pub(super) fn flush_family<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
    ) {
        let on_it = self.neighbors.after(Bound::Unbounded, index);
        let learned = on_it.filter(|it| !matches!(it.state, NeighborState::Static(_)));
        let of_family = learned.map(|it| it.address).filter(|address| F::address(*address).is_some());
        for address in of_family.collect::<Vec<_>>() {
            let removed = self.neighbors.remove(index, address);
            self.act(engine, interfaces, removed);
        }
    }

    /// Moves an interface without addresses to another table.
    pub fn set_table<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
        table: TableId,
    ) -> Result<(), RouterError<F>> {
        let table = self.table_index::<F>(table)?;
        let interface = interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
        if !F::of(interface).addresses.is_empty() {
            return Err(RouterError::HasAddresses(interface.name.clone()));
        }
        Ok(interfaces.change(engine, index, |interface| F::of_mut(interface).table = table)?)
    }
}

/// The routes that follow from an address: its subnet is on the link, it is ours, and so is what else the family says.
/// While the interface is down they are there and lead nowhere ([`PathTarget::OwnAddress`]). An address that says something
/// on its link only makes none: the table is that of many links.
fn routes_of<F: Routed>(
    interface: &Interface,
    index: InterfaceIndex,
    address: F::Net,
    add: bool,
) -> Vec<Change<F>> {
    if F::is_link_scoped(address.addr()) {
        return Vec::new();
    }
    let subnet = address.truncated();
    let mut changes = Vec::new();
    // Another address of the same subnet keeps the subnet's routes.
    let mut others = F::of(interface).addresses.iter().filter(|other| **other != address);
    let shared = others.any(|other| other.length() == address.length() && subnet.covers(other.addr()));
    // Paths, not routes: another interface may have the same subnet.
    let mut path = |prefix: F::Net, target| {
        let action = match add {
            true => Action::AddPath(Preference::default(), RoutePath::new(target)),
            false => Action::DeletePath(target),
        };
        changes.push(connected(prefix, action));
    };
    let own = |role| PathTarget::OwnAddress { interface: index, role };
    path(F::Net::host(address.addr()), own(AddressRole::Host));
    if !shared {
        for (special, role) in F::roles(subnet) {
            path(F::Net::host(special), own(role));
        }
        if subnet.length() < F::Net::HOST {
            path(subnet, PathTarget::Connected(index));
        }
    }
    changes
}
