// SPDX-License-Identifier: Apache-2.0
//! The binary API of the daemon: what each message does to the [`Dataplane`].
//!
//! A file per family of messages, each with one `register` that names its handlers. A family is offered to clients whole; a
//! message of it without a handler is answered that it is not implemented. Handlers run on the main thread, between two turns of its loop, and wait for nobody.
//!
//! Numbers of messages become types at the edge: what is not one of ours is refused there.

mod af_xdp;
mod agents;
mod arp;
mod changes;
pub mod classify;
mod events;
mod feature;
mod graph;
mod interface;
mod ip;
mod ip6_nd;
mod ip_neighbor;
mod l2;
mod pg;
mod retval;
mod setting;
mod tapv2;
#[cfg(test)]
mod tests;
mod tracedump;
mod vlib;

use std::fs;
use std::path::Path;

use anyhow::Context;
use weft_binapi::ModuleInfo;
use weft_binapi::Retval;
use weft_binapi::api::MODULES;
use weft_binapi::api::ethernet_types;
use weft_binapi::api::interface_types;
use weft_binapi::server::{Clients, Host, Options, Registry, Server};
use weft_control::{ChangeSet, Setting, Value};
use weft_devices::device::DeviceKind;
use weft_engine::InterfaceIndex;
use weft_nodes::interface::{Changes, IpVersion};

use crate::config::interfaces::{Common, Interface, Settings};
use crate::config::values::MacAddress;
use crate::config::{Config, Span};
use crate::main_loop::Main;
use crate::state::Dataplane;
use crate::subsystem::{Foundation, Subsystem};
pub use agents::Agents;

/// What the dataplane knows of its API.
pub struct Api {
    /// Who is connected.
    pub clients: Clients,
    announced: events::Announced,
    watchers: ip_neighbor::Watchers,
    router_listeners: ip6_nd::RouterListeners,
}

/// All messages that are served.
fn registry() -> Registry<Dataplane> {
    let mut registry = Registry::new();
    vlib::register(&mut registry);
    agents::register(&mut registry);
    interface::register(&mut registry);
    ip::register(&mut registry);
    ip_neighbor::register(&mut registry);
    ip6_nd::register(&mut registry);
    arp::register(&mut registry);
    l2::register(&mut registry);
    feature::register(&mut registry);
    setting::register(&mut registry);
    changes::register(&mut registry);
    classify::register(&mut registry);
    graph::register(&mut registry);
    tracedump::register(&mut registry);
    pg::register(&mut registry);
    tapv2::register(&mut registry);
    af_xdp::register(&mut registry);
    registry.guests();
    registry
}

/// Listens where the configuration says. To be called on the runtime.
pub fn bind(config: &Config) -> anyhow::Result<Server<Dataplane>> {
    let options = Options {
        group: config.unix.gid.map(|gid| gid.0),
        max_clients: config.limits.api_clients as usize,
        ..Options::default()
    };
    let path = config.unix.in_runtime_dir(&config.socksvr.socket);
    Ok(Server::bind(&path, options, registry())?)
}

/// Families that shipped plugins serve while they are loaded.
const OF_PLUGINS: [&str; 3] = ["acl", "ping", "policer"];

/// Writes the `.api.json` files of the families that are served, by the daemon or by a plugin that is shipped with it, and
/// of the types that they are made of, to `core` and `plugins` below `folder`: clients look for them in
/// `/usr/share/vpp/api`.
pub fn write_files(folder: &Path) -> anyhow::Result<()> {
    let served = registry().modules();
    let is_served = |module: &&&ModuleInfo| {
        let own = served.iter().any(|served| std::ptr::eq(*served, **module));
        own || module.messages.is_empty() || OF_PLUGINS.contains(&module.name)
    };
    for module in MODULES.iter().filter(is_served) {
        let folder = folder.join(module.folder);
        let path = folder.join(format!("{}.api.json", module.name));
        let written = fs::create_dir_all(&folder)
            .and_then(|()| weft_background::file::write(&path, 0o644, module.json));
        written.with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

impl Api {
    /// Of a server that is about to serve.
    pub fn new(server: &Server<Dataplane>) -> Api {
        Api {
            clients: server.clients(),
            announced: events::Announced::default(),
            watchers: ip_neighbor::Watchers::default(),
            router_listeners: ip6_nd::RouterListeners::default(),
        }
    }
}

impl Subsystem for Api {
    fn interface_added(&mut self, _: &mut Foundation<'_>, index: InterfaceIndex) {
        self.announced.added(index);
    }

    fn interface_changed(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex, changes: Changes) {
        if changes.any_of(Changes::STATE) {
            self.announced.changed(cx.interfaces, index);
        }
    }

    /// Nobody hears of neighbours on the next interface who has asked for those on this one.
    fn interface_removed(&mut self, _: &mut Foundation<'_>, index: InterfaceIndex) {
        self.announced.removed(index);
        self.watchers.forget(index);
    }
}

impl Host for Main {
    type State = Dataplane;

    fn with<R>(&self, work: impl FnOnce(&mut Dataplane) -> R) -> R {
        Main::with(self, work)
    }
}

impl Dataplane {
    /// Tells clients what has happened.
    pub fn announce(&mut self) {
        let (control, parts) = self.split();
        if let Some(api) = parts.find_mut::<Api>() {
            api.announced.announce(&api.clients);
            api.watchers.announce(control.take_neighbor_news(), &api.clients);
            control.watch_neighbors(!api.watchers.is_empty());
            api.router_listeners.announce(control.take_router_news(), &api.clients);
            control.watch_routers(!api.router_listeners.is_empty());
        }
    }

    /// The interface that a message names.
    fn api_interface(&self, index: interface_types::InterfaceIndex) -> Result<InterfaceIndex, Retval> {
        let index = InterfaceIndex(index.0);
        self.interfaces().get(index).map(|_| index).ok_or(Retval::INVALID_SW_IF_INDEX)
    }

    /// The interface that a message names; `None`: all, which an index of ones stands for.
    fn api_interface_or_all(
        &self,
        index: interface_types::InterfaceIndex,
    ) -> Result<Option<InterfaceIndex>, Retval> {
        (index.0 != u32::MAX).then(|| self.api_interface(index)).transpose()
    }
}

/// The interface that a change names.
fn changing(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    index: interface_types::InterfaceIndex,
) -> Result<InterfaceIndex, Retval> {
    changes.interface(dataplane, InterfaceIndex(index.0)).map_err(|_| Retval::INVALID_SW_IF_INDEX)
}

/// Notes that an interface is to be created.
fn set(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    index: interface_types::InterfaceIndex,
    setting: &'static Setting,
    value: Value,
) -> Result<(), Retval> {
    let index = changing(dataplane, changes, index)?;
    changes.set(setting, index, value);
    Ok(())
}

fn create(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    settings: impl Settings,
) -> Result<interface_types::InterfaceIndex, Retval> {
    let created = Interface::new(settings).create(dataplane, changes);
    created.map(index).map_err(|error| retval::step(&error))
}

/// Notes that an interface is to be deleted, if it is of that kind.
fn delete(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    index: interface_types::InterfaceIndex,
    kind: &DeviceKind,
) -> Result<(), Retval> {
    let index = changing(dataplane, changes, index)?;
    if !dataplane.devices().is(index, kind) {
        return Err(Retval::INVALID_SW_IF_INDEX);
    }
    changes.delete_interface(dataplane, index).map_err(|error| retval::step(&error))
}

/// An interface, as messages name it.
fn index(index: InterfaceIndex) -> interface_types::InterfaceIndex {
    interface_types::InterfaceIndex(index.0)
}

/// The family that a message is about.
fn version(is_ip6: bool) -> IpVersion {
    if is_ip6 { IpVersion::V6 } else { IpVersion::V4 }
}

/// A MAC address that an interface can have.
fn station(mac: ethernet_types::MacAddress) -> Result<MacAddress, Retval> {
    match weft_nodes::headers::MacAddr(mac.0).is_station() {
        true => Ok(MacAddress(mac.0)),
        false => Err(Retval::INVALID_VALUE),
    }
}

/// The settings of a new interface.
fn common(name: &str) -> Result<Common, Retval> {
    Ok(Common::new(name.parse().map_err(|_| Retval::INVALID_VALUE)?, Span::default()))
}
