// SPDX-License-Identifier: Apache-2.0
//! A stream socket on the runtime of the main thread, and who is at the other ends.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tracing::warn;
use weft_background::Rights;

use crate::{BindError, Kind, Options, SocketFile, listen_at};

/// Pause after a client could not be accepted: out of descriptors or memory, and the next turn may find some, but not at once.
pub const OUT_OF_BREATH: Duration = Duration::from_millis(100);

/// A process of this machine, as the kernel says (SO_PEERCRED, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Unknown if it is in another namespace of processes.
    pub pid: Option<i32>,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl Process {
    /// Who is at the other end of `stream`, and what rights that gives.
    fn of(stream: &UnixStream) -> io::Result<(Process, Rights)> {
        let cred = stream.peer_cred()?;
        let process = Process { pid: cred.pid(), uid: cred.uid(), gid: cred.gid() };
        Ok((process, Rights::of_peer(stream, process.uid, process.gid)?))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Process { pid, uid, gid } = self;
        match pid {
            Some(pid) => write!(f, "process {pid} (uid {uid}, gid {gid})"),
            None => write!(f, "a process (uid {uid}, gid {gid})"),
        }
    }
}

/// A listening socket; its file disappears with it.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    _file: SocketFile,
    /// Of its clients, for the log: "CLI".
    whose: &'static str,
}

impl Listener {
    /// Listens at `path`, for the owner and the group. Must be called within a tokio runtime.
    pub fn bind(
        path: &Path,
        group: Option<u32>,
        backlog: i32,
        whose: &'static str,
    ) -> Result<Listener, BindError> {
        let (fd, file) = listen_at(path, Options { kind: Kind::Stream, group, backlog })?;
        let failed = |source| BindError::Io { action: "listen at", path: path.to_owned(), source };
        let listener = UnixListener::from_std(fd.into()).map_err(failed)?;
        Ok(Listener { listener, _file: file, whose })
    }

    /// The next client, and who that is. One of whom the kernel does not say it is let go.
    pub async fn accept(&self) -> (UnixStream, Process, Rights) {
        loop {
            let whose = self.whose;
            match self.listener.accept().await {
                Ok((stream, _)) => match Process::of(&stream) {
                    Ok((process, rights)) => return (stream, process, rights),
                    Err(error) => warn!(%error, "{whose} client without credentials is refused"),
                },
                Err(error) => {
                    warn!(%error, "cannot accept {whose} client");
                    tokio::time::sleep(OUT_OF_BREATH).await;
                }
            }
        }
    }
}
