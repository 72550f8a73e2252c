// SPDX-License-Identifier: Apache-2.0
//! One spelling for atomics and shared cells, so that the ring code compiles both as itself and
//! under loom.
//!
//! In a normal build everything here is a re-export or a transparent wrapper that inlines to one
//! move. Under `--cfg loom` the same names are loom's, which record each access and explore the
//! interleavings.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};

/// One element of a ring: written by the producer, then read by the consumer, never both at a time.
#[cfg(not(loom))]
#[repr(transparent)]
pub(crate) struct Slot<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T: Copy> Slot<T> {
    #[cfg(test)]
    pub(crate) fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// # Safety
    /// No other thread may be writing this slot.
    #[inline(always)]
    pub(crate) unsafe fn read(&self) -> T {
        // SAFETY: the pointer comes from a reference, so it is valid; the caller excludes a writer.
        unsafe { *self.0.get() }
    }

    /// # Safety
    /// No other thread may be reading or writing this slot.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, value: T) {
        // SAFETY: the pointer comes from a reference, so it is valid; the caller excludes everybody
        // else.
        unsafe { *self.0.get() = value }
    }
}

#[cfg(loom)]
pub(crate) struct Slot<T>(loom::cell::UnsafeCell<T>);

#[cfg(loom)]
impl<T: Copy> Slot<T> {
    #[cfg(test)]
    pub(crate) fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    /// # Safety
    /// As in the normal build; loom reports a violation.
    pub(crate) unsafe fn read(&self) -> T {
        // SAFETY: loom hands out a valid pointer for the length of the closure.
        self.0.with(|slot| unsafe { *slot })
    }

    /// # Safety
    /// As in the normal build; loom reports a violation.
    pub(crate) unsafe fn write(&self, value: T) {
        // SAFETY: loom hands out a valid, exclusive pointer for the length of the closure.
        self.0.with_mut(|slot| unsafe { *slot = value })
    }
}
