// SPDX-License-Identifier: Apache-2.0
//! What a packet costs whose flow a reflexive rule has admitted, in clocks of the time stamp counter: the nodes flow-track,
//! which finds the flow, and ip4-classify, which spares the packet the rules. Flows in random order.

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_classify::{Action, Direction, Exempt, Match, Priority, Rule, RuleId, RuleSet, RuleSets, Verdict};
use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::feature::FeatureSpec;
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, Role};
use weft_engine::wait::Waker;
use weft_engine::{ArcId, BufferIndex, Context, Engine, EngineConfig, InterfaceIndex, NodeId, Worker};
use weft_flow::FlowTracker;
use weft_flow::settings::{Mode, Settings, Timeouts};
use weft_nodes::arcs::IP4_UNICAST_ARC;
use weft_nodes::fib::Ip6;
use weft_nodes::graph::{self, FlowLabels, HeaderLimit, Tables, add_nodes};
use weft_nodes::headers::{IpProtocol, Ipv4Header, MacAddr, TcpFlags, build};
use weft_nodes::interface::{Interfaces, Kind};
use weft_nodes::ip4::Ip4;
use weft_nodes::router::{Router, RouterSettings};

use crate::random::Random;
use crate::report::Rounds;

/// Options of `acl`.
#[derive(Args)]
pub struct Options {
    /// Rounds of each case
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Packets per round
    #[arg(long, default_value_t = 1_000_000)]
    packets: usize,
    /// Flows
    #[arg(long, default_value_t = 100_000)]
    flows: u32,
    /// Core to run on
    #[arg(long, default_value_t = 1)]
    core: usize,
}

static SOURCE: NodeSpec = NodeSpec::input("source");
static SINK: NodeSpec =
    NodeSpec::internal("sink").role(Role::Output).features(&[FeatureSpec::on("ip4-unicast")]);
/// Bytes of an IPv4 packet in a frame of 64 bytes.
const BYTES: usize = 46;
const SET: &str = "bench";
const NEAR: InterfaceIndex = InterfaceIndex(0);
const FAR: InterfaceIndex = InterfaceIndex(1);
/// The flow's packets meet this rule once.
const REFLECT: RuleId = RuleId(1);

/// Brings in packets of the flows in `order`, as behind ip4-input.
struct Source {
    template: Vec<u8>,
    order: Vec<u32>,
    position: usize,
    left: usize,
    answers: bool,
    arc: ArcId,
    sink: NodeId,
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let mut packets = [BufferIndex(0); FRAME_SIZE];
        let mut count = 0;
        cx.buffers.allocate(self.left.min(FRAME_SIZE), |index| {
            packets[count] = index;
            count += 1;
        });
        let from = if self.answers { FAR } else { NEAR };
        for &index in &packets[..count] {
            cx.buffers.receive_frame(index, HEADROOM, BYTES, from, 14);
            write(
                cx.buffers.packet(index).data_mut(),
                &self.template,
                self.order[self.position],
                self.answers,
            );
            self.position = (self.position + 1) % self.order.len();
        }
        self.left -= count;
        cx.send_from_device(self.arc, from, self.sink, &packets[..count]);
        crate::settle();
    }
}

/// 4096 clients of 16 servers.
fn write(data: &mut [u8], template: &[u8], flow: u32, answer: bool) {
    data.copy_from_slice(template);
    let Ok((ip, transport)) = <Ipv4Header as zerocopy::FromBytes>::mut_from_prefix(data) else {
        return;
    };
    let client = (0x0a00_0000 + flow % 4096, (flow >> 16) as u16 + 1024);
    let server = (0x1400_0000 + flow / 4096 % 16, 443);
    let (from, to) = if answer { (server, client) } else { (client, server) };
    ip.source.set(from.0);
    ip.destination.set(to.0);
    transport[..2].copy_from_slice(&from.1.to_be_bytes());
    transport[2..4].copy_from_slice(&to.1.to_be_bytes());
}

struct Sink;

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        cx.buffers.free(frame.packets());
    }
}

/// flow-track and ip4-classify, with a reflexive list for what comes in by [`NEAR`].
struct Bed {
    engine: Engine,
    worker: Worker,
    sets: RuleSets,
    _tracker: FlowTracker,
    source: NodeId,
    nodes: [NodeId; 2],
}

impl Bed {
    fn new(flows: u32, protocol: IpProtocol) -> Result<Bed> {
        let config = EngineConfig {
            buffers: BufferConfig { pools: vec![(0, 4096)], ..BufferConfig::default() },
            clock: crate::clock(),
            ..EngineConfig::default()
        };
        let (mut engine, mut workers) = Engine::new(&config)?;
        let router = Router::new(&mut engine, RouterSettings::default())?;
        let mut interfaces = Interfaces::new(&engine, 16);
        let main = Waker::new()?;
        let tables = Tables {
            interfaces: interfaces.published(),
            fibs: router.fibs::<Ip4>(),
            fibs6: router.fibs::<Ip6>(),
            load_balances: router.objects().load_balances.reader(),
            adjacencies: router.objects().adjacencies.reader(),
            routes: engine.stats.combined("/net/route/to", 1, 1)?,
            settings: graph::Settings::default(),
            extension_headers: HeaderLimit::default(),
            flow_labels: FlowLabels::default(),
            main: main.clone(),
        };
        add_nodes(&mut engine, &tables)?;
        let arc = engine.features().arc(IP4_UNICAST_ARC.name)?;
        let mut sets = RuleSets::new(&mut engine, &interfaces.published(), 64)?;
        let day = std::time::Duration::from_secs(86_400);
        let timeouts = Timeouts { udp_new: day, udp_established: day, tcp_new: day, ..Timeouts::default() };
        let settings = Settings { flows: flows as usize, rate: None, timeouts, ..Settings::default() };
        let table = interfaces.published();
        let mut tracker = FlowTracker::new(&mut engine, settings, &table, 16, &main)?;
        sets.admit_by(&mut engine, tracker.node());
        let sink = engine.add_nodes("bench", vec![NodeDef::new(&SINK, |_| Box::new(Sink))])?[0];
        let ip = build::ipv4([0; 4], [0; 4]);
        let template = match protocol {
            IpProtocol::TCP => ip.tcp(0, 0, TcpFlags::ACK).payload(&[0; BYTES - 40]).build(),
            _ => ip.udp(0, 0).payload(&[0; BYTES - 28]).build(),
        };
        let source = NodeDef::new(&SOURCE, |_| {
            let (template, order) = (template.clone(), vec![0]);
            Box::new(Source { template, order, position: 0, left: 0, answers: false, arc, sink })
        });
        let source = engine.add_nodes("bench", vec![source])?[0];
        for (name, index) in [("near", NEAR), ("far", FAR)] {
            let made = interfaces.create(&mut engine, name, Kind::Port, MacAddr::ZERO, 1500, sink)?;
            ensure!(made == index, "interface {name} is {made}");
            tracker.enable(&mut engine, index, Mode::Admit)?;
        }
        let rule = |id, verdict| Rule {
            id,
            priority: Priority(id.0),
            matches: Match::default(),
            action: Action { admit: verdict == Verdict::Pass, ..Action::only(verdict) },
        };
        let rules = RuleSet::of([rule(REFLECT, Verdict::Pass), rule(RuleId(2), Verdict::Drop)])?;
        sets.change(&mut engine, &interfaces, SET, |set| {
            *set = rules;
            set.exempt = Exempt { admitted: true, own: true };
            Ok(())
        })?;
        sets.attach(&mut engine, &interfaces, SET, NEAR, Direction::Input)?;
        // The sink instead of ip4-lookup.
        for index in [NEAR, FAR] {
            engine.set_feature(arc, index, SINK.name, true)?;
        }
        let ids = ["flow-track", "ip4-classify"].map(|name| engine.graph().id(name));
        let [Some(track), Some(classify)] = ids else {
            anyhow::bail!("the nodes are in the graph");
        };
        let mut worker = workers.pop().context("an engine has a worker")?;
        worker.turn();
        Ok(Bed { engine, worker, sets, _tracker: tracker, source, nodes: [track, classify] })
    }

    /// Sends `packets` in `order` (kept, if `None`); returns clocks per packet of both nodes.
    fn send(&mut self, packets: usize, order: Option<Vec<u32>>, answers: bool) -> Result<[f64; 2]> {
        let source = self.worker.node_mut::<Source>(self.source).context("the source is in the graph")?;
        if let Some(order) = order {
            (source.order, source.position) = (order, 0);
        }
        (source.left, source.answers) = (packets, answers);
        let clocks = |bed: &Bed| bed.nodes.map(|node| bed.engine.counters.clocks.sum(node.index()));
        let before = clocks(self);
        while self.worker.turn() > 0 {}
        let after = clocks(self);
        Ok([0, 1].map(|i| (after[i] - before[i]) as f64 / packets as f64))
    }
}

/// Runs all cases.
pub fn run(options: &Options) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(options.core).context("--core")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {}", options.core))?;
    let Options { flows, rounds, packets, .. } = *options;
    println!(
        "clocks per packet (time stamp counter) of admitted flows, min / median / max of {rounds} rounds"
    );
    println!("vectors of 256, {flows} established flows, each admitted by a reflexive rule on the way in\n");
    for (protocol, name) in [(IpProtocol::UDP, "UDP"), (IpProtocol::TCP, "TCP")] {
        let mut bed = Bed::new(flows, protocol)?;
        let mut order: Vec<u32> = (0..flows).collect();
        bed.send(order.len(), Some(order.clone()), false)?;
        bed.send(order.len(), None, true)?;
        shuffle(&mut order);
        bed.send(order.len(), Some(order), false)?;
        let mut figures: [Rounds; 3] = Default::default();
        for _ in 0..rounds {
            let [track, classify] = bed.send(packets, None, false)?;
            for (figure, clocks) in figures.iter_mut().zip([track, classify, track + classify]) {
                figure.add(clocks);
            }
        }
        let met = bed.sets.get(SET).context("the set exists")?.hits(REFLECT).packets;
        ensure!(
            met == u64::from(flows),
            "{met} packets met the rule, expected the first ones of {flows} flows"
        );
        println!("== {name}");
        for (name, figure) in ["flow-track", "ip4-classify", "both"].iter().zip(&figures) {
            println!("  {name:<12} {}", figure.spread());
        }
        println!();
    }
    Ok(())
}

/// Fisher and Yates, with the same random numbers in every run.
fn shuffle(items: &mut [u32]) {
    let mut random = Random::new(1);
    for i in (1..items.len()).rev() {
        items.swap(i, random.below(i as u32 + 1) as usize);
    }
}
