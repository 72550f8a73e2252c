// SPDX-License-Identifier: Apache-2.0
//! The flows of one worker: what a packet does to them, and what time does.
//!
//! Knows packets as bytes and time as an argument, so that it runs against its oracle without an engine. Nothing here
//! allocates after `Shard::new`, locks, or waits. A packet costs one or two lines of the index and two of its
//! flow; `prefetch_index` and `prefetch_flow` start to load them ahead.
//!
//! A worker calls all of it on its own thread.

mod life;

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use weft_engine::buffer::{ADMITTED_IN, ADMITTED_OUT, Metadata};
use weft_engine::clock::{Clock, Tsc};
use weft_engine::{InterfaceIndex, ThreadIndex};
use weft_flow_map::layout::{Entry, state};
use weft_flow_map::{Direction, FlowId, Key, State, Verdict};
use weft_nodes::rate_limit::TokenBucket;

use crate::counts::{Count, Counts};
use crate::fragments::Fragments;
use crate::index::{Hash, Index, Seed};
use crate::news::{Ending, HEAD, Teller, What};
use crate::parse::{Parsed, Relation, fragment_key, segment};
use crate::settings::{Clocks, Mode, Policy, Protocol, Settings, Shared};
use crate::slots::{self, Slots};
use crate::tcp::{Connection, Judgement, Segment, exchange, flags};
use crate::wheel::Wheel;

/// Ticks of the wheel: no flow ends later than this after its time, while the worker has time.
const TICK: Duration = Duration::from_millis(100);
/// In place of a slot.
const NO_SLOT: u32 = u32::MAX;

/// What a packet is, as far as the shard cares.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// From the IPv4 header on; its first buffer.
    pub data: &'a [u8],
    /// Bytes of all buffers.
    pub bytes: u64,
    /// Where it came in.
    pub interface: InterfaceIndex,
}

/// Why a packet is not tracked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// No free slot.
    Full,
    /// The interface has as many flows as it may.
    InterfaceLimit,
    /// Too many flows begin.
    RateLimit,
    /// Too short for what it claims to be.
    Malformed,
    /// TCP: begins no connection, and belongs to none.
    NotSyn,
    /// TCP: out of the window of its connection.
    OutOfWindow,
    /// ICMP: an answer to no question.
    NoRequest,
    /// ICMP: an error about no flow.
    NoFlow,
    /// The first fragment was not seen.
    LoneFragment,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It belongs to the flow in this slot and was counted there.
    Flow {
        /// The slot.
        slot: u32,
        /// What happens to it.
        verdict: Verdict,
    },
    /// The flow in this slot waits for a verdict, and so must the packet.
    Wait {
        /// The slot.
        slot: u32,
    },
    /// It is not tracked, and goes on.
    Untracked,
    /// It is not tracked, and ends here.
    Refused(Why),
}

/// What the shard has found out about a packet ahead of [`Shard::track`].
#[derive(Clone, Copy, Default)]
pub(crate) struct Ahead {
    pub parsed: Parsed,
    pub hash: Hash,
    pub guess: u32,
}

/// The flows of one worker.
pub struct Shard {
    slots: Slots,
    index: Index,
    wheel: Wheel,
    fragments: Fragments,
    seed: Seed,
    clocks: Clocks,
    settings: Settings,
    /// Flows that there may be.
    most: usize,
    workers: usize,
    shared: Arc<Shared>,
    /// New flows, by interface.
    buckets: Box<[TokenBucket]>,
    teller: Option<Teller>,
    /// What is counted.
    pub counts: Counts,
    /// Flows that got the verdict of time; who parks packets takes them from here.
    pub(crate) overdue: Vec<u32>,
    /// Hands of parked packets whose flow has ended.
    pub(crate) orphans: Vec<u32>,
    /// Where the clearing of all flows has come to.
    sweep: Option<u32>,
    /// Flows that are to be cleared.
    doomed: VecDeque<FlowId>,
}

impl Shard {
    /// The flows of `thread`, one of `workers`.
    pub(crate) fn new(
        thread: ThreadIndex,
        workers: usize,
        clock: &Clock,
        settings: &Settings,
        shared: Arc<Shared>,
        teller: Option<Teller>,
        now: Tsc,
    ) -> io::Result<Shard> {
        let workers = workers.max(1);
        let capacity = settings.flows.div_ceil(workers).max(1);
        let share = |all: u32| all.div_ceil(workers as u32);
        let buckets = match settings.rate {
            Some(rate) => {
                let bucket = || TokenBucket::new(clock, share(rate.per_second), share(rate.burst));
                shared.modes.iter().map(|_| bucket()).collect()
            }
            None => Box::default(),
        };
        let slots = Slots::new(thread, capacity, clock)?;
        slots.publish(now);
        Ok(Shard {
            slots,
            index: Index::new(capacity)?,
            wheel: Wheel::new(capacity, clock.clocks(TICK), now)?,
            fragments: Fragments::new(clock.clocks(settings.timeouts.fragment))?,
            seed: Seed::random(),
            clocks: Clocks::new(*clock, settings.timeouts),
            settings: *settings,
            most: settings.share(workers),
            workers,
            shared,
            buckets,
            teller,
            counts: Counts::default(),
            overdue: Vec::with_capacity(life::BATCH),
            orphans: Vec::with_capacity(life::BATCH),
            sweep: None,
            doomed: VecDeque::new(),
        })
    }

    /// Other limits, policies and timeouts from now on; flows that idle end by the new timeouts when the old ones are over.
    pub(crate) fn configure(&mut self, settings: Settings) {
        self.clocks = self.clocks.with(settings.timeouts);
        self.most = settings.share(self.workers);
        self.settings = settings;
    }

    /// What readers map.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.slots.fd()
    }

    /// Flows now.
    pub fn active(&self) -> usize {
        self.slots.active()
    }

    pub(crate) fn entry(&self, slot: u32) -> &Entry {
        self.slots.at(slot)
    }

    /// The name of the flow in a slot.
    pub fn id(&self, slot: u32) -> FlowId {
        self.slots.id(slot)
    }

    /// First step: hashes the key and starts to load the bucket.
    #[inline(always)]
    pub(crate) fn prefetch_index(&self, parsed: Parsed) -> Ahead {
        let hash = self.seed.hash(parsed.key);
        self.index.prefetch(hash);
        Ahead { parsed, hash, guess: NO_SLOT }
    }

    /// Second step: finds the slot, most likely, and starts to load it.
    #[inline(always)]
    pub(crate) fn prefetch_flow(&self, ahead: &mut Ahead) {
        ahead.guess = self.index.guess(ahead.hash).unwrap_or(NO_SLOT);
        self.slots.prefetch_first(ahead.guess);
        if ahead.parsed.key.protocol() == 6 {
            self.slots.prefetch_second(ahead.guess);
        }
    }

    /// The slot of a key.
    #[inline(always)]
    fn find(&self, ahead: &Ahead) -> Option<u32> {
        let is = |slot: u32| self.slots.at(slot).key() == ahead.parsed.key;
        if ahead.guess != NO_SLOT && is(ahead.guess) {
            return Some(ahead.guess);
        }
        self.index.find(ahead.hash, is)
    }

    /// Third step: the packet itself.
    #[inline(always)]
    pub(crate) fn track(&mut self, now: Tsc, ahead: &Ahead, arrival: &Arrival<'_>) -> Fate {
        let parsed = &ahead.parsed;
        if parsed.relation != Relation::Part {
            std::hint::cold_path();
            return self.track_rare(now, ahead, arrival);
        }
        if parsed.key.protocol() == 6 {
            let Some(segment) = segment(arrival.data) else {
                return self.invalid(Why::Malformed, arrival);
            };
            return match self.find(ahead) {
                Some(slot) => self.tcp(now, ahead, slot, &segment, arrival),
                None => self.begin(now, ahead, Some(&segment), arrival),
            };
        }
        match self.find(ahead) {
            Some(slot) => self.datagram(now, slot, parsed.direction, arrival),
            None => self.begin(now, ahead, None, arrival),
        }
    }

    /// All three steps at once.
    pub fn packet(&mut self, now: Tsc, parsed: Parsed, arrival: &Arrival<'_>) -> Fate {
        let ahead = self.prefetch_index(parsed);
        self.track(now, &ahead, arrival)
    }

    #[inline(never)]
    fn track_rare(&mut self, now: Tsc, ahead: &Ahead, arrival: &Arrival<'_>) -> Fate {
        let parsed = &ahead.parsed;
        match parsed.relation {
            Relation::Part | Relation::FirstFragment => {
                let whole = Ahead { parsed: Parsed { relation: Relation::Part, ..*parsed }, ..*ahead };
                let fate = self.track(now, &whole, arrival);
                if let Fate::Flow { slot, .. } | Fate::Wait { slot } = fate {
                    self.remember(now, slot, arrival);
                }
                fate
            }
            Relation::LaterFragment => {
                let found = self.fragments.find(parsed.key, ahead.hash, now);
                match found {
                    Some((slot, generation)) if self.has(slot, generation) => {
                        self.follow(now, Count::Fragments, slot, parsed.direction, arrival)
                    }
                    _ => self.invalid(Why::LoneFragment, arrival),
                }
            }
            Relation::Answer => match self.find(ahead) {
                Some(slot) => {
                    // An answer may be the first fragment of one.
                    self.remember(now, slot, arrival);
                    self.datagram(now, slot, parsed.direction, arrival)
                }
                None => self.invalid(Why::NoRequest, arrival),
            },
            Relation::Error => match self.find(ahead) {
                Some(slot) => self.follow(now, Count::Errors, slot, parsed.direction, arrival),
                None => self.invalid(Why::NoFlow, arrival),
            },
            Relation::Malformed => self.invalid(Why::Malformed, arrival),
        }
    }

    /// Leaves a note for the other fragments of this datagram.
    fn remember(&mut self, now: Tsc, slot: u32, arrival: &Arrival<'_>) {
        use zerocopy::FromBytes;
        let entry = self.slots.at(slot);
        let table = entry.key().table();
        if let Ok((ip, _)) = weft_nodes::headers::Ipv4Header::ref_from_prefix(arrival.data)
            && ip.more_fragments()
        {
            let key = fragment_key(ip, table);
            let generation = entry.generation();
            self.fragments.remember(key, self.seed.hash(key), slot, generation, now);
        }
    }

    /// A packet that belongs to a flow but says nothing about its state: an ICMP error, a later fragment.
    fn follow(
        &mut self,
        now: Tsc,
        count: Count,
        slot: u32,
        direction: Direction,
        arrival: &Arrival<'_>,
    ) -> Fate {
        let entry = self.slots.at(slot);
        let word = entry.state.load(Relaxed);
        if word & state::WAITING != 0 {
            return Fate::Wait { slot };
        }
        if count == Count::Fragments {
            // An error keeps no flow alive: anybody can send one (RFC 5927).
            entry.seen.store(now.0, Relaxed);
        }
        slots::count(entry, direction, arrival.bytes);
        self.counts.one(count);
        self.counts.one(Count::Hits);
        Fate::Flow { slot, verdict: Verdict::from_word(word) }
    }

    /// A packet of a flow without TCP's state: it is established once there is an answer.
    #[inline(always)]
    fn datagram(&mut self, now: Tsc, slot: u32, direction: Direction, arrival: &Arrival<'_>) -> Fate {
        let entry = self.slots.at(slot);
        let word = entry.state.load(Relaxed);
        if word & (state::WAITING | state::ANSWERED) != state::ANSWERED {
            std::hint::cold_path();
            if word & state::WAITING != 0 {
                return Fate::Wait { slot };
            }
            if direction != slots::initiator(word) {
                answered(entry, arrival.interface);
                slots::change(entry, word & !state::STATE | State::Established as u64 | state::ANSWERED);
            }
        }
        entry.seen.store(now.0, Relaxed);
        slots::count(entry, direction, arrival.bytes);
        self.counts.one(Count::Hits);
        Fate::Flow { slot, verdict: Verdict::from_word(word) }
    }

    /// A TCP segment of a flow.
    #[inline(always)]
    fn tcp(&mut self, now: Tsc, ahead: &Ahead, slot: u32, segment: &Segment, arrival: &Arrival<'_>) -> Fate {
        let direction = ahead.parsed.direction;
        let entry = self.slots.at(slot);
        let word = entry.state.load(Relaxed);
        if word & state::WAITING != 0 {
            return Fate::Wait { slot };
        }
        if slots::state_of(word) == State::Closed && segment.flags & (flags::SYN | flags::ACK) == flags::SYN {
            // The ports are used again (RFC 9293 section 3.6.1).
            self.end(slot, ahead.hash, now, Ending::Replaced);
            return self.begin(now, ahead, Some(segment), arrival);
        }
        const RARE: u8 = flags::SYN | flags::RST | flags::FIN;
        let steady = slots::BOTH_SENT | state::ANSWERED;
        let plain = segment.flags & RARE == 0 && word & steady == steady;
        if !(plain && self.steady(slot, word, direction, segment)) {
            std::hint::cold_path();
            if let Some(fate) = self.step(now, slot, word, direction, segment, arrival) {
                return fate;
            }
        }
        let entry = self.slots.at(slot);
        entry.seen.store(now.0, Relaxed);
        slots::count(entry, direction, arrival.bytes);
        self.counts.one(Count::Hits);
        Fate::Flow { slot, verdict: Verdict::from_word(word) }
    }

    /// What nearly all segments are: they move positions and nothing else. False if this one is something else; nothing has
    /// changed then.
    #[inline(always)]
    fn steady(&self, slot: u32, word: u64, direction: Direction, segment: &Segment) -> bool {
        let entry = self.slots.at(slot);
        let before =
            (slots::tcp_side(entry, word, direction), slots::tcp_side(entry, word, direction.reverse()));
        let (mut sender, mut receiver) = before;
        let fits = exchange(&mut sender, &mut receiver, segment) == Judgement::Fits;
        let same = sender.scale == before.0.scale && receiver.facts == before.1.facts;
        if fits && same {
            slots::keep_side(entry, direction, &sender);
            slots::keep_side(entry, direction.reverse(), &receiver);
        }
        fits && same
    }

    /// Any segment; says what becomes of it if it is not simply counted.
    #[inline(never)]
    fn step(
        &mut self,
        now: Tsc,
        slot: u32,
        mut word: u64,
        direction: Direction,
        segment: &Segment,
        arrival: &Arrival<'_>,
    ) -> Option<Fate> {
        let entry = self.slots.at(slot);
        let mut connection = slots::connection(entry, word);
        match connection.step(direction, segment) {
            Judgement::Fits => {
                if word & state::ANSWERED == 0 && direction != slots::initiator(word) {
                    answered(entry, arrival.interface);
                    word |= state::ANSWERED;
                }
                let changed = slots::keep(entry, word, &connection);
                if changed != entry.state.load(Relaxed) {
                    self.changed(now, slot, changed);
                }
            }
            Judgement::OutOfWindow => {
                self.counts.one(Count::OutOfWindow);
                if self.settings.window_check {
                    return Some(self.invalid(Why::OutOfWindow, arrival));
                }
            }
            Judgement::LeftToReceiver => self.counts.one(Count::LeftToReceiver),
        }
        None
    }

    /// The state word of a TCP flow is another one.
    #[inline(never)]
    fn changed(&mut self, now: Tsc, slot: u32, word: u64) {
        let entry = self.slots.at(slot);
        let before = entry.state.load(Relaxed);
        slots::change(entry, word);
        let (old, new) = (self.idle(entry.key(), before), self.idle(entry.key(), word));
        if new < old {
            // Else the old deadline comes first, and is put off then.
            self.wheel.cancel(slot);
            self.wheel.schedule(slot, Tsc(now.0 + new));
        }
    }

    fn idle(&self, key: Key, word: u64) -> u64 {
        let protocol = Protocol::of(key.protocol());
        self.clocks.idle(protocol, slots::state_of(word), word & state::RESET != 0)
    }

    #[cold]
    fn invalid(&mut self, why: Why, arrival: &Arrival<'_>) -> Fate {
        self.counts.one(Count::Invalid);
        self.untracked(self.settings.invalid, why, arrival.interface)
    }

    /// Where an agent decides, nothing goes on without it.
    fn untracked(&self, policy: Policy, why: Why, interface: InterfaceIndex) -> Fate {
        if policy == Policy::Forward && self.mode(interface) != Mode::Agent {
            Fate::Untracked
        } else {
            Fate::Refused(why)
        }
    }

    fn mode(&self, interface: InterfaceIndex) -> Mode {
        match self.shared.modes.get(interface.index()).map(|mode| mode.load(Relaxed)) {
            Some(mode) if mode == Mode::Agent as u8 => Mode::Agent,
            Some(mode) if mode == Mode::Admit as u8 => Mode::Admit,
            _ => Mode::Track,
        }
    }

    /// A packet of an unknown flow.
    #[inline(never)]
    fn begin(&mut self, now: Tsc, ahead: &Ahead, segment: Option<&Segment>, arrival: &Arrival<'_>) -> Fate {
        self.counts.one(Count::Misses);
        if self.mode(arrival.interface) == Mode::Admit {
            return Fate::Untracked;
        }
        self.start(now, ahead, segment, arrival)
    }

    /// A flow begins, if it may.
    fn start(&mut self, now: Tsc, ahead: &Ahead, segment: Option<&Segment>, arrival: &Arrival<'_>) -> Fate {
        let mut connection = Connection::default();
        if let Some(segment) = segment
            && !connection.begin(segment, self.settings.pickup)
        {
            return self.invalid(Why::NotSyn, arrival);
        }
        let slot = match self.room(now, arrival.interface) {
            Ok(slot) => slot,
            Err((count, why)) => {
                self.counts.one(count);
                return self.untracked(self.settings.excess, why, arrival.interface);
            }
        };
        let Parsed { key, direction, .. } = ahead.parsed;
        let waits = self.mode(arrival.interface) == Mode::Agent;
        let mut flags = if connection.picked_up { state::PICKED_UP } else { 0 };
        flags |= if waits { state::WAITING } else { 0 };
        slots::begin(self.slots.at(slot), key, direction, arrival.interface, flags, now);
        self.index.insert(ahead.hash, slot);
        let patience = if waits { self.clocks.agent() } else { self.idle(key, State::New as u64) };
        if let Some(soon) = self.slots.soon() {
            self.wheel.prefetch(soon);
        }
        self.wheel.schedule(slot, Tsc(now.0 + patience));
        self.counts.one(Count::Created);
        self.tell(now, slot, What::Began);
        if waits {
            self.tell(now, slot, waiting(arrival));
            return Fate::Wait { slot };
        }
        match segment {
            Some(segment) => self.tcp(now, ahead, slot, segment, arrival),
            None => self.datagram(now, slot, direction, arrival),
        }
    }

    /// A rule has let a packet pass that it wants to be answered: its flow is admitted from now on, where the packet came in
    /// or, with `out`, where it leaves. The flow begins here if there is none. Fragments without ports, and ICMP errors,
    /// begin nothing.
    #[inline(never)]
    pub(crate) fn admit(&mut self, now: Tsc, ahead: &Ahead, arrival: &Arrival<'_>, out: bool) -> Fate {
        let Parsed { key, direction, relation } = ahead.parsed;
        let may_begin = matches!(relation, Relation::Part | Relation::FirstFragment)
            && self.mode(arrival.interface) != Mode::Agent;
        let slot = match self.find(ahead) {
            _ if matches!(relation, Relation::LaterFragment | Relation::Malformed | Relation::Error) => {
                return Fate::Untracked;
            }
            Some(slot) => slot,
            None if !may_begin => return Fate::Untracked,
            None => {
                let segment = segment(arrival.data).filter(|_| key.protocol() == 6);
                if segment.is_none() && key.protocol() == 6 {
                    return self.invalid(Why::Malformed, arrival);
                }
                match self.start(now, ahead, segment.as_ref(), arrival) {
                    Fate::Flow { slot, .. } => slot,
                    other => return other,
                }
            }
        };
        let entry = self.slots.at(slot);
        let word = entry.state.load(Relaxed);
        let admitted = slots::admitted(if out { direction.reverse() } else { direction });
        if word & admitted == 0 {
            slots::change(entry, word | admitted);
        }
        if relation == Relation::FirstFragment {
            self.remember(now, slot, arrival);
        }
        Fate::Flow { slot, verdict: Verdict::from_word(word) }
    }

    /// Writes into a packet's metadata what its flow says of it: where it was admitted, and the mark.
    #[inline(always)]
    pub(crate) fn stamp(&self, slot: u32, direction: Direction, meta: &mut Metadata) {
        let entry = self.slots.at(slot);
        let word = entry.state.load(Relaxed);
        let flag = |side, flag| if word & slots::admitted(side) != 0 { flag } else { 0 };
        meta.flags |= flag(direction, ADMITTED_IN) | flag(direction.reverse(), ADMITTED_OUT);
        if word & state::MARKED != 0 {
            // In the second line, which packets of UDP do not touch otherwise.
            meta.mark = entry.mark.load(Relaxed) as u32;
        }
    }

    /// A slot for a new flow, if one may begin.
    #[inline(always)]
    fn room(&mut self, now: Tsc, interface: InterfaceIndex) -> Result<u32, (Count, Why)> {
        let flows = self.shared.flows.get(interface.index());
        if let (Some(limit), Some(flows)) = (self.settings.interface_flows, flows)
            && flows.load(Relaxed) >= limit
        {
            return Err((Count::InterfaceLimit, Why::InterfaceLimit));
        }
        if let Some(bucket) = self.buckets.get_mut(interface.index())
            && !bucket.take(now)
        {
            return Err((Count::RateLimit, Why::RateLimit));
        }
        if self.slots.active() >= self.most {
            return Err((Count::Full, Why::Full));
        }
        let slot = self.slots.allocate().ok_or((Count::Full, Why::Full))?;
        if let Some(flows) = flows {
            flows.fetch_add(1, Relaxed);
        }
        Ok(slot)
    }

    /// The worker's own word of a flow: which hand holds its parked packets, plus 1.
    pub(crate) fn set_hand(&mut self, slot: u32, hand: Option<u32>) {
        let mark = &self.slots.at(slot).mark;
        let hand = hand.map_or(0, |hand| u64::from(hand) + 1);
        mark.store(hand << 32 | mark.load(Relaxed) & 0xffff_ffff, Relaxed);
    }

    /// Which hand holds the parked packets of a flow.
    pub(crate) fn hand(&self, slot: u32) -> Option<u32> {
        ((self.slots.at(slot).mark.load(Relaxed) >> 32) as u32).checked_sub(1)
    }

    /// Tells readers the time and the level.
    pub(crate) fn publish(&mut self, now: Tsc) {
        self.slots.publish(now);
        self.counts.set(Count::Active, self.slots.active() as u64);
    }
}

/// The first packet of the other side came in here.
fn answered(entry: &Entry, interface: InterfaceIndex) {
    let first = entry.interfaces.load(Relaxed) & 0xffff_ffff;
    entry.interfaces.store(first | u64::from(interface.0) << 32, Relaxed);
}

/// The packet as the agent is shown it.
fn waiting(arrival: &Arrival<'_>) -> What {
    let mut head = [0; HEAD];
    let kept = arrival.data.len().min(HEAD);
    head[..kept].copy_from_slice(&arrival.data[..kept]);
    What::Waits { length: arrival.bytes as u32, head }
}

#[cfg(test)]
mod tests;
