// SPDX-License-Identifier: Apache-2.0
//! `weftctl flow ls|get|top`: flows out of the daemon's shared memory.
//!
//! Asks no worker and not the main thread, so it answers while that one hangs, and costs the dataplane nothing however many
//! flows there are. The tables come from the socket `flow.sock` beside the command socket.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use weft_flow_map::{Flow, FlowId, Reader};

use crate::session::Failure;

/// What was asked for.
#[derive(Debug, Parser)]
#[command(name = "weftctl flow", no_binary_name = true)]
pub struct Options {
    /// Unix socket of the daemon for commands; that of the flows stands beside it
    #[arg(short, long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,

    /// Answer as one line of JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List flows
    Ls(List),
    /// Show one flow
    Get {
        /// Its name, as `ls` shows it: THREAD/SLOT.GENERATION
        flow: FlowId,
    },
    /// The flows with the most traffic
    Top(Top),
}

#[derive(Debug, Args)]
struct List {
    /// At most this many
    #[arg(long, default_value_t = usize::MAX, hide_default_value = true)]
    limit: usize,
}

#[derive(Debug, Args)]
struct Top {
    /// So many
    #[arg(short = 'n', long, default_value_t = 10)]
    count: usize,
    /// By what passes in a second from now on, not by what has passed
    #[arg(long)]
    rate: bool,
}

/// Takes `flow ls|get|top` and all after it out of the arguments; `flow enable` and its like are the daemon's.
pub fn split(arguments: &mut Vec<String>) -> Option<Result<Options, clap::Error>> {
    let ours = |pair: &[String]| pair[0] == "flow" && matches!(pair[1].as_str(), "ls" | "get" | "top");
    let at = arguments.windows(2).position(ours)?;
    let words = arguments.split_off(at);
    Some(Options::try_parse_from(&words[1..]))
}

/// Shows what [`split`] has found; `command_socket` and `json` were said before it.
pub fn run(options: &Options, command_socket: &Path, json: bool) -> Result<(), Failure> {
    let socket = options.socket.as_deref().unwrap_or(command_socket).with_file_name("flow.sock");
    let json = json || options.json;
    let reader = Reader::connect(&socket).map_err(Failure::Flows)?;
    match &options.what {
        What::Ls(list) => show(reader.flows().take(list.limit).map(Shown::from), json, line),
        What::Get { flow: id } => {
            let flow = reader.get(*id).ok_or(Failure::NoFlow(*id))?;
            match json {
                true => print(|out| object(out, &Shown::from(flow))),
                false => print(|out| details(out, &flow)),
            }
        }
        What::Top(top) if top.rate => show(fastest(&reader, top.count).into_iter(), json, rate_line),
        What::Top(top) => show(largest(&reader, top.count).into_iter().map(Shown::from), json, line),
    }
}

/// A flow as JSON shows it: the fields of `show flow`, with the interface by its number.
#[derive(Serialize)]
struct Shown {
    id: String,
    protocol: String,
    from: String,
    to: String,
    table: u16,
    state: &'static str,
    waiting: bool,
    verdict: String,
    mark: u32,
    /// None if it has gone.
    interface: Option<u32>,
    /// Sent by who began, and by the other side.
    packets: [u64; 2],
    bytes: [u64; 2],
    /// Seconds.
    age: f64,
    idle: f64,
    #[serde(flatten)]
    rate: Option<Rate>,
}

/// Of both directions.
#[derive(Serialize)]
struct Rate {
    packets_per_second: f64,
    bytes_per_second: f64,
}

impl From<Flow> for Shown {
    fn from(flow: Flow) -> Shown {
        Shown {
            id: flow.id.to_string(),
            protocol: protocol(&flow),
            from: flow.from().to_string(),
            to: flow.to().to_string(),
            table: flow.key.table(),
            state: flow.state.name(),
            waiting: flow.waiting,
            verdict: flow.verdict.to_string(),
            mark: flow.mark,
            interface: flow.interface,
            packets: flow.sides.map(|side| side.packets),
            bytes: flow.sides.map(|side| side.bytes),
            age: flow.age.as_secs_f64(),
            idle: flow.idle.as_secs_f64(),
            rate: None,
        }
    }
}

fn show(
    flows: impl Iterator<Item = Shown>,
    json: bool,
    line: impl Fn(&Shown) -> String,
) -> Result<(), Failure> {
    print(|out| {
        if json {
            #[derive(Serialize)]
            struct Flows {
                flows: Vec<Shown>,
            }
            return object(out, &Flows { flows: flows.collect() });
        }
        flows.into_iter().try_for_each(|flow| writeln!(out, "{}", line(&flow)))
    })
}

fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    write(&mut out).and_then(|()| out.flush()).map_err(Failure::Output)
}

fn object(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    writeln!(out)
}

fn protocol(flow: &Flow) -> String {
    match flow.key.protocol() {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "icmp6".into(),
        other => other.to_string(),
    }
}

fn line(flow: &Shown) -> String {
    let state = if flow.waiting { "waiting" } else { flow.state };
    let ([there, back], [bytes_there, bytes_back]) = (flow.packets, flow.bytes);
    format!(
        "{:<16} {:<5} {:<21} {:<21} {state:<11} {there}/{back} packets {bytes_there}/{bytes_back} bytes idle {:.1}",
        flow.id, flow.protocol, flow.from, flow.to, flow.idle
    )
}

fn rate_line(flow: &Shown) -> String {
    let rate = |figure: fn(&Rate) -> f64| flow.rate.as_ref().map_or(0.0, figure).round();
    format!(
        "{:<16} {:<5} {:<21} {:<21} {:>12} packets/s {:>14} bytes/s",
        flow.id,
        flow.protocol,
        flow.from,
        flow.to,
        rate(|rate| rate.packets_per_second),
        rate(|rate| rate.bytes_per_second)
    )
}

fn details(out: &mut dyn Write, flow: &Flow) -> io::Result<()> {
    writeln!(out, "{}", line(&Shown::from(*flow)))?;
    let interface = flow.interface.map_or_else(|| "none".to_owned(), |index| index.to_string());
    writeln!(out, "  table {} interface {interface} mark {}", flow.key.table(), flow.mark)?;
    writeln!(out, "  verdict {} age {:.1}", flow.verdict, flow.age.as_secs_f64())
}

/// The flows with the most bytes.
fn largest(reader: &Reader, count: usize) -> Vec<Flow> {
    let mut flows: Vec<Flow> = reader.flows().collect();
    flows.sort_by_key(|flow| std::cmp::Reverse(flow.total().bytes));
    flows.truncate(count);
    flows
}

/// The flows with the most bytes in a second.
fn fastest(reader: &Reader, count: usize) -> Vec<Shown> {
    const INTERVAL: Duration = Duration::from_secs(1);
    let start = Instant::now();
    let before: HashMap<FlowId, Flow> = reader.flows().map(|flow| (flow.id, flow)).collect();
    std::thread::sleep(INTERVAL);
    let seconds = start.elapsed().as_secs_f64();
    let moved = |flow: Flow| {
        let (old, new) = (before.get(&flow.id).map(Flow::total).unwrap_or_default(), flow.total());
        (new.bytes.wrapping_sub(old.bytes), new.packets.wrapping_sub(old.packets), flow)
    };
    let mut moving: Vec<_> = reader.flows().map(moved).filter(|(_, packets, _)| *packets > 0).collect();
    moving.sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
    moving.truncate(count);
    let shown = |(bytes, packets, flow): (u64, u64, Flow)| {
        let rate =
            Rate { packets_per_second: packets as f64 / seconds, bytes_per_second: bytes as f64 / seconds };
        Shown { rate: Some(rate), ..Shown::from(flow) }
    };
    moving.into_iter().map(shown).collect()
}
