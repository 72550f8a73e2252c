// SPDX-License-Identifier: Apache-2.0
//! What of the node graph is drawn: nodes and edges with their rates.
//!
//! Every node of the daemon may drop, so edges to `drop` would cover all others. They are told at the
//! node that drops instead, and `drop` itself is left out.

use std::collections::HashMap;

use weft_stats::tables::{Snapshot, Tables};

/// The node in which dropped packets end.
const DROP: &str = "drop";
/// Most nodes that are drawn: the busiest. Nobody reads a picture of more.
pub const MOST_NODES: usize = 200;

/// Which nodes are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Those that have ever been given a packet.
    Used,
    All,
}

/// A node, with rates per second.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub name: String,
    pub packets: f64,
    /// 0 while no packet comes.
    pub clocks_per_packet: f64,
    pub packets_per_call: f64,
    /// Its part of the clocks of all nodes.
    pub share: f64,
    /// Packets that it drops.
    pub drops: f64,
    /// Packets that it ever dropped.
    pub dropped: u64,
    /// What it counts besides, the most frequent first.
    pub reasons: Vec<Reason>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// What it means, or its identifier.
    pub sentence: String,
    pub rate: f64,
    pub total: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Edge {
    /// Indices of nodes.
    pub from: usize,
    pub to: usize,
    /// Packets per second.
    pub packets: f64,
    /// Packets ever.
    pub total: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// Nodes left out for being too many.
    pub left_out: usize,
}

impl Graph {
    /// The graph of a snapshot, and what goes on in it.
    pub fn new(snapshot: &Snapshot, rates: &Tables<f64>, show: Show) -> Graph {
        let totals = &snapshot.counters;
        // Both have the same rows in the same order.
        let mut rows: Vec<_> = totals.nodes.iter().zip(&rates.nodes).collect();
        rows.retain(|(row, _)| row.name != DROP && (show == Show::All || row.vectors.sum() > 0));
        let left_out = rows.len().saturating_sub(MOST_NODES);
        if left_out > 0 {
            rows.sort_by_key(|(row, _)| std::cmp::Reverse(row.vectors.sum()));
            rows.truncate(MOST_NODES);
            rows.sort_by_key(|(row, _)| &row.name);
        }
        let all_clocks: f64 = rates.nodes.iter().map(|row| row.clocks.sum()).sum();
        let mut nodes: Vec<Node> = rows
            .iter()
            .map(|(row, rate)| {
                let (calls, packets, clocks) = (rate.calls.sum(), rate.vectors.sum(), rate.clocks.sum());
                Node {
                    name: row.name.clone(),
                    packets,
                    clocks_per_packet: ratio(clocks, packets),
                    packets_per_call: ratio(packets, calls),
                    share: ratio(clocks, all_clocks),
                    drops: 0.0,
                    dropped: 0,
                    reasons: Vec::new(),
                }
            })
            .collect();
        let index: HashMap<&str, usize> =
            rows.iter().enumerate().map(|(index, (row, _))| (&row.name[..], index)).collect();
        // Reasons have the names of nodes as they stand in `/err/...`, without '/'.
        let flat_index: HashMap<String, usize> =
            rows.iter().enumerate().map(|(index, (row, _))| (row.name.replace('/', "_"), index)).collect();

        let mut edges = Vec::new();
        for (row, rate) in totals.edges.iter().zip(&rates.edges) {
            let Some(&from) = index.get(&row.from[..]) else { continue };
            let (packets, total) = (rate.packets.sum(), row.packets.sum());
            if row.to == DROP {
                nodes[from].drops += packets;
                nodes[from].dropped += total;
            } else if let Some(&to) = index.get(&row.to[..])
                && (show == Show::All || total > 0)
            {
                edges.push(Edge { from, to, packets, total });
            }
        }
        for (row, rate) in totals.reasons.iter().zip(&rates.reasons) {
            let total = row.count.sum();
            if let Some(&node) = flat_index.get(&row.node)
                && total > 0
            {
                let sentence = if row.sentence.is_empty() { &row.reason } else { &row.sentence };
                let reason = Reason { sentence: sentence.clone(), rate: rate.count.sum(), total };
                nodes[node].reasons.push(reason);
            }
        }
        for node in &mut nodes {
            node.reasons.sort_by(|a, b| b.rate.total_cmp(&a.rate).then(b.total.cmp(&a.total)));
        }
        Graph { nodes, edges, left_out }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use weft_stats::tables::{self, PerThread, System, rates};

    use super::*;

    fn figure(value: u64) -> PerThread {
        [0, value].into_iter().collect()
    }

    /// After one second: nodes with their packets (100 clocks each, 10 a call), edges, reasons.
    fn graph(
        nodes: &[(&str, u64)],
        edges: &[(&str, &str, u64)],
        reasons: &[(&str, &str, u64)],
        show: Show,
    ) -> Graph {
        let snapshot = |second: u64| Snapshot {
            taken: Instant::now() + Duration::from_secs(second),
            system: System::default(),
            counters: Tables {
                interfaces: vec![],
                nodes: nodes
                    .iter()
                    .map(|(name, packets)| tables::Node {
                        name: (*name).to_owned(),
                        calls: figure(second * packets / 10),
                        vectors: figure(second * packets),
                        clocks: figure(second * packets * 100),
                    })
                    .collect(),
                reasons: reasons
                    .iter()
                    .map(|(node, reason, count)| tables::Reason {
                        node: (*node).to_owned(),
                        reason: (*reason).to_owned(),
                        sentence: String::new(),
                        severity: String::new(),
                        kind: String::new(),
                        count: figure(second * count),
                    })
                    .collect(),
                edges: edges
                    .iter()
                    .map(|(from, to, packets)| tables::Edge {
                        from: (*from).to_owned(),
                        to: (*to).to_owned(),
                        packets: figure(second * packets),
                    })
                    .collect(),
                workers: vec![],
            },
            pools: vec![],
            memory: vec![],
        };
        let (mut before, after) = (snapshot(0), snapshot(1));
        before.taken = after.taken - Duration::from_secs(1);
        Graph::new(&after, &rates(&before, &after), show)
    }

    #[test]
    fn drops_are_told_where_they_happen() {
        let graph = graph(
            &[("drop", 40), ("if/0-tx", 100), ("lookup", 300), ("unused", 0)],
            &[
                ("if/0-tx", "drop", 30),
                ("lookup", "drop", 10),
                ("lookup", "if/0-tx", 100),
                ("lookup", "unused", 0),
                ("nowhere", "lookup", 5),
            ],
            &[("if_0-tx", "full", 10), ("if_0-tx", "down", 20), ("if_0-tx", "never", 0), ("drop", "x", 1)],
            Show::Used,
        );
        let names: Vec<&str> = graph.nodes.iter().map(|node| &node.name[..]).collect();
        assert_eq!(names, ["if/0-tx", "lookup"]);
        assert_eq!(graph.edges, [Edge { from: 1, to: 0, packets: 100.0, total: 100 }]);
        let [output, lookup] = &graph.nodes[..] else { unreachable!("there are two") };
        assert_eq!((output.drops, output.dropped, lookup.drops), (30.0, 30, 10.0));
        let reasons: Vec<(&str, f64)> =
            output.reasons.iter().map(|reason| (&reason.sentence[..], reason.rate)).collect();
        assert_eq!(reasons, [("down", 20.0), ("full", 10.0)], "the most frequent first");
        assert_eq!((lookup.clocks_per_packet, lookup.packets_per_call), (100.0, 10.0));
        assert!((lookup.share - 300.0 / 440.0).abs() < 1e-9, "drop costs too");
    }

    #[test]
    fn all_nodes_if_wanted_and_the_busiest_if_too_many() {
        let nodes = [("a", 0), ("b", 10), ("drop", 0)];
        let edges = [("a", "b", 0)];
        let all = graph(&nodes, &edges, &[], Show::All);
        assert_eq!((all.nodes.len(), all.edges.len()), (2, 1));

        let names: Vec<String> = (0..MOST_NODES + 7).map(|number| format!("node-{number:04}")).collect();
        let nodes: Vec<(&str, u64)> =
            names.iter().zip(1..).map(|(name, packets)| (&name[..], packets)).collect();
        let most = graph(&nodes, &[], &[], Show::Used);
        assert_eq!((most.nodes.len(), most.left_out), (MOST_NODES, 7));
        assert_eq!(most.nodes[0].name, "node-0007", "the idlest are left out, the order stays");
    }
}
