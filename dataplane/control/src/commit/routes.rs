// SPDX-License-Identifier: Apache-2.0
//! The routes of a change set, by table.

use std::collections::BTreeSet;

use weft_nodes::fib::{ApplyError, Change};
use weft_nodes::interface::TableIndex;
use weft_nodes::router::{PendingChanges, RouterError};

use super::draft::Draft;
use crate::Control;
use crate::error::StepError;
use crate::family::Configured;
use crate::step::Step;

/// Changes of routes of a family by table, in the order of the steps.
pub(super) struct Routes<'a, F: Configured> {
    pub(super) tables: Vec<(TableIndex, Vec<&'a Change<F>>)>,
    /// By table and change, the step that it follows from.
    steps: Vec<Vec<usize>>,
}

impl<'a, F: Configured> Routes<'a, F> {
    /// All changes of routes of a family, by table, in the order of the steps.
    pub(super) fn of(
        draft: &'a Draft,
        control: &Control,
        steps: &'a [Step],
        without: &BTreeSet<usize>,
    ) -> Routes<'a, F> {
        let mut routes = Routes { tables: Vec::new(), steps: Vec::new() };
        if !draft.gone.is_empty() {
            // Routes over what goes may be anywhere.
            routes.tables = control.router.tables::<F>().map(|(table, _)| (table, Vec::new())).collect();
            routes.steps = vec![Vec::new(); routes.tables.len()];
        }
        for (place, step) in steps.iter().enumerate() {
            let made = match step {
                Step::Route(_) if without.contains(&place) => &[],
                Step::Route(route) => std::slice::from_ref(route),
                Step::Other(_) => draft.routes.get(&place).map_or(&[] as &[_], Vec::as_slice),
            };
            for (table, change) in made.iter().filter_map(F::route_of) {
                routes.add(place, table, change);
            }
        }
        routes
    }

    fn add(&mut self, step: usize, table: TableIndex, change: &'a Change<F>) {
        // Few tables, and mostly the one of the change before.
        let place = self.tables.iter().rposition(|(other, _)| *other == table).unwrap_or_else(|| {
            self.tables.push((table, Vec::new()));
            self.steps.push(Vec::new());
            self.steps.len() - 1
        });
        self.tables[place].1.push(change);
        self.steps[place].push(step);
    }

    /// The tables of some family are not ready: those that are let the routes go. Finds out which steps the errors of others
    /// are about; and the error that is about none.
    pub(super) fn refused(
        &self,
        control: &mut Control,
        prepared: Result<PendingChanges<F>, Vec<(usize, RouterError<F>)>>,
    ) -> (Vec<(usize, StepError)>, Option<StepError>) {
        let (mut refused, mut general) = (Vec::new(), None);
        let errors = prepared.map(|pending| control.router.withdraw(&mut control.engine, pending));
        for (place, error) in errors.err().unwrap_or_default() {
            let steps = &self.steps[place];
            match error {
                RouterError::Apply(ApplyError::Refused(changes)) => {
                    refused.extend(changes.into_iter().map(|(change, error)| (steps[change], error.into())));
                }
                RouterError::UnknownTable(id) => {
                    let unknown = |step: &usize| (*step, RouterError::<F>::UnknownTable(id).into());
                    refused.extend(steps.iter().map(unknown));
                }
                error => general = Some(error.into()),
            }
        }
        (refused, general)
    }
}
