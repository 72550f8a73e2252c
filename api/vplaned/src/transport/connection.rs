// SPDX-License-Identifier: Apache-2.0
//! A connected socket and what libzmq tells about its connection.
//!
//! libzmq connects again without a word, and to vplaned a new connection is a stranger. Only a monitor tells.

use crate::wire::Message;

use super::{Endpoint, Keys, Kind, PublicKey, Socket, Transport, TransportError};

/// A change of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It stands, the handshake included.
    Up,
    Down,
    /// The handshake failed: another protocol, or a key that the peer does not admit.
    Refused,
}

const REFUSALS: [zmq::SocketEvent; 3] = [
    zmq::SocketEvent::HANDSHAKE_FAILED_NO_DETAIL,
    zmq::SocketEvent::HANDSHAKE_FAILED_PROTOCOL,
    zmq::SocketEvent::HANDSHAKE_FAILED_AUTH,
];

/// A socket that talks to one peer.
pub struct Connection {
    // Before the socket that it watches.
    monitor: Socket,
    socket: Socket,
}

impl Connection {
    /// Begins to connect; libzmq goes on trying. `curve` is our certificate and the peer's key.
    pub fn open(
        transport: &mut Transport,
        kind: Kind,
        endpoint: &Endpoint,
        curve: Option<(&Keys, &PublicKey)>,
    ) -> Result<Connection, TransportError> {
        let socket = Socket::unconnected(transport, kind, curve)?;
        let name = transport.monitor_name();
        let monitor = transport.raw(zmq::PAIR)?;
        let changes = [zmq::SocketEvent::HANDSHAKE_SUCCEEDED, zmq::SocketEvent::DISCONNECTED];
        let mask = changes.iter().chain(&REFUSALS).fold(0, |mask, event| mask | i32::from(event.to_raw()));
        let connect = || {
            socket.zmq().monitor(&name, mask)?;
            // Before the connection, so that its first change is heard.
            monitor.connect(&name)?;
            socket.zmq().connect(endpoint.as_str())
        };
        connect().map_err(|source| TransportError::Endpoint {
            verb: "connect to",
            endpoint: endpoint.to_string(),
            source,
        })?;
        Ok(Connection { monitor: Socket::watch(monitor)?, socket })
    }

    /// The next change of the connection.
    pub fn change(&self) -> Result<Option<Change>, TransportError> {
        while let Some(message) = self.monitor.receive()? {
            // Event and value, then the endpoint.
            let Some([low, high, ..]) = message.first().map(Vec::as_slice) else { continue };
            let raw = u16::from_ne_bytes([*low, *high]);
            // Compared as numbers: the crate's conversion panics on an event it does not know.
            let change = if raw == zmq::SocketEvent::HANDSHAKE_SUCCEEDED.to_raw() {
                Change::Up
            } else if raw == zmq::SocketEvent::DISCONNECTED.to_raw() {
                Change::Down
            } else if REFUSALS.iter().any(|event| raw == event.to_raw()) {
                Change::Refused
            } else {
                continue;
            };
            return Ok(Some(change));
        }
        Ok(None)
    }

    /// Waits until [`Connection::change`] has one.
    pub async fn changed(&self) -> Result<(), TransportError> {
        self.monitor.readable().await
    }

    /// Waits until [`Connection::receive`] has a message.
    pub async fn readable(&self) -> Result<(), TransportError> {
        self.socket.readable().await
    }

    pub fn receive(&self) -> Result<Option<Message>, TransportError> {
        self.socket.receive()
    }

    pub fn send(&self, message: Message) -> Result<(), TransportError> {
        self.socket.send(message)
    }
}
