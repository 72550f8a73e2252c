// SPDX-License-Identifier: Apache-2.0
//! What a packet does to its flow.
//!
//! Nearly all packets change nothing but when their flow was last seen, its counts, and TCP's positions. What they need is inlined
//! into one loop of the node; whatever else there is stands in functions of its own, so that it costs the loop neither
//! instructions nor registers.

use std::sync::atomic::Ordering::Relaxed;

use weft_engine::InterfaceIndex;
use weft_engine::clock::Tsc;
use weft_flow_map::layout::{Entry, state};
use weft_flow_map::{Direction, Key, State};
use weft_nodes::headers::Ipv4Header;
use zerocopy::FromBytes;

use super::{Ahead, Arrival, Outcome, Shard, Why};
use crate::counts::Count;
use crate::news::Ending;
use crate::parse::{Parsed, Relation, fragment_key, ip6, plain_segment, segment};
use crate::settings::Protocol;
use crate::slots;
use crate::tcp::{Judgement, Segment, exchange, flags};

impl Shard {
    /// Third step: the packet itself.
    #[inline(always)]
    pub(crate) fn track(&mut self, now: Tsc, ahead: &Ahead, arrival: Arrival<'_>) -> Outcome {
        self.track_usual::<false>(now, ahead, arrival)
    }

    /// What the loop over IPv4 does not do itself.
    #[cold]
    #[inline(never)]
    fn track_other(&mut self, now: Tsc, ahead: &Ahead, arrival: Arrival<'_>) -> Outcome {
        match ahead.parsed.relation {
            Relation::Part6 => self.track_usual::<true>(now, ahead, arrival),
            _ => self.track_rare(now, ahead, arrival),
        }
    }

    #[inline(always)]
    fn track_usual<const IP6: bool>(&mut self, now: Tsc, ahead: &Ahead, arrival: Arrival<'_>) -> Outcome {
        let otherwise = if IP6 { Self::track_rare } else { Self::track_other };
        let Parsed { key, direction, relation } = ahead.parsed;
        let slot = ahead.guess;
        let Some(entry) = self.slots.get(slot).filter(|entry| entry.key() == key) else {
            return otherwise(self, now, ahead, arrival);
        };
        if IP6 && !self.slots.pair(slot).is(&self.pair(ahead, arrival)) {
            return otherwise(self, now, ahead, arrival);
        }
        let word = entry.state.load(Relaxed);
        let usual = relation == if IP6 { Relation::Part6 } else { Relation::Part }
            && match key.protocol() {
                6 => {
                    word & slots::STEADY_BITS == slots::STEADY
                        && plain_segment::<IP6>(arrival.data)
                            .is_some_and(|segment| steady(entry, word, direction, &segment))
                }
                _ => word & (state::WAITING | state::ANSWERED) == state::ANSWERED,
            };
        if !usual {
            return otherwise(self, now, ahead, arrival);
        }
        self.seen(now, slot, word, direction, arrival.bytes)
    }

    /// What every packet does to its flow.
    #[inline(always)]
    fn seen(&mut self, now: Tsc, slot: u32, word: u64, direction: Direction, bytes: u64) -> Outcome {
        let entry = self.slots.at(slot);
        entry.seen.store(now.0, Relaxed);
        slots::count(entry, direction, bytes);
        self.counts.one(Count::Hits);
        Outcome::Flow { slot, word }
    }

    /// Any packet.
    #[cold]
    #[inline(never)]
    fn track_rare(&mut self, now: Tsc, ahead: &Ahead, arrival: Arrival<'_>) -> Outcome {
        let Parsed { key, direction, relation } = ahead.parsed;
        let found = self.index.find(ahead.hash, |slot| self.is(slot, ahead, arrival));
        match (relation, found) {
            (Relation::Part | Relation::Part6, _) => self.part(now, ahead, found, arrival),
            (Relation::FirstFragment, _) => {
                let outcome = self.part(now, ahead, found, arrival);
                if let Outcome::Flow { slot, .. } | Outcome::Wait { slot } = outcome {
                    self.remember(now, slot, arrival);
                }
                outcome
            }
            (Relation::LaterFragment, _) => match self.fragments.find(key, ahead.hash, now) {
                Some((slot, generation))
                    if self.has(slot, generation) && self.is_between(slot, ahead, arrival) =>
                {
                    self.follow(now, Count::Fragments, slot, direction, arrival)
                }
                _ => self.invalid(Why::LoneFragment, arrival.interface),
            },
            (Relation::Answer, Some(slot)) => {
                // An answer may be the first fragment of one.
                self.remember(now, slot, arrival);
                self.datagram(now, slot, direction, arrival)
            }
            (Relation::Answer, None) => self.invalid(Why::NoRequest, arrival.interface),
            (Relation::Error, Some(slot)) => self.follow(now, Count::Errors, slot, direction, arrival),
            (Relation::Error, None) => self.invalid(Why::NoFlow, arrival.interface),
            (Relation::OfLink, _) => Outcome::Untracked,
            (Relation::Malformed, _) => self.invalid(Why::Malformed, arrival.interface),
        }
    }

    /// A packet of the flow in the slot that was found, or one that may begin a flow.
    fn part(&mut self, now: Tsc, ahead: &Ahead, found: Option<u32>, arrival: Arrival<'_>) -> Outcome {
        if ahead.parsed.key.protocol() != 6 {
            return match found {
                Some(slot) => self.datagram(now, slot, ahead.parsed.direction, arrival),
                None => self.begin(now, ahead, None, arrival),
            };
        }
        match (segment(arrival.data, self.reading.headers), found) {
            (Some(segment), Some(slot)) => self.tcp(now, ahead, slot, &segment, arrival),
            (Some(segment), None) => self.begin(now, ahead, Some(&segment), arrival),
            (None, _) => self.invalid(Why::Malformed, arrival.interface),
        }
    }

    /// Leaves a note for the other fragments of this datagram.
    pub(super) fn remember(&mut self, now: Tsc, slot: u32, arrival: Arrival<'_>) {
        let entry = self.slots.at(slot);
        let flow = entry.key();
        let key = match flow.is_ip6() {
            true => ip6::fragment_key_of(arrival.data, flow.table(), arrival.interface.0, &self.reading),
            false => Ipv4Header::ref_from_prefix(arrival.data)
                .ok()
                .filter(|(ip, _)| ip.more_fragments())
                .map(|(ip, _)| fragment_key(ip, flow.table())),
        };
        if let Some(key) = key {
            let generation = entry.generation();
            self.fragments.remember(key, self.seed.hash(key.words()), slot, generation, now);
        }
    }

    /// A packet that belongs to a flow but says nothing about its state: an ICMP error, a later fragment.
    fn follow(
        &mut self,
        now: Tsc,
        count: Count,
        slot: u32,
        direction: Direction,
        arrival: Arrival<'_>,
    ) -> Outcome {
        let entry = self.slots.at(slot);
        let word = entry.state.load(Relaxed);
        if word & state::WAITING != 0 {
            return Outcome::Wait { slot };
        }
        if count == Count::Fragments {
            // An error keeps no flow alive: anybody can send one (RFC 5927).
            entry.seen.store(now.0, Relaxed);
        }
        slots::count(entry, direction, arrival.bytes);
        self.counts.one(count);
        self.counts.one(Count::Hits);
        Outcome::Flow { slot, word }
    }

    /// A packet of a flow without TCP's state: it is established once there is an answer.
    pub(super) fn datagram(
        &mut self,
        now: Tsc,
        slot: u32,
        direction: Direction,
        arrival: Arrival<'_>,
    ) -> Outcome {
        let entry = self.slots.at(slot);
        let word = entry.state.load(Relaxed);
        if word & state::WAITING != 0 {
            return Outcome::Wait { slot };
        }
        if word & state::ANSWERED == 0 && direction != slots::initiator(word) {
            answered(entry, arrival.interface);
            slots::change(entry, word & !state::STATE | State::Established as u64 | state::ANSWERED);
        }
        self.seen(now, slot, word, direction, arrival.bytes)
    }

    /// A TCP segment of a flow.
    pub(super) fn tcp(
        &mut self,
        now: Tsc,
        ahead: &Ahead,
        slot: u32,
        segment: &Segment,
        arrival: Arrival<'_>,
    ) -> Outcome {
        let word = self.slots.at(slot).state.load(Relaxed);
        if word & state::WAITING != 0 {
            return Outcome::Wait { slot };
        }
        if slots::state_of(word) == State::Closed && segment.flags & (flags::SYN | flags::ACK) == flags::SYN {
            // The ports are used again (RFC 9293 section 3.6.1).
            self.end(slot, ahead.hash, now, Ending::Replaced);
            return self.begin(now, ahead, Some(segment), arrival);
        }
        let direction = ahead.parsed.direction;
        match self.step(now, slot, word, direction, segment, arrival.interface) {
            Some(outcome) => outcome,
            None => self.seen(now, slot, word, direction, arrival.bytes),
        }
    }

    /// A segment of a connection; says what becomes of it if it is not simply counted.
    fn step(
        &mut self,
        now: Tsc,
        slot: u32,
        mut word: u64,
        direction: Direction,
        segment: &Segment,
        interface: InterfaceIndex,
    ) -> Option<Outcome> {
        let entry = self.slots.at(slot);
        let mut connection = slots::connection(entry, word);
        match connection.step(direction, segment) {
            Judgement::Fits => {
                if word & state::ANSWERED == 0 && direction != slots::initiator(word) {
                    answered(entry, interface);
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
                    return Some(self.invalid(Why::OutOfWindow, interface));
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

    pub(super) fn idle(&self, key: Key, word: u64) -> u64 {
        let protocol = Protocol::of(key.protocol());
        self.clocks.idle(protocol, slots::state_of(word), word & state::RESET != 0)
    }
}

/// What nearly all segments are, of a connection that is [`slots::STEADY`]: they say something of their sender's positions,
/// and nothing else changes. False if this one is something else; nothing has changed then.
#[inline(always)]
fn steady(entry: &Entry, word: u64, direction: Direction, segment: &Segment) -> bool {
    let mut sender = slots::steady_side(entry, word, direction);
    let mut receiver = slots::steady_side(entry, word, direction.reverse());
    let fits = exchange(&mut sender, &mut receiver, segment) == Judgement::Fits;
    if fits {
        slots::keep_side(entry, direction, &sender, &receiver);
    }
    fits
}

/// The first packet of the other side came in here.
fn answered(entry: &Entry, interface: InterfaceIndex) {
    let first = entry.interfaces.load(Relaxed) & 0xffff_ffff;
    entry.interfaces.store(first | u64::from(interface.0) << 32, Relaxed);
}
