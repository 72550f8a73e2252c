// SPDX-License-Identifier: Apache-2.0
//! One packet in the hands of a node. Every access stays inside the packet's buffer, whatever the packet claims.

use std::marker::PhantomData;
use std::slice::{from_raw_parts, from_raw_parts_mut};

use crate::abi;
use crate::main_thread::InterfaceIndex;
use crate::node::{Drops, Edges, Events, Thread};
use crate::setup::OwnArc;

const SLOT: usize = abi::SLOT_SIZE as usize;

/// Where a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a packet goes where the closure says"]
pub struct Next(pub(crate) u16);

/// What of the vector a packet needs to be sent on: in registers while a vector is worked on.
#[derive(Clone, Copy)]
pub(crate) struct Ways<'v> {
    pub chain: &'v [u16],
    pub edges: &'v [u16],
    pub arcs: &'v [abi::ArcStart],
    pub events: crate::vector::Row<'v>,
    pub mark: usize,
    /// For records of a trace; null if no packet is traced.
    pub tracing: *mut abi::Vector,
    pub reason_base: u16,
    pub drops: u16,
    pub punt: u16,
    pub hands_off: bool,
}

/// Exclusive access to one buffer: its metadata and its bytes.
pub struct Packet<'a> {
    pub(crate) meta: &'a mut abi::Metadata,
    pub(crate) fields: *mut abi::Fields,
    pub(crate) slot: *mut u8,
    pub(crate) ways: Ways<'a>,
}

/// A field of a packet, of a number of 1, 2, 4 or 8 bytes: what nodes keep with it by name. See [`crate::Setup::field`].
#[derive(Debug)]
pub struct Field<T> {
    /// Such a number lies there in the packet's fields, aligned.
    offset: usize,
    holds: PhantomData<fn() -> T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

/// What a field can hold: `u8`, `u16`, `u32` or `u64`.
pub trait FieldValue: Copy + Default + sealed::Number {}

impl FieldValue for u8 {}
impl FieldValue for u16 {}
impl FieldValue for u32 {}
impl FieldValue for u64 {}

mod sealed {
    /// Any bits are a value.
    pub trait Number {}
    impl Number for u8 {}
    impl Number for u16 {}
    impl Number for u32 {}
    impl Number for u64 {}
}

impl<T: FieldValue> Field<T> {
    /// # Safety
    /// The host says that a field of this size lies at this offset.
    pub(crate) unsafe fn new(offset: u32) -> Field<T> {
        Field { offset: offset as usize, holds: PhantomData }
    }

    /// # Safety
    /// `fields` can be read if the flags say that they hold something, and nobody writes them.
    #[inline(always)]
    pub(crate) unsafe fn read(self, meta: &abi::Metadata, fields: *const abi::Fields) -> T {
        match meta.flags & abi::FLAG_FIELDS {
            0 => T::default(),
            // SAFETY: by the caller and `new`; any bits are a number.
            _ => unsafe { fields.cast::<u8>().add(self.offset).cast::<T>().read() },
        }
    }
}

impl Packet<'_> {
    /// What nodes keep with the packet under a name; 0 if nobody has written it.
    #[inline(always)]
    pub fn field<T: FieldValue>(&self, field: Field<T>) -> T {
        // SAFETY: the line is this packet's, and nobody else has it.
        unsafe { field.read(self.meta, self.fields) }
    }

    /// Keeps a number with the packet, for those who come after.
    #[inline(always)]
    pub fn set_field<T: FieldValue>(&mut self, field: Field<T>, value: T) {
        // SAFETY: as in `field`; a line without the flag is nobody's.
        unsafe {
            if self.meta.flags & abi::FLAG_FIELDS == 0 {
                self.meta.flags |= abi::FLAG_FIELDS;
                self.fields.write(abi::Fields { bytes: [0; 64] });
            }
            self.fields.cast::<u8>().add(field.offset).cast::<T>().write(value);
        }
    }

    /// Has a trace keep what `record` says of this packet in this node ([`crate::Node::trace`] prints it). `record` is only
    /// called for packets that are traced, and changes nothing else.
    #[inline(always)]
    pub fn trace<const N: usize>(&self, record: impl FnOnce() -> [u32; N]) {
        const { assert!(N * 4 <= abi::TRACE_BYTES as usize, "a trace keeps 8 words") };
        if !self.ways.tracing.is_null() && self.meta.flags & abi::FLAG_TRACED != 0 {
            let words = record();
            // SAFETY: the vector is that of the running call, and the packet is of it.
            unsafe {
                let vector = self.ways.tracing;
                ((*(*vector).host).trace)(vector, &raw const *self.meta, words.as_ptr().cast(), N as u32 * 4);
            }
        }
    }

    /// The bytes in this buffer, from the current header on.
    #[inline(always)]
    pub fn data(&self) -> &[u8] {
        // SAFETY: `data_offset + length` is at most the slot's size: the host begins so, and every method here keeps it.
        // Nobody else has the buffer.
        unsafe { from_raw_parts(self.slot.add(self.meta.data_offset.into()), self.meta.length.into()) }
    }

    /// The bytes in this buffer, to change.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and `self` is borrowed exclusively.
        unsafe { from_raw_parts_mut(self.slot.add(self.meta.data_offset.into()), self.meta.length.into()) }
    }

    /// Bytes in this buffer.
    #[inline(always)]
    pub fn length(&self) -> usize {
        self.meta.length.into()
    }

    /// Bytes of the whole packet.
    #[inline(always)]
    pub fn total_length(&self) -> usize {
        self.length() + self.meta.rest_length as usize
    }

    /// The bytes from the network header on, whatever was taken off since; empty if that is not in this buffer.
    #[inline(always)]
    pub fn network(&self) -> &[u8] {
        let end = self.meta.data_offset + self.meta.length;
        let length = end.saturating_sub(self.meta.network_offset);
        // SAFETY: what lies between the offset and the packet's end lies in the slot; if the offset is beyond the end,
        // the length is 0 and the pointer, at most 64 KiB on, is not read from.
        unsafe { from_raw_parts(self.slot.wrapping_add(self.meta.network_offset.into()), length.into()) }
    }

    /// Takes `count` bytes off the front; false (and no change) when there are fewer.
    #[inline(always)]
    pub fn advance(&mut self, count: usize) -> bool {
        if count > self.length() {
            return false;
        }
        self.meta.data_offset += count as u16;
        self.meta.length -= count as u16;
        true
    }

    /// Puts `count` bytes before the front, with whatever they held; false when there is no room.
    #[inline(always)]
    pub fn prepend(&mut self, count: usize) -> bool {
        if count > self.meta.data_offset.into() {
            return false;
        }
        self.meta.data_offset -= count as u16;
        self.meta.length += count as u16;
        true
    }

    /// Takes bytes off the end, so that `length` are left in this buffer; false when there are fewer.
    #[inline(always)]
    pub fn truncate(&mut self, length: usize) -> bool {
        if length > self.length() {
            return false;
        }
        self.meta.length = length as u16;
        true
    }

    /// Adds `count` bytes at the end, with whatever they held; false when there is no room.
    #[inline(always)]
    pub fn append(&mut self, count: usize) -> bool {
        let end = usize::from(self.meta.data_offset) + self.length();
        if self.meta.flags & abi::FLAG_CHAINED != 0 || count > SLOT - end {
            return false;
        }
        self.meta.length += count as u16;
        true
    }

    /// Room before the first byte.
    #[inline(always)]
    pub fn headroom(&self) -> usize {
        self.meta.data_offset.into()
    }

    /// Where it came in.
    #[inline(always)]
    pub fn rx_interface(&self) -> InterfaceIndex {
        InterfaceIndex(self.meta.rx_interface)
    }

    /// Where it goes out, once a next hop is chosen.
    #[inline(always)]
    pub fn tx_interface(&self) -> InterfaceIndex {
        InterfaceIndex(self.meta.tx_interface)
    }

    /// Has it received by an interface: for packets that are made here.
    #[inline(always)]
    pub fn set_rx_interface(&mut self, interface: InterfaceIndex) {
        self.meta.rx_interface = interface.0;
    }

    /// Has it leave by an interface: for packets that are made here, to an address that says something on its link only.
    #[inline(always)]
    pub fn set_tx_interface(&mut self, interface: InterfaceIndex) {
        self.meta.tx_interface = interface.0;
    }

    /// The forwarding table (VRF) that its destination is looked up in.
    #[inline(always)]
    pub fn table(&self) -> u32 {
        self.meta.table
    }

    /// Has its destination looked up in another forwarding table.
    #[inline(always)]
    pub fn set_table(&mut self, table: u32) {
        self.meta.table = table;
    }

    /// What a classifier's rule has written; 0 if none has.
    #[inline(always)]
    pub fn mark(&self) -> u32 {
        if self.meta.flags & abi::FLAG_FIELDS == 0 {
            return 0;
        }
        // SAFETY: the line is this packet's alone, and the host gives an aligned offset in it.
        unsafe { self.fields.cast::<u8>().add(self.ways.mark).cast::<u32>().read() }
    }

    /// Marks it for those who come after.
    #[inline(always)]
    pub fn set_mark(&mut self, mark: u32) {
        // SAFETY: as in `mark`; a line without the flag is nobody's.
        unsafe {
            if self.meta.flags & abi::FLAG_FIELDS == 0 {
                self.meta.flags |= abi::FLAG_FIELDS;
                self.fields.write(abi::Fields { bytes: [0; 64] });
            }
            self.fields.cast::<u8>().add(self.ways.mark).cast::<u32>().write(mark);
        }
    }

    /// Whether the link layer destination was a broadcast or multicast address.
    #[inline(always)]
    pub fn is_link_broadcast(&self) -> bool {
        self.meta.flags & abi::FLAG_LINK_BROADCAST != 0
    }

    /// It was made here: its time to live is not decremented on output.
    #[inline(always)]
    pub fn set_locally_originated(&mut self) {
        self.meta.flags |= abi::FLAG_LOCALLY_ORIGINATED;
    }

    /// To this node on another worker, at the same place of its arc: for what only one worker may do, with its own state. The
    /// packet is dropped, and counted as `handoff_full` of the node, if that worker takes no more or is this one.
    ///
    /// # Panics
    /// If the node was not registered with [`crate::Node::hands_off`].
    #[inline(always)]
    pub fn hand_off(&mut self, to: Thread) -> Next {
        assert!(self.ways.hands_off, "the node hands packets off: it needs Node::hands_off");
        Next(abi::NEXT_WORKER | to.0 & !abi::NEXT_WORKER)
    }

    /// On to the first feature of an interface on an arc of the plugin; `None`: it has none there, and the packet goes on by
    /// itself, to whatever follows the arc. The interface is the one that decides on that arc.
    #[inline(always)]
    pub fn start(&mut self, arc: OwnArc, interface: InterfaceIndex) -> Option<Next> {
        let start = self.ways.arcs.get(arc.0 as usize)?;
        if interface.0 >= start.length {
            return None;
        }
        // SAFETY: the host gives `length` places, which are not written during the call.
        let place = unsafe { *start.starts.add(interface.0 as usize) };
        let first = *self.ways.chain.get(place as usize).filter(|_| place > 0)?;
        self.meta.feature = place;
        Some(Next(first))
    }

    /// On to what follows on the arc that the packet walks.
    #[inline(always)]
    pub fn pass(&mut self) -> Next {
        self.meta.feature = self.meta.feature.wrapping_add(1);
        match self.ways.chain.get(self.meta.feature as usize) {
            Some(&node) => Next(node),
            None => Next(abi::NODE_DROP),
        }
    }

    /// On to one of the nodes that this node named.
    #[inline(always)]
    pub fn to<E: Edges>(&mut self, edge: E) -> Next {
        Next(self.ways.edges.get(edge.ordinal()).copied().unwrap_or(abi::NODE_DROP))
    }

    /// Ends the packet, with one of the reasons of this node.
    #[inline(always)]
    pub fn drop<D: Drops>(&mut self, reason: D) -> Next {
        std::hint::cold_path();
        // A reason of another node would count for a third one.
        let ordinal = reason.ordinal().min(self.ways.drops.saturating_sub(1));
        self.meta.reason = self.ways.reason_base.wrapping_add(ordinal);
        Next(abi::NODE_DROP)
    }

    /// To the host, counted as an event of this node.
    #[inline(always)]
    pub fn punt<E: Events>(&mut self, event: E) -> Next {
        self.ways.events.add(event.ordinal().into(), 1);
        Next(self.ways.punt)
    }
}
