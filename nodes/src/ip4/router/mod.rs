// SPDX-License-Identifier: Apache-2.0
//! The main thread's IPv4: forwarding tables, what follows from the addresses of interfaces, and neighbours.
//!
//! The parts know nothing of each other: the RIB of a table turns routes into what workers read, the neighbour table
//! decides when to ask and what to believe, interfaces hold addresses. Here is what connects them: an address makes
//! connected and local routes; a route's next hop is completed by a neighbour; a neighbour that answers sends the
//! packets on that wait for it; an interface that goes takes all of it along. Every method publishes at once and
//! none waits for a worker.

mod addresses;
mod error;
mod links;
mod neighbors;
mod tables;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use weft_engine::publish::{Slab, SlabReader};
use weft_engine::{Engine, InterfaceIndex};
use weft_stats::CombinedVector;

use super::{
    Action, Change, Egress, Fib, ForwardKind, LoadBalances, Multipath, NextHopId, NextHops, Objects, Owner,
    PathTarget, Preference, Resolution, Rewrite, Rib, RibSettings, RoutePath, TableIndex, VlanTags,
};
use crate::graph::HeldPackets;
use crate::headers::{EtherType, MacAddr};
use crate::interface::{Interface, Interfaces, Tags};
use crate::neighbor::{NeighborSettings, Neighbors};
pub use error::RouterError;
pub use tables::{PendingChanges, Users};

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

/// A forwarding table.
pub struct Table {
    /// As the operator knows it.
    pub id: TableId,
    /// For `show`.
    pub name: String,
    /// Its routes.
    pub rib: Rib,
}

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
struct Adjacency {
    /// Held for the neighbour table.
    next_hop: NextHopId,
    /// Where its host route is: the interface may have lost the subnet, or be in another table, when that is to go.
    table: Option<TableIndex>,
}

/// Where the news of workers meets the tables.
pub struct Router {
    objects: Objects,
    /// By [`TableIndex`].
    tables: Vec<Option<Table>>,
    fibs: Slab<Arc<Fib>>,
    neighbors: Neighbors,
    /// Neighbours with a MAC address.
    adjacent: HashMap<(InterfaceIndex, IpAddr), Adjacency>,
    /// What interfaces that are tunnels put before packets.
    encapsulations: HashMap<InterfaceIndex, Rewrite>,
    /// Kinds of what routes can lead to, besides those of weft-fib.
    kinds: Vec<(ForwardKind, String)>,
    held: Option<HeldPackets>,
    news: Option<Vec<NeighborNews>>,
    settings: RouterSettings,
    start: Instant,
}

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
            encapsulations: HashMap::new(),
            kinds: Vec::new(),
            held: None,
            news: None,
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

    /// Has load-balances count in `routes`, which has a place for each: see [`LoadBalances::count_in`].
    pub fn count_in(&mut self, routes: CombinedVector) {
        self.objects.load_balances.count_in(routes);
    }

    /// How flows are given to the paths of a route, in all tables.
    pub fn set_multipath(&mut self, engine: &mut Engine, multipath: Multipath) {
        self.objects.load_balances.set_multipath(&mut engine.domain, multipath);
    }

    /// Forwarding tables for nodes.
    pub fn fibs(&self) -> SlabReader<Arc<Fib>> {
        self.fibs.reader()
    }

    /// The nodes exist: from now on packets that wait are sent on.
    pub fn attach(&mut self, held: HeldPackets) {
        self.held = Some(held);
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

    /// Time on the clock of the neighbour table.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
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
        let resolution = match (self.encapsulations.get(&index), mac) {
            (Some(rewrite), _) => Resolution::Complete(rewrite.clone()),
            (None, Some(mac)) => {
                let tags = vlan_tags(interface);
                Resolution::Complete(Rewrite::new(mac, interface.mac, tags, EtherType::IPV4))
            }
            (None, None) => Resolution::Incomplete,
        };
        let egress = Egress::of(interfaces, index);
        self.objects.next_hops.resolve(&mut engine.domain, id, resolution, egress);
    }
}

fn set(target: PathTarget) -> Action {
    Action::Set(Preference::default(), vec![RoutePath::new(target)])
}

fn connected(prefix: Ipv4Net, action: Action) -> Change {
    Change { prefix, owner: Owner::CONNECTED, action }
}

fn vlan_tags(interface: &Interface) -> VlanTags {
    let Tags { outer, inner } = interface.tags();
    if outer.is_none() {
        return VlanTags::NONE;
    }
    VlanTags::new(outer, inner.map(|id| (EtherType::VLAN, id)))
}
