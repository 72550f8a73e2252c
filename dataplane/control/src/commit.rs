// SPDX-License-Identifier: Apache-2.0
//! How a change set is made: all of it, or nothing.
//!
//! 1. New tables are made: nobody can know them.
//! 2. Steps are made one after the other on interfaces that workers do not see ([`Interfaces::begin`]) and on claims that
//!    can be rolled back, so that each is judged as if those before it had been made. New interfaces are there without
//!    their devices; whoever keeps something of an interface that is deleted is asked.
//! 3. Tables get ready for all routes: those of the change set, those that follow from addresses, and without those over
//!    interfaces that are deleted.
//! 4. New devices are opened, and Linux interfaces below are changed. This is seen outside, and the last that can fail.
//! 5. All is published: interfaces in one step, then routes, then what follows from both. Deleted interfaces wait for those who
//!    keep something of them ([`Control::take_deleted_interfaces`]).
//!
//! Whatever is refused, the rest is tried nevertheless, so that the caller learns of everything that is wrong; then
//! everything is made as it was before.
//!
//! [`Interfaces::begin`]: weft_nodes::interface::Interfaces::begin

mod draft;
mod l2;
mod planner;
mod routes;
mod rule_steps;
mod rules;
mod trial;

use std::collections::BTreeSet;

use weft_nodes::fib::{Ip4, Ip6};

use crate::Control;
use crate::change_set::ChangeSet;
use crate::error::Refused;
use crate::links::Links;
use draft::Draft;
use planner::Planner;
use routes::Routes;
pub use trial::Trial;

/// What a commit is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To make the changes.
    Make,
    /// To know whether they could be made; nobody sees any of them.
    Try,
}

impl Control {
    /// Makes all changes of a set in one step that nobody sees the inside of, or none.
    pub fn commit(
        &mut self,
        links: &mut dyn Links,
        changes: &ChangeSet,
        purpose: Purpose,
    ) -> Result<(), Refused> {
        changes.check(self).map_err(Refused::general)?;
        let mut draft = Draft::default();
        draft.add_tables(self, changes.wanted_tables());
        let mut refused = std::mem::take(&mut draft.refused);
        let placed = changes.plans_tables().then(|| {
            let (steps, lost) = changes.placed(&draft.tables);
            refused.extend(lost);
            steps
        });
        let lost: BTreeSet<usize> = refused.iter().map(|(step, _)| *step).collect();
        let steps = placed.as_deref().unwrap_or(&changes.steps);
        self.interfaces.begin();
        self.claims.begin();
        let mut planner =
            Planner { control: self, links: &mut *links, owner: changes.owner(), step: 0, draft };
        planner.plan_all(steps);
        let Planner { mut draft, .. } = planner;
        draft.refused.extend(refused);
        draft.rules.prepare(self, &mut draft.refused);
        draft.prepare_l2(self);
        let admits = draft.rules.admits(self);
        if let Some((step, true)) = admits
            && let Err(error) = draft.make_tracker(self)
        {
            draft.refused.push((step, error));
        }
        let ip4 = Routes::<Ip4>::of(&draft, self, steps, &lost);
        let ip6 = Routes::<Ip6>::of(&draft, self, steps, &lost);
        let prepared = (
            self.router.prepare(&mut self.engine, &ip4.tables, &draft.gone),
            self.router.prepare(&mut self.engine, &ip6.tables, &draft.gone),
        );
        let mut general = None;
        match prepared {
            (Ok(routes4), Ok(routes6)) => {
                draft.check_deleted_tables(self);
                let make = purpose == Purpose::Make && draft.refused.is_empty();
                if make && draft.open_devices(self, links) && draft.change_links(self, links, changes.owner())
                {
                    // Rules first: what comes by an interface that is up finds those that it is to meet.
                    std::mem::take(&mut draft.rules).commit(self);
                    draft.commit_l2(self);
                    self.interfaces.commit(&mut self.engine);
                    self.claims.commit();
                    self.router.publish(&mut self.engine, &self.interfaces, routes4);
                    self.router.publish(&mut self.engine, &self.interfaces, routes6);
                    if let Some((_, admits)) = admits {
                        self.follow_admission(admits);
                    }
                    draft.finish(self, changes.owner());
                    return Ok(());
                }
                self.router.withdraw(&mut self.engine, routes6);
                self.router.withdraw(&mut self.engine, routes4);
            }
            (routes4, routes6) => {
                let ((refused4, general4), (refused6, general6)) =
                    (ip4.refused(self, routes4), ip6.refused(self, routes6));
                draft.refused.extend(refused4.into_iter().chain(refused6));
                general = general4.or(general6);
            }
        }
        draft.rules.roll_back(self);
        draft.forget_flows(self);
        self.interfaces.roll_back(&mut self.engine);
        self.claims.roll_back();
        draft.remove_tables(self);
        draft.refused.sort_by_key(|(step, _)| *step);
        draft.refused.dedup_by_key(|(step, _)| *step);
        match draft.refused.is_empty() && general.is_none() {
            true => Ok(()),
            false => Err(Refused { steps: draft.refused, general }),
        }
    }
}
