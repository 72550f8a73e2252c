// SPDX-License-Identifier: Apache-2.0
//! What a node may use while it processes a vector, and the loop that most nodes share.
//!
//! A node is written as the logic for one packet, in a closure. The drivers here unroll nothing by hand and
//! allocate nothing: they run the closure on each packet of a vector and hand the whole vector on at once. The node
//! that sees received packets first has their headers fetched ahead ([`Context::each_first`]); a node that reads a large
//! table starts that table's cache miss ahead ([`Context::pipeline`]).

use std::ops::Range;

use crate::buffer::{BufferCache, Packet};
use crate::clock::{Clock, Tsc};
use crate::counters::{Counters, WorkerColumn};
use crate::edges::EdgeCounts;
use crate::feature::Arcs;
use crate::frame::{FRAME_SIZE, Frame, Frames, group_by_next};
use crate::handoff::Handoff;
use crate::ids::{ArcId, BufferIndex, InterfaceIndex, NodeId, ThreadIndex};
use crate::qsbr::Guard;
use crate::registry::{Handlers, Registries, RegistryId};
use crate::trace::{Details, Recorder, Trace};

/// How far ahead metadata and header of received packets are fetched: a line that another core has just written.
const FAR: usize = 12;
/// How far ahead of its use a table's line is fetched: at 10 clocks per packet, a miss to memory with its page
/// walk. With 8 a lookup among 600,000 routes took 44 clocks, with 16 33, with 32 37.
const NEAR: usize = 16;

/// In [`Context::nexts`]: the node has taken the packet.
const TAKEN: NodeId = NodeId(u16::MAX);

/// Copies of one packet, at most: one vector of them.
pub const MAX_COPIES: usize = FRAME_SIZE;

/// What has been published, and what a worker has adopted. Whatever a node has found out from published objects, arcs and
/// registries is still so while this is equal, but for objects where there were none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Version {
    retired: u64,
    adopted: u64,
}

/// What a node in front of another one makes of a vector.
pub(crate) struct FrontVector {
    /// Goes on, each packet to its entry of [`Context::nexts`].
    pub taken: [BufferIndex; FRAME_SIZE],
    pub taken_count: usize,
    /// Stays in the vector.
    pub left: [BufferIndex; FRAME_SIZE],
    pub left_count: usize,
    /// Vectors that pass before the node is asked again.
    pub rests: u32,
}

impl FrontVector {
    pub fn new() -> Box<FrontVector> {
        Box::new(FrontVector {
            taken: [BufferIndex(0); FRAME_SIZE],
            taken_count: 0,
            left: [BufferIndex(0); FRAME_SIZE],
            left_count: 0,
            rests: 0,
        })
    }
}

/// By what a node makes its system calls: each is counted, and the clocks that it takes stand in columns of their own and not
/// among the node's.
pub struct Kernel<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) counters: &'a Counters,
    pub(crate) node: NodeId,
    /// Clocks of the calls since the node was called.
    pub(crate) clocks: u64,
}

impl Kernel<'_> {
    /// Runs `call`, which is one system call.
    #[inline]
    pub fn call<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let before = self.clock.now();
        let result = call();
        let clocks = self.clock.now().since(before);
        self.counters.called_kernel(self.node, clocks);
        self.clocks += clocks;
        result
    }
}

/// The worker, as a node sees it.
pub struct Context<'a> {
    /// Buffers: allocate, free, look inside.
    pub buffers: &'a mut BufferCache,
    /// This thread's counters.
    pub counters: &'a Counters,
    /// When the dispatch of this vector began.
    pub now: Tsc,
    /// This thread.
    pub thread: ThreadIndex,
    /// For system calls.
    pub kernel: Kernel<'a>,
    pub(crate) node: NodeId,
    pub(crate) input: bool,
    pub(crate) guard: Guard<'a>,
    pub(crate) arcs: &'a Arcs,
    pub(crate) registries: &'a Registries,
    pub(crate) frames: &'a mut Frames,
    pub(crate) recorder: &'a mut Recorder,
    pub(crate) details: &'a Details,
    pub(crate) edges: &'a mut EdgeCounts,
    pub(crate) nexts: &'a mut [NodeId; FRAME_SIZE],
    pub(crate) front: &'a mut FrontVector,
    pub(crate) adopted: u64,
    pub(crate) handoff: &'a mut Handoff,
}

impl<'a> Context<'a> {
    /// The right to read published tables during this vector.
    #[inline(always)]
    pub fn guard(&self) -> Guard<'a> {
        self.guard
    }

    /// The node that runs.
    #[inline(always)]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The feature chains.
    #[inline(always)]
    pub fn arcs(&self) -> &'a Arcs {
        self.arcs
    }

    /// Who handles what, by one registry.
    #[inline(always)]
    pub fn handlers(&self, registry: RegistryId) -> Handlers<'a> {
        self.registries.table(registry)
    }

    /// What all that a node can read is a version of.
    #[inline(always)]
    pub fn version(&self) -> Version {
        Version { retired: self.guard.epoch(), adopted: self.adopted }
    }

    /// By what the node tells the trace more of the packets of `frame` than their metadata says.
    #[inline(always)]
    pub fn trace(&self, frame: &Frame) -> Trace<'a> {
        Trace::of(frame, self.details)
    }

    /// Runs `each` on every packet and hands it to the node that `each` returns.
    #[inline(always)]
    pub fn each(&mut self, frame: &Frame, mut each: impl FnMut(&mut Packet<'_>) -> NodeId) {
        let packets = frame.packets();
        let view = self.buffers.view();
        for (next, &index) in self.nexts.iter_mut().zip(packets) {
            // SAFETY: a frame holds each packet once, its packets belong to this worker, and one `Packet` exists at a
            // time; the cache behind `self.buffers` keeps the memory.
            let mut packet = unsafe { view.packet(index) };
            *next = each(&mut packet);
        }
        self.hand_on(packets);
    }

    /// As [`Context::each`], for the node that looks at the bytes of received packets first: it fetches them ahead.
    /// For the nodes after it that would cost more than it brings (2 clocks per packet).
    #[inline(always)]
    pub fn each_first(&mut self, frame: &Frame, mut each: impl FnMut(&mut Packet<'_>) -> NodeId) {
        let packets = frame.packets();
        let view = self.buffers.view();
        for i in 0..FAR {
            view.prefetch(frame.ahead(0, i));
        }
        for (i, (next, &index)) in self.nexts.iter_mut().zip(packets).enumerate() {
            view.prefetch(frame.ahead(i, FAR));
            // SAFETY: as in `each`.
            let mut packet = unsafe { view.packet(index) };
            *next = each(&mut packet);
        }
        self.hand_on(packets);
    }

    /// As [`Context::each`] in two stages: `near` sees each packet a few packets before `each` does, starts the cache
    /// miss on a table, and hands over what it has found out.
    #[inline(always)]
    pub fn pipeline<T: Copy + Default>(
        &mut self,
        frame: &Frame,
        mut near: impl FnMut(&Packet<'_>) -> T,
        mut each: impl FnMut(&mut Packet<'_>, T) -> NodeId,
    ) {
        let packets = frame.packets();
        let view = self.buffers.view();
        let mut found = [T::default(); NEAR];
        for (found, &index) in found.iter_mut().zip(packets) {
            // SAFETY: as in `each`.
            let ahead = unsafe { view.packet(index) };
            *found = near(&ahead);
        }
        for (i, (next, &index)) in self.nexts.iter_mut().zip(packets).enumerate() {
            let found = &mut found[i % NEAR];
            let known = *found;
            if let Some(&index) = packets.get(i + NEAR) {
                // SAFETY: as in `each`.
                let ahead = unsafe { view.packet(index) };
                *found = near(&ahead);
            }
            // SAFETY: as in `each`; `ahead` is not used any more.
            let mut packet = unsafe { view.packet(index) };
            *next = each(&mut packet, known);
        }
        self.hand_on(packets);
    }

    /// In blocks of up to `BLOCK` packets, for a table that finds many at once: `near` sees each packet of a block, starts the
    /// first cache miss, and hands over what to look for; `all` looks for all of it, and writes what it finds over `found`, which
    /// `each` is given.
    #[inline(always)]
    pub fn blocks<const BLOCK: usize, T: Copy + Default, U: Copy>(
        &mut self,
        frame: &Frame,
        mut found: [U; BLOCK],
        mut near: impl FnMut(&Packet<'_>) -> T,
        mut all: impl FnMut(&[T], &mut [U; BLOCK]),
        mut each: impl FnMut(&mut Packet<'_>, T, U) -> NodeId,
    ) {
        let packets = frame.packets();
        let view = self.buffers.view();
        let mut wanted = [T::default(); BLOCK];
        for (packets, nexts) in packets.chunks(BLOCK).zip(self.nexts.chunks_mut(BLOCK)) {
            for (wanted, &index) in wanted.iter_mut().zip(packets) {
                // SAFETY: as in `each`.
                let ahead = unsafe { view.packet(index) };
                *wanted = near(&ahead);
            }
            all(&wanted[..packets.len()], &mut found);
            let known = wanted.iter().zip(&found);
            for ((next, &index), (wanted, found)) in nexts.iter_mut().zip(packets).zip(known) {
                // SAFETY: as in `each`; those of `near` are not used any more.
                let mut packet = unsafe { view.packet(index) };
                *next = each(&mut packet, *wanted, *found);
            }
        }
        self.hand_on(packets);
    }

    /// Runs `each` on the packets of a vector with these numbers, until it returns `None`; returns the number of that packet, or
    /// the end of the range. Those before it go where `each` has said, once the node hands its vector on
    /// ([`Context::hand_on_decided`]).
    ///
    /// For loops that end at the first packet out of the ordinary: without a call in it, all that a loop needs stays in
    /// registers. That packet is then [decided](Context::decide) about apart from the loop, which begins anew after it.
    #[inline(always)]
    pub fn each_until(
        &mut self,
        frame: &Frame,
        range: Range<usize>,
        mut each: impl FnMut(usize, &mut Packet<'_>) -> Option<NodeId>,
    ) -> usize {
        let view = self.buffers.view();
        let packets = frame.indices();
        let (mut i, end) = (range.start, range.end.min(FRAME_SIZE));
        while i < end {
            // SAFETY: as in `each`.
            let mut packet = unsafe { view.packet(packets[i]) };
            let Some(next) = each(i, &mut packet) else { break };
            self.nexts[i] = next;
            i += 1;
        }
        i
    }

    /// Decides about one packet of a vector, by its number. `None`: the node has taken it. Returns whether it has.
    pub fn decide(
        &mut self,
        frame: &Frame,
        number: usize,
        one: impl FnOnce(&mut Packet<'_>) -> Option<NodeId>,
    ) -> bool {
        let Some(&index) = frame.packets().get(number) else { return false };
        let next = one(&mut self.buffers.packet(index));
        self.nexts[number % FRAME_SIZE] = next.unwrap_or(TAKEN);
        next.is_none()
    }

    /// Hands on the packets of a vector that were all decided about; `some_taken`: but for those that the node has taken.
    #[inline(always)]
    pub fn hand_on_decided(&mut self, frame: &Frame, some_taken: bool) {
        match some_taken {
            false => self.hand_on(frame.packets()),
            true => self.hand_on_others(frame),
        }
    }

    #[cold]
    fn hand_on_others(&mut self, frame: &Frame) {
        let (mut left, mut count) = ([BufferIndex(0); FRAME_SIZE], 0);
        for (i, &index) in frame.packets().iter().enumerate() {
            let next = self.nexts[i];
            if next != TAKEN {
                (left[count], self.nexts[count]) = (index, next);
                count += 1;
            }
        }
        self.hand_on(&left[..count]);
    }

    /// As [`Context::each`], for nodes that keep some packets: `None` means that the node has taken the packet.
    pub fn each_or_keep(
        &mut self,
        frame: &Frame,
        mut each: impl FnMut(&mut BufferCache, BufferIndex) -> Option<NodeId>,
    ) {
        let mut packets = [BufferIndex(0); FRAME_SIZE];
        let mut count = 0;
        for &index in frame.packets() {
            if let Some(next) = each(self.buffers, index) {
                packets[count] = index;
                self.nexts[count] = next;
                count += 1;
            }
        }
        self.hand_on(&packets[..count]);
    }

    /// The next nodes of a vector's packets, to be written before [`Context::hand_on_written`]: for plugins.
    #[inline(always)]
    pub fn nexts(&mut self) -> &mut [NodeId; FRAME_SIZE] {
        self.nexts
    }

    /// Hands every packet of a vector to its entry of [`Context::nexts`].
    #[inline(always)]
    pub fn hand_on_written(&mut self, frame: &Frame) {
        self.hand_on(frame.packets());
    }

    /// For a node in front of another one: runs `each` on the packets of its vector with these numbers, until it returns `None`;
    /// returns the number of that packet, or the end of the range. Those before it are taken, and go where `each` has said
    /// ([`Context::hand_on_taken`]). Headers of received packets are fetched `FETCH` packets ahead, unless that is 0.
    ///
    /// For loops that end at the first packet out of the ordinary: without a call in it, all that a loop needs stays in
    /// registers.
    #[inline(always)]
    pub fn take_until<const FETCH: usize>(
        &mut self,
        frame: &Frame,
        range: Range<usize>,
        mut each: impl FnMut(usize, &mut Packet<'_>) -> Option<NodeId>,
    ) -> usize {
        let view = self.buffers.view();
        let (packets, front) = (frame.indices(), &mut *self.front);
        let (start, end) = (range.start, range.end.min(FRAME_SIZE));
        let mut i = start;
        while i < end {
            if FETCH > 0 {
                view.prefetch(packets[i + FETCH]);
            }
            // SAFETY: as in `each`.
            let mut packet = unsafe { view.packet(packets[i]) };
            let Some(next) = each(i, &mut packet) else { break };
            self.nexts[i] = next;
            i += 1;
        }
        // Those that were taken stand one after the other.
        let taken = front.taken_count;
        if start < i && taken + i - start <= FRAME_SIZE {
            front.taken[taken..taken + i - start].copy_from_slice(&packets[start..i]);
            self.nexts.copy_within(start..i, taken);
            front.taken_count += i - start;
        }
        i
    }

    /// Likewise, but `look` changes nothing and takes nothing; it says whether to go on.
    #[inline(always)]
    pub fn look_until<const FETCH: usize>(
        &mut self,
        frame: &Frame,
        range: Range<usize>,
        mut look: impl FnMut(usize, &Packet<'_>) -> bool,
    ) -> usize {
        let view = self.buffers.view();
        let packets = frame.indices();
        let (mut i, end) = (range.start, range.end.min(FRAME_SIZE));
        while i < end {
            if FETCH > 0 {
                view.prefetch(packets[i + FETCH]);
            }
            // SAFETY: as in `each`.
            let packet = unsafe { view.packet(packets[i]) };
            if !look(i, &packet) {
                break;
            }
            i += 1;
        }
        i
    }

    /// Starts to load the headers of the first packets of a vector, before [`Context::take_until`].
    #[inline(always)]
    pub fn fetch_first(&mut self, frame: &Frame) {
        let view = self.buffers.view();
        for i in 0..FAR {
            view.prefetch(frame.ahead(0, i));
        }
    }

    /// For a node in front of another one: leaves packets to that. Each packet of a vector is taken or left, and none twice.
    #[inline(always)]
    pub fn leave(&mut self, packets: &[BufferIndex]) {
        let front = &mut *self.front;
        if let Some(places) = front.left.get_mut(front.left_count..front.left_count + packets.len()) {
            places.copy_from_slice(packets);
            front.left_count += packets.len();
        }
    }

    /// For a node in front of another one: of the packets of a vector from number `from` on, leaves those that are not its own, and
    /// returns their number; its own stand in `own` from the same number on, and are taken or left from there.
    #[inline(always)]
    pub fn sift(
        &mut self,
        frame: &Frame,
        from: usize,
        own: &mut Frame,
        mut is_own: impl FnMut(&Packet<'_>) -> bool,
    ) -> usize {
        let view = self.buffers.view();
        let mut left = [BufferIndex(0); FRAME_SIZE];
        let (mut owned, mut others) = (0, 0);
        let places = own.places_from(from);
        for (i, &index) in frame.packets().iter().enumerate().skip(from) {
            view.prefetch(frame.ahead(i, FAR));
            // SAFETY: as in `each`.
            let packet = unsafe { view.packet(index) };
            let is_own = is_own(&packet);
            // Both are written, one is counted: no branch to guess.
            left[others % FRAME_SIZE] = index;
            if let Some(place) = places.get_mut(owned) {
                *place = index;
            }
            owned += usize::from(is_own);
            others += usize::from(!is_own);
        }
        own.end(from + owned);
        self.leave(&left[..others.min(FRAME_SIZE)]);
        others
    }

    /// Leaves all packets of so many further vectors to it.
    pub fn leave_vectors(&mut self, vectors: u32) {
        self.front.rests = vectors;
    }

    /// Hands on what was taken.
    #[inline(always)]
    pub fn hand_on_taken(&mut self) {
        let (frames, edges, front, node) = (&mut *self.frames, &mut *self.edges, &*self.front, self.node);
        let count = front.taken_count;
        group_by_next(&front.taken[..count], &self.nexts[..count], |next, run| {
            edges.add(node, next, run.len());
            frames.push(next, run, false);
        });
    }

    /// Hands packets on, each to its entry of `self.nexts`.
    #[inline(always)]
    fn hand_on(&mut self, packets: &[BufferIndex]) {
        let nexts = &self.nexts[..packets.len()];
        let traced = self.recorder.active()
            && self
                .recorder
                .hand_on(self.buffers, self.counters, (self.node, self.input), packets, |i| nexts[i]);
        let (frames, edges, node) = (&mut *self.frames, &mut *self.edges, self.node);
        group_by_next(packets, nexts, |next, run| {
            edges.add(node, next, run.len());
            frames.push(next, run, traced);
        });
    }

    /// Hands received packets of `interface` to its features on `arc`, or to `next` if it has none.
    #[inline]
    pub fn send_from_device(
        &mut self,
        arc: ArcId,
        interface: InterfaceIndex,
        next: NodeId,
        packets: &[BufferIndex],
    ) {
        let arcs = self.arcs;
        let mut first = next;
        if arcs.has(arc, interface) {
            for &index in packets {
                first = arcs.start(arc, interface, &mut self.buffers.packet(index)).unwrap_or(next);
            }
        }
        self.send(first, packets);
    }

    /// Makes `wanted` copies of a packet, [`MAX_COPIES`] at most, and appends them to `copies`; the caller sends each of them.
    /// The worker counts copies, which are packets that began here, and those for which there was no buffer or that are
    /// beyond the bound. For flooding and mirrors; the packet itself stays as it is.
    pub fn replicate(&mut self, packet: BufferIndex, wanted: usize, copies: &mut Vec<BufferIndex>) {
        let before = copies.len();
        copies.extend((0..wanted.min(MAX_COPIES)).map_while(|_| self.buffers.copy(packet)));
        let made = copies.len() - before;
        self.counters.worker(WorkerColumn::Copies, made as u64);
        self.counters.worker(WorkerColumn::CopiesLost, (wanted - made) as u64);
    }

    /// Hands packets of this worker to another one, where they go on in this node, on the arc on which they are; returns how
    /// many found room. The others stay this worker's, where they are.
    pub fn hand_off(&mut self, to: ThreadIndex, packets: &[BufferIndex]) -> usize {
        let arcs = self.arcs;
        packets.iter().for_each(|&index| arcs.park(&mut self.buffers.packet(index)));
        let sent = self.handoff.send(usize::from(to.0).wrapping_sub(1), self.node, packets);
        for &index in &packets[sent..] {
            arcs.resume(self.node, &mut self.buffers.packet(index));
        }
        sent
    }

    /// Hands packets to one node: what input nodes do, and nodes that make packets.
    #[inline]
    pub fn send(&mut self, next: NodeId, packets: &[BufferIndex]) {
        if packets.is_empty() {
            return;
        }
        let traced = self.recorder.active()
            && self.recorder.hand_on(self.buffers, self.counters, (self.node, self.input), packets, |_| next);
        self.edges.add(self.node, next, packets.len());
        self.frames.push(next, packets, traced);
    }
}
