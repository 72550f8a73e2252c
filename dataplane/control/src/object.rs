// SPDX-License-Identifier: Apache-2.0
//! What can be wanted. Who wants it is in `claims`.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv6Net};
use weft_classify::{Direction, RuleId};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::IpVersion;
use weft_nodes::router::{Routed, TableId};

use crate::settings::Setting;

/// What can be wanted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Object {
    /// A feature of an arc, on an interface.
    Feature {
        /// Where.
        interface: InterfaceIndex,
        /// The arc.
        arc: String,
        /// The feature.
        feature: String,
    },
    /// A static neighbour; its value is a MAC address.
    Neighbor(InterfaceIndex, IpAddr),
    /// A station on the link of an interface, which is answered for on links that have its subnet.
    Proxied(InterfaceIndex, Ipv6Addr),
    /// A prefix that hosts of a link are told of; its value says what.
    Prefix(InterfaceIndex, Ipv6Net),
    /// An address of an interface, with its subnet.
    Address(InterfaceIndex, IpNet),
    /// A setting, of an interface or of all.
    Setting(&'static Setting, Option<InterfaceIndex>),
    /// That packets of an interface meet a rule set; its value is the set's name.
    Attachment(InterfaceIndex, Direction),
    /// A rule of a set.
    Rule(Arc<str>, RuleId),
    /// A rule set; its value says who does not meet it.
    RuleSet(Arc<str>),
    /// A bridge domain, by its id; its value is what is configured of it.
    BridgeDomain(u32),
    /// That an interface is switched; its value says how.
    Switched(InterfaceIndex),
    /// An entry for a station in a bridge domain; its value is the port, or nothing: its frames are dropped.
    Station(u32, MacAddr),
    /// A forwarding table; its value is its name.
    Table(IpVersion, TableId),
    /// An interface, which the one who has created it owns.
    Interface(InterfaceIndex),
}

impl Object {
    /// A table of a family.
    pub fn table<F: Routed>(id: TableId) -> Object {
        Object::Table(F::VERSION, id)
    }

    /// The interface that it is on.
    pub fn interface(&self) -> Option<InterfaceIndex> {
        match self {
            Object::Feature { interface, .. }
            | Object::Neighbor(interface, _)
            | Object::Address(interface, _)
            | Object::Proxied(interface, _)
            | Object::Prefix(interface, _)
            | Object::Interface(interface)
            | Object::Switched(interface)
            | Object::Attachment(interface, _) => Some(*interface),
            Object::Setting(_, interface) => *interface,
            Object::Table(..)
            | Object::Rule(..)
            | Object::RuleSet(_)
            | Object::BridgeDomain(_)
            | Object::Station(..) => None,
        }
    }
}

/// Each family has its own tables.
pub(crate) type TableKey = (IpVersion, TableId);
