// SPDX-License-Identifier: Apache-2.0
//! Forwarding tables by the operator's number, and the routes in them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use weft_engine::{Engine, InterfaceIndex, NodeId};

use super::links::interfaces_of;
use super::{Router, RouterError, Table, TableId, connected, set};
use crate::interface::Interfaces;
use crate::ip4::{
    Action, ApplyError, Change, Forward, ForwardKind, Outcome, Owner, PathTarget, Pending, Rib, RouteError,
    RoutePath, TableIndex,
};

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
        let users = self.users_of(interfaces, index);
        if !users.is_empty() {
            return Err(RouterError::TableInUse(id, users));
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

    /// Who would be left with the index of another table if this one went: interfaces, and routes of other tables.
    pub fn users_of(&self, interfaces: &Interfaces, index: TableIndex) -> Users {
        let on_it = interfaces.iter().filter(|(_, interface)| interface.table4 == index);
        let interfaces = on_it.map(|(_, interface)| format!("interface '{}'", interface.name));
        let leads = move |forward: Forward| forward.as_lookup() == Some(index);
        Users::new(interfaces.chain(self.routes_to(leads, Some(index))))
    }

    /// The routes that lead to an object of a registered kind: as long as there are any, it must stay.
    pub fn users_of_object(&self, object: Forward) -> Users {
        Users::new(self.routes_to(move |forward| forward == object, None))
    }

    fn routes_to(
        &self,
        which: impl Fn(Forward) -> bool + Copy,
        but: Option<TableIndex>,
    ) -> impl Iterator<Item = String> {
        let tables = self.tables().filter(move |(index, _)| Some(*index) != but);
        tables.flat_map(move |(_, table)| {
            let routes = table.rib.routes_to(which);
            routes.map(move |prefix| format!("the route to {prefix} in table {}", table.id))
        })
    }

    /// Makes a kind of what routes can lead to: packets go to `node`, which finds the number of the object where ip4-rewrite
    /// finds its next hop. Routes lead there by [`PathTarget::Object`].
    pub fn register_kind(&mut self, name: &str, node: NodeId) -> Result<ForwardKind, RouterError> {
        let kind = ForwardKind::to(node);
        match self.kinds.iter().any(|(known, other)| *known == kind || other == name) {
            true => Err(RouterError::KindExists(name.to_owned())),
            false => {
                self.kinds.push((kind, name.to_owned()));
                Ok(kind)
            }
        }
    }

    /// Takes back [`Router::register_kind`], before the node goes; refused while routes lead there.
    pub fn forget_kind(&mut self, kind: ForwardKind) -> Result<(), RouterError> {
        let users = Users::new(self.routes_to(move |forward| forward.kind() == kind, None));
        if !users.is_empty() {
            return Err(RouterError::KindInUse(self.kind_name(kind).unwrap_or_default().to_owned(), users));
        }
        self.kinds.retain(|(known, _)| *known != kind);
        Ok(())
    }

    /// The name of a registered kind.
    pub fn kind_name(&self, kind: ForwardKind) -> Option<&str> {
        self.kinds.iter().find(|(known, _)| *known == kind).map(|(_, name)| name.as_str())
    }

    /// Changes that lead to what does not exist, by their number.
    fn dangling<'a>(&self, changes: impl Iterator<Item = &'a Change>) -> Vec<(usize, RouteError)> {
        let wrong = |prefix, path: &RoutePath| match path.target {
            PathTarget::Table(to) if self.table(to).is_none() => Some(RouteError::NoSuchTable(prefix)),
            PathTarget::Object(to) if self.kind_name(to.kind()).is_none() => {
                Some(RouteError::NoSuchKind(prefix, to))
            }
            _ => None,
        };
        let errors = changes.enumerate().filter_map(|(number, change)| {
            let error = change.action.added().iter().find_map(|path| wrong(change.prefix, path))?;
            Some((number, error))
        });
        errors.collect()
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
        let dangling = self.dangling(changes.iter());
        if !dangling.is_empty() {
            return Err(ApplyError::Refused(dangling).into());
        }
        self.note_states(engine, interfaces, &interfaces_of(changes));
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
        let mut pending = PendingChanges::default();
        let mut refused = Vec::new();
        for (place, (index, changes)) in tables.iter().enumerate() {
            let dangling = self.dangling(changes.iter().copied());
            if !dangling.is_empty() {
                refused.push((place, ApplyError::Refused(dangling).into()));
                continue;
            }
            pending.over.append(&mut interfaces_of(changes.iter().copied()));
            let Some(table) = self.tables.get_mut(index.0 as usize).and_then(Option::as_mut) else {
                refused.push((place, RouterError::UnknownTable(index.0)));
                continue;
            };
            let changes = changes.iter().copied();
            match table.rib.prepare(&mut self.objects, &mut engine.domain, changes) {
                Ok(prepared) => pending.tables.push((*index, prepared)),
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
        for (index, prepared) in pending.tables {
            if let Some(table) = self.tables.get_mut(index.0 as usize).and_then(Option::as_mut) {
                table.rib.publish(&mut self.objects, &mut engine.domain, prepared);
            }
        }
        self.note_states(engine, interfaces, &pending.over);
        self.complete(engine, interfaces);
    }

    /// Makes everything as it was before [`Router::prepare`].
    pub fn withdraw(&mut self, engine: &mut Engine, pending: PendingChanges) {
        for (index, prepared) in pending.tables.into_iter().rev() {
            if let Some(table) = self.tables.get_mut(index.0 as usize).and_then(Option::as_mut) {
                table.rib.withdraw(&mut self.objects, &mut engine.domain, prepared);
            }
        }
    }
}

/// Changes of several tables that workers do not see yet.
#[must_use = "to be published or withdrawn"]
#[derive(Default)]
pub struct PendingChanges {
    tables: Vec<(TableIndex, Pending)>,
    /// Interfaces over which routes come.
    over: BTreeSet<InterfaceIndex>,
}

/// Who uses something, for the sentence of a refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Users {
    named: Vec<String>,
    more: usize,
}

impl Users {
    /// A sentence has room for as many.
    const NAMED: usize = 4;

    fn new(mut users: impl Iterator<Item = String>) -> Users {
        Users { named: users.by_ref().take(Self::NAMED).collect(), more: users.count() }
    }

    /// Whether nobody does.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

impl fmt::Display for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named.join(", "))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
