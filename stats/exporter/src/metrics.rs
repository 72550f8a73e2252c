// SPDX-License-Identifier: Apache-2.0
//! Which metrics there are, and their values in a snapshot.
//!
//! Names and units follow Prometheus' conventions ("Metric and label naming"): base units, counters in
//! `_total`, what is measured in the name and what it is measured of in labels. Every label has as many
//! values as there are interfaces, nodes, edges or reasons, all of which are limited in startup.conf.

use weft_stats::tables::{Edge, Interface, Memory, Node, PerThread, Reason, Snapshot, Worker};

use crate::text::{Family, Format, Kind, Label, Text};

const UP: Family = gauge("weft_up", "Whether the statistics of a running daemon could be read.");
const BUILD: Family =
    Family { name: "weft_exporter_build", kind: Kind::Info, help: "The exporter that answers." };
const START_TIME: Family = gauge("weft_start_time_seconds", "When the daemon started, since 1970.");
const CLOCK: Family = gauge("weft_clock_hertz", "Clocks of the time-stamp counter per second.");
const HEARTBEATS: Family = counter(
    "weft_heartbeats",
    "Passes of the daemon's collector. Stands still while the main thread hangs, though packets flow.",
);

/// A metric of the rows of a table that threads count in.
struct Column<R> {
    family: Family,
    figure: fn(&R) -> &PerThread,
}

const fn column<R>(name: &'static str, help: &'static str, figure: fn(&R) -> &PerThread) -> Column<R> {
    Column { family: counter(name, help), figure }
}

/// A metric of the rows of any other table.
struct Single<R> {
    family: Family,
    value: fn(&R) -> u64,
}

const fn single<R>(family: Family, value: fn(&R) -> u64) -> Single<R> {
    Single { family, value }
}

const INTERFACES: [Column<Interface>; 12] = [
    column("weft_interface_receive_packets", "Packets received.", |row| &row.rx_packets),
    column("weft_interface_receive_bytes", "Bytes received.", |row| &row.rx_bytes),
    column("weft_interface_transmit_packets", "Packets transmitted.", |row| &row.tx_packets),
    column("weft_interface_transmit_bytes", "Bytes transmitted.", |row| &row.tx_bytes),
    column("weft_interface_drops", "Packets received here and dropped anywhere.", |row| &row.drops),
    column("weft_interface_punts", "Packets received here and handed to the host.", |row| &row.punts),
    column("weft_interface_receive_ip4_packets", "IPv4 packets received.", |row| &row.ip4),
    column("weft_interface_receive_ip6_packets", "IPv6 packets received.", |row| &row.ip6),
    column(
        "weft_interface_receive_no_buffer",
        "Times the pool had no buffer for a received packet.",
        |row| &row.rx_no_buffer,
    ),
    column(
        "weft_interface_receive_missed",
        "Packets that the device dropped before the daemon saw them.",
        |row| &row.rx_missed,
    ),
    column("weft_interface_receive_errors", "Packets that arrived damaged.", |row| &row.rx_errors),
    column("weft_interface_transmit_errors", "Packets that could not be transmitted.", |row| &row.tx_errors),
];

const NODES: [Column<Node>; 3] = [
    column("weft_node_calls", "Times that a node of the graph ran.", |row| &row.calls),
    column("weft_node_packets", "Packets given to a node.", |row| &row.vectors),
    column("weft_node_clocks", "Clocks of the time-stamp counter spent in a node.", |row| &row.clocks),
];

const REASONS: [Column<Reason>; 1] = [column(
    "weft_node_errors",
    "Packets that a node dropped, by reason, and other events that it counts, as in `show errors`.",
    |row| &row.count,
)];
const REASON: Family = Family {
    name: "weft_node_error",
    kind: Kind::Info,
    help: "What a reason of weft_node_errors_total means.",
};

const EDGES: [Column<Edge>; 1] = [column(
    "weft_edge_packets",
    "Packets handed from one node to the next; to=\"drop\" are those that ended there.",
    |row| &row.packets,
)];

const WORKERS: [Single<Worker>; 4] = [
    single(counter("weft_worker_turns", "Turns of a worker's loop."), |row| row.turns),
    single(counter("weft_worker_idle_turns", "Turns that moved no packet."), |row| row.idle_turns),
    single(counter("weft_worker_sleeps", "Times a worker slept for want of packets."), |row| row.sleeps),
    single(
        counter("weft_worker_busy_clocks", "Clocks of the time-stamp counter in turns that moved packets."),
        |row| row.busy_clocks,
    ),
];

const BUFFERS: Family = gauge(
    "weft_buffers",
    "Packet buffers of a pool: free in the pool (available), free with a worker (cached), or in use (used).",
);
const MEMORY: [Single<Memory>; 2] = [
    single(gauge("weft_memory_size_bytes", "Size of one of the daemon's memories."), |memory| memory.total),
    single(gauge("weft_memory_used_bytes", "What of it is in use."), |memory| memory.used),
];

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, help }
}

/// What a sample of interfaces, nodes, edges and reasons is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The sum of all threads.
    Sums,
    /// One thread's share, with the label `thread` (0 is the main thread).
    Threads,
}

/// All metrics; `None`: there is no daemon.
pub fn render(snapshot: Option<&Snapshot>, detail: Detail, format: Format) -> String {
    let mut text = Text::new(format);
    text.family(&UP);
    text.sample(&[], snapshot.is_some().into());
    text.family(&BUILD);
    text.sample(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
    if let Some(snapshot) = snapshot {
        render_daemon(&mut text, snapshot, detail);
    }
    text.finish()
}

fn render_daemon(text: &mut Text, snapshot: &Snapshot, detail: Detail) {
    text.family(&START_TIME);
    text.sample(&[], snapshot.system.boot_time.as_secs());
    text.family(&HEARTBEATS);
    text.sample(&[], snapshot.system.heartbeat);

    if let Some(hertz) = snapshot.system.clocks_per_second {
        text.family(&CLOCK);
        text.sample(&[], hertz);
    }

    let counters = &snapshot.counters;
    table(text, &INTERFACES, &counters.interfaces, detail, |row| [("interface", &row.name)]);
    table(text, &NODES, &counters.nodes, detail, |row| [("node", &row.name)]);
    table(text, &EDGES, &counters.edges, detail, |row| [("from", &row.from), ("to", &row.to)]);
    table(text, &REASONS, &counters.reasons, detail, |row| {
        [("node", &row.node), ("reason", &row.reason), ("severity", &row.severity), ("kind", &row.kind)]
    });
    if !counters.reasons.is_empty() {
        text.family(&REASON);
    }
    for row in &counters.reasons {
        let labels: [Label<'_>; 3] =
            [("node", &row.node), ("reason", &row.reason), ("sentence", &row.sentence)];
        text.sample(&labels, 1);
    }
    singles(text, &WORKERS, &counters.workers, |row| [("thread", &row.thread)]);

    if !snapshot.pools.is_empty() {
        text.family(&BUFFERS);
    }
    for pool in &snapshot.pools {
        for (state, buffers) in [("available", pool.available), ("cached", pool.cached), ("used", pool.used)]
        {
            text.sample(&[("pool", &pool.name), ("state", &state)], buffers);
        }
    }
    singles(text, &MEMORY, &snapshot.memory, |row| [("memory", &row.name)]);
}

fn singles<R, const N: usize>(
    text: &mut Text,
    columns: &[Single<R>],
    rows: &[R],
    labels: for<'a> fn(&'a R) -> [Label<'a>; N],
) {
    for Single { family, value } in columns.iter().filter(|_| !rows.is_empty()) {
        text.family(family);
        rows.iter().for_each(|row| text.sample(&labels(row), value(row)));
    }
}

/// The columns of a table that the segment has.
fn table<R, const N: usize>(
    text: &mut Text,
    columns: &[Column<R>],
    rows: &[R],
    detail: Detail,
    labels: for<'a> fn(&'a R) -> [Label<'a>; N],
) {
    for Column { family, figure } in columns {
        if rows.iter().all(|row| figure(row).is_empty()) {
            continue;
        }
        text.family(family);
        for row in rows {
            let labels = labels(row);
            match detail {
                Detail::Sums => text.sample(&labels, figure(row).sum()),
                Detail::Threads => {
                    for (thread, value) in figure(row).iter() {
                        let mut with_thread = labels.to_vec();
                        with_thread.push(("thread", &thread));
                        text.sample(&with_thread, value);
                    }
                }
            }
        }
    }
}
