// SPDX-License-Identifier: Apache-2.0
//! The main thread's IPv4: forwarding tables, what follows from the addresses of interfaces, and neighbours.
//!
//! The parts know nothing of each other: the RIB of a table turns routes into what workers read, the neighbour table
//! decides when to ask and what to believe, interfaces hold addresses. Here is what connects them: an address makes
//! connected and local routes; a route's next hop is completed by a neighbour; a neighbour that answers sends the
//! packets on that wait for it; an interface that goes takes all of it along. Every method publishes at once and
//! none waits for a worker.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use thiserror::Error;
use weft_engine::buffer::LOCALLY_ORIGINATED;
use weft_engine::publish::{Slab, SlabReader};
use weft_engine::{Engine, InterfaceIndex, ThreadIndex};

use super::{
    Action, ApplyError, Change, DropKind, Egress, Fib, LoadBalances, NextHopId, NextHops, Objects, Outcome,
    Owner, PathTarget, Preference, Resolution, Rewrite, Rib, RibSettings, RoutePath, TableIndex, VlanTags,
};
use crate::arp::{NeighborNotice, request_frame};
use crate::graph::HeldPackets;
use crate::headers::{EtherType, MacAddr};
use crate::interface::{Interface, InterfaceError, Interfaces, Kind, Tags};
use crate::neighbor::{NeighborAction, NeighborError, NeighborSettings, NeighborState, Neighbors};

/// What an operator can set.
#[derive(Clone, Copy, Debug)]
pub struct RouterSettings {
    /// Forwarding tables (VRFs).
    pub tables: usize,
    /// Different sets of paths of all routes together.
    pub load_balances: usize,
    /// Neighbours that routes or packets use.
    pub next_hops: usize,
    /// Of each table.
    pub rib: RibSettings,
    /// Of the neighbour table.
    pub neighbors: NeighborSettings,
}

impl Default for RouterSettings {
    fn default() -> Self {
        RouterSettings {
            tables: 1024,
            load_balances: 1 << 17,
            next_hops: 1 << 17,
            rib: RibSettings::default(),
            neighbors: NeighborSettings::default(),
        }
    }
}

/// The number of a table as the operator knows it; VPP's "table-id".
pub type TableId = u32;

/// Why the router cannot do what was asked.
#[derive(Debug, Error)]
pub enum RouterError {
    /// No such table.
    #[error("no IPv4 table {0}; `ip table add {0}` makes it")]
    UnknownTable(TableId),
    /// Two of one number.
    #[error("IPv4 table {0} exists already")]
    TableExists(TableId),
    /// Something stands on it.
    #[error("IPv4 table {0} is in use by interface '{1}'")]
    TableInUse(TableId, String),
    /// The table that every interface begins in.
    #[error("IPv4 table 0 cannot be deleted")]
    DefaultTable,
    /// A limit of startup.conf.
    #[error("no room for IPv4 table {0}: limits {{ vrfs {1} }}")]
    TablesFull(TableId, usize),
    /// No address space.
    #[error("no memory for IPv4 table {0}: {1}")]
    TableMemory(TableId, std::io::Error),
    /// Addresses belong to the table that they were added in.
    #[error("interface '{0}' has addresses; delete them before it changes its table")]
    HasAddresses(String),
    /// Two interfaces of one address.
    #[error("{address} is the address of interface '{interface}' already")]
    AddressInUse {
        /// The address.
        address: Ipv4Addr,
        /// Who has it.
        interface: String,
    },
    /// Nothing to delete.
    #[error("interface '{interface}' has no address {address}")]
    NoSuchAddress {
        /// The interface.
        interface: String,
        /// The address.
        address: Ipv4Net,
    },
    /// Not the address of a station.
    #[error(
        "{0} cannot be the address of an interface: expected a unicast address that is not its subnet's broadcast"
    )]
    NotUnicast(Ipv4Net),
    /// See there.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// See there.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// See there.
    #[error(transparent)]
    Neighbor(#[from] NeighborError),
}

/// A forwarding table.
pub struct Table {
    /// As the operator knows it.
    pub id: TableId,
    /// For `show`.
    pub name: String,
    /// Its routes.
    pub rib: Rib,
}

/// Where the news of workers meets the tables.
pub struct Router {
    objects: Objects,
    /// By [`TableIndex`].
    tables: Vec<Option<Table>>,
    fibs: Slab<Arc<Fib>>,
    neighbors: Neighbors,
    /// Next hops of neighbours with a MAC address, which the neighbour table holds.
    adjacent: HashMap<(InterfaceIndex, IpAddr), NextHopId>,
    held: Option<HeldPackets>,
    settings: RouterSettings,
    start: Instant,
}

/// What [`Neighbors::tick`] may do at once, so that 10,000 neighbours learned together do not hold up the main loop.
const NEIGHBORS_PER_TICK: usize = 256;

impl Router {
    /// A router with table 0.
    pub fn new(engine: &mut Engine, settings: RouterSettings) -> Result<Router, RouterError> {
        let mut router = Router {
            objects: Objects {
                next_hops: NextHops::new(&engine.domain, settings.next_hops),
                load_balances: LoadBalances::new(&mut engine.domain, settings.load_balances),
            },
            tables: Vec::new(),
            fibs: Slab::new(&engine.domain, settings.tables),
            neighbors: Neighbors::new(settings.neighbors),
            adjacent: HashMap::new(),
            held: None,
            settings,
            start: Instant::now(),
        };
        router.add_table(engine, 0, "ipv4-VRF:0")?;
        Ok(router)
    }

    /// The objects that nodes read.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Forwarding tables for nodes.
    pub fn fibs(&self) -> SlabReader<Arc<Fib>> {
        self.fibs.reader()
    }

    /// The nodes exist: from now on packets that wait are sent on.
    pub fn attach(&mut self, held: HeldPackets) {
        self.held = Some(held);
    }

    /// The neighbour table.
    pub fn neighbors(&self) -> &Neighbors {
        &self.neighbors
    }

    /// Time on the clock of the neighbour table.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    // --- tables ---

    /// Adds a forwarding table.
    pub fn add_table(
        &mut self,
        engine: &mut Engine,
        id: TableId,
        name: &str,
    ) -> Result<TableIndex, RouterError> {
        if self.table_index(id).is_ok() {
            return Err(RouterError::TableExists(id));
        }
        let mut rib = Rib::new(self.settings.rib).map_err(|error| RouterError::TableMemory(id, error))?;
        // Multicast and the limited broadcast are for this host's own protocols; they are never forwarded.
        let own = [Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4), Ipv4Net::from(Ipv4Addr::BROADCAST)];
        let changes = own.map(|prefix| connected(prefix, set(PathTarget::Local)));
        rib.apply(&mut self.objects, &mut engine.domain, &changes)?;
        let Ok(index) = self.fibs.insert(&mut engine.domain, rib.fib()) else {
            return Err(RouterError::TablesFull(id, self.settings.tables));
        };
        if index as usize >= self.tables.len() {
            self.tables.resize_with(index as usize + 1, || None);
        }
        self.tables[index as usize] = Some(Table { id, name: name.to_owned(), rib });
        Ok(TableIndex(index))
    }

    /// Deletes a table with all its routes.
    pub fn delete_table(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        id: TableId,
    ) -> Result<(), RouterError> {
        if id == 0 {
            return Err(RouterError::DefaultTable);
        }
        let index = self.table_index(id)?;
        if let Some((_, user)) = interfaces.iter().find(|(_, interface)| interface.table4 == index) {
            return Err(RouterError::TableInUse(id, user.name.clone()));
        }
        let Some(table) = &mut self.tables[index.0 as usize] else {
            return Err(RouterError::UnknownTable(id));
        };
        let deletions: Vec<Change> = table
            .rib
            .routes(None)
            .flat_map(|route| {
                let prefix = route.prefix();
                route.sources().map(move |source| Change {
                    prefix,
                    owner: source.owner,
                    action: Action::Delete,
                })
            })
            .collect();
        table.rib.apply(&mut self.objects, &mut engine.domain, &deletions)?;
        self.fibs.remove(&mut engine.domain, index.0);
        self.tables[index.0 as usize] = None;
        Ok(())
    }

    /// The index of a table.
    pub fn table_index(&self, id: TableId) -> Result<TableIndex, RouterError> {
        self.tables
            .iter()
            .position(|table| table.as_ref().is_some_and(|table| table.id == id))
            .map(|index| TableIndex(index as u32))
            .ok_or(RouterError::UnknownTable(id))
    }

    /// A table.
    pub fn table(&self, index: TableIndex) -> Option<&Table> {
        self.tables.get(index.0 as usize)?.as_ref()
    }

    /// All tables by index.
    pub fn tables(&self) -> impl Iterator<Item = (TableIndex, &Table)> {
        self.tables
            .iter()
            .enumerate()
            .filter_map(|(index, table)| Some((TableIndex(index as u32), table.as_ref()?)))
    }

    // --- routes ---

    /// Makes all changes of a batch in one table, or none.
    pub fn apply(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        table: TableIndex,
        changes: &[Change],
    ) -> Result<Vec<Outcome>, RouterError> {
        let Some(entry) = self.tables.get_mut(table.0 as usize).and_then(Option::as_mut) else {
            return Err(RouterError::UnknownTable(table.0));
        };
        let outcomes = entry.rib.apply(&mut self.objects, &mut engine.domain, changes)?;
        self.complete(engine, interfaces);
        Ok(outcomes)
    }

    /// New next hops of neighbours that are known already.
    fn complete(&mut self, engine: &mut Engine, interfaces: &Interfaces) {
        for id in self.objects.next_hops.take_created() {
            let Some((interface, address)) =
                self.objects.next_hops.get(id).map(|hop| (hop.interface, hop.address))
            else {
                continue;
            };
            let known = self.neighbors.get(interface, address).and_then(|neighbor| neighbor.state.mac());
            self.publish_next_hop(engine, interfaces, id, known);
        }
    }

    fn publish_next_hop(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        id: NextHopId,
        mac: Option<MacAddr>,
    ) {
        let Some(index) = self.objects.next_hops.get(id).map(|hop| hop.interface) else {
            return;
        };
        let Some(interface) = interfaces.get(index) else {
            return;
        };
        let resolution = match mac {
            Some(mac) => {
                let tags = vlan_tags(interface);
                Resolution::Complete(Rewrite::new(mac, interface.mac, tags, EtherType::IPV4))
            }
            None => Resolution::Incomplete,
        };
        let egress = Egress::of(interfaces, index);
        self.objects.next_hops.resolve(&mut engine.domain, id, resolution, egress);
    }

    // --- addresses ---

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

    // --- interfaces ---

    /// The interface (or the port below it) went up or down, or has another MTU or MAC address.
    pub fn interface_changed(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
    ) -> Result<(), RouterError> {
        let family: Vec<InterfaceIndex> =
            std::iter::once(index).chain(interfaces.subs(index).map(|(sub, _)| sub)).collect();
        for index in family {
            let up = interfaces.is_up(index);
            if !up {
                self.forget_link(engine, interfaces, index, false);
            }
            for table in self.tables.iter_mut().flatten() {
                table.rib.set_interface_up(&mut self.objects, &mut engine.domain, index, up)?;
            }
            self.complete(engine, interfaces);
            let hops: Vec<_> = self
                .objects
                .next_hops
                .iter()
                .filter(|(_, hop)| hop.interface == index)
                .map(|(id, hop)| (id, hop.address))
                .collect();
            for (id, address) in hops {
                let known = self.neighbors.get(index, address).and_then(|neighbor| neighbor.state.mac());
                self.publish_next_hop(engine, interfaces, id, known);
            }
        }
        Ok(())
    }

    /// The interface is about to be deleted: takes away its addresses, its neighbours and all paths over it.
    pub fn interface_leaves(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
    ) -> Result<(), RouterError> {
        let addresses =
            interfaces.get(index).map(|interface| interface.addresses4.clone()).unwrap_or_default();
        for address in addresses {
            self.remove_address(engine, interfaces, index, address)?;
        }
        self.forget_link(engine, interfaces, index, true);
        for table in self.tables.iter_mut().flatten() {
            let over_it = |target: &PathTarget| match target {
                PathTarget::Via { interface, .. } => *interface == Some(index),
                PathTarget::Connected(interface) => *interface == index,
                PathTarget::Local | PathTarget::Drop(_) | PathTarget::Table(_) => false,
            };
            let deletions: Vec<Change> = table
                .rib
                .routes(None)
                .flat_map(|route| {
                    let prefix = route.prefix();
                    route.sources().flat_map(move |source| {
                        let targets: Vec<_> =
                            source.paths.iter().map(|path| path.target).filter(over_it).collect();
                        targets.into_iter().map(move |target| Change {
                            prefix,
                            owner: source.owner,
                            action: Action::DeletePath(target),
                        })
                    })
                })
                .collect();
            table.rib.apply(&mut self.objects, &mut engine.domain, &deletions)?;
            table.rib.set_interface_up(&mut self.objects, &mut engine.domain, index, true)?;
        }
        Ok(())
    }

    // --- neighbours ---

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

    /// Configures a neighbour.
    pub fn set_static_neighbor(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        interface: InterfaceIndex,
        address: Ipv4Addr,
        mac: MacAddr,
    ) -> Result<(), RouterError> {
        let action = self.neighbors.set_static(self.now(), interface, address.into(), mac)?;
        self.act(engine, interfaces, Some(action));
        Ok(())
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

    /// A link is gone: its neighbours go (with `also_static` the configured ones too), and the packets that wait for them.
    fn forget_link(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        link: InterfaceIndex,
        also_static: bool,
    ) {
        let gone = self.neighbors.flush(link, also_static);
        self.act(engine, interfaces, gone);
        self.post_held(engine, move |held, worker| held.forget(worker, link));
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

    fn act(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        actions: impl IntoIterator<Item = NeighborAction>,
    ) {
        for action in actions {
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
            Some(id) => *id,
            None => {
                let hops = &mut self.objects.next_hops;
                let id = hops
                    .acquire(&mut engine.domain, interface, address)
                    .map_err(|error| RouterError::Apply(ApplyError::Objects(error.into())))?;
                self.adjacent.insert((interface, address), id);
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
        let Some(id) = self.adjacent.remove(&(interface, address)) else {
            return;
        };
        if let Some((table, prefix)) = host_route(interfaces, interface, address) {
            let change = Change { prefix, owner: Owner::NEIGHBOR, action: Action::Delete };
            // The route may never have been made, when the subnet was added after the neighbour.
            let _ = self.apply(engine, interfaces, table, &[change]);
        }
        self.publish_next_hop(engine, interfaces, id, None);
        self.objects.next_hops.release(&mut engine.domain, id);
    }

    fn post_held(
        &self,
        engine: &mut Engine,
        message: impl FnOnce(HeldPackets, &mut weft_engine::Worker) + Clone + Send + 'static,
    ) {
        if let Some(held) = self.held {
            engine.post_all(move |worker| message(held, worker));
        }
    }
}

fn set(target: PathTarget) -> Action {
    Action::Set(Preference::default(), vec![RoutePath::new(target)])
}

fn connected(prefix: Ipv4Net, action: Action) -> Change {
    Change { prefix, owner: Owner::CONNECTED, action }
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

fn vlan_tags(interface: &Interface) -> VlanTags {
    let Kind::Sub { tags: Tags { outer, inner }, .. } = interface.kind else {
        return VlanTags::NONE;
    };
    VlanTags::new(outer, inner.map(|id| (EtherType::VLAN, id)))
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
    let tags = match interface.kind {
        Kind::Sub { tags, .. } => tags,
        Kind::Port | Kind::Loopback => Tags::default(),
    };
    let frame = request_frame((interface.mac, sender.addr()), target, to, tags);
    let tx = interface.tx;
    // Any worker can transmit; the first one always exists.
    engine.post(ThreadIndex(1), move |worker| {
        worker.inject(tx, &frame, |meta| {
            meta.tx_interface = index;
            meta.flags |= LOCALLY_ORIGINATED;
        });
    });
}
