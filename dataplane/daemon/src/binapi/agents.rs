// SPDX-License-Identifier: Apache-2.0
//! Whose is what: what an agent has made outlives its connection, and after a restart the agent says it again.
//!
//! An agent is the name and the user that a client connects with. Each has an [`Owner`] of its own, which its routes,
//! addresses and neighbours have, so that what it does not say again can be told from what others have said. The number of agents is bounded by
//! [`Owner::AGENTS`]; those above share one owner, and cannot resynchronise.

use std::collections::{BTreeSet, HashMap};

use weft_binapi::Retval;
use weft_binapi::api::weft_resync::{
    WeftResyncAbort, WeftResyncAbortReply, WeftResyncBegin, WeftResyncBeginReply, WeftResyncEnd,
    WeftResyncEndReply,
};
use weft_binapi::server::{Purpose, Registry, Session, SessionId, Transactional};
use weft_engine::InterfaceIndex;
use weft_nodes::ip4::{Owner, TableIndex};

use super::belongings::{Belongings, Replay, Thing};
use super::retval::router;
use super::transaction::{Setting, Transaction};
use crate::lifecycle::{Foundation, Subsystem};
use crate::state::Dataplane;

/// Agents, and who of them is saying everything again.
#[derive(Default)]
pub struct Agents {
    /// By name and user.
    numbers: HashMap<(String, u32), u16>,
    sessions: HashMap<SessionId, Owner>,
    resyncing: BTreeSet<SessionId>,
    /// Tables that are being said again by all agents together (`ip_table_replace_begin`).
    replacing: BTreeSet<TableIndex>,
    /// Addresses and neighbours.
    pub(super) belongings: Belongings,
}

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.command(|dataplane, session, WeftResyncBegin {}| {
        let owner = dataplane.agent(session);
        // Both count generations of the same routes.
        if owner == Owner::API || !dataplane.agents.replacing.is_empty() {
            return Err(Retval::BUSY);
        }
        let same = |(other, theirs): (&SessionId, &Owner)| *theirs == owner && *other != session.id();
        let Agents { sessions, resyncing, .. } = &mut dataplane.agents;
        if resyncing.iter().any(|other| sessions.get(other).is_some_and(|theirs| same((other, theirs)))) {
            return Err(Retval::RSRC_IN_USE);
        }
        resyncing.insert(session.id());
        let belongings = &mut dataplane.agents.belongings;
        belongings.begin(Replay::Agent(owner), belongings.of(owner));
        for table in dataplane.tables() {
            dataplane.router.begin_resync(table, owner);
        }
        Ok(WeftResyncBeginReply { retval: 0 })
    });
    registry.command(|dataplane, session, WeftResyncEnd {}| {
        if !dataplane.agents.resyncing.remove(&session.id()) {
            return Err(Retval::NO_SUCH_ENTRY);
        }
        let owner = dataplane.agent(session);
        let removed = dataplane.end_replay(Replay::Agent(owner))?;
        // Routes come last: what follows from the addresses is none of them.
        let removed = removed + dataplane.end_resync(&dataplane.tables(), &[owner])?;
        Ok(WeftResyncEndReply { retval: 0, removed: u32::try_from(removed).unwrap_or(u32::MAX) })
    });
    registry.command(|dataplane, session, WeftResyncAbort {}| match dataplane.give_up_resync(session) {
        true => Ok(WeftResyncAbortReply { retval: 0 }),
        false => Err(Retval::NO_SUCH_ENTRY),
    });
    registry.on_lost(|dataplane, session| {
        dataplane.give_up_resync(session);
        dataplane.agents.sessions.remove(&session.id());
    });
}

impl Subsystem for Agents {
    fn interface_removed(&mut self, _: &mut Foundation<'_>, index: InterfaceIndex) {
        self.belongings.forget(index);
    }

    fn table_removed(&mut self, _: &mut Foundation<'_>, table: TableIndex) {
        self.replacing.remove(&table);
    }
}

impl Dataplane {
    /// Who a client is as far as routes are concerned.
    pub(super) fn agent(&mut self, session: &Session) -> Owner {
        let Agents { numbers, sessions, .. } = &mut self.agents;
        *sessions.entry(session.id()).or_insert_with(|| {
            let next = u16::try_from(numbers.len()).ok().filter(|next| *next < Owner::AGENTS);
            let number = match numbers.get(&(session.name(), session.peer().uid)) {
                Some(number) => Some(*number),
                None => next.inspect(|next| {
                    numbers.insert((session.name(), session.peer().uid), *next);
                }),
            };
            number.map_or(Owner::API, Owner::agent)
        })
    }

    /// What was not said again stays. Says whether there was a replay.
    fn give_up_resync(&mut self, session: &Session) -> bool {
        let under_way = self.agents.resyncing.remove(&session.id());
        if under_way {
            let owner = self.agent(session);
            self.agents.belongings.end(Replay::Agent(owner));
        }
        under_way
    }

    /// Removes the addresses and neighbours that were not said again; returns how many.
    pub(super) fn end_replay(&mut self, replay: Replay) -> Result<usize, Retval> {
        let mut transaction = Transaction::default();
        let mut removed = 0;
        for thing in self.agents.belongings.end(replay) {
            // Somebody else may have removed it, who does not tell the API.
            let (is_there, setting) = match thing {
                Thing::Address(index, address) => {
                    let interface = self.interfaces.get(index);
                    let is_there = interface.is_some_and(|interface| interface.addresses4.contains(&address));
                    (is_there, Setting::NoAddress(index, address))
                }
                Thing::Neighbor(index, address) => {
                    let neighbor = self.router.neighbors().get(index, address.into());
                    (neighbor.is_some(), Setting::NoNeighbor(index, address))
                }
            };
            if is_there {
                transaction.set(setting);
                removed += 1;
            } else {
                self.agents.belongings.unsaid(thing);
            }
        }
        self.commit(transaction, Purpose::Make).map_err(|refused| refused.retval)?;
        Ok(removed)
    }

    fn tables(&self) -> Vec<TableIndex> {
        self.router.tables().map(|(index, _)| index).collect()
    }

    fn all_agents(&self) -> Vec<Owner> {
        self.agents.numbers.values().map(|number| Owner::agent(*number)).chain([Owner::API]).collect()
    }

    fn end_resync(&mut self, tables: &[TableIndex], owners: &[Owner]) -> Result<usize, Retval> {
        let mut removed = 0;
        for table in tables {
            for owner in owners {
                removed += self.router.end_resync(&mut self.engine, *table, *owner).map_err(router)?;
            }
        }
        Ok(removed)
    }

    /// The routes of all clients in a table are about to be said again.
    pub(super) fn begin_replacing(&mut self, table: TableIndex) -> Result<(), Retval> {
        if !self.agents.resyncing.is_empty() {
            return Err(Retval::BUSY);
        }
        self.agents.replacing.insert(table);
        for owner in self.all_agents() {
            self.router.begin_resync(table, owner);
        }
        Ok(())
    }

    /// What was not said again goes. Without a beginning there is nothing to do.
    pub(super) fn end_replacing(&mut self, table: TableIndex) -> Result<(), Retval> {
        if self.agents.replacing.remove(&table) {
            self.end_resync(&[table], &self.all_agents())?;
        }
        Ok(())
    }
}
