// SPDX-License-Identifier: Apache-2.0
//! `set interface ip address`, `set interface proxy-arp`.

use ipnet::Ipv4Net;
use weft_cli::{Args, CliError, Command, Reply};

use super::super::{complete_interface, refused};
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        complete_interface(Command::new("set interface ip address", set), &["del"])
            .synopsis("[del] <interface> <address>/<length>|all")
            .help("Give an interface an IPv4 address, or take one away"),
        complete_interface(Command::new("set interface proxy-arp", proxy_arp), &["enable", "disable"])
            .synopsis("<interface> enable|disable")
            .help("Answer ARP requests for addresses that are reached by other interfaces (RFC 1027)"),
    ]
}

fn set(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let del = args.keyword("del");
    let index = super::super::interface(args, dataplane)?;
    let all = del && args.keyword("all");
    let Dataplane { router, engine, interfaces, .. } = dataplane;
    let addresses: Vec<Ipv4Net> = match all {
        true => interfaces.get(index).map(|interface| interface.addresses4.clone()).unwrap_or_default(),
        false => vec![args.parse("IPv4 address with prefix length")?],
    };
    args.finish()?;
    for address in addresses {
        match del {
            true => router.remove_address(engine, interfaces, index, address),
            false => router.add_address(engine, interfaces, index, address),
        }
        .map_err(refused)?;
    }
    Ok(Reply::empty())
}

fn proxy_arp(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let index = super::super::interface(args, dataplane)?;
    let on = args.one_of(&[("enable", true), ("disable", false)])?;
    args.finish()?;
    let change =
        dataplane.interfaces.change(&mut dataplane.engine, index, |interface| interface.proxy_arp = on);
    change.map_err(refused)?;
    Ok(Reply::empty())
}
