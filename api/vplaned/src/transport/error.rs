// SPDX-License-Identifier: Apache-2.0
//! What ZeroMQ may refuse.

/// A socket that could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("cannot make a ZeroMQ socket: {source}")]
    Open { source: zmq::Error },
    #[error("cannot {verb} {endpoint}: {source}")]
    Endpoint { verb: &'static str, endpoint: String, source: zmq::Error },
    #[error("cannot set the rights of {}: {source}", path.display())]
    File { path: std::path::PathBuf, source: std::io::Error },
    #[error("cannot wait for a ZeroMQ socket: {source}")]
    Wait { source: std::io::Error },
    #[error("cannot receive: {source}")]
    Receive { source: zmq::Error },
    #[error("cannot send: {source}")]
    Send { source: zmq::Error },
}
