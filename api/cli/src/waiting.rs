// SPDX-License-Identifier: Apache-2.0
//! An answer that is not there at once: the thread that commands run on waits for nothing, so whoever serves the client comes back
//! for it. Main thread, as all servers.
//!
//! There are four kinds: one that somebody gives later (`Reply::later`), work that is done a turn at a time (`Reply::in_turns`), a
//! long answer that another thread puts into words, and one that is made in parts (`Reply::in_parts`): each is given away before
//! the next one is made.

use std::time::Duration;

use weft_background::Background;

use crate::{
    error::CliError,
    reply::{Later, Part, Parts, Rendering, Reply, Turn},
    server::Service,
};

/// How often an answer is asked for that somebody else gives.
pub(crate) const PERIOD: Duration = Duration::from_millis(20);
/// How often another thread is asked.
const SOON: Duration = Duration::from_millis(2);

/// What there is to do now.
pub(crate) enum Next<T> {
    /// The answer, given once.
    Ready(Result<T, CliError>),
    /// A part of the answer, for who asked for parts; what is ready in the end has the words of an empty answer.
    Part(Box<dyn Part>),
    /// To ask again, after others have had their turn.
    Turn,
    /// To ask again after this time.
    Pause(Duration),
}

type Render<T> = Box<dyn FnOnce(&Rendering) -> T + Send>;

/// Somebody waits for an answer as a `T`; the command is told when that ends without one, also when the server ends.
pub(crate) struct Waiting<'s, T> {
    service: &'s dyn Service,
    /// Until it is used.
    render: Option<Render<T>>,
    stage: Stage<T>,
    /// The parts of the answer, if they are taken one by one.
    parts: Option<Parts>,
}

enum Stage<T> {
    Later(Later),
    Work(Reply),
    Words(Background<T>),
    Over,
}

impl<'s, T: Send + 'static> Waiting<'s, T> {
    /// For an answer that `render` puts into words. One that is there already is given at once.
    pub fn new(
        service: &'s dyn Service,
        reply: Reply,
        render: impl FnOnce(&Rendering) -> T + Send + 'static,
    ) -> Result<T, Waiting<'s, T>> {
        let stage = match reply.is_later() {
            Some(later) => Stage::Later(later.clone()),
            None if reply.is_work() => Stage::Work(reply),
            None => return Ok(render(&reply.rendering())),
        };
        Err(Waiting { service, render: Some(Box::new(render)), stage, parts: None })
    }

    /// Takes the answer in parts, if it is made in parts ([`Next::Part`]).
    pub fn stream(&mut self) {
        if let Stage::Work(work) = &self.stage {
            self.parts = work.stream();
        }
    }

    /// Whether it gives its answer in parts.
    pub fn is_streaming(&self) -> bool {
        self.parts.is_some()
    }

    /// Whether the command goes on when somebody leaves: what changes something a turn at a time is finished ([`Reply::leave`]).
    pub fn is_patient(&self) -> bool {
        !matches!(self.stage, Stage::Later(_))
    }

    /// Nobody waits any more: what is finished nevertheless ends as early as it can.
    pub fn leave(&self) {
        if let Stage::Work(work) = &self.stage {
            work.leave();
        }
    }

    pub fn poll(&mut self) -> Next<T> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Later(later) => match self.service.later(&later) {
                Ok(reply) if reply.is_later().is_some() => {
                    self.stage = Stage::Later(later);
                    Next::Pause(PERIOD)
                }
                answer => Next::Ready(answer.and_then(|reply| Ok(self.render()?(&reply.rendering())))),
            },
            Stage::Work(mut work) => match self.service.turn(&mut work) {
                Turn::Done(Ok(reply)) => {
                    if let Some(later) = reply.is_later() {
                        self.stage = Stage::Later(later.clone());
                        return Next::Turn;
                    }
                    if reply.is_work() {
                        self.stage = Stage::Work(reply);
                        return Next::Turn;
                    }
                    if self.is_streaming() {
                        return Next::Ready(self.render().map(|render| render(&reply.rendering())));
                    }
                    self.put_into_words(reply.rendering())
                }
                Turn::Done(Err(error)) => Next::Ready(Err(error)),
                Turn::More => {
                    self.stage = Stage::Work(work);
                    self.parts.as_ref().and_then(Parts::take).map_or(Next::Turn, Next::Part)
                }
                Turn::Waits => {
                    self.stage = Stage::Work(work);
                    Next::Pause(SOON)
                }
            },
            Stage::Words(words) => match words.poll() {
                Ok(Some(words)) => Next::Ready(Ok(words)),
                Ok(None) => {
                    self.stage = Stage::Words(words);
                    Next::Pause(SOON)
                }
                Err(error) => Next::Ready(Err(CliError::new(error))),
            },
            Stage::Over => Next::Ready(Err(CliError::new(GIVEN))),
        }
    }

    /// On another thread, which also gives its memory back: an answer of a hundred megabytes takes a second.
    fn put_into_words(&mut self, answer: Rendering) -> Next<T> {
        let render = match self.render() {
            Ok(render) => render,
            Err(error) => return Next::Ready(Err(error)),
        };
        match Background::spawn(move || render(&answer)) {
            Ok(words) => {
                self.stage = Stage::Words(words);
                Next::Pause(SOON)
            }
            Err(error) => Next::Ready(Err(CliError::new(format!("no thread for the answer: {error}")))),
        }
    }

    fn render(&mut self) -> Result<Render<T>, CliError> {
        self.render.take().ok_or_else(|| CliError::new(GIVEN))
    }
}

const GIVEN: &str = "the answer was given already";

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if let Stage::Later(later) = &self.stage {
            self.service.cancel(later);
        }
    }
}
