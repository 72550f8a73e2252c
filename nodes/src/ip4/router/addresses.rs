// SPDX-License-Identifier: Apache-2.0
//! Addresses of interfaces, and the routes that follow from them.

use std::net::IpAddr;
use std::ops::Bound;

use ipnet::Ipv4Net;
use weft_engine::{Engine, InterfaceIndex};

use super::{Router, RouterError, TableId, connected, set};
use crate::interface::{Interface, InterfaceError, Interfaces};
use crate::ip4::{Action, Change, DropKind, PathTarget, Preference, RoutePath};

impl Router {
    /// Gives an interface an address, with the routes that follow from it.
    pub fn add_address(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
        address: Ipv4Net,
    ) -> Result<(), RouterError> {
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
        if let Some((_, other)) = taken {
            return Err(RouterError::AddressInUse { address: host, interface: other.name.clone() });
        }
        let changes = routes_of(interface, index, address, true);
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
        let interface = interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
        if !interface.addresses4.contains(&address) {
            return Err(RouterError::NoSuchAddress { interface: interface.name.clone(), address });
        }
        let table = interface.table4;
        interfaces
            .change(engine, index, |interface| interface.addresses4.retain(|other| *other != address))?;
        let Some(interface) = interfaces.get(index) else {
            return Ok(());
        };
        let changes = routes_of(interface, index, address, false);
        let rest: Vec<Ipv4Net> = interface.addresses4.clone();
        let orphans: Vec<IpAddr> = self
            .neighbors
            .after(Bound::Unbounded, index)
            .map(|neighbor| neighbor.address)
            .filter(|neighbor| match neighbor {
                IpAddr::V4(neighbor) => {
                    address.contains(neighbor) && !rest.iter().any(|subnet| subnet.contains(neighbor))
                }
                IpAddr::V6(_) => false,
            })
            .collect();
        for orphan in orphans {
            let removed = self.neighbors.remove(index, orphan);
            self.act(engine, interfaces, removed);
        }
        self.apply(engine, interfaces, table, &changes)?;
        Ok(())
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

/// The routes that follow from an address: its subnet is on the link, it is ours, and so is its broadcast.
fn routes_of(interface: &Interface, index: InterfaceIndex, address: Ipv4Net, add: bool) -> Vec<Change> {
    let subnet = address.trunc();
    let mut changes = Vec::new();
    // Another address of the same subnet keeps the subnet's routes.
    let shared = interface.addresses4.iter().any(|other| other.trunc() == subnet);
    let mut own = |prefix: Ipv4Net, target| {
        changes.push(connected(prefix, if add { set(target) } else { Action::Delete }));
    };
    own(address.addr().into(), PathTarget::Local);
    if !shared && address.prefix_len() < 31 {
        own(subnet.broadcast().into(), PathTarget::Local);
        own(subnet.network().into(), PathTarget::Drop(DropKind::Blackhole));
    }
    if !shared && address.prefix_len() < 32 {
        let link = PathTarget::Connected(index);
        let action = match add {
            true => Action::AddPath(Preference::default(), RoutePath::new(link)),
            false => Action::DeletePath(link),
        };
        changes.push(connected(subnet, action));
    }
    changes
}
