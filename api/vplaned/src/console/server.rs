// SPDX-License-Identifier: Apache-2.0
//! The console's sockets.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use crate::transport::{Endpoint, Kind, Socket, Transport, TransportError};
use crate::wire::Message;

/// Sockets that answer requests.
pub struct ConsoleServer {
    sockets: Vec<Socket>,
    /// Socket files, which go with it.
    files: Vec<PathBuf>,
    /// Where the search for the next request begins, so that a busy socket does not starve another.
    next: usize,
}

/// Who may use a console's socket file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listening {
    /// Group of the socket file; else that of the process.
    pub group: Option<u32>,
}

impl ConsoleServer {
    /// Listens on all of these. A file that is left from a process that died is replaced.
    pub fn bind(
        transport: &Transport,
        endpoints: &[Endpoint],
        listening: Listening,
    ) -> Result<ConsoleServer, TransportError> {
        let mut files = Vec::new();
        let bind = |endpoint: &Endpoint| {
            let socket = Socket::bind(transport, Kind::Reply, endpoint)?;
            let bound = socket.endpoint()?;
            if let Some(path) = bound.strip_prefix("ipc://") {
                files.push(PathBuf::from(path));
                let failed = |source| TransportError::File { path: path.into(), source };
                set_permissions(path, Permissions::from_mode(0o660)).map_err(failed)?;
                if listening.group.is_some() {
                    chown(path, None, listening.group).map_err(failed)?;
                }
            }
            Ok(socket)
        };
        let sockets: Result<_, TransportError> = endpoints.iter().map(bind).collect();
        Ok(ConsoleServer { sockets: sockets?, files, next: 0 })
    }

    /// Where they listen, wildcards resolved.
    pub fn endpoints(&self) -> Result<Vec<String>, TransportError> {
        self.sockets.iter().map(Socket::endpoint).collect()
    }

    /// Waits for a request and replies with what `answer` makes of it. May be dropped at any time: a request is
    /// taken and answered in one step.
    pub async fn serve_one(
        &mut self,
        answer: impl FnOnce(&[Vec<u8>]) -> Message,
    ) -> Result<(), TransportError> {
        loop {
            for offset in 0..self.sockets.len() {
                let at = (self.next + offset) % self.sockets.len();
                if let Some(request) = self.sockets[at].receive()? {
                    self.next = at + 1;
                    return self.sockets[at].send(answer(&request));
                }
            }
            wait(&self.sockets).await?;
        }
    }
}

impl Drop for ConsoleServer {
    fn drop(&mut self) {
        // ZeroMQ may have removed a file, or may not have the time to.
        self.files.iter().for_each(|file| drop(std::fs::remove_file(file)));
    }
}

/// Waits until one of them has a request. They are two or three.
async fn wait(sockets: &[Socket]) -> Result<(), TransportError> {
    let mut waits: Vec<_> = sockets.iter().map(|socket| Box::pin(socket.readable())).collect();
    std::future::poll_fn(|context| {
        for wait in &mut waits {
            if let std::task::Poll::Ready(ready) = wait.as_mut().poll(context) {
                return std::task::Poll::Ready(ready);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
