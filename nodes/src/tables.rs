// SPDX-License-Identifier: Apache-2.0
//! What the nodes of this crate read: tables that the main thread writes, and settings. Made once, before the nodes.

use std::sync::Arc;

use weft_engine::publish::{Published, SlabReader};
use weft_engine::wait::Waker;
use weft_fib::{Adjacency, Fib, Fib6, LoadBalance};
use weft_stats::CombinedVector;

use crate::hold::HoldSettings;
use crate::interface::InterfaceTable;

/// What an operator can set.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// ICMP errors per worker and family.
    pub icmp: IcmpSettings,
    /// Most extension headers of an IPv6 packet that a node looks behind.
    pub extension_headers: usize,
    /// Packets that wait for neighbours, per worker.
    pub hold: HoldSettings,
    /// Whether packets without anything unusual take the short way (ip4-woven, ip6-woven). Both ways do the same.
    pub woven: bool,
    /// Room for news of neighbours on the way to the main thread, per worker and node.
    pub notices: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            icmp: IcmpSettings::default(),
            extension_headers: 8,
            hold: HoldSettings::default(),
            woven: true,
            notices: 1024,
        }
    }
}

/// How many errors a worker may send.
#[derive(Clone, Copy, Debug)]
pub struct IcmpSettings {
    /// On average. 0: none.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Default for IcmpSettings {
    fn default() -> Self {
        IcmpSettings { per_second: 1000, burst: 100 }
    }
}

/// What nodes read.
#[derive(Clone)]
pub struct Tables {
    /// Interfaces.
    pub interfaces: Arc<Published<InterfaceTable>>,
    /// IPv4's forwarding tables by index.
    pub fibs: SlabReader<Arc<Fib>>,
    /// IPv6's.
    pub fibs6: SlabReader<Arc<Fib6>>,
    /// What routes point to.
    pub load_balances: SlabReader<LoadBalance>,
    /// Neighbours.
    pub adjacencies: SlabReader<Adjacency>,
    /// `/net/route/to`, with a place for every load-balance.
    pub routes: CombinedVector,
    /// Settings.
    pub settings: Settings,
    /// Wakes the main thread.
    pub main: Waker,
}
