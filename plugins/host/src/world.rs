// SPDX-License-Identifier: Apache-2.0
//! What of Weft a plugin can reach on the main thread. Implemented by the daemon, and by tests.

use std::net::IpAddr;

use weft_classify::{OwnedSet, RuleId};
use weft_engine::{Engine, InterfaceIndex};
pub use weft_plugin_sdk::abi::Route;
use weft_stats::Combined;

/// The main thread's state.
pub trait World {
    /// The engine.
    fn engine(&mut self) -> &mut Engine;
    /// The interface of that name.
    fn interface(&self, name: &str) -> Option<InterfaceIndex>;
    /// The name of an interface.
    fn interface_name(&self, interface: InterfaceIndex) -> Option<String>;
    /// The first interface with an index of at least `from`.
    fn next_interface(&self, from: InterfaceIndex) -> Option<InterfaceIndex>;
    /// Has a plugin enable or disable a feature on an interface; an error is a sentence.
    fn set_feature(
        &mut self,
        plugin: &str,
        arc: &str,
        node: &str,
        interface: InterfaceIndex,
        on: bool,
    ) -> Result<(), String>;
    /// How packets of this host leave that go to `destination` by a forwarding table; to a station on the link of `interface`, if
    /// the address says something on its own link only. An error is a sentence.
    fn route(
        &self,
        _table: u32,
        destination: IpAddr,
        _interface: Option<InterfaceIndex>,
    ) -> Result<Route, String> {
        Err(format!("there is no route to {destination}: nothing is routed here"))
    }
    /// How many flows can be followed at a time.
    fn flow_limit(&self) -> u64 {
        0
    }
    /// Sends an event to the client of a session of the binary API; an error is a sentence.
    fn send_event(&mut self, session: u64, event: &str, body: &[u8]) -> Result<(), String>;
    /// The rule sets of a plugin are these from now on, and no others; an error is a sentence. A world without a
    /// classifier refuses.
    fn set_rules(&mut self, plugin: &str, _sets: &[OwnedSet]) -> Result<(), String> {
        Err(format!("plugin '{plugin}' has rules, but there is no classifier"))
    }
    /// What a rule has met; `None` if there is no such set.
    fn rule_hits(&self, _set: &str, _rule: RuleId) -> Option<Combined> {
        None
    }
}
