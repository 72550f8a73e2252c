// SPDX-License-Identifier: Apache-2.0
//! What forwarding costs in the graph, in clocks of the time stamp counter per packet.

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_nodes::fib::Ip6;
use weft_nodes::ip4::{Ip4, TableIndex};

use crate::allocations;
use crate::bare;
use crate::chain::{Case, Chain, Traffic};
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

/// Of IPv6. The bare loop is IPv4's.
const IP6_CASES: [Case; 4] = [
    Case { name: "IPv6, 1 route", routes: 1, vector: 256, buffers: 256 },
    Case { name: "IPv6, 1 route, vectors of 32", routes: 1, vector: 32, buffers: 256 },
    Case { name: "IPv6, 200,000 routes", routes: 200_000, vector: 256, buffers: 256 },
    Case { name: "IPv6, 200,000 routes, 16,384 buffers", routes: 200_000, vector: 256, buffers: 16_384 },
];

/// Runs all cases.
pub fn run(options: &Options) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(options.core).context("--core")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {}", options.core))?;
    println!("clocks per packet (time stamp counter), min / median / max of {} rounds", options.rounds);
    println!("rival: the same work in one bare loop over the same forwarding table, interleaved with ours\n");
    for case in &CASES {
        let chain = Chain::<Ip4>::new(case)?;
        let fib = chain.router.table::<Ip4>(TableIndex(0)).context("table 0 exists")?.rib.fib();
        let (template, destinations) = (chain.template.clone(), chain.destinations.clone());
        let mut position = 0;
        measure(chain, case, options, |packets| {
            Some(bare::round(&fib, &template, &destinations, &mut position, packets))
        })?;
    }
    for case in &IP6_CASES {
        measure(Chain::<Ip6>::new(case)?, case, options, |_| None)?;
    }
    Ok(())
}

/// A case, beside a rival if there is one.
fn measure<F: Traffic<Destination: Send>>(
    mut chain: Chain<F>,
    case: &Case,
    options: &Options,
    mut rival: impl FnMut(usize) -> Option<f64>,
) -> Result<()> {
    // The first round fills caches and takes the page faults.
    chain.round(options.packets);
    let mut nodes = vec![Rounds::default(); F::NODES.len() + 1];
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
        if let Some(rival) = rival(options.packets) {
            bare.add(rival);
            ratios.add(sum / rival);
        }
    }
    ensure!(chain.drops() == 0, "{}: {} packets were dropped", case.name, chain.drops());
    println!("== {}", case.name);
    for (name, rounds) in F::NODES.iter().chain(&["sink"]).zip(&nodes) {
        println!("  {name:<16} {}", rounds.spread());
    }
    println!("  {:<16} {}", "sum", sums.spread());
    if !ratios.median().is_nan() {
        println!("  {:<16} {}", "bare loop", bare.spread());
        println!("  {:<16} median {:.2}", "ratio", ratios.median());
    }
    let packets = (options.rounds * options.packets) as f64;
    println!("  {:<16} {:.6}\n", "allocations", allocated as f64 / packets);
    Ok(())
}
