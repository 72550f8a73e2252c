// SPDX-License-Identifier: Apache-2.0
//! Benchmarks of the dataplane. Each prints what it measured as minimum, median and maximum of interleaved rounds,
//! beside a rival that was measured in the same run.

mod acl;
mod allocations;
mod api;
mod bare;
mod bridge;
mod chain;
mod classify;
mod flow;
mod graph;
mod lookup;
mod plugin;
mod random;
mod readers;
mod report;
mod rival;
mod shape;
mod stats;

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use clap::{Parser, Subcommand};
use weft_engine::clock::Clock;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

#[derive(Parser)]
#[command(about = "Benchmarks of the Weft dataplane", version)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Let no time pass for the dataplane: nothing ages, so each run executes the same instructions (for callgrind)
    #[arg(long, global = true)]
    still: bool,
}

/// Whether a case is asked for: its name contains `only`, or is what stands after `=` there.
fn wanted(name: &str, only: &str) -> bool {
    only.strip_prefix('=').map_or_else(|| name.contains(only), |exactly| name == exactly)
}

static STILL: AtomicBool = AtomicBool::new(false);

/// The clock of a dataplane that is measured, if not the processor's.
fn clock() -> Option<Clock> {
    STILL.load(Ordering::Relaxed).then(Clock::manual)
}

#[derive(Subcommand)]
enum What {
    /// The IPv4 chain ethernet-input .. tx in memory, in clocks per packet, beside a bare forwarding loop
    Graph(graph::Options),
    /// Reading the stats segment, beside vpp_papi; and forwarding with and without readers
    Stats(stats::Options),
    /// The classifier node, in clocks per packet, beside DPDK's rte_acl and rte_hash on the same rules and packets
    Classify(classify::Options),
    /// Routes over the binary API of a daemon: one by one, pipelined, in one batch
    Api(api::Options),
    /// The flow tracker alone, in clocks per packet, beside DPDK's rte_hash
    Flow(flow::Options),
    /// ip6-lookup with a full table, in clocks per packet, beside DPDK's rte_fib6 and rte_lpm6 with the same routes
    Lookup(lookup::Options),
    /// Frames between two ports of a bridge domain, in clocks per frame, with up to 1,000,000 stations
    Bridge(bridge::Options),
    /// A node that does nothing, as a plugin and built in, in clocks per packet
    Plugin(plugin::Options),
    /// A packet of a flow that a reflexive rule has admitted, in clocks of the flow tracker and the classifier
    Acl(acl::Options),
}

fn main() -> Result<()> {
    let args = Args::parse();
    STILL.store(args.still, Ordering::Relaxed);
    match args.what {
        What::Graph(options) => graph::run(&options),
        What::Stats(options) => stats::run(&options),
        What::Classify(options) => classify::run(&options),
        What::Api(options) => api::run(&options),
        What::Flow(options) => flow::run(&options),
        What::Lookup(options) => lookup::run(&options),
        What::Bridge(options) => bridge::run(&options),
        What::Plugin(options) => plugin::run(&options),
        What::Acl(options) => acl::run(&options),
    }
}

/// Waits until all that came before is done, so that it is not on the account of the node that is measured: the processor is some
/// hundred instructions ahead of the clock that it reads.
fn settle() {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: LFENCE is part of every x86-64.
    unsafe {
        std::arch::x86_64::_mm_lfence();
    }
}
