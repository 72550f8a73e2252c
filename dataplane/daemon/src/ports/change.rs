// SPDX-License-Identifier: Apache-2.0
//! What change sets ask of devices: to be opened below new interfaces, and what Linux interfaces below are to be; and
//! polling.

use std::any::Any;

use weft_control::{Described, LinkError, Links, NewDevice, Opened, Undo};
use weft_devices::af_xdp::device::AF_XDP;
use weft_devices::netdev::{self, Netdev};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{InterfaceError, Interfaces, Owner};

use super::{DeviceError, Devices, Opening, Raised};
use crate::config::interfaces::Interface;
use crate::state::Dataplane;
use crate::subsystem::{Foundation, Subsystems};

/// A link, the MTU that it had, and what was known of that.
type Carried<'a> = (&'a Netdev, u32, (InterfaceIndex, String), Option<Raised>);

impl NewDevice for Interface {}

/// The description of a device: those that this daemon is given are its own.
fn described(device: &dyn NewDevice) -> Result<&Interface, LinkError> {
    let known = (device as &dyn Any).downcast_ref();
    known.ok_or_else(|| LinkError::Device(format!("no device: {device:?}").into()))
}

fn refusal(error: impl std::error::Error + Send + Sync + 'static) -> LinkError {
    LinkError::Device(Box::new(error))
}

/// What interfaces stand on, and who keeps something of them.
impl Links for Subsystems {
    fn largest_mtu(&self, index: InterfaceIndex) -> (u32, &'static str) {
        match self.get::<Devices>().get(index) {
            Some(device) => device.mtu_limit(),
            None => (u16::MAX.into(), ""),
        }
    }

    fn carry(&self, index: InterfaceIndex, mtu: u32, said_by: Owner) -> Result<Undo<'_>, LinkError> {
        let (devices, mut before): (&Devices, _) = (self.get(), Vec::new());
        for netdev in devices.netdevs(index, said_by) {
            let key = (index, netdev.name().as_str().to_owned());
            let raised = devices.raised.borrow().get(&key).copied();
            let changed = netdev.link().and_then(|link| {
                let (needed, after) = needed_mtu(link.mtu, mtu, raised);
                if needed != link.mtu {
                    netdev.set_mtu(needed)?;
                }
                Ok((link.mtu, after))
            });
            match changed {
                Ok((had, after)) => {
                    before.push((netdev, had, key.clone(), raised));
                    devices.note_raised(key, after);
                }
                Err(error) => {
                    devices.carry_as_before(before);
                    return Err(error.into());
                }
            }
        }
        Ok(Box::new(move || devices.carry_as_before(before)))
    }

    fn set_mac(&self, index: InterfaceIndex, mac: MacAddr, said_by: Owner) -> Result<Undo<'_>, LinkError> {
        let devices: &Devices = self.get();
        // The other side of a TAP is another station, with an address of its own.
        if !devices.get(index).is_some_and(|device| device.shares_mac()) {
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
        for netdev in devices.netdevs(index, said_by) {
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

    fn describe(&self, device: &dyn NewDevice, index: InterfaceIndex) -> Result<Described, LinkError> {
        described(device)?.describe(self.get(), index).map_err(refusal)
    }

    fn open(
        &mut self,
        cx: &mut Foundation<'_>,
        device: &dyn NewDevice,
        index: InterfaceIndex,
    ) -> Result<Opened, LinkError> {
        let device = described(device)?;
        let interface = cx.interfaces.get(index).ok_or_else(|| refusal(InterfaceError::Unknown(index)))?;
        device.open(&mut Opening { engine: cx.engine, parts: self, index, interface }).map_err(refusal)
    }

    /// In the same order as a deletion. A device that was opened for nothing leaves its link the MTU that was there.
    fn close(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        self.get::<Devices>().take_back_mtu(index);
        self.all().rev().for_each(|part| part.interface_removing(cx, index));
    }

    fn may_go(&mut self, interfaces: &Interfaces, index: InterfaceIndex) -> Result<(), LinkError> {
        self.all().try_for_each(|part| part.interface_may_go(interfaces, index)).map_err(refusal)
    }
}

/// What a link has to carry that carries `now`, for an interface of `mtu`; and what is known of it then. `raised` is the MTU that it had
/// before it was raised for the interface, and the one that it was given: that is taken back, as far as nobody has set another
/// one in the kernel. What carries more by itself is left alone.
fn needed_mtu(now: u32, mtu: u32, raised: Option<Raised>) -> (u32, Option<Raised>) {
    let ours = raised.filter(|raised| raised.to == now);
    let needed = match ours {
        _ if now < mtu => mtu,
        Some(Raised { from, .. }) => from.max(mtu),
        None => now,
    };
    let from = ours.map_or(now, |raised| raised.from);
    (needed, (needed > from).then_some(Raised { from, to: needed }))
}

impl Devices {
    pub(super) fn note_raised(&self, key: (InterfaceIndex, String), raised: Option<Raised>) {
        match raised {
            Some(raised) => drop(self.raised.borrow_mut().insert(key, raised)),
            None => drop(self.raised.borrow_mut().remove(&key)),
        }
    }

    /// Gives the links of a device the MTU from which it was raised, as far as nobody has set another one since.
    fn take_back_mtu(&self, index: InterfaceIndex) {
        for netdev in self.get(index).into_iter().flat_map(|device| device.netdevs()) {
            let raised = self.raised.borrow().get(&(index, netdev.name().as_str().to_owned())).copied();
            if let Some(Raised { from, to }) = raised
                && netdev.link().is_ok_and(|link| link.mtu == to)
                && let Err(error) = netdev.set_mtu(from)
            {
                tracing::warn!("{} keeps MTU {to}: {error}", netdev.name().as_str());
            }
        }
    }

    fn carry_as_before(&self, before: Vec<Carried<'_>>) {
        for (netdev, mtu, key, raised) in before {
            self.note_raised(key, raised);
            if let Err(error) = netdev.set_mtu(mtu) {
                tracing::warn!("{} carries another MTU than {mtu}: {error}", netdev.name().as_str());
            }
        }
    }

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
        let (devices, control) = self.part_and_control::<Devices>();
        let device = devices.get(index);
        if !device.is_some_and(|device| device.set_polling(control.engine_mut(), index, polling)) {
            let is = device.map_or("a sub-interface", |device| device.kind().sentence);
            return Err(DeviceError::Kind { name, is, expected: AF_XDP.sentence });
        }
        devices.placement.of_mut(index).for_each(|placed| placed.polling = polling);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mtu_that_was_raised_for_an_interface_is_taken_back_with_it() {
        let raised = |from, to| Some(Raised { from, to });
        // Up for the interface, further, down a little, and back.
        assert_eq!(needed_mtu(1500, 1600, None), (1600, raised(1500, 1600)));
        assert_eq!(needed_mtu(1600, 9000, raised(1500, 1600)), (9000, raised(1500, 9000)));
        assert_eq!(needed_mtu(9000, 1600, raised(1500, 9000)), (1600, raised(1500, 1600)));
        assert_eq!(needed_mtu(1600, 1500, raised(1500, 1600)), (1500, None));
        // Not below what it had.
        assert_eq!(needed_mtu(1600, 1400, raised(1500, 1600)), (1500, None));
        // What somebody has set in the kernel since is theirs.
        assert_eq!(needed_mtu(2000, 1500, raised(1500, 1600)), (2000, None));
        assert_eq!(needed_mtu(1500, 1400, None), (1500, None));
    }
}
