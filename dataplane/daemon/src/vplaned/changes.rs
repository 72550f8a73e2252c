// SPDX-License-Identifier: Apache-2.0
//! Differences of vplaned's state, made so in the dataplane.
//!
//! A difference that cannot be applied is told and left: one bad route must not keep a million good ones out. Routes
//! are applied in batches; of a batch that is refused the bad ones are taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{EtherType, MacAddr, VlanId};
use weft_nodes::interface::{Interface, Kind};
use weft_nodes::ip4::{
    self, Action, ApplyError, DropKind, Owner, Preference, RouterError, SourceCheck, TableId, TableIndex,
};
use weft_vplaned::netlink::{IfIndex, RpFilter, TagProtocol};
use weft_vplaned::store::{self, Change, FibTable, InterfaceKind, PathTarget, Paths, VrfId};

use crate::ports::{DeviceError, SubInterface};
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
    fn add(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < TOLD {
            self.first.push(text());
        }
    }
}

/// Which part of the dataplane stands for what of the kernel.
#[derive(Default)]
pub struct Bindings {
    interfaces: BTreeMap<IfIndex, (InterfaceIndex, Box<str>)>,
    vrfs: BTreeMap<VrfId, TableId>,
    /// Neighbours that were configured by vplaned.
    neighbors: BTreeSet<(InterfaceIndex, Ipv4Addr)>,
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

    /// An interface is deleted; another one will have its index.
    pub fn forget(&mut self, index: InterfaceIndex) {
        self.interfaces.retain(|_, (bound, _)| *bound != index);
        self.neighbors.retain(|(on, _)| *on != index);
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
        let mut failures = Failures::default();
        let mut routes = Routes::default();
        for change in changes {
            let (table, route) = match &change {
                Change::Route(table, IpNet::V4(prefix), paths) => {
                    (*table, self.route(*prefix, Action::Set(Preference::default(), self.paths(paths))))
                }
                Change::RouteGone(table, IpNet::V4(prefix)) => (*table, self.route(*prefix, Action::Delete)),
                _ => {
                    routes.flush(dataplane, &mut failures);
                    self.other(dataplane, change, &mut failures);
                    continue;
                }
            };
            if let Some(table) = self.table(table) {
                routes.add(dataplane, table, route, &mut failures);
            }
        }
        routes.flush(dataplane, &mut failures);
        failures
    }

    fn route(&self, prefix: Ipv4Net, action: Action) -> ip4::Change {
        ip4::Change { prefix, owner: Owner::VPLANED, action }
    }

    fn paths(&self, paths: &Paths) -> Vec<ip4::RoutePath> {
        let target = |path: &store::RoutePath| {
            Some(match path.target {
                PathTarget::Gateway { interface, address: IpAddr::V4(address), .. } => {
                    ip4::PathTarget::Via { address, interface: Some(self.of(interface)?) }
                }
                PathTarget::Gateway { address: IpAddr::V6(_), .. } => return None,
                PathTarget::Link(interface) => ip4::PathTarget::Connected(self.of(interface)?),
                PathTarget::Host => ip4::PathTarget::Punt,
                PathTarget::Local => ip4::PathTarget::Local,
                PathTarget::Blackhole => ip4::PathTarget::Drop(DropKind::Blackhole),
                PathTarget::Unreachable => ip4::PathTarget::Drop(DropKind::Unreachable),
                PathTarget::Prohibit => ip4::PathTarget::Drop(DropKind::Prohibit),
            })
        };
        let path =
            |path: &store::RoutePath| Some(ip4::RoutePath { target: target(path)?, weight: path.weight });
        let mut all: Vec<ip4::RoutePath> = paths.iter().filter_map(path).collect();
        // Whether a gateway is on the link's subnet makes no difference here.
        all.sort();
        all.dedup_by_key(|path| path.target);
        all
    }

    fn other(&mut self, dataplane: &mut Dataplane, change: Change, failures: &mut Failures) {
        let what = format!("{change:?}");
        if let Err(error) = self.try_other(dataplane, change) {
            failures.add(|| format!("{error}; while applying {what}"));
        }
    }

    fn try_other(&mut self, dataplane: &mut Dataplane, change: Change) -> Result<(), DeviceError> {
        match change {
            Change::Vrf(vrf) => {
                let table = vrf.table.0;
                self.vrfs.insert(vrf.id, table);
                let Dataplane { router, engine, .. } = dataplane;
                if router.table_index(table).is_err() {
                    router.add_table(engine, table, &vrf.name)?;
                }
            }
            Change::VrfGone(vrf) => {
                let Some(table) = self.vrfs.remove(&vrf) else { return Ok(()) };
                dataplane.delete_table(table)?;
            }
            Change::Interface(interface) => self.interface(dataplane, &interface)?,
            Change::InterfaceGone(kernel) => {
                let Some((index, _)) = self.interfaces.remove(&kernel) else { return Ok(()) };
                match dataplane.interfaces.get(index).map(|interface| interface.kind) {
                    Some(Kind::Sub { .. }) => {
                        dataplane.delete_interface(index)?;
                        // The dataplane tells whoever is in it; what vplaned says is worked in with vplaned's part out of it.
                        self.forget(index);
                    }
                    Some(Kind::Port | Kind::Loopback) => {
                        dataplane.delete_host_tap(index);
                        dataplane.set_forwarding(index, true)?;
                        dataplane.set_source_check(index, SourceCheck::Off)?;
                        dataplane.set_admin_state(index, false)?;
                    }
                    None => {}
                }
            }
            Change::Address(address) => {
                let (Some(index), IpNet::V4(address)) = (self.of(address.index), address.address) else {
                    return Ok(());
                };
                let Dataplane { router, engine, interfaces, .. } = dataplane;
                let has = |interface: &Interface| interface.addresses4.contains(&address);
                if !interfaces.get(index).is_some_and(has) {
                    router.add_address(engine, interfaces, index, address)?;
                }
            }
            Change::AddressGone(address) => {
                let (Some(index), IpNet::V4(address)) = (self.of(address.index), address.address) else {
                    return Ok(());
                };
                let Dataplane { router, engine, interfaces, .. } = dataplane;
                router.remove_address(engine, interfaces, index, address)?;
            }
            // What is only learned the dataplane learns by itself.
            Change::Neighbor(neighbor) => {
                let (Some(index), IpAddr::V4(address)) = (self.of(neighbor.index), neighbor.address) else {
                    return Ok(());
                };
                let Dataplane { router, engine, interfaces, .. } = dataplane;
                if neighbor.permanent {
                    let mac = MacAddr(neighbor.mac.0);
                    router.set_static_neighbor(engine, interfaces, index, address, mac)?;
                    self.neighbors.insert((index, address));
                } else if self.neighbors.remove(&(index, address)) {
                    router.remove_neighbor(engine, interfaces, index, address);
                }
            }
            Change::NeighborGone(kernel, address) => {
                let (Some(index), IpAddr::V4(address)) = (self.of(kernel), address) else { return Ok(()) };
                let Dataplane { router, engine, interfaces, .. } = dataplane;
                if self.neighbors.remove(&(index, address)) {
                    router.remove_neighbor(engine, interfaces, index, address);
                }
            }
            // IPv6 stays in the store; answering for single addresses is not to be had.
            Change::Route(..) | Change::RouteGone(..) | Change::Proxy(_) | Change::ProxyGone(_) => {}
        }
        Ok(())
    }

    fn interface(&mut self, dataplane: &mut Dataplane, wanted: &store::Interface) -> Result<(), DeviceError> {
        let index = match (self.of(wanted.index), wanted.kind) {
            (Some(index), _) => index,
            (None, InterfaceKind::Vlan { parent, id, protocol }) => {
                let Some(parent) = self.of(parent) else { return Ok(()) };
                let Some(sub) = stacked(dataplane, parent, id.get(), protocol) else {
                    return Err(DeviceError::Settings(
                        "a frame has two VLAN tags at most, of the ids 1 to 4094",
                    ));
                };
                dataplane.create_sub_interface(sub.0, sub.1)?
            }
            // Not one of our ports (any more).
            (None, InterfaceKind::Port) => return Ok(()),
        };
        self.interfaces.insert(wanted.index, (index, wanted.name.clone()));
        let Some(now) = dataplane.interfaces.get(index).cloned() else { return Ok(()) };
        let table = match wanted.vrf {
            Some(vrf) => self.vrfs.get(&vrf).copied().unwrap_or(0),
            None => 0,
        };
        // One setting that is refused does not keep the others out.
        let mut result = Ok(());
        let mut keep = |done: Result<(), DeviceError>| {
            if result.is_ok() {
                result = done;
            }
        };
        let Dataplane { router, engine, interfaces, .. } = &mut *dataplane;
        if router.table_index(table).ok() != Some(now.table4) {
            keep(router.set_table(engine, interfaces, index, table).map_err(DeviceError::from));
        }
        let proxy_arp = wanted.ip4.proxy.unwrap_or(now.proxy_arp);
        if proxy_arp != now.proxy_arp {
            let change = |interface: &mut Interface| interface.proxy_arp = proxy_arp;
            keep(interfaces.change(engine, index, change).map_err(DeviceError::from));
        }
        if now.forwarding && wanted.ip4.forwarding == Some(false) {
            let name = &wanted.name;
            tracing::warn!("vplaned: {name} forwards nothing: net.ipv4.conf.{name}.forwarding is 0");
        }
        keep(dataplane.set_forwarding(index, wanted.ip4.forwarding.unwrap_or(now.forwarding)));
        let check = wanted.ip4.rp_filter.map_or(now.source_check, |filter| match filter {
            RpFilter::Off => SourceCheck::Off,
            RpFilter::Strict => SourceCheck::Strict,
            RpFilter::Loose => SourceCheck::Loose,
        });
        keep(dataplane.set_source_check(index, check));
        if wanted.mtu != u32::from(now.mtu) {
            keep(dataplane.set_mtu(index, wanted.mtu));
        }
        if let (Some(mac), InterfaceKind::Port) = (wanted.mac, wanted.kind)
            && mac.0 != now.mac.0
        {
            keep(dataplane.set_mac(index, MacAddr(mac.0)));
        }
        if wanted.admin_up != now.admin_up {
            keep(dataplane.set_admin_state(index, wanted.admin_up));
        }
        result
    }
}

/// The port and tags of a VLAN on `parent`, which may be a VLAN itself.
fn stacked(
    dataplane: &Dataplane,
    parent: InterfaceIndex,
    id: u16,
    protocol: TagProtocol,
) -> Option<(InterfaceIndex, SubInterface)> {
    let vlan = VlanId::new(id)?;
    match dataplane.interfaces.get(parent)?.kind {
        Kind::Sub { parent: port, tags, .. } => {
            let outer = tags.outer.filter(|_| tags.inner.is_none() && protocol == TagProtocol::Dot1Q)?;
            let number = u32::from(outer.1.get()) << 12 | u32::from(id);
            Some((port, SubInterface { id: number, outer, inner: Some(vlan) }))
        }
        Kind::Port | Kind::Loopback => {
            let kind = match protocol {
                TagProtocol::Dot1Q => EtherType::VLAN,
                TagProtocol::Dot1Ad => EtherType::QINQ,
            };
            Some((parent, SubInterface { id: id.into(), outer: (kind, vlan), inner: None }))
        }
    }
}

/// Routes of one table that wait to be applied together.
#[derive(Default)]
struct Routes {
    table: TableId,
    changes: Vec<ip4::Change>,
}

impl Routes {
    fn add(
        &mut self,
        dataplane: &mut Dataplane,
        table: TableId,
        change: ip4::Change,
        failures: &mut Failures,
    ) {
        if table != self.table {
            self.flush(dataplane, failures);
            self.table = table;
        }
        self.changes.push(change);
    }

    fn flush(&mut self, dataplane: &mut Dataplane, failures: &mut Failures) {
        let mut changes = std::mem::take(&mut self.changes);
        if changes.is_empty() {
            return;
        }
        let Dataplane { router, engine, interfaces, .. } = dataplane;
        let index: TableIndex = match router.table_index(self.table) {
            Ok(index) => index,
            Err(error) => return failures.add(|| format!("{} routes: {error}", changes.len())),
        };
        // A refused batch is tried again without the bad ones, which may be worse the second time (a delete of what
        // a refused one would have added), but only fewer.
        while let Err(error) = router.apply(engine, interfaces, index, &changes) {
            let RouterError::Apply(ApplyError::Refused(refused)) = error else {
                return failures.add(|| format!("{} routes: {error}", changes.len()));
            };
            for (_, error) in &refused {
                failures.add(|| format!("route: {error}"));
            }
            let bad: BTreeSet<usize> = refused.iter().map(|(position, _)| *position).collect();
            let mut position = 0;
            changes.retain(|_| {
                position += 1;
                !bad.contains(&(position - 1))
            });
            if bad.is_empty() || changes.is_empty() {
                return;
            }
        }
    }
}
