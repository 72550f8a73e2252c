// SPDX-License-Identifier: Apache-2.0
//! `weftctl stats`: what `vpp_get_stats` is to VPP, so its words, patterns and lines are the same.
//!
//! Reads the segment and asks the daemon's main thread for nothing, so it answers while that hangs.

pub mod json;
mod print;
mod rates;

use std::{
    io::{self, Write},
    num::NonZeroU64,
    thread,
    time::{Duration, Instant},
};

use clap::{Args, Subcommand};
use regex_lite::Regex;
use weft_stats::{ReadError, Value};

use crate::{
    interval,
    session::Failure,
    source::{Source, is_absence},
};

#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Names of counters
    Ls(Patterns),
    /// Names and values of counters
    Dump(Dump),
    /// Values of counters again and again, with their change per second
    Poll(Poll),
}

/// Which entries of the directory.
#[derive(Debug, Args)]
struct Patterns {
    /// Regular expression that may match anywhere in a name, such as /if/ or ^/sys/node/. Without any, all
    #[arg(value_name = "PATTERN", value_parser = Regex::new)]
    patterns: Vec<Regex>,
}

#[derive(Debug, Args)]
struct Dump {
    #[command(flatten)]
    patterns: Patterns,

    #[command(flatten)]
    style: Style,
}

#[derive(Debug, Args)]
struct Poll {
    #[command(flatten)]
    patterns: Patterns,

    #[command(flatten)]
    style: Style,

    /// Time from one look to the next
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,

    /// End after this many looks
    #[arg(short, long, value_name = "NUMBER")]
    count: Option<NonZeroU64>,
}

/// Which lines of text.
#[derive(Debug, Clone, Copy, Args)]
struct Style {
    /// Leave out counters that are 0 (text only)
    #[arg(long)]
    no_zeros: bool,

    /// One figure for all threads together (text only)
    #[arg(long)]
    summary: bool,
}

/// Names and values of one moment.
type Values = Vec<(String, Value)>;

impl Patterns {
    fn matches(&self, name: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.is_match(name))
    }

    fn ls(&self, source: &mut Source) -> Result<Vec<String>, Failure> {
        let names = source.look(|reader| reader.ls(&[])).map_err(Failure::Stats)?;
        self.some(names.into_iter().filter(|name| self.matches(name)).collect())
    }

    fn dump(&self, source: &mut Source) -> Result<Values, ReadError> {
        source.look(|reader| reader.dump_where(|name| self.matches(name)))
    }

    /// Refuses a pattern that was mistyped, which is what nothing at all means.
    fn some<T>(&self, found: Vec<T>) -> Result<Vec<T>, Failure> {
        if found.is_empty() {
            let patterns = self.patterns.iter().map(Regex::as_str);
            return Err(Failure::NothingMatches(patterns.map(str::to_owned).collect()));
        }
        Ok(found)
    }
}

pub fn run(options: &Options, source: &mut Source, json: bool) -> Result<(), Failure> {
    match &options.command {
        Command::Ls(patterns) => {
            let names = patterns.ls(source)?;
            write(|out| if json { json::names(out, &names) } else { print::names(out, &names) })
        }
        Command::Dump(Dump { patterns, style }) => {
            let values = patterns.some(patterns.dump(source).map_err(Failure::Stats)?)?;
            write(
                |out| {
                    if json { json::values(out, &values, None) } else { print::values(out, &values, *style) }
                },
            )
        }
        Command::Poll(options) => poll(options, source, json),
    }
}

/// Only the first look must succeed: a daemon that goes is waited for.
fn poll(options: &Poll, source: &mut Source, json: bool) -> Result<(), Failure> {
    let first = options.patterns.some(options.patterns.dump(source).map_err(Failure::Stats)?)?;
    let mut last = (first, Instant::now());
    show(&last.0, None, options.style, json)?;
    let mut looks = 1;
    let mut due = last.1;
    let mut gone = false;
    while options.count.is_none_or(|count| looks < count.get()) {
        due = (due + options.interval).max(Instant::now());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let values = match options.patterns.dump(source) {
            Ok(values) => values,
            Err(error) if is_absence(&error) => {
                if !gone {
                    // With the standard error gone there is nobody to tell.
                    let _ = writeln!(io::stderr(), "weftctl: {error}; waiting for it");
                }
                gone = true;
                continue;
            }
            Err(error) => return Err(Failure::Stats(error)),
        };
        gone = false;
        let now = (values, Instant::now());
        let rates = rates::Rates::new(&last.0, now.1 - last.1);
        show(&now.0, Some(&rates), options.style, json)?;
        last = now;
        looks += 1;
    }
    Ok(())
}

fn show(values: &Values, rates: Option<&rates::Rates<'_>>, style: Style, json: bool) -> Result<(), Failure> {
    write(|out| match (json, rates) {
        (true, rates) => json::values(out, values, rates),
        (false, None) => print::values(out, values, style),
        (false, Some(rates)) => print::look(out, values, rates, style),
    })
}

fn write(print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    print(&mut out).and_then(|()| out.flush()).map_err(Failure::Output)
}
