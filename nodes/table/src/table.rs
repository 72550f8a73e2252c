// SPDX-License-Identifier: Apache-2.0
//! A table of keys and values, fixed in size, that one thread writes while others read.
//!
//! Entries lie in slots. A reader never waits: the writer fills a slot before the index leads to it, and changes none that
//! the index leads to, but for single words of a value ([`Reader::word`]). A reader that was led to a slot that has
//! meanwhile been given to another entry notices by the slot's version and searches on; `loom_tests.rs` tries all orders.
//!
//! | version | the slot |
//! |---|---|
//! | even | is free, or is being filled |
//! | odd | has an entry, from the moment when it became odd until it is even again |
//!
//! The table does not know time: who uses it says how late it is, in whatever unit, and [`Writer::sweep`] shows him old
//! entries a few at a time.

use std::io;

#[cfg(not(loom))]
use zerocopy::FromZeros;

use crate::array::Array;
use crate::bucket::Buckets;
use crate::free::FreeSlots;
use crate::hash::{Hash, Seed};
use crate::simd;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{Arc, AtomicU32, AtomicU64, fence};

/// Words of a key, as they were measured and tested: 8, 16, 24, 40 and 48 bytes.
pub const KEY_WORDS: [usize; 5] = [1, 2, 3, 5, 6];
/// Most entries: a slot number is 32 bits wide, and an index has twice as many places.
const MOST: usize = 1 << 30;
/// Keys that are on their way through [`Reader::find`] at once.
const RING: usize = 32;
/// Keys ahead of which an index's bucket, and an entry, are fetched.
const BUCKET_AHEAD: usize = 16;
const ENTRY_AHEAD: usize = 8;

/// Why there is no such table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Too many or none.
    #[error("a table of {0} entries: expected 1 to {MOST}")]
    Capacity(usize),
    /// No memory.
    #[error("no memory for a table: {0}")]
    Memory(#[from] io::Error),
}

/// The table has as many entries as it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the table is full")]
pub struct Full;

/// Where an entry is. Good until the entry goes or is replaced, which [`Reader::read`] notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Found {
    /// Its slot.
    pub slot: u32,
    /// The slot's version; 0 if there is no entry.
    pub version: u32,
}

impl Found {
    /// Nothing.
    pub const NONE: Found = Found { slot: 0, version: 0 };

    /// Whether there is an entry.
    #[inline(always)]
    pub fn is_some(self) -> bool {
        self.version != 0
    }
}

/// An entry, as [`Writer::sweep`] and [`Reader::each`] show it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, const N: usize> {
    /// Where it is.
    pub found: Found,
    /// Its key.
    pub key: [u64; N],
    /// Its value.
    pub value: &'a [AtomicU64],
    /// When it was last touched.
    pub seen: u32,
}

#[cfg_attr(not(loom), derive(FromZeros))]
#[repr(C)]
struct Entry<const N: usize> {
    version: AtomicU32,
    seen: AtomicU32,
    key: [AtomicU64; N],
}

#[cfg(loom)]
impl<const N: usize> Default for Entry<N> {
    fn default() -> Self {
        let key = std::array::from_fn(|_| AtomicU64::new(0));
        Entry { version: AtomicU32::new(0), seen: AtomicU32::new(0), key }
    }
}

impl<const N: usize> Entry<N> {
    #[inline(always)]
    fn key(&self) -> [u64; N] {
        std::array::from_fn(|word| self.key[word].load(Relaxed))
    }

    /// Whether it has been `version` all the time since that was loaded.
    #[inline(always)]
    fn still(&self, version: u32) -> bool {
        fence(Acquire);
        self.version.load(Relaxed) == version
    }
}

/// Keys of `N` words; what both sides share.
pub(crate) struct Table<const N: usize> {
    seed: Seed,
    buckets: Buckets,
    entries: Array<Entry<N>>,
    values: Array<AtomicU64>,
    width: usize,
    capacity: usize,
}

/// The side of those who read; any number of threads.
pub struct Reader<const N: usize>(Arc<Table<N>>);

/// The side of the one that writes.
pub struct Writer<const N: usize> {
    table: Arc<Table<N>>,
    free: FreeSlots,
    hand: u32,
}

impl<const N: usize> Clone for Reader<N> {
    fn clone(&self) -> Self {
        Reader(Arc::clone(&self.0))
    }
}

impl<const N: usize> Table<N> {
    pub(crate) fn with_seed(capacity: usize, width: usize, seed: Seed) -> Result<Writer<N>, TableError> {
        const { assert!(N >= 1) };
        if !(1..=MOST).contains(&capacity) {
            return Err(TableError::Capacity(capacity));
        }
        // One more than there may be entries: a value is replaced by filling another slot.
        let slots = capacity + 1;
        let words = slots.checked_mul(width).ok_or(io::Error::from(io::ErrorKind::OutOfMemory))?;
        let table = Table {
            seed,
            buckets: Buckets::new(slots)?,
            entries: Array::new(slots)?,
            values: Array::new(words)?,
            width,
            capacity,
        };
        Ok(Writer { table: Arc::new(table), free: FreeSlots::new(slots as u32), hand: 0 })
    }

    #[inline(always)]
    fn value(&self, slot: u32) -> &[AtomicU64] {
        let from = slot as usize * self.width;
        &self.values[from..from + self.width]
    }

    #[inline(always)]
    fn prefetch_entry(&self, slot: u32) {
        self.entries.prefetch(slot as usize);
        if self.width > 0 {
            self.values.prefetch(slot as usize * self.width);
        }
    }

    #[inline(always)]
    fn find(&self, hash: Hash, key: &[u64; N]) -> Found {
        let found = self.buckets.search(hash, |slot| {
            let entry = &self.entries[slot as usize];
            let version = entry.version.load(Acquire);
            let same = version & 1 != 0 && entry.key() == *key && entry.still(version);
            same.then_some(Found { slot, version })
        });
        found.unwrap_or(Found::NONE)
    }

    /// Copies the value of an entry; false if it has gone.
    #[inline(always)]
    fn read(&self, found: Found, value: &mut [u64]) -> bool {
        let Some(entry) = self.entries.get(found.slot as usize).filter(|_| found.is_some()) else {
            return false;
        };
        if entry.version.load(Acquire) != found.version {
            return false;
        }
        for (copy, word) in value.iter_mut().zip(self.value(found.slot)) {
            *copy = word.load(Relaxed);
        }
        entry.still(found.version)
    }

    fn view(&self, slot: u32) -> Option<View<'_, N>> {
        let entry = self.entries.get(slot as usize)?;
        let version = entry.version.load(Acquire);
        let (key, seen) = (entry.key(), entry.seen.load(Relaxed));
        let live = version & 1 != 0 && entry.still(version);
        live.then(|| View { found: Found { slot, version }, key, value: self.value(slot), seen })
    }
}

impl<const N: usize> Reader<N> {
    /// Finds each of `keys`; the results stand in `found`, [`Found::NONE`] where there is no entry. Keys beyond the length of
    /// `found` are left out.
    ///
    /// The cache misses of a vector overlap: buckets and entries are fetched some keys ahead.
    pub fn find(&self, keys: &[[u64; N]], found: &mut [Found]) {
        let table = &*self.0;
        let count = keys.len().min(found.len());
        let mut hashes = [Hash::default(); RING];
        for step in 0..count + BUCKET_AHEAD {
            if let Some(key) = keys[..count].get(step) {
                let hash = table.seed.hash(*key);
                hashes[step % RING] = hash;
                table.buckets.prefetch(hash);
            }
            let ahead = step.wrapping_sub(BUCKET_AHEAD - ENTRY_AHEAD);
            if ahead < count {
                let tags = |bucket: &crate::bucket::Bucket, tag| simd::shared_matches(&bucket.tags, tag);
                if let Some(slot) = table.buckets.guess(hashes[ahead % RING], tags) {
                    table.prefetch_entry(slot);
                }
            }
            let now = step.wrapping_sub(BUCKET_AHEAD);
            if now < count {
                found[now] = table.find(hashes[now % RING], &keys[now]);
            }
        }
    }

    /// Finds one key.
    #[inline]
    pub fn get(&self, key: &[u64; N]) -> Found {
        self.0.find(self.0.seed.hash(*key), key)
    }

    /// Copies the value of an entry that was found; false if it has gone or was replaced since.
    #[inline]
    pub fn read(&self, found: Found, value: &mut [u64]) -> bool {
        self.0.read(found, value)
    }

    /// A word of a value, for those that change while the entry stays: counters, a last state. It is exact by itself; when the
    /// entry has gone, it may be another's.
    #[inline]
    pub fn word(&self, found: Found, word: usize) -> Option<&AtomicU64> {
        let inside = found.is_some() && (found.slot as usize) < self.0.entries.len();
        inside.then(|| self.0.value(found.slot).get(word)).flatten()
    }

    /// Notes that an entry was used at `now`. Writes only if the note changes, so that workers do not take the line from each
    /// other for every packet.
    #[inline]
    pub fn touch(&self, found: Found, now: u32) {
        if let Some(entry) = self.0.entries.get(found.slot as usize).filter(|_| found.is_some())
            && entry.seen.load(Relaxed) != now
        {
            entry.seen.store(now, Relaxed);
        }
    }

    /// Words of a value.
    pub fn width(&self) -> usize {
        self.0.width
    }

    /// Entries that there may be.
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }

    /// The first entry whose slot is `from` or higher.
    pub fn next(&self, from: u32) -> Option<View<'_, N>> {
        (from..self.0.entries.len() as u32).find_map(|slot| self.0.view(slot))
    }

    /// All entries. One that comes or goes meanwhile may be missing or be there.
    pub fn each(&self) -> impl Iterator<Item = View<'_, N>> {
        (0..self.0.entries.len() as u32).filter_map(|slot| self.0.view(slot))
    }
}

impl<const N: usize> Writer<N> {
    /// A table of `capacity` entries with values of `width` words. Takes all memory that it will ever have.
    pub fn new(capacity: usize, width: usize) -> Result<Writer<N>, TableError> {
        Table::with_seed(capacity, width, Seed::random())
    }

    /// For those who read.
    pub fn reader(&self) -> Reader<N> {
        Reader(Arc::clone(&self.table))
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.free.used()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The slot below which all entries lie: how many [`Writer::sweep`] looks at in a whole round.
    pub fn high_water(&self) -> usize {
        self.free.high_water() as usize
    }

    /// Adds an entry, last used at `now`, or replaces the value of the one that has the key: readers find the old value or the
    /// new one. What `value` is too short for is 0.
    pub fn put(&mut self, key: [u64; N], value: &[u64], now: u32) -> Result<Found, Full> {
        let table = &*self.table;
        let hash = table.seed.hash(key);
        let old = table.find(hash, &key);
        if !old.is_some() && self.free.used() == table.capacity {
            return Err(Full);
        }
        let slot = self.free.allocate().ok_or(Full)?;
        if let Some(soon) = self.free.soon() {
            table.prefetch_entry(soon);
        }
        let entry = &table.entries[slot as usize];
        for (word, value) in entry.key.iter().zip(key) {
            word.store(value, Relaxed);
        }
        for (at, word) in table.value(slot).iter().enumerate() {
            word.store(value.get(at).copied().unwrap_or(0), Relaxed);
        }
        entry.seen.store(now, Relaxed);
        let version = entry.version.load(Relaxed).wrapping_add(1);
        entry.version.store(version, Release);
        match old.is_some() {
            true => {
                table.buckets.exchange(hash, old.slot, slot);
                self.release(old.slot);
            }
            false => {
                table.buckets.insert(hash, slot, |bucket, tag| simd::shared_matches(&bucket.tags, tag));
            }
        }
        Ok(Found { slot, version })
    }

    /// Takes out the entry of a key; false if there is none.
    pub fn remove(&mut self, key: &[u64; N]) -> bool {
        let hash = self.table.seed.hash(*key);
        let found = self.table.find(hash, key);
        if found.is_some() {
            self.table.buckets.remove(hash, found.slot);
            self.release(found.slot);
        }
        found.is_some()
    }

    /// Looks at the next `slots` slots, from where the call before has ended, and takes out the entries of which `old` says
    /// so. Returns how many. A whole round takes [`Writer::high_water`] slots.
    pub fn sweep(&mut self, slots: usize, mut old: impl FnMut(View<'_, N>) -> bool) -> usize {
        let mut taken = 0;
        for _ in 0..slots.min(self.free.high_water() as usize) {
            let slot = self.hand % self.free.high_water();
            self.hand = slot + 1;
            let Some(view) = self.table.view(slot) else {
                continue;
            };
            let key = view.key;
            if old(view) {
                self.table.buckets.remove(self.table.seed.hash(key), slot);
                self.release(slot);
                taken += 1;
            }
        }
        taken
    }

    /// The index does not lead to the slot any more.
    fn release(&mut self, slot: u32) {
        let version = &self.table.entries[slot as usize].version;
        version.store(version.load(Relaxed).wrapping_add(1), Relaxed);
        // What is written into the slot next is seen after this, if at all.
        fence(Release);
        self.free.release(slot);
    }
}
