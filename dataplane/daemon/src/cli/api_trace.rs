// SPDX-License-Identifier: Apache-2.0
//! `api trace`: the last messages of clients of the binary API, to look at and to keep.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use weft_background::Background;
use weft_binapi::server::Clients;
use weft_cli::{Args, CliError, Command, Reply, Turn};

use super::pcap::DIRECTORY;
use crate::state::Dataplane;

#[derive(Serialize)]
struct Message {
    /// Seconds since 1970.
    time: f64,
    session: u64,
    client: String,
    message: &'static str,
    length: usize,
    /// The first bytes.
    bytes: String,
}

#[derive(Serialize)]
struct Trace {
    on: bool,
    messages: Vec<Message>,
}

pub fn commands() -> Vec<Command<Dataplane>> {
    let switch = |dataplane: &mut Dataplane, args: &mut Args<'_>, on| {
        args.finish()?;
        super::api::api(dataplane)?.clients.set_tracing(on);
        Ok(Reply::empty())
    };
    vec![
        Command::new("api trace on", move |dataplane: &mut Dataplane, args| switch(dataplane, args, true))
            .help("Keep the last messages of clients of the binary API"),
        Command::new("api trace off", move |dataplane: &mut Dataplane, args| switch(dataplane, args, false))
            .help("Keep no more of them; those that were kept stay"),
        Command::new("api trace rx", switched)
            .synopsis("on|off")
            .help("As 'api trace on' and 'api trace off'"),
        Command::new("api trace tx", |_: &mut Dataplane, args| {
            args.one_of(&[("on", true), ("off", false)])?;
            args.finish()?;
            Err(CliError::new("what clients send is kept ('api trace on'), not what they are answered"))
        })
        .synopsis("on|off")
        .help("Says which messages are kept"),
        Command::new("api trace free", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            super::api::api(dataplane)?.clients.forget_traced();
            Ok(Reply::empty())
        })
        .help("Forget those that were kept"),
        Command::new("api trace dump", |dataplane: &mut Dataplane, args| {
            args.finish()?;
            Ok(Reply::new(trace(&super::api::api(dataplane)?.clients), render))
        })
        .help("Those that were kept, the oldest first: time, session, client, message, length, first bytes"),
        Command::new("api trace save", save)
            .synopsis("<name>")
            .help("Write them to /tmp/<name>, a line each, with the rights of whoever asks; a file that exists is not replaced"),
    ]
}

fn switched(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let on = args.one_of(&[("on", true), ("off", false)])?;
    args.finish()?;
    super::api::api(dataplane)?.clients.set_tracing(on);
    Ok(Reply::empty())
}

fn save(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let name: &str = args.word("file name")?;
    if name.contains('/') || name.starts_with('.') {
        return Err(args.reject("the file is made in /tmp: give its name only"));
    }
    args.finish()?;
    let trace = trace(&super::api::api(dataplane)?.clients);
    let path = Path::new(DIRECTORY).join(name);
    let (text, to) = (render(&trace), path.clone());
    let failed = move |error: io::Error| CliError::new(format!("{}: {error}", path.display()));
    let writing = Background::start(args.rights(), move || write_new(&to, &text)).map_err(&failed)?;
    let saved =
        Saved { path: Path::new(DIRECTORY).join(name).display().to_string(), messages: trace.messages.len() };
    let mut saved = Some(saved);
    Ok(Reply::in_turns(move |_: &mut Dataplane| match writing.poll().map_err(io::Error::from) {
        Ok(None) => Turn::Waits,
        Ok(Some(Ok(()))) => Turn::Done(Ok(saved.take().map_or_else(Reply::empty, |saved| {
            Reply::new(saved, |saved| format!("{} messages saved to {}\n", saved.messages, saved.path))
        }))),
        Ok(Some(Err(error))) | Err(error) => Turn::Done(Err(failed(error))),
    }))
}

#[derive(Serialize)]
struct Saved {
    path: String,
    messages: usize,
}

/// What is there may be somebody else's, or lead elsewhere: /tmp is everybody's. Readable by its owner and group only: it holds what
/// others have said.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?.write_all(text.as_bytes())
}

fn trace(clients: &Clients) -> Trace {
    let messages = clients.traced().into_iter().map(|traced| Message {
        time: traced.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        session: traced.session.0,
        client: traced.client,
        message: traced.message,
        length: traced.length,
        bytes: traced.bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }),
    });
    Trace { on: clients.is_tracing(), messages: messages.collect() }
}

fn render(trace: &Trace) -> String {
    trace.messages.iter().fold(String::new(), |mut text, one| {
        let Message { time, session, client, message, length, bytes } = one;
        let _ = writeln!(text, "{time:.6} {session} {client:?} {message} {length} {bytes}");
        text
    })
}
