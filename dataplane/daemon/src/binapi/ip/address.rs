// SPDX-License-Identifier: Apache-2.0
//! Which interfaces have which addresses.

use std::net::IpAddr;

use weft_binapi::api::ip::{IpAddressDetails, IpAddressDump, IpDetails, IpDump};
use weft_binapi::server::{Records, Registry};

use crate::binapi::index;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.dump(|dataplane, _, IpAddressDump { sw_if_index, is_ipv6 }| {
        let interface =
            dataplane.api_interface(sw_if_index).ok().and_then(|index| dataplane.interfaces.get(index));
        let addresses = interface.filter(|_| !is_ipv6).map(|interface| interface.ip4.addresses.clone());
        Records::ready(addresses.unwrap_or_default().into_iter().map(move |address| IpAddressDetails {
            sw_if_index,
            prefix: (IpAddr::V4(address.addr()), address.prefix_len()).into(),
        }))
    });
    registry.dump(|dataplane, _, IpDump { is_ipv6 }| {
        let routed = dataplane
            .interfaces
            .iter()
            .filter(|(_, interface)| !is_ipv6 && !interface.ip4.addresses.is_empty());
        let details = routed.map(|(place, _)| IpDetails { sw_if_index: index(place), is_ipv6: false });
        Records::ready(details.collect::<Vec<_>>())
    });
}
