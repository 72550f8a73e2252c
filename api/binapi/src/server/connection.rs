// SPDX-License-Identifier: Apache-2.0
//! One connection, from the first byte to the last.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use crate::codec::DecodeError;
use crate::frame::{Envelope, Frames, MessageId, TooLong};
use crate::message::{MessageInfo, Role};
use crate::retval::Retval;

use super::batch::Batch;
use super::registry::{Ask, BatchStep, Change, Handler, Handlers, Host, Producer, Question, Step};
use super::session::Session;
use super::{Clients, Options};

/// Bytes that are asked for at once.
const READ: usize = 16 << 10;
/// Bytes for its message that every client may have, however much the others take.
const SMALL: usize = 4 * READ;
/// Pause between two looks at what an answer waits for.
const WAITING: Duration = Duration::from_millis(2);
/// How long a client that has finished may take to read its last answers.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Connection<H: Host> {
    pub stream: UnixStream,
    pub session: Rc<Session>,
    pub handlers: Rc<Handlers<H::State>>,
    pub clients: Clients,
    pub host: H,
    pub options: Rc<Options>,
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("it has closed its side")]
    Closed,
    #[error("it said so")]
    Left,
    #[error("it was cut off")]
    Cut,
    #[error("{0}")]
    TooLong(#[from] TooLong),
    #[error("the rest of a message did not come within {} s", .0.as_secs())]
    Halfway(Duration),
    #[error("unfinished messages of all clients take more than {0} bytes")]
    Incoming(usize),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Takes a client off the list, whatever ends its task.
struct Leaving<'a>(&'a Clients, &'a Session);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1.id());
    }
}

impl<H: Host> Connection<H> {
    pub async fn run(self) {
        let leaving = Leaving(&self.clients, &self.session);
        let mut sending = std::pin::pin!(self.session.outbox.send_all(&self.stream));
        let end = tokio::select! {
            end = self.receive() => end,
            error = &mut sending => End::Io(error),
            () = self.session.cut.notified() => End::Cut,
        };
        if matches!(end, End::Closed | End::Left) {
            tokio::select! {
                _ = timeout(FAREWELL, self.session.outbox.drained_to(0)) => {}
                _ = &mut sending => {}
            }
        }
        debug!(session = %self.session.id(), %end, "API connection ends");
        drop(leaving);
        self.host.with(|state| self.handlers.lost(state, &self.session));
    }

    async fn receive(&self) -> End {
        let mut frames = Frames::new(self.options.longest);
        let mut share = self.clients.share();
        let mut batch = None;
        let mut turn = Instant::now();
        loop {
            loop {
                let message = match frames.take() {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(error) => {
                        info!(session = %self.session.id(), %error, "an API client is cut off");
                        return error.into();
                    }
                };
                self.handle(message, &mut batch).await;
                if self.session.leaving.get() {
                    return End::Left;
                }
                self.session.outbox.drained_to(self.options.high_water).await;
                if turn.elapsed() > self.options.slice {
                    yield_now().await;
                    turn = Instant::now();
                }
            }
            let more = match frames.is_halfway() {
                true => match timeout(self.options.halfway, self.stream.readable()).await {
                    Ok(more) => more,
                    Err(_) => return self.cut_off(End::Halfway(self.options.halfway)),
                },
                false => self.stream.readable().await,
            };
            if let Err(error) = more {
                return error.into();
            }
            let buffer = frames.buffer();
            buffer.reserve(READ);
            let memory = frames.memory();
            if share.set(memory) > self.options.incoming && memory > SMALL {
                return self.cut_off(End::Incoming(self.options.incoming));
            }
            let buffer = frames.buffer();
            match self.stream.try_read_buf(buffer) {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return error.into(),
            }
            turn = Instant::now();
        }
    }

    fn cut_off(&self, why: End) -> End {
        info!(session = %self.session.id(), %why, "an API client is cut off");
        why
    }

    async fn handle(&self, message: &[u8], batch: &mut Option<Batch<H::State>>) {
        let session = &self.session;
        session.received.set(session.received.get() + 1);
        let Some(id) = message.first_chunk().map(|id| MessageId(u16::from_be_bytes(*id))) else { return };
        let Some(info) = session.table.info(id) else {
            debug!(session = %session.id(), id = id.0, "an unknown message is ignored");
            return;
        };
        self.clients.trace(session, info.name, message);
        let Some((envelope, body)) = Envelope::split(info.class, message) else {
            debug!(session = %session.id(), message = info.name, "a message without its header is ignored");
            return;
        };
        let done = match (self.handlers.get(id), self.handlers.guests()) {
            (Some(handler), _) => self.dispatch(handler, envelope, body, batch).await,
            (None, Some(guests)) if session.table.is_guest(id) => {
                self.ask(guests, info, Question { envelope, body }, batch).await
            }
            _ if session.table.is_told(id) => {
                self.not_implemented(info, envelope, batch);
                return;
            }
            _ => {
                // Clients were not told of it, nor of its reply, and an id that a client does not know breaks it.
                debug!(session = %session.id(), message = info.name, "a message that nobody handles is ignored");
                return;
            }
        };
        if let Err(error) = done {
            debug!(session = %session.id(), message = info.name, %error, "a message cannot be read");
            if let Some(batch) = batch {
                batch.spoil(envelope, Retval::INVALID_VALUE);
            }
            self.refuse(envelope, Retval::INVALID_VALUE);
        }
    }

    async fn dispatch(
        &self,
        handler: &Handler<H::State>,
        envelope: Envelope,
        body: &[u8],
        batch: &mut Option<Batch<H::State>>,
    ) -> Result<(), DecodeError> {
        let session = &self.session;
        let question = Question { envelope, body };
        match (handler, batch) {
            (Handler::Query(answer), _)
            | (Handler::Command(answer) | Handler::Change(Change { alone: answer, .. }), None) => {
                self.host.with(|state| answer(state, session, question))
            }
            (Handler::Command(_), Some(batch)) => {
                batch.spoil(envelope, Retval::UNSUPPORTED);
                self.refuse(envelope, Retval::UNSUPPORTED);
                Ok(())
            }
            (Handler::Change(change), Some(batch)) => self.note(change, batch, question),
            (Handler::Produce(begin), _) => {
                let producer = self.host.with(|state| begin(state, session, question))?;
                self.produce(producer).await;
                Ok(())
            }
            (Handler::Batch(BatchStep::Begin), batch) => self.begin_batch(question, batch),
            (Handler::Batch(BatchStep::Commit), batch) => {
                self.commit_batch(envelope, batch.take()).await;
                Ok(())
            }
            (Handler::Batch(BatchStep::Abort), batch) => {
                self.abort_batch(envelope, batch.take());
                Ok(())
            }
            (Handler::Ignore, _) => Ok(()),
        }
    }

    /// Has a guest answer. It may go, or become another, before a dump is at its end; the dump ends then.
    async fn ask(
        &self,
        guests: &Ask<H::State>,
        info: &'static MessageInfo,
        Question { envelope, body }: Question<'_>,
        batch: &mut Option<Batch<H::State>>,
    ) -> Result<(), DecodeError> {
        let Envelope { id, context, .. } = envelope;
        let session = &self.session;
        if body.len() < info.least {
            return Err(DecodeError::Short { at: 0, left: body.len(), expected: info.least as u64 });
        }
        match (info.role, batch) {
            (Role::Request { .. }, Some(batch)) => {
                batch.spoil(envelope, Retval::UNSUPPORTED);
                self.refuse(envelope, Retval::UNSUPPORTED);
            }
            (Role::Request { reply, .. }, None) => {
                let reply = session.table.id(reply);
                let answer = self.host.with(|state| (guests.answer)(state, session, info.name, body));
                let sent = answer.and_then(|body| match body {
                    Some(body) => session.answer_body(reply, context, &body),
                    None => session.answer_nothing(reply, context, 0),
                });
                if let Err(retval) = sent {
                    self.refuse(envelope, retval);
                }
            }
            (Role::Dump { details }, _) => {
                let (details, next, body) = (session.table.id(details), guests.details, body.to_vec());
                let mut place = 0;
                self.produce(Box::new(move |state, session| {
                    if !session.table.is_guest(id) {
                        return Step::Done;
                    }
                    let Some((record, behind)) = next(state, session, info.name, &body, place) else {
                        return Step::Done;
                    };
                    let is_further = behind > place;
                    place = behind;
                    Step::more_if(session.answer_body(details, context, &record).is_ok() && is_further)
                }))
                .await;
            }
            (Role::Stream { .. } | Role::Alone, _) => {}
        }
        Ok(())
    }

    /// Sends an answer of many parts, a slice at a time, as far as the client has room for it.
    async fn produce(&self, mut producer: Producer<H::State>) {
        let outbox = &self.session.outbox;
        loop {
            let turn = Instant::now();
            let step = self.host.with(|state| {
                loop {
                    let step = producer(state, &self.session);
                    let full = outbox.backlog() > self.options.high_water;
                    if step != Step::More || full || turn.elapsed() > self.options.slice {
                        return step;
                    }
                }
            });
            match step {
                Step::Done => return,
                Step::Waits => sleep(WAITING).await,
                Step::More => {
                    outbox.drained_to(self.options.high_water).await;
                    yield_now().await;
                }
            }
        }
    }

    /// A message of a family that is served, which nobody handles. Of what a dump asks for there is nothing.
    fn not_implemented(&self, info: &MessageInfo, envelope: Envelope, batch: &mut Option<Batch<H::State>>) {
        if let (Role::Request { .. }, Some(batch)) = (info.role, batch) {
            batch.spoil(envelope, Retval::UNIMPLEMENTED);
        }
        self.refuse(envelope, Retval::UNIMPLEMENTED);
    }

    /// Answers a request that was not carried out. A dump has no word for it.
    pub(super) fn refuse(&self, envelope: Envelope, retval: Retval) {
        let role = self.session.table.info(envelope.id).map(|info| info.role);
        if let Some(Role::Request { reply, .. } | Role::Stream { reply, .. }) = role {
            self.session.refuse(reply, envelope.context, retval);
        }
    }
}
