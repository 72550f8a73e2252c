// SPDX-License-Identifier: Apache-2.0
//! `show runtime` and `clear runtime`: what each node costs, and how full its vectors are.

use serde::Serialize;
use weft_cli::{Command, Reply};
use weft_engine::ThreadIndex;
use weft_engine::node::{Kind, Role};

use super::{Column, center, centered, left, right, row, scientific, showing, table};
use crate::baseline::Baselines;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Node {
    name: String,
    state: &'static str,
    calls: u64,
    vectors: u64,
    suspends: u64,
    clocks: u64,
    clocks_per_packet: f64,
    vectors_per_call: f64,
}

/// What the kernel did for a node.
#[derive(Serialize)]
struct SystemCalls {
    node: String,
    calls: u64,
    /// Packets of the node.
    vectors: u64,
    clocks: u64,
    clocks_per_packet: f64,
    vectors_per_call: f64,
}

#[derive(Serialize)]
struct Thread {
    id: u16,
    name: String,
    core: u32,
    /// Seconds since the last `clear runtime`.
    seconds: f64,
    /// Packets per call of an internal node.
    vector_rate: f64,
    loops_per_second: f64,
    /// Packets per second.
    rate_in: f64,
    rate_out: f64,
    rate_drop: f64,
    rate_punt: f64,
    nodes: Vec<Node>,
    /// Of those that make any, in the same order.
    system_calls: Vec<SystemCalls>,
}

const COLUMNS: &[Column<Node>] = &[
    centered(Column::left("Name", 30, |node| node.name.clone())),
    Column::center("State", 12, |node| node.state.to_owned()),
    centered(Column::right("Calls", 16, |node| node.calls.to_string())),
    centered(Column::right("Vectors", 16, |node| node.vectors.to_string())),
    centered(Column::right("Suspends", 16, |node| node.suspends.to_string())),
    centered(Column::right("Clocks", 16, |node| scientific(node.clocks_per_packet, 2))),
    centered(Column::right("Vectors/Call", 16, |node| format!("{:.2}", node.vectors_per_call))),
];

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show runtime", |dataplane: &mut Dataplane, args| {
            let all = args.keyword("verbose");
            args.finish()?;
            let workers = dataplane.plan().places().skip(1);
            let threads = workers.map(|(index, _)| thread(dataplane, index, all));
            Ok(Reply::list("threads", threads, |threads| {
                threads.iter().map(render).collect::<Vec<_>>().join("---------------\n")
            }))
        })
        .synopsis("[verbose]")
        .help("Calls, packets and clocks of each node; verbose: of nodes that never ran too"),
        showing("clear runtime", |dataplane| {
            let threads = dataplane.plan().places().count() as u16;
            let (baselines, control) = dataplane.part_and_control::<Baselines>();
            baselines.clear_runtime(control.engine(), threads);
            let since = dataplane.uptime().as_secs();
            dataplane.engine().stats.last_stats_clear().set(since);
            Ok(Reply::empty())
        })
        .help("Count the work of nodes from zero again"),
    ]
}

fn thread(dataplane: &Dataplane, index: ThreadIndex, all: bool) -> Thread {
    let counters = &dataplane.engine().counters;
    let seconds = dataplane.part::<Baselines>().since.elapsed().as_secs_f64();
    let (turns, punted) = dataplane.part::<Baselines>().turns_and_punts(counters, index);
    let (mut entered, mut left, mut dropped, mut calls, mut vectors) = (0, 0, 0, 0, 0);
    let (mut nodes, mut system_calls) = (Vec::new(), Vec::new());
    for (id, info) in dataplane.engine().graph().nodes() {
        let counts = dataplane.part::<Baselines>().node(dataplane.engine(), index, id);
        match info.spec.kind {
            Kind::Input => entered += counts.vectors,
            Kind::Internal => {
                calls += counts.calls;
                vectors += counts.vectors;
            }
            Kind::Timer(_) => {}
        }
        match info.spec.role {
            Role::Output => left += counts.vectors,
            Role::Drop => dropped += counts.vectors,
            Role::Transit | Role::Punt | Role::Hold => {}
        }
        if counts.system_calls > 0 {
            system_calls.push(SystemCalls {
                node: info.name.clone(),
                calls: counts.system_calls,
                vectors: counts.vectors,
                clocks: counts.system_clocks,
                clocks_per_packet: per_packet(counts.system_clocks, counts.vectors, counts.system_calls),
                vectors_per_call: ratio(counts.vectors, counts.system_calls),
            });
        }
        if counts.calls > 0 || all {
            nodes.push(Node {
                name: info.name.clone(),
                state: match info.spec.kind {
                    Kind::Input => "polling",
                    Kind::Internal => "active",
                    Kind::Timer(_) => "any wait",
                },
                calls: counts.calls,
                vectors: counts.vectors,
                suspends: 0,
                clocks: counts.clocks,
                clocks_per_packet: per_packet(counts.clocks, counts.vectors, counts.calls),
                vectors_per_call: ratio(counts.vectors, counts.calls),
            });
        }
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    system_calls.sort_by(|a, b| a.node.cmp(&b.node));
    let place = &dataplane.plan().workers[usize::from(index.0) - 1];
    Thread {
        id: index.0,
        name: place.name.clone(),
        core: place.core.0,
        seconds,
        vector_rate: ratio(vectors, calls),
        loops_per_second: turns as f64 / seconds,
        rate_in: entered as f64 / seconds,
        rate_out: left as f64 / seconds,
        rate_drop: dropped as f64 / seconds,
        rate_punt: punted as f64 / seconds,
        nodes,
        system_calls,
    }
}

/// Per call, where no packet came.
fn per_packet(clocks: u64, packets: u64, calls: u64) -> f64 {
    ratio(clocks, if packets == 0 { calls } else { packets })
}

fn ratio(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

fn render(thread: &Thread) -> String {
    let mut text = format!("Thread {} {} (lcore {})\n", thread.id, thread.name, thread.core);
    text += &format!(
        "Time {:.1}, {:.0} sec internal node vector rate {:.2} loops/sec {:.2}\n",
        thread.seconds, thread.seconds, thread.vector_rate, thread.loops_per_second
    );
    let rate = |rate| scientific(rate, 4);
    text += &format!(
        "  vector rates in {}, out {}, drop {}, punt {}\n",
        rate(thread.rate_in),
        rate(thread.rate_out),
        rate(thread.rate_drop),
        rate(thread.rate_punt)
    );
    text += &table(COLUMNS, &thread.nodes);
    for kernel in &thread.system_calls {
        text += &row([
            left(format!("{} system calls", kernel.node), 30),
            center("kernel", 12),
            right(kernel.calls, 16),
            right(kernel.vectors, 16),
            right(0, 16),
            right(scientific(kernel.clocks_per_packet, 2), 16),
            right(format!("{:.2}", kernel.vectors_per_call), 16),
        ]);
    }
    text
}
