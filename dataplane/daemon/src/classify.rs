// SPDX-License-Identifier: Apache-2.0
//! Rule sets of the daemon: what rules need of the router is held as long as there are such rules.

use std::collections::HashMap;

use weft_classify::{Redirect, RuleSets, Verdict};
use weft_engine::{Engine, InterfaceIndex};
use weft_nodes::interface::Interfaces;
use weft_nodes::ip4::NextHopId;

use crate::state::Dataplane;

impl Dataplane {
    /// Changes rules. Every next hop that a rule names is held once per rule: `acquired` are those that were acquired for
    /// this change; what no rule names afterwards, because the change was refused or rules are gone, is released.
    pub fn change_rules<R>(
        &mut self,
        acquired: &[NextHopId],
        change: impl FnOnce(&mut RuleSets, &mut Engine, &Interfaces) -> R,
    ) -> R {
        let mut held: HashMap<NextHopId, usize> = HashMap::new();
        for id in next_hops(&self.rule_sets).chain(acquired.iter().copied()) {
            *held.entry(id).or_default() += 1;
        }
        let result = change(&mut self.rule_sets, &mut self.engine, &self.interfaces);
        for id in next_hops(&self.rule_sets) {
            if let Some(count) = held.get_mut(&id) {
                *count -= 1;
            }
        }
        for (id, count) in held {
            (0..count).for_each(|_| self.router.release_next_hop(&mut self.engine, id));
        }
        result
    }

    /// An interface is about to be deleted, and with it the rules that name it.
    pub fn forget_rules(&mut self, index: InterfaceIndex) {
        let hops = self.router.objects().next_hops.iter();
        let behind: Vec<NextHopId> =
            hops.filter(|(_, hop)| hop.interface == index).map(|(id, _)| id).collect();
        let attached = self.rule_sets.attached().filter(|(interface, ..)| *interface == index);
        let attached: Vec<String> = attached.map(|(.., set)| set.to_owned()).collect();
        let gone = self.change_rules(&[], |sets, engine, interfaces| {
            sets.interface_leaves(engine, interfaces, index, |id| behind.contains(&id))
        });
        for (set, rule) in gone {
            let interface = self.interface_name(index);
            tracing::warn!(
                "rule {rule} of set '{set}' is deleted with interface {interface}, which it names"
            );
        }
        self.forget_plugin_rules(&attached);
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
