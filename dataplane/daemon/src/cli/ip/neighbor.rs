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
        complete_interface(change(path, add), &["static"])
            .synopsis("[static] <interface> <address> <mac>")
            .help("Configure a neighbour; it does not age")
    };
    let del = |path: &str| {
        complete_interface(change(path, del), &[])
            .synopsis("[static] <interface> <address> [<mac>]")
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
        add("ip neighbor add"),
        del("ip neighbor del"),
        del("set ip neighbor del"),
        neighbors("show ip neighbors", None),
        neighbors("show ip4 neighbors", Some(IpVersion::V4)),
        neighbors("show ip6 neighbors", Some(IpVersion::V6)),
        flush("clear ip neighbors"),
        flush("ip neighbor flush"),
    ]
}

fn add(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    // In VPP the word tells such entries from learned ones; what is configured here is always static.
    let _ = args.keyword("static");
    let index = interface(args, dataplane, changes)?;
    changes.add_neighbor(index, args.parse::<IpAddr>("IP address")?, args.parse("MAC address")?);
    args.finish()
}

fn del(dataplane: &Dataplane, changes: &mut ChangeSet, args: &mut Args<'_>) -> Result<(), CliError> {
    let _ = args.keyword("static");
    let index = interface(args, dataplane, changes)?;
    changes.delete(Object::Neighbor(index, args.parse("IP address")?));
    // Whoever repeats the command that made it, with "del", says this too.
    let _: Option<MacAddr> = args.optional("MAC address")?;
    args.finish()
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
