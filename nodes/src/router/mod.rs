// SPDX-License-Identifier: Apache-2.0
//! The main thread's router: forwarding tables, what follows from the addresses of interfaces, and neighbours.
//!
//! The parts know nothing of each other: the RIB of a table turns routes into what workers read, the neighbour table
//! decides when to ask and what to believe, interfaces hold addresses. Here is what connects them: an address makes
//! connected and local routes; a route's next hop is completed by a neighbour; a neighbour that answers sends the
//! packets on that wait for it; an interface that goes takes all of it along. Every method publishes at once and
//! none waits for a worker.
//!
//! It is written once for all families. Each has [`Tables`] of its own, with its own numbers of tables; a method that is
//! about one family is generic ([`Routed`]), and mostly its arguments say which. Adjacencies, load-balances and neighbours
//! are shared: a neighbour of one family can be the next hop of another's packets, and a link that goes down does so for all.

mod addresses;
mod error;
mod family;
mod links;
mod neighbors;
mod presence;
mod tables;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weft_engine::Engine;
use weft_engine::InterfaceIndex;
use weft_engine::clock::{Clock, Tsc};
use weft_engine::publish::SlabReader;
use weft_fib::{
    Adjacencies, AdjacencyId, Egress, ForwardKind, Ip4, Ip6, LoadBalances, Multipath, NextHop, Objects,
    ReaderOf, Resolution, Rewrite, RibSettings, VlanTags,
};
use weft_stats::CombinedVector;

use crate::headers::{EtherType, MacAddr};
use crate::hold::HeldPackets;
use crate::interface::{Interface, Interfaces, TableIndex, Tags};
use crate::neighbor::{NeighborSettings, Neighbors};
pub use error::{RouterError, RoutesError};
pub use family::Routed;
use presence::Presence;
pub use presence::{Advertising, RouterNews, RouterSearch};
pub use tables::{KindError, PendingChanges, Table, Tables, Users};

/// What an operator can set.
#[derive(Clone, Copy, Debug)]
pub struct RouterSettings {
    /// Forwarding tables (VRFs) of each family.
    pub tables: usize,
    /// Different sets of paths of all routes together.
    pub load_balances: usize,
    /// Neighbours that routes or packets use.
    pub next_hops: usize,
    /// Of each IPv4 table.
    pub ip4: RibSettings<Ip4>,
    /// Of each IPv6 table.
    pub ip6: RibSettings<Ip6>,
    /// Of the neighbour table.
    pub neighbors: NeighborSettings,
}

impl Default for RouterSettings {
    fn default() -> Self {
        RouterSettings {
            tables: 1024,
            load_balances: 1 << 17,
            next_hops: 1 << 17,
            ip4: RibSettings::default(),
            ip6: RibSettings::default(),
            neighbors: NeighborSettings::default(),
        }
    }
}

/// The number of a table as the operator knows it; VPP's "table-id". Each family has its own.
pub type TableId = u32;

/// A neighbour that can be reached, or no longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NeighborNews {
    /// On which link.
    pub interface: InterfaceIndex,
    /// Who.
    pub address: IpAddr,
    /// Where; nothing if it is gone.
    pub mac: Option<MacAddr>,
}

/// What a neighbour with a MAC address has.
struct Reached {
    /// Held for the neighbour table: packets of its own family.
    adjacency: AdjacencyId,
    /// Where its host route is: the interface may have lost the subnet, or be in another table, when that is to go.
    table: Option<TableIndex>,
}

/// Where the news of workers meets the tables.
pub struct Router {
    objects: Objects,
    ip4: Tables<Ip4>,
    ip6: Tables<Ip6>,
    neighbors: Neighbors,
    presence: Presence,
    /// Neighbours with a MAC address.
    reached: HashMap<(InterfaceIndex, IpAddr), Reached>,
    /// What interfaces that are tunnels put before packets.
    encapsulations: HashMap<InterfaceIndex, Rewrite>,
    /// Kinds of what routes can lead to, besides those of weft-fib.
    kinds: Vec<(ForwardKind, String)>,
    news: Option<Vec<NeighborNews>>,
    clock: Clock,
    start: Tsc,
}

impl Router {
    /// A router with table 0 of each family.
    pub fn new(engine: &mut Engine, settings: RouterSettings) -> Result<Router, RoutesError> {
        let mut router = Router {
            objects: Objects {
                adjacencies: Adjacencies::new(&engine.domain, settings.next_hops),
                load_balances: LoadBalances::new(&mut engine.domain, settings.load_balances),
            },
            ip4: Tables::new(engine, settings.tables, settings.ip4),
            ip6: Tables::new(engine, settings.tables, settings.ip6),
            neighbors: Neighbors::new(settings.neighbors),
            presence: Presence::default(),
            reached: HashMap::new(),
            encapsulations: HashMap::new(),
            kinds: Vec::new(),
            news: None,
            clock: engine.clock,
            start: engine.clock.now(),
        };
        router.add_table::<Ip4>(engine, 0, &format!("{}:0", Ip4::TABLE_NAME))?;
        router.add_table::<Ip6>(engine, 0, &format!("{}:0", Ip6::TABLE_NAME))?;
        Ok(router)
    }

    /// The objects that nodes read.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Has load-balances count in `routes`, which has a place for each: see [`LoadBalances::count_in`].
    pub fn count_in(&mut self, routes: CombinedVector) {
        self.objects.load_balances.count_in(routes);
    }

    /// How flows are given to the paths of a route, in all tables.
    pub fn set_multipath(&mut self, engine: &mut Engine, multipath: Multipath) {
        self.objects.load_balances.set_multipath(&mut engine.domain, multipath);
    }

    /// Forwarding tables for nodes.
    pub fn fibs<F: Routed>(&self) -> SlabReader<Arc<ReaderOf<F>>> {
        F::tables(self).fibs()
    }

    /// The nodes of a family exist: from now on packets that wait are sent on.
    pub fn attach<F: Routed>(&mut self, held: HeldPackets<F>) {
        F::parts(self).0.held = Some(held);
    }

    /// Says whether anybody calls [`Router::take_news`].
    pub fn watch_neighbors(&mut self, on: bool) {
        match (on, &self.news) {
            (true, None) => self.news = Some(Vec::new()),
            (true, Some(_)) => {}
            (false, _) => self.news = None,
        }
    }

    /// What has become of neighbours since the last call.
    pub fn take_news(&mut self) -> Vec<NeighborNews> {
        self.news.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The neighbour table.
    pub fn neighbors(&self) -> &Neighbors {
        &self.neighbors
    }

    /// Time on the clock of the neighbour table and of what links are told.
    pub fn now(&self) -> Duration {
        self.clock.duration(self.clock.now().since(self.start))
    }

    /// New adjacencies of neighbours that are known already.
    fn complete(&mut self, engine: &mut Engine, interfaces: &Interfaces) {
        for id in self.objects.adjacencies.take_created() {
            if let Some(next_hop) = self.objects.adjacencies.get(id).map(|adjacency| adjacency.next_hop()) {
                self.publish_adjacency(engine, interfaces, id, next_hop);
            }
        }
    }

    /// Publishes what is known by now.
    fn publish_adjacency(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        id: AdjacencyId,
        NextHop { interface: index, address, payload }: NextHop,
    ) {
        let Some(interface) = interfaces.get(index) else {
            return;
        };
        let mac = self.neighbors.get(index, address).and_then(|neighbor| neighbor.state.mac());
        let resolution = match (self.encapsulations.get(&index), mac) {
            (Some(rewrite), _) => Resolution::Complete(rewrite.clone()),
            (None, Some(mac)) => {
                let tags = vlan_tags(interface);
                Resolution::Complete(Rewrite::new(mac, interface.mac, tags, payload))
            }
            (None, None) => Resolution::Incomplete,
        };
        let egress = Egress::of(interfaces, index);
        self.objects.adjacencies.resolve(&mut engine.domain, id, resolution, egress);
    }
}

fn vlan_tags(interface: &Interface) -> VlanTags {
    let Tags { outer, inner } = interface.tags();
    if outer.is_none() {
        return VlanTags::NONE;
    }
    VlanTags::new(outer, inner.map(|id| (EtherType::VLAN, id)))
}
