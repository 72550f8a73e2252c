// SPDX-License-Identifier: Apache-2.0
//! `set interface rx-...`: how the queues of an interface are served.

use weft_cli::{Args, CliError, Command};
use weft_devices::af_xdp::socket::QueueId;

use super::{complete_interface, doing, refused};
use crate::config::af_xdp::WorkerNumber;
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        complete_interface(doing("set interface rx-placement", rx_placement), &["queue", "worker"])
            .synopsis("<interface> [queue <n>] worker <n>")
            .help("Move a receive queue to another worker"),
        complete_interface(doing("set interface rx-mode", rx_mode), &["polling", "adaptive"])
            .synopsis("<interface> polling|adaptive")
            .help("Keep the workers of an interface awake, or let them sleep when idle"),
    ]
}

fn rx_placement(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<(), CliError> {
    let index = super::present_interface(args, dataplane)?;
    let queue = if args.keyword("queue") { args.parse("queue")? } else { 0 };
    args.expect("worker")?;
    let worker = WorkerNumber(args.parse("worker")?);
    args.finish()?;
    dataplane.move_queue(index, QueueId(queue), worker).map_err(refused)
}

fn rx_mode(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<(), CliError> {
    let index = super::present_interface(args, dataplane)?;
    let polling = args.one_of(&[("polling", true), ("adaptive", false)])?;
    args.finish()?;
    dataplane.set_polling(index, polling).map_err(refused)
}
