// SPDX-License-Identifier: Apache-2.0
//! Bounded hash tables: one thread writes, workers search and never wait for it.
//!
//! Keys are `KEY` words (1, 2, 3, 5 or 6), values `VALUE` words. All memory is taken when the table is made. Several writers
//! (a worker each, say) have a table each; whoever searches, searches them all.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::abi;
pub use crate::abi::Found;
use crate::main_thread::Main;
use crate::refusal::Result;

/// The table is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the table is full")
    }
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

/// An entry, as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<const KEY: usize, const VALUE: usize> {
    /// Its key.
    pub key: [u64; KEY],
    /// Its value; each word is right by itself.
    pub value: [u64; VALUE],
    /// When it was last touched.
    pub seen: u32,
}

/// The host's table; ended by the last side of it.
struct Held {
    host: *const abi::Host,
    raw: *mut abi::Table,
}

// SAFETY: the host's functions for those who search may be called by any thread, those for the writer by one at a time, which
// `TableWriter` ensures: it is not cloned, and writes by `&mut self`.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    fn host(&self) -> &abi::Host {
        // SAFETY: the host's table of functions lives as long as the plugin.
        unsafe { &*self.host }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: made by `table_new`, and no side of it is left.
        unsafe { (self.host().table_free)(self.raw) };
    }
}

/// The side of the one that writes.
pub struct TableWriter<const KEY: usize, const VALUE: usize>(Arc<Held>);

/// The side of those who search; cheap to clone.
#[derive(Clone)]
pub struct TableReader<const KEY: usize, const VALUE: usize>(Arc<Held>);

/// # Safety
/// `raw` is an entry of a table of this shape, as the host shows it.
unsafe fn shown<const KEY: usize, const VALUE: usize>(raw: &abi::TableEntry) -> Entry<KEY, VALUE> {
    // SAFETY: by the caller there are so many words, which other threads change by atomic stores.
    let words = |word: usize| unsafe { (*raw.value.add(word).cast::<AtomicU64>()).load(Ordering::Relaxed) };
    Entry {
        key: std::array::from_fn(|word| raw.key[word]),
        value: std::array::from_fn(words),
        seen: raw.seen,
    }
}

impl Main<'_> {
    /// Makes a table of at most `capacity` entries.
    pub fn table<const KEY: usize, const VALUE: usize>(
        &mut self,
        capacity: u32,
    ) -> Result<TableWriter<KEY, VALUE>> {
        const { assert!(matches!(KEY, 1 | 2 | 3 | 5 | 6), "keys have 1, 2, 3, 5 or 6 words") };
        let (host, main) = self.raw();
        // SAFETY: `main` is that of the running call.
        let raw = unsafe { (host.table_new)(main, KEY as u32, VALUE as u32, capacity) };
        if raw.is_null() {
            return self.done(abi::REFUSED).and(Err("the host makes no table".into()));
        }
        Ok(TableWriter(Arc::new(Held { host, raw })))
    }
}

type Old<'a, const KEY: usize, const VALUE: usize> = dyn FnMut(Entry<KEY, VALUE>) -> bool + 'a;

/// What a sweep has the host call: the closure, and the panic in which it has ended.
struct Sweep<'a, const KEY: usize, const VALUE: usize> {
    old: &'a mut Old<'a, KEY, VALUE>,
    panic: Option<Box<dyn std::any::Any + Send>>,
}

unsafe extern "C" fn is_old<const KEY: usize, const VALUE: usize>(
    user: *mut c_void,
    entry: *const abi::TableEntry,
) -> u32 {
    // SAFETY: `sweep` gave it for the call that it waits for; the entry is good during this call.
    let (sweep, entry) = unsafe { (&mut *user.cast::<Sweep<'_, KEY, VALUE>>(), shown(&*entry)) };
    if sweep.panic.is_some() {
        return 0;
    }
    match catch_unwind(AssertUnwindSafe(|| (sweep.old)(entry))) {
        Ok(old) => old.into(),
        Err(panic) => {
            sweep.panic = Some(panic);
            0
        }
    }
}

impl<const KEY: usize, const VALUE: usize> TableWriter<KEY, VALUE> {
    /// For those who search.
    pub fn reader(&self) -> TableReader<KEY, VALUE> {
        TableReader(Arc::clone(&self.0))
    }

    /// Entries.
    pub fn len(&self) -> usize {
        // SAFETY: the table is there as long as `self`, and this is its writer. So in all functions below.
        unsafe { (self.0.host().table_length)(self.0.raw) as usize }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an entry, last used at `now`, or replaces the value of the one that has the key, in one step for those who search.
    pub fn put(
        &mut self,
        key: &[u64; KEY],
        value: &[u64; VALUE],
        now: u32,
    ) -> std::result::Result<Found, Full> {
        let mut found = Found::NONE;
        // SAFETY: see `len`.
        let code = unsafe {
            let put = self.0.host().table_put;
            put(self.0.raw, key.as_ptr(), value.as_ptr(), now, &raw mut found)
        };
        if code == abi::OK { Ok(found) } else { Err(Full) }
    }

    /// Takes an entry out; false if there is none.
    pub fn remove(&mut self, key: &[u64; KEY]) -> bool {
        // SAFETY: see `len`.
        unsafe { (self.0.host().table_remove)(self.0.raw, key.as_ptr()) == abi::OK }
    }

    /// Looks at the next `slots` slots, from where the call before has ended, and takes out the entries of which `old` says
    /// so; returns how many. How old an entry is: `now.wrapping_sub(entry.seen)`.
    pub fn sweep(&mut self, slots: u32, mut old: impl FnMut(Entry<KEY, VALUE>) -> bool) -> usize {
        let mut sweep = Sweep::<KEY, VALUE> { old: &mut old, panic: None };
        // SAFETY: see `len`; the host calls `is_old` during this call only.
        let taken = unsafe {
            let user = ptr::from_mut(&mut sweep).cast();
            (self.0.host().table_sweep)(self.0.raw, slots, Some(is_old::<KEY, VALUE>), user)
        };
        match sweep.panic {
            Some(panic) => resume_unwind(panic),
            None => taken as usize,
        }
    }
}

impl<const KEY: usize, const VALUE: usize> TableReader<KEY, VALUE> {
    /// Finds each of `keys`, with its value: [`Found::NONE`] where there is no entry. The cache misses of a vector overlap.
    ///
    /// # Panics
    /// If the three are not equally long.
    pub fn find(&self, keys: &[[u64; KEY]], found: &mut [Found], values: &mut [[u64; VALUE]]) {
        assert!(keys.len() == found.len() && keys.len() == values.len(), "a place for each key");
        // SAFETY: the table is there as long as `self`; there are as many places as keys. So in all functions below.
        unsafe {
            let (keys, count) = (keys.as_ptr().cast(), keys.len() as u32);
            let values = values.as_mut_ptr().cast();
            (self.0.host().table_find)(self.0.raw, keys, count, found.as_mut_ptr(), values);
        }
    }

    /// Finds one key.
    pub fn get(&self, key: &[u64; KEY]) -> Option<(Found, [u64; VALUE])> {
        let (mut found, mut value) = ([Found::NONE], [[0; VALUE]]);
        self.find(&[*key], &mut found, &mut value);
        found[0].is_some().then_some((found[0], value[0]))
    }

    /// Notes that an entry was used at `now`, in whatever unit the plugin counts.
    #[inline]
    pub fn touch(&self, found: Found, now: u32) {
        // SAFETY: see `find`.
        unsafe { (self.0.host().table_touch)(self.0.raw, found, now) };
    }

    /// A word of a value, to be changed while the entry stays. Once the entry has gone, it may be another's.
    #[inline]
    pub fn word(&self, found: Found, word: usize) -> Option<&AtomicU64> {
        // SAFETY: see `find`; the word lives as long as the table, and all threads access it atomically.
        unsafe { (self.0.host().table_word)(self.0.raw, found, word as u32).cast::<AtomicU64>().as_ref() }
    }

    /// All entries. One that comes or goes meanwhile may be missing or be there.
    pub fn entries(&self) -> impl Iterator<Item = Entry<KEY, VALUE>> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let mut entry = abi::TableEntry { found: Found::NONE, seen: 0, key: [0; 6], value: ptr::null() };
            // SAFETY: see `find`; if the host says so, it has written an entry.
            unsafe {
                let there = (self.0.host().table_next)(self.0.raw, from, &raw mut entry) != 0;
                from = entry.found.slot + 1;
                there.then(|| shown(&entry))
            }
        })
    }
}
