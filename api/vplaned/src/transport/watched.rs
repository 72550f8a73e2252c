// SPDX-License-Identifier: Apache-2.0
//! A ZeroMQ socket registered with the runtime.
//!
//! The only place with unsafe code: tokio wants a promise about the descriptor that libzmq owns.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket and the descriptor that tells of its changes (`ZMQ_FD`).
pub struct Watched {
    socket: zmq::Socket,
    fd: RawFd,
}

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.fd
    }
}

impl Watched {
    pub fn socket(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Registers a socket for as long as it lives.
    pub fn register(socket: zmq::Socket, fd: RawFd) -> io::Result<AsyncFd<Watched>> {
        // SAFETY: `fd` is ZMQ_FD of `socket`, which libzmq keeps open and unchanged until the socket is closed
        // (zmq_getsockopt(3)); `Watched` owns the socket, is not mutated, and closes it on drop, which AsyncFd does after
        // it has taken the descriptor out of epoll. as_raw_fd() returns a constant.
        Ok(unsafe { AsyncFd::register_with_interest(Watched { socket, fd }, Interest::READABLE) }?)
    }
}
