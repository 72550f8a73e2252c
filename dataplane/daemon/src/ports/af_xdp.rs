// SPDX-License-Identifier: Apache-2.0
//! AF_XDP ports: from the words of the configuration to queues on workers, and back to an untouched Linux interface.
//!
//! The order of the steps is the point: open (no frame arrives yet), transmit node, interface, fill rings, queues to their
//! workers, and only then let frames in. How a port goes, the device knows ([`XdpDevice`]).

mod cli;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weft_control::{Described, Object, Opened, settings};
use weft_devices::af_xdp::device::{AF_XDP, XdpCounters, XdpDevice, join, split};
use weft_devices::af_xdp::input::{QueueVectors, RxQueue};
use weft_devices::af_xdp::output::{AF_XDP_OUTPUT, AfXdpOutput, TxQueue};
use weft_devices::af_xdp::port::{AfXdpConfig, AfXdpPort, PortError, Rung, largest_mtu};
use weft_devices::af_xdp::program::{Arp, EtherType, Filter, Match, Transport};
use weft_devices::af_xdp::socket::{BusyPoll, QueueId, RingSizes};
use weft_devices::af_xdp::stall::Watch;
use weft_devices::closing::HostKey;
use weft_devices::device::Leaving;
use weft_devices::netdev::{self, Netdev};
use weft_engine::graph::NodeDef;
use weft_engine::{Engine, InterfaceIndex, NodeId};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{Kind, Owner};

use super::tap::{create_host_side, free_for_tap};
use super::{DeviceError, DeviceWords, Devices, Opening, Raised, host_key, kind};
use crate::config::af_xdp::{self, AfXdp, Mode, Queues, WorkerNumber, ZeroCopy};
use crate::config::check::Findings;
use crate::config::interfaces::{self, Common, Link, Settings};
use crate::config::values::HostInterface;
use crate::state::Dataplane;

/// Packets per poll if only the time is given; the kernel's own NAPI weight (NAPI_POLL_WEIGHT, linux/netdevice.h).
const BUSY_POLL_BUDGET: u32 = 64;

/// What the words of the configuration mean for a device.
fn port_config(config: &AfXdp, host: &HostKey) -> Result<AfXdpConfig, DeviceError> {
    let wanted = |rung: &Rung| {
        let zero_copy = matches!(rung, Rung::NativeZeroCopy);
        let mode = match config.mode {
            Mode::Auto => true,
            Mode::Native => !matches!(rung, Rung::GenericCopy),
            Mode::Generic => matches!(rung, Rung::GenericCopy),
        };
        mode && match config.zero_copy {
            ZeroCopy::Auto => true,
            ZeroCopy::On => zero_copy,
            ZeroCopy::Off => !zero_copy,
        }
    };
    if config.mode == Mode::Generic && config.zero_copy == ZeroCopy::On {
        return Err(DeviceError::Settings("zero-copy on needs the driver: expected mode native or auto"));
    }
    // A ring that is not given has the size that the other has.
    let (rx, tx) = (config.rx_queue_size, config.tx_queue_size);
    let rings = rx.or(tx).zip(tx.or(rx)).map(|(rx, tx)| RingSizes {
        rx: rx.0,
        fill: rx.0,
        tx: tx.0,
        completion: tx.0,
    });
    let busy_poll = match (config.busy_poll_usec, config.busy_poll_budget) {
        (Some(time), budget) => Some(BusyPoll {
            microseconds: time.get(),
            budget: budget.map_or(BUSY_POLL_BUDGET, std::num::NonZeroU32::get),
        }),
        (None, Some(_)) => return Err(DeviceError::Settings("busy-poll-budget needs busy-poll-usec too")),
        (None, None) => None,
    };
    Ok(AfXdpConfig {
        namespace: host.namespace().map(Into::into),
        queues: match config.queues {
            Queues::All => None,
            Queues::Count(count) => Some(count.get()),
        },
        channels: config.channels.map(std::num::NonZeroU32::get),
        rungs: Rung::ALL.into_iter().filter(wanted).collect(),
        rings,
        tx_budget: config.tx_budget.map(std::num::NonZeroU32::get),
        busy_poll,
        filter: filter(&config.filter),
        mtu: config.wanted_mtu(),
        ..AfXdpConfig::new(host.link_name()?)
    })
}

fn filter(filter: &af_xdp::Filter) -> Filter {
    let af_xdp::Filter::Only { matches, take_arp } = filter else {
        return Filter::All;
    };
    let transport = |transport| match transport {
        af_xdp::Transport::Tcp => Transport::Tcp,
        af_xdp::Transport::Udp => Transport::Udp,
        af_xdp::Transport::Sctp => Transport::Sctp,
    };
    let matches = matches.iter().map(|entry| match *entry {
        af_xdp::Match::Destination(prefix) => Match::Destination(prefix),
        af_xdp::Match::Port { transport: protocol, port } => {
            Match::Service { transport: transport(protocol), port }
        }
        af_xdp::Match::EtherType(number) => Match::Type(EtherType(number)),
    });
    Filter::Pinhole { matches: matches.collect(), arp: if *take_arp { Arp::Take } else { Arp::Pass } }
}

impl AfXdp {
    /// The MTU that the port is to have, or 0.
    fn wanted_mtu(&self) -> u32 {
        self.common.mtu.map_or(0, |mtu| mtu.0.into())
    }
}

kind!(DeviceWords { kind: &AF_XDP, keys: &[interfaces::AF_XDP], commands: cli::commands });

impl Settings for AfXdp {
    fn common(&self) -> &Common {
        &self.common
    }

    fn describe(&self, devices: &Devices, _: InterfaceIndex) -> Result<Described, DeviceError> {
        let host = host_key(&self.host, self.netns.as_deref());
        port_config(self, &host)?;
        devices.placement.choose(None, self.workers.as_ref())?;
        let link =
            Netdev::open(&host.open_namespace().map_err(PortError::from)?, &host.link_name()?)?.link()?;
        let mac = link.mac.map_or(MacAddr::ZERO, |mac| MacAddr(mac.0));
        let mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);
        let largest_mtu =
            largest_mtu(&devices.umem, self.wanted_mtu().max(link.mtu) > devices.umem.max_mtu());
        Ok(Described { largest_mtu, ..Described::new(Kind::Port, mac, mtu) })
    }

    /// Takes as long as the kernel does, some 50 ms, and up to 2 s if the Linux interface is being released.
    fn open(&self, cx: &mut Opening<'_>) -> Result<Opened, DeviceError> {
        let Opening { engine, parts, index, interface } = cx;
        let devices = parts.get_mut::<Devices>();
        let index = *index;
        let host = host_key(&self.host, self.netns.as_deref());
        devices.wait_until_closed(engine, &host)?;
        let port_config = AfXdpConfig { journal: devices.journal.clone(), ..port_config(self, &host)? };
        let (port, queues) = AfXdpPort::open(&port_config, &devices.umem)?;
        let (receiving, tx) = split(index, &port, queues);
        let name = interface.name.as_str();
        let node = match add_port_node(engine, index, name, &tx) {
            Ok(node) => node,
            Err(error) => {
                // Nothing was in the rings yet.
                port.close(join(receiving, tx));
                return Err(error);
            }
        };
        let counters = XdpCounters::new(&mut engine.stats, name, tx.len());
        let numa = port.facts().numa_node.map(|node| node.0);
        let per_queue = counters.as_ref().map(|counters| counters.queues.clone());
        devices.serve(engine, receiving, numa, self, per_queue, &[]);
        let started = port.start();
        for advice in port.advice() {
            tracing::warn!("{advice}");
        }
        tracing::info!("{name}: AF_XDP on {}, {}, queues: {}", host.name(), port.rung(), tx.len());
        let (input, copies) = (devices.af_xdp_input, devices.tap_input);
        let max_mtu = port.largest_mtu(&devices.umem);
        devices.note_raised((index, port.netdev().name().as_str().to_owned()), Raised::by_port(&port));
        devices.links.listen(host.namespace());
        let namespace = host.namespace().map(Into::into);
        let device = XdpDevice {
            port,
            tx,
            host,
            counters,
            host_tap: None,
            input,
            copies,
            watch: Watch::default(),
            max_mtu,
        };
        devices.add(index, device);
        devices.place_copies(engine, index);
        devices.ports.insert(index, (self.clone(), None));
        let side = started.map_err(DeviceError::from).and_then(|()| match &self.host_tap {
            Some(tap) => {
                let side = HostKey::new(tap.as_str(), namespace);
                devices.give_host_tap(engine, (index, interface), node, side, create_host_side)
            }
            None => Ok(NodeId::DROP),
        });
        match side {
            Ok(host) => Ok(Opened { tx: node, host }),
            Err(error) => {
                devices.close(engine, index, name.to_owned(), node);
                Err(error)
            }
        }
    }

    fn links(&self) -> Vec<Link<'_>> {
        let host_tap = self.host_tap.iter().map(HostInterface::as_str);
        std::iter::once(self.host.as_str())
            .chain(host_tap)
            .map(|name| (self.netns.as_deref(), name))
            .collect()
    }

    fn check(&self, workers: usize, found: &mut Findings) {
        let name = self.common.name.as_str();
        if let Err(error) = port_config(self, &host_key(&self.host, self.netns.as_deref())) {
            found.error(format!("interfaces {{ af_xdp {name} }}: {error}"));
        }
        if let (Some(host_tap), None) = (&self.host_tap, &self.netns) {
            free_for_tap(host_tap, &format!("af_xdp {name} {{ host-tap }}"), found);
        }
        if let Some(worker) = self.workers.iter().flatten().find(|worker| worker.0 as usize >= workers) {
            found.error(format!(
                "interfaces {{ af_xdp {name} {{ workers }} }}: there is no worker {}: there are {workers}, counted from 0",
                worker.0
            ));
        }
        // One in another namespace cannot be seen from here.
        if self.netns.is_none() && !Path::new("/sys/class/net").join(self.host.as_str()).exists() {
            found.warning(format!(
                "interfaces {{ af_xdp {name} }}: there is no network interface {} at this moment",
                self.host.as_str()
            ));
        }
    }
}

/// Adds the transmit node of a port.
fn add_port_node(
    engine: &mut Engine,
    index: InterfaceIndex,
    name: &str,
    tx: &[TxQueue],
) -> Result<NodeId, DeviceError> {
    let mut workers = tx.iter().cycle();
    let node = NodeDef::named(&AF_XDP_OUTPUT, format!("{name}-tx"), |w| {
        let queue = workers.next().expect("a port has a queue, and the cycle never ends");
        Box::new(AfXdpOutput::new(index, Arc::clone(queue), w.reasons(), w.events()))
    });
    Ok(engine.add_nodes("weft", vec![node])?[0])
}

impl Devices {
    /// Gives the kernel buffers, and the queues to workers: to those that had them before, or that have least to do.
    fn serve(
        &mut self,
        engine: &mut Engine,
        queues: Vec<RxQueue>,
        numa: Option<u32>,
        config: &AfXdp,
        counters: Option<QueueVectors>,
        before: &[(QueueId, WorkerNumber)],
    ) {
        let mut cache = engine.buffers.cache(numa.unwrap_or(0));
        for mut queue in queues {
            let missing = queue.refill(&mut cache);
            if missing > 0 {
                tracing::warn!(
                    "{}: queue {} starts with {missing} buffers too few: expected more in buffers {{ buffers-per-numa }}",
                    config.common.name.as_str(),
                    queue.id.0
                );
            }
            let known = before.iter().find(|(id, _)| *id == queue.id).map(|(_, worker)| *worker);
            let worker = known.map_or_else(|| self.placement.choose(numa, config.workers.as_ref()), Ok);
            let worker = worker.expect("the list of workers was checked before the port was opened");
            self.place_queue(engine, worker, queue, counters.clone());
        }
    }
}

impl Dataplane {
    /// Binds a port to the Linux interface that has its name now, in place of one that has gone: the interface with all that is
    /// on it stays. Its MAC address and its MTU are those of the Linux interface, unless somebody has said others: those are the
    /// Linux interface's then.
    pub(super) fn bind_again(&mut self, index: InterfaceIndex, config: &AfXdp) -> Result<(), DeviceError> {
        let host = host_key(&config.host, config.netns.as_deref());
        // This is tried again and again, so what another socket still has is not waited for.
        let mtu = config.wanted_mtu().max(self.asked_mtu(index).unwrap_or(0));
        let journal = self.devices().journal.clone();
        let port_config =
            AfXdpConfig { patience: Duration::ZERO, mtu, journal, ..port_config(config, &host)? };
        let (port, queues) = AfXdpPort::open(&port_config, &self.devices().umem)?;
        let (receiving, tx) = split(index, &port, queues);
        let (name, node) = match self.interfaces().get(index) {
            Some(interface) => (interface.name.clone(), interface.tx),
            None => return Ok(()),
        };
        let placed: Vec<_> =
            self.devices().placement.of(index).map(|placed| (placed.queue, placed.worker)).collect();
        let (devices, control) = self.part_and_control::<Devices>();
        let Devices { list, closing, umem, .. } = devices;
        let engine = control.engine_mut();
        let Some(device) = list.get_mut(&index).and_then(|device| device.downcast_mut::<XdpDevice>()) else {
            return Ok(());
        };
        if device.tx.len() != tx.len() {
            device.counters.take().into_iter().for_each(|counters| counters.remove(&mut engine.stats));
            device.counters = XdpCounters::new(&mut engine.stats, &name, tx.len());
        }
        let counters = device.counters.as_ref().map(|counters| counters.queues.clone());
        device.max_mtu = port.largest_mtu(umem);
        let raised = Raised::by_port(&port);
        device.switch(
            &mut Leaving { engine, closing, interface: index, name: name.clone(), tx: node },
            port,
            tx,
        );
        let numa = device.port.facts().numa_node.map(|node| node.0);
        let netdev = device.port.netdev().name().as_str().to_owned();
        devices.note_raised((index, netdev), raised);
        devices.set_arriving(control.interfaces(), index, None);
        devices.placement.forget(index);
        devices.serve(control.engine_mut(), receiving, numa, config, counters, &placed);
        devices.place_copies(control.engine_mut(), index);
        let port = &self.xdp_device(index)?.port;
        port.start()?;
        tracing::info!("{name}: bound again to {}, {}, queues: {}", host.name(), port.rung(), placed.len());
        let mac = Object::Setting(&settings::MAC, Some(index));
        if self.is_claimed_beside(&mac, Owner::KERNEL)
            && let Some(own) = self.interfaces().get(index).map(|interface| interface.mac)
        {
            self.xdp_device(index)?.port.netdev().set_mac(netdev::MacAddr(own.0))?;
        }
        Ok(())
    }

    /// Serves the queues that a Linux interface uses since a moment (`ethtool -L`).
    pub(super) fn follow_queues(&mut self, index: InterfaceIndex) {
        if let Err(error) = self.serve_more_queues(index) {
            tracing::warn!("{error}");
        }
    }

    fn serve_more_queues(&mut self, index: InterfaceIndex) -> Result<(), DeviceError> {
        let (name, node) = match self.interfaces().get(index) {
            Some(interface) => (interface.name.clone(), interface.tx),
            None => return Ok(()),
        };
        let Some((config, _)) = self.devices().ports.get(&index).cloned() else { return Ok(()) };
        let (devices, control) = self.part_and_control::<Devices>();
        let Devices { list, umem, .. } = devices;
        let Some(device) = list.get_mut(&index).and_then(|device| device.downcast_mut::<XdpDevice>()) else {
            return Ok(());
        };
        let (before, queues) = (device.queues(), device.port.facts().queues);
        let come = device.follow_queues(control.engine_mut(), (index, &name), node, umem);
        if device.port.facts().queues != queues {
            tracing::info!("{name}: queues: {}, before: {before}", device.queues());
            device.port.advice().iter().for_each(|advice| tracing::warn!("{advice}"));
        }
        let come = come?;
        if come.is_empty() {
            return Ok(());
        }
        let numa = device.port.facts().numa_node.map(|node| node.0);
        let counters = device.counters.as_ref().map(|counters| counters.queues.clone());
        devices.serve(control.engine_mut(), come, numa, &config, counters, &[]);
        self.tell_of_idle_workers();
        Ok(self.xdp_device(index)?.port.start()?)
    }

    /// The port of an interface.
    pub fn xdp_device(&self, index: InterfaceIndex) -> Result<&XdpDevice, DeviceError> {
        self.device(index, &AF_XDP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, interfaces::Interface, parse};

    fn read(text: &str) -> Result<AfXdpConfig, String> {
        let source = Source::from_text("f", format!("interfaces {{ af_xdp eth0 {{ {text} }} }}"));
        let config = parse(&source).map_err(|report| report.to_string())?.config;
        let port = config.interfaces.first().and_then(Interface::settings::<AfXdp>).ok_or("no port")?;
        let host = host_key(&port.host, port.netns.as_deref());
        port_config(port, &host).map_err(|error| error.to_string())
    }

    #[test]
    fn the_ladder_follows_mode_and_zero_copy() {
        use Rung::{GenericCopy, NativeCopy, NativeZeroCopy};
        let rungs = |text: &str| read(text).map(|config| config.rungs);
        assert_eq!(rungs(""), Ok(vec![NativeZeroCopy, NativeCopy, GenericCopy]));
        assert_eq!(rungs("zero-copy off"), Ok(vec![NativeCopy, GenericCopy]));
        assert_eq!(rungs("zero-copy on"), Ok(vec![NativeZeroCopy]));
        assert_eq!(rungs("mode native"), Ok(vec![NativeZeroCopy, NativeCopy]));
        assert_eq!(rungs("mode generic"), Ok(vec![GenericCopy]));
        assert!(rungs("mode generic zero-copy on").is_err());
    }

    #[test]
    fn sizes_and_budgets() {
        assert_eq!(read("").unwrap().rings, None);
        let rings = read("rx-queue-size 128 tx-queue-size 256").unwrap().rings.unwrap();
        assert_eq!((rings.rx, rings.fill, rings.tx, rings.completion), (128, 128, 256, 256));
        assert_eq!(read("tx-queue-size 256").unwrap().rings, Some(RingSizes::all(256)));
        let busy_poll = read("busy-poll-usec 20").unwrap().busy_poll;
        assert_eq!(busy_poll, Some(BusyPoll { microseconds: 20, budget: 64 }));
        assert!(read("busy-poll-budget 8").is_err());
    }

    #[test]
    fn namespaces_and_filters() {
        let at = |text: &str| read(text).unwrap().namespace;
        assert_eq!(at("netns blue"), Some("/run/netns/blue".into()));
        assert_eq!(at("netns /proc/1/ns/net"), Some("/proc/1/ns/net".into()));
        let filter =
            read("filter { udp 4789 destination 10.0.0.0/8 ethertype 0x8847 arp take }").unwrap().filter;
        let matches = vec![
            Match::Service { transport: Transport::Udp, port: 4789 },
            Match::Destination("10.0.0.0/8".parse().unwrap()),
            Match::Type(EtherType(0x8847)),
        ];
        assert_eq!(filter, Filter::Pinhole { matches, arp: Arp::Take });
    }
}
