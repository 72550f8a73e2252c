// SPDX-License-Identifier: Apache-2.0
//! What an interface looks like to clients.

use weft_binapi::api::ethernet_types::MacAddress;
use weft_binapi::api::interface::{SwInterfaceDetails, SwInterfaceDump};
use weft_binapi::api::interface_types::{IfStatusFlags, IfType, SubIfFlags};
use weft_binapi::server::{Records, Registry};
use weft_devices::device::Device;
use weft_engine::InterfaceIndex;
use weft_l2::Tag;
use weft_nodes::headers::EtherType;
use weft_nodes::interface::{Interface, Interfaces};

use crate::binapi::index;
use crate::binapi::l2::OPERATIONS;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.dump(|_, _, SwInterfaceDump { sw_if_index, name_filter_valid, name_filter }| {
        let filter = name_filter_valid.then(|| name_filter.to_ascii_lowercase());
        let wanted = move |place: InterfaceIndex, interface: &Interface| match (&filter, sw_if_index.0) {
            (Some(filter), _) => interface.name.to_ascii_lowercase().contains(filter),
            (None, 0 | u32::MAX) => true,
            (None, only) => place.0 == only,
        };
        let mut next = 0;
        Records::new(move |dataplane: &mut Dataplane| {
            let mut rest = dataplane.interfaces().iter().filter(|(place, _)| place.0 >= next);
            let (place, interface) = rest.find(|(place, interface)| wanted(*place, interface))?;
            next = place.0 + 1;
            Some(details(dataplane, place, interface))
        })
    });
}

fn details(dataplane: &Dataplane, place: InterfaceIndex, interface: &Interface) -> SwInterfaceDetails {
    let mtu = interface.mtu;
    let mut details = SwInterfaceDetails {
        sw_if_index: index(place),
        sup_sw_if_index: place.0,
        l2_address: MacAddress(interface.mac.0),
        flags: flags(dataplane.interfaces(), interface),
        r#type: IfType::HARDWARE,
        link_mtu: mtu,
        // That of all protocols; those of single ones follow it.
        mtu: [mtu.into(), 0, 0, 0],
        interface_name: interface.name.as_str().into(),
        interface_dev_type: device_type(dataplane.devices().get(place)).into(),
        tag: interface.tag.as_str().into(),
        ..SwInterfaceDetails::default()
    };
    if let Some(rewrite) = dataplane.switch().config().ports.get(&place).and_then(|port| port.rewrite) {
        let operation = OPERATIONS.iter().position(|it| *it == (rewrite.pop, rewrite.pushed()));
        details.vtr_op = operation.unwrap_or(0) as u32;
        details.vtr_push_dot1q = u32::from(rewrite.push[0].is_some_and(|tag| tag.kind == EtherType::VLAN));
        let vlan = |tag: Option<Tag>| tag.map_or(0, |tag| u32::from(tag.vlan.get()));
        [details.vtr_tag1, details.vtr_tag2] = rewrite.push.map(vlan);
    }
    if let Some(parent) = interface.parent() {
        let tags = interface.tags();
        details.r#type = IfType::SUB;
        details.sup_sw_if_index = parent.0;
        details.interface_dev_type = device_type(dataplane.devices().get(parent)).into();
        details.sub_id = interface.kind.sub_id().unwrap_or(0);
        let mut flags = SubIfFlags::EXACT_MATCH;
        if let Some((kind, vlan)) = tags.outer {
            details.sub_outer_vlan_id = vlan.get();
            details.sub_number_of_tags = 1;
            if kind == EtherType::QINQ {
                flags = flags | SubIfFlags::DOT1AD;
            }
        }
        if let Some(vlan) = tags.inner {
            details.sub_inner_vlan_id = vlan.get();
            details.sub_number_of_tags = 2;
        }
        let count = [SubIfFlags::NO_TAGS, SubIfFlags::ONE_TAG, SubIfFlags::TWO_TAGS];
        details.sub_if_flags = flags | count[usize::from(details.sub_number_of_tags)];
    }
    details
}

/// Up by the operator, up by the link: that of the port below for a sub-interface.
pub fn flags(interfaces: &Interfaces, interface: &Interface) -> IfStatusFlags {
    let mut flags = IfStatusFlags(0);
    if interface.admin_up {
        flags = flags | IfStatusFlags::ADMIN_UP;
    }
    if interfaces.link_is_up(interface) {
        flags = flags | IfStatusFlags::LINK_UP;
    }
    flags
}

/// VPP's name of the device class.
fn device_type(device: Option<&dyn Device>) -> &'static str {
    device.map_or("", |device| device.kind().class)
}
