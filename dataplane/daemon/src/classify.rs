// SPDX-License-Identifier: Apache-2.0
//! Rule sets of the daemon: what rules need of the router is held as long as there are such rules.

use std::collections::HashMap;

use weft_classify::{Redirect, RuleSets, Verdict};
use weft_control::Control;
use weft_engine::{Engine, InterfaceIndex};
use weft_nodes::interface::Interfaces;
use weft_nodes::ip4::NextHopId;

use crate::lifecycle::Foundation;
use crate::state::Dataplane;

impl Foundation<'_> {
    /// An interface is about to be deleted: its rules are detached, and those that name it go with it.
    pub fn rules_leave(&mut self, index: InterfaceIndex) {
        let hops = self.router.objects().next_hops.iter();
        let on_it: Vec<NextHopId> =
            hops.filter(|(_, hop)| hop.interface == index).map(|(id, _)| id).collect();
        let gone = self.change_rules(&[], |sets, engine, interfaces| {
            sets.interface_leaves(engine, interfaces, index, |id| on_it.contains(&id))
        });
        let interface = self.interfaces.get(index).map_or("?", |interface| interface.name.as_str());
        for (set, rule) in gone {
            tracing::warn!(
                "rule {rule} of set '{set}' is deleted with interface {interface}, which it names"
            );
        }
    }

    /// Changes rules. Every next hop that a rule names is held once per rule: `acquired` are those that were acquired for
    /// this change; what no rule names afterwards, because the change was refused or rules are gone, is released.
    pub fn change_rules<R>(
        &mut self,
        acquired: &[NextHopId],
        change: impl FnOnce(&mut RuleSets, &mut Engine, &Interfaces) -> R,
    ) -> R {
        let mut held: HashMap<NextHopId, usize> = HashMap::new();
        for id in next_hops(self.rule_sets).chain(acquired.iter().copied()) {
            *held.entry(id).or_default() += 1;
        }
        let result = change(self.rule_sets, self.engine, self.interfaces);
        for id in next_hops(self.rule_sets) {
            if let Some(count) = held.get_mut(&id) {
                *count -= 1;
            }
        }
        for (id, count) in held {
            (0..count).for_each(|_| self.router.release_next_hop(self.engine, id));
        }
        result
    }
}

impl Dataplane {
    /// [`Foundation::change_rules`]
    pub fn change_rules<R>(
        &mut self,
        acquired: &[NextHopId],
        change: impl FnOnce(&mut RuleSets, &mut Engine, &Interfaces) -> R,
    ) -> R {
        let Dataplane { control: Control { engine, interfaces, router, .. }, rule_sets, .. } = self;
        Foundation { engine, interfaces, router, rule_sets }.change_rules(acquired, change)
    }
}

fn next_hops(sets: &RuleSets) -> impl Iterator<Item = NextHopId> {
    sets.iter().flat_map(|set| {
        set.rules.iter().filter_map(|rule| match rule.action.verdict {
            Verdict::Redirect(Redirect::NextHop(id)) => Some(id),
            _ => None,
        })
    })
}
