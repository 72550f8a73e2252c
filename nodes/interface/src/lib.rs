// SPDX-License-Identifier: Apache-2.0
//! Interfaces: ports, sub-interfaces and loopbacks, what is configured on them, and what workers see of it.
//!
//! [`Interfaces`] belongs to the main thread and is the only place where an interface comes into being. It
//! knows no protocol beyond the addresses and tags that every node needs; routes that follow from an address
//! are the business of whoever keeps routes. A deleted interface's index is given out again only when no
//! table, message or packet can name it any more ([`Lease`]), so no counter of the old one is ever written to the new.
//!
//! Interfaces come, change and go in transactions, which workers and readers of counters see when they are committed:
//! [`Interfaces::begin`], then the changes, then [`Interfaces::ready`], the last that can fail, and [`Interfaces::commit`]; or
//! [`Interfaces::roll_back`]. What goes can be looked up by its index ([`Interfaces::get`]), and by nothing else, until those
//! who keep something of it have let go of it ([`Interfaces::forget`]).

#![deny(unsafe_code)]

#[macro_use]
mod family;
mod events;
mod kind;
mod owner;
mod settings;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use thiserror::Error;
use weft_engine::counters::DELETED;
use weft_engine::publish::Published;
use weft_engine::{Engine, InterfaceIndex, Lease, NodeId};
use weft_stats::EntryIndex;

use weft_headers::MacAddr;

pub use events::{Changes, Event};
pub use family::{AddressFamily, Addressing, Ip4, Ip6, IpPrefix, IpVersion};
pub use kind::Kind;
pub use owner::Owner;
pub use settings::{GratuitousArp, LinkState, RouterAdvertisements, SourceCheck, TableIndex};
pub use table::{Entry, InterfaceTable, Tags};

/// An interface, as the main thread knows it.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Unique.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// An operator's note.
    pub tag: String,
    /// Its own address.
    pub mac: MacAddr,
    /// Set up by the operator.
    pub admin_up: bool,
    /// Set up by the link.
    pub link_up: bool,
    /// Most bytes of an IP packet.
    pub mtu: u16,
    /// IPv4: addresses, and the table of packets that arrive here.
    pub ip4: Addressing<Ip4>,
    /// IPv6, likewise.
    pub ip6: Addressing<Ip6>,
    /// The interface whose address this one borrows.
    pub unnumbered: Option<InterfaceIndex>,
    /// See [`Entry::proxy_arp`].
    pub proxy_arp: bool,
    /// See [`Entry::gratuitous_arp`].
    pub gratuitous_arp: GratuitousArp,
    /// See [`Entry::proxy_nd`].
    pub proxy_nd: bool,
    /// What is said to hosts that look for a router.
    pub router_advertisement: RouterAdvertisements,
    /// Whether packets that arrive here for others are routed.
    pub forwarding: bool,
    /// Which sources are believed.
    pub source_check: SourceCheck,
    /// Node that transmits.
    pub tx: NodeId,
    /// Node of the host's side.
    pub host: NodeId,
}

impl Interface {
    /// A new one, on which nothing is configured. It is down, and nobody has seen a link.
    pub fn new(name: String, kind: Kind, mac: MacAddr, mtu: u16, tx: NodeId) -> Interface {
        Interface {
            name,
            kind,
            tag: String::new(),
            mac,
            admin_up: false,
            link_up: kind == Kind::Loopback,
            mtu,
            ip4: Addressing::default(),
            ip6: Addressing::default(),
            unnumbered: None,
            proxy_arp: false,
            gratuitous_arp: GratuitousArp::default(),
            proxy_nd: false,
            router_advertisement: RouterAdvertisements::default(),
            forwarding: true,
            source_check: SourceCheck::Off,
            tx,
            host: NodeId::DROP,
        }
    }

    /// Makes what follows from the rest as it is to be.
    fn settle(&mut self) {
        self.ip4.settle(self.mac);
        self.ip6.settle(self.mac);
    }
}

impl Interface {
    /// Its addresses of all families, with their subnets.
    pub fn addresses(&self) -> impl Iterator<Item = IpNet> {
        let ip4 = self.ip4.addresses.iter().map(|address| IpNet::V4(*address));
        ip4.chain(self.ip6.addresses.iter().map(|address| IpNet::V6(*address)))
    }

    /// Whether it has an address, with this subnet.
    pub fn has(&self, address: IpNet) -> bool {
        by_family!(address, IpNet(address), F => F::of(self).addresses.contains(&address))
    }
}

/// Why an interface cannot be what was asked.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum InterfaceError {
    /// Two of one name.
    #[error("interface '{0}' exists already")]
    Duplicate(String),
    /// A limit of startup.conf.
    #[error("no room for interface '{name}': limits {{ interfaces {limit} }}")]
    Full {
        /// The new one.
        name: String,
        /// The setting.
        limit: usize,
    },
    /// No such interface.
    #[error("no interface has index {0}")]
    Unknown(InterfaceIndex),
    /// Tags on tags, or on what has no frames.
    #[error("'{0}' is {kind}, expected a port below the sub-interface", kind = .1.sentence())]
    NotAPort(String, Kind),
    /// Two for the same frames.
    #[error("'{0}' has these tags already")]
    TagsTaken(String),
    /// Something stands on it.
    #[error("'{0}' has sub-interfaces; delete them first: {1}")]
    HasSubs(String, String),
    /// No room for its name among the counters.
    #[error("no room for the counters of interface '{name}': {error}; see statseg {{ size }}")]
    Stats {
        /// The new one.
        name: String,
        /// What is full.
        error: String,
    },
}

type OnDelete = Box<dyn FnMut(&mut Engine, InterfaceIndex)>;

/// Indices that are held: those of interfaces, of interfaces that are to come, and of deleted ones that somebody may still
/// name.
type Held = Arc<Mutex<BTreeSet<InterfaceIndex>>>;

/// The index of an interface: its drop lets another have it.
#[derive(Debug)]
struct HeldIndex {
    index: InterfaceIndex,
    held: Held,
}

impl Drop for HeldIndex {
    fn drop(&mut self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.index);
    }
}

/// The index that an interface will have: nobody else is given it.
#[derive(Clone, Debug)]
pub struct Reserved {
    index: InterfaceIndex,
    lease: Lease,
}

impl Reserved {
    /// The index.
    pub fn index(&self) -> InterfaceIndex {
        self.index
    }
}

/// What a transaction has changed.
#[derive(Default)]
struct Transaction {
    /// Interfaces that it has changed or deleted, as they were.
    before: BTreeMap<InterfaceIndex, Interface>,
    /// Interfaces that it has added, as they came.
    new: BTreeMap<InterfaceIndex, Interface>,
    /// The number of rows before those of new interfaces had names, if they have.
    rows: Option<usize>,
}

/// All interfaces.
pub struct Interfaces {
    list: Vec<Option<Interface>>,
    /// By index, the names in the stats segment: `/interfaces/<name>/<counter>`.
    links: Vec<Vec<EntryIndex>>,
    /// What has happened since somebody asked last.
    events: Vec<Event>,
    transaction: Option<Transaction>,
    /// Deleted, but not forgotten.
    leaving: BTreeMap<InterfaceIndex, Interface>,
    leases: BTreeMap<InterfaceIndex, Lease>,
    held: Held,
    /// Rows of the counters: the number of indices that have had a name.
    rows: usize,
    limit: usize,
    deletions: u64,
    published: Arc<Published<InterfaceTable>>,
    on_delete: Vec<OnDelete>,
}

impl Interfaces {
    /// No interfaces, and room for `limit`.
    pub fn new(engine: &Engine, limit: usize) -> Self {
        Interfaces {
            list: Vec::new(),
            links: Vec::new(),
            events: Vec::new(),
            transaction: None,
            leaving: BTreeMap::new(),
            leases: BTreeMap::new(),
            held: Held::default(),
            rows: 0,
            limit,
            deletions: 0,
            published: Arc::new(Published::new(&engine.domain, InterfaceTable::default())),
            on_delete: Vec::new(),
        }
    }

    /// Has `action` called whenever an interface is deleted: after workers can no longer look it up, before its index is
    /// given out again. Who keeps packets or tables that name interfaces lets go of it there.
    pub fn on_delete(&mut self, action: impl FnMut(&mut Engine, InterfaceIndex) + 'static) {
        self.on_delete.push(Box::new(action));
    }

    /// For the nodes of workers.
    pub fn published(&self) -> Arc<Published<InterfaceTable>> {
        Arc::clone(&self.published)
    }

    /// The lowest index that nobody holds, for an interface of that name that is to come.
    pub fn reserve(&self, name: &str) -> Result<Reserved, InterfaceError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = held.iter().zip(0..).take_while(|(index, place)| index.0 == *place).count();
        if taken >= self.limit {
            return Err(InterfaceError::Full { name: name.to_owned(), limit: self.limit });
        }
        let index = InterfaceIndex(taken as u32);
        held.insert(index);
        let lease = Lease::new(HeldIndex { index, held: Arc::clone(&self.held) });
        Ok(Reserved { index, lease })
    }

    /// Adds a port or loopback, in a transaction of its own. It is down.
    pub fn create(
        &mut self,
        engine: &mut Engine,
        name: &str,
        kind: Kind,
        mac: MacAddr,
        mtu: u16,
        tx: NodeId,
    ) -> Result<InterfaceIndex, InterfaceError> {
        self.add_alone(engine, Interface::new(name.to_owned(), kind, mac, mtu, tx))
    }

    /// Adds a sub-interface `<port>.<id>` for frames with these tags, in a transaction of its own. It is down.
    pub fn create_sub(
        &mut self,
        engine: &mut Engine,
        parent: InterfaceIndex,
        id: u32,
        tags: Tags,
    ) -> Result<InterfaceIndex, InterfaceError> {
        self.add_alone(engine, self.sub(parent, id, tags)?)
    }

    fn add_alone(
        &mut self,
        engine: &mut Engine,
        interface: Interface,
    ) -> Result<InterfaceIndex, InterfaceError> {
        let at = self.reserve(&interface.name)?;
        self.begin();
        match self.add(&at, interface).and_then(|()| self.ready(engine).map_err(|(_, error)| error)) {
            Ok(()) => {
                self.commit(engine);
                Ok(at.index)
            }
            Err(error) => {
                self.roll_back(engine);
                Err(error)
            }
        }
    }

    /// What the sub-interface `<port>.<id>` for frames with these tags would be like.
    pub fn sub(&self, parent: InterfaceIndex, id: u32, tags: Tags) -> Result<Interface, InterfaceError> {
        let port = self.get(parent).ok_or(InterfaceError::Unknown(parent))?;
        // Without an address there are no Ethernet frames.
        if port.kind != Kind::Port || port.mac == MacAddr::ZERO {
            return Err(InterfaceError::NotAPort(port.name.clone(), port.kind));
        }
        if let Some((_, other)) = self.subs(parent).find(|(_, other)| other.tags() == tags) {
            return Err(InterfaceError::TagsTaken(other.name.clone()));
        }
        let kind = Kind::Sub { parent, id, tags };
        let sub = Interface::new(format!("{}.{id}", port.name), kind, port.mac, port.mtu, port.tx);
        Ok(Interface { link_up: port.link_up, host: port.host, ..sub })
    }

    /// Adds an interface, in the transaction that is under way.
    pub fn add(&mut self, at: &Reserved, interface: Interface) -> Result<(), InterfaceError> {
        if self.find(&interface.name).is_some() {
            return Err(InterfaceError::Duplicate(interface.name));
        }
        let place = at.index.index();
        if place >= self.list.len() {
            self.list.resize_with(place + 1, || None);
            self.links.resize_with(place + 1, Vec::new);
        }
        self.leases.insert(at.index, at.lease.clone());
        self.transaction.get_or_insert_default().new.insert(at.index, interface.clone());
        self.list[place] = Some(interface);
        Ok(())
    }

    /// Deletes an interface on which nothing stands, in the transaction that is under way.
    pub fn remove(&mut self, index: InterfaceIndex) -> Result<(), InterfaceError> {
        let interface = self.list.get(index.index()).and_then(Option::as_ref);
        let interface = interface.ok_or(InterfaceError::Unknown(index))?;
        let subs: Vec<_> = self.subs(index).map(|(_, sub)| sub.name.as_str()).collect();
        if !subs.is_empty() {
            return Err(InterfaceError::HasSubs(interface.name.clone(), subs.join(", ")));
        }
        let interface = self.list[index.index()].take();
        let Transaction { before, new, .. } = self.transaction.get_or_insert_default();
        // Another interface will have its index.
        for (borrower, other) in (0..).map(InterfaceIndex).zip(&mut self.list) {
            if let Some(other) = other.as_mut().filter(|other| other.unnumbered == Some(index)) {
                if !new.contains_key(&borrower) {
                    before.entry(borrower).or_insert_with(|| other.clone());
                }
                other.unnumbered = None;
            }
        }
        match (new.remove(&index), interface) {
            (None, Some(interface)) => drop(before.entry(index).or_insert(interface)),
            _ => drop(self.leases.remove(&index)),
        }
        Ok(())
    }

    /// Gives the counters of new interfaces their names, which readers of the stats segment see at once: the last that can fail
    /// in a transaction.
    pub fn ready(&mut self, engine: &mut Engine) -> Result<(), (InterfaceIndex, InterfaceError)> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        transaction.rows = Some(self.rows);
        let counters = &engine.counters;
        for (index, interface) in &transaction.new {
            let (first, place) = (self.rows, index.index());
            counters.interfaces.zero(*index);
            let named = engine.stats.update(|update| {
                let len = first.max(place + 1);
                counters.interfaces.set_len(update, len)?;
                update.set_len(&counters.interface_names, len)?;
                // Those in between are of interfaces that are to come.
                (first..place)
                    .try_for_each(|row| update.set_name(&counters.interface_names, row, DELETED))?;
                update.set_name(&counters.interface_names, place, &interface.name)
            });
            if let Err(error) = named {
                let (name, error) = (interface.name.clone(), error.to_string());
                return Err((*index, InterfaceError::Stats { name, error }));
            }
            self.rows = first.max(place + 1);
        }
        Ok(())
    }

    /// A hold on the index of an interface, for those who keep something by it that cannot go with the interface at once.
    pub fn lease(&self, index: InterfaceIndex) -> Option<Lease> {
        self.leases.get(&index).cloned()
    }

    /// How many interfaces have been deleted so far. As long as that is the same, an index means the same interface.
    pub fn deletions(&self) -> u64 {
        self.deletions
    }

    /// Deletes an interface whose routes, next hops and features are gone already, in a transaction of its own.
    pub fn delete(
        &mut self,
        engine: &mut Engine,
        index: InterfaceIndex,
    ) -> Result<Interface, InterfaceError> {
        self.begin();
        match self.remove(index) {
            Ok(()) => self.commit(engine),
            Err(error) => {
                self.roll_back(engine);
                return Err(error);
            }
        }
        self.forget(engine, index).ok_or(InterfaceError::Unknown(index))
    }

    /// Nobody keeps anything of a deleted interface any more, but for those who hold its index.
    pub fn forget(&mut self, engine: &mut Engine, index: InterfaceIndex) -> Option<Interface> {
        let interface = self.leaving.remove(&index)?;
        for action in &mut self.on_delete {
            action(engine, index);
        }
        engine.forget_features(index);
        if let Some(lease) = self.leases.remove(&index) {
            engine.retire_index(lease);
        }
        Some(interface)
    }

    /// Changes an interface and lets the workers know; in a transaction, when that is committed.
    pub fn change(
        &mut self,
        engine: &mut Engine,
        index: InterfaceIndex,
        change: impl FnOnce(&mut Interface),
    ) -> Result<(), InterfaceError> {
        let interface = self.list.get_mut(index.index()).and_then(Option::as_mut);
        let interface = interface.ok_or(InterfaceError::Unknown(index))?;
        if let Some(Transaction { before, new, .. }) = &mut self.transaction {
            if !new.contains_key(&index) {
                before.entry(index).or_insert_with(|| interface.clone());
            }
            change(interface);
            interface.settle();
            return Ok(());
        }
        let before = interface.clone();
        change(interface);
        interface.settle();
        self.note(index, &before);
        self.publish(engine);
        Ok(())
    }

    /// Begins a transaction: until it ends, what comes, changes and goes is seen here, and not by workers.
    pub fn begin(&mut self) {
        self.transaction = Some(Transaction::default());
    }

    /// Lets workers see all of the transaction, in one step.
    pub fn commit(&mut self, engine: &mut Engine) {
        let Transaction { before, new, .. } = self.transaction.take().unwrap_or_default();
        if before.is_empty() && new.is_empty() {
            return;
        }
        let (gone, changed): (BTreeMap<_, _>, _) =
            before.into_iter().partition(|(index, _)| self.list[index.index()].is_none());
        self.link_counters(engine, gone.keys(), new.keys());
        self.events.retain(|event| !gone.contains_key(&event.interface()));
        for index in new.keys() {
            engine.set_transmit(*index, self.get(*index).map_or(NodeId::DROP, |interface| interface.tx));
            self.events.push(Event::Added(*index));
        }
        for (index, interface) in new.iter().chain(&changed) {
            self.note(*index, interface);
        }
        self.deletions += gone.len() as u64;
        self.leaving.extend(gone);
        self.publish(engine);
    }

    /// Makes interfaces as they were before the transaction.
    pub fn roll_back(&mut self, engine: &mut Engine) {
        let Transaction { before, new, rows } = self.transaction.take().unwrap_or_default();
        let counters = &engine.counters;
        if let Some(rows) = rows {
            self.rows = rows;
            let unnamed = engine.stats.update(|update| {
                let mut names = new.keys().map(|index| index.index());
                names.try_for_each(|row| update.set_name(&counters.interface_names, row, DELETED))?;
                counters.interfaces.set_len(update, rows)?;
                update.set_len(&counters.interface_names, rows)
            });
            debug_assert!(unnamed.is_ok(), "a shorter text always fits: {unnamed:?}");
        }
        for index in new.into_keys() {
            self.list[index.index()] = None;
            // A worker may have been given a queue of it by then.
            if let (Some(lease), Some(_)) = (self.leases.remove(&index), rows) {
                engine.retire_index(lease);
            }
        }
        for (index, interface) in before {
            self.list[index.index()] = Some(interface);
        }
    }

    /// Counters of interfaces by name, `/interfaces/<name>/<counter>`: those of interfaces that go make room for those that come.
    fn link_counters<'a>(
        &mut self,
        engine: &mut Engine,
        gone: impl Iterator<Item = &'a InterfaceIndex>,
        new: impl Iterator<Item = &'a InterfaceIndex>,
    ) {
        let (counters, list, links) = (&engine.counters, &self.list, &mut self.links);
        engine.stats.update(|update| {
            for index in gone {
                links[index.index()].drain(..).for_each(|link| update.remove(link));
                let unnamed = update.set_name(&counters.interface_names, index.index(), DELETED);
                debug_assert!(unnamed.is_ok(), "what has a name can have another");
            }
            for index in new {
                let name = list[index.index()].as_ref().map_or("", |interface| &interface.name);
                let links = &mut links[index.index()];
                if let Err(error) = counters.interfaces.link(update, name, *index, links) {
                    tracing::warn!(
                        "{name} has its counters in /if, but not all of them in /interfaces: {error}"
                    );
                }
            }
        });
    }

    /// What has happened since the last call, in order. Nothing of interfaces that have gone since.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Notes in what an interface differs from `before`, and what follows for others.
    fn note(&mut self, index: InterfaceIndex, before: &Interface) {
        let Some(interface) = self.get(index) else { return };
        let changes = Changes::between(before, interface);
        let mut all = vec![(index, changes)];
        if changes.any_of(Changes::STATE) {
            all.extend(self.subs(index).map(|(sub, _)| (sub, Changes::STATE)));
        }
        if changes.any_of(Changes::ADDRESSES) {
            let borrowers = self.iter().filter(|(_, other)| other.unnumbered == Some(index));
            all.extend(borrowers.map(|(borrower, _)| (borrower, Changes::ADDRESSES)));
        }
        for (index, changes) in all.into_iter().filter(|(_, changes)| *changes != Changes::NONE) {
            match self.events.last_mut() {
                Some(Event::Changed(last, already)) if *last == index => *already = already.and(changes),
                _ => self.events.push(Event::Changed(index, changes)),
            }
        }
    }

    /// The interface; one that has been deleted until it is forgotten.
    pub fn get(&self, index: InterfaceIndex) -> Option<&Interface> {
        self.list.get(index.index())?.as_ref().or_else(|| self.leaving.get(&index))
    }

    /// The interface of that name.
    pub fn find(&self, name: &str) -> Option<InterfaceIndex> {
        self.iter().find(|(_, interface)| interface.name == name).map(|(index, _)| index)
    }

    /// All interfaces by index.
    pub fn iter(&self) -> impl Iterator<Item = (InterfaceIndex, &Interface)> {
        self.list
            .iter()
            .enumerate()
            .filter_map(|(index, interface)| Some((InterfaceIndex(index as u32), interface.as_ref()?)))
    }

    /// The sub-interfaces of a port.
    pub fn subs(&self, port: InterfaceIndex) -> impl Iterator<Item = (InterfaceIndex, &Interface)> {
        self.iter().filter(move |(_, interface)| interface.parent() == Some(port))
    }

    /// Whether packets can pass: up by the operator and by the link, and so is the port below.
    pub fn is_up(&self, index: InterfaceIndex) -> bool {
        self.state(index) == LinkState::Up
    }

    /// The lower one of its own state and that of the port below. An interface that does not exist is down.
    pub fn state(&self, index: InterfaceIndex) -> LinkState {
        match self.get(index) {
            Some(interface) if interface.admin_up => match interface.parent() {
                Some(parent) => self.state(parent),
                None if interface.link_up => LinkState::Up,
                None => LinkState::NoCarrier,
            },
            _ => LinkState::Down,
        }
    }

    /// Whether the link is up: its own, or that of the port below.
    pub fn link_is_up(&self, interface: &Interface) -> bool {
        match interface.parent() {
            None => interface.link_up,
            Some(parent) => self.get(parent).is_some_and(|port| self.link_is_up(port)),
        }
    }

    fn publish(&mut self, engine: &mut Engine) {
        debug_assert!(self.transaction.is_none(), "nobody sees a transaction before its end");
        let entries = (0..self.list.len()).map(|i| self.entry(InterfaceIndex(i as u32))).collect();
        self.published.replace(&mut engine.domain, InterfaceTable::new(entries));
    }

    fn entry(&self, index: InterfaceIndex) -> Option<Entry> {
        // One that is leaving can be looked at on this thread, and is gone for workers.
        let interface = self.list.get(index.index())?.as_ref()?;
        let lender = interface.unnumbered.and_then(|lender| self.get(lender));
        let lender = lender.unwrap_or(interface);
        let (port, tags) = (interface.parent().unwrap_or(index), interface.tags());
        let subs = self.subs(index).map(|(sub, interface)| (interface.tags(), sub)).collect();
        // The host's side of a port sees the tags, so it serves the sub-interfaces too.
        let host = self.get(port).map_or(NodeId::DROP, |port| port.host);
        Some(Entry {
            mac: interface.mac,
            up: self.is_up(index),
            ip4: borrowed(&lender.ip4, &interface.ip4, interface.mac),
            ip6: borrowed(&lender.ip6, &interface.ip6, interface.mac),
            proxy_arp: interface.proxy_arp,
            gratuitous_arp: interface.gratuitous_arp,
            proxy_nd: interface.proxy_nd,
            port,
            mtu: interface.mtu,
            tx: interface.tx,
            host,
            tags,
            subs,
        })
    }
}

/// What an interface has of a family with the addresses of another one. Its link-local address is its own all the same.
fn borrowed<F: AddressFamily>(lender: &Addressing<F>, own: &Addressing<F>, mac: MacAddr) -> Addressing<F> {
    let is_global = |address: &&F::Net| !F::is_link_scoped(address.addr());
    let addresses = match std::ptr::eq(lender, own) {
        true => own.addresses.clone(),
        false => lender.addresses.iter().filter(is_global).copied().collect(),
    };
    let mut borrowed = Addressing { addresses, ..own.clone() };
    borrowed.settle(mac);
    borrowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_engine::{EngineConfig, ThreadIndex};
    use weft_headers::{EtherType, VlanId};

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn vlan(id: u16) -> Tags {
        Tags { outer: VlanId::new(id).map(|id| (EtherType::VLAN, id)), inner: None }
    }

    #[test]
    fn an_index_is_used_again_only_after_the_workers() {
        let (mut engine, mut workers) = Engine::new(&EngineConfig::default()).unwrap();
        let mut interfaces = Interfaces::new(&engine, 4);
        let create = |interfaces: &mut Interfaces, engine: &mut Engine, name: &str| {
            interfaces.create(engine, name, Kind::Port, MAC, 1500, NodeId::DROP)
        };
        let a = create(&mut interfaces, &mut engine, "a").unwrap();
        assert_eq!(create(&mut interfaces, &mut engine, "a"), Err(InterfaceError::Duplicate("a".into())));
        let rows = &engine.counters.interfaces.rx;
        assert_eq!(rows.get(ThreadIndex(1), a.index()).packets, 0);
        let kept = interfaces.lease(a);
        assert!(kept.is_some() && interfaces.lease(InterfaceIndex(1)).is_none());
        interfaces.delete(&mut engine, a).unwrap();
        engine.reclaim();
        assert_eq!(create(&mut interfaces, &mut engine, "b"), Ok(InterfaceIndex(1)));
        // One turn for what was on its way, and one for what the worker may have read in it.
        for _ in 0..2 {
            workers[0].turn();
            engine.reclaim();
        }
        assert_eq!(create(&mut interfaces, &mut engine, "c"), Ok(InterfaceIndex(2)), "somebody keeps it");
        drop(kept);
        assert_eq!(create(&mut interfaces, &mut engine, "d"), Ok(a));
    }

    #[test]
    fn a_transaction_that_is_rolled_back_leaves_nothing() {
        let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
        let mut interfaces = Interfaces::new(&engine, 4);
        let new = |name: &str| Interface::new(name.into(), Kind::Port, MAC, 1500, NodeId::DROP);
        let a = interfaces.create(&mut engine, "a", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
        interfaces.take_events();
        let rows = |engine: &Engine| engine.counters.interfaces.rx.published_len();
        let at = interfaces.reserve("b").unwrap();
        interfaces.begin();
        interfaces.remove(a).unwrap();
        interfaces.add(&at, new("a")).unwrap();
        assert_eq!(interfaces.find("a"), Some(at.index()), "the name is free");
        assert_eq!(interfaces.add(&at, new("a")), Err(InterfaceError::Duplicate("a".into())));
        interfaces.ready(&mut engine).unwrap();
        assert_eq!(rows(&engine), 2);
        interfaces.roll_back(&mut engine);
        assert_eq!((interfaces.find("a"), interfaces.iter().count(), rows(&engine)), (Some(a), 1, 1));
        assert_eq!(interfaces.take_events(), []);
        let index = at.index();
        drop(at);
        engine.reclaim();
        assert_eq!(
            interfaces.reserve("c").map(|at| at.index()),
            Ok(InterfaceIndex(index.0 + 1)),
            "a worker may name it"
        );
    }

    #[test]
    fn what_comes_and_goes_in_one_transaction_is_told_when_it_is_committed() {
        let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
        let mut interfaces = Interfaces::new(&engine, 4);
        let a = interfaces.create(&mut engine, "a", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
        interfaces.take_events();
        let at = interfaces.reserve("a").unwrap();
        interfaces.begin();
        interfaces.remove(a).unwrap();
        let new = Interface::new("a".into(), Kind::Port, MAC, 1500, NodeId::DROP);
        interfaces.add(&at, new).unwrap();
        interfaces.change(&mut engine, at.index(), |it| it.mtu = 9000).unwrap();
        let brief = interfaces.reserve("x").unwrap();
        interfaces.add(&brief, Interface::new("x".into(), Kind::Port, MAC, 1500, NodeId::DROP)).unwrap();
        interfaces.remove(brief.index()).unwrap();
        interfaces.ready(&mut engine).unwrap();
        assert_eq!(interfaces.take_events(), []);
        interfaces.commit(&mut engine);
        assert_eq!(
            interfaces.take_events(),
            [Event::Added(at.index()), Event::Changed(at.index(), Changes::MTU)]
        );
        assert_eq!(interfaces.find("a"), Some(at.index()));
        assert!(interfaces.get(a).is_some(), "those who keep something of it can look at it");
        assert_eq!(interfaces.forget(&mut engine, a).map(|it| it.name), Some("a".into()));
        assert!(interfaces.get(a).is_none() && interfaces.get(brief.index()).is_none());
    }

    #[test]
    fn a_sub_interface_follows_its_port() {
        let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
        let mut interfaces = Interfaces::new(&engine, 4);
        let port = interfaces.create(&mut engine, "p", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
        let sub = interfaces.create_sub(&mut engine, port, 10, vlan(10)).unwrap();
        assert_eq!(interfaces.find("p.10"), Some(sub));
        assert_eq!(
            interfaces.create_sub(&mut engine, port, 11, vlan(10)),
            Err(InterfaceError::TagsTaken("p.10".into()))
        );
        assert_eq!(
            interfaces.create_sub(&mut engine, sub, 1, vlan(1)),
            Err(InterfaceError::NotAPort("p.10".into(), interfaces.get(sub).unwrap().kind))
        );
        let up = |interface: &mut Interface| (interface.admin_up, interface.link_up) = (true, true);
        interfaces.change(&mut engine, sub, up).unwrap();
        assert_eq!(interfaces.state(sub), LinkState::Down);
        interfaces.change(&mut engine, port, up).unwrap();
        assert!(interfaces.is_up(sub));
        interfaces.change(&mut engine, port, |port| port.link_up = false).unwrap();
        assert_eq!(interfaces.state(sub), LinkState::NoCarrier);
        assert!(matches!(interfaces.delete(&mut engine, port), Err(InterfaceError::HasSubs(..))));
    }

    #[test]
    fn a_link_local_address_is_there_while_ipv6_is() {
        let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
        let mut interfaces = Interfaces::new(&engine, 4);
        let port = interfaces.create(&mut engine, "p", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
        let other = MacAddr([2, 0, 0, 0, 0, 9]);
        let borrower = interfaces.create(&mut engine, "b", Kind::Port, other, 1500, NodeId::DROP).unwrap();
        let own = |interfaces: &Interfaces| interfaces.get(port).unwrap().ip6.link_local;
        assert_eq!(own(&interfaces), None);
        interfaces.change(&mut engine, port, |it| it.ip6.always = true).unwrap();
        assert_eq!(own(&interfaces), Some("fe80::ff:fe00:1".parse().unwrap()));
        interfaces.change(&mut engine, port, |it| it.mac = other).unwrap();
        let follows = "fe80::ff:fe00:9".parse().unwrap();
        assert_eq!(own(&interfaces), Some(follows));
        let chosen = "fe80::7".parse().unwrap();
        interfaces.change(&mut engine, port, |it| it.ip6.chosen_link_local = Some(chosen)).unwrap();
        assert_eq!(own(&interfaces), Some(chosen));
        let net = |text: &str| text.parse().unwrap();
        interfaces
            .change(&mut engine, port, |it| {
                it.ip6.always = false;
                it.ip6.addresses = vec![net("fe80::8/64"), net("2001:db8::1/64")];
            })
            .unwrap();
        let has = interfaces.get(port).unwrap().ip6.clone();
        assert_eq!(has.primary(), Some("2001:db8::1".parse().unwrap()), "not one of its link only");
        assert_eq!(has.own().count(), 3);
        // Who borrows addresses borrows none that say something on the other link only.
        interfaces.change(&mut engine, borrower, |it| it.unnumbered = Some(port)).unwrap();
        let borrowed = interfaces.entry(borrower).unwrap().ip6;
        assert_eq!((borrowed.addresses, borrowed.link_local), (vec![net("2001:db8::1/64")], Some(follows)));
        interfaces.change(&mut engine, port, |it| it.ip6.addresses.clear()).unwrap();
        assert_eq!(own(&interfaces), None);
    }

    #[test]
    fn what_happens_is_noted_once_and_for_all_that_it_concerns() {
        let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
        let mut interfaces = Interfaces::new(&engine, 4);
        let port = interfaces.create(&mut engine, "p", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
        let sub = interfaces.create_sub(&mut engine, port, 10, vlan(10)).unwrap();
        let borrower = interfaces.create(&mut engine, "b", Kind::Port, MAC, 1500, NodeId::DROP).unwrap();
        assert_eq!(interfaces.take_events(), [port, sub, borrower].map(Event::Added));
        interfaces.change(&mut engine, borrower, |it| it.unnumbered = Some(port)).unwrap();
        assert_eq!(interfaces.take_events(), [Event::Changed(borrower, Changes::ADDRESSES)]);
        interfaces.change(&mut engine, port, |it| it.admin_up = true).unwrap();
        let state = [port, sub].map(|index| Event::Changed(index, Changes::STATE));
        assert_eq!(interfaces.take_events(), state);
        interfaces.change(&mut engine, port, |it| it.admin_up = true).unwrap();
        assert_eq!(interfaces.take_events(), [], "it was up before");
        interfaces.begin();
        interfaces.change(&mut engine, port, |it| it.mtu = 9000).unwrap();
        interfaces
            .change(&mut engine, port, |it| it.ip4.addresses = vec!["10.0.0.1/24".parse().unwrap()])
            .unwrap();
        assert_eq!(interfaces.take_events(), [], "nobody sees it yet");
        interfaces.commit(&mut engine);
        let both = Changes::MTU.and(Changes::ADDRESSES);
        let follows = Event::Changed(borrower, Changes::ADDRESSES);
        assert_eq!(interfaces.take_events(), [Event::Changed(port, both), follows]);
        interfaces.begin();
        interfaces.change(&mut engine, port, |it| it.mtu = 1500).unwrap();
        interfaces.roll_back(&mut engine);
        assert_eq!(interfaces.take_events(), [], "it did not happen");
        interfaces.delete(&mut engine, sub).unwrap();
        interfaces.change(&mut engine, port, |it| it.tag = "gone".into()).unwrap();
        interfaces.delete(&mut engine, port).unwrap();
        assert_eq!(interfaces.take_events(), [follows], "nobody hears of what has gone");
    }
}
