// SPDX-License-Identifier: Apache-2.0
//! What each message does.
//!
//! A handler gets the state, the client and the message, and returns the answer. It runs on the main thread and must
//! not wait. There are as many kinds as there are conversations:
//!
//! | kind | answered by | in a batch |
//! |---|---|---|
//! | [`query`](Registry::query) | a reply | done at once |
//! | [`command`](Registry::command) | a reply | refused: it cannot be undone |
//! | [`change`](Registry::change), [`creation`](Registry::creation) | a reply | kept until the commit |
//! | [`dump`](Registry::dump) | details | done at once |
//! | [`lengthy`](Registry::lengthy) | a reply, after many turns | done at once |
//! | [`stream`](Registry::stream) | details and a reply that says where to go on | done at once |
//! | [`subscription`](Registry::subscription) | a reply, later events | done at once |

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::codec::{DecodeError, Reader};
use crate::frame::{Envelope, MessageId};
use crate::message::{Cursor, Dump, Event, Message, ModuleInfo, Reply, Request, Role};
use crate::retval::Retval;

use super::session::Session;
use super::table::Table;

/// How long a stream with a cursor goes on; clients ask again then.
const STREAM: Duration = Duration::from_millis(1);

/// A state that is changed by transactions.
///
/// The handler of a change only notes what is to be done. The commit does all that was noted, in one step of the main
/// thread, so that nothing of others comes in between; or, if any of it is refused, nothing. In between the state may
/// have changed, so that what a note names may be gone. A change by itself is a transaction of one.
pub trait Transactional: 'static {
    /// What is to be done.
    type Transaction;

    /// A client is about to change something.
    fn begin(&mut self, session: &Session) -> Self::Transaction;

    /// How much was noted so far.
    fn noted(transaction: &Self::Transaction) -> usize;

    /// Does it, or finds out whether it could be done.
    fn commit(&mut self, transaction: &Self::Transaction, purpose: Purpose) -> Result<(), Refused>;
}

/// What a commit is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To make the changes.
    Make,
    /// To know whether they could be made; nobody sees any of them.
    Try,
}

/// Why a transaction changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Of the transaction.
    pub retval: Retval,
    /// Of what was noted, counted from 0 in the order of the notes: what is at fault, if it is anything in particular.
    pub notes: Vec<(usize, Retval)>,
}

impl From<Retval> for Refused {
    fn from(retval: Retval) -> Self {
        Refused { retval, notes: Vec::new() }
    }
}

/// Where handlers find their state.
pub trait Host: Clone + 'static {
    type State: Transactional;

    /// Works on the state. Never called while it is being worked on.
    fn with<R>(&self, work: impl FnOnce(&mut Self::State) -> R) -> R;
}

impl<S: Transactional> Host for Rc<RefCell<S>> {
    type State = S;

    fn with<R>(&self, work: impl FnOnce(&mut S) -> R) -> R {
        work(&mut self.borrow_mut())
    }
}

/// A state with guests: others who answer messages for a while, as plugins do.
pub trait Guests {
    /// Answers a request with the body of the reply, or with none if it says nothing but that all is well. `body` holds at
    /// least what is always there.
    fn answer(&mut self, session: &Session, message: &str, body: &[u8]) -> Result<Option<Vec<u8>>, Retval>;

    /// The first record of a dump at or after a place, as a body, and a place after it.
    fn details(
        &mut self,
        session: &Session,
        message: &str,
        body: &[u8],
        place: u64,
    ) -> Option<(Vec<u8>, u64)>;
}

/// How guests are asked.
pub(super) struct Ask<S> {
    pub answer: GuestAnswer<S>,
    pub details: GuestDetails<S>,
}

type GuestAnswer<S> = fn(&mut S, &Session, &str, &[u8]) -> Result<Option<Vec<u8>>, Retval>;
type GuestDetails<S> = fn(&mut S, &Session, &str, &[u8], u64) -> Option<(Vec<u8>, u64)>;

/// What a dump answers with, one by one: between two of them others may have changed the state, so what is kept
/// meanwhile is a place ("after this prefix"), and no reference.
pub struct Records<S, T>(Next<S, T>);

type Next<S, T> = Box<dyn FnMut(&mut S) -> Option<T>>;

impl<S, T: 'static> Records<S, T> {
    /// Made one by one, when the client has room for it.
    pub fn new(next: impl FnMut(&mut S) -> Option<T> + 'static) -> Self {
        Self(Box::new(next))
    }

    /// Made already; for what is known to be short.
    pub fn ready(records: impl IntoIterator<Item = T>) -> Self {
        let mut records = Vec::from_iter(records).into_iter();
        Self::new(move |_| records.next())
    }
}

/// A message that has come, undecoded.
pub(super) struct Question<'a> {
    pub envelope: Envelope,
    pub body: &'a [u8],
}

impl Question<'_> {
    /// Bytes after the message are of no interest.
    fn decode<M: Message>(&self) -> Result<M, DecodeError> {
        M::take(&mut Reader::new(self.body))
    }
}

/// Sends the next part of an answer.
pub(super) type Producer<S> = Box<dyn FnMut(&mut S, &Session) -> Step>;

/// What came of an attempt to send a part of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// There is more.
    More,
    /// There is more, but not now.
    Waits,
    /// That was the last.
    Done,
}

impl Step {
    pub fn more_if(more: bool) -> Step {
        if more { Step::More } else { Step::Done }
    }
}

/// What a turn of something long has come to.
pub enum Progress<T> {
    /// There is more to do.
    More,
    /// Another thread has to be waited for.
    Waits,
    /// It is done.
    Done(T),
}

/// Something long, done a turn at a time: between two of them others have theirs.
pub type Running<S, T> = Box<dyn FnMut(&mut S) -> Progress<T>>;

/// Says that a change is kept for later.
type Kept = Box<dyn FnOnce(&Session)>;
type Lost<S> = Box<dyn Fn(&mut S, &Session)>;
type Answer<S> = Box<dyn Fn(&mut S, &Rc<Session>, Question<'_>) -> Result<(), DecodeError>>;
type Begin<S> = Box<dyn Fn(&mut S, &Rc<Session>, Question<'_>) -> Result<Producer<S>, DecodeError>>;
type Note<S> = Box<
    dyn Fn(
        &mut S,
        &mut <S as Transactional>::Transaction,
        &Rc<Session>,
        Question<'_>,
    ) -> Result<Result<Kept, Retval>, DecodeError>,
>;

/// A change.
pub(super) struct Change<S: Transactional> {
    /// Makes it, and answers.
    pub alone: Answer<S>,
    /// Notes it in the transaction of a batch.
    pub note: Note<S>,
}

pub(super) enum BatchStep {
    Begin,
    Commit,
    Abort,
}

pub(super) enum Handler<S: Transactional> {
    Query(Answer<S>),
    Command(Answer<S>),
    Change(Change<S>),
    Produce(Begin<S>),
    Batch(BatchStep),
    /// Nobody waits for an answer.
    Ignore,
}

/// Handlers of messages. A family of which no message has one is not offered to clients.
pub struct Registry<S: Transactional> {
    table: Table,
    handlers: Handlers<S>,
}

/// What a server looks up.
pub(super) struct Handlers<S: Transactional> {
    by_id: Vec<Option<Handler<S>>>,
    lost: Vec<Lost<S>>,
    guests: Option<Ask<S>>,
}

impl<S: Transactional> Handlers<S> {
    /// Who answers what is not in the registry.
    pub fn guests(&self) -> Option<&Ask<S>> {
        self.guests.as_ref()
    }

    pub fn get(&self, id: MessageId) -> Option<&Handler<S>> {
        self.by_id.get(usize::from(id.0))?.as_ref()
    }

    /// Tells those who want to know that a client has gone.
    pub fn lost(&self, state: &mut S, session: &Session) {
        self.lost.iter().for_each(|handler| handler(state, session));
    }
}

impl<S: Transactional> Default for Registry<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Transactional> Registry<S> {
    /// Only what connections need: handshake, ping, message tables, and batches.
    pub fn new() -> Self {
        let table = Table::new();
        let by_id = (0..table.len()).map(|_| None).collect();
        let mut registry = Self { table, handlers: Handlers { by_id, lost: Vec::new(), guests: None } };
        super::builtin::connection(&mut registry);
        super::batch::messages(&mut registry);
        registry
    }

    /// Answers from what is there, changing nothing. A handler whose reply says nothing but that it is done returns `()`.
    pub fn query<M: Request, R: Into<M::Reply>>(
        &mut self,
        handler: impl Fn(&mut S, &Rc<Session>, M) -> Result<R, Retval> + 'static,
    ) {
        let answer = self.answer(handler);
        self.put::<M>(Handler::Query(answer));
    }

    /// Does something that cannot be part of a batch.
    pub fn command<M: Request, R: Into<M::Reply>>(
        &mut self,
        handler: impl Fn(&mut S, &Rc<Session>, M) -> Result<R, Retval> + 'static,
    ) {
        let answer = self.answer(handler);
        self.put::<M>(Handler::Command(answer));
    }

    /// Changes the state by a transaction. The handler notes what is to be done, and returns the reply: so what is created can be
    /// named in the messages that follow in a batch. Or it fails, and has noted nothing.
    pub fn change<M: Request, R: Into<M::Reply> + 'static>(
        &mut self,
        handler: impl Fn(&mut S, &mut S::Transaction, &Rc<Session>, M) -> Result<R, Retval> + 'static,
    ) {
        self.put_change(handler, Into::into, |_, reply| reply.into(), |_, _, retval| Err(retval));
    }

    /// The same for a reply that is known when the change is made, which the function makes that the handler returns; and by the
    /// habits of VPP: `habit` says what is answered to a change that was refused by itself. In a batch, which VPP does not have, a
    /// refusal is one, and the reply says nothing else.
    pub fn change_as<M: Request, D: FnOnce(&mut S) -> M::Reply>(
        &mut self,
        handler: impl Fn(&mut S, &mut S::Transaction, &Rc<Session>, M) -> Result<D, Retval> + 'static,
        habit: impl Fn(&S, &M, Retval) -> Result<(), Retval> + 'static,
    ) {
        self.put_change(handler, |_| M::Reply::failure(0), |state, done| done(state), habit);
    }

    /// `kept` makes the reply in a batch of what the handler returns, `made` that of a change by itself.
    fn put_change<M: Request, K>(
        &mut self,
        handler: impl Fn(&mut S, &mut S::Transaction, &Rc<Session>, M) -> Result<K, Retval> + 'static,
        kept: impl Fn(K) -> M::Reply + 'static,
        made: impl Fn(&mut S, K) -> M::Reply + 'static,
        habit: impl Fn(&S, &M, Retval) -> Result<(), Retval> + 'static,
    ) {
        let reply_id = self.table.id(M::Reply::INFO.name);
        let handler = Rc::new(handler);
        let note: Note<S> = Box::new({
            let handler = Rc::clone(&handler);
            move |state, transaction, session, question| {
                let context = question.envelope.context;
                let noted = handler(state, transaction, session, question.decode()?);
                Ok(noted.map(|noted| {
                    let reply = kept(noted);
                    let kept: Kept = Box::new(move |session| session.reply(reply_id, context, &reply));
                    kept
                }))
            }
        });
        let alone = self.answer(move |state: &mut S, session: &Rc<Session>, message: M| {
            let mut transaction = state.begin(session);
            let noted = handler(state, &mut transaction, session, message.clone()).and_then(|noted| {
                let committed = state.commit(&transaction, Purpose::Make);
                committed.map(|()| noted).map_err(|refused| refused.retval)
            });
            match noted {
                Ok(noted) => Ok(made(state, noted)),
                Err(retval) => habit(state, &message, retval).map(|()| M::Reply::failure(0)),
            }
        });
        self.put::<M>(Handler::Change(Change { alone, note }));
    }

    /// Lists what is there. A question that cannot be answered has an empty list for an answer.
    pub fn dump<M: Dump>(
        &mut self,
        handler: impl Fn(&mut S, &Rc<Session>, M) -> Records<S, M::Details> + 'static,
    ) {
        let details_id = self.table.id(M::Details::INFO.name);
        self.put::<M>(Handler::Produce(Box::new(move |state, session, question| {
            let context = question.envelope.context;
            let mut records = handler(state, session, question.decode()?);
            Ok(Box::new(move |state, session| match (records.0)(state) {
                Some(details) => {
                    session.answer(details_id, context, &details);
                    Step::More
                }
                None => Step::Done,
            }))
        })));
    }

    /// Lists what is there, from a place that the client names. The handler makes a function that finds the first
    /// record at or after a place, and says where it is.
    pub fn stream<M, W>(&mut self, handler: impl Fn(&mut S, &Rc<Session>, &M) -> W + 'static)
    where
        M: Cursor,
        W: FnMut(&mut S, u32) -> Option<(u32, M::Details)> + 'static,
    {
        let details_id = self.table.id(M::Details::INFO.name);
        let reply_id = self.table.id(M::Reply::INFO.name);
        self.put::<M>(Handler::Produce(Box::new(move |state, session, question| {
            let context = question.envelope.context;
            let message: M = question.decode()?;
            let mut find = handler(state, session, &message);
            let deadline = Instant::now() + STREAM;
            let start = message.cursor();
            let mut found = find(state, start);
            let mut retval = 0;
            if found.is_none() && start > 0 && find(state, 0).is_some() {
                retval = Retval::INVALID_VALUE.get();
            }
            Ok(Box::new(move |state, session| {
                let Some((place, details)) = found.take() else {
                    session.reply(reply_id, context, &M::reply(retval, u32::MAX));
                    return Step::Done;
                };
                session.answer(details_id, context, &details);
                found = place.checked_add(1).and_then(|next| find(state, next));
                match &found {
                    Some((next, _)) if Instant::now() > deadline => {
                        let reply = M::reply(Retval::EAGAIN.get(), *next);
                        session.reply(reply_id, context, &reply);
                        Step::Done
                    }
                    _ => Step::More,
                }
            }))
        })));
    }

    /// Does something long, a turn at a time; the last turn makes the reply.
    pub fn lengthy<M: Request>(
        &mut self,
        begin: impl Fn(&mut S, &Rc<Session>, M) -> Running<S, M::Reply> + 'static,
    ) {
        let reply_id = self.table.id(M::Reply::INFO.name);
        self.put::<M>(Handler::Produce(Box::new(move |state, session, question| {
            let context = question.envelope.context;
            let mut running = begin(state, session, question.decode()?);
            Ok(Box::new(move |state, session| match running(state) {
                Progress::More => Step::More,
                Progress::Waits => Step::Waits,
                Progress::Done(reply) => {
                    session.reply(reply_id, context, &reply);
                    Step::Done
                }
            }))
        })));
    }

    /// Lets clients ask for events of one type, and for no more of them. `wants` says which, and the number that the
    /// client wants to see in them. Events are sent by [`super::Clients::publish`].
    pub fn subscription<M: Request, E: Event>(&mut self, wants: impl Fn(&M) -> (bool, u32) + 'static) {
        self.table.advertise(E::INFO.name);
        let handler = move |_: &mut S, session: &Rc<Session>, message: M| {
            match wants(&message) {
                (true, pid) => session.subscribe::<E>(pid)?,
                (false, _) => session.unsubscribe::<E>()?,
            }
            // Nothing but the return value is in it.
            Ok(M::Reply::failure(0))
        };
        self.query(handler);
    }

    /// Offers events that clients ask for in a way of their own.
    pub fn event<E: Event>(&mut self) {
        self.table.advertise(E::INFO.name);
    }

    /// Has guests answer what [`super::Clients::set_guests`] says.
    pub fn guests(&mut self)
    where
        S: Guests,
    {
        self.handlers.guests = Some(Ask { answer: S::answer, details: S::details });
    }

    /// Called when a client has gone, with all that it had subscribed to forgotten.
    pub fn on_lost(&mut self, handler: impl Fn(&mut S, &Session) + 'static) {
        self.handlers.lost.push(Box::new(handler));
    }

    fn answer<M: Request, R: Into<M::Reply>>(
        &self,
        handler: impl Fn(&mut S, &Rc<Session>, M) -> Result<R, Retval> + 'static,
    ) -> Answer<S> {
        let reply_id = self.table.id(M::Reply::INFO.name);
        Box::new(move |state, session, question| {
            let reply = handler(state, session, question.decode()?);
            let reply = reply.map_or_else(|retval| M::Reply::failure(retval.get()), Into::into);
            session.reply(reply_id, question.envelope.context, &reply);
            Ok(())
        })
    }

    pub(super) fn put<M: Message>(&mut self, handler: Handler<S>) {
        let info = M::INFO;
        self.table.advertise(info.name);
        match info.role {
            Role::Request { reply, .. } => self.table.advertise(reply),
            Role::Dump { details } => self.table.advertise(details),
            Role::Stream { details, reply } => {
                self.table.advertise(details);
                self.table.advertise(reply);
            }
            Role::Alone => {}
        }
        let id = self.table.id(info.name);
        self.handlers.by_id[usize::from(id.0)] = Some(handler);
    }

    /// The families of messages that are served.
    pub fn modules(&self) -> Vec<&'static ModuleInfo> {
        self.table.modules()
    }

    pub(super) fn finish(self) -> (Rc<Table>, Rc<Handlers<S>>) {
        (Rc::new(self.table), Rc::new(self.handlers))
    }
}
