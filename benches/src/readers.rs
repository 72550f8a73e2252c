// SPDX-License-Identifier: Apache-2.0
//! Readers of the stats segment that poll as fast as they can while a worker forwards and interfaces come and go: what
//! that costs the worker, and whether a reader ever sees a torn vector or another interface's counter.
//!
//! Each interface that comes has a number of its own, in its name and, in the main thread's row, in its counter. The
//! worker's row counts for the two ports of the chain.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::ClockId;
use nix::unistd::Pid;
use weft_engine::{Engine, InterfaceIndex, NodeId, ThreadIndex};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{InterfaceError, Interfaces, Kind};
use weft_stats::{Combined, ReadError, Reader, Value};

use crate::chain::{Case, Chain};
use crate::report::Rounds;

/// What is measured.
pub struct Load {
    /// With readers and without, in turns; more if the reads take longer.
    pub rounds: usize,
    /// Reads of all readers together.
    pub reads: usize,
    /// Readers.
    pub readers: usize,
    /// Where the worker runs.
    pub worker_core: usize,
    /// Where everybody else runs.
    pub readers_core: usize,
}

/// What came of it.
pub struct Report {
    pub reads: usize,
    /// Interfaces created or deleted.
    pub changes: usize,
    /// Mpps in the worker's processor time, without readers and with.
    pub rates: [Rounds; 2],
    /// With to without, of neighbouring rounds.
    pub ratio: Rounds,
}

const CASE: Case = Case::simple("", 256);
/// Packets of a round: a tenth of a second.
const PACKETS: usize = 1_500_000;
/// Between two changes of interfaces.
const PAUSE: Duration = Duration::from_millis(1);
/// Interfaces that come and go, at a time.
const INTERFACES: usize = 8;

fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core).with_context(|| format!("core {core}"))?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {core}"))
}

/// Of the calling thread. What the worker gets done in that does not depend on who else wants its core: the readers
/// take another one, but push away whoever was there.
fn processor_time() -> Result<Duration> {
    Ok(ClockId::CLOCK_THREAD_CPUTIME_ID.now().context("clock_gettime")?.into())
}

/// Runs all rounds.
pub fn measure(load: &Load) -> Result<Report> {
    pin(load.readers_core)?;
    let chain = Chain::<weft_nodes::ip4::Ip4>::new(&CASE, true)?;
    let Chain { mut engine, mut worker, mut interfaces, source, .. } = chain;
    let segment = engine.stats.fd();
    let readers = (0..load.readers).map(|_| Ok(Reader::from_fd(segment.try_clone_to_owned()?)?));
    let readers: Vec<Reader> = readers.collect::<Result<_>>()?;
    let (stop, reading) = (AtomicBool::new(false), AtomicBool::new(false));
    let reads = AtomicUsize::new(0);
    thread::scope(|scope| {
        let looking: Vec<_> = readers
            .iter()
            .map(|reader| {
                scope.spawn(|| {
                    let seen = look(reader, &stop, &reading, &reads);
                    if seen.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    seen
                })
            })
            .collect();
        let forwarding = scope.spawn(|| {
            pin(load.worker_core)?;
            let mut rates = [Rounds::default(), Rounds::default()];
            let mut ratio = Rounds::default();
            Chain::<weft_nodes::ip4::Ip4>::forward(&mut worker, source, PACKETS);
            for round in 0.. {
                let done = round >= load.rounds && reads.load(Ordering::Relaxed) >= load.reads;
                if done || stop.load(Ordering::Relaxed) {
                    break;
                }
                let mut pair = [0.0; 2];
                // Whoever comes second has the warmer machine, so they take turns.
                for with in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                    reading.store(with == 1, Ordering::Relaxed);
                    let start = processor_time()?;
                    Chain::<weft_nodes::ip4::Ip4>::forward(&mut worker, source, PACKETS);
                    pair[with] = PACKETS as f64 / (processor_time()? - start).as_secs_f64() / 1e6;
                    rates[with].add(pair[with]);
                }
                ratio.add(pair[1] / pair[0]);
            }
            stop.store(true, Ordering::Relaxed);
            Ok::<_, anyhow::Error>((rates, ratio))
        });
        let changed = change(&mut engine, &mut interfaces, &stop);
        stop.store(true, Ordering::Relaxed);
        let (rates, ratio) = forwarding.join().expect("the worker does not panic")?;
        for reader in looking {
            reader.join().expect("a reader does not panic")?;
        }
        let changes = changed?;
        Ok(Report { reads: reads.load(Ordering::Relaxed), changes, rates, ratio })
    })
}

/// Creates and deletes interfaces until told to stop; returns how many.
fn change(engine: &mut Engine, interfaces: &mut Interfaces, stop: &AtomicBool) -> Result<usize> {
    let main = engine.counters.interfaces.rx.row(ThreadIndex(0));
    let mut live: Vec<InterfaceIndex> = Vec::new();
    let mut changes = 0;
    while !stop.load(Ordering::Relaxed) {
        engine.reclaim();
        thread::sleep(PAUSE);
        if live.len() == INTERFACES {
            interfaces.delete(engine, live.remove(changes % INTERFACES))?;
        } else {
            let (name, mac) = (format!("i{changes}"), MacAddr([2, 0, 0, 0, 9, 9]));
            match interfaces.create(engine, &name, Kind::Port, mac, 1500, NodeId::DROP) {
                Ok(index) => {
                    main.set(index.index(), Combined { packets: changes as u64, bytes: changes as u64 });
                    live.push(index);
                }
                // All free indices still wait for the worker to pass by.
                Err(InterfaceError::Full { .. }) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        changes += 1;
    }
    Ok(changes)
}

/// Polls whenever `reading`, until told to stop or something is wrong.
fn look(reader: &Reader, stop: &AtomicBool, reading: &AtomicBool, reads: &AtomicUsize) -> Result<()> {
    let mut selection = reader.select(&["^/if/names$", "^/if/rx$", "^/if/drops$"]);
    while !stop.load(Ordering::Relaxed) {
        if !reading.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
            continue;
        }
        let entries = match selection.read() {
            Ok(entries) => entries,
            // A change of the main thread that lost its core in the middle of it.
            Err(ReadError::Busy { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let [(_, Value::Names(names)), (_, Value::Combined(rx)), (_, Value::Simple(drops))] = entries else {
            bail!("expected names, rx and drops, found {entries:?}");
        };
        let whole =
            rx.iter().all(|row| row.len() == names.len()) && drops.iter().all(|row| row.len() == names.len());
        ensure!(whole, "torn: {names:?} {rx:?} {drops:?}");
        for (name, Combined { packets, bytes }) in names.iter().zip(&rx[0]) {
            let Some(number) = name.strip_prefix('i').and_then(|number| number.parse::<u64>().ok()) else {
                continue;
            };
            for found in [*packets, *bytes] {
                ensure!(found == 0 || found == number, "{name} shows {found}, counted for another one");
            }
        }
        reads.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
