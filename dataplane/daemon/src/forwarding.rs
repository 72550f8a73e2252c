// SPDX-License-Identifier: Apache-2.0
//! The router of the daemon: made from the settings, and fed with what workers tell.

use weft_engine::Engine;
use weft_engine::wait::Waker;
use weft_nodes::fib::Ip6;
use weft_nodes::graph::{FlowLabels, HeaderLimit, Settings, Tables};
use weft_nodes::hold::HoldSettings;
use weft_nodes::interface::Interfaces;
use weft_nodes::ip4::{IcmpSettings, Ip4};
use weft_nodes::neighbor::NeighborSettings;
use weft_nodes::router::{Router, RouterSettings, RoutesError};
use weft_stats::StatsError;

use crate::config::Config;
use crate::state::Dataplane;

/// Why there is no router.
#[derive(Debug, thiserror::Error)]
pub enum ForwardingError {
    /// No tables.
    #[error(transparent)]
    Router(#[from] RoutesError),
    /// No room for its counters.
    #[error("stats segment: expected more in statseg {{ size }}: {0}")]
    Stats(#[from] StatsError),
}

/// An empty router, and what the nodes read of it. `main` is woken by nodes that have news.
pub fn make(
    engine: &mut Engine,
    interfaces: &Interfaces,
    config: &Config,
    main: Waker,
) -> Result<(Router, Tables), ForwardingError> {
    let limits = &config.limits;
    let next_hops = limits.next_hops as usize;
    let settings = RouterSettings {
        tables: limits.vrfs as usize,
        load_balances: next_hops,
        next_hops,
        // A neighbour that made room holds its next hop until all workers have moved on, and gateways need some too.
        neighbors: NeighborSettings {
            limit: (limits.neighbors as usize).min(next_hops - next_hops / 8),
            most: next_hops - next_hops / 8,
            ..NeighborSettings::default()
        },
        ..RouterSettings::default()
    };
    let mut router = Router::new(engine, settings)?;
    let routes =
        engine.stats.combined("/net/route/to", router.objects().load_balances.used(), next_hops + 1)?;
    router.count_in(routes.clone());
    let settings = Settings {
        icmp: IcmpSettings { per_second: limits.icmp_error_rate, ..IcmpSettings::default() },
        hold: HoldSettings {
            per_neighbor: limits.arp_hold_per_neighbor as usize,
            per_worker: limits.arp_hold_packets as usize,
            ..HoldSettings::default()
        },
        woven: !config.no_woven,
        ..Settings::default()
    };
    let tables = Tables {
        interfaces: interfaces.published(),
        fibs: router.fibs::<Ip4>(),
        fibs6: router.fibs::<Ip6>(),
        load_balances: router.objects().load_balances.reader(),
        adjacencies: router.objects().adjacencies.reader(),
        routes,
        extension_headers: HeaderLimit::default(),
        flow_labels: FlowLabels::default(),
        settings,
        main,
    };
    Ok((router, tables))
}

/// News handled at once, so that a flood of ARP does not keep the main loop from everything else.
const NEWS_AT_ONCE: usize = 1024;

impl Dataplane {
    /// Handles what workers have told since the last call; says whether there may be more.
    pub fn hear_workers(&mut self) -> bool {
        self.waker().drain();
        let heard = self.hear_neighbors(NEWS_AT_ONCE);
        let stations = self.hear_stations(NEWS_AT_ONCE);
        self.hear_plugins();
        let flows = self.hear_flows();
        heard == NEWS_AT_ONCE || stations == NEWS_AT_ONCE || flows
    }
}
