// SPDX-License-Identifier: Apache-2.0
//! The binary API of the daemon: what each message does to the [`Dataplane`].
//!
//! A file per family of messages, each with one `register` that names its handlers; a message without a handler is not
//! offered to clients. Handlers run on the main thread, between two turns of its loop, and wait for nobody.

mod vlib;

use std::rc::Rc;

use weft_binapi::Retval;
use weft_binapi::server::{Clients, Host, Options, Registry, Server, Transactional};
use weft_cli::CommandTree;

use crate::config::Config;
use crate::main_loop::Main;
use crate::state::Dataplane;

/// What the dataplane knows of its API.
pub struct Api {
    /// Who is connected.
    pub clients: Clients,
    /// For messages that are commands.
    commands: Rc<CommandTree<Dataplane>>,
}

/// All messages that are served.
fn registry() -> Registry<Dataplane> {
    let mut registry = Registry::new();
    vlib::register(&mut registry);
    registry
}

/// Listens where the configuration says. To be called on the runtime.
pub fn bind(config: &Config) -> anyhow::Result<Server<Dataplane>> {
    let options = Options { group: config.unix.gid.map(|gid| gid.0), ..Options::default() };
    let path = config.unix.in_runtime_dir(&config.socksvr.socket);
    Ok(Server::bind(&path, options, registry())?)
}

impl Api {
    /// Of a server that is about to serve.
    pub fn new(server: &Server<Dataplane>, commands: Rc<CommandTree<Dataplane>>) -> Api {
        Api { clients: server.clients(), commands }
    }
}

impl Host for Main {
    type State = Dataplane;

    fn with<R>(&self, work: impl FnOnce(&mut Dataplane) -> R) -> R {
        Main::with(self, work)
    }
}

impl Transactional for Dataplane {
    type Transaction = ();

    fn begin(&mut self) {}

    fn commit(&mut self, (): ()) -> Result<(), Retval> {
        Ok(())
    }

    fn roll_back(&mut self, (): ()) {}
}
