// SPDX-License-Identifier: Apache-2.0
//! What of the dataplane a plugin can reach.

use std::net::IpAddr;

use weft_binapi::server::SessionId;
use weft_classify::{OwnedSet, RuleId};
use weft_control::{ChangeSet, Configured, Object, Purpose};
use weft_engine::{Engine, InterfaceIndex};
use weft_nodes::fib::Forward;
use weft_nodes::interface::{Interface, IpPrefix, by_family};
use weft_plugin_host::{Route, World};
use weft_stats::Combined;

use crate::binapi::Api;
use crate::state::Dataplane;

impl World for Dataplane {
    fn engine(&mut self) -> &mut Engine {
        self.engine_mut()
    }

    fn interface(&self, name: &str) -> Option<InterfaceIndex> {
        self.interfaces().find(name)
    }

    fn interface_name(&self, interface: InterfaceIndex) -> Option<String> {
        self.interfaces().get(interface).map(|interface| interface.name.clone())
    }

    fn next_interface(&self, from: InterfaceIndex) -> Option<InterfaceIndex> {
        self.interfaces().iter().map(|(index, _)| index).find(|index| *index >= from)
    }

    fn set_feature(
        &mut self,
        plugin: &str,
        arc: &str,
        node: &str,
        interface: InterfaceIndex,
        on: bool,
    ) -> Result<(), String> {
        let mut changes = ChangeSet::new(self.plugin_owner(plugin));
        match on {
            true => changes.enable_feature(interface, arc, node),
            false => {
                let (arc, feature) = (arc.to_owned(), node.to_owned());
                changes.release(Object::Feature { interface, arc, feature });
            }
        }
        self.change(&changes, Purpose::Make).map_err(|refused| refused.to_string())
    }

    fn route(
        &self,
        table: u32,
        destination: IpAddr,
        interface: Option<InterfaceIndex>,
    ) -> Result<Route, String> {
        by_family!(destination, IpAddr(destination), F => self.route_of::<F>(table, destination, interface))
    }

    fn flow_limit(&self) -> u64 {
        self.flows().settings().limit() as u64
    }

    fn set_rules(&mut self, plugin: &str, sets: &[OwnedSet]) -> Result<(), String> {
        self.set_plugin_rules(plugin, sets).map_err(|error| format!("{error:#}"))
    }

    fn rule_hits(&self, set: &str, rule: RuleId) -> Option<Combined> {
        self.rule_sets().get(set).map(|set| set.hits(rule))
    }

    fn send_event(&mut self, session: u64, event: &str, body: &[u8]) -> Result<(), String> {
        let api = self.find_part::<Api>().ok_or("the binary API is not served yet")?;
        match api.clients.send_body(SessionId(session), event, body) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("the client of session {session} has gone")),
            Err(error) => Err(format!("event '{event}': {error}")),
        }
    }
}

impl Dataplane {
    /// The first one, if there are several paths.
    fn route_of<F: Configured>(
        &self,
        table: u32,
        destination: F::Addr,
        link: Option<InterfaceIndex>,
    ) -> Result<Route, String> {
        if F::is_link_scoped(destination) {
            return self.on_link::<F>(destination, link);
        }
        let first = self.router().table_index::<F>(table).map_err(|error| error.to_string())?;
        let (mut looked_up, objects) = (first, self.router().objects());
        // A route may lead into another table, but not round in a circle for ever.
        for _ in self.router().tables::<F>() {
            let table = self.router().table::<F>(looked_up);
            let forward = table
                .and_then(|table| table.rib.longest_match(destination))
                .and_then(|route| objects.load_balances.get(route.load_balance()))
                .map(|load_balance| load_balance.buckets()[0]);
            if let Some(other) = forward.and_then(Forward::as_lookup) {
                looked_up = other;
                continue;
            }
            let local = forward == Some(Forward::LOCAL);
            let interface = match forward.and_then(Forward::as_adjacency) {
                Some(id) => objects.adjacencies.get(id).map(|next_hop| next_hop.interface),
                None if local => self.owner_of::<F>(destination),
                None => forward.and_then(Forward::as_glean),
            };
            let Some(interface) = interface else { break };
            let source = if local { Some(destination) } else { self.source_for::<F>(interface, destination) };
            let source = bytes(source.map(Into::into));
            return Ok(Route { source, interface: interface.0, table: first.0 });
        }
        Err(format!("there is no route to {destination} in table {table}"))
    }

    /// To a station on a link, by an address that says something there only.
    fn on_link<F: Configured>(
        &self,
        destination: F::Addr,
        link: Option<InterfaceIndex>,
    ) -> Result<Route, String> {
        let link =
            link.ok_or_else(|| format!("{destination} says nothing without its link: name the interface"))?;
        let interface = self.interfaces().get(link).ok_or("the interface is gone")?;
        let own = F::of(interface);
        if own.has(destination) {
            return Err(format!("{destination} is the address of {} itself", interface.name));
        }
        let source = bytes(own.link_local.map(Into::into));
        Ok(Route { source, interface: link.0, table: own.table.0 })
    }

    /// The interface that has an address.
    fn owner_of<F: Configured>(&self, address: F::Addr) -> Option<InterfaceIndex> {
        let has = |interface: &Interface| F::of(interface).addresses.iter().any(|own| own.addr() == address);
        self.interfaces().iter().find(|(_, interface)| has(interface)).map(|(index, _)| index)
    }

    /// The address that packets of our own to a destination carry when they leave there: its own, or one that it borrows; that
    /// of the destination's subnet, if it has several.
    fn source_for<F: Configured>(&self, interface: InterfaceIndex, destination: F::Addr) -> Option<F::Addr> {
        let interface = self.interfaces().get(interface)?;
        let lender = interface.unnumbered.and_then(|lender| self.interfaces().get(lender));
        let of = |interface: &Interface| {
            let own = F::of(interface);
            own.on_link(destination).map(|subnet| subnet.addr()).or_else(|| own.primary())
        };
        of(interface).or_else(|| of(lender?))
    }
}

/// As the ABI has it.
fn bytes(address: Option<IpAddr>) -> [u8; 16] {
    match address {
        Some(IpAddr::V4(address)) => address.to_ipv6_mapped().octets(),
        Some(IpAddr::V6(address)) => address.octets(),
        None => [0; 16],
    }
}
