// SPDX-License-Identifier: Apache-2.0
//! State, MTU, MAC address, tag, table, counters of an interface; and the news of it.

use weft_binapi::Retval;
use weft_binapi::api::ethernet_types::MacAddress;
use weft_binapi::api::interface::{
    HwInterfaceSetMtu, HwInterfaceSetMtuReply, SwInterfaceClearStats, SwInterfaceClearStatsReply,
    SwInterfaceEvent, SwInterfaceGetMacAddress, SwInterfaceGetMacAddressReply, SwInterfaceGetTable,
    SwInterfaceGetTableReply, SwInterfaceSetFlags, SwInterfaceSetFlagsReply, SwInterfaceSetMacAddress,
    SwInterfaceSetMacAddressReply, SwInterfaceSetMtu, SwInterfaceSetMtuReply, SwInterfaceSetTable,
    SwInterfaceSetTableReply, SwInterfaceTagAddDel, SwInterfaceTagAddDelReply, WantInterfaceEvents,
};
use weft_binapi::api::interface_types::IfStatusFlags;
use weft_binapi::server::Registry;
use weft_control::{Value, settings};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{AddressFamily, by_family};

use crate::baseline::Baselines;
use crate::binapi::retval::step;
use crate::binapi::{changing, version};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, SwInterfaceSetFlags { sw_if_index, flags }| {
        let index = changing(dataplane, changes, sw_if_index)?;
        let up = flags.contains(IfStatusFlags::ADMIN_UP);
        changes.set(&settings::ADMIN_STATE, index, Value::Switch(up));
        Ok(|_: &mut _| SwInterfaceSetFlagsReply { retval: 0 })
    });
    registry.change(|dataplane, changes, _, SwInterfaceSetMtu { sw_if_index, mtu: [all, ip4, _, _] }| {
        let index = changing(dataplane, changes, sw_if_index)?;
        let mtu = if ip4 == 0 { all } else { ip4 };
        changes.set(&settings::MTU, index, Value::Number(mtu.into()));
        Ok(|_: &mut _| SwInterfaceSetMtuReply { retval: 0 })
    });
    registry.change(|dataplane, changes, _, HwInterfaceSetMtu { sw_if_index, mtu }| {
        let index = changing(dataplane, changes, sw_if_index)?;
        if dataplane.interfaces().get(index).is_some_and(|interface| interface.parent().is_some()) {
            return Err(Retval::INVALID_SW_IF_INDEX);
        }
        changes.set(&settings::MTU, index, Value::Number(mtu.into()));
        Ok(|_: &mut _| HwInterfaceSetMtuReply { retval: 0 })
    });
    registry.change(|dataplane, changes, _, SwInterfaceSetMacAddress { sw_if_index, mac_address }| {
        let index = changing(dataplane, changes, sw_if_index)?;
        changes.set(&settings::MAC, index, Value::Mac(MacAddr(mac_address.0)));
        Ok(|_: &mut _| SwInterfaceSetMacAddressReply { retval: 0 })
    });
    registry.query(|dataplane, _, SwInterfaceGetMacAddress { sw_if_index }| {
        let index = dataplane.api_interface(sw_if_index)?;
        let mac = dataplane.interfaces().get(index).map(|interface| interface.mac.0).unwrap_or_default();
        Ok(SwInterfaceGetMacAddressReply { retval: 0, mac_address: MacAddress(mac) })
    });
    registry.change(|dataplane, changes, _, SwInterfaceTagAddDel { is_add, sw_if_index, tag }| {
        let index = changing(dataplane, changes, sw_if_index)?;
        let tag = match is_add {
            true => tag.get().filter(|tag| tag.is_ascii()).ok_or(Retval::INVALID_VALUE)?,
            false => "",
        };
        changes.set(&settings::TAG, index, Value::Text(tag.to_owned()));
        Ok(|_: &mut _| SwInterfaceTagAddDelReply { retval: 0 })
    });
    registry.change(|dataplane, changes, _, SwInterfaceSetTable { sw_if_index, is_ipv6, vrf_id }| {
        let index = changing(dataplane, changes, sw_if_index)?;
        let known = by_family!(version(is_ipv6), F => changes.table::<F>(dataplane, vrf_id));
        known.map_err(|error| step(&error))?;
        let setting = if is_ipv6 { &settings::IP6_TABLE } else { &settings::TABLE };
        changes.set(setting, index, Value::Number(vrf_id.into()));
        Ok(|_: &mut _| SwInterfaceSetTableReply { retval: 0 })
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
        Ok(SwInterfaceClearStatsReply { retval: 0 })
    });
    registry
        .subscription::<WantInterfaceEvents, SwInterfaceEvent>(|want| (want.enable_disable != 0, want.pid));
}
