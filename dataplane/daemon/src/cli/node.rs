// SPDX-License-Identifier: Apache-2.0
//! `show node` and `show graph`: the graph as it is wired, and where packets went in it.

use std::collections::BTreeMap;

use serde::Serialize;
use weft_cli::{Candidate, CliError, Command, Reply};
use weft_engine::NodeId;
use weft_engine::node::Kind;

use super::{Column, centered, left, row, showing, table};
use crate::baseline::Baselines;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Next {
    #[serde(skip)]
    place: usize,
    node: String,
    index: u16,
    vectors: u64,
}

#[derive(Serialize)]
struct Counts {
    thread: u16,
    calls: u64,
    clocks: u64,
    vectors: u64,
}

#[derive(Serialize)]
struct Node {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    index: u16,
    owner: String,
    /// Named by the descriptor, or used by a packet.
    next: Vec<Next>,
    /// Whose descriptors name this node.
    previous: Vec<String>,
    counters: Vec<&'static str>,
    threads: Vec<Counts>,
}

#[derive(Serialize)]
struct Edges {
    name: String,
    next: Vec<String>,
    previous: Vec<String>,
}

const NEXT: &[Column<Next>] = &[
    Column::gap(4),
    Column::right("next-index", 10, |next| next.place.to_string()),
    Column::gap(2),
    Column::right("node-index", 10, |next| next.index.to_string()),
    Column::gap(2),
    centered(Column::left("Node", 30, |next| next.node.clone())),
    Column::gap(2),
    Column::right("Vectors", 12, |next| next.vectors.to_string()),
];

const THREADS: &[Column<Counts>] = &[
    Column::gap(2),
    Column::left("Thread", 8, |counts| counts.thread.to_string()),
    centered(Column::right("Calls", 16, |counts| counts.calls.to_string())),
    centered(Column::right("Clocks", 18, |counts| counts.clocks.to_string())),
    centered(Column::right("Vectors", 16, |counts| counts.vectors.to_string())),
];

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        Command::new("show node", |dataplane: &mut Dataplane, args| {
            let id = super::node(args, dataplane)?;
            args.finish()?;
            Ok(Reply::new(node(dataplane, id), render))
        })
        .synopsis("<node>")
        .help("One node: its edges, and the packets on them")
        .completer(|dataplane, words| match words {
            [] => super::node_names(dataplane),
            _ => Vec::<Candidate>::new(),
        }),
        showing("show graph", graph).help("All nodes and the edges between them"),
        showing("show vlib graph", graph).help("As show graph"),
    ]
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Input => "input",
        Kind::Internal => "internal",
        Kind::Timer(_) => "process",
    }
}

fn node(dataplane: &mut Dataplane, id: NodeId) -> Node {
    dataplane.engine_mut().learn_edges();
    // Workers bring what they have counted on new edges with their next turn; one that hangs keeps it to itself.
    let _ = dataplane.ask_all(|_| ());
    let mut vectors: BTreeMap<NodeId, u64> = dataplane.engine().edges(id).into_iter().collect();
    let graph = dataplane.engine().graph();
    let info = graph.node(id).expect("the id was looked up by name just now");
    for next in info.spec.next.iter().filter_map(|name| graph.id(name)) {
        vectors.entry(next).or_default();
    }
    let name = |id: NodeId| graph.node(id).map_or_else(|| "(removed)".to_owned(), |node| node.name.clone());
    let counts = |thread: weft_engine::ThreadIndex| {
        let counts = dataplane.part::<Baselines>().node(dataplane.engine(), thread, id);
        Counts { thread: thread.0, calls: counts.calls, clocks: counts.clocks, vectors: counts.vectors }
    };
    Node {
        name: info.name.clone(),
        kind: kind(info.spec.kind),
        index: id.0,
        owner: info.owner.clone(),
        next: vectors
            .into_iter()
            .enumerate()
            .map(|(place, (id, vectors))| Next { place, node: name(id), index: id.0, vectors })
            .collect(),
        previous: previous(dataplane, &info.name),
        counters: info.spec.reasons().map(|reason| reason.name).collect(),
        threads: dataplane.engine().threads().map(counts).collect(),
    }
}

fn previous(dataplane: &Dataplane, name: &str) -> Vec<String> {
    let nodes = dataplane.engine().graph().nodes();
    let leading = nodes.filter(|(_, node)| node.spec.next.contains(&name));
    leading.map(|(_, node)| node.name.clone()).collect()
}

fn render(node: &Node) -> String {
    let mut text = format!(
        "node {}, type {}, state {}, index {}\n",
        node.name,
        node.kind,
        if node.kind == "input" { "polling" } else { "active" },
        node.index
    );
    text += &format!("  of {}\n  node function variants:\n    default only\n  next nodes:\n", node.owner);
    text += &match node.next.as_slice() {
        [] => "    none\n".to_owned(),
        next => table(NEXT, next),
    };
    text += "  known previous nodes:\n";
    text += &match node.previous.as_slice() {
        [] => "    none\n".to_owned(),
        names => format!("    {}\n", names.join(" ")),
    };
    if !node.counters.is_empty() {
        text += &format!("  counters:\n    {}\n", node.counters.join(" "));
    }
    text + &table(THREADS, &node.threads)
}

fn graph(dataplane: &mut Dataplane) -> Result<Reply, CliError> {
    let mut nodes: Vec<Edges> = dataplane
        .engine()
        .graph()
        .nodes()
        .map(|(_, node)| Edges {
            name: node.name.clone(),
            next: node.spec.next.iter().map(|next| (*next).to_owned()).collect(),
            previous: previous(dataplane, &node.name),
        })
        .collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Reply::list("nodes", nodes, render_graph))
}

fn render_graph(nodes: &[Edges]) -> String {
    let mut text = row([left("Name", 30), left("Next", 30), left("Previous", 30)]);
    for node in nodes {
        for line in 0..node.next.len().max(node.previous.len()).max(1) {
            let part = |names: &[String]| names.get(line).cloned().unwrap_or_default();
            let name = if line == 0 { node.name.as_str() } else { "" };
            text += &row([left(name, 30), left(part(&node.next), 30), left(part(&node.previous), 30)]);
        }
    }
    text
}
