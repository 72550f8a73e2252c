// SPDX-License-Identifier: Apache-2.0
//! TAPs: as interfaces of their own, and as the host's side of a port.
//!
//! The host's side has the MAC address of its port, so that the host's stack takes what Weft punts to it, and lives in
//! the network namespace of the port's Linux interface, in whose place it stands.

mod cli;

use std::path::Path;
use std::sync::Arc;

use weft_control::{Described, Opened};
use weft_devices::af_xdp::device::XdpDevice;
use weft_devices::closing::HostKey;
use weft_devices::netdev;
use weft_devices::netns::NetNs;
use weft_devices::tap::device::{HostTap, TAP, TapDevice};
use weft_devices::tap::input::Side;
use weft_devices::tap::output::{TAP_OUTPUT, TapOutput};
use weft_devices::tap::{Tap, TapConfig};
use weft_engine::graph::NodeDef;
use weft_engine::{Engine, InterfaceIndex, NodeId};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{Interface, Kind};

use super::{DeviceError, DeviceWords, Devices, Opening, host_key, kind, made_up_mac};
use crate::config::check::Findings;
use crate::config::interfaces::{self, Common, Link, Settings};
use crate::config::values::HostInterface;
use crate::state::Dataplane;

kind!(DeviceWords { kind: &TAP, keys: &[interfaces::TAP], commands: cli::commands });

/// What the kernel gives to a TAP (ether_setup, net/ethernet/eth.c).
const TAP_MTU: u16 = 1500;

impl Settings for interfaces::Tap {
    fn common(&self) -> &Common {
        &self.common
    }

    fn describe(&self, _: &Devices, index: InterfaceIndex) -> Result<Described, DeviceError> {
        let host = host_key(&self.host_name, self.host_namespace.as_deref());
        host.link_name()?;
        let mac = self.mac.map_or_else(|| made_up_mac(0, index.0), |mac| MacAddr(mac.0));
        Ok(Described::new(Kind::Port, mac, self.common.mtu.map_or(TAP_MTU, |mtu| mtu.0)))
    }

    fn open(&self, cx: &mut Opening<'_>) -> Result<Opened, DeviceError> {
        let Opening { engine, parts, index, interface } = cx;
        let devices = parts.get_mut::<Devices>();
        let host = host_key(&self.host_name, self.host_namespace.as_deref());
        devices.wait_until_closed(engine, &host)?;
        let tap = Arc::new(Tap::create(&TapConfig {
            namespace: host.namespace().map(Into::into),
            mac: self.host_mac.map(|mac| netdev::MacAddr(mac.0)),
            mtu: self.common.mtu.map(|mtu| mtu.0.into()),
            address: self.host_address,
            ..TapConfig::new(host.link_name()?)
        })?);
        let worker = devices.placement.choose(None, None)?;
        let tx = add_tap_node(engine, &interface.name, Some(*index), &tap)?;
        devices.place_tap(engine, worker, *index, Side::Interface(*index), &tap);
        tracing::info!("{}: TAP {} on the host's side", interface.name, host.name());
        let input = devices.tap_input;
        devices.add(*index, TapDevice { tap, host, input });
        Ok(tx.into())
    }

    fn links(&self) -> Vec<Link<'_>> {
        vec![(self.host_namespace.as_deref(), self.host_name.as_str())]
    }

    fn check(&self, _: usize, found: &mut Findings) {
        let name = self.common.name.as_str();
        let host = host_key(&self.host_name, self.host_namespace.as_deref());
        match host.namespace() {
            None => free_for_tap(&self.host_name, &format!("tap {name}"), found),
            // What is in it cannot be seen from here.
            Some(namespace) => {
                if let Err(error) = NetNs::open(namespace) {
                    found.error(format!("interfaces {{ tap {name} {{ host-ns }} }}: {error}"));
                }
            }
        }
    }
}

fn add_tap_node(
    engine: &mut Engine,
    name: &str,
    interface: Option<InterfaceIndex>,
    tap: &Arc<Tap>,
) -> Result<NodeId, DeviceError> {
    let node = NodeDef::named(&TAP_OUTPUT, format!("{name}-tx"), |w| {
        Box::new(TapOutput::new(interface, Arc::clone(tap), w.reasons()))
    });
    Ok(engine.add_nodes("weft", vec![node])?[0])
}

/// The host's side of a port, as it is on a new TAP.
pub(super) fn create_host_side(host: &HostKey, interface: &Interface) -> Result<Tap, DeviceError> {
    Ok(Tap::create(&TapConfig {
        namespace: host.namespace().map(Into::into),
        mac: Some(netdev::MacAddr(interface.mac.0)),
        mtu: Some(interface.mtu.into()),
        ..TapConfig::new(host.link_name()?)
    })?)
}

impl Devices {
    /// Gives a port a host's side; returns the node that hands packets to it.
    pub(super) fn give_host_tap(
        &mut self,
        engine: &mut Engine,
        (port, interface): (InterfaceIndex, &Interface),
        port_tx: NodeId,
        host: HostKey,
        open: impl FnOnce(&HostKey, &Interface) -> Result<Tap, DeviceError>,
    ) -> Result<NodeId, DeviceError> {
        if self.get_as::<XdpDevice>(port).is_some_and(|device| device.host_tap.is_some()) {
            return Err(DeviceError::HasHost(interface.name.clone()));
        }
        self.wait_until_closed(engine, &host)?;
        let tap = Arc::new(open(&host, interface)?);
        let tx = add_tap_node(engine, host.name(), None, &tap)?;
        let worker = self.placement.choose(None, None)?;
        self.place_tap(engine, worker, port, Side::HostOf(port, port_tx), &tap);
        tracing::info!("{}: its host's side is {}", interface.name, host.name());
        let input = self.tap_input;
        if let Some(device) = self.list.get_mut(&port).and_then(|device| device.downcast_mut::<XdpDevice>()) {
            device.host_tap = Some(HostTap { tap, host, tx, input });
        }
        Ok(tx)
    }
}

/// That a TAP of this name can be made in the namespace of the process; `place` is the words of the interface.
pub(super) fn free_for_tap(name: &HostInterface, place: &str, found: &mut Findings) {
    let link = Path::new("/sys/class/net").join(name.as_str());
    let name = name.as_str();
    if link.join("tun_flags").exists() {
        // It may be that of the Weft that runs, which goes with it.
        found.warning(format!("interfaces {{ {place} }}: there is a TAP {name} at this moment"));
    } else if link.exists() {
        found.error(format!("interfaces {{ {place} }}: there is a network interface {name} already"));
    }
}

impl Dataplane {
    /// Gives a port a host's side: what Weft does not handle itself goes to the host's stack through it, and
    /// what the host sends into it leaves by the port.
    pub fn create_host_tap(&mut self, port: InterfaceIndex, name: &HostInterface) -> Result<(), DeviceError> {
        let namespace = self.xdp_device(port)?.host.namespace().map(Into::into);
        self.give_host_tap(port, HostKey::new(name.as_str(), namespace), create_host_side)
    }

    /// Makes a persistent TAP that somebody else made the host's side of a port.
    pub fn attach_host_tap(&mut self, port: InterfaceIndex, name: &str) -> Result<(), DeviceError> {
        let attach = |host: &HostKey, _: &Interface| Ok(Tap::attach(&host.link_name()?)?);
        self.give_host_tap(port, HostKey::new(name, None), attach)
    }

    fn give_host_tap(
        &mut self,
        port: InterfaceIndex,
        host: HostKey,
        open: impl FnOnce(&HostKey, &Interface) -> Result<Tap, DeviceError>,
    ) -> Result<(), DeviceError> {
        self.xdp_device(port)?;
        let Some(interface) = self.interfaces().get(port).cloned() else { return Ok(()) };
        let (devices, control) = self.part_and_control::<Devices>();
        let tx = devices.give_host_tap(control.engine_mut(), (port, &interface), interface.tx, host, open)?;
        Ok(control.set_host_side(port, tx)?)
    }

    /// The name of a port's host's side.
    pub fn host_tap_name(&self, port: InterfaceIndex) -> Option<&str> {
        Some(self.devices().get_as::<XdpDevice>(port)?.host_tap.as_ref()?.host.name())
    }

    /// The port whose host's side has this name.
    pub fn port_of_host_tap(&self, name: &str) -> Option<InterfaceIndex> {
        let has = |device: &XdpDevice| device.host_tap.as_ref().is_some_and(|tap| tap.host.name() == name);
        self.devices().all::<XdpDevice>().find(|(_, device)| has(device)).map(|(index, _)| index)
    }

    /// Takes the host's side of a port away.
    pub fn delete_host_tap(&mut self, port: InterfaceIndex) {
        let Some(tap) = self.xdp_device_mut(port).and_then(|device| device.host_tap.take()) else { return };
        let Some(tx) = self.interfaces().get(port).map(|interface| interface.tx) else { return };
        let (devices, control) = self.part_and_control::<Devices>();
        let changed = control.set_host_side(port, NodeId::DROP);
        debug_assert!(changed.is_ok(), "it was there just now");
        tap.close(control.engine_mut(), &mut devices.closing, port, tx);
    }

    pub(super) fn xdp_device_mut(&mut self, port: InterfaceIndex) -> Option<&mut XdpDevice> {
        self.devices_mut().list.get_mut(&port)?.downcast_mut()
    }
}
