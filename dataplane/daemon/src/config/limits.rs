// SPDX-License-Identifier: Apache-2.0
//! `limits { ... }`: how much there may be of everything that others can ask for.
//!
//! Reaching a limit is a counter or an error that names it, never a crash.

use super::words::{Key, key, set};

/// The section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub interfaces: u32,
    /// IPv4 tables.
    pub vrfs: u32,
    pub next_hops: u32,
    /// Neighbours of all interfaces.
    pub neighbors: u32,
    /// Packets of a worker that wait for a MAC address, and of these for one neighbour.
    pub arp_hold_packets: u32,
    pub arp_hold_per_neighbor: u32,
    /// ICMP errors that a worker sends in a second.
    pub icmp_error_rate: u32,
    /// Classifier rules of all sets.
    pub classify_rules: u32,
    /// MAC addresses of all bridge domains.
    pub l2_macs: u32,
    /// Connections to the CLI socket.
    pub cli_clients: u32,
    /// Connections to the socket of the binary API.
    pub api_clients: u32,
}

pub(super) const KEYS: &[Key<Limits>] = &[
    key("interfaces", |limits, words| set(&mut limits.interfaces, words.number("number", 1..=65535))),
    key("vrfs", |limits, words| set(&mut limits.vrfs, words.number("number", 1..=65535))),
    key("next-hops", |limits, words| set(&mut limits.next_hops, words.number("number", 1..=1 << 24))),
    key("neighbors", |limits, words| set(&mut limits.neighbors, words.number("number", 1..=1 << 24))),
    key("arp-hold-packets", |limits, words| {
        set(&mut limits.arp_hold_packets, words.number("number", 0..=1 << 20))
    }),
    key("arp-hold-per-neighbor", |limits, words| {
        set(&mut limits.arp_hold_per_neighbor, words.number("number", 0..=1 << 20))
    }),
    key("icmp-error-rate", |limits, words| {
        set(&mut limits.icmp_error_rate, words.number("packets per second", 0..=1 << 30))
    }),
    key("classify-rules", |limits, words| {
        set(&mut limits.classify_rules, words.number("number", 0..=1 << 24))
    }),
    key("l2-macs", |limits, words| set(&mut limits.l2_macs, words.number("number", 1..=1 << 24))),
    key("cli-clients", |limits, words| set(&mut limits.cli_clients, words.number("number", 1..=10_000))),
    key("api-clients", |limits, words| set(&mut limits.api_clients, words.number("number", 1..=10_000))),
];
