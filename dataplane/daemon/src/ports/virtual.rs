// SPDX-License-Identifier: Apache-2.0
//! Interfaces without a device of their own: loopbacks and sub-interfaces; and those of the packet generator.

use weft_devices::pg::{Mode, Pg, PgId};
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{EtherType, MacAddr, VlanId};
use weft_nodes::interface::{Kind, Tags};

use super::{Device, DeviceError, made_up_mac};
use crate::config::interfaces::Loopback;
use crate::lifecycle::{Foundation, Subsystem};
use crate::state::Dataplane;

/// What VPP gives to its loopbacks.
const LOOPBACK_MTU: u16 = 9000;
const PG_MTU: u16 = 9000;

/// The tags of a sub-interface, as the operator says them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubInterface {
    /// Number in the name.
    pub id: u32,
    /// Type and id of the outer tag.
    pub outer: (EtherType, VlanId),
    /// The 802.1Q tag behind it.
    pub inner: Option<VlanId>,
}

impl Subsystem for Pg {
    fn interface_removing(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        for stream in self.interface_leaves(cx.engine, index) {
            let interface = cx.interfaces.get(index).map_or("?", |interface| interface.name.as_str());
            tracing::warn!("packet generator: stream '{stream}' is deleted with interface {interface}");
        }
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
        let index =
            self.control.interfaces.create(&mut self.control.engine, name, Kind::Loopback, mac, mtu, tx)?;
        self.devices.list.insert(index, Device::Loopback(instance));
        Ok(index)
    }

    /// The lowest number that no loopback has.
    pub fn free_loopback(&self) -> u32 {
        let taken = |number: &u32| {
            self.devices
                .iter()
                .any(|(_, device)| matches!(device, Device::Loopback(other) if other == number))
        };
        (0..).find(|number| !taken(number)).unwrap_or(u32::MAX)
    }

    /// Creates `<port>.<id>` for frames with these tags. It is down.
    pub fn create_sub_interface(
        &mut self,
        port: InterfaceIndex,
        sub: SubInterface,
    ) -> Result<InterfaceIndex, DeviceError> {
        if let Some(Device::Loopback(_)) = self.devices.get(port) {
            let name = self.interface_name(port);
            return Err(DeviceError::Kind { name, is: "a loopback interface", expected: "a port or a TAP" });
        }
        let tags = Tags { outer: Some(sub.outer), inner: sub.inner };
        Ok(self.control.interfaces.create_sub(&mut self.control.engine, port, sub.id, tags)?)
    }

    /// Creates an interface of the packet generator, which is up at once as far as its link is concerned.
    pub fn create_pg_interface(
        &mut self,
        id: PgId,
        mode: Mode,
        mac: Option<MacAddr>,
    ) -> Result<InterfaceIndex, DeviceError> {
        if let Some((index, _)) = self.pg.interface(id) {
            return Ok(index);
        }
        let index = self.interfaces.next_index();
        let tx = self.pg.create_interface(&mut self.control.engine, id, index, mode)?;
        let mac = mac.unwrap_or_else(|| made_up_mac(1, id.0));
        let created = self.control.interfaces.create(
            &mut self.control.engine,
            &id.to_string(),
            Kind::Port,
            mac,
            PG_MTU,
            tx,
        );
        if let Err(error) = created {
            self.pg.interface_leaves(&mut self.control.engine, index);
            return Err(error.into());
        }
        self.control
            .interfaces
            .change(&mut self.control.engine, index, |interface| interface.link_up = true)?;
        self.devices.list.insert(index, Device::Pg(id));
        Ok(index)
    }
}
