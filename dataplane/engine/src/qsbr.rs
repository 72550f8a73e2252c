// SPDX-License-Identifier: Apache-2.0
//! Quiescent-state-based reclamation: how the main thread frees what workers may still be reading.
//!
//! Workers must never stop for a change of configuration, and must not pay for the possibility of one.
//! A worker already has a moment in each turn of its loop at which it holds no reference into any table:
//! between the last frame and the next poll. It announces that moment with one store
//! ([`Reader::quiescent`]). What the main thread has unlinked is freed once each worker has announced a
//! moment later than the unlinking, or sleeps ([`Reader::offline`]).
//!
//! Invariants:
//! * One [`Domain`] per engine, owned by the main thread; one [`Reader`] per worker, owned by the worker.
//! * A reference obtained with a [`Guard`] cannot outlive the guard, and `quiescent` and `offline` need
//!   the reader exclusively, so a worker cannot announce quiescence while it still holds a reference.
//! * Each object belongs to one domain; reading it with a guard of another domain panics.
//!
//! Memory order. Retiring stores the new epoch with release after the object was unlinked; a reader that
//! announces this epoch has loaded it with acquire and therefore cannot load the old pointer any more.
//! Its earlier reads precede the release store of its announcement, which the reclaimer loads with
//! acquire. A reader that comes back online races with a reclaimer that still sees it offline: both sides
//! put a sequentially consistent fence between their store and their load, so at least one of them sees
//! the other (`loom` checks this in the tests below).

use std::collections::VecDeque;
use std::marker::PhantomData;

use crossbeam_utils::CachePadded;

use crate::sync::{Arc, AtomicU64, Ordering, fence};

/// Announced by a reader that holds nothing and will look at the epoch again before it reads.
const OFFLINE: u64 = u64::MAX;

struct Shared {
    /// Number of retirements so far.
    epoch: CachePadded<AtomicU64>,
    /// Per reader, the newest epoch of which it has announced quiescence.
    seen: Box<[CachePadded<AtomicU64>]>,
}

/// The main thread's side: what was unlinked and waits for the readers.
pub struct Domain {
    shared: Arc<Shared>,
    registered: usize,
    epoch: u64,
    retired: VecDeque<(u64, Box<dyn Send>)>,
}

impl Domain {
    /// A domain for at most `readers` readers.
    pub fn new(readers: usize) -> Self {
        let seen = (0..readers).map(|_| CachePadded::new(AtomicU64::new(OFFLINE))).collect();
        Domain {
            shared: Arc::new(Shared { epoch: CachePadded::new(AtomicU64::new(0)), seen }),
            registered: 0,
            epoch: 0,
            retired: VecDeque::new(),
        }
    }

    /// The next reader, offline; `None` when the number given to [`Domain::new`] is used up.
    pub fn register(&mut self) -> Option<Reader> {
        let slot = self.registered;
        if slot == self.shared.seen.len() {
            return None;
        }
        self.registered += 1;
        Some(Reader { shared: Arc::clone(&self.shared), slot })
    }

    /// Frees `object` once no reader can hold a reference to it. The caller has unlinked it already.
    pub fn retire<T: Send + 'static>(&mut self, object: T) {
        self.epoch += 1;
        self.shared.epoch.store(self.epoch, Ordering::Release);
        self.retired.push_back((self.epoch, Box::new(object)));
    }

    /// Frees what every reader has left behind; returns how many objects still wait.
    pub fn reclaim(&mut self) -> usize {
        if self.retired.is_empty() {
            return 0;
        }
        let safe = self.quiescent_epoch();
        while self.retired.front().is_some_and(|(epoch, _)| *epoch <= safe) {
            self.retired.pop_front();
        }
        self.retired.len()
    }

    /// Number of retired objects that wait for readers.
    pub fn waiting(&self) -> usize {
        self.retired.len()
    }

    /// The newest epoch that every reader has passed.
    fn quiescent_epoch(&self) -> u64 {
        fence(Ordering::SeqCst);
        self.shared
            .seen
            .iter()
            .map(|seen| seen.load(Ordering::Acquire))
            .min()
            .unwrap_or(OFFLINE)
            .min(self.epoch)
    }

    pub(crate) fn membership(&self) -> Membership {
        Membership(Arc::clone(&self.shared))
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // The owner drops the domain after its workers; what is left over while one still runs is leaked
        // rather than freed under its feet.
        if self.reclaim() > 0 {
            std::mem::take(&mut self.retired).into_iter().for_each(|(_, object)| std::mem::forget(object));
        }
    }
}

/// Held by what is published, so that it cannot be read under the protection of a foreign domain.
pub(crate) struct Membership(Arc<Shared>);

impl Membership {
    pub(crate) fn belongs_to(&self, domain: &Domain) -> bool {
        Arc::ptr_eq(&self.0, &domain.shared)
    }
}

/// A worker's side. Not shared, not cloned: one per thread that reads.
pub struct Reader {
    shared: Arc<Shared>,
    slot: usize,
}

impl Reader {
    /// Announces that this reader holds no reference. Cost: one load of a line that changes only when
    /// something is retired, and one store to the reader's own line.
    #[inline]
    pub fn quiescent(&mut self) {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        self.shared.seen[self.slot].store(epoch, Ordering::Release);
    }

    /// Announces that this reader holds nothing until [`Reader::online`]: reclamation does not wait for it.
    pub fn offline(&mut self) {
        self.shared.seen[self.slot].store(OFFLINE, Ordering::Release);
    }

    /// Takes part again. Must precede the first [`Reader::guard`] after start or [`Reader::offline`].
    pub fn online(&mut self) {
        let epoch = self.shared.epoch.load(Ordering::Acquire);
        self.shared.seen[self.slot].store(epoch, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The right to read what is published in this domain, until the next quiescent point.
    ///
    /// # Panics
    /// If the reader is offline: nothing would keep what it reads alive.
    #[inline]
    pub fn guard(&self) -> Guard<'_> {
        assert!(
            self.shared.seen[self.slot].load(Ordering::Relaxed) != OFFLINE,
            "a reader must be online to read published objects"
        );
        Guard { domain: &self.shared, thread: PhantomData }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.offline();
    }
}

/// Proof that a reader is between two quiescent points; references read with it live no longer.
#[derive(Clone, Copy)]
pub struct Guard<'r> {
    /// Borrowed from the reader.
    domain: &'r Shared,
    /// Neither `Send` nor `Sync`: the proof holds on the reader's own thread only.
    thread: PhantomData<*const ()>,
}

impl Guard<'_> {
    #[inline]
    pub(crate) fn check(self, membership: &Membership) {
        assert!(
            std::ptr::eq(self.domain, &*membership.0),
            "a published object was read with the guard of another domain"
        );
    }

    /// Number of retirements. What was read when it was the same is what would be read: an object that is replaced is
    /// retired after it was unlinked. (One that is published where there was none retires nothing.)
    #[inline(always)]
    pub(crate) fn epoch(self) -> u64 {
        self.domain.epoch.load(Ordering::Acquire)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::Arc as StdArc;

    #[test]
    fn an_object_lives_until_every_reader_was_quiescent() {
        let mut domain = Domain::new(2);
        let mut a = domain.register().unwrap();
        let mut b = domain.register().unwrap();
        assert!(domain.register().is_none());
        a.online();
        b.online();
        let object = StdArc::new(());
        domain.retire(StdArc::clone(&object));
        assert_eq!(domain.reclaim(), 1);
        a.quiescent();
        assert_eq!(domain.reclaim(), 1);
        assert_eq!(StdArc::strong_count(&object), 2);
        b.quiescent();
        assert_eq!(domain.reclaim(), 0);
        assert_eq!(StdArc::strong_count(&object), 1);
    }

    #[test]
    fn a_sleeping_reader_delays_nobody() {
        let mut domain = Domain::new(2);
        let mut a = domain.register().unwrap();
        let mut b = domain.register().unwrap();
        a.online();
        domain.retire(1);
        a.quiescent();
        assert_eq!(domain.reclaim(), 0);
        b.online();
        domain.retire(2);
        a.quiescent();
        assert_eq!(domain.reclaim(), 1);
        drop(b);
        assert_eq!(domain.reclaim(), 0);
    }

    #[test]
    #[should_panic(expected = "online")]
    fn an_offline_reader_cannot_read() {
        let mut domain = Domain::new(1);
        let reader = domain.register().unwrap();
        let _ = reader.guard();
    }
}
