// SPDX-License-Identifier: Apache-2.0
//! An answer is one value that is shown as text *or* as JSON, so that the two can never disagree.
//!
//! Nothing is formatted before the client has said which of the two it wants.
//!
//! A command that takes long gives way: its answer is work ([`Reply::in_turns`]) that whoever runs the command does a turn at a
//! time, and between two turns others have theirs. No turn takes longer than [`SLICE`], and nothing of the state is held between
//! two of them, since anything may have changed. What such a command answers is long too, so it is rendered on another thread.

use std::any::Any;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::error::CliError;

/// How long a turn of a long command takes, about.
pub const SLICE: Duration = Duration::from_millis(4);

/// What a command has to say.
pub struct Reply(Content);

enum Content {
    Nothing,
    Answer(Box<dyn Answer>),
    Work(Work),
}

type DoTurn = Box<dyn FnMut(&mut dyn Any) -> Turn>;

/// What is left to do of a command.
struct Work {
    turn: DoTurn,
    /// Who waits for it, if it asks.
    audience: Option<Audience>,
}

/// Whether somebody still waits for an answer. Work that consists of many commands asks, and ends between two of them.
#[derive(Clone, Default)]
pub(crate) struct Audience(Rc<Cell<bool>>);

impl Audience {
    /// Nobody waits any more.
    pub fn leave(&self) {
        self.0.set(true);
    }

    pub fn has_left(&self) -> bool {
        self.0.get()
    }
}

/// What a turn has come to.
pub enum Turn {
    /// There is more to do.
    More,
    /// Something else has to happen first, on another thread: there is nothing to do for some milliseconds.
    Waits,
    /// That was all.
    Done(Result<Reply, CliError>),
}

/// The time of a turn.
pub struct Slice(Instant);

impl Slice {
    /// Begins now.
    pub fn begin() -> Slice {
        Slice(Instant::now())
    }

    /// Whether others should have their turn.
    pub fn is_over(&self) -> bool {
        self.0.elapsed() >= SLICE
    }
}

/// An answer that a command gives later, since the thread that it runs on does not wait for anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Later {
    /// Who gives it.
    pub of: String,
    /// The command.
    pub command: String,
    /// The name by which to ask.
    pub name: String,
}

trait Answer: Send {
    fn text(&self) -> String;
    fn json(&self) -> serde_json::Result<Box<RawValue>>;
    fn later(&self) -> Option<&Later> {
        None
    }
}

impl Answer for Later {
    /// For who cannot wait either: a file of commands, an API.
    fn text(&self) -> String {
        format!("{}: started\n", self.command)
    }

    fn json(&self) -> serde_json::Result<Box<RawValue>> {
        serde_json::value::to_raw_value(&serde_json::json!({ "started": self.command }))
    }

    fn later(&self) -> Option<&Later> {
        Some(self)
    }
}

struct Rendered<T, F> {
    value: T,
    render: F,
}

impl<T: Serialize + Send, F: Fn(&T) -> String + Send> Answer for Rendered<T, F> {
    fn text(&self) -> String {
        (self.render)(&self.value)
    }

    fn json(&self) -> serde_json::Result<Box<RawValue>> {
        serde_json::value::to_raw_value(&self.value)
    }
}

struct Sequence(Vec<Rendering>);

impl Answer for Sequence {
    fn text(&self) -> String {
        self.0.iter().map(Rendering::to_text).collect()
    }

    fn json(&self) -> serde_json::Result<Box<RawValue>> {
        let items = self.0.iter().map(Rendering::to_json).collect::<serde_json::Result<Vec<_>>>()?;
        serde_json::value::to_raw_value(&items)
    }
}

/// A finished answer, which another thread may put into words.
pub struct Rendering(Option<Box<dyn Answer>>);

impl Rendering {
    /// Whole lines: text that is not empty ends in a newline.
    pub fn to_text(&self) -> String {
        let mut text = self.0.as_ref().map_or_else(String::new, |answer| answer.text());
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    /// Fails only for values that JSON cannot express, such as maps whose keys are no strings.
    pub fn to_json(&self) -> serde_json::Result<Box<RawValue>> {
        match &self.0 {
            Some(answer) => answer.json(),
            None => serde_json::value::to_raw_value(&()),
        }
    }
}

impl Reply {
    /// The command did what it was told and has nothing to show: no text, JSON `null`.
    pub fn empty() -> Self {
        Self(Content::Nothing)
    }

    /// `value` as JSON, `render(&value)` as text.
    pub fn new<T, F>(value: T, render: F) -> Self
    where
        T: Serialize + Send + 'static,
        F: Fn(&T) -> String + Send + 'static,
    {
        Self(Content::Answer(Box::new(Rendered { value, render })))
    }

    /// The answers of several commands, back to back; a JSON array.
    pub(crate) fn sequence(replies: Vec<Reply>) -> Self {
        Self(Content::Answer(Box::new(Sequence(replies.into_iter().map(Reply::rendering).collect()))))
    }

    /// The answer comes later: whoever can wait asks the service for it (`Service::later`).
    pub fn later(later: Later) -> Self {
        Self(Content::Answer(Box::new(later)))
    }

    /// The command does its work in turns, on a state of type `C`; the last turn gives the answer.
    pub fn in_turns<C: 'static>(turn: impl FnMut(&mut C) -> Turn + 'static) -> Self {
        Self::work(None, turn)
    }

    /// As [`Reply::in_turns`]; the work asks `audience` whether somebody still waits for its answer.
    pub(crate) fn in_turns_for<C: 'static>(
        audience: &Audience,
        turn: impl FnMut(&mut C) -> Turn + 'static,
    ) -> Self {
        Self::work(Some(audience.clone()), turn)
    }

    fn work<C: 'static>(audience: Option<Audience>, mut turn: impl FnMut(&mut C) -> Turn + 'static) -> Self {
        let turn: DoTurn = Box::new(move |state: &mut dyn Any| match state.downcast_mut::<C>() {
            Some(state) => turn(state),
            None => Turn::Done(Err(CliError::new("this command belongs to another program"))),
        });
        Self(Content::Work(Work { turn, audience }))
    }

    /// Nobody waits for the answer any more. A command that has begun is finished all the same, one of a file as well; those
    /// after it are not begun.
    pub fn leave(&self) {
        if let Content::Work(Work { audience: Some(audience), .. }) = &self.0 {
            audience.leave();
        }
    }

    /// Whether the answer comes later.
    pub fn is_later(&self) -> Option<&Later> {
        match &self.0 {
            Content::Answer(answer) => answer.later(),
            _ => None,
        }
    }

    /// Whether there is work left ([`Reply::turn`]).
    pub fn is_work(&self) -> bool {
        matches!(self.0, Content::Work(_))
    }

    /// Does a turn of the work. What is no work is done.
    pub fn turn<C: 'static>(&mut self, state: &mut C) -> Turn {
        match &mut self.0 {
            Content::Work(work) => (work.turn)(state),
            _ => Turn::Done(Ok(std::mem::replace(self, Reply::empty()))),
        }
    }

    /// Does all the work at once: for those who have nothing else to do.
    pub fn finish<C: 'static>(mut self, state: &mut C) -> Result<Reply, CliError> {
        while self.is_work() {
            match self.turn(state) {
                Turn::More => {}
                Turn::Waits => std::thread::sleep(Duration::from_millis(1)),
                Turn::Done(Ok(reply)) => self = reply,
                Turn::Done(Err(error)) => return Err(error),
            }
        }
        Ok(self)
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.0, Content::Nothing)
    }

    /// The answer alone. Work that is not finished says nothing.
    pub fn rendering(self) -> Rendering {
        match self.0 {
            Content::Answer(answer) => Rendering(Some(answer)),
            Content::Nothing | Content::Work(_) => Rendering(None),
        }
    }

    /// As [`Rendering::to_text`].
    pub fn to_text(self) -> String {
        self.rendering().to_text()
    }

    /// As [`Rendering::to_json`].
    pub fn to_json(self) -> serde_json::Result<Box<RawValue>> {
        self.rendering().to_json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Version {
        name: &'static str,
        minor: u32,
    }

    fn version() -> Reply {
        Reply::new(Version { name: "weft", minor: 1 }, |v| format!("{} 0.{}", v.name, v.minor))
    }

    #[test]
    fn one_value_two_forms() {
        assert_eq!(version().to_text(), "weft 0.1\n");
        assert_eq!(version().to_json().unwrap().get(), r#"{"name":"weft","minor":1}"#);
    }

    #[test]
    fn nothing_to_say() {
        assert_eq!(Reply::empty().to_text(), "");
        assert_eq!(Reply::empty().to_json().unwrap().get(), "null");
    }

    #[test]
    fn several() {
        let both = Reply::sequence(vec![version(), version()]).rendering();
        assert_eq!(both.to_text(), "weft 0.1\nweft 0.1\n");
        let json = both.to_json().unwrap();
        assert_eq!(json.get(), r#"[{"name":"weft","minor":1},{"name":"weft","minor":1}]"#);
    }

    #[test]
    fn work_is_done_in_turns_on_the_state_that_it_was_made_for() {
        let count = |most: u32| {
            Reply::in_turns(move |state: &mut u32| {
                *state += 1;
                if *state < most { Turn::More } else { Turn::Done(Ok(version())) }
            })
        };
        let (mut state, mut work) = (0u32, count(3));
        assert!(work.is_work() && !work.is_empty());
        assert!(matches!(work.turn(&mut state), Turn::More));
        assert_eq!(state, 1);
        assert_eq!(work.finish(&mut state).unwrap().to_text(), "weft 0.1\n");
        assert_eq!(state, 3);
        // Work whose answer is work.
        let outer = Reply::in_turns(move |_: &mut u32| Turn::Done(Ok(count(5))));
        assert_eq!(outer.finish(&mut state).unwrap().to_text(), "weft 0.1\n");
        assert_eq!(state, 5);
        assert!(count(9).finish(&mut String::new()).is_err());
    }
}
