// SPDX-License-Identifier: Apache-2.0
//! Built-in nodes and the tables that they read.
//!
//! ```text
//! [device-input] -> ethernet-input -> [ethernet] -> arp-input -> [arp] -> arp-reply
//!     \-> ip4-input -> [ip4-multicast] -> [ip4-unicast] -> ip4-lookup -> ip4-rewrite -> [ip4-output]
//!             \                                                              \-> [interface-output] -> <port>-tx
//!              \-> ip4-local -> [ip4-local] -> ip4-local-end-of-arc -> [ip4-punt] -> punt
//! in front of ethernet-input: ip4-woven and ip6-woven, which do the work of four nodes for most packets
//! aside: ip4-arp (waits for a neighbour), ip4-reassembly (beside ip4-local), ip4-frag, ip4-icmp-error, loopback-tx
//! IPv6:  the same with ip6-; ip6-discover-neighbor waits, ip6-nd-input is behind ip6-local-end-of-arc, nothing is fragmented
//! drops: [ip4-drop] or [ip6-drop] -> [error-drop] -> drop
//! ```
//!
//! Feature arcs stand in brackets. Tables live beside the node that reads them; the main thread writes them. A node's file
//! adds it (`built_in!`), and nothing else names it.
#![deny(unsafe_code)]

pub mod arcs;
pub mod arp;
pub mod context;
pub mod ethernet;
mod flow_hash;
pub mod forward;
pub mod graph;
pub mod hold;
mod icmp_limits;
pub mod ip4;
pub mod ip6;
pub mod loopback;
pub mod punt;
pub mod reassembly;
pub mod registries;
pub mod router;
mod segments;
pub mod setup;
mod tables;
mod tcp_mss;
pub mod values;

pub use weft_fib::neighbor;
pub use {weft_fib as fib, weft_headers as headers, weft_interface as interface};
