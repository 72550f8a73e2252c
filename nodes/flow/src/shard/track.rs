// SPDX-License-Identifier: Apache-2.0
//! What a packet does to its flow.
//!
//! Nearly all packets change nothing but when their flow was last seen, its counts, and TCP's positions. What they need is inlined
//! into a loop of the node that calls nothing ([`Shard::track_usual`]); at whatever else there is the loop ends.

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
use crate::parse::{Relation, fragment_key, ip6, plain_segment, segment};
use crate::settings::Protocol;
use crate::slots;
use crate::tcp::{Judgement, Segment, UNSCALED_WINDOW, after, flags};

impl Shard {
    /// Third step: the packet itself.
    pub(crate) fn track(&mut self, now: Tsc, ahead: &Ahead, arrival: Arrival<'_>) -> Outcome {
        let usual = match ahead.relation {
            Relation::Part6 => self.track_usual::<true>(now, ahead, arrival, state::WAITING),
            _ => self.track_usual::<false>(now, ahead, arrival, state::WAITING),
        };
        let Some(word) = usual else {
            return self.track_rare(now, ahead, arrival);
        };
        self.counts.one(Count::Hits);
        Outcome::Flow { slot: ahead.guess, word }
    }

    /// The third step of nearly all packets, but that the caller counts them as [`Count::Hits`]: the state word of the flow,
    /// if this is the flow that was guessed, and nothing of it changes that [`Shard::track_rare`] is for. `None`: nothing is
    /// done. So it is if the word has any of the bits `unusual`, [`state::WAITING`] among them.
    #[inline(always)]
    pub(crate) fn track_usual<const IP6: bool>(
        &self,
        now: Tsc,
        ahead: &Ahead,
        arrival: Arrival<'_>,
        unusual: u64,
    ) -> Option<u64> {
        let &Ahead { key, direction, relation, guess, .. } = ahead;
        let entry = self.slots.get(guess).filter(|entry| entry.key() == key)?;
        if relation != if IP6 { Relation::Part6 } else { Relation::Part }
            || IP6 && !self.slots.pair(guess).is(&self.pair(ahead, arrival))
        {
            return None;
        }
        let word = entry.state.load(Relaxed);
        if word & unusual != 0 {
            return None;
        }
        match key.protocol() {
            6 => foresee(entry, word, direction, &plain_segment::<IP6>(arrival.data)?)?,
            // Whose first answer this is, is more than that.
            _ if word & state::ANSWERED == 0 && word & slots::ASKING != slots::ASKS[direction.index()] => {
                return None;
            }
            _ => {}
        }
        entry.seen.store(now.0, Relaxed);
        slots::count(entry, direction, arrival.bytes);
        Some(word)
    }

    /// What every packet does to its flow.
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
    pub(crate) fn track_rare(&mut self, now: Tsc, ahead: &Ahead, arrival: Arrival<'_>) -> Outcome {
        let Ahead { key, direction, relation, .. } = *ahead;
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
            (Relation::OfLink | Relation::Elsewhere, _) => Outcome::Untracked,
            (Relation::Malformed, _) => self.invalid(Why::Malformed, arrival.interface),
        }
    }

    /// A packet of the flow in the slot that was found, or one that may begin a flow.
    fn part(&mut self, now: Tsc, ahead: &Ahead, found: Option<u32>, arrival: Arrival<'_>) -> Outcome {
        if ahead.key.protocol() != 6 {
            return match found {
                Some(slot) => self.datagram(now, slot, ahead.direction, arrival),
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
        let direction = ahead.direction;
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

/// Header prediction: takes the segment if it is what nearly all are. It belongs to a connection that is [`slots::STEADY`]; it
/// begins where its sender has come to, or not much before; and it acknowledges what the other side has sent, or most of it.
/// That is a part of what [`crate::tcp::Connection::step`] finds to fit, by fewer questions. `None`: nothing is done.
#[inline(always)]
fn foresee(entry: &Entry, word: u64, direction: Direction, segment: &Segment) -> Option<()> {
    let at = direction.index();
    let ([sent, offers], [heard, allows]) = (&entry.tcp[at], &entry.tcp[direction.reverse().index()]);
    let (sent_word, offers_word) = (sent.load(Relaxed), offers.load(Relaxed));
    let (heard_word, allows_word) = (heard.load(Relaxed), allows.load(Relaxed));
    let (end, acknowledged) = ((sent_word >> 32) as u32, sent_word as u32);
    let (limit, largest) = ((offers_word >> 32) as u32, offers_word as u32);
    // Bytes that were sent before, and bytes that are not acknowledged yet.
    let again = end.wrapping_sub(segment.sequence);
    let behind = ((heard_word >> 32) as u32).wrapping_sub(segment.acknowledgment);
    let beyond = after(segment.sequence, (allows_word >> 32) as u32);
    if word & slots::STEADY_BITS != slots::STEADY
        || segment.flags & flags::CONTROL != flags::ACK
        || again > UNSCALED_WINDOW
        || behind > largest.max(UNSCALED_WINDOW)
        || beyond
    {
        return None;
    }
    let shift = (word >> (state::SCALES as usize + 8 * at)) & 0xf;
    let window = u32::from(segment.window) << shift;
    let later = |than: u32, new: u32| if after(new, than) { new } else { than };
    let end = later(end, segment.sequence.wrapping_add(segment.payload));
    let acknowledged = later(acknowledged, segment.acknowledgment);
    let limit = later(limit, segment.acknowledgment.wrapping_add(window));
    sent.store(u64::from(end) << 32 | u64::from(acknowledged), Relaxed);
    offers.store(u64::from(limit) << 32 | u64::from(largest.max(window)), Relaxed);
    Some(())
}

/// The first packet of the other side came in here.
fn answered(entry: &Entry, interface: InterfaceIndex) {
    let first = entry.interfaces.load(Relaxed) & 0xffff_ffff;
    entry.interfaces.store(first | u64::from(interface.0) << 32, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::{Connection, Side, fact};
    use proptest::prelude::*;

    /// A number near another one, mostly.
    fn near(to: u32) -> impl Strategy<Value = u32> {
        prop_oneof![
            4 => (0u32..4).prop_map(move |by| to.wrapping_add(by).wrapping_sub(2)),
            2 => (0u32..140_000).prop_map(move |by| to.wrapping_add(by).wrapping_sub(70_000)),
            1 => any::<u32>(),
        ]
    }

    fn sides() -> impl Strategy<Value = [Side; 2]> {
        // As large as they can be offered.
        let windows = prop_oneof![1u32..70_000, 1u32..=65_535 << 14];
        (any::<u32>(), any::<u32>(), [windows.clone(), windows], [0u8..15, 0..15]).prop_flat_map(
            |(low, high, windows, shifts)| {
                let side = move |end: u32, other: u32, at: usize| {
                    (near(other), near(end)).prop_map(move |(acknowledged, limit)| Side {
                        end,
                        acknowledged,
                        limit,
                        window: windows[at],
                        facts: fact::SYN | fact::SYN_ACKED,
                        scale: crate::tcp::STEADY | shifts[at],
                    })
                };
                (side(low, high, 0), side(high, low, 1)).prop_map(|(low, high)| [low, high])
            },
        )
    }

    fn words(entry: &Entry) -> [u64; 4] {
        let [[a, b], [c, d]] = &entry.tcp;
        [a, b, c, d].map(|word| word.load(Relaxed))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// What is foreseen is what the connection makes of the segment; else nothing is touched. And nearly all that is in order
        /// is foreseen.
        #[test]
        fn what_is_foreseen_is_what_the_connection_says(
            (sides, sequence, acknowledgment) in sides().prop_flat_map(|sides| {
                (Just(sides), near(sides[0].end), near(sides[1].end))
            }),
            (payload, window, control, high) in (0u32..3000, any::<u16>(), 0u8..64, any::<bool>()),
        ) {
            let mut connection = Connection { sides, ..Connection::default() };
            if high {
                connection.sides.reverse();
            }
            let direction = Direction::from_bit(u64::from(high));
            let entry = Entry::default();
            let word = slots::keep(&entry, state::ANSWERED, &connection);
            let before = words(&entry);
            let segment = Segment { flags: control, sequence, acknowledgment, window, payload, scale: None };
            let foreseen = foresee(&entry, word, direction, &segment);
            let by_step = Entry::default();
            let judgement = connection.step(direction, &segment);
            let after = slots::keep(&by_step, word, &connection);
            match foreseen {
                Some(()) => prop_assert_eq!((judgement, words(&entry), after), (Judgement::Fits, words(&by_step), word)),
                None => prop_assert_eq!(words(&entry), before),
            }
            let [sender, receiver] = sides;
            let in_order = sequence == sender.end && acknowledgment == receiver.end && !super::after(sequence, sender.limit);
            if in_order && control & flags::CONTROL == flags::ACK {
                prop_assert!(foreseen.is_some());
            }
        }
    }
}
