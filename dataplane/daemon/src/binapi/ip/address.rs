// SPDX-License-Identifier: Apache-2.0
//! Which interfaces have which addresses, and on which IPv6 is enabled.

use ipnet::IpNet;
use weft_binapi::Retval;
use weft_binapi::api::ip::{
    IpAddressDetails, IpAddressDump, IpDetails, IpDump, SwInterfaceIp6EnableDisable,
    SwInterfaceIp6GetLinkLocalAddress, SwInterfaceIp6GetLinkLocalAddressReply,
    SwInterfaceIp6SetLinkLocalAddress,
};
use weft_binapi::api::ip_types::Ip6Address;
use weft_binapi::server::{Records, Registry};
use weft_control::{Value, settings};
use weft_nodes::interface::{AddressFamily, Ip6, IpVersion, by_family};

use crate::binapi::{index, set, version};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.dump(|dataplane, _, IpAddressDump { sw_if_index, is_ipv6 }| {
        let interface =
            dataplane.api_interface(sw_if_index).ok().and_then(|index| dataplane.interfaces().get(index));
        let all = interface.into_iter().flat_map(|interface| interface.addresses());
        let wanted = |address: &IpNet| IpVersion::from(*address) == version(is_ipv6);
        Records::ready(all.filter(wanted).map(|address| IpAddressDetails {
            sw_if_index,
            prefix: (address.addr(), address.prefix_len()).into(),
        }))
    });
    registry.dump(|dataplane, _, IpDump { is_ipv6 }| {
        let all = dataplane.interfaces().iter();
        let routed = all.filter(|(_, it)| by_family!(version(is_ipv6), F => F::of(it).is_enabled()));
        Records::ready(routed.map(|(place, _)| IpDetails { sw_if_index: index(place), is_ipv6 }))
    });
    registry.change(|dataplane, changes, _, SwInterfaceIp6EnableDisable { sw_if_index, enable }| {
        set(dataplane, changes, sw_if_index, &settings::IP6, Value::Switch(enable))
    });
    // Who chooses a link-local address wants IPv6 there.
    registry.change(|dataplane, changes, _, SwInterfaceIp6SetLinkLocalAddress { sw_if_index, ip }| {
        set(dataplane, changes, sw_if_index, &settings::IP6_LINK_LOCAL, Value::Ip6(ip.0.into()))?;
        set(dataplane, changes, sw_if_index, &settings::IP6, Value::Switch(true))
    });
    registry.query(|dataplane, _, SwInterfaceIp6GetLinkLocalAddress { sw_if_index }| {
        let index = dataplane.api_interface(sw_if_index)?;
        let address = dataplane.interfaces().effective::<Ip6>(index).and_then(|ip6| ip6.link_local);
        let address = address.ok_or(Retval::IP6_NOT_ENABLED)?;
        Ok(SwInterfaceIp6GetLinkLocalAddressReply { retval: 0, ip: Ip6Address(address.octets()) })
    });
}
