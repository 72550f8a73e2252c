// SPDX-License-Identifier: Apache-2.0
//! `api trace`: the last messages of clients of the binary API, to look at and to keep.

use std::fmt::{Display, Write as _};
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use serde::Serialize;
use weft_background::Background;
use weft_binapi::server::Clients;
use weft_cli::{Args, CliError, Command, Reply};

use super::api::api;
use super::pcap::DIRECTORY;
use super::{doing, showing};
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
    let switch = |path: &str, read: fn(&mut Args<'_>) -> Result<bool, CliError>| {
        doing(path, move |dataplane, args| {
            let on = read(args)?;
            args.finish()?;
            api(dataplane)?.clients.set_tracing(on);
            Ok(())
        })
    };
    vec![
        switch("api trace on", |_| Ok(true)).help("Keep the last messages of clients of the binary API"),
        switch("api trace off", |_| Ok(false)).help("Keep no more of them; those that were kept stay"),
        switch("api trace rx", |args| args.one_of(&[("on", true), ("off", false)]))
            .synopsis("on|off")
            .help("As 'api trace on' and 'api trace off'"),
        doing("api trace tx", |_, args| {
            args.one_of(&[("on", true), ("off", false)])?;
            args.finish()?;
            Err(CliError::new("what clients send is kept ('api trace on'), not what they are answered"))
        })
        .synopsis("on|off")
        .help("Says which messages are kept"),
        showing("api trace free", |dataplane| {
            api(dataplane)?.clients.forget_traced();
            Ok(Reply::empty())
        })
        .help("Forget those that were kept"),
        showing("api trace dump", |dataplane| Ok(Reply::new(trace(&api(dataplane)?.clients), render)))
        .help("Those that were kept, the oldest first: time, session, client, message, length, first bytes"),
        Command::new("api trace save", save)
            .synopsis("<name>")
            .help("Write them to /tmp/<name>, a line each, with the rights of whoever asks; a file that exists is not replaced"),
    ]
}

fn save(dataplane: &mut Dataplane, args: &mut Args<'_>) -> Result<Reply, CliError> {
    let name: &str = args.word("file name")?;
    if name.contains('/') || name.starts_with('.') {
        return Err(args.reject("the file is made in /tmp: give its name only"));
    }
    args.finish()?;
    let trace = trace(&api(dataplane)?.clients);
    let path = Path::new(DIRECTORY).join(name);
    let (text, to) = (render(&trace), path.clone());
    let saved = Saved { path: path.display().to_string(), messages: trace.messages.len() };
    let failed = move |error: &dyn Display| CliError::new(format!("{}: {error}", path.display()));
    let writing =
        Background::start(args.rights(), move || write_new(&to, &text)).map_err(|error| failed(&error))?;
    Ok(Reply::after(writing, move |_: &mut Dataplane, written| {
        written.map_err(|error| failed(&error))?;
        Ok(Reply::new(saved, |saved| format!("{} messages saved to {}\n", saved.messages, saved.path)))
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
