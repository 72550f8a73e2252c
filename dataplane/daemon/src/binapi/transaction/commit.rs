// SPDX-License-Identifier: Apache-2.0
//! How a transaction is made: all of it, or nothing.
//!
//! 1. New tables are made: nobody can know them.
//! 2. Settings are made one after the other on interfaces that workers do not see ([`Interfaces::begin`]), so that each is
//!    judged as if those before it had been made.
//! 3. Tables get ready for all routes: those that were noted, and those that follow from addresses.
//! 4. Linux interfaces below are told to carry larger packets. This is seen outside, and the last that can fail.
//! 5. All is published: interfaces in one step, then routes, then what follows from both.
//!
//! Whatever is refused, the rest is tried nevertheless, so that the client learns of everything that is wrong; then
//! everything is made as it was before.
//!
//! [`Interfaces::begin`]: weft_nodes::interface::Interfaces::begin

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use weft_binapi::Retval;
use weft_binapi::server::{Purpose, Refused, Transactional};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Interface;
use weft_nodes::ip4::{ApplyError, Change, Router, RouterError, TableId, TableIndex};

use super::{Setting, Step, Transaction};
use crate::binapi::belongings::Thing;
use crate::binapi::retval;
use crate::state::Dataplane;

impl Transactional for Dataplane {
    type Transaction = Transaction;

    fn noted(transaction: &Transaction) -> usize {
        transaction.steps.len()
    }

    fn commit(&mut self, mut transaction: Transaction, purpose: Purpose) -> Result<(), Refused> {
        transaction.check(self)?;
        let mut draft = Draft::default();
        draft.add_tables(self, &mut transaction)?;
        self.interfaces.begin();
        draft.plan_all(self, &transaction.steps);
        let routes = draft.routes(&transaction.steps);
        let prepared = self.router.prepare(&mut self.engine, &routes.tables);
        let mut general = None;
        match prepared {
            Ok(pending) => {
                draft.check_tables(self, &transaction.steps);
                let make = purpose == Purpose::Make && draft.refused.is_empty();
                if make && draft.resize(self) {
                    let Dataplane { router, engine, interfaces, .. } = self;
                    interfaces.commit(engine);
                    router.publish(engine, interfaces, pending);
                    draft.follow(self, &transaction.steps);
                    return Ok(());
                }
                self.router.withdraw(&mut self.engine, pending);
            }
            Err(errors) => {
                let (notes, other) = routes.blame(errors);
                draft.refused.extend(notes);
                general = other;
            }
        }
        self.interfaces.roll_back();
        draft.remove_tables(self);
        draft.refused.sort_unstable_by_key(|(note, _)| *note);
        draft.refused.dedup_by_key(|(note, _)| *note);
        match draft.refused.first().map(|(_, retval)| *retval).or(general) {
            Some(retval) => Err(Refused { retval, notes: draft.refused }),
            None => Ok(()),
        }
    }
}

/// A transaction that is being tried.
#[derive(Default)]
struct Draft {
    tables: Vec<TableId>,
    /// Routes that follow from addresses, by the note of the address.
    routes: BTreeMap<usize, (TableIndex, Vec<Change>)>,
    /// Addresses that go, likewise.
    gone: BTreeMap<usize, Vec<Ipv4Net>>,
    /// What Linux interfaces have to carry.
    mtus: Vec<(usize, InterfaceIndex, u32)>,
    /// Whether there would be a neighbour.
    neighbors: BTreeMap<(InterfaceIndex, Ipv4Addr), bool>,
    refused: Vec<(usize, Retval)>,
}

impl Draft {
    fn add_tables(
        &mut self,
        dataplane: &mut Dataplane,
        transaction: &mut Transaction,
    ) -> Result<(), Refused> {
        let mut made = Vec::new();
        for (id, name) in &transaction.planned {
            match dataplane.router.add_table(&mut dataplane.engine, *id, name) {
                Ok(index) => made.push(index),
                Err(error) => {
                    let place = |step: &Step| matches!(step, Step::Set(setting) if **setting == Setting::NewTable(made.len()));
                    let note = transaction.steps.iter().position(place);
                    self.remove_tables(dataplane);
                    let retval = retval::router(error);
                    return Err(Refused {
                        retval,
                        notes: note.map(|note| (note, retval)).into_iter().collect(),
                    });
                }
            }
            self.tables.push(*id);
        }
        if !made.is_empty() {
            transaction.place_tables(&made);
        }
        Ok(())
    }

    fn remove_tables(&mut self, dataplane: &mut Dataplane) {
        let Dataplane { router, engine, interfaces, .. } = dataplane;
        for id in self.tables.drain(..) {
            if let Err(error) = router.delete_table(engine, interfaces, id) {
                tracing::error!("API: table {id} stays though its transaction has failed: {error}");
            }
        }
    }

    fn plan_all(&mut self, dataplane: &mut Dataplane, steps: &[Step]) {
        for (note, step) in steps.iter().enumerate() {
            if let Step::Set(setting) = step
                && let Err(retval) = self.plan(dataplane, note, setting)
            {
                self.refused.push((note, retval));
            }
        }
    }

    fn plan(&mut self, dataplane: &mut Dataplane, note: usize, setting: &Setting) -> Result<(), Retval> {
        let interface = |dataplane: &Dataplane, index: InterfaceIndex| {
            dataplane.interfaces.get(index).cloned().ok_or(Retval::INVALID_SW_IF_INDEX)
        };
        match setting {
            Setting::AdminState(index, up) => change(dataplane, *index, |it| it.admin_up = *up),
            Setting::Mtu(index, mtu) => {
                let size = dataplane.check_mtu(*index, *mtu).map_err(retval::device)?;
                self.mtus.push((note, *index, *mtu));
                change(dataplane, *index, |it| it.mtu = size)
            }
            Setting::Tag(index, tag) => change(dataplane, *index, |it| it.tag.clone_from(tag)),
            Setting::ProxyArp(index, on) => change(dataplane, *index, |it| it.proxy_arp = *on),
            Setting::Lender(index, lender) => {
                let borrower = interface(dataplane, *index)?;
                match lender {
                    None if borrower.unnumbered.is_none() => return Err(Retval::UNEXPECTED_INTF_STATE),
                    Some(lender)
                        if lender == index || interface(dataplane, *lender)?.unnumbered.is_some() =>
                    {
                        return Err(Retval::INVALID_VALUE);
                    }
                    Some(_) if !borrower.addresses4.is_empty() => {
                        return Err(Retval::ADDRESS_FOUND_FOR_INTERFACE);
                    }
                    _ => {}
                }
                change(dataplane, *index, |it| it.unnumbered = *lender)
            }
            Setting::Table(index, table) => {
                if !interface(dataplane, *index)?.addresses4.is_empty() {
                    return Err(Retval::ADDRESS_FOUND_FOR_INTERFACE);
                }
                change(dataplane, *index, |it| it.table4 = *table)
            }
            Setting::Address(index, address, _) => {
                let own = interface(dataplane, *index)?;
                if own.unnumbered.is_some() {
                    return Err(Retval::UNSUPPORTED);
                }
                if own.addresses4.contains(address)
                    && dataplane.agents.belongings.is_awaited(Thing::Address(*index, *address))
                {
                    return Ok(());
                }
                let comes = Router::address_comes(&dataplane.interfaces, *index, *address);
                self.routes.insert(note, comes.map_err(retval::router)?);
                change(dataplane, *index, |it| it.addresses4.push(*address))
            }
            Setting::NoAddress(index, address) => {
                let own = interface(dataplane, *index)?.addresses4;
                let goes = Router::address_goes(&dataplane.interfaces, *index, *address);
                let goes = goes.map_err(|error| match error {
                    RouterError::NoSuchAddress { .. }
                        if own.iter().any(|own| own.addr() == address.addr()) =>
                    {
                        Retval::ADDRESS_LENGTH_MISMATCH
                    }
                    error => retval::router(error),
                });
                self.routes.insert(note, goes?);
                self.gone.insert(note, vec![*address]);
                change(dataplane, *index, |it| it.addresses4.retain(|other| other != address))
            }
            Setting::NoAddresses(index) => {
                let it = interface(dataplane, *index)?;
                let mut changes = Vec::new();
                for address in &it.addresses4 {
                    let goes = Router::address_goes(&dataplane.interfaces, *index, *address);
                    changes.extend(goes.map_err(retval::router)?.1);
                    change(dataplane, *index, |it| it.addresses4.retain(|other| other != address))?;
                }
                self.routes.insert(note, (it.table4, changes));
                self.gone.insert(note, it.addresses4);
                Ok(())
            }
            Setting::Neighbor(index, address, mac, _) => {
                self.neighbor(dataplane, (*index, *address), Some(*mac))
            }
            Setting::NoNeighbor(index, address) => self.neighbor(dataplane, (*index, *address), None),
            Setting::Feature { arc, feature, .. } => {
                let features = dataplane.engine.features();
                match features.arc(arc).is_ok_and(|arc| features.has_feature(arc, feature)) {
                    true => Ok(()),
                    false => Err(Retval::INVALID_VALUE),
                }
            }
            // It is there already; or goes at the end, if nobody uses it then.
            Setting::NewTable(_) | Setting::NoTable(..) => Ok(()),
        }
    }

    /// Whether the tables that go are used by nobody, when all interfaces and routes are as they will be.
    fn check_tables(&mut self, dataplane: &Dataplane, steps: &[Step]) {
        for (note, step) in steps.iter().enumerate() {
            if let Step::Set(setting) = step
                && let Setting::NoTable(_, table) = **setting
                && !dataplane.router.users_of(&dataplane.interfaces, table).is_empty()
            {
                self.refused.push((note, Retval::RSRC_IN_USE));
            }
        }
    }

    /// A neighbour comes or goes, which the table cannot try: what it would refuse is found out here.
    fn neighbor(
        &mut self,
        dataplane: &Dataplane,
        key: (InterfaceIndex, Ipv4Addr),
        mac: Option<MacAddr>,
    ) -> Result<(), Retval> {
        let table = dataplane.router.neighbors();
        let (interface, address) = key;
        let known = table.get(interface, IpAddr::V4(address)).is_some();
        let before = *self.neighbors.get(&key).unwrap_or(&known);
        match mac {
            Some(mac) if !mac.is_station() => return Err(Retval::INVALID_VALUE),
            Some(_) if Router::check_neighbor(&dataplane.interfaces, interface, address).is_err() => {
                return Err(Retval::INVALID_VALUE);
            }
            Some(_) if !before => {
                let is_new = |(key, there): &(&(InterfaceIndex, Ipv4Addr), &bool)| {
                    **there && table.get(key.0, IpAddr::V4(key.1)).is_none()
                };
                if table.len() + self.neighbors.iter().filter(is_new).count() >= table.settings().limit {
                    return Err(Retval::LIMIT_EXCEEDED);
                }
            }
            None if !before => return Err(Retval::NO_SUCH_ENTRY),
            _ => {}
        }
        self.neighbors.insert(key, mac.is_some());
        Ok(())
    }

    /// All changes of routes, by table, in the order of the notes.
    fn routes<'a>(&'a self, steps: &'a [Step]) -> Routes<'a> {
        let mut routes = Routes::default();
        for (note, step) in steps.iter().enumerate() {
            match step {
                Step::Route(table, change) => routes.add(note, *table, std::slice::from_ref(change)),
                Step::Set(_) => {
                    if let Some((table, changes)) = self.routes.get(&note) {
                        routes.add(note, *table, changes);
                    }
                }
            }
        }
        routes
    }

    /// Has Linux interfaces carry what they have to; says whether all do. If not, all are as they were.
    fn resize(&mut self, dataplane: &Dataplane) -> bool {
        let mut before = Vec::new();
        for (note, index, mtu) in &self.mtus {
            match dataplane.carry(*index, *mtu) {
                Ok(carried) => before.push((*index, carried)),
                Err(error) => {
                    self.refused.push((*note, retval::device(error)));
                    for (index, carried) in before.iter().rev() {
                        dataplane.carry_as_before(*index, carried);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// What follows when everything else has been published. Nothing of it was found to be impossible.
    fn follow(&self, dataplane: &mut Dataplane, steps: &[Step]) {
        let settings = || {
            steps.iter().enumerate().filter_map(|(note, step)| match step {
                Step::Route(..) => None,
                Step::Set(setting) => Some((note, &**setting)),
            })
        };
        dataplane.tell_of_changes();
        for (note, setting) in settings() {
            if let Err(error) = self.follow_one(dataplane, note, setting) {
                tracing::error!("API: {setting:?}: {error}");
            }
        }
    }

    fn follow_one(&self, dataplane: &mut Dataplane, note: usize, setting: &Setting) -> anyhow::Result<()> {
        let Dataplane { router, engine, interfaces, agents, .. } = dataplane;
        match setting {
            Setting::Address(index, address, owner) => {
                agents.belongings.said(Thing::Address(*index, *address), *owner)
            }
            Setting::NoAddress(index, _) | Setting::NoAddresses(index) => {
                for address in self.gone.get(&note).into_iter().flatten() {
                    router.forget_subnet(engine, interfaces, *index, *address);
                    agents.belongings.unsaid(Thing::Address(*index, *address));
                }
            }
            Setting::Neighbor(index, address, mac, owner) => {
                router.set_static_neighbor(engine, interfaces, *index, *address, *mac)?;
                agents.belongings.said(Thing::Neighbor(*index, *address), *owner);
            }
            Setting::NoNeighbor(index, address) => {
                router.remove_neighbor(engine, interfaces, *index, *address);
                agents.belongings.unsaid(Thing::Neighbor(*index, *address));
            }
            Setting::Feature { arc, interface, feature, on } => {
                let arc = engine.features().arc(arc)?;
                engine.set_feature(arc, *interface, feature, *on)?;
            }
            Setting::NoTable(id, _) => dataplane.delete_table(*id)?,
            _ => {}
        }
        Ok(())
    }
}

fn change(
    dataplane: &mut Dataplane,
    index: InterfaceIndex,
    change: impl FnOnce(&mut Interface),
) -> Result<(), Retval> {
    let changed = dataplane.interfaces.change(&mut dataplane.engine, index, change);
    changed.map_err(|error| retval::interface(&error))
}

/// Changes of routes by table, in the order of the notes.
#[derive(Default)]
struct Routes<'a> {
    tables: Vec<(TableIndex, Vec<&'a Change>)>,
    /// By table and change, the note that it follows from.
    notes: Vec<Vec<usize>>,
}

impl<'a> Routes<'a> {
    fn add(&mut self, note: usize, table: TableIndex, changes: &'a [Change]) {
        // Few tables, and mostly the one of the change before.
        let place = self.tables.iter().rposition(|(other, _)| *other == table).unwrap_or_else(|| {
            self.tables.push((table, Vec::new()));
            self.notes.push(Vec::new());
            self.notes.len() - 1
        });
        self.tables[place].1.extend(changes);
        self.notes[place].extend(changes.iter().map(|_| note));
    }

    /// Finds out which notes the errors of tables are about; and the error that is about none.
    fn blame(&self, errors: Vec<(usize, RouterError)>) -> (Vec<(usize, Retval)>, Option<Retval>) {
        let (mut refused, mut general) = (Vec::new(), None);
        for (place, error) in errors {
            let notes = &self.notes[place];
            match error {
                RouterError::Apply(ApplyError::Refused(changes)) => refused
                    .extend(changes.iter().map(|(change, error)| (notes[*change], retval::route(error)))),
                RouterError::UnknownTable(_) => {
                    refused.extend(notes.iter().map(|note| (*note, Retval::NO_SUCH_FIB)));
                }
                error => general = Some(retval::router(error)),
            }
        }
        (refused, general)
    }
}
