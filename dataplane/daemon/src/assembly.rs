// SPDX-License-Identifier: Apache-2.0
//! The dataplane is put together: engine, tables, nodes and all parts of the daemon, which are named here and nowhere else.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail};
use weft_background::file;
use weft_classify::RuleSets;
use weft_control::{Control, Flows, ServeTables, StableSecret};
use weft_devices::pg::Pg;
use weft_devices::undo::Journal;
use weft_engine::buffer::{BufferConfig, PageRequest, Pages};
use weft_engine::counters::CounterLimits;
use weft_engine::graph::BUILT_IN;
use weft_engine::wait::Waker;
use weft_engine::worker::IdlePolicy;
use weft_engine::{Engine, EngineConfig, Worker};
use weft_l2::Switch;
use weft_nodes::graph::add_nodes;
use weft_nodes::interface::Interfaces;
use weft_stats::StatsListener;

use crate::baseline::Baselines;
use crate::binapi::{Agents, classify};
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
use crate::state::{Dataplane, Process};
use crate::subsystem::Subsystems;
use crate::threads::{Plan, WorkerThreads};

/// Nodes beside those of interfaces: built-in ones and those of plugins.
const NODES: usize = 256;
/// Counters of these nodes, and of a transmit node.
const COUNTERS: usize = 2048;
const COUNTERS_PER_INTERFACE: usize = 4;
/// Edges between these nodes, and those of a transmit node: from whoever sends, to drop.
const EDGES: usize = 2048;
const EDGES_PER_INTERFACE: usize = 8;

/// A dataplane without devices, and its workers to be given threads.
pub fn assemble(config: Config, plan: Plan, log: Recent) -> Result<(Dataplane, Vec<Worker>)> {
    let serve = serve_flows(&config);
    assemble_serving(config, plan, log, serve)
}

/// The same; `serve` hands out its tables of flows.
pub fn assemble_serving(
    config: Config,
    plan: Plan,
    log: Recent,
    serve: ServeTables,
) -> Result<(Dataplane, Vec<Worker>)> {
    let (mut engine, workers) = Engine::new(&engine_config(&config, &plan)?)?;
    check_pages(&config, &engine)?;
    let mut interfaces = Interfaces::new(&engine, config.limits.interfaces as usize);
    let main = Waker::new().context("create an eventfd")?;
    let (mut router, tables) = forwarding::make(&mut engine, &interfaces, &config, main.clone())?;
    let nodes = add_nodes(&mut engine, &tables)?;
    nodes.attach(&mut router);
    nodes.forget_deleted(&mut interfaces);
    // Before the rules, which what is switched meets too.
    let switch = Switch::new(
        &mut engine,
        &interfaces.published(),
        weft_l2::Settings { macs: config.limits.l2_macs as usize, ..weft_l2::Settings::default() },
        &main,
    )?;
    let rules = config.limits.classify_rules as usize;
    let rule_sets = RuleSets::new(&mut engine, &interfaces.published(), rules)?;
    engine.register(BUILT_IN, weft_flow::registration())?;
    let limit = config.limits.interfaces as usize;
    let flows = Flows::new(config.flow, limit, main.clone(), serve);
    let numa = plan.workers.iter().map(|place| place.numa).collect();
    let mut parts = Subsystems::default();
    let journal = link_journal(&config);
    parts.put(Box::new(Devices::new(&mut engine, numa, journal)?));
    parts.put(Box::new(Baselines::new()));
    parts.put(Box::new(Pg::new(&mut engine)?));
    parts.put(Box::new(Gauges::new(&mut engine, &plan)?));
    parts.put(Box::new(Pressure::default()));
    parts.put(Box::new(Agents::default()));
    parts.put(Box::new(classify::Tables::default()));
    parts.put(Box::new(Plugins::default()));
    // Until they are started, there are none.
    parts.put(Box::new(WorkerThreads::default()));
    let mut control = Control::new(engine, interfaces, router, nodes, rule_sets, flows, switch);
    control.set_stable_secret(stable_secret(&config)?);
    let process = Process { config, plan, log, main };
    let mut dataplane = Dataplane::new(control, parts, cli::tree(), process);
    dataplane.create_local()?;
    Ok((dataplane, workers))
}

/// Where changes of Linux interfaces are noted that the kernel does not undo when the daemon is killed.
pub fn link_journal(config: &Config) -> Journal {
    Journal::new(config.unix.in_runtime_dir(Path::new("links")))
}

/// What stable link-local addresses are made from. Without a file of that name there are none, unless somebody has named it.
fn stable_secret(config: &Config) -> Result<Option<StableSecret>> {
    const MOST: u64 = 4096;
    let named = config.unix.stable_secret.as_deref();
    let path = config.unix.in_runtime_dir(named.unwrap_or(Path::new("/etc/machine-id")));
    let secret = file::read(&path, MOST).map(|content| StableSecret::new(&content));
    match (named, secret) {
        (None, secret) => Ok(secret.ok().flatten()),
        (Some(_), Ok(Some(secret))) => Ok(Some(secret)),
        (Some(_), Ok(None)) => {
            bail!("unix {{ stable-secret }}: {}: expected 16 bytes or more", path.display())
        }
        (Some(_), Err(error)) => {
            Err(error).with_context(|| format!("unix {{ stable-secret }}: {}", path.display()))
        }
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
