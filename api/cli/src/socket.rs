// SPDX-License-Identifier: Apache-2.0
//! Writing to clients that may not read.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// Clients that may wait to be accepted.
pub(crate) const BACKLOG: i32 = 64;

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
