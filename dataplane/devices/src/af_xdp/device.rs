// SPDX-License-Identifier: Apache-2.0
//! A port as a device: its queues on their way to workers, between them, and back to an untouched Linux interface.
//!
//! Going: nothing new in, then away with what leads packets there, then collect both halves of every queue, and close.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use weft_engine::buffer::Buffers;
use weft_engine::counters::Counters;
use weft_engine::{BufferIndex, Engine, InterfaceIndex, NodeId, ThreadIndex};
use weft_stats::{EntryIndex, Segment, SimpleRow, StatsError};

use super::input::{AfXdpInput, QueueVectors, RxQueue};
use super::output::{AfXdpOutput, TxQueue};
use super::port::{AfXdpPort, PortError, Queue};
use super::socket::{BusyPoll, Effect, QueueId, SocketReport, XskStatistics};
use super::stall::Watch;
use super::umem::Umem;
use crate::closing::HostKey;
use crate::device::{Details, Device, DeviceKind, Leaving};
use crate::netdev::Netdev;
use crate::tap;
use crate::tap::device::HostTap;
use crate::tap::input::Side;

/// What it is.
pub static AF_XDP: DeviceKind =
    DeviceKind { word: "af_xdp", sentence: "an AF_XDP port", class: "AF_XDP interface" };

/// A port on queues of a Linux interface.
pub struct XdpDevice {
    /// The open port.
    pub port: AfXdpPort,
    /// Per queue. Worker N sends on queue N modulo their number.
    pub tx: Vec<TxQueue>,
    /// The Linux interface.
    pub host: HostKey,
    /// By queue.
    pub counters: Option<XdpCounters>,
    /// The host's side of the port.
    pub host_tap: Option<HostTap>,
    /// The node af-xdp-input.
    pub input: NodeId,
    /// The node tap-input, where copies of frames of the host come in.
    pub copies: NodeId,
    /// Whether what the NIC receives comes here.
    pub watch: Watch,
    /// The largest IP packet that fits with two VLAN tags, and why.
    pub max_mtu: (u32, &'static str),
}

/// Receive queues that workers have given up.
type Returned = Arc<Mutex<Vec<RxQueue>>>;

/// What was returned so far.
fn collect(returned: &Returned) -> Vec<RxQueue> {
    std::mem::take(&mut *returned.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Hands a receive queue to a worker. It counts in `counters`, or as before.
pub fn give(
    engine: &mut Engine,
    input: NodeId,
    thread: ThreadIndex,
    mut queue: RxQueue,
    counters: Option<QueueVectors>,
) {
    queue.count_in(counters, thread);
    engine.post(thread, move |worker| {
        if let Some(input) = worker.node_mut::<AfXdpInput>(input) {
            input.add(queue);
        }
    });
}

/// Has workers give up the queues of an interface, or one of them; they are in the result when all workers have passed.
fn take(engine: &mut Engine, input: NodeId, interface: InterfaceIndex, queue: Option<QueueId>) -> Returned {
    let returned = Returned::default();
    let into = Arc::clone(&returned);
    engine.post_all(move |worker| {
        if let Some(input) = worker.node_mut::<AfXdpInput>(input) {
            let queues = input.take(interface, queue);
            into.lock().unwrap_or_else(PoisonError::into_inner).extend(queues);
        }
    });
    returned
}

impl XdpDevice {
    /// Queues in each direction.
    pub fn queues(&self) -> usize {
        self.tx.len()
    }
}

impl XdpDevice {
    /// Its Linux interface has come back as another one, on which `port` is open: transmits by it from now on. The receive queues
    /// of the old one are taken from the workers, and what it still holds comes back by a helper thread.
    pub fn switch(&mut self, leaving: &mut Leaving<'_>, port: AfXdpPort, tx: Vec<TxQueue>) {
        let Leaving { engine, closing, interface, name, tx: node } = leaving;
        let (mut old, old_tx) =
            (std::mem::replace(&mut self.port, port), std::mem::replace(&mut self.tx, tx.clone()));
        // Another NIC has counted for itself.
        self.watch = Watch::default();
        old.stop();
        tap::device::take(engine, self.copies, Side::Interface(*interface));
        let returned = take(engine, self.input, *interface, None);
        transmit_by(engine, *node, tx);
        let (buffers, name) = (Arc::clone(&engine.buffers), name.clone());
        closing.begin(engine, self.host.clone(), move || {
            give_back(old, join(collect(&returned), old_tx), &buffers, &name)
        });
    }
}

impl XdpDevice {
    /// Serves the queues of its Linux interface that have come: gives the receive queues, for workers, and transmits by
    /// all from now on. A worker that shared a queue leaves its frames there to those who go on using it.
    ///
    /// # Errors
    /// If one cannot be served.
    pub fn follow_queues(
        &mut self,
        engine: &mut Engine,
        (interface, name): (InterfaceIndex, &str),
        node: NodeId,
        umem: &Umem,
    ) -> Result<Vec<RxQueue>, PortError> {
        let queues = self.port.follow_queues(umem)?;
        let (receiving, tx) = split(interface, &self.port, queues);
        if receiving.is_empty() {
            return Ok(receiving);
        }
        self.tx.extend(tx);
        transmit_by(engine, node, self.tx.clone());
        self.counters.take().into_iter().for_each(|counters| counters.remove(&mut engine.stats));
        self.counters = XdpCounters::new(&mut engine.stats, name, self.tx.len());
        if let Some(vectors) = self.counters.as_ref().map(|counters| counters.queues.clone()) {
            let input = self.input;
            engine.post_all(move |worker| {
                let thread = worker.thread();
                if let Some(input) = worker.node_mut::<AfXdpInput>(input) {
                    input.count_in(interface, &vectors, thread);
                }
            });
        }
        Ok(receiving)
    }
}

/// Has the workers transmit by these queues: worker N by queue N modulo their number.
fn transmit_by(engine: &mut Engine, node: NodeId, tx: Vec<TxQueue>) {
    engine.post_all(move |worker| {
        let place = usize::from(worker.thread().0).saturating_sub(1) % tx.len();
        if let Some(output) = worker.node_mut::<AfXdpOutput>(node) {
            output.switch(Arc::clone(&tx[place]));
        }
    });
}

/// Closes a port, and frees the buffers that it held.
fn give_back(port: AfXdpPort, queues: Vec<Queue>, buffers: &Arc<Buffers>, name: &str) {
    let reclaimed = port.close(queues);
    let mut cache = buffers.cache(0);
    reclaimed.chunks.iter().for_each(|chunk| cache.give_back(BufferIndex(chunk.0)));
    if reclaimed.lost > 0 {
        tracing::warn!(
            "{name}: the kernel did not give back {} frames that it was to send; their buffers are not used again",
            reclaimed.lost
        );
    }
}

impl Device for XdpDevice {
    fn kind(&self) -> &'static DeviceKind {
        &AF_XDP
    }

    fn netdevs(&self) -> Vec<&Netdev> {
        [Some(self.port.netdev()), self.host_side()].into_iter().flatten().collect()
    }

    fn host_side(&self) -> Option<&Netdev> {
        self.host_tap.as_ref().map(|host| host.tap.netdev())
    }

    fn shares_mac(&self) -> bool {
        true
    }

    fn mtu_limit(&self) -> (u32, &'static str) {
        self.max_mtu
    }

    fn set_tagged(&mut self, tagged: bool) -> Result<(), String> {
        self.port.set_tagged(tagged).map_err(|error| error.to_string())
    }

    fn set_promiscuous(&mut self, promiscuous: bool) -> Result<(), String> {
        self.port.set_promiscuous(promiscuous).map_err(|error| error.to_string())
    }

    fn link(&self) -> Option<Result<(), String>> {
        Some(self.port.netdev().is_up())
    }

    fn collect(&self, interface: InterfaceIndex, main: &Counters) {
        // The last figures stand if the socket cannot be asked.
        let Ok(queues) = self.port.statistics() else { return };
        let missed: u64 = queues.iter().map(|queue| queue.rx_dropped + queue.rx_ring_full).sum();
        main.interfaces.rx_miss.set(interface.index(), missed);
        if let Some(counters) = &self.counters {
            counters.set(&queues);
        }
    }

    fn input(&self) -> Option<NodeId> {
        Some(self.input)
    }

    fn set_polling(&self, engine: &mut Engine, interface: InterfaceIndex, polling: bool) -> bool {
        let node = self.input;
        engine.post_all(move |worker| {
            if let Some(input) = worker.node_mut::<AfXdpInput>(node) {
                input.set_polling(interface, polling);
            }
        });
        true
    }

    fn move_queue(
        &self,
        engine: &mut Engine,
        interface: InterfaceIndex,
        queue: u32,
        to: ThreadIndex,
        arrived: Box<dyn FnOnce()>,
    ) -> bool {
        let node = self.input;
        let returned = take(engine, node, interface, Some(QueueId(queue)));
        engine.after_workers(move |engine| {
            for queue in collect(&returned) {
                give(engine, node, to, queue, None);
            }
            arrived();
        });
        true
    }

    fn details(&self) -> Details {
        details(self)
    }

    fn close(self: Box<Self>, leaving: &mut Leaving<'_>) {
        let XdpDevice { mut port, tx, host, counters, host_tap, input, copies, .. } = *self;
        let Leaving { engine, closing, interface, name, tx: node } = leaving;
        port.stop();
        tap::device::take(engine, copies, Side::Interface(*interface));
        if let Some(tap) = host_tap {
            tap.close(engine, closing, *interface, *node);
        }
        if let Some(counters) = counters {
            counters.remove(&mut engine.stats);
        }
        // The workers' hold of the transmit queues ends with the node.
        engine.remove_node(*node);
        let returned = take(engine, input, *interface, None);
        let (buffers, name) = (Arc::clone(&engine.buffers), name.clone());
        closing.begin(engine, host, move || give_back(port, join(collect(&returned), tx), &buffers, &name));
    }
}

/// The two halves of each queue of a port.
pub fn split(index: InterfaceIndex, port: &AfXdpPort, queues: Vec<Queue>) -> (Vec<RxQueue>, Vec<TxQueue>) {
    let fills_checksums = port.has_open_checksums();
    queues
        .into_iter()
        .map(|Queue { id, rx, tx }| {
            let mut receiving = RxQueue::new(index, id, rx);
            receiving.fills_checksums = fills_checksums;
            (receiving, Arc::new(Mutex::new(tx)))
        })
        .unzip()
}

/// Puts them together again, when no worker has either half.
pub fn join(mut receiving: Vec<RxQueue>, tx: Vec<TxQueue>) -> Vec<Queue> {
    receiving.sort_by_key(|queue| queue.id);
    let mut receiving = receiving.into_iter().peekable();
    let mut queues = Vec::new();
    for (id, tx) in (0..).map(QueueId).zip(tx) {
        let rx = receiving.next_if(|queue| queue.id == id);
        match (rx, Arc::into_inner(tx)) {
            (Some(RxQueue { rx, .. }), Some(tx)) => {
                queues.push(Queue { id, rx, tx: tx.into_inner().unwrap_or_else(PoisonError::into_inner) });
            }
            _ => tracing::error!("queue {} was not given back by its worker; its buffers are lost", id.0),
        }
    }
    queues
}

/// Counters of a port by queue: `/xdp/<interface>/<counter>`.
pub struct XdpCounters {
    /// What workers count.
    pub queues: QueueVectors,
    entries: Vec<EntryIndex>,
    /// The kernel's, in the order of [`COUNTERS`].
    rows: Vec<SimpleRow>,
}

/// The name of a counter, and its place.
type Counter = (&'static str, fn(&XskStatistics) -> u64);

/// The counters of `struct xdp_statistics` (linux/if_xdp.h).
const COUNTERS: [Counter; 6] = [
    ("rx_dropped", |queue| queue.rx_dropped),
    ("rx_ring_full", |queue| queue.rx_ring_full),
    ("rx_fill_ring_empty", |queue| queue.rx_fill_ring_empty),
    ("rx_invalid_descs", |queue| queue.rx_invalid_descs),
    ("tx_invalid_descs", |queue| queue.tx_invalid_descs),
    ("tx_ring_empty", |queue| queue.tx_ring_empty),
];

impl XdpCounters {
    /// Registers the counters. A segment without room for them is no reason to do without the port.
    pub fn new(stats: &mut Segment, interface: &str, queues: usize) -> Option<Self> {
        let path = |counter: &str| format!("/xdp/{}/{counter}", interface.replace('/', "_"));
        let mut entries = Vec::new();
        let registered = stats.update(|update| {
            let rx = update.combined(&path("rx"), queues, queues)?;
            entries.push(rx.entry());
            let polls = update.simple(&path("polls"), queues, queues)?;
            entries.push(polls.entry());
            let mut rows = Vec::new();
            for (name, _) in COUNTERS {
                let vector = update.simple(&path(name), queues, queues)?;
                entries.push(vector.entry());
                rows.push(vector.row(ThreadIndex(0)));
            }
            Ok::<_, StatsError>((QueueVectors { rx, polls }, rows))
        });
        match registered {
            Ok((queues, rows)) => Some(XdpCounters { queues, entries, rows }),
            Err(error) => {
                tracing::warn!("{interface}: no counters of its queues: {error}");
                stats.update(|update| entries.iter().for_each(|entry| update.remove(*entry)));
                None
            }
        }
    }

    fn set(&self, queues: &[XskStatistics]) {
        for ((_, read), row) in COUNTERS.iter().zip(&self.rows) {
            for (number, queue) in queues.iter().enumerate() {
                row.set(number, read(queue));
            }
        }
    }

    pub fn remove(self, stats: &mut Segment) {
        stats.update(|update| self.entries.iter().for_each(|entry| update.remove(*entry)));
    }
}

/// What `show hardware-interfaces` says: driver, mode and why it is not a better one, rings, queues, advice.
fn details(device: &XdpDevice) -> Details {
    let port = &device.port;
    let (facts, rings) = (port.facts(), port.rings());
    // All sockets of a port are opened with the same settings.
    let report = port.reports().next();
    let effect = |pick: fn(&SocketReport) -> String| report.map_or_else(String::new, pick);
    let tx_budget = effect(|report| describe(&report.tx_budget, u32::to_string, "the kernel's, 32"));
    let busy_poll = effect(|report| {
        let say = |poll: &BusyPoll| format!("{} us, budget {}", poll.microseconds, poll.budget);
        describe(&report.busy_poll, say, "off")
    });
    let numa = facts.numa_node.map(|node| node.0);
    let strings = |list: &mut dyn Iterator<Item = String>| list.collect::<Vec<_>>();
    let refused = strings(&mut port.refusals().iter().map(ToString::to_string));
    let advice = strings(&mut port.advice().iter().map(ToString::to_string));
    let host_side = device.host_tap.as_ref().map(|host| host.tap.netdev().name().to_string());
    let sockets = port.statistics().unwrap_or_default();
    let mut details = Details::default();
    let at = if facts.driver.bus.is_empty() { String::new() } else { format!(" at {}", facts.driver.bus) };
    let on = numa.map_or_else(|| "no NUMA node".to_owned(), |node| format!("NUMA node {node}"));
    details.line(format_args!("host interface {}, driver {}{at}, {on}", facts.name, facts.driver.name));
    details.line(format_args!("mode: {}", port.rung()));
    refused.iter().for_each(|refusal| details.line(format_args!("  not {refusal}")));
    details.line(format_args!(
        "{} queues; rings: rx {}, fill {}, tx {}, completion {}",
        device.queues(),
        rings.rx,
        rings.fill,
        rings.tx,
        rings.completion
    ));
    details.line(format_args!("tx budget: {tx_budget}; busy poll: {busy_poll}"));
    let pieces = if port.takes_pieces() { "of several buffers (XDP_USE_SG)" } else { "of one buffer" };
    let open = if port.has_open_checksums() { "; open checksums of TCP and UDP are filled in" } else { "" };
    details.line(format_args!("frames: {pieces}, MTU up to {}{open}", device.max_mtu.0));
    if let Some(host) = &host_side {
        details.line(format_args!("host's side: {host}"));
    }
    advice.iter().for_each(|advice| details.line(format_args!("advice: {advice}")));
    for (queue, socket) in sockets.iter().enumerate() {
        let counters = [
            ("rx dropped", socket.rx_dropped),
            ("rx ring full", socket.rx_ring_full),
            ("fill ring empty", socket.rx_fill_ring_empty),
            ("rx invalid", socket.rx_invalid_descs),
            ("tx invalid", socket.tx_invalid_descs),
        ];
        let seen = strings(
            &mut counters
                .iter()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| format!("{name} {count}")),
        );
        if !seen.is_empty() {
            details.line(format_args!("kernel, queue {queue}: {}", seen.join(", ")));
        }
    }
    details.field("host_interface", facts.name.as_str());
    details.field("driver", facts.driver.name.as_str());
    details.field("bus", facts.driver.bus.as_str());
    details.field("numa", numa);
    details.field("mode", port.rung().to_string());
    details.field("refused", refused);
    details.field("advice", advice);
    details.field("queues", device.queues());
    details.field("rings", vec![rings.rx, rings.fill, rings.tx, rings.completion]);
    details.field("zero_copy", report.is_some_and(|report| report.zero_copy));
    details.field("tx_budget", tx_budget);
    details.field("busy_poll", busy_poll);
    details.field("host_side", host_side);
    let of_socket = |queue: &XskStatistics| {
        json!(
            COUNTERS
                .iter()
                .map(|(name, read)| ((*name).to_owned(), json!(read(queue))))
                .collect::<serde_json::Map<_, _>>()
        )
    };
    details.field("sockets", sockets.iter().map(of_socket).collect::<Vec<_>>());
    details
}

fn describe<T>(effect: &Effect<T>, say: impl Fn(&T) -> String, otherwise: &str) -> String {
    match effect {
        Effect::NotAsked => otherwise.to_owned(),
        Effect::InEffect(value) => say(value),
        Effect::Refused(errno) => {
            format!("{otherwise}; refused: {}", std::io::Error::from_raw_os_error(*errno))
        }
    }
}
