// SPDX-License-Identifier: Apache-2.0
//! What changes on devices that exist: what change sets ask of the Linux interfaces below, and polling.

use weft_control::{LinkError, Links, Undo};
use weft_devices::af_xdp::device::AF_XDP;
use weft_devices::netdev::{self, Netdev};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Owner;

use super::{DeviceError, Devices};
use crate::state::Dataplane;

impl Links for Devices {
    fn largest_mtu(&self, index: InterfaceIndex) -> (u32, &'static str) {
        match self.get(index) {
            Some(device) => device.mtu_limit(),
            None => (u16::MAX.into(), ""),
        }
    }

    fn carry(&self, index: InterfaceIndex, mtu: u32, said_by: Owner) -> Result<Undo<'_>, LinkError> {
        let mut before: Vec<(&Netdev, u32)> = Vec::new();
        for netdev in self.netdevs(index, said_by) {
            let carries = netdev.link().and_then(|link| match link.mtu < mtu {
                true => netdev.set_mtu(mtu).map(|()| link.mtu),
                false => Ok(link.mtu),
            });
            match carries {
                Ok(carried) => before.push((netdev, carried)),
                Err(error) => {
                    carry_as_before(&before);
                    return Err(error.into());
                }
            }
        }
        Ok(Box::new(move || carry_as_before(&before)))
    }

    fn set_mac(&self, index: InterfaceIndex, mac: MacAddr, said_by: Owner) -> Result<Undo<'_>, LinkError> {
        // The other side of a TAP is another station, with an address of its own.
        if !self.get(index).is_some_and(|device| device.shares_mac()) {
            return Ok(Box::new(|| {}));
        }
        let mut before: Vec<(&Netdev, netdev::MacAddr)> = Vec::new();
        let as_before = |before: &[(&Netdev, netdev::MacAddr)]| {
            for (netdev, mac) in before {
                if let Err(error) = netdev.set_mac(*mac) {
                    tracing::warn!("{} keeps another MAC address: {error}", netdev.name().as_str());
                }
            }
        };
        for netdev in self.netdevs(index, said_by) {
            let had = netdev.link().map(|link| link.mac);
            match had.and_then(|had| netdev.set_mac(netdev::MacAddr(mac.0)).map(|()| had)) {
                Ok(had) => before.extend(had.map(|had| (netdev, had))),
                Err(error) => {
                    as_before(&before);
                    return Err(error.into());
                }
            }
        }
        Ok(Box::new(move || as_before(&before)))
    }
}

fn carry_as_before(before: &[(&Netdev, u32)]) {
    for (netdev, mtu) in before {
        if let Err(error) = netdev.set_mtu(*mtu) {
            tracing::warn!("{} carries more than {mtu} bytes: {error}", netdev.name().as_str());
        }
    }
}

impl Devices {
    /// The Linux interfaces that an interface stands for: that of the device, and the host's side of a port; but not the one
    /// that a value comes from. What the kernel owner says it has heard from the device, and what vplaned says, from the
    /// host's side.
    fn netdevs(&self, index: InterfaceIndex, said_by: Owner) -> Vec<&Netdev> {
        let Some(device) = self.get(index) else { return Vec::new() };
        let host_side = device.host_side();
        let is_host_side = |netdev: &&Netdev| host_side.is_some_and(|host| std::ptr::eq(host, *netdev));
        let told = |netdev: &&Netdev| match said_by {
            Owner::VPLANED => !is_host_side(netdev),
            Owner::KERNEL => is_host_side(netdev),
            _ => true,
        };
        device.netdevs().into_iter().filter(told).collect()
    }
}

impl Dataplane {
    /// Whether the workers that serve a port never sleep.
    pub fn set_polling(&mut self, index: InterfaceIndex, polling: bool) -> Result<(), DeviceError> {
        let name = self.interface_name(index);
        let Dataplane { devices, control, .. } = self;
        let device = devices.get(index);
        if !device.is_some_and(|device| device.set_polling(&mut control.engine, index, polling)) {
            let is = device.map_or("a sub-interface", |device| device.kind().sentence);
            return Err(DeviceError::Kind { name, is, expected: AF_XDP.sentence });
        }
        devices.placement.of_mut(index).for_each(|placed| placed.polling = polling);
        Ok(())
    }
}
