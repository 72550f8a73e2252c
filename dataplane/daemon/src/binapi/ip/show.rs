// SPDX-License-Identifier: Apache-2.0
//! Routes as clients see them: one record for each prefix, with the paths of the route that is in use.

use ipnet::IpNet;
use weft_binapi::Retval;
use weft_binapi::api::ip::{
    IpRoute, IpRouteDetails, IpRouteDump, IpRouteLookup, IpRouteLookupReply, IpRouteLookupV2,
    IpRouteLookupV2Reply, IpRouteV2, IpRouteV2Details, IpRouteV2Dump, IpTable,
};
use weft_binapi::api::ip_types::Prefix;
use weft_binapi::server::{Records, Registry};
use weft_control::Configured;
use weft_nodes::fib::{LoadBalanceId, RouteView, SourceView};
use weft_nodes::interface::by_family;

use super::path;
use crate::binapi::version;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.dump(|_, _, IpRouteDump { table }| {
        by_family!(version(table.is_ip6), F => walk::<F, _>(table, |dataplane, id, route| {
            let (_, route) = show(dataplane, id, &route, None)?;
            Some(IpRouteDetails { route })
        }))
    });
    registry.dump(|_, _, IpRouteV2Dump { src, table }| {
        by_family!(version(table.is_ip6), F => walk::<F, _>(table, move |dataplane, id, route| {
            let (owner, route) = show(dataplane, id, &route, Some(src).filter(|src| *src != 0))?;
            Some(IpRouteV2Details { route: with_source(route, owner) })
        }))
    });
    registry.query(|dataplane, _, IpRouteLookup { table_id, exact, prefix }| {
        let (_, route) = lookup(dataplane, table_id, exact != 0, &prefix)?;
        Ok(IpRouteLookupReply { retval: 0, route })
    });
    registry.query(|dataplane, _, IpRouteLookupV2 { table_id, exact, prefix }| {
        let (owner, route) = lookup(dataplane, table_id, exact != 0, &prefix)?;
        Ok(IpRouteLookupV2Reply { retval: 0, route: with_source(route, owner) })
    });
}

/// All routes of a table, one after the other. An unknown table has none.
fn walk<F: Configured, T: 'static>(
    table: IpTable,
    show: impl Fn(&Dataplane, u32, RouteView<'_, F>) -> Option<T> + 'static,
) -> Records<Dataplane, T> {
    let mut after = None;
    Records::new(move |dataplane: &mut Dataplane| {
        let index = dataplane.router().table_index::<F>(table.table_id).ok()?;
        let routes = dataplane.router().table::<F>(index)?.rib.routes(after);
        let (prefix, record) = routes
            .filter_map(|route| Some((route.prefix(), show(dataplane, table.table_id, route)?)))
            .next()?;
        after = Some(prefix);
        Some(record)
    })
}

/// The route of a prefix: the one in use, or the best of those that cannot be resolved; that of one owner, if it is
/// asked for. With the number of its owner.
fn show<F: Configured>(
    dataplane: &Dataplane,
    table_id: u32,
    route: &RouteView<'_, F>,
    owner: Option<u8>,
) -> Option<(u8, IpRoute)> {
    let number = |source: &SourceView<'_, F>| source.owner.slot().0 as u8;
    let installed = |source: &SourceView<'_, F>| {
        source.load_balance == route.load_balance() && source.load_balance != LoadBalanceId::NO_ROUTE
    };
    let sources = || route.sources().filter(|source| owner.is_none_or(|owner| owner == number(source)));
    let best = sources().find(installed).or_else(|| sources().next())?;
    let prefix: IpNet = route.prefix().into();
    let shown = IpRoute {
        table_id,
        stats_index: route.load_balance().0,
        prefix: (prefix.addr(), prefix.prefix_len()).into(),
        paths: best.paths.iter().map(|one| path::show(dataplane, one)).collect(),
    };
    Some((number(&best), shown))
}

fn with_source(route: IpRoute, src: u8) -> IpRouteV2 {
    let IpRoute { table_id, stats_index, prefix, paths } = route;
    IpRouteV2 { table_id, stats_index, prefix, src, paths }
}

fn lookup(
    dataplane: &Dataplane,
    table_id: u32,
    exact: bool,
    prefix: &Prefix,
) -> Result<(u8, IpRoute), Retval> {
    by_family!(super::route::prefix(prefix)?, IpNet(prefix), F => {
        let index = dataplane.router().table_index::<F>(table_id).map_err(|_| Retval::NO_SUCH_FIB)?;
        let table = dataplane.router().table::<F>(index).ok_or(Retval::NO_SUCH_FIB)?;
        let route = if exact { table.rib.get(prefix) } else { table.rib.covering(prefix) };
        route.and_then(|route| show(dataplane, table_id, &route, None)).ok_or(Retval::NO_SUCH_ENTRY)
    })
}
