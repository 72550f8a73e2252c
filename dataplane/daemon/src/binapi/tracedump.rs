// SPDX-License-Identifier: Apache-2.0
//! `tracedump`: traces of packets, as `show trace` prints them.
//!
//! There is no cache to be cleared: each dump shows what workers hold at that moment. Filters do not exist, so that the
//! messages that set them are not served.

use weft_binapi::Retval;
use weft_binapi::api::tracedump::{
    TraceCapturePackets, TraceClearCache, TraceClearCapture, TraceV2Details, TraceV2Dump,
};
use weft_binapi::server::{Records, Registry};
use weft_engine::NodeId;
use weft_engine::node::Kind;

use crate::cli::trace::{MOST, packets};
use crate::state::Dataplane;

pub fn register(registry: &mut Registry<Dataplane>) {
    registry.command(|dataplane, _, message: TraceCapturePackets| {
        let id = u16::try_from(message.node_index).map(NodeId).map_err(|_| Retval::NO_SUCH_NODE)?;
        let node = dataplane.engine().graph().node(id).ok_or(Retval::NO_SUCH_NODE)?;
        if node.spec.kind != Kind::Input {
            return Err(Retval::NO_SUCH_NODE);
        }
        if message.use_filter {
            return Err(Retval::UNSUPPORTED);
        }
        if message.max_packets > MOST {
            return Err(Retval::LIMIT_EXCEEDED);
        }
        if message.pre_capture_clear {
            dataplane.engine_mut().post_all(|worker| worker.clear_trace());
        }
        let count = message.max_packets;
        dataplane.engine_mut().post_all(move |worker| worker.trace(id, count));
        Ok(())
    });
    registry.command(|dataplane, _, TraceClearCapture {}| {
        dataplane.engine_mut().post_all(|worker| worker.clear_trace());
        Ok(())
    });
    registry.query(|_, _, TraceClearCache {}| Ok(()));
    registry.dump(|dataplane, _, message: TraceV2Dump| Records::ready(dump(dataplane, &message)));
}

/// The packets of one thread from a position on, or of all threads; at most so many of each thread.
fn dump(dataplane: &mut Dataplane, message: &TraceV2Dump) -> Vec<TraceV2Details> {
    let most = (message.position as usize).saturating_add(message.max as usize);
    let threads = packets(dataplane, most).unwrap_or_else(|error| {
        tracing::info!("API: {error}");
        Vec::new()
    });
    let wanted = |thread: u32| message.thread_id == u32::MAX || message.thread_id == thread;
    let mut details = Vec::new();
    for (thread, last, packets) in threads.into_iter().filter(|(thread, ..)| wanted(thread.0.into())) {
        let places = (0u32..).zip(packets).skip(message.position as usize).take(message.max as usize);
        details.extend(places.map(|(position, packet)| TraceV2Details {
            thread_id: thread.0.into(),
            position,
            more: (position as usize) + 1 < last,
            trace_data: packet.text(),
        }));
    }
    details
}
