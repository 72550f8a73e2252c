// SPDX-License-Identifier: Apache-2.0
//! `trace add`, `show trace`, `clear trace`: single packets on their way through the graph.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use weft_cli::{Args, Candidate, CliError, Command, Reply};
use weft_engine::ThreadIndex;
use weft_engine::node::Kind;
use weft_engine::trace::{Names, TraceRecord};

use super::{doing, refused, showing};
use crate::plugins::Plugins;
use crate::state::{Dataplane, NoAnswer};

/// Packets that are shown per thread unless more are asked for.
const SHOWN: usize = 50;

/// Packets of one `trace add`: their records are kept in memory of the worker.
pub const MOST: u32 = 10_000;

#[derive(Serialize)]
struct Step {
    /// Seconds since the start.
    time: f64,
    node: String,
    next: Option<String>,
    text: String,
}

/// A traced packet.
#[derive(Serialize)]
pub struct Packet {
    number: u32,
    steps: Vec<Step>,
}

impl Packet {
    /// Its way, as `show trace` has it.
    pub fn text(&self) -> String {
        let step = |step: &Step| format!("{}: {}\n{}", clock(step.time), step.node, step.text);
        self.steps.iter().map(step).collect()
    }
}

#[derive(Serialize)]
struct Thread {
    id: u16,
    name: String,
    /// Packets that were traced; `packets` may be fewer.
    traced: usize,
    packets: Vec<Packet>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    vec![
        doing("trace add", add)
            .synopsis("<node> [<packets>] [verbose]")
            .help("Trace the next packets that an input node brings in, on each worker; default 50")
            .completer(|dataplane, words| match words {
                [] => inputs(dataplane).map(|name| Candidate::new(name, "input node")).collect(),
                _ => Vec::new(),
            }),
        Command::new("show trace", show).synopsis("[max <packets>]").help("The way of traced packets"),
        showing("clear trace", |dataplane| {
            dataplane.engine_mut().post_all(|worker| worker.clear_trace());
            Ok(Reply::empty())
        })
        .help("Forget the trace, and trace no more"),
    ]
}

fn inputs(dataplane: &Dataplane) -> impl Iterator<Item = &str> {
    let nodes = dataplane.engine().graph().nodes();
    nodes.filter(|(_, node)| node.spec.kind == Kind::Input).map(|(_, node)| node.name.as_str())
}

fn add(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<(), CliError> {
    let node = super::node(args, dataplane)?;
    let number = args.take_if("number of packets", |word| word.parse().ok());
    let count = number.unwrap_or(SHOWN as u32);
    if count > MOST {
        return Err(args.reject(format!("a trace holds at most {MOST} packets")));
    }
    // In VPP the word asks for more of each packet; here all that there is is shown.
    let _ = args.keyword("verbose");
    args.finish()?;
    dataplane.engine_mut().post_all(move |worker| worker.trace(node, count));
    Ok(())
}

fn show(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let max = if args.keyword("max") { args.parse("number of packets")? } else { SHOWN };
    args.finish()?;
    let threads = packets(dataplane, max).map_err(refused)?.into_iter().map(|(index, traced, packets)| {
        Thread { id: index.0, name: dataplane.plan().name(index).to_owned(), traced, packets }
    });
    Ok(Reply::each("threads", threads, render))
}

/// How many packets each worker has traced, and so many of them, in the order in which they came. Only these are put into words.
pub fn packets(
    dataplane: &mut Dataplane,
    most: usize,
) -> Result<Vec<(ThreadIndex, usize, Vec<Packet>)>, NoAnswer> {
    let records = dataplane.ask_all(|worker| worker.trace_records().to_vec())?;
    let threads = records.into_iter().map(|(index, records)| {
        let mut packets: Vec<Packet> = Vec::new();
        // Records are in the order of time, and so are the packets by their first.
        let mut places: HashMap<u32, usize> = HashMap::new();
        for record in &records {
            let next = places.len();
            let place = *places.entry(record.packet).or_insert(next);
            if place >= most {
                continue;
            }
            if place == packets.len() {
                packets.push(Packet { number: record.packet, steps: Vec::new() });
            }
            packets[place].steps.push(step(dataplane, record));
        }
        (index, places.len(), packets)
    });
    Ok(threads.collect())
}

fn step(dataplane: &Dataplane, record: &TraceRecord) -> Step {
    let mut text =
        dataplane.part::<Plugins>().trace(&dataplane.node(record.node), record).unwrap_or_default();
    let format = dataplane.engine().graph().node(record.node).and_then(|node| node.spec.trace);
    // Writing to a string does not fail.
    let _ = record.print(format, dataplane, &mut text);
    Step {
        time: dataplane.engine().clock.since_start(record.at).as_secs_f64(),
        node: dataplane.node(record.node),
        next: record.next.map(|next| dataplane.node(next)),
        text,
    }
}

fn render(thread: &Thread) -> String {
    let Thread { id, name, traced, packets } = thread;
    let mut text = format!("------------------- Start of thread {id} {name} -------------------\n");
    if packets.is_empty() {
        text += "No packets in trace buffer\n";
    }
    for (number, packet) in (1..).zip(packets) {
        text += &format!("Packet {number}\n\n{}\n", packet.text());
    }
    if *traced > packets.len() {
        text += &format!("Limiting display to {} packets. To display more specify max.\n", packets.len());
    }
    text
}

/// `HH:MM:SS:uuuuuu`
fn clock(seconds: f64) -> String {
    let time = Duration::from_secs_f64(seconds);
    let whole = time.as_secs();
    format!("{:02}:{:02}:{:02}:{:06}", whole / 3600, whole / 60 % 60, whole % 60, time.subsec_micros())
}

#[cfg(test)]
mod tests {
    #[test]
    fn time_has_vpp_s_form() {
        assert_eq!(super::clock(3_723.000_045), "01:02:03:000045");
    }
}
