// SPDX-License-Identifier: Apache-2.0
//! Why the router refuses: sentences for whoever configures it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use thiserror::Error;

use super::{TableId, Users};
use crate::interface::InterfaceError;
use crate::ip4::ApplyError;
use crate::neighbor::NeighborError;

/// Why the router cannot do what was asked.
#[derive(Debug, Error)]
pub enum RouterError {
    /// No such table.
    #[error("no IPv4 table {0}; `ip table add {0}` makes it")]
    UnknownTable(TableId),
    /// Two of one number.
    #[error("IPv4 table {0} exists already")]
    TableExists(TableId),
    /// Something stands on it.
    #[error("IPv4 table {0} is in use by {1}")]
    TableInUse(TableId, Users),
    /// Two of one name or node.
    #[error("routes can lead to {0} already")]
    KindExists(String),
    /// Routes lead there.
    #[error("{0} is in use by {1}")]
    KindInUse(String, Users),
    /// The table that every interface begins in.
    #[error("IPv4 table 0 cannot be deleted")]
    DefaultTable,
    /// A limit of startup.conf.
    #[error("no room for IPv4 table {0}: limits {{ vrfs {1} }}")]
    TablesFull(TableId, usize),
    /// No address space.
    #[error("no memory for IPv4 table {0}: {1}")]
    TableMemory(TableId, std::io::Error),
    /// Addresses belong to the table that they were added in.
    #[error("interface '{0}' has addresses; delete them before it changes its table")]
    HasAddresses(String),
    /// Two interfaces of one address.
    #[error("{address} is the address of interface '{interface}' already")]
    AddressInUse {
        /// The address.
        address: Ipv4Addr,
        /// Who has it.
        interface: String,
    },
    /// Nothing to delete.
    #[error("interface '{interface}' has no address {address}")]
    NoSuchAddress {
        /// The interface.
        interface: String,
        /// The address.
        address: Ipv4Net,
    },
    /// Not the address of a station.
    #[error(
        "{0} cannot be the address of an interface: expected a unicast address that is not its subnet's broadcast"
    )]
    NotUnicast(Ipv4Net),
    /// Not the address of another station.
    #[error(
        "{0} cannot be a neighbour: expected a unicast address that is neither this host's own nor that of a subnet or its broadcast"
    )]
    NotANeighbor(Ipv4Addr),
    /// See there.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// See there.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// See there.
    #[error(transparent)]
    Neighbor(#[from] NeighborError),
}
