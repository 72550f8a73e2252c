// SPDX-License-Identifier: Apache-2.0
//! What of the dataplane a plugin can reach.

use std::net::Ipv4Addr;

use weft_binapi::server::SessionId;
use weft_classify::{OwnedSet, RuleId};
use weft_control::{ChangeSet, Object, Purpose};
use weft_engine::{Engine, InterfaceIndex};
use weft_nodes::ip4::{Forward, Ip4};
use weft_plugin_host::{Route4, World};
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

    /// The first one, if there are several paths.
    fn route4(&self, table: u32, destination: Ipv4Addr) -> Result<Route4, String> {
        let first = self.router().table_index::<Ip4>(table).map_err(|error| error.to_string())?;
        let (mut looked_up, objects) = (first, self.router().objects());
        // A route may lead into another table, but not round in a circle for ever.
        for _ in self.router().tables::<Ip4>() {
            let table = self.router().table::<Ip4>(looked_up);
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
                None if local => self.owner4(destination),
                None => forward.and_then(Forward::as_glean),
            };
            let Some(interface) = interface else { break };
            let source = if local { Some(destination) } else { self.primary4(interface) };
            let source = source.unwrap_or(Ipv4Addr::UNSPECIFIED).to_bits();
            return Ok(Route4 { interface: interface.0, source, table: first.0 });
        }
        Err(format!("there is no route to {destination} in table {table}"))
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
    /// The interface that has an address.
    fn owner4(&self, address: Ipv4Addr) -> Option<InterfaceIndex> {
        let has = |own: &[ipnet::Ipv4Net]| own.iter().any(|own| own.addr() == address);
        self.interfaces().iter().find(|(_, interface)| has(&interface.ip4.addresses)).map(|(index, _)| index)
    }

    /// The address that packets of our own carry when they leave there: its own, or the one that it borrows.
    fn primary4(&self, interface: InterfaceIndex) -> Option<Ipv4Addr> {
        let interface = self.interfaces().get(interface)?;
        let lender = interface.unnumbered.and_then(|lender| self.interfaces().get(lender));
        let addresses = interface.ip4.addresses.first().or_else(|| lender?.ip4.addresses.first());
        addresses.map(|address| address.addr())
    }
}
