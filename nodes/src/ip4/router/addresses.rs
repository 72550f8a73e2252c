// SPDX-License-Identifier: Apache-2.0
//! Addresses of interfaces, and the routes that follow from them.
//!
//! What follows is told by functions that change nothing ([`Router::address_comes`], [`Router::address_goes`]), so that a
//! change of an address can be part of a larger one, which is made whole or not at all.

use std::net::IpAddr;
use std::ops::Bound;

use ipnet::Ipv4Net;
use weft_engine::{Engine, InterfaceIndex};

use super::{Router, RouterError, TableId, connected};
use crate::interface::{Interface, InterfaceError, Interfaces};
use crate::ip4::{Action, AddressRole, Change, PathTarget, Preference, RoutePath, TableIndex};

impl Router {
    /// Gives an interface an address, with the routes that follow from it.
    pub fn add_address(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
        address: Ipv4Net,
    ) -> Result<(), RouterError> {
        let (table, changes) = Router::address_comes(interfaces, index, address)?;
        self.apply(engine, interfaces, table, &changes)?;
        interfaces.change(engine, index, |interface| interface.addresses4.push(address))?;
        Ok(())
    }

    /// Takes an address from an interface, with its routes and the neighbours of its subnet.
    pub fn remove_address(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
        address: Ipv4Net,
    ) -> Result<(), RouterError> {
        let (table, changes) = Router::address_goes(interfaces, index, address)?;
        interfaces
            .change(engine, index, |interface| interface.addresses4.retain(|other| *other != address))?;
        self.forget_subnet(engine, interfaces, index, address);
        self.apply(engine, interfaces, table, &changes)?;
        Ok(())
    }

    /// The routes that an address would make, and where; or why the interface cannot have it.
    pub fn address_comes(
        interfaces: &Interfaces,
        index: InterfaceIndex,
        address: Ipv4Net,
    ) -> Result<(TableIndex, Vec<Change>), RouterError> {
        let interface = interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
        let host = address.addr();
        let is_edge = address.prefix_len() < 31 && (host == address.broadcast() || host == address.network());
        if host.is_unspecified()
            || host.is_multicast()
            || host.is_broadcast()
            || host.is_loopback()
            || is_edge
        {
            return Err(RouterError::NotUnicast(address));
        }
        let table = interface.table4;
        let taken = interfaces.iter().find(|(_, other)| {
            other.table4 == table && other.addresses4.iter().any(|theirs| theirs.addr() == host)
        });
        match taken {
            Some((_, other)) => {
                Err(RouterError::AddressInUse { address: host, interface: other.name.clone() })
            }
            None => Ok((table, routes_of(interface, index, address, true))),
        }
    }

    /// The changes of routes that follow if an interface loses an address.
    pub fn address_goes(
        interfaces: &Interfaces,
        index: InterfaceIndex,
        address: Ipv4Net,
    ) -> Result<(TableIndex, Vec<Change>), RouterError> {
        let interface = interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
        match interface.addresses4.contains(&address) {
            true => Ok((interface.table4, routes_of(interface, index, address, false))),
            false => Err(RouterError::NoSuchAddress { interface: interface.name.clone(), address }),
        }
    }

    /// Forgets the neighbours of a subnet, but for those that are in another of the interface.
    pub fn forget_subnet(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
        subnet: Ipv4Net,
    ) {
        let rest = interfaces.get(index).map_or(&[][..], |interface| &interface.addresses4);
        let orphans: Vec<IpAddr> = self
            .neighbors
            .after(Bound::Unbounded, index)
            .map(|neighbor| neighbor.address)
            .filter(|neighbor| match neighbor {
                IpAddr::V4(neighbor) => {
                    subnet.contains(neighbor) && !rest.iter().any(|subnet| subnet.contains(neighbor))
                }
                IpAddr::V6(_) => false,
            })
            .collect();
        for orphan in orphans {
            let removed = self.neighbors.remove(index, orphan);
            self.act(engine, interfaces, removed);
        }
    }

    /// Moves an interface without addresses to another table.
    pub fn set_table(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
        table: TableId,
    ) -> Result<(), RouterError> {
        let table = self.table_index(table)?;
        let interface = interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
        if !interface.addresses4.is_empty() {
            return Err(RouterError::HasAddresses(interface.name.clone()));
        }
        Ok(interfaces.change(engine, index, |interface| interface.table4 = table)?)
    }
}

/// The routes that follow from an address: its subnet is on the link, it is ours, and so is its broadcast. While the
/// interface is down they are there and lead nowhere ([`PathTarget::OwnAddress`]).
fn routes_of(interface: &Interface, index: InterfaceIndex, address: Ipv4Net, add: bool) -> Vec<Change> {
    let subnet = address.trunc();
    let mut changes = Vec::new();
    // Another address of the same subnet keeps the subnet's routes.
    let mut others = interface.addresses4.iter().filter(|other| **other != address);
    let shared = others.any(|other| other.trunc() == subnet);
    // Paths, not routes: another interface may have the same subnet.
    let mut path = |prefix: Ipv4Net, target| {
        let action = match add {
            true => Action::AddPath(Preference::default(), RoutePath::new(target)),
            false => Action::DeletePath(target),
        };
        changes.push(connected(prefix, action));
    };
    let own = |role| PathTarget::OwnAddress { interface: index, role };
    path(address.addr().into(), own(AddressRole::Host));
    if !shared && address.prefix_len() < 31 {
        path(subnet.broadcast().into(), own(AddressRole::Host));
        path(subnet.network().into(), own(AddressRole::Network));
    }
    if !shared && address.prefix_len() < 32 {
        path(subnet, PathTarget::Connected(index));
    }
    changes
}
