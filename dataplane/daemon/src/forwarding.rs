// SPDX-License-Identifier: Apache-2.0
//! The main thread's side of the forwarding tables that the nodes read.

use std::sync::Arc;

use weft_engine::Engine;
use weft_engine::publish::Slab;
use weft_engine::wait::Waker;
use weft_nodes::arp::HoldSettings;
use weft_nodes::graph::{Settings, Tables};
use weft_nodes::interface::Interfaces;
use weft_nodes::ip4::{Fib, IcmpSettings, LoadBalances, NextHops, Objects};
use weft_stats::StatsError;

use crate::config::limits::Limits;

/// Tables, next hops, load-balances.
pub struct Forwarding {
    /// What routes point to.
    pub objects: Objects,
    /// Forwarding tables by index.
    pub fibs: Slab<Arc<Fib>>,
}

impl Forwarding {
    /// Empty tables, and what the nodes read of them. `main` is woken by nodes that have news.
    pub fn new(
        engine: &mut Engine,
        interfaces: &Interfaces,
        limits: &Limits,
        main: Waker,
    ) -> Result<(Forwarding, Tables), StatsError> {
        let next_hops = limits.next_hops as usize;
        let forwarding = Forwarding {
            objects: Objects {
                next_hops: NextHops::new(&engine.domain, next_hops),
                load_balances: LoadBalances::new(&mut engine.domain, next_hops),
            },
            fibs: Slab::new(&engine.domain, limits.vrfs as usize),
        };
        let settings = Settings {
            icmp: IcmpSettings { per_second: limits.icmp_error_rate, ..IcmpSettings::default() },
            hold: HoldSettings {
                per_neighbor: limits.arp_hold_per_neighbor as usize,
                per_worker: limits.arp_hold_packets as usize,
                ..HoldSettings::default()
            },
            ..Settings::default()
        };
        let tables = Tables {
            interfaces: interfaces.published(),
            fibs: forwarding.fibs.reader(),
            load_balances: forwarding.objects.load_balances.reader(),
            next_hops: forwarding.objects.next_hops.reader(),
            routes: engine.stats.combined("/net/route/to", next_hops + 1, next_hops + 1)?,
            settings,
            main,
        };
        Ok((forwarding, tables))
    }
}
