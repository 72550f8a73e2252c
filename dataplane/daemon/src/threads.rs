// SPDX-License-Identifier: Apache-2.0
//! Threads: where main and the workers run, and what `show threads` says of them.
//!
//! Each worker has a thread of its own, pinned to its core before it touches a packet. Workers end when the stop flag
//! is set, and give back all buffers that they hold. The main thread starts, watches and joins them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::unistd::gettid;
use weft_engine::{Engine, ThreadIndex, Worker};

use crate::config::cpu::{Cpu, Scheduler};
use crate::config::values::Core;
use crate::os;
use crate::subsystem::Subsystem;
use crate::topology::{Topology, pin};

/// Where a thread runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// As in `ps -L` and `top -H`.
    pub name: String,
    /// The core that it is pinned to.
    pub core: Core,
    /// NUMA node of the core.
    pub numa: u32,
    /// Its scheduling policy.
    pub scheduler: Scheduler,
}

/// Where all threads run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The main thread.
    pub main: Place,
    /// The workers, in the order of their numbers.
    pub workers: Vec<Place>,
}

impl Plan {
    /// What `cpu { ... }` means on this machine.
    pub fn new(cpu: &Cpu, topology: &Topology) -> Result<Plan> {
        let placement = cpu.place(topology.mask(), &topology.cores())?;
        if placement.workers.contains(&placement.main) {
            // Fine while the worker sleeps; one that polls leaves the main thread half a core.
            tracing::warn!("core {} runs the main thread and a worker", placement.main);
        }
        let place =
            |name: String, core, scheduler| Place { name, core, numa: topology.node(core), scheduler };
        let workers = placement.workers.iter().enumerate();
        Ok(Plan {
            main: place(format!("{}_main", cpu.thread_prefix), placement.main, Scheduler::Other),
            workers: workers
                .map(|(number, core)| {
                    place(format!("{}_wk_{number}", cpu.thread_prefix), *core, cpu.scheduler)
                })
                .collect(),
        })
    }

    /// Every thread by its index.
    pub fn places(&self) -> impl Iterator<Item = (ThreadIndex, &Place)> {
        (0..).map(ThreadIndex).zip(std::iter::once(&self.main).chain(&self.workers))
    }

    /// Name of a thread.
    pub fn name(&self, thread: ThreadIndex) -> &str {
        self.places().find(|(index, _)| *index == thread).map_or("?", |(_, place)| &place.name)
    }
}

/// Makes the calling thread the main thread.
pub fn become_main(place: &Place) -> Result<()> {
    // prctl(2), PR_SET_NAME, without the unsafe.
    fs::write("/proc/thread-self/comm", &place.name).context("name the main thread")?;
    pin(place.core)
}

/// The running workers.
#[derive(Default)]
pub struct WorkerThreads {
    stop: Arc<AtomicBool>,
    threads: Vec<(JoinHandle<()>, i32)>,
}

impl Subsystem for WorkerThreads {}

impl WorkerThreads {
    /// Starts a thread for each worker, and waits until each is in its place.
    pub fn start(workers: Vec<Worker>, places: &[Place]) -> Result<WorkerThreads> {
        let mut running = WorkerThreads::default();
        for (mut worker, place) in workers.into_iter().zip(places) {
            let (stop, place) = (Arc::clone(&running.stop), place.clone());
            let (sender, ready) = mpsc::channel();
            let name = place.name.clone();
            let run = move || {
                let settled = pin(place.core).and_then(|()| {
                    os::schedule(place.scheduler).with_context(|| {
                        format!("scheduling policy {:?}, which takes CAP_SYS_NICE", place.scheduler)
                    })
                });
                let failed = settled.is_err();
                let told = sender.send(settled.map(|()| gettid().as_raw()));
                if !failed && told.is_ok() {
                    worker.run(&stop);
                }
            };
            let handle = std::thread::Builder::new()
                .name(name.clone())
                .spawn(run)
                .with_context(|| format!("start the thread {name}"))?;
            let lwp = ready.recv().unwrap_or_else(|_| Err(anyhow!("the thread has ended")));
            running.threads.push((handle, lwp.with_context(|| format!("worker {name}"))?));
        }
        Ok(running)
    }

    /// The kernel's id of each worker's thread.
    pub fn lwps(&self) -> impl Iterator<Item = i32> {
        self.threads.iter().map(|(_, lwp)| *lwp)
    }

    /// A worker that has ended though nobody has told it to.
    pub fn lost(&self) -> Option<usize> {
        let stopping = self.stop.load(Ordering::Relaxed);
        self.threads.iter().position(|(thread, _)| thread.is_finished() && !stopping)
    }

    /// Ends the workers; says whether all have ended within `patience`.
    pub fn stop(&mut self, engine: &Engine, patience: Duration) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + patience;
        loop {
            engine.wake_all();
            for (thread, _) in self.threads.extract_if(.., |(thread, _)| thread.is_finished()) {
                // A panic has been reported when it happened.
                let _ = thread.join();
            }
            if self.threads.is_empty() || Instant::now() >= deadline {
                return self.threads.is_empty();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for WorkerThreads {
    fn drop(&mut self) {
        // A start that failed half-way. An idle worker looks at the flag at the latest when its nap is over.
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What the kernel says of a thread: its state, in the words of ps(1).
pub fn state(lwp: i32) -> &'static str {
    let stat = fs::read_to_string(format!("/proc/self/task/{lwp}/stat")).unwrap_or_default();
    // proc_pid_stat(5): the name in parentheses may hold anything, the state follows it.
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()) {
        Some('R') => "running",
        Some('S') => "sleeping",
        Some('D') => "waiting",
        Some(_) => "stopped",
        None => "ended",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_engine::EngineConfig;

    fn place() -> Place {
        let topology = Topology::read().unwrap();
        let core = *topology.cores().first().unwrap();
        Place { name: "weft_wk_0".into(), core, numa: 0, scheduler: Scheduler::Other }
    }

    #[test]
    fn workers_run_in_their_place_until_told_to_stop() {
        let (mut engine, workers) = Engine::new(&EngineConfig::default()).unwrap();
        let mut threads = WorkerThreads::start(workers, &[place()]).unwrap();
        let lwp = threads.lwps().next().unwrap();
        let name = fs::read_to_string(format!("/proc/self/task/{lwp}/comm")).unwrap();
        assert_eq!(name.trim(), "weft_wk_0");
        assert!(["running", "sleeping"].contains(&state(lwp)));
        let answer = engine.ask(ThreadIndex(1), |worker| worker.thread());
        assert_eq!(answer.recv_timeout(Duration::from_secs(5)), Ok(ThreadIndex(1)));
        assert_eq!(threads.lost(), None);
        assert!(threads.stop(&engine, Duration::from_secs(5)));
        assert_eq!(state(lwp), "ended");
        let available: usize = engine.buffers.levels().iter().map(|level| level.available).sum();
        assert_eq!(available, engine.buffers.total());
    }

    #[test]
    fn a_place_that_cannot_be_had_is_an_error() {
        let (_engine, workers) = Engine::new(&EngineConfig::default()).unwrap();
        let nowhere = Place { core: Core(1000), ..place() };
        let error = WorkerThreads::start(workers, &[nowhere]).err().expect("there are fewer cores");
        assert!(
            format!("{error:#}").starts_with("worker weft_wk_0: sched_setaffinity to core 1000"),
            "{error:#}"
        );
    }
}
