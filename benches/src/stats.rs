// SPDX-License-Identifier: Apache-2.0
//! What it costs to read the stats segment, beside VPP's own client; and what readers cost the worker that counts.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use weft_stats::{Counter, ReadError, Reader, Segment, StatsError, StatsListener, Value};

use crate::readers;
use crate::report::Rounds;

/// Options of `stats`.
#[derive(Args)]
pub struct Options {
    /// Rounds of each figure
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Reads of all readers together while packets flow
    #[arg(long, default_value_t = 10_000_000)]
    reads: usize,
    /// Readers at a time
    #[arg(long, default_value_t = 10)]
    readers: usize,
    /// Core of the worker; readers and main thread share the other
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// Core of the readers
    #[arg(long, default_value_t = 0)]
    readers_core: usize,
    /// Where vpp_papi is (scripts/setup puts it there); the environment's PYTHONPATH if not given
    #[arg(long)]
    papi: Option<PathBuf>,
}

const INTERFACES: usize = 1000;
const THREADS: usize = 3;
const COUNTERS: [&str; 10] =
    ["rx", "tx", "drops", "punt", "ip4", "ip6", "rx-no-buf", "rx-miss", "rx-error", "tx-error"];
/// Read again and again: a number, and one interface's counter.
const SCALAR: &str = "/sys/heartbeat";
const COUNTER: &str = "/interfaces/port567/rx";

const PAPI: &str = include_str!("../stats/vpp_papi_read.py");

/// Runs both parts.
pub fn run(options: &Options) -> Result<()> {
    reading(options)?;
    let readers::Report { reads, changes, rates, ratio } = readers::measure(&readers::Load {
        rounds: options.rounds,
        reads: options.reads,
        readers: options.readers,
        worker_core: options.core,
        readers_core: options.readers_core,
    })?;
    println!("\n== {} readers while packets flow and interfaces come and go", options.readers);
    println!("  {reads} reads, none torn; {changes} interfaces created or deleted meanwhile");
    println!("  {:<34} {}", "Mpps of processor time, without", rates[0].spread());
    println!("  {:<34} {}", "Mpps of processor time, with", rates[1].spread());
    println!("  {:<34} median {:.3}", "with : without, by round", ratio.median());
    Ok(())
}

/// A segment with 10,000 counters by name, as 1000 interfaces have.
fn segment() -> Result<Segment, StatsError> {
    let mut segment = Segment::new(32 << 20, THREADS)?;
    segment.update(|update| {
        let names = update.names("/if/names", INTERFACES)?;
        update.set_len(&names, INTERFACES)?;
        for index in 0..INTERFACES {
            update.set_name(&names, index, &format!("port{index}"))?;
        }
        for (place, counter) in COUNTERS.iter().enumerate() {
            let name = format!("/if/{counter}");
            let entry = match place {
                0 | 1 => update.combined(&name, INTERFACES, INTERFACES)?.entry(),
                _ => update.simple(&name, INTERFACES, INTERFACES)?.entry(),
            };
            for index in 0..INTERFACES {
                update.symlink(&format!("/interfaces/port{index}/{counter}"), entry, index as u32)?;
            }
        }
        Ok::<(), StatsError>(())
    })?;
    Ok(segment)
}

fn nanoseconds<R>(times: u32, mut read: impl FnMut() -> Result<R, ReadError>) -> Result<f64> {
    read()?;
    let start = Instant::now();
    for _ in 0..times {
        black_box(read()?);
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(times))
}

fn reading(options: &Options) -> Result<()> {
    let segment = segment().context("segment")?;
    let reader = Reader::from_fd(segment.fd().try_clone_to_owned()?)?;
    let entries = reader.ls(&[])?.len();
    let mut value = Value::Scalar(0);
    let (mut scalar, mut counter) = (Counter::new(SCALAR), Counter::new(COUNTER));
    let mut selection = reader.select(&[]);
    let mut figures: [(&str, Rounds); 4] = [
        ("ns, one scalar by name", Rounds::default()),
        ("ns, one counter of an interface", Rounds::default()),
        ("us, everything, again", Rounds::default()),
        ("us, everything, for the first time", Rounds::default()),
    ];
    for _ in 0..options.rounds {
        let ns = [
            nanoseconds(10_000, || reader.read_into(&mut scalar, &mut value))?,
            nanoseconds(10_000, || reader.read_into(&mut counter, &mut value))?,
            nanoseconds(50, || selection.read().map(<[_]>::len))? / 1000.0,
            nanoseconds(10, || reader.dump(""))? / 1000.0,
        ];
        figures.iter_mut().zip(ns).for_each(|((_, rounds), ns)| rounds.add(ns));
    }
    let rival = papi(&segment, options.papi.as_deref());
    println!(
        "== reading a segment of {entries} entries, {THREADS} threads; min / median / max of {} rounds",
        options.rounds
    );
    for (name, rounds) in &figures {
        println!("  {name:<34} {}", rounds.spread());
    }
    match rival {
        Ok([scalar, counter, all]) => {
            let all = all / 1000.0;
            println!("  rival: vpp_papi 2.4.2, once: {scalar:.0} ns, {counter:.0} ns, {all:.0} us");
            let ratio = |figure: usize, rival: f64| figures[figure].1.median() / rival;
            println!("  ratio: {:.4}, {:.6}, {:.6}", ratio(0, scalar), ratio(1, counter), ratio(2, all));
        }
        Err(error) => println!("  rival: vpp_papi could not be measured: {error:#}"),
    }
    Ok(())
}

/// The same by vpp_papi, served as the daemon serves it: nanoseconds for the scalar, the counter, everything.
fn papi(segment: &Segment, path: Option<&Path>) -> Result<[f64; 3]> {
    let socket = std::env::temp_dir().join(format!("weft-bench-{}.sock", std::process::id()));
    let listener = StatsListener::bind(&socket, None)?;
    let mut python = Command::new("python3");
    python.arg("-c").arg(PAPI).arg(&socket).args([SCALAR, COUNTER]);
    if let Some(path) = path {
        python.env("PYTHONPATH", path);
    }
    let ended = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        let running = scope.spawn(|| {
            let output = python.output();
            ended.store(true, Ordering::Relaxed);
            output
        });
        while !ended.load(Ordering::Relaxed) {
            listener.accept_and_send(segment.fd())?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok::<_, anyhow::Error>(running.join().expect("running a command does not panic")?)
    })?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", errors.lines().last().unwrap_or("python3 failed"));
    let printed = String::from_utf8_lossy(&output.stdout);
    let ns: Vec<f64> = printed.lines().map(str::parse).collect::<Result<_, _>>()?;
    ns.try_into().ok().context("vpp_papi_read.py prints three figures")
}
