// SPDX-License-Identifier: Apache-2.0
//! Neighbours: what workers tell of them, what the table decides, and what that means for next hops, host routes and
//! the packets that wait.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use weft_engine::{Engine, InterfaceIndex, ThreadIndex};

use super::{Adjacency, NeighborNews, Router, RouterError};
use crate::arp::{NeighborNotice, request_frame};
use crate::context::LOCALLY_ORIGINATED;
use crate::graph::HeldPackets;
use crate::headers::MacAddr;
use crate::interface::{InterfaceError, Interfaces};
use crate::ip4::{
    Action, ApplyError, Change, NextHopId, Owner, PathTarget, Preference, RoutePath, TableIndex,
};
use crate::neighbor::{NeighborAction, NeighborSettings, NeighborState};

/// What [`Neighbors::tick`](crate::neighbor::Neighbors::tick) may do at once, so that 10,000 neighbours learned
/// together do not hold up the main loop.
const NEIGHBORS_PER_TICK: usize = 256;

impl Router {
    /// A worker has news.
    pub fn notice(&mut self, engine: &mut Engine, interfaces: &Interfaces, notice: NeighborNotice) {
        let now = self.now();
        match notice {
            NeighborNotice::Wanted { interface, address } => match self
                .neighbors
                .resolve(now, interface, address)
            {
                Ok(Some(action)) => self.act(engine, interfaces, Some(action)),
                Ok(None) => {
                    let state = self.neighbors.get(interface, address).map(|neighbor| neighbor.state);
                    if state == Some(NeighborState::Failed) {
                        self.post_held(engine, move |held, worker| held.fail(worker, interface, address));
                    }
                }
                // Counted by the table; the senders learn that the host cannot be reached.
                Err(_) => self.post_held(engine, move |held, worker| held.fail(worker, interface, address)),
            },
            NeighborNotice::Learned { interface, address, mac, evidence } => {
                let ours = interfaces
                    .get(interface)
                    .is_none_or(|entry| entry.addresses4.iter().any(|own| IpAddr::V4(own.addr()) == address));
                if !ours && let Ok(action) = self.neighbors.heard(now, interface, address, mac, evidence) {
                    self.act(engine, interfaces, action);
                }
            }
            NeighborNotice::Conflict { interface, address, mac } => {
                let name = interfaces.get(interface).map_or("?", |interface| interface.name.as_str());
                tracing::warn!("{mac} on {name} uses our address {address}");
            }
        }
    }

    /// Asks, ages and gives up.
    pub fn tick(&mut self, engine: &mut Engine, interfaces: &Interfaces) {
        let mut actions = Vec::new();
        self.neighbors.tick(self.now(), NEIGHBORS_PER_TICK, &mut actions);
        self.act(engine, interfaces, actions);
    }

    /// Other sizes and times of the neighbour table.
    pub fn configure_neighbors(&mut self, settings: NeighborSettings) {
        self.neighbors.configure(settings);
    }

    /// Configures a neighbour.
    pub fn set_static_neighbor(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: Ipv4Addr,
        mac: MacAddr,
    ) -> Result<(), RouterError> {
        Router::check_neighbor(interfaces, interface, address)?;
        let action = self.neighbors.set_static(self.now(), interface, address.into(), mac)?;
        self.act(engine, interfaces, Some(action));
        Ok(())
    }

    /// Whether another station on the link of an interface can have an address.
    pub fn check_neighbor(
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: Ipv4Addr,
    ) -> Result<(), RouterError> {
        let table = interfaces.get(interface).ok_or(InterfaceError::Unknown(interface))?.table4;
        // "This network", loopback, multicast and class E, with the limited broadcast.
        let is_special = matches!(address.octets()[0], 0 | 127 | 224..);
        let in_table = interfaces.iter().filter(|(_, other)| other.table4 == table);
        let taken = in_table.flat_map(|(_, other)| &other.addresses4).any(|own| {
            let is_edge = own.prefix_len() < 31 && [own.network(), own.broadcast()].contains(&address);
            own.addr() == address || is_edge
        });
        if is_special || taken { Err(RouterError::NotANeighbor(address)) } else { Ok(()) }
    }

    /// Removes a neighbour; false if there is none.
    pub fn remove_neighbor(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: Ipv4Addr,
    ) -> bool {
        let removed = self.neighbors.remove(interface, address.into());
        let found = removed.is_some();
        self.act(engine, interfaces, removed);
        found
    }

    /// Forgets what was learned on an interface.
    pub fn flush_neighbors(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
    ) {
        let gone = self.neighbors.flush(interface, false);
        self.act(engine, interfaces, gone);
    }

    /// A next hop for somebody who sends packets to a neighbour without a route. Each call needs a
    /// [`Router::release_next_hop`].
    pub fn hold_next_hop(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: Ipv4Addr,
    ) -> Result<NextHopId, RouterError> {
        let held = self.objects.next_hops.acquire(&mut engine.domain, interface, address.into());
        let id = held.map_err(|error| RouterError::Apply(ApplyError::Objects(error.into())))?;
        self.complete(engine, interfaces);
        Ok(id)
    }

    /// Gives back what [`Router::hold_next_hop`] gave.
    pub fn release_next_hop(&mut self, engine: &mut Engine, id: NextHopId) {
        self.objects.next_hops.release(&mut engine.domain, id);
    }

    pub(super) fn act(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        actions: impl IntoIterator<Item = NeighborAction>,
    ) {
        for action in actions {
            if let Some(news) = &mut self.news {
                news.extend(match action {
                    NeighborAction::Resolved { interface, address, mac } => {
                        Some(NeighborNews { interface, address, mac: Some(mac) })
                    }
                    NeighborAction::Removed { interface, address } => {
                        Some(NeighborNews { interface, address, mac: None })
                    }
                    NeighborAction::SendRequest { .. } | NeighborAction::Failed { .. } => None,
                });
            }
            match action {
                NeighborAction::SendRequest { interface, address: IpAddr::V4(address), to } => {
                    send_request(engine, interfaces, interface, address, to);
                }
                NeighborAction::Resolved { interface, address, mac } => {
                    if let Err(error) = self.resolved(engine, interfaces, interface, address, mac) {
                        tracing::warn!("neighbour {address} cannot be used: {error}");
                    }
                }
                NeighborAction::Failed { interface, address } => {
                    self.post_held(engine, move |held, worker| held.fail(worker, interface, address));
                }
                NeighborAction::Removed { interface, address } => {
                    self.removed(engine, interfaces, interface, address);
                }
                NeighborAction::SendRequest { address: IpAddr::V6(_), .. } => {}
            }
        }
    }

    fn resolved(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: IpAddr,
        mac: MacAddr,
    ) -> Result<(), RouterError> {
        let id = match self.adjacent.get(&(interface, address)) {
            Some(adjacency) => adjacency.next_hop,
            None => {
                let hops = &mut self.objects.next_hops;
                let id = hops
                    .acquire(&mut engine.domain, interface, address)
                    .map_err(|error| RouterError::Apply(ApplyError::Objects(error.into())))?;
                self.adjacent.insert((interface, address), Adjacency { next_hop: id, table: None });
                id
            }
        };
        self.publish_next_hop(engine, interfaces, id, Some(mac));
        if let Some((table, prefix)) = host_route(interfaces, interface, address) {
            let IpAddr::V4(next_hop) = address else { return Ok(()) };
            let path = RoutePath::new(PathTarget::Via { address: next_hop, interface: Some(interface) });
            // Least preferred: a route that somebody configured for the host wins.
            let action = Action::Set(Preference(u32::MAX), vec![path]);
            self.apply(engine, interfaces, table, &[Change { prefix, owner: Owner::NEIGHBOR, action }])?;
            if let Some(adjacency) = self.adjacent.get_mut(&(interface, address)) {
                adjacency.table = Some(table);
            }
        }
        self.post_held(engine, move |held, worker| held.release(worker, interface, address, id));
        Ok(())
    }

    fn removed(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: IpAddr,
    ) {
        let Some(Adjacency { next_hop, table }) = self.adjacent.remove(&(interface, address)) else {
            return;
        };
        if let (Some(table), IpAddr::V4(address)) = (table, address) {
            let change = Change { prefix: address.into(), owner: Owner::NEIGHBOR, action: Action::Delete };
            // An interface with the same subnet and neighbour may have deleted it: there is one route for both.
            let _ = self.apply(engine, interfaces, table, &[change]);
        }
        self.publish_next_hop(engine, interfaces, next_hop, None);
        self.objects.next_hops.release(&mut engine.domain, next_hop);
    }

    pub(super) fn post_held(
        &self,
        engine: &mut Engine,
        message: impl FnOnce(HeldPackets, &mut weft_engine::Worker) + Clone + Send + 'static,
    ) {
        if let Some(held) = self.held {
            engine.post_all(move |worker| message(held, worker));
        }
    }
}

/// Where the route to a neighbour itself belongs: in the table of its link, if it is in a subnet of the link.
fn host_route(
    interfaces: &Interfaces,
    interface: InterfaceIndex,
    address: IpAddr,
) -> Option<(TableIndex, Ipv4Net)> {
    let entry = interfaces.get(interface)?;
    let IpAddr::V4(address) = address else { return None };
    let on_link = entry.addresses4.iter().any(|subnet| subnet.prefix_len() < 32 && subnet.contains(&address));
    on_link.then(|| (entry.table4, address.into()))
}

fn send_request(
    engine: &mut Engine,
    interfaces: &Interfaces,
    index: InterfaceIndex,
    target: Ipv4Addr,
    to: Option<MacAddr>,
) {
    let Some(interface) = interfaces.get(index).filter(|_| interfaces.is_up(index)) else {
        return;
    };
    let lender = interface.unnumbered.and_then(|lender| interfaces.get(lender)).unwrap_or(interface);
    let on_link = lender.addresses4.iter().find(|subnet| subnet.contains(&target));
    let Some(sender) = on_link.or(lender.addresses4.first()) else {
        return;
    };
    let frame = request_frame((interface.mac, sender.addr()), target, to, interface.tags());
    let tx = interface.tx;
    // Any worker can transmit; the first one always exists.
    engine.post(ThreadIndex(1), move |worker| {
        worker.inject(tx, &frame, |meta| {
            meta.tx_interface = index;
            meta.flags |= LOCALLY_ORIGINATED;
        });
    });
}
