// SPDX-License-Identifier: Apache-2.0
//! Differences of vplaned's state, made so in the dataplane.
//!
//! Differences become change sets of the owner vplaned. One that is refused is told and left out: one bad route must not
//! keep a million good ones out.

use std::collections::BTreeMap;

use ipnet::IpNet;
use weft_control::{ChangeSet, Configured, Object, Owner, Value, settings};
use weft_engine::InterfaceIndex;
use weft_nodes::fib::{self, Action, DropKind, Ip4, Ip6, Preference};
use weft_nodes::headers::{EtherType, MacAddr, VlanId};
use weft_nodes::interface::{SourceCheck, Tags, by_family};
use weft_nodes::router::TableId;
use weft_vplaned::netlink::{IfIndex, RpFilter, TagProtocol};
use weft_vplaned::store::{self, Change, FibTable, InterfaceKind, PathTarget, Paths, VrfId};

use crate::ports::DeviceError;
use crate::state::Dataplane;

/// Failures of a batch that are told one by one.
const TOLD: usize = 10;

/// What could not be applied.
#[derive(Default)]
pub struct Failures {
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

impl Failures {
    fn add(&mut self, error: impl ToString) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(error.to_string());
        }
    }
}

/// Which part of the dataplane stands for what of the kernel.
#[derive(Default)]
pub struct Bindings {
    interfaces: BTreeMap<IfIndex, (InterfaceIndex, Box<str>)>,
    vrfs: BTreeMap<VrfId, TableId>,
}

impl Bindings {
    /// A port has a kernel interface.
    pub fn bind(&mut self, kernel: IfIndex, index: InterfaceIndex, name: &str) {
        self.interfaces.retain(|_, (bound, _)| *bound != index);
        self.interfaces.insert(kernel, (index, name.into()));
    }

    /// Interfaces with the kernel's names.
    pub fn named(&self) -> impl Iterator<Item = (InterfaceIndex, &str)> {
        self.interfaces.values().map(|(index, name)| (*index, &**name))
    }

    /// The kernel's number and name of an interface.
    pub fn kernel_of(&self, index: InterfaceIndex) -> Option<(IfIndex, &str)> {
        let found = self.interfaces.iter().find(|(_, (bound, _))| *bound == index);
        found.map(|(kernel, (_, name))| (*kernel, &**name))
    }

    /// The interface that stands for the VRF of a table.
    pub fn master_of(&self, table: TableId) -> Option<IfIndex> {
        self.vrfs.iter().find(|(_, its)| **its == table).map(|(vrf, _)| vrf.0)
    }

    /// An interface is deleted; another one will have its index.
    pub fn forget(&mut self, index: InterfaceIndex) {
        self.interfaces.retain(|_, (bound, _)| *bound != index);
    }

    fn of(&self, kernel: IfIndex) -> Option<InterfaceIndex> {
        self.interfaces.get(&kernel).map(|(index, _)| *index)
    }

    fn table(&self, table: FibTable) -> Option<TableId> {
        match table {
            FibTable { vrf: None, policy: None } => Some(0),
            FibTable { vrf: Some(vrf), policy: None } => self.vrfs.get(&vrf).copied(),
            // There is no policy routing to look into such a table.
            FibTable { policy: Some(_), .. } => None,
        }
    }

    /// Applies them in order.
    pub fn apply(
        &mut self,
        dataplane: &mut Dataplane,
        changes: impl IntoIterator<Item = Change>,
    ) -> Failures {
        let mut batch = Batch::new();
        for change in changes {
            if let Err(error) = self.note(dataplane, &mut batch, change) {
                batch.failures.add(error);
            }
        }
        batch.commit(dataplane);
        // One that was refused is none.
        self.interfaces.retain(|_, (index, _)| dataplane.interfaces().get(*index).is_some());
        batch.failures
    }

    fn route<F: Configured>(
        &self,
        dataplane: &Dataplane,
        batch: &mut Batch,
        (table, prefix): (FibTable, F::Net),
        action: Action<F>,
    ) -> Result<(), DeviceError> {
        if let Some(table) = self.table(table) {
            let table = batch.changes.table::<F>(dataplane, table)?;
            batch.changes.route(table, prefix, action);
        }
        Ok(())
    }

    fn paths<F: Configured>(&self, paths: &Paths) -> Vec<fib::RoutePath<F>> {
        let target = |path: &store::RoutePath| {
            Some(match path.target {
                // A next hop of the other family is not to be had.
                PathTarget::Gateway { interface, address, .. } => {
                    let address = F::address(address)?;
                    fib::PathTarget::Via { address, interface: Some(self.of(interface)?) }
                }
                PathTarget::Link(interface) => fib::PathTarget::Connected(self.of(interface)?),
                PathTarget::Host => fib::PathTarget::Punt,
                PathTarget::Local => fib::PathTarget::Local,
                PathTarget::Blackhole => fib::PathTarget::Drop(DropKind::Blackhole),
                PathTarget::Unreachable => fib::PathTarget::Drop(DropKind::Unreachable),
                PathTarget::Prohibit => fib::PathTarget::Drop(DropKind::Prohibit),
            })
        };
        let path =
            |path: &store::RoutePath| Some(fib::RoutePath { target: target(path)?, weight: path.weight });
        let mut all: Vec<fib::RoutePath<F>> = paths.iter().filter_map(path).collect();
        // Whether a gateway is on the link's subnet makes no difference here.
        all.sort();
        all.dedup_by_key(|path| path.target);
        all
    }

    fn note(
        &mut self,
        dataplane: &mut Dataplane,
        batch: &mut Batch,
        change: Change,
    ) -> Result<(), DeviceError> {
        match change {
            Change::Route(table, prefix, paths) => by_family!(prefix, IpNet(prefix), F => {
                let action = Action::Set(Preference::default(), self.paths::<F>(&paths));
                self.route::<F>(dataplane, batch, (table, prefix), action)?;
            }),
            Change::RouteGone(table, prefix) => by_family!(prefix, IpNet(prefix), F => {
                self.route::<F>(dataplane, batch, (table, prefix), Action::Delete)?;
            }),
            Change::Vrf(vrf) => {
                let table = vrf.table.0;
                self.vrfs.insert(vrf.id, table);
                batch.changes.add_table::<Ip4>(dataplane, table, Some(&vrf.name))?;
                batch.changes.add_table::<Ip6>(dataplane, table, Some(&vrf.name))?;
            }
            Change::VrfGone(vrf) => {
                if let Some(table) = self.vrfs.remove(&vrf) {
                    batch.commit(dataplane);
                    batch.changes.release(Object::table::<Ip4>(table));
                    batch.changes.release(Object::table::<Ip6>(table));
                    batch.commit(dataplane);
                }
            }
            Change::Interface(interface) => self.interface(dataplane, batch, &interface)?,
            Change::InterfaceGone(kernel) => {
                let Some((index, _)) = self.interfaces.remove(&kernel) else { return Ok(()) };
                if batch.changes.port_below(dataplane, index).is_some() {
                    batch.changes.release_interface(index);
                } else if dataplane.interfaces().get(index).is_some() {
                    batch.commit(dataplane);
                    dataplane.delete_host_tap(index);
                    for object in dataplane.wanted_on(index, Owner::VPLANED) {
                        batch.changes.release(object);
                    }
                    batch.changes.set(&settings::ADMIN_STATE, index, Value::Switch(false));
                }
            }
            Change::Address(address) => {
                if let Some(index) = self.of(address.index) {
                    batch.changes.add_address(index, address.address);
                }
            }
            Change::AddressGone(address) => {
                if let Some(index) = self.of(address.index) {
                    batch.changes.release(Object::Address(index, address.address));
                }
            }
            Change::Neighbor(neighbor) => {
                if let Some(index) = self.of(neighbor.index) {
                    let address = neighbor.address;
                    match neighbor.permanent {
                        true => batch.changes.add_neighbor(index, address, MacAddr(neighbor.mac.0)),
                        // The dataplane learns by itself what is only learned.
                        false => batch.changes.release(Object::Neighbor(index, address)),
                    }
                }
            }
            Change::NeighborGone(kernel, address) => {
                if let Some(index) = self.of(kernel) {
                    batch.changes.release(Object::Neighbor(index, address));
                }
            }
            // Answering for single addresses is not to be had.
            Change::Proxy(_) | Change::ProxyGone(_) => {}
        }
        Ok(())
    }

    fn interface(
        &mut self,
        dataplane: &mut Dataplane,
        batch: &mut Batch,
        wanted: &store::Interface,
    ) -> Result<(), DeviceError> {
        let index = match (self.of(wanted.index), wanted.kind) {
            (Some(index), _) => index,
            (None, InterfaceKind::Vlan { parent, id, protocol }) => {
                let Some(parent) = self.of(parent) else { return Ok(()) };
                let below = batch.changes.port_below(dataplane, parent);
                let Some((port, id, tags)) = stacked(parent, below, id.get(), protocol) else {
                    return Err(DeviceError::Settings(
                        "a frame has two VLAN tags at most, of the ids 1 to 4094",
                    ));
                };
                batch.changes.create_sub_interface(dataplane, port, id, tags)?
            }
            // Not one of our ports (any more).
            (None, InterfaceKind::Port) => return Ok(()),
        };
        self.interfaces.insert(wanted.index, (index, wanted.name.clone()));
        let forwards = dataplane.interfaces().get(index).is_none_or(|now| now.forwarding);
        if forwards && wanted.ip4.forwarding == Some(false) {
            let name = &wanted.name;
            tracing::warn!("vplaned: {name} forwards nothing: net.ipv4.conf.{name}.forwarding is 0");
        }
        let forwards = dataplane.interfaces().get(index).is_none_or(|now| now.forwarding6);
        if forwards && wanted.ip6.forwarding == Some(false) {
            // As Linux begins, so it is nothing to warn of.
            let name = &wanted.name;
            tracing::info!("vplaned: {name} forwards no IPv6: net.ipv6.conf.{name}.forwarding is 0");
        }
        let table = wanted.vrf.and_then(|vrf| self.vrfs.get(&vrf).copied()).unwrap_or(0);
        let check = wanted.ip4.rp_filter.map(|filter| match filter {
            RpFilter::Off => SourceCheck::Off,
            RpFilter::Strict => SourceCheck::Strict,
            RpFilter::Loose => SourceCheck::Loose,
        });
        let port = wanted.kind == InterfaceKind::Port;
        let mac = wanted.mac.filter(|_| port).map(|mac| Value::Mac(MacAddr(mac.0)));
        for (setting, value) in [
            (&settings::TABLE, Some(Value::Number(table.into()))),
            (&settings::IP6_TABLE, Some(Value::Number(table.into()))),
            (&settings::PROXY_ARP, wanted.ip4.proxy.map(Value::Switch)),
            (&settings::FORWARDING, wanted.ip4.forwarding.map(Value::Switch)),
            (&settings::PROXY_ND, wanted.ip6.proxy.map(Value::Switch)),
            (&settings::IP6_FORWARDING, wanted.ip6.forwarding.map(Value::Switch)),
            (&settings::SOURCE_CHECK, check.map(settings::source_check)),
            (&settings::MTU, Some(Value::Number(wanted.mtu.into()))),
            (&settings::MAC, mac),
            (&settings::ADMIN_STATE, Some(Value::Switch(wanted.admin_up))),
        ] {
            // What it has said already it says again with every change of anything.
            let said = dataplane.claim_of(&Object::Setting(setting, Some(index)), Owner::VPLANED);
            if let Some(value) = value.filter(|value| said != Some(value)) {
                batch.changes.set(setting, index, value);
            }
        }
        Ok(())
    }
}

/// The port, number and tags of a VLAN on `parent`, which may be a VLAN itself, `below` which is a port.
fn stacked(
    parent: InterfaceIndex,
    below: Option<(InterfaceIndex, Tags)>,
    id: u16,
    protocol: TagProtocol,
) -> Option<(InterfaceIndex, u32, Tags)> {
    let vlan = VlanId::new(id)?;
    if let Some((port, tags)) = below {
        let outer = tags.outer.filter(|_| tags.inner.is_none() && protocol == TagProtocol::Dot1Q)?;
        let number = u32::from(outer.1.get()) << 12 | u32::from(id);
        return Some((port, number, Tags { outer: Some(outer), inner: Some(vlan) }));
    }
    let kind = match protocol {
        TagProtocol::Dot1Q => EtherType::VLAN,
        TagProtocol::Dot1Ad => EtherType::QINQ,
    };
    Some((parent, id.into(), Tags { outer: Some((kind, vlan)), inner: None }))
}

/// Changes that are made together. What is refused is told, and keeps nothing else out.
struct Batch {
    changes: ChangeSet,
    failures: Failures,
}

impl Batch {
    fn new() -> Batch {
        Batch { changes: ChangeSet::new(Owner::VPLANED), failures: Failures::default() }
    }

    fn commit(&mut self, dataplane: &mut Dataplane) {
        if !self.changes.is_empty() {
            let changes = std::mem::replace(&mut self.changes, ChangeSet::new(Owner::VPLANED));
            for (_, error) in dataplane.change_possible(changes) {
                self.failures.add(error);
            }
        }
    }
}
