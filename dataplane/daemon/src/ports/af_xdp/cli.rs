// SPDX-License-Identifier: Apache-2.0
//! `create interface af_xdp`, `delete interface af_xdp`.

use std::collections::BTreeSet;

use weft_cli::{Args, CliError, Command};
use weft_control::ChangeSet;
use weft_devices::af_xdp::device::AF_XDP;
use weft_engine::InterfaceIndex;

use crate::cli::create::{common, create, delete};
use crate::cli::refused;
use crate::config::af_xdp::{self, AfXdp, LAST_WORKER, Mode, WorkerNumber, ZeroCopy};
use crate::config::interfaces::Interface;
use crate::config::values::{HostInterface, InterfaceName, number_list};
use crate::state::Dataplane;

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        create("create interface af_xdp", create_af_xdp)
            .synopsis(
                "host-if <name> [name <interface>] [num-rx-queues <n>|all] [channels <n>] [rx-queue-size <n>] [tx-queue-size <n>] \
                 [zero-copy|no-zero-copy] [mode auto|native|generic] [netns <name>] [workers <list>] [tx-budget <n>] \
                 [busy-poll-usec <n>] [busy-poll-budget <n>] [host-tap <name>]",
            )
            .help("Serve the queues of a Linux interface"),
        delete("delete interface af_xdp", &AF_XDP, "AF_XDP port")
            .synopsis("<interface>")
            .help("Give a Linux interface back to the host"),
    ]
}

fn create_af_xdp(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    args: &mut Args<'_>,
) -> Result<InterfaceIndex, CliError> {
    let _ = args.keyword("host-if");
    let host: HostInterface = args.parse("network interface")?;
    let mut port = AfXdp::new(host.clone(), common(InterfaceName::from(&host)));
    while !args.is_empty() {
        read_af_xdp(&mut port, args)?;
    }
    Interface::new(port).create(dataplane, changes).map_err(refused)
}

fn read_af_xdp(port: &mut AfXdp, args: &mut Args<'_>) -> Result<(), CliError> {
    if args.keyword("name") {
        port.common.name = args.parse("interface name")?;
    } else if args.keyword("num-rx-queues") {
        port.queues = args.parse_with("number of queues", af_xdp::queues)?;
    } else if args.keyword("channels") {
        port.channels = Some(args.parse("number of queues")?);
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
