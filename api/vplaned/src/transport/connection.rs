// SPDX-License-Identifier: Apache-2.0
//! A connected socket and what libzmq tells about its connection.
//!
//! libzmq connects again without a word, and to vplaned a new connection is a stranger. Only a monitor tells.
//!
//! The monitor outlives its socket: libzmq sends what it has to tell by a blocking send, from the thread that serves all
//! sockets (`socket_base_t::monitor_event`, libzmq 4.3.4), and to a monitor that is gone it would wait for ever. So a
//! monitor is retired, and closed only when libzmq has said its last word.

use crate::wire::Message;

use super::retired::{Retired, event};
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
    /// Gone only while the value is being dropped.
    open: Option<Open>,
    retired: Retired,
}

struct Open {
    // Before its monitor.
    socket: Socket,
    monitor: Socket,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(Open { socket, monitor }) = self.open.take() {
            drop(socket);
            self.retired.add(monitor);
        }
    }
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
        let changes = [
            zmq::SocketEvent::HANDSHAKE_SUCCEEDED,
            zmq::SocketEvent::DISCONNECTED,
            zmq::SocketEvent::MONITOR_STOPPED,
        ];
        let mask = changes.iter().chain(&REFUSALS).fold(0, |mask, event| mask | i32::from(event.to_raw()));
        let failed =
            |source| TransportError::Endpoint { verb: "connect to", endpoint: endpoint.to_string(), source };
        let monitor = Socket::watch(monitor)?;
        socket.zmq().monitor(&name, mask).map_err(failed)?;
        // From here on the monitor has to outlive the socket.
        let connection = Connection { open: Some(Open { socket, monitor }), retired: transport.retired() };
        let Open { socket, monitor } = connection.open_sockets();
        // The monitor first, so that the first change is heard.
        monitor
            .zmq()
            .connect(&name)
            .and_then(|()| socket.zmq().connect(endpoint.as_str()))
            .map_err(failed)?;
        Ok(connection)
    }

    fn open_sockets(&self) -> &Open {
        self.open.as_ref().expect("open until it is dropped")
    }

    /// The next change of the connection.
    pub fn change(&self) -> Result<Option<Change>, TransportError> {
        while let Some(message) = self.open_sockets().monitor.receive()? {
            let raw = event(&message);
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
        self.open_sockets().monitor.readable().await
    }

    /// Waits until [`Connection::receive`] has a message.
    pub async fn readable(&self) -> Result<(), TransportError> {
        self.open_sockets().socket.readable().await
    }

    pub fn receive(&self) -> Result<Option<Message>, TransportError> {
        self.open_sockets().socket.receive()
    }

    pub fn send(&self, message: Message) -> Result<(), TransportError> {
        self.open_sockets().socket.send(message)
    }
}
