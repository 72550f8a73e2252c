// SPDX-License-Identifier: Apache-2.0
//! Forwarding tables by the operator's number, and the routes in them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use weft_engine::publish::{Slab, SlabReader};
use weft_engine::{Engine, InterfaceIndex, Lease, NodeId};
use weft_fib::{
    Action, ApplyError, Change, Forward, ForwardKind, Outcome, PathTarget, Pending, Preference, ReaderOf,
    Rib, RibSettings, RouteError, RoutePath,
};

use super::links::interfaces_of;
use super::{Routed, Router, RouterError, TableId};
use crate::hold::HeldPackets;
use crate::interface::{Interfaces, Owner, TableIndex};

/// A forwarding table.
pub struct Table<F: Routed> {
    /// As the operator knows it.
    pub id: TableId,
    /// For `show`.
    pub name: String,
    /// Its routes.
    pub rib: Rib<F>,
}

/// What a family has of its own.
pub struct Tables<F: Routed> {
    /// By [`TableIndex`].
    list: Vec<Option<Table<F>>>,
    fibs: Slab<Arc<ReaderOf<F>>>,
    rib: RibSettings<F>,
    /// Packets of the family that wait, once there are nodes.
    pub(super) held: Option<HeldPackets<F>>,
}

impl<F: Routed> Tables<F> {
    pub(super) fn new(engine: &Engine, limit: usize, rib: RibSettings<F>) -> Self {
        Tables { list: Vec::new(), fibs: Slab::new(&engine.domain, limit), rib, held: None }
    }

    pub(super) fn fibs(&self) -> SlabReader<Arc<ReaderOf<F>>> {
        self.fibs.reader()
    }

    pub(super) fn ribs_mut(&mut self) -> impl Iterator<Item = &mut Rib<F>> {
        self.list.iter_mut().flatten().map(|table| &mut table.rib)
    }

    fn rib_mut(&mut self, index: TableIndex) -> Option<&mut Rib<F>> {
        self.list.get_mut(index.0 as usize)?.as_mut().map(|table| &mut table.rib)
    }

    fn iter(&self) -> impl Iterator<Item = (TableIndex, &Table<F>)> {
        let indexed = (0..).map(TableIndex).zip(&self.list);
        indexed.filter_map(|(index, table)| Some((index, table.as_ref()?)))
    }

    /// The routes to an object, as sentences name them.
    fn routes_to(
        &self,
        which: impl Fn(Forward) -> bool + Copy,
        but: Option<TableIndex>,
    ) -> impl Iterator<Item = String> {
        let tables = self.iter().filter(move |(index, _)| Some(*index) != but);
        tables.flat_map(move |(_, table)| {
            let routes = table.rib.routes_to(which);
            routes.map(move |prefix| format!("the route to {prefix} in table {}", table.id))
        })
    }
}

impl Router {
    /// Adds a forwarding table.
    pub fn add_table<F: Routed>(
        &mut self,
        engine: &mut Engine,
        id: TableId,
        name: &str,
    ) -> Result<TableIndex, RouterError<F>> {
        if self.table_index::<F>(id).is_ok() {
            return Err(RouterError::TableExists(id));
        }
        let (tables, objects) = F::parts(self);
        let mut rib = Rib::new(tables.rib).map_err(|error| RouterError::TableMemory(id, error))?;
        let own = F::own_prefixes().into_iter().map(|prefix| connected(prefix, set(PathTarget::Local)));
        rib.apply(objects, &mut engine.domain, &own.collect::<Vec<_>>())?;
        let Ok(index) = tables.fibs.insert(&mut engine.domain, rib.fib()) else {
            return Err(RouterError::TablesFull(id, tables.fibs.capacity()));
        };
        if index as usize >= tables.list.len() {
            tables.list.resize_with(index as usize + 1, || None);
        }
        tables.list[index as usize] = Some(Table { id, name: name.to_owned(), rib });
        Ok(TableIndex(index))
    }

    /// Deletes a table with all its routes. Whoever keeps something by its index keeps the lease meanwhile.
    pub fn delete_table<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        id: TableId,
    ) -> Result<Lease, RouterError<F>> {
        if id == 0 {
            return Err(RouterError::DefaultTable);
        }
        let index = self.table_index::<F>(id)?;
        let users = self.users_of::<F>(interfaces, index);
        if !users.is_empty() {
            return Err(RouterError::TableInUse(id, users));
        }
        let (tables, objects) = F::parts(self);
        let Some(rib) = tables.rib_mut(index) else {
            return Err(RouterError::UnknownTable(id));
        };
        let deletions: Vec<Change<F>> = rib
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
        rib.apply(objects, &mut engine.domain, &deletions)?;
        let lease = Lease::new(tables.fibs.unlink(&mut engine.domain, index.0));
        tables.list[index.0 as usize] = None;
        engine.retire_index(lease.clone());
        Ok(lease)
    }

    /// Who would be left with the index of another table if this one went: interfaces, and routes of other tables.
    pub fn users_of<F: Routed>(&self, interfaces: &Interfaces, index: TableIndex) -> Users {
        let on_it = interfaces.iter().filter(|(_, interface)| F::of(interface).table == index);
        let interfaces = on_it.map(|(_, interface)| format!("interface '{}'", interface.name));
        let leads = move |forward: Forward| forward.as_lookup() == Some(index);
        Users::new(interfaces.chain(F::tables(self).routes_to(leads, Some(index))))
    }

    /// The routes of all families that lead to an object of a registered kind: as long as there are any, it must stay.
    pub fn users_of_object(&self, object: Forward) -> Users {
        self.users_of_all(move |forward| forward == object)
    }

    fn users_of_all(&self, which: impl Fn(Forward) -> bool + Copy) -> Users {
        Users::new(self.ip4.routes_to(which, None).chain(self.ip6.routes_to(which, None)))
    }

    /// Makes a kind of what routes can lead to: packets go to `node`, which finds the number of the object where ip4-rewrite
    /// finds its next hop. Routes lead there by [`PathTarget::Object`].
    pub fn register_kind(&mut self, name: &str, node: NodeId) -> Result<ForwardKind, KindError> {
        let kind = ForwardKind::to(node);
        match self.kinds.iter().any(|(known, other)| *known == kind || other == name) {
            true => Err(KindError::Exists(name.to_owned())),
            false => {
                self.kinds.push((kind, name.to_owned()));
                Ok(kind)
            }
        }
    }

    /// Takes back [`Router::register_kind`], before the node goes; refused while routes lead there.
    pub fn forget_kind(&mut self, kind: ForwardKind) -> Result<(), KindError> {
        let users = self.users_of_all(move |forward| forward.kind() == kind);
        if !users.is_empty() {
            return Err(KindError::InUse(self.kind_name(kind).unwrap_or_default().to_owned(), users));
        }
        self.kinds.retain(|(known, _)| *known != kind);
        Ok(())
    }

    /// The name of a registered kind.
    pub fn kind_name(&self, kind: ForwardKind) -> Option<&str> {
        self.kinds.iter().find(|(known, _)| *known == kind).map(|(_, name)| name.as_str())
    }

    /// Changes of a table that lead to what does not exist, or round in a circle, by their number.
    fn dangling<'a, F: Routed>(
        &self,
        table: TableIndex,
        changes: impl Iterator<Item = &'a Change<F>>,
    ) -> Vec<(usize, RouteError<F>)> {
        let wrong = |prefix, path: &RoutePath<F>| match path.target {
            PathTarget::Table(to) if to == table => Some(RouteError::OwnTable(prefix)),
            PathTarget::Table(to) if self.table::<F>(to).is_none() => Some(RouteError::NoSuchTable(prefix)),
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
    pub fn table_index<F: Routed>(&self, id: TableId) -> Result<TableIndex, RouterError<F>> {
        let mut tables = self.tables::<F>();
        let found = tables.find(|(_, table)| table.id == id);
        found.map(|(index, _)| index).ok_or(RouterError::UnknownTable(id))
    }

    /// A table.
    pub fn table<F: Routed>(&self, index: TableIndex) -> Option<&Table<F>> {
        F::tables(self).list.get(index.0 as usize)?.as_ref()
    }

    /// All tables of a family by index.
    pub fn tables<F: Routed>(&self) -> impl Iterator<Item = (TableIndex, &Table<F>)> {
        F::tables(self).iter()
    }

    /// Makes all changes of a batch in one table, or none.
    pub fn apply<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        table: TableIndex,
        changes: &[Change<F>],
    ) -> Result<Vec<Outcome>, RouterError<F>> {
        let dangling = self.dangling(table, changes.iter());
        if !dangling.is_empty() {
            return Err(ApplyError::Refused(dangling).into());
        }
        self.note_states(engine, interfaces, &interfaces_of(changes));
        let (tables, objects) = F::parts(self);
        let Some(rib) = tables.rib_mut(table) else {
            return Err(RouterError::UnknownTable(table.0));
        };
        let outcomes = rib.apply(objects, &mut engine.domain, changes)?;
        self.complete(engine, interfaces);
        Ok(outcomes)
    }

    /// Begins a replay of the routes of `owner` in a table: see [`Rib::begin_resync`].
    pub fn begin_resync<F: Routed>(&mut self, table: TableIndex, owner: Owner) {
        if let Some(rib) = F::parts(self).0.rib_mut(table) {
            rib.begin_resync(owner);
        }
    }

    /// Ends the replay; returns how many routes were deleted.
    pub fn end_resync<F: Routed>(
        &mut self,
        engine: &mut Engine,
        table: TableIndex,
        owner: Owner,
    ) -> Result<usize, RouterError<F>> {
        let (tables, objects) = F::parts(self);
        match tables.rib_mut(table) {
            Some(rib) => Ok(rib.end_resync(objects, &mut engine.domain, owner)?),
            None => Ok(0),
        }
    }

    /// Gets ready to make all changes in several tables; then no path in any of these leads over an interface in `gone`.
    /// [`Router::publish`] or [`Router::withdraw`] must be next.
    ///
    /// Fails if any table refuses, with the errors of all that do, by their place in `tables`.
    pub fn prepare<F: Routed>(
        &mut self,
        engine: &mut Engine,
        tables: &[(TableIndex, Vec<&Change<F>>)],
        gone: &BTreeSet<InterfaceIndex>,
    ) -> Result<PendingChanges<F>, Vec<(usize, RouterError<F>)>> {
        let mut pending = PendingChanges { tables: Vec::new(), over: BTreeSet::new() };
        let mut refused = Vec::new();
        for (place, (index, changes)) in tables.iter().enumerate() {
            let dangling = self.dangling(*index, changes.iter().copied());
            if !dangling.is_empty() {
                refused.push((place, ApplyError::Refused(dangling).into()));
                continue;
            }
            pending.over.append(&mut interfaces_of(changes.iter().copied()));
            let (tables, objects) = F::parts(self);
            let Some(rib) = tables.rib_mut(*index) else {
                refused.push((place, RouterError::UnknownTable(index.0)));
                continue;
            };
            match rib.prepare(objects, &mut engine.domain, changes.iter().copied(), gone) {
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
    pub fn publish<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        pending: PendingChanges<F>,
    ) {
        let (tables, objects) = F::parts(self);
        for (index, prepared) in pending.tables {
            if let Some(rib) = tables.rib_mut(index) {
                rib.publish(objects, &mut engine.domain, prepared);
            }
        }
        self.note_states(engine, interfaces, &pending.over);
        self.complete(engine, interfaces);
    }

    /// Makes everything as it was before [`Router::prepare`].
    pub fn withdraw<F: Routed>(&mut self, engine: &mut Engine, pending: PendingChanges<F>) {
        let (tables, objects) = F::parts(self);
        for (index, prepared) in pending.tables.into_iter().rev() {
            if let Some(rib) = tables.rib_mut(index) {
                rib.withdraw(objects, &mut engine.domain, prepared);
            }
        }
    }
}

fn set<F: Routed>(target: PathTarget<F>) -> Action<F> {
    Action::Set(Preference::default(), vec![RoutePath::new(target)])
}

/// A change of what follows from addresses, or of what every table has.
pub(super) fn connected<F: Routed>(prefix: F::Net, action: Action<F>) -> Change<F> {
    Change { prefix, owner: Owner::CONNECTED, action }
}

/// Why a kind of what routes lead to cannot come or go.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KindError {
    /// Two of one name or node.
    #[error("routes can lead to {0} already")]
    Exists(String),
    /// Routes lead there.
    #[error("{0} is in use by {1}")]
    InUse(String, Users),
}

/// Changes of several tables that workers do not see yet.
#[must_use = "to be published or withdrawn"]
pub struct PendingChanges<F: Routed> {
    tables: Vec<(TableIndex, Pending<F>)>,
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
