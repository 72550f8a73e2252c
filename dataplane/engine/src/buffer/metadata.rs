// SPDX-License-Identifier: Apache-2.0
//! What the graph knows of a packet beside its bytes: one cache line per buffer.
//!
//! The line lives apart from the packet data, so a NIC (or a peer that shares the UMEM) can never overwrite
//! it, and a node that needs only metadata touches no packet memory. `repr(C)`: plugins read it too.

use crate::ids::{BufferIndex, InterfaceIndex, ReasonId};

/// The packet is followed by the trace (see [`crate::trace`]).
pub const TRACED: u16 = 1 << 0;
/// The packet continues in the buffer named by [`Metadata::next_segment`].
pub const CHAINED: u16 = 1 << 1;
/// The link layer destination was a broadcast or multicast address (RFC 1122 section 3.3.6: no ICMP errors for it).
pub const LINK_BROADCAST: u16 = 1 << 2;
/// The packet was made by this host, not received: its TTL is not decremented on output.
pub const LOCALLY_ORIGINATED: u16 = 1 << 3;
/// Its flow was admitted by a rule of the interface that it came in by, and meets no stateful rules there.
pub const ADMITTED_IN: u16 = 1 << 4;
/// Its flow was admitted by a rule of the interface that it leaves by, likewise.
pub const ADMITTED_OUT: u16 = 1 << 5;
/// On its way from a rule to the flow tracker: its flow is to be admitted where it came in.
pub const ADMIT_IN: u16 = 1 << 6;
/// Likewise: where it leaves. It has its new link header, [`Metadata::scratch`]`[0]` bytes long.
pub const ADMIT_OUT: u16 = 1 << 7;
/// In a free list. Only debug builds look.
pub(crate) const FREE: u16 = 1 << 15;

/// Metadata of one buffer. The packet never leaves its slot.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Metadata {
    /// Where the packet lies in its slot: offset of the first byte in the lower, number of bytes in the upper half.
    /// One word, so that taking a header off is one addition; on a little-endian host it is `u16 offset, length`.
    extent: u32,
    /// [`TRACED`], [`CHAINED`], [`LINK_BROADCAST`], [`LOCALLY_ORIGINATED`], [`ADMITTED_IN`] and those behind it.
    pub flags: u16,
    /// Why the packet is on its way to the drop node.
    pub reason: ReasonId,
    /// Where it came in: the port, then the sub-interface once the tag was read.
    pub rx_interface: InterfaceIndex,
    /// Where it goes out; set with the next hop.
    pub tx_interface: InterfaceIndex,
    /// Forwarding table (VRF) to look the destination up in.
    pub table: u32,
    /// Next hop, set by the lookup.
    pub next_hop: u32,
    /// Hash of the flow, 0 when not computed yet.
    pub flow_hash: u32,
    /// Place in the feature chain that the packet walks.
    pub feature: u32,
    pub(crate) next_segment: BufferIndex,
    /// Bytes in the segments that follow.
    pub(crate) rest_length: u32,
    /// Number of the traced packet on its worker.
    pub trace: u32,
    /// Offset of the network header in the slot. A device sets it for an untagged frame, which nearly all are;
    /// ethernet-input corrects it for the others.
    pub network_offset: u16,
    /// Bytes of link header before it, likewise.
    pub link_length: u16,
    /// What a classifier's rule has written; 0 if none has. Stays with the packet.
    pub mark: u32,
    /// For the node (or plugin) that owns the packet now; the next one may overwrite it.
    pub scratch: [u32; 3],
}

// Plugins that were built long ago read and write the line by these offsets.
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Metadata>() == 64);
    assert!(offset_of!(Metadata, extent) == 0);
    assert!(offset_of!(Metadata, flags) == 4);
    assert!(offset_of!(Metadata, reason) == 6);
    assert!(offset_of!(Metadata, rx_interface) == 8);
    assert!(offset_of!(Metadata, tx_interface) == 12);
    assert!(offset_of!(Metadata, table) == 16);
    assert!(offset_of!(Metadata, next_hop) == 20);
    assert!(offset_of!(Metadata, flow_hash) == 24);
    assert!(offset_of!(Metadata, feature) == 28);
    assert!(offset_of!(Metadata, next_segment) == 32);
    assert!(offset_of!(Metadata, rest_length) == 36);
    assert!(offset_of!(Metadata, trace) == 40);
    assert!(offset_of!(Metadata, network_offset) == 44);
    assert!(offset_of!(Metadata, link_length) == 46);
    assert!(offset_of!(Metadata, mark) == 48);
    assert!(offset_of!(Metadata, scratch) == 52);
};

/// Bytes of an Ethernet header without tags.
const UNTAGGED: u16 = 14;

impl Metadata {
    /// A buffer as a device hands it over: `length` bytes from `data_offset` in the slot, received on `rx`.
    ///
    /// The caller guarantees `data_offset + length <= SLOT_SIZE`; [`super::Packet`] relies on it.
    #[inline(always)]
    pub(crate) const fn received(data_offset: u16, length: u16, rx: InterfaceIndex) -> Metadata {
        Metadata {
            extent: data_offset as u32 | (length as u32) << 16,
            flags: 0,
            reason: ReasonId(0),
            rx_interface: rx,
            tx_interface: InterfaceIndex::NONE,
            table: 0,
            next_hop: 0,
            flow_hash: 0,
            feature: 0,
            next_segment: BufferIndex(0),
            rest_length: 0,
            trace: 0,
            network_offset: data_offset.wrapping_add(UNTAGGED),
            link_length: UNTAGGED,
            mark: 0,
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
