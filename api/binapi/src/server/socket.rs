// SPDX-License-Identifier: Apache-2.0
//! The listening socket and its file.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::{io, os::unix::net};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use tokio::net::{UnixListener, UnixStream};

/// Clients that may wait to be accepted: as many as a machine of agents starts at once.
const WAITING_CLIENTS: i32 = 128;

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("another daemon already listens at {}", .0.display())]
    InUse(PathBuf),
    #[error("{} exists and is no socket: remove it, or choose another path with socksvr socket-name", .0.display())]
    NotASocket(PathBuf),
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

pub(super) struct Listener {
    listener: UnixListener,
    _file: SocketFile,
}

impl Listener {
    pub fn bind(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        let failed =
            |action| move |source: io::Error| BindError::Io { action, path: path.to_owned(), source };
        remove_stale(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .map_err(|errno| failed("open a socket for")(errno.into()))?;
        let address = UnixAddr::new(path).map_err(|errno| failed("listen at")(errno.into()))?;
        bind(fd.as_raw_fd(), &address).map_err(|errno| failed("listen at")(errno.into()))?;
        let file = SocketFile::new(path).map_err(failed("look at"))?;
        // Nobody can connect before listen(2), so the rights are in force for the first client.
        fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed("set the mode of"))?;
        if let Some(group) = group {
            chown(path, None, Some(group)).map_err(failed("set the group of"))?;
        }
        let listened = Backlog::new(WAITING_CLIENTS).and_then(|backlog| listen(&fd, backlog));
        listened.map_err(|errno| failed("listen at")(errno.into()))?;
        let listener = UnixListener::from_std(fd.into()).map_err(failed("listen at"))?;
        Ok(Self { listener, _file: file })
    }

    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
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
    match net::UnixStream::connect(path) {
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
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the API socket");
        }
    }
}
