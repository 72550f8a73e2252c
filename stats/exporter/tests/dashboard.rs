// SPDX-License-Identifier: Apache-2.0
//! The Grafana dashboard asks for metrics that exist, with labels that they have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use weft_exporter::metrics::{Detail, render};
use weft_exporter::text::Format;
use weft_stats::ThreadIndex;
use weft_stats::tables::{
    BufferPool, Edge, Interface, Memory, Node, PerThread, Reason, Snapshot, System, Tables, Worker,
};

/// Everything that can be exported, once.
fn snapshot() -> Snapshot {
    let one: PerThread = [1].into_iter().collect();
    let text = || "x".to_owned();
    Snapshot {
        taken: Instant::now(),
        system: System {
            boot_time: Duration::from_secs(1),
            heartbeat: 1,
            clocks_per_second: Some(1),
            ..System::default()
        },
        counters: Tables {
            interfaces: vec![Interface {
                name: text(),
                state: text(),
                rx_packets: one.clone(),
                rx_bytes: one.clone(),
                tx_packets: one.clone(),
                tx_bytes: one.clone(),
                drops: one.clone(),
                punts: one.clone(),
                ip4: one.clone(),
                ip6: one.clone(),
                rx_no_buffer: one.clone(),
                rx_missed: one.clone(),
                rx_errors: one.clone(),
                tx_errors: one.clone(),
            }],
            nodes: vec![Node { name: text(), calls: one.clone(), vectors: one.clone(), clocks: one.clone() }],
            reasons: vec![Reason {
                node: text(),
                reason: text(),
                sentence: text(),
                severity: text(),
                kind: text(),
                count: one.clone(),
            }],
            edges: vec![Edge { from: text(), to: text(), packets: one }],
            workers: vec![Worker {
                thread: ThreadIndex(1),
                turns: 1,
                idle_turns: 1,
                sleeps: 1,
                busy_clocks: 1,
            }],
        },
        pools: vec![BufferPool { name: text(), cached: 1, used: 1, available: 1 }],
        memory: vec![Memory { name: text(), total: 1, used: 1, free: 0 }],
    }
}

/// Labels of each metric, among them those that Prometheus adds.
fn exported() -> BTreeMap<String, BTreeSet<String>> {
    let text = render(Some(&snapshot()), Detail::Sums, Format::Prometheus);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in samples {
        let (series, _) = sample.rsplit_once(' ').expect("a value follows");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let known = metrics.entry(name.to_owned()).or_default();
        known.extend(["instance", "job"].map(str::to_owned));
        let labels = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
        known.extend(labels);
    }
    metrics
}

/// All queries of the dashboard: panels, variables, annotations.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value {
                    Value::String(text) if (key == "expr" || key == "query") && text.contains("weft") => {
                        found.push(text.clone());
                    }
                    value => queries(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[test]
fn every_query_asks_for_what_is_exported() {
    let dashboard: Value =
        serde_json::from_str(include_str!("../grafana/weft.json")).expect("the dashboard is JSON");
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() > 25, "panels have queries: {found:?}");
    let exported = exported();
    for query in &found {
        let mut rest = &query[..];
        let mut seen = 0;
        while let Some(at) = rest.find("weft_") {
            let end = rest[at..].find(|c| !is_word(c)).map_or(rest.len(), |length| at + length);
            let labels = exported.get(&rest[at..end]);
            let labels = labels.unwrap_or_else(|| panic!("{} is not exported: {query}", &rest[at..end]));
            rest = &rest[end..];
            seen += 1;
            let Some(selector) = rest.strip_prefix('{') else { continue };
            let (selector, _) = selector.split_once('}').expect("a selector ends");
            for matcher in selector.split(',') {
                let label = matcher.split(|c| !is_word(c)).next().unwrap_or_default();
                assert!(labels.contains(label), "no label {label:?}: {query}");
            }
        }
        assert!(seen > 0, "{query}");
    }
}

#[test]
fn panels_do_not_overlap_and_have_ids_of_their_own() {
    let dashboard: Value =
        serde_json::from_str(include_str!("../grafana/weft.json")).expect("the dashboard is JSON");
    let panels = dashboard["panels"].as_array().expect("there are panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
    let mut cells = BTreeSet::new();
    for panel in panels {
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a panel has a place"));
        assert!(x + w <= 24, "Grafana's grid has 24 columns: {panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "overlaps another: {panel}");
        }
    }
}
