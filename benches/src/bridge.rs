// SPDX-License-Identifier: Apache-2.0
//! What switching costs in the graph, in clocks per frame: two ports of a bridge domain, all stations known, from one to the other.
//! Beside it what finding one key in the table of stations costs, and the same frames through a cross-connection.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::clock::Tsc;
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, Role};
use weft_engine::wait::Waker;
use weft_engine::{BufferIndex, Context, Engine, EngineConfig, InterfaceIndex, NodeId, Worker};
use weft_l2::{Config, Domain, Facts, Mode, Role as PortRole, Settings, StaticChanges, Switch};
use weft_nodes::fib::Ip6;
use weft_nodes::graph::{self, FlowLabels, HeaderLimit, Tables, add_nodes};
use weft_nodes::headers::{EtherType, EthernetHeader, MacAddr};
use weft_nodes::interface::{Interfaces, Kind};
use weft_nodes::ip4::Ip4;
use weft_nodes::router::{Router, RouterSettings};
use weft_table::{Found, Writer};
use zerocopy::IntoBytes;

use crate::chain::FRAME_BYTES;
use crate::random::Random;
use crate::report::Rounds;

/// Options of `bridge`.
#[derive(Args)]
pub struct Options {
    /// Rounds of each case
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Frames per round
    #[arg(long, default_value_t = 2_000_000)]
    packets: usize,
    /// Core to run on
    #[arg(long, default_value_t = 1)]
    core: usize,
}

/// Stations behind each of the two ports, in all.
const STATIONS: [usize; 4] = [2, 1_000, 100_000, 1_000_000];
const NODES: [&str; 3] = ["ethernet-input", "l2-input", "sink"];
const DOMAIN: u32 = 1;

weft_engine::edges! { enum Next { Ethernet => "ethernet-input" } }
static SOURCE: NodeSpec = NodeSpec::input("source").next(Next::NAMES);
static SINK: NodeSpec = NodeSpec::internal("sink").role(Role::Output);

fn station(number: u64) -> MacAddr {
    let [.., a, b, c, d] = number.to_be_bytes();
    MacAddr([2, 0, a, b, c, d])
}

/// Frames from stations with even numbers, behind the first port, to ones with odd numbers, behind the second; or the other way.
struct Source {
    next: Nexts<Next>,
    port: InterfaceIndex,
    /// Of the pairs, in no order: source and destination.
    pairs: Vec<(MacAddr, MacAddr)>,
    position: usize,
    left: usize,
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let mut packets = [BufferIndex(0); FRAME_SIZE];
        let mut count = 0;
        cx.buffers.allocate(FRAME_SIZE.min(self.left), |index| {
            packets[count] = index;
            count += 1;
        });
        for &index in &packets[..count] {
            cx.buffers.receive_frame(index, HEADROOM, FRAME_BYTES, self.port, 14);
            let (from, to) = self.pairs[self.position];
            self.position = (self.position + 1) % self.pairs.len();
            let header = EthernetHeader::new(to, from, EtherType::IPV4);
            cx.buffers.packet(index).data_mut()[..14].copy_from_slice(header.as_bytes());
        }
        self.left -= count;
        cx.send(self.next.to(Next::Ethernet), &packets[..count]);
        crate::settle();
    }
}

struct Sink;

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        cx.buffers.free(frame.packets());
    }
}

struct Bridge {
    engine: Engine,
    worker: Worker,
    source: NodeId,
}

impl Bridge {
    fn new(stations: usize, crossed: bool) -> Result<Bridge> {
        let config = EngineConfig {
            buffers: BufferConfig { pools: vec![(0, 8192)], ..BufferConfig::default() },
            clock: crate::clock(),
            ..EngineConfig::default()
        };
        let (mut engine, mut workers) = Engine::new(&config)?;
        let worker = workers.pop().context("an engine has a worker")?;
        let router = Router::new(&mut engine, RouterSettings::default())?;
        let mut interfaces = Interfaces::new(&engine, 16);
        let main = Waker::new()?;
        let tables = Tables {
            interfaces: interfaces.published(),
            fibs: router.fibs::<Ip4>(),
            fibs6: router.fibs::<Ip6>(),
            load_balances: router.objects().load_balances.reader(),
            adjacencies: router.objects().adjacencies.reader(),
            routes: engine.stats.combined("/net/route/to", 1 << 16, 1 << 16)?,
            settings: graph::Settings::default(),
            extension_headers: HeaderLimit::default(),
            flow_labels: FlowLabels::default(),
            main: main.clone(),
        };
        add_nodes(&mut engine, &tables)?;
        let settings = Settings { macs: 1 << 20, notices: 1 << 16 };
        let mut switch = Switch::new(&mut engine, &interfaces.published(), settings, &main)?;
        let defs = vec![
            NodeDef::new(&SOURCE, |w| {
                let (next, port) = (w.nexts(), InterfaceIndex::NONE);
                Box::new(Source { next, port, pairs: Vec::new(), position: 0, left: 0 })
            }),
            NodeDef::new(&SINK, |_| Box::new(Sink)),
        ];
        let ids = engine.add_nodes("bench", defs)?;
        let mut ports = Vec::new();
        for (name, last) in [("p0", 1), ("p1", 2)] {
            let mac = MacAddr([2, 1, 0, 0, 0, last]);
            let port = interfaces.create(&mut engine, name, Kind::Port, mac, 1500, ids[1])?;
            interfaces.change(&mut engine, port, |it| (it.admin_up, it.link_up) = (true, true))?;
            ports.push(port);
        }
        let mut config = Config::default();
        config.set_domain(DOMAIN, Domain { age: 0, ..Domain::default() })?;
        for (at, port) in ports.iter().enumerate() {
            let mode = match crossed {
                true => Mode::Crossed(ports[1 - at]),
                false => Mode::Bridged { domain: DOMAIN, role: PortRole::Normal, group: 0 },
            };
            let facts = Facts { name: "", is_loopback: false };
            config.set_mode(*port, facts, mode, |_| String::new())?;
        }
        switch.prepare(&config, &StaticChanges::new())?;
        switch.apply(&mut engine, &interfaces, config, StaticChanges::new());
        for port in &ports {
            let layer2 = switch.layer2(switch.config().ports.get(port));
            interfaces.change(&mut engine, *port, |it| it.layer2 = layer2)?;
        }
        // All stations speak once, those behind the second port first.
        let half = (stations / 2) as u64;
        let mut random = Random::new(7);
        let mut bridge = Bridge { engine, worker, source: ids[0] };
        for (port, first) in [(ports[1], 1), (ports[0], 0)] {
            let mut others: Vec<u64> = (0..half).collect();
            let mut own = others.clone();
            for at in (1..others.len()).rev() {
                others.swap(at, random.below(at as u32 + 1) as usize);
                own.swap(at, random.below(at as u32 + 1) as usize);
            }
            let pairs = own.iter().zip(&others);
            let pairs = pairs.map(|(own, other)| (station(own * 2 + first), station(other * 2 + 1 - first)));
            let source = bridge.worker.node_mut::<Source>(ids[0]).context("the source")?;
            (source.port, source.pairs, source.position) = (port, pairs.collect(), 0);
            for _ in 0..half.div_ceil(1 << 15) {
                bridge.forward(half.min(1 << 15) as usize);
                while switch.hear(usize::MAX) > 0 {}
            }
        }
        if !crossed {
            let known = switch.domains().map(|it| it.learned).sum::<usize>();
            ensure!(known == stations, "{known} of {stations} stations are known");
        }
        Ok(bridge)
    }

    fn forward(&mut self, packets: usize) {
        if let Some(source) = self.worker.node_mut::<Source>(self.source) {
            source.left = packets;
        }
        while self.worker.turn() > 0 {}
    }

    /// Clocks per frame of each of [`NODES`].
    fn round(&mut self, packets: usize) -> Vec<f64> {
        let ids: Vec<NodeId> = NODES.iter().filter_map(|name| self.engine.graph().id(name)).collect();
        let clocks = |engine: &Engine| -> Vec<u64> {
            ids.iter().map(|id| engine.counters.clocks.sum(id.index())).collect()
        };
        let before = clocks(&self.engine);
        self.forward(packets);
        let after = clocks(&self.engine);
        after.iter().zip(before).map(|(after, before)| (after - before) as f64 / packets as f64).collect()
    }
}

/// Clocks of finding one key in a table of so many, 256 at a time, all of them there, in no order.
struct Alone {
    table: Writer<1>,
    keys: Vec<[u64; 1]>,
    position: usize,
}

impl Alone {
    fn new(stations: usize) -> Result<Alone> {
        let mut table = Writer::new(1 << 20, 1)?;
        let mut random = Random::new(9);
        let mut keys: Vec<[u64; 1]> = (0..stations as u64).map(|number| [number | 0x02 << 40]).collect();
        for key in &keys {
            table.put(*key, &[1], 0)?;
        }
        for at in (1..keys.len()).rev() {
            keys.swap(at, random.below(at as u32 + 1) as usize);
        }
        while keys.len() < FRAME_SIZE {
            keys.extend_from_within(..);
        }
        Ok(Alone { table, keys, position: 0 })
    }

    fn round(&mut self, packets: usize) -> f64 {
        let reader = self.table.reader();
        let mut found = [Found::NONE; FRAME_SIZE];
        let (mut clocks, mut hits, mut value) = (0, 0, [0]);
        for _ in 0..packets / FRAME_SIZE {
            if self.position + FRAME_SIZE > self.keys.len() {
                self.position = 0;
            }
            let keys = &self.keys[self.position..self.position + FRAME_SIZE];
            self.position += FRAME_SIZE;
            let start = Tsc::now();
            reader.find(keys, &mut found);
            hits += found.iter().filter(|found| reader.read(**found, &mut value)).count();
            clocks += Tsc::now().since(start);
        }
        assert_eq!(hits, packets / FRAME_SIZE * FRAME_SIZE, "all keys are there");
        clocks as f64 / hits as f64
    }
}

/// Runs all cases.
pub fn run(options: &Options) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(options.core).context("--core")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {}", options.core))?;
    println!("clocks per frame (time stamp counter), min / median / max of {} rounds\n", options.rounds);
    for stations in STATIONS {
        let (mut bridge, mut alone) = (Bridge::new(stations, false)?, Alone::new(stations)?);
        let mut cross = Bridge::new(stations, true)?;
        let mut nodes = vec![Rounds::default(); NODES.len()];
        let (mut sums, mut crossed, mut keys) = (Rounds::default(), Rounds::default(), Rounds::default());
        for round in 0..=options.rounds {
            let clocks = bridge.round(options.packets);
            let cross = cross.round(options.packets);
            let key = alone.round(options.packets);
            // The first round fills caches and takes the page faults.
            if round == 0 {
                continue;
            }
            nodes.iter_mut().zip(&clocks).for_each(|(rounds, clocks)| rounds.add(*clocks));
            sums.add(clocks.iter().sum());
            crossed.add(cross.iter().sum());
            keys.add(key);
        }
        let drops = bridge.engine.counters.interfaces.drops.sum(0);
        ensure!(drops == 0, "{drops} frames were dropped");
        println!("== {stations} stations");
        for (name, rounds) in NODES.iter().zip(&nodes) {
            println!("  {name:<16} {}", rounds.spread());
        }
        println!("  {:<16} {}", "sum", sums.spread());
        println!("  {:<16} {}", "cross-connected", crossed.spread());
        println!("  {:<16} {}\n", "one key", keys.spread());
    }
    Ok(())
}
