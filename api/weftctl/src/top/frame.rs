// SPDX-License-Identifier: Apache-2.0
//! What one look shows: the rows of all panes, worked out from two snapshots. As JSON it is a promise to scripts;
//! docs/weftctl.md has the shape.

use std::{cmp::Ordering, time::Duration};

use serde::Serialize;
use weft_stats::tables::{BufferPool, PerThread, Snapshot, Tables, rates};

/// Figures are of the interval between the snapshots, unless they are called totals.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Frame {
    pub version: Option<String>,
    pub pid: Option<u64>,
    pub uptime_seconds: u64,
    /// 0 at the first look: there are no rates yet then.
    pub interval_seconds: f64,
    pub heartbeat: u64,
    /// Of all interfaces but sub-interfaces, whose parents count their packets too.
    pub rx: Flow,
    pub tx: Flow,
    pub drops_per_second: f64,
    pub buffers: Buffers,
    pub interfaces: Vec<Interface>,
    pub nodes: Vec<Node>,
    pub drops: Vec<Drop>,
    /// What nodes count that ends no packet.
    pub events: Vec<Drop>,
    pub workers: Vec<Worker>,
}

/// Traffic one way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize)]
pub struct Flow {
    pub packets_per_second: f64,
    /// Of Ethernet frames without preamble, FCS and gap.
    pub bits_per_second: f64,
    pub total_packets: u64,
    pub total_bytes: u64,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub struct Buffers {
    pub used: u64,
    pub total: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Interface {
    pub name: String,
    /// `up`, `down` by the operator, or `no-link`.
    pub state: String,
    pub rx: Flow,
    pub tx: Flow,
    pub drops_per_second: f64,
    pub total_drops: u64,
}

/// A node that has run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    pub name: String,
    pub packets_per_second: f64,
    pub calls_per_second: f64,
    pub vectors_per_call: Option<f64>,
    pub clocks_per_packet: Option<f64>,
    /// Of the clocks of all nodes, 0 to 1.
    pub share: Option<f64>,
}

/// A reason that was counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drop {
    pub node: String,
    pub reason: String,
    pub sentence: String,
    /// `drop` or `event`.
    pub kind: String,
    pub per_second: f64,
    pub total: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worker {
    /// Of its thread, or its number among all threads.
    pub name: String,
    /// Time in turns that moved packets, 0 to 1.
    pub busy: Option<f64>,
    pub packets_per_second: f64,
    pub clocks_per_packet: Option<f64>,
    pub loops_per_second: f64,
    pub sleeps_per_second: f64,
}

/// Which rows come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Activity,
    Name,
}

impl Frame {
    /// What happened from `before` to `after`, which was taken at `wall` since 1970.
    pub fn new(before: &Snapshot, after: &Snapshot, wall: Duration) -> Self {
        let rates = rates(before, after);
        let now = &after.counters;
        let interfaces: Vec<Interface> = now
            .interfaces
            .iter()
            .zip(&rates.interfaces)
            .map(|(total, rate)| Interface {
                name: total.name.clone(),
                state: total.state.clone(),
                rx: flow(&total.rx_packets, &total.rx_bytes, &rate.rx_packets, &rate.rx_bytes),
                tx: flow(&total.tx_packets, &total.tx_bytes, &rate.tx_packets, &rate.tx_bytes),
                drops_per_second: rate.drops.sum(),
                total_drops: total.drops.sum(),
            })
            .collect();
        let ports = || interfaces.iter().filter(|interface| !is_sub_interface(&interface.name, now));
        let received: Vec<&PerThread<f64>> = rates
            .interfaces
            .iter()
            .filter(|interface| !is_sub_interface(&interface.name, now))
            .map(|interface| &interface.rx_packets)
            .collect();
        let clocks: f64 = rates.nodes.iter().map(|rate| rate.clocks.sum()).sum();
        let nodes = now.nodes.iter().zip(&rates.nodes).filter(|(total, _)| total.calls.sum() > 0);
        let counted = now.reasons.iter().zip(&rates.reasons).filter(|(total, _)| total.count.sum() > 0);
        let counted = counted.map(|(total, rate)| Drop {
            node: total.node.clone(),
            reason: total.reason.clone(),
            sentence: total.sentence.clone(),
            kind: total.kind.clone(),
            per_second: rate.count.sum(),
            total: total.count.sum(),
        });
        let (events, drops) = counted.partition(|counted| counted.kind == EVENT);
        let mut frame = Frame {
            version: after.system.version.clone(),
            pid: after.system.pid,
            uptime_seconds: wall.saturating_sub(after.system.boot_time).as_secs(),
            interval_seconds: after.taken.saturating_duration_since(before.taken).as_secs_f64(),
            heartbeat: after.system.heartbeat,
            rx: ports().map(|port| port.rx).fold(Flow::default(), sum),
            tx: ports().map(|port| port.tx).fold(Flow::default(), sum),
            // Packets that no interface received can be dropped too, so the interfaces do not have them all.
            drops_per_second: rates
                .nodes
                .iter()
                .filter(|node| node.name == DROP)
                .map(|node| node.vectors.sum())
                .sum(),
            buffers: buffers(after),
            nodes: nodes
                .map(|(_, rate)| Node {
                    name: rate.name.clone(),
                    packets_per_second: rate.vectors.sum(),
                    calls_per_second: rate.calls.sum(),
                    vectors_per_call: ratio(rate.vectors.sum(), rate.calls.sum()),
                    clocks_per_packet: ratio(rate.clocks.sum(), rate.vectors.sum()),
                    share: ratio(rate.clocks.sum(), clocks),
                })
                .collect(),
            drops,
            events,
            workers: rates
                .workers
                .iter()
                .map(|rate| {
                    let packets = received.iter().map(|packets| packets.get(rate.thread)).sum();
                    let thread = usize::from(rate.thread.0);
                    Worker {
                        name: after.system.threads.get(thread).cloned().unwrap_or(thread.to_string()),
                        busy: ratio(rate.busy_clocks, after.system.clocks_per_second.unwrap_or(0) as f64),
                        packets_per_second: packets,
                        clocks_per_packet: ratio(rate.busy_clocks, packets),
                        loops_per_second: rate.turns,
                        sleeps_per_second: rate.sleeps,
                    }
                })
                .collect(),
            interfaces,
        };
        frame.sort(Order::Activity);
        frame
    }

    /// Sorts the rows of all panes but the workers, which keep the order of their numbers.
    pub fn sort(&mut self, order: Order) {
        self.interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        self.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        for counted in [&mut self.drops, &mut self.events] {
            counted.sort_by(|a, b| (&a.node, &a.reason).cmp(&(&b.node, &b.reason)));
        }
        if order == Order::Activity {
            // Stable: what is equally busy stays sorted by name.
            self.interfaces.sort_by(|a, b| busier(a.activity(), b.activity()));
            self.nodes.sort_by(|a, b| busier(a.activity(), b.activity()));
            self.drops.sort_by(|a, b| busier(a.activity(), b.activity()));
            self.events.sort_by(|a, b| busier(a.activity(), b.activity()));
        }
    }
}

/// [`Drop::kind`] of what ends no packet.
const EVENT: &str = "event";
/// The node in which dropped packets end.
const DROP: &str = "drop";

/// What rows are sorted by: the first figure, and where it is the same, the second.
type Activity = [f64; 2];

fn busier(a: Activity, b: Activity) -> Ordering {
    b[0].total_cmp(&a[0]).then(b[1].total_cmp(&a[1]))
}

impl Interface {
    fn activity(&self) -> Activity {
        let packets = self.rx.packets_per_second + self.tx.packets_per_second;
        [packets, (self.rx.total_packets as f64) + (self.tx.total_packets as f64)]
    }
}

impl Node {
    fn activity(&self) -> Activity {
        [self.share.unwrap_or(0.0), self.packets_per_second]
    }
}

impl Drop {
    fn activity(&self) -> Activity {
        [self.per_second, self.total as f64]
    }
}

/// Whether `name` is that of another interface and a number: the packets of `p0.100` are counted for `p0` too.
fn is_sub_interface(name: &str, tables: &Tables) -> bool {
    let parent = name.rsplit_once('.').filter(|(_, number)| number.parse::<u32>().is_ok());
    // The table is sorted by name.
    parent.is_some_and(|(parent, _)| {
        tables.interfaces.binary_search_by(|interface| interface.name.as_str().cmp(parent)).is_ok()
    })
}

fn flow(
    packets: &PerThread,
    bytes: &PerThread,
    packet_rate: &PerThread<f64>,
    byte_rate: &PerThread<f64>,
) -> Flow {
    Flow {
        packets_per_second: packet_rate.sum(),
        bits_per_second: byte_rate.sum() * 8.0,
        total_packets: packets.sum(),
        total_bytes: bytes.sum(),
    }
}

fn sum(a: Flow, b: Flow) -> Flow {
    Flow {
        packets_per_second: a.packets_per_second + b.packets_per_second,
        bits_per_second: a.bits_per_second + b.bits_per_second,
        total_packets: a.total_packets.wrapping_add(b.total_packets),
        total_bytes: a.total_bytes.wrapping_add(b.total_bytes),
    }
}

fn buffers(snapshot: &Snapshot) -> Buffers {
    let used = snapshot.pools.iter().fold(0u64, |sum, pool| sum.saturating_add(pool.used));
    let free = |sum: u64, pool: &BufferPool| sum.saturating_add(pool.cached).saturating_add(pool.available);
    Buffers { used, total: snapshot.pools.iter().fold(used, free) }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}
