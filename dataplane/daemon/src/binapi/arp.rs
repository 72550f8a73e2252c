// SPDX-License-Identifier: Apache-2.0
//! `arp`: proxy ARP of an interface. It answers for all that is reached by other interfaces (RFC 1027), so the
//! messages about ranges of addresses are not offered.

use weft_binapi::api::arp::{ProxyArpIntfcDetails, ProxyArpIntfcDump, ProxyArpIntfcEnableDisable};
use weft_binapi::api::interface_types::InterfaceIndex;
use weft_binapi::server::{Records, Registry};
use weft_control::{Value, settings};

use super::set;
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, ProxyArpIntfcEnableDisable { sw_if_index, enable }| {
        let index = InterfaceIndex(sw_if_index.0);
        set(dataplane, changes, index, &settings::PROXY_ARP, Value::Switch(enable))
    });
    registry.dump(|dataplane, _, ProxyArpIntfcDump {}| {
        let proxies = dataplane.interfaces().iter().filter(|(_, interface)| interface.proxy_arp);
        Records::ready(proxies.map(|(index, _)| ProxyArpIntfcDetails { sw_if_index: index.0 }))
    });
}
