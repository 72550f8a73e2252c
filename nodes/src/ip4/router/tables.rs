// SPDX-License-Identifier: Apache-2.0
//! Forwarding tables by the operator's number, and the routes in them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use weft_engine::Engine;

use super::{Router, RouterError, Table, TableId, connected, set};
use crate::interface::Interfaces;
use crate::ip4::{Action, Change, Outcome, Owner, PathTarget, Pending, Rib, TableIndex};

impl Router {
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

    /// Begins a replay of the routes of `owner` in a table: see [`Rib::begin_resync`].
    pub fn begin_resync(&mut self, table: TableIndex, owner: Owner) {
        if let Some(table) = self.tables.get_mut(table.0 as usize).and_then(Option::as_mut) {
            table.rib.begin_resync(owner);
        }
    }

    /// Ends the replay; returns how many routes were deleted.
    pub fn end_resync(
        &mut self,
        engine: &mut Engine,
        table: TableIndex,
        owner: Owner,
    ) -> Result<usize, RouterError> {
        match self.tables.get_mut(table.0 as usize).and_then(Option::as_mut) {
            Some(table) => Ok(table.rib.end_resync(&mut self.objects, &mut engine.domain, owner)?),
            None => Ok(0),
        }
    }

    /// Gets ready to make all changes in several tables. [`Router::publish`] or [`Router::withdraw`] must be next.
    ///
    /// Fails if any table refuses, with the errors of all that do, by their place in `tables`.
    pub fn prepare(
        &mut self,
        engine: &mut Engine,
        tables: &[(TableIndex, Vec<&Change>)],
    ) -> Result<PendingChanges, Vec<(usize, RouterError)>> {
        let mut pending = PendingChanges(Vec::new());
        let mut refused = Vec::new();
        for (place, (index, changes)) in tables.iter().enumerate() {
            let Some(table) = self.tables.get_mut(index.0 as usize).and_then(Option::as_mut) else {
                refused.push((place, RouterError::UnknownTable(index.0)));
                continue;
            };
            let changes = changes.iter().copied();
            match table.rib.prepare(&mut self.objects, &mut engine.domain, changes) {
                Ok(prepared) => pending.0.push((*index, prepared)),
                Err(error) => refused.push((place, error.into())),
            }
        }
        if refused.is_empty() {
            return Ok(pending);
        }
        self.withdraw(engine, pending);
        Err(refused)
    }

    /// Makes what was prepared.
    pub fn publish(&mut self, engine: &mut Engine, interfaces: &Interfaces, pending: PendingChanges) {
        for (index, prepared) in pending.0 {
            if let Some(table) = self.tables.get_mut(index.0 as usize).and_then(Option::as_mut) {
                table.rib.publish(&mut self.objects, &mut engine.domain, prepared);
            }
        }
        self.complete(engine, interfaces);
    }

    /// Makes everything as it was before [`Router::prepare`].
    pub fn withdraw(&mut self, engine: &mut Engine, pending: PendingChanges) {
        for (index, prepared) in pending.0.into_iter().rev() {
            if let Some(table) = self.tables.get_mut(index.0 as usize).and_then(Option::as_mut) {
                table.rib.withdraw(&mut self.objects, &mut engine.domain, prepared);
            }
        }
    }
}

/// Changes of several tables that workers do not see yet.
#[must_use = "to be published or withdrawn"]
pub struct PendingChanges(Vec<(TableIndex, Pending)>);
