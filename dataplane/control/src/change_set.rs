// SPDX-License-Identifier: Apache-2.0
//! What is to be changed, by whom. How all of it is done, or nothing, is in `commit`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;
use weft_engine::InterfaceIndex;
use weft_flow_map::FlowId;
use weft_nodes::fib::{Action, Change, PathTarget};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{InterfaceError, Owner, TableIndex, Tags, by_family};
use weft_nodes::router::{RouterError, TableId};

use crate::Control;
use crate::error::StepError;
use crate::family::Configured;
use crate::links::NewDevice;
use crate::object::{Object, TableKey};
use crate::settings::Setting;
use crate::step::{Below, Created, Decided, Decision, Operation, RouteStep, Step};
use crate::value::Value;

/// Indices from here on are of tables that the change set adds: they have none yet.
const PLANNED: u32 = 1 << 31;

/// What one owner wants to change, in order. Each step is judged as if those before it had been made.
#[derive(Clone, Debug)]
pub struct ChangeSet {
    owner: Owner,
    pub(crate) steps: Vec<Step>,
    /// What they name: it may be another one when they are made.
    tables: Vec<(TableKey, TableIndex)>,
    interfaces: BTreeSet<InterfaceIndex>,
    /// Tables that it adds, in order of their indices from [`PLANNED`].
    planned: Vec<TableKey>,
    /// Tables that it deletes.
    deleted: BTreeSet<TableKey>,
    /// Interfaces that it creates.
    created: Vec<Created>,
    /// Interfaces that it deletes.
    deleted_interfaces: BTreeSet<InterfaceIndex>,
}

impl ChangeSet {
    /// No change of this owner.
    pub fn new(owner: Owner) -> ChangeSet {
        ChangeSet {
            owner,
            steps: Vec::new(),
            tables: Vec::new(),
            interfaces: BTreeSet::new(),
            planned: Vec::new(),
            deleted: BTreeSet::new(),
            created: Vec::new(),
            deleted_interfaces: BTreeSet::new(),
        }
    }

    /// Who wants the changes.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Keeps some steps, by their places.
    pub(crate) fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut place = 0;
        self.steps.retain(|_| {
            place += 1;
            keep(place - 1)
        });
    }

    /// Changes the owner's route to a prefix.
    pub fn route<F: Configured>(&mut self, table: TableIndex, prefix: F::Net, action: Action<F>) {
        let step = F::step(table, Change { prefix, owner: self.owner, action });
        self.steps.push(Step::Route(step));
    }

    /// The owner wants an object.
    pub fn want(&mut self, object: Object, value: Value) {
        self.push(Operation::Want(object, value));
    }

    /// Deletes an object, whoever wants it.
    pub fn delete(&mut self, object: Object) {
        self.push(Operation::Delete(object));
    }

    /// The owner no longer wants an object. That nobody knows of it is no error.
    pub fn release(&mut self, object: Object) {
        self.push(Operation::Release(object));
    }

    /// The owner wants an address.
    pub fn add_address(&mut self, interface: InterfaceIndex, address: impl Into<IpNet>) {
        self.want(Object::Address(interface, address.into()), Value::None);
    }

    /// Deletes all addresses of an interface, of both families, whoever wants them.
    pub fn delete_addresses(&mut self, interface: InterfaceIndex) {
        self.push(Operation::DeleteAddresses(interface));
    }

    /// The owner wants a static neighbour.
    pub fn add_neighbor(&mut self, interface: InterfaceIndex, address: impl Into<IpAddr>, mac: MacAddr) {
        self.want(Object::Neighbor(interface, address.into()), Value::Mac(mac));
    }

    /// Tells of a neighbour as if it had been heard: nobody owns it, and it ages.
    pub fn tell_neighbor(&mut self, interface: InterfaceIndex, address: impl Into<IpAddr>, mac: MacAddr) {
        self.push(Operation::Tell(interface, address.into(), mac));
    }

    /// The owner wants a setting to be so, on an interface or, if it is of none, altogether.
    pub fn set(
        &mut self,
        setting: &'static Setting,
        interface: impl Into<Option<InterfaceIndex>>,
        value: Value,
    ) {
        self.want(Object::Setting(setting, interface.into()), value);
    }

    /// The owner wants packets of an interface to pass a feature.
    pub fn enable_feature(&mut self, interface: InterfaceIndex, arc: &str, feature: &str) {
        self.want(
            Object::Feature { interface, arc: arc.to_owned(), feature: feature.to_owned() },
            Value::None,
        );
    }

    /// Decides about a flow, and releases its packets that wait. Nobody owns a decision: it goes with the flow.
    pub fn decide(&mut self, flow: FlowId, decision: Decision, mark: Option<u32>) {
        self.push(Operation::Decide(Decided { flow, decision, mark }));
    }

    pub(crate) fn push(&mut self, operation: Operation) {
        self.steps.push(Step::Other(Box::new(operation)));
    }

    /// A table that a route names. It may be one that the change set adds.
    pub fn table<F: Configured>(&mut self, control: &Control, id: TableId) -> Result<TableIndex, StepError> {
        let key = (F::VERSION, id);
        if self.deleted.contains(&key) {
            return Err(RouterError::<F>::UnknownTable(id).into());
        }
        if let Some((_, index)) = self.tables.iter().rfind(|(known, _)| *known == key) {
            return Ok(*index);
        }
        if let Some(place) = self.planned.iter().position(|planned| *planned == key) {
            return Ok(TableIndex(PLANNED + place as u32));
        }
        let index = control.router.table_index::<F>(id)?;
        self.tables.push((key, index));
        Ok(index)
    }

    /// The owner wants a table. Without a name it has VPP's.
    pub fn add_table<F: Configured>(
        &mut self,
        control: &Control,
        id: TableId,
        name: Option<&str>,
    ) -> Result<(), StepError> {
        if self.deleted.contains(&(F::VERSION, id)) {
            return Err(StepError::TableComesAndGoes(F::VERSION, id));
        }
        if self.table::<F>(control, id).is_err() {
            self.planned.push((F::VERSION, id));
        }
        let name = name.map_or_else(|| format!("{}:{id}", F::TABLE_NAME), str::to_owned);
        self.want(Object::table::<F>(id), Value::Text(name));
        Ok(())
    }

    /// Deletes a table, whoever wants it.
    pub fn delete_table<F: Configured>(&mut self, control: &Control, id: TableId) -> Result<(), StepError> {
        if self.table::<F>(control, id)?.0 >= PLANNED {
            return Err(StepError::TableComesAndGoes(F::VERSION, id));
        }
        self.deleted.insert((F::VERSION, id));
        self.delete(Object::table::<F>(id));
        Ok(())
    }

    /// An interface that a step names. It may be one that the change set creates.
    pub fn interface(
        &mut self,
        control: &Control,
        index: InterfaceIndex,
    ) -> Result<InterfaceIndex, StepError> {
        if self.deletes(index) {
            return Err(InterfaceError::Unknown(index).into());
        }
        if self.created(index).is_none() {
            control.interfaces.get(index).ok_or(InterfaceError::Unknown(index))?;
            self.interfaces.insert(index);
        }
        Ok(index)
    }

    /// The interface of that name. It may be one that the change set creates.
    pub fn find_interface(&self, control: &Control, name: &str) -> Option<InterfaceIndex> {
        let mut created = self.created.iter().filter(|created| created.name == name);
        let found = created.next_back().map(|created| created.at.index());
        let found = found.or_else(|| control.interfaces.find(name));
        found.filter(|index| !self.deletes(*index))
    }

    /// The name of an interface, which may be one that the change set creates.
    pub fn interface_name(&self, control: &Control, index: InterfaceIndex) -> String {
        let created = self.created(index).map(|created| created.name.clone());
        created.unwrap_or_else(|| control.interface_name(index))
    }

    /// The port below a sub-interface, which may be one that the change set creates, and the tags of its frames.
    pub fn port_below(&self, control: &Control, index: InterfaceIndex) -> Option<(InterfaceIndex, Tags)> {
        match self.created(index) {
            Some(Created { below: Below::Port { parent, tags, .. }, .. }) => Some((*parent, *tags)),
            Some(_) => None,
            None => control.interfaces.get(index).and_then(|it| Some((it.parent()?, it.tags()))),
        }
    }

    /// Whether the change set deletes an interface.
    pub fn deletes(&self, index: InterfaceIndex) -> bool {
        self.deleted_interfaces.contains(&index)
    }

    /// Whether it creates the interface that will have this index.
    pub fn creates(&self, index: InterfaceIndex) -> bool {
        self.created(index).is_some()
    }

    fn created(&self, index: InterfaceIndex) -> Option<&Created> {
        self.created.iter().find(|created| created.at.index() == index)
    }

    /// The owner wants an interface on a device; the steps that follow can name it by the index that it will have. An interface
    /// of that name is another one, unless the owner has created it and is saying everything again.
    pub fn create_interface(
        &mut self,
        control: &Control,
        name: &str,
        device: impl NewDevice,
    ) -> Result<InterfaceIndex, StepError> {
        self.create(control, name.to_owned(), Below::Device(Rc::new(device)))
    }

    /// The same, of a sub-interface `<port>.<id>` for frames with these tags.
    pub fn create_sub_interface(
        &mut self,
        control: &Control,
        parent: InterfaceIndex,
        id: u32,
        tags: Tags,
    ) -> Result<InterfaceIndex, StepError> {
        let parent = self.interface(control, parent)?;
        let name = format!("{}.{id}", self.interface_name(control, parent));
        self.create(control, name, Below::Port { parent, id, tags })
    }

    /// The interface of that name, if the owner has created it and is saying everything again.
    pub fn says_again(&self, control: &Control, name: &str) -> Option<InterfaceIndex> {
        let found = self.find_interface(control, name);
        found.filter(|index| control.claims.is_awaited(&Object::Interface(*index), self.owner))
    }

    fn create(&mut self, control: &Control, name: String, below: Below) -> Result<InterfaceIndex, StepError> {
        if let Some(index) = self.says_again(control, &name) {
            self.want(Object::Interface(index), Value::None);
            return Ok(index);
        }
        let at = control.interfaces.reserve(&name)?;
        let (index, created) = (at.index(), Created { at, name, below });
        self.created.push(created.clone());
        self.push(Operation::Create(created));
        Ok(index)
    }

    /// Deletes an interface with all that is on it but sub-interfaces, whoever wants it.
    pub fn delete_interface(&mut self, control: &Control, index: InterfaceIndex) -> Result<(), StepError> {
        let index = self.interface(control, index)?;
        self.delete(Object::Interface(index));
        self.deleted_interfaces.insert(index);
        Ok(())
    }

    /// The owner no longer wants an interface.
    pub fn release_interface(&mut self, index: InterfaceIndex) {
        self.release(Object::Interface(index));
        self.deleted_interfaces.insert(index);
    }

    /// That all is there still that was there when it was noted.
    pub(crate) fn check(&self, control: &Control) -> Result<(), StepError> {
        for ((version, id), index) in &self.tables {
            if control.table_index((*version, *id)).ok() != Some(*index) {
                return Err(StepError::TableGone(*version, *id));
            }
        }
        match self.interfaces.iter().find(|index| control.interfaces.get(**index).is_none()) {
            Some(gone) => Err(InterfaceError::Unknown(*gone).into()),
            None => Ok(()),
        }
    }

    /// Tables that are wanted, with the step that says so first and the name that it gives.
    pub(crate) fn wanted_tables(&self) -> impl Iterator<Item = (usize, TableKey, &str)> {
        let planned = &self.planned;
        self.steps.iter().enumerate().filter_map(move |(place, step)| match step {
            Step::Other(operation) if !planned.is_empty() => match &**operation {
                Operation::Want(Object::Table(version, id), Value::Text(name)) => {
                    Some((place, (*version, *id), name.as_str()))
                }
                _ => None,
            },
            _ => None,
        })
    }

    /// The steps with the indices that planned tables have by now; and those that name a table which is not to be.
    pub(crate) fn placed(
        &self,
        made: &BTreeMap<TableKey, TableIndex>,
    ) -> (Vec<Step>, Vec<(usize, StepError)>) {
        let mut refused = Vec::new();
        let mut steps = self.steps.clone();
        for (place, step) in steps.iter_mut().enumerate() {
            let tables: Vec<&mut TableIndex> = match step {
                Step::Route(RouteStep::Ip4(table, change)) => {
                    std::iter::once(table).chain(tables_of(&mut change.action)).collect()
                }
                Step::Route(RouteStep::Ip6(table, change)) => {
                    std::iter::once(table).chain(tables_of(&mut change.action)).collect()
                }
                Step::Other(operation) => match &mut **operation {
                    Operation::Decide(Decided { decision: Decision::Table(_, table), .. }) => vec![table],
                    _ => continue,
                },
            };
            for table in tables {
                let Some(planned) = table.0.checked_sub(PLANNED) else { continue };
                let (version, id) = self.planned[planned as usize];
                match made.get(&(version, id)) {
                    Some(index) => *table = *index,
                    None => refused.push((place, StepError::unknown_table(version, id))),
                }
            }
        }
        (steps, refused)
    }

    /// Whether indices of tables have to be filled in by [`ChangeSet::placed`].
    pub(crate) fn plans_tables(&self) -> bool {
        !self.planned.is_empty()
    }
}

impl Control {
    /// The index of a table.
    pub(crate) fn table_index(&self, (version, id): TableKey) -> Result<TableIndex, StepError> {
        by_family!(version, F => Ok(self.router.table_index::<F>(id)?))
    }
}

/// Tables that paths lead into.
fn tables_of<F: Configured>(action: &mut Action<F>) -> impl Iterator<Item = &mut TableIndex> {
    let targets: Vec<&mut PathTarget<F>> = match action {
        Action::Add(_, paths) | Action::Set(_, paths) => {
            paths.iter_mut().map(|path| &mut path.target).collect()
        }
        Action::AddPath(_, path) | Action::SetPath(_, path) => vec![&mut path.target],
        Action::DeletePath(target) => vec![target],
        Action::Delete => Vec::new(),
    };
    targets.into_iter().filter_map(|target| match target {
        PathTarget::Table(table) => Some(table),
        _ => None,
    })
}
