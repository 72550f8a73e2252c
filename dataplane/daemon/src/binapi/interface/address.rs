// SPDX-License-Identifier: Apache-2.0
//! Addresses of interfaces, their own and borrowed ones.

use ipnet::IpNet;
use weft_binapi::Retval;
use weft_binapi::api::interface::{
    SwInterfaceAddDelAddress, SwInterfaceAddDelAddressReply, SwInterfaceAddressReplaceBegin,
    SwInterfaceAddressReplaceEnd, SwInterfaceSetUnnumbered,
};
use weft_binapi::api::ip::{IpUnnumberedDetails, IpUnnumberedDump};
use weft_binapi::api::ip_types::AddressWithPrefix;
use weft_binapi::server::{Records, Registry};
use weft_control::{Object, Replay, Value, settings};
use weft_engine::InterfaceIndex;

use crate::binapi::{changing, index, set};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change_as(
        |dataplane, changes, _, message: SwInterfaceAddDelAddress| {
            let index = changing(dataplane, changes, message.sw_if_index)?;
            match (message.is_add, message.del_all) {
                (true, _) => changes.add_address(index, net(&message.prefix)?),
                (false, false) => changes.delete(Object::Address(index, net(&message.prefix)?)),
                (false, true) => changes.delete_addresses(index),
            }
            Ok(|_: &mut _| SwInterfaceAddDelAddressReply { retval: 0 })
        },
        // On the interface itself, or on another one.
        |dataplane, message, retval| {
            let has = dataplane
                .interfaces()
                .get(InterfaceIndex(message.sw_if_index.0))
                .is_some_and(|interface| net(&message.prefix).is_ok_and(|address| interface.has(address)));
            match has && message.is_add && retval == Retval::DUPLICATE_IF_ADDRESS {
                true => Err(Retval::ADDRESS_IN_USE),
                false => Err(retval),
            }
        },
    );
    registry.change(|dataplane, changes, _, message: SwInterfaceSetUnnumbered| {
        let lender = changing(dataplane, changes, message.sw_if_index)?;
        let value = if message.is_add { Value::Interface(lender) } else { Value::None };
        set(dataplane, changes, message.unnumbered_sw_if_index, &settings::UNNUMBERED, value)
    });
    registry.dump(|dataplane, _, IpUnnumberedDump { sw_if_index }| {
        let wanted = |place: InterfaceIndex| sw_if_index.0 == u32::MAX || sw_if_index.0 == place.0;
        let borrowers = dataplane.interfaces().iter().filter(|(place, _)| wanted(*place));
        Records::ready(borrowers.filter_map(|(place, interface)| {
            let ip_sw_if_index = index(interface.unnumbered?);
            Some(IpUnnumberedDetails { sw_if_index: index(place), ip_sw_if_index })
        }))
    });
    registry.command(|dataplane, _, SwInterfaceAddressReplaceBegin {}| {
        dataplane.begin_replay(Replay::Addresses);
        Ok(())
    });
    registry.command(|dataplane, _, SwInterfaceAddressReplaceEnd {}| {
        dataplane.end_replay(Replay::Addresses);
        Ok(())
    });
}

/// An address with the length of its subnet.
fn net(address: &AddressWithPrefix) -> Result<IpNet, Retval> {
    let (address, length) = address.get().ok_or(Retval::INVALID_VALUE)?;
    IpNet::new(address, length).map_err(|_| Retval::INVALID_VALUE)
}
