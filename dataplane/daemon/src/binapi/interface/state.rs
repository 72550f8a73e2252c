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
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Kind;

use crate::binapi::retval::device;
use crate::binapi::transaction::Setting;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, transaction, _, SwInterfaceSetFlags { sw_if_index, flags }| {
        let index = transaction.interface(dataplane, sw_if_index.0)?;
        transaction.set(Setting::AdminState(index, flags.contains(IfStatusFlags::ADMIN_UP)));
        Ok(|_: &mut _| SwInterfaceSetFlagsReply { retval: 0 })
    });
    registry.change(|dataplane, transaction, _, SwInterfaceSetMtu { sw_if_index, mtu: [all, ip4, _, _] }| {
        let index = transaction.interface(dataplane, sw_if_index.0)?;
        transaction.set(Setting::Mtu(index, if ip4 == 0 { all } else { ip4 }));
        Ok(|_: &mut _| SwInterfaceSetMtuReply { retval: 0 })
    });
    registry.change(|dataplane, transaction, _, HwInterfaceSetMtu { sw_if_index, mtu }| {
        let index = transaction.interface(dataplane, sw_if_index.0)?;
        if let Some(Kind::Sub { .. }) = dataplane.interfaces.get(index).map(|interface| interface.kind) {
            return Err(Retval::INVALID_SW_IF_INDEX);
        }
        transaction.set(Setting::Mtu(index, mtu.into()));
        Ok(|_: &mut _| HwInterfaceSetMtuReply { retval: 0 })
    });
    registry.command(|dataplane, _, SwInterfaceSetMacAddress { sw_if_index, mac_address }| {
        let index = dataplane.api_interface(sw_if_index)?;
        let mac = MacAddr(mac_address.0);
        if !mac.is_station() {
            return Err(Retval::INVALID_VALUE);
        }
        dataplane.set_mac(index, mac).map_err(device)?;
        Ok(SwInterfaceSetMacAddressReply { retval: 0 })
    });
    registry.query(|dataplane, _, SwInterfaceGetMacAddress { sw_if_index }| {
        let index = dataplane.api_interface(sw_if_index)?;
        let mac = dataplane.interfaces.get(index).map(|interface| interface.mac.0).unwrap_or_default();
        Ok(SwInterfaceGetMacAddressReply { retval: 0, mac_address: MacAddress(mac) })
    });
    registry.change(|dataplane, transaction, _, SwInterfaceTagAddDel { is_add, sw_if_index, tag }| {
        let index = transaction.interface(dataplane, sw_if_index.0)?;
        let tag = match is_add {
            true => tag.get().filter(|tag| tag.is_ascii()).ok_or(Retval::INVALID_VALUE)?,
            false => "",
        };
        transaction.set(Setting::Tag(index, tag.to_owned()));
        Ok(|_: &mut _| SwInterfaceTagAddDelReply { retval: 0 })
    });
    registry.change(|dataplane, transaction, _, SwInterfaceSetTable { sw_if_index, is_ipv6, vrf_id }| {
        let index = transaction.interface(dataplane, sw_if_index.0)?;
        if is_ipv6 {
            return Err(Retval::UNSUPPORTED);
        }
        let table = transaction.table(dataplane, vrf_id)?;
        transaction.set(Setting::Table(index, table));
        Ok(|_: &mut _| SwInterfaceSetTableReply { retval: 0 })
    });
    registry.query(|dataplane, _, SwInterfaceGetTable { sw_if_index, is_ipv6 }| {
        let index = dataplane.api_interface(sw_if_index)?;
        if is_ipv6 {
            return Err(Retval::UNSUPPORTED);
        }
        let table =
            dataplane.interfaces.get(index).and_then(|interface| dataplane.router.table(interface.table4));
        Ok(SwInterfaceGetTableReply { retval: 0, vrf_id: table.ok_or(Retval::NO_SUCH_FIB)?.id })
    });
    registry.command(|dataplane, _, SwInterfaceClearStats { sw_if_index }| {
        let only = match sw_if_index.0 {
            u32::MAX => None,
            _ => Some(dataplane.api_interface(sw_if_index)?),
        };
        let Dataplane { baselines, engine, interfaces, .. } = dataplane;
        let wanted =
            interfaces.iter().map(|(index, _)| index).filter(|index| only.is_none_or(|only| only == *index));
        baselines.clear_interfaces(&engine.counters, wanted);
        Ok(SwInterfaceClearStatsReply { retval: 0 })
    });
    registry
        .subscription::<WantInterfaceEvents, SwInterfaceEvent>(|want| (want.enable_disable != 0, want.pid));
}
