// SPDX-License-Identifier: Apache-2.0
//! The flows of one worker: what a packet does to them, and what time does.
//!
//! Knows packets as bytes and time as an argument, so that it runs against its oracle without an engine. Nothing here
//! allocates after `Shard::new`, locks, or waits. A packet costs one or two lines of the index and two of its
//! flow; `prefetch_index` and `prefetch_flow` start to load them ahead.
//!
//! A worker calls all of it on its own thread.

mod begin;
mod life;
mod track;

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use weft_engine::buffer::Pages;
use weft_engine::clock::{Clock, Tsc};
use weft_engine::{InterfaceIndex, ThreadIndex};
use weft_flow_map::layout::Entry;
use weft_flow_map::{Direction, FlowId, Key, Pair6};
use weft_nodes::headers::IpProtocol;
use weft_table::{Hash, Index, Seed};
use weft_token_bucket::TokenBucket;

use crate::beginners::Beginners;
use crate::counts::{Count, Counts};
use crate::fragments::Fragments;
use crate::news::Teller;
use crate::parse::ip6::Reading;
use crate::parse::{Parsed, Relation, ip6, plain, rare};
use crate::settings::{Clocks, Mode, Policy, Settings, Shared};
use crate::slots::Slots;
use crate::wheel::Wheel;
pub(crate) use begin::admitted;
use life::{Doomed, Gone};

/// Ticks of the wheel: no flow ends later than this after its time, while the worker has time.
const TICK: Duration = Duration::from_millis(100);
/// [`Key::what`](weft_flow_map::Key::what) of UDP over IPv4.
const UDP: u16 = (IpProtocol::UDP.0 as u16) << 8;
/// In place of a slot.
const NO_SLOT: u32 = u32::MAX;

/// What a packet is, as far as the shard cares.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// From the IP header on; its first buffer.
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
pub enum Outcome {
    /// It belongs to the flow in this slot and was counted there.
    Flow {
        /// The slot.
        slot: u32,
        /// What the flow's state word says of it: its verdict, where it was admitted, whether it has a mark.
        word: u64,
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

/// What the shard has found out about a packet ahead of [`Shard::track`]: what is [`Parsed`], the hash of its key, and where its
/// flow most likely is. 32 bytes, so that a place in an array is found by a shift.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
pub(crate) struct Ahead {
    pub key: Key,
    pub hash: Hash,
    pub guess: u32,
    pub direction: Direction,
    pub relation: Relation,
}

const _: () = assert!(size_of::<Ahead>() == 32);

/// The flows of one worker.
pub struct Shard {
    slots: Slots,
    index: Index,
    wheel: Wheel,
    beginners: Beginners,
    fragments: Fragments,
    seed: Seed,
    reading: Reading,
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
    sweep: Option<(u32, Tsc)>,
    /// Flows that are to be cleared.
    doomed: VecDeque<Doomed>,
    /// Interfaces that go.
    gone: VecDeque<Gone>,
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
        let clocks = Clocks::new(*clock, settings.timeouts);
        let buckets = shared.modes.iter().map_while(|_| Shard::bucket(&clocks, settings, workers)).collect();
        let slots = Slots::new(thread, capacity, clock)?;
        slots.publish(now);
        Ok(Shard {
            slots,
            index: Index::new(capacity)?,
            wheel: Wheel::new(capacity, clock.clocks(TICK), now)?,
            beginners: Beginners::new(capacity)?,
            fragments: Fragments::new(clock.clocks(settings.timeouts.fragment))?,
            seed: Seed::random(),
            reading: Reading { seed: shared.digests, headers: settings.extension_headers },
            clocks,
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
            gone: VecDeque::new(),
        })
    }

    /// This worker's share of the new flows of an interface, if there is a limit.
    fn bucket(clocks: &Clocks, settings: &Settings, workers: usize) -> Option<TokenBucket> {
        let share = |all: u32| all.div_ceil(workers as u32).into();
        let rate = settings.rate?;
        Some(TokenBucket::new(clocks.per_second(), share(rate.per_second), share(rate.burst)))
    }

    /// Other limits, policies and timeouts from now on; flows that idle end by the new timeouts when the old ones are over.
    pub(crate) fn configure(&mut self, settings: Settings) {
        self.clocks = self.clocks.with(settings.timeouts);
        self.most = settings.share(self.workers);
        self.reading.headers = settings.extension_headers;
        self.settings = settings;
    }

    /// What readers map.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.slots.fd()
    }

    /// Whether the flows lie on huge pages, and what their index lies on.
    pub fn pages(&self) -> (bool, Pages) {
        (self.slots.is_huge(), self.index.pages())
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

    /// First step: hashes the key and starts to load the bucket. The packet came in on interface `link`.
    #[inline(always)]
    pub(crate) fn prefetch_index(&self, packet: &[u8], table: u16, link: InterfaceIndex, ahead: &mut Ahead) {
        match plain(packet, table) {
            Some(parsed) => self.look_for(parsed, ahead),
            None => self.look_for(self.read(packet, table, link), ahead),
        }
    }

    #[inline(always)]
    fn look_for(&self, parsed: Parsed, ahead: &mut Ahead) {
        let hash = self.seed.hash(parsed.key.words());
        *ahead = Ahead {
            key: parsed.key,
            hash,
            guess: NO_SLOT,
            direction: parsed.direction,
            relation: parsed.relation,
        };
        self.index.prefetch(hash);
    }

    /// What is not plain IPv4.
    #[cold]
    #[inline(never)]
    fn read(&self, packet: &[u8], table: u16, link: InterfaceIndex) -> Parsed {
        match packet.first().is_some_and(|version| version >> 4 == 6) {
            true => ip6::parse(packet, table, link.0, &self.reading),
            false => rare(packet, table),
        }
    }

    /// Second step: finds the slot, most likely, and starts to load it.
    #[inline(always)]
    pub(crate) fn prefetch_flow(&self, ahead: &mut Ahead) {
        ahead.guess = self.index.guess(ahead.hash).unwrap_or(NO_SLOT);
        self.slots.prefetch_first(ahead.guess);
        let key = ahead.key;
        // One question for UDP over IPv4.
        if key.what() != UDP {
            if key.protocol() == IpProtocol::TCP.0 {
                self.slots.prefetch_second(ahead.guess);
            }
            if key.is_ip6() {
                self.slots.prefetch_pair(ahead.guess);
            }
        }
    }

    /// All three steps at once.
    pub fn packet(&mut self, now: Tsc, table: u16, arrival: Arrival<'_>) -> Outcome {
        let mut ahead = Ahead::default();
        self.prefetch_index(arrival.data, table, arrival.interface, &mut ahead);
        self.prefetch_flow(&mut ahead);
        self.track(now, &ahead, arrival)
    }

    /// Whether a slot has the flow that a packet is of.
    fn is(&self, slot: u32, ahead: &Ahead, arrival: Arrival<'_>) -> bool {
        self.slots.at(slot).key() == ahead.key && self.is_between(slot, ahead, arrival)
    }

    /// Whether the flow in a slot is between the addresses of this packet, of which its key has a digest alone if it is of IPv6.
    fn is_between(&self, slot: u32, ahead: &Ahead, arrival: Arrival<'_>) -> bool {
        !ahead.key.is_ip6() || self.slots.pair(slot).is(&self.pair(ahead, arrival))
    }

    /// The addresses of an IPv6 packet, or of the one that it is about.
    #[inline(always)]
    fn pair(&self, ahead: &Ahead, arrival: Arrival<'_>) -> Pair6 {
        ip6::pair(arrival.data, ahead.relation, arrival.interface.0, &self.reading)
    }

    #[cold]
    fn invalid(&mut self, why: Why, interface: InterfaceIndex) -> Outcome {
        self.counts.one(Count::Invalid);
        self.untracked(self.settings.invalid, why, interface)
    }

    /// Where an agent decides, nothing goes on without it.
    fn untracked(&self, policy: Policy, why: Why, interface: InterfaceIndex) -> Outcome {
        if policy == Policy::Forward && self.mode(interface) != Mode::Agent {
            Outcome::Untracked
        } else {
            Outcome::Refused(why)
        }
    }

    fn mode(&self, interface: InterfaceIndex) -> Mode {
        match self.shared.modes.get(interface.index()).map(|mode| mode.load(Relaxed)) {
            Some(mode) if mode == Mode::Agent as u8 => Mode::Agent,
            Some(mode) if mode == Mode::Admit as u8 => Mode::Admit,
            _ => Mode::Track,
        }
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

#[cfg(test)]
mod tests;
