// SPDX-License-Identifier: Apache-2.0
//! The page for people: the node graph with its rates, and the interfaces.
//!
//! All of it is drawn here, so it works without a script. With one, the page fetches itself every second
//! and takes over what has changed; without, the browser loads it anew.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use weft_stats::tables::{PerThread, Snapshot, Tables};

use crate::graph::{Graph, MOST_NODES, Show};
use crate::svg;
use crate::words::{Age, Count, Html, Short};

/// What the page shows.
pub enum State<'a> {
    Up { snapshot: &'a Snapshot, rates: &'a Tables<f64> },
    Down { why: &'a str },
}

/// The whole page.
pub fn render(state: &State<'_>, show: Show) -> String {
    let mut html = String::with_capacity(64 << 10);
    html.push_str(concat!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Weft</title>",
        "<meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\">",
        "<noscript><meta http-equiv=\"refresh\" content=\"2\"></noscript>\n<style>",
        include_str!("page.css"),
        "</style></head>\n<body><div id=\"live\">",
    ));
    header(&mut html, state, show);
    match state {
        State::Up { snapshot, rates } => {
            graph(&mut html, &Graph::new(snapshot, rates, show));
            interfaces(&mut html, snapshot, rates);
        }
        State::Down { why } => {
            let _ = write!(html, "<section><p>No daemon to be seen: {}.</p></section>", Html(why));
        }
    }
    html.push_str(concat!("</div>\n<script>", include_str!("page.js"), "</script></body></html>\n"));
    html
}

fn header(html: &mut String, state: &State<'_>, show: Show) {
    html.push_str("<header><h1>Weft</h1>");
    match state {
        State::Up { snapshot, .. } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let age = Age(now.saturating_sub(snapshot.system.boot_time));
            let _ = write!(html, "<span class=\"state up\">up {age}</span>");
        }
        State::Down { .. } => html.push_str("<span class=\"state down\">down</span>"),
    }
    html.push_str("<nav>");
    for (link, text, shown) in [(".", "used nodes", Show::Used), ("?all", "all nodes", Show::All)] {
        let current = if show == shown { " aria-current=\"page\"" } else { "" };
        let _ = write!(html, "<a href=\"{link}\"{current}>{text}</a>");
    }
    html.push_str("<a href=\"metrics\">metrics</a></nav></header>");
}

fn graph(html: &mut String, graph: &Graph) {
    html.push_str("<section>");
    if graph.nodes.is_empty() {
        html.push_str("<p class=\"muted\">No node has been given a packet yet.</p>");
    } else {
        svg::draw(html, graph);
        html.push_str(
            "<p class=\"muted\">On edges: packets per second. Bars: a node's part of the clocks of all \
             nodes. Why a node drops: point at it.</p>",
        );
    }
    if graph.left_out > 0 {
        let _ = write!(
            html,
            "<p class=\"muted\">The {MOST_NODES} busiest nodes; {} more are left out.</p>",
            graph.left_out
        );
    }
    html.push_str("</section>");
}

/// Rates, and drops of packets that came in there. What the device lost has no rate that would fit: the
/// daemon learns of it in larger steps.
fn interfaces(html: &mut String, snapshot: &Snapshot, rates: &Tables<f64>) {
    html.push_str(
        "<section><table><thead><tr><th>interface</th><th>received packets/s</th><th>bit/s</th>\
         <th>transmitted packets/s</th><th>bit/s</th><th>punted/s</th><th>dropped/s</th><th>lost at the device</th></tr></thead><tbody>",
    );
    for (total, row) in snapshot.counters.interfaces.iter().zip(&rates.interfaces) {
        let _ = write!(html, "<tr><td>{}</td>", Html(&row.name));
        let mut cell = |figure: &PerThread<f64>, factor: f64| {
            let _ = write!(html, "<td>{}</td>", Short(figure.sum() * factor));
        };
        cell(&row.rx_packets, 1.0);
        cell(&row.rx_bytes, 8.0);
        cell(&row.tx_packets, 1.0);
        cell(&row.tx_bytes, 8.0);
        cell(&row.punts, 1.0);
        let drops = row.drops.sum();
        let class = if drops > 0.0 { " class=\"drop\"" } else { "" };
        let lost = total.rx_missed.sum().saturating_add(total.rx_no_buffer.sum());
        let _ = write!(html, "<td{class}>{}</td><td>{}</td></tr>", Short(drops), Count(lost));
    }
    html.push_str("</tbody></table></section>");
}
