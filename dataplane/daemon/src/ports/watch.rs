// SPDX-License-Identifier: Apache-2.0
//! What the kernel says about devices: whether their links are up, what they are now, and what their sockets have lost.
//!
//! A port is the link that it was bound to, by its number and namespace, not by its name. A link that is renamed is
//! followed, and so are a MAC address, an MTU and more queues that somebody sets in the kernel; an MTU that was asked of Weft itself is the
//! most that it can be. One that goes (deleted, moved
//! to another namespace, its driver loaded anew) leaves the port down; as soon as a link has the configured name there, the port is bound
//! to that.
//!
//! The kernel's news of links ([`super::links`]) wake the main thread, and twice a second it looks all the same: news can be
//! lost, and counters of sockets are announced by nobody.

use std::time::{Duration, Instant};

use weft_control::{ChangeSet, Object, Value, settings};
use weft_devices::af_xdp::device::XdpDevice;
use weft_devices::netdev::{Link, Netdev};
use weft_engine::InterfaceIndex;
use weft_engine::counters::LinkState;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{AddressFamily, Ip6, Owner};

use super::host_key;
use crate::state::Dataplane;

/// Of Ethernet (RFC 791 section 3.2): no smaller one is followed.
const SMALLEST_MTU: u32 = 68;

/// A link that has just come has its MTU set by whoever has made it, before or after a port is bound to it. For so long a port that has
/// raised it does so again; from then on one that somebody sets in the kernel is followed.
const SETTLING: Duration = Duration::from_secs(3);

/// The MTU of an interface of MTU `now` whose link has `kernel`; `None`: it stays. It goes up again as far as the device can carry
/// (`limit`) and not beyond what somebody has asked of Weft (`asked`).
fn followed_mtu(now: u16, kernel: u32, limit: u32, asked: Option<u32>) -> Option<u32> {
    let now = u32::from(now);
    let most = kernel.min(limit).min(asked.unwrap_or(u32::MAX)).min(u16::MAX.into());
    if kernel < now {
        Some(kernel).filter(|mtu| *mtu >= SMALLEST_MTU)
    } else {
        Some(most).filter(|mtu| *mtu > now)
    }
}

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

    /// The MTU that somebody has asked of Weft.
    pub(super) fn asked_mtu(&self, index: InterfaceIndex) -> Option<u32> {
        let setting = Object::Setting(&settings::MTU, Some(index));
        let owner = self.owners(&setting).into_iter().rev().find(|owner| *owner != Owner::KERNEL)?;
        match self.claim_of(&setting, owner) {
            Some(Value::Number(mtu)) => u32::try_from(*mtu).ok(),
            _ => None,
        }
    }

    /// Sets the MTU again to which a port has raised its link, if somebody has set a smaller one while the link settles.
    fn is_raised_again(&self, index: InterfaceIndex, link: &Link) -> bool {
        let Some(device) = self.devices().get_as::<XdpDevice>(index) else { return false };
        let raised = device.port.facts().link.mtu;
        let settles = device.port.mtu_before().is_some() && device.port.age() < SETTLING;
        settles && link.mtu < raised && device.port.netdev().set_mtu(raised).is_ok()
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
        let asked = self.asked_mtu(index);
        let limit = self.devices().get(index).map_or(u32::MAX, |device| device.mtu_limit().0);
        if self.is_raised_again(index, link) {
            tracing::info!("{}: {} has the MTU again that was asked of Weft", interface.name, link.name);
        } else if let Some(mtu) = followed_mtu(interface.mtu, link.mtu, limit, asked) {
            tracing::info!("{}: {} has MTU {} in the kernel", interface.name, link.name, link.mtu);
            if interface.ip6.is_wanted() {
                let (name, least) = (&interface.name, Ip6::MIN_MTU);
                match (interface.ip6.carried, mtu >= least.into()) {
                    (true, false) => tracing::warn!(
                        "{name}: IPv6 needs an MTU of at least {least}: it is off here until the kernel has more than {mtu}"
                    ),
                    (false, true) => tracing::info!("{name}: IPv6 is on again, with an MTU of {mtu}"),
                    _ => {}
                }
            }
            changes.set(&settings::MTU, index, Value::Number(mtu.into()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mtu_of_the_kernel_is_followed_down_and_up() {
        let free = |now, kernel| followed_mtu(now, kernel, 9000, None);
        assert_eq!((free(1500, 1400), free(1400, 1500), free(1500, 1500)), (Some(1400), Some(1500), None));
        assert_eq!(free(1500, 1000), Some(1000), "whatever IPv6 needs: no more can be sent");
        assert_eq!(free(1500, 60), None, "no link of IP");
        // No more than a device can carry, and no less for that than it has.
        assert_eq!((free(1500, 65_536), free(9000, 65_536), free(9100, 65_536)), (Some(9000), None, None));
        // What somebody has asked of Weft is the most.
        let asked = |now, kernel| followed_mtu(now, kernel, 9000, Some(1450));
        assert_eq!((asked(1450, 1500), asked(1450, 1400)), (None, Some(1400)));
        assert_eq!((asked(1400, 1500), asked(1400, 1420)), (Some(1450), Some(1420)));
    }
}
