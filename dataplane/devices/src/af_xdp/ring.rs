// SPDX-License-Identifier: Apache-2.0
//! Cursors over the four rings that user space and the kernel share for an AF_XDP socket.
//!
//! The ring arithmetic is the hot path of every port, so it stands apart from sockets and mappings:
//! a cursor knows two shared indices, one flag word and a slice of slots, and can be run against
//! another cursor on plain memory (module `testing`) without a kernel.
//!
//! A ring has one producer and one consumer. Indices run freely over 32 bits and are masked on
//! access (Documentation/networking/af_xdp.rst, "Rings"). Invariants:
//!
//! - A [`Producer`] owns the slots from its own index up to the consumer's index plus the size; a
//!   [`Consumer`] owns those between its own index and the producer's.
//! - A batch ([`Reservation`], [`Taken`]) moves the shared index once, when it is dropped, by
//!   exactly the number of elements that were pushed or popped. What was reserved and not used is
//!   thereby given back: a ring can't silt up.
//! - The other side's index is read only when the cached copy doesn't satisfy a request: it is a
//!   cache line that the other side keeps writing.
//!
//! Each cursor belongs to one thread at a time and may be sent to another.

use core::any::Any;
use core::ptr::NonNull;
use std::sync::Arc;

use crate::sync::{AtomicU32, Ordering, Slot};

#[cfg(all(test, loom))]
mod model;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(all(test, not(loom)))]
mod tests;

/// Where a ring lies in memory.
pub(crate) struct RingMemory<T> {
    pub(crate) producer: NonNull<AtomicU32>,
    pub(crate) consumer: NonNull<AtomicU32>,
    pub(crate) flags: NonNull<AtomicU32>,
    pub(crate) slots: NonNull<Slot<T>>,
    /// Number of slots, a power of two.
    pub(crate) size: u32,
    /// What keeps the memory mapped; never looked into.
    pub(crate) owner: Arc<dyn Any + Send + Sync>,
}

/// What both kinds of cursor hold. `own` is the shared index that this side writes.
struct Cursor<T> {
    own: NonNull<AtomicU32>,
    peer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    slots: NonNull<Slot<T>>,
    mask: u32,
    /// This side's index; `own` holds the same value between two batches.
    position: u32,
    /// The other side's index as last read.
    cached_peer: u32,
    _owner: Arc<dyn Any + Send + Sync>,
}

// SAFETY: the pointers refer to memory that `_owner` keeps alive and that is shared between threads
// only through atomics and through slots whose ownership those atomics hand over; the elements
// themselves may cross threads.
unsafe impl<T: Send> Send for Cursor<T> {}

impl<T: Copy> Cursor<T> {
    fn own(&self) -> &AtomicU32 {
        // SAFETY: valid as long as `_owner` lives (contract of `Producer::new` and
        // `Consumer::new`).
        unsafe { self.own.as_ref() }
    }

    #[inline(always)]
    fn reload_peer(&mut self) {
        // SAFETY: valid as long as `_owner` lives. Acquire pairs with the other side's release
        // store, so that the slots it hands over are seen as it left them.
        self.cached_peer = unsafe { self.peer.as_ref() }.load(Ordering::Acquire);
    }

    #[inline(always)]
    fn advance_to(&mut self, position: u32) {
        if position != self.position {
            self.position = position;
            // Release: the slots of the batch are written, or read, before the other side may touch
            // them.
            self.own().store(position, Ordering::Release);
        }
    }
}

/// The writing side of a ring: fill and transmit in user space.
pub struct Producer<T>(Cursor<T>);

/// The reading side of a ring: receive and completion in user space.
pub struct Consumer<T>(Cursor<T>);

impl<T: Copy> Producer<T> {
    /// # Safety
    /// The pointers of `memory` must be valid as long as `memory.owner` lives, `size` must be the
    /// number of slots, and there must be no other producer of this ring.
    pub(crate) unsafe fn new(memory: RingMemory<T>) -> Self {
        assert!(memory.size.is_power_of_two(), "a ring has a power of two of slots");
        // SAFETY: valid as long as `owner` lives, by the contract above.
        let (position, cached_peer) = unsafe {
            let producer = memory.producer.as_ref().load(Ordering::Relaxed);
            (producer, memory.consumer.as_ref().load(Ordering::Acquire))
        };
        Self(Cursor {
            own: memory.producer,
            peer: memory.consumer,
            flags: memory.flags,
            slots: memory.slots,
            mask: memory.size - 1,
            position,
            cached_peer,
            _owner: memory.owner,
        })
    }

    /// Number of slots.
    pub fn size(&self) -> u32 {
        self.0.mask + 1
    }

    #[inline(always)]
    fn cached_free(&self) -> u32 {
        self.size() - self.0.position.wrapping_sub(self.0.cached_peer)
    }

    /// Number of elements published so far, modulo 2^32.
    #[inline(always)]
    pub(crate) fn position(&self) -> u32 {
        self.0.position
    }

    /// Number of elements that the consumer hasn't taken yet.
    pub fn pending(&mut self) -> u32 {
        self.0.reload_peer();
        self.0.position.wrapping_sub(self.0.cached_peer)
    }

    /// What the consumer hasn't taken, for when there is no consumer any more.
    pub(crate) fn take_back(&mut self) -> Vec<T> {
        let pending = self.pending();
        let first = self.0.cached_peer;
        let slot = |nth| (first.wrapping_add(nth) & self.0.mask) as usize;
        // SAFETY: masked, so within the slice; we wrote these slots and nobody else writes them.
        (0..pending).map(|nth| unsafe { self.0.slots.add(slot(nth)).as_ref().read() }).collect()
    }

    /// Claims up to `want` free slots; the reservation may be shorter, and empty if the ring is
    /// full.
    #[inline(always)]
    pub fn reserve(&mut self, want: u32) -> Reservation<'_, T> {
        if self.cached_free() < want {
            self.0.reload_peer();
        }
        let granted = want.min(self.cached_free());
        let next = self.0.position;
        Reservation {
            slots: self.0.slots,
            mask: self.0.mask,
            next,
            end: next.wrapping_add(granted),
            cursor: &mut self.0,
        }
    }

    /// Whether the kernel asks for a system call before it goes on with this ring
    /// (`XDP_RING_NEED_WAKEUP`).
    ///
    /// The flag is a level and is read without a fence, so a flag that the kernel raises at the
    /// moment of a push may be seen only at the next look. Whoever sleeps or polls must therefore
    /// look again on each turn, not only after a push.
    #[inline(always)]
    pub fn needs_wakeup(&self) -> bool {
        // SAFETY: valid as long as `_owner` lives.
        let flags = unsafe { self.0.flags.as_ref() }.load(Ordering::Relaxed);
        flags & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

impl<T: Copy> Consumer<T> {
    /// # Safety
    /// As [`Producer::new`], with no other consumer of this ring.
    pub(crate) unsafe fn new(memory: RingMemory<T>) -> Self {
        assert!(memory.size.is_power_of_two(), "a ring has a power of two of slots");
        // SAFETY: valid as long as `owner` lives, by the contract above.
        let (position, cached_peer) = unsafe {
            let consumer = memory.consumer.as_ref().load(Ordering::Relaxed);
            (consumer, memory.producer.as_ref().load(Ordering::Acquire))
        };
        Self(Cursor {
            own: memory.consumer,
            peer: memory.producer,
            flags: memory.flags,
            slots: memory.slots,
            mask: memory.size - 1,
            position,
            cached_peer,
            _owner: memory.owner,
        })
    }

    /// Number of slots.
    pub fn size(&self) -> u32 {
        self.0.mask + 1
    }

    /// Number of elements given back so far, modulo 2^32.
    #[inline(always)]
    pub(crate) fn position(&self) -> u32 {
        self.0.position
    }

    #[inline(always)]
    fn cached_available(&self) -> u32 {
        self.0.cached_peer.wrapping_sub(self.0.position)
    }

    /// Takes up to `max` elements, fewer if fewer are there.
    #[inline(always)]
    pub fn take(&mut self, max: u32) -> Taken<'_, T> {
        if self.cached_available() < max {
            self.0.reload_peer();
        }
        let granted = max.min(self.cached_available());
        let next = self.0.position;
        Taken {
            slots: self.0.slots,
            mask: self.0.mask,
            next,
            end: next.wrapping_add(granted),
            cursor: &mut self.0,
        }
    }
}

/// Free slots of a ring. Dropping it publishes exactly what was pushed.
#[must_use = "a reservation publishes only what is pushed into it"]
pub struct Reservation<'r, T: Copy> {
    cursor: &'r mut Cursor<T>,
    // Copies, so that they stay in registers while slots are written.
    slots: NonNull<Slot<T>>,
    mask: u32,
    next: u32,
    end: u32,
}

impl<T: Copy> Reservation<'_, T> {
    /// Number of elements that can still be pushed.
    #[inline(always)]
    pub fn remaining(&self) -> u32 {
        self.end.wrapping_sub(self.next)
    }

    /// Writes the next element.
    ///
    /// # Panics
    /// If the reservation is used up: more pushes than [`remaining`](Self::remaining) granted is a
    /// fault of the caller.
    #[inline(always)]
    pub fn push(&mut self, value: T) {
        assert!(self.next != self.end, "no more pushes than slots reserved");
        // SAFETY: masked, so within the slice; the slot lies between our index and the consumer's
        // plus the size, hence is ours until `drop` publishes it.
        unsafe { self.slots.add((self.next & self.mask) as usize).as_ref().write(value) };
        self.next = self.next.wrapping_add(1);
    }
}

impl<T: Copy> Drop for Reservation<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.cursor.advance_to(self.next);
    }
}

/// Elements at the front of a ring. Dropping it gives back exactly the slots that were popped; the
/// rest stays.
pub struct Taken<'r, T: Copy> {
    cursor: &'r mut Cursor<T>,
    slots: NonNull<Slot<T>>,
    mask: u32,
    next: u32,
    end: u32,
}

impl<T: Copy> Iterator for Taken<'_, T> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        if self.next == self.end {
            return None;
        }
        // SAFETY: masked, so within the slice; the slot lies between our index and the producer's,
        // hence is ours until `drop` gives it back.
        let value = unsafe { self.slots.add((self.next & self.mask) as usize).as_ref().read() };
        self.next = self.next.wrapping_add(1);
        Some(value)
    }

    #[inline(always)]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.wrapping_sub(self.next) as usize;
        (left, Some(left))
    }
}

impl<T: Copy> ExactSizeIterator for Taken<'_, T> {}

impl<T: Copy> Drop for Taken<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.cursor.advance_to(self.next);
    }
}
