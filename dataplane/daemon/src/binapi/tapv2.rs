// SPDX-License-Identifier: Apache-2.0
//! `tapv2`: interfaces whose other side is the host's.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use weft_binapi::Retval;
use weft_binapi::api::ethernet_types::MacAddress;
use weft_binapi::api::interface_types;
use weft_binapi::api::ip_types::Ip4Prefix;
use weft_binapi::api::tapv2::{
    SwInterfaceTapV2Details, SwInterfaceTapV2Dump, TapCreateV2, TapCreateV2Reply, TapCreateV3,
    TapCreateV3Reply, TapDeleteV2, TapFlags,
};
use weft_binapi::server::{Records, Registry};
use weft_control::{ChangeSet, Value, settings};
use weft_devices::tap::device::{TAP, TapDevice};
use weft_engine::InterfaceIndex;

use super::{common, create, delete, station};
use crate::config::interfaces::{Mtu, Tap};
use crate::config::values::HostInterface;
use crate::state::Dataplane;

/// What the kernel's side of a TAP cannot do here.
const MISSING: [TapFlags; 5] =
    [TapFlags::GSO, TapFlags::PERSIST, TapFlags::ATTACH, TapFlags::TUN, TapFlags::GRO_COALESCE];

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.change(|dataplane, changes, _, message: TapCreateV3| {
        Ok(TapCreateV3Reply { retval: 0, sw_if_index: create_tap(dataplane, changes, &message)? })
    });
    registry.change(|dataplane, changes, _, message: TapCreateV2| {
        Ok(TapCreateV2Reply { retval: 0, sw_if_index: create_tap(dataplane, changes, &newest(message))? })
    });
    registry.change(|dataplane, changes, _, TapDeleteV2 { sw_if_index }| {
        delete(dataplane, changes, sw_if_index, &TAP)
    });
    registry.dump(|dataplane, _, SwInterfaceTapV2Dump { sw_if_index }| {
        let wanted = |place: &InterfaceIndex| sw_if_index.0 == u32::MAX || sw_if_index.0 == place.0;
        let taps = dataplane.devices().all::<TapDevice>().filter(|(place, _)| wanted(place));
        Records::ready(taps.map(|(place, tap)| details(dataplane, place, tap)))
    });
}

/// The older form has one queue to transmit.
fn newest(message: TapCreateV2) -> TapCreateV3 {
    TapCreateV3 {
        num_rx_queues: message.num_rx_queues.into(),
        num_tx_queues: 1,
        id: message.id,
        use_random_mac: message.use_random_mac,
        mac_address: message.mac_address,
        tx_ring_sz: message.tx_ring_sz,
        rx_ring_sz: message.rx_ring_sz,
        host_mtu_set: message.host_mtu_set,
        host_mtu_size: message.host_mtu_size,
        host_mac_addr_set: message.host_mac_addr_set,
        host_mac_addr: message.host_mac_addr,
        host_ip4_prefix_set: message.host_ip4_prefix_set,
        host_ip4_prefix: message.host_ip4_prefix,
        host_ip6_prefix_set: message.host_ip6_prefix_set,
        host_ip6_prefix: message.host_ip6_prefix,
        host_ip4_gw_set: message.host_ip4_gw_set,
        host_ip4_gw: message.host_ip4_gw,
        host_ip6_gw_set: message.host_ip6_gw_set,
        host_ip6_gw: message.host_ip6_gw,
        tap_flags: message.tap_flags,
        host_namespace_set: message.host_namespace_set,
        host_namespace: message.host_namespace,
        host_if_name_set: message.host_if_name_set,
        host_if_name: message.host_if_name,
        host_bridge_set: message.host_bridge_set,
        host_bridge: message.host_bridge,
        tag: message.tag,
    }
}

fn create_tap(
    dataplane: &Dataplane,
    changes: &mut ChangeSet,
    message: &TapCreateV3,
) -> Result<interface_types::InterfaceIndex, Retval> {
    check(message)?;
    let name = match message.id {
        u32::MAX => {
            let free = |name: &String| changes.find_interface(dataplane, name).is_none();
            (0..u32::MAX).map(|id| format!("tap{id}")).find(free).ok_or(Retval::LIMIT_EXCEEDED)?
        }
        id => format!("tap{id}"),
    };
    let text = |set: bool, text: Option<&str>| match (set, text) {
        (false, _) | (true, Some("")) => Ok(None),
        (true, Some(text)) => Ok(Some(text.to_owned())),
        (true, None) => Err(Retval::INVALID_VALUE),
    };
    let host_name =
        text(message.host_if_name_set, message.host_if_name.get())?.unwrap_or_else(|| name.clone());
    let mut tap = Tap {
        common: common(&name)?,
        host_name: host_name.parse::<HostInterface>().map_err(|_| Retval::INVALID_VALUE)?,
        host_namespace: text(message.host_namespace_set, message.host_namespace.get())?,
        host_address: message.host_ip4_prefix_set.then(|| net(&message.host_ip4_prefix)).transpose()?,
        mac: None,
        host_mac: message.host_mac_addr_set.then(|| station(message.host_mac_addr)).transpose()?,
    };
    if !message.use_random_mac {
        tap.mac = Some(station(message.mac_address)?);
    }
    if message.host_mtu_set {
        tap.common.mtu = Some(Mtu(u16::try_from(message.host_mtu_size).map_err(|_| Retval::INVALID_VALUE)?));
    }
    let created = create(dataplane, changes, tap)?;
    let tag = message.tag.trim_end_matches('\0');
    if !tag.is_empty() {
        changes.set(&settings::TAG, InterfaceIndex(created.0), Value::Text(tag.to_owned()));
    }
    Ok(created)
}

fn check(message: &TapCreateV3) -> Result<(), Retval> {
    let on_the_host = [
        message.host_ip6_prefix_set,
        message.host_ip4_gw_set,
        message.host_ip6_gw_set,
        message.host_bridge_set,
    ];
    let flags = MISSING.iter().any(|flag| message.tap_flags.contains(*flag));
    // A TAP has one queue, which is the kernel's and needs no ring.
    if flags || on_the_host.contains(&true) || message.num_rx_queues > 1 || message.num_tx_queues > 1 {
        return Err(Retval::UNSUPPORTED);
    }
    let ring = |slots: u16| slots == 0 || (slots.is_power_of_two() && slots <= 32768);
    let tag = message.tag.trim_end_matches('\0');
    match ring(message.rx_ring_sz) && ring(message.tx_ring_sz) && tag.is_ascii() && tag.len() < 64 {
        true => Ok(()),
        false => Err(Retval::INVALID_VALUE),
    }
}

fn net(prefix: &Ip4Prefix) -> Result<Ipv4Net, Retval> {
    Ipv4Net::new(Ipv4Addr::from(prefix.address), prefix.len).map_err(|_| Retval::INVALID_VALUE)
}

fn details(dataplane: &Dataplane, place: InterfaceIndex, tap: &TapDevice) -> SwInterfaceTapV2Details {
    let name = dataplane.interface_name(place);
    let id = name.strip_prefix("tap").and_then(|id| id.parse().ok()).unwrap_or(u32::MAX);
    // One that has gone is still there for clients that want to delete it.
    let link = tap.tap.netdev().link().ok();
    let mac = link.as_ref().and_then(|link| link.mac).map(|mac| mac.0).unwrap_or_default();
    let namespace = tap.host.namespace().map(|path| path.display().to_string()).unwrap_or_default();
    SwInterfaceTapV2Details {
        sw_if_index: place.0,
        id,
        host_mtu_size: link.map_or(0, |link| link.mtu),
        host_mac_addr: MacAddress(mac),
        dev_name: name.as_str().into(),
        host_if_name: tap.host.name().into(),
        host_namespace: namespace.as_str().into(),
        ..SwInterfaceTapV2Details::default()
    }
}
