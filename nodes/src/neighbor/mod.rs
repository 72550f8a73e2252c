// SPDX-License-Identifier: Apache-2.0
//! Who is on the link: neighbours by IP address, for ARP now and for IPv6 neighbour discovery as it is.

mod table;

pub use table::{
    Evidence, Neighbor, NeighborAction, NeighborError, NeighborSettings, NeighborState, Neighbors, Refusals,
};
