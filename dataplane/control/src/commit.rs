// SPDX-License-Identifier: Apache-2.0
//! How a change set is made: all of it, or nothing.
//!
//! 1. New tables are made: nobody can know them.
//! 2. Steps are made one after the other on interfaces that workers do not see ([`Interfaces::begin`]) and on claims that
//!    can be rolled back, so that each is judged as if those before it had been made. New interfaces are there without
//!    their devices; whoever keeps something of an interface that is deleted is asked.
//! 3. Tables get ready for all routes: those of the change set, those that follow from addresses, and without those over
//!    interfaces that are deleted.
//! 4. New devices are opened, and Linux interfaces below are changed. This is seen outside, and the last that can fail.
//! 5. All is published: interfaces in one step, then routes, then what follows from both. Deleted interfaces wait for those who
//!    keep something of them ([`Control::take_deleted_interfaces`]).
//!
//! Whatever is refused, the rest is tried nevertheless, so that the caller learns of everything that is wrong; then
//! everything is made as it was before.
//!
//! [`Interfaces::begin`]: weft_nodes::interface::Interfaces::begin

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use ipnet::IpNet;
use weft_engine::feature::{FeatureError, FeatureView};
use weft_engine::{InterfaceIndex, Lease, NodeId};
use weft_nodes::fib::{ApplyError, Change, Ip4, Ip6};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{
    Interface, InterfaceError, IpPrefix, IpVersion, Kind, Owner, TableIndex, by_family,
};
use weft_nodes::neighbor::{NeighborError, NeighborState};
use weft_nodes::router::{PendingChanges, Router, RouterError};

use crate::Control;
use crate::change_set::{
    Below, ChangeSet, Created, Object, Operation, RouteStep, Step, TableKey, table_index,
};
use crate::error::{Refused, StepError};
use crate::family::Configured;
use crate::flows::{Decided, Decision};
use crate::links::{Described, Links, NewDevice, Opened, Undo};
use crate::settings::Setting;
use crate::value::{Grammar, Value};
use rules::RulesDraft;

/// What a commit is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To make the changes.
    Make,
    /// To know whether they could be made; nobody sees any of them.
    Try,
}

impl Control {
    /// Makes all changes of a set in one step that nobody sees the inside of, or none.
    pub fn commit(
        &mut self,
        links: &mut dyn Links,
        changes: &ChangeSet,
        purpose: Purpose,
    ) -> Result<(), Refused> {
        changes.check(self).map_err(Refused::general)?;
        let mut draft = Draft::default();
        draft.add_tables(self, changes);
        let mut refused = std::mem::take(&mut draft.refused);
        let placed = changes.plans_tables().then(|| {
            let (steps, lost) = changes.placed(&draft.tables);
            refused.extend(lost);
            steps
        });
        let lost: BTreeSet<usize> = refused.iter().map(|(step, _)| *step).collect();
        let steps = placed.as_deref().unwrap_or(&changes.steps);
        self.interfaces.begin();
        self.claims.begin();
        let mut trial = Trial { control: self, links: &mut *links, owner: changes.owner(), step: 0, draft };
        trial.plan_all(steps);
        let Trial { mut draft, .. } = trial;
        draft.refused.extend(refused);
        draft.rules.prepare(self, &mut draft.refused);
        let admits = draft.rules.admits(self);
        if let Some((step, true)) = admits
            && let Err(error) = draft.make_tracker(self)
        {
            draft.refused.push((step, error));
        }
        let (ip4, ip6) = (draft.routes::<Ip4>(self, steps, &lost), draft.routes::<Ip6>(self, steps, &lost));
        let prepared = (
            self.router.prepare(&mut self.engine, &ip4.tables, &draft.gone),
            self.router.prepare(&mut self.engine, &ip6.tables, &draft.gone),
        );
        let mut general = None;
        match prepared {
            (Ok(routes4), Ok(routes6)) => {
                draft.check_deleted_tables(self);
                let make = purpose == Purpose::Make && draft.refused.is_empty();
                if make && draft.open_devices(self, links) && draft.change_links(self, links, changes.owner())
                {
                    // Rules first: what comes by an interface that is up finds those that it is to meet.
                    std::mem::take(&mut draft.rules).commit(self);
                    self.interfaces.commit(&mut self.engine);
                    self.claims.commit();
                    self.router.publish(&mut self.engine, &self.interfaces, routes4);
                    self.router.publish(&mut self.engine, &self.interfaces, routes6);
                    if let Some((_, admits)) = admits {
                        self.follow_admission(admits);
                    }
                    draft.finish(self, changes.owner());
                    return Ok(());
                }
                self.router.withdraw(&mut self.engine, routes6);
                self.router.withdraw(&mut self.engine, routes4);
            }
            (routes4, routes6) => {
                let ((refused4, general4), (refused6, general6)) =
                    (ip4.refused(self, routes4), ip6.refused(self, routes6));
                draft.refused.extend(refused4.into_iter().chain(refused6));
                general = general4.or(general6);
            }
        }
        draft.rules.roll_back(self);
        draft.forget_flows(self);
        self.interfaces.roll_back(&mut self.engine);
        self.claims.roll_back();
        draft.remove_tables(self);
        draft.refused.sort_by_key(|(step, _)| *step);
        draft.refused.dedup_by_key(|(step, _)| *step);
        match draft.refused.is_empty() && general.is_none() {
            true => Ok(()),
            false => Err(Refused { steps: draft.refused, general }),
        }
    }
}

/// What is done when everything has been published. That it can be was checked before.
type After = Box<dyn FnOnce(&mut Control) -> Result<(), StepError>>;

/// What is to be known of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NeighborEntry {
    /// Configured.
    Static(MacAddr),
    /// As if it had been heard.
    Heard(MacAddr),
}

/// The largest IP packet of a device, and where the limit comes from, as the end of a sentence.
type Limit = (u32, &'static str);

/// An interface that comes.
struct New {
    step: usize,
    /// Its device, if it has one of its own, and the largest MTU of that.
    device: Option<(Rc<dyn NewDevice>, Limit)>,
}

/// What becomes of a change set that is being tried.
#[derive(Default)]
struct Draft {
    /// Tables that were made for it.
    tables: BTreeMap<TableKey, TableIndex>,
    /// Routes that follow from addresses, by the step of the address.
    routes: BTreeMap<usize, Vec<RouteStep>>,
    /// Subnets that interfaces lose.
    subnets: Vec<(InterfaceIndex, IpNet)>,
    /// Neighbours as they are to be.
    neighbors: BTreeMap<(InterfaceIndex, IpAddr), Option<NeighborEntry>>,
    features: BTreeMap<(InterfaceIndex, String, String), bool>,
    rules: RulesDraft,
    /// Whether the flow tracker was made for it.
    tracker_made: bool,
    /// Next hops that are held for verdicts of it.
    for_flows: Vec<(InterfaceIndex, Ipv4Addr)>,
    settings: BTreeMap<(&'static Setting, Option<InterfaceIndex>), Value>,
    /// Interfaces that come.
    new: BTreeMap<InterfaceIndex, New>,
    /// Interfaces that go, and names that are free by that.
    gone: BTreeSet<InterfaceIndex>,
    names_gone: BTreeSet<String>,
    mtus: Vec<(usize, InterfaceIndex, u32)>,
    macs: Vec<(usize, InterfaceIndex, MacAddr)>,
    after: Vec<(usize, After)>,
    deleted: Vec<(usize, TableKey)>,
    said: Vec<Object>,
    refused: Vec<(usize, StepError)>,
}

/// A change set that is being tried: what a setting may do to make itself part of it.
pub struct Trial<'a> {
    control: &'a mut Control,
    links: &'a mut dyn Links,
    owner: Owner,
    step: usize,
    draft: Draft,
}

impl Trial<'_> {
    /// The state as if the steps so far had been made.
    pub fn control(&self) -> &Control {
        self.control
    }

    /// An interface.
    pub fn interface(&self, index: InterfaceIndex) -> Result<&Interface, StepError> {
        Ok(self.control.interfaces.get(index).ok_or(InterfaceError::Unknown(index))?)
    }

    /// There is a flow tracker if this is made.
    pub(crate) fn make_tracker(&mut self) -> Result<(), StepError> {
        self.draft.make_tracker(self.control)
    }

    fn decide(&mut self, Decided { flow, decision, mark }: Decided) -> Result<(), StepError> {
        if let Decision::NextHop(on, address) = decision {
            self.interface(on)?;
            if !self.control.flows.holds(on, address) {
                self.draft.for_flows.push((on, address));
            }
        }
        let verdict = self.control.verdict(flow, decision)?;
        self.after(move |control| {
            control.decide(flow, verdict, mark);
            Ok(())
        });
        Ok(())
    }

    /// Changes an interface; workers see it when all is published.
    pub fn change(
        &mut self,
        index: InterfaceIndex,
        change: impl FnOnce(&mut Interface),
    ) -> Result<(), StepError> {
        let Control { interfaces, engine, .. } = &mut *self.control;
        Ok(interfaces.change(engine, index, change)?)
    }

    /// To be done when everything else has been published. It must not fail then; if it does, the log has it.
    pub fn after(&mut self, work: impl FnOnce(&mut Control) -> Result<(), StepError> + 'static) {
        self.draft.after.push((self.step, Box::new(work)));
    }

    /// The largest IP packet that an interface can carry: see [`Links::largest_mtu`].
    pub fn largest_mtu(&self, index: InterfaceIndex) -> (u32, &'static str) {
        let new = self.draft.new.get(&index).and_then(|new| new.device.as_ref());
        new.map_or_else(|| self.links.largest_mtu(index), |(_, largest)| *largest)
    }

    /// What is below the interface has to carry packets of that size.
    pub fn carry(&mut self, index: InterfaceIndex, mtu: u32) {
        self.draft.mtus.push((self.step, index, mtu));
    }

    /// What is below the interface has to have that address.
    pub fn link_mac(&mut self, index: InterfaceIndex, mac: MacAddr) {
        self.draft.macs.push((self.step, index, mac));
    }

    fn plan_all(&mut self, steps: &[Step]) {
        for (place, step) in steps.iter().enumerate() {
            self.step = place;
            if let Step::Other(operation) = step
                && let Err(error) = self.plan(operation)
            {
                self.draft.refused.push((place, error));
            }
        }
    }

    fn plan(&mut self, operation: &Operation) -> Result<(), StepError> {
        match operation {
            Operation::Want(object, value) => {
                self.want(object, value)?;
                self.draft.said.push(object.clone());
                Ok(())
            }
            Operation::Create(created) => self.interface_comes(created),
            Operation::Delete(object) => self.delete(object),
            Operation::Rules(rules) => self.rules_come(rules),
            Operation::Tell(index, address, mac) => {
                self.interface(*index)?;
                let key = (*index, *address);
                // To be told what is known changes nothing, and is no error in VPP either.
                if self.is_static(key) && self.mac_of(key) == Some(*mac) {
                    return Ok(());
                }
                if self.is_static(key) {
                    let interface = self.control.interface_name(*index);
                    return Err(StepError::StaticNeighbor { interface, address: *address });
                }
                self.neighbor_comes(*index, *address, NeighborEntry::Heard(*mac))
            }
            Operation::Decide(decided) => self.decide(*decided),
            Operation::Release(object) => {
                if let Object::RuleSet(set) = object {
                    self.release_rules(set)?;
                }
                self.release(object)
            }
            Operation::DeleteAddresses(index) => {
                for address in self.interface(*index)?.addresses().collect::<Vec<_>>() {
                    self.control.claims.remove(&Object::Address(*index, address));
                    self.address_goes(*index, address)?;
                }
                Ok(())
            }
        }
    }

    fn interface_comes(&mut self, Created { at, name, below }: &Created) -> Result<(), StepError> {
        let (index, mut device, mut up) = (at.index(), None, None);
        let interface = match below {
            Below::Port { parent, id, tags } => self.control.interfaces.sub(*parent, *id, *tags)?,
            Below::Device(new) => {
                let Described { kind, mac, mtu, largest_mtu, link_up, admin_up } =
                    self.links.describe(&**new, index)?;
                // Its nodes and counters have names, too.
                if kind == Kind::Port && self.draft.names_gone.contains(name) {
                    return Err(StepError::ComesAgain(name.clone()));
                }
                device = Some((Rc::clone(new), largest_mtu));
                up = Some((admin_up, link_up));
                Interface::new(name.clone(), kind, mac, mtu, NodeId::DROP)
            }
        };
        self.control.interfaces.add(at, interface)?;
        if let Some(up) = up {
            self.change(index, |interface| (interface.admin_up, interface.link_up) = up)?;
        }
        self.draft.new.insert(index, New { step: self.step, device });
        let object = Object::Interface(index);
        self.control.claims.claim(&object, self.owner, Value::None, || Value::None);
        Ok(())
    }

    fn interface_goes(&mut self, index: InterfaceIndex) -> Result<(), StepError> {
        let name = self.interface(index)?.name.clone();
        self.links.may_go(&self.control.interfaces, index)?;
        self.rules_leave(index)?;
        self.control.interfaces.remove(index)?;
        self.control.claims.forget(index);
        self.draft.interface_goes(index, name);
        Ok(())
    }

    /// The owner no longer wants an object. That nobody knows of it is no error. A feature that follows from something else
    /// ([`Self::feature_is_free`]) is wanted by nobody but whatever it follows from, so it stays.
    fn release(&mut self, object: &Object) -> Result<(), StepError> {
        match self.control.claims.release(object, self.owner) {
            None => Ok(()),
            Some((value, last)) => self.let_go(object, value, last),
        }
    }

    /// Whether the owner has said the object before, and is not just saying everything again.
    fn says_twice(&self, object: &Object) -> bool {
        let claims = &self.control.claims;
        claims.get(object).is_some_and(|entry| entry.has(self.owner))
            && !claims.is_awaited(object, self.owner)
    }

    /// Whether the owner is somebody who says each object once, and wants to hear if it is there already.
    fn by_hand(&self) -> bool {
        self.owner == Owner::CLI || self.owner.slot() == Owner::API
    }

    fn want(&mut self, object: &Object, value: &Value) -> Result<(), StepError> {
        match object {
            Object::Rule(set, id) => return self.rule_comes(set, *id, value),
            Object::RuleSet(set) => {
                self.set_comes(set, None);
                return Ok(());
            }
            Object::Attachment(interface, direction) => {
                return self.attachment_comes((*interface, *direction), value);
            }
            Object::Address(index, address) => {
                let interface = self.interface(*index)?;
                if let Some(lender) = interface.unnumbered {
                    let lender = self.control.interface_name(lender);
                    return Err(StepError::Unnumbered(interface.name.clone(), lender));
                }
                if !interface.has(*address) || (self.by_hand() && self.says_twice(object)) {
                    by_family!(*address, IpNet(address), F => self.address_comes::<F>(*index, address)?);
                }
            }
            Object::Neighbor(index, address) => {
                self.interface(*index)?;
                let &Value::Mac(mac) = value else {
                    return Err(StepError::MacNotUnicast);
                };
                self.neighbor_comes(*index, *address, NeighborEntry::Static(mac))?;
            }
            Object::Interface(index) => drop(self.interface(*index)?),
            Object::Table(version, id) => {
                if !self.draft.tables.contains_key(&(*version, *id)) {
                    table_index(self.control, (*version, *id))?;
                    if self.owner == Owner::CLI && *id == 0 {
                        return Err(by_family!(*version, F => RouterError::<F>::TableExists(*id).into()));
                    }
                }
            }
            Object::Feature { interface, arc, feature } => {
                self.interface(*interface)?;
                self.feature_is_free(arc, feature)?;
                if self.control.engine.graph().id(feature).is_none() {
                    return Err(FeatureError::NotRunning(feature.clone(), arc.clone()).into());
                }
                self.draft.features.insert((*interface, arc.clone(), feature.clone()), true);
            }
            Object::Setting(setting, index) => {
                let before = self.current(setting, *index)?;
                if (&before, value) == (&Value::None, &Value::None)
                    && let (Grammar::Interface { .. }, Some(index)) = (setting.grammar, *index)
                {
                    return Err(StepError::NotUnnumbered(self.control.interface_name(index)));
                }
                self.set(setting, *index, value)?;
                self.control.claims.claim(object, self.owner, value.clone(), || before);
                return Ok(());
            }
        }
        self.control.claims.claim(object, self.owner, value.clone(), || Value::None);
        Ok(())
    }

    fn delete(&mut self, object: &Object) -> Result<(), StepError> {
        match object {
            Object::Address(index, address) => {
                let interface = self.interface(*index)?;
                let own = interface.addresses().find(|own| own.addr() == address.addr());
                if let Some(own) = own.filter(|own| own != address) {
                    let name = interface.name.clone();
                    return Err(StepError::OtherLength { name, found: *address, own });
                }
            }
            Object::Neighbor(index, address) => {
                self.interface(*index)?;
                if !self.is_neighbor((*index, *address)) {
                    let interface = self.control.interface_name(*index);
                    return Err(StepError::NoSuchNeighbor { interface, address: *address });
                }
            }
            Object::Feature { interface, arc, feature } => {
                self.interface(*interface)?;
                self.feature_is_free(arc, feature)?;
            }
            Object::Table(version, id) => drop(table_index(self.control, (*version, *id))?),
            Object::Interface(index) => drop(self.interface(*index)?),
            Object::Rule(..) | Object::RuleSet(_) | Object::Attachment(..) => {
                self.check_deleted_rules(object)?
            }
            Object::Setting(setting, index) => {
                if self.control.claims.get(object).is_none() {
                    setting.get(self.control, *index)?;
                    return Ok(());
                }
            }
        }
        let base = self.control.claims.remove(object).unwrap_or_default();
        self.let_go(object, base, true)
    }

    /// An owner has let go: nobody wants it any more (`last`), or its value is that of another owner.
    fn let_go(&mut self, object: &Object, value: Value, last: bool) -> Result<(), StepError> {
        match object {
            Object::Address(index, address) if last => self.address_goes(*index, *address)?,
            Object::Neighbor(index, address) => {
                let fate = match value {
                    Value::Mac(mac) if !last => Some(NeighborEntry::Static(mac)),
                    _ => None,
                };
                self.draft.neighbors.insert((*index, *address), fate);
            }
            Object::Feature { interface, arc, feature } if last => {
                self.draft.features.insert((*interface, arc.clone(), feature.clone()), false);
            }
            Object::Table(version, id) if last => self.table_goes((*version, *id))?,
            Object::Interface(index) if last => self.interface_goes(*index)?,
            Object::Setting(setting, index) => self.set(setting, *index, &value)?,
            Object::Rule(..) | Object::RuleSet(_) | Object::Attachment(..) => {
                self.rules_let_go(object, &value, last)?;
            }
            Object::Address(..) | Object::Feature { .. } | Object::Table(..) | Object::Interface(_) => {}
        }
        Ok(())
    }

    fn set(
        &mut self,
        setting: &'static Setting,
        index: Option<InterfaceIndex>,
        value: &Value,
    ) -> Result<(), StepError> {
        if self.current(setting, index)? == *value {
            return Ok(());
        }
        // First that it is a value: what follows takes it for one, and makes a smaller number of it.
        setting.grammar.check(value).map_err(|error| StepError::Value(setting.name, error))?;
        setting.plan(self, index, value)?;
        self.draft.settings.insert((setting, index), value.clone());
        Ok(())
    }

    /// What a setting is as if the steps so far had been made.
    fn current(&self, setting: &'static Setting, index: Option<InterfaceIndex>) -> Result<Value, StepError> {
        match self.draft.settings.get(&(setting, index)) {
            Some(value) => Ok(value.clone()),
            None => setting.get(self.control, index),
        }
    }

    fn address_comes<F: Configured>(
        &mut self,
        index: InterfaceIndex,
        address: F::Net,
    ) -> Result<(), StepError> {
        let (table, changes) = Router::address_comes::<F>(&self.control.interfaces, index, address)?;
        self.follows(table, changes);
        self.change(index, |interface| F::of_mut(interface).addresses.push(address))
    }

    /// Routes follow from the step.
    fn follows<F: Configured>(&mut self, table: TableIndex, changes: Vec<Change<F>>) {
        let steps = changes.into_iter().map(|change| F::step(table, change));
        self.draft.routes.entry(self.step).or_default().extend(steps);
    }

    fn address_goes(&mut self, index: InterfaceIndex, address: IpNet) -> Result<(), StepError> {
        by_family!(address, IpNet(address), F => self.address_of_goes::<F>(index, address))
    }

    fn address_of_goes<F: Configured>(
        &mut self,
        index: InterfaceIndex,
        address: F::Net,
    ) -> Result<(), StepError> {
        let (table, changes) = Router::address_goes::<F>(&self.control.interfaces, index, address)?;
        self.follows(table, changes);
        self.draft.subnets.push((index, address.into()));
        self.change(index, |interface| F::of_mut(interface).addresses.retain(|other| *other != address))?;
        // The neighbours of the subnet go with it, but for those that are in another one.
        let rest = F::of(self.interface(index)?).clone();
        let orphan = |neighbor: F::Addr| address.covers(neighbor) && rest.on_link(neighbor).is_none();
        let on_it = self.control.claims.on(index).filter_map(|object| match object {
            Object::Neighbor(_, neighbor) => Some(*neighbor),
            _ => None,
        });
        let orphans: Vec<IpAddr> =
            on_it.filter(|neighbor| F::address(*neighbor).is_some_and(orphan)).collect();
        for neighbor in orphans {
            self.control.claims.remove(&Object::Neighbor(index, neighbor));
            self.draft.neighbors.insert((index, neighbor), None);
        }
        Ok(())
    }

    fn table_goes(&mut self, (version, id): TableKey) -> Result<(), StepError> {
        if id == 0 {
            return Err(by_family!(version, F => RouterError::<F>::DefaultTable.into()));
        }
        table_index(self.control, (version, id))?;
        self.draft.deleted.push((self.step, (version, id)));
        Ok(())
    }

    /// That there is such a feature, and that it is not the consequence of something else: a filter that is attached is in force,
    /// whatever is said of its node. What a plugin has set by a command of its own it enables itself; the host sees to it that
    /// each plugin names its own nodes only.
    fn feature_is_free(&self, arc: &str, feature: &str) -> Result<(), StepError> {
        let all = self.control.engine.features();
        all.arc(arc)?;
        let mut on_arc = all.list().filter(|view| view.name == arc).flat_map(|view| view.features());
        let (feature, arc) = (feature.to_owned(), arc.to_owned());
        match on_arc.find(|view| view.node == feature) {
            Some(FeatureView { set_by: Some(command), .. }) if !self.owner.is_plugin() => {
                Err(FeatureError::SetBy { feature, arc, command: command.to_owned() }.into())
            }
            Some(_) => Ok(()),
            None => {
                let known = all.list().filter(|view| view.name == arc).flat_map(|view| view.features());
                let known: Vec<&str> = known.map(|feature| feature.node).collect();
                let known = known.join(", ");
                Err(FeatureError::UnknownFeature { feature, arc, known }.into())
            }
        }
    }

    fn is_neighbor(&self, key: (InterfaceIndex, IpAddr)) -> bool {
        match self.draft.neighbors.get(&key) {
            Some(fate) => fate.is_some(),
            None => self.control.router.neighbors().get(key.0, key.1).is_some(),
        }
    }

    fn is_static(&self, key: (InterfaceIndex, IpAddr)) -> bool {
        match self.draft.neighbors.get(&key) {
            Some(fate) => matches!(fate, Some(NeighborEntry::Static(_))),
            None => {
                let known = self.control.router.neighbors().get(key.0, key.1);
                known.is_some_and(|known| matches!(known.state, NeighborState::Static(_)))
            }
        }
    }

    /// The MAC address of a neighbour, as it will be.
    fn mac_of(&self, key: (InterfaceIndex, IpAddr)) -> Option<MacAddr> {
        match self.draft.neighbors.get(&key) {
            Some(fate) => fate.as_ref().map(|(NeighborEntry::Static(mac) | NeighborEntry::Heard(mac))| *mac),
            None => self.control.router.neighbors().get(key.0, key.1)?.state.mac(),
        }
    }

    /// The table cannot try it: what it would refuse is found out here.
    fn neighbor_comes(
        &mut self,
        index: InterfaceIndex,
        address: IpAddr,
        fate: NeighborEntry,
    ) -> Result<(), StepError> {
        by_family!(address, IpAddr(address), F => self.neighbor_of_comes::<F>(index, address, fate))
    }

    fn neighbor_of_comes<F: Configured>(
        &mut self,
        index: InterfaceIndex,
        address: F::Addr,
        fate: NeighborEntry,
    ) -> Result<(), StepError> {
        let refuse = |error: NeighborError| Err(RouterError::<F>::Neighbor(error).into());
        let (NeighborEntry::Static(mac) | NeighborEntry::Heard(mac)) = fate;
        if !mac.is_station() {
            return refuse(NeighborError::NotAStation(mac));
        }
        Router::check_neighbor::<F>(&self.control.interfaces, index, address)?;
        let key = (index, address.into());
        let table = self.control.router.neighbors();
        let limit = table.settings().limit;
        if !self.is_neighbor(key) {
            let is_new = |(key, fate): &(&(InterfaceIndex, IpAddr), &Option<NeighborEntry>)| {
                fate.is_some() && table.get(key.0, key.1).is_none()
            };
            if table.len() + self.draft.neighbors.iter().filter(is_new).count() >= limit {
                return refuse(NeighborError::Full { limit });
            }
        }
        self.draft.neighbors.insert(key, Some(fate));
        Ok(())
    }
}

impl Draft {
    fn make_tracker(&mut self, control: &mut Control) -> Result<(), StepError> {
        self.tracker_made |= control.make_tracker()?;
        Ok(())
    }

    /// What was made for flows is as it was before.
    fn forget_flows(&mut self, control: &mut Control) {
        for (on, address) in self.for_flows.drain(..) {
            control.forget_decision(on, address);
        }
        if self.tracker_made {
            control.unmake_tracker();
        }
    }

    fn add_tables(&mut self, control: &mut Control, changes: &ChangeSet) {
        for (step, key, name) in changes.wanted_tables() {
            if table_index(control, key).is_ok() {
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

    fn remove_tables(&mut self, control: &mut Control) {
        for (version, id) in std::mem::take(&mut self.tables).into_keys() {
            if let Err(error) = delete_table(control, (version, id)) {
                tracing::error!("{version} table {id} stays though its change was refused: {error}");
            }
        }
    }

    /// Nothing may lead into a table that goes, when all routes are as they are to be.
    fn check_deleted_tables(&mut self, control: &Control) {
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

    /// All changes of routes of a family, by table, in the order of the steps.
    fn routes<'a, F: Configured>(
        &'a self,
        control: &Control,
        steps: &'a [Step],
        without: &BTreeSet<usize>,
    ) -> Routes<'a, F> {
        let mut routes = Routes { tables: Vec::new(), steps: Vec::new() };
        if !self.gone.is_empty() {
            // Routes over what goes may be anywhere.
            routes.tables = control.router.tables::<F>().map(|(table, _)| (table, Vec::new())).collect();
            routes.steps = vec![Vec::new(); routes.tables.len()];
        }
        for (place, step) in steps.iter().enumerate() {
            let made = match step {
                Step::Route(_) if without.contains(&place) => &[],
                Step::Route(route) => std::slice::from_ref(route),
                Step::Other(_) => self.routes.get(&place).map_or(&[] as &[_], Vec::as_slice),
            };
            for (table, change) in made.iter().filter_map(F::route_of) {
                routes.add(place, table, change);
            }
        }
        routes
    }

    /// An interface goes: nothing has to be done on it.
    fn interface_goes(&mut self, index: InterfaceIndex, name: String) {
        self.gone.insert(index);
        if self.new.remove(&index).is_none() {
            self.names_gone.insert(name);
        }
        self.subnets.retain(|(on, _)| *on != index);
        self.neighbors.retain(|(on, _), _| *on != index);
        self.features.retain(|(on, ..), _| *on != index);
        self.settings.retain(|(_, on), value| *on != Some(index) && *value != Value::Interface(index));
        self.mtus.retain(|(_, on, _)| *on != index);
        self.macs.retain(|(_, on, _)| *on != index);
    }

    /// Opens the devices below new interfaces; says whether all could be opened. If not, all is as it was.
    fn open_devices(&mut self, control: &mut Control, links: &mut dyn Links) -> bool {
        if let Err((index, error)) = control.interfaces.ready(&mut control.engine) {
            self.refused.push((self.new.get(&index).map_or(0, |new| new.step), error.into()));
            return false;
        }
        for (index, New { step, device }) in &self.new {
            let Some((device, _)) = device else { continue };
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
    fn change_links(&mut self, control: &mut Control, links: &mut dyn Links, owner: Owner) -> bool {
        let done = self.change_each_link(links, owner);
        if !done {
            self.close_devices(control, links, InterfaceIndex::NONE);
        }
        done
    }

    fn change_each_link(&mut self, links: &dyn Links, owner: Owner) -> bool {
        let mut undo: Vec<Undo<'_>> = Vec::new();
        let mtus = self.mtus.iter().map(|(step, index, mtu)| (*step, links.carry(*index, *mtu, owner)));
        let macs = self.macs.iter().map(|(step, index, mac)| (*step, links.set_mac(*index, *mac, owner)));
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
    fn finish(self, control: &mut Control, owner: Owner) {
        let Control { router, engine, interfaces, .. } = control;
        for (index, subnet) in self.subnets {
            by_family!(subnet, IpNet(subnet), F => router.forget_subnet::<F>(engine, interfaces, index, subnet));
        }
        for ((index, address), fate) in self.neighbors {
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
        for (step, work) in self.after {
            if let Err(error) = work(control) {
                tracing::error!("step {step} of a change of {owner}: {error}");
            }
        }
        for (_, (version, id)) in self.deleted {
            match delete_table(control, (version, id)) {
                Ok((index, lease)) => {
                    // Verdicts name tables of IPv4.
                    if version == IpVersion::V4 {
                        control.flows_lose_table(index, &lease);
                    }
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
    let index = table_index(control, (version, id))?;
    let Control { router, engine, interfaces, .. } = control;
    Ok((index, by_family!(version, F => router.delete_table::<F>(engine, interfaces, id)?)))
}

/// Changes of routes of a family by table, in the order of the steps.
struct Routes<'a, F: Configured> {
    tables: Vec<(TableIndex, Vec<&'a Change<F>>)>,
    /// By table and change, the step that it follows from.
    steps: Vec<Vec<usize>>,
}

impl<'a, F: Configured> Routes<'a, F> {
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
    fn refused(
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
