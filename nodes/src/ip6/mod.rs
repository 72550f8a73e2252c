// SPDX-License-Identifier: Apache-2.0
//! What IPv6 has of its own of the nodes that are written once for all families ([`crate::forward`], [`crate::hold`]), and nodes that it
//! alone has. The tables that they read are [`weft_fib`]'s, and the router ([`crate::router`]) keeps them.

mod announce;
mod forward;
mod fragment;
mod icmp_error;
mod input;
mod local;
pub mod min_hop_limit;
mod mss;
mod nd;
mod reassembly;
mod solicitation;
mod woven;

use std::net::Ipv6Addr;

pub(crate) use announce::ALL_ROUTERS;
pub use announce::{
    Membership, RouterAdvertisement, announcement_frame, membership_frames, membership_frames_1, probe_frame,
    router_advertisement_frame, router_solicitation_frame,
};
pub use solicitation::solicitation_frame;

/// What tells that a packet of neighbour discovery has not been forwarded (RFC 4861 section 11.2).
const HOP_LIMIT: u8 = 255;
/// All stations of a link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
