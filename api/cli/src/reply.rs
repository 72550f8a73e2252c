// SPDX-License-Identifier: Apache-2.0
//! An answer is one value that is shown as text *or* as JSON, so that the two can never disagree.
//!
//! Nothing is formatted before the client has said which of the two it wants.
//!
//! A command that takes long gives way: its answer is work ([`Reply::in_turns`]) that whoever runs the command does a turn at a
//! time, and between two turns others have theirs. No turn takes longer than [`SLICE`], and nothing of the state is held between
//! two of them, since anything may have changed. What such a command answers is long too, so it is rendered on another thread.
//!
//! An answer that grows with a table which strangers fill is made in parts ([`Reply::in_parts`]): a server that sends a part before
//! it asks for the next one (`Reply::stream`) keeps one part, however long the answer is. Who needs the whole (a command file, an
//! API, a pager) gets it up to [`MOST_COLLECTED`], and all such answers together are no more than [`MOST_OF_ALL`].

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use weft_background::Background;
use weft_words::printable;

use crate::error::CliError;

/// How long a turn of a long command takes, about.
pub const SLICE: Duration = Duration::from_millis(4);

/// Bytes of an answer in parts that is kept whole.
pub const MOST_COLLECTED: usize = 8 << 20;
/// Bytes of all of them together.
pub const MOST_OF_ALL: usize = 64 << 20;

/// A part of an answer: whole lines of its text, and what follows the other parts of its JSON.
pub trait Part: Send {
    fn text(&self) -> String;
    /// The text as a client may have it.
    fn shown(&self) -> String {
        shown(self.text())
    }
    fn json(&self) -> serde_json::Result<String>;
    /// Bytes of memory, about.
    fn size(&self) -> usize;
}

/// Text for a client: whatever names others have given to what it tells of do nothing to a terminal.
fn shown(text: String) -> String {
    match printable(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(text) => text,
    }
}

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
    /// Where the parts of its answer are put, if it has some.
    parts: Option<Parts>,
}

/// The parts of an answer on their way from the work that makes them.
#[derive(Clone)]
pub(crate) struct Parts(Rc<Shelf>);

struct Shelf {
    /// Whether somebody takes each part before the next one is made.
    taken: Cell<bool>,
    kept: RefCell<Collected>,
}

impl Parts {
    fn new() -> Parts {
        let kept = RefCell::new(Collected { parts: Vec::new(), size: 0 });
        Parts(Rc::new(Shelf { taken: Cell::new(false), kept }))
    }

    /// The part that was made by the last turn.
    #[cfg(any(test, feature = "server"))]
    pub fn take(&self) -> Option<Box<dyn Part>> {
        self.0.kept.borrow_mut().parts.pop()
    }

    fn put(&self, part: Box<dyn Part>) -> Result<(), CliError> {
        let mut kept = self.0.kept.borrow_mut();
        if !self.0.taken.get() {
            kept.account(part.size())?;
        }
        kept.parts.push(part);
        Ok(())
    }

    /// What is left when all parts are made.
    fn rest(&self) -> Reply {
        match self.0.taken.get() {
            true => Reply::empty(),
            false => Reply(Content::Answer(Box::new(
                self.0.kept.replace(Collected { parts: Vec::new(), size: 0 }),
            ))),
        }
    }
}

/// Parts that are kept until all are there.
struct Collected {
    parts: Vec<Box<dyn Part>>,
    /// Their bytes, as they count in [`ALL`].
    size: usize,
}

/// Bytes of all that is [`Collected`].
static ALL: AtomicUsize = AtomicUsize::new(0);

impl Collected {
    fn account(&mut self, size: usize) -> Result<(), CliError> {
        if self.size + size > MOST_COLLECTED {
            return Err(CliError::new(format!(
                "the answer is longer than {} MiB, which is the most here: ask for less of it, or by weftctl or a pipe into vppctl",
                MOST_COLLECTED >> 20
            )));
        }
        if ALL.fetch_add(size, Relaxed) + size > MOST_OF_ALL {
            ALL.fetch_sub(size, Relaxed);
            return Err(CliError::new(format!(
                "long answers for others take {} MiB, which is the most: try again later, or ask for less",
                MOST_OF_ALL >> 20
            )));
        }
        self.size += size;
        Ok(())
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        ALL.fetch_sub(self.size, Relaxed);
    }
}

impl Answer for Collected {
    fn text(&self) -> String {
        self.parts.iter().map(|part| part.text()).collect()
    }

    fn json(&self) -> serde_json::Result<Box<RawValue>> {
        RawValue::from_string(self.parts.iter().map(|part| part.json()).collect::<serde_json::Result<_>>()?)
    }
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

/// Values under the name that they have in JSON.
struct List<T>(&'static str, Vec<T>);

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([(self.0, &self.1)])
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
        let mut text = self.0.as_ref().map_or_else(String::new, |answer| shown(answer.text()));
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

    /// A list: in JSON an object whose only member is `name`, as text `render` of all of them.
    pub fn list<T, F>(name: &'static str, items: impl IntoIterator<Item = T>, render: F) -> Self
    where
        T: Serialize + Send + 'static,
        F: Fn(&[T]) -> String + Send + 'static,
    {
        Self::new(List(name, items.into_iter().collect()), move |List(_, items)| render(items))
    }

    /// As [`Reply::list`], with the text of one after the other.
    pub fn each<T, F>(name: &'static str, items: impl IntoIterator<Item = T>, render: F) -> Self
    where
        T: Serialize + Send + 'static,
        F: Fn(&T) -> String + Send + 'static,
    {
        Self::list(name, items, move |items| items.iter().map(&render).collect())
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

    /// The command goes on with what other threads are busy with, or with the reason why they have not done it.
    pub fn after<C: 'static, T: Send + 'static, E: Display + Send + 'static>(
        work: Background<Result<T, E>>,
        then: impl FnOnce(&mut C, Result<T, CliError>) -> Result<Reply, CliError> + 'static,
    ) -> Self {
        let mut then = Some(then);
        Self::in_turns(move |state: &mut C| {
            let result = match work.poll() {
                Ok(None) => return Turn::Waits,
                Ok(Some(result)) => result.map_err(CliError::new),
                Err(error) => Err(CliError::new(error)),
            };
            Turn::Done(then.take().map_or_else(|| Ok(Reply::empty()), |then| then(state, result)))
        })
    }

    /// As [`Reply::in_turns`], by small portions, as many in a turn as its [`Slice`] allows; a portion says whether it was the
    /// last one. The answer is empty.
    pub fn in_portions<C: 'static>(
        mut portion: impl FnMut(&mut C) -> Result<bool, CliError> + 'static,
    ) -> Self {
        Self::in_turns(move |state: &mut C| {
            let slice = Slice::begin();
            while !slice.is_over() {
                match portion(state) {
                    Ok(false) => {}
                    Ok(true) => return Turn::Done(Ok(Reply::empty())),
                    Err(error) => return Turn::Done(Err(error)),
                }
            }
            Turn::More
        })
    }

    /// As [`Reply::in_turns`], with an answer of any length: each turn gives a part of it, and `None` after the last one. There is
    /// at least one part, and all of them make one text and one JSON value.
    pub fn in_parts<C: 'static>(
        mut next: impl FnMut(&mut C) -> Result<Option<Box<dyn Part>>, CliError> + 'static,
    ) -> Self {
        let parts = Parts::new();
        let shelf = parts.clone();
        let mut reply = Self::work(None, move |state| match next(state) {
            Ok(Some(part)) => match shelf.put(part) {
                Ok(()) => Turn::More,
                Err(error) => Turn::Done(Err(error)),
            },
            Ok(None) => Turn::Done(Ok(shelf.rest())),
            Err(error) => Turn::Done(Err(error)),
        });
        if let Content::Work(work) = &mut reply.0 {
            work.parts = Some(parts);
        }
        reply
    }

    /// For who takes each part of the answer before the next turn; the work answers nothing in the end. `None`: it has no parts.
    #[cfg(any(test, feature = "server"))]
    pub(crate) fn stream(&self) -> Option<Parts> {
        let Content::Work(Work { parts: Some(parts), .. }) = &self.0 else { return None };
        parts.0.taken.set(true);
        Some(parts.clone())
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
        Self(Content::Work(Work { turn, audience, parts: None }))
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
    fn names_of_others_do_nothing_to_a_terminal() {
        let said = Reply::new("a\u{1b}[2Jname\r", |name| format!("{name}\n")).to_text();
        assert_eq!(said, "a\\u{1b}[2Jname\\r\n");
        assert_eq!(Chunk("\u{9b}1m", 1).shown(), "\\u{9b}1m\n");
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

    struct Chunk(&'static str, usize);

    impl Part for Chunk {
        fn text(&self) -> String {
            format!("{}\n", self.0)
        }

        fn json(&self) -> serde_json::Result<String> {
            Ok(self.0.to_owned())
        }

        fn size(&self) -> usize {
            self.1
        }
    }

    fn chunks(count: usize, size: usize) -> Reply {
        let mut words = [vec!["[0"], vec![",1"; count], vec!["]"]].concat().into_iter();
        Reply::in_parts(move |_: &mut u32| {
            Ok(words.next().map(|word| Box::new(Chunk(word, size)) as Box<dyn Part>))
        })
    }

    #[test]
    fn parts_are_one_answer_or_taken_one_by_one() {
        let state = &mut 0u32;
        assert_eq!(chunks(2, 1).finish(state).unwrap().to_text(), "[0\n,1\n,1\n]\n");
        assert_eq!(chunks(2, 1).finish(state).unwrap().to_json().unwrap().get(), "[0,1,1]");
        // Far more than may be kept, and never more than one part is.
        let mut work = chunks(100, MOST_COLLECTED);
        let (parts, mut json) = (work.stream().unwrap(), String::new());
        while let Turn::More = work.turn(state) {
            json += &parts.take().expect("a turn is a part").json().unwrap();
            assert!(parts.take().is_none());
        }
        assert_eq!(json, format!("[0{}]", ",1".repeat(100)));
    }

    #[test]
    fn what_is_kept_whole_has_a_bound_each_and_together() {
        let state = &mut 0u32;
        let refused = |reply: Result<Reply, CliError>| reply.err().expect("it is too long").message;
        assert!(refused(chunks(8, MOST_COLLECTED / 8).finish(state)).contains("longer than 8 MiB"));
        let half = || chunks(0, MOST_COLLECTED / 2);
        let kept: Vec<Reply> = (0..64).map_while(|_| half().finish(&mut 0u32).ok()).collect();
        assert!((4..=8).contains(&kept.len()), "{}", kept.len());
        assert!(refused(half().finish(state)).contains("for others take 64 MiB"));
        drop(kept);
        assert!(half().finish(state).is_ok());
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
