// SPDX-License-Identifier: Apache-2.0
//! What the graph knows of a packet beside its bytes: two cache lines per buffer.
//!
//! Both lie apart from the packet data, so a NIC (or a peer that shares the UMEM) can never overwrite them, and a node
//! that needs only metadata touches no packet memory. The first line ([`Metadata`]) is the engine's, and is written whole
//! when a packet begins. The second ([`Fields`]) holds what other crates keep with a packet ([`super::context`]): it is
//! cleared by the first write to one of its fields and says nothing before ([`FIELDS`]), so a packet with which nobody
//! keeps anything costs no access to it. The lines of a kind lie one after the other: pairs of lines would halve the part
//! of the L1 cache that the first ones can use.
//!
//! The engine knows no protocol: a flag or a word that means something to one is claimed by who speaks it.
//! `repr(C)`: plugins read both lines too.

use crate::ids::{BufferIndex, InterfaceIndex, ReasonId};

/// The packet is followed by the trace (see [`crate::trace`]).
pub const TRACED: u32 = 1 << 0;
/// The packet continues in the buffer named by [`Metadata::next_segment`].
pub const CHAINED: u32 = 1 << 1;
/// The buffer's second line holds fields of this packet.
pub const FIELDS: u32 = 1 << 2;
/// The features of `error-drop` have seen the packet: it is dropped when it comes to `drop` again.
pub(crate) const DROPPING: u32 = 1 << 3;
/// In a free list. Only debug builds look.
pub(crate) const FREE: u32 = 1 << 31;

/// Words of the first line that belong to other crates ([`super::context::Word`]).
pub const WORDS: usize = 2;

/// The first line of one buffer. The packet never leaves its slot.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Metadata {
    /// Where the packet lies in its slot: offset of the first byte in the lower, number of bytes in the upper half.
    /// One word, so that taking a header off is one addition; on a little-endian host it is `u16 offset, length`.
    extent: u32,
    /// [`TRACED`], [`CHAINED`], [`FIELDS`], and those that other crates have claimed ([`super::context`]).
    pub flags: u32,
    /// Where it came in: the port, then the sub-interface once the tag was read.
    pub rx_interface: InterfaceIndex,
    /// Where it goes out; set with the next hop.
    pub tx_interface: InterfaceIndex,
    /// Place in the feature chain that the packet walks.
    pub feature: u32,
    /// Hash of the packet's flow, 0 when not computed yet.
    pub hash: u32,
    /// Fields that every packet needs, by [`super::context::Word`].
    pub(super) words: [u32; WORDS],
    pub(crate) next_segment: BufferIndex,
    /// Bytes in the segments that follow.
    pub(crate) rest_length: u32,
    /// Number of the traced packet on its worker.
    pub trace: u32,
    /// Offset of the network header in the slot. Right wherever the packet's first byte is: headers that are taken off or
    /// put on do not move it.
    pub network_offset: u16,
    /// Offset of the first byte of the link header that the network header came with; of the network header itself if it came
    /// without one. (The header that a packet leaves with begins at its first byte: to say so here would cost the rewrite 3
    /// instructions per packet.)
    pub link_offset: u16,
    /// Why the packet is on its way to the drop node.
    pub reason: ReasonId,
    /// What a node hands to the one after it, or keeps while it has the packet. The next one may overwrite it.
    pub scratch: [u32; 3],
}

/// The second line of one buffer: what crates have registered by name ([`super::context::Field`]).
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Fields(pub(super) [u64; 8]);

// The plugin ABI mirrors the lines (plugins/sdk/src/abi.rs).
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Metadata>() == 64 && size_of::<Fields>() == 64);
    assert!(offset_of!(Metadata, extent) == 0);
    assert!(offset_of!(Metadata, flags) == 4);
    assert!(offset_of!(Metadata, rx_interface) == 8);
    assert!(offset_of!(Metadata, tx_interface) == 12);
    assert!(offset_of!(Metadata, feature) == 16);
    assert!(offset_of!(Metadata, hash) == 20);
    assert!(offset_of!(Metadata, words) == 24);
    assert!(offset_of!(Metadata, next_segment) == 32);
    assert!(offset_of!(Metadata, rest_length) == 36);
    assert!(offset_of!(Metadata, trace) == 40);
    assert!(offset_of!(Metadata, network_offset) == 44);
    assert!(offset_of!(Metadata, link_offset) == 46);
    assert!(offset_of!(Metadata, reason) == 48);
    assert!(offset_of!(Metadata, scratch) == 52);
};

impl Metadata {
    /// A packet that begins: `length` bytes from `data_offset` in the slot, received on `rx`, the first `link` of them its
    /// link header.
    ///
    /// The caller guarantees `data_offset + length <= SLOT_SIZE`; [`super::Packet`] relies on it.
    #[inline(always)]
    pub(super) const fn received(data_offset: u16, length: u16, rx: InterfaceIndex, link: u16) -> Metadata {
        Metadata {
            extent: data_offset as u32 | (length as u32) << 16,
            flags: 0,
            rx_interface: rx,
            tx_interface: InterfaceIndex::NONE,
            feature: 0,
            hash: 0,
            words: [0; WORDS],
            next_segment: BufferIndex(0),
            rest_length: 0,
            trace: 0,
            network_offset: data_offset.wrapping_add(link),
            link_offset: data_offset,
            reason: ReasonId(0),
            scratch: [0; 3],
        }
    }

    /// Bytes in this buffer.
    #[inline(always)]
    pub fn length(&self) -> usize {
        (self.extent >> 16) as usize
    }

    /// Offset of the first byte in the slot.
    #[inline(always)]
    pub fn data_offset(&self) -> usize {
        (self.extent & 0xffff) as usize
    }

    /// Bytes of link header before the network header.
    #[inline(always)]
    pub fn link_length(&self) -> usize {
        usize::from(self.network_offset).saturating_sub(self.link_offset.into())
    }

    /// The current position is that of the network header, and `link` bytes of link header lie before it.
    #[inline(always)]
    pub fn set_network_here(&mut self, link: usize) {
        let here = self.data_offset() as u16;
        self.network_offset = here;
        self.link_offset = here.saturating_sub(link as u16);
    }

    /// Goes on as `other` does: same interfaces, flags, hash, words, place in its chain and trace. What says where bytes and
    /// headers lie stays, and so do segments and fields.
    pub fn continue_as(&mut self, other: &Metadata) {
        let own = CHAINED | FIELDS | FREE;
        *self = Metadata {
            extent: self.extent,
            flags: self.flags & own | other.flags & !own,
            next_segment: self.next_segment,
            rest_length: self.rest_length,
            network_offset: self.network_offset,
            link_offset: self.link_offset,
            ..*other
        };
    }

    /// Moves the first byte by `start` and makes the packet `length` bytes longer, both possibly negative.
    ///
    /// The caller has checked that the packet stays in its slot; [`super::Packet`] relies on it.
    #[inline(always)]
    pub(super) fn shift(&mut self, start: i32, length: i32) {
        self.extent = self.extent.wrapping_add_signed(start + (length << 16));
    }

    /// Says where the packet lies; the same precondition.
    #[inline(always)]
    pub(super) fn place(&mut self, data_offset: usize, length: usize) {
        self.extent = data_offset as u32 | (length as u32) << 16;
    }

    /// Takes what is beyond `length` bytes off the end of this buffer.
    #[inline(always)]
    pub fn shorten(&mut self, length: usize) {
        self.place(self.data_offset(), length.min(self.length()));
    }

    /// Bytes of the whole packet, all segments.
    #[inline(always)]
    pub fn total_length(&self) -> usize {
        self.length() + self.rest_length as usize
    }

    /// The buffer that continues the packet.
    #[inline(always)]
    pub fn next_segment(&self) -> Option<BufferIndex> {
        (self.flags & CHAINED != 0).then_some(self.next_segment)
    }
}
