// SPDX-License-Identifier: Apache-2.0
//! Tables that the main thread writes and workers read with plain loads.
//!
//! Two shapes cover what a dataplane publishes: one object that is replaced as a whole ([`Published`]),
//! and many immutable objects under stable ids ([`Slab`]), where a change of one (a neighbour's MAC, say)
//! touches no other. A change is one pointer store; what was there before is retired to the
//! [`Domain`] and freed when no worker can see it.
//!
//! Writers take `&mut Domain`, of which there is one on the main thread, so there is one writer.

use std::marker::PhantomData;
use std::ptr;
use std::sync::Mutex;

use crate::qsbr::{Domain, Guard, Membership};
use crate::sync::{Arc, AtomicPtr, Ordering};

/// A unique pointer to an unlinked object, on its way to the allocator.
struct Unlinked<T>(*mut T);

// SAFETY: the pointer is the only one left to a boxed `T`; moving it moves the `T`.
unsafe impl<T: Send> Send for Unlinked<T> {}

impl<T> Drop for Unlinked<T> {
    fn drop(&mut self) {
        // SAFETY: made by `Box::into_raw` and unlinked before it came here; the domain drops it only when
        // no reader can hold a reference.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// One object, replaced as a whole.
pub struct Published<T> {
    current: AtomicPtr<T>,
    domain: Membership,
    owns: PhantomData<T>,
}

// SAFETY: workers get `&T` (needs `Sync`), the main thread drops the `T` that another thread may have made
// (needs `Send`).
unsafe impl<T: Send + Sync> Send for Published<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Published<T> {}

impl<T: Send + Sync + 'static> Published<T> {
    /// Publishes `value` as the first version.
    pub fn new(domain: &Domain, value: T) -> Self {
        Published {
            current: AtomicPtr::new(Box::into_raw(Box::new(value))),
            domain: domain.membership(),
            owns: PhantomData,
        }
    }

    /// The current version; it stays valid until the reader's next quiescent point.
    #[inline]
    pub fn read<'a>(&'a self, guard: Guard<'a>) -> &'a T {
        guard.check(&self.domain);
        // SAFETY: the pointer comes from `Box::into_raw`; the guard keeps it from being freed for 'a.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// Replaces the current version. Readers see the old or the new one, never a mixture.
    pub fn replace(&self, domain: &mut Domain, value: T) {
        assert!(self.domain.belongs_to(domain), "published in another domain");
        let new = Box::into_raw(Box::new(value));
        let old = self.current.swap(new, Ordering::AcqRel);
        domain.retire(Unlinked(old));
    }
}

impl<T> Drop for Published<T> {
    fn drop(&mut self) {
        // `&mut self`: no reader can hold a reference, since those borrow `self`.
        drop(Unlinked(self.current.load(Ordering::Relaxed)));
    }
}

struct Slots<T> {
    slots: Box<[AtomicPtr<T>]>,
    domain: Membership,
    /// Ids whose object is gone and which no reader can still look up.
    free: Mutex<Vec<u32>>,
    owns: PhantomData<T>,
}

// SAFETY: as for `Published`.
unsafe impl<T: Send + Sync> Send for Slots<T> {}
// SAFETY: as for `Published`.
unsafe impl<T: Send + Sync> Sync for Slots<T> {}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        for slot in &self.slots {
            let object = slot.load(Ordering::Relaxed);
            if !object.is_null() {
                drop(Unlinked(object));
            }
        }
    }
}

/// The id of an object that is gone ([`Slab::unlink`]): its drop hands the id back, to be given out again.
pub struct IdLease<T> {
    slots: Arc<Slots<T>>,
    id: u32,
}

impl<T> Drop for IdLease<T> {
    fn drop(&mut self) {
        if let Ok(mut free) = self.slots.free.lock() {
            free.push(self.id);
        }
    }
}

/// The main thread's side of a table of immutable objects under stable ids.
pub struct Slab<T> {
    shared: Arc<Slots<T>>,
    used: u32,
    live: u32,
}

/// A worker's side: look up by id.
pub struct SlabReader<T> {
    shared: Arc<Slots<T>>,
}

impl<T> Clone for SlabReader<T> {
    fn clone(&self) -> Self {
        SlabReader { shared: Arc::clone(&self.shared) }
    }
}

impl<T: Send + Sync + 'static> Slab<T> {
    /// An empty table with room for `capacity` objects: 8 bytes of address space each, touched when used.
    pub fn new(domain: &Domain, capacity: usize) -> Self {
        let slots = (0..capacity).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        Slab {
            shared: Arc::new(Slots {
                slots,
                domain: domain.membership(),
                free: Mutex::new(Vec::new()),
                owns: PhantomData,
            }),
            used: 0,
            live: 0,
        }
    }

    /// For a worker's node.
    pub fn reader(&self) -> SlabReader<T> {
        SlabReader { shared: Arc::clone(&self.shared) }
    }

    /// Publishes `value` under a new id; gives it back when the table is full.
    pub fn insert(&mut self, domain: &mut Domain, value: T) -> Result<u32, T> {
        let reused = self.shared.free.lock().ok().and_then(|mut free| free.pop());
        let id = match reused {
            Some(id) => id,
            None if (self.used as usize) < self.shared.slots.len() => {
                self.used += 1;
                self.used - 1
            }
            None => return Err(value),
        };
        self.live += 1;
        self.store(domain, id, Box::into_raw(Box::new(value)));
        Ok(id)
    }

    /// Replaces the object under a live id.
    pub fn replace(&mut self, domain: &mut Domain, id: u32, value: T) {
        self.store(domain, id, Box::into_raw(Box::new(value)));
    }

    /// Removes the object; the id is given out again only after every reader was quiescent. That is enough for an id that
    /// nothing names but other published objects and packets between two quiescent points.
    pub fn remove(&mut self, domain: &mut Domain, id: u32) {
        let lease = self.unlink(domain, id);
        domain.retire(lease);
    }

    /// Removes the object; the id is given out again when the lease is dropped, which must not be before every reader was
    /// quiescent. For ids that messages and tables of others name ([`crate::lease`]).
    pub fn unlink(&mut self, domain: &mut Domain, id: u32) -> IdLease<T> {
        self.live -= 1;
        self.store(domain, id, ptr::null_mut());
        IdLease { slots: Arc::clone(&self.shared), id }
    }

    /// The object under `id`, for the main thread.
    pub fn get(&self, id: u32) -> Option<&T> {
        let object = self.shared.slots.get(id as usize)?.load(Ordering::Relaxed);
        // SAFETY: only `&mut self` methods unlink an object, and this borrow excludes them.
        unsafe { object.as_ref() }
    }

    /// Number of live objects.
    pub fn len(&self) -> usize {
        self.live as usize
    }

    /// Whether no object is live.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Ids given out so far are below this.
    pub fn used(&self) -> usize {
        self.used as usize
    }

    /// Most objects that fit.
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    fn store(&mut self, domain: &mut Domain, id: u32, object: *mut T) {
        assert!(self.shared.domain.belongs_to(domain), "published in another domain");
        let old = self.shared.slots[id as usize].swap(object, Ordering::AcqRel);
        if !old.is_null() {
            domain.retire(Unlinked(old));
        }
    }
}

impl<T> SlabReader<T> {
    /// The table, for the packets of one vector.
    #[inline]
    pub fn read<'a>(&'a self, guard: Guard<'a>) -> SlabView<'a, T> {
        guard.check(&self.shared.domain);
        SlabView { slots: &self.shared.slots }
    }

    /// Ids are below this.
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }
}

/// A slab under the protection of a guard.
pub struct SlabView<'a, T> {
    slots: &'a [AtomicPtr<T>],
}

impl<T> Clone for SlabView<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SlabView<'_, T> {}

impl<'a, T> SlabView<'a, T> {
    /// The object under `id`; `None` for an id that has none (any more).
    #[inline(always)]
    pub fn get(self, id: u32) -> Option<&'a T> {
        let object = self.slots.get(id as usize)?.load(Ordering::Acquire);
        // SAFETY: non-null pointers come from `Box::into_raw`; the guard that made this view keeps the
        // object from being freed for 'a.
        unsafe { object.as_ref() }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_reader_keeps_the_version_it_has() {
        let mut domain = Domain::new(1);
        let mut reader = domain.register().unwrap();
        let cell = Published::new(&domain, String::from("old"));
        reader.online();
        {
            let seen = cell.read(reader.guard());
            cell.replace(&mut domain, String::from("new"));
            assert_eq!(domain.reclaim(), 1);
            assert_eq!(seen, "old");
            assert_eq!(cell.read(reader.guard()), "new");
        }
        reader.quiescent();
        assert_eq!(domain.reclaim(), 0);
    }

    #[test]
    #[should_panic(expected = "another domain")]
    fn a_foreign_guard_is_refused() {
        let one = Domain::new(1);
        let mut two = Domain::new(1);
        let mut reader = two.register().unwrap();
        reader.online();
        let cell = Published::new(&one, 1);
        let _ = cell.read(reader.guard());
    }

    #[test]
    fn an_id_is_reused_only_after_the_grace_period() {
        let mut domain = Domain::new(1);
        let mut reader = domain.register().unwrap();
        reader.online();
        let mut slab = Slab::new(&domain, 2);
        let a = slab.insert(&mut domain, 1).unwrap();
        slab.insert(&mut domain, 2).unwrap();
        slab.remove(&mut domain, a);
        assert_eq!(slab.insert(&mut domain, 3), Err(3));
        reader.quiescent();
        domain.reclaim();
        assert_eq!(slab.insert(&mut domain, 3), Ok(a));
    }

    proptest! {
        #[test]
        fn a_slab_equals_a_map(steps in prop::collection::vec((0u8..4, any::<u16>()), 1..200)) {
            let mut domain = Domain::new(1);
            let mut reader = domain.register().unwrap();
            reader.online();
            let mut slab = Slab::new(&domain, 16);
            let view = slab.reader();
            let mut oracle = HashMap::new();
            for (step, value) in steps {
                let ids: Vec<u32> = oracle.keys().copied().collect();
                let pick = ids.get(value as usize % ids.len().max(1)).copied();
                match (step, pick) {
                    (0, _) => if let Ok(id) = slab.insert(&mut domain, value) {
                        prop_assert!(oracle.insert(id, value).is_none());
                    },
                    (1, Some(id)) => { slab.replace(&mut domain, id, value); oracle.insert(id, value); }
                    (2, Some(id)) => { slab.remove(&mut domain, id); oracle.remove(&id); }
                    _ => { reader.quiescent(); domain.reclaim(); }
                }
                let seen = view.read(reader.guard());
                for id in 0..16 {
                    prop_assert_eq!(seen.get(id), oracle.get(&id));
                }
                prop_assert_eq!(slab.len(), oracle.len());
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Counts its drops, and notices a read after it.
    struct Canary(std::sync::Arc<AtomicUsize>, bool);

    impl Drop for Canary {
        fn drop(&mut self) {
            self.1 = false;
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A worker that reads, sleeps and reads again, against a main thread that replaces and reclaims.
    #[test]
    fn loom_no_read_after_free() {
        loom::model(|| {
            let drops = std::sync::Arc::new(AtomicUsize::new(0));
            let mut domain = Domain::new(1);
            let mut reader = domain.register().unwrap();
            let cell = Arc::new(Published::new(&domain, Canary(drops.clone(), true)));
            let worker = {
                let cell = Arc::clone(&cell);
                loom::thread::spawn(move || {
                    for _ in 0..2 {
                        reader.online();
                        assert!(cell.read(reader.guard()).1);
                        reader.quiescent();
                        assert!(cell.read(reader.guard()).1);
                        reader.offline();
                    }
                })
            };
            cell.replace(&mut domain, Canary(drops.clone(), true));
            domain.reclaim();
            worker.join().unwrap();
            assert_eq!(domain.reclaim(), 0);
            assert_eq!(drops.load(Ordering::Relaxed), 1);
        });
    }
}
