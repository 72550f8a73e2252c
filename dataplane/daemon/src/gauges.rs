// SPDX-License-Identifier: Apache-2.0
//! Figures of the stats segment that somebody has to bring up to date: `/sys/*`, `/buffer-pools/*` and `/mem/*`.
//!
//! Counters are counted where things happen. Rates and levels are not, so the main thread works them out with every
//! `statseg { update-interval }`. It asks no worker for that: a worker that sleeps or hangs is left alone.

use std::time::Instant;

use weft_engine::counters::WorkerColumn;
use weft_engine::node::Kind;
use weft_engine::{Engine, InterfaceIndex, ThreadIndex};
use weft_stats::{Scalar, SimpleRow, StatsError, Update};

use crate::VERSION;
use crate::os::{self, Heap};
use crate::state::Dataplane;
use crate::subsystem::Subsystem;
use crate::threads::Plan;

/// A pool, for `show buffers` and the segment.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct PoolView {
    /// VPP's name for it.
    pub name: String,
    /// NUMA node.
    pub numa: u32,
    /// Buffers that exist.
    pub total: usize,
    /// Buffers in the free list.
    pub available: usize,
    /// Free buffers that workers keep at hand.
    pub cached: usize,
    /// The rest: packets, and what devices were given to receive into.
    pub used: usize,
}

struct PoolGauges {
    cached: Scalar,
    used: Scalar,
    available: Scalar,
}

/// `/mem/<heap>`: total, used, free, mapped, allocated in all, free pieces, releasable; VPP's order, in bytes.
struct HeapGauges(SimpleRow);

impl HeapGauges {
    fn new(update: &mut Update<'_>, heap: &str) -> Result<HeapGauges, StatsError> {
        let vector = update.simple(&format!("/mem/{heap}"), 7, 7)?;
        for (column, name) in ["total", "used", "free"].iter().enumerate() {
            update.symlink(&format!("/mem/{heap}/{name}"), vector.entry(), column as u32)?;
        }
        Ok(HeapGauges(vector.row(ThreadIndex(0))))
    }

    fn set(&self, heap: &Heap) {
        let Heap { total, used, free, mapped, chunks, releasable } = *heap;
        let columns = [total, used, free, mapped, total, chunks, releasable];
        columns.iter().enumerate().for_each(|(column, value)| self.0.set(column, *value));
    }
}

/// The gauges, and what they were worked out from the last time.
pub struct Gauges {
    vector_rate: Scalar,
    input_rate: Scalar,
    last_update: Scalar,
    /// Row 0, by thread.
    vector_rate_per_worker: SimpleRow,
    loops_per_worker: SimpleRow,
    segment: HeapGauges,
    heap: HeapGauges,
    pools: Vec<PoolGauges>,
    last: Seen,
}

impl Subsystem for Gauges {}

struct Seen {
    at: Instant,
    received: u64,
    /// By thread: turns, and calls and vectors of internal nodes.
    threads: Vec<[u64; 3]>,
}

impl Gauges {
    /// Registers the gauges.
    pub fn new(engine: &mut Engine, plan: &Plan) -> Result<Gauges, StatsError> {
        let levels = engine.buffers.levels();
        let threads = engine.threads().count() + 1;
        let clock = engine.clock;
        engine.stats.update(|update| {
            update.scalar("/sys/clocks_per_second")?.set(clock.per_second() as u64);
            let names = update.names("/sys/thread/names", threads)?;
            update.set_len(&names, threads)?;
            for (thread, _) in plan.places() {
                update.set_name(&names, thread.0.into(), plan.name(thread))?;
            }
            update.scalar("/sys/num_worker_threads")?.set(threads as u64 - 1);
            update.scalar("/sys/pid")?.set(std::process::id().into());
            let version = update.names("/sys/version", 1)?;
            update.set_name(&version, 0, VERSION)?;
            update.set_len(&version, 1)?;
            let mut row =
                |name: &str| Ok::<_, StatsError>(update.simple(name, threads, threads)?.row(ThreadIndex(0)));
            let (vector_rate_per_worker, loops_per_worker) =
                (row("/sys/vector_rate_per_worker")?, row("/sys/loops_per_worker")?);
            let pools = levels.iter().map(|level| {
                let mut gauge =
                    |what: &str| update.scalar(&format!("/buffer-pools/{}/{what}", name(level.numa)));
                Ok(PoolGauges {
                    cached: gauge("cached")?,
                    used: gauge("used")?,
                    available: gauge("available")?,
                })
            });
            let pools = pools.collect::<Result<_, StatsError>>()?;
            Ok(Gauges {
                vector_rate: update.scalar("/sys/vector_rate")?,
                input_rate: update.scalar("/sys/input_rate")?,
                last_update: update.scalar("/sys/last_update")?,
                vector_rate_per_worker,
                loops_per_worker,
                segment: HeapGauges::new(update, "stat segment")?,
                heap: HeapGauges::new(update, "main heap")?,
                pools,
                last: Seen { at: Instant::now(), received: 0, threads: vec![[0; 3]; threads] },
            })
        })
    }
}

fn name(numa: u32) -> String {
    format!("default-numa-{numa}")
}

impl Dataplane {
    /// The levels of all pools, as each worker left them with its last turn.
    pub fn buffer_pools(&self) -> Vec<PoolView> {
        let mut pools: Vec<PoolView> = self
            .engine()
            .buffers
            .levels()
            .into_iter()
            .map(|level| PoolView {
                name: name(level.numa),
                numa: level.numa,
                total: level.total,
                available: level.available,
                cached: 0,
                used: 0,
            })
            .collect();
        // A cache belongs to the pool of its worker's node; the few buffers of other pools in it are counted there too.
        for (thread, place) in self.engine().threads().zip(&self.plan().workers) {
            let cached = self.engine().counters.workers.get(thread, WorkerColumn::CachedBuffers as usize);
            let own = pools.iter().position(|pool| pool.numa == place.numa).unwrap_or(0);
            pools[own].cached += cached as usize;
        }
        for pool in &mut pools {
            pool.used = pool.total.saturating_sub(pool.available + pool.cached);
        }
        pools
    }

    /// Brings the gauges and the kernel's counters up to date.
    pub fn update_gauges(&mut self) {
        self.collect_device_counters();
        self.engine().stats.heartbeat().set(self.engine().stats.heartbeat().get() + 1);
        let pools = self.buffer_pools();
        for (gauges, pool) in self.part::<Gauges>().pools.iter().zip(&pools) {
            gauges.cached.set(pool.cached as u64);
            gauges.used.set(pool.used as u64);
            gauges.available.set(pool.available as u64);
        }
        let (size, used) = (self.engine().stats.size() as u64, self.engine().stats.used() as u64);
        let segment = Heap { total: size, used, free: size - used, mapped: size, ..Heap::default() };
        let now = self.seen();
        let uptime = self.uptime();
        let gauges = self.part_mut::<Gauges>();
        gauges.segment.set(&segment);
        gauges.heap.set(&os::heap());
        let seconds = now.at.duration_since(gauges.last.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let (mut calls, mut vectors) = (0, 0);
        for (thread, (now, last)) in now.threads.iter().zip(&gauges.last.threads).enumerate() {
            let grown: [u64; 3] = std::array::from_fn(|i| now[i].wrapping_sub(last[i]));
            gauges.loops_per_worker.set(thread, (grown[0] as f64 / seconds) as u64);
            gauges.vector_rate_per_worker.set(thread, grown[2] / grown[1].max(1));
            calls += grown[1];
            vectors += grown[2];
        }
        gauges.vector_rate.set(vectors / calls.max(1));
        let received = now.received.wrapping_sub(gauges.last.received);
        gauges.input_rate.set((received as f64 / seconds) as u64);
        gauges.last_update.set(uptime.as_secs());
        gauges.last = now;
    }

    fn seen(&self) -> Seen {
        let counters = &self.engine().counters;
        let internal: Vec<usize> = self
            .engine()
            .graph()
            .nodes()
            .filter(|(_, info)| info.spec.kind == Kind::Internal)
            .map(|(id, _)| id.index())
            .collect();
        let thread = |thread| {
            let sum = |vector: &weft_stats::SimpleVector| -> u64 {
                internal.iter().map(|node| vector.get(thread, *node)).sum()
            };
            let turns = counters.workers.get(thread, WorkerColumn::Turns as usize);
            [turns, sum(&counters.calls), sum(&counters.vectors)]
        };
        let ports = self.interfaces().iter().filter(|(index, _)| self.devices().get(*index).is_some());
        let received = |index: InterfaceIndex| counters.interfaces.rx.sum(index.index()).packets;
        Seen {
            at: Instant::now(),
            received: ports.map(|(index, _)| received(index)).sum(),
            threads: self.plan().places().map(|(index, _)| thread(index)).collect(),
        }
    }
}
