// SPDX-License-Identifier: Apache-2.0
//! The daemon's side of the binary API.
//!
//! Runs as tasks of a current-thread tokio runtime, inside a [`tokio::task::LocalSet`], beside everything else that
//! the main thread does. A message is handled between two turns of that loop, on the state that the thread owns.
//!
//! What holds for every client:
//! - Its messages are handled one at a time, in the order of their arrival, and answered in that order: a client knows
//!   the end of a dump by the answer to the ping that it has sent after it.
//! - It costs a bounded amount of memory. While its answers wait ([`Options::high_water`]), its next message is not
//!   handled, a dump is not gone on with, and in the end its socket is not read. Only events come unasked: a client
//!   that lets [`Options::backlog`] bytes pile up when there is one more is cut off.
//! - It takes the thread for [`Options::slice`] at a time; then others have their turn.
//!
//! What messages do is told by handlers in a [`Registry`].

mod batch;
mod builtin;
mod clients;
mod connection;
mod definitions;
mod outbox;
mod registry;
mod session;
mod table;
mod trace;

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tracing::info;
use weft_sockets::Listener;

pub use builtin::{CliFailure, Program, Version};
pub use clients::{ClientInfo, Clients, NoEvent};
pub use definitions::{Definitions, catalogued};
pub use registry::{Guests, Host, Progress, Purpose, Records, Refused, Registry, Running, Transactional};
pub use session::{Session, SessionId};
pub use table::Full;
pub use trace::Traced;
pub use weft_sockets::{BindError, Process};

use connection::Connection;
use registry::Handlers;

/// Clients that may wait to be accepted: as many as a machine of agents starts at once.
const BACKLOG: i32 = 128;

/// Settings of the server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Group that may use the socket beside the owner; the file mode is 0660.
    pub group: Option<u32>,
    /// Connections at a time; one more is closed.
    pub max_clients: usize,
    /// Bytes of the longest message that is taken.
    pub longest: u32,
    /// Bytes of memory for messages of all clients that have arrived in part: one that needs more while others take so much is cut
    /// off.
    pub incoming: usize,
    /// How long the rest of a message may take to come.
    pub halfway: Duration,
    /// Bytes of waiting answers at which a client is not served further until it has read some.
    pub high_water: usize,
    /// Bytes of waiting answers at which an event cuts a client off.
    pub backlog: usize,
    /// How long one client is served before others have their turn.
    pub slice: Duration,
    /// Messages that a batch may hold.
    pub batch_items: usize,
    /// Bytes that a batch may hold.
    pub batch_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            group: None,
            max_clients: 1024,
            longest: 16 << 20,
            incoming: 256 << 20,
            halfway: Duration::from_secs(30),
            high_water: 256 << 10,
            backlog: 4 << 20,
            slice: Duration::from_millis(1),
            batch_items: 2_000_000,
            batch_bytes: 512 << 20,
        }
    }
}

/// A listening socket; its file disappears with it.
pub struct Server<S: Transactional> {
    listener: Listener,
    handlers: Rc<Handlers<S>>,
    clients: Clients,
    options: Rc<Options>,
}

impl<S: Transactional> Server<S> {
    /// Listens at `path`. The file of a daemon that has died is replaced.
    ///
    /// Must be called within a tokio runtime.
    pub fn bind(path: &Path, options: Options, registry: Registry<S>) -> Result<Self, BindError> {
        let listener = Listener::bind(path, options.group, BACKLOG, "an API")?;
        let (table, handlers) = registry.finish();
        let (clients, options) = (Clients::new(table), Rc::new(options));
        Ok(Self { listener, handlers, clients, options })
    }

    /// Who is connected, and the way to send them events.
    pub fn clients(&self) -> Clients {
        self.clients.clone()
    }

    /// Serves clients until dropped. Must run inside a [`tokio::task::LocalSet`].
    pub async fn serve<H: Host<State = S>>(self, host: H) {
        loop {
            let (stream, peer, rights) = self.listener.accept().await;
            if self.clients.len() >= self.options.max_clients {
                // The protocol has no word for it.
                info!(most = self.options.max_clients, "one API client too many");
                continue;
            }
            let session = self.clients.enter((peer, rights), &self.options);
            let connection = Connection {
                stream,
                session,
                handlers: Rc::clone(&self.handlers),
                clients: self.clients.clone(),
                host: host.clone(),
                options: Rc::clone(&self.options),
            };
            tokio::task::spawn_local(connection.run());
        }
    }
}
