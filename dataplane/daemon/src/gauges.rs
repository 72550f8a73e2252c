// SPDX-License-Identifier: Apache-2.0
//! Figures of the stats segment that somebody has to bring up to date: `/sys/*` and `/buffer-pools/*`.
//!
//! Counters are counted where things happen. Rates and levels are not, so the main thread works them out with every
//! `statseg { update-interval }`.

use std::time::Instant;

use weft_engine::counters::WorkerColumn;
use weft_engine::node::Kind;
use weft_engine::{Engine, InterfaceIndex, ThreadIndex};
use weft_stats::{Scalar, SimpleRow, StatsError};

use crate::state::{Dataplane, NoAnswer};

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

/// The gauges, and what they were worked out from the last time.
pub struct Gauges {
    vector_rate: Scalar,
    input_rate: Scalar,
    last_update: Scalar,
    /// Row 0, by thread.
    vector_rate_per_worker: SimpleRow,
    loops_per_worker: SimpleRow,
    pools: Vec<PoolGauges>,
    last: Seen,
}

struct Seen {
    at: Instant,
    received: u64,
    /// By thread: turns, and calls and vectors of internal nodes.
    threads: Vec<[u64; 3]>,
}

impl Gauges {
    /// Registers the gauges.
    pub fn new(engine: &mut Engine) -> Result<Gauges, StatsError> {
        let levels = engine.buffers.levels();
        let threads = engine.threads().count() + 1;
        engine.stats.update(|update| {
            update.scalar("/sys/num_worker_threads")?.set(threads as u64 - 1);
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
    /// The levels of all pools.
    pub fn buffer_pools(&mut self) -> Result<Vec<PoolView>, NoAnswer> {
        let cached = self.ask_all(|worker| worker.buffers.cached())?;
        let mut pools: Vec<PoolView> = self
            .engine
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
        for ((_, cached), place) in cached.iter().zip(&self.plan.workers) {
            let own = pools.iter().position(|pool| pool.numa == place.numa).unwrap_or(0);
            pools[own].cached += cached;
        }
        for pool in &mut pools {
            pool.used = pool.total.saturating_sub(pool.available + pool.cached);
        }
        Ok(pools)
    }

    /// Brings the gauges and the kernel's counters up to date.
    pub fn update_gauges(&mut self) {
        self.collect_xdp_counters();
        self.engine.stats.heartbeat().set(self.engine.stats.heartbeat().get() + 1);
        match self.buffer_pools() {
            Ok(pools) => {
                for (gauges, pool) in self.gauges.pools.iter().zip(&pools) {
                    gauges.cached.set(pool.cached as u64);
                    gauges.used.set(pool.used as u64);
                    gauges.available.set(pool.available as u64);
                }
            }
            Err(error) => tracing::warn!("buffer levels are not up to date: {error}"),
        }
        let now = self.seen();
        let gauges = &mut self.gauges;
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
        gauges.last_update.set(self.started.0.elapsed().as_secs());
        gauges.last = now;
    }

    fn seen(&self) -> Seen {
        let counters = &self.engine.counters;
        let internal: Vec<usize> = self
            .engine
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
        let ports = self.interfaces.iter().filter(|(index, _)| self.devices.get(*index).is_some());
        let received = |index: InterfaceIndex| counters.interfaces.rx.sum(index.index()).packets;
        Seen {
            at: Instant::now(),
            received: ports.map(|(index, _)| received(index)).sum(),
            threads: self.plan.places().map(|(index, _)| thread(index)).collect(),
        }
    }
}
