// SPDX-License-Identifier: Apache-2.0
//! An engine with an arc and two ends, turned by hand. Packets are numbered by their first byte.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};
use weft_engine::buffer::BufferConfig;
use weft_engine::feature::{ArcEnd, ArcKey, ArcSpec};
use weft_engine::frame::Frame;
use weft_engine::graph::{NodeDef, Registration, Wiring};
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, Role};
use weft_engine::registry::{Numbers, RegistrySpec};
use weft_engine::wait::Waker;
use weft_engine::{ArcId, Context, Engine, EngineConfig, InterfaceIndex, NodeId, Worker};
use weft_plugin_host::plugin::{Answer, Host, Plugin};
use weft_plugin_host::{Library, PluginError, World};

weft_engine::edges! { enum Next { Last => "last" } }
static FIRST: NodeSpec = NodeSpec::internal("first").next(Next::NAMES);
static LAST: NodeSpec = NodeSpec::internal("last").role(Role::Output);
static OTHER: NodeSpec = NodeSpec::internal("other").role(Role::Output);
const RX: InterfaceIndex = InterfaceIndex(0);
const MOST: usize = 1024;

struct First {
    arc: ArcId,
    next: Nexts<Next>,
}

impl Node for First {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let (arcs, arc, last) = (cx.arcs(), self.arc, self.next.to(Next::Last));
        cx.each(frame, |packet| arcs.start(arc, RX, packet).unwrap_or(last));
    }
}

/// Tells the numbers of the packets that come, and frees them.
struct End(Producer<u8>);

impl Node for End {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        for &index in frame.packets() {
            let number = cx.buffers.packet(index).data()[0];
            self.0.push(number).expect("a test sends less than the ring holds");
            cx.buffers.free_one(index);
        }
    }
}

/// The engine alone.
struct Bare<'a>(&'a mut Engine);

impl World for Bare<'_> {
    fn engine(&mut self) -> &mut Engine {
        self.0
    }

    fn interface(&self, _: &str) -> Option<InterfaceIndex> {
        None
    }

    fn interface_name(&self, _: InterfaceIndex) -> Option<String> {
        None
    }

    fn next_interface(&self, _: InterfaceIndex) -> Option<InterfaceIndex> {
        None
    }

    fn set_feature(&mut self, _: &str, _: &str, _: &str, _: InterfaceIndex, _: bool) -> Result<(), String> {
        Err("there is no interface".to_owned())
    }

    fn send_event(&mut self, _: u64, _: &str, _: &[u8]) -> Result<(), String> {
        Err("there is no client".to_owned())
    }
}

pub struct Bed {
    pub engine: Engine,
    workers: Vec<Worker>,
    host: Host,
    first: NodeId,
    last: Vec<Consumer<u8>>,
    other: Vec<Consumer<u8>>,
}

impl Bed {
    pub fn new(workers: usize) -> Bed {
        Bed::with_rings(workers, EngineConfig::default().handoff)
    }

    /// With this many places from each worker to each other.
    pub fn with_rings(workers: usize, handoff: usize) -> Bed {
        let config = EngineConfig {
            handoff,
            workers: vec![0; workers],
            buffers: BufferConfig { pools: vec![(0, 1024)], ..BufferConfig::default() },
            stats_size: 1 << 20,
            ..EngineConfig::default()
        };
        let (mut engine, workers) = Engine::new(&config).expect("an engine");
        let spec = ArcSpec { name: "test", key: ArcKey::RxInterface, end: ArcEnd::Node(LAST.name) };
        let arc = engine.add_arc("test", &spec).expect("an arc");
        let registries = [("type", Numbers::Hex), ("reason", Numbers::Reasons)];
        let registries = registries.map(|(name, numbers)| RegistrySpec { name, numbers }).into();
        engine.register("test", Registration { registries, ..Registration::default() }).expect("registries");
        let (mut last, mut other) = (Vec::new(), Vec::new());
        let ids = engine.add_nodes(
            "test",
            vec![
                NodeDef::new(&LAST, |_: &Wiring<'_>| end(&mut last)),
                NodeDef::new(&OTHER, |_: &Wiring<'_>| end(&mut other)),
                NodeDef::new(&FIRST, |w| Box::new(First { arc, next: w.nexts() })),
            ],
        );
        let first = ids.expect("the nodes are good")[2];
        let host = Host::default();
        Bed { engine, workers, host, first, last, other }
    }

    pub fn start(&mut self, path: &Path) -> Plugin {
        self.try_start(path).expect("it starts")
    }

    pub fn try_start(&mut self, path: &Path) -> Result<Plugin, PluginError> {
        let library = Library::open(path).expect("a good library");
        Plugin::start(library, &mut Bare(&mut self.engine), "", Waker::new().expect("an eventfd"))
    }

    pub fn load(&mut self, path: &Path) -> Plugin {
        self.try_load(path).expect("room in the graph")
    }

    pub fn try_load(&mut self, path: &Path) -> Result<Plugin, PluginError> {
        let mut plugin = self.start(path);
        plugin.make_counters(&mut self.engine, None).expect("room for counters");
        let host = &mut self.host;
        self.engine.at_once(|engine| plugin.install(host, engine))?;
        Ok(plugin)
    }

    pub fn enable(&mut self, node: &str) {
        self.enable_on("test", node);
    }

    pub fn enable_on(&mut self, arc: &str, node: &str) {
        let arc = self.engine.features().arc(arc).expect("the arc is there");
        self.engine.set_feature(arc, RX, node, true).expect("the feature is there");
    }

    pub fn replace(&mut self, old: &mut Plugin, new: &mut Plugin) {
        let host = &mut self.host;
        new.make_counters(&mut self.engine, Some(old)).expect("room for counters");
        self.engine.at_once(|engine| {
            let enabled = old.leave(engine);
            new.install(host, engine).expect("room in the graph");
            new.enable(engine, enabled);
        });
        old.remove_counters(&mut self.engine, Some(new));
    }

    pub fn unload(&mut self, mut plugin: Plugin) {
        self.engine.at_once(|engine| plugin.leave(engine));
        plugin.remove_counters(&mut self.engine, None);
        self.end(plugin);
    }

    /// Ends a plugin that is out of the graph; the workers need not see a packet for that.
    pub fn end(&mut self, plugin: Plugin) {
        assert!(!plugin.is_idle(), "the workers have not heard of it yet");
        self.rest();
        assert!(plugin.is_idle(), "nobody holds anything of it");
    }

    /// Each worker gets packets of these numbers.
    pub fn send(&mut self, numbers: Range<u8>) {
        self.send_on(RX.0, numbers);
    }

    /// The same, from an interface.
    pub fn send_on(&mut self, rx: u32, numbers: Range<u8>) {
        let before = self.free();
        let first = self.first;
        for worker in &mut self.workers {
            worker.turn();
            for number in numbers.clone() {
                assert!(
                    worker.inject(first, &[number; 60], |meta| meta.rx_interface = InterfaceIndex(rx)),
                    "there are buffers"
                );
            }
            worker.turn();
        }
        assert_eq!(self.free(), before, "every buffer is back");
    }

    /// Buffers that hold no packet.
    pub fn free(&self) -> usize {
        let cached: usize = self.workers.iter().map(|worker| worker.buffers.cached()).sum();
        cached + self.engine.buffers.levels()[0].available
    }

    /// One worker gets packets of these numbers.
    pub fn send_to(&mut self, worker: usize, numbers: &[u8]) {
        let (worker, first) = (&mut self.workers[worker], self.first);
        worker.turn();
        for &number in numbers {
            assert!(worker.inject(first, &[number; 60], |meta| meta.rx_interface = RX), "there are buffers");
        }
        worker.turn();
    }

    /// What has come to the end of the arc on a worker.
    pub fn last_of(&mut self, worker: usize) -> Vec<u8> {
        told(&mut self.last[worker..=worker])
    }

    /// What a command of a plugin says to nothing.
    pub fn answer(&mut self, plugin: &Plugin, path: &str) -> String {
        match plugin.run(&mut Bare(&mut self.engine), path, "").expect("it answers") {
            Answer::Now { text, .. } => text,
            Answer::Later { .. } => panic!("'{path}' answers at once"),
        }
    }

    /// All that is registered with the engine, by whom.
    pub fn registered(&self) -> BTreeSet<String> {
        let (graph, arcs) = (self.engine.graph(), self.engine.features());
        let nodes = graph.nodes().map(|(_, node)| format!("node {} of {}", node.name, node.owner));
        let reasons = graph.reasons().filter_map(|(id, reason, node)| Some((id, reason, node?)));
        let reasons = reasons.map(|(_, reason, node)| format!("reason {node}/{}", reason.spec.name));
        let features = arcs.list().flat_map(|arc| {
            arc.features().map(move |it| format!("feature {} of {} on {}", it.node, it.owner, arc.name))
        });
        let entries = self.engine.registries().list();
        let entries = entries.map(|it| format!("{} {} by {} of {}", it.registry, it.key, it.node, it.owner));
        let arcs = arcs.list().map(|arc| format!("arc {}", arc.name));
        nodes.chain(reasons).chain(features).chain(entries).chain(arcs).collect()
    }

    /// Traces packets that leave the first node.
    pub fn trace_first(&mut self, count: u32) {
        self.trace_node(self.first, count);
    }

    /// The same of another node.
    pub fn trace_node(&mut self, node: NodeId, count: u32) {
        self.workers[0].trace(node, count);
    }

    /// Between which nodes packets went that were traced.
    pub fn traced(&self) -> impl Iterator<Item = (NodeId, Option<NodeId>)> {
        self.workers[0].trace_records().iter().map(|record| (record.node, record.next))
    }

    /// Has the workers take note, and forget what is gone.
    pub fn rest(&mut self) {
        for _ in 0..8 {
            for worker in &mut self.workers {
                worker.turn();
            }
            self.engine.reclaim();
            self.host.retire();
        }
    }

    pub fn last(&mut self) -> Vec<u8> {
        told(&mut self.last[..1])
    }

    pub fn other(&mut self) -> Vec<u8> {
        told(&mut self.other[..1])
    }

    /// What a node has counted for a reason.
    pub fn count(&self, node: &str, reason: &str) -> u64 {
        let graph = self.engine.graph();
        let info = graph.id(node).and_then(|id| graph.node(id)).expect("the node is there");
        let id = info.reason_ids().find(|(_, spec)| spec.name == reason).expect("it has the reason").0;
        self.engine.counters.reasons.sum(id.index())
    }
}

fn end(ends: &mut Vec<Consumer<u8>>) -> Box<dyn Node> {
    let (producer, consumer) = RingBuffer::new(MOST);
    ends.push(consumer);
    Box::new(End(producer))
}

fn told(rings: &mut [Consumer<u8>]) -> Vec<u8> {
    rings.iter_mut().flat_map(|ring| std::iter::from_fn(|| ring.pop().ok())).collect()
}

/// Compiles a plugin into a folder of its own.
pub fn compile(name: &str, source: &str) -> PathBuf {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let number = SERIAL.fetch_add(1, Ordering::Relaxed);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let (file, library) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
    std::fs::write(&file, source).expect("it can be written");
    let headers = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/include");
    let done = Command::new("cc")
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-g",
            "-O1",
            "-shared",
            "-fPIC",
            "-fvisibility=hidden",
            "-I",
        ])
        .arg(headers)
        .arg("-o")
        .args([&library, &file])
        .status();
    assert!(done.expect("a C compiler is there").success(), "{name} compiles");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&library, mode).expect("it is ours");
    library
}
