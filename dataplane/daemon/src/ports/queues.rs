// SPDX-License-Identifier: Apache-2.0
//! Queues and TAPs on their way to workers, between them, and back.

use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use weft_devices::af_xdp::input::{AfXdpInput, QueueVectors, RxQueue};
use weft_devices::af_xdp::socket::QueueId;
use weft_devices::tap::Tap;
use weft_devices::tap::input::{Side, TapInput};
use weft_engine::{Engine, InterfaceIndex, NodeId};

use super::placement::{Placed, thread};
use super::{DeviceError, Devices};
use crate::config::af_xdp::WorkerNumber;
use crate::lifecycle::Refusal;
use crate::state::{Dataplane, PATIENCE};

/// Receive queues that workers have given up.
pub(super) type Returned = Arc<Mutex<Vec<RxQueue>>>;

/// What was returned so far.
pub(super) fn collect(returned: &Returned) -> Vec<RxQueue> {
    std::mem::take(&mut *returned.lock().unwrap_or_else(PoisonError::into_inner))
}

fn give(
    engine: &mut Engine,
    node: NodeId,
    worker: WorkerNumber,
    mut queue: RxQueue,
    counters: Option<QueueVectors>,
) {
    queue.count_in(counters, thread(worker));
    engine.post(thread(worker), move |worker| {
        if let Some(input) = worker.node_mut::<AfXdpInput>(node) {
            input.add(queue);
        }
    });
}

/// Has workers give up the queues of an interface, or one of them.
fn take(
    engine: &mut Engine,
    node: NodeId,
    interface: InterfaceIndex,
    queue: Option<QueueId>,
    returned: &Returned,
) {
    let returned = Arc::clone(returned);
    engine.post_all(move |worker| {
        if let Some(input) = worker.node_mut::<AfXdpInput>(node) {
            let queues = input.take(interface, queue);
            returned.lock().unwrap_or_else(PoisonError::into_inner).extend(queues);
        }
    });
}

impl Devices {
    /// Hands a receive queue to its worker.
    pub(super) fn place_queue(
        &mut self,
        engine: &mut Engine,
        worker: WorkerNumber,
        queue: RxQueue,
        counters: Option<QueueVectors>,
    ) {
        let node = self.af_xdp_input;
        self.placement.add(Placed::new(queue.interface, queue.id, node, worker));
        give(engine, node, worker, queue, counters);
    }

    /// Has all workers give up the queues of an interface; they are in `Returned` when all have.
    pub(super) fn take_queues(&mut self, engine: &mut Engine, interface: InterfaceIndex) -> Returned {
        let returned = Returned::default();
        take(engine, self.af_xdp_input, interface, None, &returned);
        self.placement.forget(interface);
        returned
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
        let node = self.tap_input;
        if let Side::Interface(_) = side {
            self.placement.add(Placed::new(interface, QueueId(0), node, worker));
        }
        let tap = Arc::clone(tap);
        engine.post(thread(worker), move |worker| {
            if let Some(input) = worker.node_mut::<TapInput>(node) {
                input.add(side, tap);
            }
        });
    }

    /// Has the workers forget a TAP.
    pub(super) fn take_tap(&self, engine: &mut Engine, side: Side) {
        let node = self.tap_input;
        engine.post_all(move |worker| {
            if let Some(input) = worker.node_mut::<TapInput>(node) {
                input.remove(side);
            }
        });
    }
}

impl Dataplane {
    /// Moves a receive queue of a port to another worker. Frames wait in its ring meanwhile.
    pub fn move_queue(
        &mut self,
        interface: InterfaceIndex,
        queue: QueueId,
        to: WorkerNumber,
    ) -> Result<(), DeviceError> {
        self.devices.placement.check(to)?;
        self.xdp_device(interface)?;
        let name = self.interface_name(interface);
        let last = self.devices.placement.of_mut(interface).map(|placed| placed.queue.0).max();
        let Some(placed) = self.devices.placement.find_mut(interface, queue) else {
            return Err(DeviceError::NoQueue { name, queue: queue.0, last: last.unwrap_or(0) });
        };
        if placed.moving.get() {
            return Err(Refusal::Moving { name, queue: queue.0 }.into());
        }
        if placed.worker == to {
            return Ok(());
        }
        placed.worker = to;
        placed.moving.set(true);
        let (node, moving) = (placed.node, Rc::clone(&placed.moving));
        let returned = Returned::default();
        take(&mut self.control.engine, node, interface, Some(queue), &returned);
        let arrived = Rc::clone(&moving);
        self.engine.after_workers(move |engine| {
            for queue in collect(&returned) {
                give(engine, node, to, queue, None);
            }
            arrived.set(false);
        });
        // Nobody polls the queue meanwhile, so this does not wait for the next round of the main loop. A worker that
        // is late hands it over later all the same.
        self.settle(PATIENCE, |_| !moving.get());
        Ok(())
    }
}
