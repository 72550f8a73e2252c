// SPDX-License-Identifier: Apache-2.0
//! A vector of packets, in the hands of a node.
//!
//! The boundary to the host is crossed once per vector: what is here works on the host's memory by the pointers of
//! [`abi::Vector`]. Each packet is sent exactly once, since the methods that send take the vector and give the
//! [`Done`] that the node must return.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::abi;
use crate::node::{Edges, Events, Thread};
use crate::packet::{Next, Packet, Ways};
use crate::setup::Counter;

/// How far ahead of `each` a packet is seen by `near` ([`Vector::each_ahead`]).
const NEAR: usize = 16;

/// What has become of a vector.
#[must_use = "a node returns the verdict on its vector"]
pub struct Done(pub(crate) u32);

/// The right to read tables during this vector.
#[derive(Clone, Copy)]
pub struct Guard<'v>(PhantomData<&'v ()>);

/// This thread's numbers of a counter.
#[derive(Clone, Copy)]
pub struct Row<'v>(&'v [AtomicU64]);

impl Row<'_> {
    /// Adds to one number; there is no such column: nothing.
    #[inline(always)]
    pub fn add(self, column: usize, n: u64) {
        if let Some(cell) = self.0.get(column) {
            // Only this thread writes it.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        }
    }
}

/// Packets that wait for a node.
pub struct Vector<'v> {
    raw: &'v mut abi::Vector,
}

/// Writes down how far a node came when it panics.
struct Progress<'p> {
    done: &'p mut u16,
    sent: u16,
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        *self.done = self.sent;
    }
}

impl<'v> Vector<'v> {
    /// # Safety
    /// `raw` is the vector of a call that the host makes, as [`abi::Vector`] describes it, and outlives `'v`.
    #[inline(always)]
    pub(crate) unsafe fn new(raw: *mut abi::Vector) -> Vector<'v> {
        // SAFETY: by the caller.
        Vector { raw: unsafe { &mut *raw } }
    }

    /// Packets.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.raw.count.into()
    }

    /// Whether there is none: a timer runs the node.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.raw.count == 0
    }

    /// When the work on this vector began, in clocks ([`crate::Main::clocks_per_second`]).
    #[inline(always)]
    pub fn now(&self) -> u64 {
        self.raw.now
    }

    /// This worker.
    #[inline(always)]
    pub fn thread(&self) -> Thread {
        Thread(self.raw.thread)
    }

    /// The right to read tables.
    #[inline(always)]
    pub fn guard(&self) -> Guard<'v> {
        Guard(PhantomData)
    }

    /// This worker's numbers of a counter of the plugin.
    #[inline(always)]
    pub fn counter(&self, counter: Counter) -> Row<'v> {
        if counter.0 >= self.raw.counters_length {
            return Row(&[]);
        }
        // SAFETY: the host gives `counters_length` rows, each of `length` words that outlive the call and that all
        // threads access atomically.
        unsafe {
            let row = *self.raw.counters.add(counter.0 as usize);
            Row(std::slice::from_raw_parts(row.cells.cast(), row.length as usize))
        }
    }

    /// This worker's numbers of the node's events.
    #[inline(always)]
    pub fn events(&self) -> Row<'v> {
        // SAFETY: as in `counter`.
        Row(unsafe { slice(self.raw.events.cast(), self.raw.events_length) })
    }

    /// Counts an event of the node.
    #[inline(always)]
    pub fn event<E: Events>(&self, event: E, n: u64) {
        self.events().add(event.ordinal().into(), n);
    }

    #[inline(always)]
    fn ways(&self) -> Ways<'v> {
        let raw = &*self.raw;
        // SAFETY: the host gives as many ids as the lengths say; they are not written during the call.
        let (chain, edges, arcs) = unsafe {
            let edges = slice(raw.edges, raw.edges_length);
            (slice(raw.chain, raw.chain_length), edges, slice(raw.arcs, raw.arcs_length))
        };
        let (reason_base, drops, punt) = (raw.reason_base, raw.drops_length as u16, raw.punt);
        let mark = raw.mark as usize;
        // Only read by what is called with it.
        let tracing =
            if raw.tracing == 0 { std::ptr::null_mut() } else { std::ptr::from_ref(raw).cast_mut() };
        let hands_off = raw.hands_off != 0;
        let events = self.events();
        Ways { chain, edges, arcs, events, mark, tracing, reason_base, drops, punt, hands_off }
    }

    #[inline(always)]
    fn indices(&self) -> &'v [u32] {
        // SAFETY: the host gives `count` indices, which are not written during the call.
        unsafe { slice(self.raw.buffers, self.raw.count.into()) }
    }

    /// Shows each packet with its place, to gather keys for [`crate::TableReader::find`], say. Sends nothing.
    #[inline(always)]
    pub fn look(&mut self, mut see: impl FnMut(usize, &Packet<'_>)) {
        let (ways, indices) = (self.ways(), self.indices());
        for (place, &index) in indices.iter().enumerate() {
            let index = index as usize;
            // SAFETY: a vector holds each packet once, its packets are this worker's alone, and one `Packet` exists at a time.
            let packet = unsafe {
                let slot = self.raw.slots.add(index * abi::SLOT_SIZE as usize);
                let fields = self.raw.fields.wrapping_add(index);
                Packet { meta: &mut *self.raw.metadata.add(index), fields, slot, ways }
            };
            see(place, &packet);
        }
    }

    /// Workers; they are numbered from 1 on.
    #[inline(always)]
    pub fn workers(&self) -> u16 {
        self.raw.workers
    }

    /// All packets go on as if the node were not there: on along their arc, or to the first edge.
    #[inline(always)]
    pub fn pass(self) -> Done {
        Done(abi::SEND_DEFAULT)
    }

    /// Sends each packet where `each` says.
    #[inline(always)]
    pub fn each(self, mut each: impl FnMut(&mut Packet<'_>) -> Next) -> Done {
        self.each_ahead(|_| (), |packet, ()| each(packet))
    }

    /// As [`Vector::each`], for a node that reads a large table: `near` sees each packet a few packets ahead, starts the
    /// cache miss, and hands over what it has found out.
    #[inline(always)]
    pub fn each_ahead<T: Copy + Default>(
        self,
        mut near: impl FnMut(&Packet<'_>) -> T,
        mut each: impl FnMut(&mut Packet<'_>, T) -> Next,
    ) -> Done {
        let (ways, indices) = (self.ways(), self.indices());
        let (metadata, fields, slots) = (self.raw.metadata, self.raw.fields, self.raw.slots);
        let nexts = self.raw.nexts;
        // SAFETY: a vector holds each packet once, its packets are this worker's alone, and one `Packet` exists at a time.
        let packet = |index: u32| unsafe {
            let index = index as usize;
            let slot = slots.add(index * abi::SLOT_SIZE as usize);
            Packet { meta: &mut *metadata.add(index), fields: fields.wrapping_add(index), slot, ways }
        };
        let looks_ahead = size_of::<T>() > 0;
        let mut found = [T::default(); NEAR];
        if looks_ahead {
            found.iter_mut().zip(indices).for_each(|(found, &index)| *found = near(&packet(index)));
        }
        let mut progress = Progress { done: &mut self.raw.done, sent: 0 };
        for (i, &index) in indices.iter().enumerate() {
            let known = found[i % NEAR];
            if looks_ahead && let Some(&ahead) = indices.get(i + NEAR) {
                found[i % NEAR] = near(&packet(ahead));
            }
            let next = each(&mut packet(index), known);
            // SAFETY: the host gives as many places as there are packets.
            unsafe { nexts.add(i).write(next.0) };
            progress.sent = i as u16 + 1;
        }
        Done(abi::SEND_EACH)
    }

    /// Makes a packet: `fill` writes it (it is empty, with room before and behind), and it goes to `to`. False, and nothing
    /// is sent, if there is no buffer or `fill` says so.
    pub fn originate<E: Edges>(&mut self, to: E, fill: impl FnOnce(&mut Packet<'_>) -> bool) -> bool {
        let mut index = 0;
        let ways = self.ways();
        let raw: *mut abi::Vector = self.raw;
        // SAFETY: the host gives a valid vector and its table, and a buffer that is this call's alone until it is sent or
        // freed; if `fill` panics, `unsent` frees it.
        unsafe {
            let host = &*(*raw).host;
            if (host.allocate)(raw, &raw mut index, 1) == 0 {
                return false;
            }
            let unsent = Unsent { raw, index };
            let slot = (*raw).slots.add(index as usize * abi::SLOT_SIZE as usize);
            let fields = (*raw).fields.wrapping_add(index as usize);
            let meta = &mut *(*raw).metadata.add(index as usize);
            let filled = fill(&mut Packet { meta, fields, slot, ways });
            if !filled {
                return false;
            }
            std::mem::forget(unsent);
            let next = ways.edges.get(to.ordinal()).copied().unwrap_or(abi::NODE_DROP);
            (host.send)(raw, next, &raw const index, 1);
        }
        true
    }
}

struct Unsent {
    raw: *mut abi::Vector,
    index: u32,
}

impl Drop for Unsent {
    fn drop(&mut self) {
        // SAFETY: made by `originate` only, which owns the buffer and has a valid vector.
        unsafe { ((*(*self.raw).host).free)(self.raw, &raw const self.index, 1) };
    }
}

/// A slice that may be empty behind any pointer.
///
/// # Safety
/// If `length` is not 0: as for `std::slice::from_raw_parts`.
#[inline(always)]
unsafe fn slice<'a, T>(first: *const T, length: u32) -> &'a [T] {
    match length {
        0 => &[],
        // SAFETY: by the caller.
        _ => unsafe { std::slice::from_raw_parts(first, length as usize) },
    }
}
