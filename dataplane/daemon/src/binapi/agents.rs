// SPDX-License-Identifier: Apache-2.0
//! Whose is what: routes outlive the connection of the agent that made them, and after a restart it says them again.
//!
//! An agent is the name and the user that a client connects with. Each has an [`Owner`] of its own, which its routes
//! carry, so that what it does not say again can be told from what others have said. The number of agents is bounded by
//! [`Owner::AGENTS`]; those above share one owner, and cannot resynchronise.

use std::collections::{BTreeSet, HashMap};

use weft_binapi::Retval;
use weft_binapi::api::weft_resync::{
    WeftResyncAbort, WeftResyncAbortReply, WeftResyncBegin, WeftResyncBeginReply, WeftResyncEnd,
    WeftResyncEndReply,
};
use weft_binapi::server::{Registry, Session, SessionId};
use weft_nodes::ip4::{Owner, TableIndex};

use super::retval::router;
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
        let removed = dataplane.end_resync(&dataplane.tables(), &[owner])?;
        Ok(WeftResyncEndReply { retval: 0, removed: u32::try_from(removed).unwrap_or(u32::MAX) })
    });
    registry.command(|dataplane, session, WeftResyncAbort {}| {
        match dataplane.agents.resyncing.remove(&session.id()) {
            true => Ok(WeftResyncAbortReply { retval: 0 }),
            false => Err(Retval::NO_SUCH_ENTRY),
        }
    });
    registry.on_lost(|dataplane, session| {
        dataplane.agents.sessions.remove(&session.id());
        dataplane.agents.resyncing.remove(&session.id());
    });
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

    /// The table is gone.
    pub(super) fn forget_replacing(&mut self, table: TableIndex) {
        self.agents.replacing.remove(&table);
    }
}
