// SPDX-License-Identifier: Apache-2.0
//! Bridging, as owners want it: domains, ports and entries of stations are objects. And what happens of itself: stations are
//! heard, grow old, and are forgotten.

use weft_engine::InterfaceIndex;
use weft_l2::{Domain, L2Error, Mode, Port, Rewrite, Target};
use weft_nodes::headers::MacAddr;

use crate::Control;
use crate::change_set::ChangeSet;
use crate::object::Object;
use crate::step::{Comes, DomainChange, Operation, PortChange};
use crate::value::Value;

impl DomainChange {
    pub(crate) fn make(&self, domain: &mut Domain) {
        match self {
            DomainChange::Learn(on) => domain.learn = *on,
            DomainChange::Forward(on) => domain.forward = *on,
            DomainChange::Flood(on) => domain.flood = *on,
            DomainChange::UnknownFlood(on) => domain.unknown_flood = *on,
            DomainChange::Age(minutes) => domain.age = *minutes,
            DomainChange::Limit(limit) => domain.limit = *limit,
            DomainChange::LinkGroups(groups) => domain.link_groups = *groups,
            DomainChange::Tag(tag) => tag.clone_into(&mut domain.tag),
        }
    }
}

impl PortChange {
    /// All but the mode, which the configuration judges.
    pub(crate) fn make(self, port: &mut Port) {
        match self {
            PortChange::Mode(mode) => port.mode = mode,
            PortChange::Learn(on) => port.learn = on,
            PortChange::Limit(limit) => port.limit = limit,
            PortChange::Rewrite(rewrite) => port.rewrite = rewrite,
        }
    }
}

impl ChangeSet {
    /// The owner wants a new bridge domain, which differs in these from one of which nothing is said.
    pub fn add_bridge_domain(&mut self, id: u32, changes: Vec<DomainChange>) {
        self.push(Operation::Domain(id, Comes::New, changes));
    }

    /// The owner wants a bridge domain to be so.
    pub fn change_bridge_domain(&mut self, id: u32, changes: Vec<DomainChange>) {
        self.push(Operation::Domain(id, Comes::No, changes));
    }

    /// Deletes a bridge domain that has no ports, whoever wants it.
    pub fn delete_bridge_domain(&mut self, id: u32) {
        self.delete(Object::BridgeDomain(id));
    }

    /// The owner wants an interface to be switched so. A bridge domain that is not there comes with its first port, as in VPP.
    pub fn switch(&mut self, index: InterfaceIndex, mode: Mode) {
        self.change_port(index, PortChange::Mode(mode));
    }

    /// The owner wants an interface that is switched to be so.
    pub fn change_port(&mut self, index: InterfaceIndex, change: PortChange) {
        self.push(Operation::Port(index, vec![change]));
    }

    /// The owner wants the tags of frames to be rewritten.
    pub fn rewrite_tags(&mut self, index: InterfaceIndex, rewrite: Option<Rewrite>) {
        self.change_port(index, PortChange::Rewrite(rewrite));
    }

    /// Has an interface be routed again, whoever wants something else.
    pub fn route_interface(&mut self, index: InterfaceIndex) {
        self.delete(Object::Switched(index));
    }

    /// The owner wants an entry for a station in a bridge domain.
    pub fn add_station(&mut self, domain: u32, mac: MacAddr, target: Target) {
        let value = match target {
            Target::Port(port) => Value::Interface(port),
            Target::Filter => Value::None,
        };
        self.want(Object::Station(domain, mac), value);
    }

    /// Deletes the entry of a station, whoever wants it.
    pub fn delete_station(&mut self, domain: u32, mac: MacAddr) {
        self.delete(Object::Station(domain, mac));
    }
}

/// What happens of itself, and what nobody owns.
impl Control {
    /// Learns what workers have heard, `most` notices at most; says how many there were.
    pub fn hear_stations(&mut self, most: usize) -> usize {
        self.switch.hear(most)
    }

    /// Whether [`Control::tick_stations`] has something to do.
    pub fn stations_due(&self) -> bool {
        self.switch.is_due()
    }

    /// Forgets stations that nothing was heard of, some at a time.
    pub fn tick_stations(&mut self) {
        self.switch.tick();
    }

    /// Forgets the stations that were learned, of all bridge domains.
    pub fn flush_stations(&mut self) {
        self.switch.flush_all();
    }

    /// Those of one.
    pub fn flush_stations_of(&mut self, domain: u32) -> Result<(), L2Error> {
        self.switch.flush_domain(domain)
    }

    /// Those on a port.
    pub fn flush_stations_on(&mut self, port: InterfaceIndex) {
        self.switch.flush_port(port);
    }
}
