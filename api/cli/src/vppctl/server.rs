// SPDX-License-Identifier: Apache-2.0
//! The sockets behind `unix { cli-listen ... }`.
//!
//! As in [`crate::server`], each client is a task of the main thread. It reads 4 KiB at most, and only when all that came
//! before has been answered and the answers are gone: a client costs at most one answer of memory, and one that takes
//! nothing for [`Settings::write_timeout`] is let go.

use std::{io, net::SocketAddr, path::PathBuf, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};
use weft_sockets::SocketFile;

use super::{Options, Session, Shell};
use crate::{
    CliError, Completion, Reply,
    server::{Peer, Service},
    socket::{listen_at, send_all},
    waiting::{PERIOD, Waiting},
};

/// How long a client may take to close after the end.
const LINGER: Duration = Duration::from_secs(10);

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
    /// Connections at a time; one more is refused with a sentence.
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
    Unix(UnixListener, #[expect(dead_code, reason = "removes the file when it goes")] SocketFile),
    Tcp(TcpListener),
}

impl Server {
    /// Must be called within a tokio runtime.
    pub fn bind(endpoint: &Endpoint, settings: Settings) -> Result<Self, BindError> {
        let listener = match endpoint {
            Endpoint::Path(path) => {
                let (listener, file) = listen_at(path, settings.group)?;
                Listener::Unix(listener, file)
            }
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
            Listener::Unix(..) => None,
            Listener::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// Serves clients until dropped. Must run inside a [`tokio::task::LocalSet`].
    pub async fn serve(self, service: Rc<dyn Service>) {
        let clients = Rc::new(());
        loop {
            let start = |stream, peer| self.start(stream, peer, &clients, &service);
            let accepted = match &self.listener {
                Listener::Unix(listener, _) => match listener.accept().await {
                    Ok((stream, _)) => Peer::of(&stream).map(|peer| start(Box::new(stream), peer)),
                    Err(error) => Err(error),
                },
                Listener::Tcp(listener) => {
                    listener.accept().await.map(|(stream, from)| start(Box::new(stream), Peer::Remote(from)))
                }
            };
            if let Err(error) = accepted {
                // Out of descriptors or memory: the next turn may find some, but not at once.
                warn!(%error, "cannot accept a CLI client");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }

    fn start(&self, mut stream: Box<dyn Stream>, peer: Peer, clients: &Rc<()>, service: &Rc<dyn Service>) {
        let settings = Rc::clone(&self.settings);
        let most = settings.max_clients;
        if Rc::strong_count(clients) > most {
            info!(most, "one CLI client too many");
            let refusal = format!("{most} clients are connected, and no more are allowed\r\n");
            tokio::task::spawn_local(async move {
                // Nobody is left to tell if this fails.
                let _ = send_all(&mut stream, refusal.as_bytes(), settings.write_timeout).await;
            });
            return;
        }
        let (ticket, service) = (Rc::clone(clients), Rc::clone(service));
        tokio::task::spawn_local(async move {
            info!(%peer, "CLI client connected");
            let mut shell = Remote { peer, service: service.as_ref(), waiting: None };
            match talk(&mut stream, &settings, &mut shell).await {
                Ok(()) => debug!(%peer, "CLI client left"),
                Err(error) => info!(%peer, %error, "CLI client lost"),
            }
            drop(ticket);
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

struct Remote<'a> {
    peer: Peer,
    service: &'a dyn Service,
    /// The command whose answer is to come.
    waiting: Option<(String, Waiting<'a>)>,
}

impl Remote<'_> {
    fn text(&self, command: &str, answer: Result<Reply, CliError>) -> String {
        match answer {
            Ok(reply) => reply.to_text(),
            Err(error) => self.service.vpp_error(command, &error),
        }
    }

    /// The answer that was to come, once it is there.
    fn poll(&mut self) -> Option<String> {
        let answer = self.waiting.as_mut()?.1.poll()?;
        let (command, _) = self.waiting.take()?;
        Some(self.text(&command, answer))
    }
}

impl Shell for Remote<'_> {
    fn run(&mut self, command: &str) -> Option<String> {
        let answer = self.service.execute(self.peer, command);
        let waiting = answer.as_ref().ok().and_then(|reply| Waiting::new(self.service, reply));
        match waiting {
            Some(waiting) => {
                self.waiting = Some((command.to_owned(), waiting));
                None
            }
            None => Some(self.text(command, answer)),
        }
    }

    fn complete(&mut self, line: &str, cursor: usize) -> Completion {
        self.service.complete(line, cursor)
    }
}

async fn talk(stream: &mut dyn Stream, settings: &Settings, shell: &mut Remote<'_>) -> io::Result<()> {
    let mut session = Session::new(settings.session.clone());
    let mut buffer = [0; 4096];
    let mut stream = stream;
    loop {
        let output = std::mem::take(session.output());
        send_all(&mut stream, &output, settings.write_timeout).await?;
        if session.is_closed() {
            // A client that is gone by now has all it wanted.
            let _ = timeout(LINGER, part(&mut stream)).await;
            return Ok(());
        }
        if session.is_waiting() {
            if let Some(answer) = shell.poll() {
                session.answered(&answer);
            } else if session.is_full() {
                sleep(PERIOD).await;
            } else if let Ok(count) = timeout(PERIOD, stream.read(&mut buffer)).await {
                match count? {
                    0 => return Ok(()),
                    count => session.feed(&buffer[..count]),
                }
                if session.take_interrupt() {
                    shell.waiting = None;
                    session.answered("");
                }
            }
            continue;
        }
        if session.step(shell) || !session.output().is_empty() || session.is_closed() {
            continue;
        }
        let read = stream.read(&mut buffer);
        let count = match session.patience() {
            None => read.await?,
            Some(patience) => match timeout(patience, read).await {
                Ok(count) => count?,
                Err(_) => {
                    session.expire(shell);
                    continue;
                }
            },
        };
        match count {
            0 => session.end(shell),
            count => session.feed(&buffer[..count]),
        }
    }
}

/// Lets the client read what was sent, and takes what it still sends: `vppctl` says `quit` more than once, and dies of
/// SIGPIPE with answers unread if nobody takes that.
async fn part(stream: &mut (impl Stream + ?Sized)) -> io::Result<()> {
    stream.shutdown().await?;
    while stream.read(&mut [0; 256]).await? > 0 {}
    Ok(())
}
