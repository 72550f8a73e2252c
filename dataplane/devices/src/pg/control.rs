// SPDX-License-Identifier: Apache-2.0
//! A stream as the main thread holds it: what it is made from, and whether it is at work.
//!
//! The worker says when it is done with a stream; the main thread then waits until all workers have passed
//! the graph before it calls the stream stopped, because a packet may have changed workers on its way.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use weft_engine::buffer::{HEADROOM, SLOT_SIZE};
use weft_engine::engine::Engine;
use weft_engine::frame::FRAME_SIZE;
use weft_engine::ids::NodeId;

use super::input::PgInput;
use super::parse::{PacketsPerSecond, Parameters, PgId, StreamError};
use super::stream::{Entry, Pacer, Progress, Source, Stream, StreamId};
use super::template::{Description, Sizes, Template};
use crate::pcap::PacketList;

/// Bytes of a packet that fit one buffer.
const ROOM: usize = SLOT_SIZE - HEADROOM;

/// What the packets of a stream are made from.
pub(super) enum Plan {
    Template(Description),
    Replay(Arc<PacketList>, Sizes),
}

enum State {
    Stopped,
    /// On its worker, on its way there, or ended there by itself.
    Running,
    /// Off its worker, or about to be; its last packets may still be with another one.
    Settling(Rc<Cell<bool>>),
}

pub(super) struct StreamEntry {
    pub id: StreamId,
    pub parameters: Parameters,
    sizes: Sizes,
    plan: Plan,
    pub entry: Entry,
    pub source: Option<PgId>,
    pub worker: usize,
    pub max_frame: usize,
    progress: Arc<Progress>,
    state: State,
}

/// A stream, for `show packet-generator`.
#[derive(Clone, PartialEq, Debug)]
pub struct StreamStatus {
    /// Its name.
    pub name: String,
    /// Still at work: it makes packets, or some of them are still on their way.
    pub enabled: bool,
    /// Packets made since it was enabled.
    pub generated: u64,
    /// Where it stops; 0 if never.
    pub limit: u64,
    /// Packets per second; 0 for as fast as possible.
    pub rate: f64,
    /// Sizes of its packets.
    pub size: Sizes,
    /// Most bytes in one buffer.
    pub buffer_size: usize,
    /// Its worker, from 0.
    pub worker: usize,
}

impl Plan {
    /// Replays recorded packets.
    pub fn replay(packets: PacketList) -> Plan {
        let lengths = || packets.iter().map(<[u8]>::len);
        let (min, max) = (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0));
        Plan::Replay(Arc::new(packets), Sizes { min, max, random: false })
    }

    /// Sizes of the packets; an error if `parameters` do not fit them.
    fn sizes(&self, parameters: &Parameters) -> Result<Sizes, StreamError> {
        match self {
            Plan::Template(description) => parameters.sizes(description.bytes.len()),
            Plan::Replay(_, sizes) => Ok(*sizes),
        }
    }
}

impl StreamEntry {
    /// A stream that is stopped.
    pub fn new(id: StreamId, parameters: Parameters, plan: Plan, entry: Entry) -> Result<Self, StreamError> {
        let sizes = plan.sizes(&parameters)?;
        Ok(StreamEntry {
            id,
            parameters,
            sizes,
            plan,
            entry,
            source: None,
            worker: 0,
            max_frame: FRAME_SIZE,
            progress: Progress::new(),
            state: State::Stopped,
        })
    }

    /// Changes parameters; an error leaves them as they were.
    pub fn configure(&mut self, changes: Parameters) -> Result<(), StreamError> {
        let parameters = self.parameters.clone().with(changes);
        self.sizes = self.plan.sizes(&parameters)?;
        self.parameters = parameters;
        Ok(())
    }

    fn limit(&self) -> Option<u64> {
        self.parameters.limit.flatten().map(Into::into)
    }

    fn rate(&self) -> Option<PacketsPerSecond> {
        self.parameters.rate.flatten()
    }

    /// Sends the stream to its worker, from its beginning.
    pub fn start(&mut self, engine: &mut Engine, input: NodeId) {
        let source = match &self.plan {
            Plan::Template(description) => Source::Template(Template::new(description, self.sizes)),
            Plan::Replay(packets, _) => Source::Replay { packets: Arc::clone(packets), next: 0 },
        };
        self.progress = Progress::new();
        let stream = Stream {
            id: self.id,
            entry: self.entry,
            source,
            pacer: self.rate().map(|rate| Pacer::new(rate, engine.clock)),
            left: self.limit().unwrap_or(u64::MAX),
            max_frame: self.max_frame,
            segment: self.parameters.buffer_size.map_or(ROOM, |size| size.min(ROOM)),
            progress: Arc::clone(&self.progress),
        };
        self.post(engine, input, |node| node.start(stream));
        self.state = State::Running;
    }

    /// Calls the stream back.
    pub fn stop(&mut self, engine: &mut Engine, input: NodeId) {
        let id = self.id;
        if matches!(self.state, State::Running) {
            self.post(engine, input, move |node| node.stop(id));
            self.state = State::Settling(settle(engine));
        }
    }

    fn post(&self, engine: &mut Engine, input: NodeId, change: impl FnOnce(&mut PgInput) + Send + 'static) {
        let thread = engine.threads().nth(self.worker);
        if let Some(thread) = thread {
            engine.post(thread, move |worker| {
                if let Some(node) = worker.node_mut(input) {
                    change(node);
                }
            });
        }
    }

    /// Whether it makes packets.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running) && self.progress.is_running()
    }

    /// Whether it makes no packets and none of them is on its way.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Notices the end of the stream on its worker; says whether all that it sent has arrived.
    pub fn has_settled(&mut self, engine: &mut Engine) -> bool {
        if matches!(self.state, State::Running) && !self.progress.is_running() {
            self.state = State::Settling(settle(engine));
        }
        matches!(&self.state, State::Settling(settled) if settled.get())
    }

    /// What it sent has been dealt with.
    pub fn set_stopped(&mut self) {
        self.state = State::Stopped;
    }

    pub fn status(&self, name: &str) -> StreamStatus {
        StreamStatus {
            name: name.to_owned(),
            enabled: !self.is_stopped(),
            generated: self.progress.generated(),
            limit: self.limit().unwrap_or(0),
            rate: self.rate().map_or(0.0, |rate| rate.0),
            size: self.sizes,
            buffer_size: self.parameters.buffer_size.unwrap_or(self.sizes.max),
            worker: self.worker,
        }
    }
}

/// Becomes true when every worker has passed the graph twice from now on: once for the packets that it has,
/// and once for those that another worker hands to it meanwhile.
fn settle(engine: &mut Engine) -> Rc<Cell<bool>> {
    let settled = Rc::new(Cell::new(false));
    let done = Rc::clone(&settled);
    engine.post_all(|_| {});
    engine.after_workers(move |engine| {
        engine.post_all(|_| {});
        engine.after_workers(move |_| done.set(true));
    });
    settled
}
