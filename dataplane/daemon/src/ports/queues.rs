// SPDX-License-Identifier: Apache-2.0
//! Queues and TAPs on their way to workers, between them, and back.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use weft_devices::af_xdp::device::{AF_XDP, XdpDevice, give};
use weft_devices::af_xdp::input::{QueueVectors, RxQueue};
use weft_devices::af_xdp::socket::QueueId;
use weft_devices::tap::Tap;
use weft_devices::tap::device::place;
use weft_devices::tap::input::{FrameSource, Side};
use weft_engine::{Engine, InterfaceIndex, ThreadIndex};

use super::placement::{Placed, thread};
use super::{DeviceError, Devices};
use crate::config::af_xdp::WorkerNumber;
use crate::state::{Dataplane, PATIENCE};
use crate::subsystem::Refusal;

impl Devices {
    /// Hands a receive queue to its worker.
    pub(super) fn place_queue(
        &mut self,
        engine: &mut Engine,
        worker: WorkerNumber,
        queue: RxQueue,
        counters: Option<QueueVectors>,
    ) {
        self.placement.add(Placed::new(queue.interface, queue.id, worker));
        give(engine, self.af_xdp_input, thread(worker), queue, counters);
    }

    /// Has a worker read a TAP.
    pub(super) fn place_tap(
        &mut self,
        engine: &mut Engine,
        worker: WorkerNumber,
        interface: InterfaceIndex,
        side: Side,
        tap: &Arc<Tap>,
    ) {
        if let Side::Interface(_) = side {
            self.placement.add(Placed::new(interface, QueueId(0), worker));
        }
        place(engine, self.tap_input, thread(worker), side, Arc::clone(tap) as Arc<dyn FrameSource>);
    }

    /// Has the worker of the first queue of a port read what the host has and Weft needs too.
    pub(super) fn place_copies(&self, engine: &mut Engine, interface: InterfaceIndex) {
        let heard = self.get_as::<XdpDevice>(interface).and_then(|device| device.port.neighbors());
        if let (Some(heard), Some(first)) = (heard, self.placement.of(interface).next()) {
            place(engine, self.tap_input, thread(first.worker), Side::Interface(interface), heard);
        }
    }
}

impl Dataplane {
    /// Workers that poll no receive queue.
    pub fn idle_workers(&self) -> Vec<ThreadIndex> {
        let placed: BTreeSet<u16> =
            self.devices().placement.iter().map(|placed| thread(placed.worker).0).collect();
        let workers = (1..=self.plan().workers.len() as u16).filter(|worker| !placed.contains(worker));
        workers.map(ThreadIndex).collect()
    }

    /// Says which workers have nothing to receive, if there are queues at all.
    pub fn tell_of_idle_workers(&self) {
        let queues = self.devices().placement.iter().count();
        let idle: Vec<&str> =
            self.idle_workers().into_iter().map(|thread| self.plan().name(thread)).collect();
        if queues > 0 && !idle.is_empty() {
            tracing::warn!(
                "no receive queue for {}: {queues} for {} workers; give the NIC more (`ethtool -L`), or Weft fewer workers \
                 (cpu {{ workers }})",
                idle.join(", "),
                self.plan().workers.len()
            );
        }
    }

    /// Moves a receive queue of a port to another worker. Frames wait in its ring meanwhile.
    pub fn move_queue(
        &mut self,
        interface: InterfaceIndex,
        queue: QueueId,
        to: WorkerNumber,
    ) -> Result<(), DeviceError> {
        self.devices().placement.check(to)?;
        let name = self.interface_name(interface);
        let (Devices { list, placement, .. }, control) = self.part_and_control();
        let last = placement.of(interface).map(|placed| placed.queue.0).max();
        let Some(device) = list.get(&interface) else {
            return Err(DeviceError::Kind { name, is: "a sub-interface", expected: AF_XDP.sentence });
        };
        let Some(last) = last else {
            return Err(DeviceError::Kind { name, is: device.kind().sentence, expected: AF_XDP.sentence });
        };
        let Some(placed) = placement.find_mut(interface, queue) else {
            return Err(DeviceError::NoQueue { name, queue: queue.0, last });
        };
        if placed.moving.get() {
            return Err(Refusal::Moving { name, queue: queue.0 }.into());
        }
        if placed.worker == to {
            return Ok(());
        }
        let (moving, arrived) = (Rc::clone(&placed.moving), Rc::clone(&placed.moving));
        let done = Box::new(move || arrived.set(false));
        moving.set(true);
        if !device.move_queue(control.engine_mut(), interface, queue.0, thread(to), done) {
            moving.set(false);
            let is = device.kind().sentence;
            return Err(DeviceError::Kind { name, is, expected: AF_XDP.sentence });
        }
        placed.worker = to;
        // Nobody polls the queue meanwhile, so this does not wait for the next round of the main loop. A worker that
        // is late hands it over later all the same.
        self.settle(PATIENCE, |_| !moving.get());
        Ok(())
    }
}
