// SPDX-License-Identifier: Apache-2.0
//! TAPs: as interfaces of their own, and as the host's side of a port.
//!
//! The host's side has the MAC address of its port, so that the host's stack takes what Weft punts to it, and lives in
//! the network namespace of the port's Linux interface, in whose place it stands.

mod cli;

use std::path::Path;
use std::sync::Arc;

use weft_control::Control;
use weft_devices::af_xdp::device::XdpDevice;
use weft_devices::closing::HostKey;
use weft_devices::netdev;
use weft_devices::tap::device::{HostTap, TAP, TapDevice};
use weft_devices::tap::input::Side;
use weft_devices::tap::output::{TAP_OUTPUT, TapOutput};
use weft_devices::tap::{Tap, TapConfig};
use weft_engine::graph::NodeDef;
use weft_engine::{InterfaceIndex, NodeId};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::Kind;

use super::{DeviceError, DeviceWords, host_key, kind, made_up_mac};
use crate::config::check::Findings;
use crate::config::interfaces::{self, Common, Link, Settings};
use crate::config::values::HostInterface;
use crate::state::Dataplane;

kind!(DeviceWords { kind: &TAP, keys: &[interfaces::TAP], commands: cli::commands });

impl Settings for interfaces::Tap {
    fn common(&self) -> &Common {
        &self.common
    }

    fn create(&self, dataplane: &mut Dataplane) -> Result<InterfaceIndex, DeviceError> {
        dataplane.create_tap(self)
    }

    fn links(&self) -> Vec<Link<'_>> {
        vec![(self.host_namespace.as_deref(), self.host_name.as_str())]
    }

    fn check(&self, _: usize, found: &mut Findings) {
        // One in another namespace cannot be seen from here.
        if self.host_namespace.is_none() {
            free_for_tap(&self.host_name, &format!("tap {}", self.common.name.as_str()), found);
        }
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
    /// Creates a TAP with an interface on it, which is down.
    pub fn create_tap(&mut self, config: &interfaces::Tap) -> Result<InterfaceIndex, DeviceError> {
        self.check_name(&config.common.name)?;
        let host = host_key(&config.host_name, config.host_namespace.as_deref());
        self.wait_until_closed(&host)?;
        let tap = Tap::create(&TapConfig {
            namespace: host.namespace().map(Into::into),
            mtu: config.common.mtu.map(|mtu| mtu.0.into()),
            address: config.host_address,
            mac: config.host_mac.map(|mac| netdev::MacAddr(mac.0)),
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
        tracing::info!("{name}: TAP {} on the host's side", host.name());
        let input = self.devices.tap_input;
        self.devices.add(index, TapDevice { tap, host, input });
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
        let namespace = self.xdp_device(port)?.host.namespace().map(Into::into);
        let host = HostKey::new(name.as_str(), namespace);
        self.give_host_tap(port, host, |host, mac, mtu| {
            Ok(Tap::create(&TapConfig {
                namespace: host.namespace().map(Into::into),
                mac: Some(netdev::MacAddr(mac.0)),
                mtu: Some(mtu.into()),
                ..TapConfig::new(host.link_name()?)
            })?)
        })
    }

    /// Makes a persistent TAP that somebody else made the host's side of a port.
    pub fn attach_host_tap(&mut self, port: InterfaceIndex, name: &str) -> Result<(), DeviceError> {
        let host = HostKey::new(name, None);
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
        let tx = self.add_tap_node(host.name(), None, &tap)?;
        let worker = self.devices.placement.choose(None, None)?;
        let side = Side::HostOf(port, interface.tx);
        self.devices.place_tap(&mut self.control.engine, worker, port, side, &tap);
        self.control.interfaces.change(&mut self.control.engine, port, |interface| interface.host = tx)?;
        tracing::info!("{}: its host's side is {}", interface.name, host.name());
        let input = self.devices.tap_input;
        if let Some(device) = self.xdp_device_mut(port) {
            device.host_tap = Some(HostTap { tap, host, tx, input });
        }
        Ok(())
    }

    /// The name of a port's host's side.
    pub fn host_tap_name(&self, port: InterfaceIndex) -> Option<&str> {
        Some(self.devices.get_as::<XdpDevice>(port)?.host_tap.as_ref()?.host.name())
    }

    /// The port whose host's side has this name.
    pub fn port_of_host_tap(&self, name: &str) -> Option<InterfaceIndex> {
        let has = |device: &XdpDevice| device.host_tap.as_ref().is_some_and(|tap| tap.host.name() == name);
        self.devices.all::<XdpDevice>().find(|(_, device)| has(device)).map(|(index, _)| index)
    }

    /// Takes the host's side of a port away.
    pub fn delete_host_tap(&mut self, port: InterfaceIndex) {
        let Some(tap) = self.xdp_device_mut(port).and_then(|device| device.host_tap.take()) else { return };
        let Some(tx) = self.interfaces.get(port).map(|interface| interface.tx) else { return };
        let Dataplane { control: Control { interfaces, engine, .. }, devices, .. } = self;
        let changed = interfaces.change(engine, port, |interface| interface.host = NodeId::DROP);
        debug_assert!(changed.is_ok(), "it was there just now");
        tap.close(engine, &mut devices.closing, port, tx);
    }

    fn xdp_device_mut(&mut self, port: InterfaceIndex) -> Option<&mut XdpDevice> {
        self.devices.list.get_mut(&port)?.downcast_mut()
    }
}
