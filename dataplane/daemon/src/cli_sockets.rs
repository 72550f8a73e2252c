// SPDX-License-Identifier: Apache-2.0
//! Where commands come in: the socket of `weftctl`, and those of `vppctl` and telnet. Main thread.

use std::fs::create_dir_all;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::spawn_local;
use weft_cli::server::{Options, Server, Service};
use weft_cli::vppctl::{
    self,
    server::{Endpoint, Settings},
};

use crate::VERSION;
use crate::config::Config;
use crate::config::unix::CliListen;

/// How long a client may leave an answer where it is.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Sockets that listen.
pub struct Sockets {
    weftctl: Server,
    vppctl: Vec<vppctl::server::Server>,
}

impl Sockets {
    /// Must be called within a tokio runtime.
    pub fn bind(config: &Config) -> Result<Sockets> {
        let unix = &config.unix;
        let group = unix.gid.map(|gid| gid.0);
        let max_clients = config.limits.cli_clients as usize;
        let options = Options {
            prompt: Some(unix.prompt()),
            group,
            max_clients,
            write_timeout: WRITE_TIMEOUT,
            ..Options::new(format!("weft {VERSION}"))
        };
        let weftctl = Server::bind(&unix.in_runtime_dir(&unix.weftctl_listen), options)?;
        let mut session = unix.terminal.clone();
        session.prompt = unix.cli_prompt.clone().unwrap_or(session.prompt);
        let settings = Settings { session, group, max_clients, write_timeout: WRITE_TIMEOUT };
        let mut vppctl = Vec::new();
        for listen in &unix.cli_listen {
            let endpoint = match listen {
                CliListen::Path(path) => {
                    let path = unix.in_runtime_dir(path);
                    make_parent(&path)?;
                    Endpoint::Path(path)
                }
                CliListen::Tcp { host, port } => Endpoint::Address(resolve(host, *port)?),
            };
            vppctl.push(vppctl::server::Server::bind(&endpoint, settings.clone())?);
        }
        Ok(Sockets { weftctl, vppctl })
    }

    /// Serves clients. Must run inside a [`tokio::task::LocalSet`].
    pub fn serve(self, service: Rc<dyn Service>) {
        spawn_local(self.weftctl.serve(Rc::clone(&service)));
        for server in self.vppctl {
            spawn_local(server.serve(Rc::clone(&service)));
        }
    }
}

/// Makes the directory of a socket, if it is one of those that do not outlive a boot.
fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if path.starts_with("/run") => {
            create_dir_all(parent).with_context(|| format!("make the directory {}", parent.display()))
        }
        _ => Ok(()),
    }
}

/// The address to listen at. Whoever reaches it may do anything: there is no password.
pub(crate) fn resolve(host: &str, port: u16) -> Result<SocketAddr> {
    if host.is_empty() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let found = (host, port).to_socket_addrs().with_context(|| format!("cli-listen {host}:{port}"))?;
    // Of the names of this machine, the IPv4 one: telnet tries it too, whatever it tries first.
    let address = found.min_by_key(SocketAddr::is_ipv6);
    let address = address.with_context(|| format!("cli-listen {host}:{port}: the name has no address"))?;
    if !address.ip().is_loopback() {
        tracing::warn!("cli-listen {address}: anybody who reaches this address can give any command");
    }
    Ok(address)
}
