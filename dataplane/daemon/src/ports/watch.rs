// SPDX-License-Identifier: Apache-2.0
//! What the kernel says about devices: whether their links are up, and what their sockets have lost.
//!
//! Asked for, twice a second and with each update of the stats segment: news by netlink would need a socket per network
//! namespace, and the kernel announces no change of a socket's counters at all.

use weft_devices::af_xdp::input::QueueVectors;
use weft_devices::af_xdp::socket::XskStatistics;
use weft_engine::{InterfaceIndex, ThreadIndex};
use weft_stats::{EntryIndex, Segment, SimpleRow, StatsError};

use super::Device;
use crate::state::Dataplane;

const MAIN: ThreadIndex = ThreadIndex(0);

/// Counters of a port by queue: `/xdp/<interface>/<counter>`.
pub struct XdpCounters {
    /// What workers count.
    pub(super) queues: QueueVectors,
    entries: Vec<EntryIndex>,
    /// The kernel's, in the order of [`COUNTERS`].
    rows: Vec<SimpleRow>,
}

/// The name of a counter, and its place.
type Counter = (&'static str, fn(&XskStatistics) -> u64);

/// The counters of `struct xdp_statistics` (linux/if_xdp.h).
const COUNTERS: [Counter; 6] = [
    ("rx_dropped", |queue| queue.rx_dropped),
    ("rx_ring_full", |queue| queue.rx_ring_full),
    ("rx_fill_ring_empty", |queue| queue.rx_fill_ring_empty),
    ("rx_invalid_descs", |queue| queue.rx_invalid_descs),
    ("tx_invalid_descs", |queue| queue.tx_invalid_descs),
    ("tx_ring_empty", |queue| queue.tx_ring_empty),
];

impl XdpCounters {
    /// Registers the counters. A segment without room for them is no reason to do without the port.
    pub(super) fn new(stats: &mut Segment, interface: &str, queues: usize) -> Option<Self> {
        let path = |counter: &str| format!("/xdp/{}/{counter}", interface.replace('/', "_"));
        let mut entries = Vec::new();
        let registered = stats.update(|update| {
            let rx = update.combined(&path("rx"), queues, queues)?;
            entries.push(rx.entry());
            let polls = update.simple(&path("polls"), queues, queues)?;
            entries.push(polls.entry());
            let mut rows = Vec::new();
            for (name, _) in COUNTERS {
                let vector = update.simple(&path(name), queues, queues)?;
                entries.push(vector.entry());
                rows.push(vector.row(MAIN));
            }
            Ok::<_, StatsError>((QueueVectors { rx, polls }, rows))
        });
        match registered {
            Ok((queues, rows)) => Some(XdpCounters { queues, entries, rows }),
            Err(error) => {
                tracing::warn!("{interface}: no counters of its queues: {error}");
                stats.update(|update| entries.iter().for_each(|entry| update.remove(*entry)));
                None
            }
        }
    }

    fn set(&self, queues: &[XskStatistics]) {
        for ((_, read), row) in COUNTERS.iter().zip(&self.rows) {
            for (number, queue) in queues.iter().enumerate() {
                row.set(number, read(queue));
            }
        }
    }

    pub(super) fn remove(self, stats: &mut Segment) {
        stats.update(|update| self.entries.iter().for_each(|entry| update.remove(*entry)));
    }
}

impl Dataplane {
    /// Looks at the links of all devices.
    pub fn watch_links(&mut self) {
        let all: Vec<_> = self.devices.iter().map(|(index, _)| index).collect();
        for index in all {
            self.watch_link(index);
        }
    }

    /// Looks at the link of a device, and lets the workers know if it has changed.
    pub(super) fn watch_link(&mut self, index: InterfaceIndex) {
        let netdev = match self.devices.get(index) {
            Some(Device::AfXdp(device)) => device.port.netdev(),
            Some(Device::Tap(device)) => device.tap.netdev(),
            _ => return,
        };
        let link = netdev.link();
        // A Linux interface that has gone is down for good.
        let up = link.as_ref().is_ok_and(|link| link.up && link.carrier);
        let Some(interface) = self.interfaces.get(index) else {
            return;
        };
        if interface.link_up == up {
            return;
        }
        let name = &interface.name;
        match &link {
            Err(error) => tracing::warn!("{name}: link is down: {error}"),
            Ok(link) if !link.up => tracing::warn!("{name}: link is down: {} was set down", link.name),
            Ok(_) if up => tracing::info!("{name}: link is up"),
            Ok(link) => tracing::warn!("{name}: link is down: {} has no carrier", link.name),
        }
        let changed = self
            .control
            .interfaces
            .change(&mut self.control.engine, index, |interface| interface.link_up = up);
        debug_assert!(changed.is_ok(), "the interface was there just now");
        self.tell_of_changes();
    }

    /// Reads the kernel's counters of all ports into the stats segment.
    pub fn collect_xdp_counters(&mut self) {
        for (index, device) in self.devices.iter() {
            let Device::AfXdp(device) = device else {
                continue;
            };
            // The last figures stand if the socket cannot be asked.
            let Ok(queues) = device.port.statistics() else {
                continue;
            };
            let missed: u64 = queues.iter().map(|queue| queue.rx_dropped + queue.rx_ring_full).sum();
            self.counters.interfaces.rx_miss.set(index.index(), missed);
            if let Some(counters) = &device.counters {
                counters.set(&queues);
            }
        }
    }
}
