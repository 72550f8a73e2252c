// SPDX-License-Identifier: Apache-2.0
//! Everything that the main thread owns, in one value: the state that commands look at and change.
//!
//! There is one [`Dataplane`] per daemon, on the main thread; no part of it is global. Its methods are spread over
//! the modules that they belong to ([`crate::ports`] for devices). A test makes one and either gives it
//! threads or turns the workers by hand.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use weft_classify::RuleSets;
use weft_cli::CommandTree;
use weft_control::{ChangeSet, Control, Flows, ServeTables};
use weft_devices::pg::Pg;
use weft_engine::buffer::{BufferConfig, PageRequest, Pages};
use weft_engine::counters::{CounterLimits, Counters};
use weft_engine::graph::BUILT_IN;
use weft_engine::trace::Names;
use weft_engine::wait::Waker;
use weft_engine::worker::IdlePolicy;
use weft_engine::{Engine, EngineConfig, InterfaceIndex, NodeId, ReasonId, ThreadIndex, Worker};
use weft_nodes::graph::add_nodes;
use weft_nodes::interface::Interfaces;
use weft_stats::{CombinedVector, StatsListener};

use crate::baseline::Baselines;
use crate::binapi::{Agents, Api, classify};
use crate::capture::Capture;
use crate::cli;
use crate::config::Config;
use crate::config::buffers::{NumaNode, PageSize};
use crate::config::cpu::Idle;
use crate::config::values::Bytes;
use crate::error::sentence;
use crate::forwarding;
use crate::gauges::Gauges;
use crate::log::Recent;
use crate::memory_server::MemoryServer;
use crate::plugins::Plugins;
use crate::ports::Devices;
use crate::pressure::Pressure;
use crate::threads::{Plan, WorkerThreads};
use crate::vplaned::Vplaned;

/// How long the main thread waits for a worker, at most. An answer takes a turn of the worker, some 10 us; a worker
/// whose core is flooded by others was seen to take more than 200 ms.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Nodes beside those of interfaces: built-in ones and those of plugins.
const NODES: usize = 256;
/// Counters of these nodes, and of a transmit node.
const COUNTERS: usize = 2048;
const COUNTERS_PER_INTERFACE: usize = 4;
/// Edges between these nodes, and those of a transmit node: from whoever sends, to drop.
const EDGES: usize = 2048;
const EDGES_PER_INTERFACE: usize = 8;

/// A worker that is late.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("worker {0} does not answer within {patience} ms", patience = PATIENCE.as_millis())]
pub struct NoAnswer(pub String);

/// The one state of the main thread.
pub struct Dataplane {
    /// What is configured: interfaces, addresses, routes, neighbours, settings.
    pub control: Control,
    /// `/net/route/to`, by load-balance.
    pub routes: CombinedVector,
    /// What the commands of a file change that is carried out as one change (`exec --atomic`).
    pub collected: Option<Box<ChangeSet>>,
    /// What is behind the interfaces.
    pub devices: Devices,
    /// The packet generator.
    pub pg: Pg,
    /// Plugins.
    pub plugins: Plugins,
    /// All commands, those of plugins among them. Another one when a plugin comes or goes: who runs a command holds it.
    pub commands: Rc<CommandTree<Dataplane>>,
    /// The controller, if there is one.
    pub vplaned: Option<Box<Vplaned>>,
    /// The binary API, once it is served.
    pub api: Option<Api>,
    /// Its clients as owners of routes.
    pub agents: Agents,
    /// Its classifier tables.
    pub classify_tables: classify::Tables,
    /// The running `pcap trace`.
    pub capture: Option<Capture>,
    /// Counters that this thread counts itself.
    pub counters: Counters,
    /// What `clear` commands have hidden.
    pub baselines: Baselines,
    /// What is brought up to date from time to time.
    pub gauges: Gauges,
    /// What has been said of tables that strangers fill.
    pub pressure: Pressure,
    /// Which thread runs where.
    pub plan: Plan,
    /// The running workers.
    pub threads: WorkerThreads,
    /// The last lines of the log.
    pub log: Recent,
    /// What was configured.
    pub config: Config,
    /// When this was made.
    pub started: (Instant, SystemTime),
    /// Woken by workers that have news.
    pub main: Waker,
}

impl Dataplane {
    /// A dataplane without devices, and its workers to be given threads.
    pub fn new(config: Config, plan: Plan, log: Recent) -> Result<(Dataplane, Vec<Worker>)> {
        let (mut engine, workers) = Engine::new(&engine_config(&config, &plan)?)?;
        check_pages(&config, &engine)?;
        let mut interfaces = Interfaces::new(&engine, config.limits.interfaces as usize);
        let main = Waker::new().context("create an eventfd")?;
        let (mut router, tables) = forwarding::make(&mut engine, &interfaces, &config.limits, main.clone())?;
        let nodes = add_nodes(&mut engine, &tables)?;
        router.attach(nodes.held);
        nodes.held.forget_deleted(&mut interfaces);
        let rules = config.limits.classify_rules as usize;
        let rule_sets = RuleSets::new(&mut engine, &interfaces.published(), rules)?;
        engine.register(BUILT_IN, weft_flow::registration())?;
        let limit = config.limits.interfaces as usize;
        let flows = Flows::new(config.flow, limit, main.clone(), serve_flows(&config));
        let numa = plan.workers.iter().map(|place| place.numa).collect();
        let devices = Devices::new(&mut engine, numa)?;
        let pg = Pg::new(&mut engine)?;
        let gauges = Gauges::new(&mut engine, &plan)?;
        let counters = engine.counters.rows(ThreadIndex(0));
        let dataplane = Dataplane {
            pressure: Pressure::default(),
            baselines: Baselines::new(),
            control: Control::new(engine, interfaces, router, nodes, rule_sets, flows),
            routes: tables.routes,
            collected: None,
            devices,
            pg,
            plugins: Plugins::default(),
            commands: Rc::new(cli::tree()),
            vplaned: None,
            api: None,
            agents: Agents::default(),
            classify_tables: classify::Tables::default(),
            capture: None,
            counters,
            gauges,
            plan,
            threads: WorkerThreads::default(),
            log,
            config,
            started: (Instant::now(), SystemTime::now()),
            main,
        };
        Ok((dataplane, workers))
    }

    /// Waits until `done`, for `patience` at most; says whether it came true. Meanwhile the engine does what is due.
    pub fn settle(&mut self, patience: Duration, mut done: impl FnMut(&mut Dataplane) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            self.engine.reclaim();
            if done(self) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Asks every worker; the answers are in the order of the threads.
    pub fn ask_all<R: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut Worker) -> R + Clone + Send + 'static,
    ) -> Result<Vec<(ThreadIndex, R)>, NoAnswer> {
        let threads: Vec<_> = self.engine.threads().collect();
        let asked: Vec<_> =
            threads.into_iter().map(|thread| (thread, self.engine.ask(thread, question.clone()))).collect();
        let deadline = Instant::now() + PATIENCE;
        asked
            .into_iter()
            .map(|(thread, answer)| {
                let left = deadline.saturating_duration_since(Instant::now());
                let answer = answer.recv_timeout(left);
                answer.map(|answer| (thread, answer)).map_err(|_| NoAnswer(self.plan.name(thread).to_owned()))
            })
            .collect()
    }
}

impl Deref for Dataplane {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl DerefMut for Dataplane {
    fn deref_mut(&mut self) -> &mut Control {
        &mut self.control
    }
}

impl Names for Dataplane {
    fn interface(&self, interface: InterfaceIndex) -> String {
        if interface == InterfaceIndex::NONE {
            return "none".into();
        }
        self.interface_name(interface)
    }

    fn reason(&self, reason: ReasonId) -> String {
        self.engine
            .graph()
            .reason(reason)
            .map_or_else(|| format!("reason {reason}"), |info| info.spec.text.trim().to_owned())
    }

    fn node(&self, node: NodeId) -> String {
        self.engine.graph().node(node).map_or_else(|| format!("node {node}"), |info| info.name.clone())
    }
}

/// Hands the tables of flows out by a thread of its own: they can be had while the main thread hangs.
fn serve_flows(config: &Config) -> ServeTables {
    let path = config.unix.in_runtime_dir(Path::new("flow.sock"));
    let group = config.unix.gid.map(|group| group.0);
    let name = format!("{}_flows", config.cpu.thread_prefix);
    Box::new(move |tables| {
        let listener = StatsListener::bind(&path, group).map_err(|error| error.to_string())?;
        let served = MemoryServer::start(listener, tables, name.clone());
        Ok(Box::new(served.map_err(|error| sentence(&error))?))
    })
}

fn engine_config(config: &Config, plan: &Plan) -> Result<EngineConfig> {
    let buffers = &config.buffers;
    let with_worker: BTreeSet<u32> = plan.workers.iter().map(|place| place.numa).collect();
    let named = buffers.per_node.keys().map(|node| u32::from(node.0));
    let pools = with_worker.iter().copied().chain(named).collect::<BTreeSet<u32>>().into_iter();
    let count = |numa: u32| buffers.per_node.get(&NumaNode(numa as u16)).unwrap_or(&buffers.per_numa).get();
    let pages = match buffers.page_size {
        PageSize::Best | PageSize::DefaultHuge | PageSize::Exactly(HUGE) => PageRequest::Auto,
        PageSize::Exactly(SMALL) => PageRequest::Small,
        PageSize::Exactly(Bytes(bytes)) => {
            bail!("buffers: page-size {bytes}: expected default, default-hugepage, 4k or 2m")
        }
    };
    let interfaces = config.limits.interfaces as usize;
    Ok(EngineConfig {
        workers: plan.workers.iter().map(|place| place.numa).collect(),
        buffers: BufferConfig { pools: pools.map(|numa| (numa, count(numa) as usize)).collect(), pages },
        limits: CounterLimits {
            interfaces,
            nodes: NODES + interfaces,
            reasons: COUNTERS + COUNTERS_PER_INTERFACE * interfaces,
            edges: EDGES + EDGES_PER_INTERFACE * interfaces,
        },
        stats_size: config.statseg.size.0 as usize,
        idle: match config.cpu.idle {
            Idle::Adaptive => IdlePolicy::Adaptive,
            Idle::Poll => IdlePolicy::Poll,
        },
        handoff: config.flow.handoff,
        clock: None,
    })
}

const SMALL: Bytes = Bytes(4096);
const HUGE: Bytes = Bytes(2 << 20);

/// Pages that were insisted on are there, or the daemon does not start.
fn check_pages(config: &Config, engine: &Engine) -> Result<()> {
    let memory = engine.buffers.memory();
    let insists = matches!(config.buffers.page_size, PageSize::DefaultHuge | PageSize::Exactly(HUGE));
    if insists && memory.pages() != Pages::Huge {
        let needed = memory.length().div_ceil(HUGE.0 as usize);
        bail!(
            "buffers: page-size: {needed} free huge pages of 2 MiB are needed beside those of the metadata; reserve \
             more (sysctl vm.nr_hugepages), or use page-size default"
        );
    }
    Ok(())
}
