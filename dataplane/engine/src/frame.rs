// SPDX-License-Identifier: Apache-2.0
//! Frames: the vectors of packets that wait for a node, on one worker.
//!
//! A node appends to the open frame of the next node, whoever else has appended to it before, so vectors
//! stay long. Each frame that holds packets stands in one queue; frames are dispatched in the order in which
//! they were opened until none is left, so a packet passes the whole graph within one turn of the worker.
//! A frame that is full is closed and another one opened: overflow queues, it never drops.

use std::collections::VecDeque;

use crate::ids::{BufferIndex, NodeId};

/// Most packets in one frame. VPP's number: large enough to pay for the dispatch, small enough for the L1 cache.
pub const FRAME_SIZE: usize = 256;

/// How far behind the last packet [`Frame::ahead`] may look.
pub(crate) const AHEAD: usize = 16;

/// Packets that wait for one node.
#[repr(C, align(64))]
pub struct Frame {
    /// Behind the packets stand indices of earlier vectors, or 0: something harmless to prefetch.
    indices: [BufferIndex; FRAME_SIZE + AHEAD],
    len: u16,
    traced: bool,
}

impl Frame {
    /// Of no packet.
    pub fn empty() -> Box<Frame> {
        Box::new(Frame { indices: [BufferIndex(0); FRAME_SIZE + AHEAD], len: 0, traced: false })
    }

    /// The packets.
    #[inline(always)]
    pub fn packets(&self) -> &[BufferIndex] {
        &self.indices[..(self.len as usize).min(FRAME_SIZE)]
    }

    /// What stands `distance` places after packet `i`, a packet of this frame or not: for prefetching only.
    #[inline(always)]
    pub(crate) fn ahead(&self, i: usize, distance: usize) -> BufferIndex {
        self.indices[(i % FRAME_SIZE) + distance.min(AHEAD - 1)]
    }

    /// All places: packets first, then what [`Frame::ahead`] may find. Of a known length, so that a loop needs no checks.
    #[inline(always)]
    pub(crate) fn indices(&self) -> &[BufferIndex; FRAME_SIZE + AHEAD] {
        &self.indices
    }

    /// Number of packets.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Holds these packets, and no others.
    pub(crate) fn keep(&mut self, packets: &[BufferIndex]) {
        let len = packets.len().min(FRAME_SIZE);
        self.indices[..len].copy_from_slice(&packets[..len]);
        self.len = len as u16;
    }

    /// Room for packets from number `from` on; those before stand for packets that are done with.
    pub(crate) fn places_from(&mut self, from: usize) -> &mut [BufferIndex] {
        &mut self.indices[from.min(FRAME_SIZE)..FRAME_SIZE]
    }

    /// Ends at this number.
    pub(crate) fn end(&mut self, end: usize) {
        self.len = end.min(FRAME_SIZE) as u16;
    }

    /// Whether a packet in it is traced.
    #[inline(always)]
    pub fn traced(&self) -> bool {
        self.traced
    }
}

/// Place of a frame in the arena.
type FrameId = u16;

const CLOSED: FrameId = FrameId::MAX;

/// All frames of one worker.
pub(crate) struct Frames {
    /// Frames, taken out while their node runs so that the node can append to any other.
    arena: Vec<Option<Box<Frame>>>,
    spare: Vec<FrameId>,
    /// Per node, the frame that takes more packets.
    open: Vec<FrameId>,
    pending: VecDeque<(NodeId, FrameId)>,
    /// Packets appended since the worker last asked.
    appended: usize,
}

impl Frames {
    pub(crate) fn new() -> Self {
        Frames {
            arena: Vec::new(),
            spare: Vec::new(),
            open: Vec::new(),
            pending: VecDeque::new(),
            appended: 0,
        }
    }

    /// Makes room for nodes with ids below `nodes`.
    pub(crate) fn resize(&mut self, nodes: usize) {
        if nodes > self.open.len() {
            self.open.resize(nodes, CLOSED);
        }
    }

    /// Appends packets to the frame of `node`.
    #[inline]
    pub(crate) fn push(&mut self, node: NodeId, mut packets: &[BufferIndex], traced: bool) {
        self.appended += packets.len();
        while !packets.is_empty() {
            let id = match self.open.get(node.index()) {
                Some(&id) if id != CLOSED => id,
                _ => self.open_frame(node),
            };
            let Some(frame) = self.arena[id as usize].as_mut() else {
                unreachable!("an open frame is in the arena");
            };
            let len = frame.len as usize;
            let count = packets.len().min(FRAME_SIZE - len);
            frame.indices[len..len + count].copy_from_slice(&packets[..count]);
            frame.len += count as u16;
            frame.traced |= traced;
            if len + count == FRAME_SIZE {
                self.open[node.index()] = CLOSED;
            }
            packets = &packets[count..];
        }
    }

    fn open_frame(&mut self, node: NodeId) -> FrameId {
        self.resize(node.index() + 1);
        let id = self.spare.pop().unwrap_or_else(|| {
            self.arena.push(Some(Frame::empty()));
            (self.arena.len() - 1) as FrameId
        });
        self.open[node.index()] = id;
        self.pending.push_back((node, id));
        id
    }

    /// Takes the frame that waits longest, for dispatch; goes back by [`Frames::recycle`].
    #[inline]
    pub(crate) fn take(&mut self) -> Option<(NodeId, FrameId, Box<Frame>)> {
        let (node, id) = self.pending.pop_front()?;
        if self.open[node.index()] == id {
            self.open[node.index()] = CLOSED;
        }
        let frame = self.arena[id as usize].take()?;
        Some((node, id, frame))
    }

    #[inline]
    pub(crate) fn recycle(&mut self, id: FrameId, mut frame: Box<Frame>) {
        frame.len = 0;
        frame.traced = false;
        self.arena[id as usize] = Some(frame);
        self.spare.push(id);
    }

    /// Packets appended since [`Frames::take_appended`].
    #[inline]
    pub(crate) fn appended(&self) -> usize {
        self.appended
    }

    /// Packets appended since the last call.
    #[inline]
    pub(crate) fn take_appended(&mut self) -> usize {
        std::mem::take(&mut self.appended)
    }

    /// Packets in all frames.
    pub(crate) fn waiting(&self) -> usize {
        self.arena.iter().flatten().map(|frame| frame.len()).sum()
    }
}

/// Hands each packet to `push` under its next node, whole runs at a time, in order per node.
///
/// Most vectors go to one node, which costs one comparison per packet and one copy. Otherwise each
/// distinct next is split off without a branch per packet.
#[inline]
pub(crate) fn group_by_next(
    packets: &[BufferIndex],
    nexts: &[NodeId],
    mut push: impl FnMut(NodeId, &[BufferIndex]),
) {
    let Some((&first, _)) = nexts.split_first() else {
        return;
    };
    // No early exit: the loop then compiles to wide comparisons.
    if nexts.iter().fold(0, |differs, next| differs | (next.0 ^ first.0)) == 0 {
        push(first, packets);
        return;
    }
    let mut matched = [BufferIndex(0); FRAME_SIZE];
    let mut rest = [BufferIndex(0); FRAME_SIZE];
    let mut rest_nexts = [NodeId(0); FRAME_SIZE];
    let mut len = packets.len().min(nexts.len()).min(FRAME_SIZE);
    rest[..len].copy_from_slice(&packets[..len]);
    rest_nexts[..len].copy_from_slice(&nexts[..len]);
    while len > 0 {
        let next = rest_nexts[0];
        let (mut hits, mut misses) = (0, 0);
        for i in 0..len {
            let (packet, its) = (rest[i], rest_nexts[i]);
            let hit = usize::from(its == next);
            matched[hits & (FRAME_SIZE - 1)] = packet;
            rest[misses & (FRAME_SIZE - 1)] = packet;
            rest_nexts[misses & (FRAME_SIZE - 1)] = its;
            hits += hit;
            misses += 1 - hit;
        }
        push(next, &matched[..hits]);
        len = misses;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn grouping_keeps_every_packet_in_order_per_next(nexts in prop::collection::vec(0u16..6, 0..=FRAME_SIZE)) {
            let nexts: Vec<NodeId> = nexts.into_iter().map(NodeId).collect();
            let packets: Vec<BufferIndex> = (0..nexts.len() as u32).map(BufferIndex).collect();
            let mut oracle: HashMap<NodeId, Vec<BufferIndex>> = HashMap::new();
            for (packet, next) in packets.iter().zip(&nexts) {
                oracle.entry(*next).or_default().push(*packet);
            }
            let mut seen: HashMap<NodeId, Vec<BufferIndex>> = HashMap::new();
            group_by_next(&packets, &nexts, |next, run| {
                seen.entry(next).or_default().extend_from_slice(run);
            });
            prop_assert_eq!(seen, oracle);
        }

        #[test]
        fn frames_equal_queues(pushes in prop::collection::vec((0u16..4, 1usize..600), 0..30)) {
            let mut frames = Frames::new();
            let mut oracle: HashMap<NodeId, Vec<BufferIndex>> = HashMap::new();
            let (mut serial, mut total) = (0, 0);
            for (node, count) in pushes {
                let packets: Vec<_> = (serial..serial + count as u32).map(BufferIndex).collect();
                serial += count as u32;
                total += count;
                oracle.entry(NodeId(node)).or_default().extend_from_slice(&packets);
                frames.push(NodeId(node), &packets, false);
            }
            prop_assert_eq!(frames.waiting(), total);
            prop_assert_eq!(frames.take_appended(), total);
            let mut seen: HashMap<NodeId, Vec<BufferIndex>> = HashMap::new();
            while let Some((node, id, frame)) = frames.take() {
                prop_assert!(!frame.is_empty());
                seen.entry(node).or_default().extend_from_slice(frame.packets());
                frames.recycle(id, frame);
            }
            prop_assert_eq!(seen, oracle);
            prop_assert_eq!(frames.waiting(), 0);
        }
    }

    #[test]
    fn a_node_may_append_to_itself_while_its_frame_is_out() {
        let mut frames = Frames::new();
        frames.push(NodeId(1), &[BufferIndex(7)], false);
        let (node, id, frame) = frames.take().unwrap();
        frames.push(node, frame.packets(), true);
        frames.recycle(id, frame);
        let (node, _, frame) = frames.take().unwrap();
        assert_eq!((node, frame.packets()), (NodeId(1), &[BufferIndex(7)][..]));
        assert!(frame.traced());
    }
}
