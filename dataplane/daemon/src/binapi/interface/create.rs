// SPDX-License-Identifier: Apache-2.0
//! Loopbacks and sub-interfaces come and go.

use weft_binapi::Retval;
use weft_binapi::api::ethernet_types::MacAddress;
use weft_binapi::api::interface::{
    CreateLoopback, CreateLoopbackInstance, CreateLoopbackInstanceReply, CreateLoopbackReply, CreateSubif,
    CreateSubifReply, CreateVlanSubif, CreateVlanSubifReply, DeleteLoopback, DeleteLoopbackReply,
    DeleteSubif, DeleteSubifReply,
};
use weft_binapi::api::interface_types::SubIfFlags;
use weft_binapi::server::Registry;
use weft_devices as devices;
use weft_devices::loopback::LOOPBACK;
use weft_engine::InterfaceIndex;
use weft_nodes::headers::{EtherType, VlanId};

use crate::binapi::{common, index, retval, station};
use crate::config::interfaces::{LAST_LOOPBACK, Loopback};
use crate::ports::SubInterface;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.command(|dataplane, _, CreateLoopback { mac_address }| {
        let created = loopback(dataplane, mac_address, None)?;
        Ok(CreateLoopbackReply { retval: 0, sw_if_index: index(created) })
    });
    registry.command(|dataplane, _, CreateLoopbackInstance { mac_address, is_specified, user_instance }| {
        let created = loopback(dataplane, mac_address, is_specified.then_some(user_instance))?;
        Ok(CreateLoopbackInstanceReply { retval: 0, sw_if_index: index(created) })
    });
    registry.command(|dataplane, _, DeleteLoopback { sw_if_index }| {
        let index = dataplane.api_interface(sw_if_index)?;
        if !dataplane.devices.is(index, &LOOPBACK) {
            return Err(Retval::INVALID_SW_IF_INDEX);
        }
        dataplane.delete_interface(index).map_err(retval::device)?;
        Ok(DeleteLoopbackReply { retval: 0 })
    });
    registry.command(|dataplane, _, CreateVlanSubif { sw_if_index, vlan_id }| {
        let port = dataplane.api_interface(sw_if_index)?;
        let vlan = u16::try_from(vlan_id).ok().and_then(vlan).ok_or(Retval::INVALID_VLAN)?;
        let sub = SubInterface { id: vlan_id, outer: (EtherType::VLAN, vlan), inner: None };
        let created = dataplane.create_sub_interface(port, sub).map_err(retval::device)?;
        Ok(CreateVlanSubifReply { retval: 0, sw_if_index: index(created) })
    });
    registry.command(|dataplane, _, message: CreateSubif| {
        let port = dataplane.api_interface(message.sw_if_index)?;
        let created =
            dataplane.create_sub_interface(port, sub_interface(&message)?).map_err(retval::device)?;
        Ok(CreateSubifReply { retval: 0, sw_if_index: index(created) })
    });
    registry.command(|dataplane, _, DeleteSubif { sw_if_index }| {
        let index = dataplane.api_interface(sw_if_index)?;
        if dataplane.interfaces.get(index).is_none_or(|interface| interface.parent().is_none()) {
            return Err(Retval::INVALID_SUB_SW_IF_INDEX);
        }
        dataplane.delete_interface(index).map_err(retval::device)?;
        Ok(DeleteSubifReply { retval: 0 })
    });
}

fn loopback(
    dataplane: &mut Dataplane,
    mac: MacAddress,
    instance: Option<u32>,
) -> Result<InterfaceIndex, Retval> {
    let mac = if mac.0 == [0; 6] { None } else { Some(station(mac)?) };
    let free = |dataplane: &Dataplane, number: u32| {
        !dataplane.devices.all::<devices::loopback::Loopback>().any(|(_, other)| other.instance == number)
    };
    let instance = match instance {
        None => dataplane.free_loopback(),
        Some(instance) if instance > LAST_LOOPBACK || !free(dataplane, instance) => {
            return Err(Retval::INVALID_REGISTRATION);
        }
        Some(instance) => instance,
    };
    let common = common(&format!("loop{instance}"))?;
    dataplane.create_loopback(&Loopback { common, instance, mac }).map_err(retval::device)
}

/// VLANs that an operator can use: IEEE 802.1Q reserves 0 and 4095.
fn vlan(number: u16) -> Option<VlanId> {
    VlanId::new(number).filter(|vlan| (1..=4094).contains(&vlan.get()))
}

/// Frames are told apart by exact tags only.
fn sub_interface(message: &CreateSubif) -> Result<SubInterface, Retval> {
    let flags = message.sub_if_flags;
    let loose = [
        SubIfFlags::DEFAULT,
        SubIfFlags::NO_TAGS,
        SubIfFlags::OUTER_VLAN_ID_ANY,
        SubIfFlags::INNER_VLAN_ID_ANY,
        SubIfFlags::DOT1AH,
    ];
    if loose.iter().any(|flag| flags.contains(*flag)) {
        return Err(Retval::UNSUPPORTED);
    }
    let vlan = |number| vlan(number).ok_or(Retval::INVALID_VLAN);
    let kind = if flags.contains(SubIfFlags::DOT1AD) { EtherType::QINQ } else { EtherType::VLAN };
    let outer = (kind, vlan(message.outer_vlan_id)?);
    let inner = match (flags.contains(SubIfFlags::ONE_TAG), flags.contains(SubIfFlags::TWO_TAGS)) {
        (true, false) => None,
        (false, true) => Some(vlan(message.inner_vlan_id)?),
        _ => return Err(Retval::INVALID_VLAN_TAG_COUNT),
    };
    Ok(SubInterface { id: message.sub_id, outer, inner })
}
