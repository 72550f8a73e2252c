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
