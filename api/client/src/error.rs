// SPDX-License-Identifier: Apache-2.0
//! What can go wrong between a question and its answer.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use weft_binapi::{DecodeError, EncodeError, Retval};

use crate::batch::Refused;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot connect to {}: {source}", path.display())]
    Connect { path: PathBuf, source: io::Error },
    /// What answers at the socket does not speak the protocol.
    #[error("{} does not answer as a dataplane does: {found}", path.display())]
    Handshake { path: PathBuf, found: String },
    /// The daemon does not have the message, or has another version of it.
    #[error("the daemon does not offer {0}")]
    NotOffered(String),
    /// Whether the request was carried out is not known.
    #[error("the connection was lost before the answer came")]
    Lost,
    #[error("no answer to {message} within {} s", patience.as_secs_f64())]
    Timeout { message: &'static str, patience: Duration },
    /// The daemon has refused.
    #[error("{message}: {retval}")]
    Retval { message: &'static str, retval: Retval },
    /// The daemon has refused a batch; nothing of it was applied.
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{message} cannot be sent: {source}")]
    Encode { message: &'static str, source: EncodeError },
    #[error("{message} cannot be read: {source}")]
    Decode { message: &'static str, source: DecodeError },
}
