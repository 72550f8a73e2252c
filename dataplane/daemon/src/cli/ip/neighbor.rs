// SPDX-License-Identifier: Apache-2.0
//! `ip neighbor`, `set ip neighbor`, `show ip neighbors`, `clear ip neighbors`.

use std::net::IpAddr;

use serde::Serialize;
use weft_cli::{Args, CliError, Command, Reply};
use weft_control::{ChangeSet, Object};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::IpVersion;
use weft_nodes::neighbor::NeighborState;

use super::super::{center, change, complete_interface, interface, optional_interface, right, row};
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

#[derive(Serialize)]
struct Views {
    neighbors: Vec<View>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    let add = |path: &str| {
        complete_interface(
            change(path, |dataplane, changes, args| set(dataplane, changes, args, true)),
            &["static", "count", "del"],
        )
        .synopsis("<interface> <address> <mac> [static] [count <n>] [del]")
        .help("Tell of a neighbour as if it had been heard, or configure one that does not age")
    };
    let del = |path: &str| {
        complete_interface(
            change(path, |dataplane, changes, args| set(dataplane, changes, args, false)),
            &["count"],
        )
        .synopsis("<interface> <address> [<mac>] [count <n>]")
        .help("Forget a neighbour, learned or configured")
    };
    let flush = |path: &str| {
        complete_interface(Command::new(path, clear), &[])
            .synopsis("[<interface>]")
            .help("Forget the learned neighbours of an interface, or of all")
    };
    let neighbors = |path: &str, only: Option<IpVersion>| {
        complete_interface(Command::new(path, move |dataplane, args| show(dataplane, args, only)), &[])
            .synopsis("[<interface>]")
            .help("Neighbours by address")
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

/// The words of VPP, in any order; `adds`, unless one of them says otherwise. Whoever repeats the command that made a neighbour, with
/// "del", says its MAC address too.
fn set(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
    mut adds: bool,
) -> Result<(), CliError> {
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
    for step in 0..count {
        let address =
            after(first, step).ok_or_else(|| args.reject("the addresses end before the count does"))?;
        match mac {
            Some(mac) if adds && is_static => changes.add_neighbor(index, address, following(mac, step)),
            Some(mac) if adds => changes.tell_neighbor(index, address, following(mac, step)),
            None if adds => drop(args.parse::<MacAddr>("MAC address")?),
            _ => changes.delete(Object::Neighbor(index, address)),
        }
    }
    Ok(())
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

fn clear(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let only = optional_interface(args, dataplane)?;
    dataplane.forget_learned(|it| only.is_none_or(|only| only == it.interface));
    Ok(Reply::empty())
}

fn show(
    dataplane: &mut Dataplane,
    args: &mut Args<'_>,
    version: Option<IpVersion>,
) -> Result<Reply, CliError> {
    let only = optional_interface(args, dataplane)?;
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
        })
        .collect();
    Ok(Reply::new(Views { neighbors }, render))
}

fn render(views: &Views) -> String {
    if views.neighbors.is_empty() {
        return String::new();
    }
    let header = [center("Age", 12), center("IP", 40), center("Flags", 6), center("Ethernet", 20)];
    let mut out = row(header.into_iter().chain([center("Interface", 24)]));
    for view in &views.neighbors {
        out += &row([
            right(format!("{:.4}", view.age), 12),
            center(view.address, 40),
            center(view.flags, 6),
            center(view.mac.as_deref().unwrap_or("-"), 20),
            view.interface.clone(),
        ]);
    }
    out
}
