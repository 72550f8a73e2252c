// SPDX-License-Identifier: Apache-2.0
//! The daemon's side of the CLI socket.
//!
//! Runs as tasks of a current-thread tokio runtime, inside a [`tokio::task::LocalSet`], beside
//! everything else that the main thread does: a command runs between two turns of that loop, on the
//! state that the thread owns, and no lock is needed.
//!
//! No client can hold up the thread: each has its own task, which reads the next request only when
//! the last answer is gone, and gives up on a client that takes nothing for
//! [`Options::write_timeout`]. So a client costs at most one request and one answer of memory.

use std::{
    cell::RefCell,
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{
    Completion,
    error::CliError,
    protocol::{self, Hello, Request, Response},
    reply::{Later, Reply},
    tree::CommandTree,
};

/// Who is connected, as the kernel says (SO_PEERCRED, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub pid: Option<i32>,
    pub uid: u32,
    pub gid: u32,
}

/// What stands behind the socket.
pub trait Service {
    /// Runs a command. Called on the main thread and must not block.
    fn execute(&self, peer: Peer, command: &str) -> Result<Reply, CliError>;
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

impl<C> Service for Shared<C> {
    fn execute(&self, peer: Peer, command: &str) -> Result<Reply, CliError> {
        debug!(pid = peer.pid, uid = peer.uid, command, "CLI command");
        // A task that keeps the state borrowed while it waits is at fault, and this client is not
        // the one to be punished by a panic.
        let mut state = self
            .state
            .try_borrow_mut()
            .map_err(|_| CliError::new("the main thread is changing its state: try again"))?;
        self.tree.execute(&mut state, command)
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
    /// Connections at a time; one more is refused with a sentence.
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

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another daemon already listens at {}", .0.display())]
    InUse(PathBuf),
    #[error("{} exists and is no socket: remove it, or choose another path with cli-listen", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

/// A listening socket; its file disappears with it.
pub struct Server {
    listener: UnixListener,
    options: Rc<Options>,
    _file: SocketFile,
}

impl Server {
    /// Listens at `path`. The file of a daemon that has died is replaced.
    ///
    /// Must be called within a tokio runtime.
    pub fn bind(path: &Path, options: Options) -> Result<Self, BindError> {
        let failed =
            |action| move |source: io::Error| BindError::Io { action, path: path.to_owned(), source };
        remove_stale(path)?;
        let fd = socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )
        .map_err(|errno| failed("open a socket for")(errno.into()))?;
        let address = UnixAddr::new(path).map_err(|errno| failed("listen at")(errno.into()))?;
        bind(fd.as_raw_fd(), &address).map_err(|errno| failed("listen at")(errno.into()))?;
        let file = SocketFile::new(path).map_err(failed("look at"))?;
        // Nobody can connect before listen(2), so the rights are in force for the first client.
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed("set the mode of"))?;
        if let Some(group) = options.group {
            chown(path, None, Some(group)).map_err(failed("set the group of"))?;
        }
        listen_on(&fd).map_err(failed("listen at"))?;
        let listener = UnixListener::from_std(fd.into()).map_err(failed("listen at"))?;
        Ok(Self { listener, options: Rc::new(options), _file: file })
    }

    /// Serves clients until dropped. Must run inside a [`tokio::task::LocalSet`].
    pub async fn serve(self, service: Rc<dyn Service>) {
        let clients = Rc::new(());
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors or memory: the next turn may find some, but not at once.
                    warn!(%error, "cannot accept a CLI client");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let options = self.options.clone();
            let session = Session { stream: BufReader::new(stream), options };
            let connected = Rc::strong_count(&clients) - 1;
            if connected >= self.options.max_clients {
                tokio::task::spawn_local(session.refuse_crowd());
                continue;
            }
            let (ticket, service) = (clients.clone(), service.clone());
            tokio::task::spawn_local(async move {
                session.run(service.as_ref()).await;
                drop(ticket);
            });
        }
    }
}

fn listen_on(fd: &OwnedFd) -> io::Result<()> {
    const WAITING_CLIENTS: i32 = 64;
    listen(fd, Backlog::new(WAITING_CLIENTS)?)?;
    Ok(())
}

/// Makes way for a new socket at `path`, if what is there is a socket that nobody serves.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |action| move |source: io::Error| BindError::Io { action, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove the stale socket"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // WouldBlock: its queue of clients is full, so somebody lives there.
        _ => Err(BindError::InUse(path.to_owned())),
    }
}

/// The file of our socket; told from a later one at the same path by device and inode.
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "cannot remove the CLI socket");
        }
    }
}

/// How often an answer that comes later is asked for.
const LATER: Duration = Duration::from_millis(20);

/// Somebody waits for an answer; the command is told when that ends without one, also when the server ends.
struct Waiting<'s> {
    service: &'s dyn Service,
    later: Option<Later>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(later) = &self.later {
            self.service.cancel(later);
        }
    }
}

/// One client.
struct Session {
    stream: BufReader<UnixStream>,
    options: Rc<Options>,
}

impl Session {
    async fn run(mut self, service: &dyn Service) {
        let peer = match self.stream.get_ref().peer_cred() {
            Ok(cred) => Peer { pid: cred.pid(), uid: cred.uid(), gid: cred.gid() },
            Err(error) => {
                warn!(%error, "a CLI client without credentials is refused");
                return;
            }
        };
        info!(pid = peer.pid, uid = peer.uid, gid = peer.gid, "CLI client connected");
        match self.talk(service, peer).await {
            Ok(()) => debug!(pid = peer.pid, "CLI client left"),
            Err(error) => info!(pid = peer.pid, %error, "CLI client lost"),
        }
    }

    async fn refuse_crowd(mut self) {
        let most = self.options.max_clients;
        info!(most, "one CLI client too many");
        let error = CliError::new(format!("{most} clients are connected, and no more are allowed"));
        // Nobody is left to tell if this fails.
        let _ = self.send(&Response::error(None, error)).await;
    }

    async fn talk(&mut self, service: &dyn Service, peer: Peer) -> io::Result<()> {
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
                    let answer = match service.execute(peer, &command) {
                        Ok(reply) => self.wait(service, reply).await?,
                        refused => refused,
                    };
                    match answer {
                        Ok(reply) => Response::reply(id, &reply, json),
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

    /// Waits for an answer that comes later, as long as the client does.
    async fn wait(&mut self, service: &dyn Service, reply: Reply) -> io::Result<Result<Reply, CliError>> {
        let Some(later) = reply.is_later().cloned() else {
            return Ok(Ok(reply));
        };
        let mut waiting = Waiting { service, later: Some(later.clone()) };
        loop {
            // A client that sends its next request already is still there; one that has gone reads as the end. When
            // something is in the buffer, nothing can be known: it waits for its answer.
            let gone = tokio::select! {
                gone = Self::end_of(&mut self.stream) => gone?,
                () = sleep(LATER) => false,
            };
            if gone {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            let answer = service.later(&later);
            if answer.as_ref().is_ok_and(|reply| reply.is_later().is_some()) {
                continue;
            }
            waiting.later = None;
            return Ok(answer);
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
        let line = protocol::to_line(message)?;
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            let write = self.stream.get_mut().write(rest);
            match timeout(self.options.write_timeout, write).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written?..],
                Err(_) => {
                    let seconds = self.options.write_timeout.as_secs_f64();
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        format!("it took nothing of its answer for {seconds} seconds"),
                    ));
                }
            }
        }
        Ok(())
    }
}
