// SPDX-License-Identifier: Apache-2.0
//! The one description of the bytes of a table, so that the worker that writes and those who read cannot disagree.
//!
//! All words are naturally aligned 64-bit little-endian ones, accessed whole. The header is one page, slots of 128 bytes
//! follow: the first cache line of a slot is what every packet touches, the second what TCP, changes of state and people
//! need. A slot begins two lines, which the processor fetches as a pair. After all slots stand the addresses of flows of IPv6
//! ([`Addresses`]), one for each slot: memory that is never touched where there is none.
//!
//! # Consistency
//!
//! [`Entry::version`] is `generation << 32 | sequence`. Who makes, ends or changes a flow adds 1 to the sequence before
//! ([`Entry::begin`]) and after ([`Entry::end`]); a reader believes a copy if the word was even and the same before and
//! after copying. The generation grows with each flow that begins in the slot, so index and generation together name a
//! flow once and for all. Outside this protocol stand the words that every packet changes ([`Entry::seen`],
//! [`Entry::counts`], the positions in [`Entry::tcp`]): each is exact by itself, but packets and bytes of one copy may
//! differ by the packet that passed in between.

use std::mem::{offset_of, size_of};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::fence;

use weft_stats::shared::Shared;

use crate::key::{Key, Pair6};

/// "weftflow".
pub const MAGIC: u64 = u64::from_le_bytes(*b"weftflow");
/// Of this layout. Any change of [`Header`] or [`Entry`] is another version.
pub const VERSION: u64 = 3;
/// Where the slots begin.
pub const SLOTS: u64 = 4096;

/// Stands at offset 0.
#[repr(C)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// [`VERSION`].
    pub version: AtomicU64,
    /// Bytes of a slot.
    pub entry_size: AtomicU64,
    /// Slots.
    pub capacity: AtomicU64,
    /// Thread that owns the table.
    pub thread: AtomicU64,
    /// Clocks in a second, for all times in the table.
    pub clocks_per_second: AtomicU64,
    /// The time now, as the worker last told: every 10 ms while it runs.
    pub now: AtomicU64,
    /// Slots in use lie below this index; it never falls.
    pub high_water: AtomicU64,
    /// Slots in use.
    pub active: AtomicU64,
}

/// A slot.
#[repr(C, align(128))]
#[derive(Default)]
pub struct Entry {
    /// [`Key::addresses`].
    pub addresses: AtomicU64,
    /// [`Key::rest`].
    pub rest: AtomicU64,
    /// Packed by [`crate::Flow`]: see [`crate::State`] and [`state`].
    pub state: AtomicU64,
    /// Time of the last packet.
    pub seen: AtomicU64,
    /// Packets and bytes (IP length) per direction.
    pub counts: [[AtomicU64; 2]; 2],
    /// See the module doc.
    pub version: AtomicU64,
    /// Time of the first packet.
    pub created: AtomicU64,
    /// Interface that the first packet came in by (low half) and that of the first answer (high half). `u32::MAX`: none yet, or
    /// the interface has gone.
    pub interfaces: AtomicU64,
    /// The mark (low half); the high half belongs to the worker.
    pub mark: AtomicU64,
    /// What each endpoint has said: end of what it has sent (high half of the first word), what it has acknowledged (low half),
    /// how far it allows the other one to send, largest window that it has offered. A segment changes its sender's two words.
    pub tcp: [[AtomicU64; 2]; 2],
}

/// What a slot has beside its [`Entry`], if its flow is of IPv6; else it means nothing. Written while the slot is free.
#[repr(C, align(32))]
#[derive(Default)]
pub struct Addresses {
    /// [`Pair6`].
    pub pair: [AtomicU64; 4],
}

impl Addresses {
    /// Both addresses.
    #[inline(always)]
    pub fn get(&self) -> Pair6 {
        // Word by word: `map` over an array is four calls.
        let [a, b, c, d] = &self.pair;
        Pair6([a.load(Relaxed), b.load(Relaxed), c.load(Relaxed), d.load(Relaxed)])
    }

    /// Owner, before [`Entry::begin`] of the next flow. Who sees one of these words sees the version that says that the flow before
    /// it has ended.
    #[inline(always)]
    pub fn set(&self, pair: &Pair6) {
        self.pair.iter().zip(pair.0).for_each(|(word, value)| word.store(value, Release));
    }
}

/// Fields of [`Entry::state`].
pub mod state {
    /// 7..0: [`crate::State`], 0 is a free slot.
    pub const STATE: u64 = 0xff;
    /// 11..8 and 15..12: what TCP has seen of the lower and the higher endpoint: SYN, its acknowledgment, FIN, its.
    pub const SIDES: u32 = 8;
    /// 16: the higher endpoint sent the first packet.
    pub const INITIATOR: u32 = 16;
    /// 17: there was an answer.
    pub const ANSWERED: u64 = 1 << 17;
    /// 18: began in the middle of a TCP connection.
    pub const PICKED_UP: u64 = 1 << 18;
    /// 19: ended by a TCP reset.
    pub const RESET: u64 = 1 << 19;
    /// 20: waits for a verdict.
    pub const WAITING: u64 = 1 << 20;
    /// 21: a rule admitted the flow where packets of the lower endpoint come in and those to it leave; 22: likewise, the
    /// higher endpoint.
    pub const ADMITTED: u32 = 21;
    /// 23: it has a mark.
    pub const MARKED: u64 = 1 << 23;
    /// 26..24: [`crate::Verdict`].
    pub const VERDICT: u32 = 24;
    /// 31..27: upper bits of what a redirection names.
    pub const TARGET_HIGH: u32 = 27;
    /// 39..32 and 47..40: window scale of the lower and the higher endpoint, and what is known of it.
    pub const SCALES: u32 = 32;
    /// 63..48: what a redirection names: a forwarding table, the lower bits of a next hop or of an interface.
    pub const TARGET: u32 = 48;
}

const _: () = assert!(size_of::<Entry>() == 128 && size_of::<Header>() <= SLOTS as usize);
const _: () = assert!(offset_of!(Entry, version) == 64 && size_of::<Addresses>() == 32);

// SAFETY: `repr(C)`, AtomicU64 fields only, and no padding: 9 words.
unsafe impl Shared for Header {}
// SAFETY: `repr(C)`, AtomicU64 fields only, and no padding: 16 words, as the assert above says.
unsafe impl Shared for Entry {}
// SAFETY: `repr(C)`, AtomicU64 fields only, and no padding: 4 words.
unsafe impl Shared for Addresses {}

/// Where the addresses of IPv6 begin.
pub const fn addresses(capacity: usize) -> u64 {
    SLOTS + (capacity * size_of::<Entry>()) as u64
}

/// Bytes of a table.
pub const fn size(capacity: usize) -> usize {
    addresses(capacity) as usize + capacity * size_of::<Addresses>()
}

impl Entry {
    /// The key.
    #[inline(always)]
    pub fn key(&self) -> Key {
        Key { addresses: self.addresses.load(Relaxed), rest: self.rest.load(Relaxed) }
    }

    /// Owner: from here to [`Entry::end`] readers must not believe what they see. The fence keeps the stores that follow
    /// after the odd sequence.
    #[inline(always)]
    pub fn begin(&self) {
        self.version.store(self.version.load(Relaxed) + 1, Relaxed);
        fence(Release);
    }

    /// Owner: the entry is consistent again.
    #[inline(always)]
    pub fn end(&self) {
        let version = self.version.load(Relaxed);
        // The sequence is 32 bits wide and must not grow into the generation.
        let sequence = (version as u32).wrapping_add(1);
        self.version.store(version >> 32 << 32 | u64::from(sequence), Release);
    }

    /// Owner, between begin and end: another flow begins here. The sequence starts anew, odd.
    #[inline(always)]
    pub fn renew(&self) {
        let generation = (self.version.load(Relaxed) >> 32) as u32;
        // 0 names no flow.
        self.version.store(u64::from(generation.wrapping_add(1).max(1)) << 32 | 1, Relaxed);
    }

    /// Which flow this is, among those that had the slot.
    #[inline(always)]
    pub fn generation(&self) -> u32 {
        (self.version.load(Relaxed) >> 32) as u32
    }
}
