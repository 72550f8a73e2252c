// SPDX-License-Identifier: Apache-2.0
//! Why a change set is refused: typed here, and a return value, a sentence or a report only where it leaves the process.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use thiserror::Error;
use weft_classify::ClassifyError;
use weft_engine::feature::FeatureError;
use weft_flow::FlowError;
use weft_flow_map::FlowId;
use weft_l2::L2Error;
use weft_nodes::fib::{Ip4, Ip6, RouteError};
use weft_nodes::interface::{InterfaceError, IpVersion, by_family};
use weft_nodes::router::{RouterError, RoutesError, TableId};

use crate::links::LinkError;
use crate::value::ValueError;

/// Why one step of a change set cannot be made.
#[derive(Debug, Error)]
pub enum StepError {
    /// The registry of interfaces refuses.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// The router refuses.
    #[error(transparent)]
    Router(#[from] RoutesError),
    /// An IPv4 table refuses a route.
    #[error(transparent)]
    Ip4(RouteError<Ip4>),
    /// An IPv6 table refuses a route.
    #[error(transparent)]
    Ip6(RouteError<Ip6>),
    /// An arc refuses a feature.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// The classifier refuses.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// Bridging refuses.
    #[error(transparent)]
    L2(#[from] L2Error),
    /// Not what [`crate::ChangeSet::replace_rule_sets`] takes.
    #[error("rule set '{0}': expected a name of its own, and an interface to which it is attached")]
    OwnSet(String),
    /// There can be no flow tracker.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// Its tables cannot be handed out.
    #[error("{0}")]
    FlowTables(String),
    /// Nobody tracks flows.
    #[error("no interface tracks flows: flow enable <interface>")]
    NoFlows,
    /// Nothing is left to decide.
    #[error("flow {0} has ended")]
    FlowEnded(FlowId),
    /// What it is sent to is of the other family.
    #[error("flow {flow} is of {expected}: found a table or next hop of {found}")]
    FlowFamily {
        /// The flow.
        flow: FlowId,
        /// Where it was to be sent.
        found: IpVersion,
        /// Its family.
        expected: IpVersion,
    },
    /// Tags would be needed.
    #[error("'{0}' is a sub-interface: expected a port, or a next hop on the link of the sub-interface")]
    FlowToSub(String),
    /// A flow has few bits for where it is sent.
    #[error("next hop {found} cannot be named by a flow: expected less than {limit}")]
    FlowTarget {
        /// The next hop.
        found: u32,
        /// How many a flow can name.
        limit: u32,
    },
    /// What is below the interface refuses.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No built-in setting, and none of a plugin that is loaded.
    #[error("there is no setting '{0}'")]
    NoSuchSetting(String),
    /// No value of the setting.
    #[error("{0}: {1}")]
    Value(&'static str, #[source] ValueError),
    /// Packets of that size do not fit.
    #[error("MTU {mtu} of '{name}': expected {least} to {limit}{why}")]
    Mtu {
        /// The interface.
        name: String,
        /// What was asked for.
        mtu: u64,
        /// The smallest.
        least: u32,
        /// The largest.
        limit: u32,
        /// Where the limit comes from.
        why: &'static str,
    },
    /// A sub-interface has the MAC address of its port.
    #[error("'{0}' is a sub-interface, expected the port below, whose MAC address it has")]
    MacOfSub(String),
    /// Not the address of a station.
    #[error("an interface needs a unicast address")]
    MacNotUnicast,
    /// It has the addresses of another.
    #[error("'{0}' uses the addresses of '{1}' (unnumbered): it can have none of its own")]
    Unnumbered(String, String),
    /// It is not unnumbered, and should no longer be.
    #[error("'{0}' is not unnumbered")]
    NotUnnumbered(String),
    /// Whose addresses are to be used is the interface itself, or has none of its own.
    #[error("'{0}' cannot use the addresses of '{1}': expected an interface with addresses of its own")]
    NotNumbered(String, String),
    /// Others use its addresses.
    #[error("'{0}' cannot be unnumbered: '{1}' uses its addresses")]
    InUse(String, String),
    /// It has addresses of its own.
    #[error("'{0}' cannot be unnumbered: it has addresses of its own")]
    HasAddresses(String),
    /// Another length than the address has.
    #[error("interface '{name}' has no address {found}; it has {own}")]
    OtherLength {
        /// The interface.
        name: String,
        /// What was to be deleted.
        found: IpNet,
        /// What it has.
        own: IpNet,
    },
    /// Nothing to delete.
    #[error("{address} is no neighbour on {interface}")]
    NoSuchNeighbor {
        /// The interface.
        interface: String,
        /// Who is not there.
        address: IpAddr,
    },
    /// What is configured is not changed by what is heard.
    #[error("{address} is a static neighbour on {interface}: delete it first")]
    StaticNeighbor {
        /// The interface.
        interface: String,
        /// Who is configured.
        address: IpAddr,
    },
    /// Not what hosts of a link can be told.
    #[error("{prefix} cannot be advertised: {why}")]
    Prefix {
        /// The prefix.
        prefix: Ipv6Net,
        /// What is wrong, and what was expected.
        why: &'static str,
    },
    /// Nothing to delete.
    #[error("nothing is said of {prefix} on {interface}")]
    NoSuchPrefix {
        /// The interface.
        interface: String,
        /// The prefix.
        prefix: Ipv6Net,
    },
    /// Nothing to delete.
    #[error("{address} on {interface} is not answered for elsewhere")]
    NotProxied {
        /// The interface.
        interface: String,
        /// The station.
        address: Ipv6Addr,
    },
    /// Where a station is must be certain.
    #[error("{address} is answered for as a station on {interface} already")]
    Proxied {
        /// The interface.
        interface: String,
        /// The station.
        address: Ipv6Addr,
    },
    /// There is nothing to make a stable address from.
    #[error(
        "there is no secret to make a stable address from: expected 16 bytes or more in /etc/machine-id, or in the file that unix {{ stable-secret }} names"
    )]
    NoStableSecret,
    /// A table that the same change set adds cannot be deleted by it, nor the other way round.
    #[error("{0} table {1} cannot come and go in one change")]
    TableComesAndGoes(IpVersion, TableId),
    /// Its device is there until the change set is made.
    #[error("interface '{0}' is deleted by the same change: expected another name, or a change of its own")]
    ComesAgain(String),
    /// It was there when the change was noted.
    #[error("{0} table {1} is another by now")]
    TableGone(IpVersion, TableId),
}

impl StepError {
    pub(crate) fn unknown_table(version: IpVersion, id: TableId) -> StepError {
        by_family!(version, F => RouterError::<F>::UnknownTable(id).into())
    }
}

/// Why a change set changes nothing.
#[derive(Debug, Default)]
pub struct Refused {
    /// The steps that are at fault, in order, each with the first error that it met.
    pub steps: Vec<(usize, StepError)>,
    /// An error that is about no step in particular: there is no room for all of it.
    pub general: Option<StepError>,
}

impl Refused {
    pub(crate) fn general(error: impl Into<StepError>) -> Refused {
        Refused { steps: Vec::new(), general: Some(error.into()) }
    }

    /// The first error.
    pub fn first(&self) -> Option<&StepError> {
        self.steps.first().map(|(_, error)| error).or(self.general.as_ref())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first() {
            Some(error) => error.fmt(f),
            None => f.write_str("nothing was refused"),
        }
    }
}

impl std::error::Error for Refused {}
