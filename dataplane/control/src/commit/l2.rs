// SPDX-License-Identifier: Apache-2.0
//! Steps about bridging: each works on a copy of what is configured; when all steps are done, it becomes so at once.

use std::sync::Arc;

use weft_engine::InterfaceIndex;
use weft_l2::{Config, Domain, Facts, L2Error, Mode, Port, StaticChanges, Target};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Kind;

use super::draft::Draft;
use super::planner::Planner;
use crate::Control;
use crate::error::StepError;
use crate::object::Object;
use crate::step::{Comes, DomainChange, PortChange};
use crate::value::Value;

/// What is switched as the steps so far have made it, with the last step that changed it.
pub(super) struct L2Draft {
    step: usize,
    config: Config,
    stations: StaticChanges,
}

impl Draft {
    /// Finds out whether all of it can be.
    pub(super) fn prepare_l2(&mut self, control: &mut Control) {
        if let Some(L2Draft { step, config, stations }) = &self.l2
            && let Err(error) = control.switch.prepare(config, stations)
        {
            self.refused.push((*step, error.into()));
        }
    }

    /// Makes it so.
    pub(super) fn commit_l2(&mut self, control: &mut Control) {
        if let Some(L2Draft { config, stations, .. }) = self.l2.take() {
            let Control { switch, engine, interfaces, .. } = control;
            switch.apply(engine, interfaces, config, stations);
        }
    }
}

impl Planner<'_> {
    fn l2(&mut self) -> &mut L2Draft {
        let (switch, step) = (&self.control.switch, self.step);
        let new = || L2Draft { step, config: switch.config().clone(), stations: StaticChanges::new() };
        let draft = self.draft.l2.get_or_insert_with(new);
        draft.step = step;
        draft
    }

    /// An owner wants a domain to be so.
    pub(super) fn domain_changes(
        &mut self,
        id: u32,
        comes: Comes,
        changes: &[DomainChange],
    ) -> Result<(), StepError> {
        let object = Object::BridgeDomain(id);
        let before = self.l2().config.domains.get(&id).cloned();
        let again = self.control.claims.is_awaited(&object, self.owner);
        let mut domain = match (comes, before) {
            (Comes::New, Some(_)) if self.by_hand() && !again => return Err(L2Error::Exists(id).into()),
            (Comes::New, _) => Domain::default(),
            (Comes::No, Some(domain)) => domain,
            (Comes::No, None) => return Err(L2Error::Unknown(id).into()),
        };
        changes.iter().for_each(|change| change.make(&mut domain));
        self.domain_is(id, domain)
    }

    fn domain_is(&mut self, id: u32, domain: Domain) -> Result<(), StepError> {
        let object = Object::BridgeDomain(id);
        self.l2().config.set_domain(id, domain.clone())?;
        self.control.claims.claim(&object, self.owner, Value::Domain(Arc::new(domain)), || Value::None);
        self.draft.said.push(object);
        Ok(())
    }

    /// An owner wants an interface to be switched so.
    pub(super) fn port_changes(
        &mut self,
        index: InterfaceIndex,
        changes: &[PortChange],
    ) -> Result<(), StepError> {
        let name = self.interface(index)?.name.clone();
        for change in changes {
            match (*change, self.l2().config.ports.get_mut(&index)) {
                (PortChange::Mode(mode), _) => self.mode_is(index, mode)?,
                (_, None) => return Err(L2Error::NotSwitched(name).into()),
                (change, Some(port)) => change.make(port),
            }
        }
        let Some(port) = self.l2().config.ports.get(&index).copied() else { return Ok(()) };
        self.check_tags(index, &port)?;
        let object = Object::Switched(index);
        self.control.claims.claim(&object, self.owner, Value::Port(port), || Value::None);
        self.draft.said.push(object);
        Ok(())
    }

    /// Frames of a port have the tags that are taken off.
    fn check_tags(&self, index: InterfaceIndex, port: &Port) -> Result<(), StepError> {
        let interface = self.interface(index)?;
        let (has, pop) = (interface.tags().length() / 4, usize::from(port.rewrite.map_or(0, |it| it.pop)));
        if pop > has {
            return Err(L2Error::FewTags(interface.name.clone(), has, pop).into());
        }
        Ok(())
    }

    fn mode_is(&mut self, index: InterfaceIndex, mode: Mode) -> Result<(), StepError> {
        match mode {
            // A domain comes with its first port.
            Mode::Bridged { domain, .. } if !self.l2().config.domains.contains_key(&domain) => {
                self.domain_is(domain, Domain::default())?;
            }
            // Who has made it so says it again with each port.
            Mode::Bridged { domain, .. } => {
                let object = Object::BridgeDomain(domain);
                if self.control.claims.is_awaited(&object, self.owner) {
                    self.draft.said.push(object);
                }
            }
            Mode::Crossed(to) => drop(self.interface(to)?),
        }
        let before = self.l2().config.ports.get(&index).and_then(Port::domain);
        let interface = self.interface(index)?;
        let (name, is_loopback) = (interface.name.clone(), interface.kind == Kind::Loopback);
        let mut config = std::mem::take(&mut self.l2().config);
        let facts = Facts { name: &name, is_loopback };
        let made = config.set_mode(index, facts, mode, |other| self.control.interface_name(other));
        let after = config.ports.get(&index).and_then(Port::domain);
        self.l2().config = config;
        made?;
        if let Some(domain) = before.filter(|_| before != after) {
            self.stations_leave(index, Some(domain));
        }
        self.follow_mode(index)
    }

    /// Workers have the frames of the interface go where they are to go.
    fn follow_mode(&mut self, index: InterfaceIndex) -> Result<(), StepError> {
        let port = self.l2().config.ports.get(&index).copied();
        let layer2 = self.control.switch.layer2(port.as_ref());
        self.trial().change(index, |interface| interface.layer2 = layer2)
    }

    /// Entries of operators that lead to a port that leaves a domain, or all, go.
    fn stations_leave(&mut self, index: InterfaceIndex, domain: Option<u32>) {
        let leads = |(id, target): (u32, Target)| {
            target == Target::Port(index) && domain.is_none_or(|domain| domain == id)
        };
        let made = &self.l2().stations;
        let new = made.iter().filter(|((id, _), target)| target.is_some_and(|target| leads((*id, target))));
        let mut gone: Vec<(u32, MacAddr)> = new.map(|(key, _)| *key).collect();
        let old = self.control.switch.all_fixed().filter(|(id, _, target)| leads((*id, *target)));
        gone.extend(old.map(|(id, mac, _)| (id, mac)));
        for (id, mac) in gone {
            self.l2().stations.insert((id, mac), None);
            self.control.claims.remove(&Object::Station(id, mac));
        }
    }

    /// The entry of a station as the steps so far have made it.
    fn station(&mut self, id: u32, mac: MacAddr) -> Option<Target> {
        let made = self.l2().stations.get(&(id, mac)).copied();
        made.unwrap_or_else(|| self.control.switch.fixed(id, mac))
    }

    /// An owner wants an object, as somebody has said it before.
    pub(super) fn l2_comes(&mut self, object: &Object, value: &Value) -> Result<(), StepError> {
        match (object, value) {
            (Object::BridgeDomain(id), Value::Domain(domain)) => self.domain_is(*id, Domain::clone(domain)),
            (Object::Switched(index), Value::Port(port)) => {
                self.mode_is(*index, port.mode)?;
                self.l2().config.ports.insert(*index, *port);
                self.control.claims.claim(object, self.owner, value.clone(), || Value::None);
                Ok(())
            }
            (Object::Station(id, mac), value) => {
                self.station_is(*id, *mac, value)?;
                self.control.claims.claim(object, self.owner, value.clone(), || Value::None);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn station_is(&mut self, id: u32, mac: MacAddr, value: &Value) -> Result<(), StepError> {
        self.l2().config.domain(id)?;
        if !mac.is_station() {
            return Err(L2Error::NotAStation(mac).into());
        }
        let target = match value {
            Value::Interface(port) => {
                let name = self.interface(*port)?.name.clone();
                if self.l2().config.ports.get(port).and_then(Port::domain) != Some(id) {
                    return Err(L2Error::NotAPort(name, id).into());
                }
                Target::Port(*port)
            }
            _ => Target::Filter,
        };
        self.l2().stations.insert((id, mac), Some(target));
        Ok(())
    }

    /// That there is something to delete.
    pub(super) fn check_deleted_l2(&mut self, object: &Object) -> Result<(), StepError> {
        match object {
            Object::BridgeDomain(id) => drop(self.l2().config.domain(*id)?),
            Object::Station(id, mac) => {
                self.l2().config.domain(*id)?;
                if self.station(*id, *mac).is_none() {
                    return Err(L2Error::NoEntry(*id, *mac).into());
                }
            }
            // To be routed is what an interface is anyway.
            Object::Switched(index) => drop(self.interface(*index)?),
            _ => {}
        }
        Ok(())
    }

    /// Nobody wants it any more (`last`), or it is as another owner wants it.
    pub(super) fn l2_lets_go(&mut self, object: &Object, value: Value, last: bool) -> Result<(), StepError> {
        match object {
            Object::BridgeDomain(id) if last => {
                self.l2().config.remove_domain(*id)?;
                // A domain of that id may come again by the same change.
                let old: Vec<_> = self.control.switch.all_fixed().filter(|(of, ..)| of == id).collect();
                let made = &mut self.l2().stations;
                made.retain(|(of, _), _| of != id);
                made.extend(old.into_iter().map(|(of, mac, _)| ((of, mac), None)));
                self.control
                    .claims
                    .drop_claims(|object, _| matches!(object, Object::Station(of, _) if of == id));
            }
            Object::BridgeDomain(id) => {
                if let Value::Domain(domain) = value {
                    self.l2().config.set_domain(*id, Domain::clone(&domain))?;
                }
            }
            Object::Switched(index) if last => {
                if let Some(port) = self.l2().config.ports.remove(index) {
                    self.stations_leave(*index, port.domain());
                    self.follow_mode(*index)?;
                }
            }
            Object::Switched(index) => {
                if let Value::Port(port) = value {
                    self.mode_is(*index, port.mode)?;
                    self.l2().config.ports.insert(*index, port);
                }
            }
            Object::Station(id, mac) if last => drop(self.l2().stations.insert((*id, *mac), None)),
            // The port of another owner may have left meanwhile.
            Object::Station(id, mac) => self.station_is(*id, *mac, &value)?,
            _ => {}
        }
        Ok(())
    }

    /// An interface is deleted: it is no port any more, and what is connected to it is connected to nothing.
    pub(super) fn l2_leaves(&mut self, index: InterfaceIndex) -> Result<(), StepError> {
        let config =
            self.draft.l2.as_ref().map_or_else(|| self.control.switch.config(), |draft| &draft.config);
        let crossed: Vec<_> = config.crossed_to(index).collect();
        if !config.ports.contains_key(&index) && crossed.is_empty() {
            return Ok(());
        }
        self.l2().config.ports.remove(&index);
        self.stations_leave(index, None);
        for from in crossed {
            tracing::info!(
                "{} was connected to an interface that goes, and is routed",
                self.control.interface_name(from)
            );
            self.control.claims.remove(&Object::Switched(from));
            self.l2().config.ports.remove(&from);
            self.follow_mode(from)?;
        }
        Ok(())
    }
}
