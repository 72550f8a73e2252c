// SPDX-License-Identifier: Apache-2.0
//! From a request to its reply.

use std::collections::BTreeMap;

use serde::Serialize;

use super::json;
use crate::commands::{CommandError, Words};
use crate::wire::{Message, excerpt};

/// A request that cannot be answered as asked; the text is for the person who asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Failure {
        Failure(error.to_string())
    }
}

type Handler<S> = dyn Fn(&mut S, Words<'_>) -> Result<String, Failure>;

struct Command<S> {
    help: &'static str,
    handler: Box<Handler<S>>,
}

/// All commands of the console. `S` is what they show.
pub struct Console<S> {
    commands: BTreeMap<&'static str, Command<S>>,
}

impl<S> Default for Console<S> {
    fn default() -> Console<S> {
        Console::new()
    }
}

impl<S> Console<S> {
    pub fn new() -> Console<S> {
        Console { commands: BTreeMap::new() }
    }

    /// Has requests that begin with `word` answered by `handler`, with text.
    pub fn register(
        &mut self,
        word: &'static str,
        help: &'static str,
        handler: impl Fn(&mut S, Words<'_>) -> Result<String, Failure> + 'static,
    ) {
        self.commands.insert(word, Command { help, handler: Box::new(handler) });
    }

    /// The same, with JSON.
    pub fn register_json<T: Serialize>(
        &mut self,
        word: &'static str,
        help: &'static str,
        handler: impl Fn(&mut S, Words<'_>) -> Result<T, Failure> + 'static,
    ) {
        self.register(word, help, move |state, words| json::text(&handler(state, words)?));
    }

    /// Answers a request, whatever it is.
    pub fn answer(&self, state: &mut S, request: &[Vec<u8>]) -> Message {
        match self.output(state, request) {
            Ok(output) => vec![b"OK".to_vec(), output.into_bytes()],
            Err(Failure(text)) => vec![b"ERROR".to_vec(), text.into_bytes()],
        }
    }

    fn output(&self, state: &mut S, request: &[Vec<u8>]) -> Result<String, Failure> {
        let text = match request {
            [text] => {
                std::str::from_utf8(text).map_err(|_| Failure(format!("not a text: {}\n", excerpt(text))))?
            }
            [kind, _] if kind == b"protobuf" => {
                return Err(Failure("no operational command has a protobuf form\n".to_owned()));
            }
            frames => return Err(Failure(format!("expected 1 frame, found {}\n", frames.len()))),
        };
        let mut words = Words::of(text)?;
        let word = words.word("a command")?;
        match self.commands.get(word) {
            Some(command) => (command.handler)(state, words),
            None if word == "help" => Ok(self.help()),
            None => Err(Failure(format!("Unknown command: {}\n", word.escape_default()))),
        }
    }

    fn help(&self) -> String {
        self.commands.iter().map(|(word, command)| format!("{word:<12} {}\n", command.help)).collect()
    }
}
