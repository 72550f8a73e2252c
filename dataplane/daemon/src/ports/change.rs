// SPDX-License-Identifier: Apache-2.0
//! What an operator changes on an interface that exists: state, MTU, MAC address, polling.
//!
//! The administrative state is Weft's own: a port that is down drops what arrives, with a reason, and the Linux
//! interface below stays up, since the host may use it too.

use weft_devices::af_xdp::input::AfXdpInput;
use weft_devices::netdev::{self, Netdev};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Kind;
use weft_nodes::ip4::SourceCheck;

use super::{Device, DeviceError};
use crate::state::Dataplane;

/// Every link carries packets of that size (RFC 791).
const LEAST_MTU: u32 = 68;

impl Dataplane {
    /// Sets an interface up or down.
    pub fn set_admin_state(&mut self, index: InterfaceIndex, up: bool) -> Result<(), DeviceError> {
        self.interfaces.change(&mut self.engine, index, |interface| interface.admin_up = up)?;
        self.tell_of_changes();
        Ok(())
    }

    /// Routes what arrives on an interface for others, or drops it.
    pub fn set_forwarding(&mut self, index: InterfaceIndex, on: bool) -> Result<(), DeviceError> {
        if self.interfaces.get(index).is_some_and(|interface| interface.forwarding == on) {
            return Ok(());
        }
        self.nodes.admission.forward(&mut self.engine, index, on)?;
        self.interfaces.change(&mut self.engine, index, |interface| interface.forwarding = on)?;
        Ok(())
    }

    /// Sets which sources are believed on an interface.
    pub fn set_source_check(&mut self, index: InterfaceIndex, check: SourceCheck) -> Result<(), DeviceError> {
        if self.interfaces.get(index).is_some_and(|interface| interface.source_check == check) {
            return Ok(());
        }
        self.nodes.admission.check_sources(&mut self.engine, index, check)?;
        self.interfaces.change(&mut self.engine, index, |interface| interface.source_check = check)?;
        Ok(())
    }

    /// Sets the largest IP packet. A Linux interface that carries less is told to carry more; one that carries more
    /// is left alone, so that it goes on receiving what others send.
    pub fn set_mtu(&mut self, index: InterfaceIndex, mtu: u32) -> Result<(), DeviceError> {
        let size = self.check_mtu(index, mtu)?;
        self.carry(index, mtu)?;
        self.interfaces.change(&mut self.engine, index, |interface| interface.mtu = size)?;
        self.tell_of_changes();
        Ok(())
    }

    /// That an interface can have an MTU.
    pub fn check_mtu(&self, index: InterfaceIndex, mtu: u32) -> Result<u16, DeviceError> {
        let (limit, why) = match self.devices.get(index) {
            Some(Device::AfXdp(_)) => {
                (self.devices.umem.max_mtu(), ", the largest that fits a buffer with two VLAN tags")
            }
            _ => (u16::MAX.into(), ""),
        };
        match u16::try_from(mtu).ok().filter(|_| (LEAST_MTU..=limit).contains(&mtu)) {
            Some(size) => Ok(size),
            None => Err(DeviceError::Mtu { name: self.interface_name(index), mtu, limit, why }),
        }
    }

    /// Has the Linux interfaces below carry packets of that size; returns what they carried before. If one cannot, all
    /// are as they were.
    pub fn carry(&self, index: InterfaceIndex, mtu: u32) -> Result<Vec<u32>, DeviceError> {
        let mut before = Vec::new();
        for netdev in self.netdevs(index) {
            let carries = netdev.link().and_then(|link| match link.mtu < mtu {
                true => netdev.set_mtu(mtu).map(|()| link.mtu),
                false => Ok(link.mtu),
            });
            match carries {
                Ok(carried) => before.push(carried),
                Err(error) => {
                    self.carry_as_before(index, &before);
                    return Err(error.into());
                }
            }
        }
        Ok(before)
    }

    /// Takes [`Dataplane::carry`] back.
    pub fn carry_as_before(&self, index: InterfaceIndex, before: &[u32]) {
        for (netdev, mtu) in self.netdevs(index).into_iter().zip(before) {
            if let Err(error) = netdev.set_mtu(*mtu) {
                tracing::warn!("{} carries more than {mtu} bytes: {error}", self.interface_name(index));
            }
        }
    }

    /// Sets the MAC address, of a port's sub-interfaces too.
    pub fn set_mac(&mut self, index: InterfaceIndex, mac: MacAddr) -> Result<(), DeviceError> {
        if let Some(Kind::Sub { .. }) = self.interfaces.get(index).map(|interface| interface.kind) {
            let (name, is) = (self.interface_name(index), "a sub-interface");
            return Err(DeviceError::Kind { name, is, expected: "the port below, whose MAC address it has" });
        }
        // The other side of a TAP is another station, with an address of its own.
        if let Some(Device::AfXdp(_)) = self.devices.get(index) {
            for netdev in self.netdevs(index) {
                netdev.set_mac(netdev::MacAddr(mac.0))?;
            }
        }
        let subs: Vec<_> = self.interfaces.subs(index).map(|(sub, _)| sub).collect();
        for index in subs.into_iter().chain([index]) {
            self.interfaces.change(&mut self.engine, index, |interface| interface.mac = mac)?;
        }
        self.tell_of_changes();
        Ok(())
    }

    /// The Linux interfaces that an interface stands for: that of the device, and the host's side of a port.
    fn netdevs(&self, index: InterfaceIndex) -> Vec<&Netdev> {
        match self.devices.get(index) {
            Some(Device::AfXdp(device)) => {
                let host = device.host_tap.as_ref().map(|host| host.tap.netdev());
                [Some(device.port.netdev()), host].into_iter().flatten().collect()
            }
            Some(Device::Tap(device)) => vec![device.tap.netdev()],
            _ => Vec::new(),
        }
    }

    /// Whether the workers that serve a port never sleep.
    pub fn set_polling(&mut self, index: InterfaceIndex, polling: bool) -> Result<(), DeviceError> {
        self.xdp_device(index)?;
        let mut node = None;
        for placed in self.devices.placement.of_mut(index) {
            placed.polling = polling;
            node = Some(placed.node);
        }
        if let Some(node) = node {
            self.engine.post_all(move |worker| {
                if let Some(input) = worker.node_mut::<AfXdpInput>(node) {
                    input.set_polling(index, polling);
                }
            });
        }
        Ok(())
    }
}
