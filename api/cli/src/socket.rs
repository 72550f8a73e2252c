// SPDX-License-Identifier: Apache-2.0
//! The sockets of the servers, and writing to clients that may not read.

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::UnixListener,
    time::timeout,
};
use weft_sockets::{BindError, Kind, Options, SocketFile};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 64;

/// Listens at `path`, for the owner and the group. Must be called within a tokio runtime.
pub(crate) fn listen_at(path: &Path, group: Option<u32>) -> Result<(UnixListener, SocketFile), BindError> {
    let options = Options { kind: Kind::Stream, group, backlog: BACKLOG };
    let (fd, file) = weft_sockets::listen_at(path, options)?;
    let failed = |source| BindError::Io { action: "listen at", path: path.to_owned(), source };
    Ok((UnixListener::from_std(fd.into()).map_err(failed)?, file))
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
            Err(_) => return Err(took_nothing(patience)),
        }
    }
    Ok(())
}

/// Why a client is given up.
pub(crate) fn took_nothing(patience: Duration) -> io::Error {
    let seconds = patience.as_secs_f64();
    io::Error::new(io::ErrorKind::TimedOut, format!("it took nothing of its answer for {seconds} seconds"))
}
