// SPDX-License-Identifier: Apache-2.0
//! What an interface that goes up, down or away means for routes and neighbours.

use std::collections::BTreeSet;

use weft_engine::{Engine, InterfaceIndex};
use weft_fib::{Action, ApplyError, Change, Ip4, Ip6, Objects, Rewrite, Rib};

use super::{PendingChanges, Routed, Router, RouterError, RoutesError, Tables};
use crate::interface::{Interfaces, LinkState, Owner, TableIndex};

impl Router {
    /// The interface (or the port below it) went up or down, or has another MTU or MAC address.
    pub fn interface_changed(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
    ) -> Result<(), RoutesError> {
        let all: Vec<InterfaceIndex> =
            std::iter::once(index).chain(interfaces.subs(index).map(|(sub, _)| sub)).collect();
        for index in all {
            if !interfaces.is_up(index) {
                self.forget_link(engine, interfaces, index, false);
            }
            self.set_interface(engine, index, interfaces.state(index))?;
            self.complete(engine, interfaces);
            self.publish_link(engine, interfaces, index);
            self.tell_link(engine, interfaces, index);
        }
        Ok(())
    }

    /// Says what a tunnel puts before packets that leave by its interface, in place of the header for a neighbour: nobody is
    /// asked there. Then they go to the transmit node of the interface, which finds them with these bytes in front and sends
    /// them on, by the adjacency that the tunnel is on ([`Router::hold_adjacency`]) or by another lookup.
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
        let on_it: Vec<_> = self.objects.adjacencies.on_link(index).collect();
        for (next_hop, id) in on_it {
            self.publish_adjacency(engine, interfaces, id, next_hop);
        }
    }

    /// The interface is about to be deleted: takes away its addresses, its neighbours and all paths over it; or, on an
    /// error, nothing.
    pub fn interface_leaves(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
    ) -> Result<(), RoutesError> {
        interfaces.begin();
        let (ip4, ip6) = match self.prepare_leaving_all(engine, interfaces, index) {
            Ok(pending) => pending,
            Err(error) => {
                interfaces.roll_back();
                return Err(error);
            }
        };
        interfaces.commit(engine);
        self.publish(engine, interfaces, ip4);
        self.publish(engine, interfaces, ip6);
        self.forget_link(engine, interfaces, index, true);
        self.encapsulations.remove(&index);
        self.presence.forget(index);
        // The next interface with this index begins anew.
        let forgotten = self.set_interface(engine, index, LinkState::Up);
        debug_assert!(forgotten.is_ok(), "no path leads there any more: {:?}", forgotten.err());
        Ok(())
    }

    fn prepare_leaving_all(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
    ) -> Result<(PendingChanges<Ip4>, PendingChanges<Ip6>), RoutesError> {
        let ip4 = self.prepare_leaving::<Ip4>(engine, interfaces, index)?;
        match self.prepare_leaving::<Ip6>(engine, interfaces, index) {
            Ok(ip6) => Ok((ip4, ip6)),
            Err(error) => {
                self.withdraw(engine, ip4);
                Err(error.into())
            }
        }
    }

    /// Takes the addresses of a family away, in the transaction that is under way, and gets ready to take all paths away.
    fn prepare_leaving<F: Routed>(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
    ) -> Result<PendingChanges<F>, RouterError<F>> {
        let before = interfaces.get(index).map(|interface| F::of(interface).clone());
        let home = before.as_ref().map(|before| before.table);
        let mut own = Vec::new();
        for address in before.map(|before| before.addresses).unwrap_or_default() {
            own.extend(Router::address_goes::<F>(interfaces, index, address)?.1);
            interfaces.change(engine, index, |interface| {
                F::of_mut(interface).addresses.retain(|other| *other != address);
            })?;
        }
        let mut changes: Vec<(TableIndex, Vec<Change<F>>)> = Vec::new();
        for (table, entry) in self.tables::<F>() {
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
        let tables: Vec<(TableIndex, Vec<&Change<F>>)> =
            changes.iter().map(|(table, changes)| (*table, changes.iter().collect())).collect();
        self.prepare(engine, &tables).map_err(|mut errors| errors.swap_remove(0).1)
    }

    fn set_interface(
        &mut self,
        engine: &mut Engine,
        index: InterfaceIndex,
        state: LinkState,
    ) -> Result<(), RoutesError> {
        let Router { ip4, ip6, objects, .. } = self;
        set_state(ip4, objects, engine, index, state).map_err(RouterError::from)?;
        set_state(ip6, objects, engine, index, state).map_err(RouterError::from)?;
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
        self.ip4.tell_held(engine, move |held, worker| held.forget(worker, link));
        self.ip6.tell_held(engine, move |held, worker| held.forget(worker, link));
    }
}

fn set_state<F: Routed>(
    tables: &mut Tables<F>,
    objects: &mut Objects,
    engine: &mut Engine,
    index: InterfaceIndex,
    state: LinkState,
) -> Result<(), ApplyError<F>> {
    tables.ribs_mut().try_for_each(|rib| rib.set_interface(objects, &mut engine.domain, index, state))
}

/// The deletions of all paths of a table over an interface.
fn paths_over<F: Routed>(rib: &Rib<F>, index: InterfaceIndex) -> Vec<Change<F>> {
    let mut deletions = Vec::new();
    for route in rib.routes(None) {
        for source in route.sources() {
            let over_it = source.paths.iter().filter(|path| path.target.interface() == Some(index));
            deletions.extend(over_it.map(|path| Change {
                prefix: route.prefix(),
                owner: source.owner,
                action: Action::DeletePath(path.target),
            }));
        }
    }
    deletions
}

/// The interfaces that new paths of these changes lead over.
pub(super) fn interfaces_of<'a, F: Routed>(
    changes: impl IntoIterator<Item = &'a Change<F>>,
) -> BTreeSet<InterfaceIndex> {
    let added = changes.into_iter().flat_map(|change| change.action.added());
    added.filter_map(|path| path.target.interface()).collect()
}
