// SPDX-License-Identifier: Apache-2.0
//! State, MTU, MAC address, tag, table, counters of an interface; and the news of it.

use weft_binapi::Retval;
use weft_binapi::api::ethernet_types::MacAddress;
use weft_binapi::api::interface::{
    HwInterfaceSetMtu, SwInterfaceClearStats, SwInterfaceEvent, SwInterfaceGetMacAddress,
    SwInterfaceGetMacAddressReply, SwInterfaceGetTable, SwInterfaceGetTableReply, SwInterfaceSetFlags,
    SwInterfaceSetMacAddress, SwInterfaceSetMtu, SwInterfaceSetTable, SwInterfaceTagAddDel,
    WantInterfaceEvents,
};
use weft_binapi::api::interface_types::IfStatusFlags;
use weft_binapi::server::Registry;
use weft_control::{Value, settings};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{AddressFamily, by_family};

use crate::baseline::Baselines;
use crate::binapi::retval::step;
use crate::binapi::{changing, set, version};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, SwInterfaceSetFlags { sw_if_index, flags }| {
        let up = flags.contains(IfStatusFlags::ADMIN_UP);
        set(dataplane, changes, sw_if_index, &settings::ADMIN_STATE, Value::Switch(up))
    });
    registry.change(|dataplane, changes, _, SwInterfaceSetMtu { sw_if_index, mtu: [all, ip4, _, _] }| {
        let mtu = if ip4 == 0 { all } else { ip4 };
        set(dataplane, changes, sw_if_index, &settings::MTU, Value::Number(mtu.into()))
    });
    registry.change(|dataplane, changes, _, HwInterfaceSetMtu { sw_if_index, mtu }| {
        let index = changing(dataplane, changes, sw_if_index)?;
        if dataplane.interfaces().get(index).is_some_and(|interface| interface.parent().is_some()) {
            return Err(Retval::INVALID_SW_IF_INDEX);
        }
        set(dataplane, changes, sw_if_index, &settings::MTU, Value::Number(mtu.into()))
    });
    registry.change(|dataplane, changes, _, SwInterfaceSetMacAddress { sw_if_index, mac_address }| {
        set(dataplane, changes, sw_if_index, &settings::MAC, Value::Mac(MacAddr(mac_address.0)))
    });
    registry.query(|dataplane, _, SwInterfaceGetMacAddress { sw_if_index }| {
        let index = dataplane.api_interface(sw_if_index)?;
        let mac = dataplane.interfaces().get(index).map(|interface| interface.mac.0).unwrap_or_default();
        Ok(SwInterfaceGetMacAddressReply { retval: 0, mac_address: MacAddress(mac) })
    });
    registry.change(|dataplane, changes, _, SwInterfaceTagAddDel { is_add, sw_if_index, tag }| {
        changing(dataplane, changes, sw_if_index)?;
        let tag = match is_add {
            true => tag.get().filter(|tag| tag.is_ascii()).ok_or(Retval::INVALID_VALUE)?,
            false => "",
        };
        set(dataplane, changes, sw_if_index, &settings::TAG, Value::Text(tag.to_owned()))
    });
    registry.change(|dataplane, changes, _, SwInterfaceSetTable { sw_if_index, is_ipv6, vrf_id }| {
        changing(dataplane, changes, sw_if_index)?;
        let known = by_family!(version(is_ipv6), F => changes.table::<F>(dataplane, vrf_id));
        known.map_err(|error| step(&error))?;
        let setting = if is_ipv6 { &settings::IP6_TABLE } else { &settings::TABLE };
        set(dataplane, changes, sw_if_index, setting, Value::Number(vrf_id.into()))
    });
    registry.query(|dataplane, _, SwInterfaceGetTable { sw_if_index, is_ipv6 }| {
        let index = dataplane.api_interface(sw_if_index)?;
        let interface = dataplane.interfaces().get(index);
        let vrf_id = by_family!(version(is_ipv6), F => {
            let table = interface.and_then(|interface| dataplane.router().table::<F>(F::of(interface).table));
            table.map(|table| table.id)
        });
        Ok(SwInterfaceGetTableReply { retval: 0, vrf_id: vrf_id.ok_or(Retval::NO_SUCH_FIB)? })
    });
    registry.command(|dataplane, _, SwInterfaceClearStats { sw_if_index }| {
        let only = dataplane.api_interface_or_all(sw_if_index)?;
        let (baselines, control) = dataplane.part_and_control::<Baselines>();
        let all = control.interfaces().iter().map(|(index, _)| index);
        let wanted = all.filter(|index| only.is_none_or(|only| only == *index));
        baselines.clear_interfaces(&control.engine().counters, wanted);
        Ok(())
    });
    registry
        .subscription::<WantInterfaceEvents, SwInterfaceEvent>(|want| (want.enable_disable != 0, want.pid));
}
