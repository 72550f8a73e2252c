// SPDX-License-Identifier: Apache-2.0
//! What an interface that goes up, down or away means for routes and neighbours.

use std::collections::BTreeSet;

use weft_engine::{Engine, InterfaceIndex};

use super::{PendingChanges, Router, RouterError};
use crate::interface::{Interfaces, LinkState};
use crate::ip4::{Action, Change, Owner, PathTarget, Rewrite, Rib, TableIndex};

impl Router {
    /// The interface (or the port below it) went up or down, or has another MTU or MAC address.
    pub fn interface_changed(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
    ) -> Result<(), RouterError> {
        let family: Vec<InterfaceIndex> =
            std::iter::once(index).chain(interfaces.subs(index).map(|(sub, _)| sub)).collect();
        for index in family {
            if !interfaces.is_up(index) {
                self.forget_link(engine, interfaces, index, false);
            }
            self.set_interface(engine, index, interfaces.state(index))?;
            self.complete(engine, interfaces);
            self.publish_link(engine, interfaces, index);
        }
        Ok(())
    }

    /// Says what a tunnel puts before packets that leave by its interface, in place of the header for a neighbour: nobody is
    /// asked there. Then they go to the transmit node of the interface, which finds them with these bytes in front and sends
    /// them on, by the adjacency that the tunnel is on ([`Router::hold_next_hop`]) or by another lookup.
    pub fn set_encapsulation(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
        rewrite: Rewrite,
    ) {
        self.encapsulations.insert(index, rewrite);
        self.publish_link(engine, interfaces, index);
    }

    /// Publishes the adjacencies on a link anew.
    fn publish_link(&mut self, engine: &mut Engine, interfaces: &Interfaces, index: InterfaceIndex) {
        let on_it = self.objects.next_hops.iter().filter(|(_, hop)| hop.interface == index);
        let on_it: Vec<_> = on_it.map(|(id, hop)| (id, hop.address)).collect();
        for (id, address) in on_it {
            let known = self.neighbors.get(index, address).and_then(|neighbor| neighbor.state.mac());
            self.publish_next_hop(engine, interfaces, id, known);
        }
    }

    /// The interface is about to be deleted: takes away its addresses, its neighbours and all paths over it; or, on an
    /// error, nothing.
    pub fn interface_leaves(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
    ) -> Result<(), RouterError> {
        interfaces.begin();
        match self.prepare_leaving(engine, interfaces, index) {
            Ok(pending) => {
                interfaces.commit(engine);
                self.publish(engine, interfaces, pending);
            }
            Err(error) => {
                interfaces.roll_back();
                return Err(error);
            }
        }
        self.forget_link(engine, interfaces, index, true);
        self.encapsulations.remove(&index);
        // The next interface with this index begins anew.
        let forgotten = self.set_interface(engine, index, LinkState::Up);
        debug_assert!(forgotten.is_ok(), "no path leads there any more: {:?}", forgotten.err());
        Ok(())
    }

    /// Takes the addresses away, in the transaction that is under way, and gets ready to take all paths away.
    fn prepare_leaving(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
    ) -> Result<PendingChanges, RouterError> {
        let interface = interfaces.get(index).cloned();
        let home = interface.as_ref().map(|interface| interface.table4);
        let mut own = Vec::new();
        for address in interface.map(|interface| interface.addresses4).unwrap_or_default() {
            own.extend(Router::address_goes(interfaces, index, address)?.1);
            interfaces.change(engine, index, |interface| {
                interface.addresses4.retain(|other| *other != address);
            })?;
        }
        let mut changes: Vec<(TableIndex, Vec<Change>)> = Vec::new();
        for (table, entry) in self.tables() {
            let mut gone = paths_over(&entry.rib, index);
            if home == Some(table) {
                // Those that follow from its addresses are among its own.
                gone.retain(|change| change.owner != Owner::CONNECTED);
                gone.append(&mut own);
            }
            if !gone.is_empty() {
                changes.push((table, gone));
            }
        }
        let tables: Vec<(TableIndex, Vec<&Change>)> =
            changes.iter().map(|(table, changes)| (*table, changes.iter().collect())).collect();
        self.prepare(engine, &tables).map_err(|mut errors| errors.swap_remove(0).1)
    }

    fn set_interface(
        &mut self,
        engine: &mut Engine,
        index: InterfaceIndex,
        state: LinkState,
    ) -> Result<(), RouterError> {
        for table in self.tables.iter_mut().flatten() {
            table.rib.set_interface(&mut self.objects, &mut engine.domain, index, state)?;
        }
        Ok(())
    }

    /// Has all tables know the states of interfaces over which routes have come: a new interface is down before anybody
    /// says so, and a new table knows no interface.
    pub(super) fn note_states(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        over: &BTreeSet<InterfaceIndex>,
    ) {
        for &index in over {
            if interfaces.get(index).is_some()
                && let Err(error) = self.set_interface(engine, index, interfaces.state(index))
            {
                tracing::error!("routes over interface {} are not up to date: {error}", index.0);
            }
        }
    }

    /// A link is gone: its neighbours go (with `also_static` the configured ones too), and the packets that wait for them.
    fn forget_link(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        link: InterfaceIndex,
        also_static: bool,
    ) {
        let gone = self.neighbors.flush(link, also_static);
        self.act(engine, interfaces, gone);
        self.post_held(engine, move |held, worker| held.forget(worker, link));
    }
}

/// The interfaces that new paths of these changes lead over.
pub(super) fn interfaces_of<'a>(changes: impl IntoIterator<Item = &'a Change>) -> BTreeSet<InterfaceIndex> {
    let over = |target: &PathTarget| match *target {
        PathTarget::Via { interface, .. } => interface,
        PathTarget::Connected(interface) | PathTarget::OwnAddress { interface, .. } => Some(interface),
        PathTarget::Local
        | PathTarget::Punt
        | PathTarget::Drop(_)
        | PathTarget::Table(_)
        | PathTarget::Object(_) => None,
    };
    changes
        .into_iter()
        .flat_map(|change| change.action.added())
        .filter_map(|path| over(&path.target))
        .collect()
}

/// The deletions of all paths of a table over an interface.
fn paths_over(rib: &Rib, index: InterfaceIndex) -> Vec<Change> {
    let over_it = |target: &PathTarget| match target {
        PathTarget::Via { interface, .. } => *interface == Some(index),
        PathTarget::Connected(interface) | PathTarget::OwnAddress { interface, .. } => *interface == index,
        PathTarget::Local
        | PathTarget::Punt
        | PathTarget::Drop(_)
        | PathTarget::Table(_)
        | PathTarget::Object(_) => false,
    };
    rib.routes(None)
        .flat_map(|route| {
            let prefix = route.prefix();
            route.sources().flat_map(move |source| {
                let targets: Vec<_> = source.paths.iter().map(|path| path.target).filter(over_it).collect();
                targets.into_iter().map(move |target| Change {
                    prefix,
                    owner: source.owner,
                    action: Action::DeletePath(target),
                })
            })
        })
        .collect()
}
