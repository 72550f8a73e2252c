// SPDX-License-Identifier: Apache-2.0
//! Flows in the daemon: the tracker once somebody wants it, the last events, and the socket that hands out the tables.
//!
//! The tables are handed out by a thread of their own, which does nothing else: they can be had while the main thread hangs.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::chown;
use weft_engine::InterfaceIndex;
use weft_engine::wait::Waker;
use weft_flow::FlowTracker;
use weft_flow::news::News;
use weft_flow::settings::Mode;
use weft_stats::StatsListener;

use crate::state::Dataplane;

/// Name of the socket in the runtime directory.
pub const SOCKET: &str = "flow.sock";
/// Events that `show flow events` remembers.
const REMEMBERED: usize = 1024;
/// News taken over at once, per worker.
const NEWS_AT_ONCE: usize = 1024;

/// All of it.
#[derive(Default)]
pub struct Flows {
    /// There is none until an interface is enabled.
    pub tracker: Option<FlowTracker>,
    /// The last events, oldest first.
    pub events: VecDeque<News>,
    server: Option<Server>,
}

/// The thread that hands out the tables.
struct Server {
    stop: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(path: &Path, group: Option<u32>, tables: Vec<OwnedFd>) -> Result<Server> {
        let listener = StatsListener::bind(path)?;
        if let Some(group) = group {
            chown(path, None, Some(group.into()))
                .with_context(|| format!("set the group of {}", path.display()))?;
        }
        let stop = Waker::new().context("create an eventfd")?;
        let waker = stop.clone();
        let serve = move || {
            let tables: Vec<_> = tables.iter().map(AsFd::as_fd).collect();
            loop {
                let mut fds = [
                    PollFd::new(listener.as_fd(), PollFlags::POLLIN),
                    PollFd::new(waker.as_fd(), PollFlags::POLLIN),
                ];
                // An interrupted call is another round.
                let _ = poll(&mut fds, PollTimeout::NONE);
                if fds[1].any().unwrap_or(true) {
                    return;
                }
                if let Err(error) = listener.hand_out(&tables) {
                    tracing::warn!("{error}");
                }
            }
        };
        let thread = std::thread::Builder::new().name("weft_flows".into()).spawn(serve);
        Ok(Server { stop, thread: Some(thread.context("start the thread weft_flows")?) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.wake();
        if let Some(thread) = self.thread.take() {
            // It cannot panic; and if it did, there would be nothing to do about it.
            let _ = thread.join();
        }
    }
}

impl Dataplane {
    /// Tracks the flows of an interface; the first time, makes the tables.
    pub fn track_flows(&mut self, interface: InterfaceIndex, mode: Mode) -> Result<()> {
        if self.flows.tracker.is_none() {
            let interfaces = self.config.limits.interfaces as usize;
            let (arcs, settings) = (self.nodes.arcs, self.config.flow);
            let tracker = FlowTracker::new(&mut self.engine, &arcs, settings, interfaces, &self.main)?;
            let tables: Result<Vec<_>, _> = tracker.tables().map(|fd| fd.try_clone_to_owned()).collect();
            let path = self.config.unix.in_runtime_dir(Path::new(SOCKET));
            let group = self.config.unix.gid.map(|group| group.0);
            self.flows.server = Some(Server::start(&path, group, tables.context("copy descriptors")?)?);
            self.flows.tracker = Some(tracker);
        }
        if let Some(tracker) = &mut self.flows.tracker {
            tracker.enable(&mut self.engine, interface, mode)?;
        }
        Ok(())
    }

    /// Takes over what workers tell of flows; says whether there may be more.
    pub fn hear_flows(&mut self) -> bool {
        let Flows { tracker: Some(tracker), events, .. } = &mut self.flows else {
            return false;
        };
        tracker.hear(NEWS_AT_ONCE, |news| {
            if events.len() == REMEMBERED {
                events.pop_front();
            }
            events.push_back(news);
        })
    }

    /// An interface is deleted: what waits there for a verdict is dropped.
    pub fn flows_leave(&mut self, interface: InterfaceIndex) {
        let Some(tracker) = &mut self.flows.tracker else {
            return;
        };
        if let Err(error) = tracker.interface_leaves(&mut self.engine, interface) {
            tracing::warn!("{error}");
        }
    }
}
