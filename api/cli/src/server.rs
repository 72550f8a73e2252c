// SPDX-License-Identifier: Apache-2.0
//! The daemon's side of the CLI socket.
//!
//! Runs as tasks of a current-thread tokio runtime, inside a [`tokio::task::LocalSet`], beside
//! everything else that the main thread does: a command runs between two turns of that loop, on the
//! state that the thread owns, and no lock is needed.
//!
//! No client can hold up the thread: each has its own task, which reads the next request only when
//! the last answer is gone, and gives up on a client that takes nothing for
//! [`Options::write_timeout`]. So a client costs at most one request and one answer of memory, and one part of an answer that is
//! made in parts: the next part is made when the client has taken the last one.

use std::{cell::RefCell, fmt, io, net::SocketAddr, path::Path, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::UnixStream,
    task::yield_now,
    time::sleep,
};
use tracing::{debug, info};
use weft_background::Rights;
use weft_sockets::{Listener, Process};

use crate::{
    Completion,
    clients::{Clients, MADE_ROOM, Ticket},
    error::CliError,
    protocol::{self, Hello, Request, Response},
    reply::{Later, Rendering, Reply, Turn},
    socket::{BACKLOG, send_all},
    tree::CommandTree,
    waiting::{Next, Waiting},
};

pub use weft_sockets::BindError;

/// Who is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine.
    Local(Process),
    /// Somebody behind TCP.
    Remote(SocketAddr),
}

impl Peer {
    /// The user, if the kernel knows.
    pub(crate) fn uid(self) -> Option<u32> {
        match self {
            Peer::Local(process) => Some(process.uid),
            Peer::Remote(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Local(process) => process.fmt(f),
            Peer::Remote(address) => address.fmt(f),
        }
    }
}

/// What stands behind the socket.
pub trait Service {
    /// Begins a command. Called on the main thread and must not block. Files are opened with `rights`.
    fn execute(&self, peer: Peer, rights: &Rights, command: &str) -> Result<Reply, CliError>;
    /// Does a turn of what is left of a command.
    fn turn(&self, work: &mut Reply) -> Turn;
    /// Puts the error of a command as VPP does it.
    fn vpp_error(&self, command: &str, error: &CliError) -> String;
    /// Gives an answer that was to come later, or one that is still to come. Must not block either.
    fn later(&self, later: &Later) -> Result<Reply, CliError> {
        Err(CliError::new(format!("{}: there is no answer", later.command)))
    }
    /// Nobody waits for that answer any more.
    fn cancel(&self, _later: &Later) {}
    /// Offers the words that fit at byte `cursor` of `line`.
    fn complete(&self, line: &str, cursor: usize) -> Completion;
}

/// A command tree and the state that it works on, shared by the tasks of one thread.
pub struct Shared<C> {
    pub tree: Rc<CommandTree<C>>,
    pub state: Rc<RefCell<C>>,
}

impl<C: 'static> Service for Shared<C> {
    fn execute(&self, peer: Peer, rights: &Rights, command: &str) -> Result<Reply, CliError> {
        debug!(%peer, command, "CLI command");
        // A task that keeps the state borrowed while it waits is at fault, and this client is not
        // the one to be punished by a panic.
        let mut state = self
            .state
            .try_borrow_mut()
            .map_err(|_| CliError::new("the main thread is changing its state: try again"))?;
        self.tree.start(&mut state, command, rights)
    }

    fn turn(&self, work: &mut Reply) -> Turn {
        match self.state.try_borrow_mut() {
            Ok(mut state) => work.turn(&mut *state),
            Err(_) => Turn::Waits,
        }
    }

    fn vpp_error(&self, command: &str, error: &CliError) -> String {
        self.tree.vpp_error(command, error)
    }

    fn complete(&self, line: &str, cursor: usize) -> Completion {
        match self.state.try_borrow() {
            Ok(state) => self.tree.complete(&state, line, cursor),
            Err(_) => Completion { start: line.len(), usage: None, candidates: Vec::new() },
        }
    }
}

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name and version of the daemon, for messages: `weft 0.1.0`.
    pub program: String,
    /// What clients show where they wait for a command.
    pub prompt: Option<String>,
    /// Group that may use the socket beside the owner; the file mode is 0660.
    pub group: Option<u32>,
    /// Connections at a time; for one more, another one makes room that is idle.
    pub max_clients: usize,
    /// How long a client may leave an answer where it is.
    pub write_timeout: Duration,
}

impl Options {
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            prompt: None,
            group: None,
            max_clients: 32,
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// A listening socket; its file disappears with it.
pub struct Server {
    listener: Listener,
    options: Rc<Options>,
}

impl Server {
    /// Listens at `path`. The file of a daemon that has died is replaced.
    ///
    /// Must be called within a tokio runtime.
    pub fn bind(path: &Path, options: Options) -> Result<Self, BindError> {
        let listener = Listener::bind(path, options.group, BACKLOG, "a CLI")?;
        Ok(Self { listener, options: Rc::new(options) })
    }

    /// Serves clients until dropped. Must run inside a [`tokio::task::LocalSet`].
    pub async fn serve(self, service: Rc<dyn Service>) {
        let clients = Clients::new(self.options.max_clients);
        loop {
            let (stream, process, rights) = self.listener.accept().await;
            let (peer, options) = (Peer::Local(process), self.options.clone());
            let Some(ticket) = clients.enter(peer.uid()) else {
                tokio::task::spawn_local(refuse_crowd(stream, options));
                continue;
            };
            let session = Session { stream: BufReader::new(stream), options, ticket };
            let service = service.clone();
            tokio::task::spawn_local(async move { session.run(service.as_ref(), peer, &rights).await });
        }
    }
}

/// All are busy.
async fn refuse_crowd(mut stream: UnixStream, options: Rc<Options>) {
    let most = options.max_clients;
    info!(most, "one CLI client too many");
    let error = CliError::new(format!("{most} clients are connected and busy, and no more are allowed"));
    if let Ok(line) = protocol::to_line(&Response::error(None, error)) {
        // Nobody is left to tell if this fails.
        let _ = send_all(&mut stream, &line, options.write_timeout).await;
    }
}

/// One client.
struct Session {
    stream: BufReader<UnixStream>,
    options: Rc<Options>,
    ticket: Ticket,
}

impl Session {
    async fn run(mut self, service: &dyn Service, peer: Peer, rights: &Rights) {
        info!(%peer, "CLI client connected");
        match self.talk(service, peer, rights).await {
            Ok(()) => debug!(%peer, "CLI client left"),
            Err(error) => info!(%peer, %error, "CLI client lost"),
        }
    }

    async fn talk(&mut self, service: &dyn Service, peer: Peer, rights: &Rights) -> io::Result<()> {
        let prompt = self.options.prompt.clone();
        let server = Hello { prompt, ..Hello::new(self.options.program.as_str()) };
        let Some(line) = self.read_line().await? else { return Ok(()) };
        let checked = match serde_json::from_slice::<Hello>(&line) {
            Ok(client) => Hello::check(&client, &server),
            Err(error) => Err(CliError::new(format!(
                "bad greeting ({error}): expected {{\"protocol\":{},\"program\":\"...\"}}",
                protocol::VERSION
            ))),
        };
        if let Err(error) = checked {
            return self.send(&Response::error(None, error)).await;
        }
        self.send(&server).await?;
        while let Some(line) = self.read_line().await? {
            let response = match Request::from_line(&line) {
                Ok(Request::Run { id, command, json }) => {
                    self.ticket.set_busy(true);
                    let answer = match service.execute(peer, rights, &command) {
                        Ok(reply) => self.wait(service, reply, id, json).await?,
                        Err(refused) => Err(refused),
                    };
                    self.ticket.set_busy(false);
                    match answer {
                        Ok(line) => {
                            self.send_line(&line?).await?;
                            continue;
                        }
                        Err(error) => Response::error(Some(id), error),
                    }
                }
                Ok(Request::Complete { id, complete, cursor }) => {
                    Response::completion(id, service.complete(&complete, cursor))
                }
                Err(error) => Response::error(None, error),
            };
            self.send(&response).await?;
        }
        Ok(())
    }

    /// The line of an answer; one that is not there at once is waited for, as long as the client does.
    async fn wait(
        &mut self,
        service: &dyn Service,
        reply: Reply,
        id: u64,
        json: bool,
    ) -> io::Result<Result<serde_json::Result<Vec<u8>>, CliError>> {
        let render = move |answer: &Rendering| {
            protocol::to_line(&match json {
                true => Response::json(id, answer.to_json()),
                false => Response::text(id, answer.to_text()),
            })
        };
        let mut waiting = match Waiting::new(service, reply, render) {
            Ok(line) => return Ok(Ok(line)),
            Err(waiting) => waiting,
        };
        waiting.stream();
        let mut frame = protocol::Frame::new(id, json);
        let mut gone = false;
        loop {
            let pause = match waiting.poll() {
                Next::Part(part) => {
                    let words = frame.part(part.as_ref())?;
                    drop(part);
                    // Whoever does not read makes room for others.
                    self.ticket.set_busy(false);
                    self.send_line(&words).await?;
                    self.ticket.set_busy(true);
                    None
                }
                // There is no place for an error in the middle of an answer.
                Next::Ready(Err(error)) if frame.is_begun() => return Err(io::Error::other(error)),
                Next::Ready(Ok(_)) if frame.is_begun() => return Ok(Ok(Ok(frame.end().to_vec()))),
                Next::Ready(_) if gone => return Err(io::ErrorKind::ConnectionAborted.into()),
                Next::Ready(answer) => return Ok(answer),
                Next::Turn => None,
                Next::Pause(pause) => Some(pause),
            };
            let others = async {
                match pause {
                    None => yield_now().await,
                    Some(pause) => sleep(pause).await,
                }
            };
            if gone {
                others.await;
                continue;
            }
            // A client that sends its next request already is still there; one that has gone reads as the end. When
            // something is in the buffer, nothing can be known: it waits for its answer.
            gone = tokio::select! {
                biased;
                gone = Self::end_of(&mut self.stream) => gone.unwrap_or(true),
                () = others => false,
            };
            if gone && !waiting.is_patient() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if gone {
                waiting.leave();
            }
        }
    }

    /// Whether the client has gone; never if it has sent something.
    async fn end_of(stream: &mut BufReader<UnixStream>) -> io::Result<bool> {
        if stream.fill_buf().await?.is_empty() {
            return Ok(true);
        }
        std::future::pending().await
    }

    /// The next line, or `None` at the end. Answers a line that is too long itself, and ends.
    async fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let cut = tokio::select! {
                filled = self.stream.fill_buf() => filled.map(|_| false)?,
                () = self.ticket.cut() => true,
            };
            if cut {
                self.send_line(&protocol::to_line(&Response::error(None, CliError::new(MADE_ROOM)))?).await?;
                return Ok(None);
            }
            // There is something, or it is the end.
            let available = self.stream.fill_buf().await?;
            if available.is_empty() {
                return Ok(None);
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(available.len(), |at| at + 1);
            line.extend_from_slice(&available[..taken]);
            self.stream.consume(taken);
            if line.len() > protocol::LONGEST_REQUEST {
                let most = protocol::LONGEST_REQUEST;
                let error = CliError::new(format!("a request has {most} bytes at most"));
                self.send(&Response::error(None, error)).await?;
                return Ok(None);
            }
            if newline.is_some() {
                return Ok(Some(line));
            }
        }
    }

    async fn send(&mut self, message: &impl serde::Serialize) -> io::Result<()> {
        self.send_line(&protocol::to_line(message)?).await
    }

    async fn send_line(&mut self, line: &[u8]) -> io::Result<()> {
        tokio::select! {
            sent = send_all(self.stream.get_mut(), line, self.options.write_timeout) => sent,
            () = self.ticket.cut() => Err(io::Error::new(io::ErrorKind::ConnectionAborted, MADE_ROOM)),
        }
    }
}
