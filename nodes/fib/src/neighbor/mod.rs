// SPDX-License-Identifier: Apache-2.0
//! Who is on the link: neighbours by IP address, for ARP now and for IPv6 neighbour discovery as it is.

mod notice;
mod queues;
mod table;

pub use notice::{GroupQuery, NeighborNotice, NoticeSender, PrefixSays, Recent, RouterSays};
pub use queues::{Asked, Pushed, Queues, Waiting};
pub use table::{
    Evidence, Neighbor, NeighborAction, NeighborError, NeighborSettings, NeighborState, Neighbors, Refusals,
};
