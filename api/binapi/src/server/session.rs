// SPDX-License-Identifier: Apache-2.0
//! A client, from its connection to its end.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use tokio::sync::Notify;
use tracing::{info, warn};
use weft_background::Rights;
use weft_sockets::Process;

use crate::frame::{ClientIndex, Context, Envelope, MessageId};
use crate::message::{Event, Message, Reply};
use crate::retval::Retval;

use super::outbox::Outbox;
use super::table::Table;

/// Names a client for as long as the daemon runs; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A connected client.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    pub(super) index: ClientIndex,
    peer: Process,
    rights: Rights,
    pub(super) name: RefCell<String>,
    pub(super) table: Rc<Table>,
    pub(super) outbox: Outbox,
    /// Messages that have come.
    pub(super) received: Cell<u64>,
    /// What was subscribed to, and the number that the client wants to see in its events.
    subscriptions: RefCell<Vec<(MessageId, u32)>>,
    /// The client has said good-bye.
    pub(super) leaving: Cell<bool>,
    /// The client is to be cut off.
    pub(super) cut: Notify,
    backlog: usize,
}

impl Session {
    pub(super) fn new(
        id: SessionId,
        index: ClientIndex,
        (peer, rights): (Process, Rights),
        table: Rc<Table>,
        backlog: usize,
    ) -> Self {
        Self {
            id,
            index,
            peer,
            rights,
            name: RefCell::default(),
            table,
            outbox: Outbox::default(),
            received: Cell::new(0),
            subscriptions: RefCell::default(),
            leaving: Cell::new(false),
            cut: Notify::new(),
            backlog,
        }
    }

    pub fn id(&self) -> SessionId {
        self.id
    }

    /// By which the client knows its connection. When it has gone, another one may get it.
    pub fn index(&self) -> ClientIndex {
        self.index
    }

    /// Who is connected.
    pub fn peer(&self) -> Process {
        self.peer
    }

    /// Whose rights decide about the files that its messages name.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// What the client calls itself; empty before it has said so.
    pub fn name(&self) -> String {
        self.name.borrow().clone()
    }

    /// Asks for events of a type. `pid` is sent back with each of them.
    ///
    /// Fails with [`Retval::INVALID_REGISTRATION`] if they were asked for before.
    pub fn subscribe<E: Event>(&self, pid: u32) -> Result<(), Retval> {
        let event = self.table.id(E::INFO.name);
        let mut subscriptions = self.subscriptions.borrow_mut();
        if subscriptions.iter().any(|(other, _)| *other == event) {
            return Err(Retval::INVALID_REGISTRATION);
        }
        subscriptions.push((event, pid));
        Ok(())
    }

    /// Wants no more events of a type.
    ///
    /// Fails with [`Retval::INVALID_REGISTRATION`] if they were not asked for.
    pub fn unsubscribe<E: Event>(&self) -> Result<(), Retval> {
        let event = self.table.id(E::INFO.name);
        let mut subscriptions = self.subscriptions.borrow_mut();
        let at = subscriptions.iter().position(|(other, _)| *other == event);
        subscriptions.swap_remove(at.ok_or(Retval::INVALID_REGISTRATION)?);
        Ok(())
    }

    /// The number that came with a subscription.
    pub(super) fn subscribed(&self, event: MessageId) -> Option<u32> {
        self.subscriptions.borrow().iter().find(|(other, _)| *other == event).map(|(_, pid)| *pid)
    }

    /// Sends an event, or cuts the client off if it does not read.
    pub(super) fn notify<E: Event>(&self, id: MessageId, event: &E) {
        if self.outbox.backlog() > self.backlog {
            self.give_up();
            return;
        }
        let envelope = Envelope { id, client: self.index, context: Context(0) };
        if let Err(error) = self.outbox.push(envelope, event) {
            warn!(message = E::INFO.name, %error, "an event cannot be written");
        }
    }

    /// Sends a part of an answer.
    pub(super) fn answer<M: Message>(&self, id: MessageId, context: Context, message: &M) {
        let envelope = Envelope { id, client: ClientIndex(0), context };
        if let Err(error) = self.outbox.push(envelope, message) {
            // More elements than their count can say. The rest of a dump is of use without it.
            warn!(message = M::INFO.name, %error, "an answer cannot be written");
        }
    }

    /// Sends a reply; one that cannot be written becomes a failure, for the client waits.
    pub(super) fn reply<R: Reply>(&self, id: MessageId, context: Context, reply: &R) {
        let envelope = Envelope { id, client: ClientIndex(0), context };
        if let Err(error) = self.outbox.push(envelope, reply) {
            warn!(message = R::INFO.name, %error, "a reply cannot be written");
            self.answer(id, context, &R::failure(Retval::LIMIT_EXCEEDED.get()));
        }
    }

    /// Sends a part of an answer that others have written; it holds at least what is always there.
    pub(super) fn answer_body(&self, id: MessageId, context: Context, body: &[u8]) -> Result<(), Retval> {
        self.put_body(Envelope { id, client: ClientIndex(0), context }, body)
    }

    /// Likewise an event.
    pub(super) fn notify_body(&self, id: MessageId, body: &[u8]) -> Result<(), Retval> {
        if self.outbox.backlog() > self.backlog {
            self.give_up();
            return Ok(());
        }
        self.put_body(Envelope { id, client: self.index, context: Context(0) }, body)
    }

    fn put_body(&self, envelope: Envelope, body: &[u8]) -> Result<(), Retval> {
        let info = self.table.info(envelope.id).ok_or(Retval::UNSPECIFIED)?;
        if body.len() < info.least {
            warn!(
                message = info.name,
                found = body.len(),
                least = info.least,
                "a message is too short to be sent"
            );
            return Err(Retval::UNSPECIFIED);
        }
        let mut frame = Vec::new();
        envelope.frame_body(info, body, &mut frame).map_err(|_| Retval::LIMIT_EXCEEDED)?;
        self.outbox.push_frame(&frame);
        Ok(())
    }

    /// Cuts off a client that does not read its events.
    fn give_up(&self) {
        info!(session = %self.id, name = self.name(), "an API client does not read its events");
        self.cut.notify_one();
    }

    /// Sends a failure as the reply to a message whose type is not known. Nothing if there is no field for it.
    pub(super) fn refuse(&self, reply: &str, context: Context, retval: Retval) {
        let id = self.table.id(reply);
        if self.table.info(id).is_some_and(|info| info.retval_at.is_some()) {
            // It is as long as it must be.
            let _ = self.answer_nothing(id, context, retval.get());
        }
    }

    /// Sends a reply in which all is zero but the return value.
    pub(super) fn answer_nothing(&self, id: MessageId, context: Context, retval: i32) -> Result<(), Retval> {
        let Some(info) = self.table.info(id) else { return Ok(()) };
        let mut body = vec![0; info.least];
        if let Some(at) = info.retval_at {
            body[at..at + 4].copy_from_slice(&retval.to_be_bytes());
        }
        self.answer_body(id, context, &body)
    }
}
