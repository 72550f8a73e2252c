// SPDX-License-Identifier: Apache-2.0
//! What the flow tracker costs, in clocks of the time stamp counter per packet, for the node alone: packets of known flows in
//! random order, and packets that begin one. The rival, if it was built, is DPDK's `rte_hash`, in the same rounds.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use weft_engine::buffer::{BufferConfig, HEADROOM};
use weft_engine::feature::{ArcEnd, ArcSpec};
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::graph::NodeDef;
use weft_engine::node::{Node, NodeSpec, Role};
use weft_engine::wait::Waker;
use weft_engine::{ArcId, BufferIndex, Context, Engine, EngineConfig, InterfaceIndex, NodeId, Worker};
use weft_flow::FlowTracker;
use weft_flow::counts::Count;
use weft_flow::settings::{Mode, Settings, Timeouts};
use weft_flow_map::FlowId;
use weft_nodes::arcs::{IP4_UNICAST_ARC, IP6_UNICAST_ARC};
use weft_nodes::headers::{Ipv4Header, Ipv6Header, TcpFlags, build};
use weft_nodes::interface::Interfaces;

use crate::allocations;
use crate::report::Rounds;

/// Options of `flow`.
#[derive(Args)]
pub struct Options {
    /// Rounds of each case; of new flows half as many, since to end a million of them takes five seconds
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Packets per round
    #[arg(long, default_value_t = 2_000_000)]
    packets: usize,
    /// Numbers of flows
    #[arg(long, value_delimiter = ',', default_values_t = [256, 100_000, 1_000_000])]
    flows: Vec<usize>,
    /// Core to run on
    #[arg(long, default_value_t = 1)]
    core: usize,
    /// The rival's program (flows of benches/rivals/dpdk); without it there is no comparison
    #[arg(long)]
    rival: Option<PathBuf>,
    /// Only cases whose name contains this, or (`=NAME`) the case of this name
    #[arg(long, default_value = "")]
    only: String,
}

static SOURCE: NodeSpec = NodeSpec::input("source");
/// Where verdicts of an agent may lead; no packet comes here.
static REWRITE: NodeSpec = NodeSpec::internal("ip4-rewrite").role(Role::Output);
static REWRITE6: NodeSpec = NodeSpec::internal("ip6-rewrite").role(Role::Output);
static SINK: NodeSpec = NodeSpec::internal("sink").role(Role::Output);
const PORT: InterfaceIndex = InterfaceIndex(0);
/// Bytes of an IPv4 packet in a frame of 64 bytes.
const BYTES: usize = 46;
/// Of IPv6, which does not fit into one with TCP.
const BYTES6: usize = 60;

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Traffic {
    /// Segments that only acknowledge, of connections that were picked up; else datagrams of UDP.
    tcp: bool,
    ip6: bool,
}

impl Traffic {
    const ALL: [(Traffic, &str); 4] = [
        (Traffic { tcp: false, ip6: false }, "UDP"),
        (Traffic { tcp: true, ip6: false }, "TCP"),
        (Traffic { tcp: false, ip6: true }, "UDP over IPv6"),
        (Traffic { tcp: true, ip6: true }, "TCP over IPv6"),
    ];

    fn template(self) -> Vec<u8> {
        let (ip, bytes) = match self.ip6 {
            true => (build::ipv6([0; 8], [0; 8]), BYTES6 - Ipv6Header::LENGTH),
            false => (build::ipv4([0; 4], [0; 4]), BYTES - Ipv4Header::LENGTH),
        };
        match self.tcp {
            true => ip.tcp(0, 0, TcpFlags::ACK).payload(&vec![0; bytes - 20]).build(),
            false => ip.udp(0, 0).payload(&vec![0; bytes - 8]).build(),
        }
    }
}

/// Brings in packets of the flows in `order`, as behind ip4-input.
struct Source {
    template: Vec<u8>,
    ip6: bool,
    order: Vec<u32>,
    position: usize,
    left: usize,
    answers: bool,
    arc: ArcId,
    sink: NodeId,
}

impl Source {
    fn write(&self, data: &mut [u8], flow: u32) {
        data.copy_from_slice(&self.template);
        // 4096 clients of 16 servers.
        let (client, server) = (0x0a00_0000 + flow % 4096, 0x1400_0000 + flow / 4096 % 16);
        let (port, service) = ((flow >> 16) as u16 + 1024, 443u16);
        let ends = [(client, port), (server, service)];
        let [(from, from_port), (to, to_port)] = if self.answers { [ends[1], ends[0]] } else { ends };
        let at = if self.ip6 {
            // 2001:db8::/32, as they are in one network each.
            for (start, address) in [(8, from), (24, to)] {
                data[start..start + 4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
                data[start + 12..start + 16].copy_from_slice(&address.to_be_bytes());
            }
            Ipv6Header::LENGTH
        } else {
            data[12..16].copy_from_slice(&from.to_be_bytes());
            data[16..20].copy_from_slice(&to.to_be_bytes());
            Ipv4Header::LENGTH
        };
        let transport = &mut data[at..];
        transport[..2].copy_from_slice(&from_port.to_be_bytes());
        transport[2..4].copy_from_slice(&to_port.to_be_bytes());
    }
}

impl Node for Source {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let mut packets = [BufferIndex(0); FRAME_SIZE];
        let mut count = 0;
        cx.buffers.allocate(self.left.min(FRAME_SIZE), |index| {
            packets[count] = index;
            count += 1;
        });
        for &index in &packets[..count] {
            cx.buffers.receive(index, HEADROOM, self.template.len(), PORT);
            self.write(cx.buffers.packet(index).data_mut(), self.order[self.position]);
            self.position = (self.position + 1) % self.order.len();
        }
        self.left -= count;
        cx.send_from_device(self.arc, PORT, self.sink, &packets[..count]);
        crate::settle();
    }
}

struct Sink;

impl Node for Sink {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        cx.buffers.free(frame.packets());
    }
}

struct Bed {
    engine: Engine,
    worker: Worker,
    tracker: FlowTracker,
    source: NodeId,
    track: NodeId,
}

impl Bed {
    fn new(flows: usize, traffic: Traffic) -> Result<Bed> {
        let config = EngineConfig {
            buffers: BufferConfig { pools: vec![(0, 4096)], ..BufferConfig::default() },
            clock: crate::clock(),
            ..EngineConfig::default()
        };
        let (mut engine, mut workers) = Engine::new(&config)?;
        let mut add_arc = |spec| engine.add_arc("bench", &ArcSpec { end: ArcEnd::Node(SINK.name), ..spec });
        let (ip4, ip6) = (add_arc(IP4_UNICAST_ARC)?, add_arc(IP6_UNICAST_ARC)?);
        let arc = if traffic.ip6 { ip6 } else { ip4 };
        let sink = engine.add_nodes("bench", vec![NodeDef::new(&SINK, |_| Box::new(Sink))])?[0];
        let template = traffic.template();
        let source = NodeDef::new(&SOURCE, |_| {
            Box::new(Source {
                template: template.clone(),
                ip6: traffic.ip6,
                order: vec![0],
                position: 0,
                left: 0,
                answers: false,
                arc,
                sink,
            })
        });
        let source = engine.add_nodes("bench", vec![source])?[0];
        let rewrite = [&REWRITE, &REWRITE6].map(|spec| NodeDef::new(spec, |_| Box::new(Sink)));
        engine.add_nodes("bench", rewrite.into())?;
        let table = Interfaces::new(&engine, 1).published();
        // On a busy machine a case may last for minutes; no flow shall end meanwhile.
        let day = Duration::from_secs(86_400);
        let timeouts = Timeouts { udp_new: day, udp_established: day, tcp_new: day, ..Timeouts::default() };
        let settings = Settings { flows, rate: None, timeouts, ..Settings::default() };
        let mut tracker = FlowTracker::new(&mut engine, settings, &table, 1, &Waker::new()?)?;
        tracker.enable(&mut engine, PORT, Mode::Track)?;
        let mut worker = workers.pop().context("an engine has a worker")?;
        worker.turn();
        let track = engine.graph().id("flow-track").context("the tracker is in the graph")?;
        Ok(Bed { engine, worker, tracker, source, track })
    }

    /// Sends `packets` in `order` (kept, if `None`); returns clocks per packet of flow-track.
    fn send(&mut self, packets: usize, order: Option<Vec<u32>>, answers: bool) -> Result<f64> {
        let source = self.worker.node_mut::<Source>(self.source).context("the source is in the graph")?;
        if let Some(order) = order {
            (source.order, source.position) = (order, 0);
        }
        (source.left, source.answers) = (packets, answers);
        let clocks = |bed: &Bed| bed.engine.counters.clocks.sum(bed.track.index());
        let before = clocks(self);
        while self.worker.turn() > 0 {}
        Ok((clocks(self) - before) as f64 / packets as f64)
    }

    /// Ends all flows, in no order, so that free slots lie anywhere.
    fn clear(&mut self) -> Result<()> {
        let mut ids: Vec<FlowId> = self.tracker.flows().map(|flow| flow.id).collect();
        shuffle(&mut ids);
        self.tracker.clear(&mut self.engine, &ids);
        let active = |bed: &Bed| bed.tracker.counts.sum(Count::Active);
        for _ in 0..10_000_000_000u64 {
            self.worker.turn();
            if active(self) == 0 {
                return Ok(());
            }
        }
        anyhow::bail!("{} flows do not end", active(self))
    }
}

/// Fisher and Yates, with the same random numbers in every run.
fn shuffle<T>(items: &mut [T]) {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for i in (1..items.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        items.swap(i, (random % (i as u64 + 1)) as usize);
    }
}

/// The rival's process.
struct Rival {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Rival {
    fn start(options: &Options, keys: usize) -> Result<Option<Rival>> {
        let Some(program) = &options.rival else {
            return Ok(None);
        };
        // It runs where we do: the affinity is inherited.
        let mut process = Command::new(program)
            .arg(keys.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let (input, output) = input.zip(output).context("the pipes to the rival")?;
        Ok(Some(Rival { process, input, output: BufReader::new(output) }))
    }

    /// Clocks per key of "hit" or "new".
    fn round(&mut self, what: &str, count: usize) -> Result<f64> {
        writeln!(self.input, "{what} {count}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("the rival's answer {line:?}"))
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs all cases.
pub fn run(options: &Options) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(options.core).context("--core")?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pin to core {}", options.core))?;
    println!(
        "clocks per packet (time stamp counter) of flow-track, min / median / max of {} rounds",
        options.rounds
    );
    println!(
        "vectors of 256; rival: rte_hash, bulk lookups of 64 keys, without packets, states and counters\n"
    );
    for &flows in &options.flows {
        for (traffic, name) in Traffic::ALL {
            let name = format!("hit among {flows} flows, {name}");
            if crate::wanted(&name, &options.only) {
                hits(options, flows, traffic, &name)?;
            }
        }
    }
    // Fewer are no more than a vector.
    for &flows in options.flows.iter().filter(|flows| **flows > FRAME_SIZE) {
        for (traffic, family) in [(Traffic::ALL[0].0, ""), (Traffic::ALL[2].0, " over IPv6")] {
            let name = format!("new flow{family}, up to {flows} of them");
            if crate::wanted(&name, &options.only) {
                beginnings(options, flows, traffic, &name)?;
            }
        }
    }
    Ok(())
}

fn hits(options: &Options, flows: usize, traffic: Traffic, name: &str) -> Result<()> {
    let mut bed = Bed::new(flows, traffic)?;
    let mut rival = if traffic.ip6 { None } else { Rival::start(options, flows)? };
    let all: Vec<u32> = (0..flows as u32).collect();
    bed.send(flows, Some(all.clone()), false)?;
    bed.send(flows, Some(all.clone()), true)?;
    let mut order = all;
    shuffle(&mut order);
    bed.send(flows, Some(order), false)?;
    let (mut ours, mut theirs, mut ratios) = (Rounds::default(), Rounds::default(), Rounds::default());
    let allocated = allocations::count();
    for _ in 0..options.rounds {
        let clocks = bed.send(options.packets, None, false)?;
        ours.add(clocks);
        if let Some(rival) = &mut rival {
            let rival = rival.round("hit", options.packets)?;
            theirs.add(rival);
            ratios.add(clocks / rival);
        }
    }
    let allocated = allocations::count() - allocated;
    let counts = &bed.tracker.counts;
    ensure!(counts.sum(Count::Active) == flows as u64, "{} flows", counts.sum(Count::Active));
    ensure!(counts.sum(Count::Misses) == flows as u64, "{} misses", counts.sum(Count::Misses));
    println!("== {name}");
    print(&ours, &theirs, &ratios);
    println!("  {:<12} {:.6}\n", "allocations", allocated as f64 / (options.rounds * options.packets) as f64);
    Ok(())
}

fn beginnings(options: &Options, flows: usize, traffic: Traffic, name: &str) -> Result<()> {
    let mut bed = Bed::new(flows, traffic)?;
    let mut rival = if traffic.ip6 { None } else { Rival::start(options, flows)? };
    let (mut ours, mut theirs, mut ratios) = (Rounds::default(), Rounds::default(), Rounds::default());
    let mut order: Vec<u32> = (0..flows as u32).collect();
    shuffle(&mut order);
    // The first time slots are taken one after the other; from then on they lie anywhere.
    bed.send(flows, Some(order.clone()), false)?;
    bed.clear()?;
    let rounds = options.rounds.div_ceil(2);
    for _ in 0..rounds {
        let clocks = bed.send(flows, Some(order.clone()), false)?;
        ours.add(clocks);
        bed.clear()?;
        if let Some(rival) = &mut rival {
            let rival = rival.round("new", flows)?;
            theirs.add(rival);
            ratios.add(clocks / rival);
        }
    }
    let begun = bed.tracker.counts.sum(Count::Created);
    ensure!(begun == (flows * (rounds + 1)) as u64, "{begun} flows have begun");
    println!("== {name}");
    print(&ours, &theirs, &ratios);
    println!();
    Ok(())
}

fn print(ours: &Rounds, theirs: &Rounds, ratios: &Rounds) {
    println!("  {:<12} {}", "flow-track", ours.spread());
    if !ratios.median().is_nan() {
        println!("  {:<12} {}", "rte_hash", theirs.spread());
        println!("  {:<12} median {:.2}", "ratio", ratios.median());
    }
}
