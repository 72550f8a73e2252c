// SPDX-License-Identifier: Apache-2.0
//! Where clients fetch the segment: a unix socket that answers every connection with the descriptor and
//! closes it.
//!
//! Any one thread; it need not be the one that owns the segment, so that clients are served while that one
//! hangs. Never blocks: the listener is non-blocking, and the answer fits into any socket buffer.
//! A client can do nothing with the descriptor but map it read-only (module `memory`).
//!
//! The socket file is made by us and removed by us, and only if it is still ours then. GoVPP watches
//! the directory and reconnects when exactly this file was removed and made again.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{PassCred, PeerCredentials};
use nix::sys::socket::{Backlog, SockFlag, UnixAddr, bind, connect, getsockopt, listen, setsockopt};

use crate::error::ServerError;
use crate::handover;

/// Owner and group may connect: connecting takes write permission (unix(7)).
const MODE: u32 = 0o660;
/// Connections that wait while the listener's thread is busy; further ones wait in their connect(2).
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
    path: PathBuf,
    /// Device and inode of our file.
    file: (u64, u64),
}

impl StatsListener {
    /// Listens at `path`, in the place of a socket file that a dead process left.
    pub fn bind(path: impl Into<PathBuf>) -> Result<StatsListener, ServerError> {
        let path = path.into();
        let failed = |action, source: io::Error| ServerError::Io { path: path.clone(), action, source };
        let address = UnixAddr::new(&path).map_err(|errno| failed("use the path", errno.into()))?;
        let socket =
            handover::seqpacket(SockFlag::SOCK_NONBLOCK).map_err(|errno| failed("create", errno.into()))?;
        setsockopt(&socket, PassCred, &true).map_err(|errno| failed("configure", errno.into()))?;
        match bind(socket.as_raw_fd(), &address) {
            Err(Errno::EADDRINUSE) => {
                remove_stale(&path, &address)?;
                bind(socket.as_raw_fd(), &address)
            }
            result => result,
        }
        .map_err(|errno| failed("bind", errno.into()))?;
        let made = fs::symlink_metadata(&path).map_err(|error| failed("examine", error))?;
        let listener = StatsListener { file: (made.dev(), made.ino()), socket, path: path.clone() };
        // Nobody can connect before listen(2), so nobody sees the mode that the umask gave.
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE))
            .map_err(|error| failed("set the mode of", error))?;
        Backlog::new(BACKLOG)
            .and_then(|backlog| listen(&listener.socket, backlog))
            .map_err(|errno| failed("listen", errno.into()))?;
        Ok(listener)
    }

    pub fn path(&self) -> &Path {
        &self.path
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
        let failed =
            |action, errno: Errno| ServerError::Io { path: self.path.clone(), action, source: errno.into() };
        let client = loop {
            match handover::accept(self.socket.as_fd()) {
                Ok(client) => break client,
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
                Err(errno) => return Err(failed("accept", errno)),
            }
        };
        let peer =
            getsockopt(&client, PeerCredentials).map_err(|errno| failed("identify a client of", errno))?;
        match handover::send(client.as_fd(), memory) {
            Ok(()) | Err(Errno::EPIPE | Errno::ECONNRESET) => {
                Ok(Some(Client { pid: peer.pid(), uid: peer.uid(), gid: peer.gid() }))
            }
            Err(errno) => Err(failed("hand out memory to a client of", errno)),
        }
    }
}

impl AsFd for StatsListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for StatsListener {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == self.file);
        if ours {
            // Nothing sensible can be done about a failure here; the next start replaces the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket file at `path` if nobody listens there any more.
fn remove_stale(path: &Path, address: &UnixAddr) -> Result<(), ServerError> {
    let failed = |action, source: io::Error| ServerError::Io { path: path.to_owned(), action, source };
    let found = fs::symlink_metadata(path).map_err(|error| failed("examine", error))?;
    if !found.file_type().is_socket() {
        return Err(ServerError::NotASocket { path: path.to_owned() });
    }
    let probe =
        handover::seqpacket(SockFlag::SOCK_NONBLOCK).map_err(|errno| failed("create", errno.into()))?;
    match connect(probe.as_raw_fd(), address) {
        Err(Errno::ECONNREFUSED) => fs::remove_file(path).map_err(|error| failed("remove the stale", error)),
        // EAGAIN: its backlog is full. EPROTOTYPE: it listens with another socket type.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(ServerError::InUse { path: path.to_owned() }),
        Err(errno) => Err(failed("probe", errno.into())),
    }
}
