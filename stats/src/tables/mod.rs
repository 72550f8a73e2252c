// SPDX-License-Identifier: Apache-2.0
//! What the daemon keeps in the segment, as tables for people and exporters.
//!
//! The segment is columns by index, the way workers count; who looks at it wants rows by name. Here is
//! the one place that knows which entries belong together, so that an exporter and a terminal screen
//! agree. A [`Snapshot`] is one consistent read: names and figures of the same moment of the structure.
//!
//! Invariants:
//!
//! * An entry that is absent, or of another type than expected, leaves its table or column empty; only
//!   an unreadable segment is an error. So a new reader serves an old daemon and the other way round.
//! * A table is sorted by its key, and no key stands in it twice: what was counted under the same name
//!   in several places (a node that was removed and made again) is added up.
//!
//! Any thread of any process.

mod figures;
mod rates;
mod rows;

use std::collections::HashMap;
use std::time::{Duration, Instant};

pub use figures::{Figure, PerThread};
pub use rates::rates;
pub use rows::{Edge, Interface, Node, Reason, Worker};

use crate::error::ReadError;
use crate::reader::Reader;
use crate::value::{Combined, Value};
use crate::vector::ThreadIndex;
use rows::sorted;

/// Prefixes of all that is read; leaves out the symlinks, which show the same counters once more.
const WANTED: [&str; 5] = ["^/sys/", "^/if/", "^/node/errors$", "^/buffer-pools/", "^/mem/"];
/// What a name vector says in the slot of a thing that is gone.
const DELETED: &str = "deleted";

/// Everything counted: totals (`u64`), or the difference per second between two of them (`f64`).
#[derive(Clone, Debug, PartialEq)]
pub struct Tables<N = u64> {
    pub interfaces: Vec<Interface<N>>,
    pub nodes: Vec<Node<N>>,
    pub reasons: Vec<Reason<N>>,
    pub edges: Vec<Edge<N>>,
    pub workers: Vec<Worker<N>>,
}

/// The daemon as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// When the daemon started, since 1970.
    pub boot_time: Duration,
    /// Passes of the collector; stands still if the main thread hangs or has ended.
    pub heartbeat: u64,
    /// Its version, from `/sys/version`.
    pub version: Option<String>,
    /// The number of its process, as itself sees it.
    pub pid: Option<u64>,
    /// What makes seconds of the clocks of nodes and workers.
    pub clocks_per_second: Option<u64>,
    /// Names of threads, the main thread first.
    pub threads: Vec<String>,
}

/// Levels of a buffer pool, in buffers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferPool {
    pub name: String,
    /// Free, at hand in a worker's cache.
    pub cached: u64,
    /// In packets, or with a device to receive into.
    pub used: u64,
    /// Free, in the pool.
    pub available: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Whose it is.
    pub name: String,
    pub total: u64,
    pub used: u64,
    pub free: u64,
}

/// One consistent read of the segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub taken: Instant,
    pub system: System,
    pub counters: Tables,
    pub pools: Vec<BufferPool>,
    pub memory: Vec<Memory>,
}

impl Snapshot {
    /// Reads the segment.
    ///
    /// # Errors
    /// The segment is damaged, or its writer died in the middle of a change.
    pub fn read(reader: &Reader) -> Result<Snapshot, ReadError> {
        let entries = Entries(reader.dump_any(&WANTED)?.into_iter().collect());
        Ok(Snapshot {
            taken: Instant::now(),
            system: System {
                boot_time: Duration::from_secs(entries.scalar("/sys/boottime").unwrap_or_default()),
                heartbeat: entries.scalar("/sys/heartbeat").unwrap_or_default(),
                version: entries.names("/sys/version").first().cloned(),
                pid: entries.scalar("/sys/pid"),
                clocks_per_second: entries.scalar("/sys/clocks_per_second"),
                threads: entries.names("/sys/thread/names").to_vec(),
            },
            counters: Tables {
                interfaces: interfaces(&entries),
                nodes: nodes(&entries),
                reasons: reasons(&entries),
                edges: edges(&entries),
                workers: workers(&entries),
            },
            pools: pools(&entries),
            memory: memory(&entries),
        })
    }
}

/// What was read, by name.
struct Entries(HashMap<String, Value>);

impl Entries {
    fn scalar(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(Value::Scalar(value)) => Some(*value),
            _ => None,
        }
    }

    fn names(&self, name: &str) -> &[String] {
        match self.0.get(name) {
            Some(Value::Names(names)) => names,
            _ => &[],
        }
    }

    /// `[thread][index]`
    fn rows(&self, name: &str) -> &[Vec<u64>] {
        match self.0.get(name) {
            Some(Value::Simple(rows)) => rows,
            _ => &[],
        }
    }

    fn simple(&self, name: &str, index: usize) -> PerThread {
        self.rows(name).iter().map(|row| row.get(index).copied().unwrap_or_default()).collect()
    }

    /// Whether an interface is up, as the main thread says in its row.
    fn link_state(&self, interface: usize) -> &'static str {
        match self.rows("/if/state").first().and_then(|row| row.get(interface)) {
            Some(0) => "down",
            Some(1) => "no-link",
            Some(2) => "up",
            _ => "",
        }
    }

    fn combined(&self, name: &str, index: usize, part: fn(Combined) -> u64) -> PerThread {
        match self.0.get(name) {
            Some(Value::Combined(rows)) => {
                rows.iter().map(|row| part(row.get(index).copied().unwrap_or_default())).collect()
            }
            _ => PerThread::default(),
        }
    }

    /// The middles, in order, of the names that begin with `prefix` and end in `suffix`.
    fn between<'a>(&'a self, prefix: &'a str, suffix: &'a str) -> Vec<&'a str> {
        let middle = |name: &'a String| name.strip_prefix(prefix)?.strip_suffix(suffix);
        let mut found: Vec<&str> = self.0.keys().filter_map(middle).collect();
        found.sort_unstable();
        found
    }
}

/// Indices and texts of the slots of a name vector that are in use.
fn in_use(names: &[String]) -> impl Iterator<Item = (usize, &String)> {
    names.iter().enumerate().filter(|(_, name)| !name.is_empty() && *name != DELETED)
}

fn interfaces(entries: &Entries) -> Vec<Interface> {
    let interface = |(index, name): (usize, &String)| Interface {
        name: name.clone(),
        state: entries.link_state(index).to_owned(),
        rx_packets: entries.combined("/if/rx", index, |rx| rx.packets),
        rx_bytes: entries.combined("/if/rx", index, |rx| rx.bytes),
        tx_packets: entries.combined("/if/tx", index, |tx| tx.packets),
        tx_bytes: entries.combined("/if/tx", index, |tx| tx.bytes),
        drops: entries.simple("/if/drops", index),
        punts: entries.simple("/if/punt", index),
        ip4: entries.simple("/if/ip4", index),
        ip6: entries.simple("/if/ip6", index),
        rx_no_buffer: entries.simple("/if/rx-no-buf", index),
        rx_missed: entries.simple("/if/rx-miss", index),
        rx_errors: entries.simple("/if/rx-error", index),
        tx_errors: entries.simple("/if/tx-error", index),
    };
    sorted(in_use(entries.names("/if/names")).map(interface).collect())
}

fn nodes(entries: &Entries) -> Vec<Node> {
    let node = |(index, name): (usize, &String)| Node {
        name: name.clone(),
        calls: entries.simple("/sys/node/calls", index),
        vectors: entries.simple("/sys/node/vectors", index),
        clocks: entries.simple("/sys/node/clocks", index),
    };
    sorted(in_use(entries.names("/sys/node/names")).map(node).collect())
}

/// `/sys/reason/names` has "node/reason"; a reason contains no '/', a node may.
fn reasons(entries: &Entries) -> Vec<Reason> {
    let sentences = entries.names("/sys/reason/sentences");
    let severities = entries.names("/sys/reason/severities");
    let kinds = entries.names("/sys/reason/kinds");
    let reason = |(index, name): (usize, &String)| {
        let (node, reason) = name.rsplit_once('/')?;
        Some(Reason {
            node: node.to_owned(),
            reason: reason.to_owned(),
            sentence: sentences.get(index).cloned().unwrap_or_default(),
            severity: severities.get(index).cloned().unwrap_or_default(),
            kind: kinds.get(index).cloned().unwrap_or_default(),
            count: entries.simple("/node/errors", index),
        })
    };
    sorted(in_use(entries.names("/sys/reason/names")).filter_map(reason).collect())
}

/// `/sys/edge/names` has "from to".
fn edges(entries: &Entries) -> Vec<Edge> {
    let edge = |(index, name): (usize, &String)| {
        let (from, to) = name.split_once(' ')?;
        let packets = entries.simple("/sys/edge/packets", index);
        Some(Edge { from: from.to_owned(), to: to.to_owned(), packets })
    };
    sorted(in_use(entries.names("/sys/edge/names")).filter_map(edge).collect())
}

/// Columns as in `weft_engine::counters::WorkerColumn`. Row 0 belongs to the main thread, which polls
/// nothing.
fn workers(entries: &Entries) -> Vec<Worker> {
    let worker = |(thread, row): (u16, &Vec<u64>)| {
        let &[turns, idle_turns, sleeps, busy_clocks, ..] = &row[..] else { return None };
        Some(Worker { thread: ThreadIndex(thread), turns, idle_turns, sleeps, busy_clocks })
    };
    (0..).zip(entries.rows("/sys/workers")).skip(1).filter_map(worker).collect()
}

fn pools(entries: &Entries) -> Vec<BufferPool> {
    let pool = |name: &str| {
        let level = |what| entries.scalar(&format!("/buffer-pools/{name}/{what}")).unwrap_or_default();
        let [cached, used, available] = ["cached", "used", "available"].map(level);
        BufferPool { name: name.to_owned(), cached, used, available }
    };
    entries.between("/buffer-pools/", "/used").into_iter().map(pool).collect()
}

/// `/mem/<name>` has VPP's columns in row 0: total, used, free, and four more.
fn memory(entries: &Entries) -> Vec<Memory> {
    let memory = |name: &str| {
        let row = entries.rows(&format!("/mem/{name}")).first()?;
        let &[total, used, free, ..] = &row[..] else { return None };
        Some(Memory { name: name.to_owned(), total, used, free })
    };
    entries.between("/mem/", "").into_iter().filter_map(memory).collect()
}
