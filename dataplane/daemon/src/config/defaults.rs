// SPDX-License-Identifier: Apache-2.0
//! Every default of the configuration, in one place.
//!
//! `startup.conf.example` shows the same values; a test compares the two.

use std::{num::NonZeroU32, time::Duration};

use super::{
    af_xdp::{AfXdp, Filter, Mode, Queues, ZeroCopy},
    buffers::{Buffers, PageSize},
    cpu::{Cpu, Idle, Scheduler, Workers},
    interfaces::Common,
    limits::Limits,
    logging::{Level, Logging},
    plugins::Plugins,
    sockets::{Socksvr, Statseg},
    unix::Unix,
    values::{Bytes, HostInterface},
};

const fn non_zero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("written as a number other than zero")
}

impl Default for Unix {
    fn default() -> Self {
        Self {
            nodaemon: false,
            interactive: false,
            runtime_dir: "/run/weft".into(),
            weftctl_listen: "weftctl.sock".into(),
            cli_listen: Vec::new(),
            cli_prompt: None,
            terminal: Default::default(),
            startup_config: None,
            log: None,
            pidfile: None,
            stable_secret: None,
            gid: None,
        }
    }
}

impl Default for Cpu {
    fn default() -> Self {
        Self {
            main_core: None,
            workers: Workers::Count(non_zero(1)),
            skip_cores: 0,
            relative: false,
            thread_prefix: "weft".into(),
            scheduler: Scheduler::Other,
            idle: Idle::Adaptive,
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self { per_numa: non_zero(16384), per_node: Default::default(), page_size: PageSize::Best }
    }
}

impl AfXdp {
    pub(crate) fn new(host: HostInterface, common: Common) -> Self {
        Self {
            host,
            common,
            // Frames of a queue without a socket would go past Weft, into the host's stack.
            queues: Queues::All,
            channels: None,
            zero_copy: ZeroCopy::Auto,
            mode: Mode::Auto,
            rx_queue_size: None,
            tx_queue_size: None,
            tx_budget: None,
            busy_poll_usec: None,
            busy_poll_budget: None,
            workers: None,
            netns: None,
            filter: Filter::All,
            host_tap: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            interfaces: 1024,
            vrfs: 256,
            next_hops: 65536,
            neighbors: 65536,
            arp_hold_packets: 4096,
            arp_hold_per_neighbor: 16,
            icmp_error_rate: 1000,
            classify_rules: 65_536,
            l2_macs: 131_072,
            cli_clients: 128,
            api_clients: 1024,
        }
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: Level::Notice, size: 512, classes: Default::default() }
    }
}

impl Default for Plugins {
    fn default() -> Self {
        Self {
            path: vec!["/usr/lib/weft/plugins".into()],
            name_filter: None,
            enabled: true,
            plugins: Default::default(),
            auto_reload: false,
            runaway: Duration::from_secs(1),
            sections: Default::default(),
        }
    }
}

impl Default for Statseg {
    fn default() -> Self {
        Self {
            socket: "stats.sock".into(),
            gid: None,
            size: Bytes(32 << 20),
            update_interval: Duration::from_secs(1),
            per_node_counters: false,
        }
    }
}

impl Default for Socksvr {
    fn default() -> Self {
        Self { socket: "api.sock".into() }
    }
}
