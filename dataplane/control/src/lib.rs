// SPDX-License-Identifier: Apache-2.0
//! What is configured, and the one way to change it.
//!
//! The command line, the binary API, vplaned, startup.conf and plugins want the same things: addresses, routes,
//! neighbours, tables, features, settings. Each of them translates what it is told into a [`ChangeSet`]; nobody but
//! [`Control::commit`] touches a table. So there is one set of rules, and what one front end can do all can.
//!
//! - A change set is checked, prepared and published at once, or not at all; or it is only tried. An error names the
//!   step that it is about ([`Refused`]).
//! - Every object has owners ([`Owner`]). Two owners can want the same object: it goes when the last one lets it go. Every
//!   owner can be resynchronised by mark and sweep ([`Control::begin_resync`]).
//! - Whoever deletes explicitly, as an operator or a client of the API does, deletes for all owners, as in Linux and in
//!   VPP. Routes are the exception: each owner has a route of its own to a prefix, and deletes that.
//! - What can be set is listed once, in [`settings`].
//!
//! There is no socket here, no text of a front end, and nothing that waits. Everything is done on the main thread.

#![deny(unsafe_code)]

mod change_set;
mod claims;
mod commit;
mod error;
mod events;
mod family;
mod flows;
mod l2;
mod links;
mod object;
mod resync;
mod rule;
mod rules;
pub mod settings;
mod stable;
mod step;
mod value;

use weft_classify::{Rule, RuleSets};
use weft_engine::{Engine, InterfaceIndex, Lease};
use weft_l2::Switch;
use weft_nodes::graph::Nodes;
use weft_nodes::interface::{Interfaces, IpVersion, TableIndex};
use weft_nodes::ip4::IcmpRates;
use weft_nodes::router::Router;

pub use change_set::ChangeSet;
pub use claims::Replay;
pub use commit::{Purpose, Trial};
pub use error::{Refused, StepError};
pub use family::Configured;
pub use flows::{Flows, ServeTables, version_of};
pub use links::{Described, Foundation, LinkError, Links, NewDevice, Opened, Undo};
pub use object::Object;
pub use rule::WantedRule;
pub use settings::{Scope, Setting};
pub use stable::StableSecret;
pub use step::{Below, Decision, DomainChange, PortChange};
pub use value::{Grammar, Value, ValueError};
pub use weft_nodes::ip4::Owner;

use claims::Claims;

/// The configured state of a dataplane. Whoever is given a reference to a part of it reads; tables are changed by change
/// sets ([`Control::commit`]), and by what happens of itself (the methods in `events`).
pub struct Control {
    engine: Engine,
    interfaces: Interfaces,
    router: Router,
    nodes: Nodes,
    rule_sets: RuleSets,
    flows: Flows,
    switch: Switch,
    icmp: IcmpRates,
    stable_secret: Option<StableSecret>,
    claims: Claims,
    declared: settings::Declared,
    deleted_tables: Vec<(IpVersion, TableIndex, Lease)>,
    deleted_interfaces: Vec<InterfaceIndex>,
}

impl Control {
    /// Of a dataplane in which nothing is configured yet.
    pub fn new(
        engine: Engine,
        interfaces: Interfaces,
        router: Router,
        nodes: Nodes,
        rule_sets: RuleSets,
        flows: Flows,
        switch: Switch,
    ) -> Control {
        Control {
            engine,
            interfaces,
            router,
            nodes,
            rule_sets,
            flows,
            switch,
            icmp: IcmpRates::default(),
            stable_secret: None,
            claims: Claims::default(),
            declared: settings::Declared::default(),
            deleted_tables: Vec::new(),
            deleted_interfaces: Vec::new(),
        }
    }

    /// What stable link-local addresses are made from. Those that are there stay.
    pub fn set_stable_secret(&mut self, secret: Option<StableSecret>) {
        self.stable_secret = secret;
    }

    /// Graph, buffers, counters, and a hold on each worker.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The same, for those who bring nodes, arcs and counters or ask workers: devices, plugins, the packet generator,
    /// captures and traces. Features of interfaces are none of theirs: those are objects of change sets.
    pub fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Interfaces.
    pub fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// Tables, routes, neighbours.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Classifier rules.
    pub fn rule_sets(&self) -> &RuleSets {
        &self.rule_sets
    }

    /// Bridge domains.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// What those may use who keep something of interfaces.
    pub fn foundation(&mut self) -> Foundation<'_> {
        Foundation { engine: &mut self.engine, interfaces: &self.interfaces }
    }

    /// Who wants an object, the one that has its way last.
    pub fn owners(&self, object: &Object) -> Vec<Owner> {
        self.claims.get(object).map_or_else(Vec::new, |entry| entry.owners().collect())
    }

    /// Every object with its owners.
    pub fn owned(&self) -> impl Iterator<Item = (&Object, Vec<Owner>)> {
        self.claims.iter().map(|(object, entry)| (object, entry.owners().collect()))
    }

    /// What an owner has said of an object.
    pub fn claim_of(&self, object: &Object, owner: Owner) -> Option<&Value> {
        self.claims.get(object)?.claim_of(owner)
    }

    /// Whether an owner wants a rule of some kind.
    pub fn wants_rules(&self, owner: Owner, kind: impl Fn(&Rule) -> bool) -> bool {
        self.claims.iter().any(|(_, entry)| match entry.claim_of(owner) {
            Some(Value::Rule(rule)) => kind(&rule.rule),
            _ => false,
        })
    }

    /// Whether anybody but `owner` has said something of an object.
    pub fn is_claimed_beside(&self, object: &Object, owner: Owner) -> bool {
        self.claims.get(object).is_some_and(|entry| entry.owners().any(|other| other != owner))
    }

    /// What an owner wants on an interface.
    pub fn wanted_on(&self, interface: InterfaceIndex, owner: Owner) -> Vec<Object> {
        let of_owner = self.claims.iter().filter(|(_, entry)| entry.claim_of(owner).is_some());
        of_owner
            .map(|(object, _)| object)
            .filter(|object| object.interface() == Some(interface))
            .cloned()
            .collect()
    }

    /// Features have left the graph with the plugin that brought them: nobody can want them any more.
    pub fn forget_lost_features(&mut self) {
        let features = self.engine.features();
        self.claims.retain(|object| match object {
            Object::Feature { arc, feature, .. } => {
                features.arc(arc).is_ok_and(|arc| features.has_feature(arc, feature))
            }
            _ => true,
        });
    }

    /// An interface is deleted: what is kept here by its index goes.
    fn interface_gone(&mut self, index: InterfaceIndex) {
        let Control { router, nodes, engine, interfaces, .. } = self;
        router.interface_gone(engine, interfaces, index);
        if let Err(error) = nodes.values.interface_leaves(engine, index) {
            tracing::warn!("what nodes read of interface {index}: {error}");
        }
        self.flows_leave(index);
        self.claims.await_nothing_on(index);
        self.declared.forget(index);
        self.deleted_interfaces.push(index);
    }

    /// Name of an interface, for messages.
    pub fn interface_name(&self, index: InterfaceIndex) -> String {
        let interface = self.interfaces.get(index);
        interface.map_or_else(|| format!("interface {index}"), |interface| interface.name.clone())
    }
}
