// SPDX-License-Identifier: Apache-2.0
//! `show threads`.

use serde::Serialize;
use weft_cli::Command;
use weft_engine::ThreadIndex;
use weft_engine::counters::WorkerColumn;

use super::{Column, showing, tabled};
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

impl Thread {
    /// The main thread counts no turns: it sleeps until something happens.
    fn of_worker(&self, value: String) -> String {
        if self.id == 0 { "-".to_owned() } else { value }
    }
}

const COLUMNS: &[Column<Thread>] = &[
    Column::left("ID", 7, |thread| thread.id.to_string()),
    Column::left("Name", 20, |thread| thread.name.clone()),
    Column::left("Type", 12, |thread| thread.kind.to_owned()),
    Column::left("LWP", 8, |thread| thread.lwp.to_string()),
    Column::left("Sched Policy (Priority)", 25, |thread| thread.scheduler.clone()),
    Column::left("lcore", 7, |thread| thread.core.to_string()),
    Column::left("Socket", 7, |thread| thread.numa.to_string()),
    Column::left("State", 10, |thread| thread.state.to_owned()),
    Column::right("Loops", 14, |thread| thread.of_worker(thread.loops.to_string())),
    Column::right("Sleeps", 12, |thread| thread.of_worker(thread.sleeps.to_string())),
    Column::right("Busy %", 9, |thread| thread.of_worker(format!("{:.1}", thread.busy))),
];

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        showing("show threads", |dataplane| Ok(tabled("threads", threads(dataplane), COLUMNS)))
            .help("Threads, their cores, and how much they have to do"),
    ]
}

fn threads(dataplane: &Dataplane) -> Vec<Thread> {
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
    threads.collect()
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
