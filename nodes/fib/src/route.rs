// SPDX-License-Identifier: Apache-2.0
//! What a route is: the words of the control plane, checked before they reach the RIB.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU16;

use thiserror::Error;
use weft_engine::InterfaceIndex;
use weft_interface::{Owner, TableIndex};

use crate::family::Family;
use crate::{DropKind, Forward, IpPrefix, MAX_FORWARDS};

/// Which owner wins where several have a route for one prefix: the lowest, and among equals the lowest owner.
/// Other systems call it metric or administrative distance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Preference(pub u32);

/// What a destination is to an address of this host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AddressRole {
    /// The address itself, or one that means all hosts of its subnet: for this host.
    Host,
    /// The address of the subnet, which no host may have: dropped.
    Network,
}

impl fmt::Display for AddressRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AddressRole::Host => "local",
            AddressRole::Network => "blackhole",
        })
    }
}

/// Where a path leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PathTarget<F: Family> {
    /// To a router on the link of `interface`, or, without an interface, to wherever the table forwards
    /// packets to `address` (a recursive path).
    Via {
        /// The router.
        address: F::Addr,
        /// Its link.
        interface: Option<InterfaceIndex>,
    },
    /// Destinations are on the link themselves.
    Connected(InterfaceIndex),
    /// Destinations are this host.
    Local,
    /// Destinations are special because of an address of `interface`, as long as that is not down.
    OwnAddress {
        /// Whose address it is.
        interface: InterfaceIndex,
        /// What the destination is to it.
        role: AddressRole,
    },
    /// The host sends it on, over an interface of its own.
    Punt,
    /// Nowhere.
    Drop(DropKind),
    /// To wherever another table forwards the packet.
    Table(TableIndex),
    /// To an object of a registered kind ([`ForwardKind::to`](crate::ForwardKind::to)).
    Object(Forward),
}

impl<F: Family> PathTarget<F> {
    /// The interface that it leads over, or whose address it is.
    pub fn interface(&self) -> Option<InterfaceIndex> {
        match *self {
            PathTarget::Via { interface, .. } => interface,
            PathTarget::Connected(interface) | PathTarget::OwnAddress { interface, .. } => Some(interface),
            PathTarget::Local
            | PathTarget::Punt
            | PathTarget::Drop(_)
            | PathTarget::Table(_)
            | PathTarget::Object(_) => None,
        }
    }
}

impl<F: Family> fmt::Display for PathTarget<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathTarget::Via { address, interface: Some(interface) } => {
                write!(f, "via {address} interface {interface}")
            }
            PathTarget::Via { address, interface: None } => write!(f, "via {address}"),
            PathTarget::Connected(interface) => write!(f, "connected interface {interface}"),
            PathTarget::Local => f.write_str("local"),
            PathTarget::OwnAddress { interface, role } => write!(f, "{role} interface {interface}"),
            PathTarget::Punt => f.write_str("punt"),
            PathTarget::Drop(DropKind::NoRoute) => f.write_str("no route"),
            PathTarget::Drop(DropKind::Blackhole) => f.write_str("blackhole"),
            PathTarget::Drop(DropKind::Unreachable) => f.write_str("unreachable"),
            PathTarget::Drop(DropKind::Prohibit) => f.write_str("prohibit"),
            PathTarget::Table(table) => write!(f, "table {}", table.0),
            PathTarget::Object(forward) => forward.fmt(f),
        }
    }
}

/// One of the ways to a prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RoutePath<F: Family> {
    /// Where it leads; no two paths of a route lead to the same.
    pub target: PathTarget<F>,
    /// How much of the traffic it takes, in proportion to the other weights.
    pub weight: NonZeroU16,
}

impl<F: Family> RoutePath<F> {
    /// A path of weight 1.
    pub const fn new(target: PathTarget<F>) -> RoutePath<F> {
        RoutePath { target, weight: NonZeroU16::MIN }
    }
}

/// A change of one owner's route to one prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change<F: Family> {
    /// To where.
    pub prefix: F::Net,
    /// Whose route.
    pub owner: Owner,
    /// What about it.
    pub action: Action<F>,
}

/// See [`Change`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action<F: Family> {
    /// Adds the route; the owner must not have one.
    Add(Preference, Vec<RoutePath<F>>),
    /// Adds the route or replaces it.
    Set(Preference, Vec<RoutePath<F>>),
    /// Deletes the route.
    Delete,
    /// Adds a path; also adds the route, with this preference, if the owner has none.
    AddPath(Preference, RoutePath<F>),
    /// Adds a path as [`Action::AddPath`] does, or gives the path that leads to the same its weight.
    SetPath(Preference, RoutePath<F>),
    /// Deletes the path with this target; the last one takes the route with it.
    DeletePath(PathTarget<F>),
}

impl<F: Family> Action<F> {
    /// The paths that there will be because of it.
    pub fn added(&self) -> &[RoutePath<F>] {
        match self {
            Action::Add(_, paths) | Action::Set(_, paths) => paths,
            Action::AddPath(_, path) | Action::SetPath(_, path) => std::slice::from_ref(path),
            Action::Delete | Action::DeletePath(_) => &[],
        }
    }
}

/// What a change did to the route of its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// There is a route that was not.
    Added,
    /// The route is another one.
    Replaced,
    /// Said what was so already.
    Unchanged,
    /// The route is gone.
    Deleted,
}

/// Why a change is refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RouteError<F: Family> {
    /// The address has bits outside of the prefix.
    #[error("{found} has host bits set: expected {expected}")]
    HostBits {
        /// As given.
        found: F::Net,
        /// The prefix that contains it.
        expected: F::Net,
    },
    /// A route without paths.
    #[error("the route to {0} has no path: expected at least one")]
    NoPath(F::Net),
    /// A route with more paths than a load-balance holds.
    #[error("the route to {prefix} has {found} paths: expected at most {limit}")]
    TooManyPaths {
        /// Of the route.
        prefix: F::Net,
        /// How many it has.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Two paths of a route lead to the same.
    #[error("the route to {0} already has the path \"{1}\"")]
    PathExists(F::Net, PathTarget<F>),
    /// The owner's route has no such path.
    #[error("the route to {0} has no path \"{1}\"")]
    NoSuchPath(F::Net, PathTarget<F>),
    /// No host can have that address.
    #[error("the route to {0} has the next hop {1}: expected a unicast address")]
    NextHopNotUnicast(F::Net, F::Addr),
    /// A path leads to a table that does not exist.
    #[error("the route to {0} leads to a table that does not exist")]
    NoSuchTable(F::Net),
    /// A path leads into the table that the route is in.
    #[error("the route to {0} leads into its own table, which would find it again: expected another table")]
    OwnTable(F::Net),
    /// A path leads to an object of a kind that nobody has registered.
    #[error("the route to {0} leads to {1}, of a kind that does not exist")]
    NoSuchKind(F::Net, Forward),
    /// [`Action::Add`] found a route.
    #[error("{1} already has a route to {0}")]
    Exists(F::Net, Owner),
    /// Nothing to delete.
    #[error("{1} has no route to {0}")]
    NoSuchRoute(F::Net, Owner),
    /// The table is as full as its settings permit.
    #[error("no room for {prefix}: the table has {limit} prefixes, as many as its settings permit")]
    TableFull {
        /// That did not fit.
        prefix: F::Net,
        /// The setting.
        limit: usize,
    },
}

pub(super) fn check_prefix<F: Family>(prefix: F::Net) -> Result<(), RouteError<F>> {
    match prefix.truncated() {
        expected if expected == prefix => Ok(()),
        expected => Err(RouteError::HostBits { found: prefix, expected }),
    }
}

pub(super) fn check_paths<F: Family>(prefix: F::Net, paths: &[RoutePath<F>]) -> Result<(), RouteError<F>> {
    for path in paths {
        if let PathTarget::Via { address, .. } = path.target
            && !F::is_unicast(address)
        {
            return Err(RouteError::NextHopNotUnicast(prefix, address));
        }
    }
    match paths {
        [] => Err(RouteError::NoPath(prefix)),
        [_] => Ok(()),
        _ if paths.len() > MAX_FORWARDS => {
            Err(RouteError::TooManyPaths { prefix, found: paths.len(), limit: MAX_FORWARDS })
        }
        _ => {
            let mut seen = BTreeSet::new();
            match paths.iter().find(|path| !seen.insert(path.target)) {
                Some(path) => Err(RouteError::PathExists(prefix, path.target)),
                None => Ok(()),
            }
        }
    }
}
