// SPDX-License-Identifier: Apache-2.0
//! Loopbacks and sub-interfaces come and go.

use weft_binapi::Retval;
use weft_binapi::api::ethernet_types::MacAddress;
use weft_binapi::api::interface::{
    CreateLoopback, CreateLoopbackInstance, CreateLoopbackInstanceReply, CreateLoopbackReply, CreateSubif,
    CreateSubifReply, CreateVlanSubif, CreateVlanSubifReply, DeleteLoopback, DeleteSubif,
};
use weft_binapi::api::interface_types::{self, SubIfFlags};
use weft_binapi::server::Registry;
use weft_control::ChangeSet;
use weft_devices::loopback::LOOPBACK;
use weft_nodes::headers::{EtherType, VlanId};
use weft_nodes::interface::Tags;

use crate::binapi::{changing, common, create, delete, index, retval, station};
use crate::config::interfaces::{LAST_LOOPBACK, Loopback};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, CreateLoopback { mac_address }| {
        let sw_if_index = loopback(dataplane, changes, mac_address, None)?;
        Ok(CreateLoopbackReply { retval: 0, sw_if_index })
    });
    registry.change(|dataplane, changes, _, message: CreateLoopbackInstance| {
        let instance = message.is_specified.then_some(message.user_instance);
        let sw_if_index = loopback(dataplane, changes, message.mac_address, instance)?;
        Ok(CreateLoopbackInstanceReply { retval: 0, sw_if_index })
    });
    registry.change(|dataplane, changes, _, DeleteLoopback { sw_if_index }| {
        delete(dataplane, changes, sw_if_index, &LOOPBACK)
    });
    registry.change(|dataplane, changes, _, CreateVlanSubif { sw_if_index, vlan_id }| {
        let vlan = u16::try_from(vlan_id).ok().and_then(vlan).ok_or(Retval::INVALID_VLAN)?;
        let tags = Tags { outer: Some((EtherType::VLAN, vlan)), inner: None };
        let sw_if_index = sub(dataplane, changes, sw_if_index, vlan_id, tags)?;
        Ok(CreateVlanSubifReply { retval: 0, sw_if_index })
    });
    registry.change(|dataplane, changes, _, message: CreateSubif| {
        let sw_if_index = sub(dataplane, changes, message.sw_if_index, message.sub_id, tags(&message)?)?;
        Ok(CreateSubifReply { retval: 0, sw_if_index })
    });
    registry.change(|dataplane, changes, _, DeleteSubif { sw_if_index }| {
        let index = changing(dataplane, changes, sw_if_index)?;
        if changes.port_below(dataplane, index).is_none() {
            return Err(Retval::INVALID_SUB_SW_IF_INDEX);
        }
        changes.delete_interface(dataplane, index).map_err(|error| retval::step(&error))
    });
}

fn sub(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    port: interface_types::InterfaceIndex,
    id: u32,
    tags: Tags,
) -> Result<interface_types::InterfaceIndex, Retval> {
    let port = changing(dataplane, changes, port)?;
    let created = changes.create_sub_interface(dataplane, port, id, tags);
    created.map(index).map_err(|error| retval::step(&error))
}

fn loopback(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    mac: MacAddress,
    instance: Option<u32>,
) -> Result<interface_types::InterfaceIndex, Retval> {
    let mac = if mac.0 == [0; 6] { None } else { Some(station(mac)?) };
    let instance = match instance {
        None => dataplane.free_loopback(changes),
        Some(instance)
            if instance <= LAST_LOOPBACK
                && (dataplane.is_free_loopback(changes, instance)
                    || changes.says_again(dataplane, &format!("loop{instance}")).is_some()) =>
        {
            instance
        }
        Some(_) => return Err(Retval::INVALID_REGISTRATION),
    };
    let common = common(&format!("loop{instance}"))?;
    create(dataplane, changes, Loopback { common, instance, mac })
}

/// VLANs that an operator can use: IEEE 802.1Q reserves 0 and 4095.
fn vlan(number: u16) -> Option<VlanId> {
    VlanId::new(number).filter(|vlan| (1..=4094).contains(&vlan.get()))
}

/// Frames are told apart by exact tags only.
fn tags(message: &CreateSubif) -> Result<Tags, Retval> {
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
    Ok(Tags { outer: Some(outer), inner })
}
