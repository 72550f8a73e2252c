// SPDX-License-Identifier: Apache-2.0
//! Forwarding tables by the operator's number, and the routes in them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use weft_engine::Engine;

use super::{Router, RouterError, Table, TableId, connected, set};
use crate::interface::Interfaces;
use crate::ip4::{Action, Change, Outcome, PathTarget, Rib, TableIndex};

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
}
