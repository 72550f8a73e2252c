// SPDX-License-Identifier: Apache-2.0
//! Changes that are made together: what handlers note, and how all of it is done or nothing.
//!
//! Part of a transaction are routes, whose tables can get ready for a change, and take that back, without a worker's
//! noticing. All else is a command, which a batch refuses.

use std::collections::BTreeSet;

use weft_binapi::Retval;
use weft_binapi::server::{Purpose, Refused, Transactional};
use weft_engine::InterfaceIndex;
use weft_nodes::ip4::{ApplyError, Change, RouterError, TableId, TableIndex};

use super::retval;
use crate::state::Dataplane;

/// What is to be done, in order.
#[derive(Default)]
pub struct Transaction {
    routes: Vec<(TableIndex, Change)>,
    /// What they name: it may be gone when it is to be done.
    tables: Vec<(TableId, TableIndex)>,
    interfaces: BTreeSet<InterfaceIndex>,
}

impl Transaction {
    /// Notes a change of a route.
    pub fn route(&mut self, table: TableIndex, change: Change) {
        self.routes.push((table, change));
    }

    /// A table that changes name.
    pub fn table(&mut self, dataplane: &Dataplane, id: TableId) -> Result<TableIndex, Retval> {
        if let Some((_, index)) = self.tables.iter().find(|(known, _)| *known == id) {
            return Ok(*index);
        }
        let index = dataplane.router.table_index(id).map_err(|_| Retval::NO_SUCH_FIB)?;
        self.tables.push((id, index));
        Ok(index)
    }

    /// An interface that changes name.
    pub fn interface(&mut self, dataplane: &Dataplane, index: u32) -> Result<InterfaceIndex, Retval> {
        let index = InterfaceIndex(index);
        dataplane.interfaces.get(index).ok_or(Retval::NO_MATCHING_INTERFACE)?;
        self.interfaces.insert(index);
        Ok(index)
    }

    fn check(&self, dataplane: &Dataplane) -> Result<(), Retval> {
        let is_there =
            |(id, index): &(TableId, TableIndex)| dataplane.router.table_index(*id).ok() == Some(*index);
        if !self.tables.iter().all(is_there) {
            return Err(Retval::NO_SUCH_FIB);
        }
        match self.interfaces.iter().all(|index| dataplane.interfaces.get(*index).is_some()) {
            true => Ok(()),
            false => Err(Retval::NO_MATCHING_INTERFACE),
        }
    }
}

impl Transactional for Dataplane {
    type Transaction = Transaction;

    fn noted(transaction: &Transaction) -> usize {
        transaction.routes.len()
    }

    fn commit(&mut self, transaction: Transaction, purpose: Purpose) -> Result<(), Refused> {
        transaction.check(self)?;
        let routes = transaction.routes;
        let by_table = by_table(&routes);
        let Dataplane { router, engine, interfaces, .. } = self;
        match (router.prepare(engine, &by_table), purpose) {
            (Ok(pending), Purpose::Make) => router.publish(engine, interfaces, pending),
            (Ok(pending), Purpose::Try) => router.withdraw(engine, pending),
            (Err(errors), _) => return Err(refused(&routes, &by_table, errors)),
        }
        Ok(())
    }
}

/// The changes of each table, in their order.
fn by_table(routes: &[(TableIndex, Change)]) -> Vec<(TableIndex, Vec<&Change>)> {
    let mut tables: Vec<(TableIndex, Vec<&Change>)> = Vec::new();
    for (table, change) in routes {
        // Few tables, and mostly the one of the change before.
        match tables.iter_mut().rev().find(|(other, _)| other == table) {
            Some((_, changes)) => changes.push(change),
            None => tables.push((*table, vec![change])),
        }
    }
    tables
}

/// Finds out which notes the errors of tables are about.
fn refused(
    routes: &[(TableIndex, Change)],
    tables: &[(TableIndex, Vec<&Change>)],
    errors: Vec<(usize, RouterError)>,
) -> Refused {
    let mut notes = Vec::new();
    let mut general = None;
    for (place, error) in errors {
        let (table, _) = tables[place];
        let of_table = || (0..).zip(routes).filter(|(_, (other, _))| *other == table).map(|(note, _)| note);
        match error {
            RouterError::Apply(ApplyError::Refused(changes)) => {
                // Both are in the order of the notes.
                let mut wanted = changes.iter().peekable();
                for (number, note) in of_table().enumerate() {
                    if let Some((_, error)) = wanted.next_if(|(change, _)| *change == number) {
                        notes.push((note, retval::route(error)));
                    }
                }
            }
            RouterError::UnknownTable(_) => notes.extend(of_table().map(|note| (note, Retval::NO_SUCH_FIB))),
            error => general = Some(retval::router(error)),
        }
    }
    notes.sort_unstable_by_key(|(note, _)| *note);
    let first = notes.first().map(|(_, retval)| *retval);
    Refused { retval: first.or(general).unwrap_or(Retval::UNSPECIFIED), notes }
}
