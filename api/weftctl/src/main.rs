// SPDX-License-Identifier: Apache-2.0
//! `weftctl`: types commands into a running Weft, for people and for scripts.
//!
//! It knows no command of the daemon itself: words, help and completion all come from there, so an old
//! `weftctl` serves a daemon with new plugins. `stats` and `top` ask the daemon nothing but the
//! descriptor of its counters, so they also serve one whose main thread hangs. The exit status is 0 if
//! all went well, 1 if a command was refused, 2 if no daemon could be asked.
#![deny(unsafe_code)]

mod flow;
mod session;
mod shell;
mod source;
mod stats;
mod top;
mod units;

use std::{
    env,
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};
use weft_cli::{protocol::DEFAULT_SOCKET, script::LineJoiner};

use crate::{
    session::{Failure, Session},
    source::Source,
};

/// Names another control socket.
const SOCKET_VARIABLE: &str = "WEFT_CLI_SOCKET";

/// Type commands into a running Weft.
///
/// With words, runs them as one command. Without words, reads commands from the terminal (with
/// history, completion by Tab and help by ?), or one per line from a pipe.
#[derive(Debug, Parser)]
#[command(name = "weftctl", version, after_help = AFTER_HELP, override_usage = USAGE, disable_help_subcommand = true)]
struct Options {
    /// Unix socket of the daemon: for commands by default $WEFT_CLI_SOCKET or /run/weft/weftctl.sock, for
    /// stats and top $WEFT_STATS_SOCKET or /run/weft/stats.sock
    #[arg(short, long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,

    /// Answer as one line of JSON per command
    #[arg(long, global = true)]
    json: bool,

    /// Give up after this many seconds of silence from the daemon; 0 waits for ever
    #[arg(short, long, value_name = "SECONDS", default_value = "30", value_parser = timeout)]
    timeout: Timeout,

    /// Go on with the next line of a pipe after a command that failed
    #[arg(short, long, conflicts_with = "words")]
    keep_going: bool,

    /// A command, for example: show interface. Any unique prefix of a word will do
    #[arg(value_name = "WORD")]
    words: Vec<String>,

    #[command(subcommand)]
    reading: Option<Reading>,
}

/// What needs nothing from the daemon but its counters.
#[derive(Debug, Subcommand)]
enum Reading {
    /// Counters of the stats segment, also of a daemon that hangs
    Stats(stats::Options),
    /// A live screen: interfaces, nodes, drops, load of workers
    Top(top::Options),
}

const USAGE: &str = "\
weftctl [OPTIONS] [WORD]...
       weftctl [OPTIONS] stats ls|dump|poll [PATTERN]...
       weftctl [OPTIONS] top [--once]
       weftctl [OPTIONS] flow ls|get|top";

const AFTER_HELP: &str = "\
Examples:
  weftctl show interface
  weftctl show runtime --json
  weftctl help ip route
  weftctl < commands.txt
  weftctl stats dump ^/if/ --no-zeros
  weftctl top
  weftctl flow top --rate

Exit status: 0 done, 1 a command was refused, 2 no daemon could be asked.";

impl Options {
    /// Refuses `stats` and `top` after words of a command: they would run in its place.
    fn checked(self) -> Result<Self, clap::Error> {
        if self.reading.is_some() && !self.words.is_empty() {
            let why = "stats and top cannot stand behind other words; put options behind the command";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, why));
        }
        Ok(self)
    }

    fn command_socket(&self) -> PathBuf {
        let variable = || env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        self.socket.clone().or_else(variable).unwrap_or_else(|| DEFAULT_SOCKET.into())
    }
}

/// How long the daemon may be silent.
#[derive(Debug, Clone, Copy)]
struct Timeout(Option<Duration>);

fn timeout(text: &str) -> Result<Timeout, String> {
    let duration = seconds(text)?;
    Ok(Timeout((!duration.is_zero()).then_some(duration)))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number of seconds, such as 30 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| expected())
}

/// Time between two looks: not so short that looking is all that the machine does, nor so long that
/// clocks cannot express it.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = seconds(text)?;
    let expected = "expected 0.01 to 86400 seconds";
    let allowed = Duration::from_millis(10)..=Duration::from_secs(86_400);
    allowed.contains(&interval).then_some(interval).ok_or(expected.to_owned())
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().collect();
    let flow = flow::split(&mut arguments).transpose();
    let options = Options::try_parse_from(arguments).and_then(Options::checked);
    let (options, flow) = match options.and_then(|options| Ok((options, flow?))) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Nothing more can be said if the terminal is gone.
            let _ = error.print();
            // clap's own status for wrong options, 2, means "no daemon" here.
            return if error.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
    };
    let done = match flow {
        Some(flow) => flow::run(&flow, &options.command_socket(), options.json),
        None => run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    match &options.reading {
        Some(Reading::Stats(stats)) => {
            return stats::run(stats, &mut Source::new(options.socket.clone()), options.json);
        }
        Some(Reading::Top(top)) => {
            return top::run(top, &mut Source::new(options.socket.clone()), options.json);
        }
        None => {}
    }
    let mut session = Session::new(options.command_socket(), options.timeout.0, options.json);
    if !options.words.is_empty() {
        session.run(&options.words.join(" "))
    } else if io::stdin().is_terminal() {
        shell::run(session)
    } else {
        run_lines(&mut session, io::stdin().lock(), options.keep_going)
    }
}

/// Runs each line of a pipe.
fn run_lines(session: &mut Session, input: impl BufRead, keep_going: bool) -> Result<(), Failure> {
    // Also for an empty input: a script that cannot reach the daemon must know.
    session.connect()?;
    let mut joiner = LineJoiner::default();
    let mut failed = None;
    let mut lines = input.lines();
    loop {
        let (line, at_end) = match lines.next() {
            Some(line) => (joiner.push(&line.map_err(Failure::Input)?), false),
            None => (joiner.finish(), true),
        };
        if let Some(line) = line {
            match session.run(&line.text) {
                Err(failure @ Failure::Command { .. }) => {
                    let failure = failure.at_line(line.number);
                    if !keep_going {
                        return Err(failure);
                    }
                    if let Some(earlier) = failed.replace(failure) {
                        earlier.report();
                    }
                }
                result => result?,
            }
        }
        if at_end {
            return failed.map_or(Ok(()), Err);
        }
    }
}
