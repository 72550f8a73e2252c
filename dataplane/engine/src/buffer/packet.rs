// SPDX-License-Identifier: Apache-2.0
//! One packet in the hands of a node.
//!
//! The only way to packet bytes. Every accessor stays inside the slot whatever the packet claims, so code
//! above this module needs no `unsafe`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::context::{Field, Plain};
use super::metadata::{CHAINED, Fields, Metadata};
use super::{Bases, SLOT_SIZE};
use crate::ids::BufferIndex;

/// Exclusive access to one buffer: its two lines and its bytes.
pub struct Packet<'a> {
    /// The packet's first line.
    pub meta: &'a mut Metadata,
    slot: *mut u8,
    /// In place of what few nodes ask for: which buffer it is, and its second line. Both follow from the slot.
    bases: &'a Bases,
}

impl<'a> Packet<'a> {
    /// # Safety
    /// `slot` points to [`SLOT_SIZE`] bytes that, like `meta` and the second line, belong to the caller alone for `'a`, the
    /// extent of `meta` lies in it, and `bases` are those of the memory that all three lie in.
    #[inline(always)]
    pub(crate) unsafe fn new(meta: &'a mut Metadata, slot: *mut u8, bases: &'a Bases) -> Self {
        Packet { meta, slot, bases }
    }

    /// The same packet, for a function that is not inlined: a packet whose address such a function is given lies in memory,
    /// where a loop writes it for each packet, whether the function is called or not (3 stores of ip4-rewrite's 47
    /// instructions).
    #[inline(always)]
    pub fn aside(&mut self) -> Packet<'_> {
        Packet { meta: self.meta, slot: self.slot, bases: self.bases }
    }

    /// Its buffer.
    #[inline(always)]
    pub fn index(&self) -> BufferIndex {
        BufferIndex(((self.slot.addr() - self.bases.data.addr()) / SLOT_SIZE) as u32)
    }

    /// Its slot.
    #[inline(always)]
    pub(super) fn slot(&self) -> *mut u8 {
        self.slot
    }

    /// Its second line.
    #[inline(always)]
    pub(super) fn fields(&self) -> *mut Fields {
        self.bases.fields.wrapping_add(self.index().index())
    }

    /// What `field` holds for this packet; zero if nobody has written it.
    #[inline(always)]
    pub fn field<T: Plain>(&self, field: Field<T>) -> T {
        // SAFETY: the second line is this packet's alone (invariant of `new`).
        unsafe { field.read(self.meta, self.fields()) }
    }

    /// Has `field` hold `value` for this packet from now on.
    #[inline(always)]
    pub fn set_field<T: Plain>(&mut self, field: Field<T>, value: T) {
        let fields = self.fields();
        // SAFETY: as in `field`, and `self` is borrowed exclusively.
        unsafe { field.write(self.meta, fields, value) }
    }

    /// The second line, if it holds anything.
    pub(crate) fn written_fields(&self) -> Fields {
        // SAFETY: as in `field`; the flag says that the line was written.
        if self.meta.flags & super::FIELDS != 0 { unsafe { self.fields().read() } } else { Fields::default() }
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

    /// The first line and header `T` at the current position, both to change.
    #[inline(always)]
    pub fn meta_and_header<T: FromBytes + IntoBytes + KnownLayout + Unaligned>(
        &mut self,
    ) -> Option<(&mut Metadata, &mut T)> {
        // SAFETY: as in `data_mut`; the line lies apart from the slot, and both are borrowed as long as `self` is.
        let data = unsafe {
            std::slice::from_raw_parts_mut(self.slot.add(self.meta.data_offset()), self.meta.length())
        };
        let (header, _) = T::mut_from_prefix(data).ok()?;
        Some((self.meta, header))
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
