// SPDX-License-Identifier: Apache-2.0
//! Devices and the interfaces on them: how they come, change and go while packets flow.
//!
//! Everything here is done by the main thread, on [`Dataplane`]. Workers get their part of a device (a receive queue, a
//! transmit node) by messages and give it back by messages; the main thread never waits for them but for a bounded time
//! ([`Dataplane::settle`]). What takes long, such as letting the last frames leave, is left to a helper thread.
//!
//! | module | what |
//! |---|---|
//! | `af_xdp`, `tap`, `virtual` | create and delete |
//! | `change` | what change sets ask of Linux interfaces; polling |
//! | `placement`, `queues` | which worker polls which queue |
//! | `closing` | devices on their way out |
//! | `watch` | link state and the kernel's counters |

mod af_xdp;
mod change;
mod closing;
pub mod placement;
mod queues;
mod tap;
mod r#virtual;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weft_control::{Refused, StepError};
use weft_devices::DEVICE_INPUT_ARC;
use weft_devices::af_xdp::input::{AF_XDP_INPUT, AfXdpInput};
use weft_devices::af_xdp::memory::BufferMemory;
use weft_devices::af_xdp::port::PortError;
use weft_devices::af_xdp::umem::{KERNEL_HEADROOM, Umem, UmemError};
use weft_devices::netdev::{LinkName, NetdevError};
use weft_devices::pg::{PgError, PgId};
use weft_devices::tap::TapError;
use weft_devices::tap::input::{TAP_INPUT, TapInput};
use weft_engine::buffer::HEADROOM;
use weft_engine::feature::FeatureError;
use weft_engine::graph::{BUILT_IN, GraphError, NodeDef, Registration, Wiring};
use weft_engine::{Engine, InterfaceIndex, NodeId};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{InterfaceError, Interfaces};
use weft_nodes::ip4::RouterError;

use crate::config::values::{HostInterface, InterfaceName};
use crate::lifecycle::{Foundation, Refusal, Subsystem};
use crate::state::Dataplane;
pub use af_xdp::XdpDevice;
use closing::Closing;
use placement::{NoWorker, Placement};
pub use tap::{HostTap, TapDevice};
pub use r#virtual::SubInterface;

/// Why a device cannot be what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The registry of interfaces refuses.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// IPv4 refuses.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// The port cannot be opened.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The TAP cannot be created.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The Linux interface refuses.
    #[error(transparent)]
    Netdev(#[from] NetdevError),
    /// The packet generator refuses.
    #[error(transparent)]
    Pg(#[from] PgError),
    /// The graph takes no more nodes.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A feature that is not there, or cannot come where it should.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// A worker that is not there.
    #[error(transparent)]
    Worker(#[from] NoWorker),
    /// The buffers are no packet memory for AF_XDP.
    #[error(transparent)]
    Umem(#[from] UmemError),
    /// Another kind of interface was expected.
    #[error("'{name}' is {is}, expected {expected}")]
    Kind {
        /// The interface.
        name: String,
        /// What it is.
        is: &'static str,
        /// What can be treated so.
        expected: &'static str,
    },
    /// The device below is still being closed.
    #[error("{0} is still being closed: try again in a moment")]
    Closing(String),
    /// Something keeps it from being deleted, or changed, for now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No such queue.
    #[error("'{name}' has no receive queue {queue}: expected 0 to {last}")]
    NoQueue {
        /// The port.
        name: String,
        /// What was asked for.
        queue: u32,
        /// Its last queue.
        last: u32,
    },
    /// A change of the new interface cannot be noted.
    #[error(transparent)]
    Step(#[from] StepError),
    /// Changes of the new interface are refused.
    #[error(transparent)]
    Changes(#[from] Refused),
    /// Two TAPs for one port.
    #[error("'{0}' has a host interface already")]
    HasHost(String),
    /// A combination of settings without meaning.
    #[error("{0}")]
    Settings(&'static str),
}

/// What is behind an interface.
pub enum Device {
    /// Queues of a Linux interface.
    AfXdp(Box<XdpDevice>),
    /// A TAP whose other side is the host's.
    Tap(TapDevice),
    /// Nothing; with the number in its name.
    Loopback(u32),
    /// The packet generator.
    Pg(PgId),
}

impl Device {
    /// What it is, for messages and `show hardware-interfaces`.
    pub fn kind(&self) -> &'static str {
        match self {
            Device::AfXdp(_) => "an AF_XDP port",
            Device::Tap(_) => "a TAP",
            Device::Loopback(_) => "a loopback interface",
            Device::Pg(_) => "a packet-generator interface",
        }
    }
}

/// All devices, and the nodes that read from them.
pub struct Devices {
    list: BTreeMap<InterfaceIndex, Device>,
    umem: Umem,
    af_xdp_input: NodeId,
    tap_input: NodeId,
    /// Which worker polls what.
    pub placement: Placement,
    closing: Closing,
}

impl Devices {
    /// No devices yet. `numa` is the node of each worker.
    pub fn new(engine: &mut Engine, numa: Vec<u32>) -> Result<Devices, DeviceError> {
        let memory = Arc::new(BufferMemory(Arc::clone(&engine.buffers)));
        // The kernel puts its own headroom in front of ours; together they are what the engine expects.
        let umem = Umem::new(memory, HEADROOM as u32 - KERNEL_HEADROOM)?;
        let clock = engine.clock;
        let arc = |w: &Wiring<'_>| w.arc(&DEVICE_INPUT_ARC);
        let nodes = vec![
            NodeDef::new(&AF_XDP_INPUT, |w| Box::new(AfXdpInput::new(arc(w), w.nexts()))),
            NodeDef::new(&TAP_INPUT, |w| Box::new(TapInput::new(&clock, arc(w), w.nexts(), w.events()))),
        ];
        let arcs = vec![DEVICE_INPUT_ARC];
        let nodes = engine.register(BUILT_IN, Registration { arcs, nodes, ..Registration::default() })?;
        Ok(Devices {
            list: BTreeMap::new(),
            umem,
            af_xdp_input: nodes[0],
            tap_input: nodes[1],
            placement: Placement::new(numa),
            closing: Closing::default(),
        })
    }

    /// The device of an interface; sub-interfaces have none of their own.
    pub fn get(&self, index: InterfaceIndex) -> Option<&Device> {
        self.list.get(&index)
    }

    /// All devices.
    pub fn iter(&self) -> impl Iterator<Item = (InterfaceIndex, &Device)> {
        self.list.iter().map(|(index, device)| (*index, device))
    }

    /// Devices that helpers are still closing.
    pub fn closing(&mut self) -> usize {
        self.closing.count()
    }
}

impl Subsystem for Devices {
    fn interface_may_go(&self, interfaces: &Interfaces, index: InterfaceIndex) -> Result<(), Refusal> {
        match self.placement.of(index).find(|placed| placed.moving.get()) {
            None => Ok(()),
            Some(placed) => {
                let name = interfaces.get(index).map(|interface| interface.name.clone()).unwrap_or_default();
                Err(Refusal::Moving { name, queue: placed.queue.0 })
            }
        }
    }

    fn interface_removing(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        match self.list.remove(&index) {
            Some(Device::AfXdp(device)) => self.close_af_xdp(cx, index, *device),
            Some(Device::Tap(device)) => self.close_tap(cx, index, device),
            // The packet generator has its interfaces itself.
            Some(Device::Loopback(_) | Device::Pg(_)) | None => {}
        }
        self.placement.forget(index);
    }
}

/// A Linux interface and its namespace: the same one is not opened twice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostKey {
    name: String,
    namespace: Option<PathBuf>,
}

impl HostKey {
    /// The name of the Linux interface.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace, if it is not that of the daemon.
    pub fn namespace(&self) -> Option<&Path> {
        self.namespace.as_deref()
    }

    fn new(host: &HostInterface, namespace: Option<&str>) -> Self {
        HostKey { name: host.as_str().to_owned(), namespace: namespace.map(namespace_path) }
    }

    fn link_name(&self) -> Result<LinkName, NetdevError> {
        self.name.parse()
    }
}

/// A network namespace: a name below /run/netns, or a path.
fn namespace_path(text: &str) -> PathBuf {
    if text.contains('/') { PathBuf::from(text) } else { Path::new("/run/netns").join(text) }
}

impl Dataplane {
    /// That the name is free: to be asked before a device is opened for it.
    fn check_name(&self, name: &InterfaceName) -> Result<(), DeviceError> {
        match self.interfaces.find(name.as_str()) {
            Some(_) => Err(InterfaceError::Duplicate(name.as_str().to_owned()).into()),
            None => Ok(()),
        }
    }

    /// The device of an interface, which must be of the kind that `pick` takes.
    pub fn device<'a, T>(
        &'a self,
        index: InterfaceIndex,
        expected: &'static str,
        pick: impl FnOnce(&'a Device) -> Option<T>,
    ) -> Result<T, DeviceError> {
        let device = self.devices.get(index);
        device.and_then(pick).ok_or_else(|| DeviceError::Kind {
            name: self.interface_name(index),
            is: device.map_or("a sub-interface", Device::kind),
            expected,
        })
    }
}

/// An address of our own making: locally administered (IEEE 802, second bit of the first byte), the interface's
/// index in it.
fn made_up_mac(kind: u8, number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([0x02, 0xfe ^ kind, a, b, c, d])
}
