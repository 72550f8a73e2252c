// SPDX-License-Identifier: Apache-2.0
//! Handles to what the main thread made in the segment: vectors to look at from there, rows to count in
//! from a worker.
//!
//! Why rows: a counter that several threads add to needs a locked instruction, and its cache line
//! travels between cores. Here every thread has a row on cache lines of its own, adding is a load and a
//! store, and whoever wants the total sums up. There must be *one* writer per row, otherwise counts are
//! lost (nothing worse: the words are atomics). A row is therefore neither `Clone` nor `Sync`; take it
//! once and move it to its worker.
//!
//! Handles own a share of the memory: that of a removed vector is used again only when the last handle
//! and row are gone, so a worker that has not heard of the removal yet counts into nobody else's
//! counter.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::alloc::Block;
use crate::directory::EntryIndex;
use crate::layout::{Kind, Pair};
use crate::memory::{Cells, Shared, SharedMemory};
use crate::value::Combined;
use private::Element;

/// A thread's place in every counter: 0 is the main thread, workers are 1 and up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadIndex(pub u16);

impl fmt::Display for ThreadIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The memory behind a vector, shared by the segment, the handles and the rows.
pub struct Storage {
    pub(crate) memory: Arc<SharedMemory>,
    /// Pointers to the rows, or to the texts of a name vector.
    pub(crate) table: Block,
    /// One per thread; none in a name vector.
    pub(crate) rows: Vec<Block>,
    /// Elements that each row, or the name vector, has room for.
    pub(crate) capacity: usize,
}

impl Storage {
    /// The words with the published length: of each row, or of the name vector.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = &AtomicU64> {
        let rows = if self.rows.is_empty() { std::slice::from_ref(&self.table) } else { &self.rows[..] };
        rows.iter().map(|block| self.memory.at(block.length()))
    }

    pub(crate) fn published_len(&self) -> usize {
        // All lengths are the same.
        self.lengths().next().map_or(0, |length| length.load(Relaxed) as usize)
    }
}

pub(crate) mod private {
    use super::*;

    /// What a counter consists of: numbers, or packets and bytes.
    pub trait Element: Copy + Default {
        type Cell: Shared;
        const KIND: Kind;
        fn load(cell: &Self::Cell) -> Self;
        fn store(self, cell: &Self::Cell);
        fn plus(self, other: Self) -> Self;

        /// Adds to a cell that no other thread writes.
        #[inline(always)]
        fn add_to(self, cell: &Self::Cell) {
            Self::load(cell).plus(self).store(cell);
        }
    }

    impl Element for u64 {
        type Cell = AtomicU64;
        const KIND: Kind = Kind::Simple;

        #[inline(always)]
        fn load(cell: &AtomicU64) -> u64 {
            cell.load(Relaxed)
        }

        #[inline(always)]
        fn store(self, cell: &AtomicU64) {
            cell.store(self, Relaxed);
        }

        #[inline(always)]
        fn plus(self, other: u64) -> u64 {
            self.wrapping_add(other)
        }
    }

    impl Element for Combined {
        type Cell = Pair;
        const KIND: Kind = Kind::Combined;

        #[inline(always)]
        fn load(cell: &Pair) -> Combined {
            Combined { packets: cell.packets.load(Relaxed), bytes: cell.bytes.load(Relaxed) }
        }

        #[inline(always)]
        fn store(self, cell: &Pair) {
            cell.packets.store(self.packets, Relaxed);
            cell.bytes.store(self.bytes, Relaxed);
        }

        #[inline(always)]
        fn plus(self, other: Combined) -> Combined {
            self + other
        }

        // One number after the other: each is one instruction, where both together were six.
        #[inline(always)]
        fn add_to(self, cell: &Pair) {
            self.packets.add_to(&cell.packets);
            self.bytes.add_to(&cell.bytes);
        }
    }

    /// What [`crate::Segment::set_len`] takes.
    pub trait Resizable {
        fn entry(&self) -> EntryIndex;
        fn storage(&self) -> &Arc<Storage>;
    }

    impl<T: Element> Resizable for Vector<T> {
        fn entry(&self) -> EntryIndex {
            self.entry
        }
        fn storage(&self) -> &Arc<Storage> {
            &self.storage
        }
    }

    impl Resizable for NameVector {
        fn entry(&self) -> EntryIndex {
            self.entry
        }
        fn storage(&self) -> &Arc<Storage> {
            &self.storage
        }
    }
}

/// A counter with a value per thread and index. Cheap to clone; for the main thread.
#[derive(Clone)]
pub struct Vector<T: Element> {
    pub(crate) entry: EntryIndex,
    pub(crate) storage: Arc<Storage>,
    pub(crate) value: PhantomData<T>,
}

/// `[thread][index]` of numbers.
pub type SimpleVector = Vector<u64>;
/// `[thread][index]` of packets and bytes.
pub type CombinedVector = Vector<Combined>;

impl<T: Element> Vector<T> {
    pub fn entry(&self) -> EntryIndex {
        self.entry
    }

    /// The published length of every row.
    pub fn published_len(&self) -> usize {
        self.storage.published_len()
    }

    pub fn capacity(&self) -> usize {
        self.storage.capacity
    }

    fn cells(&self, row: &Block) -> &[T::Cell] {
        self.storage.memory.slice(row.data, self.storage.capacity)
    }

    /// The row that `thread` counts in. Take it once per thread.
    ///
    /// # Panics
    /// If the segment was not made for that many threads.
    pub fn row(&self, thread: ThreadIndex) -> Row<T> {
        let Some(row) = self.storage.rows.get(usize::from(thread.0)) else {
            panic!(
                "the statistics segment has rows for {} threads, none for {thread}",
                self.storage.rows.len()
            );
        };
        let cells = self.storage.memory.cells(row.data, self.storage.capacity);
        Row { cells, _storage: Arc::clone(&self.storage), _one_thread: PhantomData }
    }

    /// One thread's value; zero if there is no such thread or index.
    pub fn get(&self, thread: ThreadIndex, index: usize) -> T {
        let row = self.storage.rows.get(usize::from(thread.0));
        row.and_then(|row| self.cells(row).get(index)).map_or_else(T::default, T::load)
    }

    /// The total of all threads, modulo 2^64; zero if there is no such index.
    pub fn sum(&self, index: usize) -> T {
        let cells = self.storage.rows.iter().filter_map(|row| self.cells(row).get(index));
        cells.fold(T::default(), |sum, cell| sum.plus(T::load(cell)))
    }

    /// Sets the values of all threads to zero. A worker that adds to its value at the same moment may
    /// bring it back; where that matters let the worker call [`Row::set`].
    pub fn zero(&self, index: usize) {
        for cell in self.storage.rows.iter().filter_map(|row| self.cells(row).get(index)) {
            T::default().store(cell);
        }
    }
}

/// One thread's row of a counter, for that thread alone.
///
/// An index at or above the capacity is ignored: the check that keeps the access in bounds is the only
/// cost, and a panic has no place in a worker. An index between published length and capacity counts,
/// but nobody sees it yet.
pub struct Row<T: Element> {
    cells: Cells<T::Cell>,
    _storage: Arc<Storage>,
    /// `Send`, not `Sync`.
    _one_thread: PhantomData<Cell<()>>,
}

pub type SimpleRow = Row<u64>;
pub type CombinedRow = Row<Combined>;

impl<T: Element> Row<T> {
    /// Zero if there is no such index.
    #[inline(always)]
    pub fn get(&self, index: usize) -> T {
        self.cells.get(index).map_or_else(T::default, T::load)
    }

    #[inline(always)]
    pub fn set(&self, index: usize, value: T) {
        if let Some(cell) = self.cells.get(index) {
            value.store(cell);
        }
    }

    #[inline(always)]
    fn plus(&self, index: usize, value: T) {
        if let Some(cell) = self.cells.get(index) {
            value.add_to(cell);
        }
    }
}

impl<T: Element> Row<T> {
    /// Where a value stands: to fetch its cache line ahead, or for a plugin that counts there. Dangling if there is no such
    /// index.
    #[inline(always)]
    pub fn address(&self, index: usize) -> *const T::Cell {
        self.cells.get(index).map_or(std::ptr::dangling(), std::ptr::from_ref)
    }
}

/// The first values of a row, for loops that look at something else of the same number: see [`Row::first`].
pub struct Part<'a, T: Element> {
    cells: &'a [T::Cell],
    _one_thread: PhantomData<Cell<()>>,
}

impl<T: Element> Row<T> {
    /// The first `len` values, or all. Where there are as many as in a slice that is looked at before, one check is for both.
    #[inline(always)]
    pub fn first(&self, len: usize) -> Part<'_, T> {
        Part { cells: self.cells.first(len), _one_thread: PhantomData }
    }
}

impl<T: Element> Part<'_, T> {
    /// Number of values.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }
}

impl<'a, T: Element> Part<'a, T> {
    /// As [`Row::first`].
    #[inline(always)]
    pub fn first(&self, len: usize) -> Part<'a, T> {
        Part { cells: &self.cells[..len.min(self.cells.len())], _one_thread: PhantomData }
    }
}

impl Part<'_, Combined> {
    /// As [`Row::add`].
    #[inline(always)]
    pub fn add(&self, index: usize, packets: u64, bytes: u64) {
        if let Some(cell) = self.cells.get(index) {
            Combined { packets, bytes }.add_to(cell);
        }
    }
}

impl Row<u64> {
    #[inline(always)]
    pub fn add(&self, index: usize, n: u64) {
        self.plus(index, n);
    }
}

impl Row<Combined> {
    #[inline(always)]
    pub fn add(&self, index: usize, packets: u64, bytes: u64) {
        self.plus(index, Combined { packets, bytes });
    }
}

/// A vector of texts by index, for example the names of interfaces.
#[derive(Clone)]
pub struct NameVector {
    pub(crate) entry: EntryIndex,
    pub(crate) storage: Arc<Storage>,
}

impl NameVector {
    pub fn entry(&self) -> EntryIndex {
        self.entry
    }

    /// The published length.
    pub fn published_len(&self) -> usize {
        self.storage.published_len()
    }

    pub fn capacity(&self) -> usize {
        self.storage.capacity
    }
}

/// Where a scalar's value is. It stands in the directory, which moves when it grows; the lock keeps a
/// concurrent [`Scalar::set`] from storing into the place that is being left. 0 when the scalar was
/// removed.
pub(crate) struct ScalarPlace(Mutex<u64>);

impl ScalarPlace {
    pub fn new() -> ScalarPlace {
        ScalarPlace(Mutex::new(0))
    }

    pub fn lock(&self) -> MutexGuard<'_, u64> {
        // The guarded number is valid whatever the thread that panicked was doing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A single number. Not for the packet path: it takes a lock, and its word shares a cache line with the
/// directory.
#[derive(Clone)]
pub struct Scalar {
    pub(crate) entry: EntryIndex,
    pub(crate) memory: Arc<SharedMemory>,
    pub(crate) place: Arc<ScalarPlace>,
}

impl Scalar {
    pub fn entry(&self) -> EntryIndex {
        self.entry
    }

    fn with<R>(&self, access: impl FnOnce(&AtomicU64) -> R) -> Option<R> {
        let offset = self.place.lock();
        (*offset != 0).then(|| access(self.memory.at(*offset)))
    }

    /// Does nothing if the scalar was removed.
    pub fn set(&self, value: u64) {
        self.with(|word| word.store(value, Relaxed));
    }

    /// Zero if the scalar was removed.
    pub fn get(&self) -> u64 {
        self.with(|word| word.load(Relaxed)).unwrap_or_default()
    }
}
