// SPDX-License-Identifier: Apache-2.0
//! Routes come, change and go. They belong to the agent that said them last ([`crate::binapi::agents`]).

use ipnet::IpNet;
use weft_binapi::Retval;
use weft_binapi::api::fib_types::FibPath;
use weft_binapi::api::ip::{IpRouteAddDel, IpRouteAddDelReply, IpRouteAddDelV2, IpRouteAddDelV2Reply};
use weft_binapi::api::ip_types::Prefix;
use weft_binapi::server::Registry;
use weft_control::{ChangeSet, Configured};
use weft_nodes::fib::{Action, Preference, RoutePath};
use weft_nodes::interface::{TableIndex, by_family};

use super::path;
use crate::binapi::retval::step;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change_as(
        |dataplane, changes, _, message: IpRouteAddDel| {
            let how = How { is_add: message.is_add, is_multipath: message.is_multipath };
            let route = &message.route;
            let place = note(dataplane, changes, how, (route.table_id, &route.prefix, &route.paths))?;
            Ok(move |dataplane: &mut Dataplane| IpRouteAddDelReply {
                retval: 0,
                stats_index: place.stats_index(dataplane),
            })
        },
        |_, message, retval| habit(message.is_add, retval),
    );
    registry.change_as(
        |dataplane, changes, _, message: IpRouteAddDelV2| {
            let how = How { is_add: message.is_add, is_multipath: message.is_multipath };
            let route = &message.route;
            let place = note(dataplane, changes, how, (route.table_id, &route.prefix, &route.paths))?;
            Ok(move |dataplane: &mut Dataplane| IpRouteAddDelV2Reply {
                retval: 0,
                stats_index: place.stats_index(dataplane),
            })
        },
        |_, message, retval| habit(message.is_add, retval),
    );
}

/// To delete what is not there is no error.
fn habit(is_add: bool, retval: Retval) -> Result<(), Retval> {
    match !is_add && retval == Retval::NO_SUCH_ENTRY {
        true => Ok(()),
        false => Err(retval),
    }
}

#[derive(Clone, Copy)]
struct How {
    is_add: bool,
    is_multipath: bool,
}

/// Where a route is.
#[derive(Clone, Copy)]
struct Place {
    table: TableIndex,
    prefix: IpNet,
}

impl Place {
    /// Where its packets are counted in `/net/route/to`. While it cannot be resolved its packets have no route of their own,
    /// and are counted with those that have none.
    fn stats_index(self, dataplane: &Dataplane) -> u32 {
        let load_balance = by_family!(self.prefix, IpNet(prefix), F => {
            let table = dataplane.router().table::<F>(self.table);
            table.and_then(|table| table.rib.get(prefix)).map(|route| route.load_balance())
        });
        load_balance.map_or(u32::MAX, |id| id.0)
    }
}

fn note(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    how: How,
    (table, prefix, paths): (u32, &Prefix, &[FibPath]),
) -> Result<Place, Retval> {
    let prefix = self::prefix(prefix)?;
    let table = by_family!(prefix, IpNet(prefix), F => {
        note_of::<F>(dataplane, changes, how, (table, prefix, paths))?
    });
    Ok(Place { table, prefix })
}

fn note_of<F: Configured>(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    how: How,
    (table, prefix, paths): (u32, F::Net, &[FibPath]),
) -> Result<TableIndex, Retval> {
    let table = changes.table::<F>(dataplane, table).map_err(|error| step(&error))?;
    let mut read = || -> Result<Vec<RoutePath<F>>, Retval> {
        if paths.is_empty() {
            return Err(Retval::NO_PATHS_IN_ROUTE);
        }
        paths.iter().map(|path| path::read(dataplane, changes, table, path)).collect()
    };
    let actions = match how {
        // What paths it has does not matter then.
        How { is_add: false, is_multipath: false } => vec![Action::Delete],
        How { is_add: true, is_multipath: false } => vec![Action::Set(Preference::default(), read()?)],
        How { is_add: true, is_multipath: true } => {
            read()?.into_iter().map(|path| Action::SetPath(Preference::default(), path)).collect()
        }
        How { is_add: false, is_multipath: true } => {
            read()?.into_iter().map(|path| Action::DeletePath(path.target)).collect()
        }
    };
    for action in actions {
        changes.route(table, prefix, action);
    }
    Ok(table)
}

/// Bits behind the length do not matter.
pub fn prefix(prefix: &Prefix) -> Result<IpNet, Retval> {
    let (address, length) = prefix.get().ok_or(Retval::INVALID_VALUE)?;
    IpNet::new(address, length).map(|net| net.trunc()).map_err(|_| Retval::INVALID_VALUE)
}
