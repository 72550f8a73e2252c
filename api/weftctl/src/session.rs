// SPDX-License-Identifier: Apache-2.0
//! A connection that is made when it is needed and made again after the daemon has restarted, and
//! what a person sees of answers and errors.

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use ratatui::crossterm::terminal;

use weft_cli::{
    CliError, Completion,
    client::{Client, ClientError, Output},
};
use weft_flow_map::{FlowId, TableError};
use weft_stats::ReadError;

/// Why `weftctl` ends, or what it tells before the next prompt.
#[derive(Debug)]
pub enum Failure {
    /// The daemon refuses the command.
    Command { error: CliError, command: String, line: Option<usize> },
    /// The daemon cannot be asked.
    Connection(ClientError),
    /// The commands cannot be read.
    Input(io::Error),
    /// The answer cannot be written.
    Output(io::Error),
    /// The terminal cannot be used.
    Terminal(rustyline::error::ReadlineError),
    /// The counters cannot be had.
    Stats(ReadError),
    /// No counter has a name that matches one of these patterns.
    NothingMatches(Vec<String>),
    /// The tables of flows cannot be had.
    Flows(TableError),
    /// No such flow, or no longer.
    NoFlow(FlowId),
}

impl Failure {
    /// Names the line of the input that the command came from.
    pub fn at_line(mut self, number: usize) -> Self {
        if let Self::Command { line, .. } = &mut self {
            *line = Some(number);
        }
        self
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Connection(_) | Self::Stats(_) | Self::Flows(_) => ExitCode::from(2),
            // `weftctl show ... | head`: the reader has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            _ => ExitCode::from(1),
        }
    }

    /// Says it on the standard error.
    pub fn report(&self) {
        let text = match self {
            Self::Command { error, command, line } => {
                let place = line.map_or_else(String::new, |number| format!("line {number}: "));
                let excerpt = error.excerpt(command).unwrap_or_default();
                let excerpt = excerpt.lines().map(|line| format!("\n  {line}"));
                format!("{place}{error}{}", excerpt.collect::<String>())
            }
            Self::Connection(error) => error.to_string(),
            Self::Input(error) => format!("cannot read the commands: {error}"),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return,
            Self::Output(error) => format!("cannot write the answer: {error}"),
            Self::Terminal(error) => format!("cannot use the terminal: {error}"),
            Self::Stats(error) => error.to_string(),
            Self::NothingMatches(patterns) => format!("no counter matches {}", patterns.join(" or ")),
            Self::Flows(error) => error.to_string(),
            Self::NoFlow(flow) => format!("flow {flow} has ended"),
        };
        // With the standard error gone there is nobody to tell.
        let _ = writeln!(io::stderr(), "weftctl: {text}");
    }
}

/// The daemon, as far as a command line is concerned.
#[derive(Debug)]
pub struct Session {
    socket: PathBuf,
    timeout: Option<Duration>,
    json: bool,
    client: Option<Client>,
}

impl Session {
    pub fn new(socket: PathBuf, timeout: Option<Duration>, json: bool) -> Self {
        Self { socket, timeout, json, client: None }
    }

    /// The connection; made now if there is none.
    pub fn connect(&mut self) -> Result<&mut Client, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                let program = concat!("weftctl ", env!("CARGO_PKG_VERSION"));
                Client::connect(&self.socket, program, self.timeout).map_err(Failure::Connection)?
            }
        };
        Ok(self.client.insert(client))
    }

    /// Runs a command and prints its answer. `--json` at its end asks for JSON.
    pub fn run(&mut self, line: &str) -> Result<(), Failure> {
        let (command, json) = match strip_json(line) {
            Some(command) => (command, true),
            None => (line, self.json),
        };
        match self.connect()?.run(command, json) {
            Ok(output) => print(&output).map_err(Failure::Output),
            Err(ClientError::Command(error)) => {
                Err(Failure::Command { error, command: command.to_owned(), line: None })
            }
            Err(error) => {
                self.client = None;
                Err(Failure::Connection(error))
            }
        }
    }

    /// Asks which words fit at byte `cursor` of `line`.
    pub fn complete(&mut self, line: &str, cursor: usize) -> Result<Completion, Failure> {
        self.connect()?.complete(line, cursor).map_err(|error| {
            self.client = None;
            Failure::Connection(error)
        })
    }
}

/// `line` without a last word `--json`.
fn strip_json(line: &str) -> Option<&str> {
    let command = line.trim_end().strip_suffix("--json")?;
    (command.is_empty() || command.ends_with(char::is_whitespace)).then_some(command)
}

/// Whether a person looks at a terminal that has not room for the text. A terminal that does not know its size (a serial line) says 0.
fn is_long(text: &str) -> bool {
    let known = || terminal::size().ok().map(|(_, rows)| usize::from(rows)).filter(|rows| *rows > 0);
    let rows = || known().unwrap_or(usize::MAX);
    io::stdout().is_terminal() && io::stdin().is_terminal() && text.lines().count() >= rows()
}

/// Shows the text by `$WEFTCTL_PAGER`, `$PAGER` or less; says whether that was possible. An empty variable means none.
fn paged(text: &str) -> bool {
    let named = env::var("WEFTCTL_PAGER").or_else(|_| env::var("PAGER"));
    let pager = named.unwrap_or_else(|_| "less".to_owned());
    if pager.trim().is_empty() {
        return false;
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", pager.as_str()]).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        // Ends by itself where all fits, and leaves the text on the screen.
        shell.env("LESS", "FRX");
    }
    let Ok(mut child) = shell.spawn() else { return false };
    if let Some(mut stdin) = child.stdin.take() {
        // A pager that has been left before the end takes no more.
        let _ = stdin.write_all(text.as_bytes());
    }
    // 127: the shell has found no such program.
    child.wait().is_ok_and(|status| status.code() != Some(127))
}

fn print(output: &Output) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match output {
        Output::Text(text) if is_long(text) && paged(text) => return Ok(()),
        Output::Text(text) => stdout.write_all(text.as_bytes())?,
        Output::Json(json) => writeln!(stdout, "{json}")?,
    }
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_a_last_word() {
        assert_eq!(strip_json("show version --json "), Some("show version "));
        assert_eq!(strip_json("--json"), Some(""));
        assert_eq!(strip_json("show version"), None);
        assert_eq!(strip_json("show x--json"), None);
        assert_eq!(strip_json("show --json version"), None);
    }
}
