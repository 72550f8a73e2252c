// SPDX-License-Identifier: Apache-2.0
//! `show threads`.

use serde::Serialize;
use weft_cli::{Command, Reply};
use weft_engine::ThreadIndex;
use weft_engine::counters::WorkerColumn;

use super::{left, right, row};
use crate::config::cpu::{Priority, Scheduler};
use crate::state::Dataplane;
use crate::threads::WorkerThreads;
use crate::threads::state;

#[derive(Serialize)]
struct Thread {
    id: u16,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    lwp: i32,
    scheduler: String,
    core: u32,
    numa: u32,
    state: &'static str,
    loops: u64,
    sleeps: u64,
    /// Share of its time that it has spent with packets, in percent.
    busy: f64,
}

#[derive(Serialize)]
struct Threads {
    threads: Vec<Thread>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show threads", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            Ok(Reply::new(threads(dataplane), render))
        })
        .help("Threads, their cores, and how much they have to do"),
    ]
}

fn threads(dataplane: &Dataplane) -> Threads {
    let main = nix::unistd::gettid().as_raw();
    let lwps: Vec<i32> = std::iter::once(main).chain(dataplane.part::<WorkerThreads>().lwps()).collect();
    let alive = dataplane.uptime().as_secs_f64() * dataplane.engine().clock.per_second();
    let threads = dataplane.plan().places().map(|(index, place)| {
        let count = |column: WorkerColumn| dataplane.engine().counters.workers.get(index, column as usize);
        let lwp = lwps.get(usize::from(index.0)).copied().unwrap_or(0);
        Thread {
            id: index.0,
            name: place.name.clone(),
            kind: if index == ThreadIndex(0) { "main" } else { "workers" },
            lwp,
            scheduler: describe(place.scheduler),
            core: place.core.0,
            numa: place.numa,
            state: state(lwp),
            loops: count(WorkerColumn::Turns),
            sleeps: count(WorkerColumn::Sleeps),
            busy: (count(WorkerColumn::BusyClocks) as f64 / alive * 1000.0).round() / 10.0,
        }
    });
    Threads { threads: threads.collect() }
}

fn describe(scheduler: Scheduler) -> String {
    match scheduler {
        Scheduler::Other => "other (0)".into(),
        Scheduler::Batch => "batch (0)".into(),
        Scheduler::Idle => "idle (0)".into(),
        Scheduler::Fifo(Priority(priority)) => format!("fifo ({priority})"),
        Scheduler::RoundRobin(Priority(priority)) => format!("rr ({priority})"),
    }
}

fn render(threads: &Threads) -> String {
    let mut text = row([
        left("ID", 7),
        left("Name", 20),
        left("Type", 12),
        left("LWP", 8),
        left("Sched Policy (Priority)", 25),
        left("lcore", 7),
        left("Socket", 7),
        left("State", 10),
        right("Loops", 14),
        right("Sleeps", 12),
        right("Busy %", 9),
    ]);
    for thread in &threads.threads {
        // The main thread counts no turns: it sleeps until something happens.
        let worker = |value: String| if thread.id == 0 { "-".to_owned() } else { value };
        text += &row([
            left(thread.id, 7),
            left(&thread.name, 20),
            left(thread.kind, 12),
            left(thread.lwp, 8),
            left(&thread.scheduler, 25),
            left(thread.core, 7),
            left(thread.numa, 7),
            left(thread.state, 10),
            right(worker(thread.loops.to_string()), 14),
            right(worker(thread.sleeps.to_string()), 12),
            right(worker(format!("{:.1}", thread.busy)), 9),
        ]);
    }
    text
}
