// SPDX-License-Identifier: Apache-2.0
//! Packets along each edge of the graph, in the stats segment: `/sys/edge/names` and `/sys/edge/packets`.
//!
//! Nobody knows all edges beforehand: a next hop names the transmit node of its interface, a feature chain the next
//! feature. So a worker that sends packets along an edge for the first time asks the main thread for a column, counts
//! in its own memory until the answer comes, and brings that with it: no packet is counted twice or not at all. The
//! edges that descriptors name have their columns from the start.
//!
//! A vector costs one look into a table of places and one addition. The main thread alone gives out columns, names
//! them and takes them back: when a node goes, all workers forget its edges first, then the columns are zeroed and
//! given out again. An edge beyond the limit is not counted until another one goes, and the log says so.

use std::collections::HashMap;

use rtrb::{Consumer, Producer, RingBuffer};
use weft_stats::{NameVector, Segment, SimpleRow, SimpleVector, StatsError};

use crate::ids::{EdgeIndex, NodeId};

/// Edges that a worker may have asked for without an answer. Packets along further new ones are not counted meanwhile.
const ASKED: usize = 256;

/// From, to.
pub(crate) type Edge = (NodeId, NodeId);

/// One worker's side.
pub(crate) struct EdgeCounts {
    nodes: usize,
    /// By pair of nodes the column of the edge plus 1; 0: none yet.
    places: Vec<u16>,
    /// Nodes with a greater id have no place: forgetting need not touch their memory.
    known: usize,
    row: SimpleRow,
    /// Asked for, and what was counted since.
    asked: Vec<(Edge, u64)>,
    ask: Producer<Edge>,
}

impl EdgeCounts {
    /// The side of a worker whose counters are in `row`, and what it asks for.
    pub(crate) fn new(nodes: usize, row: SimpleRow) -> (EdgeCounts, Consumer<Edge>) {
        let (ask, asked) = RingBuffer::new(ASKED);
        // The places are address space until a node is used.
        let places = vec![0; nodes * nodes];
        (EdgeCounts { nodes, places, known: 0, row, asked: Vec::with_capacity(ASKED), ask }, asked)
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, from: NodeId, to: NodeId, packets: usize) {
        match self.places.get(from.index() * self.nodes + to.index()) {
            Some(&place) if place > 0 => self.row.add(usize::from(place) - 1, packets as u64),
            _ => self.first(from, to, packets),
        }
    }

    #[cold]
    #[inline(never)]
    fn first(&mut self, from: NodeId, to: NodeId, packets: usize) {
        match self.asked.iter_mut().find(|(edge, _)| *edge == (from, to)) {
            Some((_, count)) => *count += packets as u64,
            None => {
                if self.asked.len() < ASKED && self.ask.push((from, to)).is_ok() {
                    self.asked.push(((from, to), packets as u64));
                }
            }
        }
    }

    /// The main thread's answer.
    pub(crate) fn learn(&mut self, (from, to): Edge, column: EdgeIndex) {
        if let Some(place) = self.places.get_mut(from.index() * self.nodes + to.index()) {
            *place = column.0 + 1;
            self.known = self.known.max(from.index() + 1).max(to.index() + 1);
        }
        if let Some(at) = self.asked.iter().position(|(edge, _)| *edge == (from, to)) {
            let (_, counted) = self.asked.swap_remove(at);
            self.row.add(column.index(), counted);
        }
    }

    /// Forgets all edges of a node that goes.
    pub(crate) fn forget(&mut self, node: NodeId) {
        let node = node.index();
        if node < self.known {
            for other in 0..self.known {
                self.places[node * self.nodes + other] = 0;
                self.places[other * self.nodes + node] = 0;
            }
        }
        self.asked.retain(|((from, to), _)| from.index() != node && to.index() != node);
    }
}

/// The main thread's side.
pub(crate) struct EdgeRegistry {
    names: NameVector,
    packets: SimpleVector,
    columns: HashMap<Edge, EdgeIndex>,
    free: Vec<EdgeIndex>,
    /// Asked for in vain: there was no column.
    refused: Vec<Edge>,
    asked: Vec<Consumer<Edge>>,
}

impl EdgeRegistry {
    /// Registers room for `edges`.
    pub(crate) fn new(segment: &mut Segment, edges: usize) -> Result<EdgeRegistry, StatsError> {
        let edges = edges.min(usize::from(u16::MAX));
        Ok(EdgeRegistry {
            names: segment.names("/sys/edge/names", edges)?,
            packets: segment.simple("/sys/edge/packets", 0, edges)?,
            columns: HashMap::new(),
            free: Vec::new(),
            refused: Vec::new(),
            asked: Vec::new(),
        })
    }

    pub(crate) fn packets(&self) -> &SimpleVector {
        &self.packets
    }

    /// Hears what the next worker asks for.
    pub(crate) fn hear(&mut self, asked: Consumer<Edge>) {
        self.asked.push(asked);
    }

    /// What workers have asked for since the last call, and before that if there are columns now.
    pub(crate) fn asked(&mut self) -> Vec<Edge> {
        let again = !self.free.is_empty();
        let mut edges = if again { std::mem::take(&mut self.refused) } else { Vec::new() };
        for ring in &mut self.asked {
            while let Ok(edge) = ring.pop() {
                edges.push(edge);
            }
        }
        edges
    }

    /// Gives columns to those of `edges` that have none, in one step; `name` is `None` for one whose node has gone.
    pub(crate) fn add(
        &mut self,
        segment: &mut Segment,
        edges: impl IntoIterator<Item = Edge>,
        name: impl Fn(Edge) -> Option<String>,
    ) -> Vec<(Edge, EdgeIndex)> {
        let new = edges.into_iter().filter_map(|edge| Some((edge, name(edge)?)));
        let new: Vec<_> = new.filter(|(edge, _)| !self.columns.contains_key(edge)).collect();
        if new.is_empty() {
            return Vec::new();
        }
        segment.update(|update| {
            let mut added = Vec::new();
            for (edge, name) in new {
                if self.columns.contains_key(&edge) {
                    continue;
                }
                let len = self.names.published_len();
                let column = self.free.last().copied().unwrap_or(EdgeIndex(len as u16));
                let named = update.set_name(&self.names, column.index(), &name).and_then(|()| {
                    let len = len.max(column.index() + 1);
                    update.set_len(&self.names, len)?;
                    update.set_len(&self.packets, len)
                });
                match named {
                    Ok(()) => {
                        self.free.pop();
                        self.columns.insert(edge, column);
                        added.push((edge, column));
                    }
                    Err(error) => {
                        tracing::warn!("packets along the edge {name} are not counted: {error}");
                        self.refused.push(edge);
                    }
                }
            }
            added
        })
    }

    /// Takes the columns of a node's edges out of use; they go to [`EdgeRegistry::release`] when no worker knows them.
    pub(crate) fn remove(&mut self, segment: &mut Segment, node: NodeId) -> Vec<EdgeIndex> {
        let of_node = |&(from, to): &Edge| from == node || to == node;
        let gone: Vec<EdgeIndex> =
            self.columns.extract_if(|edge, _| of_node(edge)).map(|(_, column)| column).collect();
        segment.update(|update| {
            for column in &gone {
                let unnamed = update.set_name(&self.names, column.index(), crate::counters::DELETED);
                debug_assert!(unnamed.is_ok(), "a column that has a name can have another");
            }
        });
        gone
    }

    /// No worker counts in these columns any more.
    pub(crate) fn release(&mut self, columns: Vec<EdgeIndex>) {
        columns.iter().for_each(|column| self.packets.zero(column.index()));
        self.free.extend(columns);
    }

    /// Packets along the used edges out of `from`, by node.
    pub(crate) fn of(&self, from: NodeId) -> Vec<(NodeId, u64)> {
        let out = self.columns.iter().filter(|((node, _), _)| *node == from);
        let counted = out.map(|((_, to), column)| (*to, self.packets.sum(column.index())));
        let mut used: Vec<_> = counted.filter(|(_, packets)| *packets > 0).collect();
        used.sort_unstable();
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use weft_stats::ThreadIndex;

    const NODES: u16 = 4;
    const EDGES: usize = 12;

    #[derive(Clone)]
    enum Message {
        Forget(NodeId),
        Learn(Vec<(Edge, EdgeIndex)>),
    }

    struct Bed {
        segment: Segment,
        registry: EdgeRegistry,
        workers: Vec<(EdgeCounts, VecDeque<Message>)>,
    }

    impl Bed {
        fn new() -> Bed {
            let mut segment = Segment::new(1 << 20, 3).expect("1 MiB can be mapped");
            let mut registry = EdgeRegistry::new(&mut segment, EDGES).expect("there is room");
            let worker = |thread| {
                let row = registry.packets().row(ThreadIndex(thread));
                let (counts, asked) = EdgeCounts::new(NODES.into(), row);
                registry.hear(asked);
                (counts, VecDeque::new())
            };
            let workers = [1, 2].map(worker).into();
            Bed { segment, registry, workers }
        }

        fn post(&mut self, message: Message) {
            self.workers.iter_mut().for_each(|(_, messages)| messages.push_back(message.clone()));
        }

        fn apply(&mut self, worker: usize) {
            let (counts, messages) = &mut self.workers[worker];
            for message in messages.drain(..) {
                match message {
                    Message::Forget(node) => counts.forget(node),
                    Message::Learn(edges) => {
                        edges.into_iter().for_each(|(edge, column)| counts.learn(edge, column));
                    }
                }
            }
        }

        fn answer(&mut self) {
            let asked = self.registry.asked();
            let learned = self.registry.add(&mut self.segment, asked, |(a, b)| Some(format!("{a} {b}")));
            self.post(Message::Learn(learned));
        }

        /// A node goes, and is back when the workers have applied that.
        fn replace(&mut self, node: NodeId) {
            let gone = self.registry.remove(&mut self.segment, node);
            self.post(Message::Forget(node));
            self.apply(0);
            self.apply(1);
            self.registry.release(gone);
        }
    }

    proptest! {
        /// Oracle: a map of what was counted since both nodes are there. Workers apply what the main thread has decided
        /// whenever they get to it.
        #[test]
        fn edges_count_for_their_own_nodes_only(
            steps in prop::collection::vec((0u8..6, 0..2usize, 0..NODES, 0..NODES), 1..300),
        ) {
            let mut bed = Bed::new();
            let mut oracle: HashMap<Edge, u64> = HashMap::new();
            for (step, worker, from, to) in steps {
                let (from, to) = (NodeId(from), NodeId(to));
                match step {
                    0..=2 => {
                        bed.workers[worker].0.add(from, to, 3);
                        *oracle.entry((from, to)).or_default() += 3;
                    }
                    3 => bed.apply(worker),
                    4 => bed.answer(),
                    _ => {
                        bed.replace(from);
                        oracle.retain(|(a, b), _| *a != from && *b != from);
                    }
                }
            }
            bed.answer();
            bed.apply(0);
            bed.apply(1);
            let counted: u64 = (0..EDGES).map(|column| bed.registry.packets().sum(column)).sum();
            let waiting = bed.workers.iter().flat_map(|(counts, _)| &counts.asked);
            let waiting: u64 = waiting.map(|(_, count)| count).sum();
            prop_assert_eq!(counted + waiting, oracle.values().sum::<u64>());
            prop_assert!(waiting == 0 || bed.registry.columns.len() == EDGES, "columns were left");
            for (edge, packets) in oracle {
                if bed.registry.columns.contains_key(&edge) {
                    let found = bed.registry.of(edge.0).into_iter().find(|(to, _)| *to == edge.1);
                    prop_assert_eq!(found, Some((edge.1, packets)), "{:?}", edge);
                }
            }
        }
    }
}
