// SPDX-License-Identifier: Apache-2.0
//! Sub-interfaces: the frames of a port that carry certain VLAN tags. The device is that of the port.

use weft_engine::InterfaceIndex;
use weft_nodes::headers::{EtherType, VlanId};
use weft_nodes::interface::Tags;

use super::DeviceError;
use crate::state::Dataplane;

/// The tags of a sub-interface, as the operator says them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubInterface {
    /// Number in the name.
    pub id: u32,
    /// Type and id of the outer tag.
    pub outer: (EtherType, VlanId),
    /// The 802.1Q tag after it.
    pub inner: Option<VlanId>,
}

impl Dataplane {
    /// Creates `<port>.<id>` for frames with these tags. It is down.
    pub fn create_sub_interface(
        &mut self,
        port: InterfaceIndex,
        sub: SubInterface,
    ) -> Result<InterfaceIndex, DeviceError> {
        if let Some(device) = self.devices.get(port).filter(|device| !device.kind().has_subs) {
            let (name, is) = (self.interface_name(port), device.kind().sentence);
            return Err(DeviceError::Kind { name, is, expected: "a port or a TAP" });
        }
        let tags = Tags { outer: Some(sub.outer), inner: sub.inner };
        Ok(self.control.interfaces.create_sub(&mut self.control.engine, port, sub.id, tags)?)
    }
}
