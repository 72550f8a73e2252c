// SPDX-License-Identifier: Apache-2.0
//! Addresses and neighbours that clients have made: whose they are, and which of them have to be said again.
//!
//! Routes carry their owner with them; these do not, since nothing but a replay asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use weft_engine::InterfaceIndex;
use weft_nodes::ip4::Owner;

/// What a client has made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Thing {
    Address(InterfaceIndex, Ipv4Net),
    Neighbor(InterfaceIndex, Ipv4Addr),
}

impl Thing {
    fn interface(self) -> InterfaceIndex {
        match self {
            Thing::Address(interface, _) | Thing::Neighbor(interface, _) => interface,
        }
    }
}

/// What is being said again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Replay {
    /// Everything of one client.
    Agent(Owner),
    /// All addresses, by all clients together, as VPP does.
    Addresses,
    /// All static neighbours, likewise.
    Neighbors,
}

/// Whose is what.
#[derive(Default)]
pub struct Belongings {
    owners: BTreeMap<Thing, Owner>,
    /// What has not been said again yet.
    awaited: BTreeMap<Replay, BTreeSet<Thing>>,
}

impl Belongings {
    /// What an owner has.
    pub fn of(&self, owner: Owner) -> BTreeSet<Thing> {
        self.owners.iter().filter(|(_, other)| **other == owner).map(|(thing, _)| *thing).collect()
    }

    /// These are to be said again. A replay that was under way is forgotten.
    pub fn begin(&mut self, replay: Replay, things: BTreeSet<Thing>) {
        self.awaited.insert(replay, things);
    }

    /// Whether a replay waits for it, so that who says it does not say it twice.
    pub fn is_awaited(&self, thing: Thing) -> bool {
        self.awaited.values().any(|things| things.contains(&thing))
    }

    /// A client has made it, or said it again.
    pub fn said(&mut self, thing: Thing, owner: Owner) {
        self.owners.insert(thing, owner);
        for things in self.awaited.values_mut() {
            things.remove(&thing);
        }
    }

    /// It is gone.
    pub fn unsaid(&mut self, thing: Thing) {
        self.owners.remove(&thing);
        for things in self.awaited.values_mut() {
            things.remove(&thing);
        }
    }

    /// What was not said again. Empty without a beginning.
    pub fn end(&mut self, replay: Replay) -> BTreeSet<Thing> {
        self.awaited.remove(&replay).unwrap_or_default()
    }

    /// An interface goes: another one may have its index.
    pub fn forget(&mut self, interface: InterfaceIndex) {
        self.owners.retain(|thing, _| thing.interface() != interface);
        self.awaited.values_mut().for_each(|things| things.retain(|thing| thing.interface() != interface));
    }
}
