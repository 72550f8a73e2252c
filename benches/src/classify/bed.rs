// SPDX-License-Identifier: Apache-2.0
//! The classifier node of a family between a source and a sink: packets are written into buffers as ip4-input or ip6-input would
//! leave them, just before the node sees them.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use weft_classify::{Classifier, Direction, Rule, RuleId, RuleSet, RuleSets, Shape};
use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::feature::FeatureSpec;
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, Role};
use weft_engine::wait::Waker;
use weft_engine::{ArcId, BufferIndex, Context, Engine, EngineConfig, InterfaceIndex, NodeId, Worker};
use weft_nodes::arcs::{IP4_UNICAST_ARC, IP6_UNICAST_ARC};
use weft_nodes::fib::Ip6;
use weft_nodes::graph::{FlowLabels, HeaderLimit, Settings, Tables, add_nodes};
use weft_nodes::headers::{IpProtocol, MacAddr, TcpFlags, build};
use weft_nodes::interface::{Interfaces, Kind};
use weft_nodes::ip4::Ip4;
use weft_nodes::router::{Router, RouterSettings};

use super::rules::{Tuple, wide};

const SET: &str = "bench";
const RX: InterfaceIndex = InterfaceIndex(0);
/// Bytes after the IP header; of IPv4, a frame of 64 bytes on the wire.
const PAYLOAD: usize = 26;

static SOURCE: NodeSpec = NodeSpec::input("source");
static SINK: NodeSpec = NodeSpec::internal("sink")
    .role(Role::Output)
    .features(&[FeatureSpec::on("ip4-unicast"), FeatureSpec::on("ip6-unicast")]);

struct Source {
    arc: ArcId,
    packets: Vec<Vec<u8>>,
    position: usize,
    left: usize,
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let mut indices = [BufferIndex(0); FRAME_SIZE];
        let mut count = 0;
        cx.buffers.allocate(self.left.min(FRAME_SIZE), |index| {
            indices[count] = index;
            count += 1;
        });
        let (arcs, mut first) = (cx.arcs(), NodeId::DROP);
        for &index in &indices[..count] {
            let bytes = &self.packets[self.position];
            cx.buffers.receive(index, HEADROOM + 14, bytes.len(), RX);
            let mut packet = cx.buffers.packet(index);
            packet.data_mut().copy_from_slice(bytes);
            self.position = (self.position + 1) % self.packets.len();
            first = arcs.start(self.arc, RX, &mut packet).unwrap_or(NodeId::DROP);
        }
        self.left -= count;
        cx.send(first, &indices[..count]);
        crate::settle();
    }
}

struct Sink;

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        cx.buffers.free(frame.packets());
    }
}

/// The node with its rules.
pub struct Bed {
    engine: Engine,
    worker: Worker,
    sets: RuleSets,
    source: NodeId,
    node: NodeId,
    ip6: bool,
    packets: usize,
    rules: usize,
    /// Time to compile the rules and hand them to the worker.
    pub compile: Duration,
}

impl Bed {
    /// `rules` on the way of `packets`, which are of IPv6 if the rules are.
    pub fn new(rules: &[Rule], packets: &[Tuple], ip6: bool) -> Result<Bed> {
        let config = EngineConfig {
            buffers: BufferConfig { pools: vec![(0, 4096)], ..BufferConfig::default() },
            clock: crate::clock(),
            ..EngineConfig::default()
        };
        let (mut engine, mut workers) = Engine::new(&config)?;
        let router = Router::new(&mut engine, RouterSettings::default())?;
        let mut interfaces = Interfaces::new(&engine, 16);
        let tables = Tables {
            interfaces: interfaces.published(),
            fibs: router.fibs::<Ip4>(),
            fibs6: router.fibs::<Ip6>(),
            load_balances: router.objects().load_balances.reader(),
            adjacencies: router.objects().adjacencies.reader(),
            routes: engine.stats.combined("/net/route/to", 1, 1)?,
            extension_headers: HeaderLimit::default(),
            flow_labels: FlowLabels::default(),
            settings: Settings::default(),
            main: Waker::new()?,
        };
        add_nodes(&mut engine, &tables)?;
        let (spec, node) = match ip6 {
            true => (IP6_UNICAST_ARC, "ip6-classify"),
            false => (IP4_UNICAST_ARC, "ip4-classify"),
        };
        let arc = engine.features().arc(spec.name)?;
        let mut sets = RuleSets::new(&mut engine, &interfaces.published(), 1 << 16)?;
        let bytes: Vec<_> = packets.iter().map(|tuple| bytes(tuple, ip6)).collect();
        let ids = engine.add_nodes(
            "bench",
            vec![
                NodeDef::new(&SOURCE, |_| {
                    Box::new(Source { arc, packets: bytes.clone(), position: 0, left: 0 })
                }),
                NodeDef::new(&SINK, |_| Box::new(Sink)),
            ],
        )?;
        let rx = interfaces.create(&mut engine, "rx", Kind::Port, MacAddr::ZERO, 1500, ids[1])?;
        let rules = RuleSet::of(rules.iter().cloned())?;
        let count = rules.len();
        let start = Instant::now();
        sets.change(&mut engine, &interfaces, SET, |set| {
            *set = rules;
            Ok(())
        })?;
        let compile = start.elapsed();
        sets.attach(&mut engine, &interfaces, SET, rx, Direction::Input)?;
        // The sink instead of ip4-lookup.
        engine.set_feature(arc, rx, SINK.name, true)?;
        let node = engine.graph().id(node).context("the node was added")?;
        let mut worker = workers.pop().context("an engine has a worker")?;
        worker.turn();
        let packets = packets.len();
        Ok(Bed { engine, worker, sets, source: ids[0], node, ip6, packets, rules: count, compile })
    }

    fn pass(&mut self, packets: usize) -> Result<()> {
        let source = self.worker.node_mut::<Source>(self.source).context("the source")?;
        source.left = packets;
        while self.worker.turn() > 0 {}
        Ok(())
    }

    /// All packets once; clocks per packet in the node.
    pub fn round(&mut self) -> Result<f64> {
        let clocks = &self.engine.counters.clocks;
        let before = clocks.sum(self.node.index());
        self.pass(self.packets)?;
        let after = self.engine.counters.clocks.sum(self.node.index());
        Ok((after - before) as f64 / self.packets as f64)
    }

    /// How many of the packets find each rule.
    pub fn hits(&mut self) -> Result<Vec<u64>> {
        self.round()?;
        let view = self.sets.get(SET).context("the set exists")?;
        Ok((0..self.rules as u32).map(|id| view.hits(RuleId(id)).packets).collect())
    }

    /// Rules that are sessions, and bytes of the compiled set.
    pub fn size(&self) -> (usize, usize) {
        self.sets.get(SET).map_or((0, 0), |set| {
            let (sessions, bytes) = set.classifier.sessions();
            (sessions, bytes + self.shape(set.classifier).bytes)
        })
    }

    /// Depths of the trees.
    pub fn depths(&self) -> Vec<u32> {
        self.sets.get(SET).map(|set| self.shape(set.classifier).depths).unwrap_or_default()
    }

    fn shape(&self, classifier: &Classifier) -> Shape {
        if self.ip6 { classifier.shape6() } else { classifier.shape() }
    }
}

fn bytes(tuple: &Tuple, ip6: bool) -> Vec<u8> {
    let ip = match ip6 {
        true => build::ipv6(wide(tuple.source), wide(tuple.destination)),
        false => build::ipv4(Ipv4Addr::from_bits(tuple.source), Ipv4Addr::from_bits(tuple.destination)),
    };
    let payload = [0; PAYLOAD];
    match tuple.protocol {
        IpProtocol::TCP => ip
            .tcp(tuple.source_port, tuple.destination_port, TcpFlags::ACK)
            .payload(&payload[..PAYLOAD - 20])
            .build(),
        IpProtocol::UDP => {
            ip.udp(tuple.source_port, tuple.destination_port).payload(&payload[..PAYLOAD - 8]).build()
        }
        protocol if ip6 => ip.ipv6_with(|ip| ip.next_header = protocol).payload(&payload).build(),
        protocol => ip.ipv4_with(|ip| ip.protocol = protocol).payload(&payload).build(),
    }
}
