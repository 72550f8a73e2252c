// SPDX-License-Identifier: Apache-2.0
//! What ip6-lookup costs with a full table, in clocks of the time stamp counter per packet: the node in its graph, which reads packets,
//! counts and hands them on; its forwarding table alone, in a loop over addresses; and beside that DPDK's `rte_fib6` and
//! `rte_lpm6`, which are given addresses likewise, in the same rounds. All must find the same next hops.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use ipnet::Ipv6Net;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_engine::clock::Tsc;
use weft_engine::qsbr::Domain;
use weft_nodes::fib::{Fib6, Fib6Settings, Fib6Writer, Ip6, LoadBalanceId, LookupWriter};

use crate::chain::{Case, Chain, Traffic};
use crate::random::Random;
use crate::report::Rounds;
use crate::rival::Rival;
use crate::shape::Spread;

/// Options of `lookup`.
#[derive(Args)]
pub struct Options {
    /// Rounds of each case
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Routes
    #[arg(long, default_value_t = 200_000)]
    routes: usize,
    /// Core to run on
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// The rivals' program (routes of benches/rivals/dpdk); without it there is no comparison
    #[arg(long)]
    rival: Option<PathBuf>,
    /// Appends the figures to this file (benches/record/lookup.csv)
    #[arg(long)]
    record: Option<PathBuf>,
}

const VECTOR: usize = 256;
const NEXT_HOPS: u64 = 16;
const RIVALS: [(&str, &str); 2] = [("fib", "rte_fib6"), ("lpm", "rte_lpm6")];

/// Runs all cases.
pub fn run(options: &Options) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(options.core).context("--core")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {}", options.core))?;
    println!("clocks per packet (time stamp counter), min / median / max of {} rounds\n", options.rounds);
    for (spread, name) in [(Spread::Even, "random destinations"), (Spread::Skewed, "skewed destinations")] {
        let name = format!("{} routes, {name}", options.routes);
        let case = Case { routes: options.routes, spread, ..Case::simple("", VECTOR) };
        println!("== {name}");
        let figures = measure(&case, options)?;
        println!();
        if let Some(file) = &options.record {
            record(file, &name, options.rounds, &figures)?;
        }
    }
    Ok(())
}

/// The figures by what they are of.
fn measure(case: &Case, options: &Options) -> Result<Vec<(&'static str, Rounds)>> {
    let (mut prefixes, destinations) = Ip6::routes(case, &mut Random::new(1));
    // The rivals have none, and what only it covers is what they do not find.
    prefixes.remove(&Ipv6Net::default());
    let mut random = Random::new(3);
    let routes: Vec<_> = prefixes
        .into_iter()
        .map(|prefix| (prefix, LoadBalanceId(1 + (random.next() % NEXT_HOPS) as u32)))
        .collect();
    let start = Instant::now();
    let (mut domain, mut table) = (Domain::new(0), Fib6Writer::new(Fib6Settings::default())?);
    table.expect_routes(routes.len());
    for (prefix, id) in &routes {
        table.insert(*prefix, *id)?;
    }
    table.show(&mut domain);
    println!("  table: {:.1} ms to build", start.elapsed().as_secs_f64() * 1e3);
    let fib = table.reader();

    let mut rivals = Vec::new();
    if let Some(program) = &options.rival {
        let mut text = format!("routes {}\n", routes.len());
        for (prefix, id) in &routes {
            writeln!(text, "{:032x} {} {}", prefix.network().to_bits(), prefix.prefix_len(), id.0)?;
        }
        writeln!(text, "addresses {}", destinations.len())?;
        for destination in &destinations {
            writeln!(text, "{destination:032x}")?;
        }
        for (method, name) in RIVALS {
            let mut rival = Rival::start(program, method, &text)?;
            println!("  {name}: {:.1} ms to build, {} MB", rival.build_milliseconds, rival.bytes >> 20);
            let results = rival.results(destinations.len())?;
            let differs = results
                .iter()
                .zip(&destinations)
                .find(|(id, destination)| i64::from(fib.lookup(**destination).0) != **id);
            ensure!(differs.is_none(), "{name} finds {differs:?} elsewhere than we do");
            rivals.push((name, rival));
        }
    }

    let mut chain = Chain::<Ip6>::new(case, true)?;
    let node = Ip6::CHAIN.iter().position(|name| *name == "ip6-lookup").context("a chain has a lookup")?;
    let (mut ours, mut alone, mut others) =
        (Rounds::default(), Rounds::default(), vec![Rounds::default(); rivals.len()]);
    let mut ratios = others.clone();
    for round in 0..=options.rounds {
        let clocks = chain.round(destinations.len())[node];
        let table = bare(&fib, &destinations);
        let theirs = rivals.iter_mut().map(|(_, rival)| rival.round()).collect::<Result<Vec<f64>>>()?;
        // The first round fills caches and takes the page faults.
        if round == 0 {
            continue;
        }
        ours.add(clocks);
        alone.add(table);
        for ((clocks_of, ratio), theirs) in others.iter_mut().zip(&mut ratios).zip(theirs) {
            clocks_of.add(theirs);
            ratio.add(clocks / theirs);
        }
    }
    ensure!(chain.drops() == 0, "{} packets were dropped", chain.drops());
    let mut figures = vec![("ip6-lookup", ours), ("its table alone", alone)];
    figures.extend(rivals.iter().map(|(name, _)| *name).zip(others));
    for (number, (name, clocks)) in figures.iter().enumerate() {
        print!("  {name:<20} {}", clocks.spread());
        let ratio = number.checked_sub(2).and_then(|rival| ratios.get(rival));
        println!(
            "{}",
            ratio.map_or(String::new(), |ratio| format!("   ip6-lookup takes {:.2} of it", ratio.median()))
        );
    }
    Ok(figures)
}

fn record(file: &Path, case: &str, rounds: usize, figures: &[(&str, Rounds)]) -> Result<()> {
    let output = |program: &str, words: &[&str]| -> Result<String> {
        let done = Command::new(program).args(words).output().with_context(|| format!("run {program}"))?;
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
    };
    let date = output("date", &["+%F"])?;
    let commit = output("git", &["rev-parse", "--short", "HEAD"])?;
    let kernel = output("uname", &["-r"])?;
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("", |(_, name)| name);
    let mut text = match file.exists() {
        true => String::new(),
        false => "date,commit,cpu,kernel,rounds,case,row,min,median,max\n".to_owned(),
    };
    for (row, clocks) in figures {
        let [min, median, max] = clocks.three();
        writeln!(
            text,
            "{date},{commit},{model},{kernel},{rounds},\"{case}\",{row},{min:.1},{median:.1},{max:.1}"
        )?;
    }
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(file)
        .with_context(|| file.display().to_string())?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}

/// Clocks per address of a loop that does nothing else.
fn bare(fib: &Fib6, destinations: &[u128]) -> f64 {
    let mut found = [LoadBalanceId::NO_ROUTE; Fib6::AT_ONCE];
    let start = Tsc::now();
    for destinations in destinations.chunks(Fib6::AT_ONCE) {
        destinations.iter().for_each(|destination| fib.prefetch(*destination));
        fib.lookup_all(black_box(destinations), &mut found);
        black_box(&found);
    }
    Tsc::now().since(start) as f64 / destinations.len() as f64
}
