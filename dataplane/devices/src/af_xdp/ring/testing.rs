// SPDX-License-Identifier: Apache-2.0
//! A ring on the heap with a cursor at each end, so that ring users are tested without a kernel.

use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{Consumer, Producer, RingMemory};
#[cfg(not(loom))]
use crate::sync::Ordering;
use crate::sync::{AtomicU32, Slot};

struct HeapRing<T> {
    producer: AtomicU32,
    consumer: AtomicU32,
    flags: AtomicU32,
    slots: Box<[Slot<T>]>,
}

// SAFETY: the slots are handed over between the two cursors by the atomics.
unsafe impl<T: Send> Sync for HeapRing<T> {}

/// The kernel's say over a heap ring.
#[cfg_attr(loom, expect(dead_code, reason = "the model has no wake-ups"))]
pub(crate) struct Flags {
    word: NonNull<AtomicU32>,
    _owner: Arc<dyn Any + Send + Sync>,
}

#[cfg(not(loom))]
impl Flags {
    pub(crate) fn set(&self, flags: u32) {
        // SAFETY: the ring is kept alive by `_owner`.
        unsafe { self.word.as_ref() }.store(flags, Ordering::Relaxed);
    }
}

/// A loop-back pair of `size` slots whose indices start at `start`.
pub(crate) fn ring_from<T: Copy + Default + Send + 'static>(
    size: u32,
    start: u32,
) -> (Producer<T>, Consumer<T>, Flags) {
    let ring = Arc::new(HeapRing {
        producer: AtomicU32::new(start),
        consumer: AtomicU32::new(start),
        flags: AtomicU32::new(0),
        slots: (0..size).map(|_| Slot::new(T::default())).collect(),
    });
    let memory = || RingMemory {
        producer: NonNull::from(&ring.producer),
        consumer: NonNull::from(&ring.consumer),
        flags: NonNull::from(&ring.flags),
        slots: NonNull::from(&*ring.slots).cast(),
        size,
        owner: ring.clone(),
    };
    // SAFETY: the pointers lie in the allocation that `owner` holds; one producer and one consumer
    // are made.
    let (producer, consumer) = unsafe { (Producer::new(memory()), Consumer::new(memory())) };
    let flags = Flags { word: NonNull::from(&ring.flags), _owner: ring.clone() };
    (producer, consumer, flags)
}
