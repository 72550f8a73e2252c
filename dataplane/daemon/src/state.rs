// SPDX-License-Identifier: Apache-2.0
//! The state of the main thread: what is configured, the parts beside it, and the commands.
//!
//! There is one [`Dataplane`] per daemon, on the main thread; no part of it is global. It holds three things and knows none of
//! them closely: [`Control`], which is read by anybody and changed by change sets; the [`Subsystems`], each known to whoever
//! wrote it by its type; and what the process was started with. Its methods are spread over the modules that they belong to
//! ([`crate::ports`] for devices). A test makes one and either gives it threads or turns the workers by hand.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::{Duration, Instant};

use weft_cli::CommandTree;
use weft_control::{ChangeSet, Control};
use weft_engine::trace::Names;
use weft_engine::wait::Waker;
use weft_engine::{InterfaceIndex, NodeId, ReasonId, ThreadIndex, Worker};

use crate::config::Config;
use crate::log::Recent;
use crate::subsystem::{Subsystem, Subsystems};
use crate::threads::Plan;

/// How long the main thread waits for a worker, at most. An answer takes a turn of the worker, some 10 us; a worker
/// whose core is flooded by others was seen to take more than 200 ms.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A worker that is late.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("worker {0} does not answer within {patience} ms", patience = PATIENCE.as_millis())]
pub struct NoAnswer(pub String);

/// What the process was started with.
pub struct Process {
    /// What was configured.
    pub config: Config,
    /// Which thread runs where.
    pub plan: Plan,
    /// The last lines of the log.
    pub log: Recent,
    /// Woken by workers that have news.
    pub main: Waker,
}

/// The one state of the main thread.
pub struct Dataplane {
    control: Control,
    parts: Subsystems,
    commands: Rc<CommandTree<Dataplane>>,
    /// What the commands of a file change that is carried out as one change (`exec --atomic`).
    collected: Option<Box<ChangeSet>>,
    process: Process,
    started: Instant,
}

impl Dataplane {
    /// Of these; nothing is configured yet.
    pub fn new(
        control: Control,
        parts: Subsystems,
        commands: CommandTree<Dataplane>,
        process: Process,
    ) -> Dataplane {
        let commands = Rc::new(commands);
        Dataplane { control, parts, commands, collected: None, process, started: Instant::now() }
    }

    /// Control and the parts, for those who hand the one to the other.
    pub(crate) fn split(&mut self) -> (&mut Control, &mut Subsystems) {
        (&mut self.control, &mut self.parts)
    }

    /// A part, and control.
    pub fn part_and_control<T: Subsystem>(&mut self) -> (&mut T, &mut Control) {
        (self.parts.get_mut(), &mut self.control)
    }

    /// See [`Subsystems::get`].
    pub fn part<T: Subsystem>(&self) -> &T {
        self.parts.get()
    }

    /// See [`Subsystems::get_mut`].
    pub fn part_mut<T: Subsystem>(&mut self) -> &mut T {
        self.parts.get_mut()
    }

    /// See [`Subsystems::find`].
    pub fn find_part<T: Subsystem>(&self) -> Option<&T> {
        self.parts.find()
    }

    /// See [`Subsystems::find_mut`].
    pub fn find_part_mut<T: Subsystem>(&mut self) -> Option<&mut T> {
        self.parts.find_mut()
    }

    /// See [`Subsystems::put`].
    pub fn put_part<T: Subsystem>(&mut self, part: Box<T>) {
        self.parts.put(part);
    }

    /// See [`Subsystems::take`].
    pub fn take_part<T: Subsystem>(&mut self) -> Option<Box<T>> {
        self.parts.take()
    }

    /// All commands, those of plugins among them. Others when a plugin comes or goes: who runs a command holds these.
    pub fn commands(&self) -> Rc<CommandTree<Dataplane>> {
        Rc::clone(&self.commands)
    }

    /// Other commands, from now on.
    pub fn set_commands(&mut self, commands: CommandTree<Dataplane>) {
        self.commands = Rc::new(commands);
    }

    /// From now on commands note their changes among these.
    pub fn begin_collecting(&mut self, changes: ChangeSet) {
        self.collected = Some(Box::new(changes));
    }

    /// What commands have noted, if they do; from now on each makes its change.
    pub fn end_collecting(&mut self) -> Option<ChangeSet> {
        self.collected.take().map(|changes| *changes)
    }

    /// What commands have noted so far, if they do.
    pub fn collected(&self) -> Option<&ChangeSet> {
        self.collected.as_deref()
    }

    /// Has changes noted among those of a file.
    ///
    /// # Panics
    /// If there are none ([`Dataplane::collected`]).
    pub fn collect<R>(&mut self, note: impl FnOnce(&Dataplane, &mut ChangeSet) -> R) -> R {
        let mut collected = self.collected.take().expect("changes are collected");
        let noted = note(self, &mut collected);
        self.collected = Some(collected);
        noted
    }

    /// What was configured.
    pub fn config(&self) -> &Config {
        &self.process.config
    }

    /// Which thread runs where.
    pub fn plan(&self) -> &Plan {
        &self.process.plan
    }

    /// The last lines of the log.
    pub fn log(&self) -> &Recent {
        &self.process.log
    }

    /// Woken by workers that have news.
    pub fn waker(&self) -> &Waker {
        &self.process.main
    }

    /// Since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Waits until `done`, for `patience` at most; says whether it came true. Meanwhile the engine does what is due.
    pub fn settle(&mut self, patience: Duration, mut done: impl FnMut(&mut Dataplane) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            self.engine_mut().reclaim();
            if done(self) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Asks every worker; the answers are in the order of the threads.
    pub fn ask_all<R: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut Worker) -> R + Clone + Send + 'static,
    ) -> Result<Vec<(ThreadIndex, R)>, NoAnswer> {
        let asked: Vec<_> = self
            .engine()
            .threads()
            .map(|thread| (thread, self.engine_mut().ask(thread, question.clone())))
            .collect();
        let deadline = Instant::now() + PATIENCE;
        asked
            .into_iter()
            .map(|(thread, answer)| {
                let left = deadline.saturating_duration_since(Instant::now());
                let answer = answer.recv_timeout(left);
                answer
                    .map(|answer| (thread, answer))
                    .map_err(|_| NoAnswer(self.plan().name(thread).to_owned()))
            })
            .collect()
    }
}

impl Deref for Dataplane {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl DerefMut for Dataplane {
    fn deref_mut(&mut self) -> &mut Control {
        &mut self.control
    }
}

impl Names for Dataplane {
    fn interface(&self, interface: InterfaceIndex) -> String {
        if interface == InterfaceIndex::NONE {
            return "none".into();
        }
        self.interface_name(interface)
    }

    fn reason(&self, reason: ReasonId) -> String {
        self.engine()
            .graph()
            .reason(reason)
            .map_or_else(|| format!("reason {reason}"), |info| info.spec.text.trim().to_owned())
    }

    fn node(&self, node: NodeId) -> String {
        match self.engine().graph().node(node) {
            Some(info) => info.name.clone(),
            None if node == NodeId::GONE => "(a node that is gone)".to_owned(),
            None => format!("node {node}"),
        }
    }
}
