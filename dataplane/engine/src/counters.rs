// SPDX-License-Identifier: Apache-2.0
//! What a worker counts, straight into the shared stats segment.
//!
//! Every thread has its own row of every vector, so a count is a load, an add and a store to a line that no
//! other core writes. Nothing is summed, copied or formatted here.

use weft_stats::{
    Combined, CombinedRow, CombinedVector, EntryIndex, NameVector, Segment, SimpleRow, SimpleVector,
    StatsError, Update,
};

use crate::ids::{InterfaceIndex, NodeId, ReasonId, ThreadIndex};

/// How many things can be counted; each is a setting (`limits { ... }` in startup.conf).
#[derive(Clone, Debug)]
pub struct CounterLimits {
    /// Interfaces, sub-interfaces among them.
    pub interfaces: usize,
    /// Nodes of the graph.
    pub nodes: usize,
    /// Reasons of all nodes together.
    pub reasons: usize,
    /// Edges between nodes that packets have gone along, or that descriptors name; at most 65,535.
    pub edges: usize,
}

/// In the place of a name whose owner has gone, until the place has a new owner.
pub const DELETED: &str = "deleted";

impl Default for CounterLimits {
    fn default() -> Self {
        CounterLimits { interfaces: 1024, nodes: 512, reasons: 2048, edges: 4096 }
    }
}

macro_rules! interface_counters {
    ($( $(#[$meta:meta])* $field:ident: $vector:ident / $row:ident = $name:literal, $make:ident; )*) => {
        /// Interface counters of all threads, by interface index.
        pub struct InterfaceVectors {
            $( $(#[$meta])* pub $field: $vector, )*
            /// What others count of an interface, by name.
            named: Vec<(String, SimpleVector)>,
            capacity: usize,
        }

        /// One thread's row of each interface counter.
        pub struct InterfaceRows { $( $(#[$meta])* pub $field: $row, )* }

        impl InterfaceVectors {
            fn new(segment: &mut Segment, capacity: usize) -> Result<Self, StatsError> {
                Ok(InterfaceVectors {
                    $( $field: segment.$make($name, 0, capacity)?, )*
                    named: Vec::new(),
                    capacity,
                })
            }

            fn row(&self, thread: ThreadIndex) -> InterfaceRows {
                InterfaceRows { $( $field: self.$field.row(thread), )* }
            }

            /// Publishes the counters of interfaces below `len`: exactly as many as there are names.
            pub fn set_len(&self, update: &mut Update<'_>, len: usize) -> Result<(), StatsError> {
                $( update.set_len(&self.$field, len)?; )*
                self.named.iter().try_for_each(|(_, vector)| update.set_len(vector, len))
            }

            /// Makes `/interfaces/<name>/<counter>` for an interface whose counters are published.
            pub fn link(
                &self,
                update: &mut Update<'_>,
                name: &str,
                interface: InterfaceIndex,
                links: &mut Vec<EntryIndex>,
            ) -> Result<(), StatsError> {
                let stat_name = name.replace('/', "_");
                let own = [$( ($name, self.$field.entry()) ),*];
                let named = self.named.iter().map(|(name, vector)| (name.as_str(), vector.entry()));
                let named = named.filter(|(name, _)| name.starts_with("/if/"));
                for (name, entry) in own.into_iter().chain(named) {
                    let counter = name.trim_start_matches("/if/");
                    links.push(update.symlink(&format!("/interfaces/{stat_name}/{counter}"), entry, interface.0)?);
                }
                Ok(())
            }

            /// Forgets what was counted for an interface.
            pub fn zero(&self, interface: InterfaceIndex) {
                $( self.$field.zero(interface.index()); )*
                self.named.iter().for_each(|(_, vector)| vector.zero(interface.index()));
            }
        }
    };
}

interface_counters! {
    /// Received packets and bytes.
    rx: CombinedVector / CombinedRow = "/if/rx", combined;
    /// Transmitted packets and bytes.
    tx: CombinedVector / CombinedRow = "/if/tx", combined;
    /// Of the received: those to this station alone. Row 0, worked out by the main thread ([`InterfaceVectors::derive`]).
    rx_unicast: CombinedVector / CombinedRow = "/if/rx-unicast", combined;
    /// Of the received: those to a group.
    rx_multicast: CombinedVector / CombinedRow = "/if/rx-multicast", combined;
    /// Of the received: those to all stations.
    rx_broadcast: CombinedVector / CombinedRow = "/if/rx-broadcast", combined;
    /// Of the transmitted: those to one station. Row 0, worked out by the main thread.
    tx_unicast: CombinedVector / CombinedRow = "/if/tx-unicast", combined;
    /// Of the transmitted: those to a group.
    tx_multicast: CombinedVector / CombinedRow = "/if/tx-multicast", combined;
    /// Of the transmitted: those to all stations.
    tx_broadcast: CombinedVector / CombinedRow = "/if/tx-broadcast", combined;
    /// Packets that came in here and were dropped anywhere.
    drops: SimpleVector / SimpleRow = "/if/drops", simple;
    /// Packets that came in here and were handed to the host.
    punt: SimpleVector / SimpleRow = "/if/punt", simple;
    /// Times the pool had no buffer for a received packet.
    rx_no_buf: SimpleVector / SimpleRow = "/if/rx-no-buf", simple;
    /// Packets that the device dropped before Weft saw them.
    rx_miss: SimpleVector / SimpleRow = "/if/rx-miss", simple;
    /// Packets that arrived damaged.
    rx_error: SimpleVector / SimpleRow = "/if/rx-error", simple;
    /// Packets that could not be transmitted.
    tx_error: SimpleVector / SimpleRow = "/if/tx-error", simple;
    /// A [`LinkState`] as a number. Row 0, set by the main thread.
    state: SimpleVector / SimpleRow = "/if/state", simple;
}

/// Whether packets can pass an interface, as it stands in the stats segment: a level, not a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// The operator has it down.
    Down = 0,
    /// It is up, and its link is not.
    NoLink = 1,
    /// Packets pass.
    Up = 2,
}

/// The parts of [`Combined`] counts that are not of another: workers count the rare kinds, the rest follows.
fn rest(all: &CombinedVector, others: [&CombinedVector; 2], index: usize, of: &CombinedRow) {
    // Read before the whole, which may grow meanwhile.
    let [one, two] = others.map(|other| other.sum(index));
    let all = all.sum(index);
    of.set(
        index,
        Combined {
            packets: all.packets.saturating_sub(one.packets + two.packets),
            bytes: all.bytes.saturating_sub(one.bytes + two.bytes),
        },
    );
}

impl InterfaceRows {
    /// Counts a frame that came in and was not for this station alone.
    pub fn received_group(&self, interface: InterfaceIndex, is_broadcast: bool, bytes: u64) {
        let row = if is_broadcast { &self.rx_broadcast } else { &self.rx_multicast };
        row.add(interface.index(), 1, bytes);
    }

    /// Counts a frame that leaves, if it is for more than one station; `start` is what it begins with. The whole is counted
    /// elsewhere.
    #[inline(always)]
    pub fn sent_to(&self, interface: InterfaceIndex, start: &[u8], bytes: u64) {
        // The first bit on the wire says so (IEEE 802 section 8.2.2).
        if start.first().is_some_and(|first| first & 1 != 0) {
            self.sent_group(interface, start, bytes);
        }
    }

    #[cold]
    fn sent_group(&self, interface: InterfaceIndex, start: &[u8], bytes: u64) {
        let row = if start.starts_with(&[0xff; 6]) { &self.tx_broadcast } else { &self.tx_multicast };
        row.add(interface.index(), 1, bytes);
    }
}

impl InterfaceVectors {
    /// Works out how much of an interface's traffic is unicast, for the row of the main thread.
    pub fn derive(&self, interface: InterfaceIndex, main: &InterfaceRows) {
        let index = interface.index();
        rest(&self.rx, [&self.rx_multicast, &self.rx_broadcast], index, &main.rx_unicast);
        rest(&self.tx, [&self.tx_multicast, &self.tx_broadcast], index, &main.tx_unicast);
    }

    /// The counter of that name (`/if/ip4`) that a crate beside the engine keeps for every interface, made now if it is new.
    /// Before there are interfaces: those that there are then get no link to it in `/interfaces`.
    pub fn name(&mut self, segment: &mut Segment, name: &str) -> Result<SimpleVector, StatsError> {
        if let Some(vector) = self.named(name) {
            return Ok(vector.clone());
        }
        let vector = segment.simple(name, self.rx.published_len(), self.capacity)?;
        self.named.push((name.to_owned(), vector.clone()));
        Ok(vector)
    }

    /// The counter of that name, if somebody has registered it.
    pub fn named(&self, name: &str) -> Option<&SimpleVector> {
        self.named.iter().find(|(there, _)| there == name).map(|(_, vector)| vector)
    }
}

/// The vectors that the engine itself fills; the main thread's side.
pub struct CounterVectors {
    /// Per interface.
    pub interfaces: InterfaceVectors,
    /// Interface names, as long as the interface vectors.
    pub interface_names: NameVector,
    /// `/node/errors`: by reason.
    pub reasons: SimpleVector,
    /// What the reasons mean.
    pub reason_texts: ReasonTexts,
    /// Runs of each node.
    pub calls: SimpleVector,
    /// Packets given to each node.
    pub vectors: SimpleVector,
    /// Clocks spent in each node.
    pub clocks: SimpleVector,
    /// Unused by run-to-completion nodes; there because readers expect it.
    pub suspends: SimpleVector,
    /// System calls that each node has made.
    pub system_calls: SimpleVector,
    /// Clocks spent in them, which are not among the node's.
    pub system_clocks: SimpleVector,
    /// Node names.
    pub node_names: NameVector,
    /// Per worker, by [`WorkerColumn`].
    pub workers: SimpleVector,
}

/// What an operator reads about the columns of `/node/errors`, for readers that cannot ask the main thread.
pub struct ReasonTexts {
    /// `<node>/<reason>`, as in `/err/<node>/<reason>`.
    names: NameVector,
    sentences: NameVector,
    severities: NameVector,
    kinds: NameVector,
}

impl ReasonTexts {
    fn new(segment: &mut Segment, capacity: usize) -> Result<Self, StatsError> {
        Ok(ReasonTexts {
            names: segment.names("/sys/reason/names", capacity)?,
            sentences: segment.names("/sys/reason/sentences", capacity)?,
            severities: segment.names("/sys/reason/severities", capacity)?,
            kinds: segment.names("/sys/reason/kinds", capacity)?,
        })
    }

    /// Publishes as many as there are columns.
    pub(crate) fn set_len(&self, update: &mut Update<'_>, len: usize) -> Result<(), StatsError> {
        [&self.names, &self.sentences, &self.severities, &self.kinds]
            .iter()
            .try_for_each(|texts| update.set_len(*texts, len))
    }

    /// Says what a reason means: its name with that of its node, a sentence, how severe it is, and its kind.
    pub(crate) fn set(
        &self,
        update: &mut Update<'_>,
        id: ReasonId,
        [name, sentence, severity, kind]: [&str; 4],
    ) -> Result<(), StatsError> {
        update.set_name(&self.names, id.index(), name)?;
        // Clients decode ASCII only; a plugin may write more.
        let sentence = sentence.trim().replace(|c: char| !c.is_ascii() || c == '\0', "?");
        update.set_name(&self.sentences, id.index(), &sentence)?;
        update.set_name(&self.severities, id.index(), severity)?;
        update.set_name(&self.kinds, id.index(), kind)
    }

    /// Its node has gone.
    pub(crate) fn delete(&self, update: &mut Update<'_>, id: ReasonId) -> Result<(), StatsError> {
        update.set_name(&self.names, id.index(), DELETED)
    }
}

/// Columns of `/sys/workers`, one row per thread; each is `/workers/<name>` too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum WorkerColumn {
    /// Turns of the loop.
    Turns,
    /// Turns that moved no packet.
    IdleTurns,
    /// Times the worker slept.
    Sleeps,
    /// Clocks of turns that moved packets.
    BusyClocks,
    /// Buffers that the worker keeps at hand, after its last turn.
    CachedBuffers,
    /// Packets that a capture did not keep, because the main thread was behind.
    CaptureLost,
    /// Copies of packets that were made.
    Copies,
    /// Copies that were not made, because the pool was dry or they were too many.
    CopiesLost,
}

impl WorkerColumn {
    /// By column.
    const NAMES: [&str; 8] = [
        "turns",
        "idle-turns",
        "sleeps",
        "busy-clocks",
        "cached-buffers",
        "capture-lost",
        "copies",
        "copies-lost",
    ];
}

impl CounterVectors {
    /// Registers the vectors in the segment.
    pub fn new(segment: &mut Segment, limits: &CounterLimits) -> Result<Self, StatsError> {
        let columns = WorkerColumn::NAMES.len();
        let workers = segment.simple("/sys/workers", columns, columns)?;
        for (name, column) in WorkerColumn::NAMES.iter().zip(0..) {
            segment.symlink(&format!("/workers/{name}"), workers.entry(), column)?;
        }
        Ok(CounterVectors {
            interface_names: segment.names("/if/names", limits.interfaces)?,
            interfaces: InterfaceVectors::new(segment, limits.interfaces)?,
            reasons: segment.simple("/node/errors", 0, limits.reasons)?,
            reason_texts: ReasonTexts::new(segment, limits.reasons)?,
            node_names: segment.names("/sys/node/names", limits.nodes)?,
            calls: segment.simple("/sys/node/calls", 0, limits.nodes)?,
            vectors: segment.simple("/sys/node/vectors", 0, limits.nodes)?,
            clocks: segment.simple("/sys/node/clocks", 0, limits.nodes)?,
            suspends: segment.simple("/sys/node/suspends", 0, limits.nodes)?,
            system_calls: segment.simple("/sys/node/system-calls", 0, limits.nodes)?,
            system_clocks: segment.simple("/sys/node/system-clocks", 0, limits.nodes)?,
            workers,
        })
    }

    /// A node begins at zero.
    pub(crate) fn zero(&self, node: NodeId, reasons: impl Iterator<Item = ReasonId>) {
        self.of_nodes().iter().for_each(|(_, vector)| vector.zero(node.index()));
        reasons.for_each(|reason| self.reasons.zero(reason.index()));
    }

    /// What is counted by node, with the last word of its name.
    pub(crate) fn of_nodes(&self) -> [(&'static str, &SimpleVector); 6] {
        [
            ("calls", &self.calls),
            ("vectors", &self.vectors),
            ("clocks", &self.clocks),
            ("suspends", &self.suspends),
            ("system-calls", &self.system_calls),
            ("system-clocks", &self.system_clocks),
        ]
    }

    /// The rows of one thread. One owner per thread.
    pub fn rows(&self, thread: ThreadIndex) -> Counters {
        Counters {
            interfaces: self.interfaces.row(thread),
            reasons: self.reasons.row(thread),
            calls: self.calls.row(thread),
            vectors: self.vectors.row(thread),
            clocks: self.clocks.row(thread),
            system_calls: self.system_calls.row(thread),
            system_clocks: self.system_clocks.row(thread),
            worker: self.workers.row(thread),
        }
    }
}

/// One thread's rows.
pub struct Counters {
    /// Per interface.
    pub interfaces: InterfaceRows,
    reasons: SimpleRow,
    calls: SimpleRow,
    vectors: SimpleRow,
    clocks: SimpleRow,
    system_calls: SimpleRow,
    system_clocks: SimpleRow,
    worker: SimpleRow,
}

impl Counters {
    /// Counts an event.
    #[inline(always)]
    pub fn count(&self, reason: ReasonId, n: u64) {
        self.reasons.add(reason.index(), n);
    }

    #[inline(always)]
    pub(crate) fn ran(&self, node: NodeId, packets: u64, clocks: u64) {
        self.calls.add(node.index(), 1);
        self.vectors.add(node.index(), packets);
        self.clocks.add(node.index(), clocks);
    }

    #[inline(always)]
    pub(crate) fn called_kernel(&self, node: NodeId, clocks: u64) {
        self.system_calls.add(node.index(), 1);
        self.system_clocks.add(node.index(), clocks);
    }

    #[inline(always)]
    pub(crate) fn worker(&self, column: WorkerColumn, n: u64) {
        self.worker.add(column as usize, n);
    }

    #[inline(always)]
    pub(crate) fn set_worker(&self, column: WorkerColumn, value: u64) {
        self.worker.set(column as usize, value);
    }
}
