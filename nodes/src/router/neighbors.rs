// SPDX-License-Identifier: Apache-2.0
//! Neighbours: what workers tell of them, what the table decides, and what that means for adjacencies, host routes and
//! the packets that wait.

use std::net::IpAddr;

use weft_engine::{Engine, InterfaceIndex, ThreadIndex, Worker};
use weft_fib::{
    Action, AdjacencyId, ApplyError, Change, Ip4, Ip6, IpPrefix, NextHop, PathTarget, Preference, RoutePath,
};

use super::{NeighborNews, Reached, Routed, Router, RouterError, RoutesError, Tables};
use crate::context::LOCALLY_ORIGINATED;
use crate::headers::MacAddr;
use crate::hold::HeldPackets;
use crate::interface::{AddressFamily, Interface, InterfaceError, Interfaces, Owner, TableIndex};
use crate::neighbor::{Evidence, NeighborAction, NeighborNotice, NeighborSettings, NeighborState};

/// What [`Neighbors::tick`](crate::neighbor::Neighbors::tick) may do at once, so that 10,000 neighbours learned
/// together do not hold up the main loop.
const NEIGHBORS_PER_TICK: usize = 256;

impl Router {
    /// A worker has news.
    pub fn notice(&mut self, engine: &mut Engine, interfaces: &Interfaces, notice: NeighborNotice) {
        if interfaces.get(notice.interface()).is_none() {
            // It was on its way when the interface was deleted, with everything that was known of its link.
            return;
        }
        let now = self.now();
        match notice {
            NeighborNotice::Wanted { interface, address } => {
                match self.neighbors.resolve(now, interface, address) {
                    Ok(action) => {
                        self.act(engine, interfaces, action);
                        let state = self.neighbors.get(interface, address).map(|neighbor| neighbor.state);
                        if state == Some(NeighborState::Failed) {
                            self.fail_held(engine, interface, address);
                        }
                    }
                    // Counted by the table; the senders learn that the host cannot be reached.
                    Err(_) => self.fail_held(engine, interface, address),
                }
            }
            NeighborNotice::Learned { interface, address, mac, evidence } => {
                let ours = interfaces.get(interface).is_none_or(|entry| match address {
                    IpAddr::V4(address) => entry.ip4.has(address),
                    IpAddr::V6(address) => entry.ip6.has(address),
                });
                if !ours && let Ok(action) = self.neighbors.heard(now, interface, address, mac, evidence) {
                    self.act(engine, interfaces, action);
                }
            }
            NeighborNotice::RouterAsked { interface, from } => {
                self.router_asked(engine, interfaces, interface, from);
            }
            NeighborNotice::GroupsAsked { interface, query } => self.groups_asked(interface, query),
            NeighborNotice::RouterHeard { interface, router, says } => {
                self.presence.router_heard(interface, router, says);
            }
            NeighborNotice::PrefixHeard { interface, router, says } => {
                self.presence.prefix_heard(interface, router, says);
            }
            NeighborNotice::Conflict { interface, address, mac } => {
                if self.presence.is_new_duplicate(interface, address, mac) {
                    let name = interfaces.get(interface).map_or("?", |interface| interface.name.as_str());
                    tracing::warn!("{mac} on {name} uses our address {address}");
                }
            }
        }
    }

    /// Asks, ages and gives up, and says to links what is due.
    pub fn tick(&mut self, engine: &mut Engine, interfaces: &Interfaces) {
        let mut actions = Vec::new();
        self.neighbors.tick(self.now(), NEIGHBORS_PER_TICK, &mut actions);
        self.act(engine, interfaces, actions);
        self.tick_links(engine, interfaces);
    }

    /// We have other addresses on a link, or another MAC address: then everybody there is told (`announce`, RFC 5227 section
    /// 2.3), or else packets went to the old one until their senders ask again. Neighbours that have not answered are
    /// asked again at once, as their answers went to the old address.
    pub fn own_addresses_changed(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
        announce: bool,
    ) {
        if let Some(interface) = interfaces.get(index).filter(|_| announce) {
            for own in &interface.ip4.addresses {
                solicit::<Ip4>(engine, interfaces, index, own.addr(), None);
            }
        }
        self.tell_link(engine, interfaces, index);
        let requests = self.neighbors.ask_again(self.now(), index);
        self.act(engine, interfaces, requests);
    }

    /// Other sizes and times of the neighbour table.
    pub fn configure_neighbors(&mut self, settings: NeighborSettings) {
        self.neighbors.configure(settings);
    }

    /// Configures a neighbour.
    pub fn set_static_neighbor<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: F::Addr,
        mac: MacAddr,
    ) -> Result<(), RouterError<F>> {
        Router::check_neighbor::<F>(interfaces, interface, address)?;
        let action = self.neighbors.set_static(self.now(), interface, address.into(), mac)?;
        self.act(engine, interfaces, Some(action));
        Ok(())
    }

    /// Learns of a neighbour from somebody who knows: it is believed as a station that has spoken to us.
    pub fn tell_neighbor<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: F::Addr,
        mac: MacAddr,
    ) -> Result<(), RouterError<F>> {
        Router::check_neighbor::<F>(interfaces, interface, address)?;
        let action = self.neighbors.heard(self.now(), interface, address.into(), mac, Evidence::ToUs)?;
        self.act(engine, interfaces, action);
        Ok(())
    }

    /// Whether another station on the link of an interface can have an address.
    pub fn check_neighbor<F: Routed>(
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: F::Addr,
    ) -> Result<(), RouterError<F>> {
        let entry = interfaces.get(interface).ok_or(InterfaceError::Unknown(interface))?;
        let table = F::of(entry).table;
        let scoped = F::is_link_scoped(address);
        let in_scope = interfaces.iter().filter(|(index, other)| match scoped {
            true => *index == interface,
            false => F::of(other).table == table,
        });
        let taken = in_scope.map(|(_, other)| F::of(other)).any(|own| {
            let mut roles = own.addresses.iter().flat_map(|subnet| F::roles(subnet.truncated()));
            own.has(address) || roles.any(|(special, _)| special == address)
        });
        match taken || !F::can_be_neighbor(address) {
            true => Err(RouterError::NotANeighbor(address)),
            false => Ok(()),
        }
    }

    /// Removes a neighbour; false if there is none.
    pub fn remove_neighbor(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: IpAddr,
    ) -> bool {
        let removed = self.neighbors.remove(interface, address);
        let found = removed.is_some();
        self.act(engine, interfaces, removed);
        found
    }

    /// An adjacency for somebody who sends packets of a family to a neighbour, of whatever family, without a route. Each
    /// call needs a [`Router::release_adjacency`].
    pub fn hold_adjacency<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: impl Into<IpAddr>,
    ) -> Result<AdjacencyId, RouterError<F>> {
        let next_hop = NextHop { interface, address: address.into(), payload: F::ETHER_TYPE };
        let held = self.objects.adjacencies.acquire(&mut engine.domain, next_hop);
        let id = held.map_err(|error| ApplyError::Objects(error.into()))?;
        self.complete(engine, interfaces);
        Ok(id)
    }

    /// Gives back what [`Router::hold_adjacency`] gave.
    pub fn release_adjacency(&mut self, engine: &mut Engine, id: AdjacencyId) {
        self.objects.adjacencies.release(&mut engine.domain, id);
    }

    pub(super) fn act(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        actions: impl IntoIterator<Item = NeighborAction>,
    ) {
        // What made room for these gives back what they need.
        let displaced = self.neighbors.take_displaced();
        for action in displaced.into_iter().chain(actions) {
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
                NeighborAction::SendRequest { interface, address, to } => match address {
                    IpAddr::V4(address) => solicit::<Ip4>(engine, interfaces, interface, address, to),
                    IpAddr::V6(address) => solicit::<Ip6>(engine, interfaces, interface, address, to),
                },
                NeighborAction::Resolved { interface, address, .. } => {
                    let resolved = match address {
                        IpAddr::V4(address) => {
                            let resolved = self.resolved::<Ip4>(engine, interfaces, interface, address);
                            resolved.map_err(RoutesError::from)
                        }
                        IpAddr::V6(address) => {
                            let resolved = self.resolved::<Ip6>(engine, interfaces, interface, address);
                            resolved.map_err(RoutesError::from)
                        }
                    };
                    if let Err(error) = resolved {
                        tracing::warn!("neighbour {address} cannot be used: {error}");
                    }
                }
                NeighborAction::Failed { interface, address } => self.fail_held(engine, interface, address),
                NeighborAction::Removed { interface, address } => match address {
                    IpAddr::V4(address) => self.removed::<Ip4>(engine, interfaces, interface, address),
                    IpAddr::V6(address) => self.removed::<Ip6>(engine, interfaces, interface, address),
                },
            }
        }
    }

    /// A neighbour has a MAC address, or another one.
    fn resolved<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        neighbor: F::Addr,
    ) -> Result<(), RouterError<F>> {
        let address = neighbor.into();
        if !self.reached.contains_key(&(interface, address)) {
            let next_hop = NextHop { interface, address, payload: F::ETHER_TYPE };
            let acquired = self.objects.adjacencies.acquire(&mut engine.domain, next_hop);
            let adjacency = acquired.map_err(|error| ApplyError::Objects(error.into()))?;
            self.reached.insert((interface, address), Reached { adjacency, table: None });
        }
        self.publish_neighbor(engine, interfaces, interface, address);
        if let Some((table, prefix)) = host_route::<F>(interfaces, interface, neighbor) {
            let path = RoutePath::new(PathTarget::Via { address: neighbor, interface: Some(interface) });
            // Least preferred: a route that somebody configured for the host wins.
            let action = Action::Set(Preference(u32::MAX), vec![path]);
            let change = Change { prefix, owner: Owner::NEIGHBOR, action };
            self.apply::<F>(engine, interfaces, table, &[change])?;
            if let Some(reached) = self.reached.get_mut(&(interface, address)) {
                reached.table = Some(table);
            }
        }
        let of_neighbor: Vec<_> = self.objects.adjacencies.of_neighbor(interface, address).collect();
        for (NextHop { payload, .. }, id) in of_neighbor {
            match payload {
                Ip4::ETHER_TYPE => self.ip4.release_held(engine, interface, address, id),
                Ip6::ETHER_TYPE => self.ip6.release_held(engine, interface, address, id),
                _ => {}
            }
        }
        Ok(())
    }

    /// A neighbour is no longer known.
    fn removed<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        neighbor: F::Addr,
    ) {
        let address = neighbor.into();
        let Some(Reached { adjacency, table }) = self.reached.remove(&(interface, address)) else {
            return;
        };
        if let Some(table) = table {
            let (prefix, owner) = (F::Net::host(neighbor), Owner::NEIGHBOR);
            // An interface with the same subnet and neighbour may have deleted it: there is one route for both.
            let change = Change { prefix, owner, action: Action::Delete };
            let _ = self.apply::<F>(engine, interfaces, table, &[change]);
        }
        self.publish_neighbor(engine, interfaces, interface, address);
        self.objects.adjacencies.release(&mut engine.domain, adjacency);
    }

    /// Publishes the adjacencies of a neighbour anew.
    fn publish_neighbor(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: IpAddr,
    ) {
        let of_neighbor: Vec<_> = self.objects.adjacencies.of_neighbor(interface, address).collect();
        for (next_hop, id) in of_neighbor {
            self.publish_adjacency(engine, interfaces, id, next_hop);
        }
    }

    fn fail_held(&self, engine: &mut Engine, interface: InterfaceIndex, address: IpAddr) {
        self.ip4.tell_held(engine, move |held, worker| held.fail(worker, interface, address));
        self.ip6.tell_held(engine, move |held, worker| held.fail(worker, interface, address));
    }
}

impl<F: Routed> Tables<F> {
    fn release_held(
        &self,
        engine: &mut Engine,
        interface: InterfaceIndex,
        address: IpAddr,
        adjacency: AdjacencyId,
    ) {
        self.tell_held(engine, move |held, worker| held.release(worker, interface, address, adjacency));
    }

    /// Has every worker do something with packets of the family that wait.
    pub(super) fn tell_held(
        &self,
        engine: &mut Engine,
        message: impl FnOnce(HeldPackets<F>, &mut Worker) + Clone + Send + 'static,
    ) {
        if let Some(held) = self.held {
            engine.post_all(move |worker| message(held, worker));
        }
    }
}

/// Where the route to a neighbour itself belongs: in the table of its link, if it is in a subnet of the link. What is
/// known on its link only has none.
fn host_route<F: Routed>(
    interfaces: &Interfaces,
    interface: InterfaceIndex,
    address: F::Addr,
) -> Option<(TableIndex, F::Net)> {
    let own = F::of(interfaces.get(interface)?);
    let mut subnets = own.addresses.iter().filter(|subnet| subnet.length() < F::Net::HOST);
    let on_link = subnets.any(|subnet| subnet.covers(address));
    (on_link && !F::is_link_scoped(address)).then(|| (own.table, F::Net::host(address)))
}

/// Asks for a neighbour.
fn solicit<F: Routed>(
    engine: &mut Engine,
    interfaces: &Interfaces,
    index: InterfaceIndex,
    target: F::Addr,
    to: Option<MacAddr>,
) {
    let Some(interface) = interfaces.get(index).filter(|_| interfaces.is_up(index)) else {
        return;
    };
    let lender = interface.unnumbered.and_then(|lender| interfaces.get(lender)).unwrap_or(interface);
    let own = F::of(lender);
    let known = if own.has(target) { Some(target) } else { own.on_link(target).map(|subnet| subnet.addr()) };
    let link_local = F::of(interface).link_local.filter(|_| F::is_link_scoped(target));
    let Some(sender) = known.or(link_local).or(own.primary()).or(F::of(interface).link_local) else {
        return;
    };
    let frame = F::solicitation((interface.mac, sender), target, to, interface.tags());
    if let Some([questions, announcements]) = F::SOLICITATIONS {
        let name = if target == sender { announcements } else { questions };
        if let Some(vector) = engine.counters.interfaces.named(name) {
            // The row of the main thread, which nobody else adds to.
            vector.row(ThreadIndex(0)).add(index.index(), 1);
        }
    }
    transmit(engine, interface, index, frame);
}

/// Has a worker send a frame of ours.
pub(super) fn transmit(engine: &mut Engine, interface: &Interface, index: InterfaceIndex, frame: Vec<u8>) {
    let tx = interface.tx;
    // Any worker can transmit; the first one always exists.
    engine.post(ThreadIndex(1), move |worker| {
        worker.inject(tx, &frame, |meta| {
            meta.tx_interface = index;
            meta.flags |= LOCALLY_ORIGINATED;
        });
    });
}
