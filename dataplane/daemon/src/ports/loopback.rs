// SPDX-License-Identifier: Apache-2.0
//! Loopbacks: interfaces without a device, which hold addresses.

mod cli;

use weft_control::{ChangeSet, Described, Opened};
use weft_devices::loopback::{LOOPBACK, Loopback as Device};
use weft_engine::{InterfaceIndex, NodeId};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Kind;
use weft_nodes::loopback::LOOPBACK_TX;

use super::{DeviceError, DeviceWords, Devices, Opening, kind};
use crate::config::interfaces::{self, Common, Loopback, Settings};
use crate::state::Dataplane;

/// What VPP gives to its loopbacks.
const LOOPBACK_MTU: u16 = 9000;

kind!(DeviceWords { kind: &LOOPBACK, keys: &[interfaces::LOOPBACK], commands: cli::commands });

impl Settings for Loopback {
    fn common(&self) -> &Common {
        &self.common
    }

    fn describe(&self, _: &Devices, _: InterfaceIndex) -> Result<Described, DeviceError> {
        // VPP's addresses, which operators know; they are locally administered.
        let [_, _, high, low] = self.instance.to_be_bytes();
        let vpp = MacAddr([0xde, 0xad, 0, 0, high, low]);
        let mac = self.mac.map_or(vpp, |mac| MacAddr(mac.0));
        let mtu = self.common.mtu.map_or(LOOPBACK_MTU, |mtu| mtu.0);
        Ok(Described::new(Kind::Loopback, mac, mtu))
    }

    fn open(&self, cx: &mut Opening<'_>) -> Result<Opened, DeviceError> {
        cx.add_device(Device { instance: self.instance });
        let tx = cx.engine.graph().id(LOOPBACK_TX.name);
        Ok(tx.unwrap_or(NodeId::DROP).into())
    }
}

impl Dataplane {
    /// The lowest number that no loopback has, nor one that a change set creates.
    pub fn free_loopback(&self, changes: &ChangeSet) -> u32 {
        (0..).find(|number| self.is_free_loopback(changes, *number)).unwrap_or(u32::MAX)
    }

    /// Whether no loopback has a number.
    pub fn is_free_loopback(&self, changes: &ChangeSet, number: u32) -> bool {
        let mut all = self.devices().all::<Device>();
        let taken = all.any(|(index, other)| other.instance == number && !changes.deletes(index));
        !taken && changes.find_interface(self, &format!("loop{number}")).is_none()
    }
}
