// SPDX-License-Identifier: Apache-2.0
//! The packet generator: traffic without a NIC, for tests, benchmarks and replays.
//!
//! [`Pg`] is the main thread's part: it holds the streams and interfaces, and starts and stops what runs on
//! the workers. Interfaces themselves belong to the daemon, which passes their index in. The commands are
//! VPP's `packet-generator ...`, and so is what a test relies on: when a stream is shown as stopped, all its
//! packets have passed the graph, and what was captured of them is in the file.
//!
//! | module | what | thread |
//! |---|---|---|
//! | `lex`, `parse`, `packet`, `header` | text to types | main |
//! | `template`, `edit` | types to packets | compiled on main, run on a worker |
//! | `stream`, [`input`] | packets into the graph | worker |
//! | [`output`] | packets out of it | worker |
//! | `capture` | packets into a file | main |

mod capture;
mod edit;
mod header;
pub mod input;
mod lex;
pub mod output;
mod packet;
pub mod parse;
mod stream;
mod template;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use weft_engine::buffer::{HEADROOM, SLOT_SIZE};
use weft_engine::engine::Engine;
use weft_engine::graph::{GraphError, NodeDef};
use weft_engine::ids::{InterfaceIndex, NodeId, ThreadIndex};

use capture::Capture;
pub use capture::CaptureStatus;
use header::Layer;
use input::{PG_INPUT, PgInput};
use output::{PG_OUTPUT, PgOutput, Tap};
use parse::Packets;
pub use parse::{PacketsPerSecond, Parameters, PgId, StreamError, StreamSpec};
use stream::{Entry, Pacer, Progress, Source, Stream, StreamId};
pub use template::Sizes;
use template::{Description, Template};

use crate::pcap::{LinkType, PacketList, PcapError};

/// Why the packet generator refuses.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// The description is wrong.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The file cannot be read or written.
    #[error(transparent)]
    Pcap(#[from] PcapError),
    /// The graph does not take the node.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// Two streams of one name.
    #[error("packet-generator stream '{0}' exists already")]
    StreamExists(String),
    /// A name that nobody has.
    #[error("found '{found}', expected a packet-generator stream: {}", Known(.known))]
    NoSuchStream {
        /// The name.
        found: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A name that no interface has.
    #[error("found '{0}', expected an interface")]
    NoSuchInterface(String),
    /// A number that no interface of the packet generator has.
    #[error("there is no packet-generator interface {0}; 'create packet-generator interface {0}' makes it")]
    NoSuchPgInterface(PgId),
    /// The number belongs to another interface.
    #[error("packet-generator interface {0} exists already")]
    InterfaceExists(PgId),
    /// A name that no node has.
    #[error("found '{0}', expected a graph node or an interface")]
    NoSuchNode(String),
    /// Nowhere to go.
    #[error("output interface or node not given: expected 'source pgN', 'interface IF' or 'node NODE'")]
    NoDestination,
    /// Nothing to replay.
    #[error("pcap file '{}' holds no packet", .0.display())]
    EmptyPcap(PathBuf),
}

struct Known<'a>(&'a [String]);

impl std::fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [] => f.write_str("there is none"),
            names => write!(f, "one of {}", names.join(", ")),
        }
    }
}

/// What packets on an interface begin with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// An Ethernet header.
    #[default]
    Ethernet,
    /// An IPv4 header.
    Ip4,
    /// An IPv6 header.
    Ip6,
}

impl Mode {
    fn input(self) -> &'static str {
        match self {
            Mode::Ethernet => "ethernet-input",
            Mode::Ip4 => "ip4-input",
            Mode::Ip6 => "ip6-input",
        }
    }

    fn link(self) -> LinkType {
        match self {
            Mode::Ethernet => LinkType::Ethernet,
            Mode::Ip4 | Mode::Ip6 => LinkType::RawIp,
        }
    }
}

/// The header that packets for `node` begin with.
fn first_header(node: &str) -> Layer {
    match node {
        _ if node.starts_with("ip4-") => Layer::Ip4,
        _ if node.starts_with("ip6-") => Layer::Ip6,
        _ => Layer::Ethernet,
    }
}

/// Bytes of a packet that fit one buffer.
const ROOM: usize = SLOT_SIZE - HEADROOM;

struct Interface {
    index: InterfaceIndex,
    mode: Mode,
    output: NodeId,
    capture: Option<Capture>,
}

/// What the packets of a stream are made from.
enum Plan {
    Template(Description),
    Replay(Arc<PacketList>),
}

enum State {
    Stopped,
    /// On its worker, or on its way there.
    Running,
    /// Off its worker; its last packets may still be with another one.
    Settling(Rc<Cell<bool>>),
}

struct StreamEntry {
    id: StreamId,
    parameters: Parameters,
    plan: Plan,
    entry: Entry,
    source: Option<PgId>,
    worker: usize,
    max_frame: usize,
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

/// The packet generator, as the main thread holds it.
pub struct Pg {
    input: NodeId,
    streams: BTreeMap<String, StreamEntry>,
    interfaces: BTreeMap<PgId, Interface>,
    next_id: u32,
}

impl Pg {
    /// Adds pg-input to the graph.
    pub fn new(engine: &mut Engine) -> Result<Pg, PgError> {
        let clock = engine.clock;
        let ids =
            engine.add_nodes("weft", vec![NodeDef::new(&PG_INPUT, |_| Box::new(PgInput::new(clock)))])?;
        Ok(Pg { input: ids[0], streams: BTreeMap::new(), interfaces: BTreeMap::new(), next_id: 0 })
    }

    /// The node pg-input.
    pub fn input(&self) -> NodeId {
        self.input
    }

    /// Makes the output node of an interface, `pgN-tx`. The same again changes nothing.
    pub fn create_interface(
        &mut self,
        engine: &mut Engine,
        id: PgId,
        index: InterfaceIndex,
        mode: Mode,
    ) -> Result<NodeId, PgError> {
        if let Some(known) = self.interfaces.get(&id) {
            let same = known.index == index && known.mode == mode;
            return if same { Ok(known.output) } else { Err(PgError::InterfaceExists(id)) };
        }
        let node = NodeDef::named(&PG_OUTPUT, format!("{id}-tx"), |_| Box::new(PgOutput::new(index)));
        let output = engine.add_nodes("weft", vec![node])?[0];
        self.interfaces.insert(id, Interface { index, mode, output, capture: None });
        Ok(output)
    }

    /// Deletes an interface with its output node, its capture and the streams that it is the source of.
    pub fn delete_interface(&mut self, engine: &mut Engine, id: PgId) -> Result<(), PgError> {
        let interface = self.interfaces.remove(&id).ok_or(PgError::NoSuchPgInterface(id))?;
        let fed = |stream: &StreamEntry| stream.source == Some(id) || stream.entry.node == interface.output;
        for name in self.names(fed) {
            self.delete_stream(engine, &name)?;
        }
        engine.remove_node(interface.output);
        Ok(())
    }

    /// The interface of that number and its output node.
    pub fn interface(&self, id: PgId) -> Option<(InterfaceIndex, NodeId)> {
        self.interfaces.get(&id).map(|interface| (interface.index, interface.output))
    }

    /// All interfaces.
    pub fn interfaces(&self) -> impl Iterator<Item = (PgId, InterfaceIndex)> {
        self.interfaces.iter().map(|(id, interface)| (*id, interface.index))
    }

    /// Adds a stream, stopped; returns its name. `interface` finds an interface by name.
    pub fn new_stream(
        &mut self,
        engine: &Engine,
        spec: StreamSpec,
        interface: impl Fn(&str) -> Option<InterfaceIndex>,
    ) -> Result<String, PgError> {
        let name = spec.name.unwrap_or_else(|| format!("stream{}", self.next_id));
        if self.streams.contains_key(&name) {
            return Err(PgError::StreamExists(name));
        }
        let find = |name: Option<String>| match name {
            None => Ok(InterfaceIndex::NONE),
            Some(name) => interface(&name).ok_or(PgError::NoSuchInterface(name)),
        };
        let (mut rx, mut mode) = (find(spec.interface)?, Mode::default());
        let mut tx = find(spec.tx_interface)?;
        if let Some(id) = spec.source {
            let source = self.interfaces.get(&id).ok_or(PgError::NoSuchPgInterface(id))?;
            (rx, mode) = (source.index, source.mode);
        }
        let by_name =
            |node: &str| engine.graph().id(node).ok_or_else(|| PgError::NoSuchNode(node.to_owned()));
        let (node, first) = match spec.node {
            Some(name) => match interface(&name) {
                Some(index) => {
                    tx = index;
                    (by_name(&format!("{name}-tx"))?, Layer::Ethernet)
                }
                None => (by_name(&name)?, first_header(&name)),
            },
            None if rx == InterfaceIndex::NONE => return Err(PgError::NoDestination),
            None => (by_name(mode.input())?, first_header(mode.input())),
        };
        let mut parameters = spec.parameters;
        let plan = match spec.packets {
            Packets::Data(text) => Plan::Template(text.parse(first)?),
            Packets::Pcap(path) => {
                let packets = PacketList::read(&path)?;
                if packets.is_empty() {
                    return Err(PgError::EmptyPcap(path));
                }
                let once = std::num::NonZeroU64::new(packets.len() as u64);
                parameters.limit = Some(parameters.limit.flatten().or(once));
                Plan::Replay(Arc::new(packets))
            }
        };
        plan.sizes(&parameters)?;
        let workers = engine.threads().count();
        // Packets for another node have left the device behind them.
        let features = if by_name(Mode::Ethernet.input()).is_ok_and(|input| input == node) {
            engine.features().arc("device-input").ok()
        } else {
            None
        };
        let entry = StreamEntry {
            id: StreamId(self.next_id),
            parameters,
            plan,
            entry: Entry { node, rx, tx, without_link: first != Layer::Ethernet, features },
            source: spec.source,
            worker: if spec.worker < workers { spec.worker } else { 0 },
            max_frame: spec.max_frame,
            progress: Progress::new(),
            state: State::Stopped,
        };
        self.next_id += 1;
        self.streams.insert(name.clone(), entry);
        Ok(name)
    }

    /// Starts a stream from its beginning; without a name, all of them. One that runs already runs on.
    pub fn enable(&mut self, engine: &mut Engine, name: Option<&str>) -> Result<(), PgError> {
        let input = self.input;
        for stream in self.named(name)? {
            if !matches!(stream.state, State::Running) {
                stream.start(engine, input)?;
            }
        }
        Ok(())
    }

    /// Stops a stream; without a name, all of them.
    pub fn disable(&mut self, engine: &mut Engine, name: Option<&str>) -> Result<(), PgError> {
        let input = self.input;
        for stream in self.named(name)? {
            stream.stop(engine, input);
        }
        Ok(())
    }

    /// Stops and forgets a stream.
    pub fn delete_stream(&mut self, engine: &mut Engine, name: &str) -> Result<(), PgError> {
        self.disable(engine, Some(name))?;
        self.streams.remove(name);
        Ok(())
    }

    /// Changes parameters of a stream; if it runs, it begins anew.
    pub fn configure(&mut self, engine: &mut Engine, name: &str, changes: Parameters) -> Result<(), PgError> {
        let input = self.input;
        for stream in self.named(Some(name))? {
            let parameters = stream.parameters.clone().with(changes.clone());
            stream.plan.sizes(&parameters)?;
            stream.parameters = parameters;
            if matches!(stream.state, State::Running) {
                stream.stop(engine, input);
                stream.start(engine, input)?;
            }
        }
        Ok(())
    }

    /// Captures what is sent to an interface into a new file, at most `count` packets of it. Ends the capture
    /// that the interface has.
    pub fn capture(
        &mut self,
        engine: &mut Engine,
        id: PgId,
        path: &Path,
        count: Option<u64>,
    ) -> Result<(), PgError> {
        self.end_capture(engine, id)?;
        let interface = self.interfaces.get_mut(&id).ok_or(PgError::NoSuchPgInterface(id))?;
        let (threads, link) = (engine.threads(), interface.mode.link());
        let count = count.unwrap_or(u64::MAX);
        let (capture, taps) =
            Capture::new(path, id.to_string(), link, count, threads.size_hint().0, engine.clock)?;
        interface.capture = Some(capture);
        for (thread, tap) in threads.zip(taps) {
            set_tap(engine, thread, interface.output, Some(tap));
        }
        Ok(())
    }

    /// Ends the capture of an interface, if it has one, and closes its file.
    pub fn end_capture(&mut self, engine: &mut Engine, id: PgId) -> Result<(), PgError> {
        let interface = self.interfaces.get_mut(&id).ok_or(PgError::NoSuchPgInterface(id))?;
        if let Some(mut capture) = interface.capture.take() {
            remove_taps(engine, interface.output);
            capture.drain()?;
        }
        Ok(())
    }

    /// The capture of an interface.
    pub fn capture_status(&self, id: PgId) -> Option<CaptureStatus> {
        self.interfaces.get(&id)?.capture.as_ref().map(Capture::status)
    }

    /// Writes what was captured and notices which streams have ended. The main loop calls it often while it
    /// returns true (some stream is at work or some capture open), and before [`Pg::streams`].
    pub fn poll(&mut self, engine: &mut Engine) -> bool {
        for stream in self.streams.values_mut() {
            if matches!(stream.state, State::Running) && !stream.progress.is_running() {
                stream.state = State::Settling(settle(engine));
            }
        }
        // Looked at before the captures are written: then these hold all that such a stream sent.
        let settled = |stream: &StreamEntry| matches!(&stream.state, State::Settling(done) if done.get());
        let settled = self.names(settled);
        let mut ended = Vec::new();
        for (id, interface) in &mut self.interfaces {
            let Some(capture) = &mut interface.capture else {
                continue;
            };
            let written = capture.drain();
            if let Err(error) = &written {
                tracing::error!("capture of {id} ends: {error}");
            }
            if written.is_err() || capture.is_complete() {
                interface.capture = None;
                ended.push(interface.output);
            }
        }
        for output in ended {
            remove_taps(engine, output);
        }
        for name in settled {
            if let Some(stream) = self.streams.get_mut(&name) {
                stream.state = State::Stopped;
            }
        }
        self.streams.values().any(|stream| !matches!(stream.state, State::Stopped))
            || self.interfaces.values().any(|interface| interface.capture.is_some())
    }

    /// The streams, by name.
    pub fn streams(&self) -> impl Iterator<Item = StreamStatus> {
        self.streams.iter().map(|(name, stream)| stream.status(name))
    }

    fn names(&self, which: impl Fn(&StreamEntry) -> bool) -> Vec<String> {
        self.streams.iter().filter(|(_, stream)| which(stream)).map(|(name, _)| name.clone()).collect()
    }

    /// The stream of that name, or all.
    fn named(&mut self, name: Option<&str>) -> Result<Vec<&mut StreamEntry>, PgError> {
        let Some(name) = name else {
            return Ok(self.streams.values_mut().collect());
        };
        if !self.streams.contains_key(name) {
            return Err(PgError::NoSuchStream { found: name.to_owned(), known: self.names(|_| true) });
        }
        Ok(self.streams.get_mut(name).into_iter().collect())
    }
}

impl Plan {
    fn sizes(&self, parameters: &Parameters) -> Result<Sizes, StreamError> {
        match self {
            Plan::Template(description) => parameters.sizes(description.bytes.len()),
            Plan::Replay(packets) => Ok(Sizes {
                min: packets.iter().map(<[u8]>::len).min().unwrap_or(0),
                max: packets.iter().map(<[u8]>::len).max().unwrap_or(0),
                random: false,
            }),
        }
    }
}

impl StreamEntry {
    fn limit(&self) -> Option<u64> {
        self.parameters.limit.flatten().map(Into::into)
    }

    fn rate(&self) -> Option<PacketsPerSecond> {
        self.parameters.rate.flatten()
    }

    fn start(&mut self, engine: &mut Engine, input: NodeId) -> Result<(), PgError> {
        let sizes = self.plan.sizes(&self.parameters)?;
        let source = match &self.plan {
            Plan::Template(description) => Source::Template(Template::new(description, sizes)),
            Plan::Replay(packets) => Source::Replay { packets: Arc::clone(packets), next: 0 },
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
        Ok(())
    }

    /// The worker says when it has stopped ([`Progress`]).
    fn stop(&self, engine: &mut Engine, input: NodeId) {
        let id = self.id;
        if matches!(self.state, State::Running) {
            self.post(engine, input, move |node| node.stop(id));
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

    fn status(&self, name: &str) -> StreamStatus {
        let none = Sizes { min: 0, max: 0, random: false };
        let size = self.plan.sizes(&self.parameters).unwrap_or(none);
        StreamStatus {
            name: name.to_owned(),
            enabled: !matches!(self.state, State::Stopped),
            generated: self.progress.generated(),
            limit: self.limit().unwrap_or(0),
            rate: self.rate().map_or(0.0, |rate| rate.0),
            size,
            buffer_size: self.parameters.buffer_size.unwrap_or(size.max),
            worker: self.worker,
        }
    }
}

fn set_tap(engine: &mut Engine, thread: ThreadIndex, output: NodeId, tap: Option<Tap>) {
    engine.post(thread, move |worker| {
        if let Some(node) = worker.node_mut::<PgOutput>(output) {
            node.set_tap(tap);
        }
    });
}

fn remove_taps(engine: &mut Engine, output: NodeId) {
    for thread in engine.threads() {
        set_tap(engine, thread, output, None);
    }
}

/// Becomes true when every worker has passed the graph twice from now on: once for the packets that it has, and once
/// for those that another worker hands to it meanwhile.
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
