// SPDX-License-Identifier: Apache-2.0
//! Whose is what: what an agent has made outlives its connection, and after a restart the agent says it again.
//!
//! An agent is the name and the user that a client connects with. Each is an [`Owner`], so that what it does not say again
//! can be told from what others have said. The number of agents is bounded by [`Owner::AGENTS`]; those above share one
//! owner, and cannot resynchronise.

use std::collections::{BTreeSet, HashMap};

use weft_binapi::Retval;
use weft_binapi::api::weft_resync::{WeftResyncAbort, WeftResyncBegin, WeftResyncEnd, WeftResyncEndReply};
use weft_binapi::server::{Registry, Session, SessionId};
use weft_control::Configured;
use weft_engine::Lease;
use weft_nodes::interface::{IpVersion, Owner, TableIndex};

use super::retval::step;
use crate::state::Dataplane;
use crate::subsystem::{Foundation, Subsystem};

/// Agents, and who of them is saying everything again.
#[derive(Default)]
pub struct Agents {
    /// By name and user.
    numbers: HashMap<(String, u32), u16>,
    sessions: HashMap<SessionId, Owner>,
    resyncing: BTreeSet<SessionId>,
    /// Tables that are being said again by all agents together (`ip_table_replace_begin`).
    replacing: BTreeSet<(IpVersion, TableIndex)>,
}

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.command(|dataplane, session, WeftResyncBegin {}| {
        let owner = dataplane.agent(session);
        // Both count generations of the same routes.
        if owner == Owner::API || !dataplane.part::<Agents>().replacing.is_empty() {
            return Err(Retval::BUSY);
        }
        let same = |(other, theirs): (&SessionId, &Owner)| *theirs == owner && *other != session.id();
        let Agents { sessions, resyncing, .. } = dataplane.part_mut::<Agents>();
        if resyncing.iter().any(|other| sessions.get(other).is_some_and(|theirs| same((other, theirs)))) {
            return Err(Retval::RSRC_IN_USE);
        }
        resyncing.insert(session.id());
        dataplane.begin_resync(owner);
        Ok(())
    });
    registry.command(|dataplane, session, WeftResyncEnd {}| {
        if !dataplane.part_mut::<Agents>().resyncing.remove(&session.id()) {
            return Err(Retval::NO_SUCH_ENTRY);
        }
        let owner = dataplane.agent(session);
        let removed = dataplane.end_resync(owner).map_err(|error| step(&error))?;
        Ok(WeftResyncEndReply { retval: 0, removed: u32::try_from(removed).unwrap_or(u32::MAX) })
    });
    registry.command(|dataplane, session, WeftResyncAbort {}| match dataplane.give_up_resync(session) {
        true => Ok(()),
        false => Err(Retval::NO_SUCH_ENTRY),
    });
    registry.on_lost(|dataplane, session| {
        dataplane.give_up_resync(session);
        dataplane.part_mut::<Agents>().sessions.remove(&session.id());
    });
}

impl Subsystem for Agents {
    fn table_removed(&mut self, _: &mut Foundation<'_>, version: IpVersion, table: TableIndex, _: &Lease) {
        self.replacing.remove(&(version, table));
    }
}

impl Dataplane {
    /// Who a client is as far as routes are concerned.
    pub(super) fn agent(&mut self, session: &Session) -> Owner {
        let Agents { numbers, sessions, .. } = self.part_mut::<Agents>();
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
        let under_way = self.part_mut::<Agents>().resyncing.remove(&session.id());
        if under_way {
            let owner = self.agent(session);
            self.abort_resync(owner);
        }
        under_way
    }

    fn all_agents(&self) -> Vec<Owner> {
        self.part::<Agents>()
            .numbers
            .values()
            .map(|number| Owner::agent(*number))
            .chain([Owner::API])
            .collect()
    }

    /// The routes of all clients in a table are about to be said again.
    pub(super) fn begin_replacing<F: Configured>(&mut self, table: TableIndex) -> Result<(), Retval> {
        if !self.part::<Agents>().resyncing.is_empty() {
            return Err(Retval::BUSY);
        }
        self.part_mut::<Agents>().replacing.insert((F::VERSION, table));
        for owner in self.all_agents() {
            self.begin_route_resync::<F>(table, owner);
        }
        Ok(())
    }

    /// What was not said again goes. Without a beginning there is nothing to do.
    pub(super) fn end_replacing<F: Configured>(&mut self, table: TableIndex) -> Result<(), Retval> {
        if self.part_mut::<Agents>().replacing.remove(&(F::VERSION, table)) {
            for owner in self.all_agents() {
                self.sweep_routes::<F>(&[table], owner).map_err(|error| step(&error))?;
            }
        }
        Ok(())
    }
}
