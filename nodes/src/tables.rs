// SPDX-License-Identifier: Apache-2.0
//! What the nodes of this crate read: tables that the main thread writes, and settings. Made once, before the nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

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
    /// Packets that wait for neighbours, per worker.
    pub hold: HoldSettings,
    /// Whether packets without anything unusual take the short way (ip4-woven, ip6-woven). Both ways do the same.
    pub woven: bool,
    /// Room for news of neighbours on the way to the main thread, per worker and node.
    pub notices: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { icmp: IcmpSettings::default(), hold: HoldSettings::default(), woven: true, notices: 1024 }
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

/// Most extension headers of an IPv6 packet that a node looks behind. All clones are one: the main thread sets it, and nodes of
/// workers read it, once for each vector.
#[derive(Clone, Debug)]
pub struct HeaderLimit(Arc<AtomicUsize>);

impl HeaderLimit {
    /// What it is at first.
    pub const USUAL: usize = 8;

    /// The number.
    #[inline(always)]
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Another number from now on.
    pub fn set(&self, most: usize) {
        self.0.store(most, Ordering::Relaxed);
    }
}

impl Default for HeaderLimit {
    fn default() -> HeaderLimit {
        HeaderLimit(Arc::new(AtomicUsize::new(HeaderLimit::USUAL)))
    }
}

/// Whether the flow label of an IPv6 packet says which path it takes (RFC 6438), where its sender gives one; else its protocol and ports do.
/// As [`HeaderLimit`], all clones are one.
#[derive(Clone, Debug)]
pub struct FlowLabels(Arc<AtomicBool>);

impl FlowLabels {
    /// Whether it does.
    #[inline(always)]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// So from now on.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }
}

impl Default for FlowLabels {
    fn default() -> FlowLabels {
        FlowLabels(Arc::new(AtomicBool::new(true)))
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
    /// Most extension headers of an IPv6 packet that a node looks behind.
    pub extension_headers: HeaderLimit,
    /// Whether flows of IPv6 are told apart by their label.
    pub flow_labels: FlowLabels,
    /// Settings.
    pub settings: Settings,
    /// Wakes the main thread.
    pub main: Waker,
}
