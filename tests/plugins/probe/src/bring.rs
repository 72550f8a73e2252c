// SPDX-License-Identifier: Apache-2.0
//! An input node that brings packets when it is told to: by a socket, which wakes the first worker if it sleeps.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use weft_plugin_sdk::{Done, Node, Plugin, PluginNode, Result, Setup, Thread, Vector, Wait, edges, events};

/// The worker that brings them.
const WORKER: Thread = Thread(1);

edges! { enum Next { Input => "ip4-input" } }

events! {
    enum Event {
        /// packets that the probe has brought
        Brought = "brought", Info;
    }
}

/// The main thread's end.
pub struct Orders(UnixStream);

impl Orders {
    /// Has so many packets brought.
    pub fn order(&mut self, count: u8) -> Result<()> {
        Ok(self.0.write_all(&[count])?)
    }
}

/// Registers the node.
pub fn register<P: Plugin>(setup: &mut Setup<'_, P>) -> Result<Orders> {
    let (orders, socket) = UnixStream::pair()?;
    socket.set_nonblocking(true)?;
    let socket = Arc::new(Mutex::new(Some(socket)));
    let make = move |thread| {
        let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        Bringer { socket: if thread == WORKER { socket.take() } else { None } }
    };
    setup.node(Node::input("probe-input", make).edges::<Next>().events::<Event>())?;
    Ok(Orders(orders))
}

struct Bringer {
    /// Of the one worker.
    socket: Option<UnixStream>,
}

impl PluginNode for Bringer {
    fn process(&mut self, mut vector: Vector<'_>) -> Done {
        let mut counts = [0; 16];
        let read = self.socket.as_mut().map(|socket| socket.read(&mut counts));
        let counts = match read {
            Some(Ok(read)) => &counts[..read],
            Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => panic!("the socket fails: {error}"),
            _ => return vector.pass(),
        };
        for _ in 0..counts.iter().map(|count| u32::from(*count)).sum() {
            // No bytes at all: ip4-input counts them.
            if vector.originate(Next::Input, |_| true) {
                vector.event(Event::Brought, 1);
            }
        }
        vector.pass()
    }

    fn wait(&mut self) -> Wait {
        Wait { fd: self.socket.as_ref().map(AsRawFd::as_raw_fd), ..Wait::default() }
    }
}
