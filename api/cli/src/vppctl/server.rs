// SPDX-License-Identifier: Apache-2.0
//! The sockets behind `unix { cli-listen ... }`.
//!
//! As in [`crate::server`], each client is a task of the main thread. `vppctl` sends all of a pipe before it reads an answer, so
//! what it sends is read while answers wait, and answers are kept, up to some megabytes of both; then nothing more is run until the
//! client has read. A client that takes nothing for [`Settings::write_timeout`] while answers wait for it is let go.

use std::{future::pending, io, net::SocketAddr, os::fd::AsFd, path::PathBuf, rc::Rc, time::Duration};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::TcpListener,
    task::yield_now,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};
use weft_background::Rights;
use weft_sockets::{Listener as UnixSocket, OUT_OF_BREATH};

use super::{Options, Session, Shell};
use crate::{
    Completion,
    clients::{Clients, MADE_ROOM, Ticket},
    reply::Rendering,
    server::{Peer, Service},
    socket::{BACKLOG, send_all, took_nothing},
    waiting::{Next, Waiting},
};

/// How long a client may take to hear why it has to go.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long a client may take to close after the end.
const LINGER: Duration = Duration::from_secs(10);
/// Bytes of answers that others are added to, rather than sent after them.
const JOINED: usize = 64 << 10;

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    Path(PathBuf),
    Address(SocketAddr),
}

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct Settings {
    pub session: Options,
    /// Group that may use a socket file beside its owner; its mode is 0660.
    pub group: Option<u32>,
    /// Connections at a time; for one more, another one makes room that is idle.
    pub max_clients: usize,
    /// How long a client may leave an answer where it is.
    pub write_timeout: Duration,
}

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A path.
    #[error(transparent)]
    Path(#[from] weft_sockets::BindError),
    /// An address.
    #[error("cannot listen at {address}: {source}")]
    Address { address: SocketAddr, source: io::Error },
}

/// A listening socket; its file, if it has one, disappears with it.
pub struct Server {
    listener: Listener,
    settings: Rc<Settings>,
}

enum Listener {
    Unix(UnixSocket),
    Tcp(TcpListener),
}

impl Server {
    /// Must be called within a tokio runtime.
    pub fn bind(endpoint: &Endpoint, settings: Settings) -> Result<Self, BindError> {
        let listener = match endpoint {
            Endpoint::Path(path) => Listener::Unix(UnixSocket::bind(path, settings.group, BACKLOG, "a CLI")?),
            Endpoint::Address(address) => {
                let failed = |source| BindError::Address { address: *address, source };
                let listener = std::net::TcpListener::bind(address).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Listener::Tcp(TcpListener::from_std(listener).map_err(failed)?)
            }
        };
        Ok(Self { listener, settings: Rc::new(settings) })
    }

    /// The address in use, if it is one of TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listener::Unix(_) => None,
            Listener::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// Serves clients until dropped. Must run inside a [`tokio::task::LocalSet`].
    pub async fn serve(self, service: Rc<dyn Service>) {
        let clients = Clients::new(self.settings.max_clients);
        loop {
            let start = |stream, peer| self.start(stream, peer, &clients, &service);
            match &self.listener {
                Listener::Unix(listener) => {
                    let (stream, process, rights) = listener.accept().await;
                    start(Box::new(stream), (Peer::Local(process), rights));
                }
                Listener::Tcp(listener) => match listener.accept().await {
                    Ok((stream, from)) => start(Box::new(stream), (Peer::Remote(from), Rights::Stranger)),
                    Err(error) => {
                        warn!(%error, "cannot accept a CLI client");
                        sleep(OUT_OF_BREATH).await;
                    }
                },
            }
        }
    }

    fn start(
        &self,
        mut stream: Box<dyn Stream>,
        (peer, rights): (Peer, Rights),
        clients: &Rc<Clients>,
        service: &Rc<dyn Service>,
    ) {
        let settings = Rc::clone(&self.settings);
        let most = settings.max_clients;
        let Some(ticket) = clients.enter(peer.uid()) else {
            info!(most, "one CLI client too many");
            let refusal = format!("{most} clients are connected and busy, and no more are allowed\r\n");
            tokio::task::spawn_local(async move {
                // Nobody is left to tell if this fails.
                let _ = send_all(&mut stream, refusal.as_bytes(), settings.write_timeout).await;
            });
            return;
        };
        let service = Rc::clone(service);
        tokio::task::spawn_local(async move {
            info!(%peer, "CLI client connected");
            let mut shell = Remote { peer, rights, service: service.as_ref(), waiting: None };
            match talk(stream, &settings, &mut shell, &ticket).await {
                Ok(()) => debug!(%peer, "CLI client left"),
                Err(error) => info!(%peer, %error, "CLI client lost"),
            }
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + AsFd + Unpin {}

impl<T: AsyncRead + AsyncWrite + AsFd + Unpin> Stream for T {}

struct Remote<'a> {
    peer: Peer,
    rights: Rights,
    service: &'a dyn Service,
    /// The command whose answer is to come.
    waiting: Option<(String, Waiting<'a, String>)>,
}

impl Remote<'_> {
    /// What there is to do about the answer that is to come; the answer itself once it is there.
    fn poll(&mut self) -> Next<String> {
        let Some((_, waiting)) = &mut self.waiting else {
            return Next::Ready(Ok(String::new()));
        };
        let next = waiting.poll();
        let Next::Ready(answer) = next else {
            return next;
        };
        let command = self.waiting.take().map(|(command, _)| command).unwrap_or_default();
        Next::Ready(Ok(answer.unwrap_or_else(|error| self.service.vpp_error(&command, &error))))
    }
}

/// What is to be done for a client next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    /// More of the same, when others have had their turn.
    Now,
    /// More, after this time.
    After(Duration),
    /// To wait until the client sends something or reads something; until it has been silent for so long.
    Input(Option<Duration>),
    /// To send what is left, and to part.
    Over,
}

impl Remote<'_> {
    /// Goes on with what the client has sent: a command, or a turn of one. `ended`: it sends nothing more. `unread`: bytes of
    /// answers that it has not read.
    fn work(&mut self, session: &mut Session, ended: bool, unread: usize) -> Work {
        if session.is_waiting() {
            if let Some((_, waiting)) = &mut self.waiting {
                match session.takes_parts() {
                    true if waiting.is_streaming() && session.is_behind(unread) => return Work::Input(None),
                    true if !waiting.is_streaming() => waiting.stream(),
                    _ => {}
                }
            }
            match self.poll() {
                Next::Ready(text) => session.answered(&text.unwrap_or_default()),
                Next::Part(part) => {
                    session.part(&part.shown());
                    return Work::Now;
                }
                Next::Turn => return Work::Now,
                Next::Pause(pause) => return Work::After(pause),
            }
        }
        match session {
            _ if session.is_closed() => Work::Over,
            _ if session.is_behind(unread) => Work::Input(None),
            _ if session.step(self) || session.is_waiting() => Work::Now,
            _ if session.is_closed() => Work::Over,
            _ if ended => {
                session.end(self);
                Work::Now
            }
            _ => Work::Input(session.patience()),
        }
    }

    /// Whether the command goes on when the client has gone.
    fn is_patient(&self) -> bool {
        self.waiting.as_ref().is_none_or(|(_, waiting)| waiting.is_patient())
    }
}

/// Whether the client has closed its socket. One that only sends nothing more still reads: its commands are run to their end. Behind
/// TCP the two look the same.
fn has_gone(socket: &impl AsFd) -> bool {
    let mut asked = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    let found = poll(&mut asked, PollTimeout::ZERO).is_ok_and(|found| found > 0);
    found && asked[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
}

impl Shell for Remote<'_> {
    fn run(&mut self, command: &str) -> Option<String> {
        let reply = match self.service.execute(self.peer, &self.rights, command) {
            Ok(reply) => reply,
            Err(error) => return Some(self.service.vpp_error(command, &error)),
        };
        match Waiting::new(self.service, reply, Rendering::to_text) {
            Ok(text) => Some(text),
            Err(waiting) => {
                self.waiting = Some((command.to_owned(), waiting));
                None
            }
        }
    }

    fn complete(&mut self, line: &str, cursor: usize) -> Completion {
        self.service.complete(line, cursor)
    }
}

async fn talk(
    stream: Box<dyn Stream>,
    settings: &Settings,
    shell: &mut Remote<'_>,
    ticket: &Ticket,
) -> io::Result<()> {
    let mut session = Session::new(settings.session.clone());
    let socket = stream.as_fd().try_clone_to_owned()?;
    let (mut reader, mut writer) = split(stream);
    let mut buffer = vec![0; 16 << 10];
    let mut answers = Answers { bytes: Vec::new(), sent: 0, moved: Instant::now() };
    let mut ended = false;
    loop {
        let work = shell.work(&mut session, ended, answers.left());
        answers.take(session.output());
        if let Some((_, waiting)) = &shell.waiting
            && ended
            && has_gone(&socket)
        {
            waiting.leave();
        }
        if work == Work::Over {
            answers.take_all(session.output());
            send_all(&mut writer, answers.rest(), settings.write_timeout).await?;
            // A client that is gone by now has all it wanted.
            let _ = timeout(LINGER, part(&mut reader.unsplit(writer))).await;
            return Ok(());
        }
        let busy = matches!(work, Work::Now | Work::After(_));
        ticket.set_busy(busy);
        let (has_answers, has_room) = (answers.left() > 0, !ended && !session.is_full());
        let pause = async {
            match work {
                Work::Now => yield_now().await,
                Work::After(pause) => sleep(pause).await,
                // With answers on their way, the client is not silent: it has not read them yet.
                Work::Input(Some(patience)) if !has_answers => sleep(patience).await,
                Work::Input(_) | Work::Over => pending().await,
            }
        };
        tokio::select! {
            biased;
            count = writer.write(answers.rest()), if has_answers => match count? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => answers.went(count),
            },
            count = reader.read(&mut buffer), if has_room => match count? {
                0 if session.is_waiting() && !shell.is_patient() => return Ok(()),
                0 => ended = true,
                count => {
                    session.feed(&buffer[..count]);
                    if session.is_waiting() && session.take_interrupt() {
                        shell.waiting = None;
                        session.answered("");
                    }
                }
            },
            () = sleep_until(answers.moved + settings.write_timeout), if has_answers => {
                return Err(took_nothing(settings.write_timeout));
            }
            () = ticket.cut(), if !busy => {
                send_all(&mut writer, format!("{MADE_ROOM}\r\n").as_bytes(), FAREWELL).await?;
                return Ok(());
            }
            () = pause => if let Work::Input(Some(_)) = work {
                session.expire(shell);
            },
        }
    }
}

/// Answers that the client has not taken yet.
struct Answers {
    bytes: Vec<u8>,
    /// How many of them have gone.
    sent: usize,
    /// When the client took something, or there was nothing for it.
    moved: Instant,
}

impl Answers {
    /// Adds what a session says; all answers that wait are sent together.
    fn take(&mut self, output: &mut Vec<u8>) {
        if self.left() == 0 {
            self.moved = Instant::now();
            self.sent = 0;
            self.bytes = std::mem::take(output);
        } else if !output.is_empty() && self.left() < output.len() + JOINED {
            self.take_all(output);
        }
    }

    /// Adds it however much waits already: nothing comes after it.
    fn take_all(&mut self, output: &mut Vec<u8>) {
        self.bytes.drain(..self.sent);
        self.sent = 0;
        self.bytes.append(output);
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.sent
    }

    fn went(&mut self, count: usize) {
        self.sent += count;
        self.moved = Instant::now();
    }
}

/// Lets the client read what was sent, and takes what it still sends: `vppctl` says `quit` more than once, and dies of
/// SIGPIPE with answers unread if nobody takes that.
async fn part(stream: &mut (impl Stream + ?Sized)) -> io::Result<()> {
    stream.shutdown().await?;
    while stream.read(&mut [0; 256]).await? > 0 {}
    Ok(())
}
