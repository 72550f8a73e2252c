// SPDX-License-Identifier: Apache-2.0
//! The socket files of the servers, and writing to clients that may not read.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::UnixListener,
    time::timeout,
};
use tracing::warn;

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another daemon already listens at {}", .0.display())]
    InUse(PathBuf),
    #[error("{} exists and is no socket: remove it, or choose another path", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot listen at {address}: {source}")]
    Address { address: std::net::SocketAddr, source: io::Error },
}

/// Listens at `path`, for the owner and the group. The file of a daemon that has died is replaced.
pub(crate) fn listen_at(path: &Path, group: Option<u32>) -> Result<(UnixListener, SocketFile), BindError> {
    let failed = |action| move |source: io::Error| BindError::Io { action, path: path.to_owned(), source };
    remove_stale(path)?;
    let fd =
        socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
            .map_err(|errno| failed("open a socket for")(errno.into()))?;
    let address = UnixAddr::new(path).map_err(|errno| failed("listen at")(errno.into()))?;
    bind(fd.as_raw_fd(), &address).map_err(|errno| failed("listen at")(errno.into()))?;
    let file = SocketFile::new(path).map_err(failed("look at"))?;
    // Nobody can connect before listen(2), so the rights are in force for the first client.
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed("set the mode of"))?;
    if let Some(group) = group {
        chown(path, None, Some(group)).map_err(failed("set the group of"))?;
    }
    listen_on(&fd).map_err(failed("listen at"))?;
    Ok((UnixListener::from_std(fd.into()).map_err(failed("listen at"))?, file))
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
pub(crate) struct SocketFile {
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

/// Sends all of it, or gives up on a client that takes nothing for `patience`.
pub(crate) async fn send_all(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    patience: Duration,
) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match timeout(patience, stream.write(rest)).await {
            Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = &rest[written?..],
            Err(_) => {
                let seconds = patience.as_secs_f64();
                let message = format!("it took nothing of its answer for {seconds} seconds");
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
        }
    }
    Ok(())
}
