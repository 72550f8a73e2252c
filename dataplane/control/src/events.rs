// SPDX-License-Identifier: Apache-2.0
//! What happens without a change set: what workers, the kernel and the clock tell, and what follows from it.
//!
//! Nobody wants any of this, so it has no owner and cannot be refused. The main loop calls it.

use std::collections::BTreeSet;

use weft_engine::{InterfaceIndex, Lease, NodeId};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{Changes, Event, Interface, InterfaceError, IpVersion, Kind, TableIndex};
use weft_nodes::neighbor::{Neighbor, NeighborState};
use weft_nodes::router::{NeighborNews, RouterNews, RouterSearch};

use crate::Control;

/// What workers have told, and time.
impl Control {
    /// Handles what workers have told of neighbours since the last call, up to `most` notices; says how many there were.
    pub fn hear_neighbors(&mut self, most: usize) -> usize {
        let Control { nodes, router, engine, interfaces, .. } = self;
        let mut heard = 0;
        for ring in &mut nodes.notices {
            while heard < most
                && let Ok(notice) = ring.pop()
            {
                router.notice(engine, interfaces, notice);
                heard += 1;
            }
        }
        heard
    }

    /// Whether [`Control::tick_neighbors`] has something to do.
    pub fn neighbors_due(&self) -> bool {
        self.router.next_deadline().is_some_and(|deadline| deadline <= self.router.now())
    }

    /// Asks for neighbours, ages them and gives them up, and says to links what is due.
    pub fn tick_neighbors(&mut self) {
        self.router.tick(&mut self.engine, &self.interfaces);
    }

    /// Forgets neighbours that were learned, as far as they are meant. Configured ones stay.
    pub fn forget_learned(&mut self, meant: impl Fn(&Neighbor) -> bool) {
        let is_learned = |it: &Neighbor| !matches!(it.state, NeighborState::Static(_));
        let gone = self.router.neighbors().iter().filter(|it| is_learned(it) && meant(it));
        for (interface, address) in gone.map(|it| (it.interface, it.address)).collect::<Vec<_>>() {
            self.router.remove_neighbor(&mut self.engine, &self.interfaces, interface, address);
        }
    }

    /// Says whether anybody calls [`Control::take_neighbor_news`].
    pub fn watch_neighbors(&mut self, on: bool) {
        self.router.watch_neighbors(on);
    }

    /// What has become of neighbours since the last call.
    pub fn take_neighbor_news(&mut self) -> Vec<NeighborNews> {
        self.router.take_news()
    }

    /// Has a link asked for routers until one is heard, or no more.
    pub fn search_routers(&mut self, index: InterfaceIndex, how: Option<RouterSearch>) {
        self.router.search_routers(&mut self.engine, &self.interfaces, index, how);
    }

    /// Says whether anybody calls [`Control::take_router_news`].
    pub fn watch_routers(&mut self, on: bool) {
        self.router.watch_routers(on);
    }

    /// What other routers have said since the last call.
    pub fn take_router_news(&mut self) -> Vec<RouterNews> {
        self.router.take_router_news()
    }

    /// Shows readers the counters of load-balances that are new.
    pub fn publish_route_counters(&mut self) {
        let load_balances = &self.router.objects().load_balances;
        if let Some(counters) = load_balances.counters()
            && load_balances.used() > counters.published_len()
        {
            let published = self.engine.stats.set_len(counters, load_balances.used());
            debug_assert!(published.is_ok(), "the vector was made for all load-balances");
        }
    }
}

/// Interfaces.
impl Control {
    /// Makes an interface without a device, up or not, that drops what is sent to it. Nobody owns it: it is for what is
    /// there before anybody can want it, and for trials.
    pub fn create_bare(
        &mut self,
        name: &str,
        mac: MacAddr,
        mtu: u16,
    ) -> Result<InterfaceIndex, InterfaceError> {
        // What is sent to an interface that is down is dropped there, with a reason.
        let tx = self.nodes.loopback_tx;
        self.interfaces.create(&mut self.engine, name, Kind::Port, mac, mtu, tx)
    }

    /// The device of an interface has a link now, or has lost it.
    pub fn link_changes(&mut self, index: InterfaceIndex, up: bool) -> Result<(), InterfaceError> {
        self.interfaces.change(&mut self.engine, index, |interface| interface.link_up = up)
    }

    /// The host's side of a port comes or goes: the node that hands packets to it.
    pub fn set_host_side(&mut self, index: InterfaceIndex, host: NodeId) -> Result<(), InterfaceError> {
        self.interfaces.change(&mut self.engine, index, |interface| interface.host = host)
    }

    /// What has come and changed since the last call. Routes and flows have followed it: all others follow after them.
    pub fn take_events(&mut self) -> Vec<Event> {
        let events = self.interfaces.take_events();
        let concerns = Changes::STATE.and(Changes::MTU).and(Changes::MAC);
        let changed: BTreeSet<InterfaceIndex> = events
            .iter()
            .filter_map(|event| match event {
                Event::Changed(index, changes) if changes.any_of(concerns) => Some(*index),
                _ => None,
            })
            .collect();
        for index in &changed {
            // The router has the sub-interfaces of a port follow it.
            let parent = self.interfaces.get(*index).and_then(Interface::parent);
            if parent.is_none_or(|parent| !changed.contains(&parent))
                && let Err(error) = self.router.interface_changed(&mut self.engine, &self.interfaces, *index)
            {
                tracing::error!("routes over {} are not up to date: {error}", self.interface_name(*index));
            }
        }
        if events
            .iter()
            .any(|event| matches!(event, Event::Changed(_, changes) if changes.any_of(Changes::MAC)))
        {
            self.switch.interface_changed(&self.interfaces);
        }
        for index in &changed {
            // Who was there may come back elsewhere.
            if !self.interfaces.is_up(*index) {
                self.switch.flush_port(*index);
            }
        }
        for event in &events {
            match *event {
                Event::Changed(index, changes) if changes.any_of(Changes::MAC.and(Changes::ADDRESSES)) => {
                    let announce = changes.any_of(Changes::MAC);
                    let Control { router, engine, interfaces, .. } = self;
                    router.own_addresses_changed(engine, interfaces, index, announce);
                }
                Event::Changed(..) => {}
                Event::Added(index) => self.flows_come(index),
            }
        }
        events
    }

    /// Interfaces that change sets have deleted since the last call. They can be looked at until they are forgotten
    /// ([`Control::forget_interface`]).
    pub fn take_deleted_interfaces(&mut self) -> Vec<InterfaceIndex> {
        std::mem::take(&mut self.deleted_interfaces)
    }

    /// Nobody keeps anything of a deleted interface any more: returns what it was.
    pub fn forget_interface(&mut self, index: InterfaceIndex) -> Option<Interface> {
        self.interfaces.forget(&mut self.engine, index)
    }

    /// Tables that change sets have deleted since the last call. Other tables will have their indices, once nobody holds
    /// the leases.
    pub fn take_deleted_tables(&mut self) -> Vec<(IpVersion, TableIndex, Lease)> {
        std::mem::take(&mut self.deleted_tables)
    }
}
