// SPDX-License-Identifier: Apache-2.0
//! Ports of the dataplane as vplaned knows them: registered by number, named by vplaned, shadowed by a TAP.
//!
//! Every AF_XDP port is registered. vplaned makes a TAP for it in the kernel; that becomes the port's host side, so what
//! is for the host goes up on the port that it arrived on, and what the kernel sends leaves by it.

use std::collections::{BTreeMap, BTreeSet};

use weft_devices::af_xdp::device::XdpDevice;
use weft_engine::InterfaceIndex;
use weft_vplaned::netlink::{IfIndex, MacAddr};
use weft_vplaned::types::{Counters, Duplex, Link, PortDescription, PortNumber};

use super::{Tell, Vplaned};
use crate::state::Dataplane;
use crate::subsystem::{Foundation, Subsystem};

struct Port {
    index: InterfaceIndex,
    description: PortDescription,
    kernel: Option<IfIndex>,
    /// As it was last told.
    link_up: bool,
}

/// The registered ports.
#[derive(Default)]
pub struct Ports {
    list: BTreeMap<PortNumber, Port>,
    /// Interfaces that could not be registered, told once.
    left_out: BTreeSet<InterfaceIndex>,
}

impl Ports {
    fn number_of(&self, index: InterfaceIndex) -> Option<PortNumber> {
        self.list.iter().find(|(_, port)| port.index == index).map(|(number, _)| *number)
    }

    fn free_number(&self) -> Option<PortNumber> {
        (0..=u8::MAX).map(PortNumber).find(|number| !self.list.contains_key(number))
    }
}

impl Subsystem for Vplaned {
    fn interface_removed(&mut self, _: &mut Foundation<'_>, index: InterfaceIndex) {
        self.bindings.forget(index);
        self.rates.forget(index);
        self.filters.interface_removed(index);
        self.ports.left_out.remove(&index);
        if let Some(number) = self.ports.number_of(index) {
            self.ports.list.remove(&number);
            self.tells.push(Tell::RemovePort(number));
        }
    }
}

impl Dataplane {
    pub(super) fn look_at_ports(&mut self, vplaned: &mut Vplaned) {
        let present: Vec<InterfaceIndex> =
            self.devices().all::<XdpDevice>().map(|(index, _)| index).collect();
        for index in present {
            if let Some(number) = vplaned.ports.number_of(index)
                && vplaned.ports.list[&number].kernel.is_some()
                && vplaned.bindings.kernel_of(index).is_none()
            {
                // vplaned makes a TAP for a port that is new to it.
                let name = self.interface_name(index);
                tracing::warn!("vplaned: the TAP of {name} was deleted; the port is registered again");
                vplaned.ports.list.remove(&number);
                vplaned.tells.push(Tell::RemovePort(number));
            }
            match vplaned.ports.number_of(index) {
                Some(number) => self.report_if_changed(vplaned, number),
                None => self.register_port_with(vplaned, index),
            }
        }
    }

    fn register_port_with(&self, vplaned: &mut Vplaned, index: InterfaceIndex) {
        let name = self.interface_name(index);
        let described = vplaned.ports.free_number().and_then(|number| self.describe(index, number));
        let Some(description) = described else {
            if vplaned.ports.left_out.insert(index) {
                vplaned.complain(format!(
                    "{name} is not registered: its driver says nothing, or there are 256 ports"
                ));
            }
            return;
        };
        vplaned.tells.push(Tell::AddPort(description.clone()));
        let link_up = self.interfaces().get(index).is_some_and(|interface| interface.link_up);
        let port = Port { index, kernel: None, link_up, description };
        vplaned.ports.list.insert(port.description.port, port);
    }

    fn describe(&self, index: InterfaceIndex, port: PortNumber) -> Option<PortDescription> {
        let device = self.xdp_device(index).ok()?;
        let interface = self.interfaces().get(index)?;
        let netdev = device.port.netdev();
        let driver = netdev.driver().ok()?;
        Some(PortDescription {
            port,
            mac: MacAddr(interface.mac.0),
            name: netdev.name().as_str().to_owned(),
            driver: format!("net_{}", driver.name),
            multifunction: is_multifunction(&driver.bus),
            pci_address: is_pci_address(&driver.bus).then_some(driver.bus),
            slot: None,
            firmware: None,
            dev_port: None,
            hypervisor: None,
            mtu: None,
            uplink: false,
            backplane: false,
        })
    }

    /// vplaned has made the kernel's interface of a port.
    pub(super) fn bind_port(
        &mut self,
        vplaned: &mut Vplaned,
        number: PortNumber,
        kernel: IfIndex,
        name: &str,
    ) {
        let Some(port) = vplaned.ports.list.get_mut(&number) else {
            return;
        };
        let index = port.index;
        let before = port.kernel.replace(kernel);
        vplaned.bindings.bind(kernel, index, name);
        let super::Learned { store, changes, .. } = &mut vplaned.learned;
        store.bind_port(kernel, changes);
        // Another interface, though perhaps of the same name, when somebody deleted the first one meanwhile.
        if before.is_some_and(|before| before != kernel) {
            self.delete_host_tap(index);
        }
        if self.host_tap_name(index) != Some(name) {
            match self.attach_host_tap(index, name) {
                Ok(()) => tracing::info!("vplaned: {} is {name} in the kernel", self.interface_name(index)),
                Err(error) => vplaned.complain(format!("{name}: {error}")),
            }
        }
    }

    fn report_if_changed(&self, vplaned: &mut Vplaned, number: PortNumber) {
        let Some(port) = vplaned.ports.list.get_mut(&number) else { return };
        let up = self.interfaces().get(port.index).is_some_and(|interface| interface.link_up);
        if std::mem::replace(&mut port.link_up, up) != up && port.kernel.is_some() {
            let link = self.link(port.index);
            vplaned.tells.push(Tell::Link(number, link));
        }
    }

    /// All links, and the counters of what stands on them.
    pub(super) fn report_all(&self, vplaned: &mut Vplaned) {
        for (number, port) in vplaned.ports.list.iter().filter(|(_, port)| port.kernel.is_some()) {
            vplaned.tells.push(Tell::Link(*number, self.link(port.index)));
        }
        for (index, name) in vplaned.bindings.named() {
            let is_sub = self.interfaces().get(index).is_some_and(|entry| entry.parent().is_some());
            if is_sub {
                vplaned.tells.push(Tell::Counters(name.to_owned(), self.counters_of(index)));
            }
        }
    }

    fn link(&self, index: InterfaceIndex) -> Link {
        match self.interfaces().get(index) {
            Some(interface) if interface.link_up => {
                Link::Up { speed: None, duplex: Duplex::Full, counters: self.counters_of(index) }
            }
            _ => Link::Down,
        }
    }

    pub(super) fn counters_of(&self, index: InterfaceIndex) -> Counters {
        let vectors = &self.engine().counters.interfaces;
        let at = index.index();
        let (rx, tx) = (vectors.rx.sum(at), vectors.tx.sum(at));
        Counters {
            rx_packets: rx.packets,
            tx_packets: tx.packets,
            rx_bytes: rx.bytes,
            tx_bytes: tx.bytes,
            rx_errors: vectors.rx_error.sum(at),
            tx_errors: vectors.tx_error.sum(at),
            rx_dropped: vectors.rx_miss.sum(at) + vectors.rx_no_buf.sum(at),
            tx_dropped: 0,
            multicast: vectors.rx_multicast.sum(at).packets,
        }
    }
}

/// `DDDD:BB:DD.F`
fn is_pci_address(bus: &str) -> bool {
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match bus.split([':', '.']).collect::<Vec<_>>()[..] {
        [domain, bus, device, function] => {
            hex(domain, 4) && hex(bus, 2) && hex(device, 2) && hex(function, 1)
        }
        _ => false,
    }
}

/// Bit 7 of the header type, at offset 0x0e of a PCI device's configuration (PCI Local Bus 3.0, section 6.2.1).
fn is_multifunction(bus: &str) -> bool {
    let config = std::fs::read(format!("/sys/bus/pci/devices/{bus}/config"));
    is_pci_address(bus) && config.is_ok_and(|config| config.get(0x0e).is_some_and(|kind| kind & 0x80 != 0))
}
