// SPDX-License-Identifier: Apache-2.0
//! The slots of a worker, in memory that others may read: what an entry means, and how it changes.
//!
//! The owner alone writes. A change of what a flow is goes through `begin` and `end` of the layout; what every packet
//! changes does not (see [`weft_flow_map::layout`]).

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use weft_engine::clock::{Clock, Tsc};
use weft_engine::{InterfaceIndex, ThreadIndex, prefetch};
use weft_flow_map::layout::{self, Addresses, Entry, Header, state};
use weft_flow_map::{Direction, FlowId, Key, Pair6, Side, State, Verdict};
use weft_stats::shared::{Cells, Pages, SharedMemory};
use weft_table::FreeSlots;

use crate::tcp::Connection;

/// The slots, and those that are free.
pub(crate) struct Slots {
    thread: ThreadIndex,
    entries: Cells<Entry>,
    addresses: Cells<Addresses>,
    header: Cells<Header>,
    free: FreeSlots,
    memory: Arc<SharedMemory>,
}

const ONE_HEADER: &str = "a table has one header";

impl Slots {
    pub fn new(thread: ThreadIndex, capacity: usize, clock: &Clock) -> io::Result<Slots> {
        let memory = Arc::new(SharedMemory::create("weft-flows", layout::size(capacity), Pages::Huge)?);
        let header: Cells<Header> = memory.cells(0, 1);
        let fields = header.get(0).expect(ONE_HEADER);
        fields.version.store(layout::VERSION, Relaxed);
        fields.entry_size.store(size_of::<Entry>() as u64, Relaxed);
        fields.capacity.store(capacity as u64, Relaxed);
        fields.thread.store(thread.0.into(), Relaxed);
        fields.clocks_per_second.store(clock.per_second() as u64, Relaxed);
        fields.magic.store(layout::MAGIC, Relaxed);
        Ok(Slots {
            thread,
            entries: memory.cells(layout::SLOTS, capacity),
            addresses: memory.cells(layout::addresses(capacity), capacity),
            header,
            free: FreeSlots::new(capacity as u32),
            memory,
        })
    }

    /// What readers map.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// Whether they lie on huge pages.
    pub fn is_huge(&self) -> bool {
        self.memory.is_huge()
    }

    /// Slots in use.
    pub fn active(&self) -> usize {
        self.free.used()
    }

    /// Slots in use lie below this one.
    pub fn high_water(&self) -> u32 {
        self.free.high_water()
    }

    /// A slot that was given out.
    #[inline(always)]
    pub fn at(&self, slot: u32) -> &Entry {
        self.entries.get(slot as usize).expect("slots are given out from this table")
    }

    /// A slot, if there is one of that number.
    #[inline(always)]
    pub fn get(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(slot as usize)
    }

    /// The addresses of a flow of IPv6.
    #[inline(always)]
    pub fn pair(&self, slot: u32) -> Pair6 {
        self.addresses.get(slot as usize).map_or(Pair6::default(), Addresses::get)
    }

    /// A flow of IPv6 is about to begin between these.
    pub fn set_pair(&self, slot: u32, pair: &Pair6) {
        if let Some(addresses) = self.addresses.get(slot as usize) {
            addresses.set(pair);
        }
    }

    /// Starts to load them.
    #[inline(always)]
    pub fn prefetch_pair(&self, slot: u32) {
        if let Some(addresses) = self.addresses.get(slot as usize) {
            prefetch::read(addresses);
        }
    }

    /// Starts to load both lines of a slot.
    #[inline(always)]
    pub fn prefetch(&self, slot: u32) {
        self.prefetch_first(slot);
        self.prefetch_second(slot);
    }

    /// Starts to load what every packet touches. A line that is not needed costs as much as one that is: 20 of 65 clocks.
    #[inline(always)]
    pub fn prefetch_first(&self, slot: u32) {
        if let Some(entry) = self.entries.get(slot as usize) {
            prefetch::read(entry);
        }
    }

    /// Starts to load what TCP needs beside that.
    #[inline(always)]
    pub fn prefetch_second(&self, slot: u32) {
        if let Some(entry) = self.entries.get(slot as usize) {
            prefetch::read(&raw const entry.version);
        }
    }

    /// Takes a free slot, and starts to load one that will be taken soon.
    #[inline(always)]
    pub fn allocate(&mut self) -> Option<u32> {
        let slot = self.free.allocate()?;
        if let Some(soon) = self.soon() {
            self.prefetch(soon);
        }
        Some(slot)
    }

    /// The slot that is taken a little later, for whoever keeps something beside it.
    #[inline(always)]
    pub fn soon(&self) -> Option<u32> {
        self.free.soon()
    }

    /// Gives a slot back; its entry is free.
    pub fn release(&mut self, slot: u32) {
        let entry = self.at(slot);
        entry.begin();
        entry.state.store(0, Relaxed);
        entry.end();
        self.free.release(slot);
    }

    /// Tells readers the time and the level.
    pub fn publish(&self, now: Tsc) {
        let header = self.header.get(0).expect(ONE_HEADER);
        header.now.store(now.0, Relaxed);
        header.high_water.store(self.high_water().into(), Relaxed);
        header.active.store(self.active() as u64, Relaxed);
    }

    /// The name of the flow in a slot.
    pub fn id(&self, slot: u32) -> FlowId {
        FlowId { thread: self.thread.0, slot, generation: self.at(slot).generation() }
    }
}

/// A flow begins in this entry; of IPv6, its addresses stand beside it already.
pub(crate) fn begin(
    entry: &Entry,
    key: Key,
    initiator: Direction,
    interface: InterfaceIndex,
    flags: u64,
    now: Tsc,
) {
    entry.begin();
    entry.renew();
    entry.addresses.store(key.addresses, Relaxed);
    entry.rest.store(key.rest, Relaxed);
    entry.state.store(State::New as u64 | (initiator as u64) << state::INITIATOR | flags, Relaxed);
    entry.seen.store(now.0, Relaxed);
    entry.created.store(now.0, Relaxed);
    for word in entry.counts.iter().chain(&entry.tcp).flatten() {
        word.store(0, Relaxed);
    }
    entry.interfaces.store(u64::from(interface.0) | u64::from(u32::MAX) << 32, Relaxed);
    entry.mark.store(0, Relaxed);
    entry.end();
}

/// The state word changes, and with it what the flow is.
pub(crate) fn change(entry: &Entry, word: u64) {
    entry.begin();
    entry.state.store(word, Relaxed);
    entry.end();
}

/// Bits of the state word of a flow whose packets do not simply go on: they wait, go elsewhere, or have a mark.
pub(crate) const UNUSUAL: u64 = 7 << state::VERDICT | state::MARKED | state::WAITING;

/// Of the state word, who has sent the first packet, if nobody has answered: [`ASKS`], by the direction of that packet.
pub(crate) const ASKING: u64 = 1 << state::INITIATOR | state::ANSWERED;
pub(crate) const ASKS: [u64; 2] = [0, 1 << state::INITIATOR];

/// The two bits of [`admitted`].
pub(crate) const ADMITTED: u64 = 3 << state::ADMITTED;

/// Bit of the state word: admitted where packets of this endpoint come in, and those to it leave.
#[inline(always)]
pub(crate) fn admitted(side: Direction) -> u64 {
    1 << (state::ADMITTED as usize + side.index())
}

/// A packet of the flow.
#[inline(always)]
pub(crate) fn count(entry: &Entry, direction: Direction, bytes: u64) {
    let [packets, total] = &entry.counts[direction.index()];
    packets.store(packets.load(Relaxed).wrapping_add(1), Relaxed);
    total.store(total.load(Relaxed).wrapping_add(bytes), Relaxed);
}

/// What an endpoint has sent.
pub(crate) fn side(entry: &Entry, sent: Direction) -> Side {
    let [packets, bytes] = &entry.counts[sent.index()];
    Side { packets: packets.load(Relaxed), bytes: bytes.load(Relaxed) }
}

/// State in a state word; a slot that is in use has one.
#[inline(always)]
pub(crate) fn state_of(word: u64) -> State {
    State::from_word(word).unwrap_or(State::Closed)
}

/// Who sent the first packet.
#[inline(always)]
pub(crate) fn initiator(word: u64) -> Direction {
    Direction::from_bit(word >> state::INITIATOR)
}

/// The state word with another verdict, and nothing to wait for.
pub(crate) fn decided(word: u64, verdict: Verdict) -> u64 {
    word & !(Verdict::MASK | state::WAITING) | verdict.to_word()
}

/// What is known of one side of a TCP connection.
#[inline(always)]
pub(crate) fn tcp_side(entry: &Entry, word: u64, of: Direction) -> crate::tcp::Side {
    let at = of.index();
    let [sent, offers] = &entry.tcp[at];
    let [_, allows] = &entry.tcp[of.reverse().index()];
    let (sent, offers, allows) = (sent.load(Relaxed), offers.load(Relaxed), allows.load(Relaxed));
    crate::tcp::Side {
        end: (sent >> 32) as u32,
        acknowledged: sent as u32,
        limit: (allows >> 32) as u32,
        window: offers as u32,
        facts: (word >> (state::SIDES as usize + 4 * at)) as u8 & 0xf,
        scale: (word >> (state::SCALES as usize + 8 * at)) as u8,
    }
}

/// Keeps what one side has said: its own positions, and how far it allows the other one to send.
#[inline(always)]
pub(crate) fn keep_side(entry: &Entry, of: Direction, side: &crate::tcp::Side, other: &crate::tcp::Side) {
    let [sent, offers] = &entry.tcp[of.index()];
    sent.store(u64::from(side.end) << 32 | u64::from(side.acknowledged), Relaxed);
    offers.store(u64::from(other.limit) << 32 | u64::from(side.window), Relaxed);
}

/// Of the state word, once per side.
const BOTH: u64 = (1 << state::SCALES) | (1 << (state::SCALES + 8));
/// All positions of both sides are known.
const BOTH_STEADY: u64 = BOTH * crate::tcp::STEADY as u64;
/// Of the state word, what says whether a connection is steady.
pub(crate) const STEADY_BITS: u64 = state::STATE | state::ANSWERED | BOTH_STEADY;
/// Both handshakes are over or were not seen, and no side has closed.
pub(crate) const STEADY: u64 = State::Established as u64 | state::ANSWERED | BOTH_STEADY;

/// What is known of a TCP connection.
pub(crate) fn connection(entry: &Entry, word: u64) -> Connection {
    Connection {
        sides: [Direction::FromLow, Direction::FromHigh].map(|of| tcp_side(entry, word, of)),
        picked_up: word & state::PICKED_UP != 0,
        reset: word & state::RESET != 0,
    }
}

/// Bits of the state word that a connection decides.
const CONNECTION: u64 =
    state::STATE | 0xff << state::SIDES | 0xffff << state::SCALES | state::PICKED_UP | state::RESET;

/// Keeps the positions of a connection; returns the state word that goes with it.
pub(crate) fn keep(entry: &Entry, word: u64, connection: &Connection) -> u64 {
    let [low, high] = &connection.sides;
    keep_side(entry, Direction::FromLow, low, high);
    keep_side(entry, Direction::FromHigh, high, low);
    let flag = |is: bool, flag: u64| if is { flag } else { 0 };
    word & !CONNECTION
        | connection.state() as u64
        | u64::from(low.facts | high.facts << 4) << state::SIDES
        | (u64::from(low.scale) | u64::from(high.scale) << 8) << state::SCALES
        | flag(connection.picked_up, state::PICKED_UP)
        | flag(connection.reset, state::RESET)
}
