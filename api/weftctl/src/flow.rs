// SPDX-License-Identifier: Apache-2.0
//! `weftctl flow ls|get|top`: flows out of the daemon's shared memory.
//!
//! Asks no worker and not the main thread, so it answers while that one hangs, and costs the dataplane nothing however many
//! flows there are. The tables come from the socket `flow.sock` beside the command socket.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use weft_flow_map::{Flow, FlowId, Reader};

/// What was asked for.
#[derive(Debug, Parser)]
#[command(name = "weftctl flow", no_binary_name = true)]
struct Options {
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
    /// At most so many
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

/// Takes `flow ls|get|top` and all behind it out of the arguments; `flow enable` and its like are the daemon's.
pub fn split(arguments: &mut Vec<String>) -> Option<Vec<String>> {
    let ours = |pair: &[String]| pair[0] == "flow" && matches!(pair[1].as_str(), "ls" | "get" | "top");
    let at = arguments.windows(2).position(ours)?;
    let words = arguments.split_off(at);
    Some(words[1..].to_vec())
}

/// Runs what [`split`] has found.
pub fn run(words: &[String], command_socket: &Path) -> ExitCode {
    let options = match Options::try_parse_from(words) {
        Ok(options) => options,
        Err(error) => {
            // Nothing more can be said if the terminal is gone.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
    };
    match show(&options.what, &command_socket.with_file_name("flow.sock")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weftctl: {error}");
            ExitCode::from(1)
        }
    }
}

fn show(what: &What, socket: &Path) -> Result<(), String> {
    let reader = Reader::connect(socket).map_err(|error| error.to_string())?;
    let written = match what {
        What::Ls(list) => lines(reader.flows().take(list.limit).map(|flow| line(&flow))),
        What::Get { flow } => {
            let flow = reader.get(*flow).ok_or_else(|| format!("flow {flow} has ended"))?;
            lines(details(&flow).into_iter())
        }
        What::Top(top) => lines(top_flows(&reader, top).into_iter()),
    };
    match written {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| error.to_string()),
    }
}

fn lines(lines: impl Iterator<Item = String>) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn protocol(flow: &Flow) -> String {
    match flow.key.protocol() {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        other => other.to_string(),
    }
}

fn line(flow: &Flow) -> String {
    let state = if flow.waiting { "waiting" } else { flow.state.name() };
    let [there, back] = flow.sides;
    format!(
        "{:<16} {:<5} {:<21} {:<21} {state:<11} {}/{} packets {}/{} bytes idle {:.1}",
        flow.id.to_string(),
        protocol(flow),
        flow.from().to_string(),
        flow.to().to_string(),
        there.packets,
        back.packets,
        there.bytes,
        back.bytes,
        flow.idle.as_secs_f64()
    )
}

fn details(flow: &Flow) -> Vec<String> {
    vec![
        line(flow),
        format!("  table {} interface {} mark {}", flow.key.table(), flow.interface, flow.mark),
        format!("  verdict {} age {:.1}", flow.verdict, flow.age.as_secs_f64()),
    ]
}

/// The flows with the most bytes, or bytes in a second.
fn top_flows(reader: &Reader, top: &Top) -> Vec<String> {
    const INTERVAL: Duration = Duration::from_secs(1);
    if !top.rate {
        let mut flows: Vec<Flow> = reader.flows().collect();
        flows.sort_by_key(|flow| std::cmp::Reverse(flow.total().bytes));
        return flows.iter().take(top.count).map(line).collect();
    }
    let start = Instant::now();
    let before: HashMap<FlowId, Flow> = reader.flows().map(|flow| (flow.id, flow)).collect();
    std::thread::sleep(INTERVAL);
    let seconds = start.elapsed().as_secs_f64();
    let mut rates: Vec<(u64, u64, Flow)> = reader
        .flows()
        .map(|flow| {
            let old = before.get(&flow.id).map(Flow::total).unwrap_or_default();
            let new = flow.total();
            (new.bytes.wrapping_sub(old.bytes), new.packets.wrapping_sub(old.packets), flow)
        })
        .filter(|(_, packets, _)| *packets > 0)
        .collect();
    rates.sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
    let rate = |value: u64| (value as f64 / seconds).round();
    rates
        .iter()
        .take(top.count)
        .map(|(bytes, packets, flow)| {
            format!(
                "{:<16} {:<5} {:<21} {:<21} {:>12} packets/s {:>14} bytes/s",
                flow.id.to_string(),
                protocol(flow),
                flow.from().to_string(),
                flow.to().to_string(),
                rate(*packets),
                rate(*bytes)
            )
        })
        .collect()
}
