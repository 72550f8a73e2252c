// SPDX-License-Identifier: Apache-2.0
//! `create tap`, `delete tap`.

use weft_cli::{Args, CliError, Command, Reply};
use weft_control::{ChangeSet, Value, settings};
use weft_devices::tap::device::TAP;
use weft_engine::InterfaceIndex;

use crate::cli::create::{common, note_deletion};
use crate::cli::{complete_interface, noted, present_interface, refused};
use crate::config::interfaces::{Interface, Tap};
use crate::config::values::{HostInterface, InterfaceName};
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("create tap", create_tap)
            .change()
            .synopsis(
                "[id <n>] [host-if-name <name>] [name <interface>] [host-ns <namespace>] [host-ip4-addr <address>] \
                 [host-mac-addr <mac>] [hw-addr <mac>] [mtu|host-mtu-size <bytes>] | host-if-name <name> punt <port>",
            )
            .help("Make an interface whose other side is the host's, or the host's side of a port"),
        complete_interface(Command::new("delete tap", delete_tap), &[])
            .change()
            .synopsis("<interface>")
            .help("Delete a TAP, or the host's side of a port"),
    ]
}

fn create_tap(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let (mut name, mut host_name) = (None::<InterfaceName>, None::<HostInterface>);
    let (mut host_namespace, mut host_address, mut host_mac) = (None, None, None);
    let (mut mac, mut mtu) = (None, None::<u64>);
    while !args.is_empty() {
        if args.keyword("host-if-name") {
            host_name = Some(args.parse("interface name")?);
        } else if let (Some(host_name), true) = (&host_name, args.keyword("punt")) {
            let port = present_interface(args, dataplane)?;
            args.finish()?;
            by_itself(dataplane)?;
            dataplane.create_host_tap(port, host_name).map_err(refused)?;
            return Ok(Reply::empty());
        } else if args.keyword("id") {
            name = Some(tap_name(args.parse("number")?)?);
        } else if args.keyword("name") {
            name = Some(args.parse("interface name")?);
        } else if args.keyword("host-ns") {
            host_namespace = Some(args.word("network namespace")?.to_owned());
        } else if args.keyword("host-ip4-addr") {
            host_address = Some(args.parse("IPv4 address with prefix length")?);
        } else if args.keyword("hw-addr") {
            mac = Some(args.parse("MAC address")?);
        } else if args.keyword("host-mac-addr") {
            host_mac = Some(args.parse("MAC address")?);
        } else if args.keyword("mtu") || args.keyword("host-mtu-size") {
            mtu = Some(args.parse("number of bytes")?);
        } else {
            return Err(args.unexpected());
        }
    }
    noted(dataplane, |dataplane, changes| {
        let name = match (name, &host_name) {
            (Some(name), _) => name,
            (None, Some(host)) => InterfaceName::from(host),
            (None, None) => free_tap(dataplane, changes)?,
        };
        // As in VPP, the host's side has the same name if nothing else is said.
        let host_name = host_name.map_or_else(|| name.as_str().parse().map_err(refused), Ok)?;
        let tap = Tap { common: common(name), host_name, host_namespace, host_address, mac, host_mac };
        let index = Interface::new(tap).create(dataplane, changes).map_err(refused)?;
        mtu.into_iter().for_each(|mtu| changes.set(&settings::MTU, index, Value::Number(mtu)));
        Ok(Reply::new(changes.interface_name(dataplane, index), Clone::clone))
    })
}

/// The host's side of a port is no interface, and no step of a change set.
fn by_itself(dataplane: &Dataplane) -> Result<(), CliError> {
    match dataplane.collected() {
        None => Ok(()),
        Some(_) => Err(refused("the host's side of a port cannot be part of one change")),
    }
}

fn tap_name(id: u32) -> Result<InterfaceName, CliError> {
    format!("tap{id}").parse().map_err(refused)
}

/// The first of `tap0`, `tap1`, ... that nobody has.
fn free_tap(dataplane: &Dataplane, changes: &ChangeSet) -> Result<InterfaceName, CliError> {
    let free = |id: &u32| changes.find_interface(dataplane, &format!("tap{id}")).is_none();
    tap_name((0..).find(free).unwrap_or(u32::MAX))
}

fn delete_tap(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let port = args.take_if("host's side of a port", |name| dataplane.port_of_host_tap(name));
    if let Some(port) = port {
        args.finish()?;
        by_itself(dataplane)?;
        dataplane.delete_host_tap(port);
        return Ok(Reply::empty());
    }
    noted(dataplane, |dataplane, changes| {
        let is_tap =
            |dataplane: &Dataplane, _: &ChangeSet, index: InterfaceIndex| dataplane.devices().is(index, &TAP);
        note_deletion(dataplane, changes, args, "TAP", is_tap).map(|()| Reply::empty())
    })
}
