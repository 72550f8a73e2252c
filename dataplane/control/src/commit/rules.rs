// SPDX-License-Identifier: Apache-2.0
//! Rules of a change set: each step works on copies of the sets; when all steps are done, every set that is another one is
//! compiled once, and shown to workers with all others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weft_classify::{ClassifyError, Direction, Redirect, RuleSet, Verdict};
use weft_engine::InterfaceIndex;
use weft_nodes::fib::AdjacencyId;

use crate::Control;
use crate::error::StepError;

pub(super) type Place = (InterfaceIndex, Direction);

/// What becomes of rules, with the last step that changed it.
#[derive(Default)]
pub(super) struct RulesDraft {
    /// `None`: deleted.
    pub(super) sets: BTreeMap<Arc<str>, (usize, Option<RuleSet>)>,
    pub(super) attached: BTreeMap<Place, (usize, Option<Arc<str>>)>,
    /// Held for rules that come.
    pub(super) held: Vec<AdjacencyId>,
    /// Held for the rules that these sets had before.
    pub(super) before: Vec<AdjacencyId>,
    /// Whether the classifier has begun a transaction.
    pub(super) begun: bool,
}

fn next_hops(set: &RuleSet) -> impl Iterator<Item = AdjacencyId> {
    set.iter().filter_map(|rule| match rule.action.verdict {
        Verdict::Redirect(Redirect::NextHop(id)) => Some(id),
        _ => None,
    })
}

impl RulesDraft {
    /// Has the classifier get ready for everything.
    pub fn prepare(&mut self, control: &mut Control, refused: &mut Vec<(usize, StepError)>) {
        if self.sets.is_empty() && self.attached.is_empty() {
            return;
        }
        self.begun = true;
        let Control { rule_sets, engine, interfaces, .. } = control;
        rule_sets.begin();
        let mut note = |step: usize, done: Result<(), ClassifyError>| {
            refused.extend(done.err().map(|error| (step, error.into())));
        };
        for (&(interface, direction), (step, set)) in &self.attached {
            let is_attached = rule_sets.attached().any(|(on, way, _)| (on, way) == (interface, direction));
            if set.is_none() && is_attached {
                note(*step, rule_sets.detach(engine, interfaces, interface, direction));
            }
        }
        for (name, (step, set)) in &mut self.sets {
            let before = rule_sets.get(name);
            self.before.extend(before.iter().flat_map(|view| next_hops(view.rules)));
            let same = before.is_some_and(|view| Some(view.rules) == set.as_ref());
            if let Some(set) = set.as_ref().filter(|_| !same) {
                let changed = rule_sets.change(engine, interfaces, name, |rules| {
                    rules.clone_from(set);
                    Ok(())
                });
                note(*step, changed);
            }
        }
        for (&(interface, direction), (step, set)) in &self.attached {
            let Some(set) = set else { continue };
            if !rule_sets.attached().any(|at| at == (interface, direction, &**set)) {
                note(*step, rule_sets.attach(engine, interfaces, set, interface, direction));
            }
        }
        for (name, (step, set)) in &self.sets {
            if set.is_none() && rule_sets.get(name).is_some() {
                note(*step, rule_sets.delete(engine, interfaces, name));
            }
        }
    }

    /// Whether some rule admits flows then, and a step that says so; `None`: rules are as they were.
    pub fn admits(&self, control: &Control) -> Option<(usize, bool)> {
        let admits = |set: &RuleSet| set.iter().any(|rule| rule.action.admit);
        let step =
            self.sets.values().find(|(_, set)| set.as_ref().is_some_and(admits)).map(|(step, _)| *step);
        let all = || control.rule_sets.iter().any(|set| admits(set.rules));
        self.begun.then(|| (step.unwrap_or(0), step.is_some() || all()))
    }

    /// Shows workers all of it. Next hops that no rule names any more are given back: each is held once per rule.
    pub fn commit(self, control: &mut Control) {
        let Control { rule_sets, engine, router, .. } = control;
        if self.begun {
            rule_sets.commit(engine);
        }
        let mut held: HashMap<AdjacencyId, usize> = HashMap::new();
        self.before.into_iter().chain(self.held).for_each(|id| *held.entry(id).or_default() += 1);
        for id in self.sets.keys().filter_map(|name| rule_sets.get(name)).flat_map(|set| next_hops(set.rules))
        {
            if let Some(count) = held.get_mut(&id) {
                *count = count.saturating_sub(1);
            }
        }
        for (id, count) in held {
            (0..count).for_each(|_| router.release_adjacency(engine, id));
        }
    }

    /// Makes the classifier as it was before.
    pub fn roll_back(&mut self, control: &mut Control) {
        let Control { rule_sets, engine, router, .. } = control;
        if std::mem::take(&mut self.begun) {
            rule_sets.roll_back(engine);
        }
        self.held.drain(..).for_each(|id| router.release_adjacency(engine, id));
    }
}
