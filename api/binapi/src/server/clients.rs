// SPDX-License-Identifier: Apache-2.0
//! All clients: who they are, and the events that are sent to them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::frame::{ClientIndex, MessageId};
use crate::message::{Class, Event, ModuleInfo};

use weft_background::Rights;
use weft_sockets::Process;

use super::Options;
use super::session::{Session, SessionId};
use super::table::{Full, Table};
use super::trace::{Trace, Traced};

/// Tells clients of sockets from those of shared memory, which exist elsewhere.
const SOCKET: u32 = 0x8000_0000;

/// The connected clients; all clones mean the same.
#[derive(Clone)]
pub struct Clients(Rc<Shared>);

struct Shared {
    table: Rc<Table>,
    sessions: RefCell<BTreeMap<SessionId, Rc<Session>>>,
    next: Cell<u64>,
    /// Bytes of memory for messages that are coming in.
    incoming: Cell<usize>,
    trace: RefCell<Trace>,
}

/// What there is to say about a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    pub id: SessionId,
    pub index: ClientIndex,
    pub name: String,
    pub peer: Process,
    /// Messages that came from it.
    pub received: u64,
    /// Messages for it.
    pub sent: u64,
    /// Bytes that it has not read.
    pub backlog: usize,
}

/// Why something is not sent as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEvent {
    /// Clients were not told of it.
    #[error("no message that is answered has such an event")]
    NotOffered,
    /// A client could not read it.
    #[error("it is shorter than what is always in it")]
    Short,
}

/// What a client's unfinished message takes of the memory that all of them together may have. Given back when it is dropped.
pub(super) struct Share {
    clients: Clients,
    bytes: usize,
}

impl Share {
    /// It takes so much now; says how much all take.
    pub fn set(&mut self, bytes: usize) -> usize {
        let incoming = &self.clients.0.incoming;
        incoming.set(incoming.get() - self.bytes + bytes);
        self.bytes = bytes;
        incoming.get()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Clients {
    pub(super) fn new(table: Rc<Table>) -> Self {
        Self(Rc::new(Shared {
            table,
            sessions: RefCell::default(),
            next: Cell::new(1),
            incoming: Cell::new(0),
            trace: RefCell::default(),
        }))
    }

    pub(super) fn enter(&self, peer: (Process, Rights), options: &Options) -> Rc<Session> {
        let mut sessions = self.0.sessions.borrow_mut();
        let id = SessionId(self.0.next.replace(self.0.next.get() + 1));
        let taken: BTreeSet<u32> = sessions.values().map(|session| session.index.0 & !SOCKET).collect();
        let slot = (0..).find(|slot| !taken.contains(slot)).unwrap_or(0);
        let table = Rc::clone(&self.0.table);
        let session = Rc::new(Session::new(id, ClientIndex(SOCKET | slot), peer, table, options.backlog));
        sessions.insert(id, Rc::clone(&session));
        session
    }

    pub(super) fn leave(&self, id: SessionId) {
        self.0.sessions.borrow_mut().remove(&id);
    }

    /// A share of the memory for messages that are coming in, of nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { clients: self.clone(), bytes: 0 }
    }

    /// Clients that are connected.
    pub fn len(&self) -> usize {
        self.0.sessions.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A message has come.
    pub(super) fn trace(&self, session: &Session, message: &'static str, bytes: &[u8]) {
        let mut trace = self.0.trace.borrow_mut();
        if trace.on {
            trace.keep(session.id(), session.name(), message, bytes);
        }
    }

    /// Whether messages that come are kept.
    pub fn is_tracing(&self) -> bool {
        self.0.trace.borrow().on
    }

    /// Keeps the last messages that come, or no more of them.
    pub fn set_tracing(&self, on: bool) {
        self.0.trace.borrow_mut().on = on;
    }

    /// Those that were kept, the oldest first.
    pub fn traced(&self) -> Vec<Traced> {
        self.0.trace.borrow().messages.iter().cloned().collect()
    }

    /// Forgets them.
    pub fn forget_traced(&self) {
        self.0.trace.borrow_mut().messages.clear();
    }

    /// What clients are told of: names with CRCs, by id.
    pub fn messages(&self) -> Vec<(MessageId, String)> {
        let entries = self.0.table.advertised().into_iter();
        entries.map(|entry| (MessageId(entry.index), entry.name.to_string())).collect()
    }

    /// All clients, the oldest first.
    pub fn list(&self) -> Vec<ClientInfo> {
        let sessions = self.0.sessions.borrow();
        let infos = sessions.values().map(|session| ClientInfo {
            id: session.id(),
            index: session.index,
            name: session.name(),
            peer: session.peer(),
            received: session.received.get(),
            sent: session.outbox.messages(),
            backlog: session.outbox.backlog(),
        });
        infos.collect()
    }

    /// Sends an event to all who have asked for events of its type. The event is made from the number that each has
    /// asked with.
    pub fn publish<E: Event>(&self, event: impl Fn(u32) -> E) {
        let id = self.0.table.id(E::INFO.name);
        for session in self.0.sessions.borrow().values() {
            if let Some(pid) = session.subscribed(id) {
                session.notify(id, &event(pid));
            }
        }
    }

    /// Sends an event to one client, for those who choose themselves what they tell whom. Says whether it is
    /// connected.
    pub fn send<E: Event>(&self, to: SessionId, event: &E) -> bool {
        let sessions = self.0.sessions.borrow();
        let Some(session) = sessions.get(&to) else { return false };
        session.notify(self.0.table.id(E::INFO.name), event);
        true
    }

    /// Sends an event of a guest to one client. Says whether it is connected, and why it is no event that can be sent.
    pub fn send_body(&self, to: SessionId, event: &str, body: &[u8]) -> Result<bool, NoEvent> {
        let id = self.0.table.guest(event).ok_or(NoEvent::NotOffered)?;
        if self.0.table.info(id).is_none_or(|info| info.class != Class::Event) {
            return Err(NoEvent::NotOffered);
        }
        let sessions = self.0.sessions.borrow();
        let Some(session) = sessions.get(&to) else { return Ok(false) };
        session.notify_body(id, body).map_err(|_| NoEvent::Short)?;
        Ok(true)
    }

    /// From now on guests have these definitions and answer these messages, and no others; on an error none.
    pub fn set_guests<'a>(
        &self,
        modules: impl IntoIterator<Item = &'static ModuleInfo>,
        messages: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Full> {
        self.0.table.set_guests(modules, messages)
    }

    /// Whether a message is the server's own, so that no guest can answer it.
    pub fn is_own(&self, message: &str) -> bool {
        self.0.table.is_own(message)
    }
}
