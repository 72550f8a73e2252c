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
mod control;
pub mod device;
mod edit;
mod error;
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

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;

use weft_background::Rights;
use weft_engine::engine::Engine;
use weft_engine::graph::NodeDef;
use weft_engine::ids::{InterfaceIndex, NodeId, ThreadIndex};
use weft_engine::node::Kind;

use capture::Capture;
pub use capture::CaptureStatus;
pub use control::StreamStatus;
use control::{Plan, StreamEntry};
pub use error::PgError;
use header::Layer;
use input::{PG_INPUT, PgInput};
use output::{PG_OUTPUT, PgOutput, Tap};
use parse::Packets;
pub use parse::{PacketsPerSecond, Parameters, PgId, StreamError, StreamSpec};
use stream::{Entry, StreamId};
pub use template::Sizes;

use crate::pcap::{LinkType, PacketList};

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

/// A node that packets may be given to. An input node brings packets in and takes none: it would keep the buffers for good.
fn entry(engine: &Engine, node: NodeId, name: &str) -> Result<NodeId, PgError> {
    match engine.graph().node(node) {
        Some(info) if info.spec.kind == Kind::Input => Err(PgError::NoEntry(name.to_owned())),
        _ => Ok(node),
    }
}

struct Interface {
    index: InterfaceIndex,
    mode: Mode,
    output: NodeId,
    capture: Option<Capture>,
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
        let has_stations = mode == Mode::Ethernet;
        let node =
            NodeDef::named(&PG_OUTPUT, format!("{id}-tx"), |_| Box::new(PgOutput::new(index, has_stations)));
        let output = engine.add_nodes("weft", vec![node])?[0];
        self.interfaces.insert(id, Interface { index, mode, output, capture: None });
        Ok(output)
    }

    /// An interface is about to be deleted, of whatever kind: its index will be another's. Streams whose packets arrive or
    /// leave there are deleted; if it is one of the packet generator, so are its output node and its capture. Returns the
    /// names of the streams.
    pub fn interface_leaves(&mut self, engine: &mut Engine, index: InterfaceIndex) -> Vec<String> {
        let mut output = None;
        let own = self.interfaces().find(|(_, its)| *its == index);
        if let Some((id, _)) = own {
            if let Err(error) = self.end_capture(engine, id) {
                tracing::error!("capture of {id} ends: {error}");
            }
            output = self.interfaces.remove(&id).map(|interface| interface.output);
        }
        let names = |stream: &StreamEntry| {
            stream.entry.rx == index || stream.entry.tx == index || Some(stream.entry.node) == output
        };
        let streams = self.names(names);
        for name in &streams {
            if let Some(mut stream) = self.streams.remove(name) {
                stream.stop(engine, self.input);
            }
        }
        if let Some(output) = output {
            engine.remove_node(output);
        }
        streams
    }

    /// The interface of that number and its output node.
    pub fn interface(&self, id: PgId) -> Option<(InterfaceIndex, NodeId)> {
        self.interfaces.get(&id).map(|interface| (interface.index, interface.output))
    }

    /// All interfaces.
    pub fn interfaces(&self) -> impl Iterator<Item = (PgId, InterfaceIndex)> {
        self.interfaces.iter().map(|(id, interface)| (*id, interface.index))
    }

    /// Adds a stream, stopped, in the place of one of the same name; returns its name. `interface` finds an interface by name. `recorded` are the packets of the file
    /// that the stream names ([`StreamSpec::pcap`]), if it names one.
    pub fn new_stream(
        &mut self,
        engine: &mut Engine,
        spec: StreamSpec,
        recorded: Option<PacketList>,
        interface: impl Fn(&str) -> Option<InterfaceIndex>,
    ) -> Result<String, PgError> {
        let name = spec.name.unwrap_or_else(|| format!("stream{}", self.next_id));
        let find = |name: Option<String>| match name {
            None => Ok(InterfaceIndex::NONE),
            Some(name) => interface(&name).ok_or(PgError::NoSuchInterface(name)),
        };
        let (mut rx, mut mode) = (find(spec.interface)?, Mode::default());
        let workers = engine.threads().count();
        if spec.worker >= workers {
            return Err(PgError::NoSuchWorker { found: spec.worker, workers });
        }
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
                    let of_pg = self.interfaces.values().find(|interface| interface.index == index);
                    let mode = of_pg.map_or(Mode::Ethernet, |interface| interface.mode);
                    (by_name(&format!("{name}-tx"))?, first_header(mode.input()))
                }
                None => (entry(engine, by_name(&name)?, &name)?, first_header(&name)),
            },
            None if rx == InterfaceIndex::NONE => return Err(PgError::NoDestination),
            None => (by_name(mode.input())?, first_header(mode.input())),
        };
        let mut parameters = spec.parameters;
        let plan = match spec.packets {
            Packets::Data(text) => Plan::Template(text.parse(first)?),
            Packets::Pcap(path) => {
                let Some(packets) = recorded.filter(|packets| !packets.is_empty()) else {
                    return Err(PgError::EmptyPcap(path));
                };
                let once = NonZeroU64::new(packets.len() as u64);
                parameters.limit = Some(parameters.limit.flatten().or(once));
                Plan::replay(packets)
            }
        };
        // Packets for another node have left the device behind them.
        let features = if by_name(Mode::Ethernet.input()).is_ok_and(|input| input == node) {
            engine.features().arc(crate::DEVICE_INPUT_ARC.name).ok()
        } else {
            None
        };
        let entry = Entry { node, rx, tx, without_link: first != Layer::Ethernet, features };
        let mut stream = StreamEntry::new(StreamId(self.next_id), parameters, plan, entry)?;
        stream.source = spec.source;
        stream.worker = spec.worker;
        stream.max_frame = spec.max_frame;
        self.next_id += 1;
        if let Some(mut replaced) = self.streams.insert(name.clone(), stream) {
            replaced.stop(engine, self.input);
        }
        Ok(name)
    }

    /// Starts a stream from its beginning; without a name, all of them. One that runs already runs on.
    pub fn enable(&mut self, engine: &mut Engine, name: Option<&str>) -> Result<(), PgError> {
        let input = self.input;
        for stream in self.named(name)? {
            if !stream.is_running() {
                stream.start(engine, input);
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
            stream.configure(changes.clone())?;
            if stream.is_running() {
                stream.stop(engine, input);
                stream.start(engine, input);
            }
        }
        Ok(())
    }

    /// As [`Pg::capture_as`], with the daemon's rights.
    pub fn capture(
        &mut self,
        engine: &mut Engine,
        id: PgId,
        path: &Path,
        count: Option<u64>,
    ) -> Result<(), PgError> {
        self.capture_as(engine, id, (path, &Rights::Daemon), count)
    }

    /// Captures what is sent to an interface into a new file, which is made with the rights of whoever asks, at most `count`
    /// packets of it. Ends the capture that the interface has.
    pub fn capture_as(
        &mut self,
        engine: &mut Engine,
        id: PgId,
        file: (&Path, &Rights),
        count: Option<u64>,
    ) -> Result<(), PgError> {
        self.end_capture(engine, id)?;
        let interface = self.interfaces.get_mut(&id).ok_or(PgError::NoSuchPgInterface(id))?;
        let (link, workers) = (interface.mode.link(), engine.threads().count());
        let count = count.unwrap_or(u64::MAX);
        let (capture, taps) = Capture::new(file, id.to_string(), link, count, workers, engine.clock)?;
        interface.capture = Some(capture);
        for (thread, tap) in engine.threads().zip(taps) {
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
        // Looked at before the captures are written: then these hold all that such a stream sent.
        let mut settled: Vec<_> = self
            .streams
            .values_mut()
            .filter_map(|stream| stream.has_settled(engine).then_some(stream))
            .collect();
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
        settled.iter_mut().for_each(|stream| stream.set_stopped());
        self.streams.values().any(|stream| !stream.is_stopped())
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
