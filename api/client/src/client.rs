// SPDX-License-Identifier: Apache-2.0
//! Questions and answers, for async programs.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use weft_binapi::Retval;
use weft_binapi::api::memclnt::{ControlPing, ControlPingReply};
use weft_binapi::message::{Cursor, Dump, Event, Message, MessageInfo, Reply, Request, Stream};
use weft_sockets::Backoff;

use crate::connection::connect;
use crate::driver::{Answer, Driver, Outgoing, Part, Question, Subscription, read};
use crate::error::Error;

/// Questions that may wait for the connection; who asks another one waits.
const QUESTIONS: usize = 1024;

/// Settings of a client.
#[derive(Debug, Clone)]
pub struct Options {
    /// By it the daemon knows what belongs to this client, also after a restart of either. 63 characters at most.
    pub name: String,
    /// How long to wait for each part of an answer, connecting again included.
    pub patience: Duration,
    /// How to connect again, if at all.
    pub backoff: Option<Backoff>,
}

impl Options {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), patience: Duration::from_secs(10), backoff: Some(Backoff::default()) }
    }
}

/// A connection to a dataplane. Clones share it; it ends with the last of them.
#[derive(Clone)]
pub struct Client {
    questions: mpsc::Sender<Question>,
    patience: Duration,
}

impl Client {
    /// Connects. Must be called within a tokio runtime, in which the connection lives.
    pub async fn connect(path: impl Into<PathBuf>, options: Options) -> Result<Self, Error> {
        let path = path.into();
        let Options { name, patience, backoff } = options;
        let (stream, table) = connect(&path, &name).await?;
        let (questions, asked) = mpsc::channel(QUESTIONS);
        tokio::spawn(Driver::new(path, name, backoff, asked).run(stream, table));
        Ok(Self { questions, patience })
    }

    /// Asks, and waits for the reply. A reply that refuses is an error.
    pub async fn request<M: Request>(&self, message: &M) -> Result<M::Reply, Error> {
        self.reply::<M>(self.ask(vec![Outgoing::new(message)?], M::Reply::INFO).await?).await
    }

    async fn reply<M: Request>(&self, mut answers: Answers) -> Result<M::Reply, Error> {
        let reply: M::Reply = answers.next::<M>().await?.read()?;
        match Retval::new(reply.retval()) {
            None => Ok(reply),
            Some(retval) => Err(Error::Retval { message: M::INFO.name, retval }),
        }
    }

    /// Lists everything. A question that the daemon cannot answer has an empty list for an answer.
    pub async fn dump<M: Dump>(&self, message: &M) -> Result<Vec<M::Details>, Error> {
        // Dumps have no end of their own: what is after the ping is.
        let messages = vec![Outgoing::new(message)?, Outgoing::new(&ControlPing {})?];
        let mut answers = self.ask(messages, ControlPingReply::INFO).await?;
        let mut all = Vec::new();
        loop {
            let answer = answers.next::<M>().await?;
            if answer.is::<ControlPingReply>() {
                return Ok(all);
            }
            all.push(answer.read()?);
        }
    }

    /// Lists everything from the place that the message names, asking again as long as there is more.
    pub async fn stream<M: Cursor>(&self, message: &M) -> Result<Vec<M::Details>, Error> {
        let mut message = message.clone();
        let mut all = Vec::new();
        loop {
            let mut answers = self.ask(vec![Outgoing::new(&message)?], <M as Stream>::Reply::INFO).await?;
            let reply: <M as Stream>::Reply = loop {
                let answer = answers.next::<M>().await?;
                if answer.is::<<M as Stream>::Reply>() {
                    break answer.read()?;
                }
                all.push(answer.read()?);
            };
            match Retval::new(reply.retval()) {
                None => return Ok(all),
                Some(Retval::EAGAIN) => message.set_cursor(M::next(&reply)),
                Some(retval) => return Err(Error::Retval { message: M::INFO.name, retval }),
            }
        }
    }

    /// Asks for events, now and whenever the connection has been made again.
    pub async fn subscribe<M: Request, E: Event>(&self, message: &M) -> Result<Events<E>, Error> {
        let (to, notices) = mpsc::unbounded_channel();
        let request = Outgoing::new(message)?;
        let subscription = Subscription { request: request.clone(), event: E::INFO, to };
        let answers = self.send(vec![request], M::Reply::INFO, Some(subscription)).await?;
        self.reply::<M>(answers).await?;
        Ok(Events { notices, event: PhantomData })
    }

    pub(crate) async fn ask(&self, messages: Vec<Outgoing>, end: MessageInfo) -> Result<Answers, Error> {
        self.send(messages, end, None).await
    }

    async fn send(
        &self,
        messages: Vec<Outgoing>,
        end: MessageInfo,
        subscription: Option<Subscription>,
    ) -> Result<Answers, Error> {
        let (to, parts) = mpsc::unbounded_channel();
        let question = Question { messages, end, to, subscription };
        let patience = self.patience;
        match timeout(patience, self.questions.send(question)).await {
            Ok(Ok(())) => Ok(Answers { parts, patience }),
            // The connection is gone for good.
            Ok(Err(_)) => Err(Error::Lost),
            Err(_) => Err(Error::Timeout { message: end.name, patience }),
        }
    }
}

/// The parts of an answer.
pub(crate) struct Answers {
    parts: mpsc::UnboundedReceiver<Part>,
    patience: Duration,
}

impl Answers {
    pub async fn next<M: Message>(&mut self) -> Result<Answer, Error> {
        match timeout(self.patience, self.parts.recv()).await {
            Ok(Some(part)) => part,
            Ok(None) => Err(Error::Lost),
            Err(_) => Err(Error::Timeout { message: M::INFO.name, patience: self.patience }),
        }
    }
}

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice<E> {
    Event(E),
    /// The connection was made again; what happened meanwhile was not told. Look at everything anew.
    Gap,
}

/// Events of a type.
pub struct Events<E> {
    notices: mpsc::UnboundedReceiver<Option<Vec<u8>>>,
    event: PhantomData<E>,
}

impl<E: Event> Events<E> {
    /// Waits for the next; [`Error::Lost`] when the connection is gone for good.
    pub async fn next(&mut self) -> Result<Notice<E>, Error> {
        match self.notices.recv().await {
            Some(Some(body)) => Ok(Notice::Event(read(&body)?)),
            Some(None) => Ok(Notice::Gap),
            None => Err(Error::Lost),
        }
    }
}
