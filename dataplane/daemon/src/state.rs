// SPDX-License-Identifier: Apache-2.0
//! Everything that the main thread owns, in one value: the state that commands look at and change.
//!
//! There is one [`Dataplane`] per daemon, on the main thread; no part of it is global. Its methods are spread over
//! the modules that they belong to ([`crate::ports`] for devices). A test makes one and either gives it
//! threads or turns the workers by hand.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use weft_cli::CommandTree;
use weft_control::{ChangeSet, Control};
use weft_engine::counters::Counters;
use weft_engine::trace::Names;
use weft_engine::wait::Waker;
use weft_engine::{InterfaceIndex, NodeId, ReasonId, ThreadIndex, Worker};
use weft_stats::CombinedVector;

use crate::config::Config;
use crate::log::Recent;
use crate::ports::Devices;
use crate::subsystem::Subsystems;
use crate::threads::{Plan, WorkerThreads};

/// How long the main thread waits for a worker, at most. An answer takes a turn of the worker, some 10 us; a worker
/// whose core is flooded by others was seen to take more than 200 ms.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// A worker that is late.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("worker {0} does not answer within {patience} ms", patience = PATIENCE.as_millis())]
pub struct NoAnswer(pub String);

/// The one state of the main thread.
pub struct Dataplane {
    /// What is configured: interfaces, addresses, routes, neighbours, settings.
    pub control: Control,
    /// `/net/route/to`, by load-balance.
    pub routes: CombinedVector,
    /// What the commands of a file change that is carried out as one change (`exec --atomic`).
    pub collected: Option<Box<ChangeSet>>,
    /// What is behind the interfaces.
    pub devices: Devices,
    /// Packet generator, plugins, front ends and what else is by the side of it.
    pub parts: Subsystems,
    /// All commands, those of plugins among them. Another one when a plugin comes or goes: who runs a command holds it.
    pub commands: Rc<CommandTree<Dataplane>>,
    /// Counters that this thread counts itself.
    pub counters: Counters,
    /// Which thread runs where.
    pub plan: Plan,
    /// The running workers.
    pub threads: WorkerThreads,
    /// The last lines of the log.
    pub log: Recent,
    /// What was configured.
    pub config: Config,
    /// When this was made.
    pub started: (Instant, SystemTime),
    /// Woken by workers that have news.
    pub main: Waker,
}

impl Dataplane {
    /// Waits until `done`, for `patience` at most; says whether it came true. Meanwhile the engine does what is due.
    pub fn settle(&mut self, patience: Duration, mut done: impl FnMut(&mut Dataplane) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            self.engine.reclaim();
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
        let threads: Vec<_> = self.engine.threads().collect();
        let asked: Vec<_> =
            threads.into_iter().map(|thread| (thread, self.engine.ask(thread, question.clone()))).collect();
        let deadline = Instant::now() + PATIENCE;
        asked
            .into_iter()
            .map(|(thread, answer)| {
                let left = deadline.saturating_duration_since(Instant::now());
                let answer = answer.recv_timeout(left);
                answer.map(|answer| (thread, answer)).map_err(|_| NoAnswer(self.plan.name(thread).to_owned()))
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
        self.engine
            .graph()
            .reason(reason)
            .map_or_else(|| format!("reason {reason}"), |info| info.spec.text.trim().to_owned())
    }

    fn node(&self, node: NodeId) -> String {
        self.engine.graph().node(node).map_or_else(|| format!("node {node}"), |info| info.name.clone())
    }
}
