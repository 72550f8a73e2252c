// SPDX-License-Identifier: Apache-2.0
//! What forwarding costs in the graph, in clocks of the time stamp counter per packet.

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_nodes::ip4::Ip4;

use crate::allocations;
use crate::bare;
use crate::chain::{Case, Chain, NODES};
use crate::report::Rounds;

/// Options of `graph`.
#[derive(Args)]
pub struct Options {
    /// Rounds of each case
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Packets per round
    #[arg(long, default_value_t = 2_000_000)]
    packets: usize,
    /// Core to run on
    #[arg(long, default_value_t = 1)]
    core: usize,
}

const CASES: [Case; 5] = [
    Case { name: "1 route", routes: 1, vector: 256, buffers: 256 },
    Case { name: "1 route, vectors of 32", routes: 1, vector: 32, buffers: 256 },
    Case { name: "1 route, 16,384 buffers", routes: 1, vector: 256, buffers: 16_384 },
    Case { name: "600,000 routes, random destinations", routes: 600_000, vector: 256, buffers: 256 },
    Case {
        name: "600,000 routes, random destinations, 16,384 buffers",
        routes: 600_000,
        vector: 256,
        buffers: 16_384,
    },
];

/// Runs all cases.
pub fn run(options: &Options) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(options.core).context("--core")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {}", options.core))?;
    println!("clocks per packet (time stamp counter), min / median / max of {} rounds", options.rounds);
    println!("rival: the same work in one bare loop over the same forwarding table, interleaved with ours\n");
    for case in &CASES {
        measure(case, options)?;
    }
    Ok(())
}

fn measure(case: &Case, options: &Options) -> Result<()> {
    let mut chain = Chain::new(case)?;
    let fib = chain.router.table::<Ip4>(weft_nodes::ip4::TableIndex(0)).context("table 0 exists")?.rib.fib();
    let mut position = 0;
    // The first round fills caches and takes the page faults.
    chain.round(options.packets);
    let mut nodes = vec![Rounds::default(); NODES.len() + 1];
    let (mut sums, mut bare, mut ratios) = (Rounds::default(), Rounds::default(), Rounds::default());
    let mut allocated = 0;
    for _ in 0..options.rounds {
        let before = allocations::count();
        let clocks = chain.round(options.packets);
        // Those of this function itself: two vectors of names and figures.
        allocated += allocations::count() - before;
        let sum: f64 = clocks.iter().sum();
        nodes.iter_mut().zip(&clocks).for_each(|(rounds, clocks)| rounds.add(*clocks));
        sums.add(sum);
        let (template, destinations) = (&chain.template, &chain.destinations);
        let rival = bare::round(&fib, template, destinations, &mut position, options.packets);
        bare.add(rival);
        ratios.add(sum / rival);
    }
    ensure!(chain.drops() == 0, "{}: {} packets were dropped", case.name, chain.drops());
    println!("== {}", case.name);
    for (name, rounds) in NODES.iter().chain(&["sink"]).zip(&nodes) {
        println!("  {name:<16} {}", rounds.spread());
    }
    println!("  {:<16} {}", "sum", sums.spread());
    println!("  {:<16} {}", "bare loop", bare.spread());
    println!("  {:<16} median {:.2}", "ratio", ratios.median());
    let packets = (options.rounds * options.packets) as f64;
    println!("  {:<16} {:.6}\n", "allocations", allocated as f64 / packets);
    Ok(())
}
