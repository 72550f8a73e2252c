// SPDX-License-Identifier: Apache-2.0
//! Why the router refuses: sentences for whoever configures it.

use thiserror::Error;
use weft_fib::{ApplyError, Ip4, Ip6};

use super::{Routed, TableId, Users};
use crate::interface::InterfaceError;
use crate::neighbor::NeighborError;

/// Why the router cannot do what was asked of a family.
#[derive(Debug, Error)]
pub enum RouterError<F: Routed> {
    /// No such table.
    #[error("no {family} table {0}; `{command} table add {0}` makes it", family = F::NAME, command = F::COMMAND)]
    UnknownTable(TableId),
    /// Two of one number.
    #[error("{family} table {0} exists already", family = F::NAME)]
    TableExists(TableId),
    /// Something stands on it.
    #[error("{family} table {0} is in use by {1}", family = F::NAME)]
    TableInUse(TableId, Users),
    /// The table that every interface begins in.
    #[error("{family} table 0 cannot be deleted", family = F::NAME)]
    DefaultTable,
    /// A limit of startup.conf.
    #[error("no room for {family} table {0}: limits {{ vrfs {1} }}", family = F::NAME)]
    TablesFull(TableId, usize),
    /// No address space.
    #[error("no memory for {family} table {0}: {1}", family = F::NAME)]
    TableMemory(TableId, std::io::Error),
    /// Addresses belong to the table that they were added in.
    #[error("interface '{0}' has addresses; delete them before it changes its table")]
    HasAddresses(String),
    /// Two interfaces of one address.
    #[error("{address} is the address of interface '{interface}' already")]
    AddressInUse {
        /// The address.
        address: F::Addr,
        /// Who has it.
        interface: String,
    },
    /// Nothing to delete.
    #[error("interface '{interface}' has no address {address}")]
    NoSuchAddress {
        /// The interface.
        interface: String,
        /// The address.
        address: F::Net,
    },
    /// Not the address of a station.
    #[error(
        "{0} cannot be the address of an interface: expected a unicast address that is not its subnet's broadcast"
    )]
    NotUnicast(F::Net),
    /// Too small for the packets of the family.
    #[error(
        "interface '{interface}' has an MTU of {mtu} bytes; {family} needs at least {least}",
        family = F::NAME,
        least = F::MIN_MTU
    )]
    SmallMtu {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u16,
    },
    /// Not an address that says something on its link only.
    #[error("{0} is not a link-local address: expected one of fe80::/10")]
    NotLinkLocal(F::Addr),
    /// Not the address of another station.
    #[error(
        "{0} cannot be a neighbour: expected a unicast address that is neither this host's own nor that of a subnet or its broadcast"
    )]
    NotANeighbor(F::Addr),
    /// See there.
    #[error(transparent)]
    Apply(#[from] ApplyError<F>),
    /// See there.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// See there.
    #[error(transparent)]
    Neighbor(#[from] NeighborError),
}

/// Why the router cannot do what concerns all families.
#[derive(Debug, Error)]
pub enum RoutesError {
    /// See there.
    #[error(transparent)]
    Ip4(#[from] RouterError<Ip4>),
    /// See there.
    #[error(transparent)]
    Ip6(#[from] RouterError<Ip6>),
}
