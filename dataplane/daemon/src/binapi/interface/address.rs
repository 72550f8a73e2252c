// SPDX-License-Identifier: Apache-2.0
//! Addresses of interfaces, their own and borrowed ones.

use ipnet::Ipv4Net;
use weft_binapi::Retval;
use weft_binapi::api::interface::{
    SwInterfaceAddDelAddress, SwInterfaceAddDelAddressReply, SwInterfaceAddressReplaceBegin,
    SwInterfaceAddressReplaceBeginReply, SwInterfaceAddressReplaceEnd, SwInterfaceAddressReplaceEndReply,
    SwInterfaceSetUnnumbered, SwInterfaceSetUnnumberedReply,
};
use weft_binapi::api::ip::{IpUnnumberedDetails, IpUnnumberedDump};
use weft_binapi::api::ip_types::AddressWithPrefix;
use weft_binapi::server::{Records, Registry};
use weft_engine::InterfaceIndex;
use weft_nodes::interface::Interface;

use crate::binapi::belongings::{Replay, Thing};
use crate::binapi::transaction::Setting;
use crate::binapi::{index, ip4};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, transaction, session, message: SwInterfaceAddDelAddress| {
        let index = transaction.interface(dataplane, message.sw_if_index.0)?;
        transaction.set(match (message.is_add, message.del_all) {
            (true, _) => Setting::Address(index, net(&message.prefix)?, dataplane.agent(session)),
            (false, false) => Setting::NoAddress(index, net(&message.prefix)?),
            (false, true) => Setting::NoAddresses(index),
        });
        Ok(|_: &mut _| SwInterfaceAddDelAddressReply { retval: 0 })
    });
    registry.change(|dataplane, transaction, _, message: SwInterfaceSetUnnumbered| {
        let lender = transaction.interface(dataplane, message.sw_if_index.0)?;
        let index = transaction.interface(dataplane, message.unnumbered_sw_if_index.0)?;
        transaction.set(Setting::Lender(index, message.is_add.then_some(lender)));
        Ok(|_: &mut _| SwInterfaceSetUnnumberedReply { retval: 0 })
    });
    registry.dump(|dataplane, _, IpUnnumberedDump { sw_if_index }| {
        let wanted = |place: InterfaceIndex| sw_if_index.0 == u32::MAX || sw_if_index.0 == place.0;
        let borrowers = dataplane.interfaces.iter().filter(|(place, _)| wanted(*place));
        let details = borrowers.filter_map(|(place, interface)| {
            let ip_sw_if_index = index(interface.unnumbered?);
            Some(IpUnnumberedDetails { sw_if_index: index(place), ip_sw_if_index })
        });
        Records::ready(details.collect::<Vec<_>>())
    });
    registry.command(|dataplane, _, SwInterfaceAddressReplaceBegin {}| {
        let of = |(index, interface): (InterfaceIndex, &Interface)| {
            let addresses = interface.addresses4.clone();
            addresses.into_iter().map(move |address| Thing::Address(index, address))
        };
        let all = dataplane.interfaces.iter().flat_map(of).collect();
        dataplane.agents.belongings.begin(Replay::Addresses, all);
        Ok(SwInterfaceAddressReplaceBeginReply { retval: 0 })
    });
    registry.command(|dataplane, _, SwInterfaceAddressReplaceEnd {}| {
        dataplane.end_replay(Replay::Addresses)?;
        Ok(SwInterfaceAddressReplaceEndReply { retval: 0 })
    });
}

/// An address with the length of its subnet.
fn net(address: &AddressWithPrefix) -> Result<Ipv4Net, Retval> {
    let (address, length) = address.get().ok_or(Retval::INVALID_VALUE)?;
    Ipv4Net::new(ip4(address)?, length).map_err(|_| Retval::INVALID_VALUE)
}
