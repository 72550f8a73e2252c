// SPDX-License-Identifier: Apache-2.0
//! Changes that clients want, by themselves or in batches: each is a change set of the agent that the client is.

use weft_binapi::Retval;
use weft_binapi::api::weft_change::WeftChange;
use weft_binapi::server::{Purpose, Refused, Registry, Session, Transactional};
use weft_control::ChangeSet;

use super::retval;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, session, WeftChange { command }| {
        let tree = dataplane.commands();
        let so_far = std::mem::replace(changes, ChangeSet::new(changes.owner()));
        dataplane.begin_collecting(so_far);
        let noted = tree.collect(dataplane, &command, session.rights());
        if let Some(collected) = dataplane.end_collecting() {
            *changes = collected;
        }
        noted.map_err(|error| {
            tracing::info!("API: {command:?}: {error}");
            Retval::INVALID_VALUE
        })?;
        Ok(())
    });
}

impl Transactional for Dataplane {
    type Transaction = ChangeSet;

    fn begin(&mut self, session: &Session) -> ChangeSet {
        ChangeSet::new(self.agent(session))
    }

    fn noted(changes: &ChangeSet) -> usize {
        changes.len()
    }

    fn commit(&mut self, changes: &ChangeSet, purpose: Purpose) -> Result<(), Refused> {
        let purpose = match purpose {
            Purpose::Make => weft_control::Purpose::Make,
            Purpose::Try => weft_control::Purpose::Try,
        };
        self.change(changes, purpose).map_err(|refused| {
            let retval = refused.first().map_or(weft_binapi::Retval::UNSPECIFIED, retval::step);
            let notes = refused.steps.iter().map(|(step, error)| (*step, retval::of(error))).collect();
            Refused { retval, notes }
        })
    }
}
