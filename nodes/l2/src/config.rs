// SPDX-License-Identifier: Apache-2.0
//! What is configured, as plain data: domains, what each interface is to them, and entries of operators.
//!
//! A change set works on a copy ([`Config`]), where each method judges one step; [`crate::Switch::apply`] makes it so.

use std::collections::BTreeMap;

use thiserror::Error;
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;

use crate::tags::Rewrite;

/// Highest id of a domain, as in VPP: a VNI has as many bits.
pub const HIGHEST_ID: u32 = (1 << 24) - 1;

/// Why a domain or a port cannot be so.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum L2Error {
    /// No id of a domain.
    #[error("bridge domain {0}: expected 1 to {HIGHEST_ID}")]
    Id(u32),
    /// There is one.
    #[error("bridge domain {0} exists already")]
    Exists(u32),
    /// There is none.
    #[error("there is no bridge domain {0}")]
    Unknown(u32),
    /// Ports are in it.
    #[error("bridge domain {0} has {1} ports: take them out first")]
    HasPorts(u32, usize),
    /// More than can be numbered.
    #[error("no room for bridge domain {0}: there are {1} already")]
    TooMany(u32, usize),
    /// A loopback is a routed port or nothing.
    #[error("'{0}' is a loopback interface: it can be the BVI of a bridge domain, and nothing else of it")]
    OnlyBvi(String),
    /// A BVI is a loopback.
    #[error("'{0}' cannot be a BVI: expected a loopback interface")]
    NotLoopback(String),
    /// Another one is.
    #[error("bridge domain {0} has a BVI already: {1}")]
    HasBvi(u32, String),
    /// Another one is.
    #[error("bridge domain {0} has an interface for unknown unicast already: {1}")]
    HasUplink(u32, String),
    /// Its addresses would not be reached.
    #[error("'{0}' cannot be connected to itself")]
    ToItself(String),
    /// It has no link.
    #[error("'{0}' is a loopback interface, expected one with a link")]
    NoLink(String),
    /// No interface of that name.
    #[error("there is no interface '{0}'")]
    NoInterface(String),
    /// Not in the domain of an entry.
    #[error("'{0}' is no port of bridge domain {1}")]
    NotAPort(String, u32),
    /// No entry of an operator.
    #[error("bridge domain {0} has no entry for {1} that was configured")]
    NoEntry(u32, MacAddr),
    /// Not one station.
    #[error("{0} is not the MAC address of a station")]
    NotAStation(MacAddr),
    /// Tags that its frames do not have cannot be taken off.
    #[error("'{0}' has frames with {1} VLAN tags: {2} cannot be taken off")]
    FewTags(String, usize, usize),
    /// Neither switched nor connected.
    #[error("'{0}' is routed: expected a port of a bridge domain, or one that is cross-connected")]
    NotSwitched(String),
    /// The table is not large enough.
    #[error("no room for {found} configured MAC addresses: limits {{ l2-macs {limit} }}")]
    Full {
        /// How many there would be.
        found: usize,
        /// The setting.
        limit: usize,
    },
    /// There is no memory for the table.
    #[error("{0}")]
    Memory(String),
}

/// A bridge domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    /// Whether sources are learned.
    pub learn: bool,
    /// Whether frames to known stations are forwarded.
    pub forward: bool,
    /// Whether frames to groups and to all are flooded.
    pub flood: bool,
    /// Whether frames to stations that are not known are flooded.
    pub unknown_flood: bool,
    /// Minutes after which a station is forgotten of which nothing is heard; 0: never.
    pub age: u8,
    /// Most stations that are learned; `None`: as many as the table has room for.
    pub limit: Option<u32>,
    /// What becomes of frames to 01-80-C2-00-00-00 to 0F, which no switch forwards (IEEE 802.1Q table 8-1).
    pub link_groups: LinkGroups,
    /// An operator's note.
    pub tag: String,
}

/// See [`Domain::link_groups`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LinkGroups {
    /// They are for the host below the port, if there is one: LLDP, LACP, STP.
    #[default]
    Punt,
    /// They end.
    Drop,
    /// They pass, as between the ports of a cable.
    Forward,
}

/// Minutes of [`Domain::age`] unless something else is said (IEEE 802.1Q table 8-6).
pub const AGE: u8 = 5;

impl Default for Domain {
    fn default() -> Domain {
        Domain {
            learn: true,
            forward: true,
            flood: true,
            unknown_flood: true,
            age: AGE,
            limit: None,
            link_groups: LinkGroups::default(),
            tag: String::new(),
        }
    }
}

/// What a port is to its domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Role {
    /// One of the stations' ports.
    #[default]
    Normal,
    /// The routed port: a loopback, by which this host is a station of the domain.
    Bvi,
    /// The one that frames to unknown stations go to, in place of all.
    Uplink,
}

/// What an interface is, if it is not routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// A port of a domain.
    Bridged {
        /// The domain's id.
        domain: u32,
        /// What it is there.
        role: Role,
        /// Its split-horizon group; 0: none.
        group: u8,
    },
    /// All that arrives leaves by this interface.
    Crossed(InterfaceIndex),
}

/// An interface that is switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Port {
    /// How.
    pub mode: Mode,
    /// Whether sources are learned there.
    pub learn: bool,
    /// Most stations that are learned there.
    pub limit: Option<u32>,
    /// What is done to its tags.
    pub rewrite: Option<Rewrite>,
}

impl Port {
    /// A port on which nothing else is set.
    pub fn new(mode: Mode) -> Port {
        Port { mode, learn: true, limit: None, rewrite: None }
    }

    /// The domain that it is in.
    pub fn domain(&self) -> Option<u32> {
        match self.mode {
            Mode::Bridged { domain, .. } => Some(domain),
            Mode::Crossed(_) => None,
        }
    }
}

/// Where an entry of an operator leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// To a port.
    Port(InterfaceIndex),
    /// Nowhere: frames from and to the station are dropped.
    Filter,
}

/// Entries of operators that come, or go (`None`).
pub type StaticChanges = BTreeMap<(u32, MacAddr), Option<Target>>;

/// Domains and ports. An id that is not here is no domain, and an interface that is not here is routed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// By id.
    pub domains: BTreeMap<u32, Domain>,
    /// By interface.
    pub ports: BTreeMap<InterfaceIndex, Port>,
}

/// What [`Config::set_mode`] has to know of an interface.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is a loopback.
    pub is_loopback: bool,
}

impl Config {
    /// A domain comes, or is another one from now on.
    pub fn set_domain(&mut self, id: u32, domain: Domain) -> Result<(), L2Error> {
        if !(1..=HIGHEST_ID).contains(&id) {
            return Err(L2Error::Id(id));
        }
        self.domains.insert(id, domain);
        Ok(())
    }

    /// A domain goes, which has no ports any more.
    pub fn remove_domain(&mut self, id: u32) -> Result<(), L2Error> {
        self.domain(id)?;
        match self.members(id).count() {
            0 => drop(self.domains.remove(&id)),
            ports => return Err(L2Error::HasPorts(id, ports)),
        }
        Ok(())
    }

    /// A domain.
    pub fn domain(&self, id: u32) -> Result<&Domain, L2Error> {
        self.domains.get(&id).ok_or(L2Error::Unknown(id))
    }

    /// The ports of a domain.
    pub fn members(&self, id: u32) -> impl Iterator<Item = (InterfaceIndex, Role, u8)> {
        self.ports.iter().filter_map(move |(index, port)| match port.mode {
            Mode::Bridged { domain, role, group } if domain == id => Some((*index, role, group)),
            _ => None,
        })
    }

    /// An interface is switched from now on, in this way. `name` names others, for errors.
    pub fn set_mode(
        &mut self,
        index: InterfaceIndex,
        facts: Facts<'_>,
        mode: Mode,
        name: impl Fn(InterfaceIndex) -> String,
    ) -> Result<(), L2Error> {
        match mode {
            Mode::Bridged { domain, role, .. } => {
                self.domain(domain)?;
                match (facts.is_loopback, role) {
                    (true, Role::Normal | Role::Uplink) => {
                        return Err(L2Error::OnlyBvi(facts.name.to_owned()));
                    }
                    (false, Role::Bvi) => return Err(L2Error::NotLoopback(facts.name.to_owned())),
                    _ => {}
                }
                let mut others = self.members(domain).filter(|(other, ..)| *other != index);
                let taken = others.find(|(_, its, _)| *its == role && role != Role::Normal);
                match (taken, role) {
                    (Some((other, ..)), Role::Bvi) => return Err(L2Error::HasBvi(domain, name(other))),
                    (Some((other, ..)), _) => return Err(L2Error::HasUplink(domain, name(other))),
                    (None, _) => {}
                }
            }
            Mode::Crossed(_) if facts.is_loopback => return Err(L2Error::NoLink(facts.name.to_owned())),
            Mode::Crossed(to) if to == index => return Err(L2Error::ToItself(facts.name.to_owned())),
            Mode::Crossed(_) => {}
        }
        match self.ports.get_mut(&index) {
            Some(port) => port.mode = mode,
            None => drop(self.ports.insert(index, Port::new(mode))),
        }
        Ok(())
    }

    /// The interfaces that are connected to one that goes.
    pub fn crossed_to(&self, index: InterfaceIndex) -> impl Iterator<Item = InterfaceIndex> {
        self.ports.iter().filter(move |(_, port)| port.mode == Mode::Crossed(index)).map(|(from, _)| *from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str) -> Facts<'_> {
        Facts { name, is_loopback: name.starts_with("loop") }
    }

    fn bridged(domain: u32, role: Role) -> Mode {
        Mode::Bridged { domain, role, group: 0 }
    }

    #[test]
    fn a_domain_has_one_routed_port_and_one_uplink() {
        let mut config = Config::default();
        let name = |index: InterfaceIndex| format!("i{index}");
        let set = |config: &mut Config, index, facts, mode| {
            config.set_mode(InterfaceIndex(index), facts, mode, name)
        };
        assert_eq!(set(&mut config, 1, facts("p1"), bridged(7, Role::Normal)), Err(L2Error::Unknown(7)));
        assert_eq!(config.set_domain(0, Domain::default()), Err(L2Error::Id(0)));
        assert_eq!(config.set_domain(HIGHEST_ID + 1, Domain::default()), Err(L2Error::Id(1 << 24)));
        config.set_domain(7, Domain::default()).expect("an id");
        for (index, name, role, expected) in [
            (1, "p1", Role::Normal, Ok(())),
            (2, "p2", Role::Uplink, Ok(())),
            (3, "p3", Role::Uplink, Err(L2Error::HasUplink(7, "i2".into()))),
            (2, "p2", Role::Uplink, Ok(())),
            (4, "loop4", Role::Bvi, Ok(())),
            (5, "loop5", Role::Bvi, Err(L2Error::HasBvi(7, "i4".into()))),
            (5, "loop5", Role::Normal, Err(L2Error::OnlyBvi("loop5".into()))),
            (6, "p6", Role::Bvi, Err(L2Error::NotLoopback("p6".into()))),
        ] {
            assert_eq!(set(&mut config, index, facts(name), bridged(7, role)), expected, "{name}");
        }
        assert_eq!(config.remove_domain(7), Err(L2Error::HasPorts(7, 3)));
        config.ports.clear();
        assert_eq!(config.remove_domain(7), Ok(()));
        assert_eq!(config.remove_domain(7), Err(L2Error::Unknown(7)));
    }

    #[test]
    fn a_cross_connection_needs_two_interfaces_with_links() {
        let mut config = Config::default();
        let mut set = |index, name, to| {
            config.set_mode(InterfaceIndex(index), facts(name), Mode::Crossed(InterfaceIndex(to)), |_| {
                String::new()
            })
        };
        assert_eq!(set(1, "p1", 2), Ok(()));
        assert_eq!(set(1, "p1", 1), Err(L2Error::ToItself("p1".into())));
        assert_eq!(set(3, "loop0", 1), Err(L2Error::NoLink("loop0".into())));
        assert_eq!(config.crossed_to(InterfaceIndex(2)).collect::<Vec<_>>(), [InterfaceIndex(1)]);
    }
}
