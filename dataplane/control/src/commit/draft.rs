// SPDX-License-Identifier: Apache-2.0
//! What a change set comes to while its steps are tried, and how that is done, or undone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;
use weft_engine::{InterfaceIndex, Lease};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{Owner, TableIndex, by_family};
use weft_nodes::router::RouterError;

use super::l2::L2Draft;
use super::rules::RulesDraft;
use super::trial::Work;
use crate::Control;
use crate::error::StepError;
use crate::links::{Links, NewDevice, Opened, Undo};
use crate::object::{Object, TableKey};
use crate::settings::Setting;
use crate::step::RouteStep;
use crate::value::Value;

/// What is to be known of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NeighborEntry {
    /// Configured.
    Static(MacAddr),
    /// As if it had been heard.
    Heard(MacAddr),
}

/// Neighbours as they are to be, or that they are not to be.
#[derive(Default)]
pub(super) struct NeighborsDraft {
    /// Each with whether the table does not know it, so that it takes a place there.
    fates: BTreeMap<(InterfaceIndex, IpAddr), (Option<NeighborEntry>, bool)>,
    /// How many take a place: counted along, since each neighbour that comes asks for it.
    coming: usize,
}

impl NeighborsDraft {
    pub(super) fn get(&self, key: (InterfaceIndex, IpAddr)) -> Option<Option<NeighborEntry>> {
        self.fates.get(&key).map(|(fate, _)| *fate)
    }

    /// A neighbour is to be so; `unknown`: the table has no entry for it.
    pub(super) fn put(&mut self, key: (InterfaceIndex, IpAddr), fate: Option<NeighborEntry>, unknown: bool) {
        let comes = unknown && fate.is_some();
        let before = self.fates.insert(key, (fate, comes));
        self.coming += usize::from(comes);
        self.coming -= usize::from(before.is_some_and(|(_, came)| came));
    }

    /// How many places the table has to have for those that come.
    pub(super) fn coming(&self) -> usize {
        self.coming
    }

    fn interface_goes(&mut self, index: InterfaceIndex) {
        self.fates.retain(|(on, _), _| *on != index);
        self.coming = self.fates.values().filter(|(_, comes)| *comes).count();
    }
}

/// An interface that comes.
pub(super) struct New {
    pub(super) step: usize,
    /// Its device, if it has one of its own.
    pub(super) device: Option<Rc<dyn NewDevice>>,
}

/// What becomes of a change set that is being tried.
#[derive(Default)]
pub(super) struct Draft {
    /// Tables that were made for it.
    pub(super) tables: BTreeMap<TableKey, TableIndex>,
    /// Routes that follow from addresses, by the step of the address.
    pub(super) routes: BTreeMap<usize, Vec<RouteStep>>,
    /// Subnets that interfaces lose.
    pub(super) subnets: Vec<(InterfaceIndex, IpNet)>,
    pub(super) neighbors: NeighborsDraft,
    pub(super) features: BTreeMap<(InterfaceIndex, String, String), bool>,
    pub(super) rules: RulesDraft,
    /// What is switched, if a step is about that.
    pub(super) l2: Option<L2Draft>,
    /// What settings, and other steps, have left to be done.
    pub(super) work: Work,
    /// Next hops that are held for verdicts of it.
    pub(super) for_flows: Vec<(InterfaceIndex, IpAddr)>,
    pub(super) settings: BTreeMap<(&'static Setting, Option<InterfaceIndex>), Value>,
    /// Interfaces that come.
    pub(super) new: BTreeMap<InterfaceIndex, New>,
    /// Interfaces that go, and names that are free by that.
    pub(super) gone: BTreeSet<InterfaceIndex>,
    pub(super) names_gone: BTreeSet<String>,
    pub(super) deleted: Vec<(usize, TableKey)>,
    pub(super) said: Vec<Object>,
    pub(super) refused: Vec<(usize, StepError)>,
}

impl Draft {
    pub(super) fn make_tracker(&mut self, control: &mut Control) -> Result<(), StepError> {
        self.work.tracker_made |= control.make_tracker()?;
        Ok(())
    }

    /// What was made for flows is as it was before.
    pub(super) fn forget_flows(&mut self, control: &mut Control) {
        for (on, address) in self.for_flows.drain(..) {
            control.forget_decision(on, address);
        }
        if self.work.tracker_made {
            control.unmake_tracker();
        }
    }

    /// Makes tables: each with the step that wants it, and its name.
    pub(super) fn add_tables<'a>(
        &mut self,
        control: &mut Control,
        wanted: impl Iterator<Item = (usize, TableKey, &'a str)>,
    ) {
        for (step, key, name) in wanted {
            if control.table_index(key).is_ok() {
                continue;
            }
            let Control { router, engine, .. } = control;
            let made =
                by_family!(key.0, F => router.add_table::<F>(engine, key.1, name).map_err(StepError::from));
            match made {
                Ok(index) => drop(self.tables.insert(key, index)),
                Err(error) => self.refused.push((step, error)),
            }
        }
    }

    pub(super) fn remove_tables(&mut self, control: &mut Control) {
        for (version, id) in std::mem::take(&mut self.tables).into_keys() {
            if let Err(error) = delete_table(control, (version, id)) {
                tracing::error!("{version} table {id} stays though its change was refused: {error}");
            }
        }
    }

    /// Nothing may lead into a table that goes, when all routes are as they are to be.
    pub(super) fn check_deleted_tables(&mut self, control: &Control) {
        for (step, (version, id)) in &self.deleted {
            by_family!(*version, F => {
                let Ok(index) = control.router.table_index::<F>(*id) else { continue };
                let users = control.router.users_of::<F>(&control.interfaces, index);
                if !users.is_empty() {
                    self.refused.push((*step, RouterError::<F>::TableInUse(*id, users).into()));
                }
            });
        }
    }

    /// An interface goes: nothing has to be done on it.
    pub(super) fn interface_goes(&mut self, index: InterfaceIndex, name: String) {
        self.gone.insert(index);
        if self.new.remove(&index).is_none() {
            self.names_gone.insert(name);
        }
        self.subnets.retain(|(on, _)| *on != index);
        self.neighbors.interface_goes(index);
        self.features.retain(|(on, ..), _| *on != index);
        self.settings.retain(|(_, on), value| *on != Some(index) && *value != Value::Interface(index));
        self.work.interface_goes(index);
    }

    /// Opens the devices below new interfaces; says whether all could be opened. If not, all is as it was.
    pub(super) fn open_devices(&mut self, control: &mut Control, links: &mut dyn Links) -> bool {
        if let Err((index, error)) = control.interfaces.ready(&mut control.engine) {
            self.refused.push((self.new.get(&index).map_or(0, |new| new.step), error.into()));
            return false;
        }
        for (index, New { step, device }) in &self.new {
            let Some(device) = device else { continue };
            let opened = links.open(&mut control.foundation(), &**device, *index).map_err(StepError::from);
            let Control { engine, interfaces, .. } = control;
            let opened = opened.and_then(|Opened { tx, host }| {
                let subs: Vec<_> = interfaces.subs(*index).map(|(sub, _)| sub).collect();
                for index in subs.into_iter().chain([*index]) {
                    interfaces.change(engine, index, |it| (it.tx, it.host) = (tx, host))?;
                }
                Ok(())
            });
            if let Err(error) = opened {
                self.refused.push((*step, error));
                self.close_devices(control, links, *index);
                return false;
            }
        }
        true
    }

    /// Closes the devices that were opened, those of interfaces before this one.
    fn close_devices(&self, control: &mut Control, links: &mut dyn Links, end: InterfaceIndex) {
        for (index, _) in self.new.range(..end).rev().filter(|(_, new)| new.device.is_some()) {
            links.close(&mut control.foundation(), *index);
        }
    }

    /// Changes what is below interfaces; says whether all of it could be changed. If not, all is as it was.
    pub(super) fn change_links(
        &mut self,
        control: &mut Control,
        links: &mut dyn Links,
        owner: Owner,
    ) -> bool {
        let done = self.change_each_link(links, owner);
        if !done {
            self.close_devices(control, links, InterfaceIndex::NONE);
        }
        done
    }

    fn change_each_link(&mut self, links: &dyn Links, owner: Owner) -> bool {
        let mut undo: Vec<Undo<'_>> = Vec::new();
        let mtus = self.work.mtus.iter().map(|(step, index, mtu)| (*step, links.carry(*index, *mtu, owner)));
        let macs =
            self.work.macs.iter().map(|(step, index, mac)| (*step, links.set_mac(*index, *mac, owner)));
        for (step, done) in mtus.chain(macs) {
            match done {
                Ok(way_back) => undo.push(way_back),
                Err(error) => {
                    undo.into_iter().rev().for_each(|way_back| way_back());
                    self.refused.push((step, error.into()));
                    return false;
                }
            }
        }
        true
    }

    /// What follows when everything else has been published. Nothing of it was found to be impossible.
    pub(super) fn finish(self, control: &mut Control, owner: Owner) {
        let Control { router, engine, interfaces, .. } = control;
        for (index, subnet) in self.subnets {
            by_family!(subnet, IpNet(subnet), F => router.forget_subnet::<F>(engine, interfaces, index, subnet));
        }
        for ((index, address), (fate, _)) in self.neighbors.fates {
            let known = by_family!(address, IpAddr(address), F => match fate {
                Some(NeighborEntry::Static(mac)) => {
                    router.set_static_neighbor::<F>(engine, interfaces, index, address, mac).map_err(StepError::from)
                }
                Some(NeighborEntry::Heard(mac)) => {
                    router.tell_neighbor::<F>(engine, interfaces, index, address, mac).map_err(StepError::from)
                }
                None => {
                    router.remove_neighbor(engine, interfaces, index, IpAddr::from(address));
                    Ok(())
                }
            });
            if let Err(error) = known {
                tracing::error!("neighbour {address}: {error}");
            }
        }
        for ((index, arc, feature), on) in self.features {
            let arc = control.engine.features().arc(&arc);
            if let Err(error) = arc.and_then(|arc| control.engine.set_feature(arc, index, &feature, on)) {
                tracing::error!("feature {feature}: {error}");
            }
        }
        for (step, work) in self.work.after {
            if let Err(error) = work(control) {
                tracing::error!("step {step} of a change of {owner}: {error}");
            }
        }
        for (_, (version, id)) in self.deleted {
            match delete_table(control, (version, id)) {
                Ok((index, lease)) => {
                    control.flows_lose_table(version, index, &lease);
                    control.deleted_tables.push((version, index, lease));
                }
                Err(error) => tracing::error!("{error}"),
            }
        }
        self.said.iter().for_each(|object| control.claims.said(object, owner));
        self.gone.iter().for_each(|index| control.interface_gone(*index));
    }
}

/// Deletes a table that nothing leads into; returns the index that it had.
fn delete_table(control: &mut Control, (version, id): TableKey) -> Result<(TableIndex, Lease), StepError> {
    let index = control.table_index((version, id))?;
    let Control { router, engine, interfaces, .. } = control;
    Ok((index, by_family!(version, F => router.delete_table::<F>(engine, interfaces, id)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_come_are_counted_along() {
        let mut draft = NeighborsDraft::default();
        let key = |on: u32, last: u8| (InterfaceIndex(on), IpAddr::from([192, 0, 2, last]));
        let comes = |last| Some(NeighborEntry::Static(MacAddr([2, 0, 0, 0, 0, last])));
        draft.put(key(1, 1), comes(1), true);
        draft.put(key(1, 2), comes(2), false);
        assert_eq!(draft.coming(), 1, "the table has a place for what it knows");
        draft.put(key(1, 1), comes(3), true);
        assert_eq!(draft.coming(), 1, "another MAC address takes no other place");
        draft.put(key(1, 1), None, true);
        assert_eq!(draft.coming(), 0);
        assert!(draft.get(key(1, 1)) == Some(None) && draft.get(key(1, 3)).is_none());
        draft.put(key(1, 1), comes(1), true);
        draft.put(key(2, 1), comes(1), true);
        draft.interface_goes(InterfaceIndex(1));
        assert_eq!(draft.coming(), 1);
        assert!(draft.get(key(1, 1)).is_none() && draft.get(key(2, 1)) == Some(comes(1)));
    }
}
