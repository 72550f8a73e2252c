// SPDX-License-Identifier: Apache-2.0
//! What counters have counted since an operator cleared them.
//!
//! A counter in the stats segment belongs to its thread and only ever grows: zeroing it from here would race with the
//! worker, and would hide from a monitoring system what it has not read yet. So `clear ...` remembers the figures of
//! that moment, and `show ...` subtracts them.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Serialize, Serializer};
use weft_engine::counters::{CounterVectors, InterfaceVectors, WorkerColumn};
use weft_engine::{Engine, InterfaceIndex, NodeId, ReasonId, ThreadIndex};
use weft_stats::Combined;

use crate::subsystem::{Foundation, Subsystem};

/// Simple counters of an interface, in the order of [`InterfaceCounts::simple`].
pub const SIMPLE: [&str; 8] = ["drops", "punt", "ip4", "ip6", "rx-no-buf", "rx-miss", "rx-error", "tx-error"];

/// What was counted on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InterfaceCounts {
    /// Received.
    pub rx: Combined,
    /// Transmitted.
    pub tx: Combined,
    /// By [`SIMPLE`].
    pub simple: [u64; SIMPLE.len()],
}

impl Serialize for InterfaceCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let combined = [("rx", self.rx), ("tx", self.tx)].into_iter().flat_map(|(name, count)| {
            [(format!("{name}_packets"), count.packets), (format!("{name}_bytes"), count.bytes)]
        });
        let simple = SIMPLE.iter().zip(self.simple).map(|(name, count)| (name.replace('-', "_"), count));
        serializer.collect_map(combined.chain(simple))
    }
}

impl InterfaceCounts {
    fn read(vectors: &InterfaceVectors, interface: InterfaceIndex) -> Self {
        let v = vectors;
        let (ip4, ip6) = (v.named("/if/ip4"), v.named("/if/ip6"));
        let own = [&v.rx_no_buf, &v.rx_miss, &v.rx_error, &v.tx_error];
        let [no_buf, miss, rx_error, tx_error] = own.map(Some);
        let simple = [Some(&v.drops), Some(&v.punt), ip4, ip6, no_buf, miss, rx_error, tx_error];
        InterfaceCounts {
            rx: v.rx.sum(interface.index()),
            tx: v.tx.sum(interface.index()),
            simple: simple.map(|vector| vector.map_or(0, |vector| vector.sum(interface.index()))),
        }
    }

    fn since(self, base: &Self) -> Self {
        let combined = |now: Combined, base: Combined| Combined {
            packets: now.packets.wrapping_sub(base.packets),
            bytes: now.bytes.wrapping_sub(base.bytes),
        };
        InterfaceCounts {
            rx: combined(self.rx, base.rx),
            tx: combined(self.tx, base.tx),
            simple: std::array::from_fn(|i| self.simple[i].wrapping_sub(base.simple[i])),
        }
    }
}

/// What a node has done on one thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NodeCounts {
    /// Times that it ran.
    pub calls: u64,
    /// Packets that it was given, or brought in.
    pub vectors: u64,
    /// Clocks that it took.
    pub clocks: u64,
    /// System calls that it made.
    pub system_calls: u64,
    /// Clocks that these took, beside its own.
    pub system_clocks: u64,
}

/// What one thread has done.
#[derive(Clone, Debug, Default)]
struct ThreadCounts {
    nodes: Vec<NodeCounts>,
    turns: u64,
    punted: u64,
}

impl ThreadCounts {
    fn read(counters: &CounterVectors, thread: ThreadIndex) -> Self {
        let nodes = 0..counters.calls.published_len();
        let interfaces = 0..counters.interfaces.punt.published_len();
        ThreadCounts {
            nodes: nodes.map(|node| read_node(counters, thread, node)).collect(),
            turns: counters.workers.get(thread, WorkerColumn::Turns as usize),
            punted: interfaces.map(|interface| counters.interfaces.punt.get(thread, interface)).sum(),
        }
    }
}

fn read_node(counters: &CounterVectors, thread: ThreadIndex, node: usize) -> NodeCounts {
    NodeCounts {
        calls: counters.calls.get(thread, node),
        vectors: counters.vectors.get(thread, node),
        clocks: counters.clocks.get(thread, node),
        system_calls: counters.system_calls.get(thread, node),
        system_clocks: counters.system_clocks.get(thread, node),
    }
}

/// Which node had which id: one that came later has its own counters, from zero.
fn serials(engine: &Engine) -> Vec<Option<u64>> {
    let ids = 0..engine.graph().len() as u16;
    ids.map(|id| serial(engine, NodeId(id))).collect()
}

fn serial(engine: &Engine, node: NodeId) -> Option<u64> {
    engine.graph().node(node).map(|info| info.serial)
}

/// The figures at the time of the last `clear`.
pub struct Baselines {
    interfaces: BTreeMap<InterfaceIndex, InterfaceCounts>,
    /// By thread, then by reason; and the nodes of that time.
    reasons: Vec<Vec<u64>>,
    reason_nodes: Vec<Option<u64>>,
    threads: Vec<ThreadCounts>,
    thread_nodes: Vec<Option<u64>>,
    /// When the run time was cleared.
    pub since: Instant,
}

impl Default for Baselines {
    fn default() -> Self {
        Self::new()
    }
}

impl Baselines {
    /// Nothing has been cleared.
    pub fn new() -> Self {
        Baselines {
            interfaces: BTreeMap::new(),
            reasons: Vec::new(),
            reason_nodes: Vec::new(),
            threads: Vec::new(),
            thread_nodes: Vec::new(),
            since: Instant::now(),
        }
    }

    /// What an interface has counted.
    pub fn interface(&self, counters: &CounterVectors, interface: InterfaceIndex) -> InterfaceCounts {
        let now = InterfaceCounts::read(&counters.interfaces, interface);
        self.interfaces.get(&interface).map_or(now, |base| now.since(base))
    }

    /// `clear interfaces`
    pub fn clear_interfaces(
        &mut self,
        counters: &CounterVectors,
        interfaces: impl Iterator<Item = InterfaceIndex>,
    ) {
        let read = |interface| (interface, InterfaceCounts::read(&counters.interfaces, interface));
        self.interfaces.extend(interfaces.map(read));
    }

    /// How often a reason was counted on one thread.
    pub fn reason(&self, engine: &Engine, thread: ThreadIndex, reason: ReasonId) -> u64 {
        let now = engine.counters.reasons.get(thread, reason.index());
        let node = engine.graph().reason(reason).map_or(NodeId::DROP, |info| info.node);
        if self.reason_nodes.get(node.index()) != Some(&serial(engine, node)) {
            return now;
        }
        let base = self.reasons.get(usize::from(thread.0)).and_then(|reasons| reasons.get(reason.index()));
        now.wrapping_sub(base.copied().unwrap_or(0))
    }

    /// `clear errors`
    pub fn clear_reasons(&mut self, engine: &Engine, threads: u16) {
        let counters = &engine.counters;
        let row = |thread| {
            let reasons = 0..counters.reasons.published_len();
            reasons.map(|reason| counters.reasons.get(ThreadIndex(thread), reason)).collect()
        };
        self.reasons = (0..threads).map(row).collect();
        self.reason_nodes = serials(engine);
    }

    /// What a node has done on one thread.
    pub fn node(&self, engine: &Engine, thread: ThreadIndex, node: NodeId) -> NodeCounts {
        let now = read_node(&engine.counters, thread, node.index());
        if self.thread_nodes.get(node.index()) != Some(&serial(engine, node)) {
            return now;
        }
        let base = self.threads.get(usize::from(thread.0)).and_then(|thread| thread.nodes.get(node.index()));
        let base = base.copied().unwrap_or_default();
        NodeCounts {
            calls: now.calls.wrapping_sub(base.calls),
            vectors: now.vectors.wrapping_sub(base.vectors),
            clocks: now.clocks.wrapping_sub(base.clocks),
            system_calls: now.system_calls.wrapping_sub(base.system_calls),
            system_clocks: now.system_clocks.wrapping_sub(base.system_clocks),
        }
    }

    /// Turns of a worker's loop, and packets that it has handed to the host.
    pub fn turns_and_punts(&self, counters: &CounterVectors, thread: ThreadIndex) -> (u64, u64) {
        let now = ThreadCounts::read(counters, thread);
        let base = self.threads.get(usize::from(thread.0));
        let (turns, punted) = base.map_or((0, 0), |base| (base.turns, base.punted));
        (now.turns.wrapping_sub(turns), now.punted.wrapping_sub(punted))
    }

    /// `clear runtime`
    pub fn clear_runtime(&mut self, engine: &Engine, threads: u16) {
        let read = |thread| ThreadCounts::read(&engine.counters, ThreadIndex(thread));
        self.threads = (0..threads).map(read).collect();
        self.thread_nodes = serials(engine);
        self.since = Instant::now();
    }
}

impl Subsystem for Baselines {
    /// The next one with its index starts from zero.
    fn interface_removed(&mut self, _: &mut Foundation<'_>, index: InterfaceIndex) {
        self.interfaces.remove(&index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weft_engine::EngineConfig;

    #[test]
    fn cleared_counters_start_again_at_zero() {
        let (mut engine, _workers) = Engine::new(&EngineConfig::default()).unwrap();
        let counters = &engine.counters;
        engine.stats.update(|update| counters.interfaces.set_len(update, 2)).unwrap();
        let main = counters.rows(ThreadIndex(0));
        let (port, reason) = (InterfaceIndex(1), ReasonId(0));
        let count = |packets| {
            main.interfaces.rx.add(port.index(), packets, packets * 60);
            main.interfaces.rx_miss.add(port.index(), packets);
            main.count(reason, packets);
        };
        let mut baselines = Baselines::new();
        count(5);
        let seen = baselines.interface(counters, port);
        assert_eq!((seen.rx, seen.simple[5]), (Combined { packets: 5, bytes: 300 }, 5));
        assert_eq!(baselines.reason(&engine, ThreadIndex(0), reason), 5);
        baselines.clear_interfaces(counters, [port].into_iter());
        baselines.clear_reasons(&engine, 2);
        assert_eq!(baselines.interface(counters, port), InterfaceCounts::default());
        count(2);
        assert_eq!(baselines.interface(counters, port).rx.packets, 2);
        assert_eq!(baselines.reason(&engine, ThreadIndex(0), reason), 2);
        assert_eq!(counters.interfaces.rx.sum(1).packets, 7, "the segment keeps counting");
    }
}
