// SPDX-License-Identifier: Apache-2.0
//! What clients wait for, as far as it is there; for ever, if it is not.

use std::future::pending;
use std::time::Instant;

use tokio::time::sleep_until;

use super::{Connection, TransportError};

/// A connection comes or goes.
pub(crate) async fn changed(connection: Option<&Connection>) -> Result<(), TransportError> {
    match connection {
        Some(connection) => connection.changed().await,
        None => pending().await,
    }
}

/// There is something to receive.
pub(crate) async fn readable(connection: Option<&Connection>) -> Result<(), TransportError> {
    match connection {
        Some(connection) => connection.readable().await,
        None => pending().await,
    }
}

/// That time has come.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
