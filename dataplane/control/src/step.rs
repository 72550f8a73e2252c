// SPDX-License-Identifier: Apache-2.0
//! The steps of a change set.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use weft_classify::{Exempt, RuleId};
use weft_engine::InterfaceIndex;
use weft_flow_map::FlowId;
use weft_l2::{LinkGroups, Mode, Rewrite};
use weft_nodes::fib::{Change, Ip4, Ip6};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{IpVersion, Reserved, TableIndex, Tags};

use crate::links::NewDevice;
use crate::object::Object;
use crate::value::Value;

/// One step. Routes come by the million, the rest does not.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Route(RouteStep),
    Other(Box<Operation>),
}

/// A change of a route of some family, in a table.
#[derive(Clone, Debug)]
pub enum RouteStep {
    Ip4(TableIndex, Change<Ip4>),
    Ip6(TableIndex, Change<Ip6>),
}

/// Anything but a route.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Want(Object, Value),
    /// For all owners.
    Delete(Object),
    /// For the one of the change set.
    Release(Object),
    /// A new interface.
    Create(Created),
    /// All addresses of an interface, of both families, for all owners.
    DeleteAddresses(InterfaceIndex),
    /// All that the owner has in a set.
    Rules(RulesOf),
    /// A station is said to be at an address.
    Tell(InterfaceIndex, IpAddr, MacAddr),
    /// What becomes of a flow.
    Decide(Decided),
    /// What a bridge domain is, which comes if it is not there and may.
    Domain(u32, Comes, Vec<DomainChange>),
    /// How an interface is switched.
    Port(InterfaceIndex, Vec<PortChange>),
}

/// Whether a bridge domain that is changed is to be a new one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Comes {
    /// It is.
    New,
    /// It is there.
    No,
}

/// What is to be another thing of a bridge domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DomainChange {
    /// Whether sources are learned.
    Learn(bool),
    /// Whether frames to known stations are forwarded.
    Forward(bool),
    /// Whether frames to groups are flooded.
    Flood(bool),
    /// Whether frames to unknown stations are flooded.
    UnknownFlood(bool),
    /// Minutes after which a station is forgotten; 0: never.
    Age(u8),
    /// Most stations that are learned.
    Limit(Option<u32>),
    /// What becomes of frames to groups of the link itself.
    LinkGroups(LinkGroups),
    /// An operator's note.
    Tag(String),
}

/// What is to be another thing of an interface that is switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortChange {
    /// How it is switched; it may have been routed before.
    Mode(Mode),
    /// Whether sources are learned.
    Learn(bool),
    /// Most stations that are learned.
    Limit(Option<u32>),
    /// What is done to tags.
    Rewrite(Option<Rewrite>),
}

/// What a new interface stands on.
#[derive(Clone, Debug)]
pub enum Below {
    /// A device.
    Device(Rc<dyn NewDevice>),
    /// A port, some of whose frames are its own.
    Port {
        /// The port.
        parent: InterfaceIndex,
        /// Number in the name: `<port>.<number>`.
        id: u32,
        /// What the frames carry.
        tags: Tags,
    },
}

/// An interface that a change set creates.
#[derive(Clone, Debug)]
pub(crate) struct Created {
    pub at: Reserved,
    pub name: String,
    pub below: Below,
}

/// All rules of one owner in a set.
#[derive(Clone, Debug)]
pub(crate) struct RulesOf {
    pub set: Arc<str>,
    pub exempt: Exempt,
    pub rules: Vec<(RuleId, Value)>,
}

/// Where a flow is sent, or what else becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// As the tables say.
    Forward,
    /// Nowhere.
    Drop,
    /// As another table says, which is of the flow's family.
    Table(IpVersion, TableIndex),
    /// Out by a port.
    Interface(InterfaceIndex),
    /// To a neighbour.
    NextHop(InterfaceIndex, IpAddr),
}

/// What is decided about one flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decided {
    pub flow: FlowId,
    pub decision: Decision,
    pub mark: Option<u32>,
}
