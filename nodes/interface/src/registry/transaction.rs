// SPDX-License-Identifier: Apache-2.0
//! How interfaces come, change and go: nobody but the main thread sees a transaction before its end.

use std::collections::BTreeMap;

use weft_engine::counters::DELETED;
use weft_engine::{Engine, InterfaceIndex, NodeId};
use weft_headers::MacAddr;

use super::{Interfaces, Reserved, Transaction};
use crate::error::InterfaceError;
use crate::events::Event;
use crate::interface::Interface;
use crate::kind::Kind;
use crate::table::Tags;

impl Interfaces {
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
}
