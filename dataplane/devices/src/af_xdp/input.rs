// SPDX-License-Identifier: Apache-2.0
//! af-xdp-input: received frames of all queues that a worker polls.
//!
//! One node per worker, with as many queues as the main thread has placed there. A frame is where
//! the kernel wrote it; only its metadata is filled in. Whatever was taken from a fill ring is
//! replaced at once, so a pool that runs dry shows as `rx-no-buf` and as drops of the kernel, and
//! recovers by itself.

use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use weft_engine::Context;
use weft_engine::buffer::BufferCache;
use weft_engine::frame::{FRAME_SIZE, Frame};
use weft_engine::ids::{ArcId, BufferIndex, InterfaceIndex, ThreadIndex};
use weft_engine::node::{Edges, Nexts, Node, NodeSpec};
use weft_engine::wait::WaitSet;
use weft_stats::{CombinedRow, CombinedVector, SimpleRow, SimpleVector};

use super::checksum;
use super::socket::{QueueId, XskRx};
use super::umem::{CONTINUES, ChunkIndex, Descriptor};

use crate::LINK_HEADER;

weft_engine::edges! {
    /// Where frames go that no feature takes.
    pub enum Next { Ethernet => "ethernet-input" }
}

/// Descriptor of af-xdp-input.
pub static AF_XDP_INPUT: NodeSpec = NodeSpec::input("af-xdp-input").next(Next::NAMES);

/// A queue that a worker polls.
pub struct RxQueue {
    /// Interface of the port.
    pub interface: InterfaceIndex,
    /// Queue of the port.
    pub id: QueueId,
    /// The receiving half.
    pub rx: XskRx,
    /// The worker must not sleep while it serves this queue.
    pub polling: bool,
    /// Frames may come with checksums that are left to hardware: they are filled in.
    pub fills_checksums: bool,
    /// Chunks that the kernel should have and does not: taken from rings, or missing from a dry
    /// pool.
    owed: u32,
    counts: Option<QueueCounts>,
}

/// What is counted per queue, by the worker that polls it.
#[derive(Clone)]
pub struct QueueVectors {
    /// Received packets and bytes.
    pub rx: CombinedVector,
    /// Times that the worker looked for packets.
    pub polls: SimpleVector,
}

struct QueueCounts {
    vectors: QueueVectors,
    rx: CombinedRow,
    polls: SimpleRow,
}

impl QueueCounts {
    fn new(vectors: QueueVectors, thread: ThreadIndex) -> Self {
        QueueCounts { rx: vectors.rx.row(thread), polls: vectors.polls.row(thread), vectors }
    }
}

impl RxQueue {
    /// A queue whose fill ring is empty.
    pub fn new(interface: InterfaceIndex, id: QueueId, rx: XskRx) -> Self {
        let owed = rx.fill_size();
        RxQueue { interface, id, rx, polling: false, fills_checksums: false, owed, counts: None }
    }

    /// Has the worker `thread`, which polls the queue, count in its rows of `vectors`; without vectors in those of
    /// the same as before, if any.
    pub fn count_in(&mut self, vectors: Option<QueueVectors>, thread: ThreadIndex) {
        let vectors = vectors.or_else(|| self.counts.take().map(|counts| counts.vectors));
        self.counts = vectors.map(|vectors| QueueCounts::new(vectors, thread));
    }

    /// Gives the kernel what it is owed; returns how many chunks the pool did not have.
    #[inline]
    pub fn refill(&mut self, buffers: &mut BufferCache) -> u32 {
        let mut fill = self.rx.fill(self.owed);
        let wanted = fill.remaining();
        let given = buffers.allocate(wanted as usize, |index| fill.push(ChunkIndex(index.0))) as u32;
        self.owed -= given;
        wanted - given
    }
}

/// How soon a sleeping worker looks again for buffers.
const RETRY: Duration = Duration::from_millis(10);

/// One worker's instance.
pub struct AfXdpInput {
    /// The `device-input` arc.
    arc: ArcId,
    next: Nexts<Next>,
    queues: Vec<RxQueue>,
}

impl AfXdpInput {
    /// Polls nothing yet.
    pub fn new(arc: ArcId, next: Nexts<Next>) -> Self {
        AfXdpInput { arc, next, queues: Vec::new() }
    }

    /// Polls `queue` from now on.
    pub fn add(&mut self, queue: RxQueue) {
        self.queues.push(queue);
    }

    /// Whether a worker that serves the interface may sleep.
    pub fn set_polling(&mut self, interface: InterfaceIndex, polling: bool) {
        for queue in self.queues.iter_mut().filter(|queue| queue.interface == interface) {
            queue.polling = polling;
        }
    }

    /// Has the queues of an interface count in `vectors` from now on.
    pub fn count_in(&mut self, interface: InterfaceIndex, vectors: &QueueVectors, thread: ThreadIndex) {
        for queue in self.queues.iter_mut().filter(|queue| queue.interface == interface) {
            queue.count_in(Some(vectors.clone()), thread);
        }
    }

    /// Gives up the queues of an interface (with `id`: only that one).
    pub fn take(&mut self, interface: InterfaceIndex, id: Option<QueueId>) -> Vec<RxQueue> {
        let gone = |queue: &mut RxQueue| queue.interface == interface && id.is_none_or(|id| id == queue.id);
        self.queues.extract_if(.., gone).collect()
    }
}

impl Node for AfXdpInput {
    fn process(&mut self, cx: &mut Context<'_>, _: &Frame) {
        let ethernet = self.next.to(Next::Ethernet);
        for queue in &mut self.queues {
            let mut packets = [BufferIndex(0); FRAME_SIZE];
            let (mut count, mut chunks, mut bytes) = (0, 0, 0);
            // A frame of several chunks, until its last.
            let mut unfinished = None;
            let interface = queue.interface;
            let mut take = |cx: &mut Context<'_>, frame: Descriptor| {
                let index = BufferIndex(frame.addr.chunk().0);
                let (offset, length) = (frame.addr.offset() as usize, frame.len as usize);
                cx.buffers.receive_frame(index, offset, length, interface, LINK_HEADER);
                bytes += u64::from(frame.len);
                chunks += 1;
                let goes_on = frame.options & CONTINUES != 0;
                if !goes_on && unfinished.is_none() {
                    packets[count] = index;
                    count += 1;
                    return false;
                }
                let first = *unfinished.get_or_insert(index);
                if first != index {
                    cx.buffers.chain(first, index);
                }
                if !goes_on {
                    packets[count] = first;
                    count += 1;
                    unfinished = None;
                }
                goes_on
            };
            let mut goes_on = false;
            for frame in queue.rx.receive(FRAME_SIZE as u32) {
                goes_on = take(cx, frame);
            }
            // The kernel publishes a frame as a whole.
            while goes_on {
                let Some(frame) = queue.rx.receive(1).next() else { break };
                goes_on = take(cx, frame);
            }
            if let Some(first) = unfinished {
                cx.buffers.free_one(first);
                cx.counters.interfaces.rx_error.add(interface.index(), 1);
            }
            if queue.fills_checksums {
                packets[..count].iter().for_each(|index| checksum::fill(cx.buffers, *index));
            }
            if let Some(counts) = &queue.counts {
                counts.polls.add(queue.id.0 as usize, 1);
                counts.rx.add(queue.id.0 as usize, count as u64, bytes);
            }
            queue.owed += chunks;
            if queue.owed > 0 {
                // What was missing before has been counted before.
                let missing = queue.refill(cx.buffers).min(chunks);
                cx.counters.interfaces.rx_no_buf.add(queue.interface.index(), u64::from(missing));
            }
            if chunks == 0 {
                if queue.rx.needs_wakeup() {
                    // ENETDOWN while the interface is down; link state reaches the operator by netlink.
                    let _ = cx.kernel.call(|| queue.rx.wake());
                }
                continue;
            }
            cx.counters.interfaces.rx.add(queue.interface.index(), count as u64, bytes);
            cx.send_from_device(self.arc, queue.interface, ethernet, &packets[..count]);
        }
    }

    fn wait(&mut self, set: &mut WaitSet) {
        for queue in &self.queues {
            if queue.polling {
                set.busy();
            }
            set.readable(queue.rx.as_fd().as_raw_fd());
            if queue.owed > queue.rx.fill_size() / 2 {
                // The pool was dry. A kernel without chunks receives nothing, so nothing would wake us.
                set.within(RETRY);
            }
        }
    }
}
