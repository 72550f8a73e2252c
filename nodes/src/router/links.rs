// SPDX-License-Identifier: Apache-2.0
//! What an interface that goes up, down or away means for routes and neighbours.

use std::collections::BTreeSet;

use weft_engine::{Engine, InterfaceIndex};
use weft_fib::{ApplyError, Change, Ip4, Ip6, Objects, Rewrite};

use super::{PendingChanges, Routed, Router, RouterError, RoutesError, Tables};
use crate::interface::{Interface, Interfaces, LinkState};

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
            } else if interfaces.get(index).is_some_and(|interface| !interface.ip6.carried) {
                self.flush_family::<Ip6>(engine, interfaces, index);
            }
            self.set_interface(engine, interfaces, index)?;
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

    /// The interface is deleted, and no path leads over it ([`Router::prepare`]): its neighbours go, and what waits for them. The
    /// next interface with its index begins anew.
    pub fn interface_gone(&mut self, engine: &mut Engine, interfaces: &Interfaces, index: InterfaceIndex) {
        self.forget_link(engine, interfaces, index, true);
        self.encapsulations.remove(&index);
        self.presence.forget(index);
        let forgotten = self.set_states(engine, index, LinkState::Up, LinkState::Up);
        debug_assert!(forgotten.is_ok(), "no path leads there any more: {:?}", forgotten.err());
    }

    /// Deletes an interface with its addresses, its neighbours and all paths over it; or, on an error, changes nothing.
    pub fn delete_interface(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
    ) -> Result<Option<Interface>, RoutesError> {
        interfaces.begin();
        let (ip4, ip6) = match self.prepare_deletion(engine, interfaces, index) {
            Ok(pending) => pending,
            Err(error) => {
                interfaces.roll_back(engine);
                return Err(error);
            }
        };
        interfaces.commit(engine);
        self.publish(engine, interfaces, ip4);
        self.publish(engine, interfaces, ip6);
        self.interface_gone(engine, interfaces, index);
        Ok(interfaces.forget(engine, index))
    }

    fn prepare_deletion(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        index: InterfaceIndex,
    ) -> Result<(PendingChanges<Ip4>, PendingChanges<Ip6>), RoutesError> {
        interfaces.remove(index).map_err(RouterError::<Ip4>::from)?;
        let ip4 = self.prepare_paths_gone::<Ip4>(engine, index)?;
        match self.prepare_paths_gone::<Ip6>(engine, index) {
            Ok(ip6) => Ok((ip4, ip6)),
            Err(error) => {
                self.withdraw(engine, ip4);
                Err(error.into())
            }
        }
    }

    fn prepare_paths_gone<F: Routed>(
        &mut self,
        engine: &mut Engine,
        index: InterfaceIndex,
    ) -> Result<PendingChanges<F>, RouterError<F>> {
        let tables: Vec<_> = self.tables::<F>().map(|(table, _)| (table, Vec::new())).collect();
        self.prepare(engine, &tables, &BTreeSet::from([index])).map_err(|mut errors| errors.swap_remove(0).1)
    }

    /// To routes of a family whose packets the link does not carry it is down.
    fn set_interface(
        &mut self,
        engine: &mut Engine,
        interfaces: &Interfaces,
        index: InterfaceIndex,
    ) -> Result<(), RoutesError> {
        let state = interfaces.state(index);
        let state_of = |carried| if carried { state } else { LinkState::Down };
        let carried = interfaces.get(index).map_or((true, true), |it| (it.ip4.carried, it.ip6.carried));
        self.set_states(engine, index, state_of(carried.0), state_of(carried.1))
    }

    fn set_states(
        &mut self,
        engine: &mut Engine,
        index: InterfaceIndex,
        state4: LinkState,
        state6: LinkState,
    ) -> Result<(), RoutesError> {
        let Router { ip4, ip6, objects, .. } = self;
        set_state(ip4, objects, engine, index, state4).map_err(RouterError::from)?;
        set_state(ip6, objects, engine, index, state6).map_err(RouterError::from)?;
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
                && let Err(error) = self.set_interface(engine, interfaces, index)
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

/// The interfaces that new paths of these changes lead over.
pub(super) fn interfaces_of<'a, F: Routed>(
    changes: impl IntoIterator<Item = &'a Change<F>>,
) -> BTreeSet<InterfaceIndex> {
    let added = changes.into_iter().flat_map(|change| change.action.added());
    added.filter_map(|path| path.target.interface()).collect()
}
