// SPDX-License-Identifier: Apache-2.0
//! Interfaces: ports, sub-interfaces and loopbacks, what is configured on them, and what workers see of it.
//!
//! [`Interfaces`] belongs to the main thread and is the only place where an interface comes into being. It
//! knows no protocol beyond the addresses and tags that every node needs; routes that follow from an address
//! are the business of whoever keeps routes. A deleted interface's index is given out again only when no
//! table, message or packet can name it any more ([`Lease`]), so no counter of the old one is ever written to the new.

#![deny(unsafe_code)]

#[macro_use]
mod family;
mod events;
mod kind;
mod owner;
mod settings;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use thiserror::Error;
use weft_engine::counters::DELETED;
use weft_engine::publish::Published;
use weft_engine::{Engine, InterfaceIndex, Lease, NodeId};
use weft_stats::{EntryIndex, StatsError};

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
    fn new(name: String, kind: Kind, mac: MacAddr, mtu: u16, tx: NodeId) -> Interface {
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
    /// Tags on tags.
    #[error("'{0}' is a sub-interface; sub-interfaces belong to a port")]
    NotAPort(String),
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

/// The index of an interface: its drop lets another have it.
struct HeldIndex {
    index: InterfaceIndex,
    freed: Arc<std::sync::Mutex<Vec<InterfaceIndex>>>,
}

impl Drop for HeldIndex {
    fn drop(&mut self) {
        if let Ok(mut freed) = self.freed.lock() {
            freed.push(self.index);
        }
    }
}

/// All interfaces.
pub struct Interfaces {
    list: Vec<Option<Interface>>,
    /// By index, the names in the stats segment: `/interfaces/<name>/<counter>`.
    links: Vec<Vec<EntryIndex>>,
    /// What has happened since somebody asked last.
    events: Vec<Event>,
    /// Interfaces as they were when a transaction began that has changed them since.
    before: Option<BTreeMap<InterfaceIndex, Interface>>,
    /// Deleted, but somebody may still name it.
    draining: Vec<bool>,
    /// Of those that are not deleted.
    leases: Vec<Option<Lease>>,
    limit: usize,
    deletions: u64,
    published: Arc<Published<InterfaceTable>>,
    on_delete: Vec<OnDelete>,
    freed: Arc<std::sync::Mutex<Vec<InterfaceIndex>>>,
}

impl Interfaces {
    /// No interfaces, and room for `limit`.
    pub fn new(engine: &Engine, limit: usize) -> Self {
        Interfaces {
            list: Vec::new(),
            links: Vec::new(),
            events: Vec::new(),
            before: None,
            draining: Vec::new(),
            leases: Vec::new(),
            limit,
            deletions: 0,
            published: Arc::new(Published::new(&engine.domain, InterfaceTable::default())),
            on_delete: Vec::new(),
            freed: Arc::default(),
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

    /// The index that the next interface will have: devices count under it before the interface exists.
    pub fn next_index(&mut self) -> InterfaceIndex {
        if let Ok(mut freed) = self.freed.lock() {
            for index in freed.drain(..) {
                self.draining[index.index()] = false;
            }
        }
        let free = (0..self.list.len()).find(|&i| self.list[i].is_none() && !self.draining[i]);
        InterfaceIndex(free.unwrap_or(self.list.len()) as u32)
    }

    /// Adds a port or loopback. It is down.
    pub fn create(
        &mut self,
        engine: &mut Engine,
        name: &str,
        kind: Kind,
        mac: MacAddr,
        mtu: u16,
        tx: NodeId,
    ) -> Result<InterfaceIndex, InterfaceError> {
        self.insert(engine, Interface::new(name.to_owned(), kind, mac, mtu, tx))
    }

    /// Adds a sub-interface `<port>.<id>` for frames with these tags. It is down.
    pub fn create_sub(
        &mut self,
        engine: &mut Engine,
        parent: InterfaceIndex,
        id: u32,
        tags: Tags,
    ) -> Result<InterfaceIndex, InterfaceError> {
        let port = self.get(parent).ok_or(InterfaceError::Unknown(parent))?.clone();
        if port.parent().is_some() {
            return Err(InterfaceError::NotAPort(port.name));
        }
        if let Some((_, other)) = self.subs(parent).find(|(_, other)| other.tags() == tags) {
            return Err(InterfaceError::TagsTaken(other.name.clone()));
        }
        let kind = Kind::Sub { parent, id, tags };
        let sub = Interface::new(format!("{}.{id}", port.name), kind, port.mac, port.mtu, port.tx);
        self.insert(engine, Interface { link_up: port.link_up, host: port.host, ..sub })
    }

    fn insert(
        &mut self,
        engine: &mut Engine,
        interface: Interface,
    ) -> Result<InterfaceIndex, InterfaceError> {
        if self.find(&interface.name).is_some() {
            return Err(InterfaceError::Duplicate(interface.name));
        }
        let index = self.next_index();
        if index.index() >= self.limit {
            return Err(InterfaceError::Full { name: interface.name, limit: self.limit });
        }
        if index.index() == self.list.len() {
            self.list.push(None);
            self.links.push(Vec::new());
            self.draining.push(false);
            self.leases.push(None);
        }
        engine.counters.interfaces.zero(index);
        if let Err(error) = self.name_counters(engine, index, Some(&interface.name)) {
            return Err(InterfaceError::Stats { name: interface.name, error: error.to_string() });
        }
        engine.set_transmit(index, interface.tx);
        self.leases[index.index()] = Some(Lease::new(HeldIndex { index, freed: Arc::clone(&self.freed) }));
        self.list[index.index()] = Some(interface);
        self.events.push(Event::Added(index));
        self.publish(engine);
        Ok(index)
    }

    /// Names the counters of an interface that comes (`None`: that goes), in one step. The length of the vectors is the
    /// number of indices given out.
    fn name_counters(
        &mut self,
        engine: &mut Engine,
        index: InterfaceIndex,
        name: Option<&str>,
    ) -> Result<(), StatsError> {
        let (counters, len) = (&engine.counters, self.list.len());
        let links = &mut self.links[index.index()];
        let linked = engine.stats.update(|update| -> Result<_, StatsError> {
            links.drain(..).for_each(|link| update.remove(link));
            counters.interfaces.set_len(update, len)?;
            update.set_len(&counters.interface_names, len)?;
            update.set_name(&counters.interface_names, index.index(), name.unwrap_or(DELETED))?;
            Ok(name.map_or(Ok(()), |name| counters.interfaces.link(update, name, index, links)))
        })?;
        if let (Err(error), Some(name)) = (linked, name) {
            tracing::warn!("{name} has its counters in /if, but not all of them in /interfaces: {error}");
        }
        Ok(())
    }

    /// A hold on the index of an interface, for those who keep something by it that cannot go with the interface at once.
    pub fn lease(&self, index: InterfaceIndex) -> Option<Lease> {
        self.leases.get(index.index())?.clone()
    }

    /// How many interfaces have been deleted so far. As long as that is the same, an index means the same interface.
    pub fn deletions(&self) -> u64 {
        self.deletions
    }

    /// Deletes an interface whose routes, next hops and features are gone already.
    pub fn delete(
        &mut self,
        engine: &mut Engine,
        index: InterfaceIndex,
    ) -> Result<Interface, InterfaceError> {
        let subs: Vec<_> = self.subs(index).map(|(_, sub)| sub.name.as_str()).collect();
        if !subs.is_empty() {
            let name = self.get(index).map(|interface| interface.name.clone()).unwrap_or_default();
            return Err(InterfaceError::HasSubs(name, subs.join(", ")));
        }
        let slot = self.list.get_mut(index.index()).ok_or(InterfaceError::Unknown(index))?;
        let interface = slot.take().ok_or(InterfaceError::Unknown(index))?;
        self.draining[index.index()] = true;
        self.deletions += 1;
        self.events.retain(|event| event.interface() != index);
        // Another interface will have its index.
        for (borrower, interface) in (0..).map(InterfaceIndex).zip(&mut self.list) {
            if let Some(interface) = interface.as_mut().filter(|other| other.unnumbered == Some(index)) {
                interface.unnumbered = None;
                self.events.push(Event::Changed(borrower, Changes::ADDRESSES));
            }
        }
        self.publish(engine);
        for action in &mut self.on_delete {
            action(engine, index);
        }
        engine.forget_features(index);
        let renamed = self.name_counters(engine, index, None);
        debug_assert!(renamed.is_ok(), "what has a name can have another that is no longer");
        if let Some(lease) = self.leases[index.index()].take() {
            engine.retire_index(lease);
        }
        Ok(interface)
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
        if let Some(before) = &mut self.before {
            before.entry(index).or_insert_with(|| interface.clone());
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

    /// Begins a transaction: until it ends, what is changed is seen here, and not by workers. [`Interfaces::commit`]
    /// or [`Interfaces::roll_back`] must follow before an interface comes or goes.
    pub fn begin(&mut self) {
        self.before = Some(BTreeMap::new());
    }

    /// Lets workers see all changes of the transaction, in one step.
    pub fn commit(&mut self, engine: &mut Engine) {
        let before = self.before.take().unwrap_or_default();
        if before.is_empty() {
            return;
        }
        for (index, before) in &before {
            self.note(*index, before);
        }
        self.publish(engine);
    }

    /// Makes interfaces as they were before the transaction.
    pub fn roll_back(&mut self) {
        for (index, interface) in self.before.take().unwrap_or_default() {
            self.list[index.index()] = Some(interface);
        }
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

    /// The interface.
    pub fn get(&self, index: InterfaceIndex) -> Option<&Interface> {
        self.list.get(index.index())?.as_ref()
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
        debug_assert!(self.before.is_none(), "interfaces come and go outside of transactions");
        let entries = (0..self.list.len()).map(|i| self.entry(InterfaceIndex(i as u32))).collect();
        self.published.replace(&mut engine.domain, InterfaceTable::new(entries));
    }

    fn entry(&self, index: InterfaceIndex) -> Option<Entry> {
        let interface = self.get(index)?;
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
            Err(InterfaceError::NotAPort("p.10".into()))
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
        interfaces.roll_back();
        assert_eq!(interfaces.take_events(), [], "it did not happen");
        interfaces.delete(&mut engine, sub).unwrap();
        interfaces.change(&mut engine, port, |it| it.tag = "gone".into()).unwrap();
        interfaces.delete(&mut engine, port).unwrap();
        assert_eq!(interfaces.take_events(), [follows], "nobody hears of what has gone");
    }
}
