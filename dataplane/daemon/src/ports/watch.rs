// SPDX-License-Identifier: Apache-2.0
//! What the kernel says about devices: whether their links are up, and what their sockets have lost.
//!
//! Asked for, twice a second and with each update of the stats segment: news by netlink would need a socket per network
//! namespace, and the kernel announces no change of a socket's counters at all.

use weft_engine::InterfaceIndex;

use crate::state::Dataplane;

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
        let Some(link) = self.devices.get(index).and_then(|device| device.link()) else {
            return;
        };
        let Some(interface) = self.interfaces.get(index).filter(|it| it.link_up != link.is_ok()) else {
            return;
        };
        let (name, up) = (&interface.name, link.is_ok());
        match link {
            Ok(()) => tracing::info!("{name}: link is up"),
            Err(why) => tracing::warn!("{name}: link is down: {why}"),
        }
        let changed = self
            .control
            .interfaces
            .change(&mut self.control.engine, index, |interface| interface.link_up = up);
        debug_assert!(changed.is_ok(), "the interface was there just now");
        self.tell_of_changes();
    }

    /// Brings up to date what devices count that are not counted by workers.
    pub fn collect_device_counters(&mut self) {
        for (index, device) in self.devices.iter() {
            device.collect(index, &self.counters);
        }
    }
}
