// SPDX-License-Identifier: Apache-2.0
//! `create interface af_xdp`, `delete interface af_xdp`.

use weft_cli::args::CommandOption;
use weft_cli::{Args, CliError, Command};
use weft_control::ChangeSet;
use weft_devices::af_xdp::device::AF_XDP;
use weft_engine::InterfaceIndex;

use crate::cli::create::{common, create, delete};
use crate::cli::refused;
use crate::config::af_xdp::{self, AfXdp, ZeroCopy};
use crate::config::interfaces::Interface;
use crate::config::values::{HostInterface, InterfaceName};
use crate::config::words::{set, set_some};
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
    args.options(&mut port, OPTIONS)?;
    Interface::new(port).create(dataplane, changes).map_err(refused)
}

const OPTIONS: &[CommandOption<AfXdp>] = &[
    ("name", |port, args| set(&mut port.common.name, args.parse("interface name"))),
    ("num-rx-queues", |port, args| {
        set(&mut port.queues, args.parse_with("number of queues", af_xdp::queues))
    }),
    ("channels", |port, args| set_some(&mut port.channels, args.parse("number of queues"))),
    ("rx-queue-size", |port, args| {
        set_some(&mut port.rx_queue_size, args.parse_with("ring size", af_xdp::ring_size))
    }),
    ("tx-queue-size", |port, args| {
        set_some(&mut port.tx_queue_size, args.parse_with("ring size", af_xdp::ring_size))
    }),
    ("zero-copy", |port, _| set(&mut port.zero_copy, Ok(ZeroCopy::On))),
    ("no-zero-copy", |port, _| set(&mut port.zero_copy, Ok(ZeroCopy::Off))),
    ("mode", |port, args| set(&mut port.mode, args.one_of(af_xdp::MODES))),
    ("netns", |port, args| set_some(&mut port.netns, args.word("network namespace").map(str::to_owned))),
    ("workers", |port, args| {
        set_some(&mut port.workers, args.parse_with("list of workers", af_xdp::workers))
    }),
    ("tx-budget", |port, args| set_some(&mut port.tx_budget, args.parse("number of frames"))),
    ("busy-poll-usec", |port, args| set_some(&mut port.busy_poll_usec, args.parse("microseconds"))),
    ("busy-poll-budget", |port, args| set_some(&mut port.busy_poll_budget, args.parse("number of packets"))),
    ("host-tap", |port, args| set_some(&mut port.host_tap, args.parse("interface name"))),
    // In VPP it unlocks the system call of a queue that one worker has alone; here that costs nothing anyway.
    ("no-syscall-lock", |_, _| Ok(())),
];
