// SPDX-License-Identifier: Apache-2.0
//! vplaned's side of tests that are about more than vplaned: what its store would tell, without a session.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use ipnet::IpNet;
use weft_control::{ChangeSet, Object, Owner, Setting, Value};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_vplaned::config::Draft;
use weft_vplaned::netlink::{IfIndex, InterfaceAddress, Scope, TableId};
use weft_vplaned::store::{Change, FibTable, KnownNeighbor, PathTarget, RoutePath, Vrf, VrfId};

use super::Vplaned;
use crate::state::Dataplane;

/// Something that vplaned says. Interfaces by their index, VRFs by the number of their table.
pub enum Said {
    Address(u32, IpNet, bool),
    Neighbor(u32, IpAddr, MacAddr, bool),
    Vrf(u32, bool),
    /// In the main table.
    Blackhole(IpNet, bool),
    /// As a command sets it, or no longer.
    Setting(&'static Setting, u32, Option<Value>),
    /// Rules, as a commit of packet filters puts them.
    Changes(ChangeSet),
}

fn kernel(index: u32) -> IfIndex {
    IfIndex::new(index + 10).expect("not 0")
}

fn vrf(table: u32) -> Vrf {
    Vrf { id: VrfId(kernel(100 + table)), name: format!("vrf{table}").into(), table: TableId(table) }
}

/// There is a vplaned.
pub fn begin(dataplane: &mut Dataplane) {
    let settings = Draft::default().settle().expect("all has a default");
    dataplane.put_part(Box::new(Vplaned::new(settings)));
}

/// vplaned has made the kernel's interface of a port.
pub fn bind(dataplane: &mut Dataplane, index: InterfaceIndex) {
    let vplaned = dataplane.find_part_mut::<Vplaned>().expect("there is one");
    vplaned.bindings.bind(kernel(index.0), index, &format!("dp{}", index.0));
}

/// Says whether the dataplane has followed.
pub fn change(dataplane: &mut Dataplane, said: Said) -> bool {
    let failed =
        |dataplane: &Dataplane| dataplane.find_part::<Vplaned>().map(|vplaned| vplaned.failed_changes);
    let before = failed(dataplane);
    let change = match said {
        Said::Address(on, address, add) => {
            let address = InterfaceAddress {
                index: kernel(on),
                address,
                peer: None,
                broadcast: None,
                scope: Scope::UNIVERSE,
            };
            if add { Change::Address(address) } else { Change::AddressGone(address) }
        }
        Said::Neighbor(on, address, mac, true) => Change::Neighbor(KnownNeighbor {
            index: kernel(on),
            address,
            mac: weft_vplaned::netlink::MacAddr(mac.0),
            permanent: true,
        }),
        Said::Neighbor(on, address, _, false) => Change::NeighborGone(kernel(on), address),
        Said::Vrf(id, true) => Change::Vrf(vrf(id)),
        Said::Vrf(id, false) => Change::VrfGone(vrf(id).id),
        Said::Blackhole(prefix, true) => {
            let paths: Arc<[RoutePath]> =
                Arc::new([RoutePath { target: PathTarget::Blackhole, weight: NonZeroU16::MIN }]);
            Change::Route(FibTable::MAIN, prefix, paths)
        }
        Said::Blackhole(prefix, false) => Change::RouteGone(FibTable::MAIN, prefix),
        Said::Changes(changes) => return dataplane.change_possible(changes).is_empty(),
        Said::Setting(setting, on, value) => {
            let mut changes = ChangeSet::new(Owner::VPLANED);
            let index = InterfaceIndex(on);
            match value {
                Some(value) => changes.set(setting, index, value),
                None => changes.release(Object::Setting(setting, Some(index))),
            }
            return dataplane.change_possible(changes).is_empty();
        }
    };
    dataplane.find_part_mut::<Vplaned>().expect("there is one").learned.changes.push(change);
    dataplane.hear_vplaned([]);
    failed(dataplane) == before
}
