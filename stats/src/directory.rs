// SPDX-License-Identifier: Apache-2.0
//! The directory as the writer knows it: its own record of every slot, and the entries in the segment
//! that mirror it.
//!
//! The record is what the writer decides by; the segment is only ever written. Main thread only, and
//! only inside an epoch step, but for the look-ups.
//!
//! A slot keeps its position while it is in use, because symlinks name their target by position. A
//! vacant slot is of type EMPTY and carries a placeholder name: GoVPP ends an unfiltered listing at the
//! first empty name. Vacant slots are used first.

use std::collections::HashMap;
use std::mem::{offset_of, size_of};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::alloc::{Allocator, Block};
use crate::error::StatsError;
use crate::layout::{Entry, Kind, NAME_SIZE, symlink_word, text_word};
use crate::memory::SharedMemory;
use crate::vector::{ScalarPlace, Storage};

/// Slots to begin with; the directory doubles when it is full.
const FIRST_SLOTS: u64 = 128;
const ENTRY: u64 = size_of::<Entry>() as u64;
/// Names of vacant slots, hence refused for others.
const PLACEHOLDER: &str = "/deleted/";

/// Names an entry, and stays invalid for ever once it was removed, also when the slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryIndex {
    slot: u32,
    generation: u32,
}

impl EntryIndex {
    /// Position in the directory.
    pub fn position(self) -> u32 {
        self.slot
    }
}

/// What an entry is made of.
pub(crate) enum Content {
    Vacant,
    Scalar(Arc<ScalarPlace>),
    Counter(Kind, Arc<Storage>),
    /// The texts by index; those not set yet point to the segment's empty text.
    Names(Arc<Storage>, Vec<Option<Block>>),
    Symlink {
        target: u32,
        column: u32,
    },
}

impl Content {
    fn words(&self) -> (Kind, u64) {
        match self {
            Content::Vacant => (Kind::Empty, 0),
            Content::Scalar(_) => (Kind::Scalar, 0),
            Content::Counter(kind, storage) => (*kind, storage.table.data),
            Content::Names(storage, _) => (Kind::Names, storage.table.data),
            Content::Symlink { target, column } => (Kind::Symlink, symlink_word(*target, *column)),
        }
    }
}

pub(crate) struct Slot {
    generation: u32,
    pub name: Box<str>,
    pub content: Content,
}

pub(crate) struct Directory {
    memory: Arc<SharedMemory>,
    block: Block,
    slots: Vec<Slot>,
    by_name: HashMap<Box<str>, u32>,
    vacant: Vec<u32>,
}

impl Directory {
    /// An empty directory, or `None` if there is no memory for it.
    pub fn new(memory: Arc<SharedMemory>, alloc: &mut Allocator) -> Option<Directory> {
        let block = alloc.allocate(FIRST_SLOTS * ENTRY)?;
        memory.header().directory.store(block.data, Relaxed);
        Some(Directory { memory, block, slots: Vec::new(), by_name: HashMap::new(), vacant: Vec::new() })
    }

    /// The slot that `entry` names, if it is still the same.
    pub fn get(&self, entry: EntryIndex) -> Option<&Slot> {
        self.slots.get(entry.slot as usize).filter(|slot| slot.generation == entry.generation)
    }

    pub fn get_mut(&mut self, entry: EntryIndex) -> Option<&mut Slot> {
        self.slots.get_mut(entry.slot as usize).filter(|slot| slot.generation == entry.generation)
    }

    /// All symlinks to `target` with their name and column.
    pub fn symlinks_to(&self, target: EntryIndex) -> impl Iterator<Item = (EntryIndex, &str, u32)> {
        self.slots.iter().zip(0..).filter_map(move |(slot, index)| match slot.content {
            Content::Symlink { target: to, column } if to == target.slot => {
                Some((EntryIndex { slot: index, generation: slot.generation }, &*slot.name, column))
            }
            _ => None,
        })
    }

    /// Whether a new entry may have this name.
    pub fn check_name(&self, name: &str) -> Result<(), StatsError> {
        let problem = if !name.is_ascii() || name.contains('\0') {
            "is not ASCII text, which clients require"
        } else if !name.starts_with('/') {
            "does not begin with '/'"
        } else if name.len() >= NAME_SIZE {
            "is longer than 127 bytes"
        } else if name.starts_with(PLACEHOLDER) {
            "begins with \"/deleted/\", which marks vacant slots"
        } else if self.by_name.contains_key(name) {
            return Err(StatsError::Taken { name: name.to_owned() });
        } else {
            return Ok(());
        };
        Err(StatsError::Name { name: name.to_owned(), problem })
    }

    /// Makes sure that one more entry fits, or says how many bytes that would take. A directory that
    /// had to move leaves its old block in `left`.
    pub fn reserve(&mut self, alloc: &mut Allocator, left: &mut Vec<Block>) -> Result<(), u64> {
        let len = self.slots.len() as u64;
        if !self.vacant.is_empty() || (len + 1) * ENTRY <= self.block.room() {
            return Ok(());
        }
        let needed = 2 * len * ENTRY;
        let old = std::mem::replace(&mut self.block, alloc.allocate(needed).ok_or(needed)?);
        let from: &[Entry] = self.memory.slice(old.data, self.slots.len());
        let to: &[Entry] = self.memory.slice(self.block.data, self.slots.len());
        for (index, (slot, (from, to))) in self.slots.iter().zip(from.iter().zip(to)).enumerate() {
            to.kind.store(from.kind.load(Relaxed), Relaxed);
            for (from, to) in from.name.iter().zip(&to.name) {
                to.store(from.load(Relaxed), Relaxed);
            }
            let place = if let Content::Scalar(place) = &slot.content { Some(place.lock()) } else { None };
            to.value.store(from.value.load(Relaxed), Relaxed);
            if let Some(mut place) = place {
                *place = self.value_offset(index);
            }
        }
        self.publish_len();
        self.memory.header().directory.store(self.block.data, Relaxed);
        left.push(old);
        Ok(())
    }

    /// Adds an entry; [`Directory::check_name`] and [`Directory::reserve`] came before.
    pub fn insert(&mut self, name: &str, content: Content) -> EntryIndex {
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, name: Box::default(), content: Content::Vacant });
            self.slots.len() as u32 - 1
        });
        let index = slot as usize;
        if let Content::Scalar(place) = &content {
            *place.lock() = self.value_offset(index);
        }
        self.write(index, name, &content);
        self.by_name.insert(name.into(), slot);
        let entry = &mut self.slots[index];
        entry.name = name.into();
        entry.content = content;
        let generation = entry.generation;
        self.publish_len();
        EntryIndex { slot, generation }
    }

    /// Makes the slot vacant and returns what it held, or `None` if `entry` names nothing any more.
    pub fn remove(&mut self, entry: EntryIndex) -> Option<Content> {
        let slot = self.get_mut(entry)?;
        slot.generation = slot.generation.wrapping_add(1);
        let content = std::mem::replace(&mut slot.content, Content::Vacant);
        let name = std::mem::take(&mut slot.name);
        if let Content::Scalar(place) = &content {
            *place.lock() = 0;
        }
        self.by_name.remove(&name);
        self.vacant.push(entry.slot);
        self.write(entry.slot as usize, &format!("{PLACEHOLDER}{}", entry.slot), &Content::Vacant);
        Some(content)
    }

    fn value_offset(&self, index: usize) -> u64 {
        self.block.data + index as u64 * ENTRY + offset_of!(Entry, value) as u64
    }

    fn write(&self, index: usize, name: &str, content: &Content) {
        let entry: &Entry = self.memory.at(self.block.data + index as u64 * ENTRY);
        let (kind, value) = content.words();
        entry.kind.store(kind as u64, Relaxed);
        entry.value.store(value, Relaxed);
        for (index, word) in entry.name.iter().enumerate() {
            word.store(text_word(name.as_bytes(), index), Relaxed);
        }
    }

    fn publish_len(&self) {
        let length: &AtomicU64 = self.memory.at(self.block.length());
        length.store(self.slots.len() as u64, Relaxed);
    }
}
