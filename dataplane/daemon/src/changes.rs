// SPDX-License-Identifier: Apache-2.0
//! Where change sets meet what the daemon has beside: the devices that interfaces stand on, whoever keeps something by the
//! index of an interface or table that goes, and the plugins that have declared settings.

use weft_control::{ChangeSet, Control, Owner, Purpose, Refused, Replay, StepError};

use crate::state::Dataplane;
use crate::subsystem::Subsystems;

impl Dataplane {
    /// Makes all changes of a set, or none; or finds out whether they could be made.
    pub fn change(&mut self, changes: &ChangeSet, purpose: Purpose) -> Result<(), Refused> {
        self.by_control(|control, links| control.commit(links, changes, purpose))
    }

    /// Makes what can be made of a set; returns the steps that were refused.
    pub fn change_possible(&mut self, changes: ChangeSet) -> Vec<(usize, StepError)> {
        self.by_control(|control, links| control.commit_possible(links, changes))
    }

    /// See [`Control::end_resync`].
    pub fn end_resync(&mut self, owner: Owner) -> Result<usize, StepError> {
        self.by_control(|control, links| control.end_resync(links, owner))
    }

    /// See [`Control::end_replay`].
    pub fn end_replay(&mut self, replay: Replay) -> usize {
        self.by_control(|control, links| control.end_replay(links, replay))
    }

    fn by_control<R>(&mut self, work: impl FnOnce(&mut Control, &mut Subsystems) -> R) -> R {
        let (control, parts) = self.split();
        let result = work(control, parts);
        self.tell_of_deleted_interfaces();
        self.tell_of_changes();
        self.tell_of_deleted_tables();
        self.tell_of_settings();
        result
    }
}
