// SPDX-License-Identifier: Apache-2.0
//! ZeroMQ sockets on a current-thread tokio runtime.
//!
//! libzmq brings its own threads and its own idea of readiness: a socket's descriptor tells of *changes*, and a
//! change may be used up by any call on the socket. Here every wait begins with a look at `ZMQ_EVENTS`, so no
//! change is ever missed, and no call ever blocks: sends and receives are non-blocking, linger is 0.
//!
//! A [`Socket`] belongs to one task. [`Transport`] lives as long as the sockets made from it.

mod connection;
mod curve;
mod endpoint;
mod error;
mod retired;
mod socket;
mod wait;
mod watched;

pub use self::connection::{Change, Connection};
pub use self::curve::{CertificateError, Keys, PublicKey, require_curve};
pub use self::endpoint::{Endpoint, EndpointError};
pub use self::error::TransportError;
pub use self::socket::{Kind, Socket, Transport};
pub(crate) use self::wait::{changed, readable, until};
