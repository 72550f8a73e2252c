// SPDX-License-Identifier: Apache-2.0
//! `set interface ...`, as far as it is about the interface itself.

use weft_cli::{Args, CliError, Command, Reply};
use weft_devices::af_xdp::socket::QueueId;

use super::{complete_interface, refused};
use crate::config::af_xdp::WorkerNumber;
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        complete_interface(Command::new("set interface state", state), &["up", "down"])
            .synopsis("<interface> up|down")
            .help("Set an interface up or down"),
        Command::new("set interface mtu", mtu)
            .synopsis("[packet] <bytes> <interface>")
            .help("Set the largest IP packet of an interface")
            .completer(|dataplane, words| match words {
                [_] => super::interface_names(dataplane),
                _ => Vec::new(),
            }),
        complete_interface(Command::new("set interface mac address", mac), &[])
            .synopsis("<interface> <mac>")
            .help("Set the MAC address of an interface, and of the Linux interface below"),
        complete_interface(Command::new("set interface rx-placement", rx_placement), &["queue", "worker"])
            .synopsis("<interface> [queue <n>] worker <n>")
            .help("Move a receive queue to another worker"),
        complete_interface(Command::new("set interface rx-mode", rx_mode), &["polling", "adaptive"])
            .synopsis("<interface> polling|adaptive")
            .help("Keep the workers of an interface awake, or let them sleep when idle"),
    ]
}

fn state(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let index = super::interface(args, dataplane)?;
    let up = args.one_of(&[("up", true), ("down", false)])?;
    args.finish()?;
    dataplane.set_admin_state(index, up).map_err(refused)?;
    Ok(Reply::empty())
}

fn mtu(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    // VPP has further kinds (ip4, ip6, mpls); here there is one for all.
    let _ = args.keyword("packet");
    let mtu = args.parse("number of bytes")?;
    let index = super::interface(args, dataplane)?;
    args.finish()?;
    dataplane.set_mtu(index, mtu).map_err(refused)?;
    Ok(Reply::empty())
}

fn mac(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let index = super::interface(args, dataplane)?;
    let mac: weft_nodes::headers::MacAddr = args.parse("MAC address")?;
    if !mac.is_station() {
        return Err(args.reject("an interface needs a unicast address"));
    }
    args.finish()?;
    dataplane.set_mac(index, mac).map_err(refused)?;
    Ok(Reply::empty())
}

fn rx_placement(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let index = super::interface(args, dataplane)?;
    let queue = if args.keyword("queue") { args.parse("queue")? } else { 0 };
    args.expect("worker")?;
    let worker = WorkerNumber(args.parse("worker")?);
    args.finish()?;
    dataplane.move_queue(index, QueueId(queue), worker).map_err(refused)?;
    Ok(Reply::empty())
}

fn rx_mode(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let index = super::interface(args, dataplane)?;
    let polling = args.one_of(&[("polling", true), ("adaptive", false)])?;
    args.finish()?;
    dataplane.set_polling(index, polling).map_err(refused)?;
    Ok(Reply::empty())
}
