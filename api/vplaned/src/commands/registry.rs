// SPDX-License-Identifier: Apache-2.0
//! Which feature takes which command.
//!
//! The registry belongs to the main thread. Its memory is bounded: of words that nobody takes it remembers a limited
//! number.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use prost::Message;

use super::{CommandError, Words};
use crate::proto::envelope::DataplaneEnvelope;
use crate::wire::excerpt;

/// Names of commands nobody takes that are remembered; further ones are counted together.
const MOST_NAMES: usize = 256;
/// What further names are counted under.
const OTHERS: &str = "(others)";

/// One feature's commands: its names on the wire, and what they say.
pub trait Feature {
    /// First words of its text commands.
    const WORDS: &'static [&'static str] = &[];
    /// Types of its envelopes.
    const TYPES: &'static [&'static str] = &[];
    /// What a command says, in either form.
    type Value;

    /// Reads a text; the first word is taken already.
    fn text(words: Words<'_>) -> Result<Self::Value, CommandError> {
        Err(CommandError::Encoding { name: words.text().to_owned(), encoding: "text" })
    }

    /// Reads the inside of an envelope.
    fn message(kind: &str, bytes: &[u8]) -> Result<Self::Value, CommandError> {
        let _ = bytes;
        Err(CommandError::Encoding { name: kind.to_owned(), encoding: "protobuf" })
    }
}

/// A name that two features want.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two features take the command {0:?}")]
pub struct Taken(pub &'static str);

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// Harmless to leave out. `first`: not seen before.
    Ignored {
        name: String,
        first: bool,
    },
    /// Nobody takes it. `first`: not seen before.
    Unknown {
        name: String,
        first: bool,
    },
    Failed(CommandError),
}

/// A command that had no effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ignored {
    pub count: u64,
    /// It is known to be harmless.
    pub harmless: bool,
}

type Apply<S> = dyn Fn(&mut S, Input<'_>) -> Result<(), CommandError>;

enum Input<'a> {
    Text(Words<'a>),
    Message(&'a str, &'a [u8]),
}

/// All features. `S` is what their handlers change.
pub struct Registry<S> {
    words: HashMap<&'static str, Rc<Apply<S>>>,
    types: HashMap<&'static str, Rc<Apply<S>>>,
    harmless: Vec<&'static str>,
    ignored: BTreeMap<String, Ignored>,
    applied: u64,
    failed: u64,
}

impl<S> Default for Registry<S> {
    fn default() -> Registry<S> {
        Registry::new()
    }
}

impl<S> Registry<S> {
    pub fn new() -> Registry<S> {
        Registry {
            words: HashMap::new(),
            types: HashMap::new(),
            harmless: Vec::new(),
            ignored: BTreeMap::new(),
            applied: 0,
            failed: 0,
        }
    }

    /// Has a feature's commands carried out by `apply`.
    pub fn register<F: Feature>(
        &mut self,
        apply: impl Fn(&mut S, F::Value) -> Result<(), CommandError> + 'static,
    ) -> Result<(), Taken> {
        let apply: Rc<Apply<S>> = Rc::new(move |state, input| {
            let value = match input {
                Input::Text(words) => F::text(words)?,
                Input::Message(kind, bytes) => F::message(kind, bytes)?,
            };
            apply(state, value)
        });
        for (names, taken) in [(F::WORDS, &mut self.words), (F::TYPES, &mut self.types)] {
            for name in names {
                if taken.insert(name, Rc::clone(&apply)).is_some() {
                    return Err(Taken(name));
                }
            }
        }
        Ok(())
    }

    /// Leaves commands of these names alone.
    pub fn ignore(&mut self, names: &[&'static str]) {
        self.harmless.extend(names);
    }

    /// Carries out a command, in whichever form it comes.
    pub fn run(&mut self, state: &mut S, data: &[u8]) -> Outcome {
        let outcome = match Form::of(data) {
            Ok(Form::Text(text)) => self.run_text(state, text),
            Ok(Form::Envelope) => self.run_envelope(state, data),
            Err(error) => Outcome::Failed(error),
        };
        match &outcome {
            Outcome::Applied => self.applied += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Ignored { .. } | Outcome::Unknown { .. } => {}
        }
        outcome
    }

    fn run_text(&mut self, state: &mut S, text: &str) -> Outcome {
        let first = Words::of(text).and_then(|mut words| Ok((words.word("a command")?, words)));
        let (name, words) = match first {
            Ok(first) => first,
            Err(error) => return Outcome::Failed(error),
        };
        match self.words.get(name).cloned() {
            Some(apply) => outcome(apply(state, Input::Text(words))),
            None => self.left_out(name),
        }
    }

    fn run_envelope(&mut self, state: &mut S, data: &[u8]) -> Outcome {
        let envelope = match DataplaneEnvelope::decode(data) {
            Ok(envelope) => envelope,
            Err(source) => {
                return Outcome::Failed(CommandError::Decode { what: "an envelope".to_owned(), source });
            }
        };
        if envelope.r#type.is_empty() {
            return Outcome::Failed(CommandError::field("type", "the type of a command", "nothing"));
        }
        match self.types.get(envelope.r#type.as_str()).cloned() {
            Some(apply) => outcome(apply(state, Input::Message(&envelope.r#type, &envelope.msg))),
            None => self.left_out(&envelope.r#type),
        }
    }

    fn left_out(&mut self, name: &str) -> Outcome {
        let harmless = self.harmless.contains(&name);
        let name = excerpt_of_name(name);
        let known = self.ignored.contains_key(&name);
        let first = !known && self.ignored.len() < MOST_NAMES;
        let key = if known || first { name.clone() } else { OTHERS.to_owned() };
        let entry = self.ignored.entry(key).or_default();
        entry.count += 1;
        entry.harmless = harmless;
        if harmless { Outcome::Ignored { name, first } } else { Outcome::Unknown { name, first } }
    }

    /// Names that had no effect so far.
    pub fn ignored(&self) -> &BTreeMap<String, Ignored> {
        &self.ignored
    }

    /// Commands that were carried out, and that failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.applied, self.failed)
    }
}

fn outcome(result: Result<(), CommandError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Applied,
        Err(error) => Outcome::Failed(error),
    }
}

/// A name from outside, short enough to keep.
fn excerpt_of_name(name: &str) -> String {
    if name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        name.to_owned()
    } else {
        excerpt(name.as_bytes())
    }
}

/// How a command is written.
enum Form<'a> {
    Text(&'a str),
    Envelope,
}

impl Form<'_> {
    /// An envelope begins with the tag of its first or second field, both control characters (0x0a, 0x12); a text
    /// has none.
    fn of(data: &[u8]) -> Result<Form<'_>, CommandError> {
        match data.first() {
            Some(0x0a | 0x12) => Ok(Form::Envelope),
            _ => match std::str::from_utf8(data) {
                Ok(text) if !text.is_empty() && !text.trim_end().chars().any(char::is_control) => {
                    Ok(Form::Text(text))
                }
                _ => Err(CommandError::neither(data)),
            },
        }
    }
}

/// The name of a command, and what it says: its first word and the whole text, or the type of the envelope and what is in
/// it. For those who take commands that no feature of the registry knows.
pub fn named(data: &[u8]) -> Option<(String, Vec<u8>)> {
    match Form::of(data).ok()? {
        Form::Text(text) => {
            let name = Words::of(text).ok()?.word("a command").ok()?.to_owned();
            Some((name, text.trim_end().into()))
        }
        Form::Envelope => {
            let envelope = DataplaneEnvelope::decode(data).ok()?;
            Some((envelope.r#type, envelope.msg))
        }
    }
}

/// A command that is text: only of such are failures told to vplaned.
pub fn text_of(data: &[u8]) -> Option<&str> {
    match Form::of(data) {
        Ok(Form::Text(text)) => Some(text.trim_end()),
        _ => None,
    }
}
