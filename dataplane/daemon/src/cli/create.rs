// SPDX-License-Identifier: Apache-2.0
//! `create ...` and `delete ...`: interfaces come and go.
//!
//! Words are read into the same types as those of `interfaces { ... }`, so both ways make the same thing.

use std::collections::BTreeSet;

use weft_cli::{Args, CliError, Command, Reply};
use weft_control::{ChangeSet, Owner, Purpose, Value, settings};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{EtherType, VlanId};
use weft_nodes::interface::Kind;

use super::{complete_interface, refused};
use crate::config::Span;
use crate::config::af_xdp::{self, AfXdp, LAST_WORKER, Mode, WorkerNumber, ZeroCopy};
use crate::config::interfaces::{Common, Loopback, Tap};
use crate::config::values::{HostInterface, InterfaceName, number_list};
use crate::ports::{Device, SubInterface};
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("create interface af_xdp", create_af_xdp)
            .synopsis(
                "host-if <name> [name <interface>] [num-rx-queues <n>|all] [rx-queue-size <n>] [tx-queue-size <n>] \
                 [zero-copy|no-zero-copy] [mode auto|native|generic] [netns <name>] [workers <list>] [tx-budget <n>] \
                 [busy-poll-usec <n>] [busy-poll-budget <n>] [host-tap <name>]",
            )
            .help("Serve the queues of a Linux interface"),
        complete_interface(Command::new("delete interface af_xdp", delete_af_xdp), &[])
            .synopsis("<interface>")
            .help("Give a Linux interface back to the host"),
        Command::new("create tap", create_tap)
            .synopsis(
                "[id <n>] [host-if-name <name>] [name <interface>] [host-ns <namespace>] [host-ip4-addr <address>] \
                 [hw-addr <mac>] [mtu <bytes>] | host-if-name <name> punt <port>",
            )
            .help("Make an interface whose other side is the host's, or the host's side of a port"),
        complete_interface(Command::new("delete tap", delete_tap), &[])
            .synopsis("<interface>")
            .help("Delete a TAP, or the host's side of a port"),
        Command::new("create loopback interface", create_loopback)
            .synopsis("[mac <mac>] [instance <n>]")
            .help("Make an interface without a device"),
        Command::new("delete loopback interface", delete_loopback)
            .synopsis("intfc <interface>")
            .help("Delete a loopback interface"),
        complete_interface(
            Command::new("create sub-interfaces", create_sub),
            &["dot1q", "dot1ad", "inner-dot1q", "exact-match"],
        )
        .synopsis("<port> <id> [dot1q|dot1ad <vlan>] [inner-dot1q <vlan>] [exact-match]")
        .help("Make an interface of the frames of a port that carry these VLAN tags"),
        complete_interface(Command::new("delete sub-interface", delete_sub), &[])
            .synopsis("<interface>")
            .help("Delete a sub-interface"),
    ]
}

/// Answers with the name of the interface, as VPP does.
fn created(dataplane: &Dataplane, index: InterfaceIndex) -> Reply {
    Reply::new(dataplane.interface_name(index), Clone::clone)
}

fn common(name: InterfaceName) -> Common {
    Common::new(name, Span::default())
}

fn create_af_xdp(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let _ = args.keyword("host-if");
    let host: HostInterface = args.parse("network interface")?;
    let mut port = AfXdp::new(host.clone(), common(InterfaceName::from(&host)));
    while !args.is_empty() {
        read_af_xdp(&mut port, args)?;
    }
    let index = dataplane.create_af_xdp(&port).map_err(refused)?;
    Ok(created(dataplane, index))
}

fn read_af_xdp(port: &mut AfXdp, args: &mut Args<'_>) -> Result<(), CliError> {
    if args.keyword("name") {
        port.common.name = args.parse("interface name")?;
    } else if args.keyword("num-rx-queues") {
        port.queues = args.parse_with("number of queues", af_xdp::queues)?;
    } else if args.keyword("rx-queue-size") {
        port.rx_queue_size = Some(args.parse_with("ring size", af_xdp::ring_size)?);
    } else if args.keyword("tx-queue-size") {
        port.tx_queue_size = Some(args.parse_with("ring size", af_xdp::ring_size)?);
    } else if args.keyword("zero-copy") {
        port.zero_copy = ZeroCopy::On;
    } else if args.keyword("no-zero-copy") {
        port.zero_copy = ZeroCopy::Off;
    } else if args.keyword("mode") {
        port.mode =
            args.one_of(&[("auto", Mode::Auto), ("native", Mode::Native), ("generic", Mode::Generic)])?;
    } else if args.keyword("netns") {
        port.netns = Some(args.word("network namespace")?.to_owned());
    } else if args.keyword("workers") {
        let list = |text: &str| number_list(text, LAST_WORKER);
        let workers = args.parse_with("list of workers", list)?;
        port.workers = Some(workers.into_iter().map(WorkerNumber).collect::<BTreeSet<_>>());
    } else if args.keyword("tx-budget") {
        port.tx_budget = Some(args.parse("number of frames")?);
    } else if args.keyword("busy-poll-usec") {
        port.busy_poll_usec = Some(args.parse("microseconds")?);
    } else if args.keyword("busy-poll-budget") {
        port.busy_poll_budget = Some(args.parse("number of packets")?);
    } else if args.keyword("host-tap") {
        port.host_tap = Some(args.parse("interface name")?);
    } else if args.keyword("no-syscall-lock") {
        // In VPP it unlocks the system call of a queue that one worker has alone; here that costs nothing anyway.
    } else {
        return Err(args.unexpected());
    }
    Ok(())
}

/// Deletes an interface that is of the kind which the command is for.
fn delete(
    dataplane: &mut Dataplane,
    args: &mut Args<'_>,
    is_meant: fn(&Device) -> bool,
    expected: &str,
) -> Result<Reply, CliError> {
    let index = super::interface(args, dataplane)?;
    if !dataplane.devices.get(index).is_some_and(is_meant) {
        return Err(args.reject(format!("'{}' is no {expected}", dataplane.interface_name(index))));
    }
    args.finish()?;
    dataplane.delete_interface(index).map_err(refused)?;
    Ok(Reply::empty())
}

fn delete_af_xdp(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    delete(dataplane, args, |device| matches!(device, Device::AfXdp(_)), "AF_XDP port")
}

fn create_tap(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let (mut name, mut host_name) = (None::<InterfaceName>, None::<HostInterface>);
    let (mut host_namespace, mut host_address, mut mac, mut mtu) = (None, None, None, None);
    while !args.is_empty() {
        if args.keyword("host-if-name") {
            host_name = Some(args.parse("interface name")?);
        } else if let (Some(host_name), true) = (&host_name, args.keyword("punt")) {
            let port = super::interface(args, dataplane)?;
            args.finish()?;
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
        } else if args.keyword("mtu") {
            mtu = Some(args.parse::<u64>("number of bytes")?);
        } else {
            return Err(args.unexpected());
        }
    }
    let name = match (name, &host_name) {
        (Some(name), _) => name,
        (None, Some(host)) => InterfaceName::from(host),
        (None, None) => free_tap(dataplane)?,
    };
    // As in VPP, the host's side has the same name if nothing else is said.
    let host_name = host_name.map_or_else(|| name.as_str().parse().map_err(refused), Ok)?;
    let tap = Tap { common: common(name), host_name, host_namespace, host_address, mac };
    let index = dataplane.create_tap(&tap).map_err(refused)?;
    let mut changes = ChangeSet::new(Owner::CLI);
    mtu.into_iter().for_each(|mtu| changes.set(&settings::MTU, index, Value::Number(mtu)));
    if let Err(error) = dataplane.change(&changes, Purpose::Make) {
        dataplane.delete_interface(index).map_err(refused)?;
        return Err(refused(error));
    }
    Ok(created(dataplane, index))
}

fn tap_name(id: u32) -> Result<InterfaceName, CliError> {
    format!("tap{id}").parse().map_err(refused)
}

/// The first of `tap0`, `tap1`, ... that nobody has.
fn free_tap(dataplane: &Dataplane) -> Result<InterfaceName, CliError> {
    let free = |id: &u32| dataplane.interfaces.find(&format!("tap{id}")).is_none();
    tap_name((0..).find(free).unwrap_or(u32::MAX))
}

fn delete_tap(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let port = args.take_if("host's side of a port", |name| dataplane.port_of_host_tap(name));
    if let Some(port) = port {
        args.finish()?;
        dataplane.delete_host_tap(port);
        return Ok(Reply::empty());
    }
    delete(dataplane, args, |device| matches!(device, Device::Tap(_)), "TAP")
}

fn create_loopback(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let (mut mac, mut instance) = (None, None);
    while !args.is_empty() {
        if args.keyword("mac") {
            mac = Some(args.parse("MAC address")?);
        } else if args.keyword("instance") {
            instance = Some(args.parse("number")?);
        } else {
            return Err(args.unexpected());
        }
    }
    let instance = instance.unwrap_or_else(|| dataplane.free_loopback());
    let name: InterfaceName = format!("loop{instance}").parse().map_err(refused)?;
    let index =
        dataplane.create_loopback(&Loopback { common: common(name), instance, mac }).map_err(refused)?;
    Ok(created(dataplane, index))
}

fn delete_loopback(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let _ = args.keyword("intfc");
    delete(dataplane, args, |device| matches!(device, Device::Loopback(_)), "loopback interface")
}

fn create_sub(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let port = super::interface(args, dataplane)?;
    let id: u32 = args.parse("number")?;
    let vlan = |args: &mut Args<'_>| {
        args.parse_with("VLAN", |text| {
            let number = text.parse().ok().filter(|number| (1..=4094).contains(number));
            number.and_then(VlanId::new).ok_or("VLANs are numbered from 1 to 4094")
        })
    };
    let (mut outer, mut inner) = (None, None);
    while !args.is_empty() {
        if args.keyword("dot1q") {
            outer = Some((EtherType::VLAN, vlan(args)?));
        } else if args.keyword("dot1ad") {
            outer = Some((EtherType::QINQ, vlan(args)?));
        } else if args.keyword("inner-dot1q") {
            inner = Some(vlan(args)?);
        } else if args.keyword("exact-match") {
            // There is no other match here.
        } else {
            return Err(args.unexpected());
        }
    }
    let outer = match outer {
        Some(outer) => outer,
        // As in VPP: without tags the number is the VLAN.
        None => match u16::try_from(id).ok().filter(|id| (1..=4094).contains(id)).and_then(VlanId::new) {
            Some(id) => (EtherType::VLAN, id),
            None => {
                return Err(CliError::new(format!("{id} is no VLAN: expected dot1q or dot1ad and a VLAN")));
            }
        },
    };
    let sub = SubInterface { id, outer, inner };
    let index = dataplane.create_sub_interface(port, sub).map_err(refused)?;
    Ok(created(dataplane, index))
}

fn delete_sub(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let index = super::interface(args, dataplane)?;
    if !matches!(dataplane.interfaces.get(index).map(|interface| interface.kind), Some(Kind::Sub { .. })) {
        return Err(args.reject(format!("'{}' is no sub-interface", dataplane.interface_name(index))));
    }
    args.finish()?;
    dataplane.delete_interface(index).map_err(refused)?;
    Ok(Reply::empty())
}
