// SPDX-License-Identifier: Apache-2.0
//! `weftctl top`: where the traffic is, where the time goes, and what is lost, now.
//!
//! Reads the segment once per interval and asks the daemon for nothing else, so it shows a daemon whose main thread hangs
//! and disturbs none.

mod app;
mod frame;
mod screen;
mod table;
mod terminal;
#[cfg(test)]
mod tests;

use std::{
    io::{self, IsTerminal, Write},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use weft_stats::tables::Snapshot;

use crate::{interval, session::Failure, source::Source, stats::json};
use frame::Frame;

#[derive(Debug, Args)]
pub struct Options {
    /// Time from one look to the next
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,

    /// Print the rates of one interval as text and end; with --json, as JSON
    #[arg(long)]
    once: bool,
}

pub fn run(options: &Options, source: &mut Source, json: bool) -> Result<(), Failure> {
    if options.once || json {
        return once(options, source, json);
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        let why = "top needs a terminal; with --once it prints one frame";
        return Err(Failure::Terminal(io::Error::other(why).into()));
    }
    terminal::run(source, options.interval)
}

fn once(options: &Options, source: &mut Source, json: bool) -> Result<(), Failure> {
    let before = source.look(Snapshot::read).map_err(Failure::Stats)?;
    thread::sleep(options.interval);
    let after = source.look(Snapshot::read).map_err(Failure::Stats)?;
    let frame = Frame::new(&before, &after, wall());
    let mut out = io::stdout().lock();
    let printed =
        if json { json::line(&mut out, &frame) } else { out.write_all(table::text(&frame).as_bytes()) };
    printed.and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Since 1970, as the daemon tells its start.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
