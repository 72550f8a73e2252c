// SPDX-License-Identifier: Apache-2.0
//! `unix { interactive }`: commands from the terminal that the daemon was started on.
//!
//! A terminal can only be read by waiting for it, so a thread of its own does that. Line editing is what the terminal
//! does; `weftctl` does more.

use std::io::{BufRead, Write, stdin, stdout};

use tokio::sync::mpsc::unbounded_channel;
use weft_cli::Rights;

use crate::main_loop::{End, Main};

/// Runs commands until `quit` or the end of the input, which ends the daemon.
pub async fn serve(main: Main) {
    let (sender, mut lines) = unbounded_channel();
    let read = move || {
        for line in stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    };
    // Nobody joins it: it ends with the process.
    if let Err(error) = std::thread::Builder::new().name("weft_terminal".into()).spawn(read) {
        tracing::error!("no commands from the terminal: {error}");
        return;
    }
    let prompt = main.with(|dataplane| dataplane.config().unix.prompt());
    say(&prompt);
    while let Some(line) = lines.recv().await {
        if matches!(line.trim(), "quit" | "q" | "exit") {
            break;
        }
        let begun = main.with(|dataplane| dataplane.commands().start(dataplane, &line, &Rights::Daemon));
        let answer = match begun {
            Ok(reply) => main.finish(reply).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(reply) => say(&reply.to_text()),
            Err(error) => say(&match error.excerpt(&line) {
                Some(excerpt) => format!("{excerpt}\n{error}\n"),
                None => format!("{error}\n"),
            }),
        }
        say(&prompt);
    }
    main.end(End::Asked("end of the terminal session"));
}

fn say(text: &str) {
    let mut out = stdout().lock();
    // A terminal that has gone shows at the next read.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
