// SPDX-License-Identifier: Apache-2.0
//! The writer: makes, removes, resizes and names entries of the segment.
//!
//! Lives on the main thread. Invariants:
//!
//! * Whatever changes the structure happens in an [`Update`], which is one epoch step (module `epoch`),
//!   ended by its `Drop` also when the closure panics: readers never find the segment busy for ever.
//! * A change that fails has changed nothing.
//! * A vector has its full capacity and a row for every thread from the start; its published length
//!   says how much of it exists. So a vector never moves, workers never see a change of length, and
//!   `/if/*` can grow together in one step.
//! * Memory that readers may be copying is given back only after the step that removed it, and memory
//!   that a worker may still count in only when its row is gone.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::alloc::{Allocator, Block};
use crate::directory::{Content, Directory, EntryIndex};
use crate::epoch;
use crate::error::StatsError;
use crate::layout::{VERSION, WORD, text_word};
use crate::memory::{Pages, SharedMemory};
use crate::vector::private::{Element, Resizable};
use crate::vector::{CombinedVector, NameVector, Scalar, ScalarPlace, SimpleVector, Storage, Vector};

/// Holds the header, the first directory and a few small entries.
const LEAST_SIZE: usize = 32 << 10;
/// Entries at fixed positions, which clients read by position; they cannot be removed.
const FIXED: [&str; 3] = ["/sys/heartbeat", "/sys/last_stats_clear", "/sys/boottime"];

/// The statistics segment, from its owner's side.
pub struct Segment {
    memory: Arc<SharedMemory>,
    size: usize,
    threads: usize,
    alloc: Allocator,
    directory: Directory,
    fixed: Vec<Scalar>,
    /// What name slots that have no text yet point to: papi would skip a null pointer, and with it
    /// shift all further names.
    empty_text: Block,
    /// Given back at the end of the step.
    left: Vec<Block>,
    /// Given back when nobody but us holds them.
    retired: Vec<Arc<Storage>>,
    /// `Send`, not `Sync`.
    _one_thread: PhantomData<Cell<()>>,
}

impl Segment {
    /// A segment of `size` bytes whose counters have rows for `threads` threads, the main thread
    /// included.
    pub fn new(size: usize, threads: usize) -> Result<Segment, StatsError> {
        if size < LEAST_SIZE {
            return Err(StatsError::Size { size, least: LEAST_SIZE });
        }
        if !(1..=1 << 16).contains(&threads) {
            return Err(StatsError::Threads { threads });
        }
        let memory = SharedMemory::create("weft-stats", size, Pages::Small)
            .map_err(|source| StatsError::Memory { size, source })?;
        let memory = Arc::new(memory);
        let header = memory.header();
        header.version.store(VERSION, Relaxed);
        header.epoch.store(1, Relaxed);
        let mut alloc = Allocator::new(size);
        let directory = Directory::new(Arc::clone(&memory), &mut alloc);
        let directory = directory.expect("LEAST_SIZE holds the first directory");
        let empty_text = text_block(&memory, &mut alloc, "").expect("LEAST_SIZE holds the empty text");
        let mut segment = Segment {
            memory,
            size,
            threads,
            alloc,
            directory,
            fixed: Vec::new(),
            empty_text,
            left: Vec::new(),
            retired: Vec::new(),
            _one_thread: PhantomData,
        };
        for name in FIXED {
            let scalar = segment.scalar(name)?;
            segment.fixed.push(scalar);
        }
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        segment.fixed[2].set(since_1970.as_secs());
        Ok(segment)
    }

    /// The memfd, to be handed to readers: it can be mapped read-only, and neither written nor resized.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// Bytes of the whole segment.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.alloc.used() as usize
    }

    /// Rows of every counter: the main thread and the workers.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// `/sys/heartbeat`: to be incremented once per pass of the collector.
    pub fn heartbeat(&self) -> &Scalar {
        &self.fixed[0]
    }

    /// `/sys/last_stats_clear`, in seconds.
    pub fn last_stats_clear(&self) -> &Scalar {
        &self.fixed[1]
    }

    /// Makes several changes under one epoch step: readers see all of them or none.
    ///
    /// Readers wait meanwhile, so `change` should do nothing else.
    pub fn update<R>(&mut self, change: impl FnOnce(&mut Update<'_>) -> R) -> R {
        epoch::begin(self.memory.header());
        change(&mut Update { segment: self })
    }

    /// As [`Update::simple`], in a step of its own; likewise all that follow.
    pub fn simple(&mut self, name: &str, len: usize, capacity: usize) -> Result<SimpleVector, StatsError> {
        self.update(|update| update.simple(name, len, capacity))
    }

    pub fn combined(
        &mut self,
        name: &str,
        len: usize,
        capacity: usize,
    ) -> Result<CombinedVector, StatsError> {
        self.update(|update| update.combined(name, len, capacity))
    }

    pub fn names(&mut self, name: &str, capacity: usize) -> Result<NameVector, StatsError> {
        self.update(|update| update.names(name, capacity))
    }

    pub fn scalar(&mut self, name: &str) -> Result<Scalar, StatsError> {
        self.update(|update| update.scalar(name))
    }

    pub fn symlink(&mut self, name: &str, target: EntryIndex, column: u32) -> Result<EntryIndex, StatsError> {
        self.update(|update| update.symlink(name, target, column))
    }

    pub fn remove(&mut self, entry: EntryIndex) {
        self.update(|update| update.remove(entry));
    }

    pub fn set_len(&mut self, vector: &impl Resizable, len: usize) -> Result<(), StatsError> {
        self.update(|update| update.set_len(vector, len))
    }

    pub fn set_name(&mut self, names: &NameVector, index: usize, name: &str) -> Result<(), StatsError> {
        self.update(|update| update.set_name(names, index, name))
    }

    fn full(&self, name: &str, needed: u64) -> StatsError {
        StatsError::Full { name: name.to_owned(), needed, fresh: self.alloc.fresh(), size: self.size }
    }

    /// A slot for `name`.
    fn prepare(&mut self, name: &str) -> Result<(), StatsError> {
        self.directory.check_name(name)?;
        let reserved = self.directory.reserve(&mut self.alloc, &mut self.left);
        reserved.map_err(|needed| self.full("the directory", needed))
    }

    /// Zeroed blocks of the given sizes, or none of them.
    fn blocks(&mut self, name: &str, sizes: impl Iterator<Item = u64>) -> Result<Vec<Block>, StatsError> {
        let mut blocks = Vec::new();
        for size in sizes {
            let Some(block) = self.alloc.allocate(size) else {
                let error = self.full(name, size);
                blocks.into_iter().for_each(|block| self.alloc.free(block));
                return Err(error);
            };
            let words: &[AtomicU64] = self.memory.slice(block.length(), 1 + block.room() as usize / WORD);
            words.iter().for_each(|word| word.store(0, Relaxed));
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// Gives back what no reader of an earlier epoch and no worker can touch any more.
    fn reclaim(&mut self) {
        self.left.drain(..).for_each(|block| self.alloc.free(block));
        for storage in std::mem::take(&mut self.retired) {
            // Succeeds only if no handle and no row is left; acquires what the last one's thread did
            // before it dropped it.
            match Arc::try_unwrap(storage) {
                Ok(Storage { table, rows, .. }) => {
                    self.alloc.free(table);
                    rows.into_iter().for_each(|row| self.alloc.free(row));
                }
                Err(storage) => self.retired.push(storage),
            }
        }
    }
}

/// A step of structural changes, see [`Segment::update`].
pub struct Update<'a> {
    segment: &'a mut Segment,
}

impl Drop for Update<'_> {
    fn drop(&mut self) {
        epoch::end(self.segment.memory.header());
        self.segment.reclaim();
    }
}

impl Update<'_> {
    /// A counter of `len` numbers per thread, all zero, that may grow to `capacity`.
    ///
    /// # Errors
    /// Here and below: the name (1 to 127 ASCII characters, beginning with '/') is malformed or taken,
    /// `len` is above `capacity`, or the segment is full.
    pub fn simple(&mut self, name: &str, len: usize, capacity: usize) -> Result<SimpleVector, StatsError> {
        self.vector(name, len, capacity)
    }

    /// As [`Update::simple`], of packets and bytes.
    pub fn combined(
        &mut self,
        name: &str,
        len: usize,
        capacity: usize,
    ) -> Result<CombinedVector, StatsError> {
        self.vector(name, len, capacity)
    }

    fn vector<T: Element>(
        &mut self,
        name: &str,
        len: usize,
        capacity: usize,
    ) -> Result<Vector<T>, StatsError> {
        let segment = &mut *self.segment;
        segment.prepare(name)?;
        if len > capacity {
            return Err(StatsError::Capacity { name: name.to_owned(), asked: len, capacity });
        }
        let threads = segment.threads;
        let row = capacity.saturating_mul(size_of::<T::Cell>()) as u64;
        let sizes = std::iter::once((threads * WORD) as u64).chain(std::iter::repeat_n(row, threads));
        let mut rows = segment.blocks(name, sizes)?;
        let table = rows.remove(0);
        for (pointer, row) in segment.memory.slice::<AtomicU64>(table.data, threads).iter().zip(&rows) {
            pointer.store(row.data, Relaxed);
        }
        segment.memory.at::<AtomicU64>(table.length()).store(threads as u64, Relaxed);
        let storage = Arc::new(Storage { memory: Arc::clone(&segment.memory), table, rows, capacity });
        storage.lengths().for_each(|length| length.store(len as u64, Relaxed));
        let entry = segment.directory.insert(name, Content::Counter(T::KIND, Arc::clone(&storage)));
        Ok(Vector { entry, storage, value: PhantomData })
    }

    /// A vector of up to `capacity` texts; its length is 0 at first, the texts are empty.
    pub fn names(&mut self, name: &str, capacity: usize) -> Result<NameVector, StatsError> {
        let segment = &mut *self.segment;
        segment.prepare(name)?;
        let size = capacity.saturating_mul(WORD) as u64;
        let table = segment.blocks(name, std::iter::once(size))?.remove(0);
        for pointer in segment.memory.slice::<AtomicU64>(table.data, capacity) {
            pointer.store(segment.empty_text.data, Relaxed);
        }
        let storage =
            Arc::new(Storage { memory: Arc::clone(&segment.memory), table, rows: Vec::new(), capacity });
        let texts = std::iter::repeat_with(|| None).take(capacity).collect();
        let entry = segment.directory.insert(name, Content::Names(Arc::clone(&storage), texts));
        Ok(NameVector { entry, storage })
    }

    /// A single number, zero at first.
    pub fn scalar(&mut self, name: &str) -> Result<Scalar, StatsError> {
        let segment = &mut *self.segment;
        segment.prepare(name)?;
        let place = Arc::new(ScalarPlace::new());
        let entry = segment.directory.insert(name, Content::Scalar(Arc::clone(&place)));
        Ok(Scalar { entry, memory: Arc::clone(&segment.memory), place })
    }

    /// A second name for one index of a counter, over all threads.
    ///
    /// # Errors
    /// `target` is not a counter, or `column` not below its length: C clients read that column
    /// unchecked.
    pub fn symlink(&mut self, name: &str, target: EntryIndex, column: u32) -> Result<EntryIndex, StatsError> {
        let segment = &mut *self.segment;
        segment.prepare(name)?;
        let slot = segment.directory.get(target).ok_or(StatsError::Stale)?;
        let Content::Counter(_, storage) = &slot.content else {
            return Err(StatsError::Target { name: name.to_owned(), target: slot.name.to_string() });
        };
        let len = storage.published_len();
        if column as usize >= len {
            let target = slot.name.to_string();
            return Err(StatsError::Column { name: name.to_owned(), target, len, column });
        }
        Ok(segment.directory.insert(name, Content::Symlink { target: target.position(), column }))
    }

    /// Removes an entry, and the symlinks to it. An entry that is gone already is left alone, and so
    /// are the three at fixed positions (`/sys/heartbeat` and its neighbours).
    ///
    /// Workers may still hold rows of a removed counter: they count where nobody looks, and the memory
    /// is used again only after the last row was dropped.
    pub fn remove(&mut self, entry: EntryIndex) {
        let segment = &mut *self.segment;
        if (entry.position() as usize) < FIXED.len() {
            return;
        }
        match segment.directory.remove(entry) {
            None | Some(Content::Vacant | Content::Scalar(_) | Content::Symlink { .. }) => {}
            Some(Content::Counter(_, storage)) => {
                segment.retired.push(storage);
                let symlinks: Vec<EntryIndex> =
                    segment.directory.symlinks_to(entry).map(|(link, ..)| link).collect();
                for link in symlinks {
                    segment.directory.remove(link);
                }
            }
            Some(Content::Names(storage, texts)) => {
                segment.retired.push(storage);
                segment.left.extend(texts.into_iter().flatten());
            }
        }
    }

    /// Publishes a new length of a counter (of all its rows) or name vector. Values and texts stay as
    /// they are, also those beyond the length.
    ///
    /// # Errors
    /// `len` is above the capacity, or a symlink shows a column at or above it.
    pub fn set_len(&mut self, vector: &impl Resizable, len: usize) -> Result<(), StatsError> {
        let segment = &mut *self.segment;
        let slot = segment.directory.get(vector.entry()).ok_or(StatsError::Stale)?;
        let (Content::Counter(_, storage) | Content::Names(storage, _)) = &slot.content else {
            return Err(StatsError::Stale);
        };
        if !Arc::ptr_eq(storage, vector.storage()) {
            return Err(StatsError::Stale);
        }
        let name = || slot.name.to_string();
        if len > storage.capacity {
            return Err(StatsError::Capacity { name: name(), asked: len, capacity: storage.capacity });
        }
        if len < storage.published_len() {
            let mut symlinks = segment.directory.symlinks_to(vector.entry());
            if let Some((_, symlink, column)) = symlinks.find(|(.., column)| *column as usize >= len) {
                return Err(StatsError::Shown { name: name(), len, symlink: symlink.to_owned(), column });
            }
        }
        storage.lengths().for_each(|length| length.store(len as u64, Relaxed));
        Ok(())
    }

    /// Sets one text of a name vector. The index may be above the published length, not above the
    /// capacity.
    ///
    /// # Errors
    /// The text is not ASCII (clients decode it strictly), the index is too large, or the segment is
    /// full.
    pub fn set_name(&mut self, names: &NameVector, index: usize, name: &str) -> Result<(), StatsError> {
        let segment = &mut *self.segment;
        if !name.is_ascii() || name.contains('\0') {
            let problem = "is not ASCII text, which clients require";
            return Err(StatsError::Name { name: name.to_owned(), problem });
        }
        let slot = segment.directory.get_mut(names.entry).ok_or(StatsError::Stale)?;
        let Content::Names(storage, texts) = &mut slot.content else {
            return Err(StatsError::Stale);
        };
        if !Arc::ptr_eq(storage, &names.storage) {
            return Err(StatsError::Stale);
        }
        let Some(text) = texts.get_mut(index) else {
            let capacity = storage.capacity;
            return Err(StatsError::Capacity { name: slot.name.to_string(), asked: index + 1, capacity });
        };
        // In place where it fits, which every text of up to 55 bytes does: so what has a name can always have another, also in
        // a full segment. Readers that copy it meanwhile notice, as of everything in a step.
        if let Some(block) = text
            && block.room() > name.len() as u64
        {
            write_text(&segment.memory, block, name);
            return Ok(());
        }
        let Some(block) = text_block(&segment.memory, &mut segment.alloc, name) else {
            let vector = slot.name.to_string();
            return Err(segment.full(&vector, name.len() as u64 + 1));
        };
        segment.memory.slice::<AtomicU64>(storage.table.data, storage.capacity)[index]
            .store(block.data, Relaxed);
        segment.left.extend(text.replace(block));
        Ok(())
    }
}

/// A vector of bytes that holds `text` and its NUL, or `None` if there is no more memory.
fn text_block(memory: &SharedMemory, alloc: &mut Allocator, text: &str) -> Option<Block> {
    let block = alloc.allocate(text.len() as u64 + 1)?;
    write_text(memory, &block, text);
    Some(block)
}

fn write_text(memory: &SharedMemory, block: &Block, text: &str) {
    memory.at::<AtomicU64>(block.length()).store(text.len() as u64 + 1, Relaxed);
    let words: &[AtomicU64] = memory.slice(block.data, block.room() as usize / WORD);
    for (index, word) in words.iter().enumerate() {
        word.store(text_word(text.as_bytes(), index), Relaxed);
    }
}
