// SPDX-License-Identifier: Apache-2.0
//! One packet in the hands of a node.
//!
//! The only way to packet bytes. Every accessor stays inside the slot whatever the packet claims, so code
//! above this module needs no `unsafe`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::SLOT_SIZE;
use super::metadata::{CHAINED, Metadata};
use crate::ids::BufferIndex;

/// Exclusive access to one buffer: its metadata line and its bytes.
pub struct Packet<'a> {
    /// The packet's line of metadata.
    pub meta: &'a mut Metadata,
    slot: *mut u8,
    index: BufferIndex,
}

impl<'a> Packet<'a> {
    /// # Safety
    /// `slot` points to [`SLOT_SIZE`] bytes that, like `meta`, belong to the caller alone for `'a`, and
    /// the extent of `meta` lies in it.
    #[inline(always)]
    pub(crate) unsafe fn new(meta: &'a mut Metadata, slot: *mut u8, index: BufferIndex) -> Self {
        Packet { meta, slot, index }
    }

    /// Its buffer.
    #[inline(always)]
    pub fn index(&self) -> BufferIndex {
        self.index
    }

    /// The bytes in this buffer, from the current header on.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: the extent lies in the slot (invariant of `Metadata`), exclusive by `new`.
        unsafe { std::slice::from_raw_parts(self.slot.add(self.meta.data_offset()), self.meta.length()) }
    }

    /// The bytes in this buffer, to change.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and `self` is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.slot.add(self.meta.data_offset()), self.meta.length()) }
    }

    /// Bytes in this buffer.
    #[inline(always)]
    pub fn length(&self) -> usize {
        self.meta.length()
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
        if count > self.meta.length() {
            return false;
        }
        self.meta.shift(count as i32, -(count as i32));
        true
    }

    /// Puts `count` bytes before the front, with whatever they held; false when there is no room.
    #[inline(always)]
    pub fn prepend(&mut self, count: usize) -> bool {
        if count > self.meta.data_offset() {
            return false;
        }
        self.meta.shift(-(count as i32), count as i32);
        true
    }

    /// Puts `header` before the front; false when there is no room. Of a constant length, so that it costs two stores and
    /// no call. And not a byte more: what lies before an Ethernet header is another cache line, and to touch that cost
    /// 12 clocks when 16,384 buffers were in circulation.
    #[inline(always)]
    pub fn prepend_header<const N: usize>(&mut self, header: &[u8; N]) -> bool {
        let front = self.meta.data_offset();
        if front < N {
            return false;
        }
        // SAFETY: the N bytes before the front lie in the slot, which is this packet's alone, and `header` does not: it is
        // a reference to something else.
        unsafe { self.slot.add(front - N).cast::<[u8; N]>().write(*header) };
        self.meta.shift(-(N as i32), N as i32);
        true
    }

    /// Makes the first segment `length` bytes long by taking bytes off its end; false when it is shorter.
    #[inline(always)]
    pub fn truncate(&mut self, length: usize) -> bool {
        if length > self.meta.length() {
            return false;
        }
        self.meta.place(self.meta.data_offset(), length);
        true
    }

    /// Adds `count` bytes at the end, with whatever they held; false when there is no room.
    #[inline(always)]
    pub fn append(&mut self, count: usize) -> bool {
        let end = self.meta.data_offset() + self.meta.length();
        if self.meta.flags & CHAINED != 0 || count > SLOT_SIZE - end {
            return false;
        }
        self.meta.shift(0, count as i32);
        true
    }

    /// Room before the first byte.
    #[inline(always)]
    pub fn headroom(&self) -> usize {
        self.meta.data_offset()
    }

    /// Replaces the contents by `data`, which starts `headroom` bytes into the slot; false when it does not fit.
    pub fn fill(&mut self, headroom: usize, data: &[u8]) -> bool {
        if headroom > SLOT_SIZE || data.len() > SLOT_SIZE - headroom {
            return false;
        }
        self.meta.place(headroom, data.len());
        self.data_mut().copy_from_slice(data);
        true
    }
}
