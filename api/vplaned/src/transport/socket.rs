// SPDX-License-Identifier: Apache-2.0
//! One ZeroMQ socket that never blocks.

use tokio::io::unix::AsyncFd;

use crate::wire::Message;

use super::retired::Retired;
use super::watched::Watched;
use super::{Endpoint, Keys, PublicKey, TransportError};

/// More frames than any message of the protocol has; what is beyond them is dropped.
const MOST_FRAMES: usize = 64;
/// Greater than any netlink message; a peer that sends more is disconnected by libzmq.
const LONGEST_FRAME: i64 = 16 << 20;

/// libzmq's threads and in-process endpoints.
pub struct Transport {
    context: zmq::Context,
    /// Monitors need names of their own.
    monitors: u64,
    retired: Retired,
}

impl Drop for Transport {
    fn drop(&mut self) {
        // Else libzmq's thread might wait for them, and the end of the context for that thread.
        self.retired.close_all();
    }
}

impl Default for Transport {
    fn default() -> Transport {
        Transport::new()
    }
}

impl Transport {
    pub fn new() -> Transport {
        Transport { context: zmq::Context::new(), monitors: 0, retired: Retired::default() }
    }

    pub(super) fn raw(&self, kind: zmq::SocketType) -> Result<zmq::Socket, TransportError> {
        let open = || {
            let socket = self.context.socket(kind)?;
            socket.set_linger(0)?;
            // vplaned spells IPv4 addresses as mapped ones.
            socket.set_ipv6(true)?;
            Ok(socket)
        };
        open().map_err(|source| TransportError::Open { source })
    }

    pub(super) fn retired(&self) -> Retired {
        self.retired.close_finished();
        self.retired.clone()
    }

    pub(super) fn monitor_name(&mut self) -> String {
        self.monitors += 1;
        format!("inproc://monitor-{}", self.monitors)
    }
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Talks to one ROUTER.
    Dealer,
    /// Hears one PUB, all of it.
    Subscriber,
    /// Takes from one PUSH.
    Pull,
    /// Answers requests.
    Reply,
}

impl Kind {
    fn raw(self) -> zmq::SocketType {
        match self {
            Kind::Dealer => zmq::DEALER,
            Kind::Subscriber => zmq::SUB,
            Kind::Pull => zmq::PULL,
            Kind::Reply => zmq::REP,
        }
    }

    /// Sets what the protocol asks for: vplaned's own sockets have no high-water mark either, so that
    /// publications wait instead of being lost. A broker's routes must push back, a console's answers must not pile up.
    fn configure(self, socket: &zmq::Socket) -> zmq::Result<()> {
        socket.set_maxmsgsize(LONGEST_FRAME)?;
        match self {
            Kind::Dealer | Kind::Subscriber => {
                socket.set_sndhwm(0)?;
                socket.set_rcvhwm(0)?;
            }
            Kind::Pull | Kind::Reply => {}
        }
        if self == Kind::Subscriber {
            socket.set_subscribe(b"")?;
        }
        Ok(())
    }
}

/// A socket on the runtime. See the module's description.
pub struct Socket {
    watched: AsyncFd<Watched>,
}

impl Socket {
    /// A socket that listens.
    pub fn bind(transport: &Transport, kind: Kind, endpoint: &Endpoint) -> Result<Socket, TransportError> {
        let socket = transport.raw(kind.raw())?;
        let bound = kind.configure(&socket).and_then(|()| socket.bind(endpoint.as_str()));
        bound.map_err(|source| TransportError::Endpoint {
            verb: "listen on",
            endpoint: endpoint.to_string(),
            source,
        })?;
        Socket::watch(socket)
    }

    /// A socket before it is connected.
    pub(super) fn unconnected(
        transport: &Transport,
        kind: Kind,
        curve: Option<(&Keys, &PublicKey)>,
    ) -> Result<Socket, TransportError> {
        let socket = transport.raw(kind.raw())?;
        let configure = || {
            kind.configure(&socket)?;
            if let Some((own, server)) = curve {
                socket.set_curve_serverkey(server.bytes())?;
                socket.set_curve_publickey(own.public.bytes())?;
                socket.set_curve_secretkey(own.secret())?;
            }
            Ok(())
        };
        configure().map_err(|source| TransportError::Open { source })?;
        Socket::watch(socket)
    }

    pub(super) fn watch(socket: zmq::Socket) -> Result<Socket, TransportError> {
        let fd = socket.get_fd().map_err(|source| TransportError::Open { source })?;
        let watched = Watched::register(socket, fd).map_err(|source| TransportError::Wait { source })?;
        Ok(Socket { watched })
    }

    pub(super) fn zmq(&self) -> &zmq::Socket {
        self.watched.get_ref().socket()
    }

    /// Where a bound socket really listens.
    pub fn endpoint(&self) -> Result<String, TransportError> {
        let endpoint = self.zmq().get_last_endpoint().map_err(|source| TransportError::Open { source })?;
        Ok(endpoint.unwrap_or_else(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Waits until a message can be received. May be dropped at any time.
    pub async fn readable(&self) -> Result<(), TransportError> {
        loop {
            let events = self.zmq().get_events().map_err(|source| TransportError::Receive { source })?;
            if events.contains(zmq::POLLIN) {
                return Ok(());
            }
            let mut changed =
                self.watched.readable().await.map_err(|source| TransportError::Wait { source })?;
            // Before the next look, so that a change after it is not forgotten.
            changed.clear_ready();
        }
    }

    /// The next message, if one is there.
    pub fn receive(&self) -> Result<Option<Message>, TransportError> {
        let mut frames = Message::new();
        loop {
            match self.zmq().recv_msg(zmq::DONTWAIT) {
                Ok(frame) => {
                    if frames.len() < MOST_FRAMES {
                        frames.push(frame.to_vec());
                    }
                    if !frame.get_more() {
                        return Ok(Some(frames));
                    }
                }
                // Parts of a message arrive together: there was none.
                Err(zmq::Error::EAGAIN) => return Ok(None),
                Err(zmq::Error::EINTR) => {}
                Err(source) => return Err(TransportError::Receive { source }),
            }
        }
    }

    /// Sends a message, or fails.
    pub fn send(&self, message: Message) -> Result<(), TransportError> {
        self.zmq().send_multipart(message, zmq::DONTWAIT).map_err(|source| TransportError::Send { source })
    }
}
