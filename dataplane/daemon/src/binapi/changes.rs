// SPDX-License-Identifier: Apache-2.0
//! Changes that clients want, by themselves or in batches: each is a change set of the agent that the client is.

use weft_binapi::server::{Purpose, Refused, Session, Transactional};
use weft_control::ChangeSet;

use super::retval;
use crate::state::Dataplane;

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
