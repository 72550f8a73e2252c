// SPDX-License-Identifier: Apache-2.0
//! `ip neighbor`, `set ip neighbor`, `show ip neighbors`, `clear ip neighbors`.

use std::net::IpAddr;
use std::ops::Range;

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};
use weft_control::{ChangeSet, Object, Owner, Purpose};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::IpVersion;
use weft_nodes::neighbor::{NeighborError, NeighborState};

use super::super::{Column, centered, complete_interface, interface, of_interfaces, refused, table};
use crate::state::Dataplane;

#[derive(Serialize)]
struct View {
    /// Seconds since it was confirmed.
    age: f64,
    address: IpAddr,
    /// VPP's letters: D learned, S static; then ours: I incomplete, F failed.
    flags: &'static str,
    state: &'static str,
    mac: Option<String>,
    interface: String,
}

const COLUMNS: &[Column<View>] = &[
    centered(Column::right("Age", 12, |view| format!("{:.4}", view.age))),
    Column::center("IP", 40, |view| view.address.to_string()),
    Column::center("Flags", 6, |view| view.flags.to_owned()),
    Column::center("Ethernet", 20, |view| view.mac.clone().unwrap_or_else(|| "-".to_owned())),
    Column::rest("        Interface", |view| view.interface.clone()),
];

pub fn commands() -> Vec<Command<Dataplane>> {
    let add = |path: &str| {
        complete_interface(
            Command::new(path, |dataplane, args| set(dataplane, args, true)).change(),
            &["static", "count", "del"],
        )
        .synopsis("<interface> <address> <mac> [static] [count <n>] [del]")
        .help("Tell of a neighbour as if it had been heard, or configure one that does not age")
    };
    let del = |path: &str| {
        complete_interface(
            Command::new(path, |dataplane, args| set(dataplane, args, false)).change(),
            &["count"],
        )
        .synopsis("<interface> <address> [<mac>] [count <n>]")
        .help("Forget a neighbour, learned or configured")
    };
    let flush = |path: &str| {
        of_interfaces(path, |dataplane, only| {
            dataplane.forget_learned(|it| only.is_none_or(|only| only == it.interface));
            Ok(Reply::empty())
        })
        .help("Forget the learned neighbours of an interface, or of all")
    };
    let neighbors = |path: &str, only: Option<IpVersion>| {
        of_interfaces(path, move |dataplane, on| Ok(show(dataplane, on, only))).help("Neighbours by address")
    };
    vec![
        add("set ip neighbor"),
        add("ip neighbor"),
        add("ip neighbor add"),
        // As it was called before there was IPv6.
        add("set ip arp"),
        del("ip neighbor del"),
        del("set ip neighbor del"),
        neighbors("show ip neighbors", None),
        neighbors("show ip arp", Some(IpVersion::V4)),
        neighbors("show arp", Some(IpVersion::V4)),
        neighbors("show ip4 neighbors", Some(IpVersion::V4)),
        neighbors("show ip6 neighbors", Some(IpVersion::V6)),
        flush("clear ip neighbors"),
        flush("ip neighbor flush"),
    ]
}

/// Notes the neighbours of a file that is one change; else makes them, many in several turns, and none if one of them is refused.
fn set(dataplane: &mut Dataplane, args: &mut Args<'_>, adds: bool) -> Result<Reply, CliError> {
    if dataplane.collected().is_some() {
        return dataplane.collect(|dataplane, collected| {
            let wanted = read(dataplane, collected, args, adds)?;
            wanted.note(collected, 0..wanted.count);
            Ok(Reply::empty())
        });
    }
    // No step, but the interface that is named: that it is still there is looked at with every portion.
    let mut named = ChangeSet::new(Owner::CLI);
    let wanted = read(dataplane, &mut named, args, adds)?;
    if wanted.count <= PORTION {
        wanted.note(&mut named, 0..wanted.count);
        dataplane.change(&named, Purpose::Make).map_err(refused)?;
        return Ok(Reply::empty());
    }
    let (mut purpose, mut done, mut coming) = (Purpose::Try, 0, 0);
    let portion = move |dataplane: &mut Dataplane| {
        let steps = done..wanted.count.min(done + PORTION);
        let mut changes = named.clone();
        wanted.note(&mut changes, steps.clone());
        dataplane.change(&changes, purpose).map_err(|error| match (purpose, done) {
            (Purpose::Make, 1..) => refused(format!("{error}; {done} neighbours before it are done")),
            _ => refused(error),
        })?;
        done = steps.end;
        let table = dataplane.router().neighbors();
        if purpose == Purpose::Try && wanted.adds() {
            coming += wanted.addresses(steps).filter(|it| table.get(wanted.index, *it).is_none()).count();
            let limit = table.settings().limit;
            if table.len() + coming > limit {
                return Err(refused(NeighborError::Full { limit }));
            }
        }
        match (purpose, done == wanted.count) {
            (Purpose::Try, true) => (purpose, done) = (Purpose::Make, 0),
            (Purpose::Make, true) => return Ok(true),
            _ => {}
        }
        Ok(false)
    };
    Ok(Reply::in_portions(portion))
}

/// Neighbours that are changed together, all of them or none; more are changed in several turns.
const PORTION: u32 = 32;

/// Neighbours with addresses, and MAC addresses, that follow each other.
struct Wanted {
    index: InterfaceIndex,
    first: IpAddr,
    count: u32,
    what: What,
}

enum What {
    Configured(MacAddr),
    Told(MacAddr),
    Deleted,
}

impl Wanted {
    fn adds(&self) -> bool {
        !matches!(self.what, What::Deleted)
    }

    fn addresses(&self, steps: Range<u32>) -> impl Iterator<Item = IpAddr> {
        // All are addresses: the last one is.
        steps.filter_map(|step| after(self.first, step))
    }

    /// Notes the changes of some of them.
    fn note(&self, changes: &mut ChangeSet, steps: Range<u32>) {
        for (step, address) in steps.clone().zip(self.addresses(steps)) {
            match self.what {
                What::Configured(mac) => changes.add_neighbor(self.index, address, following(mac, step)),
                What::Told(mac) => changes.tell_neighbor(self.index, address, following(mac, step)),
                What::Deleted => changes.delete(Object::Neighbor(self.index, address)),
            }
        }
    }
}

/// The words of VPP, in any order; `adds`, unless one of them says otherwise. Whoever repeats the command that made a neighbour, with
/// "del", says its MAC address too.
fn read(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
    mut adds: bool,
) -> Result<Wanted, CliError> {
    let (mut index, mut first, mut mac) = (None, None, None);
    let (mut is_static, mut count) = (false, 1_u32);
    let most = dataplane.router().neighbors().settings().limit;
    while !args.is_empty() {
        if args.keyword("static") {
            is_static = true;
        } else if args.keyword("del") || args.keyword("delete") {
            adds = false;
        } else if args.keyword("no-fib-entry") {
            return Err(args.reject("a neighbour always has its route here"));
        } else if args.keyword("count") {
            count = args.parse_with("number of neighbours", |word| match word.parse::<u32>() {
                Ok(count) if (1..=most).contains(&(count as usize)) => Ok(count),
                _ => Err(format!("expected 1 to {most}, as many as the table takes")),
            })?;
        } else if index.is_none() {
            index = Some(interface(args, dataplane, changes)?);
        } else if first.is_none() {
            first = Some(args.parse::<IpAddr>("IP address")?);
        } else if mac.is_none() {
            mac = Some(args.parse::<MacAddr>("MAC address")?);
        } else {
            return Err(args.unexpected());
        }
    }
    let index = index.map_or_else(|| interface(args, dataplane, changes), Ok)?;
    let first = first.map_or_else(|| args.parse("IP address"), Ok)?;
    after(first, count - 1).ok_or_else(|| args.reject("the addresses end before the count does"))?;
    let what = match mac {
        _ if !adds => What::Deleted,
        Some(mac) if is_static => What::Configured(mac),
        Some(mac) => What::Told(mac),
        None => return Err(args.parse::<MacAddr>("MAC address").err().unwrap_or_else(|| args.unexpected())),
    };
    Ok(Wanted { index, first, count, what })
}

/// The address that is `step` after another.
fn after(first: IpAddr, step: u32) -> Option<IpAddr> {
    match first {
        IpAddr::V4(first) => u32::from(first).checked_add(step).map(|address| IpAddr::V4(address.into())),
        IpAddr::V6(first) => {
            u128::from(first).checked_add(step.into()).map(|address| IpAddr::V6(address.into()))
        }
    }
}

/// The MAC address that is `step` after another.
fn following(first: MacAddr, step: u32) -> MacAddr {
    let mut wide = [0; 8];
    wide[2..].copy_from_slice(&first.0);
    let [.., a, b, c, d, e, f] = (u64::from_be_bytes(wide) + u64::from(step)).to_be_bytes();
    MacAddr([a, b, c, d, e, f])
}

fn show(dataplane: &Dataplane, only: Option<InterfaceIndex>, version: Option<IpVersion>) -> Reply {
    let now = dataplane.router().now();
    let neighbors = dataplane
        .router()
        .neighbors()
        .iter()
        .filter(|neighbor| only.is_none_or(|only| only == neighbor.interface))
        .filter(|neighbor| version.is_none_or(|version| version == neighbor.address.into()))
        .map(|neighbor| {
            let (flags, state) = match neighbor.state {
                NeighborState::Static(_) => ("S", "static"),
                NeighborState::Reachable(_) => ("D", "reachable"),
                NeighborState::Stale { .. } => ("D", "stale"),
                NeighborState::Incomplete { .. } => ("I", "incomplete"),
                NeighborState::Failed => ("F", "failed"),
            };
            View {
                age: now.saturating_sub(neighbor.since).as_secs_f64(),
                address: neighbor.address,
                flags,
                state,
                mac: neighbor.state.mac().map(|mac| mac.to_string()),
                interface: dataplane.interface_name(neighbor.interface),
            }
        });
    Reply::list("neighbors", neighbors, |views| match views {
        [] => String::new(),
        views => table(COLUMNS, views),
    })
}
