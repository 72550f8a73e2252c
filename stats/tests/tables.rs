// SPDX-License-Identifier: Apache-2.0
//! The tables of a segment as the daemon fills it, and of segments that lack this or that.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weft_stats::tables::{BufferPool, Memory, PerThread, Snapshot, Worker, rates};
use weft_stats::{Reader, Segment, ThreadIndex};

const MAIN: ThreadIndex = ThreadIndex(0);
const WORKER: ThreadIndex = ThreadIndex(1);

fn segment() -> Segment {
    Segment::new(1 << 20, 2).expect("1 MiB can be mapped")
}

fn read(segment: &Segment) -> Snapshot {
    let fd = segment.fd().try_clone_to_owned().expect("a descriptor is free");
    Snapshot::read(&Reader::from_fd(fd).expect("sound")).expect("sound")
}

/// A name vector with these texts.
fn name(segment: &mut Segment, entry: &str, texts: &[&str]) {
    segment.update(|update| {
        let names = update.names(entry, texts.len()).expect("there is room");
        update.set_len(&names, texts.len()).expect("that is its capacity");
        for (index, text) in texts.iter().enumerate() {
            update.set_name(&names, index, text).expect("there is room");
        }
    });
}

/// A counter that worker 1 has counted to these values.
fn count(segment: &mut Segment, entry: &str, values: &[u64]) {
    let vector = segment.simple(entry, values.len(), values.len()).expect("there is room");
    let row = vector.row(WORKER);
    for (index, value) in values.iter().enumerate() {
        row.add(index, *value);
    }
}

fn per_worker(value: u64) -> PerThread {
    [0, value].into_iter().collect()
}

#[test]
fn a_segment_without_entries_gives_empty_tables() {
    let snapshot = read(&segment());
    assert!(snapshot.system.boot_time > Duration::from_secs(1_600_000_000), "it was made after 2020");
    let counters = &snapshot.counters;
    assert!(counters.interfaces.is_empty() && counters.nodes.is_empty() && counters.reasons.is_empty());
    assert!(counters.edges.is_empty() && counters.workers.is_empty());
    assert!(snapshot.pools.is_empty() && snapshot.memory.is_empty());
}

#[test]
fn an_entry_of_another_type_is_absent() {
    let mut segment = segment();
    segment.scalar("/if/names").expect("there is room");
    segment.simple("/sys/node/names", 1, 1).expect("there is room");
    name(&mut segment, "/sys/edge/names", &["a b"]);
    segment.combined("/sys/edge/packets", 1, 1).expect("there is room");
    let counters = read(&segment).counters;
    assert!(counters.interfaces.is_empty() && counters.nodes.is_empty());
    assert_eq!(counters.edges.len(), 1);
    assert!(counters.edges[0].packets.is_empty());
}

#[test]
fn interfaces_have_sums_and_threads() {
    let mut segment = segment();
    name(&mut segment, "/if/names", &["p1", "deleted", "p0", ""]);
    let rx = segment.combined("/if/rx", 4, 4).expect("there is room");
    rx.row(MAIN).add(2, 1, 60);
    rx.row(WORKER).add(2, 2, 200);
    count(&mut segment, "/if/drops", &[0, 9, 3, 9]);
    let interfaces = read(&segment).counters.interfaces;
    assert_eq!(interfaces.iter().map(|row| &row.name[..]).collect::<Vec<_>>(), ["p0", "p1"]);
    let p0 = &interfaces[0];
    assert_eq!((p0.rx_packets.sum(), p0.rx_bytes.sum(), p0.drops.sum()), (3, 260, 3));
    assert_eq!((p0.rx_packets.get(MAIN), p0.rx_packets.get(WORKER)), (1, 2));
    assert_eq!(p0.rx_packets.get(ThreadIndex(7)), 0, "there is no such thread");
    assert_eq!(p0.rx_bytes.iter().collect::<Vec<_>>(), [(MAIN, 60), (WORKER, 200)]);
    assert!(p0.tx_packets.is_empty(), "nobody counts that here");
}

#[test]
fn a_name_in_two_slots_is_one_row() {
    let mut segment = segment();
    name(&mut segment, "/sys/node/names", &["tap0-tx", "drop", "tap0-tx"]);
    count(&mut segment, "/sys/node/calls", &[1, 10, 100]);
    let nodes = read(&segment).counters.nodes;
    assert_eq!(
        nodes.iter().map(|row| (&row.name[..], row.calls.sum())).collect::<Vec<_>>(),
        [("drop", 10), ("tap0-tx", 101)]
    );
}

#[test]
fn reasons_edges_workers_and_levels() {
    let mut segment = segment();
    name(&mut segment, "/sys/reason/names", &["ip4-lookup/no_route", "if/0-tx/full", "malformed"]);
    name(&mut segment, "/sys/reason/sentences", &["no route to the destination"]);
    name(&mut segment, "/sys/reason/severities", &["error", "info", "info"]);
    name(&mut segment, "/sys/reason/kinds", &["drop", "event"]);
    count(&mut segment, "/node/errors", &[5, 6, 7]);
    name(&mut segment, "/sys/edge/names", &["ip4-lookup drop", "malformed"]);
    count(&mut segment, "/sys/edge/packets", &[5, 6]);
    count(&mut segment, "/sys/workers", &[100, 90, 3, 5_000]);
    segment.scalar("/buffer-pools/default-numa-0/used").expect("there is room").set(7);
    segment.scalar("/buffer-pools/default-numa-0/available").expect("there is room").set(8);
    let heap = segment.simple("/mem/stat segment", 7, 7).expect("there is room");
    [30, 10, 20].iter().zip(0..).for_each(|(bytes, column)| heap.row(MAIN).add(column, *bytes));
    segment.symlink("/mem/stat segment/used", heap.entry(), 1).expect("there is room");

    let snapshot = read(&segment);
    let reasons = &snapshot.counters.reasons;
    assert_eq!(reasons.len(), 2, "what is malformed is left out: {reasons:?}");
    assert_eq!(
        [
            &reasons[0].node[..],
            &reasons[0].reason,
            &reasons[0].severity,
            &reasons[0].kind,
            &reasons[0].sentence
        ],
        ["if/0-tx", "full", "info", "event", ""]
    );
    assert_eq!((&reasons[1].node[..], &reasons[1].reason[..]), ("ip4-lookup", "no_route"));
    assert_eq!(
        (&reasons[1].sentence[..], &reasons[1].count),
        ("no route to the destination", &per_worker(5))
    );
    let edges = &snapshot.counters.edges;
    assert_eq!(edges.len(), 1, "what is malformed is left out: {edges:?}");
    assert_eq!(
        (&edges[0].from[..], &edges[0].to[..], &edges[0].packets),
        ("ip4-lookup", "drop", &per_worker(5))
    );
    let worker = Worker { thread: WORKER, turns: 100, idle_turns: 90, sleeps: 3, busy_clocks: 5_000 };
    assert_eq!(snapshot.counters.workers, [worker]);
    let pool = BufferPool { name: "default-numa-0".to_owned(), cached: 0, used: 7, available: 8 };
    assert_eq!(snapshot.pools, [pool]);
    let memory = Memory { name: "stat segment".to_owned(), total: 30, used: 10, free: 20 };
    assert_eq!(snapshot.memory, [memory]);
}

/// A snapshot of a daemon that has counted these packets on these edges.
fn snapshot(boot: u64, seconds: u64, start: Instant, edges: &HashMap<String, u64>) -> Snapshot {
    let mut segment = segment();
    let names: Vec<String> = edges.keys().map(|to| format!("from {to}")).collect();
    name(&mut segment, "/sys/edge/names", &names.iter().map(|name| &name[..]).collect::<Vec<_>>());
    count(&mut segment, "/sys/edge/packets", &edges.values().copied().collect::<Vec<_>>());
    let turns = edges.values().copied().max().unwrap_or_default();
    count(&mut segment, "/sys/workers", &[turns, 0, 0, 0]);
    let mut snapshot = read(&segment);
    snapshot.system.boot_time = Duration::from_secs(boot);
    snapshot.taken = start + Duration::from_secs(seconds);
    snapshot
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Things come, go, and start again; a map from name to count is the oracle.
    #[test]
    fn rates_survive_whatever_happens(
        before in prop::collection::hash_map("[a-e]", 0u64..1_000_000, 0..5),
        after in prop::collection::hash_map("[a-e]", 0u64..1_000_000, 0..5),
        seconds in 0u64..10,
        restarted in any::<bool>(),
    ) {
        let start = Instant::now();
        let old = snapshot(1, 10, start, &before);
        let new = snapshot(if restarted { 2 } else { 1 }, 10 + seconds, start, &after);
        let rates = rates(&old, &new);
        let per_second = |then: Option<u64>, now: u64| match then {
            _ if seconds == 0 => 0.0,
            Some(then) if !restarted && then <= now => (now - then) as f64 / seconds as f64,
            _ => now as f64 / seconds as f64,
        };
        prop_assert_eq!(rates.edges.len(), after.len());
        for edge in &rates.edges {
            let expected = per_second(before.get(&edge.to).copied(), after[&edge.to]);
            prop_assert_eq!(edge.packets.sum(), expected, "{}", &edge.to);
            prop_assert_eq!(edge.packets.get(WORKER), expected);
        }
        let turns = |edges: &HashMap<String, u64>| edges.values().copied().max().unwrap_or_default();
        prop_assert_eq!(rates.workers[0].turns, per_second(Some(turns(&before)), turns(&after)));
    }
}
