// SPDX-License-Identifier: Apache-2.0
//! `weftctl`: types commands into a running Weft, for people and for scripts.
//!
//! It knows no command itself: words, help and completion all come from the daemon, so an old
//! `weftctl` serves a daemon with new plugins. The exit status is 0 if all went well, 1 if a command
//! was refused, 2 if no daemon could be asked.
#![deny(unsafe_code)]

mod session;
mod shell;

use std::{
    io::{self, BufRead, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use weft_cli::{protocol::DEFAULT_SOCKET, script::LineJoiner};

use crate::session::{Failure, Session};

/// Type commands into a running Weft.
///
/// With words, runs them as one command. Without words, reads commands from the terminal (with
/// history, completion by Tab and help by ?), or one per line from a pipe.
#[derive(Debug, Parser)]
#[command(name = "weftctl", version, after_help = AFTER_HELP)]
struct Options {
    /// Unix socket on which the daemon listens
    #[arg(short, long, value_name = "PATH", env = "WEFT_CLI_SOCKET", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,

    /// Answer as one line of JSON per command
    #[arg(long)]
    json: bool,

    /// Give up after this many seconds of silence from the daemon; 0 waits for ever
    #[arg(short, long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Timeout,

    /// Go on with the next line of a pipe after a command that failed
    #[arg(short, long, conflicts_with = "words")]
    keep_going: bool,

    /// A command, for example: show interface. Any unique prefix of a word will do
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

const AFTER_HELP: &str = "\
Examples:
  weftctl show interface
  weftctl show runtime --json
  weftctl help ip route
  weftctl < commands.txt

Exit status: 0 done, 1 a command was refused, 2 no daemon could be asked.";

/// How long the daemon may be silent.
#[derive(Debug, Clone, Copy)]
struct Timeout(Option<Duration>);

fn seconds(text: &str) -> Result<Timeout, String> {
    let expected = || "expected a number of seconds, such as 30 or 0.5".to_owned();
    let seconds: f64 = text.parse().map_err(|_| expected())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| expected())?;
    Ok(Timeout((!duration.is_zero()).then_some(duration)))
}

fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            // Nothing more can be said if the terminal is gone.
            let _ = error.print();
            // clap's own status for wrong options, 2, means "no daemon" here.
            return if error.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS };
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let mut session = Session::new(options.socket.clone(), options.timeout.0, options.json);
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
