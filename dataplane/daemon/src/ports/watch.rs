// SPDX-License-Identifier: Apache-2.0
//! What the kernel says about devices: whether their links are up, what they are now, and what their sockets have lost.
//!
//! A port is the link that it was bound to, by its number and namespace, not by its name. A link that is renamed is
//! followed, and so are a MAC address, a smaller MTU and more queues that somebody sets in the kernel. One that goes (deleted, moved
//! to another namespace, its driver loaded anew) leaves the port down; as soon as a link has the configured name there, the port is bound
//! to that.
//!
//! The kernel's news of links ([`super::links`]) wake the main thread, and twice a second it looks all the same: news can be
//! lost, and counters of sockets are announced by nobody.

use std::time::Instant;

use weft_control::{ChangeSet, Value, settings};
use weft_devices::af_xdp::device::XdpDevice;
use weft_devices::netdev::{Link, Netdev};
use weft_engine::InterfaceIndex;
use weft_engine::counters::LinkState;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Owner;

use super::host_key;
use crate::state::Dataplane;

/// Of Ethernet (RFC 791 section 3.2): no smaller one is followed.
const SMALLEST_MTU: u32 = 68;

impl Dataplane {
    /// Looks at the links of all devices.
    pub fn watch_links(&mut self) {
        let all: Vec<_> = self.devices().iter().map(|(index, _)| index).collect();
        for index in all {
            self.follow_port(index);
            self.watch_link(index);
        }
    }

    /// Follows the link of a port, or binds the port to the one that has its name now.
    fn follow_port(&mut self, index: InterfaceIndex) {
        let Some(device) = self.devices().get_as::<XdpDevice>(index) else { return };
        let link = device.port.netdev().link();
        // The kernel is asked what is so now: its news may be of a link before the one that the port is bound to. And not
        // whether there is a link of that number: to ask can fail for other reasons, and it may be another link.
        if !device.port.is_bound() && self.devices_mut().lost.insert(index) {
            // A link that was moved takes our program along, and no other port could be bound to it.
            if let Some(device) = self.xdp_device_mut(index) {
                device.port.stop();
            }
        }
        if self.devices().lost.contains(&index) {
            self.look_for_port(index);
        } else if let Ok(link) = link {
            self.follow_link(index, &link);
            self.follow_queues(index);
            self.watch_stall(index, &link);
        }
    }

    /// Sees that what the NIC receives comes here, if all of it should.
    fn watch_stall(&mut self, index: InterfaceIndex, link: &Link) {
        let takes_all = |device: &XdpDevice| device.port.neighbors().is_none() && link.up;
        let Some(device) = self.devices().get_as::<XdpDevice>(index).filter(|device| takes_all(device))
        else {
            return;
        };
        let lost = device.port.statistics().unwrap_or_default();
        let lost: u64 = lost.iter().map(|queue| queue.rx_dropped + queue.rx_ring_full).sum();
        let interfaces = &self.engine().counters.interfaces;
        let ours = lost + interfaces.rx.sum(index.index()).packets + interfaces.rx_no_buf.sum(index.index());
        let name = self.interface_name(index);
        let Some(device) = self.xdp_device_mut(index) else { return };
        if let Some(stall) = device.watch.look(Instant::now(), link.rx_packets, ours) {
            match device.port.recover(stall) {
                Ok(done) => tracing::warn!("{name}: {done}"),
                Err(error) => tracing::error!("{name}: {error}"),
            }
        }
    }

    /// Binds a port whose link has gone to another one of its name, if there is one.
    fn look_for_port(&mut self, index: InterfaceIndex) {
        let Some((config, _)) = self.devices().ports.get(&index).cloned() else { return };
        let host = host_key(&config.host, config.netns.as_deref());
        let is_there = host.open_namespace().is_ok_and(|namespace| {
            host.link_name().is_ok_and(|name| Netdev::open(&namespace, &name).is_ok())
        });
        if !is_there {
            return;
        }
        let bound = self.bind_again(index, &config).map_err(|error| error.to_string());
        if let Err(error) = &bound {
            let name = self.interface_name(index);
            let (_, told) = self.devices_mut().ports.entry(index).or_insert((config, None));
            // It is tried again and again, and told once.
            if told.as_ref() != Some(error) {
                tracing::warn!("{name} is not bound again: {error}");
                *told = Some(error.clone());
            }
            return;
        }
        let devices = self.devices_mut();
        devices.lost.remove(&index);
        if let Some((_, told)) = devices.ports.get_mut(&index) {
            *told = None;
        }
        let device = self.devices().get_as::<XdpDevice>(index);
        if let Some(Ok(link)) = device.map(|device| device.port.netdev().link()) {
            self.follow_link(index, &link);
        }
    }

    /// What somebody has set in the kernel is so here too.
    fn follow_link(&mut self, index: InterfaceIndex, link: &Link) {
        let Some(interface) = self.interfaces().get(index) else { return };
        let mut changes = ChangeSet::new(Owner::KERNEL);
        let fresh = |mac: &MacAddr| *mac != interface.mac && mac.is_station();
        if let Some(mac) = link.mac.map(|mac| MacAddr(mac.0)).filter(fresh) {
            tracing::info!("{}: {} has MAC address {mac} in the kernel", interface.name, link.name);
            changes.set(&settings::MAC, index, Value::Mac(mac));
        }
        if (SMALLEST_MTU..u32::from(interface.mtu)).contains(&link.mtu) {
            tracing::info!("{}: {} has MTU {} in the kernel", interface.name, link.name, link.mtu);
            changes.set(&settings::MTU, index, Value::Number(link.mtu.into()));
        }
        if changes.is_empty() {
            return;
        }
        for (_, error) in self.change_possible(changes) {
            tracing::warn!("{}: {error}", self.interface_name(index));
        }
        self.tell_of_changes();
    }

    /// Looks at the link of a device, and lets the workers know if it has changed.
    pub(crate) fn watch_link(&mut self, index: InterfaceIndex) {
        let Some(mut link) = self.devices().get(index).and_then(|device| device.link()) else {
            return;
        };
        if self.devices().lost.contains(&index) && link.is_ok() {
            link =
                Err("its Linux interface went away and came back, and the port is not bound to it yet"
                    .to_owned());
        }
        let Some(interface) = self.interfaces().get(index).filter(|it| it.link_up != link.is_ok()) else {
            return;
        };
        let (name, up) = (interface.name.clone(), link.is_ok());
        match link {
            Ok(()) => tracing::info!("{name}: link is up"),
            Err(why) => tracing::warn!("{name}: link is down: {why}"),
        }
        if let Some(Err(error)) = self.xdp_device_mut(index).map(|device| device.port.link_changed(up)) {
            tracing::error!("{error}");
        }
        let changed = self.link_changes(index, up);
        debug_assert!(changed.is_ok(), "the interface was there just now");
        self.tell_of_changes();
    }

    /// Puts into the stats segment whether an interface is up, for those who cannot ask the main thread.
    pub fn show_state(&self, index: InterfaceIndex) {
        let Some(interface) = self.interfaces().get(index) else { return };
        let state = match (interface.admin_up, self.interfaces().is_up(index)) {
            (false, _) => LinkState::Down,
            (true, false) => LinkState::NoLink,
            (true, true) => LinkState::Up,
        };
        self.devices().counters.interfaces.state.set(index.index(), state as u64);
    }

    /// Brings up to date what devices count that are not counted by workers.
    pub fn collect_device_counters(&mut self) {
        let devices = self.devices();
        for (index, device) in devices.iter() {
            device.collect(index, &devices.counters);
        }
        for (index, _) in self.interfaces().iter() {
            self.engine().counters.interfaces.derive(index, &devices.counters.interfaces);
        }
    }
}
