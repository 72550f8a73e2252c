// SPDX-License-Identifier: Apache-2.0
//! Paths of routes, as messages have them and as the router has them.

use std::net::IpAddr;
use std::num::NonZeroU16;

use weft_binapi::Retval;
use weft_binapi::api::fib_types::{FibPath, FibPathNh, FibPathNhProto, FibPathType};
use weft_control::{ChangeSet, Configured};
use weft_engine::InterfaceIndex;
use weft_nodes::fib::{AddressRole, DropKind, PathTarget, RoutePath};
use weft_nodes::interface::{IpVersion, TableIndex};

use crate::state::Dataplane;

/// An index that means nothing, as VPP fills it in.
const NONE: u32 = u32::MAX;
/// `MPLS_LABEL_INVALID` (vnet/mpls/mpls_types.h): 20 bits cannot say it.
const NO_LABEL: u32 = 0x10_0000;

/// A path of a route of `table`.
pub fn read<F: Configured>(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    table: TableIndex,
    path: &FibPath,
) -> Result<RoutePath<F>, Retval> {
    // No labels, and no path that waits for others to fail.
    if path.n_labels > 0 || path.preference > 0 {
        return Err(Retval::UNSUPPORTED);
    }
    let target = match path.r#type {
        FibPathType::NORMAL => normal::<F>(dataplane, changes, table, path)?,
        FibPathType::LOCAL => PathTarget::Local,
        FibPathType::DROP => PathTarget::Drop(DropKind::Blackhole),
        FibPathType::ICMP_UNREACH => PathTarget::Drop(DropKind::Unreachable),
        FibPathType::ICMP_PROHIBIT => PathTarget::Drop(DropKind::Prohibit),
        _ => return Err(Retval::UNSUPPORTED),
    };
    Ok(RoutePath { target, weight: NonZeroU16::new(path.weight.into()).unwrap_or(NonZeroU16::MIN) })
}

/// Four kinds in one, told apart by what is given: next hop and interface, one of them, or neither.
fn normal<F: Configured>(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    table: TableIndex,
    path: &FibPath,
) -> Result<PathTarget<F>, Retval> {
    let Some(address) = path.nh.get(path.proto).and_then(F::address) else {
        return Err(Retval::FIB_PATH_UNSUPPORTED_NH_PROTO);
    };
    let interface = match path.sw_if_index {
        NONE => None,
        index => {
            let found = changes.interface(dataplane, InterfaceIndex(index));
            Some(found.map_err(|_| Retval::NO_MATCHING_INTERFACE)?)
        }
    };
    let is_none = |address: F::Addr| Into::<IpAddr>::into(address).is_unspecified();
    let mut of_path = || changes.table::<F>(dataplane, path.table_id).map_err(|_| Retval::NO_SUCH_FIB);
    match interface {
        Some(interface) if is_none(address) => Ok(PathTarget::Connected(interface)),
        Some(_) => Ok(PathTarget::Via { address, interface }),
        None if is_none(address) => Ok(PathTarget::Table(of_path()?)),
        // A next hop is looked up in the table of its route.
        None if of_path()? == table => Ok(PathTarget::Via { address, interface: None }),
        None => Err(Retval::UNSUPPORTED),
    }
}

/// A path as clients see it.
pub fn show<F: Configured>(dataplane: &Dataplane, path: &RoutePath<F>) -> FibPath {
    let mut shown = FibPath {
        sw_if_index: NONE,
        rpf_id: NONE,
        weight: u8::try_from(path.weight.get()).unwrap_or(u8::MAX),
        r#type: FibPathType::NORMAL,
        proto: match F::VERSION {
            IpVersion::V4 => FibPathNhProto::IP4,
            IpVersion::V6 => FibPathNhProto::IP6,
        },
        nh: FibPathNh {
            via_label: NO_LABEL,
            obj_id: NONE,
            classify_table_index: NONE,
            ..FibPathNh::default()
        },
        ..FibPath::default()
    };
    match path.target {
        PathTarget::Via { address, interface } => {
            shown.nh.address = Into::<IpAddr>::into(address).into();
            shown.sw_if_index = interface.map_or(NONE, |interface| interface.0);
        }
        PathTarget::Connected(interface) => shown.sw_if_index = interface.0,
        // Clients know no path that the host sends on: to them, too, such packets go up to it.
        PathTarget::Local | PathTarget::Punt => shown.r#type = FibPathType::LOCAL,
        PathTarget::OwnAddress { role: AddressRole::Host, interface } => {
            shown.r#type = FibPathType::LOCAL;
            shown.sw_if_index = interface.0;
        }
        PathTarget::OwnAddress { role: AddressRole::Network, .. }
        | PathTarget::Drop(DropKind::NoRoute | DropKind::Blackhole) => shown.r#type = FibPathType::DROP,
        PathTarget::Drop(DropKind::Unreachable) => shown.r#type = FibPathType::ICMP_UNREACH,
        PathTarget::Drop(DropKind::Prohibit) => shown.r#type = FibPathType::ICMP_PROHIBIT,
        // Clients have no word for it.
        PathTarget::Object(_) => {}
        PathTarget::Table(table) => {
            shown.table_id = dataplane.router().table::<F>(table).map_or(NONE, |table| table.id);
        }
    }
    shown
}
