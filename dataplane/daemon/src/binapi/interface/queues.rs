// SPDX-License-Identifier: Apache-2.0
//! Which worker polls which receive queue, and whether it sleeps.

use weft_binapi::Retval;
use weft_binapi::api::interface::{
    SwInterfaceRxPlacementDetails, SwInterfaceRxPlacementDump, SwInterfaceSetRxMode,
    SwInterfaceSetRxPlacement,
};
use weft_binapi::api::interface_types::RxMode;
use weft_binapi::server::{Records, Registry};
use weft_devices::af_xdp::socket::QueueId;

use crate::binapi::{index, retval};
use crate::config::af_xdp::WorkerNumber;
use crate::ports::placement::{Placed, thread};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.dump(|dataplane, _, SwInterfaceRxPlacementDump { sw_if_index }| {
        let wanted = |placed: &&Placed| sw_if_index.0 == u32::MAX || placed.interface.0 == sw_if_index.0;
        let placements = dataplane.devices().placement.iter().filter(wanted);
        Records::ready(placements.map(|placed| SwInterfaceRxPlacementDetails {
            sw_if_index: index(placed.interface),
            queue_id: placed.queue.0,
            // Of the thread: main is 0, the first worker 1.
            worker_id: thread(placed.worker).0.into(),
            mode: if placed.polling { RxMode::POLLING } else { RxMode::ADAPTIVE },
        }))
    });
    registry.command(|dataplane, _, message: SwInterfaceSetRxPlacement| {
        let index = dataplane.api_interface(message.sw_if_index)?;
        // The main thread polls no queue.
        let worker = if message.is_main { Err(Retval::UNSUPPORTED) } else { Ok(message.worker_id) };
        let queue = QueueId(message.queue_id);
        dataplane.move_queue(index, queue, WorkerNumber(worker?)).map_err(retval::device)
    });
    registry.command(|dataplane, _, SwInterfaceSetRxMode { sw_if_index, mode, .. }| {
        let index = dataplane.api_interface(sw_if_index)?;
        if dataplane.interfaces().get(index).is_some_and(|interface| interface.parent().is_some()) {
            return Err(Retval::INVALID_VALUE);
        }
        let polling = match mode {
            RxMode::POLLING => true,
            // A worker that has nothing to do sleeps until a queue wakes it.
            RxMode::INTERRUPT | RxMode::ADAPTIVE | RxMode::DEFAULT => false,
            _ => return Err(Retval::INVALID_VALUE),
        };
        dataplane.set_polling(index, polling).map_err(|_| Retval::UNIMPLEMENTED)
    });
}
