// SPDX-License-Identifier: Apache-2.0
//! TAPs: as interfaces of their own, and as the host's side of a port.
//!
//! The host's side has the MAC address of its port, so that the host's stack takes what Weft punts to it, and lives in
//! the network namespace of the port's Linux interface, in whose place it stands.

use std::sync::Arc;

use weft_devices::netdev;
use weft_devices::tap::input::Side;
use weft_devices::tap::output::{TAP_OUTPUT, TapOutput};
use weft_devices::tap::{Tap, TapConfig};
use weft_engine::graph::NodeDef;
use weft_engine::{Engine, InterfaceIndex, NodeId};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{Interfaces, Kind};

use super::{Device, DeviceError, Devices, HostKey, made_up_mac};
use crate::config::interfaces;
use crate::config::values::HostInterface;
use crate::lifecycle::Foundation;
use crate::state::Dataplane;

/// A TAP that is an interface.
pub struct TapDevice {
    /// The open TAP.
    pub tap: Arc<Tap>,
    /// Its other side.
    pub host: HostKey,
}

/// The host's side of a port.
pub struct HostTap {
    /// The open TAP.
    pub tap: Arc<Tap>,
    host: HostKey,
    /// Hands packets to it.
    tx: NodeId,
}

impl Devices {
    pub(super) fn close_tap(
        &mut self,
        cx: &mut Foundation<'_>,
        index: InterfaceIndex,
        TapDevice { tap, host }: TapDevice,
    ) {
        self.take_tap(cx.engine, Side::Interface(index));
        if let Some(interface) = cx.interfaces.get(index) {
            cx.engine.remove_node(interface.tx);
        }
        self.closing.begin(cx.engine, host, move || drop(tap));
    }

    pub(super) fn close_host_tap(
        &mut self,
        engine: &mut Engine,
        interfaces: &mut Interfaces,
        port: InterfaceIndex,
        HostTap { tap, host, tx }: HostTap,
    ) {
        if let Some(interface) = interfaces.get(port) {
            self.take_tap(engine, Side::HostOf(port, interface.tx));
        }
        // Fails only if the port is gone, and then nobody refers to its host's side.
        let _ = interfaces.change(engine, port, |interface| interface.host = NodeId::DROP);
        engine.remove_node(tx);
        self.closing.begin(engine, host, move || drop(tap));
    }
}

impl Dataplane {
    /// Creates a TAP with an interface on it, which is down.
    pub fn create_tap(&mut self, config: &interfaces::Tap) -> Result<InterfaceIndex, DeviceError> {
        self.check_name(&config.common.name)?;
        let host = HostKey::new(&config.host_name, config.host_namespace.as_deref());
        self.wait_until_closed(&host)?;
        let tap = Tap::create(&TapConfig {
            namespace: host.namespace.clone(),
            mtu: config.common.mtu.map(|mtu| mtu.0.into()),
            address: config.host_address,
            ..TapConfig::new(host.link_name()?)
        })?;
        let mtu = u16::try_from(tap.netdev().link()?.mtu).unwrap_or(u16::MAX);
        let tap = Arc::new(tap);
        let index = self.interfaces.next_index();
        let name = config.common.name.as_str();
        let tx = self.add_tap_node(name, Some(index), &tap)?;
        let mac = config.mac.map_or_else(|| made_up_mac(0, index.0), |mac| MacAddr(mac.0));
        if let Err(error) =
            self.control.interfaces.create(&mut self.control.engine, name, Kind::Port, mac, mtu, tx)
        {
            self.engine.remove_node(tx);
            return Err(error.into());
        }
        let worker = self.devices.placement.choose(None, None)?;
        self.devices.place_tap(&mut self.control.engine, worker, index, Side::Interface(index), &tap);
        tracing::info!("{name}: TAP {} on the host's side", host.name);
        self.devices.list.insert(index, Device::Tap(TapDevice { tap, host }));
        self.watch_link(index);
        Ok(index)
    }

    fn add_tap_node(
        &mut self,
        name: &str,
        interface: Option<InterfaceIndex>,
        tap: &Arc<Tap>,
    ) -> Result<NodeId, DeviceError> {
        let node = NodeDef::named(&TAP_OUTPUT, format!("{name}-tx"), |w| {
            Box::new(TapOutput::new(interface, Arc::clone(tap), w.reasons()))
        });
        Ok(self.engine.add_nodes("weft", vec![node])?[0])
    }

    /// Gives a port a host's side: what Weft does not handle itself goes to the host's stack through it, and
    /// what the host sends into it leaves by the port.
    pub fn create_host_tap(&mut self, port: InterfaceIndex, name: &HostInterface) -> Result<(), DeviceError> {
        let namespace = self.xdp_device(port)?.host.namespace.clone();
        let host = HostKey { name: name.as_str().to_owned(), namespace };
        self.give_host_tap(port, host, |host, mac, mtu| {
            Ok(Tap::create(&TapConfig {
                namespace: host.namespace.clone(),
                mac: Some(netdev::MacAddr(mac.0)),
                mtu: Some(mtu.into()),
                ..TapConfig::new(host.link_name()?)
            })?)
        })
    }

    /// Makes a persistent TAP that somebody else made the host's side of a port.
    pub fn attach_host_tap(&mut self, port: InterfaceIndex, name: &str) -> Result<(), DeviceError> {
        let host = HostKey { name: name.to_owned(), namespace: None };
        self.give_host_tap(port, host, |host, _, _| Ok(Tap::attach(&host.link_name()?)?))
    }

    fn give_host_tap(
        &mut self,
        port: InterfaceIndex,
        host: HostKey,
        open: impl FnOnce(&HostKey, MacAddr, u16) -> Result<Tap, DeviceError>,
    ) -> Result<(), DeviceError> {
        let device = self.xdp_device(port)?;
        let Some(interface) = self.interfaces.get(port).cloned() else {
            return Ok(());
        };
        if device.host_tap.is_some() {
            return Err(DeviceError::HasHost(interface.name));
        }
        self.wait_until_closed(&host)?;
        let tap = Arc::new(open(&host, interface.mac, interface.mtu)?);
        let tx = self.add_tap_node(&host.name, None, &tap)?;
        let worker = self.devices.placement.choose(None, None)?;
        let side = Side::HostOf(port, interface.tx);
        self.devices.place_tap(&mut self.control.engine, worker, port, side, &tap);
        self.control.interfaces.change(&mut self.control.engine, port, |interface| interface.host = tx)?;
        tracing::info!("{}: its host's side is {}", interface.name, host.name);
        if let Some(Device::AfXdp(device)) = self.devices.list.get_mut(&port) {
            device.host_tap = Some(HostTap { tap, host, tx });
        }
        Ok(())
    }

    /// The name of a port's host's side.
    pub fn host_tap_name(&self, port: InterfaceIndex) -> Option<&str> {
        match self.devices.get(port) {
            Some(Device::AfXdp(device)) => Some(device.host_tap.as_ref()?.host.name.as_str()),
            _ => None,
        }
    }

    /// The port whose host's side has this name.
    pub fn port_of_host_tap(&self, name: &str) -> Option<InterfaceIndex> {
        self.devices.iter().find_map(|(index, device)| match device {
            Device::AfXdp(device) if device.host_tap.as_ref()?.host.name == name => Some(index),
            _ => None,
        })
    }

    /// Takes the host's side of a port away.
    pub fn delete_host_tap(&mut self, port: InterfaceIndex) {
        if let Some(Device::AfXdp(device)) = self.devices.list.get_mut(&port)
            && let Some(tap) = device.host_tap.take()
        {
            self.devices.close_host_tap(&mut self.control.engine, &mut self.control.interfaces, port, tap);
        }
    }
}
