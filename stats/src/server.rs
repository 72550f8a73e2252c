// SPDX-License-Identifier: Apache-2.0
//! Where clients fetch the segment: a unix socket that answers every connection with the descriptor and
//! closes it.
//!
//! Any one thread; it need not be the one that owns the segment, so that clients are served while that one
//! hangs. Never blocks: the listener is non-blocking, and the answer fits into any socket buffer.
//! A client can do nothing with the descriptor but map it read-only (module `memory`).
//!
//! GoVPP watches the directory of the socket file and reconnects when exactly this file was removed and made again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{PassCred, PeerCredentials};
use nix::sys::socket::{getsockopt, setsockopt};
use weft_sockets::{Kind, Options, SocketFile};

use crate::error::ServerError;
use crate::handover;

/// Connections that wait while the listener's thread is busy.
const BACKLOG: i32 = 64;

/// Who fetched the segment, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

/// The listening statistics socket. Removes its file when dropped.
pub struct StatsListener {
    socket: OwnedFd,
    file: SocketFile,
}

impl StatsListener {
    /// Listens at `path` for the owner and `group`, in the place of a socket file that a dead process left.
    pub fn bind(path: impl AsRef<Path>, group: Option<u32>) -> Result<StatsListener, ServerError> {
        let options = Options { kind: Kind::SeqPacket, group, backlog: BACKLOG };
        let (socket, file) = weft_sockets::listen_at(path.as_ref(), options)?;
        let listener = StatsListener { socket, file };
        // Connections inherit it when they are accepted (unix_sock_inherit_flags, linux/net/unix/af_unix.c).
        setsockopt(&listener.socket, PassCred, &true).map_err(|errno| listener.failed("configure", errno))?;
        Ok(listener)
    }

    pub fn path(&self) -> &Path {
        self.file.path()
    }

    fn failed(&self, action: &'static str, errno: Errno) -> ServerError {
        ServerError::Io { path: self.path().to_owned(), action, source: errno.into() }
    }

    /// Gives `segment` ([`Segment::fd`](crate::Segment::fd)) to one waiting client, or returns `None` if
    /// none waits. To be called until then whenever the listener is readable.
    ///
    /// A client that hung up before it was served counts as served.
    pub fn accept_and_send(&self, segment: BorrowedFd<'_>) -> Result<Option<Client>, ServerError> {
        self.hand_out(&[segment])
    }

    /// As [`StatsListener::accept_and_send`], for other memory than the segment.
    pub fn hand_out(&self, memory: &[BorrowedFd<'_>]) -> Result<Option<Client>, ServerError> {
        let client = loop {
            match handover::accept(self.socket.as_fd()) {
                Ok(client) => break client,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
                Err(errno) => return Err(self.failed("accept", errno)),
            }
        };
        let peer = getsockopt(&client, PeerCredentials)
            .map_err(|errno| self.failed("identify a client of", errno))?;
        match handover::send(client.as_fd(), memory) {
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => {
                Ok(Some(Client { pid: peer.pid(), uid: peer.uid(), gid: peer.gid() }))
            }
            Err(errno) => Err(self.failed("hand out memory to a client of", errno)),
        }
    }
}

impl AsFd for StatsListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
