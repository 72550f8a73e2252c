// SPDX-License-Identifier: Apache-2.0
//! Changes that are made together: what handlers note. How all of it is done, or nothing, is in `commit`.
//!
//! Part of a transaction is what can be tried without a worker's noticing: routes, tables, and what is configured on
//! interfaces. What makes or deletes a device is a command, which a batch refuses.

mod commit;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use weft_binapi::Retval;
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::ip4::{Action, Change, Owner, PathTarget, TableId, TableIndex};

use crate::state::Dataplane;

/// Indices from here on are of tables that the transaction adds: they have none yet.
const PLANNED: u32 = 1 << 31;

/// What is to be done, in order.
#[derive(Default)]
pub struct Transaction {
    steps: Vec<Step>,
    /// What they name: it may be gone when it is to be done.
    tables: Vec<(TableId, TableIndex)>,
    interfaces: BTreeSet<InterfaceIndex>,
    /// Tables that it adds, in order of their indices from [`PLANNED`], with their names.
    planned: Vec<(TableId, String)>,
    /// Tables that it deletes.
    deleted: BTreeSet<TableId>,
}

/// One thing. Routes come by the million, the rest does not.
enum Step {
    Route(TableIndex, Change),
    Set(Box<Setting>),
}

/// Anything but a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Setting {
    AdminState(InterfaceIndex, bool),
    Mtu(InterfaceIndex, u32),
    Tag(InterfaceIndex, String),
    ProxyArp(InterfaceIndex, bool),
    /// Whose addresses it borrows.
    Lender(InterfaceIndex, Option<InterfaceIndex>),
    Table(InterfaceIndex, TableIndex),
    Address(InterfaceIndex, Ipv4Net, Owner),
    NoAddress(InterfaceIndex, Ipv4Net),
    NoAddresses(InterfaceIndex),
    Neighbor(InterfaceIndex, Ipv4Addr, MacAddr, Owner),
    NoNeighbor(InterfaceIndex, Ipv4Addr),
    Feature {
        arc: String,
        interface: InterfaceIndex,
        feature: String,
        on: bool,
    },
    /// The one at this place of the planned ones.
    NewTable(usize),
    NoTable(TableId, TableIndex),
}

impl Transaction {
    /// Notes a change of a route.
    pub fn route(&mut self, table: TableIndex, change: Change) {
        self.steps.push(Step::Route(table, change));
    }

    /// Notes anything else.
    pub fn set(&mut self, setting: Setting) {
        self.steps.push(Step::Set(Box::new(setting)));
    }

    /// A table that changes name.
    pub fn table(&mut self, dataplane: &Dataplane, id: TableId) -> Result<TableIndex, Retval> {
        if self.deleted.contains(&id) {
            return Err(Retval::NO_SUCH_FIB);
        }
        if let Some((_, index)) = self.tables.iter().find(|(known, _)| *known == id) {
            return Ok(*index);
        }
        if let Some(place) = self.planned.iter().position(|(planned, _)| *planned == id) {
            return Ok(TableIndex(PLANNED + place as u32));
        }
        let index = dataplane.router.table_index(id).map_err(|_| Retval::NO_SUCH_FIB)?;
        self.tables.push((id, index));
        Ok(index)
    }

    /// Notes that a table is to be there.
    pub fn add_table(&mut self, dataplane: &Dataplane, id: TableId, name: String) -> Result<(), Retval> {
        if self.deleted.contains(&id) {
            return Err(Retval::RSRC_IN_USE);
        }
        if self.table(dataplane, id).is_err() {
            self.set(Setting::NewTable(self.planned.len()));
            self.planned.push((id, name));
        }
        Ok(())
    }

    /// Notes that a table is to go. One that the transaction adds cannot.
    pub fn delete_table(&mut self, dataplane: &Dataplane, id: TableId) -> Result<(), Retval> {
        let index = self.table(dataplane, id)?;
        if index.0 >= PLANNED {
            return Err(Retval::RSRC_IN_USE);
        }
        self.deleted.insert(id);
        self.set(Setting::NoTable(id, index));
        Ok(())
    }

    /// An interface that changes name.
    pub fn interface(&mut self, dataplane: &Dataplane, index: u32) -> Result<InterfaceIndex, Retval> {
        let index = InterfaceIndex(index);
        dataplane.interfaces.get(index).ok_or(Retval::INVALID_SW_IF_INDEX)?;
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
            false => Err(Retval::INVALID_SW_IF_INDEX),
        }
    }

    /// The planned tables have been made: says so wherever they are named. `made` is in the order of the plans.
    fn place_tables(&mut self, made: &[TableIndex]) {
        let place = |table: &mut TableIndex| {
            if let Some(planned) = table.0.checked_sub(PLANNED) {
                *table = made[planned as usize];
            }
        };
        for step in &mut self.steps {
            match step {
                Step::Route(table, change) => {
                    place(table);
                    targets(&mut change.action).into_iter().for_each(|target| {
                        if let PathTarget::Table(table) = target {
                            place(table);
                        }
                    });
                }
                Step::Set(setting) => {
                    if let Setting::Table(_, table) = &mut **setting {
                        place(table);
                    }
                }
            }
        }
    }
}

fn targets(action: &mut Action) -> Vec<&mut PathTarget> {
    match action {
        Action::Add(_, paths) | Action::Set(_, paths) => {
            paths.iter_mut().map(|path| &mut path.target).collect()
        }
        Action::AddPath(_, path) | Action::SetPath(_, path) => vec![&mut path.target],
        Action::DeletePath(target) => vec![target],
        Action::Delete => Vec::new(),
    }
}
