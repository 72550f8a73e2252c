// SPDX-License-Identifier: Apache-2.0
//! `cpu { ... }`: which cores move packets, and what they do when there are none.
//!
//! VPP ignores what it does not understand here; Weft reports it. Combinations that contradict each
//! other are errors, as in VPP.

use std::{collections::BTreeSet, num::NonZeroU32};

use super::{
    diagnostic::Diagnostic,
    source::{Span, Spanned},
    values::{Core, LAST_CORE, core_list, core_mask},
    words::{Key, Words, ignored, key, set, set_some},
};

/// The section. What it means on this machine: [`Cpu::place`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpu {
    pub main_core: Option<Core>,
    pub workers: Workers,
    /// How many of the lowest cores to leave alone.
    pub skip_cores: u32,
    /// Core numbers count the cores that this process may use, instead of those of the machine.
    pub relative: bool,
    /// Threads are called `<prefix>_main` and `<prefix>_wk_<n>`.
    pub thread_prefix: String,
    /// Of the workers.
    pub scheduler: Scheduler,
    pub idle: Idle,
}

/// Where packets are moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workers {
    /// So many, on the next free cores.
    Count(NonZeroU32),
    /// One on each of these.
    On(BTreeSet<Core>),
}

/// Priority of a real-time policy, 1 to 99 (sched(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority(pub u8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    Other,
    Batch,
    Idle,
    Fifo(Priority),
    RoundRobin(Priority),
}

/// What a worker without packets does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Polls for a while, then sleeps until the kernel has something.
    Adaptive,
    /// Polls for ever: the last microsecond of latency for a whole core.
    Poll,
}

/// The section as far as it has been read.
#[derive(Default)]
pub(super) struct Draft {
    main_core: Option<Core>,
    workers: Option<Workers>,
    /// Set where the cores of the workers were named, which needs a main core.
    workers_on: Option<Span>,
    skip_cores: Option<Spanned<u32>>,
    relative: bool,
    thread_prefix: Option<String>,
    policy: Option<Policy>,
    priority: Option<Spanned<Priority>>,
    idle: Option<Idle>,
}

#[derive(Clone, Copy)]
enum Policy {
    Normal(Scheduler),
    RealTime(fn(Priority) -> Scheduler),
}

/// Thread names have 15 bytes (TASK_COMM_LEN, linux/sched.h); `_main` or `_wk_999` comes behind.
const LONGEST_PREFIX: usize = 8;

pub(super) const KEYS: &[Key<Draft>] = &[
    key("main-core", |cpu, words| set_some(&mut cpu.main_core, words.value("core", str::parse))),
    key("corelist-workers", |cpu, words| {
        let cores = words.value("list of cores", core_list)?;
        cpu.place_workers(Workers::On(cores), words.last_span())
    }),
    key("coremask-workers", |cpu, words| {
        let cores = words.value("mask of cores", core_mask)?;
        cpu.place_workers(Workers::On(cores), words.last_span())
    }),
    key("workers", |cpu, words| {
        let count = words.value("number of workers", worker_count)?;
        cpu.place_workers(Workers::Count(count), words.last_span())
    }),
    key("skip-cores", |cpu, words| {
        let value = words.number("number of cores", 0..=LAST_CORE)?;
        cpu.skip_cores = Some(Spanned { value, span: words.last_span() });
        Ok(())
    }),
    key("relative", |cpu, _| set(&mut cpu.relative, Ok(true))),
    key("thread-prefix", |cpu, words| {
        let read = |text: &str| match text.len() <= LONGEST_PREFIX && !text.contains('/') {
            true => Ok(text.to_owned()),
            false => Err(format!("a prefix has {LONGEST_PREFIX} bytes at most, and no '/'")),
        };
        set_some(&mut cpu.thread_prefix, words.value("prefix", read))
    }),
    key("scheduler-policy", |cpu, words| set_some(&mut cpu.policy, policy(words))),
    key("scheduler-priority", |cpu, words| {
        let value = words.number("priority", 1..=99).map(Priority)?;
        cpu.priority = Some(Spanned { value, span: words.last_span() });
        Ok(())
    }),
    key("idle", |cpu, words| {
        set_some(&mut cpu.idle, words.one_of(&[("adaptive", Idle::Adaptive), ("poll", Idle::Poll)]))
    }),
    ignored("use-pthreads", 0, "Weft has no other threads"),
    ignored("numa-heap-size", 1, "Weft takes memory as it needs it"),
];

fn worker_count(text: &str) -> Result<NonZeroU32, String> {
    match text.parse::<u32>() {
        Ok(0) => Err("Weft moves packets on workers only, so it needs one at least".into()),
        Ok(count) if count <= LAST_CORE => Ok(NonZeroU32::new(count).expect("zero has been refused above")),
        _ => Err(format!("expected a number from 1 to {LAST_CORE}")),
    }
}

fn policy(words: &mut Words<'_>) -> Result<Policy, Diagnostic> {
    words.one_of(&[
        ("other", Policy::Normal(Scheduler::Other)),
        ("batch", Policy::Normal(Scheduler::Batch)),
        ("idle", Policy::Normal(Scheduler::Idle)),
        ("fifo", Policy::RealTime(Scheduler::Fifo)),
        ("rr", Policy::RealTime(Scheduler::RoundRobin)),
    ])
}

impl Draft {
    fn place_workers(&mut self, workers: Workers, span: Span) -> Result<(), Diagnostic> {
        if self.workers.is_some() {
            let message = "the workers have been given before";
            return Err(Diagnostic::error(span, message)
                .help("keep one of workers, corelist-workers and coremask-workers"));
        }
        if let Workers::On(_) = workers {
            self.workers_on = Some(span);
        }
        self.workers = Some(workers);
        Ok(())
    }

    /// Checks what needs the whole section.
    pub fn finish(self) -> Result<Cpu, Diagnostic> {
        let needs_main_core =
            self.workers_on.map(|span| ("naming the cores of workers", span)).or_else(|| {
                let skip = self.skip_cores.filter(|skip| skip.value > 0)?;
                Some(("skipping cores", skip.span))
            });
        if let (None, Some((what, span))) = (self.main_core, needs_main_core) {
            return Err(Diagnostic::error(span, format!("{what} needs main-core too")));
        }
        let scheduler = match (self.policy, self.priority) {
            (Some(Policy::RealTime(scheduler)), priority) => {
                Some(scheduler(priority.map_or(Priority(1), |priority| priority.value)))
            }
            (_, Some(priority)) => {
                let message = "a priority needs the scheduler-policy fifo or rr";
                return Err(Diagnostic::error(priority.span, message));
            }
            (Some(Policy::Normal(scheduler)), None) => Some(scheduler),
            (None, None) => None,
        };
        let default = Cpu::default();
        Ok(Cpu {
            main_core: self.main_core,
            workers: self.workers.unwrap_or(default.workers),
            skip_cores: self.skip_cores.map_or(default.skip_cores, |skip| skip.value),
            relative: self.relative,
            thread_prefix: self.thread_prefix.unwrap_or(default.thread_prefix),
            scheduler: scheduler.unwrap_or(default.scheduler),
            idle: self.idle.unwrap_or(default.idle),
        })
    }
}
