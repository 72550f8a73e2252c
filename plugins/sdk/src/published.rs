// SPDX-License-Identifier: Apache-2.0
//! What the main thread writes and workers read: rules, rates, addresses.
//!
//! A worker reads with a plain load and never waits. The main thread replaces the whole value; the old one is dropped when
//! every worker has passed between two turns since.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::main_thread::Main;
use crate::vector::Guard;

struct Slot<T>(AtomicPtr<T>);

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is a box's (`Published::new`, `Published::replace`), and nobody refers to the slot any more.
        drop(unsafe { Box::from_raw(*self.0.get_mut()) });
    }
}

/// The main thread's side.
pub struct Published<T: Send + Sync + 'static>(Arc<Slot<T>>);

/// A worker's side; cheap to clone.
pub struct PublishedReader<T: Send + Sync + 'static>(Arc<Slot<T>>);

impl<T: Send + Sync + 'static> Published<T> {
    /// A table that holds `value`.
    pub fn new(value: T) -> Published<T> {
        Published(Arc::new(Slot(AtomicPtr::new(Box::into_raw(Box::new(value))))))
    }

    /// For the nodes.
    pub fn reader(&self) -> PublishedReader<T> {
        PublishedReader(Arc::clone(&self.0))
    }

    /// What it holds.
    pub fn get(&self) -> &T {
        // SAFETY: only `replace` unlinks the value, and it needs `self` exclusively.
        unsafe { &*self.0.0.load(Ordering::Relaxed) }
    }

    /// From now on workers see `value`.
    pub fn replace(&mut self, main: &mut Main<'_>, value: T) {
        let old = self.0.0.swap(Box::into_raw(Box::new(value)), Ordering::AcqRel);
        // SAFETY: the pointer was a box's, and is linked nowhere now.
        main.retire(unsafe { Box::from_raw(old) });
    }
}

impl<T: Send + Sync + 'static> PublishedReader<T> {
    /// What the table holds now; good for the vector that gave the guard.
    #[inline(always)]
    pub fn read<'a>(&'a self, _: Guard<'a>) -> &'a T {
        // SAFETY: what is unlinked is freed only after this worker has ended its turn, and the guard ends before that.
        unsafe { &*self.0.load() }
    }
}

impl<T> Slot<T> {
    #[inline(always)]
    fn load(&self) -> *const T {
        self.0.load(Ordering::Acquire)
    }
}

impl<T: Send + Sync + 'static> Clone for PublishedReader<T> {
    fn clone(&self) -> Self {
        PublishedReader(Arc::clone(&self.0))
    }
}
