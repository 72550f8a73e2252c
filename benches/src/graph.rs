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
use crate::chain::{Case, Chain, Mix, Traffic};
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
    /// Only cases whose name contains this, or (`=NAME`) the case of this name
    #[arg(long, default_value = "")]
    only: String,
    /// Core to run on
    #[arg(long, default_value_t = 1)]
    core: usize,
}

const MANY: Case = Case { routes: 600_000, ..Case::simple("600,000 routes, random destinations", 256) };

const CASES: [Case; 10] = [
    Case::simple("1 route", 256),
    Case::simple("1 route, vectors of 32", 32),
    Case { buffers: 16_384, ..Case::simple("1 route, 16,384 buffers", 256) },
    MANY,
    Case { name: "600,000 routes, random destinations, 16,384 buffers", buffers: 16_384, ..MANY },
    Case { mix: Mix::Padded(50), ..Case::simple("1 route, 50 % padded", 256) },
    Case { mix: Mix::Odd(1), ..Case::simple("1 route, 1 % odd", 256) },
    Case { mix: Mix::Odd(10), ..Case::simple("1 route, 10 % odd", 256) },
    Case { mix: Mix::Odd(25), ..Case::simple("1 route, 25 % odd", 256) },
    Case { mix: Mix::Odd(50), ..Case::simple("1 route, 50 % odd", 256) },
];

const MANY6: Case = Case { routes: 200_000, ..Case::simple("IPv6, 200,000 routes", 256) };

/// Of IPv6. The bare loop is IPv4's.
const IP6_CASES: [Case; 4] = [
    Case::simple("IPv6, 1 route", 256),
    Case::simple("IPv6, 1 route, vectors of 32", 32),
    MANY6,
    Case { name: "IPv6, 200,000 routes, 16,384 buffers", buffers: 16_384, ..MANY6 },
];

/// Runs all cases.
pub fn run(options: &Options) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(options.core).context("--core")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {}", options.core))?;
    println!("clocks per packet (time stamp counter), min / median / max of {} rounds", options.rounds);
    println!("rival: the same work in one bare loop over the same forwarding table, interleaved with ours\n");
    let wanted = |case: &&Case| crate::wanted(case.name, &options.only);
    for case in CASES.iter().filter(wanted) {
        let (chain, woven) = (Chain::<Ip4>::new(case, false)?, Chain::<Ip4>::new(case, true)?);
        let fib = chain.router.table::<Ip4>(TableIndex(0)).context("table 0 exists")?.rib.fib();
        let (template, destinations) = (chain.template.clone(), chain.destinations.clone());
        let mut position = 0;
        measure(chain, woven, case, options, |packets| {
            (case.mix == Mix::Pure)
                .then(|| bare::round(&fib, &template, &destinations, &mut position, packets))
        })?;
    }
    for case in IP6_CASES.iter().filter(wanted) {
        let (chain, woven) = (Chain::<Ip6>::new(case, false)?, Chain::<Ip6>::new(case, true)?);
        measure(chain, woven, case, options, |_| None)?;
    }
    Ok(())
}

/// A case, beside the same with the nodes in front of it and beside a rival, where there is one.
fn measure<F: Traffic<Destination: Send>>(
    mut chain: Chain<F>,
    mut woven: Chain<F>,
    case: &Case,
    options: &Options,
    mut rival: impl FnMut(usize) -> Option<f64>,
) -> Result<()> {
    let mut nodes = vec![Rounds::default(); F::CHAIN.len() + 1];
    let (mut sums, mut shorter, mut gains) = (Rounds::default(), Rounds::default(), Rounds::default());
    let (mut bare, mut ratios) = (Rounds::default(), Rounds::default());
    let mut allocated = 0;
    for round in 0..=options.rounds {
        let before = allocations::count();
        let clocks = chain.round(options.packets);
        let sum: f64 = clocks.iter().sum();
        let short = woven.round(options.packets).iter().sum::<f64>();
        // The first round fills caches and takes the page faults.
        if round == 0 {
            continue;
        }
        // Those of this function itself: vectors of names and figures.
        allocated += allocations::count() - before;
        nodes.iter_mut().zip(&clocks).for_each(|(rounds, clocks)| rounds.add(*clocks));
        sums.add(sum);
        shorter.add(short);
        gains.add(short / sum);
        if let Some(rival) = rival(options.packets) {
            bare.add(rival);
            ratios.add(short / rival);
        }
    }
    for drops in [chain.drops(), woven.drops()] {
        ensure!(drops == 0, "{}: {drops} packets were dropped", case.name);
    }
    println!("== {}", case.name);
    for (name, rounds) in F::CHAIN.iter().chain(&["sink"]).zip(&nodes) {
        println!("  {name:<16} {}", rounds.spread());
    }
    println!("  {:<16} {}", "sum", sums.spread());
    println!("  {:<16} {}", "woven", shorter.spread());
    println!("  {:<16} median {:.2}", "of the sum", gains.median());
    if !ratios.median().is_nan() {
        println!("  {:<16} {}", "bare loop", bare.spread());
        println!("  {:<16} median {:.2}", "ratio", ratios.median());
    }
    let packets = (options.rounds * options.packets) as f64;
    println!("  {:<16} {:.6}\n", "allocations", allocated as f64 / packets);
    Ok(())
}
