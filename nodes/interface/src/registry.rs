// SPDX-License-Identifier: Apache-2.0
//! All interfaces: by index, by name, and as workers see them. How they come, change and go is in `transaction`.

#[cfg(test)]
mod tests;
mod transaction;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use weft_engine::publish::Published;
use weft_engine::{Engine, InterfaceIndex, Lease, NodeId};
use weft_headers::MacAddr;
use weft_stats::EntryIndex;

use crate::error::InterfaceError;
use crate::events::{Changes, Event};
use crate::family::{AddressFamily, Addressing, IpPrefix};
use crate::interface::Interface;
use crate::kind::Kind;
use crate::settings::LinkState;
use crate::table::{Entry, InterfaceTable, Tags};

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

    /// A hold on the index of an interface, for those who keep something by it that cannot go with the interface at once.
    pub fn lease(&self, index: InterfaceIndex) -> Option<Lease> {
        self.leases.get(&index).cloned()
    }

    /// How many interfaces have been deleted so far. As long as that is the same, an index means the same interface.
    pub fn deletions(&self) -> u64 {
        self.deletions
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

    /// What an interface has of a family, with the addresses that it borrows: what workers see.
    pub fn effective<F: AddressFamily>(&self, index: InterfaceIndex) -> Option<Addressing<F>> {
        let interface = self.get(index)?;
        let lender = interface.unnumbered.and_then(|lender| self.get(lender));
        Some(borrowed(F::of(lender.unwrap_or(interface)), interface))
    }

    fn publish(&mut self, engine: &mut Engine) {
        debug_assert!(self.transaction.is_none(), "nobody sees a transaction before its end");
        let entries = (0..self.list.len()).map(|i| self.entry(InterfaceIndex(i as u32))).collect();
        let proxied = self.iter().flat_map(|(index, interface)| {
            interface.proxied.iter().map(move |station| ((interface.ip6.table, *station), index))
        });
        let table = InterfaceTable::new(entries, proxied.collect());
        self.published.replace(&mut engine.domain, table);
    }

    fn entry(&self, index: InterfaceIndex) -> Option<Entry> {
        // One that is leaving can be looked at on this thread, and is gone for workers.
        let interface = self.list.get(index.index())?.as_ref()?;
        let (port, tags) = (interface.parent().unwrap_or(index), interface.tags());
        let subs = self.subs(index).map(|(sub, interface)| (interface.tags(), sub)).collect();
        let is_switched = |interface: &Interface| interface.layer2.switch().is_some();
        let has_switched = is_switched(interface) || self.subs(index).any(|(_, sub)| is_switched(sub));
        // The host's side of a port sees the tags, so it serves the sub-interfaces too.
        let host = self.get(port).map_or(NodeId::DROP, |port| port.host);
        Some(Entry {
            mac: interface.mac,
            up: self.is_up(index),
            ip4: self.effective(index)?,
            ip6: self.effective(index)?,
            proxy_arp: interface.proxy_arp,
            gratuitous_arp: interface.gratuitous_arp,
            proxy_nd: interface.proxy_nd,
            layer2: interface.layer2,
            has_switched,
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
fn borrowed<F: AddressFamily>(lender: &Addressing<F>, interface: &Interface) -> Addressing<F> {
    let own = F::of(interface);
    let is_global = |address: &&F::Net| !F::is_link_scoped(address.addr());
    let addresses = match std::ptr::eq(lender, own) {
        true => own.addresses.clone(),
        false => lender.addresses.iter().filter(is_global).copied().collect(),
    };
    let mut borrowed = Addressing { addresses, ..own.clone() };
    borrowed.settle(interface.mac, interface.mtu);
    borrowed
}
