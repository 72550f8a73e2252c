// SPDX-License-Identifier: Apache-2.0
//! What the plugin boundary costs: a node that does nothing, built in and behind the ABI, in one graph.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use weft_engine::feature::FeatureSpec;
use weft_engine::frame::Frame;
use weft_engine::graph::{NodeDef, Registration};
use weft_engine::node::{Node, NodeSpec};
use weft_engine::wait::Waker;
use weft_engine::{Context, Engine, InterfaceIndex};
use weft_plugin_host::{Host, Library, Plugin, World};

use crate::chain::{Case, Chain};
use crate::report::Rounds;

/// Options of `plugin`.
#[derive(Args)]
pub struct Options {
    /// The plugin noop: noop.so
    library: PathBuf,
    /// Rounds of each case
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Packets per round
    #[arg(long, default_value_t = 2_000_000)]
    packets: usize,
}

const ARC: &str = "ip4-unicast";
const PLUGIN: &str = "noop";
static BUILT_IN: NodeSpec = NodeSpec::internal("built-in-noop");

struct BuiltIn;

impl Node for BuiltIn {
    fn process(&mut self, cx: &mut Context<'_>, frame: &Frame) {
        let arcs = cx.arcs();
        cx.each(frame, |packet| arcs.next(packet));
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

    fn set_feature(&mut self, _: &str, arc: &str, _: &str, _: InterfaceIndex, _: bool) -> Result<(), String> {
        Err(format!("nobody enables features of {arc} here"))
    }

    fn send_event(&mut self, _: u64, _: &str, _: &[u8]) -> Result<(), String> {
        Err("there is no client".to_owned())
    }
}

/// Measures both, once in each order: the first of them is the first to see a packet's metadata.
pub fn run(options: &Options) -> Result<()> {
    println!(
        "a node that does nothing, clocks per packet: min / median / max of {} rounds\n",
        options.rounds
    );
    for vector in [256, 32] {
        for plugin_first in [false, true] {
            measure(options, vector, plugin_first)?;
        }
    }
    Ok(())
}

fn measure(options: &Options, vector: usize, plugin_first: bool) -> Result<()> {
    let case = Case::simple("1 route", vector);
    let mut chain = Chain::<weft_nodes::ip4::Ip4>::new(&case, false)?;
    let engine = &mut chain.engine;
    let mut host = Host::default();
    let library = Library::open(&options.library)?;
    let mut plugin = Plugin::start(library, &mut Bare(engine), "", Waker::new()?)?;
    plugin.install(&mut host, engine)?;
    let other: &[&str] = &[PLUGIN];
    let (after, before) = if plugin_first { (other, &[][..]) } else { (&[][..], other) };
    let nodes = vec![NodeDef::new(&BUILT_IN, |_| Box::new(BuiltIn))];
    let features = vec![(BUILT_IN.name, FeatureSpec { arc: ARC, after, before, set_by: None })];
    engine.register("bench", Registration { nodes, features, ..Registration::default() })?;
    let arc = engine.features().arc(ARC)?;
    for node in [BUILT_IN.name, PLUGIN] {
        engine.set_feature(arc, InterfaceIndex(0), node, true)?;
    }
    let ids = [BUILT_IN.name, PLUGIN].map(|name| engine.graph().id(name));
    let [built_in, plugin_node] = ids.map(|id| id.map_or(0, |id| id.index()));
    let clocks = |chain: &Chain, node: usize| chain.engine.counters.clocks.sum(node);
    chain.round(options.packets);
    let (mut ours, mut theirs, mut extra) = (Rounds::default(), Rounds::default(), Rounds::default());
    for _ in 0..options.rounds {
        let before = [clocks(&chain, built_in), clocks(&chain, plugin_node)];
        chain.round(options.packets);
        let after = [clocks(&chain, built_in), clocks(&chain, plugin_node)];
        let [a, b] = [0, 1].map(|i| (after[i] - before[i]) as f64 / options.packets as f64);
        ours.add(a);
        theirs.add(b);
        extra.add(b - a);
    }
    ensure!(chain.drops() == 0, "{} packets were dropped", chain.drops());
    println!("== vectors of {vector}, the plugin comes {}", if plugin_first { "first" } else { "second" });
    println!("  {:<16} {}", "built in", ours.spread());
    println!("  {:<16} {}", "plugin", theirs.spread());
    println!("  {:<16} {}\n", "difference", extra.spread());
    plugin.leave(&mut chain.engine);
    chain.worker.turn();
    chain.engine.reclaim();
    host.retire();
    ensure!(plugin.is_idle(), "nothing holds the plugin any more");
    Ok(())
}
