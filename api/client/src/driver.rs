// SPDX-License-Identifier: Apache-2.0
//! The task that owns the connection. It writes while it reads: a daemon that waits for its answers to be read takes no
//! more questions.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::{debug, info, warn};
use weft_binapi::codec::Reader;
use weft_binapi::frame::{Context, Envelope, MessageId};
use weft_binapi::message::{Class, Message, MessageInfo};

use weft_sockets::Backoff;

use crate::connection::{Incoming, Table, connect};
use crate::error::Error;

/// Bytes that are written at once.
const WRITE: usize = 256 << 10;

/// A message that waits to be sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub info: MessageInfo,
    pub body: Vec<u8>,
}

impl Outgoing {
    pub fn new<M: Message>(message: &M) -> Result<Self, Error> {
        let mut body = Vec::new();
        let encoded = message.put(&mut body);
        encoded.map_err(|source| Error::Encode { message: M::INFO.name, source })?;
        Ok(Self { info: M::INFO, body })
    }
}

/// A part of an answer.
#[derive(Debug)]
pub struct Answer {
    info: &'static MessageInfo,
    message: Vec<u8>,
    /// Where its body begins.
    body: usize,
}

impl Answer {
    pub fn is<M: Message>(&self) -> bool {
        self.info.name == M::INFO.name
    }

    pub fn read<M: Message>(&self) -> Result<M, Error> {
        read(&self.message[self.body..])
    }
}

/// Reads the body of a message.
pub fn read<M: Message>(body: &[u8]) -> Result<M, Error> {
    M::take(&mut Reader::new(body)).map_err(|source| Error::Decode { message: M::INFO.name, source })
}

pub type Part = Result<Answer, Error>;

/// Messages that are sent back to back with the same context, and where their answers go.
pub struct Question {
    pub messages: Vec<Outgoing>,
    /// The message that ends the answer.
    pub end: MessageInfo,
    pub to: mpsc::UnboundedSender<Part>,
    /// What it subscribes to.
    pub subscription: Option<Subscription>,
}

/// What was subscribed to.
pub struct Subscription {
    pub request: Outgoing,
    pub event: MessageInfo,
    /// Bodies of events; `None` where some may be missing.
    pub to: mpsc::UnboundedSender<Option<Vec<u8>>>,
}

/// What both directions of a connection share.
#[derive(Default)]
struct Shared {
    subscriptions: Mutex<Vec<Subscription>>,
    waiting: Mutex<HashMap<u32, Waiting>>,
}

struct Waiting {
    end: &'static str,
    to: mpsc::UnboundedSender<Part>,
}

/// What a lock guards is whole between two statements, whatever has panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Driver {
    path: PathBuf,
    name: String,
    backoff: Option<Backoff>,
    questions: mpsc::Receiver<Question>,
    shared: Arc<Shared>,
    context: u32,
}

/// Why a connection is over.
enum End {
    /// All clients are gone.
    Unused,
    Lost(io::Error),
}

impl Driver {
    pub fn new(
        path: PathBuf,
        name: String,
        backoff: Option<Backoff>,
        questions: mpsc::Receiver<Question>,
    ) -> Self {
        Self { path, name, backoff, questions, shared: Arc::default(), context: 0 }
    }

    /// Serves until all clients are gone, or the connection is and is not to be made again.
    pub async fn run(mut self, stream: UnixStream, table: Table) {
        let mut connected = Some((stream, table));
        while let Some((stream, table)) = connected.take() {
            match self.serve(stream, &table).await {
                End::Unused => return,
                End::Lost(error) => info!(path = %self.path.display(), %error, "the connection is lost"),
            }
            for (_, waiting) in lock(&self.shared.waiting).drain() {
                // Fails if nobody waits any more.
                let _ = waiting.to.send(Err(Error::Lost));
            }
            connected = match self.backoff {
                Some(backoff) => self.reconnect(backoff).await,
                None => None,
            };
        }
    }

    async fn reconnect(&mut self, backoff: Backoff) -> Option<(UnixStream, Table)> {
        for tries in 0.. {
            sleep(backoff.pause(tries)).await;
            if self.questions.is_closed() && self.questions.is_empty() {
                return None;
            }
            match connect(&self.path, &self.name).await {
                Ok(connected) => {
                    info!(path = %self.path.display(), "connected again");
                    return Some(connected);
                }
                Err(error) => debug!(%error, tries, "not connected yet"),
            }
        }
        None
    }

    async fn serve(&mut self, stream: UnixStream, table: &Table) -> End {
        let (read, write) = stream.into_split();
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            end = self.write(write, table) => end,
            error = receive(Incoming::new(read), table, &shared) => End::Lost(error),
        }
    }

    async fn write(&mut self, mut stream: OwnedWriteHalf, table: &Table) -> End {
        let mut bytes = Vec::new();
        self.subscribe_again(table, &mut bytes);
        loop {
            if let Err(error) = stream.write_all(&bytes).await {
                return End::Lost(error);
            }
            bytes.clear();
            bytes.shrink_to(WRITE);
            let Some(question) = self.questions.recv().await else { return End::Unused };
            let mut asked = self.ask(question, table, &mut stream, &mut bytes).await;
            while asked.is_ok()
                && bytes.len() < WRITE
                && let Ok(question) = self.questions.try_recv()
            {
                asked = self.ask(question, table, &mut stream, &mut bytes).await;
            }
            if let Err(error) = asked {
                return End::Lost(error);
            }
        }
    }

    /// Appends a question, and sends what is there when it becomes much.
    async fn ask(
        &mut self,
        question: Question,
        table: &Table,
        stream: &mut OwnedWriteHalf,
        bytes: &mut Vec<u8>,
    ) -> io::Result<()> {
        let Question { messages, end, to, subscription } = question;
        let missing =
            messages.iter().map(|message| &message.info).chain([&end]).find_map(|info| table.id(info).err());
        if let Some(missing) = missing {
            // Fails if nobody waits any more.
            let _ = to.send(Err(missing));
            return Ok(());
        }
        let context = self.next_context();
        lock(&self.shared.waiting).insert(context, Waiting { end: end.name, to });
        // Only now: on the next connection it is asked for again, on this one it is not.
        lock(&self.shared.subscriptions).extend(subscription);
        for message in &messages {
            frame(message, table, context, bytes);
            if bytes.len() > WRITE {
                stream.write_all(bytes).await?;
                bytes.clear();
            }
        }
        Ok(())
    }

    fn next_context(&mut self) -> u32 {
        loop {
            // Zero means an event to other clients; let it be so here.
            self.context = self.context.wrapping_add(1).max(1);
            if !lock(&self.shared.waiting).contains_key(&self.context) {
                return self.context;
            }
        }
    }

    /// On the first connection there is nothing to be asked for yet.
    fn subscribe_again(&mut self, table: &Table, bytes: &mut Vec<u8>) {
        let shared = Arc::clone(&self.shared);
        let mut subscriptions = lock(&shared.subscriptions);
        // Some are no more wanted, or were refused.
        subscriptions.retain(|subscription| !subscription.to.is_closed());
        for subscription in subscriptions.iter() {
            // The answer is heard by nobody: where it matters, events stay away.
            let context = self.next_context();
            match table.id(&subscription.request.info) {
                Ok(_) => frame(&subscription.request, table, context, bytes),
                Err(error) => warn!(%error, "cannot subscribe again"),
            }
            let _ = subscription.to.send(None);
        }
    }
}

/// Appends a message whose id is in the table.
fn frame(message: &Outgoing, table: &Table, context: u32, bytes: &mut Vec<u8>) {
    let Ok(id) = table.id(&message.info) else { return };
    let envelope = Envelope { id, client: table.client, context: Context(context) };
    if let Err(error) = envelope.frame_body(&message.info, &message.body, bytes) {
        // More than 4 GiB: whoever waits for an answer runs out of patience.
        warn!(%error, "a message is not sent");
    }
}

async fn receive(mut incoming: Incoming<OwnedReadHalf>, table: &Table, shared: &Shared) -> io::Error {
    loop {
        let message = match incoming.next().await {
            Ok(message) => message,
            Err(error) => return error,
        };
        let Some(id) = message.first_chunk().map(|id| MessageId(u16::from_be_bytes(*id))) else { continue };
        let Some(info) = table.info(id) else { continue };
        let Some((envelope, body)) = Envelope::split(info.class, &message) else { continue };
        let (context, body) = (envelope.context.0, message.len() - body.len());
        if info.class == Class::Event {
            let subscriptions = lock(&shared.subscriptions);
            for subscription in
                subscriptions.iter().filter(|subscription| subscription.event.name == info.name)
            {
                // Fails if nobody listens any more.
                let _ = subscription.to.send(Some(message[body..].to_vec()));
            }
            continue;
        }
        let mut waiting = lock(&shared.waiting);
        let Some(asked) = waiting.get(&context) else { continue };
        let ends = asked.end == info.name;
        // Fails if nobody waits any more.
        let _ = asked.to.send(Ok(Answer { info, message, body }));
        if ends {
            waiting.remove(&context);
        }
    }
}
