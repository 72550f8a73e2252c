// SPDX-License-Identifier: Apache-2.0
//! The in-memory router that is measured: a source, the built-in IPv4 nodes with real tables, and a sink.

use std::collections::{HashSet, VecDeque};
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;
use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Edges, Nexts, Node, NodeSpec, Role};
use weft_engine::wait::Waker;
use weft_engine::{BufferIndex, Context, Engine, EngineConfig, InterfaceIndex, NodeId, Worker};
use weft_nodes::fib::Ip6;
use weft_nodes::graph::{Settings, Tables, add_nodes};
use weft_nodes::headers::{MacAddr, build};
use weft_nodes::interface::{Interfaces, Kind};
use weft_nodes::ip4::{Action, Change, Ip4, Owner, PathTarget, Preference, RoutePath, TableIndex};
use weft_nodes::router::{Router, RouterSettings};

use crate::random::Random;

/// The nodes whose clocks are the cost of forwarding.
pub const NODES: [&str; 4] = ["ethernet-input", "ip4-input", "ip4-lookup", "ip4-rewrite"];

weft_engine::edges! { enum Next { Ethernet => "ethernet-input" } }
static SOURCE: NodeSpec = NodeSpec::input("source").next(Next::NAMES);
static SINK: NodeSpec = NodeSpec::internal("sink").role(Role::Output);

const RX: InterfaceIndex = InterfaceIndex(0);
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
/// Load-balances of the largest case.
const LOAD_BALANCES: usize = 4096;

/// A 64-byte frame on the wire: 60 bytes without its check sequence.
pub const FRAME_BYTES: usize = 60;

/// What is routed.
#[derive(Clone, Copy)]
pub struct Case {
    /// For the report.
    pub name: &'static str,
    /// Routes; 1, or random ones from /8 to /24 over 16 next hops.
    pub routes: usize,
    /// Packets per vector.
    pub vector: usize,
    /// Buffers in circulation: a vector's worth stays in the cache, a large ring does not.
    pub buffers: usize,
}

/// Makes packets: one template, destinations in turn.
struct Source {
    next: Nexts<Next>,
    template: Vec<u8>,
    destinations: Vec<u32>,
    position: usize,
    left: usize,
    vector: usize,
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let mut packets = [BufferIndex(0); FRAME_SIZE];
        let mut count = 0;
        cx.buffers.allocate(self.vector.min(self.left), |index| {
            packets[count] = index;
            count += 1;
        });
        for &index in &packets[..count] {
            cx.buffers.receive_frame(index, HEADROOM, FRAME_BYTES, RX, 14);
            let mut packet = cx.buffers.packet(index);
            let destination = self.destinations[self.position];
            self.position = (self.position + 1) % self.destinations.len();
            write(packet.data_mut(), &self.template, destination);
        }
        self.left -= count;
        cx.send(self.next.to(Next::Ethernet), &packets[..count]);
        crate::settle();
    }
}

/// The template with another destination, its header checksum right.
pub fn write(data: &mut [u8], template: &[u8], destination: u32) {
    data.copy_from_slice(template);
    let Ok((ip, _)) =
        <weft_nodes::headers::Ipv4Header as zerocopy::FromBytes>::mut_from_prefix(&mut data[14..])
    else {
        return;
    };
    ip.destination.set(destination);
    ip.fill_checksum();
}

/// Takes packets as a transmit ring of some length does: frees them in order, later.
struct Sink {
    ring: VecDeque<BufferIndex>,
    length: usize,
}

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        self.ring.extend(frame.packets());
        let sent = self.ring.len().saturating_sub(self.length);
        let (front, back) = self.ring.as_slices();
        let first = sent.min(front.len());
        cx.buffers.free(&front[..first]);
        cx.buffers.free(&back[..sent - first]);
        self.ring.drain(..sent);
    }

    fn close(&mut self, buffers: &mut weft_engine::buffer::BufferCache) {
        buffers.free(self.ring.make_contiguous());
        self.ring.clear();
    }
}

/// A router that is driven by hand.
pub struct Chain {
    pub engine: Engine,
    pub worker: Worker,
    pub router: Router,
    pub interfaces: Interfaces,
    pub destinations: Vec<u32>,
    pub template: Vec<u8>,
    pub source: NodeId,
}

impl Chain {
    /// Builds the router of a case.
    pub fn new(case: &Case) -> Result<Chain> {
        let config = EngineConfig {
            buffers: BufferConfig { pools: vec![(0, 32_768)], ..BufferConfig::default() },
            ..EngineConfig::default()
        };
        let (mut engine, mut workers) = Engine::new(&config)?;
        let settings = RouterSettings { load_balances: LOAD_BALANCES, ..RouterSettings::default() };
        let mut router = Router::new(&mut engine, settings)?;
        let mut interfaces = Interfaces::new(&engine, 16);
        let tables = Tables {
            interfaces: interfaces.published(),
            fibs: router.fibs::<Ip4>(),
            fibs6: router.fibs::<Ip6>(),
            load_balances: router.objects().load_balances.reader(),
            adjacencies: router.objects().adjacencies.reader(),
            routes: engine.stats.combined("/net/route/to", LOAD_BALANCES + 1, LOAD_BALANCES + 1)?,
            settings: Settings::default(),
            main: Waker::new()?,
        };
        let nodes = add_nodes(&mut engine, &tables)?;
        nodes.attach(&mut router);

        let mut random = Random::new(1);
        let destinations = match case.routes {
            1 => vec![u32::from(Ipv4Addr::new(10, 1, 1, 1))],
            _ => (0..1 << 20).map(|_| random.unicast()).collect(),
        };
        let template = build::ethernet()
            .macs(PEER, OURS)
            .ipv4([10, 0, 0, 2], [10, 1, 1, 1])
            .udp(1024, 5678)
            .payload(&[0; FRAME_BYTES - 42])
            .build();
        let ids = engine.add_nodes(
            "bench",
            vec![
                NodeDef::new(&SOURCE, |w| {
                    Box::new(Source {
                        next: w.nexts(),
                        template: template.clone(),
                        destinations: destinations.clone(),
                        position: 0,
                        left: 0,
                        vector: case.vector,
                    })
                }),
                NodeDef::new(&SINK, |_| {
                    Box::new(Sink { ring: VecDeque::new(), length: case.buffers.saturating_sub(FRAME_SIZE) })
                }),
            ],
        )?;
        let mut port = RX;
        for (name, address) in [("rx", "10.0.0.1/24"), ("tx", "10.0.1.1/24")] {
            port = interfaces.create(&mut engine, name, Kind::Port, OURS, 1500, ids[1])?;
            interfaces.change(&mut engine, port, |port| (port.admin_up, port.link_up) = (true, true))?;
            router.add_address::<Ip4>(&mut engine, &mut interfaces, port, address.parse()?)?;
        }
        let neighbor = |n: u64| Ipv4Addr::from(0x0a00_0102 + (n % 16) as u32);
        for n in 0..16 {
            router.set_static_neighbor::<Ip4>(&mut engine, &interfaces, port, neighbor(n), PEER)?;
        }
        let prefixes: HashSet<Ipv4Net> = match case.routes {
            1 => HashSet::from(["10.1.0.0/16".parse()?]),
            routes => {
                // The default route catches what the random ones leave out.
                let mut prefixes = HashSet::from(["0.0.0.0/0".parse()?]);
                while prefixes.len() < routes {
                    let length = 8 + (random.next() % 17) as u8;
                    prefixes.insert(Ipv4Net::new(random.unicast().into(), length)?.trunc());
                }
                prefixes
            }
        };
        let changes: Vec<Change> = prefixes
            .into_iter()
            .map(|prefix| {
                let target = PathTarget::Via { address: neighbor(random.next()), interface: Some(port) };
                Change {
                    prefix,
                    owner: Owner::CLI,
                    action: Action::Set(Preference::default(), vec![RoutePath::new(target)]),
                }
            })
            .collect();
        router.apply(&mut engine, &interfaces, TableIndex(0), &changes)?;
        let mut worker = workers.pop().context("an engine has a worker")?;
        worker.turn();
        Ok(Chain { engine, worker, router, interfaces, destinations, template, source: ids[0] })
    }

    /// Forwards `packets`; returns clocks per packet of each of [`NODES`], then of the sink.
    pub fn round(&mut self, packets: usize) -> Vec<f64> {
        let ids: Vec<NodeId> =
            NODES.iter().chain(&["sink"]).filter_map(|name| self.engine.graph().id(name)).collect();
        let clocks = |engine: &Engine| -> Vec<u64> {
            ids.iter().map(|id| engine.counters.clocks.sum(id.index())).collect()
        };
        let before = clocks(&self.engine);
        Chain::forward(&mut self.worker, self.source, packets);
        let after = clocks(&self.engine);
        after.iter().zip(before).map(|(after, before)| (after - before) as f64 / packets as f64).collect()
    }

    /// Has a worker forward `packets`.
    pub fn forward(worker: &mut Worker, source: NodeId, packets: usize) {
        if let Some(source) = worker.node_mut::<Source>(source) {
            source.left = packets;
        }
        while worker.turn() > 0 {}
    }

    /// Packets that were dropped, which would make the figures worthless.
    pub fn drops(&self) -> u64 {
        self.engine.counters.interfaces.drops.sum(RX.index())
    }
}
