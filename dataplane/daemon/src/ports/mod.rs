// SPDX-License-Identifier: Apache-2.0
//! Devices and the interfaces on them: how they come, change and go while packets flow.
//!
//! Everything here is done by the main thread, on [`Dataplane`]. Workers get their part of a device (a receive queue, a
//! transmit node) by messages and give it back by messages; the main thread never waits for them but for a bounded time
//! ([`Dataplane::settle`]). What takes long, such as letting the last frames leave, is left to a helper thread.
//!
//! | module | what |
//! |---|---|
//! | `af_xdp`, `tap`, `loopback`, `pg`, `local` | the kinds of devices: their words, and how they come |
//! | `change` | what change sets ask of Linux interfaces; polling |
//! | `placement`, `queues` | which worker polls which queue |
//! | `closing` | waits for devices on their way out |
//! | `links` | news of the kernel about links |
//! | `watch` | link state, and a Linux interface that comes back and the kernel's counters |

mod af_xdp;
mod change;
mod closing;
mod links;
pub mod local;
mod loopback;
#[cfg(test)]
#[path = "../../../../tests/extend/device/null.rs"]
mod null;
mod pg;
pub mod placement;
mod queues;
mod tap;
mod watch;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linkme::distributed_slice;
use weft_cli::Command;
use weft_control::{Refused, StepError};
use weft_devices::DEVICE_INPUT_ARC;
use weft_devices::af_xdp::input::{AF_XDP_INPUT, AfXdpInput};
use weft_devices::af_xdp::memory::BufferMemory;
use weft_devices::af_xdp::port::{AfXdpPort, PortError};
use weft_devices::af_xdp::umem::{KERNEL_HEADROOM, Umem, UmemError};
use weft_devices::closing::{Closing, HostKey};
use weft_devices::device::{Device, DeviceKind, Leaving};
use weft_devices::netdev::NetdevError;
use weft_devices::pg::PgError;
use weft_devices::tap::TapError;
use weft_devices::tap::input::{TAP_INPUT, TapInput};
use weft_devices::undo::Journal;
use weft_engine::buffer::HEADROOM;
use weft_engine::counters::Counters;
use weft_engine::feature::FeatureError;
use weft_engine::graph::{BUILT_IN, GraphError, NodeDef, Registration, Wiring};
use weft_engine::{Engine, InterfaceIndex, NodeId, ThreadIndex};
use weft_nodes::headers::MacAddr;
use weft_nodes::interface::{self as registry, InterfaceError, Interfaces};

use crate::config::af_xdp::AfXdp;
use crate::config::interfaces::Interface;
use crate::config::values::HostInterface;
use crate::config::values::InterfaceName;
use crate::config::words::Key;
use crate::state::Dataplane;
use crate::subsystem::{Foundation, Refusal, Subsystem, Subsystems};
use links::LinkNews;
use placement::{NoWorker, Placement};

/// What a kind of device brings to the front ends. What it does, [`Device`] says.
pub struct DeviceWords {
    /// What it is called.
    pub kind: &'static DeviceKind,
    /// Its words in `interfaces { ... }`.
    pub keys: &'static [Key<Vec<Interface>>],
    /// Its commands.
    pub commands: fn() -> Vec<Command<Dataplane>>,
}

/// All kinds of devices: the linker makes the list of what [`kind`] adds to it.
#[distributed_slice]
static KINDS: [DeviceWords];

/// Adds a kind of device to [`KINDS`].
macro_rules! kind {
    ($words:expr) => {
        // A section of its own is all that is unsafe about it, and nothing else is in that.
        #[allow(unsafe_code)]
        const _: () = {
            #[linkme::distributed_slice($crate::ports::KINDS)]
            static WORDS: $crate::ports::DeviceWords = $words;
        };
    };
}
use kind;

/// All kinds of devices, by name.
pub fn kinds() -> Vec<&'static DeviceWords> {
    let mut kinds: Vec<_> = KINDS.iter().collect();
    kinds.sort_by_key(|words| words.kind.word);
    kinds
}

/// Why a device cannot be what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The registry of interfaces refuses.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
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

/// What a device is opened with, below an interface that workers do not see yet.
pub struct Opening<'a> {
    /// Graph, workers.
    pub engine: &'a mut Engine,
    /// All devices, the packet generator, and whoever else is by the side.
    pub parts: &'a mut Subsystems,
    /// Of the interface.
    pub index: InterfaceIndex,
    /// The interface as it will be.
    pub interface: &'a registry::Interface,
}

impl Opening<'_> {
    /// Adds the node that transmits.
    pub fn add_node(&mut self, node: NodeDef<'_>) -> Result<NodeId, DeviceError> {
        Ok(self.engine.add_nodes("weft", vec![node])?[0])
    }

    /// Adds the device that has been opened.
    pub fn add_device(&mut self, device: impl Device) {
        self.parts.get_mut::<Devices>().add(self.index, device);
    }
}

/// All devices, and the nodes that read from them.
pub struct Devices {
    list: BTreeMap<InterfaceIndex, Box<dyn Device>>,
    umem: Umem,
    af_xdp_input: NodeId,
    tap_input: NodeId,
    /// Which worker polls what.
    pub placement: Placement,
    closing: Closing,
    /// What the kernel tells of links.
    pub links: LinkNews,
    /// AF_XDP ports as they were configured, and why one that lost its Linux interface could not be bound again.
    ports: BTreeMap<InterfaceIndex, (AfXdp, Option<String>)>,
    /// Those whose link has gone, until they are bound to another one.
    lost: BTreeSet<InterfaceIndex>,
    /// Links, by interface and name, whose MTU was raised.
    raised: RefCell<BTreeMap<(InterfaceIndex, String), Raised>>,
    /// Where ports note what they change on Linux interfaces.
    journal: Journal,
    /// What the main thread counts for devices.
    counters: Counters,
}

/// That a link was told to carry more than it did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Raised {
    from: u32,
    to: u32,
}

impl Raised {
    /// What a port has done when it was opened.
    fn by_port(port: &AfXdpPort) -> Option<Raised> {
        port.mtu_before().map(|from| Raised { from, to: port.facts().link.mtu })
    }
}

impl Devices {
    /// No devices yet. `numa` is the node of each worker.
    pub fn new(engine: &mut Engine, numa: Vec<u32>, journal: Journal) -> Result<Devices, DeviceError> {
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
            links: LinkNews::default(),
            ports: BTreeMap::new(),
            lost: BTreeSet::new(),
            raised: RefCell::default(),
            journal,
            counters: engine.counters.rows(ThreadIndex(0)),
        })
    }

    /// The device of an interface; sub-interfaces have none of their own.
    pub fn get(&self, index: InterfaceIndex) -> Option<&dyn Device> {
        self.list.get(&index).map(|device| &**device)
    }

    /// The device of an interface, if it is of that type.
    pub fn get_as<D: Device>(&self, index: InterfaceIndex) -> Option<&D> {
        self.get(index)?.downcast_ref()
    }

    /// Whether the device of an interface is of that kind.
    pub fn is(&self, index: InterfaceIndex, kind: &DeviceKind) -> bool {
        self.get(index).is_some_and(|device| device.kind() == kind)
    }

    /// Adds the device of an interface that is to come.
    pub(crate) fn add(&mut self, index: InterfaceIndex, device: impl Device) {
        self.list.insert(index, Box::new(device));
    }

    /// All devices.
    pub fn iter(&self) -> impl Iterator<Item = (InterfaceIndex, &dyn Device)> {
        self.list.iter().map(|(index, device)| (*index, &**device))
    }

    /// All devices of that type.
    pub fn all<D: Device>(&self) -> impl Iterator<Item = (InterfaceIndex, &D)> {
        self.iter().filter_map(|(index, device)| Some((index, device.downcast_ref()?)))
    }

    /// The largest IP packet of an AF_XDP port, where the kernel has frames of several buffers.
    pub fn largest_mtu_of_ports(&self) -> u32 {
        self.umem.max_mtu_in_pieces()
    }

    /// Closes the device of an interface.
    fn close(&mut self, engine: &mut Engine, index: InterfaceIndex, name: String, tx: NodeId) {
        if let Some(device) = self.list.remove(&index) {
            let closing = &mut self.closing;
            device.close(&mut Leaving { engine, closing, interface: index, name, tx });
        }
        self.placement.forget(index);
        self.ports.remove(&index);
        self.lost.remove(&index);
        self.raised.borrow_mut().retain(|(of, _), _| *of != index);
    }

    /// Devices that helpers are still closing.
    pub fn closing(&mut self) -> usize {
        self.closing.count()
    }
}

impl Devices {
    /// Tells the device below an interface which frames are to arrive: those with tags if something has them, and those of other
    /// stations if they are switched. What goes is not counted any more.
    fn set_arriving(
        &mut self,
        interfaces: &Interfaces,
        index: InterfaceIndex,
        going: Option<InterfaceIndex>,
    ) {
        let port = interfaces.get(index).and_then(|interface| interface.parent()).unwrap_or(index);
        let is_switched = |interface: &registry::Interface| interface.layer2.switch().is_some();
        let mut subs = interfaces.subs(port).filter(|(sub, _)| Some(*sub) != going).peekable();
        // A switched port has all tags that no sub-interface has.
        let own = interfaces.get(port).is_some_and(is_switched);
        let tagged = own || subs.peek().is_some();
        let promiscuous = own || subs.any(|(_, sub)| is_switched(sub));
        self.set_tagged(interfaces, port, tagged);
        if let Some(device) = self.list.get_mut(&port)
            && let Err(error) = device.set_promiscuous(promiscuous)
        {
            let name = interfaces.get(port).map_or_else(String::new, |port| port.name.clone());
            tracing::warn!("{name}: frames for other stations may not arrive: {error}");
        }
    }

    /// Tells the device of `port` whether there are sub-interfaces on it.
    fn set_tagged(&mut self, interfaces: &Interfaces, port: InterfaceIndex, tagged: bool) {
        if let Some(device) = self.list.get_mut(&port)
            && let Err(error) = device.set_tagged(tagged)
        {
            let name = interfaces.get(port).map_or_else(String::new, |port| port.name.clone());
            tracing::warn!("{name}: frames with VLAN tags may not arrive as they are: {error}");
        }
    }
}

impl Subsystem for Devices {
    fn interface_added(&mut self, cx: &mut Foundation<'_>, index: InterfaceIndex) {
        self.set_arriving(cx.interfaces, index, None);
    }

    fn interface_changed(
        &mut self,
        cx: &mut Foundation<'_>,
        index: InterfaceIndex,
        changes: registry::Changes,
    ) {
        if changes.any_of(registry::Changes::SETTINGS) {
            self.set_arriving(cx.interfaces, index, None);
        }
    }

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
        if cx.interfaces.get(index).is_some_and(|interface| interface.parent().is_some()) {
            self.set_arriving(cx.interfaces, index, Some(index));
        }
        if let Some(interface) = cx.interfaces.get(index) {
            self.close(cx.engine, index, interface.name.clone(), interface.tx);
        }
    }
}

/// The Linux interface that the words of the configuration name.
fn host_key(host: &HostInterface, namespace: Option<&str>) -> HostKey {
    HostKey::new(host.as_str(), namespace.map(namespace_path))
}

/// A network namespace: a name below /run/netns, or a path.
fn namespace_path(text: &str) -> PathBuf {
    if text.contains('/') { PathBuf::from(text) } else { Path::new("/run/netns").join(text) }
}

impl Dataplane {
    /// What is behind the interfaces.
    pub fn devices(&self) -> &Devices {
        self.part()
    }

    /// The same, to be changed.
    pub fn devices_mut(&mut self) -> &mut Devices {
        self.part_mut()
    }

    /// An interface without a device, in the place of one that has one.
    pub fn create_stand_in(&mut self, name: &InterfaceName) -> Result<InterfaceIndex, DeviceError> {
        let mac = made_up_mac(0, self.interfaces().iter().count() as u32);
        Ok(self.create_bare(name.as_str(), mac, 1500)?)
    }

    /// The device of an interface, which must be of that type and kind.
    pub fn device<D: Device>(&self, index: InterfaceIndex, kind: &DeviceKind) -> Result<&D, DeviceError> {
        let device = self.devices().get(index);
        device.and_then(|device| device.downcast_ref()).ok_or_else(|| DeviceError::Kind {
            name: self.interface_name(index),
            is: device.map_or("a sub-interface", |device| device.kind().sentence),
            expected: kind.sentence,
        })
    }
}

/// An address of our own making: locally administered (IEEE 802, second bit of the first byte), the interface's
/// index in it.
fn made_up_mac(kind: u8, number: u32) -> MacAddr {
    let [a, b, c, d] = number.to_be_bytes();
    MacAddr([0x02, 0xfe ^ kind, a, b, c, d])
}

#[cfg(test)]
mod tests;
