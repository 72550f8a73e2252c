// SPDX-License-Identifier: Apache-2.0
//! Owners that say everything again: what they do not mention goes.
//!
//! Between begin and end an owner says again what it wants. What is there already stays as it is, so nothing flaps; what it
//! has not said by the end it lets go, and it is gone if nobody else wants it. Routes are marked and swept by the tables
//! themselves, which have millions of them.

use std::collections::BTreeSet;

use weft_engine::InterfaceIndex;
use weft_nodes::fib::{Action, Change};
use weft_nodes::interface::{Interface, IpVersion, Owner, TableIndex, by_family};
use weft_nodes::neighbor::NeighborState;

use crate::change_set::ChangeSet;
use crate::claims::Replay;
use crate::error::StepError;
use crate::family::Configured;
use crate::links::Links;
use crate::object::Object;
use crate::{Control, Purpose};

impl Control {
    /// An owner is about to say everything again.
    pub fn begin_resync(&mut self, owner: Owner) {
        let objects = self.claims.of(owner);
        self.claims.await_again(Replay::Owner(owner), objects);
        for version in IpVersion::ALL {
            by_family!(version, F => {
                let tables = self.table_indices::<F>();
                tables.into_iter().for_each(|table| self.router.begin_resync::<F>(table, owner));
            });
        }
    }

    /// All addresses, or all static neighbours, are about to be said again. Of one owner: [`Control::begin_resync`].
    pub fn begin_replay(&mut self, replay: Replay) {
        let objects: BTreeSet<Object> = match replay {
            Replay::Owner(owner) => self.claims.of(owner),
            Replay::Addresses => {
                let of = |(index, interface): (InterfaceIndex, &Interface)| {
                    let addresses = interface.addresses().collect::<Vec<_>>();
                    addresses.into_iter().map(move |address| Object::Address(index, address))
                };
                self.interfaces.iter().flat_map(of).collect()
            }
            Replay::Neighbors => {
                // What was learned ages.
                let all = self.router.neighbors().iter();
                let known = all.filter(|neighbor| matches!(neighbor.state, NeighborState::Static(_)));
                known.map(|neighbor| Object::Neighbor(neighbor.interface, neighbor.address)).collect()
            }
        };
        self.claims.await_again(replay, objects);
    }

    /// Nothing goes: what was not said again is kept.
    pub fn abort_resync(&mut self, owner: Owner) {
        self.claims.end(Replay::Owner(owner));
    }

    /// The owner has said all: what it did not mention is let go. Returns how many objects are gone.
    pub fn end_resync(&mut self, links: &mut dyn Links, owner: Owner) -> Result<usize, StepError> {
        let objects = self.end_replay(links, Replay::Owner(owner));
        // Routes come last: what follows from the addresses is none of them.
        let mut gone = objects;
        for version in IpVersion::ALL {
            gone += by_family!(version, F => self.sweep_routes::<F>(&self.table_indices::<F>(), owner)?);
        }
        Ok(gone)
    }

    /// As [`Control::end_resync`], of a replay of all addresses or neighbours: what was not said goes, whoever wants it.
    pub fn end_replay(&mut self, links: &mut dyn Links, replay: Replay) -> usize {
        let owner = match replay {
            Replay::Owner(owner) => owner,
            Replay::Addresses | Replay::Neighbors => Owner::API,
        };
        let mut changes = ChangeSet::new(owner);
        let mut objects: Vec<Object> = self.claims.end(replay).into_iter().collect();
        // A bridge domain goes after its ports; interfaces go last, what stands on another one before that.
        objects.sort_by_key(|object| match object {
            Object::Interface(index) => {
                2 + u8::from(self.interfaces.get(*index).is_some_and(|it| it.parent().is_none()))
            }
            Object::BridgeDomain(_) => 1,
            _ => 0,
        });
        for object in objects.iter().cloned() {
            let is_there = match &object {
                Object::Address(index, address) => {
                    let interface = self.interfaces.get(*index);
                    interface.is_some_and(|interface| interface.has(*address))
                }
                Object::Neighbor(index, address) => self.router.neighbors().get(*index, *address).is_some(),
                Object::Interface(index) => self.interfaces.get(*index).is_some(),
                Object::Table(..)
                | Object::Proxied(..)
                | Object::Prefix(..)
                | Object::Feature { .. }
                | Object::Setting(..)
                | Object::Attachment(..)
                | Object::Rule(..)
                | Object::RuleSet(_)
                | Object::BridgeDomain(_)
                | Object::Switched(_)
                | Object::Station(..) => true,
            };
            match replay {
                _ if !is_there => {}
                Replay::Owner(_) => changes.release(object),
                Replay::Addresses | Replay::Neighbors => changes.delete(object),
            }
        }
        for (_, error) in self.commit_possible(links, changes) {
            tracing::warn!("{owner} no longer wants it, but it stays: {error}");
        }
        objects.iter().filter(|object| self.claims.get(object).is_none()).count()
    }

    /// Marks the routes of an owner in one table.
    pub fn begin_route_resync<F: Configured>(&mut self, table: TableIndex, owner: Owner) {
        self.router.begin_resync::<F>(table, owner);
    }

    /// Deletes the routes of an owner that were marked and not said again.
    pub fn sweep_routes<F: Configured>(
        &mut self,
        tables: &[TableIndex],
        owner: Owner,
    ) -> Result<usize, StepError> {
        let mut removed = 0;
        for table in tables {
            removed += self.router.end_resync::<F>(&mut self.engine, *table, owner)?;
        }
        Ok(removed)
    }

    /// Deletes the routes of a table that owners of a kind want ([`Owner::slot`]).
    pub fn delete_routes<F: Configured>(&mut self, table: TableIndex, kind: Owner) -> Result<(), StepError> {
        let Control { router, engine, interfaces, .. } = self;
        let Some(known) = router.table::<F>(table) else { return Ok(()) };
        let owned = known.rib.routes(None).flat_map(|route| {
            let of_kind = route.sources().find(|source| source.owner.slot() == kind);
            of_kind.map(|source| Change {
                prefix: route.prefix(),
                owner: source.owner,
                action: Action::Delete,
            })
        });
        let deletions: Vec<Change<F>> = owned.collect();
        router.apply(engine, interfaces, table, &deletions)?;
        Ok(())
    }

    fn table_indices<F: Configured>(&self) -> Vec<TableIndex> {
        self.router.tables::<F>().map(|(index, _)| index).collect()
    }

    /// Makes of a change set all that can be made; returns the steps that were refused.
    ///
    /// A step that is refused is taken out, and the rest tried again, which may refuse more (a delete of what a refused step
    /// would have added), but only fewer steps each time.
    pub fn commit_possible(
        &mut self,
        links: &mut dyn Links,
        mut changes: ChangeSet,
    ) -> Vec<(usize, StepError)> {
        let mut all = Vec::new();
        // Where the steps that are left stood at first.
        let mut places: Vec<usize> = Vec::new();
        while let Err(refused) = self.commit(links, &changes, Purpose::Make) {
            if places.is_empty() {
                places = (0..changes.len()).collect();
            }
            if let Some(error) = refused.general {
                // There is no room for all of them.
                all.extend(places.first().map(|first| (*first, error)));
                break;
            }
            let bad: BTreeSet<usize> = refused.steps.iter().map(|(step, _)| *step).collect();
            all.extend(refused.steps.into_iter().map(|(step, error)| (places[step], error)));
            changes.retain(|step| !bad.contains(&step));
            let mut step = 0;
            places.retain(|_| {
                step += 1;
                !bad.contains(&(step - 1))
            });
            if changes.is_empty() || bad.is_empty() {
                break;
            }
        }
        all
    }
}
