// SPDX-License-Identifier: Apache-2.0
//! Loopbacks: interfaces without a device, which hold addresses.

mod cli;

use weft_control::Control;
use weft_devices::loopback::{LOOPBACK, Loopback as Device};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Kind;

use super::{DeviceError, DeviceWords, kind};
use crate::config::interfaces::{self, Common, Loopback, Settings};
use crate::state::Dataplane;

/// What VPP gives to its loopbacks.
const LOOPBACK_MTU: u16 = 9000;

kind!(DeviceWords { kind: &LOOPBACK, keys: &[interfaces::LOOPBACK], commands: cli::commands });

impl Settings for Loopback {
    fn common(&self) -> &Common {
        &self.common
    }

    fn create(&self, dataplane: &mut Dataplane) -> Result<InterfaceIndex, DeviceError> {
        dataplane.create_loopback(self)
    }
}

impl Dataplane {
    /// Creates a loopback interface, which is down.
    pub fn create_loopback(&mut self, config: &Loopback) -> Result<InterfaceIndex, DeviceError> {
        let instance = config.instance;
        // VPP's addresses, which operators know; they are locally administered.
        let [_, _, high, low] = instance.to_be_bytes();
        let vpp = MacAddr([0xde, 0xad, 0, 0, high, low]);
        let mac = config.mac.map_or(vpp, |mac| MacAddr(mac.0));
        let (name, tx) = (config.common.name.as_str(), self.nodes.loopback_tx);
        let mtu = config.common.mtu.map_or(LOOPBACK_MTU, |mtu| mtu.0);
        let Control { interfaces, engine, .. } = &mut self.control;
        let index = interfaces.create(engine, name, Kind::Loopback, mac, mtu, tx)?;
        self.devices.add(index, Device { instance });
        Ok(index)
    }

    /// The lowest number that no loopback has.
    pub fn free_loopback(&self) -> u32 {
        let taken = |number: &u32| self.devices.all::<Device>().any(|(_, other)| other.instance == *number);
        (0..).find(|number| !taken(number)).unwrap_or(u32::MAX)
    }
}
