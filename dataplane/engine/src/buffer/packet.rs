// SPDX-License-Identifier: Apache-2.0
//! One packet in the hands of a node.
//!
//! The only way to packet bytes. Every accessor stays inside the slot whatever the packet claims, so code
//! above this module needs no `unsafe`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::metadata::{CHAINED, Metadata};
use crate::ids::BufferIndex;

/// Exclusive access to one buffer: its metadata line and its bytes.
pub struct Packet<'a> {
    /// The packet's line of metadata.
    pub meta: &'a mut Metadata,
    slot: *mut u8,
    slot_size: usize,
    index: BufferIndex,
}

impl<'a> Packet<'a> {
    /// # Safety
    /// `slot` points to `slot_size` bytes that, like `meta`, belong to the caller alone for `'a`, and
    /// `meta.data_offset + meta.length <= slot_size`.
    #[inline(always)]
    pub(crate) unsafe fn new(
        meta: &'a mut Metadata,
        slot: *mut u8,
        slot_size: usize,
        index: BufferIndex,
    ) -> Self {
        Packet { meta, slot, slot_size, index }
    }

    /// Its buffer.
    #[inline(always)]
    pub fn index(&self) -> BufferIndex {
        self.index
    }

    /// The bytes in this buffer, from the current header on.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: `data_offset + length <= slot_size` (invariant of `Metadata`), exclusive by `new`.
        unsafe {
            std::slice::from_raw_parts(
                self.slot.add(self.meta.data_offset as usize),
                self.meta.length as usize,
            )
        }
    }

    /// The bytes in this buffer, to change.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and `self` is borrowed exclusively.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.slot.add(self.meta.data_offset as usize),
                self.meta.length as usize,
            )
        }
    }

    /// Bytes in this buffer.
    #[inline(always)]
    pub fn length(&self) -> usize {
        self.meta.length as usize
    }

    /// Header `T` at the current position; `None` when the buffer holds fewer bytes.
    #[inline(always)]
    pub fn header<T: FromBytes + KnownLayout + Immutable + Unaligned>(&self) -> Option<&T> {
        T::ref_from_prefix(self.data()).ok().map(|(header, _)| header)
    }

    /// Header `T` at the current position, to change.
    #[inline(always)]
    pub fn header_mut<T: FromBytes + IntoBytes + KnownLayout + Unaligned>(&mut self) -> Option<&mut T> {
        T::mut_from_prefix(self.data_mut()).ok().map(|(header, _)| header)
    }

    /// Header `T` and the bytes after it.
    #[inline(always)]
    pub fn split<T: FromBytes + KnownLayout + Immutable + Unaligned>(&self) -> Option<(&T, &[u8])> {
        T::ref_from_prefix(self.data()).ok()
    }

    /// Header `T` and the bytes after it, to change.
    #[inline(always)]
    pub fn split_mut<T: FromBytes + IntoBytes + KnownLayout + Unaligned>(
        &mut self,
    ) -> Option<(&mut T, &mut [u8])> {
        T::mut_from_prefix(self.data_mut()).ok()
    }

    /// Takes `count` bytes off the front; false (and no change) when there are fewer.
    #[inline(always)]
    pub fn advance(&mut self, count: usize) -> bool {
        if count > self.meta.length as usize {
            return false;
        }
        self.meta.data_offset += count as u16;
        self.meta.length -= count as u16;
        true
    }

    /// Puts `count` bytes before the front, with whatever they held; false when there is no room.
    #[inline(always)]
    pub fn prepend(&mut self, count: usize) -> bool {
        if count > self.meta.data_offset as usize {
            return false;
        }
        self.meta.data_offset -= count as u16;
        self.meta.length += count as u16;
        true
    }

    /// Makes the first segment `length` bytes long by taking bytes off its end; false when it is shorter.
    #[inline(always)]
    pub fn truncate(&mut self, length: usize) -> bool {
        if length > self.meta.length as usize {
            return false;
        }
        self.meta.length = length as u16;
        true
    }

    /// Adds `count` bytes at the end, with whatever they held; false when there is no room.
    #[inline(always)]
    pub fn append(&mut self, count: usize) -> bool {
        let end = self.meta.data_offset as usize + self.meta.length as usize;
        if self.meta.flags & CHAINED != 0 || count > self.slot_size - end {
            return false;
        }
        self.meta.length += count as u16;
        true
    }

    /// Room before the first byte.
    #[inline(always)]
    pub fn headroom(&self) -> usize {
        self.meta.data_offset as usize
    }

    /// Replaces the contents by `data`, which starts `headroom` bytes into the slot; false when it does not fit.
    pub fn fill(&mut self, headroom: usize, data: &[u8]) -> bool {
        if headroom > self.slot_size || data.len() > self.slot_size - headroom {
            return false;
        }
        self.meta.data_offset = headroom as u16;
        self.meta.length = data.len() as u16;
        self.data_mut().copy_from_slice(data);
        true
    }
}
