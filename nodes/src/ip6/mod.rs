// SPDX-License-Identifier: Apache-2.0
//! The nodes of IPv6. What they share with IPv4's is written once: forwarding ([`crate::forward`]), queues ([`crate::hold`]), the
//! tables that they read ([`weft_fib`]) and the router that keeps these ([`crate::router`]).

mod announce;
mod checks;
mod flow_hash;
mod forward;
mod fragment;
mod held;
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

pub use announce::{
    Report, RouterAdvertisement, announcement_frame, membership_frame, probe_frame,
    router_advertisement_frame,
};
pub use flow_hash::flow_hash;
pub use icmp_error::{Icmp6Error, Ip6IcmpError};
pub use mss::{IP6_TCP_MSS, IP6_TCP_MSS_OUTPUT};
pub use solicitation::solicitation_frame;

/// What tells that a packet of neighbour discovery has not been forwarded (RFC 4861 section 11.2).
const HOP_LIMIT: u8 = 255;
/// All stations of a link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
