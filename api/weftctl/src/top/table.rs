// SPDX-License-Identifier: Apache-2.0
//! Frames as text cells: the same columns on a screen and in a plain text.

use std::{fmt::Write, time::Duration};

use super::frame::{Drop, Flow, Frame, Interface, Node, Worker};
use crate::units::{duration, percent, printable, si};

/// One of the tables of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    Interfaces,
    Nodes,
    Drops,
    Workers,
    Events,
}

impl Pane {
    pub const ALL: [Pane; 5] = [Pane::Interfaces, Pane::Nodes, Pane::Drops, Pane::Workers, Pane::Events];

    pub fn title(self) -> &'static str {
        match self {
            Pane::Interfaces => "Interfaces",
            Pane::Nodes => "Nodes",
            Pane::Drops => "Drops",
            Pane::Workers => "Workers",
            Pane::Events => "Events",
        }
    }
}

/// A column, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// To the left; cut where there is no room.
    Text(&'static str),
    /// To the right; whole or not at all, because half a number is a wrong one.
    Number(&'static str),
}

impl Column {
    pub fn title(self) -> &'static str {
        let (Column::Text(title) | Column::Number(title)) = self;
        title
    }

    pub fn is_number(self) -> bool {
        matches!(self, Column::Number(_))
    }
}

/// Cells of a pane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub columns: &'static [Column],
    pub rows: Vec<Vec<String>>,
}

use Column::{Number, Text};
const INTERFACES: &[Column] = &[
    Text("Name"),
    Number("rx pkt/s"),
    Number("rx bit/s"),
    Number("tx pkt/s"),
    Number("tx bit/s"),
    Number("drops/s"),
    Text("State"),
    Number("rx total"),
    Number("tx total"),
    Number("drops total"),
];
const NODES: &[Column] = &[
    Text("Name"),
    Number("pkt/s"),
    Number("calls/s"),
    Number("vectors/call"),
    Number("clocks/pkt"),
    Number("time %"),
];
const DROPS: &[Column] = &[Number("/s"), Number("total"), Text("Node"), Text("Reason"), Text("Sentence")];
const EVENTS: &[Column] = &[Number("/s"), Number("total"), Text("Node"), Text("Event"), Text("Sentence")];
const WORKERS: &[Column] = &[
    Text("Thread"),
    Number("busy %"),
    Number("pkt/s"),
    Number("clocks/pkt"),
    Number("loops/s"),
    Number("sleeps/s"),
];

impl Table {
    pub fn new(frame: &Frame, pane: Pane) -> Table {
        let (columns, rows) = match pane {
            Pane::Interfaces => (INTERFACES, frame.interfaces.iter().map(interface_cells).collect()),
            Pane::Nodes => (NODES, frame.nodes.iter().map(node_cells).collect()),
            Pane::Drops => (DROPS, frame.drops.iter().map(drop_cells).collect()),
            Pane::Workers => (WORKERS, frame.workers.iter().map(worker_cells).collect()),
            Pane::Events => (EVENTS, frame.events.iter().map(drop_cells).collect()),
        };
        Table { columns, rows }
    }

    /// How wide each column has to be.
    pub fn widths(&self) -> Vec<usize> {
        let width = |(index, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(String::len);
            cells.chain([column.title().len()]).max().unwrap_or_default()
        };
        self.columns.iter().enumerate().map(width).collect()
    }

    /// As lines of text, as wide as they have to be.
    fn text(&self) -> String {
        let widths = self.widths();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = String::new();
            for ((cell, width), column) in cells.zip(&widths).zip(self.columns) {
                let cell = printable(cell);
                let gap = if line.is_empty() { "" } else { "  " };
                // Writing to a string cannot fail.
                let _ = match column {
                    Text(_) => write!(line, "{gap}{cell:<width$}"),
                    Number(_) => write!(line, "{gap}{cell:>width$}"),
                };
            }
            line.trim_end().to_owned() + "\n"
        };
        let titles = line(&mut self.columns.iter().map(|column| column.title()));
        titles + &self.rows.iter().map(|row| line(&mut row.iter().map(String::as_str))).collect::<String>()
    }
}

/// The whole frame as plain text.
pub fn text(frame: &Frame) -> String {
    let mut text = format!("{}\n{}\n", identity(frame).join("  "), summary(frame));
    for pane in Pane::ALL {
        let _ = write!(text, "\n{}\n{}", pane.title(), Table::new(frame, pane).text());
    }
    text
}

/// Which daemon that is, in pieces that can be left out from the end.
pub fn identity(frame: &Frame) -> Vec<String> {
    let name = frame.version.as_ref().map_or("weft".to_owned(), |version| format!("weft {version}"));
    let up = format!("up {}", duration(Duration::from_secs(frame.uptime_seconds)));
    [Some(name), Some(up), frame.pid.map(|pid| format!("pid {pid}"))].into_iter().flatten().collect()
}

/// All ports together.
pub fn summary(frame: &Frame) -> String {
    let flow =
        |flow: Flow| format!("{} pkt/s {} bit/s", si(flow.packets_per_second), si(flow.bits_per_second));
    let drops = si(frame.drops_per_second);
    let mut text = format!("rx {}  tx {}  drops {drops}/s", flow(frame.rx), flow(frame.tx));
    if frame.buffers.total > 0 {
        let used = percent(frame.buffers.used as f64 / frame.buffers.total as f64);
        let _ = write!(text, "  buffers {used} % used");
    }
    text
}

fn some(value: Option<f64>, text: fn(f64) -> String) -> String {
    value.map_or("-".to_owned(), text)
}

fn interface_cells(row: &Interface) -> Vec<String> {
    vec![
        row.name.clone(),
        si(row.rx.packets_per_second),
        si(row.rx.bits_per_second),
        si(row.tx.packets_per_second),
        si(row.tx.bits_per_second),
        si(row.drops_per_second),
        row.state.clone(),
        row.rx.total_packets.to_string(),
        row.tx.total_packets.to_string(),
        row.total_drops.to_string(),
    ]
}

fn node_cells(row: &Node) -> Vec<String> {
    vec![
        row.name.clone(),
        si(row.packets_per_second),
        si(row.calls_per_second),
        some(row.vectors_per_call, si),
        some(row.clocks_per_packet, si),
        some(row.share, percent),
    ]
}

fn drop_cells(row: &Drop) -> Vec<String> {
    vec![
        si(row.per_second),
        row.total.to_string(),
        row.node.clone(),
        row.reason.clone(),
        row.sentence.clone(),
    ]
}

fn worker_cells(row: &Worker) -> Vec<String> {
    vec![
        row.name.clone(),
        some(row.busy, percent),
        si(row.packets_per_second),
        some(row.clocks_per_packet, si),
        si(row.loops_per_second),
        si(row.sleeps_per_second),
    ]
}
