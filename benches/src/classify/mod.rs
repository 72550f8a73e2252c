// SPDX-License-Identifier: Apache-2.0
//! What the classifier node costs alone, in clocks of the time stamp counter per packet, and what DPDK takes to find the
//! same rules.
//!
//! Not the same work: the node reads packets in buffers, finds the rule, counts it, and acts; `rte_acl_classify` and
//! `rte_hash_lookup_bulk_data` are handed keys that are ready, and only find it. Every rule must be found
//! as often by the one as by the other, or the benchmark stops.

mod bed;
mod rival;
mod rules;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_classify::Rule;

use crate::allocations;
use crate::report::Rounds;
use bed::Bed;
use rival::Method;
use rules::{Kind, Tuple};

/// Options of `classify`.
#[derive(Args)]
pub struct Options {
    /// Rounds of each case
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Different packets of a case
    #[arg(long, default_value_t = 16_384)]
    packets: usize,
    /// Core to run on
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// The rival's program (rules of benches/rivals/dpdk); without it only Weft is measured
    #[arg(long)]
    rival: Option<PathBuf>,
    /// Only cases whose name contains this, or (`=NAME`) the case of this name
    #[arg(long, default_value = "")]
    only: String,
}

/// Runs all cases.
pub fn run(options: &Options) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(options.core).context("--core")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {}", options.core))?;
    println!(
        "clocks per packet (time stamp counter), min / median / max of {} rounds, interleaved",
        options.rounds
    );
    println!(
        "vectors of 256, packets in the cache; 'node' is everything that ip4-classify or ip6-classify does\n"
    );
    println!(
        "{:<18} {:<24} {:<24} {:>8} {:>16} {:>16}  trees",
        "case", "node", "rival's lookup", "ratio", "compile ours", "rival"
    );
    let wanted = |name: &str| crate::wanted(name, &options.only);
    if wanted("sessions 10000") {
        let sessions = rules::sessions(10_000, 5);
        case("sessions 10000", &sessions, Method::Hash, options)?;
    }
    for kind in Kind::ALL {
        for count in [100, 1000, 10_000] {
            let name = format!("{} {count}", kind.name());
            let six = format!("ip6 {name}");
            if wanted(&name) || wanted(&six) {
                let rules = rules::rules(kind, count, 7);
                if wanted(&name) {
                    case(&name, &rules, Method::Acl, options)?;
                }
                if wanted(&six) {
                    case_of_ip6(&six, &rules, options)?;
                }
            }
        }
    }
    Ok(())
}

/// The same rules about IPv6, which nobody else is measured with.
fn case_of_ip6(name: &str, rules: &[Rule], options: &Options) -> Result<()> {
    let packets: Vec<Tuple> = rules::packets(rules, options.packets / 256 * 256, 3);
    let mut bed = Bed::new(&rules::to_ip6(rules), &packets, true)?;
    ensure!(
        bed.hits()? == Bed::new(rules, &packets, false)?.hits()?,
        "{name}: other rules are found than of IPv4"
    );
    let mut node = Rounds::default();
    let before = allocations::count();
    for _ in 0..options.rounds {
        node.add(bed.round()?);
    }
    let allocated = allocations::count() - before;
    ensure!(
        allocated as f64 / ((options.rounds * packets.len()) as f64) < 0.01,
        "{name}: {allocated} allocations"
    );
    let compile = format!("{:.0} ms {} KB", bed.compile.as_secs_f64() * 1e3, bed.size().1 >> 10);
    let (spread, trees) = (node.spread(), bed.depths());
    println!("{name:<18} {spread:<24} {:<24} {:>8} {compile:>16} {:>16}  depths {trees:?}", "-", "-", "-");
    Ok(())
}

fn case(name: &str, rules: &[Rule], method: Method, options: &Options) -> Result<()> {
    let packets: Vec<Tuple> = rules::packets(rules, options.packets / 256 * 256, 3);
    let mut bed = Bed::new(rules, &packets, false)?;
    let mut rival = match &options.rival {
        Some(program) => Some(rival::start(program, method, rules, &packets)?),
        None => None,
    };
    let found = bed.hits()?;
    if let Some(rival) = &mut rival {
        let theirs = rival::hits(rival, rules.len(), packets.len())?;
        let differ = found.iter().zip(&theirs).filter(|(ours, theirs)| ours != theirs).count();
        ensure!(differ == 0, "{name}: {differ} rules are found more or less often than by the rival");
    }
    let (mut node, mut other, mut ratios) = (Rounds::default(), Rounds::default(), Rounds::default());
    let before = allocations::count();
    for _ in 0..options.rounds {
        let clocks = bed.round()?;
        node.add(clocks);
        if let Some(rival) = &mut rival {
            let theirs = rival.round()?;
            other.add(theirs);
            ratios.add(clocks / theirs);
        }
    }
    let allocated = allocations::count() - before;
    let per_packet = allocated as f64 / (options.rounds * packets.len()) as f64;
    ensure!(per_packet < 0.01, "{name}: {per_packet} allocations per packet");
    let (rival_clocks, rival_build, ratio) = match &rival {
        Some(rival) => {
            let size = format!("{:.0} ms {} KB", rival.build_milliseconds, rival.bytes >> 10);
            (other.spread(), size, format!("{:.2}", ratios.median()))
        }
        None => ("-".into(), "-".into(), "-".into()),
    };
    let (sessions, bytes) = bed.size();
    let compile = format!("{:.0} ms {} KB", bed.compile.as_secs_f64() * 1e3, bytes >> 10);
    let trees = bed.depths();
    println!(
        "{name:<18} {:<24} {rival_clocks:<24} {ratio:>8} {compile:>16} {rival_build:>16}  {sessions} sessions, depths {trees:?}",
        node.spread()
    );
    Ok(())
}
