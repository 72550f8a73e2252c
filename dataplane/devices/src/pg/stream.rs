// SPDX-License-Identifier: Apache-2.0
//! A stream at work: where its packets come from, how many, how fast.
//!
//! A stream is built on the main thread when it is enabled and moves to its worker, which owns it until it
//! has reached its limit or is stopped. The two share [`Progress`] and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use weft_engine::Context;
use weft_engine::buffer::{BufferCache, HEADROOM};
use weft_engine::clock::{Clock, Tsc};
use weft_engine::frame::FRAME_SIZE;
use weft_engine::ids::{ArcId, BufferIndex, InterfaceIndex, NodeId};

use super::parse::PacketsPerSecond;
use super::template::Template;
use crate::LINK_HEADER;
use crate::pcap::PacketList;

/// A stream, the same as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamId(pub(super) u32);

/// What a worker tells of a stream.
#[derive(Debug)]
pub(super) struct Progress {
    /// The stream is on a worker, or on its way there.
    running: AtomicBool,
    /// Packets made since it was enabled.
    generated: AtomicU64,
}

impl Progress {
    pub fn new() -> Arc<Self> {
        Arc::new(Progress { running: AtomicBool::new(true), generated: AtomicU64::new(0) })
    }

    pub fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub fn generated(&self) -> u64 {
        self.generated.load(Ordering::Relaxed)
    }
}

/// Where packets come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Template(Template),
    Replay { packets: Arc<PacketList>, next: usize },
}

/// Time over which a rate is kept: a worker that was busy elsewhere for longer does not catch up.
const BURST: f64 = 0.01;

/// A token bucket on the time stamp counter.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    per_clock: f64,
    depth: f64,
    tokens: f64,
    last: Option<Tsc>,
}

impl Pacer {
    pub fn new(rate: PacketsPerSecond, clock: Clock) -> Self {
        // One packet at once, however low the rate.
        let depth = 1.0 + rate.0 * BURST;
        Pacer { per_clock: rate.0 / clock.per_second(), depth, tokens: 1.0, last: None }
    }

    /// Packets that are due at `now`.
    #[inline]
    fn due(&mut self, now: Tsc) -> usize {
        let passed = now.since(self.last.unwrap_or(now));
        self.last = Some(now);
        self.tokens = (self.tokens + passed as f64 * self.per_clock).min(self.depth);
        self.tokens as usize
    }

    fn take(&mut self, packets: usize) {
        self.tokens -= packets as f64;
    }

    /// Clocks from the last look to the next packet.
    fn wait(&self) -> u64 {
        ((1.0 - self.tokens).max(0.0) / self.per_clock) as u64
    }
}

/// How a packet enters the graph.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub node: NodeId,
    pub rx: InterfaceIndex,
    pub tx: InterfaceIndex,
    /// Packets begin with the network header.
    pub without_link: bool,
    /// The arc that received packets walk, if they are to.
    pub features: Option<ArcId>,
}

/// A stream on its worker.
pub(super) struct Stream {
    pub id: StreamId,
    pub entry: Entry,
    pub source: Source,
    /// `None`: as fast as possible.
    pub pacer: Option<Pacer>,
    /// Packets that are left.
    pub left: u64,
    /// Most packets at once.
    pub max_frame: usize,
    /// Most bytes of a packet in one buffer.
    pub segment: usize,
    pub progress: Arc<Progress>,
}

impl Stream {
    /// Makes the packets that are due.
    #[inline]
    pub fn generate(&mut self, cx: &mut Context<'_>) {
        let mut wanted = self.max_frame.min(FRAME_SIZE).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if let Some(pacer) = &mut self.pacer {
            wanted = wanted.min(pacer.due(cx.now));
        }
        if wanted == 0 {
            return;
        }
        let mut packets = [BufferIndex(0); FRAME_SIZE];
        let mut given = 0;
        cx.buffers.allocate(wanted, |index| {
            packets[given % FRAME_SIZE] = index;
            given += 1;
        });
        let (made, bytes) = self.fill(cx.buffers, &packets[..given]);
        if let [unfinished, unused @ ..] = &packets[made..given] {
            cx.buffers.free_one(*unfinished);
            unused.iter().for_each(|index| cx.buffers.give_back(*index));
        }
        let interfaces = &cx.counters.interfaces;
        interfaces.rx.add(self.entry.rx.index(), made as u64, bytes);
        if made < wanted {
            interfaces.rx_no_buf.add(self.entry.rx.index(), (wanted - made) as u64);
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.take(made);
        }
        self.left -= made as u64;
        let generated = &self.progress.generated;
        generated.store(generated.load(Ordering::Relaxed) + made as u64, Ordering::Relaxed);
        match self.entry.features {
            Some(arc) => cx.send_from_device(arc, self.entry.rx, self.entry.node, &packets[..made]),
            None => cx.send(self.entry.node, &packets[..made]),
        }
    }

    /// Fills buffers until a packet needs more segments than there are; returns packets and bytes. Of what
    /// is left over, the first is a packet without its end, the others are as they were allocated.
    #[inline]
    fn fill(&mut self, buffers: &mut BufferCache, packets: &[BufferIndex]) -> (usize, u64) {
        let Stream { entry, source, segment, .. } = self;
        let link = if entry.without_link { 0 } else { LINK_HEADER };
        let mut bytes = 0;
        for (i, &index) in packets.iter().enumerate() {
            let length = match source {
                Source::Template(template) => {
                    let size = template.next_size();
                    if size <= *segment {
                        buffers.receive_frame(index, HEADROOM, size, entry.rx, link);
                        template.fill(buffers.packet(index).data_mut());
                    } else if !long_packet(buffers, index, *segment, (entry.rx, link), size, |data| {
                        template.fill(data)
                    }) {
                        return (i, bytes);
                    }
                    size
                }
                Source::Replay { packets, next } => {
                    let data = packets.get(*next);
                    if data.len() <= *segment {
                        buffers.receive_frame(index, HEADROOM, data.len(), entry.rx, link);
                        buffers.packet(index).data_mut().copy_from_slice(data);
                    } else if !long_packet(buffers, index, *segment, (entry.rx, link), data.len(), |whole| {
                        whole.copy_from_slice(data);
                    }) {
                        return (i, bytes);
                    }
                    *next = if *next + 1 >= packets.len() { 0 } else { *next + 1 };
                    data.len()
                }
            };
            buffers.packet(index).meta.tx_interface = entry.tx;
            bytes += length as u64;
        }
        (packets.len(), bytes)
    }

    /// Whether the limit is reached.
    pub fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// The last word to the main thread, which then also sees what the worker did for the stream before.
    pub fn finish(&self) {
        self.progress.running.store(false, Ordering::Release);
    }

    /// How long there is nothing to do; `None` if there always is.
    pub fn wait(&self, clock: Clock) -> Option<Duration> {
        let clocks = self.pacer.as_ref()?.wait();
        (clocks > 0).then(|| clock.duration(clocks))
    }
}

/// Makes a packet that is longer than a segment; false if there are not enough buffers: then `first` holds the
/// beginning, and the values of its fields are skipped. Rare (jumbo frames, or a small `buffer-size` that a
/// test asks for), so it allocates the packet's bytes and copies them twice.
#[cold]
fn long_packet(
    buffers: &mut BufferCache,
    first: BufferIndex,
    segment: usize,
    (rx, link): (InterfaceIndex, u16),
    size: usize,
    fill: impl FnOnce(&mut [u8]),
) -> bool {
    let mut whole = vec![0; size];
    fill(&mut whole);
    let (head, rest) = whole.split_at(segment);
    buffers.receive_frame(first, HEADROOM, 0, rx, link);
    buffers.packet(first).fill(HEADROOM, head);
    for part in rest.chunks(segment) {
        let Some(next) = buffers.allocate_one() else {
            return false;
        };
        buffers.receive(next, HEADROOM, 0, rx);
        buffers.packet(next).fill(HEADROOM, part);
        buffers.chain(first, next);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static CLOCK: LazyLock<Clock> = LazyLock::new(Clock::calibrate);

    proptest! {
        #[test]
        fn a_pacer_keeps_its_rate_whatever_the_turns(
            rate in 10.0..1e7f64,
            // Microseconds between two looks.
            turns in prop::collection::vec(0u64..5_000, 1..400),
            most in 1usize..=FRAME_SIZE,
        ) {
            let clock = *CLOCK;
            let mut pacer = Pacer::new(PacketsPerSecond(rate), clock);
            let (mut now, mut made, mut kept_up) = (Tsc(1 << 40), 0, true);
            let start = now;
            pacer.due(now);
            for pause in turns {
                now.0 += clock.clocks(Duration::from_micros(pause));
                let due = pacer.due(now);
                prop_assert!(due as f64 <= 2.0 + rate * BURST);
                kept_up &= due <= most;
                pacer.take(due.min(most));
                made += due.min(most);
            }
            let expected = rate * now.since(start) as f64 / clock.per_second();
            prop_assert!(made as f64 <= expected + 2.0);
            if kept_up {
                prop_assert!(made as f64 >= expected - 2.0, "{made} of {expected}");
            }
            if pacer.tokens < 1.0 {
                let wait = pacer.wait();
                prop_assert_eq!(pacer.due(Tsc(now.0 + wait + 2)).min(1), 1);
            }
        }
    }
}
