// SPDX-License-Identifier: Apache-2.0
//! Steps that are tried, one after the other: each is judged as if those before it had been made. What it comes to is in a [`Draft`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;

use ipnet::{IpNet, Ipv6Net};
use weft_engine::feature::{FeatureError, FeatureView};
use weft_engine::{InterfaceIndex, NodeId};
use weft_nodes::fib::Change;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{
    AddressFamily, AdvertisedPrefix, Interface, InterfaceError, Ip6, IpPrefix, Kind, Owner, TableIndex,
    by_family,
};
use weft_nodes::neighbor::{NeighborError, NeighborState};
use weft_nodes::router::{Router, RouterError};

use super::draft::{Draft, NeighborEntry, New};
use super::trial::Trial;
use crate::Control;
use crate::error::StepError;
use crate::family::Configured;
use crate::links::{Described, Links};
use crate::object::{Object, TableKey};
use crate::settings::{MTU, Setting, mtu};
use crate::step::{Below, Created, Decided, Decision, Operation, Step};
use crate::value::{Grammar, Value};

/// A change set whose steps are being tried.
pub(super) struct Planner<'a> {
    pub(super) control: &'a mut Control,
    pub(super) links: &'a mut dyn Links,
    pub(super) owner: Owner,
    pub(super) step: usize,
    pub(super) draft: Draft,
}

impl Planner<'_> {
    /// The step, for what may become part of it.
    pub(super) fn trial(&mut self) -> Trial<'_> {
        let Planner { control, links, owner, step, draft } = self;
        Trial { control, links: &**links, owner: *owner, step: *step, work: &mut draft.work }
    }

    pub(super) fn interface(&self, index: InterfaceIndex) -> Result<&Interface, StepError> {
        Ok(self.control.interfaces.get(index).ok_or(InterfaceError::Unknown(index))?)
    }

    fn decide(&mut self, Decided { flow, decision, mark }: Decided) -> Result<(), StepError> {
        if let Decision::NextHop(on, address) = decision {
            self.interface(on)?;
            if !self.control.flows.holds(on, address) {
                self.draft.for_flows.push((on, address));
            }
        }
        let verdict = self.control.verdict(flow, decision)?;
        self.trial().after(move |control| {
            control.decide(flow, verdict, mark);
            Ok(())
        });
        Ok(())
    }

    pub(super) fn plan_all(&mut self, steps: &[Step]) {
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
            Operation::Domain(id, comes, changes) => self.domain_changes(*id, *comes, changes),
            Operation::Port(index, changes) => self.port_changes(*index, changes),
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
                self.draft.work.limits.insert(index, largest_mtu);
                device = Some(Rc::clone(new));
                up = Some((admin_up, link_up));
                Interface::new(name.clone(), kind, mac, mtu, NodeId::DROP)
            }
        };
        self.control.interfaces.add(at, interface)?;
        if let Some(up) = up {
            self.trial().change(index, |interface| (interface.admin_up, interface.link_up) = up)?;
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
        self.l2_leaves(index)?;
        self.control.interfaces.remove(index)?;
        self.control.claims.forget(index);
        self.draft.interface_goes(index, name);
        Ok(())
    }

    /// The owner no longer wants an object. That nobody knows of it is no error. A feature that follows from something else
    /// ([`Self::feature_is_free`]) is wanted by nobody but whatever it follows from, so it stays.
    pub(super) fn release(&mut self, object: &Object) -> Result<(), StepError> {
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
    pub(super) fn by_hand(&self) -> bool {
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
            Object::BridgeDomain(_) | Object::Switched(_) | Object::Station(..) => {
                return self.l2_comes(object, value);
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
            Object::Proxied(index, address) => self.proxied_comes(*index, *address)?,
            Object::Prefix(index, prefix) => {
                let &Value::Prefix(says) = value else { return Ok(()) };
                self.prefix_comes(*index, *prefix, says)?;
            }
            Object::Interface(index) => drop(self.interface(*index)?),
            Object::Table(version, id) => {
                if !self.draft.tables.contains_key(&(*version, *id)) {
                    self.control.table_index((*version, *id))?;
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

    pub(super) fn delete(&mut self, object: &Object) -> Result<(), StepError> {
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
            Object::Proxied(index, address) => {
                if !self.interface(*index)?.proxied.contains(address) {
                    let interface = self.control.interface_name(*index);
                    return Err(StepError::NotProxied { interface, address: *address });
                }
            }
            Object::Prefix(index, prefix) => {
                if !self.interface(*index)?.router_advertisement.prefixes.contains_key(prefix) {
                    let interface = self.control.interface_name(*index);
                    return Err(StepError::NoSuchPrefix { interface, prefix: *prefix });
                }
            }
            Object::Table(version, id) => drop(self.control.table_index((*version, *id))?),
            Object::Interface(index) => drop(self.interface(*index)?),
            Object::Rule(..) | Object::RuleSet(_) | Object::Attachment(..) => {
                self.check_deleted_rules(object)?
            }
            Object::BridgeDomain(_) | Object::Switched(_) | Object::Station(..) => {
                self.check_deleted_l2(object)?;
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
                self.put_neighbor((*index, *address), fate);
            }
            Object::Proxied(index, address) if last => self.proxied_goes(*index, *address)?,
            Object::Prefix(index, prefix) => match value {
                Value::Prefix(says) if !last => self.prefix_comes(*index, *prefix, says)?,
                _ => self.advertises(*index, |prefixes| {
                    prefixes.remove(prefix);
                })?,
            },
            Object::Feature { interface, arc, feature } if last => {
                self.draft.features.insert((*interface, arc.clone(), feature.clone()), false);
            }
            Object::Table(version, id) if last => self.table_goes((*version, *id))?,
            Object::Interface(index) if last => self.interface_goes(*index)?,
            Object::Setting(setting, index) => {
                // A sub-interface has the MTU of its port again, which may be another one than it was.
                let of_port = index.filter(|_| last && **setting == MTU);
                let of_port = of_port.and_then(|index| mtu::of_port(self.control, index));
                let value = of_port.map_or(value, |mtu| Value::Number(mtu.into()));
                self.set(setting, *index, &value)?;
            }
            Object::Rule(..) | Object::RuleSet(_) | Object::Attachment(..) => {
                self.rules_let_go(object, &value, last)?;
            }
            Object::BridgeDomain(_) | Object::Switched(_) | Object::Station(..) => {
                self.l2_lets_go(object, value, last)?;
            }
            Object::Address(..)
            | Object::Proxied(..)
            | Object::Feature { .. }
            | Object::Table(..)
            | Object::Interface(_) => {}
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
        setting.plan(&mut self.trial(), index, value)?;
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
        self.trial().change(index, |interface| F::of_mut(interface).addresses.push(address))
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
        self.trial()
            .change(index, |interface| F::of_mut(interface).addresses.retain(|other| *other != address))?;
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
            self.put_neighbor((index, neighbor), None);
        }
        Ok(())
    }

    /// A station is on this link, and its address is of the subnet of others.
    fn proxied_comes(&mut self, index: InterfaceIndex, address: Ipv6Addr) -> Result<(), StepError> {
        let interface = self.interface(index)?;
        if interface.proxied.contains(&address) {
            return Ok(());
        }
        let table = interface.ip6.table;
        if Ip6::is_link_scoped(address) {
            return Err(RouterError::<Ip6>::NotANeighbor(address).into());
        }
        Router::check_neighbor::<Ip6>(&self.control.interfaces, index, address)?;
        let others = self.control.interfaces.iter().filter(|(_, other)| other.ip6.table == table);
        if let Some((_, other)) = others.into_iter().find(|(_, other)| other.proxied.contains(&address)) {
            return Err(StepError::Proxied { interface: other.name.clone(), address });
        }
        self.follows(table, vec![Router::proxied_route(index, address, true)]);
        self.proxied_changes(index, |proxied| {
            proxied.insert(address);
        })
    }

    fn proxied_goes(&mut self, index: InterfaceIndex, address: Ipv6Addr) -> Result<(), StepError> {
        let table = self.interface(index)?.ip6.table;
        self.follows(table, vec![Router::proxied_route(index, address, false)]);
        self.proxied_changes(index, |proxied| {
            proxied.remove(&address);
        })
    }

    /// All links are told: the groups that are listened to there are others.
    fn proxied_changes(
        &mut self,
        index: InterfaceIndex,
        change: impl FnOnce(&mut BTreeSet<Ipv6Addr>),
    ) -> Result<(), StepError> {
        let mut trial = self.trial();
        trial.change(index, |interface| change(&mut interface.proxied))?;
        trial.after(|control| {
            control.router.tell_all_links(&mut control.engine, &control.interfaces);
            Ok(())
        });
        Ok(())
    }

    fn prefix_comes(
        &mut self,
        index: InterfaceIndex,
        prefix: Ipv6Net,
        says: AdvertisedPrefix,
    ) -> Result<(), StepError> {
        /// As many fit a router advertisement beside all else.
        const MOST: usize = 24;
        let known = &self.interface(index)?.router_advertisement.prefixes;
        let why = if prefix != prefix.trunc() {
            Some("bits behind its length are set")
        } else if prefix.addr().is_multicast() || Ip6::is_link_scoped(prefix.addr()) {
            Some("expected one of unicast addresses that are not of their link only")
        } else if says.preferred > says.valid {
            Some("its addresses cannot be preferred for longer than they are good")
        } else if known.len() >= MOST && !known.contains_key(&prefix) {
            Some("24 prefixes of the interface are all that fit an advertisement")
        } else {
            None
        };
        match why {
            Some(why) => Err(StepError::Prefix { prefix, why }),
            None => self.advertises(index, |prefixes| {
                prefixes.insert(prefix, says);
            }),
        }
    }

    fn advertises(
        &mut self,
        index: InterfaceIndex,
        change: impl FnOnce(&mut BTreeMap<Ipv6Net, AdvertisedPrefix>),
    ) -> Result<(), StepError> {
        let mut trial = self.trial();
        trial.change(index, |interface| change(&mut interface.router_advertisement.prefixes))?;
        trial.after(move |control| {
            control.router.tell_link(&mut control.engine, &control.interfaces, index);
            Ok(())
        });
        Ok(())
    }

    fn table_goes(&mut self, (version, id): TableKey) -> Result<(), StepError> {
        if id == 0 {
            return Err(by_family!(version, F => RouterError::<F>::DefaultTable.into()));
        }
        self.control.table_index((version, id))?;
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

    fn put_neighbor(&mut self, key: (InterfaceIndex, IpAddr), fate: Option<NeighborEntry>) {
        let unknown = self.control.router.neighbors().get(key.0, key.1).is_none();
        self.draft.neighbors.put(key, fate, unknown);
    }

    fn is_neighbor(&self, key: (InterfaceIndex, IpAddr)) -> bool {
        match self.draft.neighbors.get(key) {
            Some(fate) => fate.is_some(),
            None => self.control.router.neighbors().get(key.0, key.1).is_some(),
        }
    }

    fn is_static(&self, key: (InterfaceIndex, IpAddr)) -> bool {
        match self.draft.neighbors.get(key) {
            Some(fate) => matches!(fate, Some(NeighborEntry::Static(_))),
            None => {
                let known = self.control.router.neighbors().get(key.0, key.1);
                known.is_some_and(|known| matches!(known.state, NeighborState::Static(_)))
            }
        }
    }

    /// The MAC address of a neighbour, as it will be.
    fn mac_of(&self, key: (InterfaceIndex, IpAddr)) -> Option<MacAddr> {
        match self.draft.neighbors.get(key) {
            Some(fate) => fate.map(|(NeighborEntry::Static(mac) | NeighborEntry::Heard(mac))| mac),
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
        if !self.is_neighbor(key) && table.len() + self.draft.neighbors.coming() >= limit {
            return refuse(NeighborError::Full { limit });
        }
        self.put_neighbor(key, Some(fate));
        Ok(())
    }
}
